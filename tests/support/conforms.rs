//! Cases of the conformance suite, against an end of this repository: over a stream in memory whose
//! far end is the case, or over whatever else carries bytes.
//!
//! Part of the test binaries of several packages, so it uses nothing of `support`.
#![allow(dead_code)] // each uses a part
use std::{
    io::{self, Read, Write},
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};
use wsconform_cases::{Action, Case, End, Env, Probe, Role, Session, Verdict, cases};

/// Of the masking keys of all cases.
const SEED: u64 = 71;

/// What the cases have to know of an end. `run` connects it to a session, to the end of both.
pub(crate) fn probed(role: Role, mut run: impl FnMut(Session) -> Session) -> Env {
    let mut probe = Probe::new(role, "localhost", "/", SEED);
    while let Some(session) = probe.next_session() {
        probe.learn(&run(session));
    }
    assert!(probe.peer().echoes(), "{role}: {:?}", probe.peer());
    probe.env().clone()
}

/// How a case went: a session itself holds all that was said.
pub(crate) struct Tried {
    pub(crate) case: &'static Case,
    role: Role,
    pub(crate) verdict: Verdict,
}

/// Runs the cases of one connection that `chosen` lets pass, and that fit. Those of two, and all
/// others over sockets: `checks/conformance/run`.
pub(crate) fn tried(
    role: Role,
    env: &Env,
    chosen: impl Fn(&Case) -> bool,
    mut run: impl FnMut(Session) -> Session,
) -> Vec<Tried> {
    let fits = |case: &&Case| case.tests(role) && !case.is_of_two() && chosen(case);
    let cases = cases().iter().filter(fits);
    let sessions = cases.map(|case| Session::new(case, role, env));
    sessions
        .map(|session| match session.verdict() {
            Verdict::Waiting => run(session),
            _ => session,
        })
        .map(|session| Tried { case: session.case(), role, verdict: session.verdict().clone() })
        .collect()
}

/// No session failed, and some passed. Prints the notes, for `--nocapture`.
#[track_caller]
pub(crate) fn none_failed(end: &str, all: &[Tried]) {
    let mut failed = Vec::new();
    let mut passed = 0;
    for Tried { case: Case { id, title, .. }, role, verdict } in all {
        match verdict {
            Verdict::Pass => passed += 1,
            Verdict::Skip { cause } => println!("{end}, {role}: skip {id}: {cause}"),
            Verdict::Note { why } => println!("{end}, {role}: note {id} {title}: {why}"),
            Verdict::Fail { why, section, evidence } => {
                failed.push(format!("{end}, {role}: {id} {title}: {why} ({section}); {evidence}"));
            }
            Verdict::Untested { why } | Verdict::Unsteady { why } => {
                failed.push(format!("{end}, {role}: {id} {title}: {why}"));
            }
            Verdict::Waiting => failed.push(format!("{end}, {role}: {id} {title}: not over")),
        }
    }
    println!("{end}: {passed} of {} pass", all.len());
    assert!(failed.is_empty(), "{}", failed.join("\n"));
    assert!(passed > all.len() / 2, "{end}: {passed} of {} pass", all.len());
}

/// A stream in memory with a session at its far end. All handles are the same stream.
#[derive(Clone)]
pub(crate) struct Far(Arc<Mutex<State>>);

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
pub(crate) enum Input {
    Bytes(usize),
    End,
    /// The session waits too, for so long.
    Nothing(Duration),
}

/// What a measured round trip would be.
const ROUND_TRIP: Duration = Duration::from_millis(1);

impl Far {
    /// Runs `end` with a stream to this session, `most` bytes a read.
    pub(crate) fn with(session: Session, most: usize, end: impl FnOnce(Far)) -> Session {
        let state = State { session, sent: Vec::new(), read: 0, most, ended: false };
        let far = Self(Arc::new(Mutex::new(state)));
        end(far.clone());
        far.shut();
        let state = Arc::into_inner(far.0).unwrap(); // the end has dropped its stream
        let mut session = state.into_inner().unwrap().session;
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

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    /// The session goes on while there is nothing to be read: whoever reads has written before.
    pub(crate) fn read(&self, to: &mut [u8]) -> Input {
        let mut state = self.lock();
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

    pub(crate) fn write(&self, bytes: &[u8]) {
        self.lock().session.received(bytes);
    }

    /// The end sends no more.
    pub(crate) fn shut(&self) {
        self.lock().session.ended(End::Fin);
    }

    /// The session has waited in vain.
    pub(crate) fn time_passes(&self) {
        self.lock().session.timed_out();
    }
}

/// As threads read it: a wait for nothing is over at once.
impl Read for Far {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        loop {
            match Far::read(self, to) {
                Input::Bytes(n) => return Ok(n),
                Input::End => return Ok(0),
                Input::Nothing(_) => self.time_passes(),
            }
        }
    }
}

impl Write for Far {
    fn write(&mut self, from: &[u8]) -> io::Result<usize> {
        Far::write(self, from);
        Ok(from.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
