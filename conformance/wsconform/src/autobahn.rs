//! A client that asks for its cases, as the clients of the Autobahn TestSuite do: it connects to
//! `/getCaseCount`, then to `/runCase?case=N&agent=NAME` for each N from 1, then to
//! `/updateReports?agent=NAME`. `/getCaseInfo?case=N` and `/getCaseStatus?case=N&agent=NAME` answer
//! too.
//!
//! The first cases are those of the probe. A failure is not repeated, because it is the client that
//! decides what runs.

use crate::{
    Error, finish,
    options::Options,
    run::{self, Pace, Turns},
    stream::{Input, Stream},
    tls,
};
use std::{
    collections::BTreeMap,
    net::TcpListener,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread,
    time::{Duration, Instant},
};
use wsconform_cases::{
    Case, Env, Group, Probe, Role, Session, Verdict,
    case::cases,
    judge::{accept::accept, frame::Frame, http::Head},
    report::Report,
};

/// How many numbers the probe has. It may use fewer: the others end at once, in good order.
const PROBES: usize = 6;

/// For the head of a request, and for TLS.
const HEAD: Duration = Duration::from_secs(20);

/// What is known of a client that calls itself by one name.
struct Agent {
    probe: Probe,
    pace: Pace,
    report: Report,
}

struct Suite<'o> {
    options: &'o Options,
    cases: Vec<&'static Case>,
    agents: Mutex<BTreeMap<String, Agent>>,
}

/// Serves until the first report, or with `--keep` for ever.
pub(crate) fn serve(address: &str, options: &Options) -> Result<bool, Error> {
    let tls = tls::server(options)?;
    let listener = TcpListener::bind(address).map_err(|error| format!("{address}: {error}"))?;
    let is_of_frames = |case: &Case| !matches!(case.group(), Group::Handshake | Group::Http);
    let suite = Suite {
        options,
        cases: cases()
            .iter()
            .filter(|case| case.tests(Role::Client) && options.chooses(case))
            .filter(|case| options.handshake || is_of_frames(case))
            .collect(),
        agents: Mutex::default(),
    };
    let scheme = if tls.is_some() { "wss" } else { "ws" };
    println!("listening on {scheme}://{}", listener.local_addr()?);
    let done = AtomicBool::new(false);
    let (tell, told) = mpsc::channel();
    let local = listener.local_addr()?;
    thread::scope(|scope| {
        scope.spawn(|| {
            for tcp in listener.incoming() {
                if done.load(Ordering::Acquire) {
                    return;
                }
                let stream = tcp.map_err(Error::from).and_then(|tcp| {
                    let stream = Stream::new(tcp)?;
                    Ok(match &tls {
                        Some(config) => {
                            stream.with_server_tls(tls::server_session(config)?, HEAD)?
                        }
                        None => stream,
                    })
                });
                let Ok(mut stream) = stream else { continue }; // a client that is gone already
                let (tell, suite) = (tell.clone(), &suite);
                scope.spawn(move || {
                    if let Some(report) = suite.answer(&mut stream) {
                        let _ = tell.send(report); // nobody waits once a report was made
                    }
                });
            }
        });
        let mut holds = Ok(true);
        while let Ok(report) = told.recv() {
            holds = finish(&report, options);
            if !options.keep || holds.is_err() {
                break;
            }
        }
        done.store(true, Ordering::Release);
        let _ = std::net::TcpStream::connect(local); // so that the thread looks at `done`
        holds
    })
}

impl Suite<'_> {
    /// Answers one connection. Returns the report if that is what the client asked for.
    fn answer(&self, stream: &mut Stream) -> Option<Report> {
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
            "/getCaseCount" => say(stream, &head, &(PROBES + self.cases.len()).to_string()),
            "/getCaseInfo" => say(stream, &head, &self.info(number)),
            "/getCaseStatus" => say(stream, &head, &self.status(&agent, number)),
            "/runCase" => self.run(stream, &head, &bytes, &agent, number),
            "/updateReports" => {
                say(stream, &head, "");
                return Some(self.agent(&mut self.agents(), &agent).report.clone());
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
        agents.entry(name.to_owned()).or_insert_with(|| {
            let probe = Probe::new(Role::Client, "", "", self.options.seed);
            let called = self.options.name.as_deref().unwrap_or(name);
            let report = Report::new(called, Role::Client, probe.peer().clone());
            Agent { probe, pace: Pace::default(), report }
        })
    }

    fn run(&self, stream: &mut Stream, head: &Head, bytes: &[u8], name: &str, number: usize) {
        let Some(number) = number.checked_sub(1) else { return };
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
        let mut session = Session::new(case, Role::Client, &env);
        if *session.verdict() == Verdict::Waiting {
            session.received(bytes);
            run::drive(&mut session, stream, &pace, &mut Turns::new(1).next());
        } else {
            say(stream, head, ""); // a case that is skipped
        }
        self.agent(&mut self.agents(), name).report.add(&session);
    }

    fn env(&self, probe: &Probe) -> Env {
        run::env("", "", probe, self.options)
    }

    fn probe(&self, stream: &mut Stream, head: &Head, bytes: &[u8], name: &str) {
        let next = self.agent(&mut self.agents(), name).probe.next_session();
        let Some(mut session) = next else {
            say(stream, head, "");
            return;
        };
        session.received(bytes);
        let driven = run::drive(&mut session, stream, &Pace::default(), &mut Turns::new(1).next());
        let mut agents = self.agents();
        let agent = self.agent(&mut agents, name);
        agent.probe.learn(&session);
        agent.pace.learn(&driven);
        agent.report.peer = agent.probe.peer().clone();
    }

    fn info(&self, number: usize) -> String {
        let case = number.checked_sub(1 + PROBES).and_then(|at| self.cases.get(at));
        let (id, title) =
            case.map_or(("probe", "what the client can do"), |case| (&case.id, &case.title));
        serde_json::json!({ "id": id, "description": title }).to_string()
    }

    /// In the words of the Autobahn TestSuite, for drivers that look at them.
    fn status(&self, agent: &str, number: usize) -> String {
        let case = number.checked_sub(1 + PROBES).and_then(|at| self.cases.get(at));
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
fn head(stream: &mut Stream) -> Option<(Head, Vec<u8>)> {
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
fn say(stream: &mut Stream, head: &Head, text: &str) {
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
    while let Input::Bytes(_) =
        stream.read(until.saturating_duration_since(Instant::now()).min(Duration::from_secs(1)))
    {
    }
    stream.shut_down();
}
