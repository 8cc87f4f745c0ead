//! The server without its sockets: ticks are numbered, encoded once, and handed to all sessions;
//! and what a session does when its subscriber is too slow.
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

/// How often ticks are published. All that became due since go together: one write for each
/// subscriber, however many ticks.
pub(crate) const INTERVAL: Duration = Duration::from_millis(5);

/// A subscriber that leaves this many bytes unread is too slow, and gets no more ticks until it has
/// read them all.
pub(crate) const BACKLOG: usize = 16 << 10;

/// What the system may hold for a subscriber, beyond our reach: stale ticks that conflation cannot
/// take back. Its default would be megabytes.
pub(crate) const SEND_BUFFER: u32 = 64 << 10;

/// What a session asks of its connection.
pub(crate) fn config() -> Config {
    Config {
        max_message: 1 << 10, // subscribers have little to say
        write_timeout: Duration::from_secs(5),
        ..Config::default()
    } // one that takes nothing for so long is gone
}

const SEED: u64 = 6455;

/// How many batches are kept for the sessions. One that misses a batch catches up.
const BATCHES: usize = 64;

/// Consecutive ticks, encoded once and shared by all sessions.
#[derive(Debug)]
pub(crate) struct Batch {
    first: u64,
    ticks: Vec<Prepared>,
}

/// What feed, sessions and the one who started them share.
#[derive(Debug)]
pub(crate) struct Market {
    state: Mutex<Numbered>,
    /// Lets the ticks begin.
    pub(crate) go: AtomicBool,
    /// Ends the feed before its time; a signal sets it as well.
    pub(crate) stop: Arc<AtomicBool>,
    /// How many subscribers there have been.
    pub(crate) clients: AtomicU64,
    /// How many ticks were due to the subscribers that have left, summed over them.
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

    /// Ctrl-c ends the feed from now on.
    pub(crate) fn stop_by_signal(&self) -> io::Result<()> {
        flag::register(SIGINT, self.stop.clone()).map(drop)
    }

    /// Why the feed has ended, for the subscribers.
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
    /// Ticks a second.
    rate: u32,
    length: Duration,
    started: Option<Instant>,
    market: Arc<Market>,
    /// Without WebSocket.
    pub(crate) bare: bool,
    batches: broadcast::Sender<Arc<Batch>>,
}

impl Feed {
    pub(crate) fn new(rate: u32, length: Duration, market: Arc<Market>, bare: bool) -> Self {
        let batches = broadcast::Sender::new(BATCHES);
        Self { rate, length, started: None, market, bare, batches }
    }

    /// Publishes what has become due; to be called every [`INTERVAL`]. `false` once the feed has
    /// ended.
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
            // An error says that nobody listens, which is fine.
            let _ = self.batches.send(Arc::new(batch));
        }
        elapsed < self.length
    }

    /// A session's end of it.
    pub(crate) fn outlet(&self) -> Outlet {
        let (market, batches) = (self.market.clone(), self.batches.subscribe());
        Outlet { market, batches, joined: 0, done: 0, behind: false }
    }
}

/// What one subscriber is to be sent. Holds no queue of its own: a subscriber costs the same
/// whether it keeps up or not.
#[derive(Debug)]
pub(crate) struct Outlet {
    pub(crate) market: Arc<Market>,
    batches: broadcast::Receiver<Arc<Batch>>,
    /// The newest tick when the subscriber came.
    joined: u64,
    /// The newest tick it was sent, or that was conflated into what it was sent.
    pub(crate) done: u64,
    /// It is too slow, and waits for a snapshot.
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

    /// The next batch, `None` at the end of the feed. Cancel safe.
    pub(crate) async fn batch(&mut self) -> Option<Arc<Batch>> {
        loop {
            match self.batches.recv().await {
                Ok(batch) => return Some(batch),
                Err(RecvError::Lagged(_)) => {} // the hole will be seen
                Err(RecvError::Closed) => return None,
            }
        }
    }

    /// What of `batch` is due, a snapshot first, when `backlog` bytes of what was sent before are
    /// not written yet. Whoever sends ticks adds their number to `done`.
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

    /// The newest state, in place of all ticks that were not sent; `None` if there are none.
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
