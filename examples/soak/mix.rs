//! What is drawn by lot: kinds of messages, ways to end, contents.
use std::{error::Error, iter, str::FromStr, sync::OnceLock};

/// Numbers that are the same in each run with the same seed (xorshift).
#[derive(Clone, Debug)]
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    /// A number below `sides`, which is not 0.
    pub(crate) fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % sides
    }
}

/// Something of which there are a few kinds, each with a name.
pub(crate) trait Kind: Copy + PartialEq + 'static {
    const ALL: &'static [(&'static str, Self)];

    fn name(self) -> &'static str {
        Self::ALL.iter().find(|&&(_, kind)| kind == self).map_or("", |&(name, _)| name)
    }

    fn named(wanted: &str) -> Option<Self> {
        Self::ALL.iter().find(|&&(name, _)| name == wanted).map(|&(_, kind)| kind)
    }
}

/// How often each kind is drawn, beside the others: `small=60,text=20`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Mix<K>(Vec<(K, usize)>);

impl<K: Kind> Mix<K> {
    pub(crate) fn draw(&self, dice: &mut Dice) -> Option<K> {
        let mut left = dice.roll(self.0.iter().map(|&(_, weight)| weight).sum());
        for &(kind, weight) in &self.0 {
            if left < weight {
                return Some(kind);
            }
            left -= weight;
        }
        None
    }
}

impl<K: Kind> FromStr for Mix<K> {
    type Err = Box<dyn Error + Send + Sync>;

    fn from_str(list: &str) -> Result<Self, Self::Err> {
        let mut mix = Vec::new();
        for item in list.split(',') {
            let (name, weight) = item.split_once('=').ok_or("a mix is NAME=WEIGHT,...")?;
            let kind = K::named(name).ok_or_else(|| format!("{name}: no such kind"))?;
            mix.push((kind, weight.parse::<u32>()? as usize));
        }
        if mix.iter().all(|&(_, weight)| weight == 0) {
            return Err("all weights are 0".into());
        }
        Ok(Self(mix))
    }
}

/// What a client does once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exchange {
    /// A binary message of 16 to 272 bytes, echoed.
    Small,
    /// A text of 100 to 1100 bytes, echoed.
    Text,
    /// A message of 32 to 256 KiB in fragments of up to 16 KiB, echoed.
    Large,
    /// 2 to 16 small ones in one write, each echoed.
    Burst,
    /// A Ping and its Pong.
    Ping,
}

impl Kind for Exchange {
    const ALL: &'static [(&'static str, Self)] = &[
        ("small", Self::Small),
        ("text", Self::Text),
        ("large", Self::Large),
        ("burst", Self::Burst),
        ("ping", Self::Ping),
    ];
}

/// How a connection ends; the client says so beforehand, in a message, which is echoed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// The client closes, and the server answers.
    Client,
    /// The server closes, and the client answers.
    Server,
    /// The server closes at once, with another code.
    Abort,
    /// The client vanishes in the middle of a message, with input unread: a reset.
    Reset,
    /// The server ends the stream without a Close.
    Drop,
    /// The client reads no more frames: the server's heartbeat ends it.
    ClientSilent,
    /// The server reads no more frames: the client's heartbeat ends it.
    ServerSilent,
}

impl Kind for Ending {
    const ALL: &'static [(&'static str, Self)] = &[
        ("client", Self::Client),
        ("server", Self::Server),
        ("abort", Self::Abort),
        ("reset", Self::Reset),
        ("drop", Self::Drop),
        ("client-silent", Self::ClientSilent),
        ("server-silent", Self::ServerSilent),
    ];
}

const ANNOUNCE: &str = "/end ";

impl Ending {
    pub(crate) fn announcement(self) -> String {
        format!("{ANNOUNCE}{}", self.name())
    }

    /// The way that a message announces, if it does.
    pub(crate) fn announced(text: &str) -> Option<Self> {
        text.strip_prefix(ANNOUNCE).and_then(Self::named)
    }
}

/// The longest message.
pub(crate) const LONGEST: usize = 256 << 10;

const WORDS: [&str; 8] = ["bid", "ask", "12.50", "€", "grün", "漢字", "🙂", "EURUSD"];

/// What messages are cut from, so that each has content of its own at no cost.
pub(crate) struct Material {
    /// Does not compress.
    noise: Vec<u8>,
    /// Does.
    words: String,
}

impl Material {
    pub(crate) fn get() -> &'static Self {
        static MATERIAL: OnceLock<Material> = OnceLock::new();
        MATERIAL.get_or_init(|| {
            let mut dice = Dice::new(7);
            let noise = (0..LONGEST + 65536).map(|_| dice.roll(256) as u8).collect();
            let words = iter::repeat_with(|| [WORDS[dice.roll(WORDS.len())], " "]);
            Self { noise, words: words.take(8192).flatten().collect() }
        })
    }

    pub(crate) fn bytes(&self, len: usize, dice: &mut Dice) -> &[u8] {
        let len = len.min(LONGEST);
        let at = dice.roll(self.noise.len() - len);
        &self.noise[at..at + len]
    }

    /// About so many bytes.
    pub(crate) fn text(&self, len: usize, dice: &mut Dice) -> &str {
        let whole = |mut at: usize| {
            while !self.words.is_char_boundary(at) {
                at -= 1;
            }
            at
        };
        let at = dice.roll(self.words.len() - len);
        &self.words[whole(at)..whole(at + len)]
    }
}
