//! What only the adapter for futures-io has: timers that are handed in, and may keep a time of
//! their own; halves of a stream. And the example.
use crate::{
    Peer, recv_error,
    support::{
        polled::{Polled, polled},
        wire::{PING, connection, unmasked},
    },
};
use std::{
    collections::VecDeque,
    future::Future,
    io,
    os::unix::net::UnixStream,
    pin::{Pin, pin},
    sync::{Arc, Mutex},
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};
use tickwire::{
    CloseCode, Config, Error, Heartbeat, RecvError, Role,
    futures_io::{self, Timers, WebSocket},
};
use tokio::io::ReadBuf;

/// What time it is, how many timers were made, and when the timer that was polled last is ready.
#[derive(Clone)]
struct Clock(Arc<Mutex<(Instant, usize, Instant)>>);

impl Clock {
    fn new() -> Self {
        Self(Arc::new(Mutex::new((Instant::now(), 0, Instant::now()))))
    }
    fn advance(&self, by: Duration) {
        self.0.lock().unwrap().0 += by;
    }
    /// Waits as a runtime does whose task nothing else wakes.
    fn wait(&self) {
        let (now, _, timer) = &mut *self.0.lock().unwrap();
        assert!(*now < *timer, "nothing wakes the task");
        *now = *timer;
    }
    fn made(&self) -> usize {
        self.0.lock().unwrap().1
    }
}

struct Sleep(Clock, Instant, bool);

impl Future for Sleep {
    type Output = &'static str;
    fn poll(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Self::Output> {
        assert!(!self.2, "polled after completion");
        self.2 = self.0.now() >= self.1;
        self.0.0.lock().unwrap().2 = self.1;
        if self.2 { Poll::Ready("whatever") } else { Poll::Pending }
    }
}

impl Timers for Clock {
    type Sleep = Sleep;
    fn at(&self, at: Instant) -> Sleep {
        self.0.lock().unwrap().1 += 1;
        Sleep(self.clone(), at, false)
    }
    fn now(&self) -> Instant {
        self.0.lock().unwrap().0
    }
}

fn once<F: Future>(future: F) -> Poll<F::Output> {
    pin!(future).poll(&mut Context::from_waker(Waker::noop()))
}

fn serve(beat: Heartbeat) -> (WebSocket<async_net::unix::UnixStream, Clock>, Peer, Clock) {
    let (io, other) = UnixStream::pair().unwrap();
    let clock = Clock::new();
    let config = Config { heartbeat: Some(beat), ..Config::default() };
    let io = async_net::unix::UnixStream::try_from(io).unwrap();
    let ws = WebSocket::from_parts(io, clock.clone(), connection(Role::Server, &config));
    (ws, Peer::new(other, Role::Server), clock)
}

const HOUR: Duration = Duration::from_secs(3600);

/// A silent peer, with a heartbeat of an hour that waits for another.
fn is_given_up(mut poll: impl FnMut() -> Poll<Result<(), Error>>, peer: &mut Peer, clock: &Clock) {
    for _ in 0..1000 {
        assert!(poll().is_pending());
    }
    assert_eq!(clock.made(), 1, "only another deadline is another timer");
    let began = clock.now();
    let error = loop {
        match poll() {
            Poll::Ready(done) => break recv_error(done),
            Poll::Pending => clock.advance(HOUR / 10),
        }
    };
    assert_eq!(error, RecvError::PongTimeout);
    assert!((2 * HOUR..3 * HOUR).contains(&(clock.now() - began)));
    assert!(clock.made() < 20, "{}", clock.made());
    assert_eq!(peer.hear().unwrap().0, PING);
}

#[test]
fn an_hour_takes_no_time() {
    let (mut ws, mut peer, clock) = serve(Heartbeat::new(HOUR, HOUR));
    is_given_up(|| once(async { ws.recv().await.map(drop) }), &mut peer, &clock);

    let (ws, mut peer, clock) = serve(Heartbeat::new(HOUR, HOUR));
    let (mut reader, _writer) = ws.into_split_with(|io| (io.clone(), io));
    is_given_up(|| once(async { reader.recv().await.map(drop) }), &mut peer, &clock);
}

#[test]
fn a_deadline_beyond_all_instants_never_comes() {
    let (mut ws, _peer, clock) = serve(Heartbeat::new(Duration::MAX / 2, Duration::MAX));
    for _ in 0..10 {
        assert!(once(ws.recv()).is_pending());
        clock.advance(Duration::from_secs(400 * 24 * 60 * 60));
    }
    assert!(clock.made() < 20, "{}", clock.made());
}

#[test]
fn all_of_it_can_be_sent_to_another_thread_while_it_waits() {
    async fn every_call<S, T>(io: S, timers: T) -> Result<(), Error>
    where
        S: ::futures_io::AsyncRead + ::futures_io::AsyncWrite + Unpin + Send + 'static,
        T: Timers<Sleep: Send> + Send + 'static,
    {
        let mut ws = futures_io::accept(io, timers, &Config::default()).await?;
        while let Some(received) = ws.recv_to_reply().await? {
            let _ = received.sender.feed(received.message)?;
        }
        ws.recv_chunk().await?;
        ws.send("x").await?;
        ws.close(CloseCode::NORMAL).await?;
        let (mut reader, mut writer) = ws.into_split_with(futures_util::AsyncReadExt::split);
        reader.recv().await?;
        writer.close(None).await
    }
    fn spawns(_: impl Future<Output: Send + 'static> + Send + 'static) {}
    let (io, _) = UnixStream::pair().unwrap();
    spawns(every_call(async_net::unix::UnixStream::try_from(io).unwrap(), async_io::Timer::at));
}

/// A stream whose every read has something at once, so many times; and how long it takes by this
/// clock.
struct Flood(usize, Clock, Duration);

polled!(futures: Flood);
impl Polled for Flood {
    fn poll_read(&mut self, _: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let Some(left) = self.0.checked_sub(1) else { return Poll::Ready(Ok(())) };
        self.0 = left;
        self.1.advance(self.2);
        buf.put_slice(&[PING, 0x80, 0, 0, 0, 0]);
        Poll::Ready(Ok(()))
    }
    fn poll_write(&mut self, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(bytes.len()))
    }
}

#[test]
fn a_peer_that_sends_faster_than_it_is_read_leaves_other_tasks_and_deadlines_their_turn() {
    let clock = Clock::new();
    let conn = connection(
        Role::Server,
        &Config { close_timeout: Duration::from_secs(1), ..Config::default() },
    );
    let mut ws =
        WebSocket::from_parts(Flood(100_000, clock.clone(), Duration::ZERO), clock.clone(), conn);
    let mut closing = pin!(ws.close(CloseCode::NORMAL));
    let mut polls = 0;
    let end = loop {
        match closing.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(end) => break end,
            Poll::Pending => clock.advance(Duration::from_millis(300)),
        }
        polls += 1;
    };
    assert_eq!(recv_error(end), RecvError::CloseTimeout);
    assert!(polls < 10, "{polls}");
}

/// A stream with reads to come: each brings these bytes and takes so long by this clock. Behind
/// them the stream blocks.
#[derive(Clone)]
struct Backlog(Arc<Mutex<VecDeque<Vec<u8>>>>, Clock, Duration);

polled!(futures: Backlog);
impl Polled for Backlog {
    fn poll_read(&mut self, _: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let Some(bytes) = self.0.lock().unwrap().pop_front() else { return Poll::Pending };
        self.1.advance(self.2);
        buf.put_slice(&bytes);
        Poll::Ready(Ok(()))
    }
    fn poll_write(&mut self, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(bytes.len()))
    }
}

/// A program sleeps beyond `data_timeout`, while 3 MiB of Pings and a message behind them lie
/// unread: three times as many reads as the adapter makes in a turn.
fn finds_what_lies_unread(
    mut poll: impl FnMut() -> Poll<Result<Option<Vec<u8>>, Error>>,
    io: &Backlog,
) {
    assert!(poll().is_pending(), "the deadline runs");
    io.1.advance(Duration::from_millis(400));
    let pings = unmasked(PING, [0; 125]).repeat((16 << 10) / 127);
    io.0.lock().unwrap().extend(vec![pings; 190]);
    io.0.lock().unwrap().push_back(b"\x82\x01!".to_vec());
    for _ in 0..100 {
        match poll() {
            Poll::Ready(received) => {
                assert_eq!(received.unwrap().unwrap(), b"!");
                return;
            }
            Poll::Pending => io.1.advance(Duration::from_micros(100)),
        }
    }
    panic!("it waits, though all of this lies unread");
}

#[test]
fn a_read_that_the_adapter_puts_off_shows_no_silence() {
    let config = Config { data_timeout: Some(Duration::from_millis(300)), ..Config::default() };
    let over = || {
        let clock = Clock::new();
        let io = Backlog(Arc::default(), clock.clone(), Duration::from_micros(160));
        let conn = connection(Role::Client, &config);
        (io.clone(), WebSocket::from_parts(io, clock, conn))
    };
    let (io, mut ws) = over();
    let mut recv = async || Ok(ws.recv().await?.map(|message| message.as_bytes().to_vec()));
    finds_what_lies_unread(|| once(recv()), &io);

    let (io, ws) = over();
    let (mut reader, _writer) = ws.into_split_with(|io| (io.clone(), io));
    let mut recv = async || Ok(reader.recv().await?.map(|message| message.as_bytes().to_vec()));
    finds_what_lies_unread(|| once(recv()), &io);
}

#[test]
fn a_refused_peer_that_sends_faster_than_it_is_read_is_left_after_a_second() {
    let clock = Clock::new();
    let began = clock.now();
    let io = Flood(100_000, clock.clone(), Duration::from_millis(100)); // no request
    let accepted = once(futures_io::accept(io, clock.clone(), &Config::default()));
    assert!(matches!(accepted, Poll::Ready(Err(Error::Handshake(_)))));
    assert_eq!(clock.now() - began, Duration::from_millis(1100));
}

/// A stream with a byte of a frame, which refuses all bytes.
#[derive(Clone)]
struct Stuck(Arc<Mutex<bool>>);

polled!(futures: Stuck);
impl Polled for Stuck {
    fn poll_read(&mut self, _: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if std::mem::replace(&mut *self.0.lock().unwrap(), true) {
            return Poll::Pending;
        }
        buf.put_slice(&[0x82]);
        Poll::Ready(Ok(()))
    }
    fn poll_write(&mut self, _: &mut Context<'_>, _: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Pending
    }
}

/// The deadline on the frame passes 2 ms behind the call, and is judged for 10 ms. The other
/// deadline passes 3 ms later, and does not wait for that.
#[test]
fn no_other_deadline_waits_for_the_judge_of_silence() {
    let ms = Duration::from_millis;
    let config = Config { close_timeout: ms(5), write_timeout: HOUR, ..Config::default() };
    let impatient = Config { close_timeout: HOUR, write_timeout: ms(5), ..Config::default() };
    type Ws = WebSocket<Stuck, Clock>;
    let over = |config: &Config| -> (Ws, Clock) {
        let clock = Clock::new();
        let io = Stuck(Arc::default());
        let mut ws = WebSocket::from_parts(io, clock.clone(), connection(Role::Server, config));
        for seconds in [0, 15, 15, 15] {
            clock.advance(Duration::from_secs(seconds));
            assert!(once(ws.recv()).is_pending());
        }
        clock.advance(Duration::from_secs(15) - ms(2));
        (ws, clock)
    };
    fn ends_in_5_ms(
        mut poll: impl FnMut() -> Poll<Result<(), Error>>,
        clock: &Clock,
    ) -> Option<Error> {
        let began = clock.now();
        loop {
            if let Poll::Ready(end) = poll() {
                assert_eq!(clock.now() - began, Duration::from_millis(5));
                return end.err();
            }
            clock.wait();
        }
    }
    let (mut ws, clock) = over(&config);
    let mut leaving = Box::pin(ws.leave(CloseCode::NORMAL, ms(5)));
    ends_in_5_ms(|| leaving.as_mut().poll(&mut Context::from_waker(Waker::noop())), &clock);

    let (mut ws, clock) = over(&config);
    let mut closing = Box::pin(ws.close(CloseCode::NORMAL));
    let end =
        ends_in_5_ms(|| closing.as_mut().poll(&mut Context::from_waker(Waker::noop())), &clock);
    assert_eq!(recv_error(Err::<(), _>(end.unwrap())), RecvError::CloseTimeout);

    let (mut ws, clock) = over(&impatient);
    let _ = ws.feed("data").unwrap();
    let end = ends_in_5_ms(|| once(async { ws.recv().await.map(drop) }), &clock);
    assert_eq!(recv_error(Err::<(), _>(end.unwrap())), RecvError::WriteTimeout);

    // Refused only while the frame is judged.
    let (mut ws, clock) = over(&impatient);
    assert!(once(ws.recv()).is_pending());
    clock.wait();
    assert!(once(ws.recv()).is_pending());
    let _ = ws.feed("data").unwrap();
    let end = ends_in_5_ms(|| once(async { ws.recv().await.map(drop) }), &clock);
    assert_eq!(recv_error(Err::<(), _>(end.unwrap())), RecvError::WriteTimeout);

    // The same through the halves.
    let (ws, clock) = over(&impatient);
    let (mut reader, mut writer) = ws.into_split_with(|io| (io.clone(), io));
    let _ = writer.feed("data").unwrap();
    assert!(once(writer.flush()).is_pending());
    let end = ends_in_5_ms(|| once(async { reader.recv().await.map(drop) }), &clock);
    assert_eq!(recv_error(Err::<(), _>(end.unwrap())), RecvError::WriteTimeout);
}

/// A stream that takes up to so many bytes every four seconds.
#[derive(Clone)]
struct Sips(usize, Arc<Mutex<Instant>>, Clock);

polled!(futures: Sips);
impl Polled for Sips {
    fn poll_write(&mut self, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let next = &mut *self.1.lock().unwrap();
        if self.2.now() < *next {
            return Poll::Pending;
        }
        *next = self.2.now() + Duration::from_secs(4);
        Poll::Ready(Ok(bytes.len().min(self.0)))
    }
}

/// LIMITS names the calls that may wait for ever with the default settings.
#[test]
fn a_peer_that_reads_on_is_waited_for_until_we_leave() {
    fn waits_for_an_hour(mut poll: impl FnMut() -> Poll<Result<(), Error>>, clock: &Clock) {
        for _ in 0..3600 {
            assert!(poll().is_pending());
            clock.advance(Duration::from_secs(1));
        }
    }
    let over = || {
        let clock = Clock::new();
        let conn = connection(Role::Server, &Config::default());
        let io = Sips(2048, Arc::new(Mutex::new(clock.now())), clock.clone());
        let mut ws = WebSocket::from_parts(io, clock.clone(), conn);
        let _ = ws.feed("x".repeat(2 << 20)).unwrap();
        (ws, clock)
    };
    let second = Duration::from_secs(1);

    let (mut ws, clock) = over();
    waits_for_an_hour(|| once(ws.flush()), &clock);
    let mut leaving = Box::pin(ws.leave(CloseCode::GOING_AWAY, second));
    let mut poll = || leaving.as_mut().poll(&mut Context::from_waker(Waker::noop()));
    assert!(poll().is_pending());
    clock.advance(second);
    assert!(poll().is_ready());

    let (ws, clock) = over();
    let (_reader, mut writer) = ws.into_split_with(|io| (io.clone(), io));
    waits_for_an_hour(|| once(writer.close(CloseCode::NORMAL)), &clock);
    let mut leaving = Box::pin(writer.leave(CloseCode::GOING_AWAY, second));
    let mut poll = || leaving.as_mut().poll(&mut Context::from_waker(Waker::noop()));
    assert!(poll().is_pending());
    clock.advance(second);
    assert!(poll().is_ready());
}

/// Takes all of one slice, and notes each write.
#[derive(Clone, Debug, Default)]
struct Flat(Arc<Mutex<Vec<Vec<u8>>>>);

polled!(futures: Flat);
impl Polled for Flat {
    fn poll_write(&mut self, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.0.lock().unwrap().push(bytes.to_vec());
        Poll::Ready(Ok(bytes.len()))
    }
}

/// A stream of futures-io does not say whether it writes many slices, so no payload is left where
/// it is. What overtakes is a slice of its own all the same.
#[test]
fn no_header_travels_alone() {
    let (io, config) = (Flat::default(), Config::default());
    let conn = connection(Role::Server, &config);
    let mut ws = WebSocket::from_parts(io.clone(), Clock::new(), conn);
    let _ = ws.feed(bytes::Bytes::from(vec![7; 20_000])).unwrap();
    assert!(matches!(once(ws.flush()), Poll::Ready(Ok(()))));
    assert!(format!("{ws:?}").contains("FuturesIo"));
    let (_reader, mut writer) = ws.into_split_with(|io| (io.clone(), io));
    let _ = writer.feed("data").unwrap();
    writer.with_sender(|tx| tx.ping(b"?")).unwrap();
    assert!(matches!(once(writer.flush()), Poll::Ready(Ok(()))));
    let written = io.0.lock().unwrap();
    assert_eq!(written[0].len(), 20_004);
    assert_eq!(written[1..].concat(), b"\x89\x01?\x81\x04data");
}
