//! The list of attacks over the loop. The core and the handshakes stand against them by themselves,
//! and the crate's own `tests/attacks` shows it. Here each names the test that makes it on a loop:
//! on its sockets, its turns, its limits and its handles.
use crate::common::{LONG, REQUEST, Running, echo, head};
use std::{
    env,
    io::{Read, Write},
    thread,
    time::Instant,
};
use tickwire::Config;
use tickwire_loop::Settings;

/// Attacks whose bytes are among the vectors, those on what the loop does itself, and the test that
/// makes each.
const ELSEWHERE: &[(&[u16], &str)] = &[
    (
        &[1, 3, 4, 6, 7, 8, 9, 12, 15, 17, 19, 29, 34, 36, 38, 41, 43, 94],
        "frames_have_the_events_the_replies_and_the_codes_of_the_vectors",
    ),
    (&[57, 58, 59, 60, 65, 67, 69, 70, 92], "requests_have_the_responses_of_the_vectors"),
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
    (&[78, 79], "random_scripts_break_no_promise"),
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
    (&[2, 5, 10, 11, 13, 14, 16, 18, 30, 32, 35, 83, 84, 85, 91], "the core: `tests/attacks`"),
    (&[26, 27, 28], "the core draws the masking keys and the keys of requests"),
    (&[37, 39, 40, 42, 44, 45, 46, 47, 48, 49, 50, 51, 52], "the core compresses and inflates"),
    (&[54, 55, 56, 61, 62, 64, 66, 93, 95, 96], "the core's handshakes: `tests/attacks`"),
    (&[71, 72, 76], "the application decides about each request"),
    (&[74, 75], "the loop follows no redirect and dials by no proxy"),
    (&[81], "the loop has no futures"),
    (&[86], "the core calculates with times; the loop's clock is an `Instant`"),
    (&[97], "`Backoff` of tickwire-parts"),
    (&[87, 88, 89, 90, 99], "Engine.IO and Socket.IO, which no code of ours speaks"),
    (&[100], "the core's deadlines, which count no bytes yet"),
];

fn config() -> Config {
    Config { max_fragments: 3, ..Config::default() }
}

/// A53. Heads without end, of one line and of many, arrive byte by byte. Each gets one response at
/// its limit, and what follows is read only for as long as this response needs. A head of `len`
/// bytes within the limits arrives in the same way. With `TESTS=all` this head has 10 MiB: a loop
/// that began at its start for each read would take hours.
fn each_head_trickles<S: Read + Write>(
    len: usize,
    serve: impl Fn(Config) -> Running<()>,
    open: impl Fn(&Running<()>) -> S + Sync,
) {
    const LINE: &str = "GET /feed HTTP/1.1\r\n";
    let long = format!("{LINE}X: ");
    let config = Config { handshake_timeout: LONG, ..config() };
    let server = serve(config.clone());
    let trickle = |stream: &mut S, text: &str| {
        text.bytes().all(|byte| stream.write_all(&[byte]).and_then(|()| stream.flush()).is_ok())
    };
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
                let head = head(&mut stream);
                assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{head}");
                let (began, more) = (Instant::now(), piece.repeat(1000));
                while trickle(&mut stream, &more) {
                    assert!(began.elapsed() < LONG, "it is read without end");
                }
            });
        }
        let length = if env::var_os("TESTS").is_some_and(|t| t == "all") { 10 << 20 } else { len };
        let roomy = serve(Config { max_head: 2 * length, ..config.clone() });
        let (mut stream, began) = (open(&roomy), Instant::now());
        let (line, rest) = REQUEST.split_at(LINE.len());
        assert!(trickle(&mut stream, &format!("{line}X: {}\r\n", "y".repeat(length))));
        assert!(trickle(&mut stream, rest));
        assert!(head(&mut stream).starts_with("HTTP/1.1 101 "));
        assert!(began.elapsed() < LONG);
    });
    let counts = server.wait_for(|counts| counts.accepted_now == 0);
    assert_eq!((counts.accepted, counts.handshakes_failed), (3, 3));
}

#[test]
fn a_head_that_trickles_in_ends_at_its_limit_over_ws() {
    each_head_trickles(256 << 10, |config| echo(Settings::default(), config), Running::raw);
}

#[cfg(feature = "rustls")]
#[test]
fn a_head_that_trickles_in_ends_at_its_limit_over_wss() {
    let keys = crate::tls::keys(true);
    let serve = |config| crate::tls::secure_echo(config, &keys);
    each_head_trickles(32 << 10, serve, |server| crate::tls::raw_by_rustls(server, &keys));
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
        include_str!("vectors.rs"),
        include_str!("../allocations.rs"),
        include_str!("../model/main.rs"),
        include_str!("../../src/tests/handshakes.rs"),
        include_str!("../../src/tests/names.rs"),
        include_str!("../../src/tests/stall.rs"),
    ];
    for (numbers, test) in ELSEWHERE {
        let begin = format!("fn {test}(");
        assert!(sources.iter().any(|source| source.contains(&begin)), "{numbers:?} {test}");
    }
    let tables = ELSEWHERE.iter().chain(NOT_HERE).flat_map(|(numbers, _)| *numbers).copied();
    let mut all: Vec<u16> = tables.collect();
    all.sort_unstable();
    all.dedup();
    assert_eq!(all, (1..=103).collect::<Vec<_>>());
}
