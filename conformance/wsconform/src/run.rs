//! Runs sessions: the probe first, then the cases beside each other, then each failure three times
//! alone.

use crate::{
    Error,
    options::Options,
    stream::{Input, Stream},
};
use std::{
    collections::HashSet,
    sync::{
        Condvar, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};
use wsconform_cases::{
    Action, Case, End, Env, Probe, Role, Session, Verdict,
    case::cases,
    report::{Report, Row},
};

/// Somebody to test: one connection for each session.
pub(crate) trait Target: Sync {
    /// What holds the connection; dropped when its session is over.
    type Connection: AsMut<Stream>;

    fn role(&self) -> Role;
    fn connect(&self) -> Result<Self::Connection, Error>;
}

/// The bytes that the cases of one moment may hold together: what is announced, sent, or comes back.
const MOST: u64 = 64 << 20;

/// A peer that drips its answer ends its session after this time.
const LONGEST: Duration = Duration::from_secs(60);

/// How often a failure has to come again, alone, before it is one.
const REPEATS: usize = 3;

/// A peer that says nothing costs seconds with each run. After this time, failures are believed
/// whose rule has failed for the same reason in repeated cases.
const REPEATING: Duration = Duration::from_secs(20);

/// Drives one session to its end. Returns the longest time between the end of a write and the next
/// bytes, which is the round trip of a peer that has to answer.
pub(crate) fn drive(session: &mut Session, stream: &mut Stream, round_trip: Duration) -> Duration {
    let over = Instant::now() + LONGEST;
    let mut longest = Duration::ZERO;
    let mut wrote: Option<Instant> = None;
    let mut take = |session: &mut Session, input: Input, wrote: &mut Option<Instant>| match input {
        Input::Bytes(bytes) => {
            if let Some(at) = wrote.take() {
                longest = longest.max(at.elapsed());
            }
            session.received(&bytes);
            true
        }
        Input::Ended(end) => {
            session.ended(end);
            false
        }
        Input::Nothing => false,
    };
    loop {
        match session.next_action() {
            Action::Send(bytes) => {
                if stream.write(&bytes).is_ok() {
                    wrote = Some(Instant::now());
                    continue;
                }
                // What the peer said before it ended the stream explains why.
                while let Input::Bytes(bytes) = stream.read(Duration::from_millis(100)) {
                    session.received(&bytes);
                }
                session.ended(End::Reset);
            }
            Action::Pause(wait) => {
                let until = Instant::now() + wait.duration(round_trip);
                while take(
                    session,
                    stream.read(until.saturating_duration_since(Instant::now())),
                    &mut wrote,
                ) {}
            }
            Action::Receive(wait) => {
                let input = stream.read(wait.duration(round_trip));
                if matches!(input, Input::Nothing) || Instant::now() > over {
                    session.timed_out();
                } else {
                    take(session, input, &mut wrote);
                }
            }
            Action::Shutdown => stream.shut_down(),
            Action::Done => return longest,
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
    let mut probe = Probe::new(target.role(), host, resource, options.seed);
    // Until it is known, the round trip of a slow peer: it only bounds waits for an answer.
    let mut round_trip = Duration::from_millis(100);
    let mut measured = Duration::ZERO;
    while let Some(mut session) = probe.next_session() {
        let mut connection = target.connect()?;
        measured = measured.max(drive(&mut session, connection.as_mut(), round_trip));
        probe.learn(&session);
    }
    if !probe.peer().opens {
        let fault = probe.peer().fault.as_deref().unwrap_or("no answer");
        return Err(format!("{name} did not open a WebSocket: {fault}").into());
    }
    round_trip = measured.max(Duration::from_millis(1));
    let env = env(host, resource, &probe, options);
    let run = |case: &'static Case| -> Result<Session, Error> {
        let mut session = Session::new(case, target.role(), &env);
        if *session.verdict() == Verdict::Waiting {
            let mut connection =
                target.connect().map_err(|error| format!("{} before {}", error, case.id))?;
            drive(&mut session, connection.as_mut(), round_trip);
        }
        Ok(session)
    };
    let chosen: Vec<&Case> =
        cases().iter().filter(|case| case.tests(target.role()) && options.chooses(case)).collect();
    let mut report = Report::new(name, target.role(), probe.peer().clone());
    for session in beside_each_other(&chosen, target.role(), options.jobs, &run)? {
        report.add(&session);
        if options.hex {
            hex(&session);
        }
    }
    let until = Instant::now() + REPEATING;
    let mut confirmed = HashSet::new();
    for row in &mut report.rows {
        let Verdict::Fail { why, .. } = &row.verdict else { continue };
        let Some(case) = chosen.iter().find(|case| case.id == row.case) else { continue };
        let reason = (&case.rule.id, why.clone());
        if confirmed.contains(&reason) && Instant::now() > until {
            row.remarks.push("not repeated: other cases of the rule were, and failed".to_owned());
        } else if comes_again(row, case, &run)? {
            confirmed.insert(reason);
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

fn hex(session: &Session) {
    println!("{} sent     {}", session.case().id, session.sent_hex());
    println!("{} received {}", session.case().id, session.received_hex());
}

/// A failure that does not come each time is a note: the peer, the network or the suite is
/// unsteady, and nobody can mend what does not come again.
fn comes_again(
    row: &mut Row,
    case: &'static Case,
    run: &impl Fn(&'static Case) -> Result<Session, Error>,
) -> Result<bool, Error> {
    let mut failed = 0;
    for _ in 0..REPEATS {
        if let Verdict::Fail { .. } = run(case)?.verdict() {
            failed += 1;
        }
    }
    if failed < REPEATS
        && let Verdict::Fail { why, .. } = &row.verdict
    {
        let why =
            format!("failed beside other cases, and in {failed} of {REPEATS} runs alone: {why}");
        row.verdict = Verdict::Note { why };
    }
    Ok(failed == REPEATS)
}

fn beside_each_other(
    chosen: &[&'static Case],
    role: Role,
    jobs: usize,
    run: &(impl Fn(&'static Case) -> Result<Session, Error> + Sync),
) -> Result<Vec<Session>, Error> {
    let next = AtomicUsize::new(0);
    let free = Free { bytes: Mutex::new(MOST), more: Condvar::new() };
    let done = Mutex::new(Vec::new());
    let failed = Mutex::new(None);
    thread::scope(|scope| {
        for _ in 0..jobs {
            scope.spawn(|| {
                while let Some(case) = chosen.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let weight = case.weight(role).min(MOST);
                    free.take(weight);
                    let result = run(case);
                    free.give(weight);
                    match result {
                        Ok(session) => {
                            done.lock().unwrap_or_else(PoisonError::into_inner).push(session)
                        }
                        Err(error) => {
                            *failed.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
                            return;
                        }
                    }
                }
            });
        }
    });
    match failed.into_inner().unwrap_or_else(PoisonError::into_inner) {
        Some(error) => Err(error),
        None => Ok(done.into_inner().unwrap_or_else(PoisonError::into_inner)),
    }
}

/// A budget in bytes.
struct Free {
    bytes: Mutex<u64>,
    more: Condvar,
}

impl Free {
    fn take(&self, wanted: u64) {
        let bytes = self.bytes.lock().unwrap_or_else(PoisonError::into_inner);
        let enough = self.more.wait_while(bytes, |bytes| *bytes < wanted);
        *enough.unwrap_or_else(PoisonError::into_inner) -= wanted;
    }

    fn give(&self, back: u64) {
        *self.bytes.lock().unwrap_or_else(PoisonError::into_inner) += back;
        self.more.notify_all();
    }
}
