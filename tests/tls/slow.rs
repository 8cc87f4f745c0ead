//! TLS over a stream that takes little at a time, under tokio: nothing is refused for that, and
//! whoever waits to write is woken, whatever a reader beside it does.
use crate::support::{
    polled::{Polled, polled},
    tls::{Authority, product},
    wire::connection,
};
use crate::{
    pipe::Pipe,
    support::{placed::placed, talk::WithSender},
};
use ::tokio::{
    io::{
        AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, ReadBuf,
        copy_bidirectional, duplex, split,
    },
    net::TcpListener,
    task::JoinHandle,
    time::{Instant, sleep, timeout},
};
use std::{
    cell::Cell,
    future::pending,
    io,
    pin::Pin,
    rc::Rc,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};
use testkit::tasks::bounded;
use tickwire::{
    CloseCode, Config, Dial, Error, Heartbeat, Message, RecvError, Role, blocking,
    handshake::{client::Request, server::Accept},
    tls::rustls::{
        ClientConfig, SupportedProtocolVersion,
        version::{TLS12, TLS13},
    },
    tokio::{Incoming, TlsStream, WebSocket, accept, client as shake},
};

/// Both ends, in bounded time.
async fn both<A: Future, B: Future>(a: A, b: B) -> (A::Output, B::Output) {
    bounded(async { ::tokio::join!(a, b) }).await
}

/// The result of a task that writes, in bounded time.
async fn woken<T>(writing: JoinHandle<T>) -> T {
    bounded(writing).await.unwrap()
}

type Session = TlsStream<DuplexStream>;

/// A server and a client that trusts it, each over its end of a pipe.
fn sessions<S>(near: S, far: S) -> (TlsStream<S>, TlsStream<S>)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    sessions_of(&TLS13, near, far)
}

fn sessions_of<S>(
    version: &'static SupportedProtocolVersion,
    near: S,
    far: S,
) -> (TlsStream<S>, TlsStream<S>)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let ca = Authority::new();
    let localhost: tickwire::url::Target = "wss://localhost/".parse().unwrap();
    (
        TlsStream::server(near, placed(ca.server())).unwrap(),
        TlsStream::client(far, &localhost, placed(client_of(version, &ca))).unwrap(),
    )
}

fn client_of(version: &'static SupportedProtocolVersion, ca: &Authority) -> Arc<ClientConfig> {
    let builder = ClientConfig::builder_with_protocol_versions(&[version]);
    let mut config = builder.with_root_certificates(ca.roots()).with_no_client_auth();
    config.enable_secret_extraction = ca.client().enable_secret_extraction;
    config.into()
}

fn pipe(room: usize) -> (Session, Session) {
    let (near, far) = duplex(room);
    sessions(near, far)
}

/// A server's first message, of `n` bytes, which leaves behind its part of the handshake.
async fn snapshot<S>(stream: TlsStream<S>, n: usize) -> Result<(), Error>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let incoming = Incoming::read(stream, &Config::default()).await?;
    let mut ws = incoming.accept_corked(Accept::default())?;
    let _ = ws.feed(vec![7; n])?;
    ws.flush().await
}

fn len(message: Option<Message<'_>>) -> Option<usize> {
    message.map(|message| message.as_bytes().len())
}

/// Reads until there are `n` bytes, or the end; returns how many there were.
async fn read_up_to(n: usize, io: &mut Session) -> usize {
    let (mut got, mut buf) = (0, vec![0; 10_000]);
    while got < n {
        match io.read(&mut buf).await.unwrap() {
            0 => break,
            some => got += some,
        }
    }
    got
}

// A server's first write behind the handshake is larger than what rustls buffers, and the stream is
// slow.
#[::tokio::test(start_paused = true)]
async fn corked_snapshot_over_slow_tls() {
    let (server, client) = pipe(4096);
    let receiving = async {
        let request = Request::new("wss://localhost/").unwrap();
        let mut ws = shake(client, &request, &Config::default()).await?;
        ws.recv().await.map(len)
    };
    let (sent, received) = both(snapshot(server, 300_000), receiving).await;
    sent.unwrap();
    assert_eq!(received.unwrap(), Some(300_000));
}

// The client: its Finished and what it writes first.
#[::tokio::test(start_paused = true)]
async fn raw_client_first_write_large() {
    let (mut server, mut client) = pipe(4096);
    let writing = async {
        let written = client.write_all(&[1; 300_000]).await;
        let _ = client.shutdown().await;
        written
    };
    let (read, written) = both(read_up_to(300_000, &mut server), writing).await;
    written.unwrap();
    assert_eq!(read, 300_000);
}

// Over TCP with a small send buffer.
#[::tokio::test]
async fn corked_snapshot_over_tcp_small_sndbuf() {
    let ca = Authority::new();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let tls = ca.server();
    let sending = async {
        let (stream, _) = listener.accept().await.unwrap();
        stream.set_nodelay(true).unwrap();
        let socket = socket2::SockRef::from(&stream);
        #[cfg(target_os = "linux")]
        socket.set_tcp_notsent_lowat(16 << 10).unwrap();
        socket.set_send_buffer_size(16 << 10).unwrap();
        snapshot(TlsStream::server(stream, placed(tls)).unwrap(), 900_000).await
    };
    let receiving = async {
        let request = Request::new(&format!("wss://localhost:{}/", addr.port())).unwrap();
        let mut ws =
            Dial::new(&request).tls(placed(ca.client())).connect(&Config::default()).await?;
        ws.recv().await.map(len)
    };
    let (sent, received) = both(sending, receiving).await;
    sent.unwrap();
    assert_eq!(received.unwrap(), Some(900_000));
}

// Split while the handshake's last words are not written: the reader drains, the writer is woken.
#[::tokio::test(start_paused = true)]
async fn split_while_opening() {
    let (server, client) = pipe(4096);
    let peer = ::tokio::spawn(async move {
        let request = Request::new("wss://localhost/").unwrap();
        let mut ws = shake(client, &request, &Config::default()).await?;
        sleep(Duration::from_millis(300)).await;
        let _ = ws.recv().await.map(len);
        pending::<Result<(), Error>>().await // an end would wake the writer too
    });
    let incoming = Incoming::read(server, &Config::default()).await.unwrap();
    let ws = incoming.accept_corked(Accept::default()).unwrap();
    let (mut reader, mut writer) = ws.into_split();
    let _ = writer.feed(vec![7; 40_000]).unwrap();
    let writing = ::tokio::spawn(async move { writer.flush().await });
    let reading = ::tokio::spawn(async move {
        sleep(Duration::from_millis(100)).await;
        let _ = reader.recv().await;
    });
    woken(writing).await.unwrap();
    reading.abort();
    peer.abort();
}

// The same after `handshake()` has returned, as its docs ask for.
#[::tokio::test(start_paused = true)]
async fn raw_split_after_handshake() {
    let (mut server, mut client) = pipe(512);
    let peer = ::tokio::spawn(async move {
        server.handshake().await.unwrap();
        sleep(Duration::from_millis(300)).await;
        read_up_to(20_000, &mut server).await;
        pending::<()>().await // an end would wake the writer too
    });
    client.handshake().await.unwrap();
    let (mut reader, mut writer) = split(client);
    let writing = ::tokio::spawn(async move {
        writer.write_all(&[1; 20_000]).await?;
        writer.flush().await
    });
    let reading = ::tokio::spawn(async move {
        sleep(Duration::from_millis(100)).await;
        let _ = reader.read(&mut [0; 100]).await;
    });
    woken(writing).await.unwrap();
    reading.abort();
    peer.abort();
}

// A reader that fails takes the writer's waker away.
#[::tokio::test(start_paused = true)]
async fn failing_reader_and_pending_writer() {
    let (near, mut far) = duplex(4096);
    // The handshake, by hand, over `far`.
    let (client, mut relayed) = duplex(1 << 20);
    let (mut server, mut client) = sessions(near, client);
    let relay = timeout(Duration::from_millis(500), copy_bidirectional(&mut far, &mut relayed));
    async fn open(session: &mut Session) {
        session.handshake().await.unwrap();
        session.flush().await.unwrap();
    }
    let _ = ::tokio::join!(relay, open(&mut server), open(&mut client));
    let (mut reader, mut writer) = split(server);
    let writing = ::tokio::spawn(async move {
        let _ = writer.write_all(&[1; 50_000]).await;
        let _ = writer.flush().await;
    });
    let reading = ::tokio::spawn(async move { reader.read(&mut [0; 100]).await });
    sleep(Duration::from_millis(100)).await;
    let no_record_of_theirs =
        [23, 3, 3, 0, 20, 1, 2, 3, 4, 5, 6, 7, 8, 9, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1];
    far.write_all(&no_record_of_theirs).await.unwrap();
    sleep(Duration::from_millis(100)).await;
    let peer = ::tokio::spawn(async move {
        let mut buf = [0; 1000];
        while far.read(&mut buf).await.is_ok_and(|n| n > 0) {}
    });
    woken(writing).await;
    reading.abort();
    peer.abort();
}

/// A stream, and whether a signal interrupted its last call. Every other read or shutdown is
/// interrupted.
struct Signals(DuplexStream, bool);

impl Signals {
    /// The stream, for a call that no signal interrupts.
    fn uninterrupted(&mut self) -> io::Result<Pin<&mut DuplexStream>> {
        self.1 = !self.1;
        if self.1 { Err(io::ErrorKind::Interrupted.into()) } else { Ok(Pin::new(&mut self.0)) }
    }
}

polled!(tokio: Signals);
impl Polled for Signals {
    fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.uninterrupted()?.poll_read(cx, buf)
    }
    fn poll_write(&mut self, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }
    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }
    fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.uninterrupted()?.poll_shutdown(cx)
    }
}

#[::tokio::test(start_paused = true)]
async fn a_signal_ends_no_call() {
    let (near, far) = duplex(4096);
    let (mut server, mut client) = sessions(Signals(near, false), Signals(far, false));
    let echo = async {
        let mut asked = [0; 2];
        server.handshake().await.unwrap();
        server.read_exact(&mut asked).await.unwrap();
        server.write_all(&asked).await.unwrap();
        server.flush().await.unwrap();
        server.shutdown().await.unwrap();
    };
    let ask = async {
        client.write_all(b"hi").await.unwrap();
        client.flush().await.unwrap();
        let mut answer = [0; 2];
        client.read_exact(&mut answer).await.unwrap();
        answer
    };
    assert_eq!(both(echo, ask).await.1, *b"hi");
}

/// How fast a line is.
#[derive(Clone, Copy, PartialEq)]
enum Line {
    Fast,
    /// 64 bytes each 80 ms: 800 bytes a second.
    Slow,
    /// Nothing arrives any more.
    Dead,
}

/// Carries bytes from one end to another, as fast as the line is at that moment.
async fn carry(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    line: &Cell<Line>,
) {
    let mut buf = [0; 64];
    loop {
        let n = match from.read(&mut buf).await {
            Ok(0) => {
                let _ = to.shutdown().await;
                pending().await
            }
            Ok(n) => n,
            Err(_) => return,
        };
        match line.get() {
            Line::Fast => {}
            Line::Slow => sleep(Duration::from_millis(80)).await,
            Line::Dead => pending().await,
        }
        if to.write_all(&buf[..n]).await.is_err() {
            return;
        }
    }
}

type Ws = WebSocket<Session>;

/// Both ends of a line that `act` may slow down from the client, whose end is the second, to the
/// server.
async fn on_a_line<T>(act: impl AsyncFnOnce(DuplexStream, DuplexStream, &Cell<Line>) -> T) -> T {
    let (near, far) = (duplex(1 << 16), duplex(1 << 16));
    let line = Cell::new(Line::Fast);
    let (relay, fast) = ((split(near.1), split(far.1)), Cell::new(Line::Fast));
    let to_server = carry(relay.1.0, relay.0.1, &line);
    let to_client = carry(relay.0.0, relay.1.1, &fast);
    ::tokio::select! {
        done = act(near.0, far.0, &line) => done,
        _ = async { ::tokio::join!(to_server, to_client) } => panic!("the line has broken"),
    }
}

/// A server with this configuration, and its client.
async fn opened<S>(
    (server, client): (TlsStream<S>, TlsStream<S>),
    config: &Config,
) -> (WebSocket<TlsStream<S>>, WebSocket<TlsStream<S>>)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let request = Request::new("wss://localhost/").unwrap();
    let unlimited = Config::default();
    let opened = both(accept(server, config), shake(client, &request, &unlimited)).await;
    (opened.0.unwrap(), opened.1.unwrap())
}

/// A server with this configuration, and its client, over such a line. Returns the server's last
/// result.
async fn over_a_line<T>(config: &Config, act: impl AsyncFnOnce(Ws, Ws, &Cell<Line>) -> T) -> T {
    on_a_line(async |near, far, line| {
        let (server, client) = opened(sessions(near, far), config).await;
        act(server, client, line).await
    })
    .await
}

fn second() -> Duration {
    Duration::from_secs(1)
}

/// A message of one record, which takes 20 s. The client's Pongs wait behind it.
#[::tokio::test(start_paused = true)]
async fn a_byte_of_a_record_is_a_sign_of_life() {
    let config =
        Config { heartbeat: Some(Heartbeat::new(second(), second())), ..Config::default() };
    for goes_on in [true, false] {
        let act = async |mut server: Ws, mut client: Ws, line: &Cell<Line>| {
            line.set(Line::Slow);
            let began = Instant::now();
            let _ = client.feed(vec![7; 16_000]).unwrap();
            client.flush().await.unwrap();
            let dies = async {
                sleep(10 * second()).await;
                if !goes_on {
                    line.set(Line::Dead);
                }
                client.recv().await.map(len)
            };
            let received = ::tokio::select! {
                received = server.recv() => received.map(len),
                end = dies => panic!("{end:?}"),
            };
            (received, began.elapsed())
        };
        match over_a_line(&config, act).await {
            (Ok(received), took) => {
                assert!(goes_on);
                assert_eq!(received, Some(16_000));
                assert!(took > 15 * second(), "{took:?}");
            }
            (Err(error), took) => {
                assert!(!goes_on, "{error}");
                assert!(matches!(error, Error::Recv(RecvError::PongTimeout)), "{error}");
                // 1.25 intervals, the timeout, and the last 64 bytes on their way.
                assert!((11 * second()..13 * second()).contains(&took), "{took:?}");
            }
        }
    }
}

/// A peer that sends a record for ever is no reason to wait for ever: it is no data, and no part of
/// a frame.
#[::tokio::test(start_paused = true)]
async fn a_record_that_drips_is_bounded_by_the_deadlines_on_data_and_on_a_frame() {
    let heartbeat = Some(Heartbeat::new(second(), second()));
    let data = Config { heartbeat, data_timeout: Some(5 * second()), ..Config::default() };
    let frame = Config { heartbeat, frame_timeout: 5 * second(), ..Config::default() };
    // The first record of the frame takes 20 s. Only then is there a part of a frame.
    for (config, want, least) in
        [(data, RecvError::DataTimeout, 5), (frame, RecvError::FrameTimeout, 25)]
    {
        let act = async |mut server: Ws, mut client: Ws, line: &Cell<Line>| {
            line.set(Line::Slow);
            let began = Instant::now();
            let _ = client.feed(vec![7; 32_000]).unwrap();
            client.flush().await.unwrap();
            let answers = async {
                let _ = client.recv().await.map(len); // until the server's Close comes
                pending::<()>().await
            };
            let error = ::tokio::select! {
                received = server.recv() => received.map(len).unwrap_err(),
                () = answers => unreachable!(),
            };
            (error, began.elapsed())
        };
        let (error, took) = over_a_line(&config, act).await;
        assert!(matches!(error, Error::Recv(error) if error == want), "{error}");
        assert!((least * second()..(least + 3) * second()).contains(&took), "{took:?}");
    }
}

/// The client's Close waits behind a record that takes 8 s, longer than `close_timeout`.
#[::tokio::test(start_paused = true)]
async fn a_record_that_drips_shows_that_a_closing_peer_goes_on_sending() {
    let act = async |mut server: Ws, mut client: Ws, line: &Cell<Line>| {
        line.set(Line::Slow);
        let _ = client.feed(vec![7; 6400]).unwrap();
        client.flush().await.unwrap();
        let answering = async move { assert!(client.recv().await.unwrap().is_none(), "our Close") };
        let (done, ()) = both(server.close(CloseCode::NORMAL), answering).await;
        let end = server.closed().unwrap();
        (done, end.error, end.unconfirmed)
    };
    match over_a_line(&Config::default(), act).await {
        (Ok(()), Some(RecvError::CloseTimeout), false) => {}
        other => panic!("{other:?}"),
    }
}

/// A client sends much to a server behind this line, for at most 150 s. Returns how the flush
/// ended, and when.
async fn sends_much<S>(
    tls: (TlsStream<S>, TlsStream<S>),
    line: &Cell<Line>,
    slow: Line,
    halves: bool,
) -> Option<(Error, Duration)>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    // Only the client's clock on writing runs: the server's message takes longer than its time.
    let patient = Config { frame_timeout: 1000 * second(), ..Config::default() };
    let (mut server, mut client) = opened(tls, &patient).await;
    line.set(slow);
    let began = Instant::now();
    let _ = client.feed(vec![7; 500_000]).unwrap();
    let flushing = async {
        if halves {
            let (mut reader, mut writer) = client.into_split();
            // As in each program, somebody reads.
            let (flushed, _) = ::tokio::join!(writer.flush(), reader.recv_owned());
            flushed
        } else {
            client.flush().await
        }
    };
    let ended = async {
        ::tokio::select! {
            flushed = flushing => flushed,
            got = server.recv() => panic!("{got:?}"),
        }
    };
    let ended = timeout(150 * second(), ended).await.ok()?;
    Some((ended.unwrap_err(), began.elapsed()))
}

/// What lies in TLS takes 80 s to leave, more than twice `write_timeout`.
#[::tokio::test(start_paused = true)]
async fn each_byte_of_ciphertext_that_leaves_is_progress() {
    // Whole, and in halves over TLS in TLS.
    let ways = [(false, false), (true, true)];
    let all = product(product([Line::Slow, Line::Dead], ways), [&TLS12, &TLS13]);
    for ((slow, (halves, deep)), version) in all {
        let ended = on_a_line(async |near, far, line| {
            let tls = sessions_of(version, near, far);
            match deep {
                false => sends_much(tls, line, slow, halves).await,
                true => sends_much(sessions(tls.0, tls.1), line, slow, halves).await,
            }
        })
        .await;
        match ended {
            None => assert!(slow == Line::Slow),
            Some((error, took)) => {
                assert!(slow == Line::Dead, "{error} after {took:?}, {halves} {deep}");
                assert!(matches!(error, Error::Recv(RecvError::WriteTimeout)), "{error}");
                assert!((30.0..37.6).contains(&took.as_secs_f64()), "{took:?}, {halves} {deep}");
            }
        }
    }
}

/// Takes so many bytes, then refuses more.
struct Drips(Pipe, Rc<Cell<usize>>);

impl io::Read for Drips {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        io::Read::read(&mut self.0, buf)
    }
}

impl io::Write for Drips {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        match self.1.get().min(buf.len()) {
            0 => Err(io::ErrorKind::WouldBlock.into()),
            n => {
                self.1.set(self.1.get() - n);
                io::Write::write(&mut self.0, &buf[..n])
            }
        }
    }
    fn flush(&mut self) -> io::Result<()> {
        io::Write::flush(&mut self.0)
    }
}

impl blocking::Stream for Drips {
    crate::support::tries::tries!();
    crate::support::tries::cannot_wait!();
}

#[test]
fn of_a_thread_each_byte_of_ciphertext_that_leaves_is_known() {
    for version in [&TLS12, &TLS13] {
        each_byte_that_leaves_is_known(version);
    }
}

fn each_byte_that_leaves_is_known(version: &'static SupportedProtocolVersion) {
    let ca = Authority::new();
    let localhost: tickwire::url::Target = "wss://localhost/".parse().unwrap();
    let (pipe, room) = (Pipe::default(), Rc::new(Cell::new(usize::MAX)));
    let drips = Drips(pipe.clone(), room.clone());
    let client = placed(client_of(version, &ca));
    let mut tls = blocking::TlsStream::client(drips, &localhost, client).unwrap();
    let mut peer = tickwire::tls::Session::server(placed(ca.server())).unwrap();
    while tls.handshake().is_err() {
        let bytes = pipe.taken();
        peer.spare_mut()[..bytes.len()].copy_from_slice(&bytes);
        peer.commit(bytes.len());
        assert_eq!(peer.read(&mut [0; 1]).unwrap(), None);
        let answer = peer.outgoing().to_vec();
        pipe.put(&answer);
        peer.advance(answer.len());
    }
    let conn = connection(Role::Client, &Config::default());
    let mut ws = blocking::WebSocket::from_parts(tls, conn);
    room.set(0);
    let _ = ws.feed(vec![7; 50_000]).unwrap();
    assert!(matches!(ws.flush(), Err(Error::WouldBlock)));
    // With the frame's header, and what TLS adds to four records.
    let mut held = ws.buffered_amount();
    assert!((50_008 + 4 * 17..50_200).contains(&held), "{held}");
    for n in [1, 1000, 49_000] {
        room.set(n);
        assert!(matches!(ws.flush(), Err(Error::WouldBlock)));
        held -= n;
        assert_eq!(ws.buffered_amount(), held);
    }
    room.set(usize::MAX);
    ws.flush().unwrap();
    assert_eq!(ws.buffered_amount(), 0);
}

crate::by_rustls::once_more! {
    corked_snapshot_over_slow_tls
    raw_client_first_write_large
    corked_snapshot_over_tcp_small_sndbuf
    split_while_opening
    raw_split_after_handshake
    failing_reader_and_pending_writer
    a_signal_ends_no_call
    a_byte_of_a_record_is_a_sign_of_life
    a_record_that_drips_is_bounded_by_the_deadlines_on_data_and_on_a_frame
    a_record_that_drips_shows_that_a_closing_peer_goes_on_sending
    each_byte_of_ciphertext_that_leaves_is_progress
    of_a_thread_each_byte_of_ciphertext_that_leaves_is_known
}
