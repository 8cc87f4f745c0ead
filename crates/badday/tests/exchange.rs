//! The exchange, without sockets: what each fault looks like to a client, what the rules do, and
//! what the report says.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
use badday::{
    Certificate, ConnectionId, Day, Dialed, Exchange, Heard, Reply, Report, Said, Shape, days,
};
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);
/// The quiet time before most events.
const QUIET: Duration = Duration::from_secs(600);
const SUBSCRIBE: &str =
    r#"{"method":"SUBSCRIBE","params":["btcusdt@depth","ethusdt@depth"],"id":1}"#;

fn day(name: &str) -> Day {
    days::named(name).unwrap_or_else(|| panic!("{name}"))
}

/// A client that does what a test says.
struct Client {
    exchange: Exchange,
    now: Duration,
}

impl Client {
    fn of(name: &str) -> Self {
        Self { exchange: Exchange::new(day(name), 1), now: Duration::ZERO }
    }

    fn ask(&mut self, target: &str, upgrade: bool) -> (ConnectionId, Reply) {
        self.ask_at(0, target, upgrade)
    }

    fn ask_at(&mut self, address: usize, target: &str, upgrade: bool) -> (ConnectionId, Reply) {
        match self.exchange.dial(self.now, address) {
            Dialed::Open(id) => (id, self.exchange.request(self.now, id, target, upgrade)),
            other => panic!("{other:?}"),
        }
    }

    fn connect(&mut self) -> ConnectionId {
        let (id, reply) = self.ask("/ws", true);
        assert_eq!(reply, Reply::Upgrade);
        id
    }

    fn say(&mut self, id: ConnectionId, text: &str) {
        self.exchange.heard(self.now, id, Heard::Text(text));
    }

    fn subscribed(&mut self) -> ConnectionId {
        let id = self.connect();
        self.say(id, SUBSCRIBE);
        id
    }

    fn status(&mut self, target: &str, upgrade: bool) -> (u16, Vec<(&'static str, String)>) {
        match self.ask(target, upgrade).1 {
            Reply::Http { status, headers, .. } => (status, headers),
            other => panic!("{other:?}"),
        }
    }

    fn snapshot(&mut self, symbol: &str) -> u64 {
        match self.ask(&format!("/api/v3/depth?symbol={symbol}&limit=1000"), false).1 {
            Reply::Http { status: 200, body, .. } => {
                let body: serde_json::Value = serde_json::from_str(&body).unwrap();
                body["lastUpdateId"].as_u64().unwrap()
            }
            other => panic!("{other:?}"),
        }
    }

    /// Lets time pass until so much later, answers Pings, and returns what was said.
    fn pass(&mut self, time: Duration) -> Vec<(ConnectionId, Said)> {
        let until = self.now + time;
        let mut said = Vec::new();
        while self.now < until {
            self.now = self.exchange.poll_timeout().min(until).max(self.now);
            while let Some((id, news)) = self.exchange.poll(self.now) {
                if news == Said::Ping {
                    self.exchange.heard(self.now, id, Heard::Pong);
                }
                said.push((id, news));
            }
            if self.now == self.exchange.end() {
                break;
            }
        }
        said
    }

    fn texts(&mut self, time: Duration) -> Vec<serde_json::Value> {
        let said = self.pass(time);
        let texts = said.iter().filter_map(|(_, said)| match said {
            Said::Text(text) => {
                Some(serde_json::from_str(text).unwrap_or_else(|_| text.clone().into()))
            }
            _ => None,
        });
        texts.collect()
    }
}

fn ends(said: &[(ConnectionId, Said)]) -> Vec<Said> {
    let ends = said.iter().filter(|(_, said)| !matches!(said, Said::Text(_) | Said::Ping));
    ends.map(|(_, said)| said.clone()).collect()
}

#[test]
fn a_client_that_is_back_at_once_and_takes_snapshots_passes() {
    let mut client = Client::of("binance-1008");
    client.subscribed();
    client.snapshot("BTCUSDT");
    client.snapshot("ETHUSDT");
    while client.now < client.exchange.end() {
        let said = client.pass(SECOND);
        if !ends(&said).is_empty() {
            assert_eq!(ends(&said), [Said::Close(1008, "Pong timeout")]);
            client.subscribed();
            client.snapshot("BTCUSDT");
            client.snapshot("ETHUSDT");
        }
    }
    let report = client.exchange.report();
    assert_eq!(report.complaints(), [""; 0], "{report}");
    assert_eq!((report.dials, report.snapshots, report.outages.len()), (4, 8, 3));
    assert_eq!(report.delivered.never, 0);
    assert!(report.delivered.live > 1_500, "{report}");
}

#[test]
fn a_client_that_waits_a_minute_was_blind_for_it() {
    let mut client = Client::of("binance-1008");
    client.subscribed();
    client.pass(QUIET);
    client.now += MINUTE;
    client.subscribed();
    let report = client.exchange.report();
    assert_eq!((report.blind(), report.worst()), (MINUTE, MINUTE));
    assert_eq!(report.outages[0].after, "hummingbot/hummingbot#7044");
    assert_eq!(report.complaints().len(), 3, "blind, and two books without a snapshot: {report}");
}

#[test]
fn six_messages_in_a_second_end_the_connection_and_three_such_ends_ban() {
    let mut client = Client::of("five-a-second");
    for round in 1..=3 {
        let id = client.connect();
        for _ in 0..5 {
            client.say(id, SUBSCRIBE);
        }
        assert_eq!(ends(&client.pass(SECOND / 2)), [], "round {round}");
        client.say(id, SUBSCRIBE);
        let said = client.pass(SECOND);
        assert_eq!(ends(&said)[0], Said::Close(1008, "Too many requests"));
    }
    let report = client.exchange.report();
    assert!(report.banned.is_some(), "{report}");
    assert_eq!(client.status("/ws", true).0, 418);
    client.pass(3 * MINUTE);
    client.connect();
}

#[test]
fn who_redials_without_a_pause_is_refused_and_banned() {
    let mut client = Client::of("binance-24h");
    for _ in 0..300 {
        client.connect();
    }
    assert_eq!(client.status("/ws", true).0, 429);
    for _ in 0..3 {
        client.now += SECOND;
        client.ask("/ws", true);
    }
    let report = client.exchange.report();
    let why = report.banned.unwrap().why;
    assert!(why.starts_with("came back 29"), "{why}");
}

#[test]
fn a_connection_ends_after_a_day_whatever_its_client_does() {
    let mut client = Client::of("binance-24h");
    client.now += HOUR;
    client.exchange.poll(client.now);
    client.subscribed();
    assert_eq!(ends(&client.pass(24 * HOUR - SECOND)), []);
    assert_eq!(ends(&client.pass(SECOND)), [Said::Cut]);
}

#[test]
fn the_speed_shortens_quiet_times_and_lives_and_nothing_else() {
    let minutes = |speed| day("binance-1008").length(speed).as_secs_f64() / 60.0;
    assert_eq!(minutes(1), 10.0 + 6.0 + 7.0 + 6.0);
    assert!((minutes(23) - 7.0).abs() < 0.001);
    let mut exchange = Exchange::new(day("binance-24h"), 86_400);
    let Dialed::Open(id) = exchange.dial(Duration::ZERO, 0) else { panic!() };
    assert_eq!(exchange.request(Duration::ZERO, id, "/ws/btcusdt@depth", true), Reply::Upgrade);
    let mut said = Vec::new();
    while exchange.poll_timeout() < SECOND + SECOND / 100 {
        let now = exchange.poll_timeout();
        said.extend(std::iter::from_fn(|| exchange.poll(now)));
    }
    assert_eq!(ends(&said), [Said::Cut]);
    let updates = said.iter().filter(|(_, said)| matches!(said, Said::Text(_))).count();
    assert_eq!(updates, 9, "one each 100 ms, and one was lost");
}

#[test]
fn a_text_is_wanted_each_half_minute() {
    let mut client = Client::of("okx-heartbeat");
    let id = client.connect();
    for _ in 0..4 {
        client.say(id, "ping");
        assert_eq!(client.texts(20 * SECOND)[0], "pong");
    }
    let silent = Said::Close(4004, "No data received in 30s.");
    assert_eq!(ends(&client.pass(10 * SECOND)), [silent]);
    let report = client.exchange.report();
    assert_eq!(report.expelled, 1);
    assert!(report.complaints()[1].starts_with("1 connections were ended for what"), "{report}");
}

#[test]
fn a_ping_wants_its_pong() {
    let mut exchange = Exchange::new(day("binance-1008"), 1);
    let Dialed::Open(id) = exchange.dial(Duration::ZERO, 0) else { panic!() };
    exchange.request(Duration::ZERO, id, "/ws", true);
    assert_eq!(exchange.poll(20 * SECOND), Some((id, Said::Ping)));
    let said: Vec<_> = std::iter::from_fn(|| exchange.poll(80 * SECOND)).collect();
    assert_eq!(ends(&said), [Said::Close(1008, "Pong timeout")]);
}

#[test]
fn a_silent_connection_says_nothing_for_ever() {
    let mut client = Client::of("half-open");
    let id = client.connect();
    client.say(id, r#"{"type":"subscribe","product_ids":["BTC-USD"],"channels":["full"]}"#);
    let said = client.pass(QUIET);
    assert_eq!(ends(&said), [Said::Freeze]);
    client.say(id, r#"{"type":"ping"}"#);
    client.exchange.heard(client.now, id, Heard::Ping);
    assert_eq!(client.pass(MINUTE), []);
    assert_eq!(client.exchange.report().worst(), MINUTE);
    client.connect();
}

/// Of two servers the one at address 0 stands still, for two minutes.
#[test]
fn a_frozen_server_lets_tcp_connect_until_it_starts_anew_and_the_other_serves() {
    let mut client = Client::of("frozen-server");
    client.subscribed();
    client.pass(QUIET);
    let Dialed::Stuck(id) = client.exchange.dial(client.now, 0) else { panic!() };
    assert_eq!(client.exchange.request(client.now, id, "/ws", true), Reply::Nothing);
    assert!(client.exchange.serves(), "at address 1");
    assert!(matches!(client.exchange.dial(client.now, 1), Dialed::Open(_)));
    let said = client.pass(2 * MINUTE);
    // The subscribed connection, and the stuck one.
    assert_eq!(ends(&said), [Said::Reset, Said::Reset], "started anew");
    client.connect();
}

#[test]
fn nobody_listens_while_a_server_restarts() {
    let mut client = Client::of("rolling-restarts");
    client.subscribed();
    assert_eq!(ends(&client.pass(QUIET)), [Said::Close(1012, "")]);
    assert_eq!(client.exchange.dial(client.now, 0), Dialed::Refused);
    assert!(matches!(client.exchange.dial(client.now, 1), Dialed::Open(_)));
    client.pass(20 * SECOND);
    client.subscribed();
    assert_eq!(client.exchange.report().outages[0].excused, Duration::ZERO);
}

#[test]
fn an_announced_end_spares_the_connections_that_were_opened_after_it() {
    let mut client = Client::of("rolling-restarts");
    // Behind both restarts and a quiet time.
    client.now = 2 * QUIET + 179 * SECOND;
    let old = client.subscribed();
    let said = client.pass(2 * SECOND);
    let shutdown =
        |said: &Said| matches!(said, Said::Text(text) if text.contains("serverShutdown"));
    assert!(said.iter().any(|(id, said)| *id == old && shutdown(said)), "{said:?}");
    let new = client.subscribed();
    let said = client.pass(60 * SECOND);
    assert_eq!(ends(&said), [Said::Close(1001, "")]);
    assert!(said.contains(&(old, Said::Close(1001, ""))) && old != new);
    assert_eq!(client.exchange.report().outages, []);
}

/// Four times new connections are refused, behind a quiet time each.
#[test]
fn retry_after_is_a_date_seconds_or_missing() {
    let mut client = Client::of("too-many-requests");
    client.pass(QUIET);
    // For 30 s, by date.
    let (status, headers) = client.status("/ws", true);
    assert_eq!(status, 429);
    assert_eq!(headers[0], ("Date", "Sat, 28 Nov 2026 00:10:00 GMT".into()));
    assert_eq!(headers[1], ("Retry-After", "Sat, 28 Nov 2026 00:10:30 GMT".into()));
    client.pass(30 * SECOND);
    client.subscribed();
    // The quiet time begins two minutes after the refusal did. Behind it: for 40 s, in seconds.
    client.pass(90 * SECOND + QUIET);
    let (_, headers) = client.status("/ws", true);
    assert_eq!(headers[1], ("Retry-After", "40".into()));
    // Again two minutes and a quiet time. Then twice without: there is only a Date.
    for without in [429, 503] {
        client.pass(120 * SECOND + QUIET);
        let (status, headers) = client.status("/ws", true);
        assert_eq!(status, without);
        assert_eq!(headers.len(), 1);
    }
    // The one subscribed connection was cut as the second refusal began.
    let report = client.exchange.report();
    assert_eq!(report.outages[0].excused, 43 * SECOND, "as long as it was refused: {report}");
    assert_eq!(report.strikes, 0);
}

#[test]
fn the_certificate_lapses_for_new_connections() {
    let mut client = Client::of("lapsed-certificate");
    client.subscribed();
    client.pass(QUIET);
    let Dialed::Open(id) = client.exchange.dial(client.now, 0) else { panic!() };
    assert_eq!(client.exchange.certificate(id), Certificate::Lapsed);
    client.exchange.heard(client.now, id, Heard::End);
    assert_eq!(client.exchange.report().dials, 2);
    client.pass(10 * MINUTE);
    let Dialed::Open(id) = client.exchange.dial(client.now, 0) else { panic!() };
    assert_eq!(client.exchange.certificate(id), Certificate::Valid);
}

#[test]
fn a_mute_subscription_is_answered_and_brings_nothing() {
    let mut client = Client::of("mute-stream");
    let id = client.connect();
    let subscribe =
        r#"{"type":"subscribe","product_ids":["BTC-USD","ETH-USD"],"channels":["full"]}"#;
    client.say(id, subscribe);
    client.pass(QUIET);
    client.say(id, subscribe);
    let texts = client.texts(MINUTE);
    assert_eq!(texts[0]["type"], "subscriptions");
    assert!(texts.iter().all(|text| text["product_id"] != "BTC-USD"));
    assert!(texts.iter().any(|text| text["product_id"] == "ETH-USD"));
    assert_eq!(client.exchange.report().worst(), MINUTE);
}

#[test]
fn a_stale_snapshot_ends_before_the_gap() {
    let mut client = Client::of("stale-snapshot");
    client.subscribed();
    client.snapshot("BTCUSDT");
    client.snapshot("ETHUSDT");
    client.pass(QUIET + 10 * SECOND);
    let stale = client.snapshot("BTCUSDT");
    assert!(client.exchange.truth(0).1 > stale);
    assert_eq!(client.exchange.report().complaints().len(), 1);
    client.pass(2 * MINUTE);
    assert!(client.exchange.is_seen());
    assert_eq!(client.snapshot("BTCUSDT"), client.exchange.truth(0).1);
    assert_eq!(client.exchange.report().complaints(), [""; 0]);
    assert_eq!(client.exchange.report().delivered.by_snapshot, 3);
}

#[test]
fn the_count_begins_anew() {
    let mut client = Client::of("count-anew");
    let id = client.connect();
    client.say(id, r#"{"type":"subscribe","product_ids":["BTC-USD"],"channels":["full"]}"#);
    client.pass(53 * SECOND);
    assert_eq!(client.exchange.truth(0).0, 1);
    assert_eq!(client.status("/products/BTC-USD/book", false).0, 503);
    client.pass(6 * SECOND);
    let (count, number) = client.exchange.truth(0);
    assert_eq!(count, 2);
    assert!(number < 15, "{number}");
    assert!(matches!(
        client.ask("/products/BTC-USD/book", false).1,
        Reply::Http { status: 200, .. }
    ));
}

#[test]
fn a_welcome_does_not_mean_that_the_key_is_good() {
    let mut client = Client::of("refused-key");
    client.now = QUIET;
    let id = client.connect();
    assert_eq!(client.texts(SECOND / 10)[0]["event"], "info");
    client.say(id, r#"{"event":"auth","apiKey":"k"}"#);
    assert_eq!(ends(&client.pass(SECOND)), [Said::Close(1008, "apikey: invalid")]);
    client.pass(5 * MINUTE);
    let id = client.connect();
    client.say(id, r#"{"event":"subscribe","channel":"book","symbol":"tBTCUSD"}"#);
    assert_eq!(client.texts(SECOND / 10)[1]["msg"], "log in first");
    client.say(id, r#"{"event":"auth","apiKey":"k"}"#);
    client.say(id, r#"{"event":"subscribe","channel":"book","symbol":"tBTCUSD"}"#);
    let texts = client.texts(6 * SECOND);
    assert_eq!(texts[0]["status"], "OK");
    assert_eq!(texts[1]["event"], "subscribed");
    assert_eq!((&texts[2][0], &texts[2][2]), (&1.into(), &1.into()), "the snapshot is number 1");
    assert_eq!(texts[3][2], 2);
}

#[test]
fn bybit_sends_a_snapshot_when_its_service_restarts() {
    let mut client = Client::of("bybit-restart");
    let id = client.connect();
    client.say(id, r#"{"req_id":"7","op":"subscribe","args":["orderbook.50.BTCUSDT"]}"#);
    let first = client.texts(SECOND / 10);
    assert_eq!((&first[0]["req_id"], &first[1]["type"]), (&"7".into(), &"snapshot".into()));
    let texts = client.texts(10 * MINUTE + SECOND);
    let snapshot = texts.iter().position(|text| text["type"] == "snapshot").unwrap();
    assert_eq!(texts[snapshot]["data"]["u"], 1);
    assert_eq!(texts[snapshot + 1]["data"]["u"], 2);
    assert_eq!(client.exchange.report().complaints(), [""; 0]);
}

#[test]
fn okx_links_each_update_to_the_last() {
    let mut client = Client::of("okx-heartbeat");
    let id = client.connect();
    client
        .say(id, r#"{"id":"1","op":"subscribe","args":[{"channel":"books","instId":"BTC-USDT"}]}"#);
    let texts = client.texts(11 * SECOND);
    assert_eq!(texts[0]["event"], "subscribe");
    assert_eq!(texts[1]["data"][0]["prevSeqId"], -1);
    for pair in texts[1..].windows(2) {
        assert_eq!(pair[1]["data"][0]["prevSeqId"], pair[0]["data"][0]["seqId"]);
    }
}

#[test]
fn binance_names_streams_in_its_target_too() {
    let mut client = Client::of("binance-1008");
    let (_, reply) = client.ask("/stream?streams=btcusdt@depth/ethusdt@depth@100ms", true);
    assert_eq!(reply, Reply::Upgrade);
    let texts = client.texts(12 * SECOND);
    assert_eq!(texts[0]["stream"], "btcusdt@depth");
    assert_eq!(texts[1]["data"]["s"], "ETHUSDT");
    let first = &texts[2]["data"]["U"];
    let last = &texts[2]["data"]["u"];
    assert_eq!(first.as_u64().unwrap() + 2, last.as_u64().unwrap());
    assert_eq!(client.status("/api/v3/depth?symbol=NOSUCH", false).0, 404);
}

/// What a dial comes to at both addresses.
fn both(client: &mut Client) -> [Option<u16>; 2] {
    [0, 1].map(|address| match client.ask_at(address, "/ws", true).1 {
        Reply::Upgrade => None,
        Reply::WrongSubprotocol => Some(101),
        Reply::Http { status, .. } => Some(status),
        Reply::Nothing => panic!(),
    })
}

#[test]
fn one_of_two_addresses_refuses_for_a_minute_and_then_the_other() {
    let mut client = Client::of("one-refuses");
    for status in [101, 403, 404, 401] {
        client.subscribed();
        assert!(ends(&client.pass(QUIET)).contains(&Said::Cut));
        assert_eq!(both(&mut client), [Some(status), None]);
        client.pass(MINUTE);
        assert_eq!(both(&mut client), [None, None]);
        client.pass(QUIET);
        assert_eq!(both(&mut client), [None, Some(status)]);
        client.pass(MINUTE);
    }
    assert_eq!(client.exchange.report().refused, 8);
    assert_eq!(client.exchange.report().outages[0].excused, Duration::ZERO);
}

#[test]
fn one_of_two_addresses_shows_another_certificate() {
    let mut client = Client::of("one-certificate");
    for shown in [Certificate::OtherName, Certificate::OtherAuthority] {
        for bad in [0, 1] {
            client.pass(QUIET);
            for address in [0, 1] {
                let Dialed::Open(id) = client.exchange.dial(client.now, address) else { panic!() };
                let expected = if address == bad { shown } else { Certificate::Valid };
                assert_eq!(client.exchange.certificate(id), expected);
                client.exchange.heard(client.now, id, Heard::End);
            }
            client.pass(MINUTE);
        }
    }
}

#[test]
fn one_of_two_addresses_ends_each_connection_after_a_second() {
    let mut client = Client::of("one-short-lives");
    for end in [Said::Close(1000, ""), Said::Cut, Said::Close(1011, "")] {
        client.pass(QUIET);
        let short = client.ask_at(0, "/ws", true).0;
        let long = client.ask_at(1, "/ws", true).0;
        let said = client.pass(SECOND);
        assert!(said.contains(&(short, end)), "{said:?}");
        client.exchange.heard(client.now, long, Heard::End);
        client.pass(QUIET + 2 * MINUTE - SECOND);
    }
}

#[test]
fn snapshots_alone_are_refused_and_who_comes_back_early_gets_a_strike() {
    let mut client = Client::of("snapshot-429");
    client.subscribed();
    client.pass(QUIET);
    client.subscribed();
    let target = "/api/v3/depth?symbol=BTCUSDT";
    let (status, headers) = client.status(target, false);
    assert_eq!((status, &headers[1]), (429, &("Retry-After", "20".into())));
    assert!(!client.exchange.serves(), "no right book");
    client.pass(10 * SECOND);
    assert_eq!(client.status(target, false).0, 429);
    client.pass(20 * SECOND);
    client.snapshot("BTCUSDT");
    let report = client.exchange.report();
    assert_eq!((report.refused, report.snapshots_refused, report.strikes), (0, 2, 1));
    assert_eq!((report.dials, report.snapshots), (2, 3));
}

#[test]
fn two_symbols_share_the_count_of_their_connection() {
    let mut client = Client::of("shared-count");
    let id = client.connect();
    for symbol in ["tBTCUSD", "tETHUSD"] {
        client.say(id, &format!(r#"{{"event":"subscribe","channel":"book","symbol":"{symbol}"}}"#));
    }
    let texts = client.texts(10 * MINUTE + 2 * SECOND);
    let numbers: Vec<_> = texts.iter().filter_map(|text| text[2].as_u64()).collect();
    let channels = texts.iter().filter_map(|text| text[0].as_u64());
    assert!(channels.clone().any(|channel| channel == 1) && channels.max() == Some(2));
    let missing: Vec<_> = numbers.windows(2).filter(|pair| pair[1] != pair[0] + 1).collect();
    assert_eq!(missing.len(), 1, "of the first symbol, and the other one's count shows it");
    assert_eq!(missing[0][1], missing[0][0] + 2);
}

#[test]
fn after_a_day_there_is_a_text_that_is_not_utf8() {
    let mut client = Client::of("bad-text");
    client.subscribed();
    assert_eq!(ends(&client.pass(24 * HOUR)), [Said::BadText]);
    client.subscribed();
    assert_eq!(client.exchange.report().outages[0].lasted, Duration::ZERO);
}

#[test]
fn a_quiet_book_repeats_its_number_and_then_jumps() {
    let mut client = Client::of("quiet-book");
    let id = client.connect();
    client.say(id, r#"{"op":"subscribe","args":[{"channel":"books","instId":"BTC-USDT"}]}"#);
    client.pass(QUIET);
    let before = client.exchange.truth(0).1;
    for text in client.texts(2 * MINUTE - SECOND) {
        let data = &text["data"][0];
        assert_eq!((&data["seqId"], &data["prevSeqId"]), (&before.into(), &before.into()));
        assert_eq!(data["bids"], serde_json::json!([]));
    }
    let texts = client.texts(SECOND + QUIET + SECOND);
    let numbers = |text: &serde_json::Value| {
        let data = &text["data"][0];
        (data["prevSeqId"].as_u64().unwrap(), data["seqId"].as_u64().unwrap())
    };
    let jump = texts.iter().find(|text| numbers(text).1 > numbers(text).0 + 1).unwrap();
    assert_eq!(numbers(jump).1, numbers(jump).0 + 2_000_001);
    assert_eq!(jump["data"][0]["bids"].as_array().unwrap().len(), 8, "all levels, each once");
    for pair in texts.windows(2) {
        assert_eq!(numbers(&pair[1]).0, numbers(&pair[0]).1);
    }
}

#[test]
fn a_subscription_stays_mute_on_a_new_connection_and_then_speaks_on_it() {
    let mut client = Client::of("mute-successor");
    let subscribe =
        r#"{"type":"subscribe","product_ids":["BTC-USD","ETH-USD"],"channels":["full"]}"#;
    let first = client.connect();
    client.say(first, subscribe);
    client.pass(QUIET);
    client.exchange.heard(client.now, first, Heard::End);
    let second = client.connect();
    client.say(second, subscribe);
    let of = |texts: Vec<serde_json::Value>, symbol| {
        texts.iter().filter(|text| text["product_id"] == symbol).count()
    };
    let texts = client.texts(3 * MINUTE - SECOND);
    assert!(of(texts.clone(), "ETH-USD") > 100);
    assert_eq!(of(texts, "BTC-USD"), 0);
    assert!(!client.exchange.serves());
    client.pass(SECOND);
    assert!(of(client.texts(2 * SECOND), "BTC-USD") > 0);
    assert_eq!(client.exchange.report().outages[0].excused, 3 * MINUTE);
}

#[test]
fn a_delisted_symbol_has_the_whole_batch_refused() {
    let mut client = Client::of("one-delisted");
    let batch = |symbols: &[&str], id: u64| {
        let params: Vec<_> = symbols.iter().map(|symbol| format!("{symbol}@depth")).collect();
        serde_json::json!({ "method": "SUBSCRIBE", "params": params, "id": id }).to_string()
    };
    let all = ["btcusdt", "ethusdt", "solusdt"];
    let id = client.connect();
    client.say(id, &batch(&all, 1));
    assert_eq!(client.texts(SECOND / 10)[0]["id"], 1);
    assert_eq!(ends(&client.pass(QUIET + 20 * SECOND)), [Said::Cut]);
    let id = client.connect();
    client.say(id, &batch(&all, 2));
    let texts = client.texts(2 * SECOND);
    assert_eq!((texts.len(), &texts[0]["id"]), (1, &2.into()), "no data of any: {texts:?}");
    assert!(texts[0]["error"]["msg"].is_string());
    client.say(id, &batch(&all[..2], 3));
    let texts = client.texts(2 * SECOND);
    assert!(texts.iter().any(|text| text["s"] == "ETHUSDT"));
    assert!(texts.iter().all(|text| text["s"] != "SOLUSDT"));
    assert!(client.exchange.is_seen(), "SOLUSDT is wanted of nobody");
    assert_eq!(client.status("/api/v3/depth?symbol=SOLUSDT", false).0, 404);
}

/// A bot on `binance-1008` that writes what it does for `--applied`. `gap`: it writes one that has
/// no end after its first snapshot. `slow`: how long it takes for each snapshot.
fn bookkeeper(gap: bool, slow: Duration) -> Report {
    let mut client = Client::of("binance-1008");
    let symbols = ["BTCUSDT", "ETHUSDT"];
    let mut waits = [Some(Duration::ZERO); 2];
    client.subscribed();
    while client.now < client.exchange.end() {
        for (symbol, wait) in symbols.iter().zip(&mut waits) {
            if wait.is_some_and(|due| due <= client.now) {
                *wait = None;
                let number = client.snapshot(symbol);
                let line = format!("{symbol} snapshot {number} {}", badday::quantity(1, number));
                client.exchange.applied(client.now, &line).unwrap();
                if gap {
                    client.exchange.applied(client.now, &format!("{symbol} gap 1 2")).unwrap();
                }
            }
        }
        for (_, said) in client.pass(SECOND / 10) {
            let Said::Text(text) = said else {
                if said != Said::Ping {
                    client.subscribed();
                    waits = [Some(client.now + slow); 2];
                }
                continue;
            };
            let text: serde_json::Value = serde_json::from_str(&text).unwrap();
            let Some(index) = symbols.iter().position(|&symbol| text["s"] == symbol) else {
                continue;
            };
            if waits[index].is_none() && !gap {
                let line = format!("{} {}-{}", symbols[index], text["U"], text["u"]);
                client.exchange.applied(client.now, &line).unwrap();
            }
        }
    }
    client.exchange.report()
}

#[test]
fn a_bot_has_a_right_book_or_the_report_says_for_how_long_it_had_none() {
    let good = bookkeeper(false, Duration::ZERO);
    assert_eq!(good.complaints(), [""; 0], "{good}");
    assert_eq!(good.applied.unwrap().outages, [], "each snapshot came at once");

    let slow = bookkeeper(false, 20 * SECOND);
    let outages = &slow.applied.as_ref().unwrap().outages;
    assert_eq!(outages.len(), 3, "{slow}");
    for outage in outages {
        // The first update that it lacked came up to half a second behind the cut.
        assert!(outage.lasted > 19 * SECOND && outage.lasted < 21 * SECOND, "{slow}");
    }
    assert_eq!(slow.complaints().len(), 3, "{slow}");
    assert!(slow.complaints()[0].starts_with("it had no right book for "), "{slow}");

    let endless = bookkeeper(true, Duration::ZERO);
    let applied = endless.applied.as_ref().unwrap();
    assert_eq!((applied.faults.len(), applied.snapshots), (0, 8), "{endless}");
    assert_eq!(applied.outages[0].lasted, endless.played, "from its first gap to the end");
    assert_eq!(endless.complaints().len(), 1);
}

#[test]
fn a_number_that_was_never_sent_is_a_fault() {
    let mut client = Client::of("binance-1008");
    client.subscribed();
    let number = client.snapshot("BTCUSDT");
    for line in [format!("BTCUSDT snapshot {number}"), format!("BTCUSDT {}", number + 1)] {
        client.exchange.applied(client.now, &line).unwrap();
    }
    let report = client.exchange.report();
    let applied = report.applied.unwrap();
    assert_eq!(applied.faults, [format!("BTCUSDT: {} was never sent", number + 1)]);
    assert_eq!(applied.never, ["ETHUSDT"], "it is subscribed to");
    assert!(client.exchange.applied(client.now, "BTCUSDT up").is_err());
}

#[test]
fn a_client_that_knows_one_address_is_not_blamed_for_the_other() {
    for day in days::all().into_iter().filter(|day| day.addresses > 1) {
        let one = day.clone().with_addresses(1);
        assert!(one.events.iter().all(|event| event.address != Some(1)), "{}", day.name);
        assert!(!one.events.is_empty() && one.events.len() < day.events.len());
        assert_eq!(day.clone().with_addresses(9).events.len(), day.events.len());
    }
    // The only server is away for 20 s, and the client is back at once.
    let day = day("rolling-restarts").with_addresses(1);
    let mut client = Client { exchange: Exchange::new(day, 1), now: Duration::ZERO };
    client.subscribed();
    client.pass(QUIET + 20 * SECOND);
    client.subscribed();
    client.snapshot("BTCUSDT");
    client.snapshot("ETHUSDT");
    let report = client.exchange.report();
    assert_eq!(report.outages[0].excused, 20 * SECOND);
    assert_eq!(report.complaints(), [""; 0], "{report}");
}

#[test]
fn what_is_no_message_gets_an_error() {
    let nonsense = ["", "[]", "1", "{}", r#"{"method":"SUBSCRIBE","params":["x@depth"]}"#];
    for day in days::all() {
        let mut client = Client::of(day.name);
        let id = client.connect();
        client.pass(SECOND / 100);
        for text in nonsense {
            client.say(id, text);
            let texts = client.texts(SECOND / 4);
            let error = texts.iter().any(|text| text.to_string().contains("error"))
                || texts.iter().any(|text| text["success"] == false);
            assert!(error, "{}: {text:?}: {texts:?}", day.name);
        }
    }
}

/// README.md's table is that of `days::all`.
#[test]
fn the_readme_lists_each_day_as_it_is() {
    let page = include_str!("../README.md");
    let mut rows = page.lines().skip_while(|line| !line.starts_with("| day |")).skip(2);
    for day in days::all() {
        let mut threads = Vec::new();
        for event in &day.events {
            if !threads.contains(&event.thread) {
                threads.push(event.thread);
            }
        }
        let shape = match day.shape {
            Shape::Okx => "OKX".to_owned(),
            shape => format!("{shape:?}"),
        };
        let blind = day.blind.as_secs();
        let threads = threads.join(", ");
        let row = format!("| `{}` | {} | {shape} | {blind} s | {threads} |", day.name, day.title);
        assert_eq!(rows.next(), Some(&row[..]));
        assert!(page.contains(&day.shape.symbol(0)));
    }
}

#[test]
fn each_day_has_a_report_for_each_event_and_can_be_told() {
    let days = days::all();
    assert!(days.len() >= 12);
    let mut shapes = Vec::new();
    for day in &days {
        assert!(!day.title.is_empty() && !day.advice.is_empty(), "{}", day.name);
        assert!(day.symbols <= 12 && day.addresses >= 1 && !day.events.is_empty());
        for event in &day.events {
            let (repository, number) = event.thread.split_once('#').unwrap();
            assert_eq!(repository.split('/').count(), 2, "{}", event.thread);
            assert!(number.parse::<u32>().is_ok(), "{}", event.thread);
        }
        if !shapes.contains(&day.shape) {
            shapes.push(day.shape);
        }
    }
    assert_eq!(shapes.len(), 5);
    assert!(!shapes.iter().all(|shape: &Shape| shape.snapshots_over_http()));
}
