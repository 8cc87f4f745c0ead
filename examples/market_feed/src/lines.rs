//! Many feeds over TLS, as exchanges have them. Each feed numbers its own ticks. All lines of a
//! feed carry the same numbers, but each line has its own delay. Now and then a connection is cut.
//! `examples/feed_handler` runs this exchange, and is its client.
//!
//! A subscriber sends requests as text, any number of times:
//!
//! | message       | answer                                                             |
//! |---------------|--------------------------------------------------------------------|
//! | `subscribe N` | the ticks of feed N from now on, as they come                      |
//! | `snapshot N`  | one snapshot of feed N's books, whose sequence says where it stands |
//!
//! Ticks and snapshots are those of `wire`. A subscriber that subscribes first, and then asks for
//! the snapshot, misses nothing: it drops the ticks that the snapshot contains already. One
//! connection carries one feed. The server answers any other message by a Close. It also sends a
//! Close to a subscriber that is too slow.
use crate::{
    BoxError,
    book::{Book, mix},
    source::Numbered,
};
use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};
use tickwire::{
    CloseCode, CloseFrame, Config, Prepared,
    tls::{
        Server,
        rustls::{ServerConfig, pki_types::PrivateKeyDer},
    },
    tokio::{TlsStream, WebSocket, accept},
};
use tokio::{
    net::{TcpListener, TcpStream},
    select,
    sync::broadcast::{self, Receiver, error::RecvError},
    task::{JoinSet, yield_now},
    time::{sleep, sleep_until},
};

/// How many ticks of a feed are kept for its subscribers.
const KEPT: usize = 4096;
/// A subscriber that leaves this many bytes unread is too slow.
const BACKLOG: usize = 1 << 20;
/// Ticks that are due are written together, up to this many.
const TOGETHER: usize = 64;

/// The times at which ticks are due.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Pace {
    /// By the system's timers: every millisecond, all ticks that have become due.
    #[default]
    Timer,
    /// Each tick at its own time, evenly spread. This takes a whole processor.
    Even,
    /// All feeds at the same time, one tick each, then a pause. This takes a processor too.
    Bursts,
}

#[derive(Clone, Copy, Debug)]
pub struct Plan {
    pub feeds: usize,
    pub lines: usize,
    /// The number of ticks a second, of all feeds together.
    pub rate: u32,
    pub pace: Pace,
    /// The longest delay of a line.
    pub late: Duration,
    /// How often each connection is cut.
    pub cut_every: Option<Duration>,
    /// The age at which a connection is cut.
    pub life: Option<Duration>,
}

/// All feeds, and the state that their sessions share.
pub struct Exchange {
    plan: Plan,
    tls: Server,
    began: Instant,
    feeds: Vec<Feed>,
    quiet: AtomicBool,
    cuts: AtomicU64,
}

struct Feed {
    state: Mutex<Numbered>,
    ticks: broadcast::Sender<Published>,
}

/// A tick, encoded once for all subscribers.
#[derive(Clone)]
struct Published {
    at: Instant,
    sequence: u64,
    message: Prepared,
}

impl Exchange {
    pub fn new(plan: Plan, tls: Server) -> Arc<Self> {
        let feed = |seed| {
            let state = Mutex::new(Numbered::new(seed));
            Feed { state, ticks: broadcast::Sender::new(KEPT) }
        };
        Arc::new(Self {
            plan,
            tls,
            began: Instant::now(),
            feeds: (0..plan.feeds as u64).map(feed).collect(),
            quiet: AtomicBool::new(false),
            cuts: AtomicU64::new(0),
        })
    }

    /// Stops the ticks. Connections stay open, and are no longer cut.
    pub fn quiet(&self) {
        self.quiet.store(true, Relaxed);
    }

    /// How many connections were cut.
    pub fn cuts(&self) -> u64 {
        self.cuts.load(Relaxed)
    }

    /// The number of a feed's newest tick, and the books after it.
    pub fn newest(&self, feed: usize) -> Option<(u64, Book)> {
        let state = self.feeds.get(feed)?.state();
        Some((state.sequence, state.book.clone()))
    }

    /// Serves the lines, each with its own listener, while the caller's runtime polls this.
    pub async fn serve(self: Arc<Self>, lines: Vec<std::net::TcpListener>) -> BoxError {
        let mut tasks = JoinSet::new();
        for (line, listener) in lines.into_iter().enumerate() {
            match TcpListener::from_std(listener) {
                Ok(listener) => drop(tasks.spawn(self.clone().accept(line, listener))),
                Err(error) => return error.into(),
            }
        }
        self.publish().await;
        std::future::pending().await
    }

    async fn publish(&self) {
        let feeds = self.feeds.len().max(1) as u64;
        for n in 0.. {
            let turn = match self.plan.pace {
                Pace::Timer | Pace::Even => n,
                Pace::Bursts => n / feeds * feeds,
            };
            let due = self.began
                + Duration::from_secs(1).mul_f64(turn as f64 / f64::from(self.plan.rate));
            while Instant::now() < due {
                match self.plan.pace {
                    Pace::Timer => sleep_until(due.into()).await,
                    Pace::Even | Pace::Bursts => yield_now().await,
                }
            }
            if self.quiet.load(Relaxed) {
                return;
            }
            self.feeds[(n % feeds) as usize].tick();
        }
    }

    async fn accept(self: Arc<Self>, line: usize, listener: TcpListener) {
        let mut sessions = JoinSet::new();
        loop {
            select! {
                accepted = listener.accept() => match accepted {
                    Ok((stream, _)) => drop(sessions.spawn(self.clone().session(line, stream))),
                    Err(error) => {
                        eprintln!("exchange: cannot accept: {error}");
                        // Most likely no file descriptor is left.
                        sleep(Duration::from_millis(100)).await;
                    }
                },
                Some(_) = sessions.join_next() => {}
            }
        }
    }

    /// Serves one connection. How it ends is ignored, because the subscriber has to connect again.
    async fn session(self: Arc<Self>, line: usize, stream: TcpStream) {
        let _: Result<(), BoxError> = async {
            stream.set_nodelay(true)?;
            stream.set_zero_linger()?; // so a connection that is cut is reset
            let ws = accept(TlsStream::server(stream, self.tls.clone())?, &config()).await?;
            Session { exchange: &self, line, ws, ticks: None, cut: None }.run().await
        }
        .await;
    }

    /// When the connection of `feed` on `line` is cut next, and the number of this cut, counted
    /// from 1. No two lines of a feed, and no two feeds of a line, are cut at the same time.
    fn next_cut(&self, line: usize, feed: usize) -> Option<(Instant, u64)> {
        let every = self.plan.cut_every?;
        let (lines, feeds) = (self.plan.lines as f64, self.plan.feeds as f64);
        let phase = every.mul_f64((line as f64 + feed as f64 / feeds) / lines);
        let since = self.began.elapsed().saturating_sub(phase);
        let n = (since.as_nanos() / every.as_nanos()) as u64 + 1;
        Some((self.began + phase + every.mul_f64(n as f64), n))
    }
}

fn config() -> Config {
    Config { max_message: 1 << 10, write_timeout: Duration::from_secs(5), ..Config::server() }
}

impl Feed {
    fn state(&self) -> MutexGuard<'_, Numbered> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tick(&self) {
        let mut state = self.state();
        let Some(tick) = state.tick() else { return };
        let (at, sequence, message) = (Instant::now(), state.sequence, Prepared::new(&tick));
        // An error says that nobody listens, which is fine.
        let _ = self.ticks.send(Published { at, sequence, message });
    }
}

/// A connection.
struct Session<'e> {
    exchange: &'e Exchange,
    line: usize,
    ws: WebSocket<TlsStream<TcpStream>>,
    ticks: Option<Ticks>,
    /// When the connection is cut, and the number of this cut.
    cut: Option<(Instant, u64)>,
}

impl Session<'_> {
    async fn run(mut self) -> Result<(), BoxError> {
        let exchange = self.exchange;
        loop {
            let cut = self.cut.map_or_else(Instant::now, |(at, _)| at);
            select! {
                biased;
                // Writes what was fed, and answers Pings and the Close.
                said = self.ws.recv() => {
                    let Some(said) = said? else { return Ok(()) };
                    let asked = said.as_text().and_then(|said| {
                        let (what, number) = said.split_once(' ')?;
                        let number = number.parse::<usize>().ok()?;
                        Some((what, number, exchange.feeds.get(number)?))
                    });
                    match asked {
                        Some(("subscribe", number, feed)) => {
                            let ticks = feed.ticks.subscribe();
                            let (line, late) = (self.line, exchange.plan.late);
                            self.ticks = Some(Ticks { ticks, first: None, line, late });
                            let aged = exchange.plan.life.map(|life| (Instant::now() + life, 0));
                            let cut = exchange.next_cut(self.line, number);
                            self.cut = cut.into_iter().chain(aged).min();
                        }
                        Some(("snapshot", _, feed)) => {
                            let _ = self.ws.feed(feed.state().snapshot(0))?;
                        }
                        _ => {
                            let why = "subscribe N, snapshot N";
                            return self.end(CloseCode::POLICY_VIOLATION, why).await;
                        }
                    }
                }
                () = sleep_until(cut.into()), if self.cut.is_some() => {
                    if exchange.quiet.load(Relaxed) {
                        self.cut = None;
                        continue;
                    }
                    exchange.cuts.fetch_add(1, Relaxed);
                    return match self.cut {
                        // The stream is dropped without a Close.
                        Some((_, n)) if n % 2 == 0 => Ok(()),
                        _ => self.end(CloseCode::GOING_AWAY, "time for another connection").await,
                    };
                }
                tick = next(&mut self.ticks) => {
                    let (mut tick, mut fed) = (tick, 0);
                    while let Some(published) = tick {
                        if self.ws.feed(&published.message).is_err() {
                            break;
                        }
                        fed += 1;
                        tick = self.ticks.as_mut().filter(|_| fed < TOGETHER).and_then(Ticks::due);
                    }
                    if fed == 0 || self.ws.sender().buffered_amount() > BACKLOG {
                        let frame =
                            CloseFrame::with_reason(CloseCode::TRY_AGAIN_LATER, "too slow");
                        self.ws.sender_mut().abort(frame)?; // not behind what waits
                        return Ok(self.ws.close(frame).await?);
                    }
                }
            }
        }
    }

    async fn end(mut self, code: CloseCode, why: &'static str) -> Result<(), BoxError> {
        Ok(self.ws.close(CloseFrame::with_reason(code, why)).await?)
    }
}

/// The next tick of the subscription. `None` if ticks were dropped before they were sent.
async fn next(ticks: &mut Option<Ticks>) -> Option<Published> {
    match ticks {
        Some(ticks) => ticks.next().await,
        None => std::future::pending().await,
    }
}

/// A feed's ticks, with the delay of the line.
struct Ticks {
    ticks: Receiver<Published>,
    /// The next tick, which is not due yet.
    first: Option<Published>,
    line: usize,
    late: Duration,
}

impl Ticks {
    /// Cancel safe.
    async fn next(&mut self) -> Option<Published> {
        if self.first.is_none() {
            self.first = match self.ticks.recv().await {
                Ok(published) => Some(published),
                Err(RecvError::Lagged(_) | RecvError::Closed) => return None,
            };
        }
        if let Some(due) = self.first_due()
            && due > Instant::now()
        {
            sleep_until(due.into()).await;
        }
        self.first.take()
    }

    /// The next tick, if it is due.
    fn due(&mut self) -> Option<Published> {
        if self.first.is_none() {
            self.first = self.ticks.try_recv().ok();
        }
        self.first_due().filter(|&due| due <= Instant::now()).and_then(|_| self.first.take())
    }

    /// When `first` is due. A line's delay changes every 16 ticks. Its ticks stay in order.
    fn first_due(&self) -> Option<Instant> {
        let Published { at, sequence, .. } = self.first.as_ref()?;
        let part = mix((self.line as u64) << 48 ^ sequence >> 4) as u32;
        Some(*at + self.late.mul_f64(f64::from(part) / f64::from(u32::MAX)))
    }
}

/// Makes a self-signed certificate for this machine. Returns the server's TLS configuration with
/// it, and the certificate in PEM, for clients that have to trust it.
pub fn self_signed() -> Result<(Server, String), BoxError> {
    let pair = rcgen::generate_simple_self_signed(["localhost".into(), "127.0.0.1".into()])?;
    let key = PrivateKeyDer::try_from(pair.signing_key.serialize_der())?;
    let mut config = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![pair.cert.der().clone()], key)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    // In place costs less of the processor; `config.into()` alone leaves the records to rustls.
    Ok((Server::from(config).in_place(), pair.cert.pem()))
}
