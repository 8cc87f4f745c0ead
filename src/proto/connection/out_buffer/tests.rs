mod orders;

use super::{FIRST, LARGE, OutBuffer, Outgoing, SMALL_USES};
use crate::proto::{
    frame::{Header, OpCode},
    memory::counted::{COUNTED, NONE, traffic},
};
use alloc::{format, vec, vec::Vec};
use bytes::{Buf, Bytes};

fn buffer() -> OutBuffer {
    traffic();
    OutBuffer { memory: &COUNTED, ..OutBuffer::new(usize::MAX) }
}

/// A frame of `len` bytes, header included.
fn frame(len: usize, filler: u8) -> Vec<u8> {
    let (bytes, n) = Header::new(OpCode::Binary, len as u64 - 4).encode();
    assert_eq!(n, 4);
    let mut frame = vec![filler; len];
    frame[..n].copy_from_slice(&bytes[..n]);
    frame
}

/// Writes everything; returns the written bytes.
fn rest(out: &mut OutBuffer) -> Vec<u8> {
    let mut out = Outgoing(out);
    let mut rest = vec![0; out.remaining()];
    out.copy_to_slice(&mut rest);
    rest
}

fn write(out: &mut OutBuffer, n: usize) {
    Outgoing(out).advance(n);
}

#[test]
fn it_begins_with_16_kib_or_high_water_and_doubles() {
    let mut out = buffer();
    out.append(&frame(1024, 0));
    assert_eq!(traffic(), (vec![FIRST], vec![]));
    for _ in 1..16 {
        out.append(&frame(1024, 0));
    }
    assert_eq!(traffic(), NONE, "the last byte is used");
    out.append(b"");
    assert_eq!(traffic(), NONE);
    out.append(&frame(1024, 0));
    assert_eq!(traffic(), (vec![2 * FIRST], vec![FIRST]));
    out.append(&frame(60_000, 0));
    assert_eq!(traffic(), (vec![17 * 1024 + 60_000], vec![2 * FIRST]));
    assert_eq!(rest(&mut out).len(), 17 * 1024 + 60_000);

    let mut out = buffer();
    out.append(&frame(FIRST + 1, 0));
    assert_eq!(traffic(), (vec![FIRST + 1], vec![]));
    // With a low `high_water` the buffer begins shorter.
    let mut out = OutBuffer { memory: &COUNTED, ..OutBuffer::new(1024) };
    out.append(&frame(200, 0));
    assert_eq!(traffic(), (vec![1024], vec![]));
    out.append(&frame(1000, 0));
    assert_eq!(traffic(), (vec![2048], vec![1024]));
    // A small lent buffer grows to the least length at once.
    let mut out = buffer();
    out.lend(vec![0; 100]);
    out.append(&frame(200, 0));
    assert_eq!(traffic(), (vec![FIRST], vec![100]));
}

/// 16 frames of 1 KiB fill the buffer. Then some bytes are written, and one more frame is appended.
#[test]
fn what_is_written_is_let_go_where_that_frees_as_much_as_it_moves() {
    for (written, let_go) in [
        (0, false),
        (7 * 1024, false),
        (8 * 1024 - 1, false),
        (8 * 1024, true),
        (8 * 1024 + 1, true), // in the middle of a frame, which stays whole
        (9 * 1024 - 1, true),
        (15 * 1024, true),
        (16 * 1024 - 1, true),
    ] {
        let mut out = buffer();
        let mut all = Vec::new();
        for filler in 0..17 {
            if filler == 16 {
                write(&mut out, written);
                traffic();
            }
            out.append(&frame(1024, filler));
            all.extend(frame(1024, filler));
        }
        let takes = if let_go { NONE } else { (vec![2 * FIRST], vec![FIRST]) };
        assert_eq!(traffic(), takes, "{written}");
        assert_eq!((out.fed(), out.written()), (17 * 1024, written as u64));
        // A frame that overtakes goes before the first frame that has not begun to leave, even if
        // written bytes were dropped.
        out.controls.extend([0x89, 0]);
        out.place_controls(0);
        let at = written.next_multiple_of(1024);
        all.splice(at..at, [0x89, 0]);
        assert_eq!(rest(&mut out), all[written..], "{written}");
        assert_eq!((out.fed(), out.written()), (17 * 1024, 17 * 1024));
    }
    // If dropping the written bytes does not give enough room, the buffer grows too.
    let mut out = buffer();
    (0..16).for_each(|filler| out.append(&frame(1024, filler)));
    write(&mut out, 8 * 1024);
    traffic();
    out.append(&frame(8 * 1024, 16));
    assert_eq!(traffic(), NONE);
    write(&mut out, 8 * 1024);
    out.append(&frame(8 * 1024 + 1, 17));
    assert_eq!(traffic(), (vec![2 * FIRST], vec![FIRST]));
    let expected = [frame(8 * 1024, 16), frame(8 * 1024 + 1, 17)].concat();
    assert_eq!(rest(&mut out), expected);
}

#[test]
fn what_is_spliced_in_moves_along_when_the_front_is_let_go() {
    let mut out = buffer();
    (0..14).for_each(|filler| out.append(&frame(1024, filler)));
    let payload = Bytes::from(vec![b'p'; 5000]);
    let (header, n) = Header::new(OpCode::Binary, 5000).encode();
    out.append(&header[..n]);
    out.splice(payload.clone());
    out.append(&frame(2048 - n, 99));
    write(&mut out, 10 * 1024);
    traffic();
    out.append(&frame(4096, 100));
    assert_eq!(traffic(), NONE);
    let mut expected: Vec<u8> = (10..14).flat_map(|filler| frame(1024, filler)).collect();
    expected.extend([&header[..n], &payload, &frame(2048 - n, 99), &frame(4096, 100)].concat());
    assert_eq!(out.fed() - out.written(), expected.len() as u64);
    assert_eq!(rest(&mut out), expected);
}

#[test]
fn a_response_under_way_is_no_frame_and_is_not_let_go() {
    let mut out = buffer();
    out.append(&[b'r'; 10_000]);
    out.begin_frames();
    (0..6).for_each(|filler| out.append(&frame(1024, filler)));
    write(&mut out, 9_999);
    traffic();
    out.append(&frame(1024, 6));
    assert_eq!(traffic(), (vec![2 * FIRST], vec![FIRST]));
    let expected: Vec<u8> = (0..7).flat_map(|filler| frame(1024, filler)).collect();
    assert_eq!(rest(&mut out), [b"r", &expected[..]].concat());
}

#[test]
fn a_large_buffer_that_is_hardly_used_is_given_up_after_a_while() {
    let use_it = |out: &mut OutBuffer, n: usize| {
        out.append(&vec![0; n]); // zeros will do: nothing here parses frames
        write(out, n);
    };
    let large = LARGE + 4;
    let mut out = buffer();
    use_it(&mut out, large);
    (1..SMALL_USES).for_each(|_| use_it(&mut out, large / 4));
    use_it(&mut out, large / 4 + 1); // more than a quarter, so the buffer is needed
    (1..SMALL_USES).for_each(|_| use_it(&mut out, large / 4));
    assert_eq!(traffic(), (vec![large], vec![]));
    use_it(&mut out, large / 4);
    assert_eq!(traffic(), (vec![], vec![large]));
    use_it(&mut out, 100);
    assert_eq!(traffic(), (vec![FIRST], vec![]));
    // A large buffer that was lent is freed after `SMALL_USES` small uses. The next lent buffer is
    // freed after as many uses of its own.
    let mut out = buffer();
    for _ in 0..2 {
        out.lend(vec![0; large]);
        (1..SMALL_USES).for_each(|_| use_it(&mut out, 100));
        assert_eq!(traffic(), NONE);
        use_it(&mut out, 100);
        assert_eq!(traffic(), (vec![], vec![large]));
    }
    // A buffer longer than four times `high_water` is freed as soon as it is empty.
    let mut out = OutBuffer { memory: &COUNTED, ..OutBuffer::new(1 << 20) };
    use_it(&mut out, (4 << 20) + 1);
    assert_eq!(traffic(), (vec![(4 << 20) + 1], vec![(4 << 20) + 1]));
    use_it(&mut out, 4 << 20);
    assert_eq!(traffic(), (vec![4 << 20], vec![]));
    // A buffer of 64 KiB stays.
    let mut out = buffer();
    use_it(&mut out, LARGE);
    (0..200).for_each(|_| use_it(&mut out, 100));
    assert_eq!(traffic(), (vec![LARGE], vec![]));
}

/// The stream takes all of a frame before it is queued.
#[test]
fn a_large_buffer_that_no_frame_needs_is_given_up_too() {
    let mut out = buffer();
    out.append(&[0; LARGE + 1]);
    write(&mut out, LARGE + 1);
    (1..SMALL_USES).for_each(|_| out.append_rest(b"head", b"payload", 11));
    assert_eq!(traffic(), (vec![LARGE + 1], vec![]));
    out.append_rest(b"head", b"payload", 11);
    assert_eq!(traffic(), (vec![], vec![LARGE + 1]));
    assert_eq!(out.fed(), LARGE as u64 + 1 + u64::from(SMALL_USES) * 11);
}

/// A stream that takes more than a rest's head and payload is as wrong as one that takes more than
/// was queued.
#[test]
#[should_panic(expected = "advanced past the end")]
fn a_stream_that_took_more_than_it_was_offered_panics() {
    buffer().append_rest(b"head", b"payload", 12);
}

#[test]
fn a_longer_buffer_may_be_lent_and_an_empty_one_be_had_back() {
    let mut out = buffer();
    out.lend(vec![1; 100]);
    out.lend(vec![2; 100]);
    assert_eq!(out.bytes, [1; 100], "no longer than the one that is there");
    out.lend(vec![3; 101]);
    assert_eq!(out.bytes, [3; 101]);
    out.append(b"x");
    out.lend(vec![4; 200]);
    assert_eq!(out.bytes.len(), 101, "there is something in it");
    assert!(out.unused().is_none());
    write(&mut out, 1);
    assert_eq!(out.unused().map(std::mem::take).map(|bytes| bytes.len()), Some(101));
    assert!(out.unused().is_some_and(|bytes| bytes.is_empty()));
}

#[test]
fn control_frames_behind_all_else_are_dropped_and_count_no_more() {
    let mut out = buffer();
    out.append(&frame(200, 1));
    write(&mut out, 1);
    out.controls.extend(b"\x89\x02ab");
    out.place_controls(0);
    assert_eq!(out.len(), 199 + 4);
    out.drop_last_controls();
    assert_eq!((out.len(), out.first_len(), out.fed()), (199, 0, 200));
    assert!(out.takes_controls());
}

#[test]
fn it_shows_how_much_it_is_and_not_what() {
    let mut out = buffer();
    out.append(&frame(200, b's'));
    assert_eq!(format!("{out:?}"), "200 bytes");
}
