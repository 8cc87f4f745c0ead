#![allow(clippy::unwrap_used)]

use super::*;
use crate::proto::{
    close::CloseCode,
    config::{Heartbeat, Negotiated},
    connection::{Report, Step, out_buffer::Outgoing},
    entropy::Entropy,
    error::RecvError,
    message::Message,
    time::Time,
};
use alloc::{format, string::String, vec, vec::Vec};
use bytes::Buf;
use core::time::Duration;
use testkit::Rng;

/// Makes masking keys from bytes that count up, so that a key used twice shows on the wire.
struct Counting(u8);

impl Entropy for Counting {
    fn fill(&mut self, dest: &mut [u8]) {
        for byte in dest {
            self.0 = self.0.wrapping_add(1);
            *byte = self.0;
        }
    }
}

fn seconds(n: u64) -> Time {
    Time::new(Duration::from_secs(n))
}

/// One end of the pair. `log` has the results of all calls. If `sleeps`, the connection becomes
/// dormant whenever it can; otherwise never. `slept` counts how often it became dormant.
struct End {
    conn: Option<Connection>,
    config: Config,
    sleeps: bool,
    slept: usize,
    log: Vec<String>,
}

impl End {
    fn new(role: Role, config: &Config, sleeps: bool) -> Self {
        let conn = match role {
            Role::Server => Connection::server(config, Negotiated::default()),
            Role::Client => Connection::client(config, Negotiated::default(), Counting(0)),
        };
        let config = config.clone();
        Self { conn: Some(conn), config, sleeps, slept: 0, log: Vec::new() }
    }
}

fn all(mut out: Outgoing<'_>) -> Vec<u8> {
    let bytes = out.copy_to_bytes(out.remaining());
    bytes.to_vec()
}

/// Runs one script on a pair of ends. Returns both logs, and how often an end was dormant.
/// `sleeps`: whether idle connections become dormant between two calls.
fn script(sleeps: bool, config: &Config, seed: u64) -> (Vec<String>, Vec<String>, usize) {
    let mut rng = Rng::new(seed);
    let mut ends = [Role::Server, Role::Client].map(|role| End::new(role, config, sleeps));
    let mut now = 0;
    for _ in 0..200 {
        let a = rng.below(2);
        let what = rng.below(8);
        let len = rng.below(300);
        let step = |conn: &mut Connection| match what {
            0..=2 => format!("{:?}", conn.sender_mut().feed(Message::Binary(&vec![7; len]))),
            3 => format!("{:?}", conn.sender_mut().ping(&[1, 2, 3])),
            4 => format!("{:?}", conn.sender_mut().measure_rtt(seconds(now))),
            5 => format!("{:?}", conn.sender_mut().feed_first("first")),
            6 => format!("{:?} {:?}", conn.handle_timeout(seconds(now)), conn.poll_timeout()),
            _ => format!("{:?}", conn.sender().fed()),
        };
        let said = run(&mut ends[a], step);
        ends[a].log.push(said);
        now += rng.below(3);
        // Delivers this end's bytes to the peer in two parts, cut at random.
        let bytes = run(&mut ends[a], |conn| all(conn.sender_mut().outgoing()));
        let cut = rng.below(bytes.len() + 1);
        for part in [&bytes[..cut], &bytes[cut..]] {
            let heard = run(&mut ends[1 - a], |conn| hear(conn, part, seconds(now)));
            ends[1 - a].log.extend(heard);
        }
        let at = run(&mut ends[a], |conn| {
            let tx = conn.sender();
            format!("{:?} {} {:?} {}", tx.fed(), tx.is_written(tx.fed()), tx.rtt(), tx.dropped())
        });
        #[cfg(feature = "counters")]
        let at = run(&mut ends[a], |conn| {
            format!("{at} {:?} {:?}", conn.sender().counters(), conn.receiver().counters())
        });
        ends[a].log.push(at);
    }
    let [server, client] = ends;
    (server.log, client.log, server.slept + client.slept)
}

/// Calls `f` with the connection of `end`. If `end.sleeps` and the connection is idle afterwards,
/// makes it dormant and active again.
fn run<R>(end: &mut End, f: impl FnOnce(&mut Connection) -> R) -> R {
    let mut conn = end.conn.take().unwrap();
    let result = f(&mut conn);
    conn.receiver_mut().reclaim();
    if end.sleeps {
        conn = match conn.into_dormant() {
            Ok(dormant) => {
                end.slept += 1;
                dormant.into_connection(&end.config)
            }
            Err(conn) => conn,
        };
    }
    end.conn = Some(conn);
    result
}

fn hear(conn: &mut Connection, bytes: &[u8], now: Time) -> Vec<String> {
    let mut log = Vec::new();
    let mut rest = bytes;
    loop {
        match conn.step() {
            Ok(Step::NeedInput) if rest.is_empty() => break,
            Ok(Step::NeedInput) => {
                let room = conn.receiver_mut().spare_mut();
                let n = room.len().min(rest.len());
                room[..n].copy_from_slice(&rest[..n]);
                conn.receiver_mut().commit(n);
                conn.receiver_mut().set_read(Some(now), None);
                rest = &rest[n..];
            }
            Ok(Step::Closed) | Err(_) => break,
            Ok(_) => log.push(format!("{:?}", conn.receiver().event())),
        }
    }
    log
}

#[test]
fn a_connection_that_is_dormant_in_between_behaves_like_one_that_never_is() {
    let second = Duration::from_secs(1);
    let heartbeat = Some(Heartbeat::new(5 * second, 60 * second));
    let configs = [
        Config::default(),
        Config { heartbeat, ..Config::default() },
        Config { data_timeout: Some(1000 * second), ..Config::default() },
        Config { idle_message: Some((10 * second, "alive".into())), ..Config::default() },
    ];
    for config in configs {
        for seed in 0..if cfg!(miri) { 1 } else { 40 } {
            let (server, client, slept) = script(true, &config, seed);
            let (whole_server, whole_client, never) = script(false, &config, seed);
            assert!(slept > 100 && never == 0, "{slept} {never}");
            assert_eq!(server, whole_server);
            assert_eq!(client, whole_client);
        }
    }
}

#[test]
fn a_connection_that_is_not_idle_stays_as_it_is() {
    let server = || Connection::server(&Config::default(), Negotiated::default());
    let mut has_output = server();
    has_output.sender_mut().feed("unsent").unwrap();
    let mut has_part = server();
    hear(&mut has_part, b"\x82", Time::ZERO);
    let mut in_message = server();
    hear(&mut in_message, b"\x02\x80\x01\x02\x03\x04", Time::ZERO);
    let mut at_eof = server();
    at_eof.receiver_mut().end_of_stream();
    let mut closing = server();
    closing.sender_mut().close(CloseCode::NORMAL).unwrap();
    all(closing.sender_mut().outgoing());
    let mut paused = server();
    paused.set_paused(true);
    let mut broken = server();
    broken.report(Report::WriteFailed);
    let mut chunked = server();
    let chunk = crate::proto::message::Chunk {
        kind: crate::proto::message::DataKind::Binary,
        first: true,
        data: b"a",
        last: false,
    };
    chunked.sender_mut().feed_chunk(chunk).unwrap();
    all(chunked.sender_mut().outgoing());
    // The stream holds a byte, but then accepts more bytes. So no deadline on writing runs.
    let mut unflushed = server();
    unflushed.sender_mut().set_unflushed(1);
    unflushed.sender_mut().feed("accepted").unwrap();
    all(unflushed.sender_mut().outgoing());
    assert_eq!(unflushed.poll_timeout(), None);
    let open = [has_output, has_part, in_message, at_eof, paused, chunked, unflushed];
    for conn in open.into_iter().chain([closing, broken]) {
        assert!(conn.into_dormant().is_err());
    }
    assert!(server().into_dormant().is_ok());
}

/// A message arrives, then only Pings, which are no data.
#[test]
fn the_silence_of_a_peer_goes_on_while_the_connection_is_dormant() {
    let timeout = Duration::from_secs(10);
    let config = Config { data_timeout: Some(timeout), ..Config::default() };
    let [whole, dormant] = [false, true].map(|sleeps| {
        let mut end = End::new(Role::Server, &config, sleeps);
        run(&mut end, |conn| hear(conn, b"\x82\x81\x00\x00\x00\x00x", seconds(0)));
        let over = (0..60).find(|&now| {
            run(&mut end, |conn| {
                hear(conn, b"\x89\x80\x00\x00\x00\x00", seconds(now));
                all(conn.sender_mut().outgoing());
                assert_eq!(conn.handle_timeout(seconds(now)), Ok(()));
                conn.report(Report::ReadBlocked);
                conn.handle_timeout(seconds(now)) == Err(RecvError::DataTimeout)
            })
        });
        assert_eq!(end.slept > 5, sleeps);
        over
    });
    assert_eq!((whole, dormant), (Some(10), Some(10)));
}
