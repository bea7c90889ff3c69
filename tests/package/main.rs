//! The Debian package, installed on bare Debian systems: with systemd as their first process, in
//! namespaces of their own, so that the unit runs as it will run at users', sandbox included.
//!
//! The package is named by `TESTS_PACKAGE` (`packaging/deb` builds it), the bare Debian by
//! `TESTS_DEBIAN` (`.ci/debian-root` makes it). Where either is missing the tests are skipped and
//! say so; with TESTS_NEED_PROGRAMS set, as in `.ci/run`, they fail.

#![allow(clippy::unwrap_used, reason = "in a test it is an assertion")]

#[path = "../support/mod.rs"]
mod support;

mod copyright;
mod deb;
mod install;
mod lint;
mod machine;
mod remove;
mod service;
mod setpriv;
mod upgrade;
