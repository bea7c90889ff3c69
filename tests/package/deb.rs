//! The package that is tried, and others made from it.

use std::path::{Path, PathBuf};
use std::process::Command;

/// Says that a test was skipped, and why; where nothing may be skipped, the test fails.
pub fn skip(reason: &str) {
    assert!(
        std::env::var_os("TESTS_NEED_PROGRAMS").is_none(),
        "{reason}"
    );
    println!("SKIPPED: {reason}");
    eprintln!("SKIPPED: {reason}");
}

/// The package file.
pub fn package() -> Option<PathBuf> {
    named_by("TESTS_PACKAGE", "packaging/deb --profile quick", |path| {
        path.is_file()
    })
}

/// The bare Debian.
pub fn base() -> Option<PathBuf> {
    named_by("TESTS_DEBIAN", ".ci/debian-root DIRECTORY", |path| {
        path.join("lib/systemd/systemd").exists()
    })
}

fn named_by(variable: &str, remedy: &str, is_there: impl Fn(&Path) -> bool) -> Option<PathBuf> {
    let Some(path) = std::env::var_os(variable).map(PathBuf::from) else {
        skip(&format!(
            "{variable} is not set: make it by `{remedy}`, and name it there"
        ));
        return None;
    };
    assert!(is_there(&path), "{variable}={}: not there", path.display());
    Some(path)
}

/// A package taken apart, to be changed and put together again.
pub struct Parts {
    directory: tempfile::TempDir,
}

impl Parts {
    /// Of the package that is tried.
    pub fn of(package: &Path) -> Parts {
        let directory = tempfile::tempdir().expect("a temporary directory can be made");
        let mut command = Command::new("dpkg-deb");
        command.arg("--raw-extract").arg(package);
        succeed(command.arg(directory.path().join("parts")));
        Parts { directory }
    }

    /// A file of it.
    pub fn path(&self, path: &str) -> PathBuf {
        self.directory.path().join("parts").join(path)
    }

    /// Changes a file's text, in which `from` has to stand.
    pub fn replace(&self, path: &str, from: &str, to: &str) {
        let text = std::fs::read_to_string(self.path(path)).unwrap();
        assert!(text.contains(from), "{from:?} is not in {path}:\n{text}");
        std::fs::write(self.path(path), text.replacen(from, to, 1)).unwrap();
    }

    /// Gives it another version.
    pub fn version(&self, version: &str) {
        let control = std::fs::read_to_string(self.path("DEBIAN/control")).unwrap();
        let lines = control.lines().map(|line| match line.split_once(": ") {
            Some(("Version", _)) => format!("Version: {version}\n"),
            _ => format!("{line}\n"),
        });
        std::fs::write(self.path("DEBIAN/control"), lines.collect::<String>()).unwrap();
    }

    /// The package of these parts.
    pub fn build(&self) -> PathBuf {
        let deb = self.directory.path().join("package.deb");
        let mut command = Command::new("dpkg-deb");
        command.args(["--build", "--root-owner-group", "-Zgzip", "-z1"]);
        succeed(command.arg(self.path("")).arg(&deb));
        deb
    }
}

/// Runs a command that has to succeed; its standard output.
pub fn succeed(command: &mut Command) -> String {
    let output = command
        .output()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(
        output.status.success(),
        "{command:?}: {}\n{}{}",
        output.status,
        text(&output.stdout),
        text(&output.stderr)
    );
    text(&output.stdout)
}
