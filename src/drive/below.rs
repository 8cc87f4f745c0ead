//! Whether the last read got bytes below TLS that brought no input yet. Without the feature
//! `rustls` there is nothing below.
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
