//! What happens on a day, and how it is drawn.
use crate::support::sampled;
use std::time::Duration;
use tickwire::{ProtocolError, Retry, handshake::HandshakeError};
use tickwire_feed::{Cause, Ended, Limits, Recovery};

pub(crate) const SECOND: Duration = Duration::from_secs(1);
pub(crate) const MINUTE: Duration = Duration::from_secs(60);

/// SplitMix64.
pub(crate) struct Draw(pub u64);

impl Draw {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }

    pub(crate) fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    pub(crate) fn of<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())]
    }

    pub(crate) fn time(&mut self, from: Duration, to: Duration) -> Duration {
        from + Duration::from_micros(self.next() % (to - from).as_micros().max(1) as u64)
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Kind {
    /// One address has a fault of its own, and the others are well.
    Broken,
    /// Some subscriptions get no answer, or no data, from any address, of which there are two.
    Ignored,
    /// The same, with three addresses.
    IgnoredByThree,
    /// Numbers are skipped and begin anew, snapshots fail, replicas are behind.
    Counts,
    /// Outages, cuts, Retry-After.
    Outages,
    /// The same, without numbers: a checksum says that the book is wrong.
    Checksums,
    /// Nothing is wrong: the market is quiet, or there are keepalives.
    Quiet,
    /// All of it.
    Mixed,
    /// For some seconds, an address or all of them refuse each attempt in one way.
    Refused,
    /// The exchange gives a topic up while it is followed: no more data, and it refuses who asks.
    Delisted,
    /// The program sends messages of its own, all day.
    Own,
    /// Servers fall silent, and their connections stay open: only a question finds it.
    Silent,
    /// Forty books and more begin anew at once, and the host bans whoever asks for all of them.
    Books,
    /// The settings are at the ends of their ranges, so that only some promises can be kept.
    Ends,
}

impl Kind {
    pub(crate) fn ignores(self) -> bool {
        matches!(self, Self::Ignored | Self::IgnoredByThree)
    }
}

/// How the exchange counts the messages of a topic.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Count {
    Seq,
    Range,
    /// `prev` and `seq`, with jumps.
    Prev,
    /// The same, with keepalives without a number while there is no data.
    Keepalive,
    /// The same, but each has the number of the last data.
    Heartbeat,
    /// Each connection counts from 1.
    Connection,
    /// The same, but one count has all messages of a connection.
    Shared,
    /// The same, with keepalives.
    SharedKeepalive,
    /// No numbers: each message has a checksum of the book.
    Checksum,
}

impl Count {
    pub(crate) fn has_keepalives(self) -> bool {
        matches!(self, Self::Keepalive | Self::Heartbeat | Self::SharedKeepalive)
    }

    pub(crate) fn is_shared(self) -> bool {
        matches!(self, Self::Shared | Self::SharedKeepalive)
    }

    pub(crate) fn is_per_connection(self) -> bool {
        self == Self::Connection || self.is_shared()
    }
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Topic {
    pub count: Count,
    /// The time between two messages, from half of it to one and a half.
    pub every: Duration,
    /// It has no data, on any connection.
    pub dead: bool,
    /// Its subscription gets no answer either.
    pub ignored: bool,
    /// Its subscription is refused.
    pub refused: bool,
    /// This address accepts it, and has no data of it.
    pub mute_at: Option<usize>,
    pub ask_after: Option<Duration>,
    pub leave_after: Option<Duration>,
    pub recovery: Recovery,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Fault {
    /// Each attempt ends so.
    Attempt(Ended),
    /// Each connection ends by this code after a second.
    Short(u16),
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Trouble {
    /// The oldest connection ends so.
    Cut(Ended),
    /// The fault of an address is now that of the next, whose connections are cut.
    Moves,
    /// Attempts at this address, or at all, end so.
    Down { address: Option<usize>, lasts: Duration, ended: Ended },
    /// The servers of an address stand still.
    Frozen { address: usize, lasts: Duration },
    /// All counts begin at 1 again; whether all connections are cut.
    Anew { cut: bool },
    /// The exchange says that it is going to end the connections, and does it a minute later.
    Ending,
    /// What the oldest connection brings is no use: the key is refused, or it is another feed.
    Wrong(Retry),
    /// Snapshots fail.
    NoSnapshots { lasts: Duration, retry_after: Option<Duration> },
    /// The machine was suspended.
    Wake,
    /// The servers of an address say nothing more, and their connections stay open.
    Mute { address: usize, lasts: Duration },
    /// The exchange gives up this topic. Over connections that have it, it may answer as before.
    Delisted { topic: usize, answers: bool },
}

#[derive(Clone, Debug)]
pub(crate) struct Day {
    pub kind: Kind,
    pub seed: u64,
    pub length: Duration,
    /// From here on there is no trouble, but for the faults that last all day.
    pub calm: Duration,
    pub lines: usize,
    pub batch: usize,
    pub login: bool,
    pub probe_after: Option<Duration>,
    /// The exchange cuts connections of this age.
    pub life: Option<Duration>,
    /// The fault of each address, and how far its replica is behind.
    pub addresses: Vec<(Option<Fault>, Duration)>,
    pub topics: Vec<Topic>,
    /// One in so many messages is skipped on a connection.
    pub skipped: Option<usize>,
    /// Whether answers repeat the question's id; otherwise they name the subscription.
    pub by_id: bool,
    /// Whether snapshots are asked for over the connection.
    pub over_socket: bool,
    /// The exchange sends a snapshot behind each subscription, and others unasked.
    pub pushes: bool,
    pub troubles: Vec<(Duration, Trouble)>,
    /// The program sends a message of its own over each connection, once in this time.
    pub own: Option<Duration>,
    pub limits: Limits,
    pub answer_within: Duration,
    /// The program's `life` and `lead`, if they are not those of the exchange.
    pub renews: Option<(Duration, Duration)>,
    /// More snapshots than this in ten seconds, and the host wants to be left alone.
    pub most_snapshots: usize,
}

pub(crate) fn closed(code: u16) -> Ended {
    Ended::closed(code, "")
}

pub(crate) fn refused(status: u16, retry_after: Option<Duration>) -> Ended {
    Ended::Refused { status, retry_after, text: Default::default() }
}

/// The end of a connection that has settled, which is nobody's fault.
fn harmless(draw: &mut Draw) -> Ended {
    match draw.below(7) {
        0 => Ended::Failed(Cause::Cut),
        1 => Ended::Failed(Cause::Protocol(ProtocolError::BadUtf8.into())),
        _ => closed(draw.of(&[1000, 1001, 1006, 1008, 1011])),
    }
}

fn fault(draw: &mut Draw) -> Fault {
    match draw.below(11) {
        0 => Fault::Attempt(refused(403, None)),
        1 => Fault::Attempt(refused(404, None)),
        2 => Fault::Attempt(Ended::Failed(Cause::Handshake(HandshakeError::NoSubprotocol))),
        3 => Fault::Attempt(refused(401, None)),
        4 => Fault::Attempt(Ended::Failed(Cause::CertificateRefused)),
        5 => Fault::Attempt(Ended::Failed(Cause::CertificateExpired)),
        6 => Fault::Attempt(Ended::Failed(Cause::ConnectionRefused)),
        7 => Fault::Attempt(refused(500, None)),
        _ => Fault::Short(draw.of(&[1000, 1006, 1011])),
    }
}

/// How an address refuses attempts for some seconds, and what people do or tell it meanwhile.
fn refusal(draw: &mut Draw) -> Ended {
    match draw.below(9) {
        0 => refused(401, None),
        1 => refused(403, None),
        2 => refused(404, None),
        3 | 4 => refused(429, None),
        5 => refused(418, None),
        6 => refused(503, None),
        7 => Ended::Failed(Cause::CertificateExpired),
        _ => {
            let retry = tickwire::Retry::BackOff;
            let retry_after = draw.of(&[Duration::ZERO, 20 * SECOND]);
            Ended::Failed(Cause::NoToken { retry, retry_after })
        }
    }
}

fn topic(kind: Kind, few: bool, addresses: usize, draw: &mut Draw) -> Topic {
    use Count::{Checksum, Connection, Heartbeat, Keepalive, Prev, Range, Seq};
    let busy = if few { (SECOND / 2, 3 * SECOND) } else { (20 * SECOND, 100 * SECOND) };
    let quiet = (100 * SECOND, 15 * MINUTE);
    let range = if kind == Kind::Quiet || draw.one_in(4) { quiet } else { busy };
    let every = draw.time(range.0, range.1);
    let count = match kind {
        Kind::Checksums => Checksum,
        _ => draw.of(&[Seq, Range, Prev, Keepalive, Heartbeat, Connection]),
    };
    let resume = count == Connection || count != Checksum && draw.one_in(3);
    let asked = kind.ignores() || !draw.one_in(3);
    let longest = every * 2 + 20 * SECOND;
    let leaves = asked && draw.one_in(3);
    let odd = kind == Kind::Mixed && !few;
    Topic {
        count,
        every,
        dead: odd && draw.one_in(20),
        ignored: false,
        refused: odd && draw.one_in(30),
        mute_at: (odd && draw.one_in(10)).then(|| draw.below(addresses)),
        ask_after: asked.then(|| draw.time(5 * SECOND, MINUTE)),
        leave_after: leaves.then_some(if count.has_keepalives() { MINUTE } else { longest }),
        recovery: if resume { Recovery::Resume } else { Recovery::Snapshot },
    }
}

fn trouble(kind: Kind, addresses: usize, draw: &mut Draw) -> Trouble {
    let lasts = match draw.one_in(3) {
        true => draw.time(MINUTE, 20 * MINUTE),
        false => draw.time(SECOND, 30 * SECOND),
    };
    let fails = matches!(kind, Kind::Counts | Kind::Checksums);
    match draw.below(if fails { 8 } else { 12 }) {
        0..=3 => Trouble::Cut(harmless(draw)),
        4 | 5 if kind != Kind::Outages => Trouble::Anew { cut: draw.one_in(2) },
        6 | 7 if kind != Kind::Outages => {
            let retry_after = draw.one_in(2).then(|| draw.time(SECOND, lasts + 2 * SECOND));
            Trouble::NoSnapshots { lasts, retry_after }
        }
        8 => Trouble::Frozen { address: draw.below(addresses), lasts },
        9 => draw.of(&[
            Trouble::Cut(closed(1012)),
            Trouble::Cut(closed(1013)),
            Trouble::Wake,
            Trouble::Ending,
            Trouble::Wrong(Retry::Alarm),
            Trouble::Wrong(Retry::Stop),
        ]),
        _ => {
            let ended = draw.of(&[
                Ended::Failed(Cause::ConnectionRefused),
                Ended::Failed(Cause::ConnectTimeout),
                Ended::Failed(Cause::Unreachable),
                refused(503, None),
                refused(429, Some(lasts.min(2 * MINUTE))),
            ]);
            let address = draw.one_in(2).then(|| draw.below(addresses));
            Trouble::Down { address, lasts, ended }
        }
    }
}

impl Day {
    pub(crate) fn draw(kind: Kind, seed: u64) -> Self {
        let mut draw = Draw((seed << 3) + kind as u64);
        let addresses = match kind {
            Kind::Broken => 2 + draw.below(2),
            Kind::Ignored => 1 + draw.below(2),
            Kind::IgnoredByThree => 3,
            Kind::Refused => 1 + draw.below(2),
            _ => 1 + draw.below(3),
        };
        let lagging = matches!(kind, Kind::Counts | Kind::Checksums | Kind::Mixed | Kind::Ends);
        let mut replicas: Vec<_> = (0..addresses)
            .map(|_| {
                (None, if lagging { draw.time(Duration::ZERO, SECOND / 2) } else { SECOND / 99 })
            })
            .collect();
        if kind == Kind::Broken || kind == Kind::Mixed && addresses > 1 && draw.one_in(3) {
            let at = draw.below(addresses);
            replicas[at].0 = Some(fault(&mut draw));
        }
        // A hundred topics take a minute of the processor without `--release`.
        let count = draw.of(&[1, 2, 3, 10, sampled(100, 10)]);
        let count = match kind {
            Kind::Books => 40 + draw.below(20),
            _ => 1 + draw.below(count),
        };
        let mut topics: Vec<_> =
            (0..count).map(|n| topic(kind, n < 2, addresses, &mut draw)).collect();
        if kind.ignores() {
            let ignored = draw.one_in(2);
            for _ in 0..1 + draw.below(3) {
                let topic = &mut topics[draw.below(count)];
                topic.dead = true;
                topic.ignored = ignored;
                topic.leave_after = Some(draw.time(MINUTE, 3 * MINUTE)).filter(|_| !ignored);
            }
        }
        let mut more = Draw(!draw.0);
        let pushes = more.one_in(3);
        if more.one_in(3) {
            for topic in topics.iter_mut().filter(|of| of.count != Count::Checksum) {
                if more.one_in(2) {
                    topic.count = match topic.count.has_keepalives() {
                        true => Count::SharedKeepalive,
                        false => Count::Shared,
                    };
                    topic.recovery = Recovery::Resume;
                }
            }
        }
        for topic in topics.iter_mut().filter(|of| of.count.is_per_connection()) {
            if pushes && more.one_in(2) {
                topic.recovery = Recovery::Snapshot;
            }
        }
        if kind == Kind::Books {
            for topic in &mut topics {
                topic.count = more.of(&[Count::Seq, Count::Range]);
                topic.recovery = Recovery::Snapshot;
                topic.leave_after = None;
            }
        }
        let length = draw.time(100 * MINUTE, 160 * MINUTE);
        let calm = length - 50 * MINUTE;
        let most = if kind == Kind::Quiet { 0 } else { 1 + draw.below(12) };
        let mut troubles: Vec<_> = (0..most)
            .map(|_| {
                let what = match kind {
                    Kind::Broken
                    | Kind::Delisted
                    | Kind::Own
                    | Kind::Silent
                    | Kind::Books
                    | Kind::Ends => Trouble::Cut(harmless(&mut draw)),
                    _ if kind.ignores() => Trouble::Cut(harmless(&mut draw)),
                    _ => trouble(kind, addresses, &mut draw),
                };
                (draw.time(SECOND, calm), what)
            })
            .collect();
        if kind == Kind::Broken && draw.one_in(2) {
            // Soon after a connection has settled, and before an alarm would be over.
            let mut at = Duration::ZERO;
            for _ in 0..1 + draw.below(6) {
                let most = if draw.one_in(2) { 80 * SECOND } else { 20 * MINUTE };
                at += draw.time(62 * SECOND, most);
                troubles.push((at, Trouble::Moves));
            }
        }
        if kind == Kind::Refused {
            // A connection has settled in between.
            troubles.clear();
            for nth in 1..4 {
                let at = 25 * MINUTE * nth - draw.time(Duration::ZERO, 10 * MINUTE);
                let address = draw.one_in(2).then(|| draw.below(addresses));
                let lasts = draw.time(SECOND, 55 * SECOND);
                troubles.push((at, Trouble::Down { address, lasts, ended: refusal(&mut draw) }));
            }
        }
        if kind == Kind::Silent {
            for _ in 0..1 + more.below(4) {
                let address = more.below(addresses);
                let lasts = more.time(SECOND, 10 * MINUTE);
                troubles.push((more.time(SECOND, calm), Trouble::Mute { address, lasts }));
            }
        }
        if kind == Kind::Books {
            troubles.push((more.time(MINUTE, calm), Trouble::Anew { cut: true }));
        }
        if kind == Kind::Delisted {
            let at = draw.below(count);
            topics[at].ask_after = Some(draw.time(5 * SECOND, 30 * SECOND));
            let longest = topics[at].every * 2 + 40 * SECOND;
            topics[at].leave_after = draw.one_in(2).then_some(longest);
            let when = draw.time(SECOND, calm);
            let answers = topics[at].leave_after.is_some() && draw.one_in(2);
            troubles.push((when, Trouble::Delisted { topic: at, answers }));
        }
        troubles.retain(|(at, _)| *at < calm);
        troubles.sort_by_key(|(at, _)| *at);
        let keeps = matches!(kind, Kind::Broken | Kind::Refused | Kind::Delisted);
        let rotates = !keeps && !kind.ignores() && draw.one_in(3);
        let mut day = Self {
            kind,
            seed,
            length,
            calm,
            lines: 1 + draw.below(2),
            batch: draw.of(&[1, 10, 100]),
            login: draw.one_in(3),
            probe_after: draw.one_in(3).then(|| draw.time(3 * SECOND, 30 * SECOND)),
            life: rotates.then(|| draw.time(20 * MINUTE, 60 * MINUTE)),
            addresses: replicas,
            topics,
            skipped: lagging.then(|| 20 + draw.below(500)),
            by_id: draw.one_in(2),
            over_socket: draw.one_in(3),
            pushes,
            troubles,
            own: (kind == Kind::Own).then(|| draw.time(SECOND / 10, SECOND / 2)),
            limits: Limits::default(),
            answer_within: 3 * SECOND,
            renews: None,
            most_snapshots: if kind == Kind::Books { 12 } else { usize::MAX },
        };
        if kind == Kind::Counts && more.one_in(2) {
            // A gap each ten to thirty seconds: each could have its snapshot at once.
            day.skipped = Some(15 + more.below(15));
            day.topics[0].every = more.time(SECOND / 2, SECOND);
        }
        match kind {
            Kind::Silent => day.probe_after = Some(more.time(3 * SECOND, 30 * SECOND)),
            Kind::Ends => day.draw_ends(&mut more),
            _ => {}
        }
        day
    }

    fn draw_ends(&mut self, draw: &mut Draw) {
        let ends = [Duration::ZERO, Duration::from_nanos(1), SECOND, Duration::MAX];
        self.length = 20 * MINUTE;
        self.calm = self.length - MINUTE;
        for (at, _) in &mut self.troubles {
            *at = draw.time(SECOND, self.calm);
        }
        self.troubles.sort_by_key(|(at, _)| *at);
        self.pushes = false;
        self.life = None;
        self.batch = draw.of(&[0, 1, usize::MAX]);
        self.probe_after = draw.one_in(2).then(|| draw.of(&ends));
        self.answer_within = draw.of(&ends);
        self.renews = Some((draw.of(&ends), draw.of(&ends)));
        self.limits = Limits {
            most_kept: draw.below(9),
            most_bytes: draw.below(9_000),
            reach: 1 + draw.below(300) as u64,
            patience: draw.time(Duration::ZERO, 2 * SECOND),
        };
        for topic in &mut self.topics {
            topic.every = draw.time(SECOND / 10, SECOND * 10);
            topic.count = draw.of(&[Count::Seq, Count::Range]);
            topic.ask_after = draw.one_in(2).then(|| draw.of(&ends));
            topic.leave_after = draw.one_in(2).then(|| draw.of(&ends));
        }
    }
}
