//! The man pages `man/tcpffee.8` and `man/tcpffee.toml.5`: that they say what the program does, and
//! that what they show works as it stands.

mod examples; // configurations and commands of the pages, given to the real program
mod keys; // tcpffee.toml(5) against the reference of the configuration
mod mdoc; // the pages as sections, lists and displays
mod program; // tcpffee(8) against the command line, the variables, the exit codes and the log
mod rendering; // what mandoc and man say and show

use mdoc::Page;

/// The page of the program.
fn program_page() -> Page {
    Page::read("tcpffee.8")
}

/// The page of the configuration file.
fn file_page() -> Page {
    Page::read("tcpffee.toml.5")
}

#[test]
fn the_pages_are_of_this_version() {
    for page in [program_page(), file_page()] {
        let version = concat!("tcpffee ", env!("CARGO_PKG_VERSION"));
        assert_eq!(page.macros("Os"), [version]);
    }
}
