//! Random orders of feeding, overtaking and partial writes: the output is whole legal frames in
//! order, nothing lost or doubled.
use crate::support::wire::*;
use std::collections::VecDeque;
use tickwire::{
    Chunk, Config, Connection, DataKind, Message, OwnedMessage, Position, Prepared, Role, SendError,
};

/// What should come out, kept beside the connection.
struct Model {
    rng: Rng,
    conn: Connection,
    role: Role,
    /// Data frames fed in order and not seen yet.
    data: VecDeque<(u8, Vec<u8>)>,
    /// Messages fed first and not seen yet.
    first: VecDeque<(u8, Vec<u8>)>,
    /// Control frames queued and not seen, and the newest of each kind.
    controls: Vec<(u8, Vec<u8>)>,
    pong: Option<Vec<u8>>,
    ping: Option<Vec<u8>>,
    open: Option<DataKind>,
    /// Wire bytes not made into frames yet.
    wire: Vec<u8>,
    written: u64,
    serial: u32,
    positions: VecDeque<(Position, bool, u32)>,
    seen: Vec<u32>,
}

impl Model {
    fn new(role: Role, seed: u64, config: &Config) -> Self {
        Self {
            rng: Rng(seed),
            conn: connection(role, config),
            role,
            data: VecDeque::new(),
            first: VecDeque::new(),
            controls: Vec::new(),
            pong: None,
            ping: None,
            open: None,
            wire: Vec::new(),
            written: 0,
            serial: 0,
            positions: VecDeque::new(),
            seen: Vec::new(),
        }
    }

    /// A payload that is text and names itself.
    fn payload(&mut self) -> Vec<u8> {
        self.serial += 1;
        let len = match self.rng.below(12) {
            0 => 0,
            1 => 125,
            2 => 126,
            3 => self.rng.below(2000),
            4 if self.rng.once_in(40) => 65_536 + self.rng.below(5000),
            _ => self.rng.below(40),
        };
        let mut payload = format!("{:08x}", self.serial).into_bytes();
        payload.resize(8 + len, b'.');
        payload
    }

    /// Feeds something in one of all ways.
    fn feed(&mut self) {
        let kind = if self.rng.once_in(2) { DataKind::Text } else { DataKind::Binary };
        let kind = self.open.unwrap_or(kind);
        let payload = self.payload();
        let s = std::str::from_utf8(&payload).unwrap();
        let message = match kind {
            DataKind::Text => Message::Text(s),
            DataKind::Binary => Message::Binary(&payload),
        };
        let opcode = if kind == DataKind::Text { 1 } else { 2 };
        let before = self.conn.sender().buffered_amount();
        let has_room = self.conn.sender().has_room();
        let way = self.rng.below(6);
        let mut b0 = 0x80 | opcode;
        let tx = self.conn.sender_mut();
        let fed = match way {
            0 => tx.feed(message),
            1 => tx.feed(OwnedMessage::from(message)),
            2 => tx.feed(&Prepared::new(message)),
            3 => {
                b0 = 0x82;
                tx.feed(payload.clone())
            }
            4 => {
                let fed = tx.feed_first(message);
                match fed {
                    Ok(position) => {
                        self.positions.push_back((position, true, self.serial));
                        self.first.push_back((b0, payload));
                    }
                    Err(SendError::Full { .. }) => {}
                    Err(error) => panic!("{error}"),
                }
                return;
            }
            _ => {
                let last = self.rng.once_in(3);
                let begun = self.open.is_some();
                let fed = self.conn.sender_mut().feed_chunk(Chunk {
                    kind,
                    first: !begun,
                    data: &payload,
                    last,
                });
                if fed.is_ok() {
                    self.open = (!last).then_some(kind);
                }
                b0 = u8::from(last) << 7 | if begun { 0 } else { opcode };
                self.fed_in_order(fed, way, b0, payload, before, has_room);
                return;
            }
        };
        self.fed_in_order(fed, way, b0, payload, before, has_room);
    }

    fn fed_in_order(
        &mut self,
        fed: Result<Position, SendError>,
        way: usize,
        b0: u8,
        payload: Vec<u8>,
        before: usize,
        has_room: bool,
    ) {
        let open = way < 4 && self.open.is_some();
        match fed {
            Ok(position) => {
                assert!(has_room && !open);
                let key = if self.role == Role::Client { 4 } else { 0 };
                let frame = frame(b0, None, &payload).len() + key;
                assert_eq!(self.conn.sender().buffered_amount(), before + frame);
                self.positions.push_back((position, false, self.serial));
                self.data.push_back((b0, payload));
            }
            Err(SendError::Full { .. }) => assert!(!has_room && !open),
            Err(SendError::MessageInProgress) => assert!(open),
            Err(error) => panic!("{error}"),
        }
    }

    fn control(&mut self) {
        self.serial += 1;
        let payload = format!("{:08x}", self.serial).into_bytes();
        let way = self.rng.below(3);
        self.controls.push((if way == 0 { PING } else { PONG }, payload.clone()));
        match way {
            0 => {
                self.conn.sender_mut().ping(&payload).unwrap();
                self.ping = Some(payload);
            }
            1 => {
                self.conn.sender_mut().pong(&payload).unwrap();
                self.pong = Some(payload);
            }
            _ => {
                receive(&mut self.conn, &to(self.role, PING, &payload));
                self.pong = Some(payload);
            }
        }
    }

    /// Writes some, in one look or several, and checks what frames that completes.
    fn write(&mut self) {
        let n = match self.rng.below(4) {
            0 => self.rng.below(8),
            1 => self.rng.below(200),
            2 => self.rng.below(5000),
            _ => usize::MAX,
        };
        let at_once = self.rng.once_in(2);
        let bytes = if at_once { write_at_once } else { write }(&mut self.conn, n);
        self.written += bytes.len() as u64;
        self.wire.extend(bytes);
        self.check();
    }

    fn check(&mut self) {
        let mut at = 0;
        while let Some((frame, n)) = read_frame(&self.wire[at..]) {
            at += n;
            assert_eq!(frame.masked, self.role == Role::Client);
            let WireFrame { b0, payload, .. } = frame;
            match b0 {
                // None is sent twice, the newest of each kind is sent, and none older behind it.
                PING | PONG => {
                    let newest = if b0 == PING { &mut self.ping } else { &mut self.pong };
                    newest.take_if(|due| *due == payload);
                    let frame = (b0, payload);
                    let queued = self.controls.iter().position(|c| *c == frame);
                    let queued = queued.expect("a control frame nobody queued, or an older one");
                    let mut i = 0;
                    self.controls.retain(|c| {
                        i += 1;
                        i > queued + 1 || c.0 != b0
                    });
                    continue;
                }
                _ => {}
            }
            let frame = (b0, payload);
            self.seen.push(
                u32::from_str_radix(std::str::from_utf8(&frame.1[..8]).unwrap(), 16).unwrap(),
            );
            if self.first.front() == Some(&frame) {
                self.first.pop_front();
            } else {
                assert_eq!(Some(frame), self.data.pop_front(), "{:?}", self.role);
            }
        }
        self.wire.drain(..at);
        // What was seen whole is written, all else is not.
        let (seen, tx) = (&mut self.seen, self.conn.sender_mut());
        self.positions.retain(|(position, _, serial)| {
            let whole = seen.contains(serial);
            assert_eq!(tx.is_written(*position), whole, "{serial:08x}");
            !whole
        });
        seen.clear();
    }
}

fn run(role: Role, seed: u64, steps: usize, config: &Config) {
    let mut model = Model::new(role, seed, config);
    let mut far = connection(peer(role), &Config::default());
    for step in 0..steps {
        match model.rng.below(10) {
            0..=4 => model.feed(),
            5 | 6 => model.control(),
            7 => {
                model.conn.sender_mut().outgoing(); // a look that takes nothing
            }
            _ => model.write(),
        }
        assert!(model.conn.sender().buffered_amount() < 400_000, "step {step}");
    }
    // The end: finish the message that is open, then drain.
    while let Some(kind) = model.open {
        let chunk = Chunk { kind, first: false, data: b"00000000", last: true };
        if model.conn.sender_mut().feed_chunk(chunk).is_ok() {
            model.open = None;
            model.data.push_back((CONT, b"00000000".to_vec()));
        }
        let bytes = drain(&mut model.conn);
        model.wire.extend(bytes);
        model.check();
    }
    let bytes = drain(&mut model.conn);
    model.wire.extend(bytes);
    model.check();
    assert!(model.data.is_empty() && model.first.is_empty() && model.wire.is_empty());
    assert!(model.ping.is_none() && model.pong.is_none() && model.positions.is_empty());
    assert_eq!(model.conn.sender().buffered_amount(), 0);
    assert!(model.written > times(100_000, 100) as u64);
    // It goes on as if nothing had been.
    model.conn.sender_mut().feed("still here").unwrap();
    assert_eq!(receive(&mut far, &drain(&mut model.conn)), [text("still here")]);
}

#[test]
fn forty_thousand_random_steps_lose_and_double_nothing() {
    // P210, P211, A35
    for role in ROLES {
        for (seed, min_vectored) in [(1, 100), (2, 1), (3, 4096), (4, usize::MAX)] {
            let config = Config { min_vectored, high_water: 20_000, ..Config::default() };
            run(role, seed, times(5000, 15), &config);
        }
    }
}

#[test]
fn a_queue_that_is_always_full_loses_nothing() {
    for role in ROLES {
        let config = Config { min_vectored: 500, high_water: 300, ..Config::default() };
        run(role, 99, times(5000, 100), &config);
    }
}

/// Random frames, then an end by `end` at a random place: what comes out is legal to the last, and
/// every position says whether its frame came out.
fn cut_short(seed: u64, end: impl Fn(&mut Connection) -> Option<Vec<u8>>) {
    let mut rng = Rng(seed);
    let role = ROLES[rng.below(2)];
    let mut conn = connection(role, &Config { min_vectored: 64, ..Config::default() });
    let (mut in_order, mut first, mut wire) = (Vec::new(), Vec::new(), Vec::new());
    let mut open = false;
    for i in 0..rng.below(14) {
        let payload = vec![i as u8; rng.below(200) + 1];
        let tx = conn.sender_mut();
        match rng.below(5) {
            0 => first.push((tx.feed_first(&payload).unwrap(), payload)),
            1 | 2 => {
                let last = rng.once_in(2);
                let chunk = Chunk { kind: DataKind::Binary, first: !open, data: &payload, last };
                in_order.push((tx.feed_chunk(chunk).unwrap(), payload));
                open = !last;
            }
            _ if open => {}
            3 => in_order.push((tx.feed(payload.clone()).unwrap(), payload)),
            _ => in_order.push((tx.feed(&Prepared::new(&payload)).unwrap(), payload)),
        }
        if rng.once_in(2) {
            conn.sender_mut().ping(&[i as u8]).unwrap();
        }
        if rng.once_in(3) {
            receive(&mut conn, &to(role, PING, ""));
            conn.sender_mut().outgoing();
        }
        if rng.once_in(2) {
            let n = rng.below(300);
            wire.extend(write_at_once(&mut conn, n));
        }
    }
    let before = conn.sender().buffered_amount() as u64;
    let fed = conn.sender().fed();
    let last = end(&mut conn);
    assert!(conn.sender().dropped() <= before);
    wire.extend(write_at_once(&mut conn, usize::MAX));
    wire.extend(drain(&mut conn));
    let mut sent = sent(&wire);
    let mut far = connection(peer(role), &Config::default());
    let seen = receive(&mut far, &wire);
    if let Some(body) = last {
        let at = sent.iter().rposition(|f| *f == (CLOSE, body.clone()));
        let behind = sent.split_off(at.expect("a Close"));
        assert!(behind[1..].iter().all(|f| f.0 == PING || f.0 == PONG), "seed {seed}: {behind:?}");
        assert_eq!(seen.last(), Some(&Seen::Closed), "seed {seed}: {seen:?}");
    }
    let data: Vec<Vec<u8>> = sent.into_iter().filter(|f| f.0 & 8 == 0).map(|f| f.1).collect();
    assert!(!seen.iter().any(|e| matches!(e, Seen::Failed(_))), "seed {seed}: {seen:?}");
    assert_eq!(conn.sender().fed(), fed, "seed {seed}");
    let all = data.len() == in_order.len() + first.len();
    assert_eq!(conn.sender().dropped() == 0, all, "seed {seed}");
    for fed in [&in_order, &first] {
        let mut rest = data.iter();
        let mut lost = false;
        for (position, payload) in fed {
            let came = !lost && rest.any(|p| p == payload);
            lost |= !came; // none overtakes another of its kind
            assert_eq!(conn.sender().is_written(*position), came, "seed {seed}: {payload:?}");
        }
    }
}

#[test]
fn an_end_at_any_moment_leaves_whole_frames_and_a_close() {
    // A35
    for seed in 0..times(3000, 4) as u64 {
        cut_short(seed, |conn| {
            conn.sender_mut().abort(None).unwrap();
            Some(vec![])
        });
        cut_short(seed, |conn| {
            conn.sender_mut().close(None).unwrap();
            Some(vec![])
        });
        cut_short(seed, |conn| {
            let role = conn.role();
            receive(conn, &to(role, 0x83, ""));
            Some(vec![3, 0xea])
        });
    }
}
