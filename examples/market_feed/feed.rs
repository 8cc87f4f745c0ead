//! The server without its sockets: ticks are numbered, encoded once, and handed to all sessions;
//! and what a session does when its subscriber is too slow.
use crate::{
    book::Book,
    clock,
    source::Ticks,
    wire::{self, Tick},
};
use signal_hook::{consts::SIGINT, flag};
use std::{
    fmt::Display,
    io,
    iter::Peekable,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
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

/// How many batches are kept for the sessions. One that misses a batch catches up.
const BATCHES: usize = 64;

/// Consecutive ticks, encoded once and shared by all sessions.
#[derive(Debug)]
pub(crate) struct Batch {
    first: u64,
    ticks: Vec<Prepared>,
}

/// What feed, sessions and the one who started them share.
#[derive(Debug, Default)]
pub(crate) struct Market {
    /// Whether to print how sessions fail.
    verbose: bool,
    /// How the first one did.
    trouble: OnceLock<String>,
    state: Mutex<State>,
    go: AtomicBool,
    /// A signal sets it as well.
    stop: Arc<AtomicBool>,
    clients: AtomicU64,
    due: AtomicU64,
}

#[derive(Debug, Default)]
struct State {
    book: Book,
    /// Of the newest tick.
    sequence: u64,
}

impl Market {
    pub(crate) fn verbose() -> Self {
        Self { verbose: true, ..Self::default() }
    }

    /// Tells of something that went wrong, and that the others need not care about.
    pub(crate) fn tell(&self, what: impl Display) {
        self.trouble.get_or_init(|| what.to_string());
        if self.verbose {
            eprintln!("market_feed: {what}");
        }
    }

    /// The first thing told.
    pub(crate) fn trouble(&self) -> Option<&str> {
        self.trouble.get().map(String::as_str)
    }

    /// Lets the ticks begin.
    pub(crate) fn go(&self) {
        self.go.store(true, Relaxed);
    }

    /// Ends the feed before its time.
    pub(crate) fn stop(&self) {
        self.stop.store(true, Relaxed);
    }

    /// The same by ctrl-c, from now on.
    pub(crate) fn stop_by_signal(&self) -> io::Result<()> {
        flag::register(SIGINT, self.stop.clone()).map(drop)
    }

    /// How many subscribers there have been.
    pub(crate) fn clients(&self) -> u64 {
        self.clients.load(Relaxed)
    }

    /// How many ticks were due to the subscribers that have left, summed over them.
    pub(crate) fn due(&self) -> u64 {
        self.due.load(Relaxed)
    }

    /// Why the feed has ended, for the subscribers.
    pub(crate) fn farewell(&self) -> CloseFrame<'static> {
        match self.stop.load(Relaxed) {
            true => CloseFrame::with_reason(CloseCode::GOING_AWAY, "server stops"),
            false => CloseFrame::with_reason(CloseCode::NORMAL, "end of feed"),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn snapshot(&self, skipped: u64) -> Vec<u8> {
        let Self { book, sequence } = self;
        wire::snapshot(*sequence, skipped, clock::now(), book.checksum(), book.levels())
    }
}

/// The one producer.
pub(crate) struct Feed {
    ticks: Peekable<Ticks>,
    length: Duration,
    started: Option<Instant>,
    market: Arc<Market>,
    batches: broadcast::Sender<Arc<Batch>>,
}

impl Feed {
    pub(crate) fn new(ticks: Ticks, length: Option<Duration>, market: Arc<Market>) -> Self {
        Self {
            ticks: ticks.peekable(),
            length: length.unwrap_or(Duration::MAX),
            started: None,
            market,
            batches: broadcast::Sender::new(BATCHES),
        }
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
        let due = |at: Duration| at <= elapsed && at < self.length;
        let mut state = self.market.state();
        let mut batch = Batch { first: state.sequence + 1, ticks: Vec::new() };
        while let Some(tick) = self.ticks.next_if(|tick| due(tick.at)) {
            state.sequence += 1;
            state.book.apply(tick.update);
            let tick = Tick {
                sequence: state.sequence,
                encoded_at: clock::now(),
                update: tick.update,
                checksum: state.book.checksum(),
            };
            batch.ticks.push(Prepared::new(&tick.encode()));
        }
        drop(state);
        if !batch.ticks.is_empty() {
            // An error says that nobody listens, which is fine.
            let _ = self.batches.send(Arc::new(batch));
        }
        self.ticks.peek().is_some_and(|next| next.at < self.length)
    }

    pub(crate) fn market(&self) -> Arc<Market> {
        self.market.clone()
    }

    /// A session's end of it.
    pub(crate) fn outlet(&self) -> Outlet {
        Outlet {
            market: self.market.clone(),
            batches: self.batches.subscribe(),
            joined: 0,
            done: 0,
            behind: false,
        }
    }
}

/// What one subscriber is to be sent. Holds no queue of its own: a subscriber costs the same
/// whether it keeps up or not.
#[derive(Debug)]
pub(crate) struct Outlet {
    market: Arc<Market>,
    batches: broadcast::Receiver<Arc<Batch>>,
    /// The newest tick when the subscriber came.
    joined: u64,
    /// The newest tick it was sent, or that was conflated into what it was sent.
    done: u64,
    /// It is too slow, and waits for a snapshot.
    behind: bool,
}

/// What is to be sent now, in this order.
#[derive(Debug)]
pub(crate) struct Due<'b> {
    pub(crate) snapshot: Option<Vec<u8>>,
    pub(crate) ticks: &'b [Prepared],
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

    /// What of `batch` is due, when `backlog` bytes of what was sent before are not written yet.
    /// Whoever sends it says so with [`sent`](Self::sent).
    pub(crate) fn due<'b>(&mut self, batch: &'b Batch, backlog: usize) -> Due<'b> {
        self.behind |= backlog > BACKLOG || batch.first > self.done + 1;
        let mut snapshot = None;
        if self.behind {
            if backlog > 0 {
                return Due { snapshot: None, ticks: &[] };
            }
            snapshot = self.catch_up();
        }
        // The snapshot may be newer than the batch.
        let old = usize::try_from(self.done + 1 - batch.first).unwrap_or(usize::MAX);
        Due { snapshot, ticks: batch.ticks.get(old..).unwrap_or_default() }
    }

    /// Says that another `n` ticks were sent.
    pub(crate) fn sent(&mut self, n: usize) {
        self.done += n as u64;
    }

    /// The newest state, in place of all ticks that were not sent; `None` if there are none.
    pub(crate) fn catch_up(&mut self) -> Option<Vec<u8>> {
        self.behind = false;
        let state = self.market.state();
        let skipped = state.sequence - self.done;
        self.done = state.sequence;
        (skipped > 0).then(|| state.snapshot(skipped))
    }

    pub(crate) fn farewell(&self) -> CloseFrame<'static> {
        self.market.farewell()
    }
}

impl Drop for Outlet {
    fn drop(&mut self) {
        self.market.due.fetch_add(self.done - self.joined, Relaxed);
    }
}
