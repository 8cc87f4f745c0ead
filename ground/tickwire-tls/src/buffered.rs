//! rustls' buffered connection, for the sessions whose records rustls opens and seals. We call
//! `read_tls` only while `wants_read`, and `write_tls` only while `wants_write`, as rustls' own
//! streams do: rustls 0.23 panics on some inputs otherwise.
use super::buffer::Buffer;
use ::rustls::{CommonState, Connection, Error};
use std::io::{self, IoSlice, Read, Write};

/// How many bytes of ciphertext may wait to be written. rustls has the same bound.
pub(super) const WAITING: usize = 64 << 10;

/// Each method with an `out` moves all of rustls' ciphertext into it.
pub(super) struct Buffered(Connection);

impl Buffered {
    pub(super) fn new(conn: Connection) -> Self {
        Self(conn)
    }

    pub(super) fn connection(&self) -> &Connection {
        &self.0
    }

    pub(super) fn is_server(&self) -> bool {
        matches!(self.0, Connection::Server(_))
    }

    pub(super) fn state(&self) -> &CommonState {
        &self.0
    }

    fn speak(&mut self, out: &mut Buffer) {
        // A `Buffer` takes everything, so no write fails.
        while self.0.wants_write() && self.0.write_tls(out).is_ok() {}
    }

    /// Opens records of `input` until rustls holds plaintext, or until the peer's close_notify,
    /// after which (`true`) rustls must get no more bytes. What rustls has not read stays in
    /// `input`.
    pub(super) fn take(&mut self, input: &mut Buffer, out: &mut Buffer) -> Result<bool, Error> {
        // `speak` first: in the handshake, rustls reads nothing while it has bytes to write.
        self.speak(out);
        let mut ended = false;
        // `wants_read` is false while rustls holds plaintext, and after the close_notify.
        while !input.is_empty() && self.0.wants_read() {
            match self.0.read_tls(&mut input.filled()) {
                // Without this error, the loop would never end.
                Ok(0) => return Err(Error::General("rustls took no input".into())),
                Ok(n) => input.consume(n),
                // A handshake message has filled rustls' buffer of 64 KiB. This function returns an
                // error of rustls, so the text of the `io::Error` goes into a `General` error.
                Err(error) => return Err(Error::General(error.to_string())),
            }
            let processed = self.0.process_new_packets();
            self.speak(out); // even after an error, because rustls then has an alert to write
            ended = processed?.peer_has_closed();
        }
        Ok(ended)
    }

    /// rustls holds neither plaintext nor the peer's close_notify.
    pub(super) fn has_nothing(&self) -> bool {
        self.0.wants_read()
    }

    /// 0 if rustls has no plaintext, for which its reader returns an error. All other errors were
    /// returned by `take`.
    pub(super) fn read(&mut self, to: &mut [u8]) -> usize {
        self.0.reader().read(to).unwrap_or(0)
    }

    /// Seals nothing while `out` holds `WAITING` bytes, and at most rustls' buffer limit (`WAITING`
    /// by default) otherwise, so `out` may reach about twice `WAITING`.
    pub(super) fn write(&mut self, from: &[IoSlice<'_>], out: &mut Buffer) -> io::Result<usize> {
        if out.len() >= WAITING {
            return Ok(0);
        }
        let taken = self.0.writer().write_vectored(from);
        self.speak(out); // always, so that rustls holds no ciphertext after this call
        taken
    }

    pub(super) fn close(&mut self, out: &mut Buffer) {
        self.0.send_close_notify();
        self.speak(out);
    }
}
