//! Runs sessions: the probe first, then the cases beside each other, then each failure three times
//! alone.
//!
//! A session has a turn while it talks with the target, and gives it away while the target is silent.
//! So many that wait cost no more time than one, and yet a failure is repeated while nobody else
//! talks.

use crate::{
    Error,
    options::Options,
    output::{print, tell},
    stream::{Input, Stream},
};
use std::{
    io::{self, IsTerminal},
    sync::{
        Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};
use wsconform_cases::{
    Action, Case, End, Env, Probe, Role, Session, Verdict,
    case::find,
    report::{Death, Report, Row},
};

/// Somebody to test: one connection for each session.
pub(crate) trait Target: Sync {
    /// What holds the connection; dropped when its session is over.
    type Connection: AsMut<Stream>;

    /// How many connections may be open at one time. Most of them wait for a silent target.
    const OPEN: usize;

    /// Whether to connect before the turn: the target takes long for it, and it is no talk.
    const STARTS: bool;

    fn role(&self) -> Role;
    fn connect(&self) -> Result<Self::Connection, Error>;
}

/// The bytes that the cases of one moment may make the target hold together.
const MOST: u64 = 64 << 20;

/// What counts for nothing beside that.
const SMALL: u64 = 64 << 10;

/// A peer that drips its answer ends its session after this time.
const LONGEST: Duration = Duration::from_secs(60);

/// How often a failure has to come again, alone, before it is one.
const REPEATS: usize = 3;

/// How many commands may have started, or do, before it is their turn to talk alone. What they send
/// first waits for its answer until then, and they don't wait for ever.
const AHEAD: usize = 4;

/// A target is silent after five round trips, and at least this time.
const SILENT: Duration = Duration::from_millis(20);

/// How long the target takes to answer, by the bytes that a session has sent: a message of 16 MiB
/// can take a second where a Ping takes a millisecond.
#[derive(Clone, Default)]
pub(crate) struct Pace(Vec<(usize, Duration)>);

impl Pace {
    /// Takes what a session of the probe has measured.
    pub(crate) fn learn(&mut self, driven: &Driven) {
        self.0.push((driven.sent, driven.slowest));
        self.0.sort_unstable();
    }

    /// Until something is known, that of a peer that has just started on a busy machine: it only
    /// bounds waits for an answer.
    fn round_trip(&self, sent: usize) -> Duration {
        let size = self.0.iter().map(|known| known.0).find(|&size| size >= sent);
        let known = self.0.iter().filter(|known| size.is_none_or(|size| known.0 <= size));
        let slowest = known.map(|known| known.1).max();
        slowest.unwrap_or(Duration::from_millis(500)).max(Duration::from_millis(1))
    }
}

/// What a session has shown beside its verdict.
pub(crate) struct Driven {
    sent: usize,
    /// The longest time between the end of a write and the next bytes.
    slowest: Duration,
    wrote: Option<Instant>,
    heard: Option<Instant>,
    /// The session ended with the end of the stream, or without an answer.
    is_silent: bool,
}

/// Drives one session to its end.
pub(crate) fn drive(
    session: &mut Session,
    stream: &mut Stream,
    pace: &Pace,
    turn: &mut Turn<'_>,
) -> Driven {
    let over = Instant::now() + LONGEST;
    let mut driven =
        Driven { sent: 0, slowest: Duration::ZERO, wrote: None, heard: None, is_silent: false };
    loop {
        let round_trip = pace.round_trip(driven.sent);
        match session.next_action() {
            Action::Send(bytes) => {
                driven.sent += bytes.len();
                if stream.write(&bytes).is_ok() {
                    driven.wrote = Some(Instant::now());
                    continue;
                }
                // What the peer said before it ended the stream explains why.
                while let Input::Bytes(bytes) = stream.read(Duration::from_millis(100)) {
                    driven.take(session, Input::Bytes(bytes));
                }
                driven.take(session, Input::Ended(End::Reset));
            }
            Action::Pause(wait) => {
                let until = Instant::now() + wait.duration(round_trip);
                loop {
                    let left = until.saturating_duration_since(Instant::now());
                    let input = read(stream, left, round_trip, turn);
                    if !driven.take(session, input) {
                        break;
                    }
                }
            }
            Action::Receive(wait) => {
                let input = read(stream, wait.duration(round_trip), round_trip, turn);
                if matches!(input, Input::Nothing) || Instant::now() > over {
                    driven.is_silent = true;
                    session.timed_out();
                } else {
                    driven.take(session, input);
                }
            }
            Action::Shutdown => stream.shut_down(),
            Action::Done => return driven,
        }
    }
}

/// Waits at most `time` for bytes or the end, without the turn once the target is silent.
fn read(stream: &mut Stream, time: Duration, round_trip: Duration, turn: &mut Turn<'_>) -> Input {
    let until = Instant::now() + time;
    let input = stream.read(time.min(SILENT.max(round_trip * 5)));
    if !matches!(input, Input::Nothing) {
        return input;
    }
    turn.give();
    let input = stream.read(until.saturating_duration_since(Instant::now()));
    turn.take();
    input
}

impl Driven {
    /// Hands in what was read. Returns whether it was bytes.
    fn take(&mut self, session: &mut Session, input: Input) -> bool {
        match input {
            Input::Bytes(bytes) => {
                let now = Instant::now();
                if let Some(wrote) = self.wrote.filter(|wrote| self.heard < Some(*wrote)) {
                    self.slowest = self.slowest.max(now - wrote);
                }
                self.heard = Some(now);
                session.received(&bytes);
                true
            }
            Input::Ended(end) => {
                self.is_silent = true;
                session.ended(end);
                false
            }
            Input::Nothing => false,
        }
    }
}

/// Tests a target. `name` is what the report calls it; `host` and `resource` are those of requests to a
/// tested server.
pub(crate) fn test<T: Target>(
    target: &T,
    name: &str,
    (host, resource): (&str, &str),
    options: &Options,
) -> Result<Report, Error> {
    let role = target.role();
    let chosen = options.chosen(role)?;
    let mut probe = Probe::new(role, host, resource, options.seed);
    let mut pace = Pace::default();
    let alone = Turns::new(1);
    while let Some(mut session) = probe.next_session() {
        let mut connection = target.connect()?;
        let driven = drive(&mut session, connection.as_mut(), &pace, &mut alone.next());
        pace.learn(&driven);
        probe.learn(&session);
    }
    if !probe.peer().opens {
        let fault = probe.peer().fault.as_deref().unwrap_or("no answer");
        return Err(format!("{name} did not open a WebSocket: {fault}").into());
    }
    let runner = Runner {
        target,
        env: env(host, resource, &probe, options),
        pace,
        budget: Budget { free: Mutex::new(MOST), more: Condvar::new() },
        traces: Mutex::default(),
        gone: Mutex::new(None),
    };
    let report = Mutex::new(Report::new(name, role, probe.peer().clone()));
    // With one job, one connection: if the target goes away, it is known behind which case.
    let open = if options.jobs == 1 { 1 } else { T::OPEN };
    let turns = Turns::new(options.jobs);
    let progress = Progress::new(name, chosen.len(), options);
    beside_each_other(&chosen, open, |case| {
        if let Some(session) = runner.run(case, &turns) {
            lock(&report).add(&session);
            if options.hex {
                hex(&session);
            }
        }
        progress.step();
    });
    let mut report = report.into_inner().unwrap_or_else(PoisonError::into_inner);
    let failing: Vec<&mut Row> =
        report.rows.iter_mut().filter(|row| matches!(row.verdict, Verdict::Fail { .. })).collect();
    let failing: Vec<Mutex<&mut Row>> = failing.into_iter().map(Mutex::new).collect();
    progress.repeats(failing.len());
    beside_each_other(&failing, open, |row| {
        let row = &mut *lock(row);
        row.verdict = runner.repeated(&row.case, &row.verdict, &alone);
    });
    progress.end();
    report.died = runner.death();
    let behind = report.died.iter().flat_map(|death| &death.behind);
    for case in behind {
        for row in report.rows.iter_mut().filter(|row| row.case == *case) {
            row.verdict = Verdict::Skip { cause: "the target died meanwhile".to_owned() };
        }
    }
    Ok(report)
}

/// The environment of the cases; with `--no-echo` that of a peer that sends nothing back.
pub(crate) fn env(host: &str, resource: &str, probe: &Probe, options: &Options) -> Env {
    let mut peer = probe.peer().clone();
    if options.no_echo {
        peer.echo_text = None;
        peer.echo_binary = None;
    }
    Env::new(host, resource, peer, options.seed)
}

/// Prints what went both ways.
pub(crate) fn hex(session: &Session) {
    let id = &session.case().id;
    let lines =
        format!("{id} sent     {}\n{id} received {}\n", session.sent_hex(), session.received_hex());
    // Standard output that takes no more is an error of the report behind it.
    let _ = print(&lines);
}

/// A line on standard error, so that somebody who waits knows for what. On a terminal it counts.
struct Progress {
    all: usize,
    done: AtomicUsize,
    counts: bool,
}

impl Progress {
    fn new(name: &str, all: usize, options: &Options) -> Progress {
        tell(&format!("{name}: {all} cases, then each failure three times more\n"));
        let counts = io::stderr().is_terminal() && !options.hex;
        Progress { all, done: AtomicUsize::new(0), counts }
    }

    fn step(&self) {
        let done = self.done.fetch_add(1, Ordering::Relaxed) + 1;
        if self.counts {
            tell(&format!("\r{done} of {}\x1b[K", self.all));
        }
    }

    fn repeats(&self, failures: usize) {
        if self.counts && failures > 0 {
            tell(&format!("\r{failures} failures three times more\x1b[K"));
        }
    }

    fn end(&self) {
        if self.counts {
            tell("\r\x1b[K");
        }
    }
}

/// Calls `act` for each item, in so many threads.
fn beside_each_other<I: Sync>(items: &[I], threads: usize, act: impl Fn(&I) + Sync) {
    let next = AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..threads.min(items.len()) {
            scope.spawn(|| {
                while let Some(item) = items.get(next.fetch_add(1, Ordering::Relaxed)) {
                    act(item);
                }
            });
        }
    });
}

struct Runner<'t, T> {
    target: &'t T,
    env: Env,
    pace: Pace,
    budget: Budget,
    traces: Mutex<Vec<Trace>>,
    /// Why there is no connection any more.
    gone: Mutex<Option<String>>,
}

/// What a session says of a target that is gone.
struct Trace {
    case: &'static str,
    /// Before the target took its connection.
    asked: Instant,
    driven: Driven,
    over: Instant,
}

impl<T: Target> Runner<'_, T> {
    /// `None` once the target is gone.
    fn run(&self, case: &'static Case, turns: &Turns) -> Option<Session> {
        let role = self.target.role();
        let mut session = Session::new(case, role, &self.env);
        if *session.verdict() != Verdict::Waiting {
            return Some(session);
        }
        let held = self.budget.take(case.weight(role));
        let start = T::STARTS.then(|| turns.start());
        let ahead = if T::STARTS { Some(self.connect()?) } else { None };
        let mut turn = turns.next();
        drop(start);
        let (asked, mut connection) = match ahead {
            Some(connected) => connected,
            None => self.connect()?,
        };
        let driven = drive(&mut session, connection.as_mut(), &self.pace, &mut turn);
        let over = Instant::now();
        lock(&self.traces).push(Trace { case: &case.id, asked, driven, over });
        turn.give();
        if held.bytes > SMALL {
            // The target lets go of what it holds when it sees the end.
            let stream = connection.as_mut();
            stream.shut_down();
            let until = Instant::now() + SILENT * 10;
            while let Input::Bytes(_) = stream.read(until.saturating_duration_since(Instant::now()))
            {
            }
        }
        Some(session)
    }

    /// A connection, and when it was asked for.
    fn connect(&self) -> Option<(Instant, T::Connection)> {
        if lock(&self.gone).is_some() {
            return None;
        }
        let asked = Instant::now();
        match self.target.connect() {
            Ok(connection) => Some((asked, connection)),
            Err(error) => {
                lock(&self.gone).get_or_insert(error.to_string());
                None
            }
        }
    }

    /// The verdict on a case that has failed beside others. A failure that doesn't come each time is
    /// a note: the peer, the network or the suite is unsteady, and nobody can mend what doesn't come
    /// again. A run that comes to nothing, since no connection opened, says nothing.
    fn repeated(&self, case: &str, failure: &Verdict, alone: &Turns) -> Verdict {
        let Verdict::Fail { why, .. } = failure else { return failure.clone() };
        let mut failed = 0;
        for run in 1..=2 * REPEATS {
            let Some(session) = find(case).and_then(|case| self.run(case, alone)) else {
                let why = format!("failed, and the target died before it was repeated: {why}");
                return Verdict::Note { why };
            };
            match session.verdict() {
                Verdict::Fail { .. } => failed += 1,
                Verdict::Skip { .. } => {}
                _ => {
                    let why =
                        format!("failed beside other cases, but not in run {run} alone: {why}");
                    return Verdict::Note { why };
                }
            }
            if failed == REPEATS {
                return failure.clone();
            }
        }
        let why = format!("failed {} times, and often no connection opened: {why}", failed + 1);
        Verdict::Note { why }
    }

    /// Whether the target is gone, and behind which cases: those that were not answered any more, the
    /// last written first.
    fn death(&self) -> Option<Death> {
        if self.connect().is_some() {
            return None;
        }
        let why = lock(&self.gone).clone()?;
        let mut traces = lock(&self.traces);
        // It was still there when the last connection was asked for that it answered. The system
        // takes connections for a target that dies.
        let answered = traces.iter().filter(|trace| trace.driven.heard.is_some());
        let last = answered.map(|trace| trace.asked).max();
        traces.retain(|trace| trace.driven.is_silent && Some(trace.over) > last);
        traces.sort_by_key(|trace| std::cmp::Reverse(trace.driven.wrote));
        Some(Death { why, behind: traces.iter().map(|trace| trace.case.to_owned()).collect() })
    }
}

/// The rights to talk with the target, and those to start it before.
pub(crate) struct Turns {
    talk: Places,
    start: Places,
}

struct Places {
    free: Mutex<usize>,
    more: Condvar,
}

/// One of the places, or that of one that was given away.
pub(crate) struct Turn<'t> {
    places: &'t Places,
    is_mine: bool,
}

impl Turns {
    pub(crate) fn new(count: usize) -> Turns {
        let places = |count| Places { free: Mutex::new(count), more: Condvar::new() };
        Turns { talk: places(count), start: places(count.max(AHEAD)) }
    }

    /// Waits for a turn.
    pub(crate) fn next(&self) -> Turn<'_> {
        Turn::of(&self.talk)
    }

    fn start(&self) -> Turn<'_> {
        Turn::of(&self.start)
    }
}

impl Turn<'_> {
    fn of(places: &Places) -> Turn<'_> {
        let mut turn = Turn { places, is_mine: false };
        turn.take();
        turn
    }

    fn take(&mut self) {
        let free = self.places.more.wait_while(lock(&self.places.free), |free| *free == 0);
        *free.unwrap_or_else(PoisonError::into_inner) -= 1;
        self.is_mine = true;
    }

    fn give(&mut self) {
        if self.is_mine {
            *lock(&self.places.free) += 1;
            self.places.more.notify_one();
            self.is_mine = false;
        }
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.give();
    }
}

/// Bytes that a target may hold.
struct Budget {
    free: Mutex<u64>,
    more: Condvar,
}

/// Gives its bytes back when it is dropped.
struct Held<'b> {
    budget: &'b Budget,
    bytes: u64,
}

impl Budget {
    /// Waits for so many bytes, or for all of them.
    fn take(&self, bytes: u64) -> Held<'_> {
        let bytes = bytes.min(MOST);
        let free = self.more.wait_while(lock(&self.free), |free| *free < bytes);
        *free.unwrap_or_else(PoisonError::into_inner) -= bytes;
        Held { budget: self, bytes }
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        *lock(&self.budget.free) += self.bytes;
        self.budget.more.notify_all();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
