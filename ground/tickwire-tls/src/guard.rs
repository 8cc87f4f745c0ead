//! The only place where a panic of rustls, or of code that rustls calls, becomes an error.
use ::rustls::{Error, OtherError};
use std::{
    any::Any,
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

/// rustls, or code that rustls calls, panicked. That code may be the crypto provider, a certificate
/// verifier or resolver, a key log, or a store of tickets.
#[derive(Debug)]
pub(super) struct Panicked(String);

impl fmt::Display for Panicked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "rustls, or code of its configuration, panicked: {}", self.0)
    }
}

impl std::error::Error for Panicked {}

/// Calls rustls, and turns a panic into an error. With `panic = "abort"`, a panic still ends the
/// process. So callers also avoid panics: they call rustls only when rustls asks for a call.
///
/// # Errors
///
/// [`Panicked`] inside rustls' error. The caller then must not use rustls' object again, because
/// the panic may have left it inconsistent.
#[inline]
pub(super) fn caught<T>(call: impl FnOnce() -> T) -> Result<T, Error> {
    // `AssertUnwindSafe` is right, because after a panic no caller uses the object again.
    catch_unwind(AssertUnwindSafe(call)).map_err(panicked)
}

#[cold]
fn panicked(panic: Box<dyn Any + Send>) -> Error {
    // The payload of `panic!` is a `&str` for a literal, and a `String` for a text with arguments.
    // Any other payload has no text to show.
    let text = panic.downcast_ref::<&str>().map(ToString::to_string);
    let text = text.or_else(|| panic.downcast_ref().cloned()).unwrap_or_default();
    OtherError(Arc::new(Panicked(text))).into()
}

/// Whether this is the error of a [`caught`] panic.
pub(super) fn is_panic(error: &Error) -> bool {
    matches!(error, Error::Other(OtherError(error)) if error.is::<Panicked>())
}
