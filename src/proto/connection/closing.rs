//! How a connection ends (RFC 6455 §5.5.1, §7.1): the phases in which an end does what
//! `docs/PROTOCOL.md` says of closing, as two tables.
//!
//! The states of the peer's Close (theirs), of our Close (ours) and of the stream determine the
//! [`Phase`], in two rows together with the role of this end (`*`: any value). `closing/tests.rs`
//! checks both tables against the code, for every combination of states.
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
//! | Overdue        | *                               | Open, Ended       | *      | Leaving    |         |
//! | Overdue        | *                               | Shut              | *      | Draining   |         |
//! | Overdue        | *                               | Gone              | *      | Over       |         |
//! | Missing        | *                               | *                 | *      | Over       | §7.1.5  |
//!
//! A phase determines its ending (what to do with the stream), the ready state that a browser would
//! show, and how long the phase may take. In the second table, `LINGER` stands for one second or
//! [`close_timeout`](Config::close_timeout), whichever is shorter. `Closing` takes at most
//! `close_timeout` from when our Close was taken, or cannot be; before that, and in `Answering`,
//! the clock on writing (`stall.rs`) bounds how long our Close and what lies in front of it may
//! wait. `Leaving` and `Draining` together take at most `close_timeout`.
//!
//! | phase      | ending   | ready state | at most       |
//! |------------|----------|-------------|---------------|
//! | Open       | Done     | Open        |               |
//! | Closing    | Done     | Closing     | close_timeout |
//! | Unanswered | Done     | Closing     |               |
//! | Answering  | Flush    | Closing     |               |
//! | Reporting  | Flush    | Closing     | LINGER        |
//! | Trailing   | Flush    | Closing     | LINGER        |
//! | Waiting    | Discard  | Closing     | LINGER        |
//! | Shutting   | ShutDown | Closing     | LINGER        |
//! | Discarding | Discard  | Closing     | LINGER        |
//! | Leaving    | ShutDown | Closing     | close_timeout |
//! | Draining   | Discard  | Closing     | close_timeout |
//! | Over       | Done     | Closed      |               |
use super::{Receiver, Sender};
#[cfg(doc)]
use crate::proto::config::Config;
use crate::proto::{error::RecvError, message::DataKind, role::Role};
use core::time::Duration;

/// What `Reporting`, `Trailing`, `Waiting`, `Shutting` and `Discarding` may take each. `Discarding`
/// reads input and drops it, because TCP sends RST instead of FIN if a socket is closed with unread
/// input, and the peer's TCP then drops data that the peer has not read, perhaps our Close.
pub(crate) const LINGER: Duration = Duration::from_secs(1);

/// `Draining` drops at most this many bytes, because a peer may never stop sending.
const DRAIN: u64 = 16 << 20;

/// How far the peer's Close has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Theirs {
    Awaited,
    Came,
    /// No Close came: receiving ended with an error that has a close code, for a violation, a
    /// limit, a lack of data, or because the application failed the connection. Our Close reports
    /// it, unless our Close was queued, or a write failed, before.
    Violated,
    /// No Close came within `close_timeout` after ours was taken, or ours was not taken in time,
    /// but other bytes came. The peer may still be reading data that we sent before our Close, and
    /// would lose it if we dropped the stream with unread input: so the stream is shut for writing,
    /// and read until it ends.
    ///
    /// The shutdown does not wait for the rest of a frame that has begun, which the peer has not
    /// taken in time. Behind our Close the peer discards everything (§1.4).
    Overdue,
    /// No Close came: the stream ended, or a deadline has passed whose error has no close code, and
    /// `Overdue` does not apply.
    Missing,
}

/// How far our Close has come. `Written` becomes `Queued` or `Followed` again if a Ping or Pong is
/// queued behind it, or if the stream reports that it has not flushed our Close. A failed write may
/// turn `Written` into `Lost` or `Followed`; reported again, `Lost` into `Followed`, because the
/// stream may have flushed our Close in the meantime.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ours {
    None,
    /// Not known to have left: some bytes of our Close, or of a Ping or Pong behind it, are still
    /// unwritten or unflushed.
    Queued,
    /// Our Close is known to have left. A Ping or Pong behind it is still unwritten or unflushed,
    /// or a write failed after it had left. Without a failed write, the rest is written too, so
    /// that the stream does not end inside a frame.
    Followed,
    /// With all frames behind it, and the stream does not refuse to flush them.
    Written,
    /// A write failed before our Close was written and flushed.
    Lost,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stream {
    Open,
    /// The input has ended, so the peer sends nothing more.
    Ended,
    /// We have shut the stream for writing.
    Shut,
    /// The stream is of no more use:
    /// - A write failed.
    /// - It was shut for writing, and the input has ended too.
    /// - The peer seems dead, a write or a phase of closing took too long, or the time of
    ///   [`Sender::leave`] has come.
    /// - The peer's Close is overdue, and more than `DRAIN` bytes came after the shutdown.
    Gone,
}

/// What neither the receiver nor the sender knows of the stream.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Course {
    /// Bytes received since the stream was shut for writing; `None` before that.
    pub(super) behind: Option<u64>,
    /// See `Theirs::Overdue`.
    pub(super) overdue: bool,
    /// The stream is dropped without a shutdown: the peer seems dead, or closing timed out.
    pub(super) given_up: bool,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Closing {
    theirs: Theirs,
    ours: Ours,
    stream: Stream,
    role: Role,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    Open,
    /// The peer's Close is still awaited. Ours was queued, or a write failed.
    Closing,
    /// The peer's Close came, and the caller has to answer, because automatic Closes are switched
    /// off.
    Unanswered,
    /// The peer's Close came. Ours, and everything before it, is being written.
    Answering,
    /// Receiving failed with an error that has a close code. Our Close, or a Ping or Pong behind
    /// it, is being written.
    Reporting,
    /// Both Closes have passed. The rest of a Ping or Pong behind ours is being written.
    Trailing,
    /// Everything is written. This end is a client, which waits until the server ends the stream.
    Waiting,
    /// Everything is written, and the stream should be shut for writing.
    Shutting,
    /// The stream was shut for writing. Input is discarded until it ends.
    Discarding,
    /// The peer's Close is overdue, and the stream should be shut for writing. Over TLS the
    /// shutdown waits until the stream accepts the ciphertext of all earlier bytes.
    Leaving,
    /// The peer's Close is overdue. The stream was shut for writing, and is read until it ends.
    Draining,
    Over,
}

impl Closing {
    pub(super) fn new(role: Role, rx: &Receiver, tx: &Sender, course: Course) -> Self {
        let Course { behind, overdue, given_up } = course;
        // The order matters. After `CloseTimeout`, `step` still processes the received bytes, and
        // may find the peer's Close or a violation: these come before `overdue`.
        let theirs = match rx.error() {
            _ if rx.is_closed() => Theirs::Came,
            None => Theirs::Awaited,
            Some(error) if error.close_code().is_some() => Theirs::Violated,
            Some(_) if overdue => Theirs::Overdue,
            Some(_) => Theirs::Missing,
        };
        // The order matters: if our Close left before a write failed, it is `Followed`, not `Lost`.
        let ours = match tx {
            _ if tx.close_written() => Ours::Written,
            _ if tx.close_gone() => Ours::Followed,
            _ if tx.is_broken() => Ours::Lost,
            _ if tx.is_closed() => Ours::Queued,
            _ => Ours::None,
        };
        let stream = match (behind.is_some(), rx.eof) {
            _ if given_up || tx.has_left() => Stream::Gone,
            // For `Overdue`, `fail` below has called `write_failed`, so the sender is broken
            // although the stream still works.
            _ if tx.is_broken() && theirs != Theirs::Overdue => Stream::Gone,
            // `None`, before the shutdown, is less.
            _ if theirs == Theirs::Overdue && behind > Some(DRAIN) => Stream::Gone,
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
            (Theirs::Overdue, _, Stream::Open | Stream::Ended) => Phase::Leaving,
            (Theirs::Overdue, _, Stream::Shut) => Phase::Draining,
            (Theirs::Came, Ours::None, _) => Phase::Unanswered,
            // The stream is of no more use, or no Close of ours can leave. (`Came` with `None`,
            // where the caller still has to answer, is above.)
            (Theirs::Missing, _, _) | (_, Ours::None | Ours::Lost, _) | (_, _, Stream::Gone) => {
                Phase::Over
            }
            (Theirs::Came, Ours::Queued, _) => Phase::Answering,
            (Theirs::Came, Ours::Followed, _) => Phase::Trailing,
            (Theirs::Violated, Ours::Queued | Ours::Followed, _) => Phase::Reporting,
            // §7.1.1: the server ends the stream first, so that its TCP, and not the client's,
            // enters TIME_WAIT. A client waits for that, and then shuts its own side.
            (Theirs::Came, Ours::Written, Stream::Open) if self.role == Role::Client => {
                Phase::Waiting
            }
            // §7.1.7: a client that fails the connection does not wait for the server.
            (_, Ours::Written, Stream::Open | Stream::Ended) => Phase::Shutting,
            (_, Ours::Written, Stream::Shut) => Phase::Discarding,
        }
    }

    pub(super) fn sent_code(self, tx: &Sender) -> u16 {
        match self.ours {
            Ours::Queued | Ours::Followed | Ours::Written => {
                tx.close_frame().map_or(1005, |frame| frame.code.get())
            }
            Ours::None | Ours::Lost => 1006,
        }
    }

    /// Both Closes have passed (§7.1.4): the peer's was received, and ours was written.
    pub(super) fn is_clean(self) -> bool {
        matches!((self.theirs, self.ours), (Theirs::Came, Ours::Followed | Ours::Written))
    }
}

impl Phase {
    pub(super) fn ending(self) -> Ending {
        match self {
            Self::Answering | Self::Reporting | Self::Trailing => Ending::Flush,
            Self::Shutting | Self::Leaving => Ending::ShutDown,
            Self::Waiting | Self::Discarding | Self::Draining => Ending::Discard,
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

    /// `Open`, `Answering` and `Over` have no limit of their own, nor has `Unanswered`, which only
    /// the caller can end. While messages may still be on their way, in either direction, it is
    /// `close_timeout`; otherwise at most `LINGER`, because only a few bytes or the end of the
    /// stream are missing, or, in `Reporting`, the connection has failed.
    pub(super) fn at_most(self, close_timeout: Duration) -> Option<Duration> {
        match self {
            Self::Closing | Self::Leaving | Self::Draining => Some(close_timeout),
            Self::Reporting
            | Self::Trailing
            | Self::Waiting
            | Self::Shutting
            | Self::Discarding => Some(close_timeout.min(LINGER)),
            Self::Open | Self::Answering | Self::Unanswered | Self::Over => None,
        }
    }
}

/// Queues our Close in reply (§5.5.1), unless it was queued before, a write has failed, or
/// automatic Closes are off. From now on no frame is queued behind it.
pub(super) fn answer(rx: &Receiver, tx: &mut Sender) {
    tx.end_controls();
    if tx.auto_close {
        tx.answer_close(rx.close_frame());
    }
}

/// Queues a Close with the error's code (§7.1.7), unless ours was queued before or a write has
/// failed. Without a code, ends writing.
pub(super) fn fail(error: RecvError, tx: &mut Sender) {
    let Some(code) = error.close_code() else {
        tx.end_controls(); // so that the sender knows that the peer's Close is not awaited
        return tx.write_failed(); // The stream ended or a deadline passed: a Close is of no use.
    };
    // Never fails: it could refuse only the code 1010, on a server. Only the error `Failed` can
    // have it, and then `Inbound::fail` has closed `tx` before, so that this queues nothing and
    // returns `Ok`.
    let told = tx.fail(code.into());
    debug_assert_eq!(told, Ok(()), "without a reason it fits, and a server has no 1010 here");
}

/// How a connection ended; see [`Connection::closed`](super::Connection::closed).
///
/// Either the peer's Close came, or an error ended receiving. So these values occur, and no others:
///
/// | | the peer's Close came | no Close came |
/// |---|---|---|
/// | `code` | not 1006 | 1006 |
/// | `reason` | empty if `code` is 1005 | empty |
/// | `clean` | `true` only if `sent_code` is not 1006 | `false` |
/// | `error` | `None`, or a deadline that had passed when the Close was processed | always `Some` |
/// | `unconfirmed` | `false` | `true` only with `CloseTimeout` |
/// | `cut` | `Some` or `None` | `None` |
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Closed<'a> {
    /// The close code of the connection (§7.1.5): the code of the peer's Close, 1005 for a Close
    /// without a code, or 1006 if no Close was received.
    pub code: u16,
    /// The reason in the peer's Close (§7.1.6), or an empty string. It is for logs, not for end
    /// users. It may contain control characters, so print it with `{:?}`.
    pub reason: &'a str,
    /// The code of the Close that this end has queued, whether or not this Close is written yet.
    /// The code is 1005 for a Close without a code, and 1006 if no Close was queued. The code is
    /// also 1006 if our Close was not yet written when a write failed or the time for closing
    /// passed. [`Sender::close_frame`](crate::Sender::close_frame) has the reason.
    pub sent_code: u16,
    /// Whether both Closes have passed (§7.1.4): the peer's Close was received, and our Close was
    /// written. It may be `true` beside an [`error`](Self::error), if the peer's Close was found
    /// only after the time for it. This does not mean that every message arrived whole.
    /// [`cut`](Self::cut) tells whether the peer left a message unfinished, and
    /// [`Sender::dropped`](crate::Sender::dropped) whether this end dropped messages.
    pub clean: bool,
    /// Why receiving failed, if it did. If a deadline passed first, and the peer's Close was then
    /// found among the bytes received before, this is the deadline's error, although the peer's
    /// Close came.
    pub error: Option<RecvError>,
    /// Whether closing timed out ([`RecvError::CloseTimeout`]), no Close of the peer came, and the
    /// peer did not even end the stream afterwards. In that case nobody knows how much of the sent
    /// data has arrived, even if this end dropped no byte. `false` proves nothing: only the peer's
    /// answer to our Close shows that everything before our Close has arrived.
    pub unconfirmed: bool,
    /// The kind of the message that the peer had not finished when it sent its Close. With `step`,
    /// the received part of this message is lost. With `step_chunk`, this part was handed out, but
    /// no chunk has `last` set. §5.4 allows a Close inside a message, so this is not a violation.
    pub cut: Option<DataKind>,
}

/// What to do with the stream once [`step`](super::Connection::step) returns
/// [`Closed`](super::Step::Closed) or fails.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
// Exhaustive: a loop that ignored a new variant would never end.
pub enum Ending {
    /// Write the outgoing bytes: our Close and the frames before it, or the rest of a Ping or Pong
    /// behind our Close.
    Flush,
    /// Shut the stream for writing, then report [`ShutDown`](super::Report::ShutDown).
    ShutDown,
    /// Read into [`spare_mut`](Receiver::spare_mut), and call [`commit`](Receiver::commit), until
    /// the stream ends. Then call [`end_of_stream`](Receiver::end_of_stream). The input is thrown
    /// away. [`handle_timeout`](super::Connection::handle_timeout) ends the wait for the stream's
    /// end after at most 1 s. But if the peer's Close did not come in time, the peer may still be
    /// reading our messages. In that case the wait ends after at most
    /// [`close_timeout`](crate::Config::close_timeout), or after 16 MiB of input.
    ///
    /// A server reads on, because TCP resets a connection whose stream is dropped with unread
    /// input. The reset could discard the server's last bytes, including its Close, before the
    /// client has read them. A client reads on until the server ends the stream (RFC 6455 §7.1.1),
    /// and then shuts its side. But a client that fails the connection does not wait: it gets
    /// [`ShutDown`](Self::ShutDown) once its Close is written (§7.1.7).
    Discard,
    /// Drop the stream. But if [`auto_close`](Config::auto_close) is off and you have not answered
    /// the peer's Close, answer it first, and then ask for the `Ending` again.
    Done,
}

/// The state of a connection, with a browser's names and values. `CONNECTING` is missing, because a
/// connection that is still opening is a `Handshake`, not a `Connection`. The state never moves
/// back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
// Exhaustive: besides `CONNECTING`, a browser has only these states.
pub enum ReadyState {
    /// Messages may pass in both directions.
    Open = 1,
    /// A Close was queued, sent or received, or a write failed.
    Closing = 2,
    /// The connection is over, and the stream can be dropped.
    Closed = 3,
}

#[cfg(test)]
mod tests;
