//! Runs sessions: the probe first, then the cases beside each other, then alone those that got no
//! answer, then with no other connection open those that got none and those of two connections, then
//! each failure three times alone. Whoever talked with a server that has died does so again, with no
//! other connection open: the one of which it dies three times more fails. A death of which there is
//! no such case is a failure of its own, and so is what only another connection has sent. If a
//! failure came beside others and not alone, the cases run once more one after the other: one that
//! fails behind another each time fails ([`Runner::look_behind`]).
//!
//! A session has a turn while it talks with the target, and gives it away while the target is silent.
//! So many that wait cost no more time than one, and yet a failure is repeated while nobody else
//! talks.
//!
//! Silence can be what a case wants, and can be a target that is gone. So whoever gets no answer
//! asks for a plain opening. Without one the target is in doubt, and no case starts any more; alone
//! it has another chance ([`Runner::is_there`]).

use crate::{
    Error,
    admission::{Admission, advice},
    drive::{Driven, Pace, SILENT, drive, drive_two, let_go},
    live::Live,
    options::Options,
    output::{Outputs, print, tell},
    process::LOOK,
    signals::until_interrupt,
    stream::{Input, Stream},
    supervisor::Death,
    turns::{Budget, Turn, Turns, lock},
};
use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
    io::{self, IsTerminal},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};
use wsconform_cases::{
    Action, Case, Env, Peer, Probe, Role, Session, Verdict, Wait, find,
    judge::Frame,
    report::{Report, Row},
};

/// Somebody to test: one connection for each session.
pub(crate) trait Target: Sync {
    /// What holds the connection; dropped when its session is over.
    type Connection: AsMut<Stream> + Send;

    /// How many connections may be open at one time. Most of them wait for a silent target.
    const OPEN: usize;

    /// Whether to connect before the turn: the target takes long for it, and it is no talk.
    const STARTS: bool;

    fn role(&self) -> Role;
    fn connect(&self) -> Result<Self::Connection, Error>;
    /// Whether it is a process that we have started.
    fn is_ours(&self) -> bool {
        false
    }
    /// When and how that process has died.
    fn deaths(&self) -> Vec<Death> {
        Vec::new()
    }
    /// Leaves nothing behind, though connections are still held.
    fn abandon(&self) {}
}

/// Where a tested server is. Of a client nothing is known before it connects.
#[derive(Default)]
pub(crate) struct Place {
    /// The value of Host.
    pub(crate) host: String,
    /// The request target.
    pub(crate) resource: String,
    pub(crate) admission: Admission,
}

/// What counts for nothing beside that.
const SMALL: u64 = 64 << 10;

/// How often a failure has to come again, alone, before it is one.
const REPEATS: usize = 3;

/// A process may die so long after the connection of which it does.
const LATE: Duration = Duration::from_millis(250);

/// How long a target that is in doubt is asked for an opening again and again: so many round trips,
/// and at least this time.
const DOUBT: (u32, Duration) = (100, Duration::from_secs(5));

/// How many connections are opened at one time, one number after the other, to see how many the
/// target takes.
const CROWDS: [usize; 4] = [2, 8, 32, 256];

/// Between two attempts to connect.
const AGAIN: Duration = Duration::from_millis(300);

/// How long a target that has too much to do is asked, while no other connection is open: it may wait
/// for the end of the last one, as many do for ten seconds behind a Close.
const BUSY: Duration = Duration::from_secs(15);

/// Before that, pauses between these times, each twice as long as the one before: most see the end of
/// a connection soon.
const SOON: (Duration, Duration) = (Duration::from_millis(10), Duration::from_millis(320));

/// How long a run may take, unless `--within` says it.
const WITHIN: Duration = Duration::from_secs(1800);

/// How many cases of which the server dies are enough: it may be started so often and no more.
const FATAL: usize = 8;

/// How many cases that fail behind another are enough.
const ENOUGH: usize = 3;

/// Tests a target and writes its report, also at an interrupt. `name` is what the report calls it.
pub(crate) fn test<T: Target>(
    target: &T,
    name: &str,
    place: &Place,
    options: &Options,
    outputs: &Outputs<'_>,
) -> Result<bool, Error> {
    let chosen = options.chosen(target.role())?;
    let live = Live::new(Report::new(name, target.role(), Peer::default()), chosen.clone());
    let finish = |report| outputs.finish(&place.admission.report_without(report));
    let report = until_interrupt(
        || run(target, place, chosen, options, &live),
        || {
            target.abandon();
            Progress::end();
            finish(live.stopped("interrupted".to_owned(), false))
        },
    )?;
    finish(report.map_err(|error| place.admission.without(&error.to_string()))?)
}

/// The probe and the cases.
fn run<T: Target>(
    target: &T,
    place: &Place,
    chosen: Vec<&'static Case>,
    options: &Options,
    live: &Live,
) -> Result<Report, Error> {
    let name = live.report().target;
    let mut probe = Probe::new(target.role(), &place.host, &place.resource, options.seed)
        .with_fields(&place.admission.fields);
    let mut refusal = None;
    let pace = Pace::default();
    let began = Instant::now();
    let within = options.within.unwrap_or(WITHIN);
    tell(&format!("{name} is asked what it can do\n"));
    // A command that is the server is waited for where it is started.
    let wait = options.wait.filter(|_| options.command.is_empty());
    let until = Instant::now() + wait.unwrap_or_default();
    while let Some(session) = probe.next_session() {
        let (session, driven) = ask(target, session, &pace, until, probe.peer().opens)?;
        if driven.is_endless {
            return Err(format!("{name} takes more than a minute for its first answers").into());
        }
        probe.learn(&session);
        refusal = session.observed().head.clone().filter(|_| !probe.peer().opens);
        lock(&live.report).peer = probe.peer().clone();
    }
    if !probe.peer().opens {
        let fault = probe.peer().fault.as_deref().unwrap_or("no answer");
        let advice = refusal.as_ref().map(advice).unwrap_or_default();
        return Err(format!("{name} did not open a WebSocket: {fault}{advice}").into());
    }
    let progress = Progress::new(&name, chosen.len(), options);
    let mut runner = Runner {
        target,
        env: env(place, &probe, options),
        probe,
        pace,
        open: 1,
        budget: Budget::new(),
        beside: Turns::new(options.jobs),
        alone: Turns::new(1),
        until: began + within,
        live,
        presence: Mutex::new(Presence::There),
        asking: Mutex::new(()),
        spans: Mutex::default(),
        crowds: Mutex::default(),
        failing: Mutex::default(),
    };
    let (mut pairs, mut left): (Vec<_>, Vec<_>) =
        chosen.iter().copied().partition(|case| case.is_of_two());
    // With one job, one case: if the target goes away, it is known behind which.
    let open = if options.jobs == 1 { 1 } else { T::OPEN.min(left.len()) };
    let most = open.max(if pairs.is_empty() { 1 } else { 2 });
    let taken = runner.takes(most, options.jobs);
    if !T::STARTS {
        runner.probe.learn_connections(taken);
        runner.env = env(place, &runner.probe, options);
        lock(&live.report).peer = runner.probe.peer().clone();
    }
    runner.open = taken.min(open).max(1);
    let runner = runner;
    let mut round = Round::Beside;
    loop {
        if round == Round::Last {
            left.append(&mut pairs);
        }
        if (left.is_empty() && round == Round::Last) || !runner.is_there() {
            break;
        }
        let again = Mutex::new(Vec::new());
        let open = if round == Round::Last { 1 } else { runner.open };
        beside_each_other(&left, open, |case| {
            let ran = runner.run(case, round);
            if runner.is_done(case, &ran, round) {
                if let Ok(Ran { session, .. }) = &ran
                    && options.hex
                {
                    hex(session, place);
                }
                progress.step();
            } else {
                lock(&again).push(*case);
            }
        });
        left = again.into_inner().unwrap_or_else(PoisonError::into_inner);
        round = match round {
            Round::Beside if !left.is_empty() => Round::Alone,
            _ => Round::Last,
        };
    }
    runner.ask_those_who_saw_a_death();
    let deaths = target.deaths().len();
    let failing = std::mem::take(&mut *lock(&runner.failing));
    if !failing.is_empty() {
        progress.repeats(failing.len());
        runner.repeat(&failing);
        let is_unsteady = |row: &Row| matches!(row.verdict, Verdict::Unsteady { .. });
        if live.report().rows.iter().any(is_unsteady) {
            runner.look_behind(&chosen, began.elapsed());
        }
        runner.takes_down_a_death(deaths);
    }
    let end = runner.end();
    Progress::end();
    Ok(match end {
        Presence::Gone(why) => live.stopped(why, true),
        Presence::OutOfTime => {
            let within = within.as_secs();
            live.stopped(format!("it has taken {within} s: --within gives it more"), false)
        }
        _ => live.report(),
    })
}

/// Runs a session of the probe, until this time if nobody listens, and again if it is refused behind
/// another one, or where we have started the target and seen that it listens: it may not have seen
/// the end of that connection.
fn ask<T: Target>(
    target: &T,
    session: Session,
    pace: &Pace,
    until: Instant,
    has_opened: bool,
) -> Result<(Session, Driven), Error> {
    let turns = Turns::new(1);
    let refused = Instant::now() + BUSY;
    loop {
        let mut session = session.clone();
        let mut connection = loop {
            match target.connect() {
                Err(_) if Instant::now() < until => thread::sleep(AGAIN),
                connected => break connected?,
            }
        };
        let driven = drive(&mut session, connection.as_mut(), pace, &mut turns.next());
        pace.learn(&driven);
        if !T::STARTS {
            let_go(connection.as_mut(), pace);
        }
        let may_pass = has_opened || target.is_ours();
        if !session.is_refused_for_now() || !may_pass || Instant::now() > refused {
            return Ok((session, driven));
        }
        thread::sleep(AGAIN / 3);
    }
}

/// The environment of the cases; with `--no-echo` that of a peer that sends nothing back.
pub(crate) fn env(place: &Place, probe: &Probe, options: &Options) -> Env {
    let mut peer = probe.peer().clone();
    if options.no_echo {
        peer.echo_text = None;
        peer.echo_binary = None;
    }
    let env = Env::new(&place.host, &place.resource, peer, options.seed);
    env.with_fields(&place.admission.fields).strict(options.strict)
}

/// Prints what went both ways.
pub(crate) fn hex(session: &Session, place: &Place) {
    let id = &session.case().id;
    let sent = session.sent_hex();
    let received = session.received_hex();
    let mut lines = format!("{id} sent     {sent}\n{id} received {received}\n");
    for line in session.in_words().lines() {
        lines += &format!("  {line}\n");
    }
    // Standard output that takes no more is an error of the report behind it.
    let _ = print(&place.admission.without(&lines));
}

/// A line on standard error, so that somebody who waits knows for what. On a terminal it counts,
/// and elsewhere there is one a minute.
pub(crate) struct Progress {
    all: usize,
    done: AtomicUsize,
    counts: bool,
    began: Instant,
    minutes: AtomicUsize,
}

impl Progress {
    fn new(name: &str, all: usize, options: &Options) -> Progress {
        tell(&format!("{name}: {all} cases, then each failure three times more\n"));
        let counts = io::stderr().is_terminal() && !options.hex;
        let [done, minutes] = [0, 0].map(AtomicUsize::new);
        Progress { all, done, counts, began: Instant::now(), minutes }
    }

    fn step(&self) {
        let done = self.done.fetch_add(1, Ordering::Relaxed) + 1;
        self.say(&format!("{done} of {}", self.all));
    }

    fn repeats(&self, failures: usize) {
        self.say(&format!("{failures} failures three times more"));
    }

    fn say(&self, what: &str) {
        let minutes = (self.began.elapsed().as_secs() / 60) as usize;
        if self.counts {
            tell(&format!("\r{what}\x1b[K"));
        } else if self.minutes.fetch_max(minutes, Ordering::Relaxed) < minutes {
            tell(&format!("wsconform: {what} after {minutes} min\n"));
        }
    }

    pub(crate) fn end() {
        if io::stderr().is_terminal() {
            tell("\r\x1b[K");
        }
    }
}

/// What a thread that runs sessions needs of its stack.
const STACK: usize = 512 << 10;

/// How many threads fit into the address space, if that is limited: the allocator may take 64 MiB of
/// it for each, and its session needs some.
fn most_threads() -> usize {
    #[cfg(unix)]
    if let Some(limit) = rustix::process::getrlimit(rustix::process::Resource::As).current {
        return usize::try_from(limit / (80 << 20)).unwrap_or(usize::MAX).max(1);
    }
    usize::MAX
}

/// Calls `act` for each item, in so many threads, or in fewer if the system has no more.
pub(crate) fn beside_each_other<I: Sync>(items: &[I], threads: usize, act: impl Fn(&I) + Sync) {
    let next = AtomicUsize::new(0);
    let work = || {
        while let Some(item) = items.get(next.fetch_add(1, Ordering::Relaxed)) {
            act(item);
        }
    };
    thread::scope(|scope| {
        for number in 0..threads.min(items.len()).min(most_threads()) {
            let builder = thread::Builder::new().stack_size(STACK);
            if let Err(error) = builder.spawn_scoped(scope, work) {
                tell(&format!("wsconform: no more than {number} threads: {error}\n"));
                if number == 0 {
                    work();
                }
                break;
            }
        }
    });
}

/// Calls `act` for each item, in so many threads; behind that, one by one, for those whose case has
/// two connections, so that no third one is open.
fn pairs_apart<I: Sync>(
    items: &[I],
    threads: usize,
    case: impl Fn(&I) -> Option<&'static Case>,
    act: impl Fn(&I, Round) + Sync,
) {
    let is_pair = |item: &&I| case(item).is_some_and(Case::is_of_two);
    let (pairs, others): (Vec<&I>, Vec<&I>) = items.iter().partition(is_pair);
    beside_each_other(&others, threads, |item| act(item, Round::Alone));
    beside_each_other(&pairs, 1, |item| act(item, Round::Last));
}

/// Who else is there while a case runs.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Round {
    /// Others talk with the target too.
    Beside,
    /// Others have connections open, and say nothing.
    Alone,
    /// Nobody: no other connection is open.
    Last,
}

/// Whether the target is there.
#[derive(Clone)]
enum Presence {
    There,
    Doubted,
    Gone(String),
    /// There is no time left to ask it anything.
    OutOfTime,
}

/// A session that is over.
struct Ran {
    session: Session,
    is_answered: bool,
    took: Duration,
}

/// Why there was no session.
enum Unconnected {
    Failed(String),
    /// The target was in doubt.
    NotTried,
}

/// Why a plain connection does not open.
struct Closed {
    why: String,
    /// The target has too much to do, as it says.
    is_busy: bool,
}

struct Span {
    case: &'static Case,
    asked: Instant,
    wrote: Option<Instant>,
    over: Instant,
}

struct Runner<'t, T> {
    target: &'t T,
    env: Env,
    probe: Probe,
    pace: Pace,
    /// How many connections are open at one time, with a case of its own each.
    open: usize,
    budget: Budget,
    beside: Turns,
    alone: Turns,
    /// When no connection opens any more.
    until: Instant,
    live: &'t Live,
    presence: Mutex<Presence>,
    /// Held by the one who asks whether the target is there.
    asking: Mutex<()>,
    /// When each session has begun and ended.
    spans: Mutex<Vec<Span>>,
    /// How many plain connections were opened at one time, and when.
    crowds: Mutex<Vec<(usize, Instant)>>,
    /// What has failed beside others.
    failing: Mutex<Vec<Row>>,
}

impl<T: Target> Runner<'_, T> {
    fn run(&self, case: &'static Case, round: Round) -> Result<Ran, Unconnected> {
        let mut pause = SOON.0;
        let mut has_opened = false;
        loop {
            let ran = self.run_once(case, round);
            let is_refused = ran.as_ref().is_ok_and(|ran| ran.session.is_refused_for_now());
            if !is_refused || !self.is_only(round) {
                return ran;
            }
            if pause <= SOON.1 {
                thread::sleep(pause);
                pause *= 2;
                continue;
            }
            // That is its answer to this case, if it opens another connection.
            if has_opened {
                return ran;
            }
            self.doubted();
            has_opened = self.is_there();
            if !has_opened {
                return ran;
            }
            pause = SOON.0;
        }
    }

    /// Whether no other connection is open.
    fn is_only(&self, round: Round) -> bool {
        round == Round::Last || self.open == 1
    }

    fn run_once(&self, case: &'static Case, round: Round) -> Result<Ran, Unconnected> {
        let role = self.target.role();
        let mut session = Session::new(case, role, &self.env);
        if *session.verdict() != Verdict::Waiting {
            return Ok(Ran { session, is_answered: true, took: Duration::ZERO });
        }
        let turns = if round == Round::Beside { &self.beside } else { &self.alone };
        let held = self.budget.take(case.weight(role));
        let start = T::STARTS.then(|| turns.start());
        let ahead = T::STARTS.then(|| self.connect());
        let mut turn = turns.next();
        drop(start);
        let (asked, mut connection) = ahead.unwrap_or_else(|| self.connect())?;
        let driven = self.drive(&mut session, &mut connection, &mut turn)?;
        let over = Instant::now();
        turn.give();
        // The target lets go of what it holds when it sees the end, and of its place for the next.
        if held.bytes > SMALL || (self.is_only(round) && !T::STARTS) {
            let_go(connection.as_mut(), &self.pace);
        }
        drop(connection);
        lock(&self.spans).push(Span { case, asked, wrote: driven.wrote, over });
        self.live.trace(&session, asked, &driven);
        if driven.heard.is_none() {
            self.doubt(over);
        }
        // A machine that lets nobody answer for seconds is no failure of this case.
        let is_failed = matches!(session.verdict(), Verdict::Fail { .. });
        let is_answered = driven.heard.is_some() && !(is_failed && driven.is_stalled);
        let seen = session.observed();
        if seen.opened && seen.close.is_none() && *session.verdict() == Verdict::Pass {
            self.pace.learn(&driven);
        }
        Ok(Ran { session, is_answered, took: over - asked })
    }

    fn drive(
        &self,
        session: &mut Session,
        connection: &mut T::Connection,
        turn: &mut Turn<'_>,
    ) -> Result<Driven, Unconnected> {
        let stream = connection.as_mut();
        let Some(second) = session.second(&self.env) else {
            return Ok(drive(session, stream, &self.pace, turn));
        };
        let connect = || self.connect().map(|(_, connection)| connection);
        drive_two(session, stream, second, connect, &self.pace, turn)
    }

    /// How many connections the target takes at one time, of `most` that are of use.
    fn takes(&self, most: usize, jobs: usize) -> usize {
        let mut taken = 1;
        if T::STARTS {
            return most; // each has a process of its own
        }
        for count in CROWDS.map(|count| count.min(most).min(T::OPEN)) {
            let deaths = self.target.deaths().len();
            if count <= taken {
                break;
            }
            // On what takes less than two depends what is tested; of the others it is a matter of time.
            let tries = if count == 2 { 2 } else { 1 };
            let is_taken = (0..tries).any(|_| {
                lock(&self.crowds).push((count, Instant::now()));
                self.target.deaths().len() == deaths && self.takes_a_crowd(count, jobs)
            });
            if !is_taken || self.target.deaths().len() > deaths {
                self.dies_behind(deaths); // it may be on its way
                break;
            }
            taken = count;
        }
        taken
    }

    /// Whether so many plain connections open, and stay so until all have.
    fn takes_a_crowd(&self, count: usize, jobs: usize) -> bool {
        let crowd = Mutex::new(Vec::new());
        beside_each_other(&vec![(); count], jobs, |()| {
            let Ok(mut connection) = self.target.connect() else { return };
            let mut session = self.probe.opening();
            while let Action::Send(head) = session.next_action() {
                let _ = connection.as_mut().write(&head); // its answer is looked for
            }
            lock(&crowd).push((session, connection));
        });
        let mut crowd = crowd.into_inner().unwrap_or_else(PoisonError::into_inner);
        let until = Instant::now() + Wait::ANSWER.duration(self.pace.round_trip(0));
        for (session, connection) in &mut crowd {
            while !session.observed().opened
                && let left = until.saturating_duration_since(Instant::now())
                && !left.is_zero()
                && let Input::Bytes(bytes) = connection.as_mut().read(left)
            {
                session.received(&bytes);
            }
        }
        let is_open = |session: &Session| session.observed().opened;
        let opened = crowd.iter().filter(|(session, _)| is_open(session)).count();
        let close = Frame::new(Role::Client, 0x88, 1000u16.to_be_bytes(), [7; 4]).bytes();
        for (session, connection) in &mut crowd {
            if is_open(session) {
                let _ = connection.as_mut().write(&close); // it may be gone
            }
            connection.as_mut().shut_down();
        }
        let until = Instant::now() + SILENT * 10;
        for (_, connection) in &mut crowd {
            while let left = until.saturating_duration_since(Instant::now())
                && !left.is_zero()
                && let Input::Bytes(_) = connection.as_mut().read(left)
            {}
        }
        opened == count
    }

    /// Whether the target leaves by itself, if that is what it has failed by.
    fn control(&self, session: &mut Session, lasted: Duration) {
        let Some(mut control) = session.control(&self.env, lasted) else { return };
        let mut turn = self.alone.next();
        if let Ok((_, mut connection)) = self.connect() {
            drive(&mut control, connection.as_mut(), &self.pace, &mut turn);
            session.is_controlled_by(&control);
        }
    }

    /// A connection, and when it was asked for.
    fn connect(&self) -> Result<(Instant, T::Connection), Unconnected> {
        if Instant::now() > self.until {
            *lock(&self.presence) = Presence::OutOfTime;
        }
        if !matches!(*lock(&self.presence), Presence::There) {
            return Err(Unconnected::NotTried);
        }
        let asked = Instant::now();
        match self.target.connect() {
            Ok(connection) => Ok((asked, connection)),
            Err(error) => {
                self.doubted();
                Err(Unconnected::Failed(error.to_string()))
            }
        }
    }

    fn doubted(&self) {
        let mut presence = lock(&self.presence);
        if let Presence::There = *presence {
            *presence = Presence::Doubted;
        }
    }

    /// Doubts the target if it has answered nobody since `silent`, and opens no connection.
    fn doubt(&self, silent: Instant) {
        let _alone = lock(&self.asking);
        let is_there = matches!(*lock(&self.presence), Presence::There);
        if is_there && !self.live.has_answered_since(silent) && self.open().is_err() {
            self.doubted();
        }
    }

    /// Asks for a plain opening; says why there is none.
    fn open(&self) -> Result<(), Closed> {
        let mut turn = self.alone.next();
        let mut session = self.probe.opening();
        let asked = Instant::now();
        lock(&self.live.traces).refuses = false;
        let silent = |why: &dyn std::fmt::Display| Closed {
            why: format!("the target fell silent: {why}"),
            is_busy: false,
        };
        let mut connection = self.target.connect().map_err(|error| silent(&error))?;
        let driven = drive(&mut session, connection.as_mut(), &self.pace, &mut turn);
        self.live.trace(&session, asked, &driven);
        if session.observed().opened {
            if !T::STARTS {
                let_go(connection.as_mut(), &self.pace);
            }
            return Ok(());
        }
        let why = match session.verdict() {
            Verdict::Note { why } => why,
            _ => "no answer",
        };
        if driven.heard.is_none() {
            return Err(silent(&why));
        }
        lock(&self.live.traces).refuses = true;
        let why = format!("the target opens no connection any more: {why}");
        Err(Closed { why, is_busy: session.is_refused_for_now() })
    }

    /// Whether the target, if it was in doubt, opens a connection while nobody else talks.
    fn is_there(&self) -> bool {
        let _alone = lock(&self.asking);
        let presence = || lock(&self.presence);
        let (round_trips, least) = DOUBT;
        let began = Instant::now();
        let until = began + least.max(self.pace.round_trip(0) * round_trips);
        while matches!(*presence(), Presence::Doubted) {
            match self.open() {
                Ok(()) => *presence() = Presence::There,
                Err(_) if Instant::now() > self.until => *presence() = Presence::OutOfTime,
                Err(Closed { is_busy: true, .. }) if began.elapsed() < BUSY => thread::sleep(AGAIN),
                Err(Closed { why, .. }) if Instant::now() > until => {
                    *presence() = Presence::Gone(why);
                }
                Err(_) => thread::sleep(AGAIN),
            }
        }
        matches!(*presence(), Presence::There)
    }

    /// The last look at the target, which proves what silence has decided before.
    fn end(&self) -> Presence {
        self.doubted();
        self.is_there();
        lock(&self.presence).clone()
    }

    /// Takes down what became of a case. Returns whether that is all: who has got no answer beside
    /// others has another chance alone.
    fn is_done(&self, case: &'static Case, ran: &Result<Ran, Unconnected>, round: Round) -> bool {
        match ran {
            Err(Unconnected::NotTried) => false,
            Err(Unconnected::Failed(_)) if round != Round::Last => false,
            Ok(Ran { session, .. }) if session.is_refused_for_now() && round != Round::Last => {
                false
            }
            Err(Unconnected::Failed(why)) => {
                let mut row = Row::new(&Session::new(case, self.target.role(), &self.env));
                row.verdict = Verdict::Untested { why: why.clone() };
                self.live.put(row);
                true
            }
            Ok(Ran { session, is_answered, took }) => {
                let mut row = Row::new(session);
                row.millis = took.as_millis() as u64;
                let is_done = *is_answered || round != Round::Beside;
                if let Verdict::Fail { why, evidence, .. } = &row.verdict
                    && !session.is_of_another()
                {
                    let why = format!("failed once, and the run ended before it came again: {why}");
                    let evidence = evidence.clone();
                    if is_done {
                        lock(&self.failing).push(row.clone());
                    }
                    row.verdict = Verdict::Untested { why };
                    row.remarks.push(evidence);
                }
                self.live.put(row);
                is_done
            }
        }
    }

    /// Finds out of which cases the server has died, and fails them. Whoever else saw a death runs
    /// again.
    fn ask_those_who_saw_a_death(&self) {
        let mut alone: BTreeSet<&str> = BTreeSet::new();
        let mut fatal: BTreeSet<&str> = BTreeSet::new();
        let mut known = 0;
        let mut is_told = false;
        while self.dies_behind(known) {
            let mut again: BTreeMap<&str, &'static Case> = BTreeMap::new();
            for death in self.target.deaths().split_off(known) {
                let saw = self.saw(&death);
                let mut is_found = saw.iter().any(|case| fatal.contains(&*case.id));
                for case in &saw {
                    if is_found || fatal.len() == FATAL || !self.is_there() {
                        break;
                    }
                    if alone.insert(&case.id) && self.is_fatal(case) {
                        fatal.insert(&case.id);
                        is_found = true;
                    }
                }
                is_found |= fatal.len() == FATAL;
                if !is_found && !std::mem::replace(&mut is_told, true) {
                    self.live.put(Row::of_death(self.unexplained(&death, saw.len()), death.output));
                }
                again.extend(saw.into_iter().map(|case| (&*case.id, case)));
            }
            // Alone nobody dies of another.
            known = self.target.deaths().len();
            again.retain(|id, _| !alone.contains(id));
            for id in again.keys() {
                self.live.void(id, "the server died beside it");
            }
            lock(&self.failing).retain(|row| !again.contains_key(&*row.case));
            if fatal.len() == FATAL || !self.is_there() {
                return;
            }
            let again: Vec<&'static Case> = again.into_values().collect();
            pairs_apart(
                &again,
                self.open,
                |case| Some(*case),
                |case, round| {
                    let ran = self.run(case, round);
                    self.is_done(case, &ran, Round::Last);
                },
            );
        }
    }

    fn unexplained(&self, death: &Death, cases: usize) -> String {
        let how = death.in_words();
        let crowds = lock(&self.crowds);
        let crowd = crowds.iter().rfind(|(_, began)| *began < death.at);
        match (cases, crowd) {
            (0, Some((count, _))) => {
                format!("the server died when {count} plain connections were opened ({how})")
            }
            _ => {
                format!(
                    "the server died beside {cases} open cases, and of none of them alone ({how})"
                )
            }
        }
    }

    /// Whether it has died more often. It may have answered the last case, and die of it now.
    fn dies_behind(&self, deaths: usize) -> bool {
        self.target.is_ours() && self.death_behind(deaths).is_some()
    }

    /// The cases that were open at a death, the last that wrote something first.
    fn saw(&self, death: &Death) -> Vec<&'static Case> {
        let spans = lock(&self.spans);
        let saw = |span: &&Span| span.asked < death.at && span.over + LATE > death.at;
        let mut saw: Vec<&Span> = spans.iter().filter(saw).collect();
        saw.sort_by_key(|span| Reverse(span.wrote.filter(|wrote| *wrote < death.at)));
        saw.into_iter().map(|span| span.case).collect()
    }

    /// Runs a case with no other connection open, and takes down what becomes of it. Returns whether
    /// the server dies of it each time.
    fn is_fatal(&self, case: &'static Case) -> bool {
        lock(&self.failing).retain(|row| row.case != case.id);
        for run in 1..=REPEATS {
            let before = self.target.deaths().len();
            let ran = self.run(case, Round::Last);
            let Some(death) = self.death_behind(before) else {
                self.is_done(case, &ran, Round::Last);
                return false;
            };
            let Ok(Ran { session, .. }) = ran else { return false };
            let mut row = Row::new(&session);
            let why = format!("the server dies of it ({})", death.in_words());
            let evidence = format!("{}\nits last output\n{}", session.evidence(), death.output);
            // Whatever the case is about: no sentence has to say that.
            let section = "the process".to_owned();
            row.verdict = match run {
                REPEATS => Verdict::Fail { why, section, evidence },
                _ => Verdict::Untested { why },
            };
            self.live.put(row);
            if !self.is_there() {
                return false;
            }
        }
        true
    }

    /// The death behind the first so many, if it comes now.
    fn death_behind(&self, before: usize) -> Option<Death> {
        let until = Instant::now() + LATE * 2;
        loop {
            let death = self.target.deaths().into_iter().nth(before);
            if death.is_some() || Instant::now() > until {
                return death;
            }
            thread::sleep(LOOK);
        }
    }

    /// A death behind the first so many is a failure too, whoever talked with the server.
    fn takes_down_a_death(&self, before: usize) {
        if self.dies_behind(before)
            && let Some(death) = self.target.deaths().get(before)
        {
            let why = format!("the server died while failures came again ({})", death.in_words());
            self.live.put(Row::of_death(why, death.output.clone()));
        }
    }

    /// Runs what has failed three times more, and takes down what becomes of it.
    fn repeat(&self, failing: &[Row]) {
        let unconnected = Mutex::new(Vec::new());
        pairs_apart(
            failing,
            self.open,
            |row| find(&row.case),
            |row, round| match self.repeated(row, round) {
                Some(verdict) => self.live.put(Row { verdict, ..row.clone() }),
                None => lock(&unconnected).push(row.clone()),
            },
        );
        for row in unconnected.into_inner().unwrap_or_else(PoisonError::into_inner) {
            if let Some(verdict) = self.repeated(&row, Round::Last) {
                self.live.put(Row { verdict, ..row });
            }
        }
    }

    /// What a connection leaves behind in the target shows in the next one, which is another each
    /// time if many are open. One after the other, it is the same.
    fn look_behind(&self, chosen: &[&'static Case], time: Duration) {
        let until = Instant::now() + time;
        let rows = self.live.report().rows;
        let row_of = |case: &Case| rows.iter().find(|row| row.case == case.id);
        // Who has waited for silence takes too long.
        let silence = Wait::ANSWER.duration(Duration::ZERO).as_millis() as u64;
        let is_quick = |case: &&'static Case| {
            row_of(case).is_some_and(|row| row.millis < silence) && !case.is_of_two()
        };
        let quick: Vec<&'static Case> = chosen.iter().copied().filter(is_quick).collect();
        if quick.len() < 2 {
            return;
        }
        let mut before: Option<&'static Case> = None;
        let mut found = 0;
        for case in quick {
            if found == ENOUGH || Instant::now() > until || !self.is_there() {
                return;
            }
            let fails = |row: &Row| matches!(row.verdict, Verdict::Fail { .. });
            let is_known = row_of(case).is_some_and(fails);
            let has_failed = self.fails(case).is_some();
            if let Some(before) = before
                && has_failed
                && !is_known
                && let Some(row) = self.fails_behind(before, case)
            {
                self.live.put(row);
                found += 1;
            }
            before = Some(case);
        }
    }

    /// The row of a case that fails with no other connection open.
    fn fails(&self, case: &'static Case) -> Option<Row> {
        let Ran { session, took, .. } = self.run(case, Round::Last).ok()?;
        let mut row = Row::new(&session);
        row.millis = took.as_millis() as u64;
        matches!(row.verdict, Verdict::Fail { .. }).then_some(row)
    }

    /// The row of a case that fails each time that it comes behind the other one.
    fn fails_behind(&self, before: &'static Case, case: &'static Case) -> Option<Row> {
        let mut last = None;
        for _ in 0..REPEATS {
            self.run(before, Round::Last).ok()?;
            last = Some(self.fails(case)?);
        }
        let mut row = last?;
        if let Verdict::Fail { why, .. } = &mut row.verdict {
            *why = format!("each time behind a connection of {}: {why}", before.id);
        }
        Some(row)
    }

    /// The verdict on a case that has failed beside others; `None` if too often no connection opened,
    /// or the target is gone.
    fn repeated(&self, row: &Row, round: Round) -> Option<Verdict> {
        let Verdict::Fail { why, .. } = &row.verdict else { return None };
        let case = find(&row.case)?;
        let mut failed = 0;
        for run in 1..=2 * REPEATS {
            if !self.is_there() {
                return None;
            }
            let began = Instant::now();
            let Ok(Ran { mut session, .. }) = self.run(case, round) else { continue };
            if session.is_refused_for_now() {
                continue;
            }
            if failed + 1 == REPEATS {
                self.control(&mut session, began.elapsed());
            }
            match session.verdict() {
                Verdict::Fail { .. } => failed += 1,
                Verdict::Untested { .. } if failed + 1 == REPEATS => {
                    return Some(session.verdict().clone());
                }
                Verdict::Skip { .. } | Verdict::Untested { .. } => {}
                _ => {
                    let why =
                        format!("failed beside other cases, but not in run {run} alone: {why}");
                    return Some(Verdict::Unsteady { why });
                }
            }
            if failed == REPEATS {
                return Some(row.verdict.clone());
            }
        }
        None
    }
}
