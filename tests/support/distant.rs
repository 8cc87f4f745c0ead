//! A model of a peer at the far end of a network, in virtual time: frames that it makes at times of
//! its own, a round trip, the window that our kernel's receive buffer leaves it, and records as TLS
//! makes them. It knows what the peer did at its own side, whatever of it has come here.
use super::wire::*;
use bytes::Buf as _;
use std::collections::VecDeque;
use testkit::Rng;

/// Microseconds.
pub(crate) type Micros = u64;
pub(crate) const MS: Micros = 1000;
pub(crate) const SECOND: Micros = 1_000_000;
pub(crate) const NEVER: Micros = Micros::MAX;

/// What the peer sends, and how long it lives.
#[derive(Clone, Debug)]
pub(crate) struct Habits {
    /// The longest pause between two messages.
    pub(crate) data_gap: Micros,
    pub(crate) data_len: usize,
    /// The pause between two Pings; `NEVER` for none.
    pub(crate) ping_gap: Micros,
    pub(crate) ping_len: usize,
    /// From then on it makes no message; nor, if `wholly`, a Ping or Pong.
    pub(crate) dies: Micros,
    pub(crate) wholly: bool,
    /// The last message stays without its last byte.
    pub(crate) breaks_off: bool,
    pub(crate) one_way: Micros,
    /// The length of our kernel's receive buffer.
    pub(crate) room: usize,
    /// Whether each frame is a record, which is read when its last byte has come.
    pub(crate) records: bool,
}

/// A frame, or a part of it.
struct Piece {
    bytes: VecDeque<u8>,
    made: Micros,
    /// When it came here; not known while it is on its way.
    came: Micros,
    data: bool,
    /// Whether it has the last byte of its record.
    ends: bool,
}

impl Piece {
    /// Takes its first bytes, at most so many.
    fn take(&mut self, most: usize) -> Self {
        let rest = self.bytes.split_off(self.bytes.len().min(most));
        let bytes = std::mem::replace(&mut self.bytes, rest);
        Self { bytes, ends: self.ends && self.bytes.is_empty(), ..*self }
    }
}

/// What is on its way from one end to the other.
enum Transit {
    Piece(Piece),
    /// What we write.
    Written(Vec<u8>),
    /// So many bytes were read here.
    Read(usize),
}

pub(crate) struct Distant {
    habits: Habits,
    rng: Rng,
    now: Micros,
    next_data: Micros,
    next_ping: Micros,
    /// Made, and kept back by the window.
    outbox: VecDeque<Piece>,
    /// The window as the peer knows it.
    window: usize,
    transit: VecDeque<(Micros, Transit)>,
    kernel: VecDeque<Piece>,
    /// The number of pieces there that end a record.
    whole_records: usize,
    /// What the session of TLS has read: the record that is not whole, and whole ones.
    opening: Option<Piece>,
    opened: VecDeque<Piece>,
    /// When bytes left it, and whether they are of a message. What the window keeps back has not
    /// left it: nothing at our side can know of that.
    left: Vec<(Micros, bool)>,
    last_data: Micros,
    /// When a byte was last read here, and one of data.
    pub(crate) read_at: Option<Micros>,
    pub(crate) data_read_at: Option<Micros>,
    /// When the first byte of a frame whose last byte is not read was read.
    pub(crate) broken_since: Option<Micros>,
}

impl Distant {
    pub(crate) fn new(habits: Habits, seed: u64) -> Self {
        Self {
            next_data: habits.data_gap / 2,
            next_ping: habits.ping_gap,
            window: habits.room,
            habits,
            rng: Rng::new(seed),
            now: 0,
            outbox: VecDeque::new(),
            transit: VecDeque::new(),
            kernel: VecDeque::new(),
            whole_records: 0,
            opening: None,
            opened: VecDeque::new(),
            left: vec![],
            last_data: 0,
            read_at: None,
            data_read_at: None,
            broken_since: None,
        }
    }

    /// When something happens next.
    pub(crate) fn next(&self) -> Micros {
        let comes = self.transit.front().map_or(NEVER, |&(at, _)| at);
        comes.min(self.next_data).min(self.next_ping)
    }

    /// Lets time pass at both ends.
    pub(crate) fn pass(&mut self, to: Micros) {
        while self.next() <= to {
            self.now = self.next().max(self.now);
            let now = self.now;
            if self.transit.front().is_some_and(|(at, _)| *at <= now) {
                match self.transit.pop_front() {
                    Some((_, Transit::Read(bytes))) => self.window += bytes,
                    Some((_, Transit::Written(bytes))) => self.hear(&bytes),
                    Some((_, Transit::Piece(piece))) => {
                        self.whole_records += usize::from(piece.ends);
                        self.kernel.push_back(Piece { came: now, ..piece });
                    }
                    None => {}
                }
            } else if self.next_data <= now {
                self.say();
            } else {
                self.make(PING, vec![b'?'; self.habits.ping_len]);
                self.next_ping = now + self.habits.ping_gap;
                if self.habits.wholly && self.next_ping >= self.habits.dies {
                    self.next_ping = NEVER;
                }
            }
            self.send();
        }
        self.now = self.now.max(to);
    }

    fn say(&mut self) {
        let len = 1 + self.rng.below(self.habits.data_len);
        let gap = self.habits.data_gap;
        self.next_data = self.now + gap / 2 + self.rng.below(gap / 2);
        let last = self.next_data >= self.habits.dies;
        self.make(BINARY, vec![7; len]);
        if last {
            self.next_data = NEVER;
            if self.habits.breaks_off {
                let frame = self.outbox.back_mut().expect("it was made");
                frame.bytes.pop_back();
                (self.habits.dies, self.next_ping) = (self.now, NEVER);
            }
        }
    }

    fn make(&mut self, b0: u8, payload: Vec<u8>) {
        let data = b0 == BINARY;
        self.last_data = if data { self.now } else { self.last_data };
        let bytes = unmasked(b0, payload).into();
        self.outbox.push_back(Piece { bytes, made: self.now, came: NEVER, data, ends: true });
    }

    fn hear(&mut self, bytes: &[u8]) {
        for frame in frames(bytes) {
            if frame.b0 == PING && !(self.habits.wholly && self.now >= self.habits.dies) {
                self.make(PONG, frame.payload);
            }
        }
    }

    fn send(&mut self) {
        while self.window > 0
            && let Some(piece) = self.outbox.front_mut()
        {
            let part = piece.take(self.window);
            self.window -= part.bytes.len();
            self.left.push((self.now, part.data));
            if piece.bytes.is_empty() {
                self.outbox.pop_front();
            }
            self.on_its_way(Transit::Piece(part));
        }
    }

    fn on_its_way(&mut self, what: Transit) {
        self.transit.push_back((self.now + self.habits.one_way, what));
    }

    /// Our bytes leave.
    pub(crate) fn write(&mut self, bytes: &[u8]) {
        self.on_its_way(Transit::Written(bytes.to_vec()));
    }

    /// Whether a read brings bytes.
    pub(crate) fn is_readable(&self) -> bool {
        let kernel = if self.habits.records { self.whole_records } else { self.kernel.len() };
        !self.opened.is_empty() || kernel > 0
    }

    /// Whether a byte that came by `by` lies unread at our side, of any kind or of data.
    pub(crate) fn has_unread(&self, data: bool, by: Micros) -> bool {
        let is_one = |piece: &Piece| piece.came <= by && (piece.data || !data);
        self.kernel.iter().chain(&self.opened).any(is_one)
    }

    /// Reads what one read brings; `None` if it would block.
    pub(crate) fn read(&mut self, to: &mut [u8]) -> Option<usize> {
        let mut n = 0;
        if self.habits.records {
            while self.opened.is_empty() {
                let piece = self.take(usize::MAX)?;
                let ends = piece.ends;
                let record = match self.opening.take() {
                    None => piece,
                    Some(mut record) => {
                        record.bytes.extend(piece.bytes);
                        Piece { ends, came: piece.came, ..record }
                    }
                };
                match ends {
                    true => self.opened.push_back(record),
                    false => self.opening = Some(record),
                }
            }
            let record = self.opened.front_mut()?;
            let mut got = record.take(to.len());
            n = got.bytes.len();
            if record.bytes.is_empty() {
                self.opened.pop_front();
            }
            self.note(&got);
            got.bytes.copy_to_slice(&mut to[..n]);
        } else {
            while n < to.len()
                && let Some(mut piece) = self.take(to.len() - n)
            {
                self.note(&piece);
                let from = n;
                n += piece.bytes.len();
                piece.bytes.copy_to_slice(&mut to[from..n]);
            }
        }
        (n > 0).then_some(n)
    }

    /// Takes bytes out of the kernel. The peer hears of the room after its way.
    fn take(&mut self, most: usize) -> Option<Piece> {
        let piece = self.kernel.front_mut()?;
        let taken = piece.take(most);
        self.whole_records -= usize::from(taken.ends);
        if piece.bytes.is_empty() {
            self.kernel.pop_front();
        }
        self.on_its_way(Transit::Read(taken.bytes.len()));
        Some(taken)
    }

    fn note(&mut self, piece: &Piece) {
        self.read_at = Some(self.now);
        if piece.data {
            self.data_read_at = Some(self.now);
            self.broken_since = self.broken_since.or(Some(self.now));
            let is_last = self.next_data == NEVER && piece.made == self.last_data;
            if piece.ends && !(self.habits.breaks_off && is_last) {
                self.broken_since = None;
            }
        }
    }

    /// When a sign of life last left the peer that has had the time to come here by `at`.
    pub(crate) fn last_left(&self, data: bool, at: Micros) -> Micros {
        let came =
            |&&(left, is): &&(Micros, bool)| left + self.habits.one_way <= at && (is || !data);
        self.left.iter().rev().find(came).map_or(0, |&(left, _)| left)
    }

    /// Whether the peer makes no sign of life any more.
    pub(crate) fn is_silent(&self, data: bool) -> bool {
        self.next_data == NEVER && (data || self.next_ping == NEVER && self.habits.wholly)
    }
}
