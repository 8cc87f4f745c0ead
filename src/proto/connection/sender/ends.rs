//! How the sending half ends: by our Close, by a failure of the connection, or by a failed write.
use super::{
    Sender, State,
    urgent::{AtOnce, Tail},
};
use crate::proto::{
    close::{CloseCode, CloseFrame, IntoClose},
    error::{RecvError, SendError, begun},
    frame::{Control, OpCode},
    tape::Note,
    time::Time,
    trace,
};
use alloc::boxed::Box;
use core::time::Duration;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Leaves {
    #[default]
    No,
    By(Time),
    /// The time has passed, or the clock on writing ran out before.
    Left,
}

impl Leaves {
    fn set(&mut self, by: Time) {
        *self = match *self {
            Self::No => Self::By(by),
            Self::By(before) => Self::By(before.min(by)),
            Self::Left => Self::Left, // The stream is dropped, so another `leave` changes nothing.
        };
    }

    /// The time means nothing in the new epoch of the clock, and counts as passed.
    pub(super) fn restart(&mut self) {
        if *self != Self::No {
            self.set(Time::ZERO);
        }
    }
}

impl Sender {
    /// Starts the closing handshake, or answers the peer's Close. For a peer that may be dead, use
    /// [`leave`](Self::leave).
    ///
    /// The Close goes behind everything queued; `None` sends one with an empty body. After this
    /// call no message is accepted. Automatic Pongs go on until the peer's Close comes.
    ///
    /// An unfinished message in chunks stays unfinished, and the peer notices this. Messages of
    /// [`feed_first`](Self::feed_first) that wait for the end of this message are dropped.
    ///
    /// # Errors
    ///
    /// [`Closed`](SendError::Closed) if this half is closed already;
    /// [`ReasonTooLong`](SendError::ReasonTooLong) if the reason has more than 123 bytes;
    /// [`BadCloseCode`](SendError::BadCloseCode) if a server sends 1010.
    pub fn close<'f>(&mut self, frame: impl IntoClose<'f>) -> Result<(), SendError> {
        let frame = frame.into();
        let body = self.close_body(frame)?;
        self.close_in_order(frame, body.payload());
        Ok(())
    }

    /// Closes at once: drops the data frames that have not begun to leave, so that the Close need
    /// not wait for them. [`dropped`](Self::dropped) counts the bytes of these frames. Messages are
    /// still received, up to the peer's Close.
    ///
    /// # Errors
    ///
    /// As [`close`](Self::close).
    pub fn abort<'f>(&mut self, frame: impl IntoClose<'f>) -> Result<(), SendError> {
        let frame = frame.into();
        let body = self.close_body(frame)?;
        self.close_now(frame, body, true); // `true`: the Close overtakes in any case.
        Ok(())
    }

    /// Leaves a peer that may be dead: closes at once, as [`abort`](Self::abort) does, and ends the
    /// connection at the time `by`, whatever the peer does. `by` is a time of the caller's clock,
    /// and may have passed already. If so, our Close is written only if the stream accepts it at
    /// once. With an adapter, prefer the adapter's `leave`, which also drives the connection to its
    /// end.
    ///
    /// Until `by` the closing handshake goes on as usual, and the connection may end earlier. From
    /// `by` on, nothing more is read or written: drop the stream. If the peer's Close has not come
    /// by then, or our Close has not left, the connection fails with
    /// [`CloseTimeout`](RecvError::CloseTimeout).
    ///
    /// If a Close was queued before and has not begun to leave, it moves forward in the same way,
    /// with the code that it has. If you call this several times, the earliest time counts. If the
    /// connection later moves to another adapter, it ends at once, because `by` means nothing to
    /// that adapter's clock.
    ///
    /// # Errors
    ///
    /// [`ReasonTooLong`](SendError::ReasonTooLong) and [`BadCloseCode`](SendError::BadCloseCode),
    /// as for [`close`](Self::close). On an error nothing has changed.
    pub fn leave<'f>(&mut self, frame: impl IntoClose<'f>, by: Time) -> Result<(), SendError> {
        match self.is_closed() {
            true => self.hasten_close(),
            false => begun(self.abort(frame))?,
        }
        self.leaves.set(by);
        Ok(())
    }

    /// Our Close, which was queued before, overtakes as that of [`abort`](Self::abort) does.
    fn hasten_close(&mut self) {
        if let Some(close) = &mut self.urgent.close {
            close.1 = true;
            return self.place_waiting();
        }
        let payload = self.close.as_deref().map_or(0, |close| 2 + close.reason.len());
        let Self { out, encoder, ledger, urgent, .. } = self;
        let len = encoder.control_header() + payload;
        if !ledger.ended && ledger.close_waits(len, out) {
            // It is the last in order: what may be behind it is spliced in.
            let close = out.last(len).to_vec();
            let mut tail = Tail { out, encoder, ledger };
            if urgent.cut(len, &mut tail) {
                tail.append_again(&close);
            }
        }
    }

    /// `Closed` if this half is closed already, even if the frame is invalid: `fail` relies on
    /// this.
    fn close_body(&self, frame: Option<CloseFrame<'_>>) -> Result<Control, SendError> {
        if self.is_closed() {
            return Err(SendError::Closed);
        }
        let Some(frame) = frame else {
            // An empty body always fits.
            return Control::new([]).ok_or(SendError::ReasonTooLong);
        };
        // §7.4.1: 1010 says that the server did not negotiate an extension, so only clients send
        // it.
        if frame.code == CloseCode::MANDATORY_EXTENSION && !self.encoder.masks() {
            return Err(SendError::BadCloseCode);
        }
        frame.encode().ok_or(SendError::ReasonTooLong)
    }

    /// Drops the overtaking messages that wait for the end of a message in chunks, because no
    /// further chunk is accepted.
    fn close_in_order(&mut self, frame: Option<CloseFrame<'_>>, body: &[u8]) {
        // Waiting frames go before the Close; messages that found no place are dropped next.
        self.place_waiting();
        let Self { out, encoder, ledger, urgent, .. } = self;
        urgent.drop_first(ledger);
        let mut tail = Tail { out, encoder, ledger };
        if urgent.has_controls() {
            // `place_waiting` leaves newer control frames waiting while earlier ones overtake, and
            // our Close might go before them.
            urgent.place_controls(&mut tail);
        }
        tail.append(OpCode::Close, body);
        self.closed(frame);
    }

    /// It may overtake data; [`Urgent::place`](super::urgent::Urgent::place) places it. First the
    /// ledger notes where the data ends, because [`Sender::fed`] must not move back when data is
    /// dropped.
    fn close_now(&mut self, frame: Option<CloseFrame<'_>>, body: Control, at_once: AtOnce) {
        self.ledger.data_ended(&self.out);
        self.urgent.close = Some(Box::new((body, at_once)));
        self.place_waiting();
        self.closed(frame);
    }

    /// If nothing may follow the Close, `close_is_last` must be set before.
    fn closed(&mut self, frame: Option<CloseFrame<'_>>) {
        trace::close_queued(self.encoder.role(), frame);
        self.close = frame.map(|f| Box::new(f.into()));
        self.state = match self.urgent.close_is_last {
            true => State::Closed { broken: false },
            false => State::Closing,
        };
        self.stop();
    }

    /// `state` must be `Closing` or `Closed`.
    fn stop(&mut self) {
        self.deflate = None;
        self.set_admission();
    }

    /// A write or the stream failed, or the peer counts as dead. The unwritten bytes are dropped;
    /// see [`dropped`](Self::dropped).
    ///
    /// Repeated, it only records whether our Close has left by now: if a passed deadline caused the
    /// first call, the stream may have flushed it since.
    pub(crate) fn write_failed(&mut self) {
        // Before the buffers are emptied, because the ledger counts the unwritten messages.
        self.ledger.broken(&self.out, self.urgent.first.len());
        self.out.drop_unwritten();
        self.urgent.clear();
        self.state = State::Closed { broken: true };
        self.stop();
    }

    /// Makes our Close the last frame, and records in `close_gone` whether it has left, which
    /// decides the phase of closing, and whether a clock on writing that ran out is an error.
    ///
    /// If our Close was queued already, Pings and Pongs behind it are dropped: those that wait in
    /// `urgent`; if it has left, also all that have not begun to leave; otherwise also those in the
    /// last splice, if nothing of that was written.
    pub(in crate::proto::connection) fn end_controls(&mut self) {
        self.urgent.close_is_last = true;
        if let State::Closing = self.state {
            self.urgent.drop_controls();
            // Feeding has stopped already, so no `set_admission`.
            self.state = State::Closed { broken: false };
            // Only Pings and Pongs can be behind our Close, and the peer no longer expects them. A
            // frame under way stays, because a stream that ends inside a frame looks like a fault
            // to the peer.
            if self.note_close() {
                self.out.truncate_controls();
                self.ledger.controls_dropped(&self.out);
            } else {
                // If the stream has not accepted all of our Close, the frames behind it are in the
                // last splice. If it has, but has not flushed it, frames behind it may also be in
                // `bytes`, or in a begun splice: these are still written, and the peer ignores
                // them. `truncate_controls` would drop them too, but also forget the refusal, and
                // `close_written` would be true before our Close is flushed.
                //
                // The ledger is not told, because the frames dropped here were not queued in order.
                self.out.drop_last_controls();
            }
        }
    }

    /// See [`close_gone`](Self::close_gone). The first time, the clock on writing is filled.
    fn note_close(&mut self) -> bool {
        if !self.close_gone() && self.ledger.note_close(&self.out) {
            self.out.stall.restart(); // only once: later Pongs move nothing
        }
        self.close_gone()
    }

    /// With the same code (§5.5.1), unless this half is closed already. The caller has called
    /// `end_controls`, so nothing will follow. No `close_body`, because it would refuse 1010, which
    /// even a server echoes.
    pub(in crate::proto::connection) fn answer_close(&mut self, frame: Option<CloseFrame<'_>>) {
        if !self.is_closed() {
            let frame = frame.map(|f| CloseFrame::from(f.code));
            let code = frame.map(|f| f.code.get().to_be_bytes());
            self.close_in_order(frame, code.as_ref().map_or(&[], |code| &code[..]));
        }
    }

    /// Queues a Close behind all queued frames, and drops overtaking messages that find no place
    /// before it. If the stream is blocked before the Close has its place, it overtakes: data
    /// frames that have not begun to leave are dropped, and so are Pings and Pongs without a place.
    /// If this half is closed already, no Close is queued.
    pub(in crate::proto::connection) fn fail(
        &mut self,
        frame: CloseFrame<'_>,
    ) -> Result<(), SendError> {
        // It can fail, so it comes before anything changes.
        let body = match self.close_body(Some(frame)) {
            Err(SendError::Closed) => None,
            body => Some(body?),
        };
        self.end_controls(); // This sets `close_is_last`, which `close_now` reads.
        if let Some(body) = body {
            // Unless the stream is blocked, the Close does not overtake, because the peer may still
            // read the messages fed before.
            self.close_now(Some(frame), body, false);
        }
        Ok(())
    }

    /// With all frames behind it, and the stream does not refuse to flush. `false` after a failed
    /// write, even if our Close had left before: see `close_gone`.
    pub(crate) fn close_written(&self) -> bool {
        matches!(self.state, State::Closing | State::Closed { broken: false })
            && !self.has_outgoing()
            && !self.out.refused()
    }

    /// Only `end_controls`, `write_failed` and `handle_timeout` check this, so it may be `false`
    /// for a while after our Close has left.
    pub(crate) fn close_gone(&self) -> bool {
        self.ledger.close_gone
    }

    pub(crate) fn is_broken(&self) -> bool {
        matches!(self.state, State::Closed { broken: true })
    }

    #[inline]
    pub(crate) fn is_idle(&self) -> bool {
        !self.is_closed() && !self.is_stalled() && !self.pong_waits()
    }

    #[inline]
    pub(crate) fn is_stalled(&self) -> bool {
        self.out.refused()
    }

    pub(crate) fn has_left(&self) -> bool {
        self.leaves == Leaves::Left
    }

    /// Our Close was taken, and with it everything before it, or it cannot be, because a write
    /// failed.
    pub(in crate::proto::connection) fn close_taken(&self) -> bool {
        self.is_broken() || self.ledger.close_left(&self.out)
    }

    // The time of `leave`, and the clock on writing.

    /// Our Close was queued, or no frame may follow it: the peer's came, or receiving has failed.
    fn is_closing(&self) -> bool {
        self.is_closed() || self.urgent.close_is_last
    }

    /// The full time of the clock on writing. Behind our Close only Pings and Pongs wait, and they
    /// take none of the time that the peer has for its own.
    fn full_time(&self) -> Duration {
        if self.close_gone() {
            self.close_timeout
        } else if self.is_closing() {
            self.write_timeout.min(self.close_timeout)
        } else {
            self.write_timeout
        }
    }

    /// Once it closes, the clock runs even if the caller reports no refusal. But a Close of `fail`
    /// overtakes once the stream is known to refuse bytes, and until then `LINGER` bounds it.
    fn clock_runs(&self) -> bool {
        self.out.refused()
            || self.is_closing() && self.urgent.close.is_none() && self.has_outgoing()
    }

    pub(crate) fn leaves_by(&self) -> Option<Time> {
        match self.leaves {
            Leaves::By(by) => Some(by),
            Leaves::No | Leaves::Left => None,
        }
    }

    pub(crate) fn poll_timeout(&self) -> Option<Time> {
        let stalled = self.clock_runs().then(|| self.out.stall.next(self.full_time()));
        Time::earliest(&[stalled, self.leaves_by()])
    }

    /// The first check after the first refused write or flush only starts the clock on writing. If
    /// that or the time of `leave` has run out, this half is closed, and `poll_timeout` returns
    /// `None`, so the loop of `poll_stall` in `drive` ends. The result may be `Ok` even then.
    pub(crate) fn handle_timeout(&mut self, now: Time) -> Result<(), RecvError> {
        self.note_close();
        let waiting = self.out.len() + self.held_back();
        let full = self.full_time();
        let stalled =
            self.clock_runs() && self.out.stall.passed(now, full, self.taken(), waiting as u64);
        let bound = match self.is_closed() && full == self.close_timeout {
            true => RecvError::CloseTimeout,
            false => RecvError::WriteTimeout,
        };
        let left = self.leaves_by().is_some_and(|by| now >= by);
        if !stalled && !left {
            return Ok(());
        }
        // `By` must not stay, even if only the clock on writing has run out: `poll_timeout` must
        // return `None` from now on.
        if self.leaves != Leaves::No {
            self.leaves = Leaves::Left;
        }
        self.write_failed(); // This may set `close_gone`.
        // If the peer's Close came, or receiving has failed, `end_controls` has set
        // `close_is_last`. If our Close has left too, closing does not need the rest of a frame
        // behind it, as in `Phase::Trailing` (`timers.rs`). While the peer's Close is awaited, the
        // result is an error, even if `close_gone` is set.
        match left {
            _ if self.urgent.close_is_last && self.close_gone() => Ok(()),
            true => Err(RecvError::CloseTimeout),
            false => Err(bound),
        }
    }

    /// Without bytes to write, the stream has refused a shutdown, for which the clock on writing
    /// must not run.
    pub(crate) fn write_blocked(&mut self) {
        if self.out.len() > 0 {
            self.out.stall.set(true);
        }
        self.note(Note::Refused);
    }
}
