//! The machine of one end: each state, each event, and what has to happen.

use std::collections::HashMap;

use super::{Block, Call, Event, Frame, Inflates, Member, Row, Rule, Table, table};
use crate::Role;

/// A state of an end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct State {
    /// What it has received.
    pub receiving: &'static str,
    /// What it has sent, and whether it can send; once receiving is over, `closed`, or `let go
    /// closed` without a sending half.
    pub sending: &'static str,
}

impl std::fmt::Display for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} / {}", self.receiving, self.sending)
    }
}

/// The machine of one end.
#[derive(Clone, Debug)]
pub struct Machine {
    /// The first is the one after the opening handshake.
    pub states: Vec<State>,
    /// What may happen in each.
    pub events: Vec<&'static Event>,
    /// For each state in turn, what each event does in it.
    pub moves: Vec<Move>,
}

/// What an event does in a state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Move {
    /// For each member of the event, the right answers.
    pub answers: Vec<Vec<Answer>>,
    /// For each member, the bytes that it adds to a message of the peer.
    pub adds: Vec<&'static [u8]>,
    /// A message of the peer begins.
    pub begins: bool,
    /// It is not said in this state, so it does nothing: the table does not know what it is there.
    pub out_of_place: bool,
}

/// A right answer to an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// What the application gets.
    pub delivers: Option<Delivered>,
    /// What the peer gets, in order.
    pub sends: Vec<Sent>,
    /// The error with which receiving ends, or that the call returns.
    pub error: Option<&'static str>,
    /// The stream is dropped.
    pub drops: bool,
    /// The word of the RFC: must, should, may; or open.
    pub level: &'static str,
    /// Where it stands; RFC 6455 if no other RFC is named.
    pub section: &'static str,
    /// The number of the next state.
    pub next: usize,
    /// The number of its row in `[rules]`.
    pub rule: usize,
}

/// What the application gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Delivered {
    /// The message whose bytes the moves since its begin have added.
    Message {
        /// It is a text.
        text: bool,
    },
    /// A Ping with its payload.
    Ping(&'static [u8]),
    /// A Pong with its payload.
    Pong(&'static [u8]),
    /// A Close with its body.
    Close(&'static [u8]),
}

/// What the peer gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sent {
    /// A data frame, its first byte and its payload, before compression.
    Data(u8, &'static [u8]),
    /// A Ping with its payload.
    Ping(&'static [u8]),
    /// A Pong with its payload.
    Pong(&'static [u8]),
    /// A Close with this code, if any. No RFC fixes the reason.
    Close(Option<u16>),
    /// The end of the stream.
    Fin,
}

impl Answer {
    /// Whether nobody could tell them apart.
    fn equals(&self, other: &Self) -> bool {
        let Self { delivers, sends, error, drops, .. } = self;
        (delivers, sends, error, drops)
            == (&other.delivers, &other.sends, &other.error, &other.drops)
    }
}

impl Move {
    /// The number of the next state; of two that are right, the one of an end that goes on.
    pub fn next(&self) -> usize {
        self.answers[0].last().expect("an answer").next
    }

    /// Whether both have the same answers.
    pub fn is_like(&self, other: &Self) -> bool {
        self.out_of_place == other.out_of_place
            && self.answers.iter().zip(&other.answers).all(|(here, there)| {
                here.len() == there.len() && here.iter().zip(there).all(|(a, b)| a.equals(b))
            })
    }

    /// Whether no answer is right to both, whichever member it is.
    pub fn differs(&self, other: &Self) -> bool {
        let are_said = !self.out_of_place && !other.out_of_place;
        are_said
            && self
                .answers
                .iter()
                .zip(&other.answers)
                .all(|(here, there)| !here.iter().any(|a| there.iter().any(|b| a.equals(b))))
    }
}

impl Machine {
    /// The machine of an end of this role, which has agreed to permessage-deflate or not, and to
    /// which the events happen that `may` lets pass.
    ///
    /// # Panics
    ///
    /// If the table says nothing of an event in a state, or if members of an event lead to two states.
    pub fn new(role: Role, agreed: bool, may: impl Fn(&Event) -> bool) -> Self {
        let table = table();
        let events: Vec<_> = table.events.iter().filter(|event| may(event)).collect();
        let mut states = vec![State { receiving: "between", sending: "open" }];
        let mut numbers = HashMap::from([(states[0], 0)]);
        let mut moves = Vec::new();
        let mut at = 0;
        while at < states.len() {
            let end = End { table, role, agreed, state: states[at] };
            for event in &events {
                moves.push(end.moves(event, |next| {
                    *numbers.entry(next).or_insert_with(|| {
                        states.push(next);
                        states.len() - 1
                    })
                }));
            }
            at += 1;
        }
        Self { states, events, moves }
    }

    /// What this event does in this state.
    pub fn at(&self, state: usize, event: usize) -> &Move {
        &self.moves[state * self.events.len() + event]
    }
}

/// The kinds of data frames.
const DATA: [&str; 6] = ["text", "text..", "binary", "binary..", "..more", "..last"];
/// The events that begin a message.
const STARTS: [&str; 4] = ["text", "text..", "binary", "binary.."];

/// The kind of the message that goes before another.
const FIRST: Call = Call { text: true, payload: Vec::new(), code: None };

/// Begins the states of an end whose sending half is dropped.
const LET_GO: &str = "let go";

/// A state of receiving without its place in a block, and that.
fn cut(receiving: &'static str) -> (&'static str, Block) {
    let blocks = [Block::None, Block::Half, Block::One];
    let found = blocks
        .iter()
        .find_map(|block| receiving.strip_suffix(block.name()).map(|bare| (bare, *block)));
    found.unwrap_or((receiving, Block::Between))
}

/// What a row's conditions and its words about a message refer to.
#[derive(Default)]
struct Facts {
    no_deflate: bool,
    no_utf8: bool,
    /// The state in a message behind the event.
    inside: Option<&'static str>,
    deflated: bool,
    /// Where in the DEFLATE data the event leads.
    block: Option<Block>,
    out_of_place: bool,
    text: bool,
    adds: &'static [u8],
}

struct End {
    table: &'static Table,
    role: Role,
    agreed: bool,
    state: State,
}

impl End {
    fn moves(&self, event: &'static Event, mut number: impl FnMut(State) -> usize) -> Move {
        let mut made =
            Move { answers: Vec::new(), adds: Vec::new(), begins: false, out_of_place: false };
        for member in &event.members {
            let facts = self.facts(event, member);
            made.out_of_place = facts.out_of_place;
            let rows = self.rows(event, member, &facts);
            assert!(!rows.is_empty(), "no rule for {} in {}", event.name, self.state);
            let answers = rows.iter().map(|(rule, row)| {
                let (next, answer) = self.answer(row, member, &facts);
                Answer { next: number(next), rule: *rule, ..answer }
            });
            made.answers.push(answers.collect());
            made.adds.push(facts.adds);
        }
        made.begins = STARTS.contains(&event.kind);
        let one = made
            .answers
            .iter()
            .all(|answers| answers.last().map(|last| last.next) == Some(made.next()));
        assert!(one, "{} in {}: its members lead to two states", event.name, self.state);
        made
    }

    fn facts(&self, event: &Event, member: &'static Member) -> Facts {
        match member {
            Member::Frame(frame) if DATA.contains(&event.kind) => self.received(event, frame),
            Member::Call(call) if event.kind.starts_with("chunk") => self.chunk(event, call),
            _ => Facts::default(),
        }
    }

    fn received(&self, event: &Event, frame: &'static Frame) -> Facts {
        let starts = STARTS.contains(&event.kind);
        let (within, block) = cut(self.state.receiving);
        let bare = within.strip_prefix("deflated ");
        let deflated = if starts { event.deflated && self.agreed } else { bare.is_some() };
        let before = if starts { event.kind.trim_end_matches('.') } else { bare.unwrap_or(within) };
        let last = !event.kind.ends_with("..") && event.kind != "..more";
        if !deflated {
            let mut facts = self.characters(before, &frame.payload, last);
            facts.adds = &frame.payload;
            return facts;
        }
        let here = if starts { Block::None } else { block };
        let to = match &frame.inflates {
            Some(inflates) if !frame.payload.is_empty() => inflates.to,
            _ => here,
        };
        let from = frame.inflates.as_ref().map_or(Block::Between, |inflates| inflates.from);
        if before != "spoiled" && !frame.payload.is_empty() && !here.takes(from) {
            return Facts { out_of_place: true, ..Facts::default() };
        }
        let inflated = frame.inflates.as_ref().filter(|_| !last || to.is_complete());
        let mut facts = match inflated {
            _ if before == "spoiled" => {
                Facts { no_deflate: true, no_utf8: true, ..Facts::default() }
            }
            Some(Inflates { bytes, .. }) => self.characters(before, bytes, last),
            None => Facts { no_deflate: true, ..Facts::default() },
        };
        facts.block = Some(to).filter(|_| !facts.no_deflate && !facts.no_utf8);
        if facts.no_deflate || facts.no_utf8 {
            facts.inside = Some("spoiled");
        }
        if let Some(Inflates { bytes, .. }) = inflated {
            facts.adds = bytes;
        }
        facts.deflated = true;
        facts
    }

    fn chunk(&self, event: &Event, call: &Call) -> Facts {
        let before = match (event.kind, self.state.sending.split_once(" chunks")) {
            ("chunk..", _) if call.text => "text",
            ("chunk..", _) | (_, None) => "binary",
            (_, Some(("text", rest))) => {
                let rows = self.table.rows("characters");
                rows.iter().find(|row| row[0].strip_prefix("text") == Some(rest)).expect("a text")
                    [0]
            }
            (_, Some(_)) => "binary",
        };
        self.characters(before, &call.payload, event.kind == "chunk ..last")
    }

    fn characters(&self, before: &'static str, bytes: &[u8], last: bool) -> Facts {
        let text = before.starts_with("text");
        let inside = if text { self.table.characters(before, bytes) } else { Some("binary") };
        let no_utf8 = text && (inside.is_none() || (last && inside != Some("text")));
        Facts { no_utf8, inside, text, ..Facts::default() }
    }

    /// The rows that count, with their numbers.
    fn rows(&self, event: &Event, member: &Member, facts: &Facts) -> Vec<(usize, &'static Row)> {
        let shape = match member {
            Member::Frame(frame) if event.kind.starts_with("broken") => frame.shape(),
            _ => None,
        };
        let is_in = |names: &[&str], name: &str| names.is_empty() || names.contains(&name);
        let fits = |(_, rule): &(usize, &Rule)| {
            let named = rule.events.contains(&event.kind)
                || (rule.rank == "1" && shape.is_some_and(|shape| rule.events.contains(&shape)));
            let holds = |condition: &&str| match *condition {
                "deflated" => event.deflated,
                "not agreed" => !self.agreed,
                "no DEFLATE data" => facts.no_deflate,
                "no UTF-8" => facts.no_utf8,
                "compressed" => facts.deflated,
                "out of place" => facts.out_of_place,
                "server" => self.role == Role::Server,
                _ => panic!("no condition: {condition}"),
            };
            named
                && is_in(&rule.receiving, self.state.receiving)
                && is_in(&rule.sending, self.state.sending)
                && rule.conditions.iter().all(holds)
        };
        let rules: Vec<_> = self.table.rules.iter().enumerate().filter(fits).collect();
        let lowest = rules.iter().map(|(_, rule)| rule.rank).min();
        let count = rules.into_iter().filter(|(_, rule)| Some(rule.rank) == lowest);
        count.map(|(number, rule)| (number, &rule.row)).collect()
    }

    fn answer(&self, row: &'static Row, member: &'static Member, facts: &Facts) -> (State, Answer) {
        let [_, _, _, _, _, delivers, sends, error, receiving, sending, level, section] = row[..]
        else {
            panic!("a rule has twelve cells: {row:?}")
        };
        let payload: &[u8] = match member {
            Member::Frame(frame) => &frame.payload,
            Member::Call(call) => &call.payload,
            Member::Nothing => &[],
        };
        let delivers = match delivers {
            "" => None,
            "the message" => Some(Delivered::Message { text: facts.text }),
            "Ping" => Some(Delivered::Ping(payload)),
            "Pong" => Some(Delivered::Pong(payload)),
            "Close" => Some(Delivered::Close(payload)),
            _ => panic!("nobody delivers {delivers}"),
        };
        let mut next = self.state;
        let mut sends = self.sent(sends, member, payload);
        let closed = if next.sending.starts_with(LET_GO) { "let go closed" } else { "closed" };
        if sends.iter().any(|sent| matches!(sent, Sent::Close(_))) {
            next.sending = closed;
        }
        let inside = facts.inside.unwrap_or_default();
        match sending {
            "" => {}
            "the message's" => next.sending = self.inside("sending", "", inside),
            _ => next.sending = sending,
        }
        let mut drops = false;
        match receiving {
            "" => {}
            "the message's" => {
                let prefix = if facts.deflated { "deflated " } else { "" };
                let block = facts.block.map_or("", Block::name);
                next.receiving = self.inside("receiving", prefix, &format!("{inside}{block}"));
            }
            "between" | "not read" | "unanswered" | "unanswered cut" | "unanswered reset" => {
                next.receiving = receiving;
            }
            "over" => {
                next.receiving = "over";
                drops = true;
            }
            because => {
                let role = self.role.to_string();
                let sending = next.sending.trim_start_matches(LET_GO).trim_start();
                let fits = |row: &&Row| {
                    row[0] == because
                        && ["any", sending].contains(&row[1])
                        && ["both", &role].contains(&row[2])
                };
                let end = self.table.rows("ends").iter().find(fits).expect("an end");
                let ways = end[3];
                if ways.contains("FIN") {
                    sends.push(Sent::Fin);
                }
                drops = ways.contains("drop");
                next = State { receiving: end[4], sending: closed };
            }
        }
        if next.receiving == "over" {
            next.sending = "closed";
        }
        let error = Some(error).filter(|error| !error.is_empty());
        (next, Answer { delivers, sends, error, drops, level, section, next: 0, rule: 0 })
    }

    /// The state of this section in the midst of a message.
    fn inside(&self, section: &str, prefix: &str, inside: &str) -> &'static str {
        let name = match (section, inside.split_once('-')) {
            ("receiving", _) => format!("{prefix}{inside}"),
            (_, Some((kind, rest))) => format!("{kind} chunks-{rest}"),
            (_, None) => format!("{inside} chunks"),
        };
        let found = self.table.rows(section).iter().find(|row| row[0] == name);
        found.unwrap_or_else(|| panic!("no state {name}"))[0]
    }

    /// What leaves, unless the state of sending forbids it.
    fn sent(&self, cell: &'static str, member: &Member, payload: &'static [u8]) -> Vec<Sent> {
        let none = Call::default();
        let call = match member {
            Member::Call(call) => call,
            _ => &none,
        };
        let kind = if call.text { 0x01 } else { 0x02 };
        let sent = match cell {
            "" => return Vec::new(),
            "21, and the message" => {
                let first = self.sent("the message", &Member::Call(FIRST), b"!");
                return [first, self.sent("the message", member, payload)].concat();
            }
            "the message" => Sent::Data(0x80 | kind, payload),
            "a first fragment" => Sent::Data(kind, payload),
            "a fragment" => Sent::Data(0x00, payload),
            "the last fragment" => Sent::Data(0x80, payload),
            "Ping" => Sent::Ping(payload),
            "Pong" => Sent::Pong(payload),
            "Close, the same code" => {
                let code = payload.first_chunk();
                Sent::Close(code.map(|code| u16::from_be_bytes(*code)))
            }
            "Close, this code" => Sent::Close(call.code),
            "FIN" => return vec![Sent::Fin],
            _ => {
                let code = cell.strip_prefix("Close ").and_then(|code| code.parse().ok());
                Sent::Close(Some(code.unwrap_or_else(|| panic!("nobody sends {cell}"))))
            }
        };
        let rows = self.table.rows("sending");
        let may = rows.iter().find(|row| row[0] == self.state.sending).expect("a state of sending");
        let may = match sent {
            Sent::Close(_) => may[4],
            Sent::Ping(_) | Sent::Pong(_) => may[3],
            _ => may[2],
        };
        if may == "no" { Vec::new() } else { vec![sent] }
    }
}
