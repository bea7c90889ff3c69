//! Drivers with everything beneath them, in one process: sockets, disks, threads.

mod cluster;
mod disk;
mod faults;
mod identity;
#[path = "../../examples/node/register.rs"]
mod register;
mod secrets;
mod service;
mod warnings;
