//! How a connection ends: the closing handshake (RFC 6455 §5.5.1, §7.1), as one table.
//!
//! The states of the peer's Close, of ours and of the stream give the [`Phase`], and everything
//! else follows from that. A row that names a role is for that role alone; `*` stands for any
//! value. `tests.rs` checks this table against the code, for every combination.
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
//! A phase says what to do with the stream, the ready state that a browser would show, and how long
//! it may take; `brief` is a second, or [`close_timeout`](Config::close_timeout) if that is less.
//!
//! | phase      | ending   | ready state | at most       |
//! |------------|----------|-------------|---------------|
//! | Open       | Done     | Open        |               |
//! | Closing    | Done     | Closing     | close_timeout |
//! | Unanswered | Done     | Closing     |               |
//! | Answering  | Flush    | Closing     | close_timeout |
//! | Reporting  | Flush    | Closing     | brief         |
//! | Trailing   | Flush    | Closing     | brief         |
//! | Waiting    | Discard  | Closing     | close_timeout |
//! | Shutting   | ShutDown | Closing     | brief         |
//! | Discarding | Discard  | Closing     | brief         |
//! | Over       | Done     | Closed      |               |
use super::{Receiver, Sender};
#[cfg(doc)]
use crate::proto::config::Config;
use crate::proto::{close::CloseFrame, error::RecvError, message::DataKind, role::Role};
use alloc::string::{String, ToString};
use core::time::Duration;

/// How long unread input is drained after a shutdown, so that it does not turn FIN into RST.
pub(crate) const LINGER: Duration = Duration::from_secs(1);

/// The state of the peer's Close.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Theirs {
    Awaited,
    Came,
    /// The peer broke the protocol or a limit first, or the application failed the connection: our
    /// Close reports it.
    Violated,
    /// The stream ended or a deadline passed first.
    Missing,
}

/// The state of our Close.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ours {
    None,
    Queued,
    /// Written, and behind it a Ping or Pong was begun that is to be whole.
    Followed,
    Written,
    /// The stream failed to write, before or during it.
    Lost,
}

/// The state of the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stream {
    Open,
    /// The peer sends no more.
    Ended,
    /// It was shut for writing.
    Shut,
    /// Both, or a write failed, or it took too long to end.
    Gone,
}

/// All that decides how a connection ends.
#[derive(Clone, Copy, Debug)]
pub(super) struct Closing {
    theirs: Theirs,
    ours: Ours,
    stream: Stream,
    role: Role,
}

/// How far a connection has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    Open,
    /// Our Close is queued or sent; the peer's is awaited.
    Closing,
    /// The peer's Close came, and the caller has to answer it.
    Unanswered,
    /// Both have closed; ours, and everything before it, is being written.
    Answering,
    /// The same for the Close that reports a violation.
    Reporting,
    /// Both Closes have passed; the rest of a frame behind ours is being written.
    Trailing,
    /// Everything is written; the server is to close the stream first.
    Waiting,
    /// Everything is written; the stream is to be shut for writing.
    Shutting,
    /// Input is discarded until the stream ends.
    Discarding,
    Over,
}

impl Closing {
    /// `shut`: for writing. `given_up`: the last phase took too long, so the stream goes as it is.
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
        let stream = match (shut, rx.at_eof()) {
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
            // §7.1.1: the server closes first; a client waits for that, and shuts its own side
            // then, so that the server need not wait until it drops the stream.
            (Theirs::Came, Ours::Written, Stream::Open) if self.role == Role::Client => {
                Phase::Waiting
            }
            // §7.1.7: but a client that fails the connection does not.
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

    /// §7.1.4: whether both Close frames have passed.
    pub(super) fn is_clean(self) -> bool {
        matches!((self.theirs, self.ours), (Theirs::Came, Ours::Followed | Ours::Written))
    }
}

impl Phase {
    /// What to do with the stream, once nothing more is received.
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

    /// How long it may take.
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

/// The peer's Close came: nothing but its answer (§5.5.1) is sent behind ours from here on.
pub(super) fn answer(rx: &Receiver, tx: &mut Sender) {
    tx.end_controls();
    if tx.auto_close {
        tx.answer_close(rx.close_frame());
    }
}

/// Receiving failed: the peer is told why (§7.1.7), where it is not the network that failed.
pub(super) fn fail(error: RecvError, tx: &mut Sender) {
    let Some(code) = error.close_code() else {
        return tx.write_failed(); // there is nobody to write to
    };
    let reason = match error {
        _ if !tx.explains => String::new(),
        RecvError::Protocol(violation) => violation.to_string(),
        limit => limit.to_string(),
    };
    let told = tx.fail(CloseFrame::with_reason(code, &reason));
    debug_assert_eq!(told, Ok(()), "a reason of ours is short");
}

/// How a connection ended; see [`Connection::closed`](super::Connection::closed).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Closed<'a> {
    /// The close code of the connection (§7.1.5), as in other APIs: that of the peer's Close,
    /// 1005 for one without a code, 1006 if none came.
    pub code: u16,
    /// The reason in the peer's Close (§7.1.6), empty without one: for a log, not for people. It
    /// may hold control characters: print it with `{:?}`.
    pub reason: &'a str,
    /// The code of the Close that this end sent or has queued: 1005 for one without a code, 1006 if
    /// there is none, or if the stream failed before it was written. After a violation or an
    /// exceeded limit of ours it is the one that [`error`](Self::error) calls for, and
    /// [`code`](Self::code) is 1006. The reason is in
    /// [`Sender::close_frame`](crate::Sender::close_frame).
    pub sent_code: u16,
    /// Whether both Close frames have passed (§7.1.4): the peer's was received, and ours was
    /// written. This does not mean that every message arrived whole: see [`cut`](Self::cut), and
    /// [`Sender::dropped`](crate::Sender::dropped) for ours.
    pub clean: bool,
    /// Why nothing more is received, if receiving failed.
    pub error: Option<RecvError>,
    /// The kind of the message that the peer began and, by its Close, left unfinished: the part
    /// received is gone or, for a message in chunks, was handed out without a last piece. §5.4
    /// allows a control frame there, so this is not a violation.
    pub cut: Option<DataKind>,
}

/// What to do with the stream once [`step`](super::Connection::step) says
/// [`Closed`](super::Step::Closed) or fails.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
// Exhaustive: a loop that ignored a new one would never end.
pub enum Ending {
    /// Write the outgoing bytes: our Close is among them, or the rest of a Ping or Pong behind it.
    Flush,
    /// Shut the stream for writing, then call [`shut_down`](super::Connection::shut_down).
    ShutDown,
    /// Read into [`spare_mut`](Receiver::spare_mut) and [`commit`](Receiver::commit) until the
    /// stream ends, then [`end_of_stream`](Receiver::end_of_stream); nothing is kept, and
    /// [`handle_timeout`](super::Connection::handle_timeout) bounds it: with 1 s for a server that
    /// has shut its side, with [`close_timeout`](crate::Config::close_timeout) for a client that
    /// waits for that. If a server closed with unread input, the resulting reset would discard its
    /// last bytes, the Close among them; a client lets the server close first (RFC 6455 §7.1.1),
    /// and then shuts its side. A client that fails the connection does not wait: it is told
    /// [`ShutDown`](Self::ShutDown) once its Close is written (§7.1.7).
    Discard,
    /// Drop the stream. (But if [`auto_close`](Config::auto_close) is off and the peer's Close
    /// is not answered, do nothing until it is.)
    Done,
}

/// The state of a connection, as a browser shows it, without `CONNECTING`, which is a handshake
/// here. It only moves forward.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
// Exhaustive: a browser's.
pub enum ReadyState {
    /// Messages pass both ways.
    Open = 1,
    /// A Close was sent, queued or received, or a violation is being reported.
    Closing = 2,
    /// It is over; the stream can go.
    Closed = 3,
}

#[cfg(test)]
mod tests;
