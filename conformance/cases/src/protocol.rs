//! The protocol of an open connection as a table, `data/protocol.txt`, and the machine of one end
//! that follows from it.
//!
//! [`table`] is the file as it stands, for those who print it. [`Machine`] has, for one role, with
//! or without permessage-deflate, every state, every event and what has to happen.

use std::collections::HashMap;
use std::sync::OnceLock;

use crate::Role;

mod machine;

pub use machine::{Answer, Delivered, Machine, Move, Sent, State};

/// A row of the file: its cells, without the blanks around them.
pub type Row = Vec<&'static str>;

/// The file: its sections in order.
#[derive(Debug)]
pub struct Table {
    sections: Vec<(&'static str, Vec<Row>)>,
    /// What can arrive, then what the application can do.
    pub events: Vec<Event>,
    groups: HashMap<&'static str, Vec<&'static str>>,
    characters: Vec<Characters>,
    rules: Vec<Rule>,
}

/// A row of `[characters]`: the number of the next one for each class of bytes; None: no UTF-8.
#[derive(Debug)]
struct Characters {
    state: &'static str,
    next: Vec<Option<usize>>,
}

/// A row of `[rules]`, with names in place of groups.
#[derive(Debug)]
struct Rule {
    rank: &'static str,
    events: Vec<&'static str>,
    receiving: Vec<&'static str>,
    sending: Vec<&'static str>,
    conditions: Vec<&'static str>,
    row: Row,
}

/// One thing that can arrive or that the application can do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Its name, which no other event has.
    pub name: &'static str,
    /// The name by which the rules know it.
    pub kind: &'static str,
    /// RSV1 is set on the first frame of a message.
    pub deflated: bool,
    /// What of the peer arrives, or what is given to the call: one or more, of which the rules
    /// speak alike.
    pub members: Vec<Member>,
}

/// What arrives, or what is given to the call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Member {
    /// A frame, or the first bytes of one.
    Frame(Frame),
    /// No bytes: the end of the stream.
    Nothing,
    /// The arguments of a call.
    Call(Call),
}

/// A frame of the peer, right or wrong.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Frame {
    /// FIN, RSV and the opcode.
    pub first: u8,
    /// The payload, before it is masked.
    pub payload: Vec<u8>,
    /// The form of the length: 16 or 64 bits though it needs fewer; 0: the shortest.
    pub bits: u8,
    /// The length that the header announces, if nothing of the payload follows.
    pub announces: Option<u64>,
    /// Masked by a server, or not masked by a client.
    pub wrong_mask: bool,
    /// The stream refuses to take what answers it.
    pub refused: bool,
    /// How many bytes of the frame arrive, if not all do.
    pub cut: Option<usize>,
    /// What the payload is in a compressed message. None: no DEFLATE data.
    pub inflates: Option<Inflates>,
}

/// What a payload is in a compressed message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inflates {
    /// Where it begins.
    pub from: Block,
    /// What it inflates to.
    pub bytes: Vec<u8>,
    /// Where it leads.
    pub to: Block,
}

/// A place in DEFLATE data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Block {
    /// Nothing of the message has come, or all blocks with their tail, 00 00 FF FF.
    None,
    /// Between two blocks.
    Between,
    /// In the midst of a block.
    Half,
    /// Complete but for the tail.
    One,
}

impl Block {
    /// The place that a sign in the file stands for.
    fn of(sign: Option<char>) -> Self {
        match sign {
            Some(':') => Self::None,
            Some('~') => Self::Half,
            Some('.') => Self::One,
            _ => Self::Between,
        }
    }

    /// Whether what begins in the other place may come here.
    fn takes(self, from: Self) -> bool {
        self == from || (self == Self::None && from == Self::Between)
    }

    /// Whether a message may end here.
    fn is_complete(self) -> bool {
        matches!(self, Self::None | Self::One)
    }

    /// How the names of states end.
    fn name(self) -> &'static str {
        match self {
            Self::None => " no block",
            Self::Between => "",
            Self::Half => " half a block",
            Self::One => " one block",
        }
    }
}

/// The arguments of a call.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Call {
    /// The kind of message is text.
    pub text: bool,
    /// The payload, or the reason of a Close.
    pub payload: Vec<u8>,
    /// The code of a Close.
    pub code: Option<u16>,
}

/// The masking key of RFC 6455 5.7.
pub const KEY: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

impl Frame {
    /// The bytes as an end of this role sends them.
    pub fn bytes(&self, sender: Role) -> Vec<u8> {
        self.bytes_by(sender, KEY)
    }

    /// The bytes as an end of this role sends them, with this key if it masks.
    pub fn bytes_by(&self, sender: Role, key: [u8; 4]) -> Vec<u8> {
        let masked = (sender == Role::Client) != self.wrong_mask;
        let len = self.announces.unwrap_or(self.payload.len() as u64);
        let bit = if masked { 0x80 } else { 0 };
        let mut bytes = vec![self.first];
        match (self.bits, len) {
            (0, 0..=125) => bytes.push(bit | len as u8),
            (0, 126..=0xffff) | (16, _) => {
                bytes.push(bit | 126);
                bytes.extend((len as u16).to_be_bytes());
            }
            _ => {
                bytes.push(bit | 127);
                bytes.extend(len.to_be_bytes());
            }
        }
        let key = if masked { key } else { [0; 4] };
        if masked {
            bytes.extend(key);
        }
        if self.announces.is_none() {
            bytes.extend(self.payload.iter().zip(key.iter().cycle()).map(|(byte, key)| byte ^ key));
        }
        bytes.truncate(self.cut.unwrap_or(usize::MAX));
        bytes
    }

    /// The kind that its first byte makes it: one of the data frames, or a control frame that says
    /// that more follows.
    fn shape(&self) -> Option<&'static str> {
        Some(match (self.first & 0x0f, self.first & 0x80 != 0) {
            (0, false) => "..more",
            (0, true) => "..last",
            (1, false) => "text..",
            (1, true) => "text",
            (2, false) => "binary..",
            (2, true) => "binary",
            (8.., false) => "broken bad control frame",
            _ => return None,
        })
    }
}

impl Event {
    /// Whether the peer does it.
    pub fn arrives(&self) -> bool {
        !matches!(self.members[0], Member::Call(_))
    }
}

/// The table.
///
/// # Panics
///
/// If the file is not in its form.
pub fn table() -> &'static Table {
    static TABLE: OnceLock<Table> = OnceLock::new();
    TABLE.get_or_init(|| Table::parse(include_str!("../data/protocol.txt")))
}

impl Table {
    fn parse(file: &'static str) -> Self {
        let mut sections: Vec<(&'static str, Vec<Row>)> = Vec::new();
        for line in file.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
            if let Some(name) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
                sections.push((name, Vec::new()));
            } else {
                let (_, rows) = sections.last_mut().expect("rows stand in a section");
                rows.push(line.split('|').map(str::trim).collect());
            }
        }
        let mut table = Self {
            sections,
            events: Vec::new(),
            groups: HashMap::new(),
            characters: Vec::new(),
            rules: Vec::new(),
        };
        table.groups = table.rows("groups").iter().map(|row| (row[0], list(row[1]))).collect();
        table.events = table.rows("arrivals").iter().map(|row| event(row, arrival)).collect();
        let calls: Vec<_> = table.rows("calls").iter().map(|row| event(row, call)).collect();
        table.events.extend(calls);
        let rows = table.rows("characters");
        let next = |cell: &&str| {
            let is_it = |row: &Row| row[0] == *cell || row[0].strip_prefix("text") == Some(*cell);
            let number = rows.iter().position(is_it);
            assert!(number.is_some() || *cell == "-", "no state of a text: {cell}");
            number
        };
        let characters =
            |row: &Row| Characters { state: row[0], next: row[1..].iter().map(next).collect() };
        table.characters = rows.iter().map(characters).collect();
        let rule = |row: &Row| Rule {
            rank: row[0],
            events: table.named(row[1]),
            receiving: table.named(row[2]),
            sending: table.named(row[3]),
            conditions: list(row[4]),
            row: row.clone(),
        };
        table.rules = table.rows("rules").iter().map(rule).collect();
        table
    }

    /// The rows of a section.
    ///
    /// # Panics
    ///
    /// If the file has no such section.
    pub fn rows(&self, section: &str) -> &[Row] {
        let found = self.sections.iter().find(|(name, _)| *name == section);
        &found.unwrap_or_else(|| panic!("no section {section}")).1
    }

    /// The event of this name.
    pub fn event(&self, name: &str) -> Option<&Event> {
        self.events.iter().find(|event| event.name == name)
    }

    /// The names in a cell with a list, those of its groups in their place. `any` has none.
    pub fn named(&self, cell: &'static str) -> Vec<&'static str> {
        let mut names = Vec::new();
        for item in list(cell).into_iter().filter(|item| *item != "any") {
            match self.groups.get(item) {
                Some(group) => names.extend(group.iter().flat_map(|item| self.named(item))),
                None => names.push(item),
            }
            if item == "broken" {
                let kinds = self.events.iter().map(|event| event.kind);
                names.extend(kinds.filter(|kind| kind.starts_with("broken ")));
            }
        }
        names
    }

    /// In which state of the characters a text goes on behind these bytes; None: no UTF-8.
    fn characters(&self, state: &str, bytes: &[u8]) -> Option<&'static str> {
        let mut state = self.characters.iter().position(|row| row.state == state)?;
        for &byte in bytes {
            let class = match byte {
                0x00..=0x7f => 0,
                0x80..=0x8f => 1,
                0x90..=0x9f => 2,
                0xa0..=0xbf => 3,
                0xc2..=0xdf => 4,
                0xe0 => 5,
                0xe1..=0xec | 0xee | 0xef => 6,
                0xed => 7,
                0xf0 => 8,
                0xf1..=0xf3 => 9,
                0xf4 => 10,
                0xc0 | 0xc1 | 0xf5..=0xff => 11,
            };
            state = self.characters[state].next[class]?;
        }
        Some(self.characters[state].state)
    }
}

/// The items of a cell.
fn list(cell: &'static str) -> Vec<&'static str> {
    cell.split(',').map(str::trim).filter(|item| !item.is_empty()).collect()
}

fn event(row: &Row, member: fn(&'static str) -> Member) -> Event {
    let [name, kind, members] = row[..] else { panic!("an event has three cells: {row:?}") };
    let deflated = kind.strip_suffix(" deflated");
    Event {
        name,
        kind: deflated.unwrap_or(kind),
        deflated: deflated.is_some(),
        members: members.split(';').map(|one| member(one.trim())).collect(),
    }
}

fn hex(digits: &str) -> u8 {
    u8::from_str_radix(digits, 16).unwrap_or_else(|_| panic!("{digits} is no byte in hex"))
}

/// Adds `66` or `66*126`.
fn push(payload: &mut Vec<u8>, word: &str) {
    let (byte, times) = word.split_once('*').unwrap_or((word, "1"));
    payload.extend(vec![hex(byte); times.parse().expect("how often")]);
}

fn arrival(text: &'static str) -> Member {
    let (frame, inflates) = match text.split_once('>') {
        Some((frame, inflates)) => (frame.trim_end(), Some(inflates.trim())),
        None => (text, None),
    };
    let from = Block::of(frame.chars().last());
    let mut words = frame.trim_end_matches(['~', '.', ':']).split_whitespace();
    let Some(first) = words.next() else { return Member::Nothing };
    let mut frame = Frame { first: hex(first), ..Frame::default() };
    for word in words {
        match word.split_at(1) {
            ("+", bits) => frame.bits = bits.parse().expect("16 or 64"),
            ("=", len) => frame.announces = Some(len.parse().expect("a length")),
            ("^", cut) => frame.cut = Some(cut.parse().expect("how many bytes")),
            ("!", "mask") => frame.wrong_mask = true,
            ("!", "write") => frame.refused = true,
            _ => push(&mut frame.payload, word),
        }
    }
    frame.inflates = inflates.map(|inflates| {
        let words = inflates.trim_end_matches(['~', '.', ':']).split_whitespace();
        let mut bytes = Vec::new();
        words.for_each(|word| push(&mut bytes, word));
        Inflates { from, bytes, to: Block::of(inflates.chars().last()) }
    });
    Member::Frame(frame)
}

fn call(text: &'static str) -> Member {
    let mut call = Call::default();
    let mut words = text.split_whitespace().peekable();
    if let Some(kind @ ("text" | "binary" | "none")) = words.peek().copied() {
        call.text = kind == "text";
        words.next();
    } else if let Some(code) = words.peek().filter(|word| word.len() == 4).copied() {
        call.code = Some(code.parse().expect("a close code"));
        words.next();
    }
    words.for_each(|word| push(&mut call.payload, word));
    Member::Call(call)
}
