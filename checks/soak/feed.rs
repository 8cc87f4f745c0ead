//! A numbered feed, whose server ends each connection in one of the ways of [`Cut`].
//!
//! | the client says    | the server answers                                               |
//! |--------------------|------------------------------------------------------------------|
//! | `GET /PAIR/LINE`   | accepts, or 503                                                  |
//! | `subscribe`        | `subscribed`, and from then on `NUMBER TIME`, in µs since 1970   |
//!
//! The lines of a pair have the same feed. One of them is cut only while the other has brought it
//! for a while, so a client that follows both gets each number.
use crate::{
    counts::Counts,
    mix::Kind,
    on_tokio::{bind, drain},
    server::Served,
};
use std::{
    collections::{BTreeMap, HashSet},
    io,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};
use testkit::Rng;
use tickwire::{
    CloseCode, Config, Error, RecvError,
    handshake::server::{Accept, Rejection},
    tokio::{Incoming, WebSocket},
};
use tokio::{
    io::{AsyncWriteExt, copy, sink},
    net::{TcpListener, TcpStream},
    runtime::Runtime,
    select,
    sync::{
        broadcast::{self, error::RecvError as Missed},
        mpsc,
    },
    time::{Instant, MissedTickBehavior, interval},
};

/// Of each client.
pub(crate) const LINES: usize = 2;

/// For so long a line has to have brought the feed before the other one is cut.
const WELL: Duration = Duration::from_secs(1);

/// How many messages a connection may lag behind.
const KEPT: usize = 1 << 14;

/// How the server ends a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cut {
    /// Close 1001.
    Close,
    /// Close 1012.
    Restart,
    Reset,
    /// The end of the stream, without a Close.
    Eof,
    /// The end of the stream, in the middle of a frame.
    Half,
    /// Neither sends nor answers any more.
    Silent,
    /// The end of the stream, and the next attempt gets a 503.
    Refused,
}

impl Kind for Cut {
    const ALL: &'static [(&'static str, Self, usize)] = &[
        ("close", Self::Close, 15),
        ("restart", Self::Restart, 15),
        ("reset", Self::Reset, 20),
        ("eof", Self::Eof, 10),
        ("half", Self::Half, 20),
        ("silent", Self::Silent, 10),
        ("refused", Self::Refused, 10),
    ];
}

/// The number of a client, and of its line.
type Line = (usize, usize);

struct Feed {
    config: Config,
    counts: Arc<Counts>,
    /// What is published.
    news: broadcast::Sender<Arc<str>>,
    /// The connection that was subscribed last on each line.
    subscribed: Mutex<BTreeMap<Line, Subscribed>>,
    refused: Mutex<HashSet<Line>>,
    connections: AtomicU64,
}

struct Subscribed {
    /// Of the connection.
    id: u64,
    since: Instant,
    cut: mpsc::Sender<Cut>,
}

/// Publishes `rate` messages a second, and cuts `churn` connections a second.
pub(crate) fn run(
    runtime: &Runtime,
    config: Config,
    [rate, churn]: [f64; 2],
    counts: &Arc<Counts>,
) -> Served {
    let feed = Arc::new(Feed {
        config,
        counts: counts.clone(),
        news: broadcast::Sender::new(KEPT),
        subscribed: Mutex::default(),
        refused: Mutex::default(),
        connections: AtomicU64::new(0),
    });
    let mut ports = Vec::new();
    for _ in 0..LINES {
        let listener = bind(runtime)?;
        ports.push(listener.local_addr()?.port());
        runtime.spawn(feed.clone().listen(listener));
    }
    runtime.spawn(feed.clone().publish(Duration::from_secs_f64(1.0 / rate)));
    runtime.spawn(feed.cut(Duration::from_secs_f64(1.0 / churn)));
    Ok(ports)
}

/// The time that a message has.
pub(crate) fn micros() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    since.as_micros().try_into().unwrap_or(u64::MAX)
}

impl Feed {
    fn subscribed(&self) -> MutexGuard<'_, BTreeMap<Line, Subscribed>> {
        self.subscribed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn refused(&self) -> MutexGuard<'_, HashSet<Line>> {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn publish(self: Arc<Self>, every: Duration) {
        let mut ticks = interval(every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay); // no burst after a standstill
        for number in 1.. {
            ticks.tick().await;
            let text = format!("{number} {}", micros());
            let receivers = self.news.send(text.into()).unwrap_or(0); // an error: nobody listens
            self.counts.messages.fetch_add(receivers as u64, Relaxed);
        }
    }

    async fn cut(self: Arc<Self>, every: Duration) {
        let mut rng = Rng::new(1);
        let mut ticks = interval(every);
        let mut due = 0;
        loop {
            ticks.tick().await;
            due += 1;
            while due > 0 && self.cut_one(&mut rng) {
                due -= 1;
            }
        }
    }

    /// Cuts a connection, if there is one that may be cut.
    fn cut_one(&self, rng: &mut Rng) -> bool {
        let mut subscribed = self.subscribed();
        let well = |line| {
            subscribed.get(&line).is_some_and(|subscribed| subscribed.since.elapsed() > WELL)
        };
        let clients = subscribed.keys().filter(|(_, line)| *line == 0).map(|(client, _)| *client);
        let pairs: Vec<_> =
            clients.filter(|client| (0..LINES).all(|line| well((*client, line)))).collect();
        if pairs.is_empty() {
            return false;
        }
        let line = (pairs[rng.below(pairs.len())], rng.below(LINES));
        match (subscribed.remove(&line), Cut::draw(rng)) {
            (Some(subscribed), Some(way)) => subscribed.cut.try_send(way).is_ok(),
            _ => false,
        }
    }

    async fn listen(self: Arc<Self>, listener: TcpListener) {
        loop {
            match listener.accept().await {
                Ok((stream, _)) => {
                    let feed = self.clone();
                    tokio::spawn(async move {
                        feed.counts.open.fetch_add(1, Relaxed);
                        feed.serve(stream).await;
                        feed.counts.open.fetch_sub(1, Relaxed);
                    });
                }
                Err(error) => self.counts.fail("accept", &error.into()),
            }
        }
    }

    async fn serve(&self, stream: TcpStream) {
        let id = self.connections.fetch_add(1, Relaxed);
        let served = self.converse(stream, id).await;
        self.subscribed().retain(|_, subscribed| subscribed.id != id);
        match served {
            Ok(()) | Err(Error::Io(_) | Error::Recv(RecvError::UnexpectedEof)) => {} // it has left
            Err(error) => self.counts.fail("connection", &error.into()),
        }
    }

    async fn converse(&self, stream: TcpStream, id: u64) -> Result<(), Error> {
        stream.set_nodelay(true)?;
        let incoming = Incoming::read(stream, &self.config).await?;
        let mut path = incoming.request().path().split('/').skip(1).map(str::parse);
        let (Some(Ok(client)), Some(Ok(line))) = (path.next(), path.next()) else {
            return incoming.reject(Rejection::new(404)).await;
        };
        let line = (client, line);
        if self.refused().remove(&line) {
            return incoming.reject(Rejection::new(503)).await;
        }
        let mut ws = incoming.accept(Accept::default()).await?;
        if ws.recv().await?.is_none() {
            return Ok(());
        }
        let mut news = self.news.subscribe();
        ws.send("subscribed").await?;
        let (cut, mut cuts) = mpsc::channel(1);
        self.subscribed().insert(line, Subscribed { id, since: Instant::now(), cut });
        loop {
            select! {
                text = news.recv() => match text {
                    Ok(text) => ws.send(&*text).await?,
                    Err(Missed::Closed) => return Ok(()),
                    Err(Missed::Lagged(_)) => return Err(io::Error::other("it lagged").into()),
                },
                // Asked again.
                received = ws.recv() => match received?.is_some() {
                    true => ws.send("subscribed").await?,
                    false => return Ok(()),
                },
                Some(way) = cuts.recv() => return self.end(ws, line, way).await,
            }
        }
    }

    async fn end(&self, mut ws: WebSocket<TcpStream>, line: Line, way: Cut) -> Result<(), Error> {
        match way {
            Cut::Close => return ws.close(CloseCode::GOING_AWAY).await,
            Cut::Restart => return ws.close(CloseCode::SERVICE_RESTART).await,
            Cut::Reset => {
                // A socket closed with unread bytes sends an RST, so the Pong is not read.
                ws.sender_mut().ping(b"answer me")?;
                ws.flush().await?;
                return Ok(ws.get_ref().readable().await?);
            }
            Cut::Silent => {
                let _ = drain(ws).await; // until the client has left
                return Ok(());
            }
            Cut::Refused => drop(self.refused().insert(line)),
            Cut::Eof | Cut::Half => {}
        }
        let mut stream = ws.into_parts().0;
        if way == Cut::Half {
            stream.write_all(b"\x81\x64half a fr").await?; // 10 of 100 bytes of a text
        }
        stream.shutdown().await?;
        // Reads the rest, because an unread Ping would turn the end into an RST.
        copy(&mut stream, &mut sink()).await?;
        Ok(())
    }
}
