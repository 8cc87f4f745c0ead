//! Errors of streams that do not block.
use crate::tungstenite::error::Error;
use std::io;

/// An error that may be `WouldBlock`.
pub trait NonBlockingError: Sized {
    /// `None` for `WouldBlock`.
    fn into_non_blocking(self) -> Option<Self>;
}

impl NonBlockingError for io::Error {
    fn into_non_blocking(self) -> Option<Self> {
        (self.kind() != io::ErrorKind::WouldBlock).then_some(self)
    }
}

impl NonBlockingError for Error {
    fn into_non_blocking(self) -> Option<Self> {
        match self {
            Self::Io(error) => error.into_non_blocking().map(Self::Io),
            other => Some(other),
        }
    }
}

/// A result whose error may be `WouldBlock`.
pub trait NonBlockingResult {
    /// A `Result` whose `Ok` value is an `Option`.
    type Result;
    /// `Ok(None)` for `WouldBlock`.
    fn no_block(self) -> Self::Result;
}

impl<T, E: NonBlockingError> NonBlockingResult for Result<T, E> {
    type Result = Result<Option<T>, E>;

    fn no_block(self) -> Self::Result {
        match self {
            Ok(value) => Ok(Some(value)),
            Err(error) => error.into_non_blocking().map_or(Ok(None), Err),
        }
    }
}
