//! A connection's stream, plain or under TLS, and whether it is readable and writable.
use crate::{
    system::{Note, Stream, System},
    tls::Tls,
};
use std::{
    io::{self, ErrorKind},
    time::Instant,
};
use tickwire::{Connection, Ending, Receiver, Sender, Time};

/// A stream that does not block. Notes are edges, so the wire remembers them until a call would
/// block.
pub(crate) struct Wire {
    pub(crate) stream: Stream,
    pub(crate) tls: Option<Box<Tls>>,
    readable: bool,
    writable: bool,
    /// The peer's end is shut, so no further note says that there is something to read.
    shut: bool,
    /// A write has failed for good.
    broken: bool,
    /// The times of its reads are noted.
    stamps: bool,
}

impl Wire {
    /// A connected stream. `readable` makes the first turn try to read, without a note. `stamps`:
    /// whether the times of its reads are noted.
    pub(crate) fn new(stream: Stream, tls: Option<Box<Tls>>, readable: bool, stamps: bool) -> Self {
        Self { stream, tls, readable, writable: true, shut: false, broken: false, stamps }
    }

    pub(crate) fn note(&mut self, note: &Note) {
        self.shut |= note.shut;
        self.readable |= note.shut || note.readable;
        self.writable |= note.shut || note.writable;
    }

    pub(crate) fn is_plain(&self) -> bool {
        self.tls.is_none()
    }

    pub(crate) fn is_readable(&self) -> bool {
        self.readable || self.tls.as_ref().is_some_and(|tls| tls.holds)
    }

    /// Reads into a connection's receiver. `spent` grows by the bytes that the stream gave. The
    /// times of reads count from `epoch`.
    ///
    /// # Errors
    ///
    /// `Interrupted` if the stream gave bytes, but no plaintext yet. `WouldBlock` if it gave none.
    #[inline]
    pub(crate) fn receive(
        &mut self,
        system: &mut System,
        to: &mut Receiver,
        epoch: Instant,
        spent: &mut usize,
    ) -> io::Result<usize> {
        let stamps = self.stamps.then_some(epoch);
        if self.tls.is_some() {
            let n = self.open(system, to.spare_mut(), stamps, spent)?;
            to.commit(n);
            if let (Some(tls), true) = (&self.tls, self.stamps) {
                to.set_read(tls.read_at, system.arrived(&self.stream));
            }
            return Ok(n);
        }
        if !self.readable {
            return Err(ErrorKind::WouldBlock.into());
        }
        let read = system.receive(&mut self.stream, to);
        if let Some(epoch) = stamps {
            to.set_read(Some(Time::new(epoch.elapsed())), system.arrived(&self.stream));
        }
        self.count(read, spent)
    }

    /// Reads plaintext of an opening handshake into a slice, as [`receive`](Self::receive).
    pub(crate) fn read(
        &mut self,
        system: &mut System,
        to: &mut [u8],
        spent: &mut usize,
    ) -> io::Result<usize> {
        if self.tls.is_some() {
            return self.open(system, to, None, spent);
        }
        if !self.readable {
            return Err(ErrorKind::WouldBlock.into());
        }
        let read = system.read(&mut self.stream, to);
        self.count(read, spent)
    }

    /// Opens records of TLS. `stamps`: the epoch, if the time of the read is noted.
    fn open(
        &mut self,
        system: &mut System,
        to: &mut [u8],
        stamps: Option<Instant>,
        spent: &mut usize,
    ) -> io::Result<usize> {
        let Some(tls) = &mut self.tls else { return Ok(0) };
        if let Some(n) = tls.read(to)? {
            return Ok(n);
        }
        if !self.readable {
            return Err(ErrorKind::WouldBlock.into());
        }
        let read = system.read(&mut self.stream, tls.spare_mut());
        tls.read_at = stamps.map(|epoch| Time::new(epoch.elapsed()));
        let read = self.count(read, spent);
        let Some(tls) = &mut self.tls else { return read };
        match read {
            Ok(0) => tls.end_of_stream(),
            Ok(n) => tls.commit(n),
            Err(error) => {
                tls.commit(0);
                return Err(error);
            }
        }
        // The first bytes of a record are no plaintext yet. The turn counts them, and comes back.
        tls.read(to)?.ok_or_else(|| ErrorKind::Interrupted.into())
    }

    /// Notes what a read tells about the stream.
    #[inline]
    fn count(&mut self, read: io::Result<(usize, bool)>, spent: &mut usize) -> io::Result<usize> {
        match read {
            Ok((n, drained)) => {
                *spent += n;
                self.readable = n > 0 && (!drained || self.shut);
                Ok(n)
            }
            Err(error) => {
                self.readable = error.kind() == ErrorKind::Interrupted;
                Err(error)
            }
        }
    }

    /// Reads and drops what comes, once.
    pub(crate) fn discard(&mut self, system: &mut System) -> io::Result<usize> {
        if !self.readable {
            return Err(ErrorKind::WouldBlock.into());
        }
        let read = system.read(&mut self.stream, &mut [0; 4096]);
        self.count(read, &mut 0)
    }

    /// Writes what a connection has to send. Returns `false` if the stream takes no more: then
    /// [`tell`](Self::tell) the connection.
    #[inline]
    pub(crate) fn write(&mut self, system: &mut System, tx: &mut Sender) -> bool {
        if self.tls.is_some() {
            return self.write_sealed(system, tx);
        }
        let wrote = self.writable.then(|| system.write(&mut self.stream, &mut tx.outgoing()));
        if let Some(Err(error)) = &wrote {
            self.refused(error);
        }
        matches!(wrote, Some(Ok(())))
    }

    fn write_sealed(&mut self, system: &mut System, tx: &mut Sender) -> bool {
        loop {
            let sent = self.send(system);
            let Some(tls) = &mut self.tls else { return true };
            tx.set_unflushed(tls.outgoing().len());
            if sent.is_err() || !tx.has_outgoing() {
                return sent.is_ok();
            }
            // Only what the stream is ready to take is sealed. So the rest keeps its order, and
            // its limit.
            match tls.seal(&mut tx.outgoing()) {
                Ok(0) if !tls.has_outgoing() => return false,
                Ok(_) => {}
                Err(_) => {
                    self.broken = true;
                    let _ = self.send(system); // the alert
                    return false;
                }
            }
        }
    }

    /// Tells the connection that the stream takes nothing.
    pub(crate) fn tell(&self, conn: &mut Connection) {
        match self.broken {
            true => conn.write_failed(), // what can still be read may say why
            false => conn.write_blocked(),
        }
    }

    fn refused(&mut self, error: &io::Error) {
        self.writable = false;
        self.broken |= error.kind() != ErrorKind::WouldBlock;
    }

    /// Writes the session's ciphertext.
    ///
    /// # Errors
    ///
    /// `WouldBlock` if the stream takes no more for now.
    pub(crate) fn send(&mut self, system: &mut System) -> io::Result<()> {
        let Some(tls) = &mut self.tls else { return Ok(()) };
        while tls.has_outgoing() {
            if !self.writable {
                return Err(ErrorKind::WouldBlock.into());
            }
            match system.write_slice(&mut self.stream, tls.outgoing()) {
                Ok(n) => tls.advance(n),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => {
                    self.refused(&error);
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    /// Writes bytes of an opening handshake. Returns how many were taken: none before the handshake
    /// of TLS is done.
    pub(crate) fn say(&mut self, system: &mut System, text: &[u8]) -> io::Result<usize> {
        let said = match &mut self.tls {
            Some(tls) => tls.seal_text(text),
            None if text.is_empty() => return Ok(0),
            None if !self.writable => return Err(ErrorKind::WouldBlock.into()),
            None => {
                let wrote = system.write_slice(&mut self.stream, text);
                if let Err(error) = &wrote
                    && error.kind() != ErrorKind::Interrupted
                {
                    self.refused(error);
                }
                return wrote;
            }
        };
        match self.send(system) {
            Err(error) if !is_passing(&error) => Err(error),
            _ => said,
        }
    }

    /// Writes a last text, and shuts the stream. The text is short and the first that is written,
    /// so the stream has room for it.
    pub(crate) fn say_last(&mut self, system: &mut System, text: &[u8]) {
        let _ = self.say(system, text);
        let _ = self.shut_down(system);
    }

    /// Shuts the stream for writing. Returns `false` if it takes no close_notify yet.
    fn shut_down(&mut self, system: &mut System) -> bool {
        if let Some(tls) = &mut self.tls {
            tls.close();
            if self.send(system).is_err_and(|error| is_passing(&error)) {
                return false;
            }
            self.tls = None; // what comes now is dropped
        }
        match system.shut_down(&mut self.stream) {
            Err(error) => !is_passing(&error), // it fails if the peer is gone
            Ok(()) => true,
        }
    }

    /// Does what a connection that is over wants done. Returns whether its stream is still to be
    /// read, and `None` if all is done.
    pub(crate) fn end(&mut self, system: &mut System, conn: &mut Connection) -> Option<bool> {
        if conn.ending() == Ending::ShutDown {
            match self.shut_down(system) {
                true => conn.shut_down(),
                false => conn.write_blocked(),
            }
        }
        match conn.ending() {
            Ending::Flush | Ending::ShutDown => Some(false),
            Ending::Discard => Some(true),
            Ending::Done => None,
        }
    }
}

pub(crate) fn is_passing(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted)
}
