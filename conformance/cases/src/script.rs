//! The notation of what a case sends.
//!
//! One line is one step. A frame is its kind or its first byte in hexadecimal, then its payload,
//! then what is wrong with it:
//!
//! ```text
//! text 'Hello'              a whole text message
//! text+ 'Hel'               a first fragment (FIN unset)
//! cont 'lo'                 the last fragment; cont+ for one between
//! c1 f248cdc9c90700         by first byte: RSV1 and a text
//! c1 deflate'Hello'         compressed as literals of one fixed block
//! binary 00*65536           repeated
//! close 1000 'bye'          a code and a reason
//! text 'x' /wrong-mask      masked as only the other end may
//! text 'x' /key=00000000    with this masking key
//! text 'x' /len=2           the length in 2 (or 8) further bytes
//! text 'x' /says=5          announces another length
//! text 'x' /cut=3           without the last three bytes
//! raw ffff                  these bytes
//! binary fresh=1000         bytes of which no eight in a row come twice, in no other case either
//! text letters=1000         the same of letters, and wide=1000 of characters of three bytes each,
//!                           high=1000 of four
//! text letters=90 /every=40 in fragments of 40 bytes
//! text noise=1500           letters that don't repeat, the same each time
//! c2 history=512            512 bytes as literals
//! c2 back=512               ten bytes, copied from 512 bytes back
//! c2 zeros=1048576          so many zeros, as copies, in a thousandth of the size
//! c2 runs=65537             the same in a tenth of the size
//! c2 final=4097             the same in a tenth of the size, in a final block
//! piece 1                   what follows goes out in pieces of one byte; 0 ends it
//! drip 1                    pause one round trip before each piece
//! turns 1                   a turn of the other connection behind each piece
//! pause 2                   wait two round trips
//! await pong 'p'            go on when the Pong is there
//! await messages 2          go on when two messages are there
//! shutdown                  end our half of the connection
//! reset                     end the connection by a reset
//! turn                      now the other connection of the case goes on
//! ```

use crate::Role;
use crate::judge::deflate::{self, Blocks, Token};
use crate::judge::frame::Frame;
use crate::vectors::hex;
use crate::wait::Wait;
use std::sync::LazyLock;

/// One step of a case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Send(Vec<u8>),
    Pause(Wait),
    AwaitPong(Vec<u8>),
    /// How many messages in all.
    AwaitMessages(usize),
    Shutdown,
    Reset,
    /// The other connection of the case goes on.
    Turn,
}

/// What has to happen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Expect {
    /// All that is sent is legal.
    Accept,
    /// The last thing sent is a violation; the codes that fit, the best first.
    Fail(Vec<u16>),
    /// Whatever happens is noted.
    Either,
    /// What is announced never comes: a message or a Pong is wrong, all else is a choice.
    Swallow,
    /// What is sent is a Close with this code; one with the same code must not come back.
    NoClose(u16),
    /// Our half of the stream ends inside a frame or message.
    Lost,
    /// The opening handshake is refused; the statuses that fit.
    Refuse(Vec<u16>),
    /// The session stops when the answers are there: for the probe.
    Learn,
}

/// Builds the steps of a case that is code, and says what has to happen.
pub(crate) type Build = fn(&mut Writer) -> Expect;

/// Masking keys that differ from frame to frame and are the same in each run.
#[derive(Clone, Debug)]
pub(crate) struct Keys(u64);

impl Keys {
    pub(crate) fn new(seed: u64) -> Keys {
        Keys(seed ^ 0x9e37_79b9_7f4a_7c15)
    }

    pub(crate) fn number(&mut self) -> u64 {
        // splitmix64
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    pub(crate) fn key(&mut self) -> [u8; 4] {
        (self.number() as u32).to_be_bytes()
    }
}

/// Builds steps for one sender.
#[derive(Clone, Debug)]
pub(crate) struct Writer {
    pub(crate) sender: Role,
    pub(crate) keys: Keys,
    pub(crate) steps: Vec<Step>,
    /// What the content of long messages is drawn from.
    content: Keys,
    piece: usize,
    drip: u32,
    turns: bool,
}

impl Writer {
    pub(crate) fn new(sender: Role, keys: Keys) -> Writer {
        let content = Keys::new(keys.clone().number());
        Writer { sender, keys, steps: Vec::new(), content, piece: 0, drip: 0, turns: false }
    }

    /// Adds bytes; neighbours are joined, so that they go out in one write.
    pub(crate) fn raw(&mut self, bytes: Vec<u8>) {
        if self.piece > 0 {
            for piece in bytes.chunks(self.piece) {
                if self.drip > 0 {
                    self.steps.push(Step::Pause(Wait::round_trips(self.drip)));
                }
                self.steps.push(Step::Send(piece.to_vec()));
                if self.turns {
                    self.steps.push(Step::Turn);
                }
            }
            return;
        }
        match self.steps.last_mut() {
            Some(Step::Send(before)) => before.extend(bytes),
            _ => self.steps.push(Step::Send(bytes)),
        }
    }

    pub(crate) fn frame(&mut self, first: u8, payload: &[u8]) {
        let bytes = Frame::new(self.sender, first, payload, self.keys.key()).bytes();
        self.raw(bytes);
    }

    /// Bytes of which no eight in a row come twice.
    pub(crate) fn fresh(&mut self, size: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(size + 8);
        while bytes.len() < size {
            bytes.extend(self.content.number().to_le_bytes());
        }
        bytes.truncate(size);
        bytes
    }

    /// The same of letters.
    pub(crate) fn letters(&mut self, size: usize) -> Vec<u8> {
        const LETTERS: &[u8; 64] =
            b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
        let letter = |byte: u8| LETTERS[usize::from(byte & 63)];
        self.fresh(size).into_iter().map(letter).collect()
    }

    /// The same of so many of `of` characters, from this one on.
    fn characters(&mut self, from: u32, of: u32, count: usize) -> Vec<u8> {
        let mut text = String::with_capacity(4 * count);
        for two in self.fresh(2 * count).as_chunks::<2>().0 {
            text.extend(char::from_u32(from + u32::from(u16::from_le_bytes(*two)) % of));
        }
        text.into_bytes()
    }

    fn content(&mut self, word: &str) -> Option<Vec<u8>> {
        let (name, size) = word.split_once('=')?;
        let size = size.parse().ok()?;
        match name {
            "fresh" => Some(self.fresh(size)),
            "letters" => Some(self.letters(size)),
            // CJK Unified Ideographs, and the plane of those that came later.
            "wide" => Some(self.characters(0x4e00, 20_000, size)),
            "high" => Some(self.characters(0x2_0000, 65_000, size)),
            _ => None,
        }
    }

    pub(crate) fn step(&mut self, step: Step) {
        self.steps.push(step);
    }

    /// Sends what follows in pieces of `size` bytes, 0 for whole.
    pub(crate) fn piece(&mut self, size: usize) {
        self.piece = size;
        // An empty step keeps the pieces from being joined to what was before.
        self.steps.push(Step::Send(Vec::new()));
    }

    /// Adds one line of the notation.
    pub(crate) fn line(&mut self, line: &str) -> Result<(), String> {
        let words = words(line);
        let bad = || format!("not a step: {line}");
        let mut words = words.iter().map(String::as_str);
        let first = words.next().ok_or_else(bad)?;
        let number = |word: Option<&str>| word.and_then(|w| w.parse::<u32>().ok()).ok_or_else(bad);
        match first {
            "pause" => {
                let wait = Wait::round_trips(number(words.next())?);
                self.step(Step::Pause(wait));
            }
            "piece" => self.piece(number(words.next())? as usize),
            "turns" => self.turns = number(words.next())? > 0,
            "drip" => self.drip = number(words.next())?,
            "shutdown" => self.step(Step::Shutdown),
            "reset" => self.step(Step::Reset),
            "turn" => self.step(Step::Turn),
            "await" => match words.next() {
                Some("pong") => {
                    let payload = words.map(payload).collect::<Option<Vec<_>>>().ok_or_else(bad)?;
                    self.step(Step::AwaitPong(payload.concat()));
                }
                Some("messages") => {
                    let count = number(words.next())?;
                    self.step(Step::AwaitMessages(count as usize));
                }
                _ => return Err(bad()),
            },
            "raw" => {
                let bytes = words.map(payload).collect::<Option<Vec<_>>>().ok_or_else(bad)?;
                self.raw(bytes.concat());
            }
            kind => {
                let bytes = self.written(kind, words).ok_or_else(bad)?;
                self.raw(bytes);
            }
        }
        Ok(())
    }

    fn written<'a>(&mut self, kind: &str, words: impl Iterator<Item = &'a str>) -> Option<Vec<u8>> {
        let (kind, fin) = match kind.strip_suffix('+') {
            Some(kind) => (kind, 0),
            None => (kind, 0x80),
        };
        let first = match kind {
            "cont" => fin,
            "text" => fin | 1,
            "binary" => fin | 2,
            "close" => fin | 8,
            "ping" => fin | 9,
            "pong" => fin | 10,
            hex if hex.len() == 2 => u8::from_str_radix(hex, 16).ok()?,
            _ => return None,
        };
        let mut frame = Frame::new(self.sender, first, [], self.keys.key());
        let mut cut = 0;
        let mut every = usize::MAX;
        for word in words {
            let Some(flaw) = word.strip_prefix('/') else {
                match word.parse::<u16>() {
                    Ok(code) if kind == "close" && frame.payload.is_empty() => {
                        frame.payload.extend(code.to_be_bytes());
                    }
                    _ => {
                        let payload = self.content(word).or_else(|| payload(word))?;
                        frame.payload.extend(payload);
                    }
                }
                continue;
            };
            match flaw.split_once('=') {
                None if flaw == "wrong-mask" => {
                    let key = self.keys.key();
                    frame.key = frame.key.is_none().then_some(key);
                }
                Some(("key", key)) => {
                    if self.sender == Role::Client {
                        frame.key = Some(hex(key)?.try_into().ok()?);
                    }
                }
                Some(("len", bytes)) => frame.extended = bytes.parse().ok(),
                Some(("says", length)) => frame.says = length.parse().ok(),
                Some(("cut", bytes)) => cut = bytes.parse().ok()?,
                Some(("every", bytes)) => every = bytes.parse().ok()?,
                _ => return None,
            }
        }
        if frame.payload.len() > every {
            let payload = std::mem::take(&mut frame.payload);
            return Some(self.fragments(first, payload.chunks(every)));
        }
        let mut bytes = frame.bytes();
        bytes.truncate(bytes.len().saturating_sub(cut));
        Some(bytes)
    }

    /// A message in fragments.
    fn fragments(&mut self, first: u8, payloads: std::slice::Chunks<'_, u8>) -> Vec<u8> {
        let last = payloads.len() - 1;
        let mut bytes = Vec::new();
        for (place, payload) in payloads.enumerate() {
            let opcode = if place == 0 { first & 0x7f } else { 0 };
            let fin = if place == last { first & 0x80 } else { 0 };
            let frame = Frame::new(self.sender, opcode | fin, payload, self.keys.key());
            bytes.extend(frame.bytes());
        }
        bytes
    }
}

/// Splits at blanks outside of quotes.
fn words(line: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut quoted = false;
    for c in line.chars() {
        if c == '\'' {
            quoted = !quoted;
        }
        if c == ' ' && !quoted {
            words.push(String::new());
        } else if let Some(last) = words.last_mut() {
            last.push(c);
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

/// A compressed payload by the name of its parts.
fn blocks(word: &str) -> Option<Vec<u8>> {
    let (name, number) = word.split_once('=')?;
    let number: usize = number.parse().ok()?;
    match name {
        "noise" => {
            let mut keys = Keys::new(0);
            let letter = |_| b'A' + (keys.number() % 58) as u8;
            Some((0..number).map(letter).collect())
        }
        "history" => Some(deflate::literals(&pattern(number))),
        "back" => {
            let copy = Token::Copy { length: 10, distance: number };
            Some(Blocks::new().fixed(&[copy], false).message())
        }
        "zeros" | "runs" | "final" => {
            let length = if name == "zeros" { 258 } else { 16 };
            let mut tokens = vec![Token::Literal(0)];
            let copies = number.saturating_sub(1) / length;
            tokens.extend(vec![Token::Copy { length, distance: 1 }; copies]);
            let rest = number.saturating_sub(1) % length;
            tokens.extend(vec![Token::Literal(0); rest]);
            Some(Blocks::new().fixed(&tokens, name == "final").message())
        }
        _ => None,
    }
}

/// Bytes that are not the same at any small shift: those of each index, xored.
pub(crate) fn pattern(size: usize) -> Vec<u8> {
    /// The 256 bytes of 0, then those of 1 and so on.
    static BLOCKS: LazyLock<Vec<u8>> =
        LazyLock::new(|| (0..1 << 16).map(|i: usize| (i ^ i >> 8) as u8).collect());
    let mut bytes = Vec::with_capacity(size);
    while bytes.len() < size {
        let upper = bytes.len() >> 8;
        let block = usize::from((upper ^ upper >> 8) as u8) << 8;
        bytes.extend_from_slice(&BLOCKS[block..][..256.min(size - bytes.len())]);
    }
    bytes
}

/// `'text'`, hexadecimal digits, `deflate'text'`, each with `*times` behind it on wish.
fn payload(word: &str) -> Option<Vec<u8>> {
    if let Some(payload) = blocks(word) {
        return Some(payload);
    }
    let (unit, times) = match word.rsplit_once('*') {
        Some((unit, times)) if !times.contains('\'') => (unit, times.parse().ok()?),
        _ => (word, 1),
    };
    let quoted = |text: &str| -> Option<Vec<u8>> {
        Some(text.strip_prefix('\'')?.strip_suffix('\'')?.as_bytes().to_vec())
    };
    if let Some(text) = unit.strip_prefix("deflate") {
        return Some(deflate::literals(&quoted(text)?.repeat(times)));
    }
    quoted(unit).or_else(|| hex(unit)).map(|bytes| bytes.repeat(times))
}

#[test]
fn a_pattern_is_the_bytes_of_each_index_xored() {
    let size = (2 << 16) + 300;
    let bytes: Vec<u8> = (0..size).map(|i| (i ^ i >> 8 ^ i >> 16) as u8).collect();
    assert_eq!(pattern(size), bytes);
    assert_eq!(pattern(3), bytes[..3]);
}
