//! Real processes under kill, stop and restart keep their registers linearizable.

mod checker;
mod checker_tests;
mod history;
