//! What only the adapter for futures-io has: timers that are handed in, and may keep a time of their
//! own; halves of a stream. And the example.
use crate::{
    Peer, recv_error,
    support::{PING, connection},
};
use std::{
    future::Future,
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

/// What time it is, and how many timers were made.
#[derive(Clone)]
struct Clock(Arc<Mutex<(Instant, usize)>>);

impl Clock {
    fn new() -> Self {
        Self(Arc::new(Mutex::new((Instant::now(), 0))))
    }
    fn advance(&self, by: Duration) {
        self.0.lock().unwrap().0 += by;
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
    let config = Config::default().heartbeat(beat);
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
        while let Some((message, reply)) = ws.recv_reply().await? {
            let _ = reply.feed(message)?;
        }
        ws.recv_chunk().await?;
        ws.send("x").await?;
        ws.close(CloseCode::NORMAL).await?;
        let (mut reader, mut writer) = ws.into_split();
        reader.recv().await?;
        writer.close(None).await
    }
    fn spawns(_: impl Future<Output: Send + 'static> + Send + 'static) {}
    let (io, _) = UnixStream::pair().unwrap();
    spawns(every_call(async_net::unix::UnixStream::try_from(io).unwrap(), async_io::Timer::at));
}
