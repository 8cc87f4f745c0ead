//! How many bytes a read asks for: reads grow with long messages, up to `max_read`, and shrink when
//! they become small. How much a connection holds meanwhile.
use crate::support::wire::*;
use bytes::Bytes;
use testkit::Rng;
use tickwire::{Config, Connection, Role, Step};

const KIB: usize = 1 << 10;

/// The longest header: a read asks for one more than its setting names, for each `read_buffer` of
/// it.
const HEADER: usize = 14;

/// What a buffer has besides the bytes of a read.
const SLACK: usize = 8;

/// An endless stream of messages of these lengths, one after another.
struct Flood {
    role: Role,
    lens: Vec<usize>,
    next: usize,
    wire: Vec<u8>,
}

impl Flood {
    fn of(role: Role, lens: &[usize]) -> Self {
        Self { role, lens: lens.to_vec(), next: 0, wire: Vec::new() }
    }

    /// Ends the last message.
    fn end(&mut self, conn: &mut Connection) {
        while !self.wire.is_empty() {
            let rest = self.wire.len();
            read(conn, self, rest);
        }
    }

    /// Fills as much of `room` as `most` allows.
    fn fill(&mut self, room: &mut [u8], most: usize) -> usize {
        let n = room.len().min(most);
        while self.wire.len() < n {
            let len = self.lens[self.next % self.lens.len()];
            self.wire.extend(frame_to(self.role, BINARY, vec![self.next as u8; len]));
            self.next += 1;
        }
        room[..n].copy_from_slice(&self.wire[..n]);
        self.wire.drain(..n);
        n
    }
}

/// Reads, at most `most` bytes, and receives all messages of the read. Returns how many bytes the
/// read asked for.
fn read(conn: &mut Connection, flood: &mut Flood, most: usize) -> usize {
    let room = conn.receiver_mut().spare_mut();
    let asked = room.len();
    let n = flood.fill(room, most);
    conn.receiver_mut().commit(n);
    while conn.step().unwrap() == Step::Message {}
    asked
}

/// Fills 20 reads, by which they have grown as far as they do; returns the most bytes that one of
/// them asked for.
fn longest_read(conn: &mut Connection, flood: &mut Flood) -> usize {
    (0..20).map(|_| read(conn, flood, usize::MAX)).max().unwrap()
}

#[test]
fn reads_that_long_messages_fill_grow_up_to_max_read() {
    for len in [2500, 4 * KIB, 16 * KIB, 20_000, 64 * KIB, 300_000] {
        for (read_buffer, max_read) in [
            (16 * KIB, 64 * KIB),
            (16 * KIB, 256 * KIB),
            (16 * KIB, 100_000),
            (16 * KIB, 16 * KIB),
            (16 * KIB, 0),
            (600, 5000),
            (0, 1000),
            (1 << 25, 1 << 25),
        ] {
            let config = Config { read_buffer, max_read, ..Config::default() };
            let base = read_buffer.clamp(512, 16 << 20);
            let longest = max_read.min(16 << 20).max(base);
            let most = longest + longest / base * HEADER;
            for (role, mut conn) in connections(&config) {
                if base > 16 * KIB && cfg!(debug_assertions) && len > 4 * KIB {
                    continue; // hundreds of MiB, to no other end
                }
                let mut flood = Flood::of(role, &[len]);
                let reads = if base > 16 * KIB { 2 } else { 20 };
                let asked = (0..reads).map(|_| read(&mut conn, &mut flood, usize::MAX)).max();
                let asked = asked.unwrap();
                assert!(asked <= most, "{len} {read_buffer} {max_read}: {asked}");
                // Inside a larger frame, a read asks for no more than is missing.
                let fits = len + HEADER <= most / 2;
                // A buffer of half the length that was there before stays.
                assert!(asked > most * 2 / 5 || !fits, "{len} {read_buffer} {max_read}: {asked}");
            }
        }
    }
}

/// If the fourth lacked a few bytes of its end, what has come of it would be moved at each read.
#[test]
fn four_snapshots_of_16_kib_fit_into_the_longest_read() {
    for (role, mut conn) in connections(&Config::default()) {
        let mut flood = Flood::of(role, &[16 * KIB]);
        let four = 4 * frame_to(role, BINARY, vec![0; 16 * KIB]).len();
        longest_read(&mut conn, &mut flood);
        for _ in 0..20 {
            let asked = read(&mut conn, &mut flood, usize::MAX);
            // Up to a header of the first may have come with the read before.
            assert!(asked + HEADER >= four, "{asked} of {four}");
        }
    }
}

/// However many they are, and whatever was before them.
#[test]
fn small_messages_are_read_as_ever() {
    let base = 16 * KIB + HEADER;
    for len in [100, 200, KIB, 2000] {
        for (role, mut conn) in connections(&Config::default()) {
            let mut flood = Flood::of(role, &[len]);
            let asked = (0..20).map(|_| read(&mut conn, &mut flood, usize::MAX)).max();
            assert_eq!(asked, Some(base), "{len}");
            flood.lens = vec![16 * KIB];
            longest_read(&mut conn, &mut flood);
            let grown = conn.receiver().wanted_len();
            assert!(grown > 60 * KIB, "{grown}");
            flood.lens = vec![len];
            for _ in 0..12 {
                read(&mut conn, &mut flood, usize::MAX);
            }
            assert_eq!(conn.receiver().wanted_len(), base + SLACK, "{len}");
        }
    }
}

/// Snapshots and small messages in turn: what most of the bytes are decides.
#[test]
fn snapshots_among_small_messages_are_read_as_snapshots() {
    for role in ROLES {
        let mut conn = connection(role, &Config::default());
        let mut flood = Flood::of(role, &[64, 16 * KIB, 200, 64, 8 * KIB, 100]);
        let asked: Vec<_> = (0..60).map(|_| read(&mut conn, &mut flood, usize::MAX)).collect();
        assert!(asked[20..].iter().sum::<usize>() / 40 > 24 * KIB, "{asked:?}");
    }
}

#[test]
fn reads_become_short_again_as_soon_as_little_comes() {
    for (role, mut conn) in connections(&Config::default()) {
        let mut flood = Flood::of(role, &[4 * KIB]);
        longest_read(&mut conn, &mut flood);
        flood.end(&mut conn);
        flood.lens = vec![100];
        let one = frame_to(role, BINARY, [0; 100]).len();
        let mut asked: Vec<_> = (0..7).map(|_| read(&mut conn, &mut flood, one)).collect();
        assert_eq!(asked.pop(), Some(16 * KIB + HEADER), "{asked:?}");
        // The long buffer is not kept for ever, either.
        for _ in 0..70 {
            read(&mut conn, &mut flood, one);
        }
        assert_eq!(conn.receiver().buffer_len(), 16 * KIB + HEADER + SLACK);
        // Nor does a connection that waits hold any.
        conn.receiver_mut().reclaim();
        assert_eq!(conn.receiver().buffer_len(), 0);
    }
}

/// A large frame is read to its end in one go, with the header of the next one, so that nothing
/// else behind it has to move.
#[test]
fn a_large_frame_is_one_read_and_lies_where_it_was_read() {
    for (role, mut conn) in connections(&Config::default()) {
        let mut flood = Flood::of(role, &[50 * KIB]);
        longest_read(&mut conn, &mut flood);
        let frame = frame_to(role, BINARY, vec![0; 50 * KIB]).len();
        for _ in 0..20 {
            let room = conn.receiver_mut().spare_mut();
            let at = room.as_ptr();
            assert!(room.len() <= frame + HEADER, "{}", room.len());
            let n = flood.fill(room, usize::MAX);
            conn.receiver_mut().commit(n);
            assert_eq!(conn.step(), Ok(Step::Message));
            let message = conn.receiver().message().unwrap().as_bytes().as_ptr_range();
            assert!((at..at.wrapping_add(n)).contains(&message.end.wrapping_sub(1)), "it moved");
            assert_eq!(conn.step(), Ok(Step::NeedInput));
        }
    }
}

/// A peer that grows a connection's reads can make it hold one read, and no length that it
/// announces makes that more.
#[test]
fn what_a_connection_holds_while_it_is_read_is_bounded() {
    for (read_buffer, max_read, max_message) in [
        (16 * KIB, 256 * KIB, 16 << 20),
        (512, 0, 4000),
        (512, 2 * KIB, 3000),
        (1 << 10, 9999, 9999),
    ] {
        let config = Config { read_buffer, max_read, max_message, ..Config::default() };
        for (role, mut conn) in connections(&config) {
            let mut flood = Flood::of(role, &[max_message.min(8 * KIB) / 2]);
            let most = max_read.max(read_buffer) + max_message.min(8 * KIB);
            for _ in 0..100 {
                read(&mut conn, &mut flood, usize::MAX);
                assert!(
                    conn.receiver().buffer_len() <= 2 * most,
                    "{}",
                    conn.receiver().buffer_len()
                );
            }
            let before = conn.receiver().buffer_len();
            flood.end(&mut conn);
            let announced = frame_to(role, BINARY, vec![0; max_message]);
            let room = conn.receiver_mut().spare_mut();
            let n = room.len().min(20);
            room[..n].copy_from_slice(&announced[..n]);
            conn.receiver_mut().commit(n);
            assert_eq!(conn.step(), Ok(Step::NeedInput));
            conn.receiver_mut().spare_mut();
            let held = conn.receiver().buffer_len();
            assert!(held <= (2 * most).max(before), "{held} after {before}");
        }
    }
}

#[test]
fn an_owned_message_keeps_no_long_buffer_alive() {
    for (role, len) in product(ROLES, [5 * KIB, 16 * KIB, 40 * KIB, 200 * KIB, 1 << 20]) {
        let mut conn = connection(role, &Config::default());
        let mut flood = Flood::of(role, &[len]);
        let mut seen = 0;
        while seen < ((4 << 20) / len).clamp(10, 40) {
            let room = conn.receiver_mut().spare_mut();
            let n = flood.fill(room, usize::MAX);
            conn.receiver_mut().commit(n);
            while conn.step().unwrap() == Step::Message {
                let message: Bytes = conn.receiver_mut().take_message().unwrap().into();
                assert_eq!(message, vec![seen as u8; len]);
                seen += 1;
                // The message's memory, as its only owner finds it.
                let memory = message.try_into_mut().unwrap().capacity();
                assert!(memory <= 2 * len + 2 * KIB, "{len}: {memory}");
            }
        }
    }
}

/// A limit over many connections asks this before a read. Also if the read is the first to ask for
/// more, or follows a lent buffer.
#[test]
fn what_a_connection_may_hold_after_the_next_read_is_known_before() {
    let mut rng = Rng::new(76);
    let mut reads = 0;
    let mut exact = 0;
    for (read_buffer, max_read, max_message) in [
        (16 * KIB, 64 * KIB, 16 << 20),
        (16 * KIB, 256 * KIB, 16 << 20),
        (512, 2 * KIB, 16 << 20),
        (512, 100_000, 300 * KIB),
        (4000, 0, 100_000),
        (20_000, 64 * KIB, 40_000),
    ] {
        let config = Config { read_buffer, max_read, max_message, ..Config::default() };
        for (role, mut conn) in connections(&config) {
            let longest = max_message.min(300 * KIB);
            let mut lens = vec![];
            for _ in 0..7 {
                let below = rng.of(&[200, 30_000, longest]);
                lens.push(rng.below(below));
            }
            let mut flood = Flood::of(role, &lens);
            for _ in 0..300 {
                if rng.once_in(8) {
                    conn.receiver_mut().reset_reads();
                }
                let rx = conn.receiver();
                let grown = rx.grown_len();
                let wanted = rx.wanted_len();
                if !rx.has_buffer() && rng.once_in(2) {
                    let len = wanted - rng.below(wanted / 2);
                    conn.receiver_mut().lend(vec![0; len]);
                }
                let most = if rng.once_in(3) { 1 + rng.below(20_000) } else { usize::MAX };
                read(&mut conn, &mut flood, most);
                let len = conn.receiver().buffer_len();
                assert!(len <= grown, "{len}, {grown} expected; {lens:?} {config:?}");
                reads += 1;
                exact += usize::from(len == grown);
                if rng.once_in(3) {
                    conn.receiver_mut().reclaim();
                }
            }
        }
    }
    assert!(exact > reads * 9 / 10, "{exact} of {reads}");
}

#[test]
fn reads_that_are_reset_are_short_and_grow_again() {
    for (role, mut conn) in connections(&Config::default()) {
        let mut flood = Flood::of(role, &[16 * KIB]);
        for _ in 0..2 {
            let asked = longest_read(&mut conn, &mut flood);
            assert!(asked > 60 * KIB, "{asked}");
            flood.end(&mut conn);
            conn.receiver_mut().reclaim();
            conn.receiver_mut().reset_reads();
            assert_eq!(conn.receiver().wanted_len(), 16 * KIB + HEADER + SLACK);
            assert_eq!(conn.receiver().grown_len(), 16 * KIB + HEADER + SLACK);
            assert_eq!(read(&mut conn, &mut flood, usize::MAX), 16 * KIB + HEADER);
        }
    }
}

/// `tickwire-loop` lets a connection that holds up to 129 KiB read when memory is short.
#[test]
fn a_buffer_that_fits_the_message_is_not_expected_to_grow() {
    for (role, mut conn) in connections(&Config::default()) {
        let frame = frame_to(role, BINARY, vec![0; 128 * KIB]);
        let mut sent = 0;
        while sent < 120 * KIB {
            let grown = conn.receiver().grown_len();
            assert!(grown <= 129 * KIB, "{grown} after {sent} bytes");
            let room = conn.receiver_mut().spare_mut();
            let n = room.len().min(5000);
            room[..n].copy_from_slice(&frame[sent..sent + n]);
            conn.receiver_mut().commit(n);
            sent += n;
            assert_eq!(conn.step(), Ok(Step::NeedInput));
        }
    }
}
