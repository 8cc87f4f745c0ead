use super::{Sender, Time};
use crate::proto::{
    close::CloseCode,
    config::{Config, Negotiated},
    connection::{Connection, Next, Report},
    entropy::Entropy,
    outbound::Outbound,
};
use alloc::vec::Vec;
use bytes::Buf;
use core::time::Duration;

/// No other test sees whether a message is framed at once, because the slow path has the same
/// result.
#[test]
fn an_open_half_frames_at_once_while_there_is_room() {
    let config = Config { high_water: 15, ..Config::default() };
    let mut conn = Connection::server(&config, Negotiated::default());
    let tx = &mut conn.tx;
    let fed = [tx.feed("data"), tx.feed("more")]; // 6 bytes each
    assert!(fed.iter().all(Result::is_ok) && tx.admits() && tx.has_room());
    assert!(tx.feed("full").is_ok());
    assert!(!tx.admits() && !tx.has_room());
    tx.outgoing().advance(4);
    assert!(tx.admits() && tx.has_room());
    assert!(tx.close(None).is_ok());
    assert!(!tx.admits());
}

#[test]
fn a_beat_is_written_when_its_last_byte_is() {
    for (behind, between) in [(false, 0), (true, 5)] {
        let mut conn = Connection::server(&Config::default(), Negotiated::default());
        let tx = &mut conn.tx;
        if behind {
            let fed = [tx.feed("data"), tx.feed("more")];
            assert!(fed.iter().all(Result::is_ok));
            tx.outgoing().advance(1); // the frame under way is not overtaken
        }
        tx.owe_beat(Time::ZERO);
        assert!(!tx.beat_written());
        tx.outgoing().advance(between);
        for _ in 0..6 {
            assert!(!tx.beat_written());
            tx.outgoing().advance(1);
        }
        assert!(tx.beat_written());
        assert_eq!(tx.buffered_amount(), if behind { 6 } else { 0 });
    }
}

#[test]
fn a_message_fed_first_that_an_abort_drops_is_not_written_wherever_it_lay() {
    let mut conn = Connection::server(&Config::default(), Negotiated::default());
    let tx = &mut conn.tx;
    let fed = [tx.feed("begun"), tx.feed("own")];
    tx.outgoing().advance(1);
    let placed = tx.feed_first("placed");
    assert!(tx.outgoing().has_remaining());
    let waiting = tx.feed_first("first");
    assert!(tx.abort(None).is_ok());
    let mut gone = [fed[1], placed, waiting].map(|at| at.is_ok_and(|at| tx.is_written(at)));
    assert_eq!(tx.dropped(), 5 + 8 + 7);
    let left = tx.outgoing().remaining();
    tx.outgoing().advance(left);
    assert!(fed[0].is_ok_and(|at| tx.is_written(at)));
    gone.iter_mut().zip([fed[1], placed, waiting]).for_each(|(gone, at)| {
        *gone |= at.is_ok_and(|at| tx.is_written(at));
    });
    assert_eq!(gone, [false; 3]);
}

/// A compressor usually takes more memory than all other parts of a connection.
#[cfg(feature = "deflate")]
#[test]
fn a_closed_half_keeps_no_compressor() {
    use crate::proto::deflate::{DeflateParams, Direction};
    for how in 0..3 {
        let server = Direction { takeover: true, ..Direction::default() };
        let agreed = DeflateParams { server, ..DeflateParams::default() };
        let negotiated = Negotiated { deflate: Some(agreed), ..Negotiated::default() };
        let config = Config {
            deflate: Some(crate::proto::deflate::Deflate {
                min_size: 0,
                ..crate::proto::deflate::Deflate::default()
            }),
            ..Config::default()
        };
        let mut conn = Connection::server(&config, negotiated);
        assert!(conn.tx.feed("compressed").is_ok() && conn.tx.deflate.is_some());
        match how {
            0 => conn.tx.write_failed(),
            1 => assert!(conn.tx.close(None).is_ok()),
            _ => assert!(conn.tx.abort(None).is_ok()),
        }
        assert!(conn.tx.deflate.is_none(), "{how}");
    }
}

#[test]
fn all_that_was_fed_and_not_written_is_unsent_wherever_it_lies() {
    for written in 0..16 {
        let mut conn = Connection::server(&Config::default(), Negotiated::default());
        let tx = &mut conn.tx;
        assert!(!tx.outgoing().has_remaining(), "there is nothing to write");
        let fed = [tx.feed("data"), tx.feed("more")]; // 6 bytes each
        tx.outgoing().advance(1);
        let first = tx.feed_first("1st"); // 5 bytes, placed behind "data"
        let late = tx.feed("late");
        tx.outgoing().advance(written);
        assert_eq!(tx.buffered_amount(), 1 + 5 + 5 + 6 + 6 - 1 - written, "{written}");
        tx.write_failed();
        assert!(!tx.outgoing().has_remaining());
        assert_eq!(tx.dropped(), 22 - written as u64, "{written}");
        assert_eq!(tx.buffered_amount(), 0);
        let is_written = |at| tx.is_written(at);
        let [a, b, first, late] = [fed[0], fed[1], first, late].map(|at| at.is_ok_and(is_written));
        assert_eq!([a, first, b, late], [written >= 5, written >= 10, written >= 16, false]);
    }
}

/// One half of a split connection may call `is_written` while the stream has not flushed the bytes
/// that the other half wrote.
#[test]
fn what_a_stream_took_is_written_once_it_is_flushed() {
    let mut conn = Connection::server(&Config::default(), Negotiated::default());
    let tx = &mut conn.tx;
    let fed = tx.feed("order");
    tx.outgoing().advance(7);
    tx.set_unflushed(7);
    assert!(!tx.has_outgoing() && fed.is_ok_and(|at| !tx.is_written(at)));
    tx.set_unflushed(0);
    assert!(fed.is_ok_and(|at| tx.is_written(at)));
}

/// After a refused flush, the clock on writing runs whether or not the stream accepted all bytes. A
/// second refusal does not wind it up.
#[test]
fn a_stream_that_refuses_to_flush_what_it_took_has_a_deadline() {
    let timeout = Config::default().write_timeout;
    for left in [0, 1] {
        let mut conn = Connection::server(&Config::default(), Negotiated::default());
        let tx = &mut conn.tx;
        assert!(tx.feed("order").is_ok());
        tx.outgoing().advance(7 - left);
        let mut now = Time::new(Duration::from_secs(1));
        for quarter in 0..4 {
            tx.write_blocked();
            tx.set_unflushed(7 - left);
            assert!(tx.handle_timeout(now).is_ok(), "{quarter}");
            assert_eq!(tx.poll_timeout(), Some(now + timeout / 4));
            now = now + timeout / 4;
        }
        tx.set_unflushed(0);
        assert_eq!(tx.poll_timeout(), None);
    }
}

/// A TLS session holds bytes, which are longer than those that it got, and sends them in several
/// parts. Each byte is progress. Once a write has failed, no deadline runs.
#[test]
fn each_byte_that_is_no_longer_unflushed_gives_time_back() {
    let at = |n| Time::new(Duration::from_secs(n));
    let config = Config { write_timeout: Duration::from_secs(4), ..Config::default() };
    let mut conn = Connection::server(&config, Negotiated::default());
    let tx = &mut conn.tx;
    assert!(tx.feed([0; 2044]).is_ok()); // with the header 2048 bytes: four seconds
    tx.outgoing().advance(2048);
    for (bytes, now, left) in [(2070, 1, 4), (2070, 2, 3), (1536, 3, 3), (1536, 4, 2), (512, 5, 3)]
    {
        tx.set_unflushed(bytes);
        assert!(tx.handle_timeout(at(now)).is_ok());
        assert_eq!(tx.out.stall.left().as_secs(), left, "{now}");
        assert_eq!(tx.buffered_amount(), bytes);
    }
    tx.set_unflushed(usize::MAX);
    assert_eq!(tx.buffered_amount(), usize::MAX);
    tx.write_failed();
    tx.set_unflushed(8);
    assert_eq!((tx.poll_timeout(), tx.buffered_amount()), (None, 0));
}

/// Whether a look or the peer's Close finds that ours was taken.
#[test]
fn the_clock_is_filled_when_our_close_is_taken() {
    for look in [true, false] {
        let at = |n| Time::new(Duration::from_secs(n));
        let mut conn = Connection::server(&Config::default(), Negotiated::default());
        let tx = &mut conn.tx;
        assert!(tx.close(None).is_ok());
        tx.write_blocked();
        for second in 0..=4 {
            assert!(tx.handle_timeout(at(second)).is_ok());
        }
        assert_eq!(tx.out.stall.left().as_secs(), 1);
        tx.outgoing().advance(2);
        match look {
            true => assert!(tx.handle_timeout(at(4)).is_ok()),
            false => tx.end_controls(),
        }
        assert!(tx.close_gone());
        assert!(tx.out.stall.left() >= Config::default().close_timeout);
    }
}

/// A stream that takes only a frame that overtakes is not stalled.
#[test]
fn bytes_that_overtake_are_taken_too() {
    let mut conn = Connection::server(&Config::default(), Negotiated::default());
    let tx = &mut conn.tx;
    assert!(tx.feed("order").is_ok() && tx.feed("order").is_ok());
    tx.outgoing().advance(1); // so that the Pong goes between the two
    assert!(tx.pong(b"!").is_ok());
    for taken in 1..17 {
        assert_eq!(tx.taken(), taken);
        tx.outgoing().advance(1);
    }
    assert_eq!((tx.taken(), tx.has_outgoing()), (17, false));
}

/// While a TLS session holds bytes, a loop waits until the stream can be written.
#[test]
fn the_wait_of_a_session_that_holds_bytes_is_for_writing_too() {
    let mut conn = Connection::server(&Config::default(), Negotiated::default());
    assert!(conn.tx.feed("order").is_ok());
    conn.tx.outgoing().advance(7);
    for unflushed in [28, 0] {
        conn.tx.set_unflushed(unflushed);
        assert!(matches!(conn.next(Time::ZERO), Next::Read(_)));
        conn.report(Report::ReadBlocked);
        let waits = match conn.next(Time::ZERO) {
            Next::Wait(wait) => Some((wait.readable, wait.writable)),
            _ => None,
        };
        assert_eq!(waits, Some((true, unflushed > 0)));
    }
}

#[test]
fn what_was_written_before_the_stream_failed_is_not_dropped() {
    let mut conn = Connection::server(&Config::default(), Negotiated::default());
    let tx = &mut conn.tx;
    let fed = tx.feed("order");
    tx.outgoing().advance(7);
    tx.write_failed();
    assert!(!tx.outgoing().has_remaining());
    assert_eq!((tx.dropped(), fed.is_ok_and(|at| tx.is_written(at))), (0, true));
}

/// The stream has accepted our Close, but has not flushed it. The Pong behind our Close is dropped
/// if no byte of it was written. When no byte is left to write, the buffer can be reclaimed.
#[test]
fn a_pong_that_is_dropped_behind_an_unflushed_close_leaves_an_empty_buffer() {
    for begun in [0, 1] {
        let mut conn = Connection::server(&Config::default(), Negotiated::default());
        let tx = &mut conn.tx;
        assert!(tx.close(None).is_ok());
        tx.answer_ping(b"?");
        tx.outgoing().advance(2 + begun);
        tx.set_unflushed(2 + begun);
        tx.end_controls();
        assert_eq!(wire(tx), &b"\x01?"[..2 * begun]);
        tx.set_unflushed(2 + 3 * begun);
        assert!(!tx.has_outgoing() && !tx.close_written());
        assert!(!tx.reclaim().is_empty());
        tx.set_unflushed(0);
        assert!(tx.close_written());
    }
}

#[test]
fn a_pong_that_is_placed_before_our_close_stays_when_the_peers_comes() {
    let mut conn = Connection::server(&Config::default(), Negotiated::default());
    let tx = &mut conn.tx;
    assert!(tx.feed("data").is_ok() && tx.close(None).is_ok());
    tx.answer_ping(b"?");
    assert_eq!(tx.outgoing().remaining(), 3 + 6 + 2);
    tx.end_controls();
    let mut sent = Vec::new();
    while tx.has_outgoing() {
        sent.extend(wire(tx));
    }
    assert_eq!(sent, b"\x8a\x01?\x81\x04data\x88\0");
}

fn wire(tx: &mut Sender) -> Vec<u8> {
    let mut out = tx.outgoing();
    let n = out.remaining();
    out.copy_to_bytes(n).to_vec()
}

#[test]
fn the_single_slice_is_all_of_it_when_there_is_one() {
    let config = Config { min_vectored: 10, ..Config::default() };
    let mut conn = Connection::server(&config, Negotiated::default());
    assert_eq!(conn.tx.outgoing().single(), Some(&b""[..]));
    assert!(conn.tx.feed("one").is_ok());
    assert_eq!(conn.tx.outgoing().single(), Some(&b"\x81\x03one"[..]));
    assert!(conn.tx.feed(alloc::vec![0; 10]).is_ok());
    assert_eq!(conn.tx.outgoing().single(), None);
    conn.tx.outgoing().advance(3);
    let mut out = conn.tx.outgoing();
    assert_eq!(out.copy_to_bytes(out.remaining()), [&b"ne\x82\x0a"[..], &[0; 10]].concat());
}

#[test]
fn a_violations_close_that_waits_is_dropped_when_a_write_fails() {
    let mut conn = Connection::server(&Config::default(), Negotiated::default());
    let tx = &mut conn.tx;
    assert!(tx.feed("data").is_ok());
    assert!(tx.fail(CloseCode::PROTOCOL_ERROR.into()).is_ok());
    tx.write_failed();
    assert!(!tx.has_outgoing());
}

#[test]
fn a_ping_that_waits_is_dropped_by_a_violations_close_that_overtakes() {
    let mut conn = Connection::server(&Config::default(), Negotiated::default());
    let tx = &mut conn.tx;
    assert!(tx.feed("data").is_ok() && tx.ping(b"a").is_ok());
    assert!(tx.outgoing().has_remaining() && tx.ping(b"b").is_ok());
    assert!(tx.fail(CloseCode::PROTOCOL_ERROR.into()).is_ok());
    tx.write_blocked();
    assert_eq!(wire(tx), b"\x89\x01a\x88\x02\x03\xea");
    assert!(!tx.has_outgoing());
}

#[test]
fn a_callers_ping_that_waits_is_the_heartbeats_and_a_later_pong_is_not() {
    let mut conn = Connection::server(&Config::default(), Negotiated::default());
    let tx = &mut conn.tx;
    assert!(tx.ping(b"own").is_ok());
    tx.owe_beat(Time::ZERO);
    assert_eq!(tx.outgoing().remaining(), 5);
    tx.answer_ping(b"?");
    assert_eq!(tx.outgoing().remaining(), 5 + 3);
    tx.outgoing().advance(5);
    assert!(tx.beat_written() && tx.has_outgoing());
}

/// Two Pings queued at the same time have the same payload. Here a Ping of an earlier time is still
/// under way.
#[test]
fn a_ping_that_replaces_one_of_the_same_time_is_measured() {
    let mut conn = Connection::server(&Config::default(), Negotiated::default());
    let tx = &mut conn.tx;
    assert!(tx.measure_rtt(Time::ZERO).is_ok() && wire(tx).len() == 6);
    let now = Time::new(Duration::from_secs(1));
    assert!(tx.measure_rtt(now).is_ok() && tx.measure_rtt(now).is_ok());
    let ping = wire(tx);
    tx.hear_pong(&ping[2..], Some(now));
    assert!(tx.rtt().is_some());
}

#[test]
fn an_empty_payload_is_not_spliced() {
    let config = Config { min_vectored: 0, ..Config::default() };
    let mut conn = Connection::server(&config, Negotiated::default());
    assert!(conn.tx.feed(Vec::new()).is_ok());
    assert_eq!(conn.tx.outgoing().single(), Some(&b"\x82\0"[..]));
}

/// A frame of which the stream took some bytes before it was queued is, for all that comes later,
/// like one that was queued and then written in part.
#[test]
fn a_frame_offered_to_the_stream_is_like_one_that_was_fed() {
    let payload = [7; 20];
    let config = Config { min_vectored: 20, high_water: 60, ..Config::default() };
    for (then, written) in (0..6).flat_map(|then| (0..=22).map(move |n| (then, n))) {
        let [mut fed, mut offered] =
            [(); 2].map(|()| Connection::server(&config, Negotiated::default()));
        for conn in [&mut fed, &mut offered] {
            assert!(conn.tx.feed("before").is_ok() && wire(&mut conn.tx).len() == 8);
        }
        assert!(fed.tx.feed(&payload).is_ok());
        fed.tx.outgoing().advance(written);
        let message = Outbound::from(&payload);
        let offer = offered.tx.offer(&message);
        assert!(offer.is_some(), "nothing waits");
        offer.iter().for_each(|offer| offered.tx.feed_offered(offer, written));
        let ends = [fed, offered].map(|mut conn| {
            let tx = &mut conn.tx;
            let end = tx.fed();
            let mut seen = Vec::new();
            seen.push((tx.is_written(end), tx.buffered_amount(), 0, tx.has_room()));
            assert!(tx.offer(&message).is_none() || written == 22);
            let then = match then {
                0 => tx.ping(b"?"),
                1 => tx.feed("behind").map(drop),
                2 => tx.feed_first("first").map(drop),
                3 => tx.abort(CloseCode::GOING_AWAY),
                4 => tx.close(None),
                _ => {
                    tx.write_failed();
                    Ok(())
                }
            };
            assert_eq!(then, Ok(()));
            let mut bytes = Vec::new();
            while tx.has_outgoing() {
                let mut out = tx.outgoing();
                bytes.push(out.chunk()[0]);
                out.advance(1);
                seen.push((tx.is_written(end), tx.buffered_amount(), tx.dropped(), tx.has_room()));
            }
            (end, bytes, seen, tx.fed(), tx.dropped())
        });
        assert_eq!(ends[0], ends[1], "{then}, {written} written");
    }
}

/// Settings by which a payload of 20 bytes is long enough to be offered.
fn offering() -> Config {
    Config { min_vectored: 20, ..Config::default() }
}

fn offers_20_bytes(tx: &Sender) -> bool {
    tx.offer(&(&[7; 20]).into()).is_some()
}

#[test]
fn only_a_long_borrowed_message_is_offered() {
    let conn = Connection::server(&offering(), Negotiated::default());
    let long = [7; 20];
    assert!(conn.tx.offer(&(&long).into()).is_some());
    assert!(conn.tx.offer(&(&long[1..]).into()).is_none(), "too short");
    assert!(conn.tx.offer(&long.to_vec().into()).is_none(), "owned: it is spliced");
}

#[test]
fn a_message_is_offered_only_if_it_is_the_next_frame() {
    let mut conn = Connection::server(&offering(), Negotiated::default());
    let tx = &mut conn.tx;
    assert!(offers_20_bytes(tx));
    assert!(tx.ping(b"?").is_ok() && !offers_20_bytes(tx), "behind a Ping");
    assert_eq!(wire(tx).len(), 3);
    assert!(offers_20_bytes(tx), "the Ping is written");
    assert!(tx.feed("x").is_ok() && !offers_20_bytes(tx), "behind a message");
    assert_eq!(wire(tx).len(), 3);
    assert!(offers_20_bytes(tx), "the message is written");
}

#[test]
fn a_message_that_cannot_be_written_as_it_is_is_not_offered() {
    struct Zeros;
    impl Entropy for Zeros {
        fn fill(&mut self, dest: &mut [u8]) {
            dest.fill(0);
        }
    }
    let mut without_vectored_writes = Connection::server(&offering(), Negotiated::default());
    without_vectored_writes.tx.set_flat();
    assert!(!offers_20_bytes(&without_vectored_writes.tx));
    let offers_all = Config { min_vectored: 0, ..Config::default() };
    let client_that_masks = Connection::client(&offers_all, Negotiated::default(), Zeros);
    assert!(!offers_20_bytes(&client_that_masks.tx));
    let cut_into_frames = Config { max_frame_sent: Some(7), ..offers_all };
    let cut_into_frames = Connection::server(&cut_into_frames, Negotiated::default());
    assert!(!offers_20_bytes(&cut_into_frames.tx));
}

#[test]
fn nothing_is_offered_behind_our_close() {
    let config = Config { min_vectored: 0, ..Config::default() };
    let mut conn = Connection::server(&config, Negotiated::default());
    assert!(conn.tx.close(None).is_ok());
    assert_eq!(wire(&mut conn.tx).len(), 2);
    assert!(!offers_20_bytes(&conn.tx));
}
