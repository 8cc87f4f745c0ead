//! Negotiation of permessage-deflate (RFC 7692 7.1), and a compressor for cases.

use super::Violation;
use super::http::Extension;
use super::inflate::{DISTANCES, Inflater, LENGTHS};
use crate::Role;

/// The name of the extension.
pub const NAME: &str = "permessage-deflate";

/// The four parameters, as one element of the header has them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Parameters {
    /// `server_no_context_takeover`
    pub server_no_context_takeover: bool,
    /// `client_no_context_takeover`
    pub client_no_context_takeover: bool,
    /// `server_max_window_bits`
    pub server_max_window_bits: Option<u8>,
    /// `client_max_window_bits`; `Some(None)` without a value, as only an offer may have it.
    pub client_max_window_bits: Option<Option<u8>>,
}

impl Parameters {
    /// The offer that takes whatever window the server wants us to have.
    pub(crate) const WITH_ANY_WINDOW: Parameters = Parameters {
        server_no_context_takeover: false,
        client_no_context_takeover: false,
        server_max_window_bits: None,
        client_max_window_bits: Some(None),
    };

    /// The parameters of an offer or, with `answer`, of a response.
    ///
    /// # Errors
    ///
    /// What is not defined, repeated, or has a value that it may not have.
    pub fn read(extension: &Extension, answer: bool) -> Result<Parameters, Violation> {
        let mut read = Parameters::default();
        let mut seen: Vec<&str> = Vec::new();
        let bad = |what: String| Violation::new("RFC 7692 7.1", 0, what);
        for (name, value) in &extension.parameters {
            if seen.contains(&name.as_str()) {
                return Err(bad(format!("{name} twice")));
            }
            seen.push(name);
            let bits = match value.as_deref() {
                Some(text @ ("8" | "9" | "10" | "11" | "12" | "13" | "14" | "15")) => {
                    text.parse().ok()
                }
                _ => None,
            };
            match (name.as_str(), value, bits) {
                ("server_no_context_takeover", None, _) => read.server_no_context_takeover = true,
                ("client_no_context_takeover", None, _) => read.client_no_context_takeover = true,
                ("server_max_window_bits", _, Some(_)) => read.server_max_window_bits = bits,
                ("client_max_window_bits", _, Some(_)) => read.client_max_window_bits = Some(bits),
                ("client_max_window_bits", None, _) if !answer => {
                    read.client_max_window_bits = Some(None);
                }
                (_, None, _) => return Err(bad(format!("{name} without a value"))),
                (_, Some(value), _) => return Err(bad(format!("{name}={value}"))),
            }
        }
        Ok(read)
    }

    /// Whether a server may answer an offer of `self` with `answer`.
    ///
    /// # Errors
    ///
    /// Which parameter of the answer does not fit.
    pub fn permits(&self, answer: &Parameters) -> Result<(), Violation> {
        let bad = |section, what| Err(Violation::new(section, 0, what));
        if self.server_no_context_takeover && !answer.server_no_context_takeover {
            return bad("RFC 7692 7.1.1.1", "server_no_context_takeover is offered, not answered");
        }
        if let Some(offered) = self.server_max_window_bits
            && answer.server_max_window_bits.unwrap_or(15) > offered
        {
            return bad("RFC 7692 7.1.2.1", "server_max_window_bits is above the offer");
        }
        match (self.client_max_window_bits, answer.client_max_window_bits) {
            (None, Some(_)) => bad("RFC 7692 7.1.2.2", "client_max_window_bits was not offered"),
            (Some(Some(offered)), Some(Some(bits))) if bits > offered => {
                bad("RFC 7692 7.1.2.2", "client_max_window_bits is above the offer")
            }
            _ => Ok(()),
        }
    }

    /// The answer to an offer of `self` that is nearest to `wanted`: what was asked for is added to it.
    pub(crate) fn answer(&self, wanted: &Parameters) -> Parameters {
        let windows = self.server_max_window_bits.into_iter().chain(wanted.server_max_window_bits);
        Parameters {
            server_no_context_takeover: self.server_no_context_takeover
                || wanted.server_no_context_takeover,
            client_no_context_takeover: self.client_no_context_takeover
                || wanted.client_no_context_takeover,
            server_max_window_bits: windows.min(),
            client_max_window_bits: wanted.client_max_window_bits,
        }
    }

    /// Whether `answer` has a parameter that this offer did not ask for.
    pub(crate) fn asks_less_than(&self, answer: &Parameters) -> bool {
        answer.server_no_context_takeover && !self.server_no_context_takeover
            || answer.client_no_context_takeover && !self.client_no_context_takeover
            || answer.server_max_window_bits.is_some() && self.server_max_window_bits.is_none()
    }

    /// An inflater for what `sender` sends, if these are the parameters of the response.
    pub fn inflater(&self, sender: Role) -> Inflater {
        match sender {
            Role::Server => Inflater::new(
                self.server_max_window_bits.unwrap_or(15),
                !self.server_no_context_takeover,
            ),
            Role::Client => Inflater::new(
                self.client_max_window_bits.flatten().unwrap_or(15),
                !self.client_no_context_takeover,
            ),
        }
    }
}

/// What a block of DEFLATE is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Token {
    /// One byte.
    Literal(u8),
    /// `length` bytes (3 to 258) from `distance` bytes back (1 to 32768).
    Copy {
        /// How many.
        length: usize,
        /// How far back.
        distance: usize,
    },
}

/// Writes blocks by hand, so that a case says exactly what is in them.
#[derive(Clone, Debug, Default)]
pub struct Blocks {
    bytes: Vec<u8>,
    /// The bits used of the last byte; 0 at a byte boundary.
    used: u8,
}

impl Blocks {
    /// No block yet.
    pub fn new() -> Blocks {
        Blocks::default()
    }

    fn bit(&mut self, bit: usize) {
        if self.used == 0 {
            self.bytes.push(0);
        }
        if let Some(last) = self.bytes.last_mut() {
            *last |= (bit as u8 & 1) << self.used;
        }
        self.used = (self.used + 1) % 8;
    }

    /// A number, the least significant bit first.
    fn number(&mut self, value: usize, count: usize) {
        for shift in 0..count {
            self.bit(value >> shift);
        }
    }

    /// A Huffman code, the most significant bit first.
    fn code(&mut self, value: usize, count: usize) {
        for shift in (0..count).rev() {
            self.bit(value >> shift);
        }
    }

    fn align(&mut self) {
        self.used = 0;
    }

    /// A stored block of up to 65535 bytes.
    pub fn stored(mut self, data: &[u8], last: bool) -> Blocks {
        self.number(usize::from(last), 1);
        self.number(0, 2);
        self.align();
        let length = data.len() as u16;
        self.bytes.extend(length.to_le_bytes());
        self.bytes.extend((!length).to_le_bytes());
        self.bytes.extend(data);
        self
    }

    /// A block of the fixed codes.
    pub fn fixed(mut self, tokens: &[Token], last: bool) -> Blocks {
        self.number(usize::from(last), 1);
        self.number(1, 2);
        for token in tokens {
            match *token {
                Token::Literal(byte) => self.symbol(usize::from(byte)),
                Token::Copy { length, distance } => self.copy(length, distance),
            }
        }
        self.symbol(256);
        if last {
            self.align();
        }
        self
    }

    fn symbol(&mut self, symbol: usize) {
        match symbol {
            0..144 => self.code(0x30 + symbol, 8),
            144..256 => self.code(0x190 + symbol - 144, 9),
            256..280 => self.code(symbol - 256, 7),
            _ => self.code(0xc0 + symbol - 280, 8),
        }
    }

    fn copy(&mut self, length: usize, distance: usize) {
        let place = |table: &[(usize, usize)], value: usize| {
            let index = table.partition_point(|entry| entry.0 <= value) - 1;
            (index, value - table[index].0, table[index].1)
        };
        let (symbol, rest, extra) = place(&LENGTHS, length);
        self.symbol(257 + symbol);
        self.number(rest, extra);
        let (symbol, rest, extra) = place(&DISTANCES, distance);
        self.code(symbol, 5);
        self.number(rest, extra);
    }

    /// The payload of a message: after the flush whose 00 00 FF FF is not sent (7.2.1).
    pub fn message(mut self) -> Vec<u8> {
        self.number(0, 3);
        self.align();
        self.bytes
    }

    /// The bytes as they are, without a flush.
    pub fn bytes(self) -> Vec<u8> {
        self.bytes
    }
}

/// `data` as literals of one fixed block.
pub fn literals(data: &[u8]) -> Vec<u8> {
    let tokens: Vec<Token> = data.iter().map(|&byte| Token::Literal(byte)).collect();
    Blocks::new().fixed(&tokens, false).message()
}
