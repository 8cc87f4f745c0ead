use ::rustls::{Error, OtherError};
use std::{
    any::Any,
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

/// rustls, or code that it calls: the crypto provider, a certificate verifier or resolver, a key
/// log, a store of tickets.
#[derive(Debug)]
pub(super) struct Panicked(String);

impl fmt::Display for Panicked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "rustls, or code of its configuration, panicked: {}", self.0)
    }
}

impl std::error::Error for Panicked {}

/// Turns a panic of rustls into [`Panicked`]. The caller must not use rustls' object again: the
/// panic may have left it inconsistent.
///
/// With `panic = "abort"` it still ends the process, so callers also avoid panics: they call rustls
/// only when it asks for a call.
#[inline]
pub(super) fn caught<T>(call: impl FnOnce() -> T) -> Result<T, Error> {
    // After a panic, no caller uses the object again.
    catch_unwind(AssertUnwindSafe(call)).map_err(panicked)
}

#[cold]
fn panicked(panic: Box<dyn Any + Send>) -> Error {
    // `&str` from a literal, `String` from a text with arguments; any other payload has no text to
    // show.
    let text = panic.downcast_ref::<&str>().map(ToString::to_string);
    let text = text.or_else(|| panic.downcast_ref().cloned()).unwrap_or_default();
    OtherError(Arc::new(Panicked(text))).into()
}

pub(super) fn is_panic(error: &Error) -> bool {
    matches!(error, Error::Other(OtherError(error)) if error.is::<Panicked>())
}
