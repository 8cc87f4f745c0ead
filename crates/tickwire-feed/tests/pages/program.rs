//! A program that follows the exchange as the pages of `Follower` say, and judges each action by
//! them.
use crate::day::{Count, Day, Fault, Kind, MINUTE, SECOND};
use crate::exchange::{Datum, Exchange, Input, LATENCY, Numbered};
use std::{collections::VecDeque, rc::Rc, time::Duration};
use tickwire::{Retry, Time};
use tickwire_feed::{
    Action, Asked, Attempts, Cause, Ended, Follower, Gap, Incoming, Recovery, Say,
};
use tickwire_feed::{ConnectionId, Settings, State, Subscription, Topic, Verdict, Why};
use tickwire_parts::Backoff;

const FIRST_DELAY: Duration = Duration::from_millis(100);
const SETTLED: Duration = MINUTE;
const NEVER: Duration = Duration::MAX;

/// What a message counts for on the heap.
const BYTES: usize = 1000;

/// A kept message. As many are alive as the counter has owners beside the program.
#[derive(Debug)]
struct Kept {
    datum: Datum,
    _alive: Rc<()>,
}

/// What the program makes of the follower's words, to prove that its judge sees it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Lie {
    Loses,
    Repeats,
    HidesGaps,
    HidesRestarts,
    AsksTwice,
    DialsTwice,
    SaysFiveTimes,
    NeverDials,
    StaysOpen,
    Hoards,
}

/// What a connection has brought of a topic.
#[derive(Clone, Copy)]
struct Brought {
    epoch: u64,
    /// Its first number on the connection.
    began: u64,
    last: u64,
    at: Duration,
    /// When it changed over from another count.
    turned: Option<Duration>,
}

struct Connection {
    id: ConnectionId,
    line: usize,
    address: usize,
    opened: Option<Duration>,
    logged_in: bool,
    left: bool,
    sent: VecDeque<Duration>,
    /// Each topic was answered, was refused, or has brought data.
    answered: Vec<bool>,
    brought: Vec<Option<Brought>>,
    /// A keepalive has come.
    kept_alive: Vec<bool>,
    /// The last number of all messages, and those before it that have not come.
    numbered: Option<Numbered>,
    missing: Vec<u64>,
}

/// How a count was first heard.
#[derive(Clone, Copy, Default)]
struct News {
    epoch: u64,
    at: Duration,
    first: u64,
    /// The number that the feed waited for.
    awaited: Option<u64>,
    /// It has reached that within the patience, so that it looks like the old one.
    caught_up: bool,
    /// By the first message of a connection, while there was no other one.
    alone: bool,
}

#[derive(Default)]
struct Book {
    /// The number that is delivered next; none before the first, and after a restart.
    next: Option<u64>,
    /// The count of what was delivered last.
    epoch: u64,
    /// The first number of the present count that has come.
    first: Option<u64>,
    news: News,
    /// The only connection has just said that it has sent all numbers up to this one.
    passed: Option<u64>,
    /// It waits for a snapshot, because of a gap or a restart.
    waits: bool,
    waits_since: Duration,
    restarted: Option<Duration>,
    distrusted: bool,
    request: Option<(u64, Duration)>,
    requests: VecDeque<Duration>,
    /// The connection whose data were used last.
    from: Option<ConnectionId>,
    /// Kept messages: whose they are, and their numbers.
    kept: Vec<(ConnectionId, Datum)>,
    /// The messages in the book.
    index: Option<u64>,
    /// For checksums: those that came while it waited.
    while_waiting: Option<(u64, u64)>,
}

impl Book {
    fn wait(&mut self, recovery: Recovery, now: Duration) {
        if !self.waits {
            self.waits_since = now;
        }
        self.waits = recovery == Recovery::Snapshot;
    }
}

#[derive(Default)]
struct Line {
    /// The dials without a connection since one settled, and since when.
    dials: u32,
    since: Duration,
    /// Where it ended last, and before when it does not dial that address.
    ended_at: usize,
    alarm: Duration,
    stopped: bool,
}

/// How an address has failed last.
#[derive(Clone, Copy, Default)]
struct Failed {
    at: Duration,
    line: usize,
    /// The longest that an alarm lasts.
    until: Duration,
}

#[derive(Debug, Default)]
pub(crate) struct Sums {
    pub dials: usize,
    pub snapshots: usize,
    pub dark: Duration,
    pub gaps: usize,
    /// Counts that began anew and caught up, or came later, so that their numbers hide it.
    pub hidden: usize,
}

pub(crate) struct Program {
    exchange: Exchange,
    follower: Follower<Kept>,
    attempts: Attempts,
    now: Duration,
    connections: Vec<Connection>,
    books: Vec<Book>,
    lines: Vec<Line>,
    dark: Option<Duration>,
    /// The alarm of an address that is well again holds back the dial that would end it.
    excused: bool,
    failed: Vec<Failed>,
    /// When the connection was opened that ended last.
    gone: Duration,
    dialed: Vec<Duration>,
    for_silence: Vec<Duration>,
    away: Duration,
    no_snapshot_before: Duration,
    /// When a snapshot was asked for last.
    asked: Option<Duration>,
    /// Snapshots that have come over a connection, and their ids, until what came before them is
    /// delivered.
    pushed: VecDeque<(usize, u64, Datum)>,
    /// Something has happened since the states were judged.
    moved: bool,
    waits: u64,
    alive: Rc<()>,
    lie: Option<Lie>,
    told: u64,
    hoard: Vec<Rc<()>>,
    pub trace: Vec<(Duration, String)>,
    pub faults: Vec<String>,
    pub sums: Sums,
}

impl Program {
    fn new(day: Day) -> Self {
        let settings = Settings {
            addresses: day.addresses.len(),
            batch: day.batch,
            login: day.login,
            probe_after: day.probe_after,
            answer_within: day.answer_within,
            limits: day.limits,
            ..Settings::new(|_: &Kept| BYTES)
        };
        let mut follower = Follower::new(settings);
        for line in 0..day.lines as u64 {
            let backoff = Backoff::seeded(day.seed * 2 + line).trading();
            let lead = (5 + 5 * line as u32) * MINUTE;
            let never = (Duration::MAX, Duration::ZERO);
            let planned = day.life.map_or(never, |life| (life, lead));
            let (life, lead) = day.renews.unwrap_or(planned);
            follower.add_line(backoff, life, lead);
        }
        for topic in &day.topics {
            let subscription = Subscription {
                ask_after: topic.ask_after,
                leave_after: topic.leave_after,
                recovery: topic.recovery,
                count: match topic.count {
                    Count::Connection => tickwire_feed::Count::Connection,
                    Count::Shared | Count::SharedKeepalive => tickwire_feed::Count::Shared,
                    _ => tickwire_feed::Count::Feed,
                },
            };
            assert!(follower.subscribe(subscription).is_some());
        }
        Self {
            follower,
            attempts: Attempts::new(250, 300 * SECOND).and(20, SECOND),
            now: Duration::ZERO,
            connections: Vec::new(),
            books: day.topics.iter().map(|_| Book::default()).collect(),
            lines: (0..day.lines).map(|_| Line::default()).collect(),
            dark: Some(Duration::ZERO),
            excused: false,
            failed: vec![Failed::default(); day.addresses.len()],
            gone: Duration::ZERO,
            dialed: Vec::new(),
            for_silence: Vec::new(),
            away: Duration::ZERO,
            no_snapshot_before: Duration::ZERO,
            asked: None,
            pushed: VecDeque::new(),
            moved: true,
            waits: 0,
            alive: Rc::new(()),
            lie: None,
            told: 0,
            hoard: Vec::new(),
            trace: Vec::new(),
            faults: Vec::new(),
            sums: Sums::default(),
            exchange: Exchange::new(day),
        }
    }

    /// Lives the day. Polls when asked, and once in this time too.
    pub(crate) fn live(day: Day, every: Option<Duration>) -> Self {
        Self::new(day).lives(every)
    }

    /// The day of a program that lies.
    pub(crate) fn lie(day: Day, lie: Lie) -> Self {
        let mut program = Self::new(day);
        program.lie = Some(lie);
        program.lives(None)
    }

    fn lives(self, every: Option<Duration>) -> Self {
        let mut program = self;
        let length = program.exchange.day.length;
        let mut besides = every.unwrap_or(NEVER);
        let own = program.exchange.day.own;
        let mut own_at = own.unwrap_or(NEVER);
        loop {
            let wait = program.poll();
            if let Some((topic, id, datum)) = program.pushed.pop_front() {
                program.take_pushed(topic, id, datum);
                continue;
            }
            let next = wait.min(besides).min(own_at).min(program.exchange.next().unwrap_or(NEVER));
            if next >= length || program.faults.len() > 3 {
                program.at_the_end();
                return program;
            }
            program.now = next;
            while program.exchange.next().is_some_and(|at| at <= next) {
                if let Some((id, input)) = program.exchange.step() {
                    program.hear(id, input);
                }
            }
            program.exchange.now = next;
            while own_at <= next {
                own_at += own.unwrap_or(NEVER);
                let open = program.connections.iter().filter(|of| of.opened.is_some());
                for id in open.map(|of| of.id) {
                    program.follower.sent(id, Time::new(next));
                }
            }
            while besides <= next {
                besides += every.unwrap_or(NEVER);
            }
        }
    }

    fn time(&self) -> Time {
        Time::new(self.now)
    }

    fn fault(&mut self, what: String) {
        self.faults.push(format!("{:?}: {what}", self.now));
    }

    fn check(&mut self, holds: bool, what: impl FnOnce() -> String) {
        if !holds {
            self.fault(what());
        }
    }

    fn find(&self, id: ConnectionId) -> Option<usize> {
        self.connections.iter().position(|connection| connection.id == id)
    }

    fn note(&mut self, what: String) {
        self.trace.push((self.now, what));
    }

    fn hear(&mut self, id: Option<ConnectionId>, input: Input) {
        self.moved = true;
        let now = self.time();
        let Some(id) = id else { return self.told(input) };
        let Some(n) = self.find(id) else { return };
        let numbered = self.exchange.numbered;
        if let Some(numbered) = numbered {
            self.note_number(n, numbered);
            // A message that is no data of such a count; if it is something else too, both is said.
            let of = match input {
                Input::Data(topic, _) | Input::Pushed(topic, _) => Some(topic),
                _ => None,
            };
            if of.is_none_or(|topic| !self.exchange.day.topics[topic].count.is_shared()) {
                let counted = Incoming::Counted(numbered.number);
                let verdict = self.follower.heard(id, counted, now, || unreachable!("no data"));
                self.check(verdict.is_none(), || format!("{verdict:?} about a number"));
            }
        }
        let incoming = match input {
            Input::Opened => {
                self.connections[n].opened = Some(self.now);
                self.note(format!("{id:?} opened"));
                self.follower.opened(id, now, &mut self.attempts);
                return self.see_dark();
            }
            Input::Ended(ended) => {
                self.note_failed(n);
                self.forget(n);
                self.note(format!("{id:?} {ended:?}"));
                if let Ended::Refused { status: 429, retry_after: Some(after), .. } = ended {
                    self.away = self.away.max(self.now + after);
                }
                self.follower.ended(id, ended, now, &mut self.attempts);
                return self.see_dark();
            }
            Input::Data(topic, datum) => return self.data(n, topic, datum),
            Input::Pushed(topic, datum) => return self.hear_pushed(n, topic, datum),
            Input::LoggedIn => {
                self.connections[n].logged_in = true;
                Incoming::LoggedIn
            }
            Input::Accepted(of) => Incoming::Answer(self.asked_for(of)),
            Input::Refused(of) => Incoming::Refused(self.asked_for(of)),
            Input::Ending => Incoming::Ending,
            Input::Wrong(retry) => {
                self.note_failed(n);
                self.note(format!("{id:?} wrong: {retry:?}"));
                self.connections[n].left = true;
                if retry == Retry::Stop {
                    self.exchange.go_on_after(5 * MINUTE); // somebody has seen to it
                }
                Incoming::Wrong(retry)
            }
            Input::Other => Incoming::Other,
            told => return self.told(told),
        };
        let verdict = self.follower.heard(id, incoming, now, || unreachable!("no data"));
        self.check(verdict.is_none(), || format!("{verdict:?} about no data"));
    }

    fn note_failed(&mut self, n: usize) {
        let Connection { line, address, .. } = self.connections[n];
        self.lines[line].ended_at = address;
        let failed = &mut self.failed[address];
        failed.at = self.now;
        failed.line = line;
        failed.until = self.now + 73 * SECOND;
    }

    fn asked_for(&self, of: Result<u64, usize>) -> Asked {
        of.map_or_else(Asked::Subscription, Asked::Question)
    }

    /// What comes over no connection.
    fn told(&mut self, input: Input) {
        let now = self.time();
        match input {
            Input::Snapshot { topic, id, book } => {
                let used = self.follower.snapshot(topic, id, book.next, now);
                let of = &self.books[topic];
                let asked = of.request.filter(|(request, _)| *request == id);
                let current = asked.is_some_and(|(_, at)| of.restarted.is_none_or(|r| r <= at));
                let waited = of.waits;
                let has_come = book.epoch <= of.news.epoch;
                if used {
                    self.take_book(topic, book.epoch, book.next, book.index);
                }
                let in_time = used || !current || !waited || !has_come;
                self.check(in_time, || format!("snapshot {id} not used"));
                self.check(!used || waited, || format!("snapshot {id} used, but none is missing"));
                self.note(format!("snapshot {id} {used}"));
            }
            Input::NoSnapshot { topic, id, retry_after } => {
                if self.books[topic].request.is_some_and(|(request, _)| request == id) {
                    self.books[topic].request = None;
                }
                if let Some(after) = retry_after {
                    self.no_snapshot_before = self.no_snapshot_before.max(self.now + after);
                }
                let attempts = &mut self.attempts;
                self.follower.no_snapshot(topic, id, retry_after, now, attempts);
            }
            Input::Wake => {
                (0..self.exchange.day.lines).for_each(|line| self.follower.renew(line, now))
            }
            Input::GoOn => {
                self.lines.iter_mut().for_each(|line| *line = Line::default());
                self.follower.go_on();
            }
            other => unreachable!("{other:?} over no connection"),
        }
    }

    fn data(&mut self, n: usize, topic: usize, datum: Datum) {
        let now = self.time();
        let datum = Datum { heard: self.now, ..datum };
        let id = self.connections[n].id;
        self.connections[n].answered[topic] = true;
        if datum.index == 0 {
            let last = datum.numbers.map(|(_, last)| last);
            let lone = self.connections.len() == 1;
            let is_shared = self.exchange.day.topics[topic].count.is_shared();
            if let Some(last) = last {
                self.note_count(n, topic, datum.epoch, last + 1);
            }
            self.connections[n].kept_alive[topic] = true;
            let book = &mut self.books[topic];
            // In a shared count, it is the number of the keepalive itself.
            let counts = lone && !book.waits && datum.epoch == book.epoch;
            book.passed = last.filter(|_| counts && !is_shared);
            let incoming = Incoming::Keepalive { subscription: topic, last };
            let verdict = self.follower.heard(id, incoming, now, || unreachable!("no data"));
            return self.check(verdict.is_none(), || format!("{verdict:?} about a keepalive"));
        }
        let verdict = self.offer(n, topic, datum);
        match verdict {
            Some(Verdict::Next) => self.receive(topic, datum),
            Some(Verdict::Kept) => self.books[topic].kept.push((id, datum)),
            Some(_) => self.note(format!("{topic} {datum:?} {verdict:?}")),
            // It has left the connection, and is going to say so.
            None => self.connections[n].left = true,
        }
    }

    fn offer(&mut self, n: usize, topic: usize, datum: Datum) -> Option<Verdict> {
        let now = self.time();
        let id = self.connections[n].id;
        if let Some((first, last)) = datum.numbers {
            self.note_count(n, topic, datum.epoch, first);
            let book = &mut self.books[topic];
            let reached = book.news.awaited.is_some_and(|awaited| last + 1 >= awaited);
            let patience = self.exchange.day.limits.patience;
            if datum.epoch == book.news.epoch && self.now <= book.news.at + patience {
                book.news.caught_up |= reached;
            }
            self.note_brought(n, topic, datum.epoch, (first, last));
        }
        let numbers = datum.numbers.map(|(first, last)| (first..=last).into());
        let incoming = Incoming::Data { subscription: topic, numbers };
        let mut kept = false;
        let verdict = self.follower.heard(id, incoming, now, || {
            kept = true;
            Kept { datum, _alive: Rc::clone(&self.alive) }
        });
        self.see_memory(verdict);
        self.check(kept == (verdict == Some(Verdict::Kept)), || format!("{verdict:?}, {kept}"));
        if matches!(verdict, Some(Verdict::Next | Verdict::Kept)) {
            self.books[topic].from = Some(id);
        }
        verdict
    }

    /// A snapshot is told, then polled for, then taken, if it is of use.
    fn hear_pushed(&mut self, n: usize, topic: usize, datum: Datum) {
        let datum = Datum { heard: self.now, ..datum };
        let from = self.connections[n].id;
        self.connections[n].answered[topic] = true;
        let next = datum.numbers.map_or(0, |(_, last)| last + 1);
        if datum.numbers.is_some() {
            self.note_count(n, topic, datum.epoch, next);
            self.note_brought(n, topic, datum.epoch, (next, next.saturating_sub(1)));
        }
        let id = self.follower.pushed(from, topic, next, false, self.time());
        let is_per_connection = self.exchange.day.topics[topic].count.is_per_connection();
        self.check(id.is_some() || is_per_connection || self.connections[n].left, || {
            format!("{topic} pushed {datum:?} is of no use")
        });
        if is_per_connection && id.is_some() {
            self.books[topic].from = Some(from);
        }
        self.pushed.extend(id.map(|id| (topic, id, datum)));
    }

    fn note_brought(&mut self, n: usize, topic: usize, epoch: u64, (first, last): (u64, u64)) {
        self.books[topic].first.get_or_insert(first);
        let brought = &mut self.connections[n].brought[topic];
        let before = brought.filter(|of| of.epoch == epoch);
        let began = before.map_or(first, |of| of.began);
        let last = before.map_or(last, |of| of.last.max(last));
        let turned = match before {
            Some(before) => before.turned,
            None => brought.map(|_| self.now),
        };
        *brought = Some(Brought { epoch, began, last, at: self.now, turned });
    }

    fn take_pushed(&mut self, topic: usize, id: u64, datum: Datum) {
        let next = datum.numbers.map_or(0, |(_, last)| last + 1);
        let used = self.follower.snapshot(topic, id, next, self.time());
        self.note(format!("{topic} pushed {datum:?} {used}"));
        let of = &self.books[topic];
        let waits = of.waits || of.next.is_none();
        let present = datum.epoch >= of.news.epoch
            && of.restarted.is_none_or(|restarted| restarted <= datum.heard);
        // Behind an open connection only later data show a new count with lower numbers.
        let is_lower = of.next.is_some_and(|at| next < at);
        let is_behind = is_lower && datum.epoch == of.epoch;
        let numbered = datum.numbers.is_some();
        self.check(!used || waits || !is_behind, || {
            format!("{topic} {datum:?} replaces a book that is right")
        });
        // The later one may be of a count that it has shown.
        let is_last = self.pushed.iter().all(|(of, ..)| *of != topic);
        self.check(used || is_lower || !present || !numbered || !is_last, || {
            format!("{topic} pushed {datum:?} not used")
        });
        if used {
            self.take_book(topic, datum.epoch, next, datum.index);
        }
        self.moved = true;
    }

    fn take_book(&mut self, topic: usize, epoch: u64, next: u64, index: u64) {
        let of = &mut self.books[topic];
        of.waits = false;
        of.distrusted = false;
        of.request = None;
        of.next = Some(next);
        of.epoch = epoch;
        of.index = Some(index);
        let waiting = of.while_waiting.take();
        if let Some((first, last)) = waiting.filter(|(_, last)| *last > index) {
            of.index = (first <= index + 1).then_some(last);
        }
    }

    fn note_number(&mut self, n: usize, numbered: Numbered) {
        let of = &mut self.connections[n];
        match of.numbered {
            Some(last) if last.epoch == numbered.epoch => {
                of.missing.extend(last.number + 1..numbered.number);
            }
            _ => of.missing.clear(),
        }
        of.numbered = Some(numbered);
    }

    /// The first number from this one on, up to the last that has come, that is missing from a
    /// count that all messages share; of the book's connection, if that still has this count.
    fn first_missing(&self, topic: usize, from: u64) -> Option<u64> {
        let epoch = self.books[topic].epoch;
        let has = |of: &&Connection| of.numbered.is_some_and(|of| of.epoch == epoch);
        let of = self.connections.iter().find(has)?;
        of.missing.iter().copied().find(|missing| *missing >= from)
    }

    /// A message of this count has come, which is perhaps a new one.
    fn note_count(&mut self, n: usize, topic: usize, epoch: u64, first: u64) {
        let open = self.connections.iter().filter(|of| of.opened.is_some()).count();
        let of = &self.connections[n];
        let alone = open == 1 && of.brought[topic].is_none() && !of.kept_alive[topic];
        let book = &mut self.books[topic];
        if epoch > book.news.epoch {
            let awaited = book.next;
            let at = self.now;
            book.news = News { epoch, at, first, awaited, alone, ..News::default() };
        }
    }

    /// All kept messages together are within the limit.
    fn see_memory(&mut self, verdict: Option<Verdict>) {
        if self.lie == Some(Lie::Hoards) && verdict == Some(Verdict::Kept) {
            self.hoard.push(Rc::clone(&self.alive));
        }
        let bytes = (Rc::strong_count(&self.alive) - 1) * BYTES;
        let most = self.exchange.day.limits.most_bytes;
        self.check(bytes <= most, || format!("{bytes} bytes are kept, of {most}"));
    }

    fn receive(&mut self, topic: usize, datum: Datum) {
        self.told += 1;
        match self.lie {
            Some(Lie::Loses) if self.told.is_multiple_of(50) => return,
            Some(Lie::Repeats) if self.told.is_multiple_of(50) => self.deliver(topic, datum),
            _ => {}
        }
        self.deliver(topic, datum);
    }

    fn deliver(&mut self, topic: usize, datum: Datum) {
        self.note(format!("{topic} {datum:?}"));
        let Some((first, last)) = datum.numbers else { return self.by_checksum(topic, datum) };
        let of = self.exchange.day.topics[topic];
        let waits = self.books[topic].waits && of.recovery == Recovery::Snapshot;
        self.check(!waits, || format!("{topic} {datum:?} before its snapshot"));
        let old = self.books[topic].restarted.is_some_and(|at| datum.heard < at)
            && datum.epoch < self.books[topic].news.epoch;
        self.check(!old, || format!("{topic} {datum:?} of the old count"));
        if let Some(next) = self.books[topic].next {
            if datum.epoch != self.books[topic].epoch {
                self.sums.hidden += 1;
                let hidden = self.hides(topic, datum);
                let epoch = self.books[topic].epoch;
                self.check(hidden, || {
                    format!("{topic} {datum:?} in a book of count {epoch}: {of:?}")
                });
            }
            let told = match of.count.is_shared() {
                true => self.first_missing(topic, next).is_none_or(|missing| missing > last),
                false => first <= next,
            };
            self.check(told, || {
                format!("{topic} {next}..{first} lost, untold, before {datum:?}: {of:?}")
            });
            self.check(last >= next, || format!("{topic} {datum:?} twice, {next} is next"));
        }
        let book = &mut self.books[topic];
        book.epoch = datum.epoch;
        book.next = Some(last + 1);
        book.index = Some(datum.index);
        book.kept.retain(|(_, kept)| kept.numbers.is_some_and(|(_, end)| end > last));
    }

    /// Whether the pages say that the numbers hide the new count.
    fn hides(&self, topic: usize, datum: Datum) -> bool {
        let book = &self.books[topic];
        let of = self.exchange.day.topics[topic];
        if of.count.is_per_connection() {
            return false;
        }
        let news = book.news;
        if book.epoch > news.epoch {
            return true; // nothing of the snapshot's count has come
        }
        let told = of.recovery == Recovery::Snapshot
            && news.alone
            && news.awaited.is_some_and(|awaited| news.first < awaited)
            && book.first.is_some_and(|first| news.first <= first);
        // One that carries the old count did so until just now, or does still.
        let carries = |of: &Brought| {
            let did = of.turned.is_some_and(|at| at + 2 * SECOND > self.now);
            of.epoch != datum.epoch || did
        };
        let mut two_at_once = self.connections.iter().filter_map(|of| of.brought[topic]);
        let patience = self.exchange.day.limits.patience;
        two_at_once.any(|of| carries(&of))
            || !told
                && (news.caught_up
                    || news.awaited.is_none_or(|awaited| news.first >= awaited)
                    || self.now <= news.at + patience + LATENCY)
    }

    fn by_checksum(&mut self, topic: usize, datum: Datum) {
        let book = &mut self.books[topic];
        if book.waits || book.distrusted {
            let (first, last) = book.while_waiting.unwrap_or((datum.index, datum.index));
            let first = if datum.index > last + 1 { datum.index } else { first };
            book.while_waiting = Some((first, last.max(datum.index)));
        } else if book.index.is_some_and(|index| datum.index <= index + 1) {
            book.index = book.index.max(Some(datum.index));
        } else {
            book.distrusted = true;
            book.while_waiting = Some((datum.index, datum.index));
            self.follower.distrust(topic);
        }
    }

    fn forget(&mut self, n: usize) {
        let gone = self.connections.remove(n);
        let over_socket = self.exchange.day.over_socket;
        self.gone = gone.opened.unwrap_or(self.gone);
        if gone.opened.is_some_and(|at| self.now >= at + SETTLED) {
            self.lines[gone.line] = Line { since: self.now, ..Line::default() };
        }
        for book in &mut self.books {
            book.kept.retain(|(id, _)| *id != gone.id);
            if over_socket || book.from == Some(gone.id) {
                book.request = None; // as if it had failed
            }
        }
    }

    /// Until there is nothing to do.
    fn poll(&mut self) -> Duration {
        for _ in 0..100_000 {
            let now = self.time();
            let action = self.follower.poll(now, &mut self.attempts);
            if let Action::Wait(until) = action {
                let until = until.since_epoch();
                let in_time = until > self.now && until <= self.now + 60 * MINUTE;
                self.check(in_time, || format!("waits until {until:?}"));
                let left = self.connections.iter().find(|of| of.left).map(|of| of.id);
                self.check(left.is_none(), || format!("no verdict about data over {left:?}"));
                for topic in 0..self.books.len() {
                    let book = &mut self.books[topic];
                    let passed = book.passed.take();
                    let told = passed.is_none_or(|last| book.next.is_none_or(|next| next > last));
                    self.check(told, || format!("{topic} {passed:?} lost, untold"));
                }
                if std::mem::take(&mut self.moved) && self.exchange.day.kind != Kind::Ends {
                    self.see_shared_counts();
                    self.see_states();
                }
                return until.max(self.now + Duration::from_nanos(1));
            }
            if !matches!(action, Action::Message { .. }) {
                self.note(format!("{action:?}"));
            }
            self.moved = true;
            self.act(action);
        }
        self.fault("poll has no end".into());
        NEVER
    }

    fn act(&mut self, action: Action<Kept>) {
        match (self.lie, &action) {
            (Some(Lie::HidesGaps), Action::Gap { .. })
            | (Some(Lie::HidesRestarts), Action::Restart { .. })
            | (Some(Lie::StaysOpen), Action::Leave { .. })
            | (Some(Lie::NeverDials), Action::Dial { .. }) => return,
            (Some(Lie::AsksTwice), &Action::Snapshot { subscription, id }) => {
                self.ask_for_snapshot(subscription, id);
            }
            (Some(Lie::DialsTwice), &Action::Dial { connection, line, address, .. }) => {
                self.dial(connection, line, address);
            }
            (Some(Lie::SaysFiveTimes), Action::Send { connection, say }) => {
                (0..4).for_each(|_| self.send(*connection, say.clone()));
            }
            _ => {}
        }
        match action {
            Action::Dial { connection, line, address, .. } => self.dial(connection, line, address),
            Action::Send { connection, say } => self.send(connection, say),
            Action::Leave { connection, .. } => {
                let open = self.find(connection);
                let open = open.filter(|n| self.connections[*n].opened.is_some());
                self.check(open.is_some(), || format!("leaves {connection:?}, which is not open"));
                self.exchange.leave(connection);
                open.into_iter().for_each(|n| self.forget(n));
                self.see_dark();
            }
            Action::Message { subscription, message } => self.receive(subscription, message.datum),
            Action::Gap { subscription, gap } => self.gap(subscription, gap),
            Action::Restart { subscription } => self.restart(subscription),
            Action::Snapshot { subscription, id } => self.ask_for_snapshot(subscription, id),
            Action::Mute { subscriptions } => {
                for subscription in subscriptions {
                    let of = self.exchange.day.topics[subscription];
                    let odd = of.dead || of.refused || of.mute_at.is_some() || self.may_be_mute();
                    self.check(odd, || format!("{subscription} is told as mute: {of:?}"));
                }
            }
            Action::Wait(_) => unreachable!("poll returns it"),
        }
    }

    fn dial(&mut self, id: ConnectionId, line: usize, address: usize) {
        let own = || self.connections.iter().filter(|of| of.line == line);
        let dialing = own().filter(|of| of.opened.is_none()).count();
        let open = own().filter(|of| of.opened.is_some()).count();
        let addresses = self.exchange.day.addresses.len();
        self.check(dialing == 0 && open < 2, || format!("line {line} dials beside {open} open"));
        self.check(address < addresses, || format!("dials address {address}"));
        let away = self.away;
        self.check(self.now >= away, || format!("dials before {away:?}, as Retry-After wants"));
        let Line { dials, since, ended_at, alarm, stopped } = self.lines[line];
        let serves = self.dark.is_none();
        let holds = address == ended_at && self.now < alarm && !self.is_outlived(address);
        // Where one attempt goes first, its success lets the others go up to a second earlier.
        let went_first = |of: &Connection| of.opened.is_some_and(|at| at + SECOND >= alarm);
        let holds = holds && !self.connections.iter().any(went_first);
        // Another line has just left the address.
        let failed = self.failed[address];
        let holds = holds && (failed.at < self.now || failed.line == line);
        let alarmed = stopped || serves && holds;
        self.check(!alarmed, || format!("dials in an alarm until {alarm:?}, stopped: {stopped}"));
        if open == 0 {
            // The least that the delays take: the first may be zero; free dials take none.
            let paced = dials.saturating_sub(addresses as u32);
            let least: Duration =
                (1..paced).map(|n| (FIRST_DELAY / 2 * (1 << n.min(9))).min(SECOND * 5 / 2)).sum();
            self.check(self.now >= since + least, || {
                format!("line {line}: dial {dials} since {since:?}, sooner than {least:?}")
            });
            self.lines[line].dials += 1;
        } else {
            self.for_silence.push(self.now);
        }
        self.dialed.push(self.now);
        self.sums.dials += 1;
        let topics = self.books.len();
        self.connections.push(Connection {
            id,
            line,
            address,
            opened: None,
            logged_in: !self.exchange.day.login,
            left: false,
            sent: VecDeque::new(),
            answered: vec![false; topics],
            brought: vec![None; topics],
            kept_alive: vec![false; topics],
            numbered: None,
            missing: Vec::new(),
        });
        self.exchange.dial(id, address);
    }

    fn send(&mut self, id: ConnectionId, say: Say) {
        let Some(n) = self.find(id).filter(|n| self.connections[*n].opened.is_some()) else {
            return self.fault(format!("sends {say:?} over {id:?}, which is not open"));
        };
        let connection = &mut self.connections[n];
        let fifth = if connection.sent.len() == 4 { connection.sent.pop_front() } else { None };
        connection.sent.push_back(self.now);
        let logged_in = connection.logged_in;
        let soon = fifth.is_some_and(|fifth| self.now < fifth + SECOND * 6 / 5);
        self.check(!soon, || format!("five messages since {fifth:?}"));
        match say {
            Say::Login => {
                self.check(!logged_in, || "logs in twice".into());
                self.exchange.answer(id, Input::LoggedIn);
            }
            Say::Subscribe { id: question, subscriptions } => {
                let most = self.exchange.day.batch.max(1);
                self.check(logged_in, || "subscribes before the login".into());
                self.check((1..=most).contains(&subscriptions.len()), || {
                    format!("asks for {subscriptions:?} at once")
                });
                self.exchange.ask(id, question, subscriptions.collect());
            }
            Say::Probe => self.exchange.answer(id, Input::Other),
        }
    }

    fn gap(&mut self, topic: usize, gap: Gap) {
        self.sums.gaps += 1;
        let book = &mut self.books[topic];
        let next = book.next;
        book.next = Some(gap.last + 1);
        book.wait(self.exchange.day.topics[topic].recovery, self.now);
        let there = book.kept.iter().find(|(_, datum)| {
            let (first, last) = datum.numbers.unwrap_or_default();
            datum.epoch == book.epoch && first <= gap.last && last >= gap.first
        });
        let there = there.copied();
        let one = self.connections.len() == 1
            && gap.why == Why::NotReceived
            && self.exchange.day.kind != Kind::Ends;
        let well = self.follower.states().all(|state| state == State::Following);
        let is_shared = self.exchange.day.topics[topic].count.is_shared();
        let first = match next {
            Some(next) if is_shared => self.first_missing(topic, next),
            next => next,
        };
        self.check(first == Some(gap.first) && gap.last >= gap.first, || {
            format!("{topic} {gap:?}, but {first:?} is next")
        });
        let behind = self.first_missing(topic, gap.last);
        self.check(!is_shared || behind == Some(gap.last), || {
            format!("{topic} {gap:?}, but {} came", gap.last)
        });
        self.check(!one || !well || there.is_none(), || {
            format!("{topic} {gap:?}, but {there:?} came")
        });
    }

    fn restart(&mut self, topic: usize) {
        let of = self.exchange.day.topics[topic];
        let book = &self.books[topic];
        let lone = self.connections.len() == 1;
        let reached = |of: &Connection| {
            of.brought[topic].is_some_and(|brought| {
                brought.epoch == book.epoch
                    && Some(brought.began) > book.first
                    && Some(brought.last + 1) >= book.next
            })
        };
        let counted = book.next.is_some() && !of.count.is_per_connection() && !book.distrusted;
        let in_vain = counted
            && self.exchange.day.kind != Kind::Ends
            && book.news.epoch == book.epoch
            && lone
            && self.connections.iter().any(reached);
        self.check(!in_vain, || format!("{topic} begins anew, but no count did: {of:?}"));
        let book = &mut self.books[topic];
        book.next = None;
        let new = |of: &&(ConnectionId, Datum)| of.1.epoch == book.news.epoch;
        let firsts = book.kept.iter().filter(new).filter_map(|(_, datum)| datum.numbers);
        book.first = firsts.map(|(first, _)| first).min();
        book.restarted = Some(self.now);
        book.wait(of.recovery, self.now);
        book.request = None;
    }

    /// Who has waited longest goes first.
    fn see_turn(&mut self, topic: usize) {
        let since = |topic: usize| self.books[topic].waits_since;
        let is_fed = |topic: usize| {
            self.connections
                .iter()
                .any(|of| of.brought[topic].is_some_and(|of| of.at > since(topic)))
        };
        let may_ask = |topic: usize| {
            let says = self.follower.topic(topic);
            let due = match says {
                Some(Topic::Waiting { next_at, .. }) => next_at,
                _ => None,
            };
            due.is_some_and(|due| due.since_epoch() <= self.now)
        };
        let earlier = |of: &usize| since(*of) < since(topic) && is_fed(*of) && may_ask(*of);
        let earlier = (0..self.books.len()).filter(|of| self.books[*of].waits).find(earlier);
        let is_turn = self.exchange.day.kind != Kind::Books || earlier.is_none();
        self.check(is_turn, || format!("{topic} gets a snapshot before {earlier:?}"));
    }

    fn ask_for_snapshot(&mut self, topic: usize, id: u64) {
        self.see_turn(topic);
        self.sums.snapshots += 1;
        let book = &mut self.books[topic];
        book.requests.push_back(self.now);
        while book.requests.front().is_some_and(|at| *at + 300 * SECOND <= self.now) {
            book.requests.pop_front();
        }
        let many = book.requests.len();
        let last = self.asked.replace(self.now);
        let under_way = book.request.replace((id, self.now));
        let waits = book.waits;
        let within = Duration::from_secs(10);
        self.check(waits, || format!("{topic} wants a snapshot for nothing"));
        self.check(many <= 12, || format!("{topic} wants snapshot {many} in five minutes"));
        self.check(under_way.is_none_or(|(_, at)| self.now >= at + within), || {
            format!("{topic} wants a snapshot beside {under_way:?}")
        });
        self.check(last.is_none_or(|last| self.now >= last + SECOND), || {
            format!("{topic} wants a snapshot soon after {last:?}")
        });
        let before = self.no_snapshot_before;
        self.check(self.now >= before, || format!("{topic} wants a snapshot before {before:?}"));
        let mut open = self.connections.iter().filter(|of| of.opened.is_some()).map(|of| of.id);
        let over = match self.exchange.day.topics[topic].count.is_per_connection() {
            true => self.books[topic].from.filter(|from| open.any(|id| id == *from)),
            false => open.next().filter(|_| self.exchange.day.over_socket),
        };
        if let Some(over) = over {
            self.follower.asked_over(topic, id, over, self.time());
        }
        self.exchange.snapshot(topic, id, over);
    }

    /// The follower is dark while no connection to an address that is well is open.
    fn see_dark(&mut self) {
        let serves = |of: &Connection| of.opened.is_some() && !self.exchange.is_broken(of.address);
        let light = self.connections.iter().any(serves);
        match self.dark {
            Some(since) if light => {
                self.dark = None;
                let dark = self.now - since;
                self.sums.dark += dark;
                let day = &self.exchange.day;
                let short =
                    |(fault, _): &(Option<Fault>, _)| matches!(fault, Some(Fault::Short(_)));
                let attempts = if day.addresses.iter().any(short) { SECOND } else { SECOND / 9 };
                let judged = matches!(day.kind, Kind::Broken | Kind::Quiet) || day.kind.ignores();
                let most = 2 * FIRST_DELAY + attempts + 4 * LATENCY;
                let long = judged && day.life.is_none() && dark > most && !self.excused;
                self.check(!long, || format!("dark for {dark:?}"));
                self.see_refused(since);
            }
            None if !light => {
                self.dark = Some(self.now);
                self.excused = self.has_alarm();
            }
            _ => {}
        }
    }

    /// Once nothing refuses any more, an attempt comes within the wait that the page has for this
    /// kind of end; beside an address that serves, within twice the first delay.
    fn see_refused(&mut self, since: Duration) {
        let refuses = self.exchange.refuses().filter(|_| self.exchange.day.kind == Kind::Refused);
        let Some((_, until, ended)) = refuses else { return };
        let (wait, is_gate) = match ended {
            Ended::Refused { status: 401, .. } => (72 * SECOND, false),
            Ended::Refused { status: 429, .. } => (32 * SECOND, true),
            Ended::Refused { status: 418, .. } => (120 * SECOND, true),
            Ended::Refused { status: 503, .. } => (5 * SECOND, false),
            Ended::Failed(Cause::NoToken { retry_after, .. }) => {
                ((retry_after * 11 / 10).max(5 * SECOND), false)
            }
            _ => (12 * SECOND, false),
        };
        let beside = !is_gate && !self.exchange.all_refuse();
        let most = match beside {
            true => since + 2 * FIRST_DELAY + SECOND / 9 + 4 * LATENCY,
            // The other lines wait a second more for the one that goes first.
            false => until.max(since) + wait + SECOND + 4 * LATENCY,
        };
        let now = self.now;
        self.check(now <= most, || format!("dark from {since:?} on, refused until {until:?}"));
    }

    /// Whether an alarm of an address that is well may hold: not if a connection that has
    /// settled was opened after it.
    fn has_alarm(&self) -> bool {
        let settled = self.now >= self.gone + SETTLED;
        let holds = |(address, failed): (usize, &Failed)| {
            let lasts = self.now < failed.until && !(settled && failed.at <= self.gone);
            !self.exchange.is_broken(address) && lasts
        };
        self.failed.iter().enumerate().any(holds)
    }

    /// Whether a connection has settled that was opened after the address failed, and is silent now.
    fn is_outlived(&self, address: usize) -> bool {
        let since = self.failed[address].at;
        let is_silent =
            |line: usize| matches!(self.follower.states().nth(line), Some(State::Silent { .. }));
        self.connections.iter().any(|of| {
            let opened = of.opened.filter(|opened| *opened >= since);
            opened.is_some_and(|at| self.now >= at + SETTLED) && is_silent(of.line)
        })
    }

    /// Each subscription is told what its connection misses, and that it counts anew.
    fn see_shared_counts(&mut self) {
        for topic in 0..self.books.len() {
            let of = self.exchange.day.topics[topic];
            let book = &self.books[topic];
            let Some(next) = book.next.filter(|_| of.count.is_shared() && !book.waits) else {
                continue;
            };
            let missing = self.first_missing(topic, next);
            let from = self.connections.iter().find(|of| Some(of.id) == book.from);
            let counts = from.and_then(|of| of.numbered).map(|of| of.epoch);
            let epoch = book.epoch;
            self.check(missing.is_none(), || format!("{topic} {missing:?} lost, untold"));
            self.check(counts.is_none_or(|counts| counts == epoch), || {
                format!("{topic} of count {epoch}, but {counts:?} is under way")
            });
        }
    }

    /// Each server may have been mute, or the settings demand what no server does.
    fn may_be_mute(&self) -> bool {
        matches!(self.exchange.day.kind, Kind::Silent | Kind::Ends)
    }

    /// A mute server is found by the questions, and its connection is left if it is a successor.
    fn see_mute(&mut self) {
        let day = &self.exchange.day;
        let Some(probe_after) = day.probe_after.filter(|_| day.kind == Kind::Silent) else {
            return;
        };
        // All subscriptions go first, and twice.
        let asks = SECOND * 6 / 10 * day.topics.len() as u32;
        let most = probe_after + 3 * day.answer_within + asks + 2 * SECOND;
        for n in 0..self.connections.len() {
            let Connection { id, line, opened, .. } = self.connections[n];
            let (Some(since), Some(opened)) = (self.exchange.is_mute(id), opened) else { continue };
            let is_late = self.now > since.max(opened) + most;
            let is_first = self.connections.iter().find(|of| of.line == line).map(|of| of.id);
            let state = self.follower.states().nth(line);
            let says = matches!(state, Some(State::Silent { .. } | State::Alarm { .. }));
            let found = is_first == Some(id) && says;
            self.check(!is_late || found, || {
                format!("{id:?} has said nothing since {since:?}, and is not left: {state:?}")
            });
        }
    }

    fn see_states(&mut self) {
        self.waits += 1;
        self.see_mute();
        let states: Vec<_> = self.follower.states().collect();
        for (line, state) in states.into_iter().enumerate() {
            let own = || self.connections.iter().filter(|of| of.line == line);
            let open = own().filter(|of| of.opened.is_some()).count();
            let dialed = own().find(|of| of.opened.is_none()).map(|of| of.address);
            let fits = match state {
                // As the program has said.
                State::Stopped { after } => after == Ended::Failed(Cause::Wrong(Retry::Stop)),
                State::Alarm { until, .. } => dialed.is_none() && until.since_epoch() > self.now,
                State::Waiting { until, .. } => {
                    open == 0 && dialed.is_none() && until.since_epoch() > self.now
                }
                State::Held { .. } => open == 0 && dialed.is_none(),
                State::Dialing { address, .. } => open == 0 && dialed == Some(address),
                State::Following => open == 1 && dialed.is_none(),
                State::Replacing => open == 2 || open == 1 && dialed.is_some(),
                State::LoggingIn => open > 0 && own().any(|of| !of.logged_in),
                _ => open > 0,
            };
            self.check(fits, || format!("{state:?}, with {open} open, {dialed:?} dialed"));
            if let State::Alarm { until, .. } = state {
                self.lines[line].alarm = until.since_epoch();
            }
            let stopped = matches!(state, State::Stopped { .. });
            if stopped && !self.lines[line].stopped {
                self.exchange.go_on_after(5 * MINUTE);
            }
            self.lines[line].stopped = stopped;
        }
        if self.waits.is_multiple_of(50) {
            (0..self.books.len()).for_each(|topic| self.see_topic(topic, false));
        }
    }

    fn see_topic(&mut self, topic: usize, end: bool) {
        let of = self.exchange.day.topics[topic];
        let book = &self.books[topic];
        let says = self.follower.topic(topic);
        let odd = of.dead || of.mute_at.is_some() || !end && self.may_be_mute();
        let asked = of.ask_after.is_some();
        let fits = match says {
            None => false,
            Some(Topic::Refused) => of.refused,
            Some(Topic::Mute) => odd || of.refused,
            Some(Topic::Silent) => !end || odd || of.refused,
            Some(Topic::Distrusted { .. }) => book.distrusted && !end,
            Some(Topic::Waiting { .. }) => {
                book.next.is_none() || book.waits && (!end || !self.has_its_turn(topic))
            }
            Some(Topic::InOrder) => !(book.waits || end && of.refused),
            Some(_) => false,
        };
        // A successor goes at the first silence: what would be silent later is not tried there.
        let topics = &self.exchange.day.topics;
        let first = topics.iter().filter(|of| of.dead).filter_map(|of| of.leave_after).min();
        let is_told = of.ignored && asked || of.dead && first.is_some() && of.leave_after == first;
        // On a day of all troubles there may have been no time for it.
        let mute = end && is_told && self.exchange.day.kind != Kind::Mixed;
        self.check(fits, || format!("{topic} is {says:?}: {of:?}"));
        self.check(!mute || says == Some(Topic::Mute), || format!("{topic} is {says:?}: {of:?}"));
    }

    /// It has waited for longer than its turn may take, with a snapshot a second, and an open
    /// connection has brought data since.
    fn has_its_turn(&self, topic: usize) -> bool {
        let since = self.books[topic].waits_since;
        let waiting = self.books.iter().filter(|of| of.waits).count() as u32;
        let is_fed = |of: &Connection| of.brought[topic].is_some_and(|of| of.at > since);
        self.now > since + SECOND * (10 + waiting) && self.connections.iter().any(is_fed)
    }

    fn at_the_end(&mut self) {
        let length = self.exchange.day.length;
        self.sums.dark += self.dark.map_or(Duration::ZERO, |since| length - since);
        if !self.faults.is_empty() || self.exchange.day.kind == Kind::Ends {
            return;
        }
        let day = self.exchange.day.clone();
        let refused = self.exchange.refused_snapshots;
        self.check(refused == 0, || format!("{refused} snapshots above the host's limit"));
        self.check(self.dark.is_none(), || "dark at the end of the day".into());
        for (topic, of) in day.topics.iter().enumerate() {
            self.see_topic(topic, true);
            let book = &self.books[topic];
            let truth = self.exchange.topics[topic];
            let odd = of.dead || of.refused || of.mute_at.is_some();
            let odd = odd || book.waits && !self.has_its_turn(topic);
            let right = match of.count {
                Count::Checksum => book.index == Some(truth.index),
                of if of.is_per_connection() => {
                    book.next.is_some() && book.index == Some(truth.index)
                }
                _ => book.next == Some(truth.next) && book.epoch == truth.epoch,
            };
            let shows = (book.next, book.epoch, book.index);
            self.check(odd || right, || {
                format!("{topic} ends at {shows:?}, and the exchange at {truth:?}: {of:?}")
            });
        }
        let at = |n: usize| self.dialed.get(n).copied().unwrap_or(NEVER);
        let many = (0..self.dialed.len()).find(|n| at(n + 40) < at(*n) + 5 * MINUTE).map(at);
        self.check(day.kind != Kind::Broken || day.lines > 1 || many.is_none(), || {
            format!("41 dials in five minutes from {many:?}")
        });
        if day.kind.ignores() {
            let first = self.for_silence.first().copied().unwrap_or_default();
            let in_hour = |hour: u32| {
                let from = first + hour * 60 * MINUTE;
                self.for_silence
                    .iter()
                    .filter(|at| **at >= from && **at < from + 60 * MINUTE)
                    .count()
            };
            let (hour, next) = (in_hour(0), in_hour(1));
            let few = hour <= 16 * day.lines && next <= 8 * day.lines;
            self.check(few, || format!("{hour} dials for silence in an hour, then {next}"));
        }
        if day.kind == Kind::Delisted {
            let is_well = |of: &State| matches!(of, State::Following | State::Probing);
            let open = self.connections.len();
            let states: Vec<_> = self.follower.states().collect();
            self.check(open == day.lines && states.iter().all(is_well), || {
                format!("{open} connections, {states:?}")
            });
            for (topic, _) in day.topics.iter().enumerate().filter(|(_, of)| of.refused) {
                let says = self.follower.topic(topic);
                self.check(says == Some(Topic::Refused), || format!("delisted, and is {says:?}"));
            }
        }
        if day.kind == Kind::Quiet && day.life.is_none() {
            let dials = self.sums.dials;
            self.check(dials == day.lines, || format!("{dials} dials on a quiet day"));
        }
    }
}
