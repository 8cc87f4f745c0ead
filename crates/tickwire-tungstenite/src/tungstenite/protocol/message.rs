//! Messages.
use super::frame::{CloseFrame, Frame, Utf8Bytes};
use crate::tungstenite::error::Result;
use bytes::Bytes;
use std::{fmt, str};

/// A message that is received or sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// Text.
    Text(Utf8Bytes),
    /// Bytes.
    Binary(Bytes),
    /// A Ping, of at most 125 bytes. The next call that reads, writes or flushes answers the Ping.
    Ping(Bytes),
    /// A Pong, of at most 125 bytes.
    Pong(Bytes),
    /// A Close, with its body if it has one.
    Close(Option<CloseFrame>),
    /// A frame to be sent as it is; never received.
    Frame(Frame),
}

impl Message {
    /// Text.
    pub fn text<S: Into<Utf8Bytes>>(text: S) -> Self {
        Self::Text(text.into())
    }

    /// Bytes.
    pub fn binary<B: Into<Bytes>>(bytes: B) -> Self {
        Self::Binary(bytes.into())
    }

    /// Whether the message is text.
    pub fn is_text(&self) -> bool {
        matches!(self, Self::Text(_))
    }

    /// Whether the message is binary.
    pub fn is_binary(&self) -> bool {
        matches!(self, Self::Binary(_))
    }

    /// Whether the message is a Ping.
    pub fn is_ping(&self) -> bool {
        matches!(self, Self::Ping(_))
    }

    /// Whether the message is a Pong.
    pub fn is_pong(&self) -> bool {
        matches!(self, Self::Pong(_))
    }

    /// Whether the message is a Close.
    pub fn is_close(&self) -> bool {
        matches!(self, Self::Close(_))
    }

    /// The length of the payload. For a Close, the length of its reason. For a raw frame, the
    /// length of the whole frame.
    pub fn len(&self) -> usize {
        match self {
            Self::Text(text) => text.len(),
            Self::Binary(bytes) | Self::Ping(bytes) | Self::Pong(bytes) => bytes.len(),
            Self::Close(body) => body.as_ref().map_or(0, |body| body.reason.len()),
            Self::Frame(frame) => frame.len(),
        }
    }

    /// Whether [`len`](Self::len) is 0.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The payload; for a Close, its reason.
    pub fn into_data(self) -> Bytes {
        match self {
            Self::Text(text) => text.into(),
            Self::Binary(bytes) | Self::Ping(bytes) | Self::Pong(bytes) => bytes,
            Self::Close(body) => body.map(|body| body.reason.into()).unwrap_or_default(),
            Self::Frame(frame) => frame.into_payload(),
        }
    }

    /// The payload as text; for a Close, its reason.
    ///
    /// # Errors
    ///
    /// If the payload is not UTF-8.
    pub fn into_text(self) -> Result<Utf8Bytes> {
        match self {
            Self::Text(text) => Ok(text),
            Self::Close(body) => Ok(body.map(|body| body.reason).unwrap_or_default()),
            other => Ok(other.into_data().try_into()?),
        }
    }

    /// The payload as borrowed text; for a Close, its reason.
    ///
    /// # Errors
    ///
    /// If the payload is not UTF-8.
    pub fn to_text(&self) -> Result<&str> {
        match self {
            Self::Text(text) => Ok(text),
            Self::Binary(bytes) | Self::Ping(bytes) | Self::Pong(bytes) => {
                Ok(str::from_utf8(bytes)?)
            }
            Self::Close(body) => Ok(body.as_ref().map_or("", |body| &body.reason)),
            Self::Frame(frame) => Ok(frame.to_text()?),
        }
    }
}

impl From<String> for Message {
    fn from(text: String) -> Self {
        Self::text(text)
    }
}

impl From<&str> for Message {
    fn from(text: &str) -> Self {
        Self::text(text)
    }
}

impl From<&[u8]> for Message {
    fn from(bytes: &[u8]) -> Self {
        Self::binary(Bytes::copy_from_slice(bytes))
    }
}

impl From<Bytes> for Message {
    fn from(bytes: Bytes) -> Self {
        Self::binary(bytes)
    }
}

impl From<Vec<u8>> for Message {
    fn from(bytes: Vec<u8>) -> Self {
        Self::binary(bytes)
    }
}

impl From<Message> for Bytes {
    fn from(message: Message) -> Self {
        message.into_data()
    }
}

/// Shows the text, or the length of a payload that is not text.
impl fmt::Display for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.to_text() {
            Ok(text) => f.write_str(text),
            Err(_) => write!(f, "Binary Data<length={}>", self.len()),
        }
    }
}
