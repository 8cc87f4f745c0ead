use crate::system::{Note, Stream, System, Token};
use crate::tls::Tls;
use bytes::Buf;
use std::{
    io::{self, ErrorKind},
    time::Instant,
};
use tickwire::order::{Allow, Facts, Input, Todo, order};
use tickwire::{Connection, Ending, Error, Receiver, Report, Sender, Time, handshake::Reading};

/// A `Note` reports a change only once, so the wire remembers it until a call would block.
pub(crate) struct Wire {
    pub(crate) stream: Stream,
    pub(crate) tls: Option<Box<Tls>>,
    readable: bool,
    writable: bool,
    /// The peer has shut its end, or the stream has failed: no `Note` reports any more that there
    /// is something to read.
    shut: bool,
    /// Of a failed write, other than `WouldBlock`. Over io_uring, an accepted write may fail later,
    /// and a `Note` then brings the error.
    pub(crate) broken: Option<ErrorKind>,
    /// The times of reads are recorded.
    stamps: bool,
}

/// What to do once an opening handshake has processed all input that was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum NextAction {
    Read,
    /// A deadline is due.
    TellTime,
    /// End the turn. `until` is the next deadline. `unfinished`: the connection needs a turn in the
    /// next round, even if no `Note` comes.
    Rest {
        unfinished: bool,
        until: Option<Time>,
    },
}

impl NextAction {
    fn after(
        readable: bool,
        share_used: bool,
        now: Time,
        until: impl FnOnce() -> Option<Time>,
    ) -> Self {
        if readable && !share_used {
            return Self::Read;
        }
        match until() {
            Some(at) if at <= now => Self::TellTime,
            until => Self::Rest { unfinished: readable, until },
        }
    }
}

/// What a read that did not fail has brought.
pub(crate) enum Got {
    /// 0 at the end of the stream.
    Bytes(usize),
    /// Nothing yet, but another call may find bytes: a signal came, or TLS has no plaintext yet.
    Again,
    /// The stream has no bytes. If some come, a `Note` reports them.
    Blocked,
}

/// The turn of a connection that is not open yet has stopped.
pub(crate) enum Pause {
    /// The connection waits for its stream, or until this time. If it has come, in the next round.
    Wait(Option<Time>),
    Failed(Error),
}

impl<E: Into<Error>> From<E> for Pause {
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}

impl Wire {
    /// With `readable`, the first turn tries to read without a `Note`. With `stamps`, the times of
    /// reads are recorded.
    pub(crate) fn new(stream: Stream, tls: Option<Box<Tls>>, readable: bool, stamps: bool) -> Self {
        Self { stream, tls, readable, writable: true, shut: false, broken: None, stamps }
    }

    /// To the back end for open connections, where the stream counts as writable at first. With
    /// `stamps`, the times of reads are recorded, even if the kernel records no time of arrival.
    pub(crate) fn opened(self, system: &mut System, token: Token, stamps: bool) -> Self {
        let stream = system.opened(self.stream, token);
        Self { stream, writable: true, stamps: stamps || self.stamps, ..self }
    }

    /// After `shut` the stream counts as readable and writable, so that calls find its end.
    pub(crate) fn note(&mut self, note: &Note) {
        self.shut |= note.shut;
        self.readable |= note.shut || note.readable;
        self.writable |= note.shut || note.writable;
        self.broken = self.broken.or(note.failed);
    }

    pub(crate) fn is_readable(&self) -> bool {
        self.readable || self.holds()
    }

    #[cfg(any(fuzzing, tickwire_tape))]
    pub(crate) fn refuses(&self) -> bool {
        !self.writable
    }

    fn holds(&self) -> bool {
        self.tls.as_ref().is_some_and(|tls| tls.holds)
    }

    /// Nothing can be sealed yet.
    pub(crate) fn is_in_tls_handshake(&self) -> bool {
        self.tls.as_ref().is_some_and(|tls| tls.session.is_handshaking())
    }

    /// Received bytes that are in the TLS session, and not in the connection.
    #[inline]
    pub(crate) fn held(&self) -> usize {
        self.tls.as_ref().map_or(0, |tls| tls.session.buffered())
    }

    /// If a deadline on the peer's silence has passed, also tells how many bytes are unread: once
    /// the connection has received so many, it knows whether the peer was silent.
    pub(crate) fn tell_time(&mut self, system: &mut System, conn: &mut Connection, now: Time) {
        let _ = conn.handle_timeout(now); // `step` returns the error
        if !conn.must_read() {
            return;
        }
        let unread = self.find_unread(system);
        // The stream counts ciphertext, and the connection plaintext, so over TLS only 0 means the
        // same for both.
        if self.tls.is_none() || (unread == 0 && !self.holds()) {
            conn.report(Report::Unread(unread));
        }
    }

    /// If there are any, the wire counts as readable from now on. Perhaps no `Note` has reported
    /// them: the loop may be late, and none comes for bytes after an urgent byte of TCP.
    pub(crate) fn find_unread(&mut self, system: &mut System) -> usize {
        let unread = system.unread(&self.stream) as usize;
        self.readable |= unread > 0;
        unread
    }

    /// Reads into the receiver, without TLS at most `most` bytes. Adds what was read from the
    /// stream to `spent`. The times of reads count from `epoch`.
    ///
    /// # Errors
    ///
    /// The stream's error, or that of TLS.
    #[inline]
    pub(crate) fn receive(
        &mut self,
        system: &mut System,
        to: &mut Receiver,
        epoch: Instant,
        (spent, most): (&mut usize, usize),
    ) -> io::Result<Got> {
        let stamps = self.stamps.then_some(epoch);
        if self.tls.is_some() {
            let before = *spent;
            let got = self.open(system, to.spare_mut(), stamps, spent);
            let Ok(Got::Bytes(n)) = got else {
                if *spent > before {
                    to.heard_below(); // a part of a record, or a record without data
                }
                return got;
            };
            to.commit(n);
            if let (Some(tls), true) = (&self.tls, self.stamps) {
                to.set_read(tls.read_at, system.arrived(&self.stream));
            }
            return got;
        }
        if !self.readable {
            return Ok(Got::Blocked);
        }
        let read = system.receive(&mut self.stream, to, most);
        // When the read ended. After an error it applies to no bytes.
        if let Some(epoch) = stamps {
            to.set_read(Some(Time::new(epoch.elapsed())), system.arrived(&self.stream));
        }
        self.count(read, spent)
    }

    /// Into a slice, without a time: for opening handshakes and rejected requests, in which no
    /// message is read.
    pub(crate) fn read(
        &mut self,
        system: &mut System,
        to: &mut [u8],
        spent: &mut usize,
    ) -> io::Result<Got> {
        match self.tls {
            Some(_) => self.open(system, to, None, spent),
            None => self.read_below_tls(system, to, spent),
        }
    }

    /// Reads what comes in front of TLS.
    pub(crate) fn read_below_tls(
        &mut self,
        system: &mut System,
        to: &mut [u8],
        spent: &mut usize,
    ) -> io::Result<Got> {
        if !self.readable {
            return Ok(Got::Blocked);
        }
        let read = system.read(&mut self.stream, to);
        self.count(read, spent)
    }

    /// Whether a handshake may read. `Some(true)`: unread bytes were found after the deadline. If
    /// the read gets none of them, or too few for a TLS record, the next round has to read again.
    /// `None`: nothing is to be read, because the handshake was told the time; its `step` returns
    /// the error.
    ///
    /// Input is read before the deadline is checked. But once the turn's share is used, the
    /// deadline comes first.
    pub(crate) fn may_read(
        &mut self,
        system: &mut System,
        reading: &mut Reading,
        now: Time,
        share_used: bool,
    ) -> Result<Option<bool>, Pause> {
        match NextAction::after(self.is_readable(), share_used, now, || reading.poll_timeout()) {
            NextAction::Read => Ok(Some(false)),
            NextAction::TellTime if !share_used && self.find_unread(system) > 0 => Ok(Some(true)),
            NextAction::TellTime => {
                let _ = reading.handle_timeout(now);
                Ok(None)
            }
            NextAction::Rest { unfinished: true, .. } => Err(Pause::Wait(Some(now))),
            NextAction::Rest { until, .. } => Err(Pause::Wait(until)),
        }
    }

    /// Reads once, or tells the handshake the time. `spent` counts the bytes that the turn has
    /// read; it may read `most`.
    pub(crate) fn shake(
        &mut self,
        system: &mut System,
        reading: &mut Reading,
        now: Time,
        (spent, most): (&mut usize, usize),
    ) -> Result<(), Pause> {
        let Some(late) = self.may_read(system, reading, now, *spent >= most)? else {
            return Ok(());
        };
        match self.read(system, reading.spare_mut(), spent) {
            Ok(Got::Bytes(0)) => reading.end_of_stream(),
            Ok(Got::Bytes(n)) => reading.commit(n),
            Ok(Got::Again | Got::Blocked) if late => return Err(Pause::Wait(Some(now))),
            Ok(Got::Again | Got::Blocked) => {}
            Err(error) => {
                let _ = self.send(system); // the TLS alert
                return Err(error.into());
            }
        }
        Ok(())
    }

    fn open(
        &mut self,
        system: &mut System,
        to: &mut [u8],
        stamps: Option<Instant>,
        spent: &mut usize,
    ) -> io::Result<Got> {
        // Not reached without TLS: the callers check this.
        let Some(tls) = &mut self.tls else { return Ok(Got::Blocked) };
        // Before a read of the stream.
        if tls.holds {
            return Ok(tls.read(to)?.map_or(Got::Again, Got::Bytes));
        }
        if !self.readable {
            return Ok(Got::Blocked);
        }
        let read = system.read(&mut self.stream, tls.session.spare_mut());
        tls.read_at = stamps.map(|epoch| Time::new(epoch.elapsed()));
        let read = self.count(read, spent);
        let Some(tls) = &mut self.tls else { return read }; // again: `count` borrows all
        match read {
            Ok(Got::Bytes(0)) => tls.session.end_of_stream(),
            Ok(Got::Bytes(n)) => tls.session.commit(n),
            nothing => {
                tls.session.commit(0); // the session then gives its buffer back
                return nothing;
            }
        }
        // A part of a record makes no plaintext yet. The caller checks the turn's limits, and calls
        // again.
        Ok(tls.read(to)?.map_or(Got::Again, Got::Bytes))
    }

    #[inline]
    fn count(&mut self, read: io::Result<(usize, bool)>, spent: &mut usize) -> io::Result<Got> {
        match read {
            Ok((n, drained)) => {
                *spent += n;
                // At the end of the stream `n` is 0, and nothing follows. After `shut`, no `Note`
                // comes, so the stream stays readable.
                self.readable = n > 0 && (!drained || self.shut);
                Ok(Got::Bytes(n))
            }
            Err(error) => {
                self.readable = error.kind() == ErrorKind::Interrupted; // if so, bytes may be there
                match error.kind() {
                    ErrorKind::Interrupted => Ok(Got::Again),
                    ErrorKind::WouldBlock => Ok(Got::Blocked),
                    _ => Err(error),
                }
            }
        }
    }

    /// `false` if the stream accepts no more: the caller then has to call [`tell`](Self::tell).
    #[inline]
    pub(crate) fn write(&mut self, system: &mut System, tx: &mut Sender) -> bool {
        if self.tls.is_some() {
            return self.write_sealed(system, tx);
        }
        let wrote = self.put(system, &mut tx.outgoing()).is_ok();
        match tx.has_outgoing() {
            false => self.broken.is_none(),
            // If `put` wrote all, control frames are left, which the next `outgoing` places.
            true => wrote && self.write_again(system, tx),
        }
    }

    #[cold]
    #[inline(never)]
    fn write_again(&mut self, system: &mut System, tx: &mut Sender) -> bool {
        self.write(system, tx)
    }

    #[inline]
    fn put(&mut self, system: &mut System, out: &mut impl Buf) -> io::Result<()> {
        if !self.writable {
            return Err(ErrorKind::WouldBlock.into());
        }
        let wrote = system.write(&mut self.stream, out);
        if let Err(error) = &wrote {
            self.writable = false; // until a `Note` comes
            if error.kind() != ErrorKind::WouldBlock {
                // The first error is the cause of later ones.
                self.broken.get_or_insert(error.kind());
            }
        }
        wrote
    }

    fn write_sealed(&mut self, system: &mut System, tx: &mut Sender) -> bool {
        loop {
            let sent = self.send(system);
            let Some(tls) = &mut self.tls else { return true }; // not reached: see `write`
            // Ciphertext counts as unsent bytes, so that `high_water` and `write_timeout` hold for
            // it.
            tx.set_unflushed(tls.session.outgoing().len());
            if sent.is_err() || !tx.has_outgoing() {
                return sent.is_ok() && self.broken.is_none(); // as in `write`
            }
            // Only after all ciphertext is written. Until then the rest of the plaintext stays in
            // the connection, where control frames can overtake it and `high_water` limits it.
            match tls.session.write(&mut tx.outgoing()) {
                // Not reached: the TLS handshake is over, and no ciphertext is left, so the session
                // accepts bytes. Without this arm, the `loop` might never end.
                Ok(0) if tls.session.outgoing().is_empty() => return false,
                Ok(_) => {}
                Err(error) => {
                    self.broken.get_or_insert(error.kind());
                    let _ = self.send(system); // the TLS alert
                    return false;
                }
            }
        }
    }

    /// Asks the system whether the stream accepts bytes again; no `Note` has said so yet.
    pub(crate) fn accepts_again(&mut self, system: &mut System) -> bool {
        // After a failed write, no write succeeds.
        let again = !self.writable && self.broken.is_none() && system.accepts_again(&self.stream);
        self.writable |= again;
        again
    }

    /// Before a deadline is judged: the next write asks the stream itself, although no `Note` has
    /// said that it has room. `false` if it has not refused anything, or the kernel asks it itself,
    /// because it has the bytes of the last write.
    pub(crate) fn ask(&mut self, system: &mut System) -> bool {
        let asks = !self.writable && self.broken.is_none() && system.can_ask(&self.stream);
        self.writable |= asks;
        asks
    }

    pub(crate) fn tell(&self, conn: &mut Connection) {
        match self.broken {
            Some(_) => conn.report(Report::WriteFailed), // the peer may still say why
            None => conn.report(Report::WriteBlocked),
        }
    }

    pub(crate) fn send(&mut self, system: &mut System) -> io::Result<()> {
        // Taken out, because `put` borrows the whole wire.
        let Some(mut tls) = self.tls.take() else { return Ok(()) };
        let mut rest = tls.session.outgoing();
        let all = rest.len();
        // With nothing to write, `put` could still fail, because the stream refused earlier bytes.
        let sent = if all > 0 { self.put(system, &mut rest) } else { Ok(()) };
        let n = all - rest.len(); // even after an error: part may be written
        tls.session.advance(n);
        self.tls = Some(tls);
        sent
    }

    /// Bytes of an opening handshake. Returns how many were accepted; 0 before the TLS handshake is
    /// done.
    ///
    /// # Errors
    ///
    /// The stream's error, or if it has none, the TLS session's. Over TLS never `WouldBlock`,
    /// because the session keeps what it accepted.
    pub(crate) fn say(&mut self, system: &mut System, mut text: &[u8]) -> io::Result<usize> {
        let said = match &mut self.tls {
            // An error is returned below, after `send` has written the TLS alert.
            Some(tls) => tls.session.write(&mut text),
            None if text.is_empty() => return Ok(0), // `put` could fail: see `send`
            None => {
                let all = text.len();
                // If this writes some bytes and then fails, only their number is returned. If the
                // failure lasts, the handshake's next read returns the error.
                let wrote = self.put(system, &mut text);
                return if text.len() < all { Ok(all - text.len()) } else { wrote.map(|()| 0) };
            }
        };
        match self.send(system) {
            Err(error) if !is_passing(&error) => Err(error),
            _ => said,
        }
    }

    /// A rejection's response from `said` on, then shuts the stream for writing.
    ///
    /// # Errors
    ///
    /// `WouldBlock` if the stream accepts no more for now; otherwise the stream's error.
    pub(crate) fn say_last(
        &mut self,
        system: &mut System,
        text: &[u8],
        said: &mut usize,
    ) -> io::Result<()> {
        loop {
            // As in `write_sealed`, only after all ciphertext is written: then the TLS session has
            // room. If the stream refuses some, this call ends with the error.
            self.send(system)?;
            let Some(rest @ [_, ..]) = text.get(*said..) else { break };
            *said += match self.say(system, rest)? {
                0 => return Err(ErrorKind::WouldBlock.into()), // the TLS handshake is not done
                n => n,
            };
        }
        self.shut_down(system).then_some(()).ok_or(ErrorKind::WouldBlock.into())
    }

    /// `false` if, for now, the stream does not accept the close_notify of TLS or cannot be shut.
    fn shut_down(&mut self, system: &mut System) -> bool {
        if let Some(tls) = &mut self.tls {
            tls.session.close();
            if self.send(system).is_err_and(|error| is_passing(&error)) {
                return false;
            }
            self.tls = None; // input from now on is only discarded
        }
        match system.shut_down(&mut self.stream) {
            Err(error) => {
                self.writable &= error.kind() != ErrorKind::WouldBlock; // until a `Note` comes
                !is_passing(&error) // other errors: the peer is gone
            }
            Ok(()) => true,
        }
    }

    /// Waits for nothing: if the stream refuses our close_notify, the peer does not get it.
    pub(crate) fn close(mut self, system: &mut System) {
        if self.tls.as_mut().is_some_and(|tls| tls.session.answer_close()) {
            let _ = self.send(system);
        }
        system.close(self.stream);
    }

    /// Shuts the stream if it is time for that. Returns what is left to do for a connection whose
    /// receiving has ended.
    pub(crate) fn end(&mut self, system: &mut System, conn: &mut Connection) -> Ending {
        let facts = Facts { input: Input::Ended(conn.ending()), unsent: false, ..Facts::NEW };
        // After a refused shutdown, the next `Note` causes another try. A deadline limits the wait.
        if order(facts, Allow::ALL) == Todo::ShutDown && self.shut_down(system) {
            conn.report(Report::ShutDown);
        }
        conn.ending() // the calls above may have changed the answer
    }
}

pub(crate) fn is_passing(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted)
}
