//! The COMMAND of `server URL -- COMMAND`: it is started, waited for until it listens, started again
//! when it has died, and stopped.

use crate::{
    Error,
    output::tell,
    process::{LOOK, Process},
    turns::lock,
};
use std::{
    io::{self, Read},
    net::{SocketAddr, TcpStream},
    sync::{Arc, Mutex},
    thread,
    time::{Duration, Instant},
};

/// How often it may be started: one that dies of each case is not worth more time.
const STARTS: usize = 50;

/// How long a process that has been asked to end may take.
const END: Duration = Duration::from_secs(2);

/// How much is kept of what it said last, in bytes.
const LAST: usize = 2000;

/// How long the rest of that is waited for, once the process is gone.
const REST: Duration = Duration::from_millis(200);

/// The end of a process that nobody had asked to end.
#[derive(Clone)]
pub(crate) struct Death {
    pub(crate) at: Instant,
    status: String,
    /// What the process said last.
    pub(crate) output: String,
}

impl Death {
    /// Its status, and the last two lines of what it said. Lines of a stack trace, which are
    /// indented, say less.
    pub(crate) fn in_words(&self) -> String {
        let is_plain = |line: &&str| !line.is_empty() && !line.starts_with([' ', '\t']);
        let mut lines: Vec<String> = self
            .output
            .lines()
            .filter(is_plain)
            .map(|line| line.chars().take(150).collect())
            .collect();
        let last = lines.split_off(lines.len().saturating_sub(2));
        match last.is_empty() {
            true => self.status.clone(),
            false => format!("{}: {}", self.status, last.join(" / ")),
        }
    }
}

pub(crate) struct Supervisor {
    words: Vec<String>,
    addresses: Vec<SocketAddr>,
    /// How long it may take until it listens.
    within: Duration,
    /// Held by the one who starts it; others wait.
    starting: Mutex<()>,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    process: Option<Arc<Process>>,
    starts: usize,
    deaths: Vec<Death>,
    is_stopped: bool,
}

impl Supervisor {
    pub(crate) fn new(words: &[String], addresses: &[SocketAddr], within: Duration) -> Supervisor {
        Supervisor {
            words: words.to_vec(),
            addresses: addresses.to_vec(),
            within,
            starting: Mutex::default(),
            state: Arc::default(),
        }
    }

    /// The deaths so far.
    pub(crate) fn deaths(&self) -> Vec<Death> {
        lock(&self.state).deaths.clone()
    }

    /// Starts the command if it does not run.
    pub(crate) fn ready(&self) -> Result<(), Error> {
        let _starting = lock(&self.starting);
        {
            let mut state = lock(&self.state);
            if state.process.is_some() {
                return Ok(());
            }
            if state.starts == STARTS {
                return Err(format!("the command has died {STARTS} times").into());
            }
            if state.starts > 0 {
                tell("wsconform: the command is started again\n");
            }
            state.starts += 1;
        }
        if let Some(address) = self.listening() {
            return Err(format!("something listens at {address} before the command runs").into());
        }
        self.start()
    }

    fn start(&self) -> Result<(), Error> {
        let (reader, writer) = io::pipe()?;
        let process = Process::start(&self.words, || Ok(writer.try_clone()?.into()))?;
        drop(writer); // so that the output ends with the process
        let process = Arc::new(process);
        let mut state = lock(&self.state);
        if state.is_stopped {
            return Err("the command was stopped".into());
        }
        state.process = Some(process.clone());
        let before = state.deaths.len();
        drop(state);
        let output = Arc::new(Mutex::new(Vec::new()));
        let kept = output.clone();
        let reading = thread::spawn(move || keep_the_last(reader, &kept));
        let state = self.state.clone();
        thread::spawn(move || {
            let status = loop {
                match process.ended() {
                    Ok(None) => thread::sleep(LOOK),
                    Ok(Some(status)) => break status.to_string(),
                    Err(error) => break error.to_string(),
                }
            };
            let at = Instant::now();
            while !reading.is_finished() && at.elapsed() < REST {
                thread::sleep(LOOK);
            }
            let output = printable(&String::from_utf8_lossy(&lock(&output)));
            let mut state = lock(&state);
            state.process = None;
            if !state.is_stopped {
                tell(&format!("wsconform: the command has died ({status})\n"));
                state.deaths.push(Death { at, status, output });
            }
        });
        let until = Instant::now() + self.within;
        loop {
            if let Some(death) = lock(&self.state).deaths.get(before) {
                let why = death.in_words();
                return Err(format!("the command ended before it listened ({why})").into());
            }
            if self.listening().is_some() {
                return Ok(());
            }
            if Instant::now() > until {
                let within = self.within.as_secs();
                self.stop();
                return Err(format!("the command does not listen within {within} s").into());
            }
            thread::sleep(LOOK * 4);
        }
    }

    fn listening(&self) -> Option<SocketAddr> {
        let is_open = |address: &&SocketAddr| {
            TcpStream::connect_timeout(address, Duration::from_secs(1)).is_ok()
        };
        self.addresses.iter().find(is_open).copied()
    }

    /// Ends the command for good.
    pub(crate) fn stop(&self) {
        let process = {
            let mut state = lock(&self.state);
            state.is_stopped = true;
            state.process.take()
        };
        if let Some(process) = process {
            process.stop(END);
        }
    }
}

impl Drop for Supervisor {
    fn drop(&mut self) {
        self.stop();
    }
}

/// The text without the escapes of a terminal, and with no other control characters than these.
fn printable(text: &str) -> String {
    let mut plain = String::new();
    let mut rest = text.trim();
    while let Some((before, escape)) = rest.split_once("\x1b[") {
        plain += before;
        rest = escape.trim_start_matches(|c: char| c.is_ascii_digit() || c == ';');
        rest = rest.strip_prefix(|c: char| c.is_ascii_alphabetic()).unwrap_or(rest);
    }
    plain += rest;
    plain.replace(|c: char| c.is_control() && !matches!(c, '\n' | '\t'), "\u{fffd}")
}

/// Reads to the end.
fn keep_the_last(mut reader: impl Read, kept: &Mutex<Vec<u8>>) {
    let mut buffer = [0; 4096];
    loop {
        match reader.read(&mut buffer) {
            Ok(0) => return,
            Ok(length) => {
                let mut kept = lock(kept);
                kept.extend(&buffer[..length]);
                let above = kept.len().saturating_sub(LAST);
                kept.drain(..above);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => return,
        }
    }
}
