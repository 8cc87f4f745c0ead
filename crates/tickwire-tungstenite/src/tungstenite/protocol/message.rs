//! The methods of [`Message`] that may return an [`Error`](crate::tungstenite::Error): `error`
//! depends on `message`, so `message` must not depend on `error`.
use crate::tungstenite::{
    error::Result,
    message::{Message, Utf8Bytes},
};

impl Message {
    /// The payload as text; for a Close, its reason.
    ///
    /// # Errors
    ///
    /// If the payload is not UTF-8.
    pub fn into_text(self) -> Result<Utf8Bytes> {
        match self {
            Self::Text(text) => Ok(text),
            other => Ok(other.into_data().try_into()?),
        }
    }

    /// The payload as borrowed text; for a Close, its reason.
    ///
    /// # Errors
    ///
    /// If the payload is not UTF-8.
    pub fn to_text(&self) -> Result<&str> {
        Ok(self.as_text()?)
    }
}
