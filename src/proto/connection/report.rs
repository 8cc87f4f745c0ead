//! [`Report`]: what the caller tells a connection of its stream.
use super::{Blocked, Connection};
use crate::proto::tape::Note;

/// What became of a call of the stream that moved no byte: see [`Connection::report`]. (Bytes, and
/// the end of the stream, go to [`Receiver::commit`] and [`Receiver::end_of_stream`].)
///
/// [`Receiver::commit`]: super::Receiver::commit
/// [`Receiver::end_of_stream`]: super::Receiver::end_of_stream
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Report {
    /// A read would block: the stream has nothing to read. Report each such read, and before the
    /// next [`handle_timeout`](Connection::handle_timeout), but no read that you have put off,
    /// because this report may end the connection of a silent peer.
    ReadBlocked,
    /// A read failed. As after the end of the stream, what arrived before is still delivered. But
    /// the peer has not ended the stream, which matters for
    /// [`Closed::unconfirmed`](crate::Closed::unconfirmed) after closing has timed out.
    ReadFailed,
    /// This many bytes lie unread in the stream (FIONREAD). For reads that don't tell whether they
    /// block, as with io_uring, while [`must_read`](Connection::must_read) is `true`: once the
    /// connection has received this number of bytes, it knows whether the peer was silent.
    Unread(usize),
    /// The stream refused the bytes of [`Sender::outgoing`](super::Sender::outgoing), or the
    /// shutdown. Refused bytes start the clock of [`write_timeout`](crate::Config::write_timeout),
    /// which then makes [`poll_timeout`](Connection::poll_timeout) due four times in its full time.
    /// Each time, write again before [`handle_timeout`](Connection::handle_timeout): a stream may
    /// have room for a few bytes long before it says so.
    WriteBlocked,
    /// A write failed. The sender is closed, and its unwritten bytes are dropped;
    /// [`dropped`](super::Sender::dropped) counts those of messages. Receiving goes on, because
    /// the peer's last messages may say why the write failed. It ends with the peer's Close, with
    /// the end of the stream, or after [`close_timeout`](crate::Config::close_timeout), whichever
    /// comes first.
    WriteFailed,
    /// The stream was shut for writing, as [`Next::ShutDown`](super::Next::ShutDown) or
    /// [`Ending::ShutDown`](super::Ending::ShutDown) asked.
    ShutDown,
}

impl Connection {
    /// Reports what became of a read, a write or a shutdown of the stream.
    #[inline(always)] // the caller names the variant, so the `match` costs nothing
    pub fn report(&mut self, report: Report) {
        match report {
            Report::ReadBlocked => {
                self.loop_state.read_blocked();
                self.inbound.rx.read_in_vain();
                self.inbound.read_blocked(Blocked::Surely);
            }
            Report::ReadFailed => self.inbound.rx.stream_failed(),
            Report::Unread(bytes) => {
                self.inbound.note(Note::Unread);
                self.inbound.timers.set_unread(bytes as u64);
            }
            Report::WriteBlocked => {
                self.loop_state.write_blocked();
                self.tx.write_blocked();
            }
            Report::WriteFailed => self.tx.write_failed(),
            Report::ShutDown => self.inbound.shut_down(),
        }
    }
}
