//! What the tests of TLS share: certificates made for the occasion, both adapters behind one
//! face, a peer that the test plays, and a stream that records what was written to it.
pub(crate) use super::blocking::{PATIENCE, tcp_pair};
use super::placed::placed;
pub use super::raw::Raw;
pub(crate) use super::wire::{ROLES, code_of, product};
use super::{
    polled::{Polled, polled},
    provider,
};
use rcgen::{CertificateParams, ExtendedKeyUsagePurpose};
use std::{
    io::{self, IoSlice, Read, Write},
    net::TcpStream,
    ops::Deref,
    pin::{Pin, pin},
    sync::{Arc, Mutex, MutexGuard},
    task::{Context, Poll, ready},
    thread,
    time::Duration,
};
use tickwire::{
    CloseFrame, Config, Dial, Error, Outbound, OwnedMessage, Sender,
    blocking::{self, Interest, Stream},
    handshake::client::Request,
    tls::rustls::{
        ClientConfig, ServerConfig, SupportedCipherSuite, Tls13CipherSuite, crypto::CryptoProvider,
        server::WebPkiClientVerifier,
    },
    tokio as on_tokio,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    runtime::{Builder, Runtime},
};

pub type Client = Ws<on_tokio::MaybeTls, blocking::MaybeTls>;
pub type Server = Ws<on_tokio::TlsStream<tokio::net::TcpStream>, blocking::TlsStream<TcpStream>>;

/// Whether sessions open and seal records in place. In the threads of a test of `once_more!`, which
/// have its name, rustls does, of configurations that keep their keys.
pub fn is_in_place() -> bool {
    !thread::current().name().is_some_and(|test| test.contains("::by_rustls::"))
}

// Certificates.

/// The kit's, with configurations of these tests.
pub struct Authority(testkit::tls::Authority);

/// The kit's, with configurations of these tests.
pub struct Identity(testkit::tls::Identity);

impl Deref for Authority {
    type Target = testkit::tls::Authority;
    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl Deref for Identity {
    type Target = testkit::tls::Identity;
    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl Authority {
    pub fn new() -> Self {
        Self(testkit::tls::Authority::new())
    }

    /// A certificate for these hosts or addresses.
    pub fn issue(&self, names: &[&str]) -> Identity {
        self.issue_with(names, |_| {})
    }

    pub fn issue_with(&self, names: &[&str], f: impl FnOnce(&mut CertificateParams)) -> Identity {
        Identity(self.0.issue_with(names, f))
    }

    /// A client that trusts this authority.
    pub fn client(&self) -> Arc<ClientConfig> {
        Arc::new(self.client_by(provider::default_provider()))
    }

    pub fn client_by(&self, provider: CryptoProvider) -> ClientConfig {
        let builder = ClientConfig::builder_with_provider(Arc::new(provider));
        let builder = builder.with_safe_default_protocol_versions().unwrap();
        let mut config = builder.with_root_certificates(self.roots()).with_no_client_auth();
        config.enable_secret_extraction = is_in_place();
        config
    }

    /// A client that trusts this authority and has a certificate of its own.
    pub fn known_client(&self) -> Arc<ClientConfig> {
        let identity = self.issue_with(&["client"], |params| {
            params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        });
        let key = identity.private();
        let builder = ClientConfig::builder().with_root_certificates(self.roots());
        let mut config = builder.with_client_auth_cert(identity.chain.clone(), key).unwrap();
        config.enable_secret_extraction = is_in_place();
        Arc::new(config)
    }

    /// A server for `localhost` and its addresses.
    pub fn server(&self) -> Arc<ServerConfig> {
        self.issue(&["localhost", "127.0.0.1", "::1"]).server()
    }

    /// One that wants a certificate of the client, of this authority.
    pub fn strict_server(&self) -> Arc<ServerConfig> {
        let identity = self.issue(&["localhost"]);
        let verifier = WebPkiClientVerifier::builder(Arc::new(self.roots())).build().unwrap();
        let key = identity.private();
        let builder = ServerConfig::builder().with_client_cert_verifier(verifier);
        let mut config = builder.with_single_cert(identity.chain.clone(), key).unwrap();
        config.enable_secret_extraction = is_in_place();
        Arc::new(config)
    }
}

/// A certificate that vouches for itself.
pub fn self_signed(names: &[&str], f: impl FnOnce(&mut CertificateParams)) -> Identity {
    Identity(testkit::tls::Identity::self_signed_with(names, f))
}

impl Identity {
    pub fn server(&self) -> Arc<ServerConfig> {
        self.server_with(|_| {})
    }

    pub fn server_with(&self, f: impl FnOnce(&mut ServerConfig)) -> Arc<ServerConfig> {
        let mut config = self.server_by(provider::default_provider());
        f(&mut config);
        Arc::new(config)
    }

    pub fn server_by(&self, provider: CryptoProvider) -> ServerConfig {
        let builder = ServerConfig::builder_with_provider(Arc::new(provider));
        let builder = builder.with_safe_default_protocol_versions().unwrap().with_no_client_auth();
        let mut config = builder.with_single_cert(self.chain.clone(), self.private()).unwrap();
        config.enable_secret_extraction = is_in_place();
        config
    }
}

/// A suite of TLS 1.3 with something changed.
pub fn altered(
    suite: SupportedCipherSuite,
    change: impl FnOnce(&mut Tls13CipherSuite),
) -> SupportedCipherSuite {
    provider::altered(&suite, change, |_| unreachable!("a suite of TLS 1.2"))
}

// Both adapters.

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Adapter {
    Tokio,
    Blocking,
}

pub const ADAPTERS: [Adapter; 2] = [Adapter::Tokio, Adapter::Blocking];

pub enum Ws<A, B> {
    Tokio(on_tokio::WebSocket<A>, Runtime),
    Blocking(blocking::WebSocket<B>),
}

/// Runs a future, not for ever.
pub fn wait<F: Future>(runtime: &Runtime, future: F) -> F::Output {
    wait_for(runtime, pin!(future))
}

/// `dyn`, so that a runtime is compiled once for each output, and not for each future.
fn wait_for<T>(runtime: &Runtime, future: Pin<&mut dyn Future<Output = T>>) -> T {
    let bounded = async { tokio::time::timeout(PATIENCE, future).await };
    runtime.block_on(bounded).expect("takes too long")
}

pub fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

/// For this runtime.
pub fn async_tcp(runtime: &Runtime, stream: TcpStream) -> tokio::net::TcpStream {
    let _entered = runtime.enter();
    stream.set_nonblocking(true).unwrap();
    tokio::net::TcpStream::from_std(stream).unwrap()
}

impl Client {
    pub fn connect(
        adapter: Adapter,
        url: &str,
        config: &Config,
        tls: Arc<ClientConfig>,
    ) -> Result<Self, Error> {
        let request = Request::new(url).unwrap();
        Ok(match adapter {
            Adapter::Tokio => {
                let runtime = runtime();
                let ws = wait(&runtime, Dial::new(&request).tls(placed(tls)).connect(config))?;
                Self::Tokio(ws, runtime)
            }
            Adapter::Blocking => {
                Self::Blocking(Dial::new(&request).tls(placed(tls)).blocking_connect(config)?)
            }
        })
    }
}

impl Server {
    pub fn accept(
        adapter: Adapter,
        stream: TcpStream,
        config: &Config,
        tls: Arc<ServerConfig>,
    ) -> Result<Self, Error> {
        Ok(match adapter {
            Adapter::Tokio => {
                let runtime = runtime();
                let stream = async_tcp(&runtime, stream);
                let stream = on_tokio::TlsStream::server(stream, placed(tls))?;
                let ws = wait(&runtime, on_tokio::accept(stream, config))?;
                Self::Tokio(ws, runtime)
            }
            Adapter::Blocking => {
                let stream = blocking::TlsStream::server(stream, placed(tls))?;
                Self::Blocking(blocking::accept(stream, config)?)
            }
        })
    }
}

impl<A: AsyncRead + AsyncWrite + Unpin, B: Stream> Ws<A, B> {
    pub fn feed<'m>(&mut self, message: impl Into<Outbound<'m>>) {
        match self {
            Self::Tokio(ws, _) => ws.feed(message).map(drop).unwrap(),
            Self::Blocking(ws) => ws.feed(message).map(drop).unwrap(),
        }
    }

    pub fn flush(&mut self) -> Result<(), Error> {
        match self {
            Self::Tokio(ws, runtime) => wait(runtime, ws.flush()),
            Self::Blocking(ws) => ws.flush(),
        }
    }

    pub fn send<'m>(&mut self, message: impl Into<Outbound<'m>>) -> Result<(), Error> {
        match self {
            Self::Tokio(ws, runtime) => wait(runtime, ws.send(message)),
            Self::Blocking(ws) => ws.send(message),
        }
    }

    pub fn recv(&mut self) -> Result<Option<OwnedMessage>, Error> {
        match self {
            Self::Tokio(ws, runtime) => wait(runtime, ws.recv_owned()),
            Self::Blocking(ws) => ws.recv_owned(),
        }
    }

    pub fn close<'f>(&mut self, frame: impl Into<Option<CloseFrame<'f>>>) -> Result<(), Error> {
        match self {
            Self::Tokio(ws, runtime) => wait(runtime, ws.close(frame)),
            Self::Blocking(ws) => ws.close(frame),
        }
    }

    pub fn sender(&mut self) -> &Sender {
        match self {
            Self::Tokio(ws, _) => ws.sender(),
            Self::Blocking(ws) => ws.sender(),
        }
    }

    /// The close code, and whether both Closes have passed.
    pub fn end(&self) -> (u16, bool) {
        match self {
            Self::Tokio(ws, _) => code_of(ws.closed()),
            Self::Blocking(ws) => code_of(ws.closed()),
        }
    }
}

// What was written.

/// A stream that notes what was written to it, write by write.
pub struct Recorder<S> {
    io: S,
    log: Log,
    takes: Takes,
    turn: bool,
    /// What it took and will write with the next flush.
    kept: Vec<u8>,
}

/// What a write does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Takes {
    /// Writes to the stream below.
    All,
    /// The same, but seven bytes at every other write, and nothing at the others.
    Little,
    /// Keeps all until a flush; and loses it without one, but for tokio's shutdown, which has to.
    ToBuffer,
}

#[derive(Clone, Default)]
pub struct Log {
    writes: Arc<Mutex<Vec<Vec<u8>>>>,
    /// What the stream still takes; then it fails.
    left: Arc<Mutex<Option<usize>>>,
}

impl<S> Recorder<S> {
    pub fn new(io: S, takes: Takes) -> (Self, Log) {
        let log = Log::default();
        (Self { io, log: log.clone(), takes, turn: false, kept: Vec::new() }, log)
    }

    /// The part to be written now, of one buffer.
    fn share<'b>(&mut self, buf: &'b [u8]) -> io::Result<Option<&'b [u8]>> {
        match &mut *self.log.left.lock().unwrap() {
            None => {}
            Some(0) => {
                let again = std::mem::replace(&mut self.turn, true);
                let kinds = [io::ErrorKind::ConnectionReset, io::ErrorKind::BrokenPipe];
                return Err(kinds[usize::from(again)].into());
            }
            Some(left) => {
                let n = buf.len().min(*left);
                *left -= n;
                return Ok(Some(&buf[..n]));
            }
        }
        if self.takes != Takes::Little {
            return Ok(Some(buf));
        }
        self.turn = !self.turn;
        Ok(self.turn.then(|| buf.get(..7).unwrap_or(buf)))
    }

    fn note(&self, bufs: &[IoSlice<'_>], n: usize) {
        let mut written = Vec::with_capacity(n);
        for buf in bufs {
            let left = n - written.len();
            written.extend_from_slice(buf.get(..left).unwrap_or(buf));
        }
        self.log.lock().push(written);
    }

    fn keep(&mut self, bufs: &[IoSlice<'_>]) -> usize {
        let n = bufs.iter().map(|buf| buf.len()).sum();
        bufs.iter().for_each(|buf| self.kept.extend_from_slice(buf));
        self.note(bufs, n);
        n
    }
}

impl Log {
    fn lock(&self) -> MutexGuard<'_, Vec<Vec<u8>>> {
        self.writes.lock().unwrap()
    }

    /// Has the stream fail behind so many bytes more: as a socket, with one error first and then
    /// another.
    pub fn fail_after(&self, len: usize) {
        *self.left.lock().unwrap() = Some(len);
    }

    /// The writes since the last look, and the lengths of the records of data in them.
    pub fn take(&self) -> (usize, Vec<usize>) {
        let writes = std::mem::take(&mut *self.lock());
        let bytes = writes.concat();
        let mut rest = &bytes[..];
        let mut records = Vec::new();
        while let [kind @ 20..=23, 3, 1 | 3, high, low, tail @ ..] = rest {
            let n = usize::from(u16::from_be_bytes([*high, *low]));
            rest = tail.get(n..).expect("a whole record");
            records.extend((*kind == 23).then_some(n));
        }
        assert!(rest.is_empty(), "not a record: {rest:?}");
        (writes.len(), records)
    }

    /// How many writes there were since the last look.
    pub fn writes(&self) -> usize {
        std::mem::take(&mut *self.lock()).len()
    }

    /// Forgets the writes so far.
    pub fn forget(&self) {
        self.lock().clear();
    }
}

impl<S> Recorder<S> {
    /// One write, as `write` and `write_vectored` do it.
    fn put(
        &mut self,
        bufs: &[IoSlice<'_>],
        write: impl FnOnce(&mut S, &[IoSlice<'_>]) -> io::Result<usize>,
    ) -> io::Result<usize> {
        let buf = bufs.first().map_or(&[][..], |buf| buf);
        let n = match self.takes {
            Takes::ToBuffer => return Ok(self.keep(bufs)),
            Takes::All if bufs.len() > 1 => write(&mut self.io, bufs)?,
            Takes::All | Takes::Little => match self.share(buf)? {
                Some(share) => write(&mut self.io, &[IoSlice::new(share)])?,
                None => return Err(io::ErrorKind::WouldBlock.into()),
            },
        };
        self.note(bufs, n);
        Ok(n)
    }

    fn pass_on(
        &mut self,
        mut write: impl FnMut(&mut S, &[IoSlice<'_>]) -> io::Result<usize>,
    ) -> io::Result<()> {
        while !self.kept.is_empty() {
            let n = write(&mut self.io, &[IoSlice::new(&self.kept)])?;
            self.kept.drain(..n);
        }
        Ok(())
    }
}

impl<S: Read> Read for Recorder<S> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.io.read(buf)
    }
}

impl<S: Write> Write for Recorder<S> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.write_vectored(&[IoSlice::new(buf)])
    }

    fn write_vectored(&mut self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        self.put(bufs, |io, bufs| io.write_vectored(bufs))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.pass_on(|io, bufs| io.write_vectored(bufs))?;
        self.io.flush()
    }
}

impl<S: Stream> Stream for Recorder<S> {
    fn set_read_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        self.io.set_read_timeout(timeout)
    }
    fn try_read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.io.try_read(buf)
    }
    fn try_write(&mut self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        self.put(bufs, |io, bufs| io.try_write(bufs))
    }
    fn try_flush(&mut self) -> io::Result<()> {
        self.pass_on(|io, bufs| io.try_write(bufs))?;
        self.io.try_flush()
    }
    fn wait(&self, interest: Interest, timeout: Option<Duration>) -> io::Result<()> {
        self.io.wait(interest, timeout)
    }
    fn shutdown(&mut self) -> io::Result<()> {
        self.io.shutdown()
    }
    fn try_clone(&self) -> io::Result<Self> {
        let (io, log) = (self.io.try_clone()?, self.log.clone());
        Ok(Self { io, log, takes: self.takes, turn: false, kept: Vec::new() })
    }
    fn writes_vectored(&self) -> bool {
        true
    }
}

polled!(tokio: Recorder<S>, S: AsyncRead + AsyncWrite + Unpin);
impl<S: AsyncRead + AsyncWrite + Unpin> Polled for Recorder<S> {
    fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buf)
    }
    fn poll_write(&mut self, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        if self.takes == Takes::ToBuffer {
            return Poll::Ready(Ok(self.keep(&[IoSlice::new(buf)])));
        }
        let Some(share) = self.share(buf)? else {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        };
        let n = ready!(Pin::new(&mut self.io).poll_write(cx, share))?;
        self.note(&[IoSlice::new(buf)], n);
        Poll::Ready(Ok(n))
    }
    fn poll_write_vectored(
        &mut self,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.takes {
            Takes::All => {}
            Takes::Little => return self.poll_write(cx, bufs.first().map_or(&[], |buf| buf)),
            Takes::ToBuffer => return Poll::Ready(Ok(self.keep(bufs))),
        }
        let n = ready!(Pin::new(&mut self.io).poll_write_vectored(cx, bufs))?;
        self.note(bufs, n);
        Poll::Ready(Ok(n))
    }
    fn is_write_vectored(&self) -> bool {
        true
    }
    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.kept.is_empty() {
            let n = ready!(Pin::new(&mut self.io).poll_write(cx, &self.kept))?;
            self.kept.drain(..n);
        }
        Pin::new(&mut self.io).poll_flush(cx)
    }
    fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_flush(cx))?;
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
