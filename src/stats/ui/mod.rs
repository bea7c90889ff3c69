//! What a browser gets: the dashboard at `/`, and the explorer of the API at `/ui/v1/`.
//!
//! Everything is in the binary and nothing is built: the files beside this one are served as they
//! are. No page has an inline script or style of its own, and nothing comes from another host; the
//! policies below hold the browser to that.

mod explorer; // Swagger UI, out of its archive
#[cfg(test)]
mod tests;

use std::borrow::Cow;

/// A file for a browser.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asset {
    /// Its `Content-Type`.
    pub content_type: &'static str,
    /// Its bytes.
    pub body: Cow<'static, [u8]>,
    /// Its `Content-Security-Policy`.
    pub csp: &'static str,
}

/// The dashboard's policy: own files only, and nobody may frame it.
const STRICT: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
    img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// The explorer's policy. Swagger UI sets `style` attributes and has its icons as `data:` images.
const EXPLORER: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; \
    connect-src 'self'; img-src 'self' data:; base-uri 'none'; form-action 'none'; \
    frame-ancestors 'none'";

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const SVG: &str = "image/svg+xml";
const TEXT: &str = "text/plain; charset=utf-8";

/// A file beside this one: its path, its type, its policy and its bytes.
macro_rules! files {
    ($($path:literal: $content_type:ident, $csp:ident, $file:literal;)*) => {
        &[$(($path, $content_type, $csp, include_bytes!($file))),*]
    };
}

type File = (&'static str, &'static str, &'static str, &'static [u8]);

const FILES: &[File] = files! {
    "/": HTML, STRICT, "dashboard/index.html";
    "/dashboard/dashboard.css": CSS, STRICT, "dashboard/dashboard.css";
    "/dashboard/cards.css": CSS, STRICT, "dashboard/cards.css";
    "/dashboard/icon.svg": SVG, STRICT, "dashboard/icon.svg";
    "/dashboard/asking.js": SCRIPT, STRICT, "dashboard/asking.js";
    "/dashboard/chart.js": SCRIPT, STRICT, "dashboard/chart.js";
    "/dashboard/checks.js": SCRIPT, STRICT, "dashboard/checks.js";
    "/dashboard/cluster.js": SCRIPT, STRICT, "dashboard/cluster.js";
    "/dashboard/dom.js": SCRIPT, STRICT, "dashboard/dom.js";
    "/dashboard/events.js": SCRIPT, STRICT, "dashboard/events.js";
    "/dashboard/format.js": SCRIPT, STRICT, "dashboard/format.js";
    "/dashboard/groups.js": SCRIPT, STRICT, "dashboard/groups.js";
    "/dashboard/main.js": SCRIPT, STRICT, "dashboard/main.js";
    "/dashboard/process.js": SCRIPT, STRICT, "dashboard/process.js";
    "/dashboard/search.js": SCRIPT, STRICT, "dashboard/search.js";
    "/dashboard/series.js": SCRIPT, STRICT, "dashboard/series.js";
    "/dashboard/since.js": SCRIPT, STRICT, "dashboard/since.js";
    "/dashboard/targets.js": SCRIPT, STRICT, "dashboard/targets.js";
    "/dashboard/tiles.js": SCRIPT, STRICT, "dashboard/tiles.js";
    "/dashboard/verdict.js": SCRIPT, STRICT, "dashboard/verdict.js";
    "/ui/v1/": HTML, EXPLORER, "explorer/index.html";
    "/ui/v1/explorer.css": CSS, EXPLORER, "explorer/explorer.css";
    "/ui/v1/explorer.js": SCRIPT, EXPLORER, "explorer/explorer.js";
};

/// The file at a path of the server, `None` where there is none.
pub fn asset(path: &str) -> Option<Asset> {
    let own = FILES.iter().find(|(own_path, ..)| *own_path == path);
    if let Some(&(_, content_type, csp, bytes)) = own {
        return Some(Asset {
            content_type,
            body: Cow::Borrowed(bytes),
            csp,
        });
    }
    let name = path.strip_prefix("/ui/v1/")?;
    let (content_type, bytes) = explorer::file(name)?;
    Some(Asset {
        content_type,
        body: Cow::Borrowed(bytes),
        csp: EXPLORER,
    })
}
