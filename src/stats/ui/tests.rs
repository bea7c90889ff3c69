//! Every file is there, whole, and holds to the pages' policies.

use super::*;

fn text(path: &str) -> String {
    let asset = asset(path).unwrap_or_else(|| panic!("{path} is served"));
    String::from_utf8(asset.body.into_owned()).expect("these files are text")
}

/// What stands in double quotes behind `start`.
fn quoted<'a>(text: &'a str, start: &'a str) -> impl Iterator<Item = &'a str> {
    let rests = text.split(start).skip(1);
    rests.filter_map(|rest| rest.split('"').next())
}

/// A relative address, as a browser resolves it at a path.
fn resolve(at: &str, relative: &str) -> String {
    let mut parts: Vec<&str> = at.split('/').collect();
    parts.pop();
    for part in relative.split('/') {
        match part {
            "." => {}
            ".." => drop(parts.pop()),
            name => parts.push(name),
        }
    }
    parts.join("/")
}

/// Both pages and every file that they name, found as a browser finds them.
fn found_by_a_browser() -> Vec<String> {
    let mut found = vec!["/".to_owned(), "/ui/v1/".to_owned()];
    let mut next = 0;
    while next < found.len() {
        let path = found[next].clone();
        next += 1;
        let text = text(&path);
        let named = match asset(&path).expect("it was found").content_type {
            HTML => [quoted(&text, "src=\""), quoted(&text, "href=\"")],
            SCRIPT if path.starts_with("/dashboard/") => {
                [quoted(&text, " from \""), quoted(&text, "import \"")]
            }
            _ => continue,
        };
        for relative in named.into_iter().flatten() {
            let target = resolve(&path, relative);
            let is_of_the_server = ["/spec/v1/", "/metrics", "/api/v1/"].contains(&target.as_str());
            if !relative.starts_with('#') && !is_of_the_server && !found.contains(&target) {
                found.push(target);
            }
        }
    }
    found
}

#[test]
fn what_the_pages_name_is_served_and_nothing_else_is() {
    let found = found_by_a_browser();
    for path in &found {
        assert!(
            asset(path).is_some_and(|asset| !asset.body.is_empty()),
            "{path}"
        );
    }
    for (path, ..) in FILES {
        assert!(
            found.iter().any(|named| named == path),
            "{path} is named nowhere"
        );
    }
    for path in [
        "",
        "/index.html",
        "/dashboard",
        "/dashboard/",
        "/ui/v1",
        "/ui/v1/../v1/",
    ] {
        assert_eq!(asset(path), None, "{path}");
    }
}

#[test]
fn no_file_of_ours_names_another_host_or_has_inline_script_or_style() {
    for &(path, content_type, ..) in FILES {
        let text = text(path);
        let foreign = text.replace("http://www.w3.org/2000/svg", "");
        for word in [
            "http://",
            "https://",
            "@import",
            "innerHTML",
            "eval(",
            "document.write",
        ] {
            assert!(!foreign.contains(word), "{path} has {word}");
        }
        if content_type == HTML {
            for word in [
                "<style",
                " style=",
                "<script>",
                " onclick",
                " onload",
                "javascript:",
            ] {
                assert!(!text.contains(word), "{path} has {word}");
            }
        }
    }
}

#[test]
fn the_explorer_is_swagger_ui_with_its_licence() {
    assert!(text("/ui/v1/swagger-ui.js").contains("SwaggerUIBundle"));
    assert!(text("/ui/v1/swagger-ui.css").contains(".swagger-ui"));
    assert!(text("/ui/v1/swagger-ui-license.txt").contains("Apache License"));
    assert!(text("/ui/v1/swagger-ui-notice.txt").contains("SmartBear"));
}
