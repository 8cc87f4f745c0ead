//! What a hostile or broken client may send, byte for byte, through a plain WebSocket; each attack
//! has its number in the list of them. Time is virtual: the default deadlines pass at once.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../examples/suite.rs"]
mod suite;
mod support;

use bytes::Buf;
use serde_json::{Value, value::RawValue};
use socketio_server::{
    engine::{End, Malformed, Opening, session::Session},
    handler::{Event, Handler, Refusal, Socket},
    http::Refused,
    packet::Outgoing,
    server::Service,
    session::Shared,
    settings::Settings,
    transport::Ended,
};
use std::{collections::HashSet, time::Duration};
use support::{Ends, app, bounded, connect, http, service, service_with, upgrade};
use tickwire::{
    CloseCode, Config, Connection, Message, Negotiated, Time,
    handshake::client::Request,
    tokio::{WebSocket, client},
};
use tokio::{io::DuplexStream, sync::watch, time::Instant};

const PATH: &str = "/socket.io/?EIO=4&transport=websocket";

/// A connection served, and how its session ended.
struct Client {
    ws: WebSocket<DuplexStream>,
    served: Ends,
    running: watch::Sender<()>,
}

impl Client {
    /// Connected, and nothing said yet but the server's first packet.
    async fn open(service: &Service) -> Self {
        let (near, running, served) = connect(service);
        let request = Request::new(&format!("ws://localhost{PATH}")).unwrap();
        let ws = client(near, &request, &Config::default()).await.unwrap();
        let mut client = Self { ws, served, running };
        let open = client.text().await;
        let value: Value = serde_json::from_str(open.strip_prefix('0').unwrap()).unwrap();
        let keys: Vec<_> = value.as_object().unwrap().keys().map(String::as_str).collect();
        let wanted = ["maxPayload", "pingInterval", "pingTimeout", "sid", "upgrades"];
        assert_eq!(keys.iter().collect::<HashSet<_>>(), wanted.iter().collect());
        assert_eq!(value["upgrades"], Value::Array(vec![]));
        client
    }

    /// In the main namespace.
    async fn joined(service: &Service) -> Self {
        let mut client = Self::open(service).await;
        client.join("40").await;
        client
    }

    /// Joins, and returns the socket's id.
    async fn join(&mut self, connect: &str) -> String {
        let answer = self.ask(connect).await;
        let json = answer.get(answer.find('{').unwrap()..).unwrap();
        assert!(answer.starts_with("40"), "{answer}");
        serde_json::from_str::<Value>(json).unwrap()["sid"].as_str().unwrap().to_owned()
    }

    async fn send(&mut self, message: impl Into<Message<'_>>) {
        let _ = self.ws.send(message).await; // the server may have had enough of it
    }

    async fn ask(&mut self, text: &str) -> String {
        self.send(text).await;
        self.text().await
    }

    async fn text(&mut self) -> String {
        bounded(self.ws.recv()).await.unwrap().unwrap().as_text().unwrap().to_owned()
    }

    async fn bytes(&mut self) -> Vec<u8> {
        let message = bounded(self.ws.recv()).await.unwrap().unwrap();
        assert_eq!(message.as_text(), None);
        message.as_bytes().to_vec()
    }

    /// The server closes without another word, for this reason.
    async fn ends_with(mut self, end: End) {
        if let Some(message) = bounded(self.ws.recv()).await.unwrap() {
            panic!("{message:?} instead of {end:?}");
        }
        assert_eq!(
            self.ws.closed().map(|closed| closed.code),
            Some(end.close_code().get()),
            "{end:?}"
        );
        match self.served.next().await {
            Err(Ended::Session(got)) => assert_eq!(
                std::mem::discriminant(&got),
                std::mem::discriminant(&end),
                "{got} instead of {end}"
            ),
            other => panic!("{other:?} instead of {end}"),
        }
    }

    async fn ends_malformed(self) {
        self.ends_with(MALFORMED).await;
    }

    /// It still answers.
    async fn lives(&mut self) {
        assert_eq!(self.ask(r#"420["echo"]"#).await, "430[]");
    }
}

const MALFORMED: End = End::Malformed(Malformed(""));

// A87.

#[tokio::test(start_paused = true)]
async fn a87_whatever_is_no_packet_closes_the_connection() {
    let placeholder = r#"{"_placeholder":true,"num":0}"#;
    let mut packets: Vec<String> = [
        // Engine.IO.
        "",
        "0",
        "0{}",
        "2",
        "2probe",
        "3probe",
        "11",
        "5",
        "6",
        "7",
        "9",
        "b4AAEC",
        "é",
        "\0",
        " 42[]",
        // Types and shapes of Socket.IO.
        "4",
        "47",
        "4a",
        "4abc",
        "49[\"a\"]",
        "4é",
        "42",
        "42{}",
        "42[]",
        "42[null]",
        "42[{}]",
        "42[true]",
        "42[[\"echo\"]]",
        "42\"echo\"",
        "42[\"echo\"",
        "42[\"echo\"]]",
        "42[\"echo\"],",
        "42[\"echo\",]",
        "42[\"echo\",nul]",
        "42[\"ec\nho\"]",
        "42['echo']",
        "42[\"\\ud800\"]",
        "42[\"\\x\"]",
        "42null",
        "42abc[\"echo\"]",
        "42-1[\"echo\"]",
        "42 1[\"echo\"]",
        "421.5[\"echo\"]",
        "421e3[\"echo\"]",
        "4218446744073709551616[\"echo\"]",
        "42/,[",
        "42/",
        "43",
        "43[]",
        "431",
        "431{}",
        "4312",
        "43x[]",
        "41{}",
        "41[]",
        "417",
        "44",
        "44{\"message\":\"no\"}",
        "44\"no\"",
        "40[]",
        "40\"x\"",
        "401{}",
        "40{",
        "40nul",
        // Names that are the libraries' own.
        "42[\"connect\"]",
        "42[\"connect_error\"]",
        "42[\"disconnect\"]",
        "42[\"disconnecting\"]",
        "42[\"newListener\"]",
        "42[\"removeListener\"]",
        "42[\"dis\\u0063onnect\"]",
        // Attachments.
        "45[\"a\"]",
        "45-[\"a\"]",
        "45x-[\"a\"]",
        "450-[\"a\"]",
        "4500-[\"a\"]",
        "45-1-[\"a\"]",
        "451[\"a\"]",
        "4511-[\"a\"]",
        "451000000000-[\"a\"]",
        "4518446744073709551617-[\"a\"]",
        "451.0-[\"a\"]",
        "451e0-[\"a\"]",
        "45 1-[\"a\"]",
        "45+1-[\"a\"]",
        "45\u{661}-[\"a\"]",
        "451-",
        "451-{}",
        "451-[]",
        "461-[]",
        "461-x[]",
        // Placeholders without an attachment, as one client or another would take them.
        r#"451-["a",{"_placeholder":true,"num":1}]"#,
        r#"451-["a",{"_placeholder":true,"num":-1}]"#,
        r#"451-["a",{"_placeholder":true,"num":0.5}]"#,
        r#"451-["a",{"_placeholder":true,"num":1e3}]"#,
        r#"451-["a",{"_placeholder":true,"num":"0"}]"#,
        r#"451-["a",{"_placeholder":true,"num":{"num":0}}]"#,
        r#"451-["a",{"_placeholder":true,"num":18446744073709551616}]"#,
        r#"451-["a",{"_placeholder":true}]"#,
        r#"451-["a",{"_placeholder":1,"num":"length"}]"#,
        r#"451-["a",{ "x":[1,{"\u005fplaceholder" : true, "n\u0075m" : 7 }]}]"#,
        r#"451-["a",{"num":0,"_placeholder":true,"num":3}]"#,
        r#"451-["a",{"x":{"_placeholder":true,"num":0},"_placeholder":true,"num":5}]"#,
    ]
    .map(String::from)
    .to_vec();
    packets.push(format!(r#"4511-["a"{}]"#, format!(",{placeholder}").repeat(11)));
    packets.push(format!("42[\"echo\",{}{}]", "[".repeat(100), "]".repeat(100)));
    packets.push(format!("42[\"echo\",{}", "[".repeat(900_000)));
    packets.push(format!("42{}[\"echo\"]", "1".repeat(900_000)));
    let service = service();
    for packet in &packets {
        let mut client = Client::joined(&service).await;
        client.send(packet).await;
        client.ends_malformed().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a87_a_binary_message_that_nothing_announced_closes_the_connection() {
    for bytes in [&b""[..], b"\0", b"42[\"echo\"]"] {
        let mut client = Client::joined(&service()).await;
        client.send(bytes).await;
        client.ends_malformed().await;
    }
    // One more than was announced.
    let mut client = Client::joined(&service()).await;
    client.send(r#"451-7["echo",{"_placeholder":true,"num":0}]"#).await;
    client.send(b"one").await;
    client.send(b"two").await;
    assert_eq!(client.text().await, r#"461-7[{"_placeholder":true,"num":0}]"#);
    assert_eq!(client.bytes().await, b"one");
    client.ends_malformed().await;
    // Text where an attachment is due.
    let mut client = Client::joined(&service()).await;
    client.send(r#"451-["echo",{"_placeholder":true,"num":0}]"#).await;
    client.send(r#"42["echo"]"#).await;
    client.ends_malformed().await;
}

#[test]
fn a87_packets_changed_at_random_are_answered_or_end_the_session() {
    let shared = app();
    let good = [
        r#"4212["echo",{"a":[1.5e3,"x\u00e9",null]},true]"#,
        r#"451-7["echo",{"x":[{"_placeholder":true,"num":0}]}]"#,
        r#"461-/,7[{"num":0,"_placeholder":true}]"#,
        r#"40/admin,{"token":"secret"}"#,
        r#"421["say","room","text"]"#,
        r#"430["answer"]"#,
        "40",
        "41",
    ];
    let pieces = [
        "4",
        "0",
        "1",
        "2",
        "5",
        "6",
        "-",
        "/",
        ",",
        "admin",
        "[",
        "]",
        "{",
        "}",
        "\"echo\"",
        "\"num\"",
        ":",
        "\"_placeholder\"",
        "true",
        "1.5e3",
        "\\",
        "\"",
        "\\u005f",
        " ",
        "é",
        "\0",
    ];
    let mut state = 7_u64;
    let mut random = |below: usize| {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (state >> 33) as usize % below
    };
    let (mut lives, mut ended) = (0, 0);
    for _ in 0..100_000 {
        let mut session =
            Session::new(&shared, &shared.settings, Opening::WEBSOCKET, Time::ZERO).unwrap();
        session.receive(Message::Text("40"), Time::ZERO).unwrap();
        let mut packet: Vec<char> = good[random(good.len())].chars().collect();
        for _ in 0..=random(4) {
            let at = random(packet.len() + 1);
            let upto = (at + random(3)).min(packet.len());
            packet.splice(at..upto, pieces[random(pieces.len())].chars());
        }
        let packet: String = packet.into_iter().collect();
        let binary = packet.starts_with("45") || packet.starts_with("46");
        let attachment = binary.then_some(Message::Binary(b"x"));
        let messages = [Message::Text(&packet)].into_iter().chain(attachment);
        let mut all = messages.map(|message| session.receive(message, Time::ZERO));
        match all.find(Result::is_err) {
            None => lives += 1,
            Some(Err(End::Malformed(_) | End::Closed)) => ended += 1,
            Some(other) => panic!("{packet}: {other:?}"),
        }
        drop(all);
        session.handle_timeout(session.poll_timeout()).unwrap();
    }
    assert!(lives > 1_000 && ended > 50_000, "{lives} {ended}");
}

// A88.

#[tokio::test(start_paused = true)]
async fn a88_attachments_that_do_not_come_end_the_connection() {
    let timeout = Settings::default().attachment_timeout;
    let mut client = Client::joined(&service()).await;
    let begun = Instant::now();
    client.send(r#"452-["echo",{"_placeholder":true,"num":1}]"#).await;
    tokio::time::sleep(Duration::from_secs(20)).await;
    client.send(b"one").await; // a minute more
    let (mut reader, mut writer) = {
        // It does answer pings.
        let halves = client.ws.into_split();
        (halves.0, halves.1)
    };
    let mut pings = 0;
    while let Some(message) = bounded(reader.recv()).await.unwrap() {
        assert_eq!(message, Message::Text("2"));
        pings += 1;
        writer.send("3").await.unwrap();
    }
    assert_eq!(reader.closed().unwrap().reason, "attachments missing");
    let took = begun.elapsed();
    assert!(pings >= 2 && took >= timeout + Duration::from_secs(20), "{pings} {took:?}");
    assert!(took < timeout + Duration::from_secs(21), "{took:?}");
    assert!(matches!(client.served.next().await, Err(Ended::Session(End::AttachmentTimeout))));
}

#[tokio::test(start_paused = true)]
async fn a88_a_packet_is_bounded_in_attachments_and_in_bytes() {
    let mut settings = Settings::default();
    settings.max_packet = 100_000;
    let mut client = Client::joined(&service_with(settings)).await;
    let bytes = vec![7; 33_000];
    let event = r#"4510-1["echo",{"_placeholder":true,"num":9}]"#;
    client.send(event).await;
    for _ in 0..4 {
        client.send(&bytes).await;
    }
    client.ends_malformed().await;
    // Below both bounds all comes back.
    let mut client = Client::joined(&service()).await;
    client.send(event).await;
    for i in 0..10 {
        client.send(&[i; 1000]).await;
    }
    assert_eq!(client.text().await, r#"4610-1[{"_placeholder":true,"num":9}]"#);
    for i in 0..10 {
        assert_eq!(client.bytes().await, [i; 1000]);
    }
}

#[tokio::test(start_paused = true)]
async fn a88_a_message_longer_than_announced_is_not_read() {
    let mut client = Client::joined(&service()).await;
    client.send(&vec![0; 1_000_001]).await;
    assert!(bounded(client.ws.recv()).await.unwrap().is_none());
    assert_eq!(client.ws.closed().unwrap().code, CloseCode::MESSAGE_TOO_BIG.get());
}

// A89.

#[tokio::test(start_paused = true)]
async fn a89_what_comes_before_connect_closes_the_connection() {
    for packet in [r#"42["echo"]"#, r#"420["echo"]"#, "41", "431[]", r#"42/admin,["echo"]"#, "3x"] {
        let mut client = Client::open(&service()).await;
        client.send(packet).await;
        client.ends_malformed().await;
    }
    // Also for a namespace that was refused, or left.
    let mut client = Client::joined(&service()).await;
    assert_eq!(client.ask("40/admin,").await, r#"44/admin,{"message":"Not authorized"}"#);
    client.send(r#"42/admin,["echo"]"#).await;
    client.ends_malformed().await;
    let mut client = Client::joined(&service()).await;
    client.send("41").await;
    client.send(r#"42["echo"]"#).await;
    client.ends_malformed().await;
}

#[tokio::test(start_paused = true)]
async fn a89_namespaces_that_are_not_there_are_refused_and_nothing_else_happens() {
    let mut client = Client::joined(&service()).await;
    for name in ["/random", "/Admin", "/admin/", "/admin?token=secret", "/é", "/\"", "/__proto__"]
    {
        let refused = format!(r#"44{name},{{"message":"Invalid namespace"}}"#);
        assert_eq!(client.ask(&format!("40{name},")).await, refused);
        assert_eq!(client.ask(&format!("40{name}")).await, refused);
        assert_eq!(client.ask(&format!("40{name},{{\"token\":\"secret\"}}")).await, refused);
    }
    client.lives().await;
}

#[tokio::test(start_paused = true)]
async fn a89_a_second_connect_gets_another_id_and_one_socket_is_kept() {
    let shared = app();
    let (service, rooms) = (Service::new(shared.clone()), shared.rooms);
    let (mut a, mut b) = (Client::open(&service).await, Client::joined(&service).await);
    let first = a.join("40").await;
    assert_eq!(a.ask(r#"421["join","tea"]"#).await, r#"431[{"status":"ok"}]"#);
    assert_eq!(rooms.len(), 1);
    let second = a.join("40{}").await;
    assert_ne!(first, second);
    // It is another socket: in no room, and told things once.
    assert!(rooms.is_empty());
    assert_eq!(a.ask(r#"422["join","tea"]"#).await, r#"432[{"status":"ok"}]"#);
    assert_eq!(b.ask(r#"423["say","tea","hello"]"#).await, r#"433[{"status":"ok"}]"#);
    assert_eq!(a.text().await, r#"42["said","hello"]"#);
    a.lives().await;
    // One that fails leaves none.
    a.join(r#"40/admin,{"token":"secret"}"#).await;
    assert_eq!(a.ask("40/admin,").await, r#"44/admin,{"message":"Not authorized"}"#);
    a.send("41/admin,").await;
    a.ends_malformed().await;
}

#[tokio::test(start_paused = true)]
async fn a89_who_joins_nothing_is_disconnected() {
    let begun = Instant::now();
    let mut client = Client::open(&service()).await;
    let refused = client.ask("40/random").await;
    assert!(refused.starts_with("44"));
    assert_eq!(client.text().await, "2");
    client.send("3").await;
    client.ends_with(End::ConnectTimeout).await;
    assert!((45..=46).contains(&begun.elapsed().as_secs())); // a second for the end of the stream
}

// A90.

#[tokio::test(start_paused = true)]
async fn a90_requests_of_other_versions_and_transports_are_refused() {
    let service = service();
    let plain = "";
    let upgrade = upgrade();
    let upgrade = upgrade.as_str();
    for (method, target, headers, refused, code) in [
        ("GET", "/socket.io/", upgrade, Refused::Transport, 0),
        ("GET", "/socket.io/?", upgrade, Refused::Transport, 0),
        ("GET", "/socket.io/?EIO=4", upgrade, Refused::Transport, 0),
        ("GET", "/socket.io/?EIO=4&transport", upgrade, Refused::Transport, 0),
        ("GET", "/socket.io/?EIO=4&transport=", upgrade, Refused::Transport, 0),
        ("GET", "/socket.io/?EIO=4&transport=flashsocket", upgrade, Refused::Transport, 0),
        ("GET", "/socket.io/?EIO=4&transport=webtransport", upgrade, Refused::Transport, 0),
        ("GET", "/socket.io/?EIO=4&transport=__proto__", upgrade, Refused::Transport, 0),
        (
            "GET",
            "/socket.io/?EIO=4&transport=x&transport=websocket",
            upgrade,
            Refused::Transport,
            0,
        ),
        ("POST", "/socket.io/?EIO=4&transport=webtransport", plain, Refused::Transport, 0),
        ("GET", "/socket.io/?transport=websocket", upgrade, Refused::Version, 5),
        ("GET", "/socket.io/?EIO=&transport=websocket", upgrade, Refused::Version, 5),
        ("GET", "/socket.io/?EIO=2&transport=websocket", upgrade, Refused::Version, 5),
        ("GET", "/socket.io/?EIO=5&transport=websocket", upgrade, Refused::Version, 5),
        ("GET", "/socket.io/?EIO=44&transport=websocket", upgrade, Refused::Version, 5),
        ("GET", "/socket.io/?EIO=abc&transport=websocket", upgrade, Refused::Version, 5),
        ("GET", "/socket.io/?xEIO=4&transport=websocket", upgrade, Refused::Version, 5),
        ("GET", "/socket.io/?transport=polling", plain, Refused::Version, 5),
        ("GET", "/socket.io/?EIO=5&transport=polling", plain, Refused::Version, 5),
        (
            "GET",
            "/socket.io/?EIO=4&transport=websocket&sid=lv_VI97HAXpY6yYWAAAC",
            upgrade,
            Refused::SessionId,
            1,
        ),
        ("GET", "/socket.io/?EIO=4&transport=polling&sid=", plain, Refused::SessionId, 1),
        ("POST", "/socket.io/?EIO=4&transport=polling&sid=x", plain, Refused::SessionId, 1),
        ("PUT", "/socket.io/?EIO=4&transport=polling&sid=x", plain, Refused::SessionId, 1),
        ("POST", PATH, upgrade, Refused::Method, 2),
        ("POST", "/socket.io/?EIO=4&transport=polling", plain, Refused::Method, 2),
        ("PUT", "/socket.io/?EIO=4&transport=polling", plain, Refused::Method, 2),
        ("DELETE", "/socket.io/?EIO=3&transport=polling", plain, Refused::Method, 2),
        ("GET", PATH, plain, Refused::BadRequest, 3),
        ("GET", PATH, "Connection: Upgrade\r\nUpgrade: websocket\r\n", Refused::BadRequest, 3),
        ("GET", "/socket.io/?EIO=3&transport=polling&j=0", plain, Refused::BadRequest, 3), // JSONP
    ] {
        let (answer, mut ends) = http(&service, method, target, headers, b"").await;
        assert_eq!(answer.status, 400, "{method} {target} {headers}");
        assert_eq!(answer.header("content-type"), Some("application/json"), "{}", answer.head);
        let body: Value = serde_json::from_str(&answer.text()).unwrap();
        assert_eq!(body["code"], code, "{method} {target}");
        assert!(!body["message"].as_str().unwrap().is_empty());
        let ended = ends.next().await;
        assert!(matches!(ended, Err(Ended::Refused(why)) if why == refused), "{target}: {ended:?}");
    }
    for (target, headers, status) in [
        ("/ nonsense", String::new(), 400),
        ("/socket.iox/?EIO=4&transport=websocket", upgrade.to_owned(), 404),
        ("/", upgrade.to_owned(), 404),
        (PATH, upgrade.replace("13", "12"), 426),
        (PATH, format!("X: {}\r\n", "x".repeat(100_000)), 431),
    ] {
        let (answer, _) = http(&service, "GET", target, &headers, b"").await;
        assert_eq!(answer.status, status, "{target}: {}", answer.head);
    }
}

#[tokio::test(start_paused = true)]
async fn a90_parameters_may_come_in_any_order_and_unknown_ones_are_ignored() {
    let service = service();
    for target in [
        "/socket.io/?transport=websocket&EIO=4",
        "/socket.io/?EIO=4&transport=websocket&t=Nx1&x=EIO=3&EIO=5",
        "/socket.io?EIO=4&transport=websocket",
        "/socket.io/?&&a&EIO=4&transport=websocket",
        "/socket.io/?EIO=3&transport=websocket",
    ] {
        let (answer, _) = http(&service, "GET", target, &upgrade(), b"").await;
        assert_eq!(answer.status, 101, "{target}");
    }
}

#[tokio::test(start_paused = true)]
async fn a90_pages_of_other_origins_are_refused_if_some_are_named() {
    let service = Service::with_origins(app(), &["https://good.example"]).unwrap();
    let polling = "/socket.io/?EIO=4&transport=polling";
    for origin in
        ["https://evil.example", "https://good.example.evil", "null", "http://good.example"]
    {
        for (target, headers) in [(PATH, upgrade()), (polling, String::new())] {
            let headers = format!("{headers}Origin: {origin}\r\n");
            let (answer, mut ends) = http(&service, "GET", target, &headers, b"").await;
            assert_eq!(answer.status, 403, "{}", answer.head);
            assert_eq!(answer.text(), r#"{"code":4,"message":"Forbidden"}"#);
            assert_eq!(answer.header("access-control-allow-origin"), None);
            assert!(matches!(ends.next().await, Err(Ended::Refused(Refused::Origin))));
        }
    }
    let good = "Origin: https://good.example\r\n";
    let (answer, _) = http(&service, "GET", polling, good, b"").await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("access-control-allow-origin"), Some("https://good.example"));
    Client::joined(&service).await.lives().await; // not a browser
}

// A99.

#[tokio::test(start_paused = true)]
async fn a99_ids_are_random_and_never_the_same() {
    let service = service();
    let mut ids = HashSet::new();
    for _ in 0..300 {
        let mut client = Client::open(&service).await;
        for connect in ["40", "40", r#"40/admin,{"token":"secret"}"#] {
            let sid = client.join(connect).await;
            assert_eq!(sid.len(), 20);
            assert!(ids.insert(sid));
        }
    }
    // Neither a counter nor the time: each of the 120 bits is set in about half of them.
    let value =
        |c| "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_".find(c).unwrap();
    for at in 0..20 {
        for bit in 0..6 {
            let set = |id: &&String| value(char::from(id.as_bytes()[at])) >> bit & 1 == 1;
            let count = ids.iter().filter(set).count();
            assert!((300..=600).contains(&count), "bit {bit} of {at}: {count} of 900"); // 10 sigma
        }
    }
}

// What is not an attack.

#[tokio::test(start_paused = true)]
async fn the_server_pings_and_drops_who_does_not_answer() {
    let mut client = Client::joined(&service()).await;
    let begun = Instant::now();
    for round in 1..=4 {
        assert_eq!(client.text().await, "2");
        assert_eq!(begun.elapsed().as_secs(), 25 * round);
        client.send("3").await;
    }
    client.send("3").await; // nobody asked for that one, and it puts nothing off
    tokio::time::sleep(Duration::from_secs(10)).await;
    client.send("3").await;
    assert_eq!(client.text().await, "2");
    assert_eq!(begun.elapsed().as_secs(), 125);
    // Other packets are no pong.
    client.lives().await;
    client.ends_with(End::PingTimeout).await;
    assert!((145..=146).contains(&begun.elapsed().as_secs()));
}

#[tokio::test(start_paused = true)]
async fn a_client_closes_with_a_packet_or_a_frame() {
    let service = service();
    let mut client = Client::joined(&service).await;
    client.send("1").await;
    assert!(bounded(client.ws.recv()).await.unwrap().is_none());
    assert!(client.served.next().await.is_ok());
    let mut client = Client::joined(&service).await;
    client.send("41").await;
    bounded(client.ws.close(None)).await.unwrap();
    assert!(client.served.next().await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_server_that_stops_says_so() {
    let mut client = Client::joined(&service()).await;
    drop(client.running);
    assert!(bounded(client.ws.recv()).await.unwrap().is_none());
    assert_eq!(client.ws.closed().unwrap().code, CloseCode::GOING_AWAY.get());
    assert!(client.served.next().await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn events_arguments_and_ids_come_back_exactly() {
    let mut client = Client::joined(&service()).await;
    for (sent, back) in [
        (r#"4212["echo"]"#, "4312[]"),
        (r#"42007["echo",1.0,1e2,-0]"#, "437[1.0,1e2,-0]"),
        (r#"4218446744073709551615["echo"]"#, "4318446744073709551615[]"),
        (
            r#"420["echo",12345678901234567890123,"\ud800",{"b":1,"a":{}}]"#,
            r#"430[12345678901234567890123,"\ud800",{"b":1,"a":{}}]"#,
        ),
        (r#"42/,3["echo", "ä" ]"#, r#"433["ä"]"#),
        (
            r#"425["\u0065cho",{"_placeholder":true,"num":9}]"#,
            r#"435[{"_placeholder":true,"num":9}]"#,
        ),
        (r#"42["echo","x"]"#, r#"42["echo","x"]"#),
    ] {
        assert_eq!(client.ask(sent).await, back);
    }
    let broad = format!(r#"42["echo","{}"{}]"#, "[".repeat(500), ",[{}]".repeat(500));
    assert_eq!(client.ask(&broad).await, broad);
    let deep = format!("42[\"echo\",{}1{}]", "[".repeat(99), "]".repeat(99));
    assert_eq!(client.ask(&deep).await, deep);
    for unknown in
        [r#"421["nobody"]"#, r#"421[1]"#, r#"42["__proto__"]"#, "439[]", r#"431["late"]"#]
    {
        client.send(unknown).await;
    }
    client.lives().await;
}

#[tokio::test(start_paused = true)]
async fn control_packets_may_come_between_attachments() {
    let mut client = Client::joined(&service()).await;
    client
        .send(r#"452-["echo",{"a":[{"_placeholder":true,"num":1},{"num":0,"_placeholder":true}]}]"#)
        .await;
    client.send(b"").await;
    client.send("3").await;
    client.send(b"two").await;
    let back =
        r#"452-["echo",{"a":[{"_placeholder":true,"num":1},{"num":0,"_placeholder":true}]}]"#;
    assert_eq!(client.text().await, back);
    assert_eq!(client.bytes().await, b"");
    assert_eq!(client.bytes().await, b"two");
    // Objects that only look a little like placeholders are nobody's business.
    for json in [
        r#"{"_placeholder":"name?"}"#,
        r#"{"_placeholder":false}"#,
        r#"{"num":9}"#,
        r#"{"x":"{\"_placeholder\":true}"}"#,
        r#"["_placeholder",true,"num",9]"#,
    ] {
        client.send(&format!(r#"451-["echo",{json}]"#)).await;
        client.send(b"x").await;
        assert_eq!(client.text().await, format!(r#"451-["echo",{json}]"#));
        assert_eq!(client.bytes().await, b"x");
    }
}

#[tokio::test(start_paused = true)]
async fn the_server_asks_and_waits_for_the_answer_as_long_as_it_said() {
    let mut client = Client::joined(&service()).await;
    assert_eq!(client.ask(r#"425["ask","q",1]"#).await, r#"420["q",1]"#);
    assert_eq!(client.ask(r#"426["ask","q",2]"#).await, r#"421["q",2]"#);
    assert_eq!(client.ask(r#"431["two"]"#).await, r#"436["two"]"#);
    assert_eq!(client.ask(r#"430["one",{"x":[]}]"#).await, r#"435["one",{"x":[]}]"#);
    client.send(r#"430["again"]"#).await; // was answered
    client.send(r#"461-9[{"_placeholder":true,"num":0}]"#).await; // nobody asked
    client.send(b"x").await;
    client.lives().await;
    // Binary both ways.
    client.send(r#"451-7["ask","q",{"_placeholder":true,"num":0}]"#).await;
    client.send(b"question").await;
    assert_eq!(client.text().await, r#"451-2["q",{"_placeholder":true,"num":0}]"#);
    assert_eq!(client.bytes().await, b"question");
    client.send(r#"461-2[{"_placeholder":true,"num":0}]"#).await;
    client.send(b"answer").await;
    assert_eq!(client.text().await, r#"461-7[{"_placeholder":true,"num":0}]"#);
    assert_eq!(client.bytes().await, b"answer");
    // Too late.
    let begun = Instant::now();
    let no_answer = r#"438[{"message":"no answer","status":"error"}]"#;
    assert_eq!(client.ask(r#"428["ask","q"]"#).await, r#"423["q"]"#);
    assert_eq!(client.text().await, no_answer);
    assert_eq!(begun.elapsed().as_secs(), 20);
    // Too many.
    for i in 0..100 {
        assert_eq!(client.ask(r#"428["ask","q"]"#).await, format!(r#"42{}["q"]"#, 4 + i));
    }
    assert_eq!(client.ask(r#"428["ask","q"]"#).await, no_answer);
}

/// While the server did not read, the answer may have come.
#[test]
fn what_nobody_read_is_not_too_late() {
    let at = |secs| Time::new(Duration::from_secs(secs));
    let shared = app();
    for excused in [true, false] {
        let mut session =
            Session::new(&shared, &shared.settings, Opening::WEBSOCKET, at(0)).unwrap();
        for text in ["40", r#"427["ask","q"]"#] {
            session.receive(text.into(), at(0)).unwrap();
        }
        if excused {
            session.excuse(at(19));
        }
        session.handle_timeout(at(22)).unwrap();
        session.receive(r#"430["answer"]"#.into(), at(22)).unwrap();
        let mut conn = Connection::server(&Config::default(), Negotiated::default());
        session.mailbox().feed(conn.sender_mut(), Opening::WEBSOCKET).unwrap();
        let said = String::from_utf8_lossy(conn.sender_mut().outgoing().chunk()).into_owned();
        assert_eq!(said.contains(r#"437["answer"]"#), excused, "{said}");
        assert_eq!(said.contains("no answer"), !excused, "{said}");
    }
}

#[tokio::test(start_paused = true)]
async fn rooms_are_bounded_and_left_in_whatever_way_one_goes() {
    let shared = app();
    let (service, rooms) = (Service::new(shared.clone()), shared.rooms);
    let mut client = Client::joined(&service).await;
    let error = r#"430[{"message":"too many rooms, or too long a name","status":"error"}]"#;
    for i in 0..100 {
        let join = format!(r#"420["join","room {i}"]"#);
        assert_eq!(client.ask(&join).await, r#"430[{"status":"ok"}]"#);
    }
    assert_eq!(rooms.len(), 100);
    assert_eq!(client.ask(r#"420["join","room 100"]"#).await, error);
    assert_eq!(client.ask(r#"420["join","room 99"]"#).await, r#"430[{"status":"ok"}]"#);
    assert_eq!(client.ask(r#"420["leave","room 99"]"#).await, r#"430[{"status":"ok"}]"#);
    let long = format!(r#"420["join","{}"]"#, "x".repeat(201));
    assert_eq!(client.ask(&long).await, error);
    assert_eq!(rooms.len(), 99);
    client.send("41").await;
    client.join("40").await;
    assert!(rooms.is_empty());
    client.ask(r#"420["join","tea"]"#).await;
    drop(client.ws); // without a word
    assert!(client.served.next().await.is_err());
    assert!(rooms.is_empty());
}

#[tokio::test(start_paused = true)]
async fn admin_wants_the_token_and_nothing_like_it() {
    let mut client = Client::open(&service()).await;
    for auth in
        ["", "{}", "\"\"", "\"secre\"", "\"secretx\"", "\"Secret\"", "null", "[\"secret\"]", "true"]
    {
        let auth = match auth {
            "" | "{}" => auth.to_owned(),
            token => format!(r#"{{"token":{token}}}"#),
        };
        let answer = client.ask(&format!("40/admin,{auth}")).await;
        assert_eq!(answer, r#"44/admin,{"message":"Not authorized"}"#, "{auth}");
    }
    client.join(r#"40/admin,{"x":[1],"token":"secret"}"#).await;
}

/// Puts all into a room, and then looks whether they may join.
struct Hasty;

impl Handler for Hasty {
    fn connect(&self, socket: &mut Socket<'_>, auth: Option<&RawValue>) -> Result<(), Refusal> {
        assert!(socket.join("all"));
        auth.map(|_| ()).ok_or(Refusal::AUTHORIZATION)
    }

    fn event(&self, socket: &mut Socket<'_>, event: Event<'_>) {
        socket.say("all", event.name, event.args);
    }
}

#[tokio::test(start_paused = true)]
async fn who_is_refused_is_in_no_room() {
    let shared = Shared::new(Hasty, Settings::default());
    let (service, rooms) = (Service::new(shared.clone()), shared.rooms);
    let mut client = Client::open(&service).await;
    assert!(client.ask("40/any").await.starts_with("44/any,"));
    assert!(rooms.is_empty());
    // Any number of namespaces are known here, but nobody may join so many.
    for i in 0..16 {
        client.join(&format!("40/{i},{{}}")).await;
    }
    let refused = r#"44/16,{"message":"Too many namespaces"}"#;
    assert_eq!(client.ask("40/16,{}").await, refused);
    assert_eq!(rooms.len(), 16);
    client.send("41/7").await;
    client.join("40/16,{}").await;
    // What is said in a namespace is heard in it.
    let mut other = Client::open(&service).await;
    other.join("40/3,{}").await;
    other.send(r#"42/3,["hello",1]"#).await;
    assert_eq!(client.text().await, r#"42/3,["hello",1]"#);
}

#[tokio::test(start_paused = true)]
async fn who_does_not_read_what_the_room_says_is_disconnected_and_the_others_hear_all() {
    let service = service();
    let (mut talks, mut hears) = (Client::joined(&service).await, Client::joined(&service).await);
    let mut sleeps = Client::joined(&service).await;
    for client in [&mut talks, &mut hears, &mut sleeps] {
        client.ask(r#"420["join","tea"]"#).await;
    }
    let text = "x".repeat(500_000);
    let say = format!(r#"420["say","tea","{text}"]"#);
    let said = format!(r#"42["said","{text}"]"#);
    for _ in 0..30 {
        assert_eq!(talks.ask(&say).await, r#"430[{"status":"ok"}]"#);
        assert_eq!(hears.text().await, said);
    }
    talks.lives().await;
    hears.lives().await;
    assert!(matches!(sleeps.served.next().await, Err(Ended::TooSlow)));
}

#[tokio::test(start_paused = true)]
async fn who_does_not_read_the_answers_is_not_listened_to_and_loses_nothing() {
    let mut client = Client::joined(&service()).await;
    let halves = client.ws.into_split();
    let (mut reader, mut writer) = (halves.0, halves.1);
    // 40 MB of questions, of which the pipe and the server hold but a few.
    let event = format!(r#"421["echo","{}"]"#, "x".repeat(100_000));
    let asks = tokio::spawn(async move {
        for _ in 0..400 {
            writer.send(&event).await.unwrap();
        }
        writer
    });
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert!(!asks.is_finished());
    let (begun, mut answers) = (Instant::now(), 0);
    while answers < 400 {
        if answers < 100 {
            // So slowly that pings lie unanswered: but it is seen to read.
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        let message = bounded(reader.recv()).await.unwrap().unwrap();
        answers += usize::from(message.as_bytes().len() > 100_000);
    }
    assert!(begun.elapsed() >= Duration::from_secs(100));
    drop(asks.await.unwrap());
    drop(reader);
    let _ = client.served.next().await;
}

#[tokio::test(start_paused = true)]
async fn what_an_application_says_to_one_who_joins_comes_behind_the_news_that_it_has() {
    let mut client = Client::open(&suite::socketio()).await;
    client.join(r#"40{"token":"123"}"#).await;
    assert_eq!(client.text().await, r#"42["auth",{"token":"123"}]"#);
    client.join("40/custom").await;
    assert_eq!(client.text().await, r#"42/custom,["auth",{}]"#);
    // One that is refused hears nothing of it.
    assert_eq!(client.ask("40/random").await, r#"44/random,{"message":"Invalid namespace"}"#);
    client.send("41/custom").await;
    assert_eq!(client.ask(r#"42["message",1]"#).await, r#"42["message-back",1]"#);
}

#[tokio::test(start_paused = true)]
async fn the_packets_of_the_library_are_those_it_parses() {
    let mut client = Client::open(&service()).await;
    let auth = serde_json::value::RawValue::from_string(r#"{"token":"secret"}"#.into()).unwrap();
    let sid = client.join(&Outgoing::connect("/admin", Some(&auth)).text).await;
    assert_eq!(sid.len(), 20);
    assert_eq!(client.ask(r#"42/admin,13["echo","x"]"#).await, r#"43/admin,13["x"]"#);
    client.send(r#"451-/admin,14["echo",{"_placeholder":true,"num":0}]"#).await;
    client.send(b"x").await;
    assert_eq!(client.text().await, r#"461-/admin,14[{"_placeholder":true,"num":0}]"#);
    assert_eq!(client.bytes().await, b"x");
}
