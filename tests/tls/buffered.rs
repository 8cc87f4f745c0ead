//! TLS over streams that buffer, in both adapters: over tokio's `BufStream`, over a blocking stream
//! that keeps all until it is flushed, over TLS. Whoever waits for an answer has flushed first.
use crate::support::placed::placed;
use crate::support::{
    blocking::{PATIENCE, patient},
    tls::{Authority, Raw},
};
use std::{sync::Arc, time::Duration};
use tickwire::{
    Error,
    handshake::client::Request,
    tls::{
        BadCertificate,
        rustls::{
            AlertDescription, ClientConfig, Error as Rustls, RootCertStore, ServerConfig,
            SupportedProtocolVersion,
            version::{TLS12, TLS13},
        },
    },
};

fn request() -> Request {
    Request::new("wss://localhost/").unwrap()
}

/// Both ends' configurations, the client's first.
type Ends = (Arc<ClientConfig>, Arc<ServerConfig>);

fn ends() -> Ends {
    let authority = Authority::new();
    (authority.client(), authority.server())
}

/// The same, for one version of TLS.
fn ends_of(version: &'static SupportedProtocolVersion) -> Ends {
    let authority = Authority::new();
    let identity = authority.issue(&["localhost"]);
    let key = identity.private();
    let server = ServerConfig::builder_with_protocol_versions(&[version])
        .with_no_client_auth()
        .with_single_cert(identity.chain.clone(), key)
        .unwrap();
    let client = ClientConfig::builder_with_protocol_versions(&[version])
        .with_root_certificates(authority.roots())
        .with_no_client_auth();
    (Arc::new(client), Arc::new(server))
}

/// A client that trusts nobody, and a server.
fn suspicious() -> Ends {
    let client = ClientConfig::builder()
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth();
    (Arc::new(client), Authority::new().server())
}

/// A server that wants a certificate, and a client that has none.
fn anonymous() -> Ends {
    let authority = Authority::new();
    (authority.client(), authority.strict_server())
}

#[track_caller]
fn assert_alert<T>(result: Result<T, Error>, alert: AlertDescription) {
    match result.err() {
        Some(Error::Tls(tls)) => {
            let source = std::error::Error::source(&tls).expect("what rustls says");
            assert_eq!(source.downcast_ref(), Some(&Rustls::AlertReceived(alert)));
        }
        other => panic!("{other:?}"),
    }
}

#[track_caller]
fn assert_not_trusted<T>(result: Result<T, Error>) {
    match result.err() {
        Some(Error::Tls(tls)) => assert_eq!(tls.certificate(), Some(BadCertificate::NotTrusted)),
        other => panic!("{other:?}"),
    }
}

mod on_tokio {
    use super::*;
    use crate::support::tokio::{Counted, bounded, counted};
    use tickwire::tokio::{TlsStream, WebSocket, accept, client};
    use tokio::{
        io::{
            AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufStream, DuplexStream, duplex,
            split,
        },
        join,
        time::{sleep, timeout},
    };

    // How an end is made.

    trait Io: AsyncRead + AsyncWrite + Unpin {}
    impl<S: AsyncRead + AsyncWrite + Unpin> Io for S {}

    fn tls_client<S: Io>(io: S, tls: Arc<ClientConfig>) -> TlsStream<S> {
        TlsStream::client(io, request().target(), placed(tls)).unwrap()
    }

    fn tls_server<S: Io>(io: S, tls: Arc<ServerConfig>) -> TlsStream<S> {
        TlsStream::server(io, placed(tls)).unwrap()
    }

    /// Keeps 8 KiB until it is flushed.
    fn buffered() -> (BufStream<DuplexStream>, BufStream<DuplexStream>) {
        let (near, far) = duplex(64 << 10);
        (BufStream::new(near), BufStream::new(far))
    }

    async fn both<A: Future, B: Future>(a: A, b: B) -> (A::Output, B::Output) {
        bounded(async { join!(a, b) }).await
    }

    type Opened<A, B> = (Result<WebSocket<A>, Error>, Result<WebSocket<B>, Error>);

    /// The opening handshake over TLS over these.
    async fn open<A: Io, B: Io>(near: A, far: B, (c, s): Ends) -> Opened<impl Io, impl Io> {
        let (request, config) = (request(), patient());
        let near = client(tls_client(near, c), &request, &config);
        both(near, accept(tls_server(far, s), &config)).await
    }

    /// Messages both ways, and an orderly end.
    async fn converse<A: Io, B: Io>(near: WebSocket<A>, far: WebSocket<B>) {
        const LENS: [usize; 4] = [1, 1000, 20_000, 100_000];
        let (mut near, mut far) = (near, far);
        let asking = async {
            for len in LENS {
                near.send(&vec![7; len]).await.unwrap();
                assert_eq!(near.recv().await.unwrap().unwrap().as_bytes(), vec![7; len]);
            }
            near.close(None).await.unwrap();
            near.closed().is_some_and(|end| end.clean)
        };
        let answering = async {
            while let Some(received) = far.recv_to_reply().await.unwrap() {
                received.sender.feed(received.message).unwrap();
            }
            far.closed().is_some_and(|end| end.clean)
        };
        assert_eq!(both(asking, answering).await, (true, true));
    }

    #[tokio::test(start_paused = true)]
    async fn messages_pass_over_a_stream_that_buffers() {
        for version in [&TLS12, &TLS13] {
            let (near, far) = buffered();
            let (near, far) = open(near, far, ends_of(version)).await;
            converse(near.unwrap(), far.unwrap()).await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn messages_pass_over_tls_in_tls() {
        // A pipe for 64 bytes leaves the inner session's words with the outer one, as a buffer
        // does.
        let ((near, far), (narrow, other)) = (buffered(), duplex(64));
        let (inner, outer) = (ends(), ends());
        let near = tls_client(near, outer.0.clone());
        let far = tls_server(far, outer.1.clone());
        let (near, far) = open(near, far, inner.clone()).await;
        converse(near.unwrap(), far.unwrap()).await;

        let (near, far) = (tls_client(narrow, outer.0), tls_server(other, outer.1));
        let (near, far) = open(near, far, inner).await;
        converse(near.unwrap(), far.unwrap()).await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_handshake_that_is_done_here_can_be_done_there() {
        for version in [&TLS12, &TLS13] {
            let ((near, far), (c, s)) = (buffered(), ends_of(version));
            let (mut near, mut far) = (tls_client(near, c), tls_server(far, s));
            let (a, b) = both(near.handshake(), far.handshake()).await;
            a.unwrap();
            b.unwrap();
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_alert_leaves_at_once() {
        let (near, far) = buffered();
        let (near, far) = open(near, far, suspicious()).await;
        assert_not_trusted(near);
        assert_alert(far, AlertDescription::UnknownCA);

        let (near, far) = buffered();
        let (near, far) = open(near, far, anonymous()).await;
        assert!(matches!(far, Err(Error::Tls(_))));
        assert_alert(near, AlertDescription::CertificateRequired);
    }

    #[tokio::test(start_paused = true)]
    async fn a_close_notify_leaves_at_shutdown_and_at_drop() {
        let ((near, far), (c, s)) = (buffered(), ends());
        let (mut near, mut far) = (tls_client(near, c), tls_server(far, s));
        let shutting = async {
            near.write_all(b"x").await.unwrap();
            near.shutdown().await.unwrap();
            // An end without a close_notify would be an error.
            assert_eq!(near.read(&mut [0; 9]).await.unwrap(), 0);
        };
        let dropping = async move {
            let mut heard = Vec::new();
            assert_eq!(far.read_to_end(&mut heard).await.unwrap(), 1);
            drop(far);
        };
        both(shutting, dropping).await;
    }

    #[tokio::test(start_paused = true)]
    async fn data_is_flushed_when_a_flush_is_asked_for_and_no_oftener() {
        let (near, far) = duplex(4 << 20);
        let ((near, at_near), (far, at_far)) = (Counted::new(near), Counted::new(far));
        let (near, far) = open(near, far, ends()).await;
        let (mut near, mut far) = (near.unwrap(), far.unwrap());
        let count = || [counted(&at_near).flushes, counted(&at_far).flushes];
        // The client's: its greeting, and its last words with the request. The server's: its
        // answer, its tickets if it has to wait for the request, and the response.
        let [client, server] = count();
        assert!(client == 2 && (2..=3).contains(&server), "{client}, {server}");

        for _ in 0..100 {
            near.feed(&[7; 5000]).unwrap();
        }
        bounded(near.flush()).await.unwrap();
        assert_eq!(count(), [1, 0]);
        for _ in 0..100 {
            bounded(far.recv()).await.unwrap().unwrap();
        }
        assert_eq!(count(), [0, 0]);
    }

    /// The server has sent its tickets, which nobody reads yet: the flush is waited for by a
    /// reader, who leaves, and by a writer.
    #[tokio::test(start_paused = true)]
    async fn a_writer_is_woken_where_a_reader_flushes_too() {
        let ((near, far), (c, s)) = (duplex(64), ends());
        let mut near = tls_client(near, c);
        let (mut reader, mut writer) = split(tls_server(BufStream::new(far), s));
        let reading = tokio::spawn(async move { (reader.read(&mut [0; 1]).await, reader) });
        bounded(near.handshake()).await.unwrap();
        sleep(Duration::from_secs(1)).await;
        let flushing = tokio::spawn(async move { writer.flush().await.unwrap() });
        sleep(Duration::from_secs(1)).await;
        assert!(!flushing.is_finished());

        bounded(near.write_all(b"x")).await.unwrap();
        bounded(near.flush()).await.unwrap();
        let (read, _reader) = bounded(reading).await.unwrap();
        assert_eq!(read.unwrap(), 1);
        // Reads the tickets, and has nothing else to read.
        let nothing = timeout(Duration::from_secs(1), near.read(&mut [0; 1])).await;
        assert!(nothing.is_err());
        bounded(flushing).await.unwrap();
    }

    crate::by_rustls::once_more! {
        messages_pass_over_a_stream_that_buffers
        messages_pass_over_tls_in_tls
        a_handshake_that_is_done_here_can_be_done_there
        an_alert_leaves_at_once
        a_close_notify_leaves_at_shutdown_and_at_drop
        data_is_flushed_when_a_flush_is_asked_for_and_no_oftener
        a_writer_is_woken_where_a_reader_flushes_too
    }
}

mod on_threads {
    use super::*;
    use crate::support::blocking::{BINARY, bounded, masked, tcp_pair};
    use std::{
        io::{self, Read, Write},
        net::{Shutdown, TcpStream},
        sync::{
            Mutex, MutexGuard,
            atomic::{AtomicUsize, Ordering::Relaxed},
            mpsc,
        },
        thread,
    };
    use tickwire::{
        blocking::{Incoming, Interest, Stream, TlsStream, WebSocket, accept, client},
        handshake::server::Accept,
    };

    // How an end is made.

    fn tls_client<S: Stream>(io: S, tls: Arc<ClientConfig>) -> TlsStream<S> {
        TlsStream::client(io, request().target(), placed(tls)).unwrap()
    }

    fn tls_server<S: Stream>(io: S, tls: Arc<ServerConfig>) -> TlsStream<S> {
        TlsStream::server(io, placed(tls)).unwrap()
    }

    /// Keeps all until it is flushed; what is not is lost with it, and at its shutdown. Its handles
    /// share one buffer.
    struct Held {
        tcp: TcpStream,
        kept: Arc<Mutex<Vec<u8>>>,
        flushes: Arc<Mutex<usize>>,
    }

    impl Held {
        fn new(tcp: TcpStream) -> Self {
            Self { tcp, kept: Arc::default(), flushes: Arc::default() }
        }

        fn kept(&self) -> MutexGuard<'_, Vec<u8>> {
            self.kept.lock().unwrap()
        }
    }

    impl Read for Held {
        fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
            self.tcp.read(buf)
        }
    }

    impl Write for Held {
        fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
            self.kept().extend(buf);
            Ok(buf.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            *self.flushes.lock().unwrap() += 1;
            let mut kept = self.kept();
            while !kept.is_empty() {
                let n = (&self.tcp).write(&kept)?;
                kept.drain(..n);
            }
            Ok(())
        }
    }

    impl Stream for Held {
        fn try_write(&mut self, bufs: &[std::io::IoSlice<'_>]) -> std::io::Result<usize> {
            self.write_vectored(bufs)
        }
        fn set_read_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
            self.tcp.set_read_timeout(timeout)
        }
        fn try_read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
            self.tcp.try_read(buf)
        }
        fn wait(&self, interest: Interest, timeout: Option<Duration>) -> io::Result<()> {
            self.tcp.wait(interest, timeout)
        }
        fn shutdown(&mut self) -> io::Result<()> {
            self.kept().clear();
            self.tcp.shutdown(Shutdown::Write)
        }
        fn try_clone(&self) -> io::Result<Self> {
            let tcp = self.tcp.try_clone()?;
            Ok(Self { tcp, kept: self.kept.clone(), flushes: self.flushes.clone() })
        }
    }

    fn buffered() -> (Held, Held) {
        let (near, far) = tcp_pair();
        (Held::new(near), Held::new(far))
    }

    /// Each end in a thread, and then this.
    fn both<A: Send + 'static, B: Send + 'static>(
        a: impl FnOnce() -> A + Send + 'static,
        b: impl FnOnce() -> B + Send + 'static,
        test: impl FnOnce(A, B) + Send + 'static,
    ) {
        bounded(|| {
            let far = thread::spawn(b);
            let near = a();
            test(near, far.join().unwrap());
        });
    }

    type Opened<S> = Result<WebSocket<S>, Error>;

    /// The opening handshake over TLS over these, and then this.
    fn open<A: Stream + Send + 'static, B: Stream + Send + 'static>(
        near: A,
        far: B,
        (c, s): Ends,
        test: impl FnOnce(Opened<TlsStream<A>>, Opened<TlsStream<B>>) + Send + 'static,
    ) {
        let near = move || client(tls_client(near, c), &request(), &patient());
        both(near, move || accept(tls_server(far, s), &patient()), test);
    }

    /// Messages both ways, and an orderly end.
    fn converse<A, B>(near: Opened<A>, far: Opened<B>)
    where
        A: Stream,
        B: Stream + Send + 'static,
    {
        let (mut near, mut far) = (near.unwrap(), far.unwrap());
        let answering = thread::spawn(move || {
            while let Some(received) = far.recv_to_reply().unwrap() {
                received.sender.feed(received.message).unwrap();
            }
            far.closed().is_some_and(|end| end.clean)
        });
        for len in [1, 1000, 20_000, 300_000] {
            near.send(&vec![7; len]).unwrap();
            assert_eq!(near.recv().unwrap().unwrap().as_bytes(), vec![7; len]);
        }
        near.close(None).unwrap();
        assert!(near.closed().unwrap().clean);
        assert!(answering.join().unwrap());
    }

    #[test]
    fn messages_pass_over_a_stream_that_buffers() {
        for version in [&TLS12, &TLS13] {
            let (near, far) = buffered();
            open(near, far, ends_of(version), converse);
        }
    }

    #[test]
    fn messages_pass_over_tls_in_tls() {
        let ((near, far), (c, s)) = (buffered(), ends());
        open(tls_client(near, c), tls_server(far, s), ends(), converse);
    }

    #[test]
    fn the_halves_of_a_split_flush_too() {
        let (near, far) = buffered();
        open(near, far, ends(), |near, far| {
            let (near, mut far) = (near.unwrap(), far.unwrap());
            let (mut reader, mut writer) = near.into_split().unwrap();
            let reading = thread::spawn(move || {
                assert_eq!(reader.recv().unwrap().unwrap().as_bytes(), b"pong");
                reader.recv().map(|end| end.is_none())
            });
            writer.send("ping").unwrap();
            assert_eq!(far.recv().unwrap().unwrap().as_bytes(), b"ping");
            far.send("pong").unwrap();
            let ending = thread::spawn(move || {
                far.close(None).map(|()| far.closed().is_some_and(|end| end.clean))
            });
            assert!(reading.join().unwrap().unwrap());
            assert!(ending.join().unwrap().unwrap());
        });
    }

    #[test]
    fn a_handshake_that_is_done_here_can_be_done_there() {
        for version in [&TLS12, &TLS13] {
            let ((near, far), (c, s)) = (buffered(), ends_of(version));
            let (mut near, mut far) = (tls_client(near, c), tls_server(far, s));
            near.set_read_timeout(Some(PATIENCE)).unwrap();
            far.set_read_timeout(Some(PATIENCE)).unwrap();
            // The streams come back too: an end that is dropped has not failed.
            let near = move || (near.handshake(), near);
            both(
                near,
                move || (far.handshake(), far),
                |near, far| {
                    near.0.unwrap();
                    far.0.unwrap();
                },
            );
        }
    }

    #[test]
    fn an_alert_leaves_at_once() {
        let (near, far) = buffered();
        open(near, far, suspicious(), |near, far| {
            assert_not_trusted(near);
            assert_alert(far, AlertDescription::UnknownCA);
        });
        let (near, far) = buffered();
        open(near, far, anonymous(), |near, far| {
            assert!(matches!(far, Err(Error::Tls(_))));
            assert_alert(near, AlertDescription::CertificateRequired);
        });
    }

    #[test]
    fn a_close_notify_leaves_at_shutdown_and_at_drop() {
        let ((near, far), (c, s)) = (buffered(), ends());
        let (mut near, mut far) = (tls_client(near, c), tls_server(far, s));
        near.set_read_timeout(Some(PATIENCE)).unwrap();
        far.set_read_timeout(Some(PATIENCE)).unwrap();
        let shutting = move || {
            near.write_all(b"x").unwrap();
            Stream::shutdown(&mut near).unwrap();
            // An end without a close_notify would be an error. A plain read may be interrupted by
            // records without data.
            assert_eq!(near.read_to_end(&mut Vec::new()).unwrap(), 0);
        };
        let dropping = move || {
            let mut heard = Vec::new();
            assert_eq!(far.read_to_end(&mut heard).unwrap(), 1);
            drop(far);
        };
        both(shutting, dropping, |(), ()| {});
    }

    #[test]
    fn data_is_flushed_when_a_flush_is_asked_for_and_no_oftener() {
        let (near, far) = buffered();
        let counts = [&near, &far].map(|held| held.flushes.clone());
        open(near, far, ends(), move |near, far| {
            let (mut near, mut far) = (near.unwrap(), far.unwrap());
            let count = || counts.each_ref().map(|n| std::mem::take(&mut *n.lock().unwrap()));
            // As with tokio.
            let [client, server] = count();
            assert!(client == 2 && (2..=3).contains(&server), "{client}, {server}");

            let reading = thread::spawn(move || {
                for _ in 0..100 {
                    far.recv().unwrap().unwrap();
                }
                far
            });
            for _ in 0..100 {
                near.feed(&[7; 1000]).unwrap();
            }
            near.flush().unwrap();
            let far = reading.join().unwrap();
            assert_eq!(count(), [1, 0]);
            drop((near, far));
        });
    }

    /// Takes nothing before so many bytes were read.
    struct Reluctant(TcpStream, Arc<AtomicUsize>);

    impl Read for Reluctant {
        fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
            let n = self.0.read(buf)?;
            self.1.store(self.1.load(Relaxed).saturating_sub(n), Relaxed);
            Ok(n)
        }
    }

    impl Write for Reluctant {
        fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
            if self.1.load(Relaxed) > 0 {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            self.0.write(buf)
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Stream for Reluctant {
        fn try_write(&mut self, bufs: &[std::io::IoSlice<'_>]) -> std::io::Result<usize> {
            self.write_vectored(bufs)
        }
        fn set_read_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
            self.0.set_read_timeout(timeout)
        }
        fn try_read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
            let n = self.0.try_read(buf)?;
            self.1.store(self.1.load(Relaxed).saturating_sub(n), Relaxed);
            Ok(n)
        }
        fn wait(&self, interest: Interest, timeout: Option<Duration>) -> io::Result<()> {
            let write = interest.write && self.1.load(Relaxed) == 0;
            self.0.wait(Interest { write, ..interest }, timeout)
        }
    }

    /// The response is the first behind the TLS handshake, whose last words wait with it.
    #[test]
    fn a_server_whose_response_is_stuck_reads() {
        const REQUEST: &str = "GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n\
            Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
            Sec-WebSocket-Version: 13\r\n\r\n";
        let ((near, far), (c, s)) = (tcp_pair(), ends());
        let (stuck, is_stuck) = mpsc::channel();
        let asking = move || {
            let mut raw = Raw::client(near, c);
            // Leaves with the client's last words.
            raw.tls.writer().write_all(REQUEST.as_bytes()).unwrap();
            raw.handshake().unwrap();
            is_stuck.recv().unwrap();
            raw.say(&masked(BINARY, b"go on"));
            let mut heard = Vec::new();
            while !heard.ends_with(b"behind the response") {
                heard.extend(raw.hear(1));
            }
        };
        let answering = move || {
            let owed = Arc::default();
            let io = tls_server(Reluctant(far, Arc::clone(&owed)), s);
            let config = patient();
            let read = Incoming::read(io, &config).unwrap();
            let mut ws = read.accept_corked(Accept::default()).unwrap();
            let _ = ws.feed("behind the response").unwrap();
            owed.store(1, Relaxed);
            stuck.send(()).unwrap();
            assert_eq!(ws.recv().unwrap().unwrap().as_bytes(), b"go on");
            ws.flush().unwrap();
        };
        both(asking, answering, |(), ()| {});
    }

    crate::by_rustls::once_more! {
        messages_pass_over_a_stream_that_buffers
        messages_pass_over_tls_in_tls
        the_halves_of_a_split_flush_too
        a_handshake_that_is_done_here_can_be_done_there
        an_alert_leaves_at_once
        a_close_notify_leaves_at_shutdown_and_at_drop
        data_is_flushed_when_a_flush_is_asked_for_and_no_oftener
        a_server_whose_response_is_stuck_reads
    }
}
