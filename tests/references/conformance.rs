//! The conformance suite of `conformance/` over the core: each case of one connection, in both roles,
//! over a stream in memory whose far end is the case, in virtual time.
//!
//! `checks/conformance/run` has all cases over sockets, for the adapters, the loop and the facade.

use crate::support::wire::Keys;
use bytes::Buf;
use std::{
    cell::{RefCell, RefMut},
    collections::HashSet,
    sync::LazyLock,
    time::Duration,
};
use tickwire::{
    Config, Connection, Event, Next, Report, Time,
    handshake::{
        Progress,
        client::{self, Request},
        server::{self, Accept},
    },
};
use wsconform_cases::{Action, Case, End, Env, Group, Level, Probe, Role, Session, Verdict, cases};

const ROLES: [Role; 2] = [Role::Server, Role::Client];

fn request() -> Request {
    Request::new("ws://localhost/").unwrap()
}

/// As different as the cases of permessage-deflate want an end: one that agrees to all, one with
/// the defaults, and one that knows none of it.
fn configs() -> Vec<Config> {
    let plain = Config::default();
    #[cfg(feature = "deflate")]
    {
        use tickwire::deflate::Deflate;
        let small = Deflate { min_size: 0, ..Deflate::default() };
        let mut takeover = small;
        takeover.server.takeover = true;
        takeover.client.takeover = true;
        let with = |deflate| Config { deflate: Some(deflate), ..Config::default() };
        vec![with(takeover), with(small), plain]
    }
    #[cfg(not(feature = "deflate"))]
    vec![plain]
}

/// All cases draw their masking keys from it.
const SEED: u64 = 71;

/// What the cases have to know of an end. `run` connects it to a session, to the end of both.
fn probed(role: Role, mut run: impl FnMut(Session) -> Session) -> Env {
    let mut probe = Probe::new(role, "localhost", "/", SEED);
    while let Some(session) = probe.next_session() {
        probe.learn(&run(session));
    }
    assert!(probe.peer().echoes(), "{role}: {:?}", probe.peer());
    probe.env().clone()
}

/// How a case went: a session itself holds all that was said.
struct Tried {
    case: &'static Case,
    verdict: Verdict,
}

/// Runs the cases of one connection that `chosen` lets pass, and that fit, `most` bytes a read. No
/// session fails, and some pass. Prints the notes, for `--nocapture`.
#[track_caller]
fn passes(role: Role, config: &Config, most: usize, chosen: impl Fn(&Case) -> bool) -> Vec<Tried> {
    let env = probed(role, |session| Far::with(session, usize::MAX, |far| core(role, config, far)));
    assert_eq!(env.peer().largest, 16 << 20, "{role}");
    let fits = |case: &&Case| case.tests(role) && !case.is_of_two() && chosen(case);
    let sessions = cases().iter().filter(fits).map(|case| Session::new(case, role, &env));
    let run = |session: Session| match session.verdict() {
        Verdict::Waiting => Far::with(session, most, |far| core(role, config, far)),
        _ => session,
    };
    let tried =
        |session: Session| Tried { case: session.case(), verdict: session.verdict().clone() };
    let all: Vec<_> = sessions.map(run).map(tried).collect();
    let mut failed = Vec::new();
    let mut passed = 0;
    for Tried { case: Case { id, title, .. }, verdict } in &all {
        match verdict {
            Verdict::Pass => passed += 1,
            Verdict::Skip { cause } => println!("{role}: skip {id}: {cause}"),
            Verdict::Note { why } => println!("{role}: note {id} {title}: {why}"),
            Verdict::Fail { why, section, evidence } => {
                failed.push(format!("{role}: {id} {title}: {why} ({section}); {evidence}"));
            }
            Verdict::Untested { why } | Verdict::Unsteady { why } => {
                failed.push(format!("{role}: {id} {title}: {why}"));
            }
            Verdict::Waiting => failed.push(format!("{role}: {id} {title}: not over")),
        }
    }
    println!("{role}: {passed} of {} pass", all.len());
    assert!(failed.is_empty(), "{}", failed.join("\n"));
    assert!(passed > all.len() / 2, "{role}: {passed} of {} pass", all.len());
    all
}

/// A stream in memory with a session at its far end.
struct Far(RefCell<State>);

struct State {
    session: Session,
    /// What the session has sent, and how much of it was read.
    sent: Vec<u8>,
    read: usize,
    /// The most that one read gives.
    most: usize,
    /// The session sends no more.
    ended: bool,
}

/// What a read brings.
enum Input {
    Bytes(usize),
    End,
    /// The session waits too, for so long.
    Nothing(Duration),
}

/// What a measured round trip would be.
const ROUND_TRIP: Duration = Duration::from_millis(1);

impl Far {
    /// Runs `end` with a stream to this session, `most` bytes a read.
    fn with(session: Session, most: usize, end: impl FnOnce(&Self)) -> Session {
        let state = State { session, sent: Vec::new(), read: 0, most, ended: false };
        let far = Self(RefCell::new(state));
        end(&far);
        far.shut();
        let mut session = far.0.into_inner().session;
        loop {
            match session.next_action() {
                Action::Done => return session,
                Action::Receive(_) => session.timed_out(),
                Action::Send(_)
                | Action::Pause(_)
                | Action::Turn
                | Action::Shutdown
                | Action::Reset => {}
            }
        }
    }

    fn state(&self) -> RefMut<'_, State> {
        self.0.borrow_mut()
    }

    /// The session goes on while there is nothing to be read: whoever reads has written before.
    fn read(&self, to: &mut [u8]) -> Input {
        let mut state = self.state();
        loop {
            let left = &state.sent[state.read..];
            if !left.is_empty() {
                let n = left.len().min(to.len()).min(state.most);
                to[..n].copy_from_slice(&left[..n]);
                state.read += n;
                return Input::Bytes(n);
            }
            if state.ended {
                return Input::End;
            }
            match state.session.next_action() {
                Action::Send(bytes) => {
                    state.sent = bytes;
                    state.read = 0;
                }
                Action::Pause(_) | Action::Turn => {}
                Action::Receive(wait) => return Input::Nothing(wait.duration(ROUND_TRIP)),
                Action::Shutdown | Action::Reset | Action::Done => state.ended = true,
            }
        }
    }

    fn write(&self, bytes: &[u8]) {
        self.state().session.received(bytes);
    }

    /// The end sends no more.
    fn shut(&self) {
        self.state().session.ended(End::Fin);
    }

    /// The session has waited in vain.
    fn time_passes(&self) {
        self.state().session.timed_out();
    }
}

/// Few bytes come and go.
fn is_light(case: &Case, role: Role) -> bool {
    /// To weigh a case is to build it.
    static LIGHT: LazyLock<HashSet<(&str, Role)>> = LazyLock::new(|| {
        let all = ROLES.into_iter().flat_map(|role| cases().iter().map(move |case| (case, role)));
        let light = all.filter(|(case, role)| case.tests(*role) && case.weight(*role) < 20_000);
        light.map(|(case, role)| (&*case.id, role)).collect()
    });
    LIGHT.contains(&(&*case.id, role))
}

// The core, by what it says to do.

fn core(role: Role, config: &Config, far: &Far) {
    let conn = match role {
        Role::Server => served(config, far),
        Role::Client => dialed(config, far),
    };
    let Some(mut conn) = conn else { return };
    let mut now = Duration::ZERO;
    let mut patience: Option<Duration> = None;
    loop {
        conn.set_paused(!conn.sender().has_room());
        match conn.next(Time::new(now)) {
            Next::Event(Event::Message(message), tx) => drop(tx.feed(message)),
            Next::Event(..) => {}
            Next::Write(mut out) => {
                let n = out.chunk().len();
                far.write(out.chunk());
                out.advance(n);
            }
            Next::Read(rx) => match far.read(rx.spare_mut()) {
                Input::Bytes(n) => rx.commit(n),
                Input::End => rx.end_of_stream(),
                Input::Nothing(wait) => {
                    patience = Some(now + wait);
                    conn.report(Report::ReadBlocked);
                }
            },
            Next::ShutDown => {
                far.shut();
                conn.report(Report::ShutDown);
            }
            Next::Wait(wait) => {
                // Whoever has less patience gives up.
                let until = wait.until.map(|at| at - Time::ZERO);
                match patience.filter(|end| until.is_none_or(|until| *end <= until)) {
                    Some(end) => {
                        now = end;
                        patience = None;
                        far.time_passes();
                    }
                    None => now = now.max(until.expect("it waits for something")),
                }
            }
            Next::Over(_) => return,
        }
    }
}

fn served(config: &Config, far: &Far) -> Option<Connection> {
    let mut handshake = server::Handshake::new(config);
    loop {
        match handshake.step() {
            Ok(Progress::Complete) => return Some(handshake.accept(Accept::default()).unwrap()),
            Ok(Progress::Partial) => match far.read(handshake.reading.spare_mut()) {
                Input::Bytes(n) => handshake.reading.commit(n),
                Input::End => handshake.reading.end_of_stream(),
                Input::Nothing(_) => far.time_passes(),
            },
            Err(error) => {
                far.write(&handshake.reject(error));
                return None;
            }
        }
    }
}

fn dialed(config: &Config, far: &Far) -> Option<Connection> {
    // The cases look whether two connections have the same key.
    thread_local! {
        static ENTROPY: std::cell::Cell<u64> = const { std::cell::Cell::new(1) };
    }
    let seed = ENTROPY.replace(ENTROPY.get() + 1);
    let mut handshake = client::Handshake::new(&request(), config, Keys::new(seed));
    far.write(handshake.outgoing());
    handshake.advance(usize::MAX);
    loop {
        match handshake.step() {
            Ok(Progress::Complete) => return Some(handshake.into_connection().unwrap()),
            Ok(Progress::Partial) => match far.read(handshake.reading.spare_mut()) {
                Input::Bytes(n) => handshake.reading.commit(n),
                Input::End => handshake.reading.end_of_stream(),
                Input::Nothing(_) => far.time_passes(),
            },
            Err(_) => return None,
        }
    }
}

/// Each case of one connection of level R passes with one of the configurations, so none is left
/// out for want of a peer that could have it; but for those.
fn core_passes(role: Role, but: &[&str]) {
    let mut passed = HashSet::new();
    for (number, config) in configs().iter().enumerate() {
        // Big messages have nothing to do with what the configurations differ in.
        let chosen = |case: &Case| number == 0 || is_light(case, role);
        let all = passes(role, config, usize::MAX, chosen);
        let good = all.iter().filter(|tried| tried.verdict == Verdict::Pass);
        passed.extend(good.map(|tried| tried.case.id.as_str()));
    }
    if cfg!(feature = "deflate") {
        let required = cases()
            .iter()
            .filter(|case| case.tests(role) && !case.is_of_two() && case.level == Level::R);
        let left = required.map(|case| case.id.as_str()).filter(|id| !passed.contains(id));
        assert_eq!(left.collect::<Vec<_>>(), but, "{role}");
    }
}

#[test]
fn the_core_as_server_passes_every_case() {
    // It does not agree to a window of 2^8 of its own, in which zlib cannot compress. It refuses a
    // body, which is a note.
    core_passes(Role::Server, &["D-244", "HS-366", "HS-367"]);
}

#[test]
fn the_core_as_client_passes_every_case() {
    core_passes(Role::Client, &[]);
}

#[test]
fn the_core_passes_byte_by_byte() {
    let config = configs().remove(0);
    for role in ROLES {
        // The cases of delivery have pieces of their own, and floods.
        let chosen = |case: &Case| case.group() != Group::Delivery && is_light(case, role);
        passes(role, &config, 1, chosen);
    }
}
