//! A session without I/O: it turns ciphertext into plaintext, and plaintext into ciphertext.
use crate::{
    ALPN, Client, Server, TlsError, buffer::Buffer, buffered::Buffered, engine::Engine,
    guard::caught, opening::Opening,
};
use ::rustls::{ClientConnection, Connection, Error, ServerConnection, pki_types::ServerName};
use bytes::Buf;
use core::ops::Range;
use std::io::{self, IoSlice};

/// A TLS session without I/O: it turns ciphertext into plaintext, and plaintext into ciphertext.
///
/// A session stands between a stream and a protocol. In each round, the caller's loop makes these
/// calls:
///
/// 1. [`read`](Self::read) plaintext, and hand it to the protocol.
/// 2. [`write`](Self::write) the data that the protocol has to send.
/// 3. Write the [`outgoing`](Self::outgoing) ciphertext to the stream, then
///    [`advance`](Self::advance). Do this even if the protocol sends nothing, because the session
///    sends handshake messages, tickets and alerts. Go back to 2 if the protocol still has data.
/// 4. If `read` returned `None`, read the stream into [`spare_mut`](Self::spare_mut), and call
///    [`commit`](Self::commit). At the end of the stream, call
///    [`end_of_stream`](Self::end_of_stream) instead.
///
/// The handshake needs no other calls. Sessions can be stacked: the stream below may itself be a
/// `Session`, as for `wss` through an HTTPS proxy. A session has no deadlines. So the caller must
/// limit how long the handshake may take, and how long the stream may refuse outgoing ciphertext.
///
/// ```
/// use std::io;
/// use tickwire_tls::Session;
///
/// /// One round of the session `tls`, whose peer is `far`. Returns whether it did anything.
/// fn round(
///     tls: &mut Session,
///     said: &mut &[u8],
///     heard: &mut Vec<u8>,
///     far: &mut Session,
/// ) -> io::Result<bool> {
///     let mut plain = [0; 1024];
///     let read = tls.read(&mut plain)?;
///     heard.extend_from_slice(&plain[..read.unwrap_or(0)]);
///     tls.write(said)?;
///     let sent = tls.has_outgoing();
///     while tls.has_outgoing() {
///         let out = tls.outgoing(); // a loop would write these bytes to its stream
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
/// # let trusting = rustls::ClientConfig::builder().with_root_certificates(roots);
/// # let trusting = trusting.with_no_client_auth();
/// # let certified = rustls::ServerConfig::builder().with_no_client_auth();
/// # let certified = certified.with_single_cert(vec![certificate], key)?;
///
/// let mut near = Session::client(trusting, ServerName::try_from("localhost")?)?;
/// let mut far = Session::server(certified)?;
/// let mut question: &[u8] = b"ping";
/// let mut answer: &[u8] = b"pong";
/// let mut asked = Vec::new();
/// let mut answered = Vec::new();
/// while round(&mut near, &mut question, &mut answered, &mut far)?
///     | round(&mut far, &mut answer, &mut asked, &mut near)?
/// {}
/// assert_eq!((&asked[..], &answered[..]), (&b"ping"[..], &b"pong"[..]));
/// # Ok(())
/// # }
/// ```
///
/// **Closing.** Before the stream is shut for writing, call [`close`](Self::close) and write the
/// outgoing ciphertext. If `read` fails, the outgoing ciphertext may contain an alert for the peer.
/// So write this ciphertext before you report the error.
///
/// **Panics.** If rustls, or code that rustls calls (such as the provider or a certificate
/// verifier), panics in a call of the session, the session catches the panic and drops rustls'
/// connection. From then on, every `write` fails. [`read`](Self::read) returns the plaintext that
/// this crate holds, then fails too. For these errors, [`TlsError::is_panic`] is `true`. Plaintext
/// that rustls held is lost. The panic hook still reports the panic, and `panic = "abort"` ends the
/// program.
///
/// rustls does the handshake, checks certificates, handles tickets and keys, and opens and seals
/// the records. With the feature `in-place`, this crate opens and seals them [in
/// place](Self::in_place) if all of these hold:
///
/// - The session is from [`client`](Self::client) or [`server`](Self::server), with a configuration
///   that was asked to work so: `Client::in_place`, `Server::in_place`.
/// - A server's configuration allows no early data.
/// - The handshake agrees on TLS 1.3.
/// - The provider hands over the keys.
///
/// In place, each record costs one allocation and two copies less. The configuration's provider
/// always does the cryptography.
pub struct Session {
    pub(super) engine: Engine,
    /// A part of the handshake is still to be done, written or flushed. The stream's reader then
    /// also sends ciphertext, because the peer may wait for it.
    ///
    /// Cleared by a flush of all ciphertext after the handshake, or by the first write of data,
    /// after which the writer sends the rest of the handshake.
    opening: bool,
    /// Not yet decrypted.
    pub(super) input: Buffer,
    /// The unread part of the first record's decrypted data, as a range of `input`.
    pub(super) plain: Range<usize>,
    /// Of the first record in `input`, in bytes. Valid only while `plain` is not empty.
    pub(super) record: usize,
    pub(super) out: Buffer,
    /// `read` first returns all plaintext from before the failure, then this.
    pub(super) failed: Option<Error>,
    /// Perhaps before the peer's close_notify.
    pub(super) eof: bool,
    pub(super) ended: bool,
    pub(super) closed: bool,
}

impl Session {
    /// Whether this crate opens and seals the records in place. `false` during the handshake, and
    /// always without the feature `in-place`.
    pub fn in_place(&self) -> bool {
        matches!(self.engine, Engine::Records(_))
    }

    /// rustls' own connection, for example to export keying material. `None` after a panic of
    /// rustls. Also `None`, whatever the version of TLS, if the configuration was asked to work
    /// `in_place`, except for a server that allows early data.
    pub fn connection(&self) -> Option<&Connection> {
        match &self.engine {
            Engine::Rustls(conn) => Some(conn.connection()),
            _ => None,
        }
    }

    /// A session on a rustls connection that was made elsewhere and has read nothing yet. rustls
    /// opens and seals the records, whatever the configuration says.
    pub fn new(conn: impl Into<Connection>) -> Self {
        Self::with(Engine::Rustls(Box::new(Buffered::new(conn.into()))))
    }

    /// A session as a client of the server `name`. The server's certificate has to be for `name`,
    /// whatever address was dialed. ALPN asks for HTTP/1.1, whatever `config` says.
    /// [`platform_config`](crate::platform_config) is a configuration with the platform's roots.
    /// The client's first message is [outgoing](Self::outgoing) at once.
    ///
    /// # Errors
    ///
    /// If `name` is not a valid server name for TLS.
    pub fn client(
        config: impl Into<Client>,
        name: impl TryInto<ServerName<'static>>,
    ) -> Result<Self, TlsError> {
        let name = name.try_into().map_err(|_| TlsError::from(Error::UnsupportedNameType))?;
        let client = config.into();
        let alpn = vec![ALPN.to_vec()];
        // rustls' unbuffered connection alone can hand over its keys.
        if let Some(config) = client.in_place {
            let opening = |config| caught(|| Opening::client(config, name, alpn))?.map(Box::new);
            return Ok(Self::with(Engine::Opening(config.try_map(opening)?)));
        }
        let connect = || ClientConnection::new_with_alpn(client.config, name, alpn);
        Ok(Self::new(caught(connect)??))
    }

    /// A session as a server. In the configuration, set `alpn_protocols` to `http/1.1` alone. Leave
    /// `max_early_data_size` at 0: otherwise rustls accepts early data, the session drops it, and
    /// rustls opens and seals the records, whatever `config` says.
    ///
    /// # Errors
    ///
    /// If the configuration is inconsistent.
    pub fn server(config: impl Into<Server>) -> Result<Self, TlsError> {
        let server = config.into();
        // Sessions read no early data, and unread early data would stop the handshake of the
        // unbuffered connection.
        if let Some(config) = server.in_place.filter(|config| config.max_early_data_size == 0) {
            let opening = |config| caught(|| Opening::server(config))?.map(Box::new);
            return Ok(Self::with(Engine::Opening(config.try_map(opening)?)));
        }
        Ok(Self::new(caught(|| ServerConnection::new(server.config))??))
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
        // Makes a client's first message outgoing. If it panics, later calls return the error.
        let _ = session.call(Self::process);
        session
    }

    /// All calls of rustls and of its provider are made in here, except getters, and constructors,
    /// which are inside [`caught`].
    ///
    /// # Errors
    ///
    /// If the engine panicked. The session has failed then, and never calls rustls again.
    #[inline]
    pub(super) fn call<T>(&mut self, work: impl FnOnce(&mut Self) -> T) -> io::Result<T> {
        caught(|| work(self)).map_err(|error| self.panicked(error))
    }

    /// Ends the session for good. Decrypted data that we hold stays readable: `Records` has it in
    /// `input` already; an `Opening`'s moves there, and counts as the first record.
    #[cold]
    fn panicked(&mut self, error: Error) -> io::Error {
        let plain = self.engine.fail();
        if !plain.is_empty() {
            self.record = plain.len();
            self.plain = 0..plain.len();
            self.input = plain;
        } else if self.plain.is_empty() {
            self.input.clear(); // nobody can decrypt it any more
        }
        io_error(self.failed.get_or_insert(error).clone()) // an earlier error is kept
    }

    // Inputs.

    /// Room to read the stream into, at least 4 KiB. Call this only after [`read`](Self::read)
    /// returned `None`: otherwise committed bytes that are not yet read pile up in the session,
    /// without a limit. The room is in a buffer of the thread's pool. If the buffer is still empty,
    /// it goes back to the pool at a `commit` of 0 bytes, or at the next `None` of `read`.
    pub fn spare_mut(&mut self) -> &mut [u8] {
        self.input.room()
    }

    /// Reports that `n` bytes were read into [`spare_mut`](Self::spare_mut), and continues the
    /// handshake. If the stream had no bytes to read, pass 0. At the end of the stream, call
    /// [`end_of_stream`](Self::end_of_stream) instead.
    ///
    /// # Panics
    ///
    /// If the room was smaller than `n`.
    pub fn commit(&mut self, n: usize) {
        self.input.commit(n);
        match n {
            0 => self.shed(),
            _ => self.go_on(),
        }
    }

    /// Reports that the stream ended. [`read`](Self::read) still returns all plaintext that arrived
    /// before the end. Then `read` returns the error `UnexpectedEof`, unless the peer has sent its
    /// close_notify (RFC 9846 §6.1).
    pub fn end_of_stream(&mut self) {
        self.eof = true;
    }

    // Commands.

    /// Seals plaintext in the fewest records, and advances `from` past the bytes sealed. If `from`
    /// has more than 16 slices, a new record begins after every 16 slices. Returns the number of
    /// bytes sealed: 0 during the handshake, and 0 while 64 KiB of ciphertext are
    /// [outgoing](Self::outgoing). Write this ciphertext out, then call again.
    ///
    /// Once nothing is [outgoing](Self::has_outgoing), the stream has everything that was sealed.
    ///
    /// # Errors
    ///
    /// After TLS has failed, or after the stream has ended during the handshake, this call returns
    /// the error of [`read`](Self::read). (If TLS failed after the handshake, a call without data
    /// still succeeds.) After [`close`](Self::close), this call returns `BrokenPipe`. If sealing
    /// fails, this call returns the TLS error, but `read` still works. After an error, do not write
    /// again: a part of `from` may be outgoing although `from` was not advanced, so the peer might
    /// get this part twice.
    pub fn write(&mut self, from: &mut impl Buf) -> io::Result<usize> {
        if self.is_handshaking() {
            // A caller that only writes has to learn here that the handshake has failed.
            return self.check().map(|()| 0);
        }
        let mut all = 0;
        while from.has_remaining() {
            // The next pass takes the slices after these 16, and begins a new record.
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

    /// Queues a close_notify, which tells the peer that we send no more data. The close_notify is
    /// then [outgoing](Self::outgoing). Call this before the stream is shut for writing. The caller
    /// can still read data from the peer (RFC 9846 §6.1). The session sends no close_notify without
    /// this call or [`answer_close`](Self::answer_close). During the handshake, this call sends no
    /// close_notify if [`connection`](Self::connection) is `None`.
    ///
    /// A bad record that arrives after this call is still an error of [`read`](Self::read). If
    /// rustls opens the records, a debug build of rustls 0.23 panics on the bad record, and the
    /// session catches the panic.
    pub fn close(&mut self) {
        self.closed = true;
        // Nothing follows a fatal alert (RFC 9846 §6.2).
        if self.failed.is_none() {
            let _ = self.call(Self::announce_end); // if it panics, later calls return the error
        }
    }

    /// Queues our close_notify, as [`close`](Self::close) does, if the peer has sent its own and we
    /// still have to send ours. Returns whether this call has queued it. Call this before you drop
    /// the stream, and write as many outgoing bytes as the stream accepts at once. So the peer
    /// learns that we, and not an attacker, ended the stream (RFC 9846 §6.1).
    pub fn answer_close(&mut self) -> bool {
        let owed = self.ended && !self.closed && self.failed.is_none();
        if owed {
            self.close();
        }
        owed
    }

    fn announce_end(&mut self) {
        match &mut self.engine {
            Engine::Rustls(conn) => conn.close(&mut self.out),
            Engine::Opening(opening) => opening.close(&mut self.out),
            Engine::Records(records) => records.end(None, &mut self.out),
            Engine::Failed { .. } => {}
        }
    }

    // Outputs.

    /// The ciphertext to write to the stream next. Any call may add ciphertext, even
    /// [`read`](Self::read).
    #[inline]
    pub fn outgoing(&mut self) -> &[u8] {
        self.out.filled()
    }

    /// Reports that the stream accepted the first `n` bytes of [`outgoing`](Self::outgoing).
    ///
    /// # Panics
    ///
    /// If fewer than `n` bytes are outgoing.
    #[inline]
    pub fn advance(&mut self, n: usize) {
        assert!(n <= self.out.len(), "advanced beyond what is outgoing");
        self.out.consume(n);
        self.out.shed();
    }

    /// Whether there is ciphertext to write.
    #[inline]
    pub fn has_outgoing(&self) -> bool {
        !self.out.is_empty()
    }

    /// Whether the TLS handshake is still under way. During the handshake, [`write`](Self::write)
    /// accepts nothing, and a server may still lack the client's
    /// [certificates](Self::peer_certificates).
    pub fn is_handshaking(&self) -> bool {
        self.engine.is_handshaking()
    }

    /// Whether a part of the handshake is still to be done, written or flushed. While this is
    /// `true`, the reader of the stream also has to write.
    #[inline]
    pub fn is_opening(&self) -> bool {
        self.opening
    }

    // For streams on a session.

    /// Reports that all ciphertext was written and the stream was flushed.
    #[inline]
    pub fn flushed(&mut self) {
        self.opening = self.opening && self.is_handshaking();
    }

    /// Checks that TLS has not failed, and that the stream has not ended without a close_notify.
    ///
    /// # Errors
    ///
    /// The TLS error, if TLS has failed. `UnexpectedEof`, if the stream ended too early.
    pub fn check(&self) -> io::Result<()> {
        let what = match &self.failed {
            Some(error) => return Err(TlsError::from(error.clone()).into_io()),
            None if !self.eof || self.ended => return Ok(()),
            None if self.is_handshaking() => "stream ended in the TLS handshake",
            None => "stream ended without the close_notify of TLS: data may be missing",
        };
        Err(io::Error::new(io::ErrorKind::UnexpectedEof, what))
    }

    /// A client's write may begin the handshake. A server's fails at once: otherwise a server that
    /// writes a last message to a silent client would wait for the client's part of the handshake,
    /// instead of dropping the client.
    pub(super) fn may_write(&self) -> io::Result<()> {
        if self.engine.awaits_client() {
            let what = "nothing can be written before the TLS handshake is over";
            return Err(io::Error::new(io::ErrorKind::NotConnected, what));
        }
        Ok(())
    }

    pub(super) fn shed(&mut self) {
        self.input.shed();
        self.out.shed();
    }

    /// At most about 64 KiB, in the fewest records. Call this only after the handshake.
    ///
    /// # Errors
    ///
    /// As [`write`](Self::write).
    #[inline]
    pub(super) fn write_slices(&mut self, from: &[IoSlice<'_>]) -> io::Result<usize> {
        let taken = self.call(|session| session.seal(from))??;
        self.opening &= taken == 0; // the doc of the field says why
        Ok(taken)
    }

    #[inline]
    fn seal(&mut self, from: &[IoSlice<'_>]) -> io::Result<usize> {
        if self.failed.is_some() || self.closed {
            return self.refuse();
        }
        // An error is not stored in `failed`, which would also end `read`, and `read` can still
        // open the peer's records.
        match &mut self.engine {
            Engine::Rustls(conn) => conn.write(from, &mut self.out),
            Engine::Records(records) => records.write(from, &mut self.out).map_err(io_error),
            Engine::Opening(opening) => opening.write(from, &mut self.out).map_err(io_error),
            Engine::Failed { .. } => Ok(0), // not reached: `failed` is set
        }
    }

    /// After a failure no data may follow the alert, and rustls must not be called again.
    #[cold]
    fn refuse(&self) -> io::Result<usize> {
        if self.failed.is_some() {
            return self.check().map(|()| 0);
        }
        let what = "nothing is sent behind the close_notify of TLS";
        Err(io::Error::new(io::ErrorKind::BrokenPipe, what))
    }
}

#[cold]
fn io_error(error: Error) -> io::Error {
    TlsError::from(error).into_io()
}
