//! An end of this repository, held to the table of `conformance/cases/data/protocol.txt`: each word
//! of the W-method is said to a new end, and each answer is compared whole: what the application's
//! calls return, what is written, and what the end says of itself.
//!
//! It is here and not in `tests/support`, so that it is compiled once, and to run fast.
#![allow(missing_docs)] // most names are the table's
mod carriers;
#[allow(dead_code, unreachable_pub)] // it is a module of fuzz/ too
#[path = "../../references/inflating.rs"]
mod inflating;
pub mod returns;
mod shown;
pub mod suite;
mod words;

use crate::{
    PATIENCE,
    frames::{frame_len, read_frame},
    sampled,
};
use carriers::Carrier;
use returns::{PROFILES, Profile, Said, Value, called, received};
use shown::{hex, shown};
use std::{
    cell::Cell,
    collections::BTreeMap,
    fmt::Write as _,
    io::{self, Write as _},
    sync::{Mutex, mpsc},
    thread,
    time::{Duration, Instant},
};
use suite::Suite;
use words::Words;
use wsconform_cases::{
    Role,
    protocol::{Answer, Call, Delivered, Event, Frame, KEY, Machine, Member, Move, Sent, State},
};

/// An end, whoever drives it, and the stream that the table's peer holds.
pub trait End {
    /// These bytes of the peer arrive.
    fn arrives(&mut self, bytes: &[u8]);
    /// The peer's stream ends; if it is a reset, by an error.
    fn ends(&mut self, reset: bool);
    /// The application makes this call, as `profile` has it. `chunk`: the kind of the message that a
    /// chunk belongs to.
    fn calls(
        &mut self,
        event: &Event,
        call: &Call,
        chunk: Chunk,
        profile: Profile,
    ) -> Result<(), &'static str>;
    /// The stream takes nothing that is written from now on.
    fn refuses(&mut self) {
        unreachable!("it takes all")
    }
    /// A frame may come in several reads.
    fn is_cut(&self) -> bool {
        false
    }
    /// Frames that follow each other come in one read.
    fn is_joined(&self) -> bool {
        false
    }
    /// The stream takes nothing until what follows each other has been called.
    fn is_late(&self) -> bool {
        false
    }
    /// It answers each frame before it looks at the next one of the same read.
    fn answers_in_turn(&self) -> bool {
        false
    }
    /// Compressed messages of the peer, and of the end, may refer to earlier ones.
    fn takes_over(&self) -> [bool; 2] {
        [false; 2]
    }
    /// Does all that there is to do, until the end waits.
    fn settle(&mut self, profile: Profile, seen: &mut Seen);
}

/// What a chunk is of its message.
#[derive(Clone, Copy)]
pub struct Chunk {
    pub text: bool,
    pub first: bool,
    pub last: bool,
}

/// What an end did since the last look.
#[derive(Default)]
pub struct Seen {
    /// What its receiving calls returned.
    pub values: Vec<Value>,
    /// What it wrote.
    pub wire: Vec<u8>,
    /// It ended its side of the stream.
    pub fin: bool,
    /// It dropped the stream.
    pub dropped: bool,
    /// How it ended, once it has.
    pub closed: Option<Closed>,
    /// The same, before the stream took what was written, or let it go. None: it takes all at once.
    pub early: Option<Option<Closed>>,
    /// What each of the application's calls returned.
    pub returned: Vec<Result<(), &'static str>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Got {
    Message { text: bool, payload: Vec<u8> },
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(Vec<u8>),
}

/// RFC 6455 §7.1.4 to §7.1.6, and what an end says beyond.
#[derive(Clone, Debug, PartialEq)]
pub struct Closed {
    pub code: u16,
    pub reason: String,
    pub sent_code: u16,
    pub clean: bool,
    /// With which error receiving ended.
    pub error: Option<&'static str>,
    pub unconfirmed: bool,
    /// The kind of the message that the peer's Close cut: it is text.
    pub cut: Option<bool>,
}

/// Whether an end that answers a Close itself knows this event.
pub fn is_answered(event: &Event) -> bool {
    event.kind != "Close by hand"
}

/// Whether it does, and has no halves, which could be dropped.
pub fn is_of_a_whole(event: &Event) -> bool {
    is_answered(event) && !is_of_halves(event)
}

/// Whether what is written may be refused.
pub fn is_refusal(event: &Event) -> bool {
    event.kind == "write fails" || event.kind.ends_with(" refused")
}

/// Whether a write that was refused leads from one state to the other.
fn breaks(from: State, to: State) -> bool {
    let is_new = !from.sending.ends_with("broken");
    is_new && (to.sending.ends_with("broken") || to.receiving == "over")
}

pub fn is_of_halves(event: &Event) -> bool {
    ["drop sending", "drop receiving"].contains(&event.kind)
}

/// The states in which an end says how receiving ended.
const ENDED: [&str; 6] =
    ["unanswered", "unanswered cut", "unanswered reset", "ended", "waits", "over"];

/// The calls that do no more than queue a frame.
const QUEUED: [&str; 7] =
    ["send", "chunk..", "chunk ..more", "chunk ..last", "send Ping", "send Pong", "close"];

/// A text alone, and behind a message that has ended with it: RFC 7692 §7.2.3.1 and §7.2.3.2.
const HELLO: [u8; 7] = [0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00];
const HELLO_AGAIN: [u8; 5] = [0xf2, 0x00, 0x11, 0x00, 0x00];

/// An end compresses whole messages of so many bytes by default. Where they may refer to earlier
/// ones, it is asked to compress each, if that makes it shorter.
const COMPRESSED_FROM: usize = 128;

/// With which the peer masks, in turn.
const KEYS: [[u8; 4]; 3] = [KEY, [0; 4], [0x00, 0xff, 0x7f, 0x80]];

/// How many states and events that went wrong are told.
const MOST: usize = 8;

/// What is held to the table, and how far.
pub struct Held<'a> {
    pub name: &'a str,
    pub role: Role,
    /// To permessage-deflate.
    pub agreed: bool,
    /// Which events there are.
    pub may: fn(&Event) -> bool,
    /// By which names `carriers.txt` has what it does otherwise, beside `joined`. All rows of these
    /// names have to be needed.
    pub rows: &'a [&'static str],
    /// How its application uses it: word n by one of these, in turn.
    pub profiles: [Profile; PROFILES],
    /// Where the turn begins, so that not all ends meet a word by the same profile.
    pub carrier: usize,
    /// The words that say each rule by each profile, and of the others which one of so many:
    /// several ends share the words, or few are said.
    pub turns: (usize, usize),
    /// How many further states the words reach: `PROTOCOL_K` in the environment, or 1 with all tests.
    /// None: the words of `cargo test`.
    pub k: Option<usize>,
    /// Which of so many parts of them are said: `PROTOCOL_SLICE`, as 3/60, or all.
    pub slice: (usize, usize),
    /// Its profile may change within a word.
    pub changes: bool,
    /// In which states each member of each event is said, and not only each event.
    pub members: fn(State) -> bool,
    /// The clock is real: so a second may pass between two events, and end what waits for a FIN.
    pub real_time: bool,
    /// What an end does shows after a while.
    pub sockets: bool,
}

impl<'a> Held<'a> {
    /// A whole end that does all as the table has it, and shows it at once.
    pub fn new(name: &'a str, profiles: [Profile; PROFILES], (role, agreed): (Role, bool)) -> Self {
        let k = std::env::var("PROTOCOL_K").map(|k| k.parse().unwrap());
        let slice = std::env::var("PROTOCOL_SLICE").map(|slice| {
            let (slice, slices) = slice.split_once('/').unwrap();
            (slice.parse().unwrap(), slices.parse().unwrap())
        });
        Self {
            name,
            role,
            agreed,
            may: is_of_a_whole,
            rows: &[],
            profiles,
            carrier: 0,
            turns: (0, 1),
            k: k.ok().or(sampled(Some(1), None)),
            slice: slice.unwrap_or((0, 1)),
            changes: false,
            members: |_| false,
            real_time: false,
            sockets: false,
        }
    }

    /// The machine and its words, which are made once.
    fn made(&self) -> &'static Made {
        type Known = BTreeMap<(Role, bool, usize), &'static Made>;
        static MADE: Mutex<Known> = Mutex::new(BTreeMap::new());
        let mut made = MADE.lock().unwrap();
        made.entry((self.role, self.agreed, self.may as usize)).or_insert_with(|| {
            let machine = Machine::new(self.role, self.agreed, self.may);
            let suite = Suite::new(&machine);
            let words = Words::new(&machine, &suite);
            let bytes = KEYS.map(|key| self.bytes(&machine, key));
            Box::leak(Box::new(Made { machine, suite, words, bytes }))
        })
    }

    /// What of the peer arrives, for each member of each event.
    fn bytes(&self, machine: &Machine, key: [u8; 4]) -> Bytes {
        let of_member = |member: &Member| match member {
            Member::Frame(frame) => frame.bytes_by(self.role.other(), key),
            _ => Vec::new(),
        };
        let events = machine.events.iter();
        events.map(|event| event.members.iter().map(of_member).collect()).collect()
    }

    /// Says the words, in a thread for each processor, to ends that `make` makes for the number of a
    /// word.
    #[track_caller]
    pub fn hold<E: End + 'static>(&self, make: impl Fn(usize) -> E + Sync) {
        self.hold_each(&|number| Box::new(make(number)));
    }

    #[track_caller]
    fn hold_each(&self, make: &Make<'_>) {
        let made = self.made();
        let machine = &made.machine;
        let carrier = Carrier::new(self.rows, machine);
        let threads = thread::available_parallelism().map_or(1, usize::from);
        let saying: Vec<_> = (0..threads).map(|_| Mutex::new(Saying::default())).collect();
        let told = thread::scope(|scope| {
            let (ends, ended) = mpsc::channel::<()>();
            let talks = saying.iter().enumerate().map(|(thread, saying)| {
                let talk = Talk::new(self, made, &carrier, saying);
                let ends = ends.clone();
                scope.spawn(move || {
                    let _ends = ends;
                    talk.all((thread, threads), make)
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
            let mut told = Told::default();
            talks.into_iter().for_each(|talk| told.add(talk.join().unwrap()));
            told
        });
        let wrong: Vec<_> = told.wrong.into_values().take(MOST).collect();
        assert!(wrong.is_empty(), "not as the table has it:\n{}", wrong.join("\n"));
        let (states, events) = (machine.states.len(), machine.events.len());
        let k = self.k.unwrap_or_default();
        let Self { name, role, agreed, .. } = *self;
        let Told { said, again, needed, .. } = told;
        println!(
            "{name}, {role}, deflate {agreed}: {states} states, {events} events, k = {k}: {said} words, {again} of them again"
        );
        if self.slice.1 > 1 {
            return; // a part of the words need not meet every rule, nor every row
        }
        assert!(said > states, "{name}: {said} words");
        let rules = told.rules.iter().enumerate();
        let missed: Vec<_> =
            rules.filter(|(_, profiles)| ![0, u8::MAX].contains(*profiles)).collect();
        assert!(missed.is_empty(), "{name}: rules not said by each profile: {missed:?}");
        let idle = carrier.idle(self.rows, needed, role == Role::Client);
        assert!(
            idle.is_empty(),
            "{name}: rows without which all is the same:\n{}",
            idle.join("\n")
        );
    }
}

/// Makes an end for the number of a word.
type Make<'a> = dyn Fn(usize) -> Box<dyn End> + Sync + 'a;

type Bytes = Vec<Vec<Vec<u8>>>;

struct Made {
    machine: Machine,
    suite: Suite,
    words: Words,
    /// For each key.
    bytes: [Bytes; KEYS.len()],
}

/// What came of all words.
#[derive(Default)]
struct Told {
    said: usize,
    /// Said again, because the clock stood still.
    again: usize,
    wrong: BTreeMap<(usize, usize), String>,
    /// By which profiles each rule was said; 0: it never was.
    rules: Vec<u8>,
    /// Which rows of the end's have made a difference.
    needed: u32,
}

impl Told {
    fn add(&mut self, other: Self) {
        self.said += other.said;
        self.again += other.again;
        self.wrong.extend(other.wrong);
        self.needed |= other.needed;
        let all = self.rules.len().max(other.rules.len());
        self.rules.resize(all, 0);
        self.rules.iter_mut().zip(other.rules).for_each(|(here, there)| *here |= there);
    }
}

/// What a thread says.
struct Saying {
    since: Instant,
    /// Up to what it waits for.
    word: Vec<(usize, usize)>,
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
fn said(held: &Held<'_>, machine: &Machine, word: &[(usize, usize)], state: usize) -> String {
    let Held { name, role, agreed, .. } = held;
    let names: Vec<_> = word.iter().map(|(event, _)| machine.events[*event].name).collect();
    let (said, state) = (names.join(" | "), machine.states[state]);
    format!("{name}, {role}, deflate {agreed}\n  said: {said}\n  in: {state}")
}

struct Talk<'a> {
    held: &'a Held<'a>,
    made: &'a Made,
    machine: &'a Machine,
    carrier: &'a Carrier,
    saying: &'a Mutex<Saying>,
    key: usize,
    profile: Profile,
    /// Each step has another one.
    changes: bool,
    cut: bool,
    in_turn: bool,
    /// Messages of the peer, and of the end, may refer to earlier ones.
    takes_over: [bool; 2],
    seen: Seen,
    /// How many of its calls have been compared.
    called: usize,
    sent: Vec<(u8, Vec<u8>)>,
    so_far: SoFar,
    /// What the receiving calls had to return last.
    values: Vec<Value>,
    /// The rules of the right answers, and the rows.
    rules: Vec<usize>,
    needed: u32,
}

/// What a conversation has brought so far, as the table has it.
#[derive(Clone, Default)]
pub struct SoFar {
    /// Of the peer's message.
    content: Vec<u8>,
    text: bool,
    compressed: bool,
    /// The event is a frame of it.
    goes_on: bool,
    /// So many bytes of it were handed out in chunks.
    handed: Option<usize>,
    /// The rest of it is not handed out.
    skips: bool,
    /// What our message in chunks has brought, its compressed fragments, and what they may refer to.
    ours: Vec<u8>,
    deflated: Option<Vec<u8>>,
    inflater: inflating::Stream,
    /// The last compressed message of the peer is `HELLO`.
    is_hello: bool,
    /// No receiving half is left, which would know of the end; no sending half.
    unread: bool,
    unsent: bool,
    /// The body of the peer's Close, and of ours.
    peer_close: Option<&'static [u8]>,
    our_close: Option<Vec<u8>>,
    /// With which error receiving ended.
    error: Option<&'static str>,
    /// The peer has reset the stream.
    reset: bool,
    cut: Option<bool>,
    /// A `close` waits, or a `leave`.
    waits: Option<bool>,
    /// The stream has refused a write, and no call has returned that.
    refused: Option<&'static str>,
    /// It does not say how it ended, by this row.
    silent: Option<u32>,
    is_client: bool,
    /// A receiving call has returned the end.
    told: bool,
    /// So many bytes came behind the peer's Close.
    behind: usize,
}

/// How far the values were compared: so many whole, and so many bytes of the next, a chunk.
#[derive(Clone, Copy, Default)]
struct Cursor {
    value: usize,
    byte: usize,
}

impl<'a> Talk<'a> {
    fn new(
        held: &'a Held<'a>,
        made: &'a Made,
        carrier: &'a Carrier,
        saying: &'a Mutex<Saying>,
    ) -> Self {
        Self {
            held,
            made,
            machine: &made.machine,
            carrier,
            saying,
            key: 0,
            profile: held.profiles[0],
            cut: false,
            in_turn: false,
            takes_over: [false; 2],
            called: 0,
            seen: Seen::default(),
            sent: Vec::new(),
            so_far: SoFar::default(),
            values: Vec::new(),
            rules: Vec::new(),
            needed: 0,
            changes: false,
        }
    }

    fn all(mut self, (thread, threads): (usize, usize), make: &Make<'_>) -> Told {
        let mut told = Told::default();
        if let Some(k) = self.held.k {
            let (slice, slices) = self.held.slice;
            let part = (slice * threads + thread, slices * threads);
            if slices == 1 {
                self.by_each_profile(part, make, &mut told);
            }
            self.each_of(k, part, make, &mut told);
            told.needed = self.needed;
            return told;
        }
        let words = &self.made.words;
        let mut word = Vec::new();
        let members = |state: usize| (self.held.members)(self.machine.states[state]);
        let chosen = words.chosen(self.held.turns, members);
        for at in chosen.skip(thread).step_by(threads) {
            let (events, number) = words.get(at);
            word.clear();
            word.extend(events);
            self.word(&word, number, make, &mut told);
            if self.enough(&told) {
                break;
            }
        }
        told.needed = self.needed;
        told
    }

    /// Says each transition by each profile, and all words of k = 0 by profiles of which each step has
    /// another: an adapter keeps state between its calls.
    fn by_each_profile(&mut self, part: (usize, usize), make: &Make<'_>, told: &mut Told) {
        let made = self.made;
        let mut word = Vec::new();
        made.suite.transitions(part, |events| {
            word.clear();
            word.extend(events.iter().map(|event| (*event, 0)));
            for number in 0..PROFILES {
                if !self.enough(told) {
                    self.word(&word, number, make, told);
                }
            }
        });
        self.changes = true;
        let words = &made.words;
        let turns = if self.held.changes { usize::MAX } else { 0 };
        for at in words.chosen((0, 1), |_| false).take(turns).skip(part.0).step_by(part.1) {
            let (events, number) = words.get(at);
            word.clear();
            word.extend(events);
            if !self.enough(told) {
                self.word(&word, number, make, told);
            }
        }
        self.changes = false;
    }

    /// Says all words of k; each member in a short one, in a long one the members take turns.
    fn each_of(&mut self, k: usize, part: (usize, usize), make: &Make<'_>, told: &mut Told) {
        let members = self.machine.events.iter().map(|event| event.members.len());
        let most = members.max().unwrap_or_default();
        let mut number = part.0;
        let mut word = Vec::new();
        self.made.suite.run(k, part, |events| {
            for turn in 0..if events.len() <= 3 { most } else { 1 } {
                word.clear();
                word.extend(events.iter().enumerate().map(|(at, event)| {
                    (*event, (number + turn + at) % self.machine.events[*event].members.len())
                }));
                if !self.enough(told) {
                    self.word(&word, number + turn, make, told);
                }
            }
            number += 1;
        });
    }

    /// Whether a stream that takes all of these calls at once gets all that they queue. Of waiting
    /// Pings an end sends the last, and behind a Close nothing is queued.
    fn is_queued(&self, calls: &[(usize, usize)]) -> bool {
        let mut kinds = Vec::new();
        let [before @ .., _] = calls else { return false };
        calls.iter().all(|(number, member)| {
            let event = self.machine.events[*number];
            let is_new = !kinds.contains(&event.kind) || event.kind == "send";
            kinds.push(event.kind);
            let is_short =
                matches!(&event.members[*member], Member::Call(call) if call.payload.len() < 99);
            is_new && is_short && QUEUED.contains(&event.kind) && event.name != "abort"
        }) && before.iter().all(|(number, _)| self.machine.events[*number].kind != "close")
    }

    fn enough(&self, told: &Told) -> bool {
        // Over sockets each wrong word takes long to be known as one.
        told.wrong.len() >= if self.held.sockets { 1 } else { MOST }
    }

    /// Says a word to a new end, and again if the clock stood still.
    fn word(&mut self, word: &[(usize, usize)], number: usize, make: &Make<'_>, told: &mut Told) {
        self.key = number / PROFILES / 15 % KEYS.len();
        told.said += 1;
        for last in [false, false, true] {
            self.begin(&[], 0);
            self.rules.clear();
            let began = Instant::now();
            let Err((at, why, took)) = self.say(word, number, began, &mut *make(number)) else {
                break;
            };
            // Over sockets the wrong step itself waits long for what does not come.
            let took = if self.held.sockets { took } else { began.elapsed() };
            let stood_still = self.held.real_time && took > Duration::from_millis(500);
            if last || !stood_still {
                told.wrong.entry(at).or_insert(why);
                break;
            }
            told.again += 1;
        }
        let profile = (number + self.held.carrier) % PROFILES;
        for rule in self.rules.iter().filter(|_| !self.changes) {
            if told.rules.len() <= *rule {
                told.rules.resize(rule + 1, 0);
            }
            told.rules[*rule] |= 1 << profile;
        }
    }

    /// What comes now may hang.
    fn begin(&self, word: &[(usize, usize)], state: usize) {
        let mut saying = self.saying.lock().unwrap();
        saying.since = Instant::now();
        saying.word.clear();
        saying.word.extend_from_slice(word);
        saying.state = state;
    }

    /// Says a word. The error is what went wrong first, at which state and event, and how long all
    /// before that has taken.
    fn say(
        &mut self,
        word: &[(usize, usize)],
        number: usize,
        began: Instant,
        end: &mut dyn End,
    ) -> Result<(), ((usize, usize), String, Duration)> {
        let machine = self.machine;
        let is_client = self.held.role == Role::Client;
        self.cut = end.is_cut();
        self.in_turn = end.answers_in_turn();
        self.takes_over = end.takes_over();
        self.so_far = SoFar { is_client, ..SoFar::default() };
        let (mut state, mut expected) = (0, 0);
        let mut from = 0;
        for (at, (event, member)) in word.iter().enumerate() {
            let arrives = |event: usize| machine.events[event].arrives();
            let answers = &machine.at(expected, *event).answers[*member];
            expected = answers[answers.len() - 1].next;
            // Which of two right answers it was shows at once, or not.
            let one = answers.iter().all(|answer| answer.next == expected);
            let alone = |event: usize, member: usize| is_refused(machine.events[event], member);
            let goes_on = one && arrives(*event) && !ends(machine.events[*event]);
            let on = end.is_joined()
                && goes_on
                && !alone(*event, *member)
                && word.get(at + 1).is_some_and(|(it, which)| {
                    let fits =
                        |(it, which): &(usize, usize)| self.made.bytes[0][*it][*which].len() < 99;
                    let fits = word[from..=at + 1].iter().all(fits);
                    let is_reset = machine.events[*it].kind == "reset";
                    fits && at < from + 4 && arrives(*it) && !is_reset && !alone(*it, *which)
                });
            let is_queued = |next| self.is_queued(next);
            let on = on || (end.is_late() && one && word.get(from..at + 2).is_some_and(is_queued));
            if !on {
                self.begin(&word[..=at], state);
                let took = began.elapsed();
                let group = &word[from..=at];
                let turn = number + self.held.carrier + if self.changes { from } else { 0 };
                self.profile = self.held.profiles[turn % PROFILES];
                match self.step(state, group, end) {
                    Ok(next) => (state, expected) = (next, next),
                    Err((state, why)) => {
                        let why = self.report(&word[..=at], (state, group), &why);
                        return Err(((state, *event), why, took));
                    }
                }
                from = at + 1;
            }
        }
        Ok(())
    }

    /// Events that happen at once, and what they have to lead to.
    fn step(
        &mut self,
        at: usize,
        group: &[(usize, usize)],
        end: &mut dyn End,
    ) -> Result<usize, (usize, String)> {
        let machine = self.machine;
        self.seen.values.clear();
        self.seen.wire.clear();
        self.seen.fin = false;
        self.seen.dropped = false;
        self.seen.closed = None;
        self.seen.returned.clear();
        self.seen.early = None;
        let mut at_once = Vec::new();
        let state = machine.states[at];
        let mut here = at;
        for (number, member) in group {
            let event = machine.events[*number];
            let bytes = &self.made.bytes[self.key][*number][*member];
            let before = here;
            let step = machine.at(here, *number);
            here = step.next();
            if let Member::Call(call) = &event.members[*member] {
                let chunk = Chunk {
                    text: match (event.kind, machine.states[before].sending.split_once(" chunks")) {
                        ("chunk..", _) => call.text,
                        ("chunk other", Some((kind, _))) => kind != "text",
                        (_, Some((kind, _))) => kind == "text",
                        _ => false,
                    },
                    first: event.kind == "chunk..",
                    last: event.kind == "chunk ..last",
                };
                self.seen.returned.push(end.calls(event, call, chunk, self.profile));
                continue;
            }
            if state.receiving == "over" || step.out_of_place {
                continue; // there is no stream
            }
            // Where nothing is answered, nothing is to be refused.
            let states = &machine.states;
            if is_refused(event, *member) && breaks(states[before], states[here]) {
                end.refuses();
            }
            match &event.members[*member] {
                Member::Frame(frame) if self.is_again(frame, states[before]) => {
                    let frame = Frame { payload: HELLO_AGAIN.to_vec(), ..frame.clone() };
                    at_once.extend(frame.bytes_by(self.held.role.other(), KEYS[self.key]));
                }
                _ => at_once.extend_from_slice(bytes),
            }
            self.so_far.behind += if state.receiving == "waits" { bytes.len() } else { 0 };
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
        let rules = self.rules.len();
        loop {
            end.settle(self.profile, &mut self.seen);
            match (self.compare(at, group), &before) {
                (Err(_), Some((began, before))) if began.elapsed() < PATIENCE / 30 => {
                    self.so_far.clone_from(before);
                    self.rules.truncate(rules);
                }
                (result, _) => return result,
            }
        }
    }

    /// Whether a frame is the same compressed text as the peer's last compressed message.
    fn is_again(&self, frame: &Frame, state: State) -> bool {
        let [takes_over, _] = self.takes_over;
        let SoFar { is_hello, .. } = self.so_far;
        takes_over && is_hello && state.receiving == "between" && frame.payload == HELLO
    }

    /// The next state, if all that was seen is right.
    fn compare(
        &mut self,
        mut at: usize,
        group: &[(usize, usize)],
    ) -> Result<usize, (usize, String)> {
        let machine = self.machine;
        self.read().map_err(|why| (at, why))?;
        self.in_the_order_of_calls(at, group).map_err(|why| (at, why))?;
        self.called = 0;
        let has_closed = self.so_far.our_close.is_some();
        let (mut values, mut sent, mut drops) = (Cursor::default(), 0, false);
        let (mut from, mut last) = (at, &[][..]);
        let over = self.is_over_by_a_frame(at, group);
        for (this, member) in group {
            let step = machine.at(at, *this);
            let event = machine.events[*this];
            self.follow(step, *member, event, machine.states[at].receiving);
            let answers = &step.answers[*member];
            (from, last) = (at, answers);
            let right = answers.iter().find_map(|answer| {
                let so_far = (answers.len() > 1).then(|| self.so_far.clone());
                let n = self.is((at, *this, *member), answer, (values, sent), over);
                if let (None, Some(so_far)) = (&n, so_far) {
                    self.so_far = so_far;
                }
                Some((answer, n?))
            });
            let Some((answer, (got, n, dropped))) = right else {
                return Err((at, self.expected(answers)));
            };
            values = got;
            sent += n;
            drops |= dropped;
            at = answer.next;
            self.called += usize::from(!event.arrives());
            self.rules.push(answer.rule);
        }
        let seen = &self.seen;
        let fin = usize::from(seen.fin && !drops);
        let more = values.value < seen.values.len() || sent < self.sent.len() + fin;
        if more || (seen.dropped && !drops) {
            return Err((from, format!("no more than that: {}", self.expected(last))));
        }
        self.check_end(at, has_closed).map_err(|why| (at, why))?;
        Ok(at)
    }

    /// Control frames leave first of what several calls have queued.
    fn in_the_order_of_calls(
        &mut self,
        mut at: usize,
        group: &[(usize, usize)],
    ) -> Result<(), String> {
        let machine = self.machine;
        if group.len() < 2 || machine.events[group[0].0].arrives() {
            return Ok(());
        }
        let is_control = |(first, _): &(u8, Vec<u8>)| matches!(first, 0x89 | 0x8a);
        let has_waited = |sent: &[(u8, Vec<u8>)]| {
            let mut behind = sent.iter().skip_while(|sent| is_control(sent));
            behind.any(is_control)
        };
        let needed = Cell::new(0);
        let overtakes = !has_waited(&self.sent);
        let mut left = std::mem::take(&mut self.sent);
        let mut expected = Vec::new();
        for (number, (event, member)) in group.iter().enumerate() {
            let answers = &machine.at(at, *event).answers[*member];
            let [answer, ..] = &answers[..] else { continue };
            let said = Said {
                profile: self.profile,
                event: machine.events[*event],
                from: machine.states[at],
                to: machine.states[answer.next],
                answer,
                over_in_this_read: false,
                rows: self.carrier.at(at, *event, &needed),
            };
            at = answer.next;
            expected.extend(answer.sends.iter().filter(|sent| **sent != Sent::Fin));
            let leaves = said.instead("leaves", &self.so_far, false, |_| true);
            if !leaves && number + 1 < group.len() {
                continue;
            }
            let behind = left.split_off(expected.len().min(left.len()));
            if has_waited(&left) {
                return Err("a control frame has waited for a message".to_owned());
            }
            for sent in expected.drain(..) {
                let is_it = |(first, _): &(u8, Vec<u8>)| match sent {
                    Sent::Ping(_) => *first == 0x89,
                    Sent::Pong(_) => *first == 0x8a,
                    _ => !matches!(first, 0x89 | 0x8a),
                };
                let found = left.iter().position(is_it).map(|found| left.remove(found));
                self.sent.extend(found);
            }
            self.sent.append(&mut left);
            left = behind;
        }
        self.sent.append(&mut left);
        self.needed |= if overtakes { 0 } else { needed.get() };
        Ok(())
    }

    /// Whether one of several frames that come at once ends the connection.
    fn is_over_by_a_frame(&self, at: usize, group: &[(usize, usize)]) -> bool {
        let machine = self.machine;
        match group {
            [] | [_] => false,
            _ if self.in_turn => false,
            [(first, _), ..] if !machine.events[*first].arrives() => false,
            [frames @ .., (last, _)] if ends(machine.events[*last]) => {
                let next = |at: usize, (event, _): &(usize, usize)| machine.at(at, *event).next();
                ENDED.contains(&machine.states[frames.iter().fold(at, next)].receiving)
            }
            _ => self.seen.closed.is_some(),
        }
    }

    fn expected(&self, answers: &[Answer]) -> String {
        let told: Vec<_> = answers.iter().map(|answer| shown(self.machine, answer)).collect();
        let values: Vec<_> = self.values.iter().map(ToString::to_string).collect();
        format!("expected: {} ({})", told.join("; or "), values.join(", "))
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
    fn follow(&mut self, step: &Move, member: usize, event: &Event, receiving: &str) {
        let kind = event.kind;
        if step.begins {
            self.so_far.compressed = event.deflated && self.held.agreed;
            self.so_far.content.clear();
            self.so_far.handed = None;
            self.so_far.skips = false;
            self.so_far.text = kind.starts_with("text");
        }
        self.so_far.content.extend_from_slice(step.adds[member]);
        self.so_far.goes_on = step.begins || kind.starts_with("..");
        self.so_far.reset |= kind == "reset" && !ENDED.contains(&receiving);
        self.so_far.unread |= kind == "drop receiving";
        self.so_far.unsent |= kind == "drop sending";
        if !ENDED.contains(&receiving) {
            self.so_far.cut = (receiving != "between").then_some(self.so_far.text);
        }
    }

    /// Whether this is the answer: then, how far the values have been compared, how many frames it
    /// has sent, the FIN too, and whether the stream is dropped.
    fn is(
        &mut self,
        (at, event, member): (usize, usize, usize),
        answer: &Answer,
        (values, from): (Cursor, usize),
        over_in_this_read: bool,
    ) -> Option<(Cursor, usize, bool)> {
        let machine = self.machine;
        let needed = Cell::new(0);
        let said = Said {
            profile: self.profile,
            event: machine.events[event],
            from: machine.states[at],
            to: machine.states[answer.next],
            answer,
            over_in_this_read,
            rows: self.carrier.at(at, event, &needed),
        };
        let event = said.event;
        let reason = match &event.members[member] {
            Member::Call(call) => &call.payload[..],
            _ => &[],
        };
        let mut sent = from;
        let ends_stream = said.instead("stream", &self.so_far, true, |_| false);
        for expected in &answer.sends {
            let sends = match (self.sent.get(sent), expected) {
                (None, Sent::Fin) if !ends_stream => continue,
                (None, Sent::Fin) => self.seen.fin && sent == self.sent.len(),
                (None, _) => false,
                (Some((first, payload)), expected) => match expected {
                    Sent::Data(b0, data) => {
                        let frame = (*first, &payload[..]);
                        let takes_over = self.held.agreed.then_some(self.takes_over[1]);
                        is_data(takes_over, &mut self.so_far, (*b0, data), frame)
                    }
                    Sent::Ping(expected) => *first == 0x89 && payload == expected,
                    Sent::Pong(expected) => *first == 0x8a && payload == expected,
                    Sent::Close(code) => *first == 0x88 && *payload == body(*code, reason),
                    Sent::Fin => false,
                },
            };
            if said.instead("sends", &self.so_far, true, |_| false) {
                sent += usize::from(sends);
                sends.then_some(())?;
            } else {
                assert!(said.may_differ(), "{}: a must", event.name);
            }
            if let Sent::Close(code) = expected {
                self.so_far.our_close = Some(body(*code, reason));
            }
        }
        if let Some(Delivered::Close(body)) = &answer.delivers {
            self.so_far.peer_close = Some(body);
        }
        if let Some(Delivered::Message { .. }) = &answer.delivers
            && self.so_far.compressed
        {
            // Not behind a last block, which ends the peer's stream of DEFLATE data.
            let member = &event.members[member];
            self.so_far.is_hello = matches!(member, Member::Frame(it) if it.payload == HELLO);
        }
        let mut got = values;
        if let Some(error) =
            answer.error.filter(|error| event.arrives() || *error == "failed by us")
        {
            self.so_far.error = Some(error);
            if self.seen.closed.as_ref().is_some_and(|closed| closed.error != Some(error)) {
                return None; // another of the right answers
            }
        }
        let fails = answer.error.is_some_and(|error| ["bad UTF-8", "bad DEFLATE"].contains(&error));
        if (self.cut && fails) || self.so_far.compressed {
            got = self.in_parts(got);
        }
        let returned = self.seen.returned.get(self.called).copied();
        if !event.arrives() && returned != Some(called(&said, &self.so_far)) {
            return None;
        }
        self.values = received(&said, &mut self.so_far);
        for value in &self.values {
            got = self.got(got, value)?;
        }
        let drops = answer.drops && ends_stream;
        if drops && !self.seen.dropped {
            return None;
        }
        let silent = said.bit("closed()", &self.so_far);
        self.so_far.silent = self.so_far.silent.or(silent);
        self.needed |= needed.get();
        Some((got, sent - from, drops))
    }

    /// Where the values go on behind some chunks of the message. Whoever reads a part of a frame may
    /// hand that out, before the rest breaks a rule; and an inflater may hold back how much it wants
    /// until the message ends.
    fn in_parts(&mut self, mut at: Cursor) -> Cursor {
        let SoFar { content, handed, .. } = &mut self.so_far;
        while let Some(Value::Chunk { first, data, last: false, .. }) =
            self.seen.values.get(at.value)
            && *first == handed.is_none()
            && content[handed.unwrap_or_default()..].starts_with(&data[at.byte..])
            && !data.is_empty()
        {
            *handed = Some(handed.unwrap_or_default() + data.len() - at.byte);
            at = Cursor { value: at.value + 1, byte: 0 };
        }
        at
    }

    /// Where the values go on behind this one, if it comes next.
    fn got(&self, at: Cursor, expected: &Value) -> Option<Cursor> {
        let next = Cursor { value: at.value + 1, byte: 0 };
        let Value::Chunk { text, first, data, last } = expected else {
            return (at.byte == 0 && self.seen.values.get(at.value) == Some(expected))
                .then_some(next);
        };
        let mut at = at;
        let mut left = &data[..];
        let mut begins = *first;
        // However it was cut.
        loop {
            let Some(Value::Chunk { text: of_text, first, data, last: ends }) =
                self.seen.values.get(at.value)
            else {
                return None;
            };
            let there = &data[at.byte..];
            let n = there.len().min(left.len());
            if of_text != text || (at.byte == 0 && *first != begins) || there[..n] != left[..n] {
                return None;
            }
            left = &left[n..];
            begins = false;
            if n < there.len() {
                return (!last).then_some(Cursor { value: at.value, byte: at.byte + n });
            }
            at = Cursor { value: at.value + 1, byte: 0 };
            match (left.is_empty(), *ends) {
                (true, ends) if ends == *last => return Some(at),
                (true, false) | (false, false) => {}
                _ => return None,
            }
        }
    }

    /// What an end says of itself, once receiving is over. Before all had left that it wrote in this
    /// step, a Close had left if it was an earlier one.
    fn check_end(&mut self, next: usize, has_closed: bool) -> Result<(), String> {
        let over = ENDED.contains(&self.machine.states[next].receiving);
        let SoFar { peer_close, our_close, error, cut, .. } = &self.so_far;
        let code = |body: &[u8]| body.first_chunk().map_or(1005, |code| u16::from_be_bytes(*code));
        let reason = peer_close.and_then(|body| body.get(2..)).unwrap_or_default();
        let is_said = over && !self.so_far.unread;
        let with = |close_has_left: bool| Closed {
            code: peer_close.map_or(1006, code),
            reason: String::from_utf8_lossy(reason).into_owned(),
            sent_code: our_close.as_deref().map_or(1006, code),
            clean: peer_close.is_some() && close_has_left,
            error: *error,
            unconfirmed: false,
            cut: cut.filter(|_| peer_close.is_some()),
        };
        let row = self.so_far.silent.filter(|_| is_said);
        self.needed |= row.unwrap_or_default();
        let is_said = is_said && row.is_none();
        let expected = is_said.then(|| with(our_close.is_some()));
        if self.seen.closed != expected {
            return Err(format!("expected: {expected:?}"));
        }
        let expected = is_said.then(|| with(has_closed));
        match &self.seen.early {
            Some(early) if *early != expected => {
                Err(format!("expected before all had left: {expected:?}; got {early:?}"))
            }
            _ => Ok(()),
        }
    }

    fn report(
        &self,
        word: &[(usize, usize)],
        (state, group): (usize, &[(usize, usize)]),
        why: &str,
    ) -> String {
        let machine = self.machine;
        let mut text = said(self.held, machine, word, state);
        let Profile { receives, sends, waits } = self.profile;
        let _ =
            write!(text, "\n  by: {receives:?}, {sends:?}{}", if waits { ", waiting" } else { "" });
        for (event, member) in group {
            let bytes = match &machine.events[*event].members[*member] {
                Member::Call(call) => &call.payload,
                _ => &self.made.bytes[self.key][*event][*member],
            };
            let _ = write!(text, "\n  at: {}, {}", machine.events[*event].name, hex(bytes));
        }
        let Seen { values, fin, dropped, closed, returned, .. } = &self.seen;
        let sent: Vec<_> = self
            .sent
            .iter()
            .map(|(first, payload)| format!("{first:02X} {}", hex(payload)))
            .collect();
        let values: Vec<_> = values.iter().map(ToString::to_string).collect();
        let _ = write!(
            text,
            "\n  {why}\n  got: {returned:?}; {}; sent {}; FIN {fin}, dropped {dropped}, {closed:?}",
            values.join(", "),
            sent.join(", ")
        );
        text
    }
}

/// The body of a Close of ours.
fn body(code: Option<u16>, reason: &[u8]) -> Vec<u8> {
    code.map_or_else(Vec::new, |code| [&code.to_be_bytes(), reason].concat())
}

fn is_refused(event: &Event, member: usize) -> bool {
    matches!(&event.members[member], Member::Frame(frame) if frame.refused)
}

/// Nothing follows it.
fn ends(event: &Event) -> bool {
    matches!(event.kind, "FIN" | "half FIN" | "reset")
}

/// Whether this is the data frame expected. A message is compressed if both ends agreed to that, and
/// it is in chunks or not too short: then its content is compared at its end, which must not be there
/// on the wire (RFC 7692 §7.2.1).
fn is_data(
    takes_over: Option<bool>,
    so_far: &mut SoFar,
    (b0, data): (u8, &[u8]),
    (first, payload): (u8, &[u8]),
) -> bool {
    let SoFar { ours, deflated, inflater, .. } = so_far;
    let begins = b0 & 0x0f != 0;
    if begins {
        let is_compressed = first & 0x40 != 0;
        let is_right = match takes_over {
            None => !is_compressed,
            Some(_) if b0 & 0x80 == 0 || data.len() >= COMPRESSED_FROM => is_compressed,
            Some(takes_over) => takes_over || !is_compressed,
        };
        if !is_right {
            return false;
        }
        ours.clear();
        *deflated = is_compressed.then(Vec::new);
        if takes_over == Some(false) {
            *inflater = inflating::Stream::default();
        }
    }
    let Some(fragments) = deflated else { return (first, payload) == (b0, data) };
    ours.extend_from_slice(data);
    fragments.extend_from_slice(payload);
    let rsv1 = if begins { 0x40 } else { 0 };
    let tail = fragments.ends_with(&[0, 0, 0xff, 0xff]);
    let mut is_whole = || !tail && inflater.message(fragments).as_ref() == Some(ours);
    first == b0 | rsv1 && (b0 & 0x80 == 0 || is_whole())
}
