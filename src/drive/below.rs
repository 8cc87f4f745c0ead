//! Whether the last read got bytes below TLS that brought no input yet. Without the feature
//! `rustls` no stream of ours has anything below.
#[cfg(feature = "rustls")]
pub(super) use tickwire_tls::stream::{forget, heard};

#[cfg(not(feature = "rustls"))]
#[inline(always)]
pub(super) fn forget() {}

#[cfg(not(feature = "rustls"))]
#[inline(always)]
pub(super) fn heard() -> bool {
    false
}
