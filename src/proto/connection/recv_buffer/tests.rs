use super::{IN_PLACE, MAX_HEADER_LEN, Memory, RecvBuffer, SLACK, STEP, UNNEEDED_READS};
use crate::proto::memory::counted::{COUNTED, NONE, traffic};
use alloc::{vec, vec::Vec};

/// The number of bytes that one read asks for in these tests. `WHOLE` is the length of a buffer for
/// `BASE` bytes.
const BASE: usize = 1000;
const WHOLE: usize = BASE + SLACK;
/// The most bytes that one read asks for.
const READ: usize = BASE - MAX_HEADER_LEN;
/// A header for each `read_buffer`.
const MOST: usize = (128 << 10) + (128 << 10) / READ * MAX_HEADER_LEN;
const LIMIT: usize = 1 << 20;

/// Acts as a pool whose buffers are more than twice as long as asked for.
static LAVISH: Memory = Memory {
    take_to: |to, len| (COUNTED.take_to)(to, 2 * len + 1),
    give: |buffer| (COUNTED.give)(buffer),
};

/// Acts as a pool whose buffers all have the length of a connection's own buffer.
static WHOLES: Memory =
    Memory { take_to: |to, _| (COUNTED.take_to)(to, WHOLE), give: |buffer| (COUNTED.give)(buffer) };

fn buffer() -> RecvBuffer {
    traffic();
    RecvBuffer { memory: &COUNTED, ..RecvBuffer::new(READ, 128 << 10) }
}

#[test]
fn what_takes_over_a_head_keeps_its_own_length_and_memory() {
    let mut buf = buffer();
    let mut head = RecvBuffer::new(2 << 10, 0);
    head.spare_mut(LIMIT, 0);
    head.commit(10);
    assert!(buf.take_over(head).is_empty());
    assert_eq!(buf.wire().len(), 10);
    buf.skip(10);
    // A read has the length that `buf` asks for, not the length that the handshake's buffer asked
    // for (over 2 KiB).
    assert_eq!(buf.spare_mut(LIMIT, 0).len(), BASE);
    traffic();
    buf.lend(vec![0; 5000]);
    assert_eq!(traffic().1.len(), 1);
}

#[test]
fn no_more_is_skipped_than_has_arrived() {
    let mut buf = with(0, 0, 0, 5);
    buf.skip(7);
    holds(&buf, 5, 0, 0, 0);
    let mut buf = with(0, 3, 0, 5);
    buf.skip(7);
    holds(&buf, 0, 3, 5, 0);
    assert!(buf.spare_mut(LIMIT, 0).len() > 1);
    buf.commit(1);
    assert_eq!(buf.wire_len(), 1);
}

/// The byte at position `place` of the test stream.
fn at(place: usize) -> u8 {
    (place % 251) as u8
}

/// A buffer with `before` dropped bytes, `msg` bytes of a message, `gap` dropped bytes, and `wire`
/// wire bytes.
fn with(before: usize, msg: usize, gap: usize, wire: usize) -> RecvBuffer {
    let mut buf = buffer();
    buf.spare_mut(LIMIT, 0);
    let all = before + msg + gap + wire;
    for place in 0..all {
        buf.get_mut(place..place + 1)[0] = at(place);
    }
    buf.commit(all);
    buf.skip(before);
    assert_eq!(buf.take_into_message(msg), before..before + msg);
    buf.skip(gap);
    traffic();
    buf
}

/// Asserts that the buffer holds the message and the wire bytes that `with` stored.
#[track_caller]
fn holds(buf: &RecvBuffer, before: usize, msg: usize, gap: usize, wire: usize) {
    let expected: Vec<u8> = (before..before + msg).map(at).collect();
    assert_eq!(buf.get(buf.message()), Some(&expected[..]));
    let from = before + msg + gap;
    assert_eq!(buf.wire(), (from..from + wire).map(at).collect::<Vec<_>>());
}

#[test]
fn an_empty_buffer_is_used_from_its_beginning_again() {
    let mut buf = buffer();
    assert!(!buf.has_buffer());
    assert_eq!(buf.spare_mut(LIMIT, 0).len(), BASE);
    assert!(buf.has_buffer());
    assert_eq!((buf.bytes.len(), traffic()), (WHOLE, (vec![WHOLE], vec![])));
    for _ in 0..200 {
        buf.commit(BASE);
        buf.skip(BASE);
        assert_eq!(buf.spare_mut(LIMIT, 0).len(), BASE);
        assert_eq!(buf.end, 0);
    }
    assert_eq!(traffic(), NONE);
    assert_eq!(buf.reclaim().len(), WHOLE);
    assert!(!buf.has_buffer() && buf.reclaim().is_empty());
}

#[test]
fn a_lent_buffer_may_be_half_as_long_and_a_longer_one_goes_after_a_while() {
    for (len, spare) in [(WHOLE / 2, WHOLE / 2 - SLACK), (WHOLE - 1, BASE - 1), (WHOLE, BASE)] {
        let mut buf = buffer();
        buf.lend(vec![0; len]);
        for _ in 0..200 {
            assert_eq!(buf.spare_mut(LIMIT, 0).len(), spare);
        }
        assert_eq!(traffic(), NONE);
    }
    let mut buf = buffer();
    buf.lend(vec![0; WHOLE / 2 - 1]);
    assert_eq!(buf.spare_mut(LIMIT, 0).len(), BASE);
    assert_eq!(traffic(), (vec![WHOLE], vec![WHOLE / 2 - 1]));

    let mut buf = buffer();
    buf.lend(vec![0; WHOLE + 1]);
    for _ in 1..UNNEEDED_READS {
        assert_eq!(buf.spare_mut(LIMIT, 0).len(), BASE);
        assert_eq!(traffic(), NONE);
    }
    assert_eq!(buf.spare_mut(LIMIT, 0).len(), BASE);
    assert_eq!(traffic(), (vec![WHOLE], vec![WHOLE + 1]));
    // A read that needs the buffer's length resets the count of unneeded reads.
    let mut buf = buffer();
    buf.lend(vec![0; 2 * WHOLE]);
    for turn in 0..200 {
        assert_eq!(buf.spare_mut(LIMIT, 0).len(), BASE);
        if turn % 63 == 62 {
            buf.commit(BASE);
            buf.spare_mut(LIMIT, BASE);
            buf.skip(BASE);
        }
    }
    assert_eq!(traffic(), NONE);

    // A lent buffer without room behind the kept bytes is not used.
    let mut buf = with(0, 10, 5, 20);
    buf.lend(vec![0; 30 + SLACK]);
    assert_eq!((buf.bytes.len(), traffic()), (WHOLE, NONE));
    buf.lend(vec![0; 30 + SLACK + 1]);
    assert_eq!((buf.bytes.len(), traffic()), (30 + SLACK + 1, (vec![], vec![WHOLE])));
    holds(&buf, 0, 10, 5, 20);
}

#[test]
fn the_tail_is_used_while_it_is_a_quarter_and_then_the_rest_moves_or_the_buffer_grows() {
    let quarter = BASE / 4;
    // The buffer has no message, only wire bytes. The columns are: dropped bytes before the wire
    // bytes, wire bytes, bytes that the next read asks for, whether the wire bytes moved, and
    // whether the buffer grew.
    for (before, wire, spare, moved, grown) in [
        (0, 1, BASE - 1, false, false),
        (0, BASE - quarter, quarter, false, false),
        (BASE - quarter - 1, 1, quarter, false, false),
        (BASE - quarter, 1, BASE - 1, true, false),
        (BASE - 1, 1, BASE - 1, true, false),
        (400, 400, BASE - 400, true, false),
        (399, 401, BASE, false, true),
        (0, BASE - quarter + 1, BASE, false, true),
        (0, BASE, BASE, false, true),
    ] {
        let mut buf = with(before, 0, 0, wire);
        assert_eq!(buf.spare_mut(LIMIT, 0).len(), spare, "{before} {wire}");
        assert_eq!(buf.next == 0, moved || grown || before == 0, "{before} {wire}");
        let takes = if grown { (vec![2 * WHOLE], vec![WHOLE]) } else { NONE };
        assert_eq!(traffic(), takes, "{before} {wire}");
        holds(&buf, before, 0, 0, wire);
    }
}

#[test]
fn with_a_message_in_it_the_gap_closes_first_then_the_front_and_then_it_grows() {
    // The first columns describe the buffer: dropped bytes before the message, bytes of the
    // message, bytes of the gap, wire bytes. The other columns describe the next read: the bytes
    // that it asks for, where the message and the wire bytes then begin, whether the buffer grew.
    for (before, msg, gap, wire, spare, start, next, grown) in [
        (0, 500, 100, 100, 300, 0, 600, false), // there is room enough
        (0, 500, 150, 100, 250, 0, 650, false),
        (0, 500, 151, 100, 400, 0, 500, false), // the gap closes
        (0, 500, 250, 250, 250, 0, 500, false),
        (0, 500, 249, 251, BASE, 0, 500, true),
        (600, 100, 50, 200, 700, 0, 100, false), // all moves to the front
        (449, 150, 150, 151, 699, 0, 150, false),
        (300, 300, 0, 200, BASE, 0, 300, true),
        (100, 800, 0, 100, BASE, 0, 800, true),
    ] {
        let case = (before, msg, gap, wire);
        let mut buf = with(before, msg, gap, wire);
        assert_eq!(buf.spare_mut(LIMIT, 0).len(), spare, "{case:?}");
        assert_eq!((buf.message().start, buf.next), (start, next), "{case:?}");
        let takes = if grown { (vec![2 * WHOLE], vec![WHOLE]) } else { NONE };
        assert_eq!(traffic(), takes, "{case:?}");
        holds(&buf, before, msg, gap, wire);
    }
}

#[test]
fn a_frame_that_lacks_much_is_read_to_its_end_and_the_buffer_doubles() {
    for (wire, rest, spare, grown) in [
        (10, BASE / 2 - 10, BASE - 10, false), // at most half a read: not large
        (10, BASE / 2 - 9, BASE / 2 - 9 + MAX_HEADER_LEN, false),
        (10, BASE - 10, BASE - 10, false),
        (10, BASE - 9, BASE - 9 + MAX_HEADER_LEN, true),
        (10, 5 * BASE, 2 * BASE - 10 + SLACK, true),
        (400, BASE - 400, BASE - 400, false),
        (400, BASE, BASE + MAX_HEADER_LEN, true),
    ] {
        let mut buf = with(0, 0, 0, wire);
        assert_eq!(buf.spare_mut(LIMIT, rest).len(), spare, "{wire} {rest}");
        assert_eq!(buf.bytes.len(), if grown { 2 * WHOLE } else { WHOLE }, "{wire} {rest}");
        holds(&buf, 0, 0, 0, wire);
    }
    let mut buf = buffer();
    assert!(buf.lend_filled(vec![0; 2 * MOST], 1).is_ok());
    assert_eq!(buf.spare_mut(LIMIT, usize::MAX).len(), MOST);
}

#[test]
#[cfg_attr(miri, ignore = "ten megabytes, byte by byte")]
fn a_long_one_grows_where_it_is_by_what_one_read_takes() {
    let limit = 16 << 20;
    let mut buf = buffer();
    buf.lend(vec![0; IN_PLACE]);
    let mut place = 0;
    let mut len = IN_PLACE;
    while place < 10 << 20 {
        let spare = buf.spare_mut(limit, usize::MAX).len();
        assert!((BASE..=MOST).contains(&spare), "{spare} at {place}");
        assert!(buf.bytes.len() == len || buf.bytes.len() == len + STEP, "at {place}");
        len = buf.bytes.len();
        for byte in buf.get_mut(place..place + spare) {
            *byte = at(place);
            place += 1;
        }
        buf.commit(spare);
        buf.take_into_message(spare);
    }
    holds(&buf, 0, place, 0, 0);
    assert!(buf.bytes.capacity() <= limit, "by doubling, up to what the longest message needs");
    assert_eq!(traffic(), NONE);
    // The buffer grows until it has room for the longest message and the bytes of a read behind it.
    let most = limit + WHOLE;
    while place < most - SLACK {
        let spare = buf.spare_mut(limit, usize::MAX).len();
        buf.commit(spare);
        buf.take_into_message(spare);
        place += spare;
    }
    assert_eq!((buf.bytes.len(), buf.bytes.capacity()), (most, most));
    assert_eq!(traffic(), NONE);
}

#[test]
#[cfg_attr(miri, ignore = "300,000 bytes, one by one")]
fn a_long_one_that_is_stashed_does_not_grow_with_each_read() {
    for limit in [150_000, 16 << 20] {
        let mut buf = buffer();
        buf.lend(vec![0; 4 << 20]);
        let mut place = 0;
        let mut read = |buf: &mut RecvBuffer, most: usize| {
            let n = buf.spare_mut(limit, 150_000 - place).len().min(most);
            for byte in buf.get_mut(buf.end..buf.end + n) {
                *byte = at(place);
                place += 1;
            }
            buf.commit(n);
            buf.take_into_message(n);
            n
        };
        let mut had = 0;
        while had < 140_000 {
            had += read(&mut buf, 140_000 - had);
        }
        assert_eq!(buf.reclaim().len(), 4 << 20);
        assert!(buf.stashed && buf.bytes.len() >= IN_PLACE);
        for _ in 0..140 {
            buf.lend(vec![0; WHOLE]);
            assert_eq!(read(&mut buf, 1), 1);
            buf.reclaim();
            assert!(buf.bytes.len() <= 1 << 20, "{}", buf.bytes.len());
        }
        holds(&buf, 0, place, 0, 0);
    }
}

#[test]
fn it_never_grows_beyond_what_the_longest_message_needs() {
    let mut buf = with(0, 0, 0, BASE);
    assert_eq!(buf.spare_mut(500, 0).len(), 500);
    assert_eq!(buf.bytes.len(), 500 + WHOLE);
    let mut short = with(0, 0, 0, BASE);
    assert_eq!(short.spare_mut(100, 0).len(), BASE / 4, "a quarter of a read at least");
    // Without free room, a buffer of the greatest length moves all bytes, even for a small gain.
    buf.commit(500);
    buf.skip(100);
    traffic();
    assert_eq!(buf.spare_mut(500, 0).len(), 100);
    assert_eq!((buf.next, traffic()), (0, NONE));
    // If moving bytes would free nothing, the buffer grows after all.
    buf.commit(100);
    assert!(!buf.spare_mut(500, 0).is_empty());
    assert_eq!(traffic(), (vec![2 * (500 + WHOLE)], vec![500 + WHOLE]));
    assert_eq!(buf.wire().len(), BASE + 500);
}

#[test]
fn a_little_is_stashed_over_a_wait_and_much_keeps_the_buffer() {
    let eighth = WHOLE / 8;
    for (before, msg, wire) in
        [(5, 0, 1), (5, 20, 30), (5, 20, 56 - 20), (0, 0, eighth), (0, eighth, 0)]
    {
        let mut buf = with(before, msg, 3, wire);
        assert_eq!(buf.reclaim().len(), WHOLE);
        holds(&buf, before, msg, 3, wire);
        assert!(!buf.has_buffer());
        assert!(buf.reclaim().is_empty(), "what is stashed stays");
        // A small buffer of at most an eighth of a read belongs to the connection. A longer one
        // comes from the pool.
        let len = (msg + wire + SLACK).next_power_of_two().max(64);
        let own = len <= BASE / 8;
        assert_eq!(buf.bytes.len(), len);
        assert_eq!(traffic(), if own { NONE } else { (vec![len], vec![]) });
        let place = buf.bytes.as_ptr();
        // A lent buffer replaces the small buffer. The connection keeps its own small buffer for
        // the next wait.
        buf.lend(vec![0; WHOLE]);
        holds(&buf, before, msg, 3, wire);
        assert!(buf.has_buffer());
        assert_eq!(
            (buf.small.len(), traffic()),
            if own { (len, NONE) } else { (0, (vec![], vec![len])) }
        );
        assert_eq!(buf.reclaim().len(), WHOLE);
        assert_eq!(traffic(), if own { NONE } else { (vec![len], vec![]) });
        assert!(!own || buf.bytes.as_ptr() == place, "nothing was allocated");
        // Without a lent buffer, a read takes a buffer from the pool.
        buf.spare_mut(LIMIT, 0);
        assert!(buf.has_buffer() && buf.bytes.len() == WHOLE);
        holds(&buf, before, msg, 3, wire);
    }
    for (msg, wire) in [(0, eighth + 1), (eighth, 1)] {
        let mut buf = with(0, msg, 3, wire);
        assert!(buf.reclaim().is_empty() && buf.has_buffer());
        holds(&buf, 0, msg, 3, wire);
    }
    // A buffer of the pool that is more than twice as long as needed goes back to the pool.
    let mut buf = with(0, 0, 0, eighth);
    buf.memory = &LAVISH;
    assert_eq!(buf.reclaim().len(), WHOLE);
    assert_eq!((buf.bytes.len(), traffic()), (256, (vec![513], vec![513])));
    // A buffer that is twice as long as needed is used.
    static GENEROUS: Memory =
        Memory { take_to: |to, len| (COUNTED.take_to)(to, 2 * len), ..COUNTED };
    let mut buf = with(0, 0, 0, eighth);
    buf.memory = &GENEROUS;
    assert_eq!(buf.reclaim().len(), WHOLE);
    assert_eq!((buf.bytes.len(), traffic()), (512, (vec![512], vec![])));
    // A buffer of an eighth of a read still belongs to the connection.
    let mut buf = RecvBuffer { memory: &COUNTED, ..RecvBuffer::new(1024 - MAX_HEADER_LEN, 0) };
    buf.spare_mut(LIMIT, 0);
    buf.commit(100);
    traffic();
    buf.reclaim();
    assert_eq!((buf.bytes.len(), traffic()), (128, NONE));
    // If the small buffer is in use but empty, a read takes a buffer from the pool too.
    let mut buf = with(0, 0, 0, 1);
    buf.reclaim();
    buf.skip(1);
    assert_eq!(buf.spare_mut(LIMIT, 0).len(), BASE);
    assert_eq!(traffic(), (vec![WHOLE], vec![]));
}

#[test]
fn a_small_buffer_goes_at_the_next_read_however_long_it_is() {
    let mut buf = RecvBuffer { memory: &WHOLES, ..buffer() };
    buf.lend(vec![0; 8 << 10]);
    buf.spare_mut(LIMIT, 0);
    buf.commit(300);
    assert_eq!(buf.reclaim().len(), 8 << 10);
    assert!(!buf.has_buffer());
    buf.skip(300);
    buf.spare_mut(LIMIT, 0);
    assert!(buf.has_buffer());
    assert_eq!(buf.reclaim().len(), WHOLE);
}

#[test]
fn a_message_that_fills_half_the_buffer_takes_it_along() {
    for (msg, wire, taken) in
        [(WHOLE / 2 - 1, 0, None), (WHOLE / 2, 0, Some(WHOLE)), (WHOLE / 2, 30, Some(WHOLE))]
    {
        let mut buf = with(10, msg, 0, wire);
        let range = buf.message();
        let inside = buf.bytes.as_ptr_range();
        let bytes = buf.take_binary(range);
        assert_eq!(bytes, (10..10 + msg).map(at).collect::<Vec<_>>());
        assert_eq!(inside.contains(&bytes.as_ptr()), taken.is_some());
        assert_eq!(traffic().0, Vec::from_iter(taken));
        assert_eq!(buf.wire(), (10 + msg..10 + msg + wire).map(at).collect::<Vec<_>>());
    }
    // The wire bytes behind the message may be more than one read brings.
    let mut buf = buffer();
    assert!(buf.lend_filled(vec![0; 4 * WHOLE], 4 * WHOLE - SLACK).is_ok());
    let range = buf.take_into_message(2 * WHOLE);
    traffic();
    buf.take_binary(range);
    let wire = 2 * WHOLE - SLACK;
    assert_eq!((buf.wire().len(), traffic().0), (wire, vec![wire + 1 + SLACK]));
    assert!(!buf.spare_mut(LIMIT, 0).is_empty());
}

#[test]
fn a_frame_is_held_if_one_read_brings_it_with_its_header() {
    let buf = buffer();
    assert!(buf.holds(0) && buf.holds(BASE) && !buf.holds(BASE + 1));
}

#[test]
#[should_panic = "committed more than was spare"]
fn committing_more_than_was_spare_panics() {
    let mut buf = buffer();
    let n = buf.spare_mut(LIMIT, 0).len();
    buf.commit(n + 1);
}
