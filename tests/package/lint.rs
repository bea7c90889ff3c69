//! What Debian's own checks say of the package.

use std::process::Command;

use crate::deb;

#[test]
fn lintian_has_nothing_to_say() {
    let Some(package) = deb::package() else {
        return;
    };
    if Command::new("lintian").arg("--version").output().is_err() {
        return deb::skip("lintian is missing: install the package lintian");
    }
    let mut command = Command::new("lintian");
    command.args(["--allow-root", "--display-level", ">=warning"]);
    command.args(["--fail-on", "error,warning"]);
    let said = deb::succeed(command.arg(package));
    assert_eq!(said, "");
}
