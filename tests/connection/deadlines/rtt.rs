//! Round-trip times: which Pong answers which Ping, what makes a time and what does not. That each
//! adapter tells the time of a Pong when it is received is in `adapters/messages.rs`.
use crate::support::wire::*;
use std::{collections::VecDeque, time::Duration};
use tickwire::{Config, Connection, RoundTrip, SendError, Time};

fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

fn at(n: u64) -> Time {
    Time::new(ms(n))
}

/// The payload of the Ping that is outgoing, and of nothing else.
#[track_caller]
fn ping(conn: &mut Connection) -> Vec<u8> {
    let mut frames = sent(&drain(conn));
    let (b0, payload) = frames.pop().expect("a ping");
    assert_eq!((b0, frames.len()), (PING, 0));
    payload
}

/// A Pong comes, and is told when.
fn pong(conn: &mut Connection, payload: &[u8], now: Time) {
    let wire = frame_to(conn.role(), PONG, payload);
    conn.receiver_mut().spare_mut()[..wire.len()].copy_from_slice(&wire);
    conn.receiver_mut().commit(wire.len());
    conn.receiver_mut().set_read(Some(now), None);
    assert_eq!(events(conn), [Seen::Pong(payload.to_vec())]);
}

#[track_caller]
fn probe(conn: &mut Connection, now: Time) -> Vec<u8> {
    conn.sender_mut().measure_rtt(now).unwrap();
    ping(conn)
}

fn times(conn: &Connection) -> [Duration; 3] {
    let RoundTrip { latest, smoothed, minimum, .. } = conn.sender().rtt().expect("a time");
    [latest, smoothed, minimum]
}

#[test]
fn the_smoothed_time_is_that_of_rfc_6298() {
    for (_, mut conn) in connections(&Config::default()) {
        assert_eq!(conn.sender().rtt(), None);
        let (mut now, mut least, mut srtt) = (1_000, u64::MAX, None);
        for took in [80, 160, 40, 40, 0, 800, 33] {
            let payload = probe(&mut conn, at(now));
            assert_eq!(payload.len(), 4);
            pong(&mut conn, &payload, at(now + took));
            let next = srtt.map_or(took as f64, |srtt| srtt * 7.0 / 8.0 + took as f64 / 8.0);
            (srtt, least) = (Some(next), least.min(took));
            let [latest, smoothed, minimum] = times(&conn);
            assert_eq!((latest, minimum), (ms(took), ms(least)));
            assert!((smoothed.as_secs_f64() * 1e3 - next).abs() < 1e-4, "{smoothed:?} {next}");
            now += 1_000;
        }
    }
}

#[test]
fn the_heartbeats_pings_give_times() {
    let config = with_heartbeat(ms(8_000), ms(3_000));
    for (_, mut conn) in connections(&config) {
        let mut marks = Vec::new();
        for second in 0..60 {
            conn.handle_timeout(at(second * 1_000)).unwrap();
            if conn.sender().has_outgoing() {
                let payload = ping(&mut conn);
                conn.handle_timeout(at(second * 1_000)).unwrap();
                pong(&mut conn, &payload, at(second * 1_000 + 30 + second));
                assert_eq!(times(&conn)[0], ms(30 + second));
                marks.push(payload);
            }
        }
        assert!(marks.len() >= 4, "{}", marks.len());
        let count = marks.len();
        marks.sort();
        marks.dedup();
        assert_eq!(marks.len(), count, "each Ping is another one");
    }
}

#[test]
fn without_a_stamp_the_next_time_told_is_that_of_the_pong() {
    for (role, paused) in product(ROLES, [false, true]) {
        let mut conn = connection(role, &Config::default());
        let payload = probe(&mut conn, at(10));
        assert_eq!(conn.poll_timeout(), None, "no deadline hangs on it");
        receive(&mut conn, &frame_to(role, PONG, &payload));
        conn.set_paused(paused);
        assert_eq!((conn.sender().rtt(), conn.poll_timeout()), (None, Some(Time::ZERO)));
        conn.handle_timeout(at(17)).unwrap();
        assert_eq!((times(&conn)[0], conn.poll_timeout()), (ms(7), None));
        // Once: later times change nothing.
        conn.handle_timeout(at(1_000)).unwrap();
        assert_eq!(times(&conn), [ms(7); 3]);
    }
}

#[test]
fn a_pong_that_answers_nothing_under_way_means_nothing() {
    for (_, mut conn) in connections(&Config::default()) {
        pong(&mut conn, b"", at(1));
        pong(&mut conn, b"unasked for", at(1));
        assert_eq!((conn.sender().rtt(), conn.poll_timeout()), (None, None));
        let payload = probe(&mut conn, at(10));
        for other in [&b""[..], &payload[..3], &[&payload[..], b"x"].concat(), &[0; 125]] {
            pong(&mut conn, other, at(12));
        }
        assert_eq!(conn.sender().rtt(), None);
        pong(&mut conn, &payload, at(30));
        assert_eq!(times(&conn), [ms(20); 3]);
        // Again, and then again while another one is under way.
        pong(&mut conn, &payload, at(50));
        let second = probe(&mut conn, at(60));
        pong(&mut conn, &payload, at(61));
        assert_eq!(times(&conn), [ms(20); 3]);
        pong(&mut conn, &second, at(80));
        assert_eq!(times(&conn)[0], ms(20));
    }
}

#[test]
fn a_probe_that_was_replaced_before_it_was_sent_is_forgotten() {
    for (_, mut conn) in connections(&Config::default()) {
        conn.sender_mut().measure_rtt(at(0)).unwrap();
        // Each next one is queued when the Pong of the last has not yet come.
        let mut last = probe(&mut conn, at(10));
        for now in [20, 30, 40] {
            let next = probe(&mut conn, at(now));
            pong(&mut conn, &last, at(now + 5));
            assert_eq!(times(&conn)[0], ms(15));
            last = next;
        }
    }
}

#[test]
fn the_callers_own_pings_are_the_callers_to_match() {
    for (role, mut conn) in connections(&Config::default()) {
        conn.sender_mut().ping(b"mine").unwrap();
        assert_eq!(ping(&mut conn), b"mine");
        pong(&mut conn, b"mine", at(5));
        assert_eq!((conn.sender().rtt(), conn.poll_timeout()), (None, None));
        // Of several that wait the newest goes out; the heartbeat takes what waits already.
        let config = with_heartbeat(ms(8_000), ms(3_000));
        let mut conn = connection(role, &config);
        conn.sender_mut().measure_rtt(at(0)).unwrap();
        conn.sender_mut().ping(b"mine").unwrap();
        for second in 0..10 {
            conn.handle_timeout(at(second * 1_000)).unwrap();
        }
        assert_eq!(ping(&mut conn), b"mine");
        pong(&mut conn, b"mine", at(9_500));
        assert_eq!(conn.sender().rtt(), None);
        // The one that never went out is in nobody's way.
        let payload = probe(&mut conn, at(9_600));
        pong(&mut conn, &payload, at(9_700));
        assert_eq!(times(&conn), [ms(100); 3]);
    }
}

#[test]
fn pings_may_follow_each_other_faster_than_pongs() {
    // A Ping every 10 ms, over a path of 100 ms, then 200: the times are right, and keep coming.
    for (_, mut conn) in connections(&Config::default()) {
        let mut under_way = VecDeque::new();
        for now in (0..2_000).step_by(10) {
            while under_way.front().is_some_and(|&(due, _)| due <= now) {
                let (due, payload): (u64, Vec<u8>) = under_way.pop_front().unwrap();
                pong(&mut conn, &payload, at(due));
            }
            match now {
                0..100 => assert_eq!(conn.sender().rtt(), None),
                100..1_200 => assert_eq!(times(&conn), [ms(100); 3]),
                1_400.. => assert_eq!((times(&conn)[0], times(&conn)[2]), (ms(200), ms(100))),
                _ => {}
            }
            let took = if now < 1_000 { 100 } else { 200 };
            under_way.push_back((now + took, probe(&mut conn, at(now))));
        }
    }
}

#[test]
fn a_late_pong_tells_of_its_peer_and_gives_no_time() {
    let minute = 60_000;
    for (_, mut conn) in connections(&Config::default()) {
        let payload = probe(&mut conn, at(0));
        pong(&mut conn, &payload, at(minute + 1));
        assert_eq!(conn.sender().rtt(), None);
        let payload = probe(&mut conn, at(minute));
        pong(&mut conn, &payload, at(2 * minute));
        assert_eq!(times(&conn), [ms(minute); 3]);
        // Those that never come are in nobody's way either.
        for n in 10..20 {
            probe(&mut conn, at(n * minute));
        }
        let payload = probe(&mut conn, at(20 * minute));
        pong(&mut conn, &payload, at(20 * minute + 1));
        assert_eq!(times(&conn)[0], ms(1));
        // Nor do times at the end of all time overflow.
        let far = Time::new(Duration::MAX);
        let payload = probe(&mut conn, far);
        pong(&mut conn, &payload, far);
        assert_eq!(times(&conn)[0], Duration::ZERO);
    }
}

#[test]
fn a_ping_without_a_pong_is_forgotten_after_a_minute_when_the_next_one_goes() {
    // To the minute it is the oldest under way, and the one between gives way to the newest. Behind
    // it, the one between is.
    for (role, (last, forgotten, oldest)) in product(ROLES, [(60_000, 1, 0), (60_001, 0, 1)]) {
        let mut conn = connection(role, &Config::default());
        let payloads = [0, 1, last].map(|now| probe(&mut conn, at(now)));
        pong(&mut conn, &payloads[forgotten], at(last));
        assert_eq!(conn.sender().rtt(), None);
        pong(&mut conn, &payloads[oldest], at(last));
        assert_eq!(times(&conn)[0], ms(60_000));
        pong(&mut conn, &payloads[2], at(last + 7));
        assert_eq!(times(&conn)[0], ms(7));
    }
}

/// Marks come from the nanosecond by the output function of SplitMix64: here at times whose output
/// is published, the first three states of the seed 1234567.
#[test]
fn a_mark_is_as_hard_to_guess_as_the_nanosecond_of_its_ping() {
    const GAMMA: u64 = 0x9e37_79b9_7f4a_7c15;
    for (n, output) in [
        (1, 6_457_827_717_110_365_317_u64),
        (2, 3_203_168_211_198_807_973),
        (3, 9_817_491_932_198_370_423),
    ] {
        let state = 1_234_567_u64.wrapping_add(GAMMA.wrapping_mul(n));
        let mut conn = server(&Config::default());
        let mark = probe(&mut conn, Time::new(Duration::from_nanos(state)));
        assert_eq!(mark, (output as u32).to_be_bytes());
    }
}

#[test]
fn a_stamp_from_before_the_ping_makes_no_time() {
    // Of a caller that stamps some reads only: the last stamp is older than the Ping.
    for (role, mut conn) in connections(&Config::default()) {
        pong(&mut conn, b"", at(5));
        let payload = probe(&mut conn, at(10));
        receive(&mut conn, &frame_to(role, PONG, &payload));
        assert_eq!((conn.sender().rtt(), conn.poll_timeout()), (None, Some(Time::ZERO)));
        conn.handle_timeout(at(14)).unwrap();
        assert_eq!(times(&conn), [ms(4); 3]);
    }
}

#[test]
fn a_closed_half_probes_no_more() {
    for (role, mut conn) in connections(&Config::default()) {
        conn.sender_mut().close(None).unwrap();
        assert_eq!(sent(&drain(&mut conn)), [(CLOSE, vec![])]);
        // Until the peer's Close comes there may be control frames.
        let payload = probe(&mut conn, at(10));
        pong(&mut conn, &payload, at(14));
        assert_eq!(times(&conn), [ms(4); 3]);
        receive(&mut conn, &frame_to(role, CLOSE, ""));
        assert_eq!(conn.sender_mut().measure_rtt(at(20)), Err(SendError::Closed));
        assert!(drain(&mut conn).is_empty());
    }
}

/// What is under way is forgotten then, since each adapter has a clock of its own; what is known
/// stays. Miri has no sockets with timeouts.
#[cfg(all(feature = "blocking", not(miri)))]
#[test]
fn another_adapter_that_takes_over_knows_the_time() {
    use crate::support::blocking::{PING, PONG, TEXT, bounded, served};
    bounded(|| {
        let (mut ws, mut peer) = served(&Config::default());
        for known in [false, true] {
            ws.measure_rtt().unwrap();
            ws.flush().unwrap();
            let (b0, payload) = peer.next();
            assert_eq!((b0, payload.len()), (PING, 4));
            let before = ws.connection().sender().rtt();
            if known {
                let (io, conn) = ws.into_parts();
                ws = tickwire::blocking::WebSocket::from_parts(io, conn);
            }
            peer.say(PONG, &payload);
            peer.say(TEXT, b"behind");
            assert_eq!(ws.recv().unwrap().unwrap().as_text(), Some("behind"));
            let rtt = ws.connection().sender().rtt();
            assert!(rtt.is_some() && (rtt == before) == known);
        }
    });
}
