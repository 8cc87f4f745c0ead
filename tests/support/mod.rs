//! What tests share. Each binary has all of it, and uses a part.
#![allow(dead_code, unreachable_pub, unused_imports, unused_macros)]

#[cfg(all(feature = "tokio", not(miri)))]
pub(crate) mod alone;
#[cfg(all(feature = "_task", not(all(feature = "blocking", feature = "client"))))]
compile_error!("beside `tokio`, the tests need `blocking` and `client`: `cargo test` at the root");
#[cfg(feature = "blocking")]
pub(crate) mod blocking;
#[cfg(feature = "blocking")]
pub(crate) mod bounds;
pub(crate) mod carriers;
#[cfg(feature = "deflate")]
pub(crate) mod deflate;
pub(crate) mod distant;
#[cfg(feature = "blocking")]
pub(crate) mod endless;
#[cfg(all(feature = "tokio", feature = "deflate", feature = "in-place"))]
pub(crate) mod ends;
#[cfg(feature = "in-place")]
pub(crate) mod fuse;
#[cfg(all(feature = "blocking", not(miri)))]
pub(crate) mod harness;
pub(crate) mod heads;
#[cfg(feature = "in-place")]
pub(crate) mod hostile;
#[cfg(all(feature = "blocking", not(miri)))]
pub(crate) mod opening;
#[cfg(feature = "blocking")]
pub(crate) mod peer;
#[cfg(feature = "in-place")]
pub(crate) mod placed;
#[cfg(feature = "tokio")]
pub(crate) mod polled;
#[cfg(feature = "in-place")]
pub(crate) mod provider;
#[cfg(feature = "tokio")]
pub(crate) mod proxy;
#[cfg(feature = "in-place")]
pub(crate) mod raw;
pub(crate) mod silence;
#[cfg(feature = "tokio")]
pub(crate) mod talk;
#[cfg(all(feature = "in-place", feature = "tokio"))]
pub(crate) mod tls;
#[cfg(feature = "in-place")]
pub(crate) mod tls_end;
#[cfg(feature = "tokio")]
pub(crate) mod tokio;
#[cfg(feature = "blocking")]
pub(crate) mod tries;
pub(crate) mod verdicts;
pub(crate) mod wire;

/// `value` with its fields set by `set_up`.
pub(crate) fn set<T>(mut value: T, set_up: impl FnOnce(&mut T)) -> T {
    set_up(&mut value);
    value
}
