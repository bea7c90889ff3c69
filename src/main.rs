//! The `tcpffee` program.

fn main() {}
