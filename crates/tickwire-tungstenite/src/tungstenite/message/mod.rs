//! Messages and frames. [`Error`](super::Error) holds a refused message, so the methods that return
//! an `Error` are in `protocol`, to avoid a circle of modules.
pub mod coding;
mod frame;
mod utf8_bytes;

pub use frame::{CloseFrame, Frame, FrameHeader};
pub use utf8_bytes::Utf8Bytes;

use bytes::Bytes;
use std::{
    fmt,
    str::{self, Utf8Error},
};

/// A message that is received or sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// Text.
    Text(Utf8Bytes),
    /// Bytes.
    Binary(Bytes),
    /// A Ping, of at most 125 bytes. If you receive a Ping, the connection answers it when you next
    /// read, write or flush.
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

    /// The length of the payload. For a Close, the length of its reason. For a `Frame`, the
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

    pub(super) fn as_text(&self) -> Result<&str, Utf8Error> {
        match self {
            Self::Text(text) => Ok(text),
            Self::Binary(bytes) | Self::Ping(bytes) | Self::Pong(bytes) => str::from_utf8(bytes),
            Self::Close(body) => Ok(body.as_ref().map_or("", |body| &body.reason)),
            Self::Frame(frame) => str::from_utf8(frame.payload()),
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

/// Shows the payload as text, or the length of a payload that is not UTF-8.
impl fmt::Display for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.as_text() {
            Ok(text) => f.write_str(text),
            Err(_) => write!(f, "Binary Data<length={}>", self.len()),
        }
    }
}
