//! A loop over real sockets. `common` has the loop in a thread and the peers.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod attacks;
mod common;
mod dialing;
mod doors;
mod dormant;
mod draining;
mod fairness;
#[cfg(target_os = "linux")]
mod forbidden;
mod health;
mod limits;
mod messages;
#[cfg(target_os = "linux")]
mod names;
#[cfg(feature = "rustls")]
mod panics;
#[cfg(feature = "rustls")]
#[path = "../../../../tests/support/placed.rs"]
mod placed;
mod protocol;
mod proxied;
#[allow(dead_code, unreachable_pub)]
#[cfg(feature = "rustls")]
#[path = "../../../../tests/support/raw.rs"]
mod raw;
mod received;
mod requests;
mod room;
#[cfg(target_os = "linux")]
mod sigpipe;
mod slow;
#[cfg(all(target_os = "linux", feature = "rustls"))]
#[path = "../../../../tests/support/slow_peer.rs"]
mod slow_peer;
#[cfg(all(target_os = "linux", feature = "rustls"))]
mod slow_peers;
#[cfg(all(feature = "stamps", target_os = "linux"))]
mod stamps;
#[cfg(target_os = "linux")]
mod threads;
mod time;
#[cfg(feature = "rustls")]
mod tls;
#[cfg(feature = "rustls")]
#[path = "../../../../tests/support/tls_end.rs"]
mod tls_end;
#[cfg(feature = "rustls")]
mod tls_ends;
#[cfg(feature = "rustls")]
mod uploads;
