//! [`Event`]: what a loop reports to its application.
use crate::handle::Handle;
use std::fmt;
use tickwire::{
    CloseCode, Closed, Error, Message, Receiver,
    handshake::server::{Accept, Rejection, RequestHead},
};

/// An event of a [`Loop`](crate::Loop).
///
/// The loop lends the contents of an event until the handler returns. So delivering a message needs
/// no copy. The handler may send the lent message on through the [`Net`](crate::Net) that it gets
/// with the event.
#[derive(Debug)]
// Not `non_exhaustive`: a program that ignored a new kind of event could lose connections or
// messages.
pub enum Event<'e, T> {
    /// A client sent a request for a WebSocket connection, and the request passed every check of
    /// RFC 6455 §4.2.1. Put the decision into `answer`. Without a decision, the loop rejects the
    /// request with 403.
    ///
    /// If a request fails a check, this event does not come. The loop answers the request with the
    /// status that belongs to the failed check, for example with 426 if the request is plain HTTP.
    /// For the health checks of a balancer, see [`Door::health_check`](crate::Door::health_check).
    Request {
        /// Names the connection.
        from: Handle,
        /// The request: path, headers, subprotocols.
        request: RequestHead<'e>,
        /// The application's decision.
        answer: &'e mut Answer<T>,
    },
    /// An accepted or dialed connection is open. [`Net::connection`](crate::Net::connection) tells
    /// what the handshake negotiated.
    Open(Handle),
    /// A message arrived. During this event [`Net::connection`](crate::Net::connection) returns
    /// `None` for `from`, so ask for the connection's facts at [`Open`](Self::Open).
    Message {
        /// Names the connection.
        from: Handle,
        /// The message, in the buffer that it was read into.
        message: Message<'e>,
        /// The receiver, whose [`info`](Receiver::info) tells the time of arrival, and whether more
        /// messages follow.
        receiver: &'e Receiver,
    },
    /// A Ping, Pong or Close arrived. The reply to a Ping or a Close is queued already, unless the
    /// connection's [`Config`](tickwire::Config) has `auto_pong` or `auto_close` off.
    Control {
        /// Names the connection.
        from: Handle,
        /// The frame.
        event: tickwire::Event<'e>,
    },
    /// There is room again, after a sending call of [`Net`](crate::Net) failed because the
    /// connection was [`Full`](tickwire::SendError::Full), or its outbox was
    /// [`Full`](tickwire_parts::PushError::Full). Several refusals may cause only one event. If the
    /// `Sender` from [`Net::sender`](crate::Net::sender) refuses a message, no event follows.
    Room(Handle),
    /// A connection is gone, and its handle now names nothing. This event comes once for each
    /// connection that was dialed or was open, unless [`remove`](crate::Net::remove) removed it.
    Closed {
        /// The handle that named the connection.
        handle: Handle,
        /// Why it ended.
        end: End<'e>,
        /// The application's value.
        value: T,
    },
    /// A timer has fired. The number is the number that the application gave to
    /// [`set_timer`](crate::Net::set_timer).
    Timer(u64),
    /// A thread called [`Waker::wake`](crate::Waker::wake).
    Woken,
}

/// Why a connection ended.
#[derive(Debug)]
#[non_exhaustive]
pub enum End<'e> {
    /// The connection was open and has closed. [`Closed`] has the close codes of both sides. It
    /// also has the error, if there was one: a violation, a passed deadline, or `UnexpectedEof` for
    /// a stream that ended without a Close.
    Closed(Closed<'e>),
    /// The connection did not become open, or its stream failed. A stream has failed if a read
    /// failed, or if a write failed and the peer then sent neither a Close nor a violation. If the
    /// connection was open, its close code by RFC 6455 §7.1.5 is 1006.
    Failed(Error),
    /// The connection's outbox disconnected it with this code, because the peer was too slow. The
    /// end comes when the peer has answered the Close, or after
    /// [`close_timeout`](tickwire::Config::close_timeout).
    Disconnected(CloseCode),
    /// All connections together had too many bytes queued, so the loop disconnected the connections
    /// with the most queued bytes. This connection was one of them: see
    /// [`max_queued`](crate::Settings::max_queued).
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
    /// Accepts the request. `value` is the application's value for this connection. The names of
    /// subprotocols in `accept` have to be `'static`. For other names, [`defer`](Self::defer) the
    /// request and call [`Net::accept`](crate::Net::accept).
    pub fn accept(&mut self, accept: Accept<'static>, value: T) {
        self.0 = Decision::Accept(accept, value);
    }

    /// Rejects the request. The loop adds a Date to the response if it has none. Writing the
    /// response may take up to [`handshake_timeout`](tickwire::Config::handshake_timeout).
    /// Meanwhile the unwritten bytes count as queued. Once the response is written, the client has
    /// a second to read it.
    ///
    /// ```
    /// use tickwire::handshake::server::Rejection;
    /// use tickwire_loop::Answer;
    ///
    /// fn not_found(answer: &mut Answer<()>) {
    ///     answer.reject(Rejection::new(404).body("no such feed"));
    /// }
    /// ```
    pub fn reject(&mut self, rejection: impl Into<Rejection>) {
        self.0 = Decision::Reject(rejection.into());
    }

    /// Decides later, with [`Net::accept`](crate::Net::accept) or
    /// [`Net::reject`](crate::Net::reject). Use this call if the decision needs another thread, or
    /// a message from another connection. From now on, the decision may take
    /// [`handshake_timeout`](tickwire::Config::handshake_timeout). After this time, the loop
    /// rejects the request with 503. If [`max_handshakes`](crate::Settings::max_handshakes)
    /// requests are deferred already, the loop rejects the request at once. A deferred request
    /// counts for this limit even if its client is gone: the loop does not notice this, because it
    /// does not read from the client before the decision.
    pub fn defer(&mut self) {
        self.0 = Decision::Defer;
    }
}

/// Why a message was not queued. No part of the message was queued.
#[derive(Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SendError {
    /// The handle names no open connection: the connection is gone or being dialed, or its request
    /// is not accepted yet.
    #[error("the handle names no open connection")]
    NotOpen,
    /// The connection refused the message. After [`Full`](tickwire::SendError::Full),
    /// [`Event::Room`] tells when there is room.
    #[error(transparent)]
    Refused(#[from] tickwire::SendError),
    /// The connection's outbox refused the message. The loop feeds the messages of the outbox to
    /// the connection by itself. So after [`Full`](tickwire_parts::PushError::Full), you need only
    /// wait for [`Event::Room`] and send the message again. After
    /// [`Disconnected`](tickwire_parts::PushError::Disconnected), [`Event::Closed`] follows.
    #[error(transparent)]
    Outbox(#[from] tickwire_parts::PushError),
}

// As the errors of tickwire: the derived form, then the text, which the other two bring.
impl fmt::Debug for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotOpen => write!(f, "NotOpen: \"{self}\""),
            Self::Refused(error) => f.debug_tuple("Refused").field(error).finish(),
            Self::Outbox(error) => f.debug_tuple("Outbox").field(error).finish(),
        }
    }
}

/// The result of sending a message to many connections.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Sent {
    /// The number of connections that queued the message, directly or in their outboxes.
    pub taken: usize,
    /// The number of connections that refused the message, because they are slow or closing, or are
    /// in the middle of a message in chunks. A connection also counts as closing once its outbox
    /// has [disconnected](tickwire_parts::PushError::Disconnected) it.
    pub refused: usize,
    /// The number of handles that named no open connection.
    pub not_open: usize,
}
