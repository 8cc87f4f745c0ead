//! [`Lookups`]: names are looked up on threads, and the dials of a name share its lookup.
#[cfg(test)]
mod tests;

use alloc::{boxed::Box, collections::BTreeMap, sync::Arc, vec, vec::Vec};
use core::{
    fmt,
    future::Future,
    net::{IpAddr, SocketAddr},
    panic::AssertUnwindSafe,
    pin::Pin,
    task::{Context, Poll, Waker},
    time::Duration,
};
use std::{
    io::{self, ErrorKind},
    net::ToSocketAddrs,
    panic::catch_unwind,
    sync::{LazyLock, Mutex, MutexGuard, PoisonError, mpsc},
    task::Wake,
    thread,
    time::Instant,
};

/// The most threads. A name that gets no answer keeps its thread, so a few dead names must not use
/// them all.
const THREADS: usize = 64;
/// The most names that are looked up, wait for a thread, or have an answer that no dial has taken.
const NAMES: usize = 1024;
/// A dial that comes so long after its name was last asked for is a new attempt, not one of several
/// at once. An answer whose packet got lost comes sooner to a new question.
const AGAIN: Duration = Duration::from_secs(1);
/// An answer that found no dial waits as long as `Backoff` of tickwire-parts between two dials.
const KEPT: Duration = Duration::from_secs(60);

/// Looks names up by the operating system's resolver, which blocks: so each lookup has a thread.
/// Nothing waits for this thread, neither the end of a runtime nor that of the program. Needs the
/// feature `std`.
///
/// - All dials of a name share its lookup. The lookup goes on when a dial ends, because nothing can
///   end the resolver's call. So a name that needs 15 s is found although each dial waits for 3 s.
/// - An answer goes to all dials that wait for it. If there is none, it waits for up to 60 s, for
///   the dials that come before one of them has taken it. There is no cache: each later dial asks
///   anew. A failure is not kept at all.
/// - A dial that comes 1 s or more after its name was last asked for starts a second lookup beside
///   the first, if less than 32 threads are in use. The first answer counts; a failure counts if it
///   is that of the last lookup.
/// - Up to 64 threads look up at a time, and further names wait for a thread, the oldest first. Of
///   more than 1,024 names, the lookup of the last fails with `ResourceBusy`.
///
/// ```
/// use std::time::Duration;
/// use tickwire_dial::Lookups;
///
/// let lookup = Lookups::of_process().look_up("127.0.0.1", 443); // a future
/// assert_eq!(lookup.wait(Duration::from_secs(3))?, ["127.0.0.1:443".parse().unwrap()]);
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone)]
pub struct Lookups(Arc<Shared>);

type Found<E> = Result<Vec<SocketAddr>, E>;
type Resolve = dyn Fn(&str) -> Found<io::Error> + Send + Sync;

struct Shared {
    resolve: Box<Resolve>,
    elapsed: Box<dyn Fn() -> Duration + Send + Sync>,
    names: Mutex<Names>,
}

#[derive(Default)]
struct Names {
    /// By age, the oldest first.
    sought: BTreeMap<u64, Name>,
    threads: usize,
    /// The next key of `sought` or of `Name::waiting`.
    next: u64,
}

struct Name {
    host: Arc<str>,
    /// How many `Lookup`s there are. Invariant: 1 or more if it is `Queued` or its answer is taken.
    dials: usize,
    waiting: BTreeMap<u64, Waker>,
    stage: Stage,
}

enum Stage {
    /// Waits for a thread.
    Queued,
    Running {
        /// 1 or 2.
        threads: usize,
        /// When the last of them began.
        since: Duration,
    },
    Answered {
        found: Found<Arc<io::Error>>,
        at: Duration,
        /// It is for those alone that have it or wait for it.
        taken: bool,
    },
}

impl Lookups {
    /// Lookups by a resolver of the caller's. `resolve` gets a name, and its addresses need no
    /// port; if it panics, the lookup fails. `elapsed` is the time since a moment that you choose.
    pub fn new(
        resolve: impl Fn(&str) -> io::Result<Vec<SocketAddr>> + Send + Sync + 'static,
        elapsed: impl Fn() -> Duration + Send + Sync + 'static,
    ) -> Self {
        let resolve = Box::new(resolve);
        let elapsed = Box::new(elapsed);
        Self(Arc::new(Shared { resolve, elapsed, names: Mutex::default() }))
    }

    /// Those by the operating system's resolver, which all of a process share.
    pub fn of_process() -> &'static Self {
        static LOOKUPS: LazyLock<Lookups> = LazyLock::new(|| {
            let began = Instant::now();
            let resolve = |host: &str| (host, 0).to_socket_addrs().map(Iterator::collect);
            Lookups::new(resolve, move || began.elapsed())
        });
        &LOOKUPS
    }

    /// Begins the lookup of this name, or joins the one under way, at this call and not when the
    /// result is first polled. An IP address needs no lookup and no thread. `host` has no brackets.
    /// Under WASI, which has no threads, the resolver is asked during this call.
    ///
    /// The lookup fails with the resolver's error; `ResourceBusy` if too many names are looked up;
    /// or the error of the operating system if there is no thread.
    pub fn look_up(&self, host: &str, port: u16) -> Lookup {
        let ready = |found| Lookup { port, of: Of::Known(found) };
        if let Ok(address) = host.parse::<IpAddr>() {
            return ready(Ok(vec![SocketAddr::new(address, port)]));
        }
        if cfg!(target_os = "wasi") {
            return ready((self.0.resolve)(host).map_err(Arc::new));
        }
        match self.0.join(host) {
            Ok(key) => Lookup { port, of: Of::Sought { shared: self.0.clone(), key, dial: None } },
            Err(error) => ready(Err(Arc::new(error))),
        }
    }
}

impl fmt::Debug for Lookups {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lookups").finish_non_exhaustive()
    }
}

impl Shared {
    /// Under this lock no resolver runs, and no waker, whose drop may drop a task and so a
    /// `Lookup`. Only a resolver's error may be dropped here.
    fn names(&self) -> MutexGuard<'_, Names> {
        self.names.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn join(self: &Arc<Self>, host: &str) -> io::Result<u64> {
        let now = (self.elapsed)();
        let mut names = self.names();
        let Names { sought, threads: in_use, .. } = &mut *names;
        sought.retain(|_, name| name.dials > 0 || name.has_room(now));
        let mut same = sought.iter_mut();
        if let Some((key, name)) = same.find(|(_, name)| *name.host == *host && name.has_room(now))
        {
            name.dials += 1;
            if let Stage::Running { threads: threads @ 1, since } = &mut name.stage
                && now.saturating_sub(*since) >= AGAIN
                && *in_use < THREADS / 2
                && self.start(*key, &name.host).is_ok()
            {
                *threads = 2;
                *since = now;
                *in_use += 1;
            }
            return Ok(*key);
        }
        if sought.len() >= NAMES {
            sought.retain(|_, name| name.dials > 0 || name.is_sought());
        }
        if sought.len() >= NAMES {
            return Err(ErrorKind::ResourceBusy.into());
        }
        let key = names.key();
        let host = Arc::from(host);
        let mut stage = Stage::Queued;
        if names.threads < THREADS {
            self.start(key, &host)?;
            stage = Stage::Running { threads: 1, since: now };
            names.threads += 1;
        }
        names.sought.insert(key, Name { host, dials: 1, waiting: BTreeMap::new(), stage });
        Ok(key)
    }

    /// The new thread waits for the lock, which the caller holds.
    fn start(self: &Arc<Self>, key: u64, host: &Arc<str>) -> io::Result<()> {
        let shared = self.clone();
        let first = (key, host.clone());
        let run = move || {
            let mut next = Some(first);
            while let Some((key, host)) = next {
                let found = catch_unwind(AssertUnwindSafe(|| (shared.resolve)(&host)));
                let panicked = |_| Err(io::Error::other("the resolver has panicked"));
                next = shared.answer(key, found.unwrap_or_else(panicked));
            }
        };
        #[cfg(test)]
        tests::spawned()?;
        thread::Builder::new().name("tickwire: names".into()).spawn(run).map(drop)
    }

    /// The next name for the thread whose lookup this was.
    fn answer(&self, key: u64, found: Found<io::Error>) -> Option<(u64, Arc<str>)> {
        let now = (self.elapsed)();
        let mut names = self.names();
        let woken = names.answer(key, found, now);
        let mut queued = names.sought.iter_mut();
        let next = queued.find(|(_, name)| matches!(name.stage, Stage::Queued));
        let next = next.map(|(key, name)| {
            name.stage = Stage::Running { threads: 1, since: now };
            (*key, name.host.clone())
        });
        if next.is_none() {
            names.threads -= 1;
        }
        drop(names);
        for waker in woken.into_values() {
            // A waker that panics ends neither this thread nor the others' wait.
            let _ = catch_unwind(AssertUnwindSafe(|| waker.wake()));
        }
        next
    }
}

impl Names {
    fn key(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    fn answer(&mut self, key: u64, found: Found<io::Error>, at: Duration) -> BTreeMap<u64, Waker> {
        // Otherwise the other thread was faster.
        if let Some(name) = self.sought.get_mut(&key)
            && let Stage::Running { threads, .. } = &mut name.stage
        {
            *threads -= 1;
            let taken = found.is_err();
            if taken && *threads > 0 {
                return BTreeMap::new(); // the other thread may still find it
            }
            name.stage = Stage::Answered { found: found.map_err(Arc::new), at, taken };
            let waiting = core::mem::take(&mut name.waiting);
            self.forget_if_over(key);
            return waiting;
        }
        BTreeMap::new()
    }

    fn forget_if_over(&mut self, key: u64) {
        let over = |name: &Name| match name.stage {
            Stage::Queued => true,
            Stage::Running { .. } => false,
            Stage::Answered { taken, .. } => taken,
        };
        if self.sought.get(&key).is_some_and(|name| name.dials == 0 && over(name)) {
            self.sought.remove(&key);
        }
    }
}

impl Name {
    fn is_sought(&self) -> bool {
        !matches!(self.stage, Stage::Answered { .. })
    }

    /// A dial that begins now gets this lookup's answer.
    fn has_room(&self, now: Duration) -> bool {
        match self.stage {
            Stage::Answered { at, taken, .. } => !taken && now.saturating_sub(at) < KEPT,
            Stage::Queued | Stage::Running { .. } => true,
        }
    }
}

/// A dial's part in the lookup of a name: a future of the name's addresses, with the dial's port,
/// or why there are none. Drop it to give up: the lookup goes on for others, unless it still waits
/// for a thread, and this was the last.
#[must_use]
pub struct Lookup {
    port: u16,
    of: Of,
}

enum Of {
    Known(Found<Arc<io::Error>>),
    Sought {
        shared: Arc<Shared>,
        key: u64,
        /// Its key in `Name::waiting`, once it has one.
        dial: Option<u64>,
    },
}

impl Lookup {
    /// Waits in this thread. The error is `TimedOut` after `limit`.
    ///
    /// # Errors
    ///
    /// The errors of the lookup.
    pub fn wait(mut self, limit: Duration) -> io::Result<Vec<SocketAddr>> {
        struct Woken(mpsc::Sender<()>);
        impl Wake for Woken {
            fn wake(self: Arc<Self>) {
                let _ = self.0.send(()); // fails if the limit has passed
            }
        }
        let (woken, answered) = mpsc::channel();
        let waker = Waker::from(Arc::new(Woken(woken)));
        let mut cx = Context::from_waker(&waker);
        loop {
            match Pin::new(&mut self).poll(&mut cx) {
                Poll::Ready(found) => return found,
                // A waker is woken by the answer alone.
                Poll::Pending => {
                    answered.recv_timeout(limit).map_err(|_| ErrorKind::TimedOut)?;
                }
            }
        }
    }
}

impl Future for Lookup {
    type Output = io::Result<Vec<SocketAddr>>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let port = self.port;
        let found = match &mut self.of {
            Of::Known(found) => found.clone(),
            Of::Sought { shared, key, dial } => {
                let waker = cx.waker().clone();
                let mut names = shared.names();
                let dial = *dial.get_or_insert_with(|| names.key());
                // It is there for as long as this `Lookup` is.
                let Some(name) = names.sought.get_mut(key) else { return Poll::Pending };
                let Stage::Answered { found, taken, .. } = &mut name.stage else {
                    let before = name.waiting.insert(dial, waker);
                    drop(names);
                    drop(before);
                    return Poll::Pending;
                };
                *taken = true;
                found.clone()
            }
        };
        let with_port = |mut address: SocketAddr| {
            // Keeps the zone of a link-local address, which one made from `ip()` would lack.
            address.set_port(port);
            address
        };
        Poll::Ready(match found {
            Ok(found) => Ok(found.into_iter().map(with_port).collect()),
            Err(error) => Err(io::Error::new(error.kind(), error)),
        })
    }
}

impl Drop for Lookup {
    fn drop(&mut self) {
        let Of::Sought { shared, key, dial } = &self.of else { return };
        let mut names = shared.names();
        let Some(name) = names.sought.get_mut(key) else { return };
        name.dials -= 1;
        let waker = dial.and_then(|dial| name.waiting.remove(&dial));
        names.forget_if_over(*key);
        drop(names);
        drop(waker);
    }
}

impl fmt::Debug for Lookup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lookup").finish_non_exhaustive()
    }
}
