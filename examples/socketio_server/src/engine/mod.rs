//! Engine.IO, which carries messages over HTTP long-polling or over a WebSocket, in its two
//! revisions that are in use. A packet's type is the first character of a text; binary data is a
//! message by itself. What is in the messages is Socket.IO's.
//!
//! - [`session`]: one client's state, without I/O and clock.
//! - `heartbeat`: who pings whom, and when the other is gone.
//! - [`mailbox`]: what waits to be sent.
//! - [`payload`]: packets as the body of a request or a response.
mod heartbeat;
pub mod mailbox;
pub mod payload;
pub mod session;

use tickwire::{CloseCode, Message};

/// Are you there?
pub const PING: &str = "2";

/// What asks a WebSocket whether it may take over, and the answer.
pub const PROBE: (&str, &str) = ("2probe", "3probe");

/// The WebSocket takes over.
pub const UPGRADE: &str = "5";

/// Nothing: ends a poll.
pub const NOOP: &str = "6";

/// The session is over.
pub const CLOSE: &str = "1";

/// The revision of the protocol that a client speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Revision {
    /// `EIO=3`: the clients of Socket.IO 2, which ping the server.
    V3,
    /// `EIO=4`: the clients since Socket.IO 3, which the server pings.
    V4,
}

/// How binary data is told from text where both are messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Binary {
    /// A binary WebSocket message is the data: revision 4.
    Plain,
    /// It begins with the packet's type, which is the byte 4: revision 3.
    Typed,
    /// A text of base64 behind a [mark](Opening::mark), for a client that asked for it with
    /// `b64=1`.
    Base64,
}

/// With what a client came.
#[derive(Clone, Copy, Debug)]
pub struct Opening {
    /// What it speaks.
    pub revision: Revision,
    /// How it wants its binary data.
    pub binary: Binary,
    /// It came by polling, and may go on with a WebSocket.
    pub polling: bool,
}

impl Opening {
    /// A client of revision 4 on a WebSocket.
    pub const WEBSOCKET: Self =
        Self { revision: Revision::V4, binary: Binary::Plain, polling: false };

    /// What stands before base64.
    pub fn mark(self) -> &'static str {
        match self.revision {
            Revision::V3 => "b4",
            Revision::V4 => "b",
        }
    }
}

/// Not a packet; why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed(pub &'static str);

/// A packet that a client may send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Packet<'a> {
    /// It goes.
    Close,
    /// Are you there? With what the answer is to repeat.
    Ping(&'a str),
    /// The answer to a ping.
    Pong,
    /// Text for the layer above.
    Text(&'a str),
    /// Bytes for the layer above.
    Binary(&'a [u8]),
}

impl<'a> Packet<'a> {
    /// Parses what a client sent.
    ///
    /// # Errors
    ///
    /// [`Malformed`] for all that a client of this revision never sends here.
    pub fn parse(revision: Revision, message: Message<'a>) -> Result<Self, Malformed> {
        let text = match message {
            Message::Binary(bytes) => return Ok(Self::Binary(bytes)),
            Message::Text(text) => text,
        };
        match (text.split_at_checked(1), revision) {
            (Some(("4", text)), _) => Ok(Self::Text(text)),
            (Some(("1", "")), _) => Ok(Self::Close),
            (Some(("2", data)), Revision::V3) => Ok(Self::Ping(data)),
            (Some(("3", "")), Revision::V4) => Ok(Self::Pong),
            _ => Err(Malformed("Engine.IO packet")),
        }
    }
}

/// Why a session is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The client said so.
    Closed,
    /// The application said so.
    Disconnected,
    /// The client sent what is no packet, or none that may come now.
    Malformed(Malformed),
    /// The client does not answer pings, or sends none.
    PingTimeout,
    /// The client has joined no namespace in time.
    ConnectTimeout,
    /// The attachments of a packet did not come in time.
    AttachmentTimeout,
    /// The client polled twice at once, or sent twice at once: nothing would have an order.
    Overlap,
}

impl End {
    /// What the WebSocket is closed with.
    pub fn close_code(self) -> CloseCode {
        match self {
            Self::Closed | Self::Disconnected => CloseCode::NORMAL,
            Self::Malformed(_) => CloseCode::PROTOCOL_ERROR,
            _ => CloseCode::POLICY_VIOLATION,
        }
    }

    /// What it is closed with in words.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Closed => "closed by the client",
            Self::Disconnected => "disconnected",
            Self::Malformed(Malformed(what)) => what,
            Self::PingTimeout => "ping timeout",
            Self::ConnectTimeout => "no namespace joined",
            Self::AttachmentTimeout => "attachments missing",
            Self::Overlap => "requests overlap",
        }
    }
}

impl From<Malformed> for End {
    fn from(what: Malformed) -> Self {
        Self::Malformed(what)
    }
}

/// An id that nobody guesses: 20 characters, fit for URLs, of 6 bits each from the system.
///
/// # Errors
///
/// When the system has no entropy to give.
pub fn session_id() -> Result<String, getrandom::Error> {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut random = [0; 20];
    getrandom::fill(&mut random)?;
    Ok(random.iter().map(|&byte| char::from(DIGITS[usize::from(byte & 63)])).collect())
}
