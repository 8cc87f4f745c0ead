//! What the sending half is told of its stream and its clock. Bytes that a stream, such as TLS, has
//! accepted and holds back until a flush are *unflushed*.
use super::Sender;
use crate::proto::tape::{Facts, Note};

impl Sender {
    /// Without vectored writes, a header and its spliced payload would need two, so payloads are
    /// copied instead.
    pub(crate) fn set_flat(&mut self) {
        self.min_vectored = usize::MAX;
    }

    /// Shows at most so many bytes to each write. For a stream that takes a write of any length as
    /// one, though its peer reads nothing: HTTP/2 as hyper has it. Bytes that such a stream has
    /// taken count as written, and no limit of ours holds for them.
    #[doc(hidden)] // for `tickwire-http`
    pub fn limit_writes(&mut self, bytes: usize) {
        self.out.longest_write = bytes.max(1);
        self.set_flat(); // no payload is offered to the stream beside the queue
    }

    /// Tells the sender that the caller's times have another epoch from now on. The clock on
    /// writing starts again with its full time at the next `handle_timeout`. The time of an earlier
    /// `leave` counts as passed.
    pub(in crate::proto::connection) fn restart_clock(&mut self) {
        self.out.stall.restart();
        self.leaves.restart();
        if let Some(trips) = &mut self.urgent.trips {
            trips.restart();
        }
    }

    /// Reports the number of bytes that the stream accepted and still holds; 0 if it has sent all
    /// of them. Over a stream that may hold bytes, such as a TLS session, call this after each
    /// attempt to write. Over a stream that never holds bytes, do not call this: a report of 0
    /// would stop the clock that a refused write has started.
    ///
    /// The bytes that the stream holds count as [buffered](Self::buffered_amount), not as
    /// [written](Self::is_written). They start the clock of
    /// [`write_timeout`](crate::Config::write_timeout), as a [refused
    /// write](crate::Report::WriteBlocked) does, and each byte by which they become fewer counts as
    /// taken. Once the connection has ended or a write has failed, the call starts no clock.
    #[inline]
    pub fn set_unflushed(&mut self, bytes: usize) {
        self.ledger.set_unflushed(bytes, &self.out, self.urgent.first.len());
        // Not `bytes > 0`: after `set_ended` or a failed write, where `held_back` is 0, the clock
        // on writing may not start.
        self.out.stall.set(self.held_back() > 0);
        if bytes > 0 {
            self.note(Note::Refused);
        }
    }

    #[inline(always)]
    pub(crate) fn note(&self, note: Note) {
        self.out.tape.note(note);
    }

    #[inline(always)]
    pub(crate) fn check(&self, note: Note, woken: impl FnOnce() -> bool) {
        self.out.tape.check(note, || Facts {
            whole: true,
            has_outgoing: self.has_outgoing(),
            unflushed: self.held_back() > 0,
            deadline: self.poll_timeout(),
            sending_deadline: self.leaves_by(),
            woken: woken(),
            ..Facts::default()
        });
    }

    /// 0 after `set_ended` or a failed write.
    pub(crate) fn held_back(&self) -> usize {
        self.ledger.held_back()
    }

    /// Nothing more will be written, and what the stream has not flushed counts as written.
    pub(crate) fn set_ended(&mut self) {
        self.ledger.ended = true;
    }
}
