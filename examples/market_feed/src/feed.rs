//! The server without its sockets. It numbers ticks, encodes each once, and hands them to all
//! sessions. It also decides what a session does when its subscriber is too slow.
use crate::source::Numbered;
use signal_hook::{consts::SIGINT, flag};
use std::{
    io,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};
use tickwire::{CloseCode, CloseFrame, Config, Prepared};
use tokio::sync::broadcast::{self, error::RecvError};

/// How often ticks are published. All ticks that have become due since the last time leave
/// together: one write for each subscriber, however many ticks.
pub(crate) const INTERVAL: Duration = Duration::from_millis(5);

/// A subscriber that leaves this many bytes unread is too slow, and gets no more ticks until it has
/// read them all.
pub(crate) const BACKLOG: usize = 16 << 10;

/// The size of the system's send buffer for a subscriber. Conflation cannot take back the stale
/// ticks in this buffer, and the system's default would be megabytes.
pub(crate) const SEND_BUFFER: u32 = 64 << 10;

/// The configuration of a session's connection.
pub(crate) fn config() -> Config {
    Config {
        max_message: 1 << 10, // subscribers have little to say
        write_timeout: Duration::from_secs(5),
        ..Config::server()
    } // a subscriber that accepts nothing for this time is gone
}

const SEED: u64 = 6455;

/// How many batches are kept for the sessions. A session that misses a batch catches up.
const BATCHES: usize = 64;

/// Consecutive ticks, encoded once and shared by all sessions.
#[derive(Debug)]
pub(crate) struct Batch {
    first: u64,
    ticks: Vec<Prepared>,
}

/// The state that the feed, the sessions and the code that started them share.
#[derive(Debug)]
pub(crate) struct Market {
    state: Mutex<Numbered>,
    /// The ticks begin once this is true.
    pub(crate) go: AtomicBool,
    /// Ends the feed early. A signal also sets it.
    pub(crate) stop: Arc<AtomicBool>,
    /// How many subscribers there have been.
    pub(crate) clients: AtomicU64,
    /// The sum, over all subscribers that have left, of the ticks that were due to them.
    pub(crate) due: AtomicU64,
}

impl Market {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::new(Numbered::new(SEED)), // the same ticks each time
            go: AtomicBool::default(),
            stop: Arc::default(),
            clients: AtomicU64::default(),
            due: AtomicU64::default(),
        })
    }

    /// Makes ctrl-c end the feed.
    pub(crate) fn stop_by_signal(&self) -> io::Result<()> {
        flag::register(SIGINT, self.stop.clone()).map(drop)
    }

    /// The Close that tells the subscribers why the feed has ended.
    pub(crate) fn farewell(&self) -> CloseFrame<'static> {
        match self.stop.load(Relaxed) {
            true => CloseFrame::with_reason(CloseCode::GOING_AWAY, "server stops"),
            false => CloseFrame::with_reason(CloseCode::NORMAL, "end of feed"),
        }
    }

    fn state(&self) -> MutexGuard<'_, Numbered> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The one producer.
pub(crate) struct Feed {
    /// The number of ticks a second.
    rate: u32,
    length: Duration,
    started: Option<Instant>,
    market: Arc<Market>,
    /// Whether the feed goes over bare TCP, without WebSocket.
    pub(crate) bare: bool,
    batches: broadcast::Sender<Arc<Batch>>,
}

impl Feed {
    pub(crate) fn new(rate: u32, length: Duration, market: Arc<Market>, bare: bool) -> Self {
        let batches = broadcast::Sender::new(BATCHES);
        Self { rate, length, started: None, market, bare, batches }
    }

    /// Publishes the ticks that are due. Call this every [`INTERVAL`]. `false`: the feed has ended.
    pub(crate) fn publish(&mut self) -> bool {
        if self.market.stop.load(Relaxed) {
            return false;
        }
        if !self.market.go.load(Relaxed) {
            return true;
        }
        let elapsed = self.started.get_or_insert_with(Instant::now).elapsed();
        let mut state = self.market.state();
        let mut batch = Batch { first: state.sequence + 1, ticks: Vec::new() };
        let due = (elapsed.min(self.length).as_secs_f64() * f64::from(self.rate)) as u64;
        while state.sequence < due
            && let Some(tick) = state.tick()
        {
            batch.ticks.push(Prepared::new(&tick));
        }
        drop(state);
        if !batch.ticks.is_empty() {
            // An error means that there is no subscriber, which is fine.
            let _ = self.batches.send(Arc::new(batch));
        }
        elapsed < self.length
    }

    /// Makes the session's end of the feed.
    pub(crate) fn outlet(&self) -> Outlet {
        let (market, batches) = (self.market.clone(), self.batches.subscribe());
        Outlet { market, batches, joined: 0, done: 0, behind: false }
    }
}

/// Decides what one subscriber is sent. It has no queue: a slow subscriber costs no more than
/// others.
#[derive(Debug)]
pub(crate) struct Outlet {
    pub(crate) market: Arc<Market>,
    batches: broadcast::Receiver<Arc<Batch>>,
    /// The newest tick when the subscriber came.
    joined: u64,
    /// The newest tick that the subscriber was sent, or that a snapshot stood for.
    pub(crate) done: u64,
    /// The subscriber is too slow, and waits for a snapshot.
    behind: bool,
}

impl Outlet {
    /// The snapshot a subscriber begins with.
    pub(crate) fn join(&mut self) -> Vec<u8> {
        self.market.clients.fetch_add(1, Relaxed);
        let state = self.market.state();
        (self.joined, self.done) = (state.sequence, state.sequence);
        state.snapshot(0)
    }

    /// The next batch, or `None` at the end of the feed. Cancel safe.
    pub(crate) async fn batch(&mut self) -> Option<Arc<Batch>> {
        loop {
            match self.batches.recv().await {
                Ok(batch) => return Some(batch),
                Err(RecvError::Lagged(_)) => {} // `due` will see the gap
                Err(RecvError::Closed) => return None,
            }
        }
    }

    /// Returns what to send now: a snapshot, if one is due, and then these ticks of `batch`.
    /// `backlog` is the number of bytes that were fed before and are not written yet. The caller
    /// adds the number of ticks that it sends to `done`.
    pub(crate) fn due<'b>(
        &mut self,
        batch: &'b Batch,
        backlog: usize,
    ) -> (Option<Vec<u8>>, &'b [Prepared]) {
        self.behind |= backlog > BACKLOG || batch.first > self.done + 1;
        let mut snapshot = None;
        if self.behind {
            if backlog > 0 {
                return (None, &[]);
            }
            snapshot = self.catch_up();
        }
        // The snapshot may be newer than the batch.
        let old = usize::try_from(self.done + 1 - batch.first).unwrap_or(usize::MAX);
        (snapshot, batch.ticks.get(old..).unwrap_or_default())
    }

    /// A snapshot in place of all ticks that were not sent. `None` if all were sent.
    pub(crate) fn catch_up(&mut self) -> Option<Vec<u8>> {
        self.behind = false;
        let state = self.market.state();
        let skipped = state.sequence - self.done;
        self.done = state.sequence;
        (skipped > 0).then(|| state.snapshot(skipped))
    }
}

impl Drop for Outlet {
    fn drop(&mut self) {
        self.market.due.fetch_add(self.done - self.joined, Relaxed);
    }
}
