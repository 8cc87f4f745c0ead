//! A client that asks for its cases, as the clients of the Autobahn TestSuite do: it connects to
//! `/getCaseCount`, then to `/runCase?case=N&agent=NAME` for each N from 1, then to
//! `/updateReports?agent=NAME`. `/getCaseInfo?case=N` and `/getCaseStatus?case=N&agent=NAME` answer
//! too.
//!
//! The first cases are those of the probe. A failure is not repeated, because it is the client that
//! decides what runs. Each report is of one round: behind it, all is asked for afresh. A client that
//! is gone in the middle of its round gets the report of what it has asked for.

use crate::{
    Error,
    drive::{Pace, drive},
    listener::Listener,
    live::not_run,
    options::Options,
    output::{Outputs, tell},
    run::{self, Place},
    signals::Interrupts,
    stream::{Input, Stream},
    tls,
    turns::Turns,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread,
    time::{Duration, Instant},
};
use wsconform_cases::{
    Case, Env, Group, Probe, Role, Session, Verdict,
    judge::{accept::accept, frame::Frame, http::Head},
    report::{Report, Row, Stop},
};

/// How many numbers the probe has. It may use fewer: the others end at once, in good order.
const PROBES: usize = 6;

/// For the head of a request, and for TLS.
pub(crate) const HEAD: Duration = Duration::from_secs(20);

/// How long a report waits for cases that are still open, unless the client is gone.
const OPEN: Duration = Duration::from_secs(5);

/// What is known of a client that calls itself by one name, in one round.
struct Agent {
    probe: Probe,
    pace: Pace,
    report: Report,
    asked: BTreeSet<usize>,
    /// How many cases are being run.
    open: usize,
    /// Cases that silence has decided, and nothing has been asked for since.
    silent: Vec<&'static str>,
}

/// What a client has for its round.
struct Round {
    report: Report,
    /// The numbers that it has asked for, those of the probe too.
    asked: BTreeSet<usize>,
}

struct Suite<'o> {
    options: &'o Options,
    cases: Vec<&'static Case>,
    agents: Mutex<BTreeMap<String, Agent>>,
    /// A case has ended.
    ended: Condvar,
    traffic: Mutex<Traffic>,
}

/// The connections of all clients.
#[derive(Default)]
struct Traffic {
    open: usize,
    /// When the last one ended.
    ended: Option<Instant>,
}

/// Serves until the first report, or with `--keep` for ever.
pub(crate) fn serve(
    address: &str,
    options: &Options,
    outputs: &Outputs<'_>,
) -> Result<bool, Error> {
    let is_of_frames = |case: &Case| !matches!(case.group(), Group::Handshake | Group::Http);
    let mut cases = options.chosen(Role::Client)?;
    cases.retain(|case| options.handshake || is_of_frames(case));
    if cases.is_empty() {
        return Err("only cases of the handshake were chosen: they need --handshake".into());
    }
    let listener = Listener::new(address, tls::server(options)?)?;
    let interrupts = Interrupts::new()?;
    let suite = Suite {
        options,
        cases,
        agents: Mutex::default(),
        ended: Condvar::new(),
        traffic: Mutex::default(),
    };
    listener.announce()?;
    let done = AtomicBool::new(false);
    let (done_with, rounds) = mpsc::channel();
    thread::scope(|scope| {
        scope.spawn(|| {
            loop {
                let patience = || match done.load(Ordering::Acquire) {
                    true => Err("a report was made".into()),
                    false => Ok(()),
                };
                let stream = listener.accept(patience);
                if done.load(Ordering::Acquire) {
                    return;
                }
                let stream = stream.and_then(|stream| listener.secured(stream, HEAD));
                let Ok(mut stream) = stream else { continue }; // a client that is gone already
                let done_with = done_with.clone();
                let suite = &suite;
                suite.traffic().open += 1;
                scope.spawn(move || {
                    if let Some(round) = suite.answer(&mut stream) {
                        let _ = done_with.send(round); // nobody waits once a report was made
                    }
                    let mut traffic = suite.traffic();
                    traffic.open -= 1;
                    traffic.ended = Some(Instant::now());
                });
            }
        });
        let mut last = None;
        let holds = loop {
            let holds = match rounds.recv_timeout(Interrupts::LOOK) {
                Ok(round) => suite.finish(round, outputs),
                Err(_) if interrupts.came() => {
                    let is_between = suite.agents().is_empty();
                    let last = last.take().filter(|_| is_between);
                    crate::exit(&last.unwrap_or_else(|| suite.abandon("interrupted", outputs)));
                }
                Err(_) if !suite.is_left_alone() => continue,
                Err(_) => {
                    let idle = options.idle.as_secs();
                    suite.abandon(&format!("no connection within {idle} s"), outputs)
                }
            };
            if !options.keep {
                break holds;
            }
            if let Err(error) = &holds {
                tell(&format!("wsconform: {error}\n"));
            }
            last = Some(holds);
        };
        done.store(true, Ordering::Release);
        holds
    })
}

impl Suite<'_> {
    /// A round in which not all was asked for says nothing of the rest.
    fn finish(&self, mut round: Round, outputs: &Outputs<'_>) -> Result<bool, Error> {
        let all = self.count();
        let missing = all - round.asked.len();
        if missing > 0 {
            let agent = &round.report.target;
            let why = format!("{agent}: {missing} of {all} cases were never asked for");
            let not_run = not_run(&self.cases, &round.report);
            round.report.stopped = Some(Stop { why, behind: Vec::new(), not_run });
        }
        outputs.finish(&round.report)
    }

    /// Whether a round has begun, and nobody comes any more to end it. With `--keep` nobody needs to
    /// come between rounds.
    fn is_left_alone(&self) -> bool {
        let idle = self.options.idle;
        let traffic = self.traffic();
        let is_quiet = traffic.open == 0 && traffic.ended.is_some_and(|at| at.elapsed() >= idle);
        is_quiet && !(self.options.keep && self.agents().is_empty())
    }

    /// Ends the rounds of all clients, with what they have asked for. The last silence of one that
    /// comes no more says nothing.
    fn abandon(&self, why: &str, outputs: &Outputs<'_>) -> Result<bool, Error> {
        let agents = std::mem::take(&mut *self.agents());
        let mut ends = Vec::new();
        for (name, agent) in agents {
            let mut report = agent.report;
            for row in report.rows.iter_mut().filter(|row| agent.silent.contains(&&*row.case)) {
                let why = "the client asked for nothing any more".to_owned();
                row.verdict = Verdict::Untested { why };
            }
            let count = self.count() - agent.asked.len();
            let first = (1..=self.count()).find(|number| !agent.asked.contains(number));
            let missing = match first {
                Some(first) => {
                    let last = agent.asked.last().copied().unwrap_or(0);
                    format!(
                        "{name} did not ask for {count} of {} cases, from number {first} ({}) on; \
                         the last that it asked for was {last} ({})",
                        self.count(),
                        self.id(first),
                        self.id(last)
                    )
                }
                None => format!("{name} asked for all cases, but not for /updateReports"),
            };
            ends.push((report, missing, agent.silent));
        }
        if ends.is_empty() {
            let report = self.fresh("client").report;
            ends.push((report, "nobody asked for a case".to_owned(), Vec::new()));
        }
        let mut faults = Vec::new();
        for (mut report, missing, silent) in ends {
            let behind = silent.into_iter().map(str::to_owned).collect();
            let not_run = not_run(&self.cases, &report);
            report.stopped = Some(Stop { why: format!("{why}: {missing}"), behind, not_run });
            faults.extend(outputs.finish(&report).err().map(|error| error.to_string()));
        }
        Err(faults.join("; ").into())
    }

    fn traffic(&self) -> MutexGuard<'_, Traffic> {
        self.traffic.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The numbers that a client can ask for.
    fn count(&self) -> usize {
        PROBES + self.cases.len()
    }

    /// Answers one connection. Returns the round if its report is what the client asked for.
    fn answer(&self, stream: &mut Stream) -> Option<Round> {
        let (head, bytes) = head(stream)?;
        let (_, target, _) = head.request()?;
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let value = |name: &str| {
            let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
            pairs.filter(|pair| pair.0 == name).map(|pair| pair.1.to_owned()).next()
        };
        let agent = value("agent").unwrap_or_else(|| "client".to_owned());
        let number = value("case").and_then(|case| case.parse::<usize>().ok()).unwrap_or(0);
        match path {
            "/getCaseCount" => say(stream, &head, &self.count().to_string()),
            "/getCaseInfo" => say(stream, &head, &self.info(number)),
            "/getCaseStatus" => say(stream, &head, &self.status(&agent, number)),
            "/runCase" => self.run(stream, &head, &bytes, &agent, number),
            "/updateReports" => {
                let round = self.round(&agent);
                say(stream, &head, "");
                return Some(round);
            }
            _ => {
                let _ = stream.write(
                    b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
                );
            }
        }
        None
    }

    fn agents(&self) -> MutexGuard<'_, BTreeMap<String, Agent>> {
        self.agents.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn agent<'a>(&self, agents: &'a mut BTreeMap<String, Agent>, name: &str) -> &'a mut Agent {
        agents.entry(name.to_owned()).or_insert_with(|| self.fresh(name))
    }

    fn fresh(&self, name: &str) -> Agent {
        let probe = Probe::new(Role::Client, "", "", self.options.seed);
        let called = self.options.name.as_deref().unwrap_or(name);
        let report = Report::new(called, Role::Client, probe.peer().clone());
        Agent {
            probe,
            pace: Pace::default(),
            report,
            asked: BTreeSet::new(),
            open: 0,
            silent: Vec::new(),
        }
    }

    /// Ends the round of a client, once what it has asked for is judged.
    fn round(&self, name: &str) -> Round {
        let is_open = |agents: &mut BTreeMap<String, Agent>| {
            agents.get(name).is_some_and(|agent| agent.open > 0)
        };
        let waited = self.ended.wait_timeout_while(self.agents(), OPEN, is_open);
        let mut agents = waited.unwrap_or_else(PoisonError::into_inner).0;
        let agent = agents.remove(name).unwrap_or_else(|| self.fresh(name));
        Round { report: agent.report, asked: agent.asked }
    }

    fn run(&self, stream: &mut Stream, head: &Head, bytes: &[u8], name: &str, number: usize) {
        if !(1..=self.count()).contains(&number) {
            return;
        }
        {
            let mut agents = self.agents();
            let agent = self.agent(&mut agents, name);
            agent.asked.insert(number);
            agent.open += 1;
            agent.silent.clear();
        }
        self.run_one(stream, head, bytes, name, number - 1);
        // The round may have ended without it.
        if let Some(agent) = self.agents().get_mut(name) {
            agent.open = agent.open.saturating_sub(1);
        }
        self.ended.notify_all();
    }

    fn run_one(&self, stream: &mut Stream, head: &Head, bytes: &[u8], name: &str, number: usize) {
        if number < PROBES {
            self.probe(stream, head, bytes, name);
            return;
        }
        let Some(case) = self.cases.get(number - PROBES) else { return };
        let (env, pace) = {
            let mut agents = self.agents();
            let agent = self.agent(&mut agents, name);
            (self.env(&agent.probe), agent.pace.clone())
        };
        let began = Instant::now();
        let mut session = Session::new(case, Role::Client, &env);
        let mut is_silent = false;
        if *session.verdict() == Verdict::Waiting {
            session.received(bytes);
            let driven = drive(&mut session, stream, &pace, &mut Turns::new(1).next());
            is_silent = driven.is_silent;
        } else {
            say(stream, head, ""); // a case that is skipped
        }
        if self.options.hex {
            run::hex(&session, &Place::default());
        }
        let mut agents = self.agents();
        if let Some(agent) = agents.get_mut(name).filter(|agent| agent.open > 0) {
            let mut row = Row::new(&session);
            row.millis = began.elapsed().as_millis() as u64;
            agent.report.put(row);
            agent.silent.extend(is_silent.then_some(&*case.id));
        }
    }

    fn env(&self, probe: &Probe) -> Env {
        run::env(&Place::default(), probe, self.options)
    }

    fn probe(&self, stream: &mut Stream, head: &Head, bytes: &[u8], name: &str) {
        let next = self.agent(&mut self.agents(), name).probe.next_session();
        let Some(mut session) = next else {
            say(stream, head, "");
            return;
        };
        session.received(bytes);
        let driven = drive(&mut session, stream, &Pace::default(), &mut Turns::new(1).next());
        let mut agents = self.agents();
        let agent = self.agent(&mut agents, name);
        agent.probe.learn(&session);
        agent.pace.learn(&driven);
        agent.report.peer = agent.probe.peer().clone();
    }

    /// `None` for the probe.
    fn case(&self, number: usize) -> Option<&'static Case> {
        number.checked_sub(1 + PROBES).and_then(|at| self.cases.get(at)).copied()
    }

    fn id(&self, number: usize) -> &'static str {
        self.case(number).map_or("probe", |case| &case.id)
    }

    fn info(&self, number: usize) -> String {
        let title = self.case(number).map_or("what the client can do", |case| &case.title);
        serde_json::json!({ "id": self.id(number), "description": title }).to_string()
    }

    /// In the words of the Autobahn TestSuite, for drivers that look at them.
    fn status(&self, agent: &str, number: usize) -> String {
        let case = self.case(number);
        let agents = self.agents();
        let rows = agents.get(agent).map(|agent| &agent.report.rows);
        let row =
            rows.zip(case).and_then(|(rows, case)| rows.iter().find(|row| row.case == case.id));
        let behavior = match row.map(|row| &row.verdict) {
            Some(Verdict::Fail { .. }) => "FAILED",
            Some(Verdict::Pass) => "OK",
            _ => "INFORMATIONAL",
        };
        serde_json::json!({ "behavior": behavior }).to_string()
    }
}

/// The head of a request, and all bytes that came with it.
pub(crate) fn head(stream: &mut Stream) -> Option<(Head, Vec<u8>)> {
    let until = Instant::now() + HEAD;
    let mut bytes = Vec::new();
    loop {
        match Head::read(&bytes) {
            Ok(Some((head, _))) => return Some((head, bytes)),
            Ok(None) if bytes.len() < 64 << 10 => {}
            _ => return None,
        }
        match stream.read(until.saturating_duration_since(Instant::now())) {
            Input::Bytes(more) => bytes.extend(more),
            _ => return None,
        }
    }
}

/// Opens a connection, sends a text unless it is empty, and closes.
pub(crate) fn say(stream: &mut Stream, head: &Head, text: &str) {
    let key = head.one("Sec-WebSocket-Key").unwrap_or_default();
    let mut bytes = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {}\r\n\r\n",
        accept(key)
    )
    .into_bytes();
    if !text.is_empty() {
        bytes.extend(Frame::new(Role::Server, 0x81, text, [0; 4]).bytes());
    }
    bytes.extend(Frame::new(Role::Server, 0x88, 1000u16.to_be_bytes(), [0; 4]).bytes());
    if stream.write(&bytes).is_err() {
        return;
    }
    // The client's Close, and the end of the stream, so that nothing it has sent makes a reset.
    let until = Instant::now() + Duration::from_secs(5);
    while Instant::now() < until
        && let Input::Bytes(_) = stream.read(Duration::from_secs(1))
    {}
    stream.shut_down();
}
