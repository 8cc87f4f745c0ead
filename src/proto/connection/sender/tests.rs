use super::{OutBuffer, Outgoing, Time};
use crate::proto::{
    close::CloseCode,
    config::{Config, Negotiated},
    connection::Connection,
};
use alloc::vec::Vec;
use bytes::Buf;
use core::time::Duration;

/// What is not admitted at once goes the slow way, where it comes to the same.
#[test]
fn an_open_half_frames_at_once_while_there_is_room() {
    let config = Config::default().high_water(15);
    let mut conn = Connection::server(&config, Negotiated::default());
    let (tx, held) = (&mut conn.tx, &mut OutBuffer::default());
    let fed = [tx.feed("data"), tx.feed("more")]; // 6 bytes each
    assert!(fed.iter().all(Result::is_ok) && tx.admits() && tx.has_room());
    assert!(tx.take_out(held, 0));
    assert!(tx.admits() && tx.has_room(), "12 bytes lie with the writer");
    assert!(tx.feed("full").is_ok());
    assert!(!tx.admits() && !tx.has_room());
    Outgoing(held).advance(4);
    tx.note(held, 0);
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
            tx.outgoing().advance(1); // what is under way is not overtaken
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

/// Though the data behind it is stuck.
#[test]
fn a_beat_is_written_when_a_writer_has_written_its_last_byte() {
    for behind in [false, true] {
        let mut conn = Connection::server(&Config::default(), Negotiated::default());
        let (tx, held) = (&mut conn.tx, &mut OutBuffer::default());
        if behind {
            let fed = [tx.feed("data"), tx.feed("more")];
            assert!(fed.iter().all(Result::is_ok) && tx.take_out(held, 0));
            Outgoing(held).advance(1);
            tx.owe_beat(Time::ZERO);
            assert!(tx.take_out(held, 0));
            Outgoing(held).advance(5);
        } else {
            tx.owe_beat(Time::ZERO);
            assert!(tx.feed("more").is_ok() && tx.take_out(held, 0));
        }
        for _ in 0..6 {
            assert!(tx.take_out(held, 0) && !tx.beat_written());
            Outgoing(held).advance(1);
        }
        tx.note(held, 0);
        assert!(tx.beat_written());
        assert_eq!(tx.buffered_amount(), 6);
    }
}

/// `outgoing` is for connections that are not split, and is not forbidden to others.
#[test]
fn a_message_fed_first_that_an_abort_drops_is_not_written_wherever_it_lay() {
    let mut conn = Connection::server(&Config::default(), Negotiated::default());
    let (tx, held) = (&mut conn.tx, &mut OutBuffer::default());
    let fed = [tx.feed("held"), tx.feed("own")];
    assert!(tx.take_out(held, 0));
    assert!(tx.feed("late").is_ok());
    let first = tx.feed_first("first");
    assert!(tx.outgoing().has_remaining() && tx.abort(None).is_ok());
    Outgoing(held).advance(1);
    assert!(tx.take_out(held, 0));
    tx.note(held, 0);
    let mut gone = fed.into_iter().chain([first]).map(|at| at.is_ok_and(|at| tx.is_written(at)));
    assert!(!gone.any(|gone| gone));
    assert_eq!(tx.dropped(), 5 + 6 + 7);
}

/// The Close of a violation waits for what a writer holds, unless the stream refuses that.
#[test]
fn a_violations_close_waits_for_what_a_writer_holds_and_passes_what_is_refused() {
    for refused in [false, true] {
        let mut conn = Connection::server(&Config::default(), Negotiated::default());
        let (tx, held) = (&mut conn.tx, &mut OutBuffer::default());
        assert!(tx.feed("data").is_ok() && tx.take_out(held, 0));
        assert!(tx.fail(CloseCode::PROTOCOL_ERROR.into()).is_ok() && tx.take_out(held, 0));
        assert_eq!(held.len(), 6);
        if refused {
            held.blocked();
        } else {
            Outgoing(held).advance(6);
        }
        assert!(tx.take_out(held, 0));
        assert_eq!(wire(held), b"\x88\x02\x03\xea");
        tx.note(held, 0);
        assert_eq!((tx.dropped(), tx.close_written()), (if refused { 6 } else { 0 }, true));
    }
}

/// A compressor takes more than all the rest of a connection.
#[cfg(feature = "deflate")]
#[test]
fn a_closed_half_keeps_no_compressor() {
    use crate::proto::deflate::{Agreed, Direction};
    for how in 0..3 {
        let server = Direction { takeover: true, ..Direction::default() };
        let agreed = Agreed { server, ..Agreed::default() };
        let negotiated = Negotiated { deflate: Some(agreed), ..Negotiated::default() };
        let config =
            Config::default().deflate(crate::proto::deflate::Deflate::default().min_size(0));
        let mut conn = Connection::server(&config, negotiated);
        assert!(conn.tx.feed("compressed").is_ok() && conn.tx.deflate.is_on());
        match how {
            0 => conn.tx.write_failed(),
            1 => assert!(conn.tx.close(None).is_ok()),
            _ => assert!(conn.tx.abort(None).is_ok()),
        }
        assert!(!conn.tx.deflate.is_on(), "{how}");
    }
}

/// Of a split connection a part lies with the writer, and what overtakes in there too.
#[test]
fn all_that_was_fed_and_not_written_is_unsent_wherever_it_lies() {
    for written in 0..16 {
        let mut conn = Connection::server(&Config::default(), Negotiated::default());
        let (tx, held) = (&mut conn.tx, &mut OutBuffer::default());
        assert!(!tx.take_out(held, 0), "there is nothing to write");
        let fed = [tx.feed("data"), tx.feed("more")]; // 6 bytes each
        assert!(tx.take_out(held, 0));
        Outgoing(held).advance(1);
        tx.note(held, 0);
        let first = tx.feed_first("1st"); // 5 bytes, behind the first 6
        assert!(tx.take_out(held, 0));
        let late = tx.feed("late"); // stays with the sender
        Outgoing(held).advance(written);
        tx.note(held, 0);
        assert_eq!(tx.buffered_amount(), 1 + 5 + 5 + 6 + 6 - 1 - written, "{written}");
        tx.write_failed();
        assert!(!tx.take_out(held, 0));
        assert_eq!(tx.dropped(), 22 - written as u64, "{written}");
        assert_eq!((tx.buffered_amount(), held.len()), (0, 0));
        let is_written = |at| tx.is_written(at);
        let [a, b, first, late] = [fed[0], fed[1], first, late].map(|at| at.is_ok_and(is_written));
        assert_eq!([a, first, b, late], [written >= 5, written >= 10, written >= 16, false]);
    }
}

/// The other thread may look between a write and the flush behind it.
#[test]
fn what_a_stream_took_from_a_writer_is_written_once_it_is_flushed() {
    let mut conn = Connection::server(&Config::default(), Negotiated::default());
    let (tx, held) = (&mut conn.tx, &mut OutBuffer::default());
    let fed = tx.feed("order");
    assert!(tx.take_out(held, 0));
    Outgoing(held).advance(7);
    assert!(!tx.take_out(held, 7) && fed.is_ok_and(|at| !tx.is_written(at)));
    tx.unflushed(0);
    assert!(fed.is_ok_and(|at| tx.is_written(at)));
}

/// Whether or not all was taken; to look again does not put it off.
#[test]
fn a_stream_that_refuses_to_flush_what_a_writer_wrote_has_a_deadline() {
    let timeout = Config::default().write_timeout;
    for left in [0, 1] {
        let mut conn = Connection::server(&Config::default(), Negotiated::default());
        let (tx, held) = (&mut conn.tx, &mut OutBuffer::default());
        assert!(tx.feed("order").is_ok() && tx.take_out(held, 0));
        Outgoing(held).advance(7 - left);
        for now in [1, 2, 3] {
            tx.take_out(held, 7 - left);
            held.blocked();
            tx.refused(held, 7 - left);
            let now = Time::new(Duration::from_secs(now));
            assert!(tx.handle_timeout(now).is_ok());
            assert_eq!(tx.poll_timeout(), Some(Time::new(Duration::from_secs(1)) + timeout));
        }
        tx.unflushed(0);
        held.flushed();
        tx.take_out(held, 0);
        assert_eq!(tx.poll_timeout(), None);
    }
}

#[test]
fn nothing_is_dropped_by_a_writer_that_took_nothing_before_the_stream_failed() {
    let mut conn = Connection::server(&Config::default(), Negotiated::default());
    let (tx, held) = (&mut conn.tx, &mut OutBuffer::default());
    let fed = tx.feed("order");
    tx.outgoing().advance(7); // before the split
    tx.write_failed();
    assert!(!tx.take_out(held, 0));
    assert_eq!((tx.dropped(), fed.is_ok_and(|at| tx.is_written(at))), (0, true));
}

/// As in a connection that is not split: a writer has our Close, and the Pong that has its place behind it.
#[test]
fn a_pong_that_a_writer_has_behind_our_close_is_dropped_when_the_peers_comes() {
    for begun in [0, 1] {
        let mut conn = Connection::server(&Config::default(), Negotiated::default());
        let (tx, held) = (&mut conn.tx, &mut OutBuffer::default());
        assert!(tx.close(None).is_ok() && tx.take_out(held, 0));
        Outgoing(held).advance(begun);
        tx.note(held, 0);
        tx.answer_ping(b"?");
        assert!(tx.take_out(held, 0));
        assert_eq!(held.len(), 2 + 3 - begun);
        tx.end_controls();
        assert!(tx.take_out(held, 0));
        assert_eq!(wire(held), b"\x88\0"[begun..]);
        assert!(!tx.take_out(held, 0) && tx.close_written());
        assert_eq!(tx.buffered_amount(), 0);
    }
}

/// A writer has our Close and the Pongs behind it: of those it goes on with the one that it has begun.
#[test]
fn the_peers_close_cuts_no_pong_that_a_writer_has_begun_behind_ours() {
    for spliced in [false, true] {
        for at in 2..=2 + 3 + 4 {
            let mut conn = Connection::server(&Config::default(), Negotiated::default());
            let (tx, held) = (&mut conn.tx, &mut OutBuffer::default());
            let mut written = 0;
            assert!(tx.close(None).is_ok() && tx.take_out(held, 0));
            if !spliced {
                Outgoing(held).advance(2);
                written = 2;
            }
            tx.note(held, 0);
            tx.answer_ping(b"?");
            tx.answer_ping(b"2!");
            assert!(tx.take_out(held, 0));
            Outgoing(held).advance(at - written);
            held.blocked();
            tx.refused(held, 0);
            tx.end_controls();
            let left = match at {
                3 | 4 => 5 - at,
                6..=8 => 9 - at,
                _ => 0,
            };
            assert_eq!(tx.take_out(held, 0), left > 0, "{spliced} {at}");
            assert_eq!((held.len(), tx.buffered_amount()), (left, left), "{spliced} {at}");
            assert_eq!((tx.close_written(), tx.close_gone()), (left == 0, true));
            assert!(b"\x8a\x01?\x8a\x022!".ends_with(&wire(held)) || at < 6);
            assert!(!tx.take_out(held, 0) && tx.close_written(), "{spliced} {at}");
            assert_eq!((tx.buffered_amount(), tx.dropped()), (0, 0));
            assert_eq!(tx.poll_timeout(), None);
        }
    }
}

/// A Ping that waits when this half is closed goes behind the buffer that a writer has; one that comes later does not
/// pass it there.
#[test]
fn control_frames_keep_their_order_when_a_writer_has_the_buffer_at_the_close() {
    for fed in [&[][..], &["late"]] {
        for written in 0..=12 {
            let mut conn = Connection::server(&Config::default(), Negotiated::default());
            let (tx, held) = (&mut conn.tx, &mut OutBuffer::default());
            let data = [tx.feed("data"), tx.feed("more")]; // 6 bytes each
            assert!(data.iter().all(Result::is_ok) && tx.take_out(held, 0));
            assert!(fed.iter().all(|late| tx.feed(*late).is_ok()));
            assert!(tx.ping(b"1").is_ok());
            assert!(tx.close(None).is_ok());
            tx.answer_ping(b"2");
            Outgoing(held).advance(written);
            let mut sent = Vec::new();
            while tx.take_out(held, 0) {
                sent.extend(wire(held));
            }
            let at = |frame: &[u8]| sent.windows(frame.len()).position(|at| at == frame);
            let (first, second) = (at(b"\x89\x011"), at(b"\x8a\x012"));
            assert!(first.is_some() && first < second, "{written}: {sent:02x?}");
            assert!(first < at(b"\x88\0"), "{written}: {sent:02x?}");
        }
    }
}

fn wire(held: &mut OutBuffer) -> Vec<u8> {
    let mut out = Outgoing(held);
    let n = out.remaining();
    out.copy_to_bytes(n).to_vec()
}

#[test]
fn the_single_slice_is_all_of_it_when_there_is_one() {
    let config = Config::default().vectored_from(10);
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
