//! A session without I/O: ciphertext in, plaintext out, and the other way.
use super::{
    TlsError,
    buffer::Buffer,
    opening::Opening,
    records::{Fault, Opened, Records},
};
use ::rustls::{
    ClientConfig, ClientConnection, Connection, Error, ServerConfig, ServerConnection,
    pki_types::ServerName,
};
use core::ops::Range;
use std::{
    boxed::Box,
    fmt,
    io::{self, Read, Write},
    sync::Arc,
    vec::Vec,
};

/// A session of TLS, as its stream shows it: versions agreed on, the peer's certificates, the name
/// asked for.
///
/// Where a configuration has `enable_secret_extraction` set and TLS 1.3 is spoken, records are opened
/// where they lie and sealed where they are built, by this crate with the cryptography of the
/// configuration's provider ([`in_place`](Self::in_place)); otherwise rustls does that, with an allocation and two copies
/// more for each. The handshake, the check of certificates, tickets and keys are rustls' in both cases.
pub struct Session {
    pub(super) engine: Engine,
    /// Not all of the handshake is done, written and flushed: the peer may be waiting for the rest,
    /// and the reader sends it. From the first write on, the writer sends everything.
    opening: bool,
    /// Ciphertext that came and has not been decrypted.
    input: Buffer,
    /// In the first record there, which is `record` bytes long, data that nobody has read.
    plain: Range<usize>,
    record: usize,
    /// Ciphertext to be written; rustls has its own.
    out: Buffer,
    /// Why nothing more can be read, after everything before it.
    failed: Option<Error>,
    /// The stream has ended, which may be too early.
    eof: bool,
    /// The peer has announced, in TLS, that it sends no more.
    ended: bool,
    /// We have.
    closed: bool,
}

pub(super) enum Engine {
    /// rustls does it all.
    Rustls(Box<Connection>),
    /// rustls' handshake, which may hand over its keys.
    Opening(Box<Opening>),
    Records(Box<Records>),
    /// The keys could not be had.
    Failed,
}

impl Session {
    /// Whether records are opened and sealed in place, which is decided at the end of the handshake.
    pub fn in_place(&self) -> bool {
        matches!(self.engine, Engine::Records(_))
    }

    /// The session as rustls has it, for exporters and the like; `None` where the configuration has
    /// `enable_secret_extraction` set, with TLS 1.2 too.
    pub fn connection(&self) -> Option<&Connection> {
        match &self.engine {
            Engine::Rustls(conn) => Some(conn),
            _ => None,
        }
    }

    /// As rustls says that a session goes on, whatever its configuration.
    pub(crate) fn new(conn: Connection) -> Self {
        Self::with(Engine::Rustls(Box::new(conn)))
    }

    pub(crate) fn client(
        config: Arc<ClientConfig>,
        name: ServerName<'static>,
        alpn: Vec<Vec<u8>>,
    ) -> Result<Self, Error> {
        if config.enable_secret_extraction {
            Ok(Self::with(Engine::Opening(Box::new(Opening::client(config, name, alpn)?))))
        } else {
            Ok(Self::new(ClientConnection::new_with_alpn(config, name, alpn)?.into()))
        }
    }

    pub(crate) fn server(config: Arc<ServerConfig>) -> Result<Self, Error> {
        // Early data, which nobody reads here, the other shape does not let wait.
        if config.enable_secret_extraction && config.max_early_data_size == 0 {
            Ok(Self::with(Engine::Opening(Box::new(Opening::server(config)?))))
        } else {
            Ok(Self::new(ServerConnection::new(config)?.into()))
        }
    }

    fn with(engine: Engine) -> Self {
        let mut session = Self {
            engine,
            opening: true,
            input: Buffer::default(),
            plain: 0..0,
            record: 0,
            out: Buffer::default(),
            failed: None,
            eof: false,
            ended: false,
            closed: false,
        };
        if let Engine::Opening(opening) = &mut session.engine {
            // A client's first message.
            session.failed = opening.speak(&mut session.out).err();
        }
        session
    }

    pub(crate) fn is_handshaking(&self) -> bool {
        match &self.engine {
            Engine::Rustls(conn) => conn.is_handshaking(),
            Engine::Opening(opening) => opening.state().is_handshaking(),
            Engine::Records(_) | Engine::Failed => false,
        }
    }

    pub(crate) fn is_opening(&self) -> bool {
        self.opening
    }

    fn is_server(&self) -> bool {
        match &self.engine {
            Engine::Rustls(conn) => matches!(**conn, Connection::Server(_)),
            Engine::Opening(opening) => opening.is_server(),
            Engine::Records(records) => records.is_server(),
            Engine::Failed => false,
        }
    }

    /// Whether there is ciphertext to be written.
    pub(crate) fn wants_write(&self) -> bool {
        match &self.engine {
            Engine::Rustls(conn) => conn.wants_write(),
            _ => !self.out.is_empty(),
        }
    }

    /// All ciphertext was written, and the stream flushed.
    pub(crate) fn flushed(&mut self) {
        self.opening &= self.is_handshaking();
        self.out.shed();
    }

    /// All plaintext so far: `Some(0)` after the peer has announced its end,
    /// `None` if the stream has to be read first.
    pub(crate) fn read(&mut self, to: &mut [u8]) -> io::Result<Option<usize>> {
        match &mut self.engine {
            Engine::Rustls(_) => return self.read_from_rustls(to),
            Engine::Opening(opening) => match opening.read(to) {
                0 => self.progress(),
                n => return Ok(Some(n)),
            },
            Engine::Records(_) | Engine::Failed => {}
        }
        // Again, for what has come of that.
        match &mut self.engine {
            Engine::Opening(opening) => match opening.read(to) {
                0 if self.ended => Ok(Some(0)),
                0 => self.check().map(|()| None),
                n => Ok(Some(n)),
            },
            _ => self.open(to),
        }
    }

    fn read_from_rustls(&mut self, to: &mut [u8]) -> io::Result<Option<usize>> {
        loop {
            let Engine::Rustls(conn) = &mut self.engine else {
                return Ok(None);
            };
            match conn.reader().read(to) {
                Ok(n) => {
                    self.ended |= n == 0 && !to.is_empty();
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

    /// Opens what has come, as far as there is room for its data.
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

    /// Opens the first record. Returns whether there was one, and the session goes on.
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

    /// Of the data in the first record, which then makes place for the next.
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

    /// Goes on with the handshake, to what follows it.
    fn progress(&mut self) {
        while let (Engine::Opening(opening), None) = (&mut self.engine, &self.failed) {
            let handshaking = opening.state().is_handshaking();
            match opening.take(&mut self.out) {
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

    /// The handshake is over: from here on records are ours.
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

    /// Whether the session can go on without an end that was not announced, or a failure.
    pub(crate) fn check(&self) -> io::Result<()> {
        let what = match &self.failed {
            Some(error) => return Err(TlsError::from(error.clone()).into_io()),
            None if !self.eof => return Ok(()),
            None if self.is_handshaking() => "stream ended in the TLS handshake",
            None => "stream ended without the close_notify of TLS: data may be missing",
        };
        Err(io::Error::new(io::ErrorKind::UnexpectedEof, what))
    }

    /// Whether a write can at least begin the handshake. A server has to be asked first; since it
    /// does not wait here for a silent client, refusing that client ends at once.
    pub(crate) fn may_write(&self) -> io::Result<()> {
        if self.is_handshaking() && self.is_server() {
            let what = "nothing can be written before the TLS handshake is over";
            return Err(io::Error::new(io::ErrorKind::NotConnected, what));
        }
        Ok(())
    }

    /// To read the stream to its [`room`](Buffer::room), and then to [`receive`](Self::receive) or [`shed`](Self::shed) it.
    /// To be called only if [`read`](Self::read) asked for it.
    pub(crate) fn lend(&mut self) -> Buffer {
        core::mem::take(&mut self.input)
    }

    /// Takes the buffer back with `len` bytes more; none are the end of the stream.
    pub(crate) fn receive(&mut self, mut wire: Buffer, len: usize) {
        wire.commit(len);
        self.input = wire;
        self.eof |= len == 0;
        self.advance();
    }

    /// Goes on with what has come, as far as that is done before it is read.
    fn advance(&mut self) {
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

    /// Takes bytes that were read before the session began.
    pub(crate) fn begin_with(&mut self, ahead: &[u8]) {
        if !ahead.is_empty() {
            self.input.push(ahead);
            self.advance();
        }
    }

    /// Has rustls decrypt what has come, up to as much plaintext as it keeps at a time.
    fn decrypt(&mut self) {
        let Engine::Rustls(conn) = &mut self.engine else {
            return;
        };
        let mut plain = 0;
        while !self.input.is_empty() {
            match conn.read_tls(&mut self.input.filled()) {
                // The end, or bytes after a close_notify, which are not data (A98).
                Ok(0) => return self.input.clear(),
                Ok(n) => self.input.consume(n),
                Err(_) if plain > 0 => return,
                Err(error) => {
                    self.failed = Some(Error::General(std::format!("{error}")));
                    return self.input.clear();
                }
            }
            match conn.process_new_packets() {
                Ok(state) => plain = state.plaintext_bytes_to_read(),
                Err(error) => {
                    self.failed = Some(error);
                    return self.input.clear();
                }
            }
        }
    }

    /// Takes the buffer back as it was, and gives away the memory that holds nothing.
    pub(crate) fn shed(&mut self, wire: Buffer) {
        self.input = wire;
        self.input.shed();
        self.out.shed();
    }

    /// Encrypts, some 64 KiB at most, all slices together in the fewest records. To be
    /// called only when the handshake is done.
    pub(crate) fn write(&mut self, from: &[io::IoSlice<'_>]) -> io::Result<usize> {
        let taken = match &mut self.engine {
            Engine::Rustls(conn) => match from {
                [one] => conn.writer().write(one),
                several => conn.writer().write_vectored(several),
            }?,
            // Our alert was the last that is sent, and rustls is not to be asked again.
            _ if self.failed.is_some() => {
                return self.check().map(|()| 0);
            }
            Engine::Opening(opening) => opening
                .write(from, &mut self.out)
                .map_err(|error| TlsError::from(error).into_io())?,
            Engine::Records(records) => records
                .write(from, &mut self.out)
                .map_err(|error| TlsError::from(error).into_io())?,
            Engine::Failed => 0,
        };
        self.opening &= taken == 0;
        Ok(taken)
    }

    /// Ciphertext to the stream.
    pub(crate) fn write_tls(&mut self, to: &mut dyn Write) -> io::Result<usize> {
        if let Engine::Rustls(conn) = &mut self.engine {
            return conn.write_tls(to);
        }
        let written = to.write(self.out.filled())?;
        self.out.consume(written);
        Ok(written)
    }

    /// Announces that nothing more is sent.
    pub(crate) fn close(&mut self) {
        self.closed = true;
        match &mut self.engine {
            Engine::Rustls(conn) => conn.send_close_notify(),
            Engine::Opening(_) if self.failed.is_some() => {}
            Engine::Opening(opening) => opening.close(&mut self.out),
            Engine::Records(records) => records.end(None, &mut self.out),
            Engine::Failed => {}
        }
    }

    /// Whether the peer has announced its end and we have not announced ours.
    pub(crate) fn owes_close(&self) -> bool {
        self.ended && !self.closed && self.failed.is_none()
    }
}

/// Shows neither keys nor data.
impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("protocol_version", &self.protocol_version())
            .field("in_place", &self.in_place())
            .finish_non_exhaustive()
    }
}
