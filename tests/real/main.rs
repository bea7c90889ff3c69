//! Real programs behind the proxy and in front of it, one file each.

#[path = "../support/mod.rs"]
mod support;

mod health;
mod iperf3;
mod migrating;
mod nginx;
mod postgres;
mod proxy_protocol;
mod real;
mod redis;
mod vsftpd;
