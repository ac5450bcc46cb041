//! A real etcd and a treacherous network, for black-box tests.
//!
//! Each file stands alone, so that other packages can include it by its path.

#![allow(
    dead_code,
    unreachable_pub,
    reason = "each test binary uses its own part"
)]

pub mod authority;
pub mod black_hole;
pub mod etcd;
pub mod fault_proxy;
