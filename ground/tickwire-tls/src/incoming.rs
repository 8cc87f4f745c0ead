use super::{engine::Engine, fault::alert, records::Opened, session::Session};
use ::rustls::Error;
use std::io;

impl Session {
    /// Opens the records that have arrived, copies their plaintext to `to`, and returns the number
    /// of bytes copied. Plaintext that does not fit waits for the next call. If `to` is not empty,
    /// `Some(0)` means that the peer has sent its close_notify; all later bytes from the peer are
    /// ignored (RFC 9846 §6.1). `None` means that the session needs [more bytes of the
    /// stream](Self::spare_mut).
    ///
    /// # Errors
    ///
    /// If TLS or the stream has failed. The calls first return all plaintext from before the
    /// failure; then every call returns the error. `UnexpectedEof` means that the stream ended
    /// without a close_notify: data of the peer may be missing. Any other error is a TLS error with
    /// a [`rustls::Error`] inside, for example about the peer's certificate. If this end sends an
    /// alert about the error, the alert is [outgoing](Self::outgoing).
    pub fn read(&mut self, to: &mut [u8]) -> io::Result<Option<usize>> {
        let read = self.read_on(to);
        if let Ok(None) = read {
            self.input.shed(); // the wait for the stream may be long
        }
        read
    }

    /// The number of bytes from the stream that wait in the session, to be opened or to be
    /// [read](Self::read). Bytes that rustls holds do not count.
    pub fn buffered(&self) -> usize {
        self.input.len()
    }

    /// Keeps the input buffer for the next read of the stream.
    ///
    /// # Errors
    ///
    /// As [`read`](Self::read).
    pub(super) fn read_on(&mut self, to: &mut [u8]) -> io::Result<Option<usize>> {
        if to.is_empty() {
            return Ok(Some(0)); // below, 0 bytes would mean that more input is needed
        }
        if self.has_nothing() {
            return Ok(None);
        }
        let mut end = 0;
        // Even after a panic we return the data copied so far; the next call returns the error.
        let called = self.call(|session| session.copy_plain(to, &mut end));
        match end {
            0 => called?,
            _ => return Ok(Some(end)),
        }
        // An attacker can end the stream, but cannot forge a close_notify, so an end without one is
        // an error (RFC 9846 §6.1).
        match self.ended {
            true => Ok(Some(0)),
            false => self.check().map(|()| None),
        }
    }

    /// All that came was read, so that only the stream can bring more. A stream of small messages
    /// asks this once a record, and all the rest of `read_on` would find nothing.
    #[inline]
    fn has_nothing(&self) -> bool {
        let open = !self.ended && !self.eof && self.failed.is_none();
        let drained = match &self.engine {
            Engine::Rustls(conn) => conn.has_nothing(),
            Engine::Records(_) => true, // plaintext is in `input`
            _ => false,
        };
        open && drained && self.input.is_empty()
    }

    /// Counts the bytes it has copied in `end`, so that the count survives a panic. Pass 0. An
    /// `Opening` has nothing left to decrypt: [`process`](Self::process) has decrypted all whole
    /// records.
    fn copy_plain(&mut self, to: &mut [u8], end: &mut usize) {
        match &mut self.engine {
            Engine::Rustls(_) => *end += self.read_from_rustls(to),
            Engine::Opening(opening) => *end += opening.read(to),
            Engine::Records(_) => loop {
                *end += self.take_plain(to.get_mut(*end..).unwrap_or_default());
                // If `plain` has data left, `to` is full.
                if !self.plain.is_empty() || !self.open_one(*end > 0) {
                    return;
                }
            },
            // What was decrypted before the panic may be unread.
            Engine::Failed { .. } => *end += self.take_plain(to),
        }
    }

    /// Ends, because each `process` shortens `input`: [`take`](crate::buffered::Buffered::take)
    /// consumes some of it, or fails, and then `process` clears it.
    fn read_from_rustls(&mut self, to: &mut [u8]) -> usize {
        while let Engine::Rustls(conn) = &mut self.engine {
            let len = conn.read(to);
            if len > 0 || self.input.is_empty() {
                return len;
            }
            self.process();
        }
        0
    }

    /// `false` if no more records must be opened now: no whole one is there, the session is over,
    /// or it was an alert or a handshake message and the caller has data (`has_data`), which
    /// otherwise could wait for many KeyUpdates, each as slow as decrypting kilobytes.
    fn open_one(&mut self, has_data: bool) -> bool {
        let Engine::Records(records) = &mut self.engine else {
            return false;
        };
        if self.ended || self.failed.is_some() {
            return false;
        }
        match records.open(self.input.filled_mut(), &mut self.out) {
            Ok(Opened::Partial) => return false,
            Ok(Opened::Data { record, plain }) if !plain.is_empty() => {
                self.record = record;
                self.plain = plain;
            }
            Ok(Opened::Data { record, .. }) => self.input.consume(record),
            Ok(Opened::Message { record }) => {
                self.input.consume(record);
                return !has_data;
            }
            Ok(Opened::End) => {
                self.ended = true;
                self.input.clear();
            }
            Err(error) => {
                records.end(Some(alert(&error)), &mut self.out); // no effect after an earlier alert
                self.fail(error);
            }
        }
        true
    }

    fn take_plain(&mut self, to: &mut [u8]) -> usize {
        let from = self.input.filled().get(self.plain.clone()).unwrap_or_default();
        let len = from.len().min(to.len());
        // Without unread data, `record` is of an earlier record, which must not be consumed twice.
        if let (Some(to), Some(from @ [_, ..])) = (to.get_mut(..len), from.get(..len)) {
            to.copy_from_slice(from);
            self.plain.start += len;
            if self.plain.is_empty() {
                self.input.consume(self.record);
            }
        }
        len
    }

    fn fail(&mut self, error: Error) {
        self.failed = Some(error);
        // Without the bad record, the data of later ones would have a gap.
        self.input.clear();
    }

    fn change(&mut self) {
        // `into_records` consumes rustls' connection, so an error leaves none to go on with.
        // `handshaking: true` then makes `stream::handshake` return it.
        let failed = Engine::Failed { handshaking: true };
        if let Engine::Opening(mut opening) = core::mem::replace(&mut self.engine, failed) {
            let rest = core::mem::take(&mut opening.input);
            match opening.try_map(|opening| opening.into_records().map(Box::new)) {
                Ok(records) => {
                    self.engine = Engine::Records(records);
                    self.input = rest; // `Opening::take` has taken all input
                }
                Err(error) => self.failed = Some(error),
            }
        }
    }

    /// Working in place (`Engine::Records`), this leaves the records in `input`, and `read` opens
    /// them.
    pub(super) fn go_on(&mut self) {
        if self.ended || self.failed.is_some() {
            // Bytes after a close_notify or an error are not data (attack A98), but unread data
            // from before stays.
            if self.plain.is_empty() {
                self.input.clear();
            }
        } else if !self.in_place() {
            let _ = self.call(Self::process); // if it panics, the next read returns the error
        }
    }

    /// Also replaces rustls once it can hand over its keys. The first call has no input: it makes a
    /// client's first message outgoing.
    pub(super) fn process(&mut self) {
        let ended = match &mut self.engine {
            Engine::Rustls(conn) => conn.take(&mut self.input, &mut self.out),
            Engine::Opening(opening) => opening.take(&mut self.input, &mut self.out),
            Engine::Records(_) => return,
            Engine::Failed { .. } => return,
        };
        match ended {
            Ok(false) => {}
            Ok(true) => {
                self.ended = true;
                self.input.clear(); // bytes after a close_notify are not data (attack A98)
            }
            Err(error) => self.fail(error),
        }
        // A session that has failed opens and seals nothing more, so it needs no keys.
        if let (Engine::Opening(opening), None) = (&self.engine, &self.failed)
            && opening.is_done()
        {
            self.change();
        }
    }
}
