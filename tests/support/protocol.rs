//! An end of this repository, held to the table of `conformance/cases/data/protocol.txt`: each word
//! of the W-method is said to a new end, and each answer is compared whole.
//!
//! Part of the test binaries of several packages, so it uses nothing of `support`.
#![allow(dead_code)] // each uses a part
#[path = "protocol/calls.rs"]
pub(crate) mod calls;
#[path = "protocol/heads.rs"]
pub(crate) mod heads;
#[path = "protocol/pipe.rs"]
pub(crate) mod pipe;

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    io::{self, Write as _},
    sync::{Mutex, mpsc},
    thread,
    time::{Duration, Instant},
};
use testkit::{
    PATIENCE, Rng,
    frames::{frame_len, read_frame},
    sampled,
};
use wsconform_cases::{
    Role,
    protocol::{Answer, Call, Delivered, Event, Machine, Member, Move, Sent, State, Suite},
};

/// An end, and the stream that the table's peer holds.
pub(crate) trait End {
    /// These bytes of the peer arrive.
    fn arrives(&mut self, bytes: &[u8]);
    /// The peer's stream ends; if it is a reset, by an error.
    fn ends(&mut self, reset: bool);
    /// The application makes this call. `chunk`: the kind of the message that a chunk
    /// belongs to.
    fn calls(&mut self, event: &Event, call: &Call, chunk: Chunk) -> Result<(), &'static str>;
    /// Does all that there is to do, until the end waits.
    fn settle(&mut self, seen: &mut Seen);
}

/// What a chunk is of its message.
#[derive(Clone, Copy)]
pub(crate) struct Chunk {
    pub(crate) text: bool,
    pub(crate) first: bool,
    pub(crate) last: bool,
}

/// What an end did since the last look.
#[derive(Default)]
pub(crate) struct Seen {
    pub(crate) delivered: Vec<Got>,
    /// What it wrote.
    pub(crate) wire: Vec<u8>,
    /// It ended its side of the stream.
    pub(crate) fin: bool,
    /// It dropped the stream.
    pub(crate) dropped: bool,
    /// With which error receiving ended.
    pub(crate) error: Option<&'static str>,
    /// How it ended, once it has.
    pub(crate) closed: Option<Closed>,
}

#[derive(Debug, PartialEq)]
pub(crate) enum Got {
    Message { text: bool, payload: Vec<u8> },
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(Vec<u8>),
}

/// RFC 6455 §7.1.4 and §7.1.5, and what an end says beyond.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Closed {
    pub(crate) code: u16,
    pub(crate) sent_code: u16,
    pub(crate) clean: bool,
    /// The kind of the message that the peer's Close cut: it is text.
    pub(crate) cut: Option<bool>,
}

/// Inflates a whole message.
pub(crate) type Inflate = fn(&[u8]) -> Vec<u8>;

/// Whether an end that answers a Close itself knows this event.
pub(crate) fn is_answered(event: &Event) -> bool {
    event.kind != "Close by hand"
}

/// Whether it does, and has no halves, which could be dropped.
pub(crate) fn is_of_a_whole(event: &Event) -> bool {
    is_answered(event) && !is_of_halves(event)
}

pub(crate) fn is_of_halves(event: &Event) -> bool {
    ["drop sending", "drop receiving"].contains(&event.kind)
}

/// The states in which an end says how receiving ended.
const ENDED: [&str; 6] =
    ["unanswered", "unanswered cut", "unanswered reset", "ended", "waits", "over"];

/// How many states and events that went wrong are told.
const MOST: usize = 8;

/// What is held to the table, and how far.
pub(crate) struct Held<'a> {
    pub(crate) name: &'a str,
    pub(crate) role: Role,
    /// To permessage-deflate.
    pub(crate) agreed: bool,
    /// Which events there are.
    pub(crate) may: fn(&Event) -> bool,
    /// What it does otherwise than the table, where the RFC leaves it the choice.
    pub(crate) alter: fn(State, &Event, &mut Answer),
    /// How many further states the words reach: `PROTOCOL_K` in the environment, or 1.
    pub(crate) k: usize,
    /// So many words are said, or all.
    pub(crate) words: Option<usize>,
    /// The clock is real: so a second may pass between two events, and end what waits for a FIN.
    pub(crate) real_time: bool,
    /// What an end does shows after a while, and a dropped stream as its end alone.
    pub(crate) sockets: bool,
    /// It may say nothing of how it ended.
    pub(crate) terse: bool,
    /// Arrivals that follow each other come at once.
    pub(crate) joined: bool,
    pub(crate) inflate: Inflate,
}

impl<'a> Held<'a> {
    /// A whole end that does all as the table has it, and shows it at once.
    pub(crate) fn new(name: &'a str, (role, agreed): (Role, bool), inflate: Inflate) -> Self {
        Self {
            name,
            role,
            agreed,
            may: is_of_a_whole,
            alter: |_, _, _| {},
            k: std::env::var("PROTOCOL_K").map_or(1, |k| k.parse().unwrap()),
            words: sampled(None, Some(500)),
            real_time: false,
            sockets: false,
            terse: false,
            joined: false,
            inflate,
        }
    }

    /// The machine and its words, which are made once.
    fn made(&self) -> &'static (Machine, Suite) {
        type Made = BTreeMap<(Role, bool, [usize; 2]), &'static (Machine, Suite)>;
        static MADE: Mutex<Made> = Mutex::new(BTreeMap::new());
        let mut made = MADE.lock().unwrap();
        let hooks = [self.may as usize, self.alter as usize];
        made.entry((self.role, self.agreed, hooks)).or_insert_with(|| {
            let mut machine = Machine::new(self.role, self.agreed, self.may);
            machine.alter(self.alter);
            let suite = Suite::new(&machine);
            Box::leak(Box::new((machine, suite)))
        })
    }

    /// Says the words, in a thread for each processor, to ends that `make` makes.
    #[track_caller]
    pub(crate) fn hold<E: End>(&self, make: impl Fn() -> E + Sync) {
        let (machine, suite) = self.made();
        let threads = thread::available_parallelism().map_or(1, usize::from);
        let saying: Vec<_> = (0..threads).map(|_| Mutex::new(Saying::default())).collect();
        let (said, wrong) = thread::scope(|scope| {
            let (ends, ended) = mpsc::channel::<()>();
            let talks = saying.iter().enumerate().map(|(thread, saying)| {
                let talk = Talk::new(self, machine, saying);
                let (make, ends) = (&make, ends.clone());
                scope.spawn(move || {
                    let _ends = ends;
                    talk.all(suite, (thread, threads), make)
                })
            });
            let talks: Vec<_> = talks.collect();
            drop(ends);
            while ended.recv_timeout(Duration::from_secs(1)) == Err(mpsc::RecvTimeoutError::Timeout)
            {
                for (_, saying) in talks.iter().zip(&saying).filter(|(talk, _)| !talk.is_finished())
                {
                    saying.lock().unwrap().end_if_it_hangs(self, machine);
                }
            }
            let (mut said, mut wrong) = (0, BTreeMap::new());
            for talk in talks {
                let part = talk.join().unwrap();
                said += part.0;
                wrong.extend(part.1);
            }
            (said, wrong)
        });
        let wrong: Vec<_> = wrong.into_values().collect();
        assert!(wrong.is_empty(), "not as the table has it:\n{}", wrong.join("\n"));
        let (states, events) = (machine.states.len(), machine.events.len());
        let Self { name, role, agreed, k, .. } = self;
        println!(
            "{name}, {role}, deflate {agreed}: {states} states, {events} events, k = {k}: {said} words"
        );
        assert!(said > states, "{name}: {said} words");
    }
}

/// What a thread says.
struct Saying {
    since: Instant,
    /// Up to what it waits for.
    word: Vec<usize>,
    state: usize,
}

impl Default for Saying {
    fn default() -> Self {
        Self { since: Instant::now(), word: Vec::new(), state: 0 }
    }
}

impl Saying {
    /// Ends the process: nobody can end a thread that hangs, and the scope waits for all.
    fn end_if_it_hangs(&self, held: &Held<'_>, machine: &Machine) {
        if self.since.elapsed() < PATIENCE / 10 {
            return;
        }
        let text = said(held, machine, &self.word, self.state);
        // The macros would leave the text to a test that does not end.
        let _ = writeln!(io::stderr(), "\nit hangs, in a test of the table: {text}");
        std::process::exit(101);
    }
}

/// What was said to an end, and in which state it was before the last.
fn said(held: &Held<'_>, machine: &Machine, word: &[usize], state: usize) -> String {
    let Held { name, role, agreed, .. } = held;
    let names: Vec<_> = word.iter().map(|event| machine.events[*event].name).collect();
    let (said, state) = (names.join(" | "), machine.states[state]);
    format!("{name}, {role}, deflate {agreed}\n  said: {said}\n  in: {state}")
}

struct Talk<'a> {
    held: &'a Held<'a>,
    machine: &'a Machine,
    saying: &'a Mutex<Saying>,
    /// The bytes of each member of each event.
    bytes: Vec<Vec<Vec<u8>>>,
    seen: Seen,
    sent: Vec<(u8, Vec<u8>)>,
    so_far: SoFar,
}

/// What a conversation has brought so far, as the table has it.
#[derive(Clone, Default)]
struct SoFar {
    /// Of the peer's message.
    content: Vec<u8>,
    text: bool,
    /// Of our message in chunks, and its compressed fragments.
    ours: Vec<u8>,
    deflated: Option<Vec<u8>>,
    /// No receiving half is left, which would know of the end.
    unread: bool,
    peer_close: Option<u16>,
    our_close: Option<u16>,
    cut: Option<bool>,
}

impl<'a> Talk<'a> {
    fn new(held: &'a Held<'a>, machine: &'a Machine, saying: &'a Mutex<Saying>) -> Self {
        let bytes_of = |member: &Member| match member {
            Member::Frame(frame) => frame.bytes(held.role.other()),
            _ => Vec::new(),
        };
        let bytes = machine.events.iter().map(|event| event.members.iter().map(bytes_of).collect());
        Self {
            held,
            machine,
            saying,
            bytes: bytes.collect(),
            seen: Seen::default(),
            sent: Vec::new(),
            so_far: SoFar::default(),
        }
    }

    fn all<E: End>(
        mut self,
        suite: &Suite,
        (thread, threads): (usize, usize),
        make: &impl Fn() -> E,
    ) -> (usize, BTreeMap<(usize, usize), String>) {
        let held = self.held;
        let members = self.machine.events.iter().map(|event| event.members.len());
        let most = members.max().unwrap_or_default();
        let (mut said, mut wrong) = (0, BTreeMap::new());
        let mut say = |word: &[usize]| {
            // The members take turns: in a long word there is one of each, in a short one all.
            let turns = if word.len() <= 3 { most } else { 1 };
            for turn in 0..turns {
                let tries = if held.real_time { 3 } else { 1 }; // of which one has to go well
                let went = (0..tries).try_fold(None, |_, _| {
                    self.begin(&[], 0);
                    self.say(word, said + turn, &mut make()).err().map(Some)
                });
                if let Some((at, why)) = went.flatten().filter(|_| wrong.len() < MOST) {
                    wrong.entry(at).or_insert(why);
                }
            }
            said += 1;
        };
        match held.words {
            None => suite.run(held.k, (thread, threads), say),
            Some(words) => {
                let mut rng = Rng::new(thread as u64);
                for _ in 0..words / threads {
                    say(&suite.some(held.k, |n| rng.below(n)));
                }
            }
        }
        (said, wrong)
    }

    /// What comes now may hang.
    fn begin(&self, word: &[usize], state: usize) {
        let mut saying = self.saying.lock().unwrap();
        saying.since = Instant::now();
        saying.word.clear();
        saying.word.extend_from_slice(word);
        saying.state = state;
    }

    /// Says a word. The error is what went wrong first, and at which state and event.
    fn say<E: End>(
        &mut self,
        word: &[usize],
        turn: usize,
        end: &mut E,
    ) -> Result<(), ((usize, usize), String)> {
        let machine = self.machine;
        self.so_far = SoFar::default();
        let (mut state, mut expected) = (0, 0);
        let mut group = Vec::new();
        for (at, event) in word.iter().enumerate() {
            let member = (turn + at) % machine.events[*event].members.len();
            group.push((*event, member));
            let arrives = |event: usize| machine.events[event].arrives();
            let answers = &machine.at(expected, *event).answers[member];
            expected = answers[answers.len() - 1].next;
            // Which of two right answers it was shows at once, or not.
            let one = answers.iter().all(|answer| answer.next == expected);
            let goes_on = one && arrives(*event) && !ends(machine.events[*event]);
            let on = goes_on && word.get(at + 1).is_some_and(|next| arrives(*next));
            if !(self.held.joined && on) {
                self.begin(&word[..=at], state);
                match self.step(state, &group, end) {
                    Ok(next) => (state, expected) = (next, next),
                    Err((state, why)) => {
                        let why = self.report(&word[..=at], turn, (state, &group), &why);
                        return Err(((state, *event), why));
                    }
                }
                group.clear();
            }
        }
        Ok(())
    }

    /// Events that happen at once, and what they have to lead to.
    fn step<E: End>(
        &mut self,
        at: usize,
        group: &[(usize, usize)],
        end: &mut E,
    ) -> Result<usize, (usize, String)> {
        let machine = self.machine;
        self.seen.delivered.clear();
        self.seen.wire.clear();
        self.seen.fin = false;
        self.seen.dropped = false;
        self.seen.error = None;
        self.seen.closed = None;
        let mut returned = Ok(());
        let mut at_once = Vec::new();
        let state = machine.states[at];
        for (event, member) in group {
            let (event, bytes) = (machine.events[*event], &self.bytes[*event][*member]);
            if let Member::Call(call) = &event.members[*member] {
                let chunk = Chunk {
                    text: match (event.kind, state.sending.split_once(" chunks")) {
                        ("chunk..", _) => call.text,
                        ("chunk other", Some((kind, _))) => kind != "text",
                        (_, Some((kind, _))) => kind == "text",
                        _ => false,
                    },
                    first: event.kind == "chunk..",
                    last: event.kind == "chunk ..last",
                };
                returned = end.calls(event, call, chunk);
                continue;
            }
            if state.receiving == "over" {
                continue; // there is no stream
            }
            at_once.extend_from_slice(bytes);
            if ends(event) {
                if !at_once.is_empty() {
                    end.arrives(&at_once);
                    at_once.clear();
                }
                end.ends(event.kind == "reset");
            }
        }
        if !at_once.is_empty() {
            end.arrives(&at_once);
        }
        let before = self.held.sockets.then(|| (Instant::now(), self.so_far.clone()));
        loop {
            end.settle(&mut self.seen);
            let error = self.seen.error;
            let dropped = self.seen.dropped;
            if let Err(error) = returned {
                self.seen.error.get_or_insert(error);
            }
            match (self.compare(at, group), &before) {
                (Err(_), Some((began, before))) if began.elapsed() < PATIENCE / 30 => {
                    self.so_far.clone_from(before);
                    self.seen.error = error;
                    self.seen.dropped = dropped;
                }
                (result, _) => return result,
            }
        }
    }

    /// The next state, if all that was seen is right.
    fn compare(
        &mut self,
        mut at: usize,
        group: &[(usize, usize)],
    ) -> Result<usize, (usize, String)> {
        let machine = self.machine;
        self.read().map_err(|why| (at, why))?;
        let (mut delivered, mut sent, mut drops) = (0, 0, false);
        let (mut from, mut last) = (at, &[][..]);
        for (event, member) in group {
            let step = machine.at(at, *event);
            self.follow(step, *member, machine.events[*event].kind, machine.states[at].receiving);
            let answers = &step.answers[*member];
            (from, last) = (at, answers);
            // Behind our Close a Pong may still be queued when a frame of the same read ends the
            // connection. Then nothing more is sent (§5.5.1, §7.1.7).
            let hurried = group.len() > 1
                && machine.states[at].sending == "closed"
                && self.seen.closed.is_some();
            let right = answers
                .iter()
                .find_map(|answer| Some((answer, self.is(answer, delivered, sent, hurried)?)));
            let (answer, n) = right.ok_or_else(|| (at, format!("expected {answers:?}")))?;
            delivered += usize::from(answer.delivers.is_some());
            sent += n;
            drops |= answer.drops;
            at = answer.next;
            self.note(answer);
        }
        let seen = &self.seen;
        let fin = usize::from(seen.fin && !drops);
        let more = delivered < seen.delivered.len() || sent < self.sent.len() + fin;
        if more || seen.error.is_some() || seen.dropped {
            return Err((from, format!("expected no more than {last:?}")));
        }
        self.check_end(at).map_err(|why| (at, why))?;
        Ok(at)
    }

    /// Reads what was written.
    fn read(&mut self) -> Result<(), String> {
        self.sent.clear();
        let mut wire = &self.seen.wire[..];
        while !wire.is_empty() {
            let (frame, n) = read_frame(wire).ok_or("a part of a frame was written")?;
            if frame.masked != (self.held.role == Role::Client) {
                return Err("a frame with the wrong mask bit was written".to_owned());
            }
            if n != frame_len(frame.payload.len(), frame.masked) {
                return Err("a length that is not in its shortest form was written".to_owned());
            }
            self.sent.push((frame.b0, frame.payload));
            wire = &wire[n..];
        }
        Ok(())
    }

    /// What a right answer brings to a message of the peer.
    fn follow(&mut self, step: &Move, member: usize, kind: &str, receiving: &str) {
        if step.begins {
            self.so_far.content.clear();
            self.so_far.text = kind.starts_with("text");
        }
        self.so_far.content.extend_from_slice(&step.adds[member]);
        self.so_far.unread |= kind == "drop receiving";
        if !ENDED.contains(&receiving) {
            self.so_far.cut = (receiving != "between").then_some(self.so_far.text);
        }
    }

    /// Whether this is the answer: then, how many frames it has sent, the FIN too.
    fn is(
        &mut self,
        answer: &Answer,
        delivered: usize,
        from: usize,
        hurried: bool,
    ) -> Option<usize> {
        let delivers = match (&answer.delivers, self.seen.delivered.get(delivered)) {
            (None, _) => true,
            (Some(Delivered::Message { text }), Some(Got::Message { text: of_text, payload })) => {
                text == of_text && *payload == self.so_far.content
            }
            (Some(Delivered::Ping(expected)), Some(Got::Ping(payload)))
            | (Some(Delivered::Pong(expected)), Some(Got::Pong(payload)))
            | (Some(Delivered::Close(expected)), Some(Got::Close(payload))) => expected == payload,
            _ => false,
        };
        let mut sent = from;
        for expected in &answer.sends {
            let sends = match self.sent.get(sent) {
                Some((first, payload)) => match expected {
                    Sent::Data(b0, data) => {
                        let frame = (*first, &payload[..]);
                        is_data(
                            self.held,
                            &mut self.so_far.ours,
                            &mut self.so_far.deflated,
                            (*b0, data),
                            frame,
                        )
                    }
                    Sent::Ping(expected) => *first == 0x89 && payload == expected,
                    Sent::Pong(expected) => *first == 0x8a && payload == expected,
                    Sent::Close(None) => *first == 0x88 && payload.is_empty(),
                    Sent::Close(Some(code)) => {
                        *first == 0x88 && payload.get(..2) == Some(&code.to_be_bytes())
                    }
                    Sent::Fin => false,
                },
                None => *expected == Sent::Fin && self.seen.fin && sent == self.sent.len(),
            };
            match (sends, expected) {
                (true, _) => sent += 1,
                (false, Sent::Pong(_)) if hurried => {}
                (false, _) => return None,
            }
        }
        let right = delivers
            && (answer.error.is_none() || answer.error == self.seen.error)
            && (!answer.drops || self.seen.dropped || self.held.sockets);
        right.then_some(sent - from)
    }

    /// Takes a right answer's error and end, and keeps what the end has to say of both Closes.
    fn note(&mut self, answer: &Answer) {
        if answer.error.is_some() {
            self.seen.error = None;
        }
        if answer.drops {
            self.seen.dropped = false;
        }
        if let Some(Delivered::Close(body)) = &answer.delivers {
            let code = body.first_chunk().map_or(1005, |code| u16::from_be_bytes(*code));
            self.so_far.peer_close = Some(code);
        }
        for sent in &answer.sends {
            if let Sent::Close(code) = sent {
                self.so_far.our_close = Some(code.unwrap_or(1005));
            }
        }
    }

    /// What an end says of itself, once receiving is over.
    fn check_end(&self, next: usize) -> Result<(), String> {
        let over = ENDED.contains(&self.machine.states[next].receiving);
        let expected = (over && !self.so_far.unread).then(|| Closed {
            code: self.so_far.peer_close.unwrap_or(1006),
            sent_code: self.so_far.our_close.unwrap_or(1006),
            clean: self.so_far.peer_close.is_some() && self.so_far.our_close.is_some(),
            cut: self.so_far.cut.filter(|_| self.so_far.peer_close.is_some()),
        });
        let closed = self.seen.closed;
        if closed.is_none() && self.held.terse {
            return Ok(());
        }
        (closed == expected).then_some(()).ok_or_else(|| format!("expected {expected:?}"))
    }

    fn report(
        &self,
        word: &[usize],
        turn: usize,
        (state, group): (usize, &[(usize, usize)]),
        why: &str,
    ) -> String {
        let machine = self.machine;
        let mut text = said(self.held, machine, word, state);
        let _ = write!(text, "\n  turn: {turn}");
        for (event, member) in group {
            let event = machine.events[*event];
            let _ = write!(text, "\n  at: {}, {:?}", event.name, event.members[*member]);
        }
        let Seen { delivered, fin, dropped, error, closed, .. } = &self.seen;
        let sent = &self.sent;
        let _ = write!(
            text,
            "\n  {why}\n  got: delivered {delivered:02x?}, sent {sent:02x?}, FIN {fin}, dropped {dropped}, error {error:?}, {closed:?}"
        );
        text
    }
}

/// Nothing follows it.
fn ends(event: &Event) -> bool {
    matches!(event.kind, "FIN" | "half FIN" | "reset")
}

/// Whether this is the data frame expected. A message in chunks may be compressed: then its content
/// is compared at its end.
fn is_data(
    held: &Held<'_>,
    ours: &mut Vec<u8>,
    deflated: &mut Option<Vec<u8>>,
    (b0, data): (u8, &[u8]),
    (first, payload): (u8, &[u8]),
) -> bool {
    let begins = b0 & 0x0f != 0;
    if begins {
        ours.clear();
        *deflated = (held.agreed && first & 0x40 != 0).then(Vec::new);
    }
    let Some(fragments) = deflated else { return (first, payload) == (b0, data) };
    ours.extend_from_slice(data);
    fragments.extend_from_slice(payload);
    let rsv1 = if begins { 0x40 } else { 0 };
    first == b0 | rsv1 && (b0 & 0x80 == 0 || (held.inflate)(fragments) == *ours)
}
