//! What a loop tells its application.
use crate::Handle;
use tickwire::{
    Closed, Error, Message, Receiver,
    handshake::server::{Accept, Rejection, RequestHead},
};

/// An event of a [`Loop`](crate::Loop).
///
/// It lends what it names for the time of the call. So a message costs no copy, and may be sent on
/// through the [`Net`](crate::Net) that comes with the event.
#[derive(Debug)]
// Exhaustive: a program that ignored a new event would lose connections or messages.
pub enum Event<'e, T> {
    /// A client asks for a connection. Its request has passed every check of RFC 6455 §4.2.1. Put
    /// the decision into `answer`. Without a decision the request is rejected, with 403.
    Request {
        /// Names the connection.
        from: Handle,
        /// The request: path, headers, subprotocols.
        request: RequestHead<'e>,
        /// The application's decision.
        answer: &'e mut Answer<T>,
    },
    /// A connection is open: one that was accepted or one that was dialed.
    /// [`Net::connection`](crate::Net::connection) has what was agreed on.
    Open(Handle),
    /// A message arrived. [`Net::connection`](crate::Net::connection) returns `None` for `from`
    /// meanwhile, so keep what you need of it at [`Open`](Self::Open).
    Message {
        /// Names the connection.
        from: Handle,
        /// The message, in the buffer that it was read into.
        message: Message<'e>,
        /// The receiving half, for [`info`](Receiver::info): the time of arrival, and whether more
        /// messages follow.
        receiver: &'e Receiver,
    },
    /// A Ping, Pong or Close arrived. It is answered already, unless the connection's
    /// [`Config`](tickwire::Config) says otherwise.
    Control {
        /// Names the connection.
        from: Handle,
        /// The frame.
        event: tickwire::Event<'e>,
    },
    /// There is room again: in a connection that refused a message with
    /// [`Full`](tickwire::SendError::Full), or in its outbox, if that refused one with
    /// [`Full`](tickwire_parts::PushError::Full). This event comes once after a refusal, or after
    /// several.
    Room(Handle),
    /// A connection is gone, and its handle names nothing. Each connection that was dialed, and
    /// each that was open, has this event once, unless [`remove`](crate::Net::remove) took it.
    Closed {
        /// The name that it had.
        handle: Handle,
        /// Why it ended.
        end: End<'e>,
        /// The application's value.
        value: T,
    },
    /// The time of a timer has come. The number is the application's: see
    /// [`set_timer`](crate::Net::set_timer).
    Timer(u64),
    /// A thread called [`Waker::wake`](crate::Waker::wake).
    Woken,
}

/// Why a connection ended.
#[derive(Debug)]
#[non_exhaustive]
pub enum End<'e> {
    /// It was open, and has closed: the codes of both Closes, and the violation or the deadline if
    /// there was one.
    Closed(Closed<'e>),
    /// It did not become open, or its stream failed.
    Failed(Error),
    /// It was disconnected because all connections together had too many bytes queued, and this
    /// one had the most: see [`max_queued`](crate::Settings::max_queued).
    OverQueued,
}

/// The decision about a request.
#[derive(Debug, Default)]
pub struct Answer<T>(pub(crate) Decision<T>);

#[derive(Debug, Default)]
pub(crate) enum Decision<T> {
    #[default]
    None,
    Accept(Accept<'static>, T),
    Reject(Rejection),
    Defer,
}

impl<T> Answer<T> {
    /// Accepts the request. `value` is the application's value for this connection. For
    /// subprotocols whose names are not constants, [`defer`](Self::defer) and call
    /// [`Net::accept`](crate::Net::accept).
    pub fn accept(&mut self, accept: Accept<'static>, value: T) {
        self.0 = Decision::Accept(accept, value);
    }

    /// Rejects the request. The response gets a Date if it has none.
    pub fn reject(&mut self, rejection: impl Into<Rejection>) {
        self.0 = Decision::Reject(rejection.into());
    }

    /// Decides later, with [`Net::accept`](crate::Net::accept) or
    /// [`Net::reject`](crate::Net::reject): the answer is with another thread, or takes a message
    /// from another connection. After [`handshake_timeout`](tickwire::Config::handshake_timeout)
    /// the request is rejected, with 503.
    pub fn defer(&mut self) {
        self.0 = Decision::Defer;
    }
}

/// Why a message was not queued. Nothing of it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SendError {
    /// The handle names no open connection: it is gone, or not open yet.
    #[error("the handle names no open connection")]
    NotOpen,
    /// The connection refused it. After [`Full`](tickwire::SendError::Full), an
    /// [`Event::Room`] says when there is room.
    #[error(transparent)]
    Refused(#[from] tickwire::SendError),
    /// The connection's outbox refused it. The loop feeds the outbox by itself. So after
    /// [`Full`](tickwire_parts::PushError::Full), push the message again at [`Event::Room`]. After
    /// [`Disconnected`](tickwire_parts::PushError::Disconnected), [`Event::Closed`] follows.
    #[error(transparent)]
    Outbox(#[from] tickwire_parts::PushError),
}

/// What became of a message to many connections.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Sent {
    /// So many connections, or their outboxes, took it.
    pub taken: usize,
    /// So many refused it: they are slow, or closing.
    pub refused: usize,
    /// So many handles named no open connection.
    pub not_open: usize,
}
