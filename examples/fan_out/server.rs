//! The server: each tick is encoded once, and each subscriber has a task and an outbox.
use std::{
    io,
    net::SocketAddr,
    sync::{Arc, atomic::AtomicUsize, atomic::Ordering::Relaxed},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};
use tickwire::{
    Config, Error, Prepared, Time,
    tokio::{MessageOrRoom, accept},
};
use tickwire_parts::{Outbox, OutboxCounts, Overflow};
use tokio::{
    net::{TcpListener, TcpSocket, TcpStream},
    sync::broadcast::{self, error::RecvError},
    task::JoinSet,
    time,
};

/// What a subscriber gets first, in bytes: more than a socket takes whose other end does not read.
const SNAPSHOT: usize = 64 * 1024;

/// What waits for a subscriber at most.
const BACKLOG: usize = 8 * 1024;

pub(crate) struct Server {
    ticks: broadcast::Sender<Prepared>,
    ready: Arc<AtomicUsize>,
    listener: TcpListener,
    subscribers: JoinSet<Result<OutboxCounts, Error>>,
}

impl Server {
    pub(crate) fn bind() -> io::Result<Self> {
        let socket = TcpSocket::new_v4()?;
        // What a send buffer holds is out of the outbox's reach: keep it small.
        socket.set_send_buffer_size(16 * 1024)?;
        socket.bind(([127, 0, 0, 1], 0).into())?;
        let (ticks, _) = broadcast::channel(64);
        let (ready, subscribers) = (Arc::default(), JoinSet::new());
        Ok(Self { ticks, ready, listener: socket.listen(1024)?, subscribers })
    }

    pub(crate) fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Takes so many subscribers, and waits until each has asked for its snapshot.
    pub(crate) async fn take(&mut self, subscribers: usize) -> io::Result<()> {
        let snapshot = tick(u64::MAX, SNAPSHOT);
        for _ in 0..subscribers {
            let (stream, _) = self.listener.accept().await?;
            let (ticks, ready) = (self.ticks.subscribe(), self.ready.clone());
            self.subscribers.spawn(subscriber(stream, ticks, snapshot.clone(), ready));
        }
        while self.ready.load(Relaxed) < subscribers {
            time::sleep(Duration::from_millis(10)).await;
        }
        Ok(())
    }

    /// Publishes ticks numbered from `from`, and says how late the last began.
    pub(crate) async fn publish(&self, from: u64, ticks: u64, size: usize, every: Duration) {
        let mut clock = time::interval(every);
        for number in from..from + ticks {
            clock.tick().await;
            let _ = self.ticks.send(tick(number, size));
        }
    }

    /// Ends all, and sums up: how many were too slow, and what was dropped for them.
    pub(crate) async fn end(self) -> (usize, u64) {
        let Self { ticks, mut subscribers, .. } = self;
        drop(ticks);
        let (mut slow, mut dropped) = (0, 0);
        while let Some(ended) = subscribers.join_next().await {
            if let Ok(Ok(counts)) = ended {
                slow += usize::from(counts.dropped > 0);
                dropped += counts.dropped;
            }
        }
        (slow, dropped)
    }
}

/// A message that begins with its number and the time.
fn tick(number: u64, size: usize) -> Prepared {
    let mut payload = vec![0; size.max(16)];
    payload[..8].copy_from_slice(&number.to_be_bytes());
    payload[8..16].copy_from_slice(&now().to_be_bytes());
    Prepared::new(&payload)
}

/// Nanoseconds, on a clock that both processes share.
pub(crate) fn now() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    now.as_nanos() as u64
}

async fn subscriber(
    stream: TcpStream,
    mut ticks: broadcast::Receiver<Prepared>,
    snapshot: Prepared,
    ready: Arc<AtomicUsize>,
) -> Result<OutboxCounts, Error> {
    stream.set_nodelay(true)?;
    let epoch = Instant::now();
    let mut ws = accept(stream, &Config::default()).await?;
    let mut outbox = Outbox::new(Overflow::DropOldest);
    outbox.max_bytes = BACKLOG;
    loop {
        let now = || Time::new(epoch.elapsed());
        let _ = outbox.feed(now(), ws.sender_mut()); // closed: receiving says why
        tokio::select! {
            biased;
            tick = ticks.recv() => match tick {
                Ok(tick) => {
                    let _ = outbox.push(now(), tick); // drops the oldest, if need be
                }
                Err(RecvError::Lagged(_)) => {} // the server itself is too slow: a gap for all
                Err(RecvError::Closed) => return Ok(outbox.counts()),
            },
            received = ws.recv_or_room(outbox.max_unsent) => match received? {
                MessageOrRoom::Message(_) => {
                    let _ = outbox.push(now(), &snapshot);
                    ready.fetch_add(1, Relaxed);
                }
                MessageOrRoom::Room => {}
                MessageOrRoom::Closed => return Ok(outbox.counts()),
            },
        }
    }
}
