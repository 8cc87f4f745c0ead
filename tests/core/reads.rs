//! What is known of the read that completed a message: how many others it completed before, and
//! when its bytes arrived.
use crate::support::wire::*;
use std::time::Duration;
use testkit::Rng;
use tickwire::{Arrival, Config, Step, Time};

/// Messages of all kinds: the wire, and where each one ends that is handed out.
fn mixed(rng: &mut Rng, role: tickwire::Role) -> (Vec<u8>, Vec<usize>) {
    let (mut wire, mut ends) = (Vec::new(), Vec::new());
    for _ in 0..40 {
        let len = rng.below(60);
        let payload = vec![b'x'; len];
        match rng.below(5) {
            0 => {
                wire.extend(to(role, TEXT_OPEN, &payload));
                wire.extend(to(role, PING, b"between"));
                wire.extend(to(role, CONT, b"end"));
            }
            1 => {
                wire.extend(to(role, PONG, b"unasked"));
                continue;
            }
            _ => wire.extend(to(role, BINARY, &payload)),
        }
        ends.push(wire.len());
    }
    (wire, ends)
}

#[test]
fn a_message_knows_how_many_the_same_read_completed_before_it() {
    let rng = &mut Rng::new(18);
    let config = Config::default();
    for round in 0..times(400, 4) {
        let role = ROLES[round % 2];
        let (wire, ends) = mixed(rng, role);
        let mut conn = connection(role, &config);
        let (mut at, mut seen) = (0, Vec::new());
        let mut want = Vec::new();
        while at < wire.len() {
            let most = if rng.once_in(4) { wire.len() } else { 90 };
            let n = 1 + rng.below(most);
            let n = read_once(&mut conn, &wire[at..(at + n).min(wire.len())]);
            let completed = ends.iter().filter(|end| (at + 1..=at + n).contains(end));
            want.extend(0..completed.count() as u32);
            at += n;
            loop {
                match conn.step().unwrap() {
                    Step::NeedInput => break,
                    Step::Message => seen.push(conn.receiver().info().ahead),
                    _ => {}
                }
            }
        }
        assert_eq!(seen, want, "round {round}, {role:?}");
    }
}

#[test]
fn a_piece_counts_the_messages_before_its_own() {
    for (role, mut conn) in connections(&Config::default()) {
        let wire = [to(role, TEXT, "a"), to(role, TEXT, "b"), to(role, TEXT_OPEN, "c")].concat();
        read_once(&mut conn, &wire);
        let mut next = |wire: &[u8]| {
            if !wire.is_empty() {
                read_once(&mut conn, wire);
            }
            assert_eq!(conn.step_chunk(), Ok(Step::Message));
            conn.receiver().info().ahead
        };
        assert_eq!([next(b""), next(b""), next(b"")], [0, 1, 2]);
        assert_eq!(next(&to(role, CONT_OPEN, "d")), 0);
        assert_eq!(next(&to(role, CONT, "e")), 0);
    }
}

/// What came with the head of the handshake is one read, as are bytes in a buffer of the caller's.
#[test]
fn bytes_that_are_lent_are_a_read() {
    let mut conn = server(&Config::default());
    for _ in 0..2 {
        let wire = [masked(TEXT, "a"), masked(TEXT, "b")].concat();
        let mut buffer = vec![0; 4096];
        buffer[..wire.len()].copy_from_slice(&wire);
        assert_eq!(conn.receiver_mut().lend_filled(buffer, wire.len()), None);
        for ahead in 0..2 {
            assert_eq!(conn.step(), Ok(Step::Message));
            assert_eq!(conn.receiver().info().ahead, ahead);
        }
        assert_eq!(conn.step(), Ok(Step::NeedInput));
        conn.receiver_mut().reclaim();
    }
}

#[test]
fn the_times_of_a_read_hold_until_they_are_set_again() {
    let mut conn = server(&Config::default());
    let mut next = |said: Option<(Option<Time>, Option<Arrival>)>| {
        let wire = masked(TEXT, "tick");
        let rx = conn.receiver_mut();
        rx.spare_mut()[..wire.len()].copy_from_slice(&wire);
        rx.commit(wire.len());
        if let Some((at, arrived)) = said {
            rx.set_read(at, arrived);
        }
        assert_eq!(conn.step(), Ok(Step::Message));
        let info = conn.receiver().info();
        (info.read_at, info.arrived)
    };
    let software = Duration::new(1_795_305_390, 676_640_387);
    let arrived = Some(Arrival { software, hardware: Some(Duration::from_secs(7)) });
    let at = Some(Time::new(Duration::from_secs(1)));
    assert_eq!(next(None), (None, None));
    for times in [(at, arrived), (at, None), (None, arrived), (None, None)] {
        assert_eq!([next(Some(times)), next(None)], [times; 2]);
    }
}
