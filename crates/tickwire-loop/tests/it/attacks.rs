//! The list of attacks over the loop. The core and the handshakes stand against them by themselves,
//! and the crate's own tests show it. Here the bytes pass through the loop's sockets and
//! TLS, and the attacks on a loop (its turns, limits and handles) name their tests.
use crate::common::{REQUEST, Running, echo, frame, read_head};
use std::{
    io::{Read, Write},
    thread,
    time::{Duration, Instant},
};
use testkit::PATIENCE;
use tickwire::Config;
use tickwire_loop::Settings;

/// Number, what the peer sends after its handshake, and all that it gets.
const FRAMES: &[(u16, &[u8], &[u8])] = &[
    (1, b"\x82\xff\x80\0\0\0\0\0\0\0\0\0\0\0", b"\x88\x02\x03\xea"),
    (3, b"\x82\xff\x7f\xff\xff\xff\xff\xff\xff\xff\0\0\0\0", b"\x88\x02\x03\xf1"),
    (3, b"\x82\xff\0\x20\0\0\0\0\0\x01\0\0\0\0", b"\x88\x02\x03\xf1"),
    (4, b"\x82\xff\0\0\x01\0\0\0\0\0\0\0\0\0", b"\x88\x02\x03\xf1"),
    (6, b"\x82\xfe\0\x05\0\0\0\0hello", b"\x88\x02\x03\xea"),
    (6, b"\x89\xfe\0\x05\0\0\0\0hello", b"\x88\x02\x03\xea"),
    (7, b"\0hello\xff", b"\x88\x02\x03\xea"),
    (8, b"\xa2\x80\0\0\0\0", b"\x88\x02\x03\xea"),
    (8, b"\x92\x80\0\0\0\0", b"\x88\x02\x03\xea"),
    (9, b"\x82\x01a\x82\x81\0\0\0\0b", b"\x88\x02\x03\xea"),
    (12, b"\x89\xfe\0\x7e\0\0\0\0", b"\x88\x02\x03\xea"),
    (15, b"\x82\x81\0\0\0\0a\x83\x80\0\0\0\0\x82\x81\0\0\0\0b", b"\x82\x01a\x88\x02\x03\xea"),
    (17, b"\x01\x80\0\0\0\0\0\x80\0\0\0\0\0\x80\0\0\0\0\0\x80\0\0\0\0", b"\x88\x02\x03\xf0"),
    (19, b"\x01\x81\0\0\0\0a\x81\x81\0\0\0\0b", b"\x88\x02\x03\xea"),
    (29, b"\x88\x81\0\0\0\0\x03", b"\x88\x02\x03\xea"),
    (29, b"\x88\x82\0\0\0\0\x03\xed", b"\x88\x02\x03\xea"),
    (29, b"\x88\x83\0\0\0\0\x03\xe8\xc3", b"\x88\x02\x03\xef"),
    (34, b"\x88\x82\0\0\0\0\x03\xe8\x82\x81\0\0\0\0a\x89\x80\0\0\0\0", b"\x88\x02\x03\xe8"),
    (36, b"\x81\x82\0\0\0\0\xc3\x28", b"\x88\x02\x03\xef"),
    (38, b"\x89\x82\0\0\0\0\xc3\x28\x88\x80\0\0\0\0", b"\x8a\x02\xc3\x28\x88\0"),
    (41, b"\xc1\x81\0\0\0\0a", b"\x88\x02\x03\xea"),
    (43, b"\xc9\x80\0\0\0\0", b"\x88\x02\x03\xea"),
    (94, b"\x01\x81\0\0\0\0a\x88\x82\0\0\0\0\x03\xe8", b"\x88\x02\x03\xe8"),
];

/// Number, what the line of the request is replaced by, and the status.
const REQUESTS: &[(u16, &str, &str, &str)] = &[
    (57, "Upgrade: websocket\r\n", "", "426"),
    (57, "Host: localhost\r\n", "", "400"),
    (58, "Host: localhost\r\n", "Host: localhost\r\nHost: other\r\n", "400"),
    (59, "Host: ", "Host : ", "400"),
    (60, "Upgrade: websocket", "Upgrade: notwebsocket", "426"),
    (67, "Version: 13", "Version: 12", "426"),
    (69, "Host: ", "Content-Length: 5\r\nHost: ", "400"),
    (70, "HTTP/1.1", "HTTP/1.0", "426"),
    (92, "dGhlIHNhbXBsZSBub25jZQ==", "dGhl", "400"),
];

/// Attacks on what the loop does itself, and the test that makes each.
const ELSEWHERE: &[(&[u16], &str)] = &[
    (&[20], "pings_of_a_peer_that_reads_nothing_queue_few_pongs"),
    (&[21], "a_flood_of_pongs_gets_no_reply_and_keeps_nobody_waiting"),
    (&[22], "control_frames_between_two_fragments_keep_nobody_waiting"),
    (&[23], "empty_messages_of_a_peer_that_reads_nothing_are_not_read_without_bound"),
    (&[24], "a_message_is_delivered_when_there_is_room_for_its_reply"),
    (&[25], "half_a_frame_is_waited_for_no_longer_than_its_timeout"),
    (&[33], "what_ends_a_handshake_gives_its_place_back"),
    (&[33], "each_way_of_ending_gives_memory_and_descriptors_back_over_ws"),
    (&[33], "each_way_of_ending_gives_memory_and_descriptors_back_over_wss"),
    (&[31], "a_flood_of_pings_puts_off_neither_the_deadline_on_data_nor_that_of_closing"),
    (&[53], "a_slow_handshake_keeps_nobody_waiting"),
    (&[53], "a_head_that_trickles_in_ends_at_its_limit_over_ws"),
    (&[53], "a_head_that_trickles_in_ends_at_its_limit_over_wss"),
    (&[63], "a_server_that_never_answers_is_given_up_in_time"),
    (&[63], "an_answer_without_end_is_given_up_at_a_limit_or_in_time_over_ws"),
    (&[63], "an_answer_without_end_is_given_up_at_a_limit_or_in_time_over_wss"),
    (&[68], "a_rejected_client_that_sends_on_gets_its_response_and_no_reset"),
    (&[73], "a_client_dials_wss_and_a_wrong_certificate_is_its_error"),
    (&[73], "a_client_refuses_a_certificate_for_another_name_and_an_expired_one"),
    (&[77], "a_turn_delivers_its_share_of_messages"),
    (&[78], "a_connection_may_be_removed_in_its_own_turn"),
    (&[79], "a_handle_of_a_connection_that_is_gone_names_nothing"),
    (&[79], "subscribers_that_come_and_go_during_a_broadcast_leave_nothing_behind"),
    (&[80], "over_the_bound_the_connection_with_the_most_is_disconnected"),
    (&[82, 102], "silent_peers_are_closed_for_their_age_alone_and_honest_ones_get_in"),
    (&[98], "an_end_without_close_notify_is_abnormal_and_nothing_more_is_delivered"),
    (&[98], "records_may_be_small_the_end_is_in_order_and_a_damaged_record_gets_an_alert"),
    (&[101], "empty_records_around_a_close_notify_end_their_connection_alone"),
    (&[101], "a_server_s_empty_records_end_the_connection_that_was_dialed_alone"),
    (&[102], "each_of_more_clients_than_there_are_places_gets_in_over_ws"),
    (&[102], "each_of_more_clients_than_there_are_places_gets_in_over_wss"),
    (&[102], "silent_peers_of_one_address_have_an_eighth_of_the_places"),
    (&[103], "names_that_never_resolve_and_are_redialed_cost_other_names_nothing"),
];

/// Attacks on what a loop has no code for, and who stands against them.
const NOT_HERE: &[(&[u16], &str)] = &[
    (
        &[2, 5, 10, 11, 13, 14, 16, 18, 30, 32, 35, 83, 84, 85, 91],
        "the core: its tests with these tags",
    ),
    (&[26, 27, 28], "the core draws the masking keys and the keys of requests"),
    (&[37, 39, 40, 42, 44, 45, 46, 47, 48, 49, 50, 51, 52], "the core compresses and inflates"),
    (&[54, 55, 56, 61, 62, 64, 66, 93, 95, 96], "the core's handshakes: `tests/handshake`"),
    (&[71, 72, 76], "the application decides about each request"),
    (&[74, 75], "the loop follows no redirect and dials by no proxy"),
    (&[81], "the loop has no futures"),
    (&[86], "the core calculates with times; the loop's clock is an `Instant`"),
    (&[97], "`Backoff` of tickwire-parts"),
    (&[87, 88, 89, 90, 99], "Engine.IO and Socket.IO, which no code of ours speaks"),
    (&[100], "the core's deadlines, which count no bytes yet"),
];

/// Writes `bytes`, and reads until the server has shut the stream.
fn answer(mut stream: impl Read + Write, bytes: &[u8]) -> Vec<u8> {
    stream.write_all(bytes).unwrap();
    let mut read = Vec::new();
    // The server may close a stream of which it has not read everything: that resets it.
    let _ = stream.read_to_end(&mut read);
    read
}

fn config() -> Config {
    Config { max_fragments: 3, ..Config::default() }
}

fn each_attack_is_answered<S: Read + Write>(server: &Running<()>, open: impl Fn() -> S) {
    for (number, bytes, expected) in FRAMES {
        assert_eq!(&answer(open(), bytes), expected, "A{number:02} {bytes:x?}");
    }
    server.wait_for(|counts| counts.open == 0);
}

#[test]
fn attacks_by_frames_have_their_codes_over_ws() {
    let server = echo(Settings::default(), config());
    each_attack_is_answered(&server, || server.raw_open());
}

#[cfg(feature = "rustls")]
#[test]
fn attacks_by_frames_have_their_codes_over_wss() {
    let keys = crate::tls::keys(true);
    let server = crate::tls::secure_echo(config(), &keys);
    each_attack_is_answered(&server, || crate::tls::by_rustls(&server, &keys));
}

/// A second request follows at once. It is neither answered nor taken for frames.
#[test]
fn attacks_by_requests_are_rejected_once() {
    let server = echo(Settings::default(), config());
    for (number, line, other, status) in REQUESTS {
        let request = REQUEST.replace(line, other);
        assert_ne!(request, REQUEST, "A{number:02}");
        let back = answer(server.raw(), [&*request, REQUEST].concat().as_bytes());
        let back = String::from_utf8(back).unwrap();
        assert!(back.starts_with(&format!("HTTP/1.1 {status} ")), "A{number:02} {back}");
        assert_eq!(back.matches("HTTP/1.1 ").count(), 1, "A{number:02} {back}");
    }
    server.wait_for(|counts| counts.accepted_now == 0);
}

/// A53. Heads without end, of one line and of many, arrive byte by byte. Each gets one response at
/// its limit, and what follows is read only for as long as this response needs. A head of `len`
/// bytes within the limits arrives in pieces of 128. With `TESTS=all` this head has 10 MiB, and
/// arrives byte by byte: a loop that began at its start for each read would take hours.
fn each_head_trickles<S: Read + Write>(
    len: usize,
    serve: impl Fn(Config) -> Running<()>,
    open: impl Fn(&Running<()>) -> S + Sync,
) {
    const LINE: &str = "GET /feed HTTP/1.1\r\n";
    let long = format!("{LINE}X: ");
    let config = Config { handshake_timeout: PATIENCE, ..config() };
    let server = serve(config.clone());
    let trickle_by = |piece: usize, stream: &mut S, text: &str| {
        let mut pieces = text.as_bytes().chunks(piece);
        pieces.all(|piece| stream.write_all(piece).and_then(|()| stream.flush()).is_ok())
    };
    let trickle = |stream: &mut S, text: &str| trickle_by(1, stream, text);
    thread::scope(|scope| {
        for (start, piece, times, status) in [
            ("", "a", config.max_request_line + 3, "414"),
            (LINE, "X: y\r\n", config.max_headers + 1, "431"),
            (&*long, "a", config.max_head, "431"),
        ] {
            let (server, open, trickle) = (&server, &open, &trickle);
            scope.spawn(move || {
                let mut stream = open(server);
                assert!(trickle(&mut stream, start) && trickle(&mut stream, &piece.repeat(times)));
                let head = read_head(&mut stream);
                assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{head}");
                let began = Instant::now();
                while trickle(&mut stream, piece) {
                    assert!(began.elapsed() < PATIENCE, "it is read without end");
                    thread::sleep(Duration::from_millis(1));
                }
            });
        }
        let (length, piece) = testkit::sampled((10 << 20, 1), (len, 128));
        let roomy = serve(Config { max_head: 2 * length, ..config.clone() });
        let (mut stream, began) = (open(&roomy), Instant::now());
        let (line, rest) = REQUEST.split_at(LINE.len());
        let long = format!("{line}X: {}\r\n{rest}", "y".repeat(length));
        assert!(trickle_by(piece, &mut stream, &long));
        assert!(read_head(&mut stream).starts_with("HTTP/1.1 101 "));
        assert!(began.elapsed() < PATIENCE);
    });
    let counts = server.wait_for(|counts| counts.accepted_now == 0);
    assert_eq!((counts.accepted, counts.handshakes_failed), (3, 3));
}

#[test]
fn a_head_that_trickles_in_ends_at_its_limit_over_ws() {
    each_head_trickles(3 << 20, |config| echo(Settings::default(), config), Running::raw);
}

#[cfg(feature = "rustls")]
#[test]
fn a_head_that_trickles_in_ends_at_its_limit_over_wss() {
    let keys = crate::tls::keys(true);
    let serve = |config| crate::tls::secure_echo(config, &keys);
    each_head_trickles(384 << 10, serve, |server| crate::tls::raw_by_rustls(server, &keys));
}

/// A65: the first frame comes in the segment of the request.
#[test]
fn a_frame_behind_the_request_is_a_frame() {
    let server = echo(Settings::default(), config());
    let bytes = [REQUEST.as_bytes(), &frame(b"a"), b"\x88\x80\0\0\0\0"].concat();
    assert!(answer(server.raw(), &bytes).ends_with(b"\r\n\r\n\x82\x01a\x88\0"));
}

#[test]
fn each_attack_of_the_list_has_a_test_or_a_reason() {
    let sources = [
        include_str!("attacks.rs"),
        include_str!("dialing.rs"),
        include_str!("fairness.rs"),
        include_str!("limits.rs"),
        include_str!("messages.rs"),
        include_str!("panics.rs"),
        include_str!("requests.rs"),
        include_str!("slow.rs"),
        include_str!("time.rs"),
        include_str!("tls.rs"),
        include_str!("../allocations.rs"),
        include_str!("../../src/tests/handshakes.rs"),
        include_str!("../../src/tests/names.rs"),
        include_str!("../../src/tests/stall.rs"),
    ];
    for (numbers, test) in ELSEWHERE {
        let begin = format!("fn {test}(");
        assert!(sources.iter().any(|source| source.contains(&begin)), "{numbers:?} {test}");
    }
    let tables = ELSEWHERE.iter().chain(NOT_HERE).flat_map(|(numbers, _)| *numbers).copied();
    let mut all: Vec<u16> = tables.chain([65]).collect();
    all.extend(FRAMES.iter().map(|row| row.0));
    all.extend(REQUESTS.iter().map(|row| row.0));
    all.sort_unstable();
    all.dedup();
    assert_eq!(all, (1..=103).collect::<Vec<_>>());
}
