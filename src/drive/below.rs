//! Whether the last read got bytes below TLS that brought no input yet, and how many bytes TLS
//! holds after a refused flush. Without the feature `rustls` there is nothing below.
#[cfg(feature = "rustls")]
pub(super) use tickwire_tls::stream::{forget, heard, held};

#[cfg(not(feature = "rustls"))]
#[inline(always)]
pub(super) fn forget() {}

#[cfg(not(feature = "rustls"))]
#[inline(always)]
pub(super) fn heard() -> bool {
    false
}

#[cfg(not(feature = "rustls"))]
#[inline(always)]
pub(super) fn held() -> Option<usize> {
    None
}
