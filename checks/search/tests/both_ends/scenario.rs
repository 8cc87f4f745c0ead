//! What is explored.
use crate::end::Op::{self, Abort, Close, Fail, First, Last, Message, Ping, Violate};
use std::time::Duration;
use tickwire::{Config, Heartbeat};

const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);
const FRAME_TIMEOUT: Duration = Duration::from_secs(7);
const WRITE_TIMEOUT: Duration = Duration::from_secs(3);
/// Longer than `CLOSE_TIMEOUT`, as by default.
const LONG_WRITE_TIMEOUT: Duration = Duration::from_secs(9);

/// In what order an end does what it can do. The stream and the application take any time in all of
/// them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pace {
    /// As `order` says: what the end has to do comes first, and the stream takes what is written at
    /// once, unless it refuses everything.
    Prompt,
    /// Messages may be fed, and bytes read, before the stream takes what was fed earlier.
    Loose,
    /// Any order; and time may pass though an end has something to do.
    Lazy,
}

/// What is explored: what each application does, and how often what may go wrong does.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    pub(crate) client: &'static [Op],
    pub(crate) server: &'static [Op],
    /// How often a read or a write ends inside a frame; any number of times if `MANY`.
    pub(crate) cuts: u8,
    /// How many faults of the stream.
    pub(crate) faults: u8,
    /// How often a stream refuses bytes.
    pub(crate) blocks: u8,
    /// How often time passes without a deadline.
    pub(crate) delays: u8,
    pub(crate) pace: Pace,
    /// Closes are answered by the application.
    pub(crate) by_hand: bool,
    pub(crate) heartbeat: bool,
    /// `LONG_WRITE_TIMEOUT`, so `close_timeout` is the time for writing once an end closes.
    pub(crate) long_writes: bool,
    /// How often time may pass: without a heartbeat it ends by itself.
    pub(crate) ticks: u8,
}

pub(crate) const MANY: u8 = u8::MAX;

impl Scenario {
    pub(crate) fn config(&self) -> Config {
        let heartbeat = Heartbeat::new(Duration::from_secs(10), Duration::from_secs(4));
        Config {
            read_buffer: 512,
            close_timeout: CLOSE_TIMEOUT,
            frame_timeout: FRAME_TIMEOUT,
            write_timeout: if self.long_writes { LONG_WRITE_TIMEOUT } else { WRITE_TIMEOUT },
            auto_close: !self.by_hand,
            heartbeat: self.heartbeat.then_some(heartbeat),
            ..Config::default()
        }
    }

    /// The most that closing takes: the clock on writing, up to a quarter more, for the few bytes
    /// here, which give little of it back; then the peer's Close, what it goes on sending, and the
    /// last phases.
    pub(crate) fn closing(&self) -> Duration {
        let writing = if self.long_writes { CLOSE_TIMEOUT } else { WRITE_TIMEOUT };
        writing * 5 / 4 + 2 * CLOSE_TIMEOUT + Duration::from_secs(2)
    }
}

const PLAIN: Scenario = Scenario {
    name: "",
    client: &[],
    server: &[],
    cuts: MANY,
    faults: 0,
    blocks: 0,
    delays: 0,
    pace: Pace::Prompt,
    by_hand: false,
    heartbeat: false,
    long_writes: false,
    ticks: MANY,
};

/// Within seconds, not optimised.
pub(crate) fn short() -> Vec<Scenario> {
    const ONE: Scenario = Scenario { faults: 1, cuts: 0, ..PLAIN };
    vec![
        Scenario { name: "close", client: &[Close], server: &[Message, Close], ..ONE },
        Scenario { name: "abort", client: &[First, Abort], server: &[Ping], ..ONE },
        Scenario { name: "fail", client: &[Ping], server: &[Message, Fail], ..ONE },
        Scenario { name: "violation", client: &[Violate], server: &[Ping], ..ONE },
        Scenario { name: "behind", client: &[Close], server: &[Ping, Close], ..PLAIN },
        Scenario {
            name: "refused",
            client: &[Close],
            server: &[Ping, Close],
            cuts: 1,
            blocks: 1,
            ..PLAIN
        },
        Scenario {
            name: "long writes",
            client: &[Close],
            server: &[Ping],
            cuts: 1,
            blocks: 1,
            long_writes: true,
            ..PLAIN
        },
    ]
}

/// Two ends with four frames each, under each two kinds of what may go wrong; and shorter ones
/// under all of it.
pub(crate) fn full() -> Vec<Scenario> {
    let fragments: &[Op] = &[First, Last, Ping, Close];
    let messages: &[Op] = &[Message, Ping, Message, Close];
    let aborts: &[Op] = &[First, Last, Ping, Abort];
    let fails: &[Op] = &[Message, Ping, Fail, Message];
    let behind: &[Op] = &[Ping, Close, Ping, Message];
    let violates: &[Op] = &[First, Ping, Violate, Close];
    let pairs: [(&str, &[Op], &[Op]); 6] = [
        ("close", fragments, messages),
        ("abort", messages, aborts),
        ("fail", fails, fragments),
        ("behind", behind, behind),
        ("violation", violates, messages),
        ("by hand", messages, fragments),
    ];
    const CALM: Scenario = Scenario { cuts: 0, ..PLAIN };
    let four = pairs.into_iter().flat_map(|(name, client, server)| {
        let by_hand = name == "by hand";
        let plain = Scenario { name, client, server, by_hand, ..CALM };
        // Each kind of what may go wrong, and each two of them.
        (0..16_u8).filter(|kinds| kinds.count_ones() <= 2).map(move |kinds| {
            let [faults, blocks, delays, cuts] = [0, 1, 2, 3].map(|n| kinds >> n & 1);
            let cuts = if kinds == 8 { MANY } else { cuts };
            Scenario { faults, blocks, delays, cuts, ..plain }
        })
    });
    const ALL: Scenario = Scenario { cuts: 1, faults: 1, blocks: 1, delays: 1, ..PLAIN };
    let two = [
        Scenario { name: "two", client: &[Message, Close], server: &[Ping, Close], ..ALL },
        Scenario { name: "two", client: &[First, Abort], server: &[Ping, Fail], ..ALL },
        Scenario { name: "two", client: &[Close, Ping], server: &[Violate], ..ALL },
        Scenario {
            name: "long writes",
            client: &[Close],
            server: &[Ping, Close],
            cuts: 1,
            blocks: 1,
            long_writes: true,
            ..PLAIN
        },
        Scenario { name: "two faults", client: &[Close], server: &[Message], faults: 2, ..ALL },
        Scenario { name: "loose", client: &[Ping, Close], server: &[Message, Close], ..CALM },
        Scenario { name: "loose", client: &[Close], server: &[Ping, Abort], faults: 1, ..CALM },
        Scenario { name: "lazy", client: &[Message], server: &[Ping, Fail], faults: 1, ..CALM },
        Scenario { name: "lazy", client: &[Close], server: &[Close], faults: 1, ..CALM },
        Scenario {
            name: "heartbeat",
            client: &[Close],
            heartbeat: true,
            ticks: 16,
            faults: 1,
            ..CALM
        },
    ];
    let paced = two.into_iter().map(|it| match it.name {
        "loose" => Scenario { pace: Pace::Loose, ..it },
        "lazy" => Scenario { pace: Pace::Lazy, ..it },
        _ => it,
    });
    let mut all: Vec<_> = four.chain(paced).collect();
    // What is found soon is found first.
    all.sort_by_key(|it| {
        [it.cuts, it.faults, it.blocks, it.delays].iter().filter(|n| **n > 0).count()
    });
    all
}
