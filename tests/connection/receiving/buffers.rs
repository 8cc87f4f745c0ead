//! Buffers lent and reclaimed at any moment: no byte is lost, and none pins a large buffer.
use crate::support::wire::*;
use testkit::Rng;
use tickwire::{Config, Connection, Step};

const POOLED: usize = 16 << 10;

fn stale(len: usize) -> Vec<u8> {
    vec![0x82; len] // looks like the beginning of a frame
}

#[test]
fn a_waiting_connection_holds_no_buffer() {
    for (role, mut conn) in connections(&Config::default()) {
        assert!(!conn.receiver().has_buffer());
        conn.receiver_mut().lend(stale(POOLED));
        assert!(conn.receiver().has_buffer());
        let wire = frame_to(role, TEXT, "hello");
        assert_eq!(receive(&mut conn, &wire), [text("hello")]);
        assert_eq!(conn.receiver_mut().reclaim().len(), POOLED);
        assert!(!conn.receiver().has_buffer());
        assert_eq!(conn.receiver_mut().reclaim().len(), 0);
        // Without one, it finds one.
        assert_eq!(receive(&mut conn, &wire), [text("hello")]);
        conn.sender_mut().lend(stale(1000));
        conn.sender_mut().feed("x").unwrap();
        assert_eq!(conn.sender_mut().reclaim().len(), 0);
        drain(&mut conn);
        assert_eq!(conn.sender_mut().reclaim().len(), 1000);
        conn.sender_mut().feed("x").unwrap();
        assert_eq!(sent(&drain(&mut conn)), [(TEXT, b"x".to_vec())]);
    }
}

#[test]
fn a_small_buffer_counts_only_while_it_holds_something() {
    for (role, mut conn) in connections(&Config::default()) {
        conn.receiver_mut().lend(stale(POOLED));
        read_once(&mut conn, &frame_to(role, TEXT, "hello").repeat(2));
        assert_eq!(conn.step(), Ok(Step::Message));
        // The other one waits in the small buffer, and is delivered from there.
        assert_eq!(conn.receiver_mut().reclaim().len(), POOLED);
        assert!(conn.receiver().buffer_len() > 0);
        assert_eq!(conn.step(), Ok(Step::Message));
        assert_eq!(conn.step(), Ok(Step::NeedInput));
        assert_eq!(conn.receiver_mut().reclaim().len(), 0);
        assert_eq!(conn.receiver().buffer_len(), 0);
    }
}

#[test]
fn reads_that_are_reset_leave_no_room_behind_what_is_held() {
    for role in ROLES {
        let long = frame_to(role, BINARY, vec![7; 100 << 10]);
        let wire = [&long[..], &long[..20_000]].concat();
        let mut conn = connection(role, &Config::default());
        let mut fed = 0;
        while fed < wire.len() {
            fed += read_once(&mut conn, &wire[fed..]);
            while conn.step() != Ok(Step::NeedInput) {}
        }
        assert!(conn.receiver().buffer_len() > 50_000);
        conn.receiver_mut().reset_reads();
        let held = conn.receiver().buffer_len();
        assert!((19_900..20_100).contains(&held), "{held}");
        assert_eq!(receive(&mut conn, &long[20_000..]), [binary(&vec![7; 100 << 10])]);
    }
}

// P212, A18
#[test]
fn a_small_partial_frame_does_not_keep_a_large_buffer() {
    // At every cut, in every state.
    for role in ROLES {
        let wire = [
            frame_to(role, TEXT, "x".repeat(200)),
            frame_to(role, BINARY_OPEN, vec![1; 100]),
            frame_to(role, PING, [2; 125]),
            frame_to(role, CONT, vec![3; 300]),
        ]
        .concat();
        let want = transcript(role, &Config::default(), &wire, []).0;
        for cut in (0..=wire.len()).step_by(every(101)) {
            let mut conn = connection(role, &Config::default());
            conn.receiver_mut().lend(stale(POOLED));
            let mut seen = receive(&mut conn, &wire[..cut]);
            assert_eq!(conn.receiver_mut().reclaim().len(), POOLED, "{cut}");
            assert!(!conn.receiver().has_buffer());
            assert_eq!(conn.receiver_mut().reclaim().len(), 0);
            assert_eq!(events(&mut conn), []);
            conn.receiver_mut().lend(stale(POOLED));
            assert!(conn.receiver().has_buffer());
            seen.extend(receive(&mut conn, &wire[cut..]));
            assert_eq!(seen, want, "{role:?} {cut}");
            assert_eq!(conn.receiver_mut().reclaim().len(), POOLED);
        }
    }
}

#[test]
fn a_large_part_keeps_the_buffer() {
    for role in ROLES {
        let wire = frame_to(role, BINARY, vec![1; 10_000]);
        let mut conn = connection(role, &Config::default());
        conn.receiver_mut().lend(stale(POOLED));
        assert_eq!(receive(&mut conn, &wire[..5000]), []);
        assert_eq!(conn.receiver_mut().reclaim().len(), 0);
        assert!(conn.receiver().has_buffer());
        assert_eq!(receive(&mut conn, &wire[5000..]), [binary(vec![1; 10_000])]);
        assert_eq!(conn.receiver_mut().reclaim().len(), POOLED);
    }
}

#[test]
fn reclaiming_ends_the_current_message_and_loses_none_behind_it() {
    for role in ROLES {
        let wire: Vec<u8> = (0..5u8).flat_map(|i| frame_to(role, BINARY, [i; 20])).collect();
        let mut conn = connection(role, &Config::default());
        conn.receiver_mut().lend(stale(POOLED));
        read_once(&mut conn, &wire);
        for i in 0..5 {
            assert_eq!(next(&mut conn), Some(binary([i; 20])));
            let buffer = conn.receiver_mut().reclaim();
            assert_eq!((conn.receiver().message(), conn.receiver().event()), (None, None));
            if i % 2 == 0 {
                conn.receiver_mut().lend(buffer);
            }
        }
        assert_eq!(next(&mut conn), None);
        // All was consumed from the small buffer: it counts as none, and reading goes on.
        let buffer = conn.receiver_mut().reclaim();
        assert!(buffer.len() <= POOLED);
        assert_eq!(receive(&mut conn, &wire).len(), 5);
    }
}

#[test]
fn buffers_of_all_sizes_are_good_enough() {
    for role in ROLES {
        let wire = [frame_to(role, BINARY, vec![5; 3000]), frame_to(role, TEXT, "next")].concat();
        let want = [binary(vec![5; 3000]), text("next")];
        let short = (0..40).step_by(every(13));
        for len in short.chain([100, 511, 512, 519, 520, 521, 5000, 40_000]).step_by(every(2)) {
            for cut in [0, 1, 7, 8, 100, 2999, 3010].into_iter().step_by(every(4)) {
                let mut conn = connection(role, &Config { read_buffer: 512, ..Config::default() });
                conn.receiver_mut().lend(stale(len));
                let mut seen = receive(&mut conn, &wire[..cut]);
                conn.receiver_mut().lend(stale(len));
                assert!(!conn.receiver_mut().spare_mut().is_empty());
                seen.extend(receive(&mut conn, &wire[cut..]));
                assert_eq!(seen, want, "{role:?} {len} {cut}");
            }
        }
    }
}

/// A buffer in which these bytes were received.
fn filled(len: usize, bytes: &[u8]) -> Vec<u8> {
    let mut buffer = stale(len);
    buffer[..bytes.len()].copy_from_slice(bytes);
    buffer
}

#[test]
fn bytes_that_lie_in_a_buffer_are_taken_where_they_are() {
    for (role, mut conn) in connections(&Config::default()) {
        let wire = [frame_to(role, BINARY, vec![7; 1000]), frame_to(role, TEXT, "next")].concat();
        for behind in [8, 9, 3000] {
            let buffer = filled(wire.len() + behind, &wire);
            let at = buffer.as_ptr();
            assert_eq!(conn.receiver_mut().lend_filled(buffer, wire.len()), None);
            assert_eq!(events(&mut conn), [binary(vec![7; 1000]), text("next")]);
            let buffer = conn.receiver_mut().reclaim();
            assert_eq!(buffer.as_ptr(), at);
        }
        // Without room behind them, or with a part kept from before, they are copied.
        for (cut, behind) in [(0, 0), (0, 7), (3, 8), (500, 8), (1003, 100)] {
            assert_eq!(receive(&mut conn, &wire[..cut]), []);
            let rest = &wire[cut..];
            let back =
                conn.receiver_mut().lend_filled(filled(rest.len() + behind, rest), rest.len());
            assert_eq!(back, Some(filled(rest.len() + behind, rest)), "{cut} {behind}");
            assert_eq!(events(&mut conn), [binary(vec![7; 1000]), text("next")]);
        }
    }
}

#[test]
fn a_filled_buffer_ends_the_current_message_and_counts_as_heard() {
    for role in ROLES {
        let config = Config::default();
        let mut conn = connection(role, &config);
        receive(&mut conn, &frame_to(role, BINARY, "a"));
        let one = frame_to(role, BINARY, "b");
        read_once(&mut conn, &one);
        assert_eq!(conn.step(), Ok(Step::Message));
        let own = conn.receiver_mut().lend_filled(filled(100, &one), one.len());
        assert!(own.is_some_and(|own| own.starts_with(&one[..2]) && own.len() > 100));
        assert_eq!(conn.receiver().message(), None);
        assert_eq!(events(&mut conn), [binary("b")]);
        // Nothing received is nothing, not an end; behind an end nothing is looked at or kept.
        let own = conn.receiver_mut().lend_filled(stale(100), 0);
        assert_eq!(own.map(|own| own.len()), Some(100));
        assert_eq!(events(&mut conn), []);
        receive(&mut conn, &frame_to(role, CLOSE, [3, 232]));
        for _ in 0..100 {
            conn.receiver_mut().lend_filled(stale(1000), 992);
            assert_eq!(events(&mut conn), [Seen::Closed]);
        }
        assert!(conn.receiver_mut().reclaim().len() < 17 << 10);
    }
}

#[test]
#[should_panic(expected = "range end index 5 out of range for slice of length 4")]
fn more_than_the_buffer_holds_is_a_mistake() {
    connection(ROLES[0], &Config::default()).receiver_mut().lend_filled(stale(4), 5);
}

/// Lends and reclaims with each byte, from a pool of buffers that others have used.
fn shuffle(conn: &mut Connection, rng: &mut Rng, pool: &mut Vec<Vec<u8>>) {
    match rng.below(5) {
        0 | 1 => {
            let mut buffer = conn.receiver_mut().reclaim();
            if !buffer.is_empty() {
                buffer.fill(rng.next() as u8); // as another connection would
                pool.push(buffer);
            }
        }
        2 => {
            if let Some(buffer) = pool.pop() {
                conn.receiver_mut().lend(buffer);
            }
        }
        3 => {
            let bits = rng.below(16) + 1;
            let len = rng.below(1 << bits);
            conn.receiver_mut().lend(stale(len));
        }
        _ => {}
    }
}

#[test]
fn lending_and_reclaiming_at_any_moment_loses_nothing() {
    for seed in 0..times(300, 2) as u64 {
        let mut rng = Rng::new(seed);
        let role = ROLES[rng.below(2)];
        let mut wire = Vec::new();
        for i in 0..rng.below(30) as u8 {
            let len = [0, 1, 30, 125, 126, 700, 5000][rng.below(7)];
            let payload = vec![b'a' + i % 26; len];
            match rng.below(5) {
                0 => {
                    wire.extend(frame_to(role, TEXT_OPEN, &payload[..len / 3]));
                    wire.extend(frame_to(role, PING, [i]));
                    wire.extend(frame_to(role, CONT, &payload[len / 3..]));
                }
                1 => wire.extend(frame_to(role, PONG, &payload[..len.min(125)])),
                2 => wire.extend(frame_to(role, TEXT, payload)),
                _ => wire.extend(frame_to(role, BINARY, payload)),
            }
        }
        let config = Config { read_buffer: [512, 1016, 4096][rng.below(3)], ..Config::default() };
        let want = transcript(role, &config, &wire, []).0;
        let mut conn = connection(role, &config);
        let (mut pool, mut seen, mut rest) = (Vec::new(), Vec::new(), &wire[..]);
        while !rest.is_empty() {
            shuffle(&mut conn, &mut rng, &mut pool);
            let most = (1 << rng.below(12)).min(rest.len());
            let n = if rng.once_in(2) {
                let buffer = filled(most + [0, 7, 8, 1000][rng.below(4)], &rest[..most]);
                pool.extend(conn.receiver_mut().lend_filled(buffer, most));
                most
            } else {
                read_once(&mut conn, &rest[..most])
            };
            rest = &rest[n..];
            while let Some(event) = next(&mut conn) {
                assert!(!matches!(event, Seen::Failed(_) | Seen::Closed), "seed {seed}");
                seen.push(event);
                shuffle(&mut conn, &mut rng, &mut pool);
            }
        }
        assert!(seen == want, "seed {seed}");
    }
}

#[test]
fn lending_to_the_sender_at_any_moment_loses_nothing() {
    for seed in 0..times(200, 3) as u64 {
        let mut rng = Rng::new(seed);
        let role = ROLES[rng.below(2)];
        let mut conn = connection(role, &Config { min_vectored: 50, ..Config::default() });
        let (mut fed, mut wire) = (Vec::new(), Vec::new());
        for i in 0..60u8 {
            let payload = vec![i; rng.below(120)];
            match rng.below(6) {
                0 => conn.sender_mut().lend(stale(rng.below(500))),
                1 => drop(conn.sender_mut().reclaim()),
                2 => {
                    let n = rng.below(200);
                    wire.extend(write_at_once(&mut conn, n));
                }
                3 => wire.extend(drain(&mut conn)),
                4 => {
                    conn.sender_mut().feed(payload.clone()).unwrap();
                    fed.push((BINARY, payload));
                }
                _ => {
                    conn.sender_mut().feed(&payload).unwrap();
                    fed.push((BINARY, payload));
                }
            }
        }
        wire.extend(drain(&mut conn));
        assert_eq!(sent(&wire), fed, "seed {seed}");
        let first = conn.sender_mut().feed_first("first").unwrap();
        conn.sender_mut().outgoing();
        conn.sender_mut().lend(stale(300));
        drop(conn.sender_mut().reclaim());
        conn.sender_mut().feed("then").unwrap();
        let want = [(TEXT, b"first".to_vec()), (TEXT, b"then".to_vec())];
        assert_eq!(sent(&drain(&mut conn)), want);
        assert!(conn.sender().is_written(first));
    }
}

#[test]
fn what_a_large_message_took_to_be_sent_is_given_back_when_small_ones_follow() {
    for (_, mut conn) in connections(&Config::default()) {
        let mut send = |len: usize| {
            conn.sender_mut().feed(&vec![1; len]).unwrap();
            drain(&mut conn);
            let buffer = conn.sender_mut().reclaim();
            let len = buffer.len();
            conn.sender_mut().lend(buffer);
            len
        };
        let large = times(1 << 20, 100 << 10);
        assert!(send(large) >= large);
        let kept: Vec<usize> = (0..100).map(|_| send(100)).collect();
        assert!(kept[50] >= large, "sizes seen shortly before allocate nothing");
        assert!(kept[99] <= 64 << 10, "{} bytes pinned", kept[99]);
    }
}
