//! A session without I/O: ciphertext in, plaintext out, and the other way.
use crate::{
    ALPN, TlsError,
    buffer::Buffer,
    opening::Opening,
    records::{Records, WAITING},
};
use ::rustls::{
    ClientConfig, ClientConnection, Connection, Error, ServerConfig, ServerConnection,
    pki_types::ServerName,
};
use bytes::Buf;
use core::ops::Range;
use std::{
    boxed::Box,
    fmt,
    io::{self, IoSlice, Write},
    sync::Arc,
    vec,
};

/// A stream's read that took more ciphertext than this, and no data, lets others have their turn:
/// tasks, deadlines. No record is cut short by it, nor the longest handshake message in full
/// records.
pub const BARREN: usize = 128 << 10;

/// A TLS session without I/O: ciphertext in and plaintext out, plaintext in and ciphertext out.
///
/// It stands between a stream and a protocol. Each turn of a loop makes these calls, in this order:
///
/// 1. [`read`](Self::read) plaintext, and hand it to the protocol.
/// 2. [`write`](Self::write) what the protocol has to send.
/// 3. Write what is [`outgoing`](Self::outgoing) here to the stream, then
///    [`advance`](Self::advance). Go back to 2 if the protocol still has some. A session has its
///    own words to send, whatever the protocol does: handshakes, tickets, alerts.
/// 4. Where `read` returned `None`, read the stream into [`spare_mut`](Self::spare_mut) and
///    [`commit`](Self::commit), or say that it [ended](Self::end_of_stream).
///
/// The handshake needs nothing else. Sessions stack: the stream may itself be a `Session`, as for
/// `wss` through an HTTPS proxy. A session has no deadlines, so the caller bounds the time that the
/// handshake takes, and the time for which the stream takes nothing of what is outgoing.
///
/// ```
/// use std::io;
/// use tickwire_tls::Session;
///
/// /// A turn, between a session and the other end's. Whether there was anything to do.
/// fn turn(tls: &mut Session, said: &mut &[u8], heard: &mut Vec<u8>, far: &mut Session) -> io::Result<bool> {
///     let mut plain = [0; 1024];
///     let read = tls.read(&mut plain)?;
///     heard.extend_from_slice(&plain[..read.unwrap_or(0)]);
///     tls.write(said)?;
///     let sent = tls.has_outgoing();
///     while tls.has_outgoing() {
///         let out = tls.outgoing(); // a loop would write it to its stream
///         let room = far.spare_mut();
///         let n = out.len().min(room.len());
///         room[..n].copy_from_slice(&out[..n]);
///         far.commit(n);
///         tls.advance(n);
///     }
///     Ok(sent || read.is_some())
/// }
/// # use tickwire_tls::rustls::{self, pki_types::{PrivateKeyDer, ServerName}};
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let pair = rcgen::generate_simple_self_signed(["localhost".into()])?;
/// # let certificate = pair.cert.der().clone();
/// # let key = PrivateKeyDer::try_from(pair.signing_key.serialize_der())?;
/// # let mut roots = rustls::RootCertStore::empty();
/// # roots.add(certificate.clone())?;
/// # let trusting = rustls::ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
/// # let certified = rustls::ServerConfig::builder().with_no_client_auth().with_single_cert(vec![certificate], key)?;
///
/// let mut near = Session::client(trusting.into(), ServerName::try_from("localhost")?)?;
/// let mut far = Session::server(certified.into())?;
/// let (mut question, mut answer): (&[u8], &[u8]) = (b"ping", b"pong");
/// let (mut asked, mut answered) = (Vec::new(), Vec::new());
/// while turn(&mut near, &mut question, &mut answered, &mut far)?
///     | turn(&mut far, &mut answer, &mut asked, &mut near)?
/// {}
/// assert_eq!((&asked[..], &answered[..]), (&b"ping"[..], &b"pong"[..]));
/// # Ok(())
/// # }
/// ```
///
/// **Closing.** Before the stream is shut for writing, call [`close`](Self::close) and write what
/// is outgoing. Where `read` fails, keep its error and write what is outgoing, which is the alert.
///
/// Where a configuration has `enable_secret_extraction` set and TLS 1.3 is spoken, records are
/// opened where they lie and sealed where they are built, by this crate with the cryptography of
/// the configuration's provider ([`in_place`](Self::in_place)). Otherwise rustls does that, with an
/// allocation and two copies more for each record. The handshake, the check of certificates,
/// tickets and keys are rustls' in both cases.
pub struct Session {
    pub(super) engine: Engine,
    /// Not all of the handshake is done, written and flushed: the peer may be waiting for the rest,
    /// and the reader sends it. From the first write on, the writer sends everything.
    opening: bool,
    /// Ciphertext that came and has not been decrypted.
    pub(super) input: Buffer,
    /// In the first record there, which is `record` bytes long, data that nobody has read.
    pub(super) plain: Range<usize>,
    pub(super) record: usize,
    /// Ciphertext to be written; rustls may have more.
    pub(super) out: Buffer,
    /// Why nothing more can be read, after everything before it.
    pub(super) failed: Option<Error>,
    /// The stream has ended, which may be too early.
    pub(super) eof: bool,
    /// The peer has announced, in TLS, that it sends no more.
    pub(super) ended: bool,
    /// We have.
    pub(super) closed: bool,
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
    /// Whether records are opened and sealed in place, which is decided at the end of the
    /// handshake.
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

    /// With a session of rustls' that was made elsewhere and has read nothing yet: rustls opens and
    /// seals its records, whatever its configuration.
    pub fn new(conn: impl Into<Connection>) -> Self {
        Self::with(Engine::Rustls(Box::new(conn.into())))
    }

    /// As a client of the server `name`: its certificate has to be for that name, whatever was
    /// dialed. ALPN asks for HTTP/1.1, whatever `config` says. For the platform's roots there is
    /// [`platform_config`](crate::platform_config). The first message is [outgoing](Self::outgoing)
    /// at once.
    ///
    /// # Errors
    ///
    /// For a host that is not a name for TLS.
    pub fn client(
        config: Arc<ClientConfig>,
        name: impl TryInto<ServerName<'static>>,
    ) -> Result<Self, TlsError> {
        let name = name.try_into().map_err(|_| TlsError::from(Error::UnsupportedNameType))?;
        let alpn = vec![ALPN.to_vec()];
        if config.enable_secret_extraction {
            Ok(Self::with(Engine::Opening(Box::new(Opening::client(config, name, alpn)?))))
        } else {
            Ok(Self::new(ClientConnection::new_with_alpn(config, name, alpn)?))
        }
    }

    /// As a server. Set `alpn_protocols` of its configuration to `http/1.1` alone, and
    /// `enable_secret_extraction` to have records [in place](Self::in_place).
    ///
    /// # Errors
    ///
    /// For an inconsistent configuration.
    pub fn server(config: Arc<ServerConfig>) -> Result<Self, TlsError> {
        // Early data, which nobody reads here, the other shape does not let wait.
        if config.enable_secret_extraction && config.max_early_data_size == 0 {
            Ok(Self::with(Engine::Opening(Box::new(Opening::server(config)?))))
        } else {
            Ok(Self::new(ServerConnection::new(config)?))
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

    // Inputs.

    /// Room to read the stream to, 4 KiB at least. To be asked for where [`read`](Self::read) gave
    /// `None`: what was committed and is not read waits here, however much it is. The room is the
    /// thread's, and goes back to it when `read` gives `None` again, or with a `commit` of 0 bytes.
    pub fn spare_mut(&mut self) -> &mut [u8] {
        self.input.room()
    }

    /// Says that `n` bytes were read into [`spare_mut`](Self::spare_mut): 0, if the stream had
    /// none; its end is [`end_of_stream`](Self::end_of_stream). Goes on with the handshake.
    ///
    /// # Panics
    ///
    /// If `n` is more than there was room for.
    pub fn commit(&mut self, n: usize) {
        self.input.commit(n);
        match n {
            0 => self.shed(),
            _ => self.go_on(),
        }
    }

    /// Says that the stream ended. What came is still to be read; then, if the peer had not
    /// announced its end (RFC 8446 §6.1), comes the error `UnexpectedEof`.
    pub fn end_of_stream(&mut self) {
        self.eof = true;
    }

    // Commands.

    /// Seals plaintext in the fewest records, and advances `from` by it. Returns the number of
    /// bytes sealed. At most 64 KiB of ciphertext may be [outgoing](Self::outgoing); write it out,
    /// then call again. Returns 0 during the TLS handshake.
    ///
    /// The stream has what was sealed once nothing is [outgoing](Self::has_outgoing) here.
    ///
    /// # Errors
    ///
    /// That of [`read`](Self::read), once the handshake has failed or `read` has returned it,
    /// whether there is anything to seal or not: the alert is outgoing. `BrokenPipe` after
    /// [`close`](Self::close).
    pub fn write(&mut self, from: &mut impl Buf) -> io::Result<usize> {
        if self.is_handshaking() {
            return self.check().map(|()| 0);
        }
        let mut all = 0;
        while from.has_remaining() {
            let mut slices = [IoSlice::new(&[]); 16];
            let n = from.chunks_vectored(&mut slices);
            let taken = self.write_slices(slices.get(..n).unwrap_or_default())?;
            if taken == 0 {
                break;
            }
            from.advance(taken);
            all += taken;
        }
        Ok(all)
    }

    /// Announces that nothing more is sent, by a close_notify, which is [outgoing](Self::outgoing)
    /// then: before the stream is shut for writing. What the peer sends can still be read (RFC 8446
    /// §6.1). A peer's close_notify is not answered until this is called. During the handshake a
    /// session in place says nothing.
    ///
    /// A bad record behind this is an error as ever, also where a debug build of rustls 0.23
    /// asserts that there is none: its panic is caught. So it is reported by the panic hook, and
    /// ends a program that has `panic = "abort"`.
    pub fn close(&mut self) {
        self.closed = true;
        match &mut self.engine {
            _ if self.failed.is_some() => {} // the last word was an alert
            Engine::Rustls(conn) => conn.send_close_notify(),
            Engine::Opening(opening) => opening.close(&mut self.out),
            Engine::Records(records) => records.end(None, &mut self.out),
            Engine::Failed => {}
        }
    }

    // Outputs.

    /// The ciphertext to write to the stream next. Some of it may come of any call,
    /// [`read`](Self::read) too.
    #[inline]
    pub fn outgoing(&mut self) -> &[u8] {
        if let Engine::Rustls(conn) = &mut self.engine
            && self.out.is_empty()
        {
            while conn.wants_write() && conn.write_tls(&mut self.out).is_ok() {}
        }
        self.out.filled()
    }

    /// The stream took the first `n` bytes of [`outgoing`](Self::outgoing).
    ///
    /// # Panics
    ///
    /// If there are fewer.
    #[inline]
    pub fn advance(&mut self, n: usize) {
        assert!(n <= self.out.len(), "advanced beyond what is outgoing");
        self.out.consume(n);
        self.out.shed();
    }

    /// Whether there is ciphertext to write.
    #[inline]
    pub fn has_outgoing(&self) -> bool {
        !self.out.is_empty() || matches!(&self.engine, Engine::Rustls(conn) if conn.wants_write())
    }

    /// Whether the handshake of TLS is not over: [`write`](Self::write) takes nothing yet, and a
    /// client's [certificates](Self::peer_certificates) are not known.
    pub fn is_handshaking(&self) -> bool {
        match &self.engine {
            Engine::Rustls(conn) => conn.is_handshaking(),
            Engine::Opening(opening) => opening.state().is_handshaking(),
            Engine::Records(_) | Engine::Failed => false,
        }
    }

    /// Whether the reader of a stream writes: part of the handshake is not done, written and
    /// flushed.
    #[inline]
    pub fn is_opening(&self) -> bool {
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

    // For the streams.

    /// All ciphertext was written, and the stream flushed.
    #[inline]
    pub fn flushed(&mut self) {
        if self.opening {
            self.opening = self.is_handshaking();
        }
    }

    /// Takes all that is outgoing away, to write it while others use the session.
    pub fn take_outgoing(&mut self) -> Buffer {
        let _ = self.outgoing();
        core::mem::take(&mut self.out)
    }

    /// Whether the session can go on.
    ///
    /// # Errors
    ///
    /// Why TLS failed, or `UnexpectedEof` for a stream that ended without the peer's close_notify.
    pub fn check(&self) -> io::Result<()> {
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
    ///
    /// # Errors
    ///
    /// `NotConnected` for a server in its handshake.
    pub fn may_write(&self) -> io::Result<()> {
        if self.is_handshaking() && self.is_server() {
            let what = "nothing can be written before the TLS handshake is over";
            return Err(io::Error::new(io::ErrorKind::NotConnected, what));
        }
        Ok(())
    }

    /// To read the stream to its [`room`](Buffer::room) while others use the session, and then to
    /// [`restore`](Self::restore) it.
    pub fn lend(&mut self) -> Buffer {
        core::mem::take(&mut self.input)
    }

    /// Takes the buffer back, as if [`spare_mut`](Self::spare_mut) had given its room.
    pub fn restore(&mut self, wire: Buffer) {
        self.input = wire;
    }

    /// Takes bytes that were read before the session began.
    pub fn begin_with(&mut self, ahead: &[u8]) {
        if !ahead.is_empty() {
            self.input.push(ahead);
            self.go_on();
        }
    }

    /// Gives away the memory that holds nothing.
    pub(super) fn shed(&mut self) {
        self.input.shed();
        self.out.shed();
    }

    /// Seals some 64 KiB at most, all slices together in the fewest records; returns the number of
    /// bytes sealed. Call it only when the handshake is done.
    ///
    /// # Errors
    ///
    /// As [`write`](Self::write).
    #[inline]
    pub fn write_slices(&mut self, from: &[IoSlice<'_>]) -> io::Result<usize> {
        let taken = match &mut self.engine {
            Engine::Records(records) if self.failed.is_none() && !self.closed => {
                records.write(from, &mut self.out).map_err(io_error)?
            }
            _ => self.write_otherwise(from)?,
        };
        self.opening &= taken == 0;
        Ok(taken)
    }

    #[cold]
    fn write_otherwise(&mut self, from: &[IoSlice<'_>]) -> io::Result<usize> {
        // Our alert was the last that is sent, and rustls is not to be asked again.
        if self.failed.is_some() {
            return self.check().map(|()| 0);
        }
        if self.closed {
            let what = "nothing is sent behind the close_notify of TLS";
            return Err(io::Error::new(io::ErrorKind::BrokenPipe, what));
        }
        match &mut self.engine {
            Engine::Rustls(_) if self.out.len() >= WAITING => Ok(0),
            Engine::Rustls(conn) => match from {
                [one] => conn.writer().write(one),
                several => conn.writer().write_vectored(several),
            },
            Engine::Opening(opening) => opening.write(from, &mut self.out).map_err(io_error),
            Engine::Records(_) | Engine::Failed => Ok(0),
        }
    }

    /// Whether the peer has announced its end and we have not announced ours.
    pub fn owes_close(&self) -> bool {
        self.ended && !self.closed && self.failed.is_none()
    }
}

#[cold]
fn io_error(error: Error) -> io::Error {
    TlsError::from(error).into_io()
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
