//! The receiving side: decrypts arrived ciphertext, as far as there is room for the plaintext.
use super::{
    records::{Fault, Opened},
    session::{Engine, Session},
};
use ::rustls::Error;
use std::{
    boxed::Box,
    io::{self, Read},
    panic::{AssertUnwindSafe, catch_unwind},
};

impl Session {
    /// Opens the records that have arrived, copies their plaintext to `to`, and returns the length
    /// of that plaintext. Plaintext that does not fit waits for the next call. If `to` is not
    /// empty, `Some(0)` means that the peer has sent its close_notify. Later bytes from the peer
    /// are ignored (RFC 8446 §6.1). `None` means that the session needs [more bytes of the
    /// stream](Self::spare_mut).
    ///
    /// # Errors
    ///
    /// All plaintext before an error is returned first. Every later call returns the same error.
    /// `UnexpectedEof` means that the stream ended without a close_notify: data of the peer may be
    /// missing. Any other error is a TLS error with a [`rustls::Error`] inside, for example about
    /// the peer's certificate. If an alert tells the peer the reason, the alert is
    /// [outgoing](Self::outgoing).
    pub fn read(&mut self, to: &mut [u8]) -> io::Result<Option<usize>> {
        let read = self.read_on(to);
        if let Ok(None) = read {
            self.input.shed(); // the wait for the stream may be long
        }
        read
    }

    /// As [`read`](Self::read), but keeps the input buffer, because the caller reads the stream
    /// next.
    ///
    /// # Errors
    ///
    /// As [`read`](Self::read).
    pub fn read_on(&mut self, to: &mut [u8]) -> io::Result<Option<usize>> {
        if to.is_empty() {
            return Ok(Some(0));
        }
        match &mut self.engine {
            Engine::Rustls(_) => self.read_from_rustls(to),
            Engine::Opening(opening) => match opening.read(to) {
                0 if self.ended => Ok(Some(0)),
                0 => self.check().map(|()| None),
                n => Ok(Some(n)),
            },
            Engine::Records(_) | Engine::Failed => self.open(to),
        }
    }

    fn read_from_rustls(&mut self, to: &mut [u8]) -> io::Result<Option<usize>> {
        loop {
            let Engine::Rustls(conn) = &mut self.engine else {
                return Ok(None);
            };
            match conn.reader().read(to) {
                Ok(n) => {
                    self.ended |= n == 0;
                    return Ok(Some(n));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(_) => {
                    self.eof = true;
                    return self.check().map(|()| None);
                }
            }
            if self.input.is_empty() {
                return self.check().map(|()| None);
            }
            self.decrypt();
        }
    }

    /// Opens the records in `input`, as far as there is room for their data.
    fn open(&mut self, to: &mut [u8]) -> io::Result<Option<usize>> {
        let mut end = 0;
        loop {
            end += self.take_plain(to.get_mut(end..).unwrap_or_default());
            if !self.plain.is_empty() || !self.open_one() {
                break;
            }
        }
        match end {
            0 if self.ended => Ok(Some(0)),
            0 => self.check().map(|()| None),
            _ => Ok(Some(end)),
        }
    }

    /// Opens the first record. Returns `false` if no whole record is there, or if the session is
    /// over.
    fn open_one(&mut self) -> bool {
        let Engine::Records(records) = &mut self.engine else {
            return false;
        };
        if self.ended || self.failed.is_some() {
            return false;
        }
        match records.open(self.input.filled_mut()) {
            Ok(Opened::Partial) => return false,
            Ok(Opened::Data { record, plain }) if !plain.is_empty() => {
                (self.record, self.plain) = (record, plain);
            }
            Ok(Opened::Data { record, .. } | Opened::Message { record }) => {
                self.input.consume(record);
            }
            Ok(Opened::End) => {
                self.ended = true;
                self.input.clear();
            }
            Err(fault) => self.fail(fault),
        }
        true
    }

    /// Copies data of the first record to `to`. Removes the record once all its data is read.
    fn take_plain(&mut self, to: &mut [u8]) -> usize {
        let from = self.input.filled().get(self.plain.clone()).unwrap_or_default();
        let len = from.len().min(to.len());
        if let (Some(to), Some(from @ [_, ..])) = (to.get_mut(..len), from.get(..len)) {
            to.copy_from_slice(from);
            self.plain.start += len;
            if self.plain.is_empty() {
                self.input.consume(self.record);
            }
        }
        len
    }

    fn fail(&mut self, fault: Fault) {
        if let (Engine::Records(records), Some(alert)) = (&mut self.engine, fault.alert) {
            records.end(Some(alert), &mut self.out);
        }
        self.failed = Some(fault.error);
        self.input.clear();
    }

    /// Continues the handshake. If rustls keeps the keys, also processes the records after the
    /// handshake.
    fn progress(&mut self) {
        while let (Engine::Opening(opening), None) = (&mut self.engine, &self.failed) {
            let handshaking = opening.state().is_handshaking();
            match opened(self.closed, || opening.take(&mut self.out)) {
                Ok(ended) => self.ended |= ended,
                Err(error) => return self.failed = Some(error),
            }
            if !handshaking || opening.state().is_handshaking() {
                return;
            }
            if opening.gives_keys() {
                self.change();
            }
        }
    }

    /// Takes over the record layer, at the end of the handshake.
    fn change(&mut self) {
        if let Engine::Opening(opening) = core::mem::replace(&mut self.engine, Engine::Failed) {
            match opening.into_records() {
                Ok((records, rest)) => {
                    self.engine = Engine::Records(Box::new(records));
                    self.input = rest;
                }
                Err(error) => self.failed = Some(error),
            }
        }
    }

    /// Processes new input. If the session works in place (`Engine::Records`), `read` opens the
    /// records, and this call leaves them in `input`.
    pub(super) fn go_on(&mut self) {
        match &mut self.engine {
            // Bytes after a close_notify are not data (A98).
            _ if self.ended || self.failed.is_some() => self.input.clear(),
            Engine::Rustls(_) => self.decrypt(),
            Engine::Opening(opening) => {
                opening.push(self.input.filled());
                self.input.clear();
                self.progress();
            }
            Engine::Records(_) | Engine::Failed => {}
        }
    }

    /// Lets rustls decrypt the input, until rustls holds as much plaintext as it allows.
    fn decrypt(&mut self) {
        let Engine::Rustls(conn) = &mut self.engine else {
            return;
        };
        while !self.input.is_empty() {
            match conn.read_tls(&mut self.input.filled()) {
                // rustls reads nothing after a close_notify: later bytes are not data (A98).
                Ok(0) => return self.input.clear(),
                Ok(n) => self.input.consume(n),
                Err(error) => {
                    // If rustls holds all the plaintext that it allows, the caller has to read it
                    // first.
                    let full = opened(self.closed, || conn.process_new_packets());
                    if full.is_ok_and(|state| state.plaintext_bytes_to_read() > 0) {
                        return;
                    }
                    self.failed = Some(Error::General(std::format!("{error}")));
                    return self.input.clear();
                }
            }
            if let Err(error) = opened(self.closed, || conn.process_new_packets()) {
                self.failed = Some(error);
                return self.input.clear();
            }
        }
    }
}

/// Lets rustls process ciphertext. After our close_notify, debug builds of rustls assert that no
/// record is bad, because a bad record would lead to a second alert. This function turns the panic
/// into an error, as in release builds. After this error, rustls gets no more input.
fn opened<T>(closed: bool, open: impl FnOnce() -> Result<T, Error>) -> Result<T, Error> {
    if !closed {
        return open();
    }
    catch_unwind(AssertUnwindSafe(open))
        .unwrap_or_else(|_| Err(Error::General("a bad record behind our close_notify".into())))
}
