//! These tests once more, with configurations that keep their keys: rustls opens and seals all
//! records.
#![allow(clippy::duplicate_mod)]
use crate::support::{blocking, placed, polled, provider, raw, wire};

const IN_PLACE: bool = false;

mod support {
    pub(super) use super::tls;
    pub(super) use crate::support::*;
}
#[path = "../support/tls.rs"]
#[allow(dead_code, unreachable_pub)]
mod tls;

#[path = "buffered.rs"]
mod buffered;
#[path = "closing.rs"]
mod closing;
#[path = "connections.rs"]
mod connections;
#[path = "hello.rs"]
mod hello;
#[path = "proxies.rs"]
mod proxies;
#[path = "records.rs"]
mod records;
#[path = "renewal.rs"]
mod renewal;
#[path = "session.rs"]
mod session;
#[path = "slow.rs"]
mod slow;
