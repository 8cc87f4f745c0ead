//! How a connection ends: the closing handshake (RFC 6455 §5.5.1, §7.1), as one table.
//!
//! The states of the peer's Close, of our Close and of the stream determine the [`Phase`].
//! Everything else follows from the phase. A row that names a role is for that role only, and `*`
//! stands for any value. `tests.rs` checks this table against the code, for every combination.
//!
//! | theirs         | ours                            | stream            | role   | phase      | section |
//! |----------------|---------------------------------|-------------------|--------|------------|---------|
//! | Awaited        | None                            | *                 | *      | Open       |         |
//! | Awaited        | Queued, Followed, Written, Lost | *                 | *      | Closing    | §7.1.3  |
//! | Came           | None                            | *                 | *      | Unanswered | §5.5.1  |
//! | Came           | Queued                          | Open, Ended, Shut | *      | Answering  | §5.5.1  |
//! | Came           | Followed                        | Open, Ended, Shut | *      | Trailing   |         |
//! | Violated       | Queued, Followed                | Open, Ended, Shut | *      | Reporting  | §7.1.7  |
//! | Came           | Written                         | Open              | Client | Waiting    | §7.1.1  |
//! | Came           | Written                         | Open              | Server | Shutting   | §7.1.1  |
//! | Violated       | Written                         | Open              | *      | Shutting   | §7.1.7  |
//! | Came, Violated | Written                         | Ended             | *      | Shutting   | §7.1.1  |
//! | Came, Violated | Written                         | Shut              | *      | Discarding | §7.1.1  |
//! | Came, Violated | Queued, Followed, Written       | Gone              | *      | Over       |         |
//! | Violated       | None                            | *                 | *      | Over       |         |
//! | Came, Violated | Lost                            | *                 | *      | Over       |         |
//! | Missing        | *                               | *                 | *      | Over       | §7.1.5  |
//!
//! A phase determines what to do with the stream, the ready state that a browser would show, and
//! how long the phase may take. `LINGER` is a second at most:
//! [`close_timeout`](Config::close_timeout) if that is shorter.
//!
//! | phase      | ending   | ready state | at most       |
//! |------------|----------|-------------|---------------|
//! | Open       | Done     | Open        |               |
//! | Closing    | Done     | Closing     | close_timeout |
//! | Unanswered | Done     | Closing     |               |
//! | Answering  | Flush    | Closing     | close_timeout |
//! | Reporting  | Flush    | Closing     | LINGER        |
//! | Trailing   | Flush    | Closing     | LINGER        |
//! | Waiting    | Discard  | Closing     | close_timeout |
//! | Shutting   | ShutDown | Closing     | LINGER        |
//! | Discarding | Discard  | Closing     | LINGER        |
//! | Over       | Done     | Closed      |               |
use super::{Receiver, Sender};
#[cfg(doc)]
use crate::proto::config::Config;
use crate::proto::{close::CloseFrame, error::RecvError, message::DataKind, role::Role};
use alloc::string::String;
use core::{fmt::Write, time::Duration};

/// How long input is drained after a shutdown. Closing a socket with unread input sends RST instead
/// of FIN. The RST makes the peer discard data that it has not read, which may include our Close.
pub(crate) const LINGER: Duration = Duration::from_secs(1);

/// The state of the peer's Close.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Theirs {
    Awaited,
    Came,
    /// Before a Close came, receiving ended with an error that has a close code: the peer broke the
    /// protocol or a limit, sent no data in time, or the application failed the connection. Our
    /// Close reports the failure.
    Violated,
    /// Before a Close came, receiving ended with any other error: the stream ended, or another
    /// deadline passed.
    Missing,
}

/// The state of our Close.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ours {
    None,
    Queued,
    /// Our Close is written. A Ping or Pong behind it is partly written, and is completed so that
    /// the stream does not end inside a frame.
    Followed,
    Written,
    /// A write failed before our Close was written.
    Lost,
}

/// The state of the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stream {
    Open,
    /// The stream ended: the peer sends nothing more.
    Ended,
    /// The stream was shut for writing.
    Shut,
    /// The stream ended and was shut, or a write failed, or a phase of closing timed out.
    Gone,
}

/// The facts that decide how a connection ends.
#[derive(Clone, Copy, Debug)]
pub(super) struct Closing {
    theirs: Theirs,
    ours: Ours,
    stream: Stream,
    role: Role,
}

/// How far a connection is from its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    Open,
    /// Our Close is queued or sent, and the peer's Close is awaited.
    Closing,
    /// The peer's Close came, and the caller has to answer it.
    Unanswered,
    /// The peer's Close came. Our Close, and everything before it, is being written.
    Answering,
    /// The Close that reports a violation is being written.
    Reporting,
    /// Both Closes have passed. The rest of a Ping or Pong behind ours is being written.
    Trailing,
    /// Everything is written. This end, a client, waits for the server to close the stream first.
    Waiting,
    /// Everything is written, and the stream should be shut for writing.
    Shutting,
    /// Input is discarded until the stream ends.
    Discarding,
    Over,
}

impl Closing {
    /// `shut`: the stream was shut for writing. `given_up`: a phase of closing timed out, so the
    /// stream is dropped as it is.
    pub(super) fn new(role: Role, rx: &Receiver, tx: &Sender, shut: bool, given_up: bool) -> Self {
        let theirs = match rx.error() {
            _ if rx.is_closed() => Theirs::Came,
            None => Theirs::Awaited,
            Some(error) if error.close_code().is_some() => Theirs::Violated,
            Some(_) => Theirs::Missing,
        };
        let ours = match tx {
            _ if tx.close_written() => Ours::Written,
            _ if tx.close_gone() => Ours::Followed,
            _ if tx.is_broken() => Ours::Lost,
            _ if tx.is_closed() => Ours::Queued,
            _ => Ours::None,
        };
        let stream = match (shut, rx.eof) {
            _ if given_up || tx.is_broken() => Stream::Gone,
            (false, false) => Stream::Open,
            (false, true) => Stream::Ended,
            (true, false) => Stream::Shut,
            (true, true) => Stream::Gone,
        };
        Self { theirs, ours, stream, role }
    }

    pub(super) fn phase(self) -> Phase {
        match (self.theirs, self.ours, self.stream) {
            (Theirs::Awaited, Ours::None, _) => Phase::Open,
            (Theirs::Awaited, _, _) => Phase::Closing,
            (Theirs::Came, Ours::None, _) => Phase::Unanswered,
            (Theirs::Missing, _, _) | (_, Ours::None | Ours::Lost, _) | (_, _, Stream::Gone) => {
                Phase::Over
            }
            (Theirs::Came, Ours::Queued, _) => Phase::Answering,
            (Theirs::Came, Ours::Followed, _) => Phase::Trailing,
            (Theirs::Violated, Ours::Queued | Ours::Followed, _) => Phase::Reporting,
            // §7.1.1: the server closes the stream first, so that the server holds the TIME_WAIT
            // state. A client waits for the server's end of the stream, and then shuts its own
            // side, so that the server need not wait until the client drops the stream.
            (Theirs::Came, Ours::Written, Stream::Open) if self.role == Role::Client => {
                Phase::Waiting
            }
            // §7.1.7: a client that fails the connection does not wait.
            (_, Ours::Written, Stream::Open | Stream::Ended) => Phase::Shutting,
            (_, Ours::Written, Stream::Shut) => Phase::Discarding,
        }
    }

    /// The code of our Close, as [`Closed::sent_code`].
    pub(super) fn sent_code(self, tx: &Sender) -> u16 {
        match self.ours {
            Ours::Queued | Ours::Followed | Ours::Written => {
                tx.close_frame().map_or(1005, |frame| frame.code.get())
            }
            Ours::None | Ours::Lost => 1006,
        }
    }

    /// §7.1.4: whether both Close frames have passed, the peer's to us and ours to the peer.
    pub(super) fn is_clean(self) -> bool {
        matches!((self.theirs, self.ours), (Theirs::Came, Ours::Followed | Ours::Written))
    }
}

impl Phase {
    /// What to do with the stream once nothing more is received.
    pub(super) fn ending(self) -> Ending {
        match self {
            Self::Answering | Self::Reporting | Self::Trailing => Ending::Flush,
            Self::Shutting => Ending::ShutDown,
            Self::Waiting | Self::Discarding => Ending::Discard,
            Self::Open | Self::Closing | Self::Unanswered | Self::Over => Ending::Done,
        }
    }

    pub(super) fn ready_state(self) -> ReadyState {
        match self {
            Self::Open => ReadyState::Open,
            Self::Over => ReadyState::Closed,
            _ => ReadyState::Closing,
        }
    }

    /// How long the phase may take. A phase that only the caller can end has no limit.
    pub(super) fn at_most(self, close_timeout: Duration) -> Option<Duration> {
        match self {
            Self::Closing | Self::Answering | Self::Waiting => Some(close_timeout),
            Self::Reporting | Self::Trailing | Self::Shutting | Self::Discarding => {
                Some(close_timeout.min(LINGER))
            }
            Self::Open | Self::Unanswered | Self::Over => None,
        }
    }
}

/// Handles the peer's Close. From here on only the answer to that Close (§5.5.1) is sent. If our
/// Close was sent before, nothing more is sent.
pub(super) fn answer(rx: &Receiver, tx: &mut Sender) {
    tx.end_controls();
    if tx.auto_close {
        tx.answer_close(rx.close_frame());
    }
}

/// Handles an error in receiving. A Close tells the peer why (§7.1.7), unless the network failed.
pub(super) fn fail(error: RecvError, tx: &mut Sender) {
    let Some(code) = error.close_code() else {
        return tx.write_failed(); // The network failed: a Close would not arrive.
    };
    let mut reason = String::new();
    if tx.explains {
        // A String takes everything; `to_string` has a panic for writers that do not.
        let _ = match error {
            RecvError::Protocol(violation) => write!(reason, "{violation}"),
            limit => write!(reason, "{limit}"),
        };
    }
    let told = tx.fail(CloseFrame::with_reason(code, &reason));
    debug_assert_eq!(told, Ok(()), "a reason of ours is short");
}

/// How a connection ended; see [`Connection::closed`](super::Connection::closed).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Closed<'a> {
    /// The close code of the connection (§7.1.5), as in other APIs. It is the code of the peer's
    /// Close, 1005 for a Close without a code, and 1006 if no Close came.
    pub code: u16,
    /// The reason in the peer's Close (§7.1.6), or an empty string. It is for logs, not for end
    /// users. It may contain control characters, so print it with `{:?}`.
    pub reason: &'a str,
    /// The code of the Close that this end sent or has queued. It is 1005 for a Close without a
    /// code, and 1006 without a Close or if a write failed before our Close was written. After a
    /// violation of the protocol or of a limit, `sent_code` belongs to [`error`](Self::error), and
    /// [`code`](Self::code) is 1006. [`Sender::close_frame`](crate::Sender::close_frame) has the
    /// reason.
    pub sent_code: u16,
    /// Whether both Close frames have passed (§7.1.4): the peer's was received, and ours was
    /// written. This does not mean that every message arrived whole. For the peer's messages see
    /// [`cut`](Self::cut), for ours [`Sender::dropped`](crate::Sender::dropped).
    pub clean: bool,
    /// Why nothing more is received, if receiving failed.
    pub error: Option<RecvError>,
    /// The kind of the message that the peer had not finished when it sent its Close. A message
    /// received whole is lost. A message received in chunks was handed out up to here, but no chunk
    /// has `last` set. §5.4 allows a Close inside a message, so this is not a violation.
    pub cut: Option<DataKind>,
}

/// What to do with the stream once [`step`](super::Connection::step) returns
/// [`Closed`](super::Step::Closed) or fails.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
// Exhaustive: a loop that ignored a new variant would never end.
pub enum Ending {
    /// Write the outgoing bytes. They contain our Close, or the rest of a Ping or Pong behind it.
    Flush,
    /// Shut the stream for writing, then call [`shut_down`](super::Connection::shut_down).
    ShutDown,
    /// Read into [`spare_mut`](Receiver::spare_mut) and [`commit`](Receiver::commit) until the
    /// stream ends, then call [`end_of_stream`](Receiver::end_of_stream). No input is kept.
    /// [`handle_timeout`](super::Connection::handle_timeout) bounds the wait: to 1 s for a server
    /// that has shut its side, and to [`close_timeout`](crate::Config::close_timeout) for a client
    /// that waits for the server.
    ///
    /// If a server closed the stream with unread input, the resulting reset would discard the
    /// server's last bytes, including its Close. A client lets the server close first (RFC 6455
    /// §7.1.1), and then shuts its side. A client that fails the connection does not wait: it gets
    /// [`ShutDown`](Self::ShutDown) once its Close is written (§7.1.7).
    Discard,
    /// Drop the stream. If [`auto_close`](Config::auto_close) is off and you have not answered the
    /// peer's Close, keep the stream until you have answered it.
    Done,
}

/// The state of a connection, as a browser shows it. `CONNECTING` is missing, because a connecting
/// socket is a handshake here. The state only moves forward.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
// Exhaustive: a browser has only these states.
pub enum ReadyState {
    /// Messages pass in both directions.
    Open = 1,
    /// A Close was sent, queued or received, or a violation is being reported.
    Closing = 2,
    /// The connection is over, and the stream can be dropped.
    Closed = 3,
}

#[cfg(test)]
mod tests;

#[cfg(kani)]
mod proofs;
