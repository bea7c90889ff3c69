//! placeholder
#[allow(dead_code)]
mod register;
fn main() {}
