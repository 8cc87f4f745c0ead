//! Connections on streams that may block or not.
mod config;
mod context;
mod entropy;
pub mod frame;
mod message;
mod remask;
mod spare;
mod tape;

pub use crate::tungstenite::message::{CloseFrame, Message};
pub use config::WebSocketConfig;
pub use context::WebSocketContext;
pub(crate) use entropy::Keys;

use crate::tungstenite::error::Result;
use std::io::{Read, Write};

/// Which end of a connection this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The end that accepted the connection.
    Server,
    /// The end that opened the connection.
    Client,
}

/// A connection on a stream. The stream may block or not.
///
/// [`connect`](super::connect), [`client`](super::client()) or [`accept`](super::accept) does the
/// opening handshake.
#[derive(Debug)]
pub struct WebSocket<Stream> {
    pub(crate) socket: Stream,
    pub(crate) context: WebSocketContext,
}

impl<Stream> WebSocket<Stream> {
    /// A connection on a stream whose opening handshake is done.
    pub fn from_raw_socket(stream: Stream, role: Role, config: Option<WebSocketConfig>) -> Self {
        Self { socket: stream, context: WebSocketContext::new(role, config) }
    }

    /// Does the same as [`from_raw_socket`](Self::from_raw_socket). `part` holds the peer's first
    /// bytes, which were read already.
    pub fn from_partially_read(
        stream: Stream,
        part: Vec<u8>,
        role: Role,
        config: Option<WebSocketConfig>,
    ) -> Self {
        let context = WebSocketContext::from_partially_read(part, role, config);
        Self { socket: stream, context }
    }

    /// Returns the stream. Data that was read but not returned, or buffered but not written, is
    /// lost.
    pub fn into_inner(self) -> Stream {
        self.socket
    }

    /// The stream.
    pub fn get_ref(&self) -> &Stream {
        &self.socket
    }

    /// The stream.
    pub fn get_mut(&mut self) -> &mut Stream {
        &mut self.socket
    }

    /// See [`WebSocketContext::set_config`].
    pub fn set_config(&mut self, set_func: impl FnOnce(&mut WebSocketConfig)) {
        self.context.set_config(set_func);
    }

    /// The configuration.
    pub fn get_config(&self) -> &WebSocketConfig {
        self.context.get_config()
    }

    /// See [`WebSocketContext::can_read`].
    pub fn can_read(&self) -> bool {
        self.context.can_read()
    }

    /// See [`WebSocketContext::can_write`].
    pub fn can_write(&self) -> bool {
        self.context.can_write()
    }
}

impl<Stream: Read + Write> WebSocket<Stream> {
    /// See [`WebSocketContext::read`].
    ///
    /// # Errors
    ///
    /// As [`WebSocketContext::read`].
    pub fn read(&mut self) -> Result<Message> {
        self.context.read(&mut self.socket)
    }

    /// Calls [`write`](Self::write), then [`flush`](Self::flush).
    ///
    /// # Errors
    ///
    /// The errors of both calls.
    pub fn send(&mut self, message: Message) -> Result<()> {
        self.write(message)?;
        self.flush()
    }

    /// See [`WebSocketContext::write`].
    ///
    /// # Errors
    ///
    /// As [`WebSocketContext::write`].
    pub fn write(&mut self, message: Message) -> Result<()> {
        self.context.write(&mut self.socket, message)
    }

    /// See [`WebSocketContext::flush`].
    ///
    /// # Errors
    ///
    /// As [`WebSocketContext::flush`].
    pub fn flush(&mut self) -> Result<()> {
        self.context.flush(&mut self.socket)
    }

    /// See [`WebSocketContext::close`].
    ///
    /// # Errors
    ///
    /// As [`WebSocketContext::close`].
    pub fn close(&mut self, code: Option<CloseFrame>) -> Result<()> {
        self.context.close(&mut self.socket, code)
    }

    /// The old name of [`read`](Self::read).
    ///
    /// # Errors
    ///
    /// As [`read`](Self::read).
    #[deprecated(note = "its name is now `read`")]
    pub fn read_message(&mut self) -> Result<Message> {
        self.read()
    }

    /// The old name of [`send`](Self::send).
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send).
    #[deprecated(note = "its name is now `send`")]
    pub fn write_message(&mut self, message: Message) -> Result<()> {
        self.send(message)
    }

    /// The old name of [`flush`](Self::flush).
    ///
    /// # Errors
    ///
    /// As [`flush`](Self::flush).
    #[deprecated(note = "its name is now `flush`")]
    pub fn write_pending(&mut self) -> Result<()> {
        self.flush()
    }
}
