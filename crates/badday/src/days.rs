//! The days. Each event names its public report.
use crate::day::{Certificate, Day, Event, Fault, Limit, Requests, RetryAfter, Rules, Shape};
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);

/// A life after which a client may come back at once.
const QUIET: Duration = Duration::from_secs(600);

/// Those of Binance: 5 messages a second, 300 attempts in 5 minutes, 6,000 of weight a minute at 50
/// for a snapshot of 1,000 levels.
const RULES: Rules = Rules {
    messages: Limit { most: 5, within: SECOND },
    dials: Limit { most: 300, within: Duration::from_secs(300) },
    snapshots: Limit { most: 120, within: MINUTE },
    refused_logins: Limit { most: 10, within: Duration::from_secs(300) },
    quiet: None,
    ping: Some((Duration::from_secs(20), MINUTE)),
    subscribe: None,
    strikes: 3,
};

fn calm(name: &'static str, shape: Shape) -> Day {
    Day {
        name,
        title: "",
        advice: "",
        shape,
        addresses: 1,
        symbols: 2,
        interval: 5 * SECOND,
        first: 1_000,
        login: false,
        snapshot_takes: SECOND * 3 / 10,
        life: None,
        rules: RULES,
        events: Vec::new(),
        // For who dials again after a second, on a busy machine.
        blind: 3 * SECOND,
    }
}

const fn event(quiet: Duration, fault: Fault, watch: u64, thread: &'static str) -> Event {
    Event { quiet, fault, address: None, watch: Duration::from_secs(watch), thread }
}

const fn refuse(status: u16, retry_after: RetryAfter, lasts: Duration) -> Fault {
    Fault::Refuse { what: Requests::All, status, retry_after, lasts }
}

const fn shows(shown: Certificate, lasts: Duration) -> Fault {
    Fault::Certificate { shown, lasts }
}

/// What a day does at one of its two addresses for a minute, and then at the other. Each time all
/// connections end, so that each client has to dial.
fn at_one_of_two(faults: &[(Fault, &'static str)]) -> Vec<Event> {
    let mut events = Vec::new();
    for &(fault, thread) in faults {
        for address in [0, 1] {
            events.push(Event { address: Some(address), ..event(QUIET, fault, 0, thread) });
            events.push(event(Duration::ZERO, Fault::Cut, 60, thread));
        }
    }
    events
}

/// All days.
#[must_use]
pub fn all() -> Vec<Day> {
    vec![
        binance_24h(),
        binance_1008(),
        close_1000(),
        five_a_second(),
        okx_heartbeat(),
        bybit_restart(),
        rolling_restarts(),
        lapsed_certificate(),
        too_many_requests(),
        banned_neighbour(),
        half_open(),
        frozen_server(),
        mute_stream(),
        short_lives(),
        stale_snapshot(),
        count_anew(),
        coinbase_gap(),
        bitfinex_count(),
        refused_key(),
        one_refuses(),
        one_certificate(),
        one_short_lives(),
        snapshot_429(),
        shared_count(),
        bad_text(),
        quiet_book(),
        mute_successor(),
        one_delisted(),
    ]
}

/// The day of this name.
#[must_use]
pub fn named(name: &str) -> Option<Day> {
    all().into_iter().find(|day| day.name == name)
}

fn binance_24h() -> Day {
    Day {
        title: "each connection is cut after 24 hours, without a Close",
        advice: "open the next connection before the cut, or be back at once; and do not send all \
                 subscriptions again in one second",
        interval: MINUTE,
        life: Some(24 * HOUR),
        symbols: 4,
        events: vec![
            // The cut itself comes from `life`; the losses show whether the client still looks.
            event(
                23 * HOUR,
                Fault::Lose(1),
                60,
                "oliver-zehentleitner/unicorn-binance-websocket-api#15",
            ),
            event(2 * HOUR, Fault::Lose(1), 60, "freqtrade/freqtrade#11821"),
        ],
        ..calm("binance-24h", Shape::Binance)
    }
}

fn binance_1008() -> Day {
    const REASON: &str = "Pong timeout";
    Day {
        title: "a healthy feed is closed with 1008, three times in 17 minutes",
        advice: "dial again at once: after a long life 1008 says nothing about you",
        events: vec![
            event(QUIET, Fault::Close(1008, REASON), 120, "hummingbot/hummingbot#7044"),
            event(6 * MINUTE, Fault::Close(1008, REASON), 120, "hummingbot/hummingbot#7044"),
            event(7 * MINUTE, Fault::Close(1008, REASON), 120, "ccxt/php-binance-api#453"),
        ],
        ..calm("binance-1008", Shape::Binance)
    }
}

fn close_1000() -> Day {
    Day {
        title: "the exchange ends its day with 1000",
        advice: "dial again at once: this connection's purpose is fulfilled, the feed's never is",
        events: vec![
            event(QUIET, Fault::Close(1000, ""), 120, "databento/databento-python#86"),
            event(QUIET, Fault::Close(1000, "idle"), 120, "appuri/robust-websocket#14"),
        ],
        ..calm("close-1000", Shape::Binance)
    }
}

fn five_a_second() -> Day {
    Day {
        title: "five messages a second, for a client with twelve symbols",
        advice: "spread the subscriptions, at the first connect and after each cut: six in one \
                 second end the connection, and three such ends the address",
        symbols: 12,
        events: vec![
            event(10 * MINUTE, Fault::Cut, 60, "nautechsystems/nautilus_trader#5012"),
            event(10 * MINUTE, Fault::Close(1001, ""), 60, "binance/binance-connector-go#90"),
        ],
        blind: 5 * SECOND,
        ..calm("five-a-second", Shape::Binance)
    }
}

fn okx_heartbeat() -> Day {
    let quiet = Some(Duration::from_secs(30));
    Day {
        title: "a connection on which the client sends no text for 30 s is closed with 4004",
        advice: "send `ping` in time, whether data comes or not",
        symbols: 1,
        rules: Rules { quiet, ping: None, ..RULES },
        events: vec![
            event(3 * MINUTE, Fault::Lose(2), 120, "OpenByteInc/QuantDinger#236"),
            event(3 * MINUTE, Fault::Cut, 120, "OKCoin/websocket#11"),
        ],
        ..calm("okx-heartbeat", Shape::Okx)
    }
}

fn bybit_restart() -> Day {
    Day {
        title: "the service restarts behind an open connection: a new snapshot with u = 1",
        advice: "replace the book whenever a snapshot comes, even if nobody asked for it",
        rules: Rules { ping: None, ..RULES },
        events: vec![
            event(10 * MINUTE, Fault::Anew, 60, "DigitalRuby/ExchangeSharp#844"),
            event(10 * MINUTE, Fault::Anew, 0, "ccxt/ccxt#21723"),
            event(Duration::ZERO, Fault::Reset, 60, "bybit-exchange/pybit#56"),
        ],
        ..calm("bybit-restart", Shape::Bybit)
    }
}

fn rolling_restarts() -> Day {
    let at = |address, event| Event { address: Some(address), ..event };
    Day {
        title: "two servers restart one after the other, with 1012; and once with an announcement",
        advice: "go to the other address at once; 5 to 30 s are for the address that restarts",
        addresses: 2,
        events: vec![
            at(0, event(QUIET, Fault::Close(1012, ""), 0, "finnhubio/Finnhub-API#256")),
            at(0, event(Duration::ZERO, Fault::Down(20 * SECOND), 60, "finnhubio/Finnhub-API#256")),
            at(1, event(MINUTE, Fault::Close(1012, ""), 0, "dutu/poloniex-api-node#73")),
            at(1, event(Duration::ZERO, Fault::Down(20 * SECOND), 60, "dutu/poloniex-api-node#73")),
            event(QUIET, Fault::Announce(30 * SECOND), 90, "BingX-API/BingX-swap-api-doc#25"),
            event(QUIET, Fault::Close(1001, ""), 60, "get10101/10101#919"),
        ],
        ..calm("rolling-restarts", Shape::Binance)
    }
}

fn lapsed_certificate() -> Day {
    Day {
        title: "the certificate lapses, and is renewed after ten minutes (with wss)",
        advice: "go on trying, ever more rarely: nobody has to come for it",
        events: vec![
            event(QUIET, shows(Certificate::Lapsed, 10 * MINUTE), 0, "aisstream/issues#236"),
            event(Duration::ZERO, Fault::Cut, 1_500, "nerves-hub/nerves_hub_link#195"),
        ],
        // Who waits up to a quarter of an hour may have begun to just before it is renewed.
        blind: 15 * MINUTE,
        ..calm("lapsed-certificate", Shape::Binance)
    }
}

fn too_many_requests() -> Day {
    Day {
        title: "429 with Retry-After as a date, in seconds, and without; 503",
        advice: "wait as long as the answer says, and then a little, all connections together",
        events: vec![
            event(
                QUIET,
                refuse(429, RetryAfter::Date(30), 30 * SECOND),
                0,
                "firezone/firezone#11594",
            ),
            event(Duration::ZERO, Fault::Cut, 120, "svanas/nefertiti#55"),
            event(
                QUIET,
                refuse(429, RetryAfter::Seconds(40), 40 * SECOND),
                0,
                "BitMEX/api-connectors#275",
            ),
            event(Duration::ZERO, Fault::Cut, 120, "GuntharDeNiro/BTCT#427"),
            event(
                QUIET,
                refuse(429, RetryAfter::None, 3 * SECOND),
                0,
                "bitfinexcom/bitfinex-api-node#344",
            ),
            event(Duration::ZERO, Fault::Cut, 120, "bitfinexcom/bitfinex-api-node#344"),
            event(QUIET, refuse(503, RetryAfter::None, 20 * SECOND), 0, "bybit-exchange/pybit#56"),
            event(Duration::ZERO, Fault::Cut, 120, "bybit-exchange/pybit#56"),
        ],
        blind: 15 * SECOND,
        ..calm("too-many-requests", Shape::Binance)
    }
}

fn banned_neighbour() -> Day {
    let retry_after = RetryAfter::Seconds(120);
    let banned = refuse(418, retry_after, 120 * SECOND);
    Day {
        title: "418 with Retry-After 120: another program at this address has been banned",
        advice: "stay away for the two minutes, then come back by yourself",
        events: vec![
            event(QUIET, banned, 0, "hummingbot/hummingbot#1291"),
            event(Duration::ZERO, Fault::Cut, 600, "rotki/rotki#2990"),
        ],
        blind: 30 * SECOND,
        ..calm("banned-neighbour", Shape::Binance)
    }
}

fn half_open() -> Day {
    Day {
        title: "the NAT forgets the connection: silence, and neither FIN nor RST",
        advice: "ask after some seconds of silence, and do not wait for an answer to your Close",
        events: vec![
            event(QUIET, Fault::Silent, 120, "snapview/tungstenite-rs#306"),
            event(QUIET, Fault::Silent, 120, "wireapp/wire-webapp#21477"),
        ],
        blind: 5 * SECOND,
        ..calm("half-open", Shape::Coinbase)
    }
}

fn frozen_server() -> Day {
    let frozen = event(QUIET, Fault::Frozen(2 * MINUTE), 180, "altangent/ccxws#245");
    let other = event(10 * MINUTE, Fault::Frozen(2 * MINUTE), 180, "bybit-exchange/pybit#56");
    Day {
        title: "a server stands still for two minutes: TCP connects, nobody answers",
        advice: "give a handshake a few seconds, and then turn to the other address",
        addresses: 2,
        events: vec![Event { address: Some(0), ..frozen }, Event { address: Some(1), ..other }],
        blind: 5 * SECOND,
        ..calm("frozen-server", Shape::Binance)
    }
}

fn mute_stream() -> Day {
    Day {
        title: "one subscription dies on a live connection; Pings and questions are answered",
        advice: "watch each subscription by itself, and leave when it stays silent",
        events: vec![
            event(QUIET, Fault::Mute(Duration::ZERO), 120, "sig-net/mpc#255"),
            event(QUIET, Fault::Mute(Duration::ZERO), 120, "freqtrade/freqtrade#11821"),
        ],
        blind: 32 * SECOND,
        ..calm("mute-stream", Shape::Coinbase)
    }
}

fn short_lives() -> Day {
    let short = |life, lasts| Fault::ShortLived { code: None, life, lasts };
    Day {
        title: "for three minutes the exchange cuts each connection seconds after it was opened",
        advice: "let the delays grow, and begin with short ones only after a long life",
        events: vec![
            event(QUIET, short(3 * SECOND, 3 * MINUTE), 0, "Crypto-toolbox/btfxwss#112"),
            event(Duration::ZERO, Fault::Cut, 360, "ccxt/ccxt#27001"),
        ],
        // A client may be at a delay of a minute when it is over.
        blind: 65 * SECOND,
        rules: Rules { dials: Limit { most: 60, within: Duration::from_secs(300) }, ..RULES },
        ..calm("short-lives", Shape::Binance)
    }
}

fn stale_snapshot() -> Day {
    Day {
        title: "snapshots come from a cache that has stopped: each ends before the gap",
        advice: "take a newer snapshot, but with growing pauses, up to a minute",
        events: vec![
            event(QUIET, Fault::Stale(2 * MINUTE), 5, "bitrich-info/xchange-stream#328"),
            event(Duration::ZERO, Fault::Lose(3), 240, "binance-exchange/node-binance-api#191"),
        ],
        rules: Rules { snapshots: Limit { most: 12, within: MINUTE }, ..RULES },
        blind: 65 * SECOND,
        ..calm("stale-snapshot", Shape::Binance)
    }
}

fn count_anew() -> Day {
    // The client needs a snapshot, and gets none from the server that is going down.
    let refuse = refuse(503, RetryAfter::None, 8 * SECOND);
    let lose = |quiet| event(quiet, Fault::Lose(2), 4, "SockTrader/SockTrader#49");
    let mut events = Vec::new();
    for (quiet, end) in [(50, Fault::Cut), (400, Fault::Reset)] {
        let thread = "nautechsystems/nautilus_trader#5015";
        events.push(event(quiet * SECOND, refuse, 0, "BitMEX/sample-market-maker#43"));
        events.push(lose(Duration::ZERO));
        events.push(event(Duration::ZERO, Fault::Anew, 0, thread));
        events.push(event(Duration::ZERO, end, 120, thread));
    }
    Day {
        title: "the exchange restarts while a snapshot is wanted, and counts anew from 1",
        advice: "forget the old count with its connection: its number 60 is not the new number 60",
        first: 1,
        interval: SECOND,
        events,
        blind: 20 * SECOND,
        ..calm("count-anew", Shape::Coinbase)
    }
}

fn coinbase_gap() -> Day {
    let subscribe = Some(Duration::from_secs(5));
    Day {
        title: "messages get lost in the exchange; and it wants a subscription in 5 s",
        advice: "look at each number, and take a snapshot for each gap",
        rules: Rules { subscribe, ping: None, ..RULES },
        events: vec![
            event(5 * MINUTE, Fault::Lose(1), 20, "bmoscon/cryptofeed#20"),
            event(5 * MINUTE, Fault::Lose(40), 60, "coinbase/coinbase-pro-node#280"),
            event(MINUTE, Fault::Cut, 60, "danpaquin/coinbasepro-python#365"),
        ],
        ..calm("coinbase-gap", Shape::Coinbase)
    }
}

fn bitfinex_count() -> Day {
    Day {
        title: "the count belongs to the connection: it begins at 1 on each",
        advice: "begin anew with each connection; the numbers of two connections say nothing of \
                 each other",
        symbols: 1,
        rules: Rules { ping: None, ..RULES },
        events: vec![
            event(10 * MINUTE, Fault::Cut, 60, "bitfinexcom/bitfinex-api-node#246"),
            event(10 * MINUTE, Fault::Lose(1), 60, "bitrich-info/xchange-stream#284"),
            event(MINUTE, Fault::Close(1001, ""), 60, "Crypto-toolbox/btfxwss#12"),
        ],
        ..calm("bitfinex-count", Shape::Bitfinex)
    }
}

fn refused_key() -> Day {
    Day {
        title: "a welcome message, then Close 1008 in answer to the login, for five minutes",
        advice: "a welcome is no success: if the login fails, dial about once a minute",
        login: true,
        symbols: 1,
        rules: Rules { ping: None, ..RULES },
        events: vec![
            event(QUIET, Fault::KeyRefused(5 * MINUTE), 0, "sieblyio/kucoin-api#85"),
            event(Duration::ZERO, Fault::Cut, 600, "DeviaVir/zenbot#480"),
        ],
        blind: 300 * SECOND,
        ..calm("refused-key", Shape::Bitfinex)
    }
}

fn one_refuses() -> Day {
    Day {
        title: "one of two addresses names a wrong subprotocol, or answers 403, 404 or 401",
        advice: "turn to the other address at once, whatever the first one says",
        addresses: 2,
        events: at_one_of_two(&[
            (Fault::WrongSubprotocol(MINUTE), "websockets/wscat#127"),
            (refuse(403, RetryAfter::None, MINUTE), "BitMEX/sample-market-maker#127"),
            (refuse(404, RetryAfter::None, MINUTE), "bmoscon/cryptofeed#698"),
            (refuse(401, RetryAfter::None, MINUTE), "OpenApi-5p/5paisa-js#13"),
        ]),
        blind: 5 * SECOND,
        ..calm("one-refuses", Shape::Binance)
    }
}

fn one_certificate() -> Day {
    Day {
        title: "the certificate of one of two addresses is for another host, or of an unknown \
                authority (with wss)",
        advice: "turn to the other address, and tell a person",
        addresses: 2,
        events: at_one_of_two(&[
            (shows(Certificate::OtherName, MINUTE), "XRPLF/xrpl.js#68"),
            (shows(Certificate::OtherAuthority, MINUTE), "warmcat/libwebsockets#1121"),
        ]),
        blind: 5 * SECOND,
        ..calm("one-certificate", Shape::Binance)
    }
}

fn one_short_lives() -> Day {
    let short = |code| Fault::ShortLived { code, life: SECOND, lasts: MINUTE };
    Day {
        title: "one of two addresses ends each connection a second after it was opened",
        advice: "leave an address that keeps no connection, though it accepts each",
        addresses: 2,
        events: at_one_of_two(&[
            (short(Some(1000)), "pipecat-ai/pipecat#3824"),
            (short(None), "giantmachines/redux-websocket#81"),
            (short(Some(1011)), "dhh-io/RxWebSocket#75"),
        ]),
        blind: 5 * SECOND,
        ..calm("one-short-lives", Shape::Binance)
    }
}

fn snapshot_429() -> Day {
    let what = Requests::Snapshots;
    let retry_after = RetryAfter::Seconds(20);
    let refuse = Fault::Refuse { what, status: 429, retry_after, lasts: 20 * SECOND };
    Day {
        title: "429 with Retry-After 20 for snapshots alone, while each book needs one",
        advice: "ask for no snapshot before that time, and then for all; keep the connection",
        events: vec![
            event(QUIET, refuse, 0, "bmoscon/cryptofeed#613"),
            event(Duration::ZERO, Fault::Cut, 120, "ccxt/node-binance-api#365"),
            event(QUIET, refuse, 0, "bmoscon/cryptofeed#613"),
            event(Duration::ZERO, Fault::Lose(3), 120, "bmoscon/cryptofeed#613"),
        ],
        blind: 10 * SECOND,
        ..calm("snapshot-429", Shape::Binance)
    }
}

fn shared_count() -> Day {
    Day {
        title: "two symbols share the count of their connection",
        advice: "count the connection's messages, whatever they are about; a missing number is \
                 missing from both books",
        rules: Rules { ping: None, ..RULES },
        events: vec![
            event(10 * MINUTE, Fault::Lose(1), 60, "bitfinexcom/bitfinex-api-node#484"),
            event(10 * MINUTE, Fault::Cut, 60, "altangent/ccxws#258"),
        ],
        ..calm("shared-count", Shape::Bitfinex)
    }
}

fn bad_text() -> Day {
    Day {
        title: "a text that is not UTF-8, after a day without a fault",
        advice: "fail the connection, as RFC 6455 has it, and dial again at once",
        interval: MINUTE,
        events: vec![event(24 * HOUR, Fault::BadText, 120, "owenliang/k8s-client-go#2")],
        ..calm("bad-text", Shape::Binance)
    }
}

fn quiet_book() -> Day {
    Day {
        title: "a quiet book repeats its last number as a keepalive, and jumps by 2,000,000",
        advice: "a message with prevSeqId = seqId is life, and no gap; nor is a jump that begins \
                 where the book ends",
        symbols: 1,
        rules: Rules {
            ping: None,
            // Who leaves a quiet book each ten seconds needs more.
            dials: Limit { most: 6, within: Duration::from_secs(300) },
            ..RULES
        },
        events: vec![
            event(QUIET, Fault::Quiet(2 * MINUTE), 120, "thrasher-corp/gocryptotrader#2337"),
            event(QUIET, Fault::Jump(2_000_000), 60, "coinbase/coinbase-pro-trading-toolkit#39"),
        ],
        ..calm("quiet-book", Shape::Okx)
    }
}

fn mute_successor() -> Day {
    Day {
        title: "one subscription is mute for three minutes, on each new connection too",
        advice: "ask again ever more rarely, and keep the connection that brings the others",
        events: vec![
            event(QUIET, Fault::Mute(3 * MINUTE), 240, "danpaquin/coinbasepro-python#361"),
            event(MINUTE, Fault::Cut, 60, "coinbase/coinbase-pro-node#104"),
        ],
        rules: Rules { dials: Limit { most: 16, within: Duration::from_secs(300) }, ..RULES },
        blind: 32 * SECOND,
        ..calm("mute-successor", Shape::Coinbase)
    }
}

fn one_delisted() -> Day {
    Day {
        title: "one symbol of three is delisted, and a subscription that names it is refused whole",
        advice: "ask for each symbol by itself once the batch is refused",
        symbols: 3,
        events: vec![
            event(QUIET, Fault::Delist, 20, "binary-com/websockets#49"),
            event(Duration::ZERO, Fault::Cut, 120, "finnhubio/Finnhub-API#20"),
        ],
        // Three more messages, each with its answer.
        blind: 5 * SECOND,
        ..calm("one-delisted", Shape::Binance)
    }
}
