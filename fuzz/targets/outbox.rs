//! `Outbox` beside a model that keeps its queue in a plain list: each policy, keys, ages, bounds, a
//! subscriber who reads or does not. The same verdicts, counts and order, and what reaches the wire
//! is what the model says was fed.
#![no_main]
use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use std::time::Duration;
use testkit::frames::frame_len;
use tickwire::{
    Chunk, CloseCode, Config, Connection, DataKind, OwnedMessage, Prepared, SendError, Time,
};
use tickwire_fuzz::{
    connection,
    reference::{self, End, Event, Limits},
    write,
};
use tickwire_parts::{Outbox, OutboxCounts, Overflow, PushError};

#[derive(Arbitrary, Debug)]
struct Input {
    client: bool,
    policy: Policy,
    max_bytes: u16,
    max_age: Option<u16>,
    max_unsent: Option<u16>,
    high_water: u16,
    ops: Vec<Op>,
}

#[derive(Arbitrary, Clone, Copy, Debug)]
enum Policy {
    Wait,
    DropOldest,
    Conflate,
    Disconnect,
}

#[derive(Arbitrary, Debug)]
enum Op {
    /// The key, the length, and whether it is prepared.
    Push(Option<u8>, u16, bool),
    Feed,
    Write(u16),
    Pass(u16),
    /// A message past the outbox.
    Direct(u16),
    /// A message in chunks past it: its beginning, or its end (`true`).
    Chunk(bool),
    Close,
}

/// What each message counts for besides its payload.
const OVERHEAD: usize = 64;

struct Entry {
    key: Option<u64>,
    payload: Vec<u8>,
    since: Time,
}

struct Model {
    policy: Overflow,
    max_bytes: usize,
    max_age: Option<Duration>,
    queue: Vec<Entry>,
    counts: OutboxCounts,
    gone: Option<CloseCode>,
}

impl Model {
    fn bytes(&self) -> usize {
        self.queue.iter().map(|entry| entry.payload.len() + OVERHEAD).sum()
    }

    fn give_up(&mut self, code: CloseCode) {
        self.gone = Some(code);
        self.counts.dropped += self.queue.len() as u64;
        self.queue.clear();
    }

    /// The code with which it disconnects, where it does.
    fn code(&self) -> Option<CloseCode> {
        match self.policy {
            Overflow::Disconnect(code) => Some(code),
            Overflow::Conflate => Some(CloseCode::TRY_AGAIN_LATER),
            _ => None,
        }
    }

    fn age(&mut self, now: Time) {
        let Some(age) = self.max_age else { return };
        let old = self.queue.iter().take_while(|entry| entry.since + age <= now).count();
        match self.policy {
            Overflow::Wait => {}
            Overflow::DropOldest => {
                self.queue.drain(..old);
                self.counts.dropped += old as u64;
            }
            _ if old > 0 => self.give_up(self.code().expect("it disconnects")),
            _ => {}
        }
    }

    fn push(&mut self, now: Time, key: Option<u64>, payload: &[u8]) -> Result<(), PushError> {
        self.age(now);
        let done = self.put(now, key, payload);
        match done {
            Ok(()) => self.counts.pushed += 1,
            Err(_) => self.counts.refused += 1,
        }
        done
    }

    fn put(&mut self, now: Time, key: Option<u64>, payload: &[u8]) -> Result<(), PushError> {
        if let Some(code) = self.gone {
            return Err(PushError::Disconnected(code));
        }
        let key = key.filter(|_| self.policy == Overflow::Conflate);
        let (before, new) = (self.bytes(), payload.len() + OVERHEAD);
        let same = self.queue.iter().position(|entry| key.is_some() && entry.key == key);
        if let Some(at) = same {
            let after = before - self.queue[at].payload.len() - OVERHEAD + new;
            if after > self.max_bytes && after > before && self.queue.len() > 1 {
                self.give_up(CloseCode::TRY_AGAIN_LATER);
                return Err(PushError::Disconnected(CloseCode::TRY_AGAIN_LATER));
            }
            self.queue[at].payload = payload.to_vec();
            self.counts.conflated += 1;
            return Ok(());
        }
        if !self.queue.is_empty() && before + new > self.max_bytes {
            match self.policy {
                Overflow::Wait if before >= self.max_bytes => return Err(PushError::Full),
                Overflow::Wait => {}
                Overflow::DropOldest => {
                    while !self.queue.is_empty() && self.bytes() + new > self.max_bytes {
                        self.queue.remove(0);
                        self.counts.dropped += 1;
                    }
                }
                _ => {
                    let code = self.code().expect("it disconnects");
                    self.give_up(code);
                    return Err(PushError::Disconnected(code));
                }
            }
        }
        self.queue.push(Entry { key, payload: payload.to_vec(), since: now });
        Ok(())
    }
}

fuzz_target!(|input: Input| {
    let policy = match input.policy {
        Policy::Wait => Overflow::Wait,
        Policy::DropOldest => Overflow::DropOldest,
        Policy::Conflate => Overflow::Conflate,
        Policy::Disconnect => Overflow::Disconnect(CloseCode::POLICY_VIOLATION),
    };
    let max_bytes = usize::from(input.max_bytes);
    let max_age = input.max_age.map(|ms| Duration::from_millis(u64::from(ms)));
    let mut outbox = Outbox::new(policy);
    outbox.max_bytes = max_bytes;
    outbox.max_age = max_age;
    outbox.max_unsent = input.max_unsent.map_or(outbox.max_unsent, usize::from);
    let config = Config { high_water: usize::from(input.high_water), ..Config::default() };
    let mut run = Run {
        conn: connection(input.client, &config),
        client: input.client,
        outbox,
        model: Model {
            policy,
            max_bytes,
            max_age,
            queue: vec![],
            counts: OutboxCounts::default(),
            gone: None,
        },
        high_water: usize::from(input.high_water).max(1), // as `Config` has it
        now: Time::ZERO,
        written: vec![],
        expected: vec![],
        open: None,
        closed: None,
        budget: 256 << 10,
    };
    for (i, op) in input.ops.iter().take(200).enumerate() {
        run.call(op, i);
        run.check();
    }
    run.finish();
});

struct Run {
    conn: Connection,
    client: bool,
    outbox: Outbox,
    model: Model,
    high_water: usize,
    now: Time,
    written: Vec<u8>,
    /// Payloads that were fed, in order.
    expected: Vec<Vec<u8>>,
    /// What there is of a message in chunks.
    open: Option<Vec<u8>>,
    /// The code of the Close that was queued, or `None` inside for one without.
    closed: Option<Option<CloseCode>>,
    budget: usize,
}

impl Run {
    fn payload(&mut self, len: u16, seed: usize) -> Vec<u8> {
        // Short as a rule.
        let len = if len & 7 == 7 { usize::from(len) } else { usize::from(len) % 300 };
        let len = if len <= self.budget { len } else { len % 100 };
        self.budget = self.budget.saturating_sub(len);
        let mut payload = (seed as u32).to_be_bytes().to_vec();
        payload.resize(4 + len, seed as u8);
        payload
    }

    fn call(&mut self, op: &Op, seed: usize) {
        match op {
            Op::Push(key, len, prepared) => {
                let payload = self.payload(*len, seed);
                let key = key.map(|key| u64::from(key % 16) << (key % 3 * 20));
                let want = self.model.push(self.now, key, &payload);
                let message = OwnedMessage::from(payload);
                let got = match (key, prepared) {
                    (None, false) => self.outbox.push(self.now, message),
                    (None, true) => self.outbox.push(self.now, Prepared::new(&message)),
                    (Some(key), false) => self.outbox.push_keyed(self.now, key, message),
                    (Some(key), true) => {
                        self.outbox.push_keyed(self.now, key, Prepared::new(&message))
                    }
                };
                assert_eq!(got, want);
            }
            Op::Feed => self.feed(),
            Op::Write(most) => {
                write(self.conn.sender_mut(), &mut self.written, usize::from(*most));
            }
            Op::Pass(ms) => self.now = self.now + Duration::from_millis(u64::from(*ms)),
            Op::Direct(len) => {
                let payload = self.payload(*len, seed);
                if self.conn.sender_mut().feed(&payload).is_ok() {
                    self.expected.push(payload);
                }
            }
            Op::Chunk(last) => {
                let data = &self.payload(8, seed)[..];
                let chunk =
                    Chunk { kind: DataKind::Binary, first: self.open.is_none(), data, last: *last };
                if self.conn.sender_mut().feed_chunk(chunk).is_ok() {
                    let mut all = self.open.take().unwrap_or_default();
                    all.extend_from_slice(data);
                    match last {
                        true => self.expected.push(all),
                        false => self.open = Some(all),
                    }
                }
            }
            Op::Close => {
                if self.conn.sender_mut().close(CloseCode::NORMAL).is_ok() {
                    self.closed = Some(Some(CloseCode::NORMAL));
                }
            }
        }
    }

    fn feed(&mut self) {
        self.model.age(self.now);
        let before = self.conn.sender().buffered_amount();
        let counts = self.outbox.counts();
        let fed = self.outbox.feed(self.now, self.conn.sender_mut());
        if self.closed.is_some() {
            return assert_eq!(fed, Err(SendError::Closed));
        }
        assert_eq!(fed, Ok(()));
        let new = (self.outbox.counts().fed - counts.fed) as usize;
        if let Some(code) = self.model.gone {
            assert_eq!(new, 0);
            self.closed = Some(Some(code));
            return;
        }
        // As many as the bounds ask for, neither more nor less.
        let mut buffered = before;
        let mut want = 0;
        if self.open.is_none() {
            for entry in &self.model.queue {
                if buffered >= self.outbox.max_unsent.max(1) || buffered >= self.high_water {
                    break;
                }
                buffered += frame_len(entry.payload.len(), self.client);
                want += 1;
            }
        }
        assert_eq!(new, want, "{before} were buffered");
        assert_eq!(self.conn.sender().buffered_amount(), buffered);
        self.expected.extend(self.model.queue.drain(..new).map(|entry| entry.payload));
        self.model.counts.fed += new as u64;
    }

    fn check(&self) {
        let (outbox, model) = (&self.outbox, &self.model);
        let counts = outbox.counts();
        let mut expected = model.counts;
        (expected.waiting, expected.bytes) = (model.queue.len() as u64, model.bytes());
        assert_eq!(counts, expected);
        assert_eq!(outbox.counts().waiting == 0, model.queue.is_empty());
        assert_eq!(outbox.disconnected(), model.gone);
        assert_eq!(outbox.has_room(), model.queue.is_empty() || model.bytes() < model.max_bytes);
        let oldest = model.queue.first().map(|entry| entry.since);
        let due = model.max_age.filter(|_| model.policy != Overflow::Wait);
        assert_eq!(outbox.poll_timeout(), due.zip(oldest).map(|(age, since)| since + age));
        let sum = counts.fed + counts.conflated + counts.dropped + counts.waiting;
        assert_eq!(counts.pushed, sum);
        // Only one message can be longer than the bound, and under Wait one more than it.
        let last = model.queue.last().map_or(0, |entry| entry.payload.len() + OVERHEAD);
        let over = match model.policy {
            Overflow::Wait => last,
            _ if model.queue.len() == 1 => usize::MAX / 2,
            // A message in its place may be shorter than the one before and still be over.
            Overflow::Conflate => usize::MAX / 2,
            _ => 0,
        };
        assert!(counts.bytes <= model.max_bytes + over);
    }

    /// All is read, and what reaches the peer is what was fed.
    fn finish(mut self) {
        for _ in 0..400 {
            write(self.conn.sender_mut(), &mut self.written, usize::MAX);
            if self.outbox.counts().waiting == 0 && self.outbox.disconnected().is_none() {
                break;
            }
            self.feed();
            self.check();
            if self.closed.is_some() || self.open.is_some() {
                break;
            }
        }
        while write(self.conn.sender_mut(), &mut self.written, usize::MAX) > 0 {}
        let got = reference::receive(&self.written, self.client, Limits::NONE);
        let dropped = self.model.gone.is_some() && self.closed == Some(self.model.gone);
        let mut events = got.events.into_iter();
        for (i, expected) in self.expected.iter().enumerate() {
            match events.next() {
                Some(Event::Message { text: false, payload }) => {
                    assert!(payload == *expected, "message {i} is another");
                }
                // Disconnecting drops what was fed and had not begun to be written.
                Some(Event::Close(_)) | None if dropped => break,
                other => panic!("{other:?} in the place of message {i}"),
            }
        }
        if let Some(code) = self.closed {
            assert_eq!(got.end, End::Closed);
            assert_eq!(self.conn.sender().close_frame().map(|frame| frame.code), code);
        } else {
            assert_eq!(got.end, End::More);
            assert_eq!(events.next(), None);
        }
    }
}
