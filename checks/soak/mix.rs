//! What is drawn by lot: kinds of messages, ways to end, contents.
use testkit::Rng;

/// A text that compresses, of at least so many bytes.
pub(crate) fn text(rng: &mut Rng, len: usize) -> String {
    let mut text = String::new();
    while text.len() < len {
        text += rng.of(&WORDS);
        text.push(' ');
    }
    text
}

/// Something of which there are a few kinds, each with a name and how often it is drawn, in
/// percent.
pub(crate) trait Kind: Copy + PartialEq + 'static {
    const ALL: &'static [(&'static str, Self, usize)];

    fn name(self) -> &'static str {
        Self::ALL.iter().find(|kind| kind.1 == self).map_or("", |kind| kind.0)
    }

    fn named(wanted: &str) -> Option<Self> {
        Self::ALL.iter().find(|kind| kind.0 == wanted).map(|kind| kind.1)
    }

    fn draw(rng: &mut Rng) -> Option<Self> {
        let mut left = rng.below(100);
        for &(_, kind, weight) in Self::ALL {
            if left < weight {
                return Some(kind);
            }
            left -= weight;
        }
        None
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
    const ALL: &'static [(&'static str, Self, usize)] = &[
        ("small", Self::Small, 65),
        ("text", Self::Text, 20),
        ("large", Self::Large, 1),
        ("burst", Self::Burst, 4),
        ("ping", Self::Ping, 10),
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
    const ALL: &'static [(&'static str, Self, usize)] = &[
        ("client", Self::Client, 50),
        ("server", Self::Server, 26),
        ("abort", Self::Abort, 8),
        ("reset", Self::Reset, 7),
        ("drop", Self::Drop, 7),
        ("client-silent", Self::ClientSilent, 1),
        ("server-silent", Self::ServerSilent, 1),
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
