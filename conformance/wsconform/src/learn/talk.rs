//! Conversations: each says a word to the target, over a connection of its own.
//!
//! A step sends one symbol and a Ping behind it, then a second Ping, since a Pong may overtake what is
//! queued. What comes before the second Pong, or before the end of the stream, is the answer. So no
//! answer depends on time as long as the target answers Pings; but if it sends messages back later
//! than Pongs, the echo of a whole message is waited for.

use super::learner::{Answers, Word};
use crate::{
    Error, autobahn,
    output::tell,
    run::{Place, Target, beside_each_other},
    stream::{Input, Stream},
    turns::lock,
};
use std::{
    io::{self, IsTerminal},
    sync::Mutex,
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

/// How long a late echo is waited for: so many times what the first one took, and at least this time.
const LATE: (u32, Duration) = (10, Duration::from_millis(500));

/// What the target may send in one step.
const ROOM: usize = 8 << 20;

/// So many messages and control frames are no answer any more.
const MOST: usize = 64;

/// How often somebody who waits is told how far it is, where that is no terminal.
const TELL: Duration = Duration::from_secs(10);

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

/// What the first conversation shows.
pub(crate) struct Look {
    pub(crate) agreed: bool,
    pub(crate) round_trip: Duration,
    /// How long the target waits for its echo behind a Pong.
    pub(crate) late: Option<Duration>,
}

/// An open connection.
struct Open<C> {
    connection: C,
    role: Role,
    reader: Reader,
    agreed: bool,
}

impl<T: Target> Opening<'_, T> {
    pub(crate) fn look(&self) -> Result<Look, Error> {
        let mut open = self.open()?;
        let agreed = open.agreed;
        let began = Instant::now();
        greet(&mut open)?;
        let round_trip = began.elapsed();
        let text = Frame::new(open.role.other(), 0x81, *b"wsconform learns", KEY).bytes();
        let is_echo = |event: &Event| matches!(event, Event::Message(Kind::Text, _));
        open.connection.as_mut().write(&text)?;
        let mut is_early = false;
        for _ in 0..2 {
            is_early |= greet(&mut open)?.iter().any(is_echo);
        }
        let began = Instant::now();
        let mut late = None;
        while !is_early
            && late.is_none()
            && let left = SILENT.max(round_trip * 20).saturating_sub(began.elapsed())
            && !left.is_zero()
            && let Input::Bytes(bytes) = open.connection.as_mut().read(left)
        {
            let is_there = open.reader.read(&bytes).iter().any(is_echo);
            let (times, least) = LATE;
            late = is_there.then(|| least.max(began.elapsed() * times));
        }
        Ok(Look { agreed, round_trip, late })
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
        let mut reader = Reader::new(role).with_limit(ROOM);
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
fn greet<C: AsMut<Stream>>(open: &mut Open<C>) -> Result<Vec<Event>, Error> {
    let stream = open.connection.as_mut();
    let role = open.role;
    stream.write(&ping(role, b"#0"))?;
    let until = Instant::now() + OPEN;
    let mut room = ROOM;
    let mut said = Vec::new();
    loop {
        let bytes = match stream.read(until.saturating_duration_since(Instant::now())) {
            Input::Bytes(bytes) => bytes,
            Input::Nothing => return Err("it does not answer a Ping: no step would end".into()),
            Input::Ended(_) => return Err("the connection ends behind the opening".into()),
        };
        room = room.saturating_sub(bytes.len());
        said.extend(open.reader.read(&bytes));
        if said.contains(&Event::Pong(b"#0".to_vec())) {
            return Ok(said);
        }
        if room == 0 || said.len() > MOST {
            return Err("it sends without end, and does not answer a Ping".into());
        }
        for event in &said {
            if let Event::Ping(payload) = event {
                stream.write(&control(role, 0x8a, payload))?;
            }
        }
        said.retain(|event| !matches!(event, Event::Ping(_)));
    }
}

fn ping(to: Role, payload: &[u8]) -> Vec<u8> {
    control(to, 0x89, payload)
}

fn control(to: Role, first: u8, payload: &[u8]) -> Vec<u8> {
    Frame::new(to.other(), first, payload, KEY).bytes()
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
    late: Option<Duration>,
    until: Option<Instant>,
    told: Instant,
}

impl<'a, T: Target> Talks<'a, T> {
    pub(crate) fn new(
        opening: Opening<'a, T>,
        machine: &Machine,
        look: &Look,
        jobs: usize,
        until: Option<Instant>,
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
                inflated: frame.inflates.map(|inflates| inflates.bytes),
            }
        };
        let symbols = machine.events.iter().map(symbol).collect();
        let silent = SILENT.max(look.round_trip * 20);
        let Look { agreed, late, .. } = *look;
        Talks { opening, agreed, symbols, jobs, silent, late, until, told: Instant::now() }
    }

    /// Whether there is no time left.
    pub(crate) fn is_late(&self) -> bool {
        self.until.is_some_and(|until| Instant::now() >= until)
    }

    /// The answer to all of a word, if there are no Pings between its symbols. Of a late one nobody
    /// knows to what it is.
    pub(crate) fn say_at_once(&self, word: &[usize]) -> Result<Option<String>, Error> {
        let Some((last, before)) = word.split_last().filter(|_| self.late.is_none()) else {
            return Ok(None);
        };
        let mut talk = self.talk(self.silent)?;
        for symbol in before {
            talk.begin(&self.symbols[*symbol]);
        }
        Ok(Some(talk.step(&self.symbols[*last])))
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
        let mut talk = self.talk(silent)?;
        let mut answers = Vec::new();
        for symbol in word {
            answers.push(talk.step(&self.symbols[*symbol]));
            if talk.is_over {
                break;
            }
        }
        Ok(answers)
    }

    fn talk(&self, silent: Duration) -> Result<Talk<T::Connection>, Error> {
        let mut tries = 0;
        let open = loop {
            let mut open = self.opening.open()?;
            tries += 1;
            match greet(&mut open) {
                Ok(_) => break open,
                Err(error) if tries == TRIES => return Err(error),
                Err(_) => {}
            }
        };
        if open.agreed != self.agreed {
            return Err("permessage-deflate is agreed on some connections alone".into());
        }
        Ok(Talk {
            open,
            silent,
            late: self.late,
            contents: Vec::new(),
            is_inflated: false,
            is_over: false,
        })
    }
}

impl<T: Target> Answers for Talks<'_, T> {
    fn answer(&mut self, words: &[Word]) -> Result<Vec<Vec<String>>, Error> {
        let answers = Mutex::new(vec![Err("no time is left".to_owned()); words.len()]);
        let places: Vec<usize> = (0..words.len()).collect();
        beside_each_other(&places, self.jobs, |at| {
            if !self.is_late() {
                let said = self.say(&words[*at]).map_err(|error| error.to_string());
                lock(&answers)[*at] = said;
            }
        });
        let answers = answers.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
        answers.into_iter().map(|said| said.map_err(Error::from)).collect()
    }

    fn tell(&mut self, states: usize, said: usize, most: usize) {
        let line = format!("{states} states so far, {said} of {most} words said");
        if io::stderr().is_terminal() {
            tell(&format!("\r{line}\x1b[K"));
        } else if self.told.elapsed() > TELL {
            self.told = Instant::now();
            tell(&format!("{line}\n"));
        }
    }
}

/// How the answer of a target ends that says no more, and does not end the stream.
const SILENCE: &str = "silence";

struct Talk<C> {
    open: Open<C>,
    silent: Duration,
    late: Option<Duration>,
    /// The content so far of the messages that we send. In the last one RSV1 was set on the first
    /// frame, or not.
    contents: Vec<Vec<u8>>,
    is_inflated: bool,
    is_over: bool,
}

impl<C: AsMut<Stream>> Talk<C> {
    /// Says one symbol.
    fn begin(&mut self, symbol: &Symbol) {
        let stream = self.open.connection.as_mut();
        if matches!(symbol.first & 0x0f, 1..=7) || self.contents.is_empty() {
            self.contents.push(Vec::new());
            self.is_inflated = self.open.agreed && symbol.first & 0x40 != 0;
        }
        if symbol.first & 0x08 == 0 {
            let inflated = symbol.inflated.as_ref().filter(|_| self.is_inflated);
            if let Some(content) = self.contents.last_mut() {
                content.extend(inflated.unwrap_or(&symbol.payload));
            }
        }
        // What the peer said before it ended the stream is still read.
        let _ = stream.write(&symbol.bytes);
        if symbol.is_end {
            stream.shut_down();
        }
    }

    fn step(&mut self, symbol: &Symbol) -> String {
        self.begin(symbol);
        let role = self.open.role;
        let stream = self.open.connection.as_mut();
        // A target that takes a marker for something else takes all for the same.
        let markers = [b"#1", b"#2"];
        let mut marker = markers[0];
        if !symbol.is_end {
            let _ = stream.write(&ping(role, marker));
        }
        let may_answer = !symbol.is_end && symbol.first & 0x0f != 8;
        // Whether a whole message is to come back, later than the Pongs.
        let is_whole = symbol.first & 0x88 == 0x80;
        let mut late = self.late.filter(|_| is_whole);
        let mut is_awaited = false;
        let mut room = ROOM;
        let mut answer: Vec<String> = Vec::new();
        let mut is_second = false;
        let mut is_closed = false;
        loop {
            let silent = late.filter(|_| is_awaited).unwrap_or(self.silent);
            let bytes = match stream.read(silent) {
                Input::Bytes(bytes) => bytes,
                Input::Nothing if is_awaited => return in_words(&answer),
                Input::Ended(_) => {
                    answer.push("end".to_owned());
                    break;
                }
                Input::Nothing => {
                    answer.push(SILENCE.to_owned());
                    break;
                }
            };
            room = room.saturating_sub(bytes.len());
            for event in self.open.reader.read(&bytes) {
                match event {
                    Event::Message(kind, data) => {
                        let kind = if kind == Kind::Text { "text" } else { "binary" };
                        let is_echo = self.contents.contains(&data);
                        let other = if is_echo { "" } else { " with other content" };
                        answer.push(format!("{kind}{other}"));
                        late = None;
                        if is_awaited {
                            return in_words(&answer);
                        }
                    }
                    // By its own clock.
                    Event::Ping(payload) if may_answer => {
                        let _ = stream.write(&control(role, 0x8a, &payload));
                    }
                    Event::Ping(_) => {}
                    Event::Pong(payload) if payload == marker && is_second => {
                        if late.is_none() {
                            return in_words(&answer);
                        }
                        is_awaited = true;
                    }
                    Event::Pong(payload) if payload == marker => {
                        is_second = true;
                        marker = markers[1];
                        let _ = stream.write(&ping(role, marker));
                    }
                    Event::Pong(payload) if payload == symbol.payload => {
                        answer.push("Pong".to_owned());
                    }
                    Event::Pong(_) => answer.push("Pong with other content".to_owned()),
                    Event::Close(code, _) => {
                        let code = code.map_or_else(String::new, |code| format!(" {code}"));
                        answer.push(format!("Close{code}"));
                        is_closed = true;
                        is_awaited = false;
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
            if room == 0 || answer.len() > MOST {
                answer.truncate(1);
                answer.push("more without end".to_owned());
                break;
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

fn in_words(answer: &[String]) -> String {
    match answer {
        [] => "nothing".to_owned(),
        answer => answer.join(", "),
    }
}

impl Symbol {
    fn end() -> Symbol {
        Symbol { bytes: Vec::new(), is_end: true, first: 0x08, payload: Vec::new(), inflated: None }
    }
}
