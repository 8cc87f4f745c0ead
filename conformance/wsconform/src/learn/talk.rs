//! Conversations: each says a word to the target, over a connection of its own.
//!
//! A step sends one symbol and a Ping with a number behind it, then a second Ping, since a Pong may
//! overtake what is queued. What comes before the second Pong, or before the end of the stream, is
//! the answer. So no answer depends on time as long as the target answers Pings.

use super::learner::{Answers, Word};
use crate::{
    Error, autobahn,
    run::{Place, Target},
    stream::{Input, Stream},
    turns::lock,
};
use std::{
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};
use wsconform_cases::{
    Role,
    judge::{
        Event, Frame, Kind, Reader,
        accept::{accept, base64},
        deflate::{NAME, Parameters},
        http::{Head, extensions},
    },
    protocol::{self, Machine, Member},
};

/// Silence is an answer after this time or twenty round trips, and if it comes again.
const SILENT: Duration = Duration::from_secs(1);

/// How long the head of a response may take, and the first Pong.
const OPEN: Duration = Duration::from_secs(20);

/// How often an opening is tried.
const TRIES: u64 = 4;

const KEY: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// What every conversation begins with.
pub(crate) struct Opening<'a, T> {
    pub(crate) target: &'a T,
    pub(crate) place: &'a Place,
    /// permessage-deflate is offered, or agreed to.
    pub(crate) deflate: bool,
}

/// An open connection.
struct Open<C> {
    connection: C,
    role: Role,
    reader: Reader,
    agreed: bool,
}

impl<T: Target> Opening<'_, T> {
    /// Whether permessage-deflate was agreed on, and the time of a round trip.
    pub(crate) fn look(&self) -> Result<(bool, Duration), Error> {
        let mut open = self.open()?;
        let began = Instant::now();
        greet(&mut open)?;
        Ok((open.agreed, began.elapsed()))
    }

    fn open(&self) -> Result<Open<T::Connection>, Error> {
        let mut tries = 0;
        loop {
            let connection = self.target.connect()?;
            let opened = match self.target.role() {
                Role::Server => self.open_server(connection),
                Role::Client => self.open_client(connection),
            };
            tries += 1;
            match opened {
                Ok(Some(open)) => return Ok(open),
                Ok(None) => tries = 0, // it asked for something else
                Err(error) if tries == TRIES => return Err(error),
                Err(_) => thread::sleep(Duration::from_millis(100 * tries)),
            }
        }
    }

    fn open_server(
        &self,
        mut connection: T::Connection,
    ) -> Result<Option<Open<T::Connection>>, Error> {
        let key = base64(b"wsconform learns");
        let Place { host, resource, admission } = self.place;
        let mut request = format!(
            "GET {resource} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\n\
             Connection: Upgrade\r\nSec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n"
        );
        for (name, value) in &admission.fields {
            request += &format!("{name}: {value}\r\n");
        }
        if self.deflate {
            request += &format!("Sec-WebSocket-Extensions: {NAME}\r\n");
        }
        request += "\r\n";
        let stream = connection.as_mut();
        stream.write(request.as_bytes())?;
        let (head, bytes) = autobahn::head(stream).ok_or("no response to an opening")?;
        let is_open = head.status().is_some_and(|(_, status)| status == 101)
            && head.one("Sec-WebSocket-Accept") == Some(&accept(&key));
        if !is_open {
            let advice = crate::admission::advice(&head);
            return Err(format!("the server does not open: {}{advice}", head.start).into());
        }
        let answer = deflate_of(&head, true)?;
        self.opened(connection, &head_rest(&bytes), answer).map(Some)
    }

    fn open_client(
        &self,
        mut connection: T::Connection,
    ) -> Result<Option<Open<T::Connection>>, Error> {
        let stream = connection.as_mut();
        let (head, bytes) = autobahn::head(stream).ok_or("no request of the client")?;
        let path = head.request().map_or("", |(_, target, _)| target);
        // What a driver of Autobahn's asks for beside its cases.
        let path = path.split('?').next().unwrap_or_default();
        let text = match path {
            "/getCaseCount" => Some(u32::MAX.to_string()),
            "/getCaseInfo" | "/getCaseStatus" => Some("{}".to_owned()),
            "/updateReports" => Some(String::new()),
            _ => None,
        };
        if let Some(text) = text {
            autobahn::say(stream, &head, &text);
            return Ok(None);
        }
        let key = head.one("Sec-WebSocket-Key").ok_or("a request without Sec-WebSocket-Key")?;
        let mut response = format!(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Accept: {}\r\n",
            accept(key)
        );
        let offer = if self.deflate { deflate_of(&head, false)? } else { None };
        if offer.is_some() {
            response += &format!("Sec-WebSocket-Extensions: {NAME}\r\n");
        }
        response += "\r\n";
        stream.write(response.as_bytes())?;
        let agreed = offer.map(|_| Parameters::default());
        self.opened(connection, &head_rest(&bytes), agreed).map(Some)
    }

    fn opened(
        &self,
        connection: T::Connection,
        rest: &[u8],
        agreed: Option<Parameters>,
    ) -> Result<Open<T::Connection>, Error> {
        let role = self.target.role();
        let mut reader = Reader::new(role);
        if let Some(parameters) = &agreed {
            reader = reader.with_deflate(parameters.inflater(role));
        }
        reader.read(rest); // what it says before it is asked is no answer
        Ok(Open { connection, role, reader, agreed: agreed.is_some() })
    }
}

/// The bytes behind a head.
fn head_rest(bytes: &[u8]) -> Vec<u8> {
    match Head::read(bytes) {
        Ok(Some((_, length))) => bytes[length..].to_vec(),
        _ => Vec::new(),
    }
}

fn deflate_of(head: &Head, answer: bool) -> Result<Option<Parameters>, Error> {
    for line in head.all("Sec-WebSocket-Extensions") {
        let bad = || format!("Sec-WebSocket-Extensions: {line}");
        for extension in extensions(line).map_err(|_| bad())? {
            if extension.name == NAME {
                return Ok(Some(Parameters::read(&extension, answer).map_err(|_| bad())?));
            }
        }
    }
    Ok(None)
}

/// A first Ping: what a target says before it is asked has come before its Pong.
fn greet<C: AsMut<Stream>>(open: &mut Open<C>) -> Result<(), Error> {
    let stream = open.connection.as_mut();
    let role = open.role;
    stream.write(&ping(role, b"#0"))?;
    let until = Instant::now() + OPEN;
    loop {
        let bytes = match stream.read(until.saturating_duration_since(Instant::now())) {
            Input::Bytes(bytes) => bytes,
            Input::Nothing => return Err("it does not answer a Ping: no step would end".into()),
            Input::Ended(_) => return Err("the connection ends behind the opening".into()),
        };
        let events = open.reader.read(&bytes);
        if events.contains(&Event::Pong(b"#0".to_vec())) {
            return Ok(());
        }
    }
}

fn ping(to: Role, payload: &[u8]) -> Vec<u8> {
    Frame::new(to.other(), 0x89, payload, KEY).bytes()
}

/// What is said, and what an echo brings back.
struct Symbol {
    /// Nothing: only the end of our side.
    bytes: Vec<u8>,
    is_end: bool,
    first: u8,
    payload: Vec<u8>,
    inflated: Option<Vec<u8>>,
}

/// The target, in as many conversations at one time as are allowed.
pub(crate) struct Talks<'a, T> {
    opening: Opening<'a, T>,
    agreed: bool,
    symbols: Vec<Symbol>,
    jobs: usize,
    silent: Duration,
}

impl<'a, T: Target> Talks<'a, T> {
    pub(crate) fn new(
        opening: Opening<'a, T>,
        machine: &Machine,
        agreed: bool,
        jobs: usize,
        round_trip: Duration,
    ) -> Self {
        let sender = opening.target.role().other();
        let symbol = |event: &&protocol::Event| {
            let is_end = matches!(event.kind, "FIN" | "half FIN");
            let frame = match &event.members[0] {
                Member::Frame(frame) => frame.clone(),
                _ => return Symbol::end(),
            };
            Symbol {
                bytes: frame.bytes(sender),
                is_end,
                first: frame.first,
                payload: frame.payload,
                inflated: frame.inflates.map(|(bytes, _)| bytes),
            }
        };
        let symbols = machine.events.iter().map(symbol).collect();
        Talks { opening, agreed, symbols, jobs, silent: SILENT.max(round_trip * 20) }
    }

    /// Says a word. Silence is believed if it comes twice.
    fn say(&self, word: &[usize]) -> Result<Vec<String>, Error> {
        let answers = self.say_once(word, self.silent)?;
        match answers.last() {
            Some(last) if last.ends_with(SILENCE) => self.say_once(word, self.silent * 2),
            _ => Ok(answers),
        }
    }

    fn say_once(&self, word: &[usize], silent: Duration) -> Result<Vec<String>, Error> {
        let mut tries = 0;
        let open = loop {
            let mut open = self.opening.open()?;
            tries += 1;
            match greet(&mut open) {
                Ok(()) => break open,
                Err(error) if tries == TRIES => return Err(error),
                Err(_) => {}
            }
        };
        if open.agreed != self.agreed {
            return Err("permessage-deflate is agreed on some connections alone".into());
        }
        let mut talk = Talk {
            open,
            silent,
            marker: 0,
            content: Vec::new(),
            is_inflated: false,
            is_over: false,
        };
        let mut answers = Vec::new();
        for symbol in word {
            answers.push(talk.step(&self.symbols[*symbol]));
            if talk.is_over {
                break;
            }
        }
        Ok(answers)
    }
}

impl<T: Target> Answers for Talks<'_, T> {
    fn answer(&mut self, words: &[Word]) -> Result<Vec<Vec<String>>, Error> {
        let next = AtomicUsize::new(0);
        let answers = Mutex::new(vec![Ok(Vec::new()); words.len()]);
        thread::scope(|scope| {
            for _ in 0..self.jobs.min(words.len()) {
                scope.spawn(|| {
                    loop {
                        let at = next.fetch_add(1, Ordering::Relaxed);
                        let Some(word) = words.get(at) else { break };
                        let said = self.say(word).map_err(|error| error.to_string());
                        lock(&answers)[at] = said;
                    }
                });
            }
        });
        let answers = answers.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
        answers.into_iter().map(|said| said.map_err(Error::from)).collect()
    }
}

/// How the answer of a target ends that says no more, and does not end the stream.
const SILENCE: &str = "silence";

struct Talk<C> {
    open: Open<C>,
    silent: Duration,
    marker: usize,
    /// The content so far of the message that we send, in which RSV1 was set on the first frame.
    content: Vec<u8>,
    is_inflated: bool,
    is_over: bool,
}

impl<C: AsMut<Stream>> Talk<C> {
    fn step(&mut self, symbol: &Symbol) -> String {
        let role = self.open.role;
        let stream = self.open.connection.as_mut();
        if matches!(symbol.first & 0x0f, 1..=7) {
            self.content.clear();
            self.is_inflated = self.open.agreed && symbol.first & 0x40 != 0;
        }
        if symbol.first & 0x08 == 0 {
            let inflated = symbol.inflated.as_ref().filter(|_| self.is_inflated);
            self.content.extend(inflated.unwrap_or(&symbol.payload));
        }
        let mut bytes = symbol.bytes.clone();
        self.marker += 1;
        let mut marker = format!("#{}", self.marker).into_bytes();
        if !symbol.is_end {
            bytes.extend(ping(role, &marker));
        }
        // What the peer said before it ended the stream is still read.
        let _ = stream.write(&bytes);
        if symbol.is_end {
            stream.shut_down();
        }
        let mut answer: Vec<String> = Vec::new();
        let mut is_second = false;
        let mut is_closed = false;
        loop {
            let bytes = match stream.read(self.silent) {
                Input::Bytes(bytes) => bytes,
                Input::Ended(_) => {
                    answer.push("end".to_owned());
                    break;
                }
                Input::Nothing => {
                    answer.push(SILENCE.to_owned());
                    break;
                }
            };
            for event in self.open.reader.read(&bytes) {
                match event {
                    Event::Message(kind, data) => {
                        let kind = if kind == Kind::Text { "text" } else { "binary" };
                        let other = if data == self.content { "" } else { " with other content" };
                        answer.push(format!("{kind}{other}"));
                    }
                    Event::Ping(_) => {} // by its own clock
                    Event::Pong(payload) if payload == marker && is_second => {
                        return match answer.is_empty() {
                            true => "nothing".to_owned(),
                            false => answer.join(", "),
                        };
                    }
                    Event::Pong(payload) if payload == marker => {
                        is_second = true;
                        self.marker += 1;
                        marker = format!("#{}", self.marker).into_bytes();
                        let _ = stream.write(&ping(role, &marker));
                    }
                    Event::Pong(payload) if payload == symbol.payload => {
                        answer.push("Pong".to_owned());
                    }
                    Event::Pong(_) => answer.push("Pong with other content".to_owned()),
                    Event::Close(code, _) => {
                        let code = code.map_or_else(String::new, |code| format!(" {code}"));
                        answer.push(format!("Close{code}"));
                        is_closed = true;
                        // A client waits for our end (RFC 6455 7.1.1).
                        if role == Role::Client {
                            stream.shut_down();
                        }
                    }
                    Event::Violation(violation) => {
                        answer.push(format!("a breach of {}", violation.section));
                        self.is_over = true;
                        return answer.join(", ");
                    }
                }
            }
            if is_closed && self.open.reader.behind().len() > 1 << 20 {
                answer.push(SILENCE.to_owned()); // it goes on without an end
                break;
            }
        }
        self.is_over = true;
        answer.join(", ")
    }
}

impl Symbol {
    fn end() -> Symbol {
        Symbol { bytes: Vec::new(), is_end: true, first: 0x08, payload: Vec::new(), inflated: None }
    }
}
