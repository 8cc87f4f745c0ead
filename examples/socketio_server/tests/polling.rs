//! HTTP long-polling and the upgrade from it, byte for byte, in both revisions of the protocol; each
//! attack has its number in the list of them. Time is virtual: the default deadlines pass at once.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use serde_json::Value;
use socketio_server::{
    engine::End, http::Refused, server::Service, settings::Settings, transport::Ended,
};
use std::{collections::HashSet, time::Duration};
use support::{Answer, Ends, answer, app, app_with, bounded, connect, http, service, service_with};
use tickwire::{
    Config, Message,
    handshake::client::Request,
    tokio::{WebSocket, client},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream},
    task::JoinHandle,
    time::{Instant, sleep},
};

const BYTES: &str = "Content-Type: application/octet-stream\r\n";

/// A session over polling, each request on a connection of its own.
struct Client {
    service: Service,
    target: String,
    ends: Ends,
}

impl Client {
    /// Opened, and what was said first.
    async fn open(service: &Service, query: &str) -> (Self, Answer) {
        let target = format!("/socket.io/?transport=polling&{query}");
        let (first, ends) = http(service, "GET", &target, "", b"").await;
        assert_eq!(first.status, 200, "{}", first.head);
        let text = first.text();
        let json = &text[text.find('{').unwrap()..=text.find('}').unwrap()];
        let open: Value = serde_json::from_str(json).unwrap();
        let sid = open["sid"].as_str().unwrap();
        (Self { service: service.clone(), target: format!("{target}&sid={sid}"), ends }, first)
    }

    /// Of revision 4, in the main namespace.
    async fn joined(service: &Service) -> Self {
        let (client, _) = Self::open(service, "EIO=4").await;
        client.says("40").await;
        assert!(client.hears().await.starts_with("40{\"sid\":\""));
        client
    }

    async fn post(&self, headers: &str, body: impl AsRef<[u8]>) -> Answer {
        http(&self.service, "POST", &self.target, headers, body.as_ref()).await.0
    }

    async fn get(&self) -> Answer {
        http(&self.service, "GET", &self.target, "", b"").await.0
    }

    async fn says(&self, body: impl AsRef<[u8]>) {
        let answer = self.post("", body).await;
        assert_eq!((answer.status, answer.text().as_str()), (200, "ok"));
    }

    async fn hears(&self) -> String {
        let answer = self.get().await;
        assert_eq!(answer.status, 200);
        answer.text()
    }

    async fn lives(&self) {
        self.says(r#"420["echo"]"#).await;
        assert_eq!(self.hears().await, "430[]");
    }

    /// A poll that waits.
    async fn polls(&self) -> JoinHandle<Answer> {
        let (service, target) = (self.service.clone(), self.target.clone());
        let poll = tokio::spawn(async move { http(&service, "GET", &target, "", b"").await.0 });
        sleep(Duration::from_millis(1)).await; // it is there
        assert!(!poll.is_finished());
        poll
    }

    /// There is no such session any more.
    async fn is_over(&self) {
        for answer in [self.get().await, self.post("", "3").await] {
            assert_eq!(answer.status, 400);
            assert_eq!(answer.text(), r#"{"code":1,"message":"Session ID unknown"}"#);
        }
    }

    async fn ended_with(&mut self, end: End) {
        match self.ends.next().await {
            Err(Ended::Session(got))
                if std::mem::discriminant(&got) == std::mem::discriminant(&end) => {}
            other => panic!("{other:?} instead of {end:?}"),
        }
        self.is_over().await;
    }

    /// A WebSocket that names the session.
    async fn websocket(&self) -> WebSocket<DuplexStream> {
        let (near, running, _) = connect(&self.service);
        std::mem::forget(running);
        let target = self.target.replace("=polling", "=websocket");
        let request = Request::new(&format!("ws://localhost{target}")).unwrap();
        client(near, &request, &Config::default()).await.unwrap()
    }

    /// It may take over.
    async fn probed(&self) -> WebSocket<DuplexStream> {
        let mut ws = self.websocket().await;
        ws.send("2probe").await.unwrap();
        assert_eq!(text(&mut ws).await, "3probe");
        ws
    }
}

async fn text(ws: &mut WebSocket<DuplexStream>) -> String {
    bounded(ws.recv()).await.unwrap().unwrap().as_text().unwrap().to_owned()
}

const MALFORMED: End = End::Malformed(socketio_server::engine::Malformed(""));

// Revision 4.

#[tokio::test(start_paused = true)]
async fn a_session_opens_speaks_and_closes() {
    let (mut client, first) = Client::open(&service(), "EIO=4").await;
    let open: Value = serde_json::from_str(first.text().strip_prefix('0').unwrap()).unwrap();
    assert_eq!(open["upgrades"], serde_json::json!(["websocket"]));
    assert_eq!(open.as_object().unwrap().len(), 5);
    assert_eq!(first.header("content-type"), Some("text/plain; charset=UTF-8"));
    assert_eq!(first.header("cache-control"), Some("no-store"));
    // Packets of several kinds in one body, and their answers in one.
    let event = r#"451-7["echo","ä",{"_placeholder":true,"num":0}]"#;
    client.says(format!("40\x1e420[\"echo\"]\x1e{event}\x1ebAQIDBA==")).await;
    let heard = client.hears().await;
    let packets: Vec<_> = heard.split('\x1e').collect();
    assert!(packets[0].starts_with("40{"));
    let ack = r#"461-7["ä",{"_placeholder":true,"num":0}]"#;
    assert_eq!(packets[1..], ["430[]", ack, "bAQIDBA=="]);
    // A poll waits for what comes.
    let poll = client.polls().await;
    client.says(r#"421["echo",1]"#).await;
    assert_eq!(poll.await.unwrap().text(), "431[1]");
    let poll = client.polls().await;
    client.says("1").await;
    assert_eq!(poll.await.unwrap().text(), "6");
    client.ended_with(End::Closed).await;
}

#[tokio::test(start_paused = true)]
async fn more_packets_than_pythons_clients_take_come_in_several_responses() {
    let client = Client::joined(&service()).await;
    let events: Vec<_> = (0..40).map(|i| format!(r#"42{i}["echo"]"#)).collect();
    client.says(events.join("\x1e")).await;
    let (mut acks, mut polls) = (Vec::new(), 0);
    while acks.len() < 40 {
        let heard = client.hears().await;
        assert!(heard.split('\x1e').count() <= 16);
        acks.extend(heard.split('\x1e').map(str::to_owned));
        polls += 1;
    }
    assert_eq!(acks, (0..40).map(|i| format!("43{i}[]")).collect::<Vec<_>>());
    assert_eq!(polls, 3);
}

#[tokio::test(start_paused = true)]
async fn the_server_pings_over_polling_and_drops_who_does_not_answer() {
    let mut client = Client::joined(&service()).await;
    let begun = Instant::now();
    for round in 1..=3 {
        assert_eq!(client.hears().await, "2");
        assert_eq!(begun.elapsed().as_secs(), 25 * round);
        client.says("3").await;
    }
    assert_eq!(client.hears().await, "2");
    client.lives().await; // which is no pong
    let poll = client.polls().await;
    client.ended_with(End::PingTimeout).await;
    assert_eq!(poll.await.unwrap().text(), "1");
    assert!((119..=121).contains(&begun.elapsed().as_secs()), "{:?}", begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_poll_whose_client_goes_ends_the_session() {
    let shared = app();
    let service = Service::new(shared.clone());
    let mut client = Client::joined(&service).await;
    client.says(r#"420["join","tea"]"#).await;
    assert_eq!(client.hears().await, r#"430[{"status":"ok"}]"#);
    assert_eq!(shared.rooms.len(), 1);
    let (mut stream, _running, _) = connect(&service);
    let request = format!("GET {} HTTP/1.1\r\nHost: h\r\n\r\n", client.target);
    stream.write_all(request.as_bytes()).await.unwrap();
    sleep(Duration::from_secs(1)).await;
    drop(stream);
    assert!(matches!(client.ends.next().await, Err(Ended::Gone)));
    client.is_over().await;
    assert!(shared.rooms.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_server_that_stops_ends_polls_so_that_clients_come_back() {
    let service = service();
    let (mut stream, running, mut ends) = connect(&service);
    let open = b"GET /socket.io/?EIO=4&transport=polling HTTP/1.1\r\nHost: h\r\n\r\n";
    stream.write_all(open).await.unwrap();
    let first = answer(&mut stream).await;
    let open: Value = serde_json::from_slice(&first.body[1..]).unwrap();
    let target = format!("/socket.io/?transport=polling&sid={}", open["sid"].as_str().unwrap());
    stream.write_all(format!("GET {target} HTTP/1.1\r\nHost: h\r\n\r\n").as_bytes()).await.unwrap();
    sleep(Duration::from_secs(1)).await;
    drop(running);
    assert_eq!(answer(&mut stream).await.status, 503);
    assert!(matches!(ends.next().await, Ok(()) | Err(Ended::Refused(Refused::Stopping))));
}

// The upgrade.

#[tokio::test(start_paused = true)]
async fn what_waits_comes_once_and_in_order_across_the_upgrade() {
    let service = service();
    let (talks, mut hears) = (Client::joined(&service).await, Client::joined(&service).await);
    for client in [&talks, &hears] {
        client.says(r#"420["join","tea"]"#).await;
        client.hears().await;
    }
    let said = async |from: usize, n: usize| {
        for i in from..from + n {
            talks.says(format!(r#"42["say","tea",{i}]"#)).await;
        }
    };
    let mut heard = Vec::new();
    said(0, 3).await;
    heard.extend(hears.hears().await.split('\x1e').map(str::to_owned));
    let mut poll = hears.polls().await;
    let mut ws = hears.probed().await;
    assert_eq!((&mut poll).await.unwrap().text(), "6"); // released
    // Before the client goes over, it may poll, and send.
    said(3, 3).await;
    heard.extend(hears.hears().await.split('\x1e').map(str::to_owned));
    assert_eq!(hears.hears().await, "6");
    hears.says(r#"42["say","tea","heard"]"#).await;
    said(6, 40).await;
    ws.send("5").await.unwrap();
    ws.send(r#"427["echo"]"#).await.unwrap();
    loop {
        match text(&mut ws).await {
            ack if ack == "437[]" => break,
            packet => heard.push(packet),
        }
    }
    said(46, 3).await;
    for _ in 0..3 {
        heard.push(text(&mut ws).await);
    }
    let wanted: Vec<_> = (0..49).map(|i| format!(r#"42["said",{i}]"#)).collect();
    assert_eq!(heard, wanted);
    assert_eq!(talks.hears().await, r#"42["said","heard"]"#);
    // Requests are nothing to it any more, and another WebSocket is closed.
    for answer in [hears.get().await, hears.post("", "1").await] {
        assert_eq!((answer.status, answer.text().contains(r#""code":3"#)), (400, true));
    }
    let mut other = hears.websocket().await;
    assert!(!matches!(bounded(other.recv()).await, Ok(Some(_))));
    ws.send(r#"428["echo"]"#).await.unwrap();
    assert_eq!(text(&mut ws).await, "438[]");
    bounded(ws.close(None)).await.unwrap();
    assert!(hears.ends.next().await.is_ok());
    hears.is_over().await;
}

#[tokio::test(start_paused = true)]
async fn an_upgrade_that_comes_to_nothing_leaves_the_session_where_it_was() {
    let client = Client::joined(&service()).await;
    // Probed, and gone.
    drop(client.probed().await);
    client.lives().await;
    // Probed, and silent for longer than it may.
    let mut silent = client.probed().await;
    sleep(Duration::from_secs(11)).await;
    assert!(!matches!(bounded(silent.recv()).await, Ok(Some(_))));
    client.lives().await;
    // What may not be said by one that has not taken over.
    for message in ["5", "2", "3", "3probe", "40", r#"420["echo"]"#, "", "1"] {
        let mut ws = client.websocket().await;
        ws.send(message).await.unwrap();
        assert!(!matches!(bounded(ws.recv()).await, Ok(Some(_))), "{message}");
        client.lives().await;
    }
    let mut ws = client.websocket().await;
    ws.send(Message::Binary(b"2probe")).await.unwrap();
    assert!(!matches!(bounded(ws.recv()).await, Ok(Some(_))));
    // One at a time.
    let mut first = client.probed().await;
    let mut second = client.websocket().await;
    assert!(!matches!(bounded(second.recv()).await, Ok(Some(_))));
    first.send("5").await.unwrap();
    first.send(r#"427["echo"]"#).await.unwrap();
    assert_eq!(text(&mut first).await, "437[]");
}

// Revision 3.

#[tokio::test(start_paused = true)]
async fn revision_3_has_lengths_and_joins_by_itself() {
    let service = service();
    let (mut client, first) = Client::open(&service, "EIO=3&b64=1").await;
    let (length, rest) =
        first.text().split_once(':').map(|(a, b)| (a.to_owned(), b.to_owned())).unwrap();
    assert_eq!(rest.split_at(length.parse().unwrap()).1, "2:40");
    // As JavaScript counts: the last character is two units.
    client.says("18:420[\"echo\",\"ä\u{20ac}\u{1f600}\"]1:2").await;
    assert_eq!(client.hears().await, "11:430[\"ä\u{20ac}\u{1f600}\"]1:3");
    // Binary in base64.
    let event = r#"451-7["echo",{"_placeholder":true,"num":0}]"#;
    client.says(format!("{}:{event}10:b4AQIDBA==", event.len())).await;
    let ack = r#"461-7[{"_placeholder":true,"num":0}]"#;
    assert_eq!(client.hears().await, format!("{}:{ack}10:b4AQIDBA==", ack.len()));
    // What `auth` would say stands in the namespace.
    for (connect, answer) in [
        ("40/admin,", r#"44/admin,"Not authorized""#),
        ("40/admin?token=guess,", r#"44/admin,"Not authorized""#),
        ("40/admin?x=1&token=se%63ret,", "40/admin,"),
        ("40/nowhere", r#"44/nowhere,"Invalid namespace""#),
        (r#"42/admin,1["echo"]"#, "43/admin,1[]"),
    ] {
        client.says(format!("{}:{connect}", connect.len())).await;
        assert_eq!(client.hears().await, format!("{}:{answer}", answer.len()));
    }
    let poll = client.polls().await;
    client.says("1:1").await;
    assert_eq!(poll.await.unwrap().text(), "1:6");
    client.ended_with(End::Closed).await;
}

#[tokio::test(start_paused = true)]
async fn revision_3_may_have_its_payloads_as_bytes() {
    let (client, _) = Client::open(&service(), "EIO=3").await;
    let event = r#"451-7["echo",{"_placeholder":true,"num":0}]"#;
    let mut body = [&[0, 4, 3, 255], event.as_bytes()].concat();
    assert_eq!(event.len(), 43);
    body.extend([1, 5, 255, 4, 1, 2, 3, 4]);
    let answer = client.post(BYTES, &body).await;
    assert_eq!(answer.text(), "ok");
    let heard = client.get().await;
    assert_eq!(heard.header("content-type"), Some("application/octet-stream"));
    let ack = r#"461-7[{"_placeholder":true,"num":0}]"#;
    assert_eq!(ack.len(), 36);
    let wanted = [&[0, 3, 6, 255], ack.as_bytes(), &[1, 5, 255, 4, 1, 2, 3, 4]].concat();
    assert_eq!(heard.body, wanted);
    // Where characters would be counted otherwise by others, too; and only there.
    let event = "420[\"echo\",\"\u{1f600}\"]";
    let event = [&[0, 1, 8, 255], event.as_bytes()].concat();
    assert_eq!(client.post(BYTES, &event).await.text(), "ok");
    let heard = client.get().await;
    assert_eq!(heard.body, [&[0, 1, 1, 255], "430[\"\u{1f600}\"]".as_bytes()].concat());
    assert_eq!(client.post(BYTES, [0, 1, 255, b'2']).await.text(), "ok");
    assert_eq!(client.hears().await, "1:3");
    // And through a WebSocket the type stands before the bytes.
    let mut ws = client.probed().await;
    ws.send("5").await.unwrap();
    ws.send(r#"451-7["echo",{"_placeholder":true,"num":0}]"#).await.unwrap();
    ws.send(Message::Binary(b"\x04x")).await.unwrap();
    assert_eq!(text(&mut ws).await, ack);
    let message = bounded(ws.recv()).await.unwrap().unwrap();
    assert_eq!(message, Message::Binary(b"\x04x"));
    ws.send("2").await.unwrap();
    assert_eq!(text(&mut ws).await, "3");
}

#[tokio::test(start_paused = true)]
async fn revision_3_is_pinged_by_its_client_and_ends_without() {
    let (mut client, _) = Client::open(&service(), "EIO=3&b64=1").await;
    let begun = Instant::now();
    for _ in 0..4 {
        sleep(Duration::from_secs(40)).await;
        client.says("1:2").await;
        assert_eq!(client.hears().await, "1:3");
    }
    let poll = client.polls().await;
    client.ended_with(End::PingTimeout).await;
    assert_eq!(poll.await.unwrap().text(), "1:1");
    assert!((204..=206).contains(&begun.elapsed().as_secs()), "{:?}", begun.elapsed());
}

// A87.

#[tokio::test(start_paused = true)]
async fn a87_a_body_that_is_no_payload_ends_the_session() {
    let service = service();
    let separated: [&[u8]; 18] = [
        b"",
        b"\x1e",
        b"4",
        b"420[\"echo\"]\x1e",
        b"\x1e420[\"echo\"]",
        b"420[\"echo\"]\x1e\x1e3",
        b"2",
        b"2probe",
        b"5",
        b"6",
        b"0",
        b"abc",
        b"b",
        b"b=",
        b"bAQIDBA=",
        b"bAQ!D",
        b"\xff",
        b"4\xc3",
    ];
    for body in separated {
        let mut client = Client::joined(&service).await;
        let poll = client.polls().await;
        let answer = client.post("", body).await;
        assert_eq!((answer.status, answer.text().contains(r#""code":3"#)), (400, true), "{body:?}");
        let last = poll.await.unwrap().text();
        assert!(last == "1" || last == "430[]\x1e1", "{last}"); // what was answered before
        client.ended_with(MALFORMED).await;
    }
    let lengths: [&[u8]; 16] = [
        b"",
        b":",
        b"1",
        b"1:",
        b"0:",
        b"2:2",
        b"1:20",
        b"-1:2",
        b"01x:2",
        b"1:\xff",
        b"3:\xf0\x9f\x98\x80",
        b"1:\xf0\x9f\x98\x80",
        b"9999999999999999999:2",
        b"1000000000000:2",
        b"7:b4AQID=",
        b"6:b5AQID",
    ];
    for body in lengths {
        let (mut client, _) = Client::open(&service, "EIO=3&b64=1").await;
        assert_eq!(client.post("", body).await.status, 400, "{body:?}");
        client.ended_with(MALFORMED).await;
    }
    let bytes: [&[u8]; 13] = [
        b"",
        b"\0",
        b"\0\xff",
        b"\0\x01\xff",
        b"\0\x00\xff",
        b"\0\x01",
        b"\0\x0a\xff2",
        b"\x02\x01\xff2",
        b"\0\x02\xff2",
        b"\0\x01\xff\xff",
        b"\x01\x01\xff\x05",
        b"\x01\x00\xff",
        b"\0\x09\x09\x09\x09\x09\x09\x09\x09\x09\x09\x09\xff2",
    ];
    for body in bytes {
        let (mut client, _) = Client::open(&service, "EIO=3").await;
        assert_eq!(client.post(BYTES, body).await.status, 400, "{body:?}");
        client.ended_with(MALFORMED).await;
    }
}

#[tokio::test]
async fn a87_many_packets_in_a_body_take_time_in_proportion() {
    let (client, _) = Client::open(&service(), "EIO=3&b64=1").await;
    let begun = std::time::Instant::now();
    let pings = client.post("", "6:439[1]".repeat(120_000)).await; // acknowledges what nobody asked
    assert_eq!(pings.text(), "ok");
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_body_that_was_not_read_yet_is_not_replaced_by_the_next() {
    let service = service();
    let mut client = Client::joined(&service).await;
    let long = "x".repeat(300_000);
    client.says(format!(r#"420["echo","{long}"]"#)).await;
    // The answer is not fetched: the next body waits, until its request is given up.
    let (to, target) = (service.clone(), client.target.clone());
    let waits =
        tokio::spawn(async move { http(&to, "POST", &target, "", br#"421["echo"]"#).await.0 });
    sleep(Duration::from_millis(1)).await;
    assert!(!waits.is_finished());
    waits.abort();
    sleep(Duration::from_millis(1)).await;
    assert_eq!(client.post("", r#"422["echo"]"#).await.status, 400);
    client.ended_with(End::Overlap).await;
}

#[tokio::test(start_paused = true)]
async fn a99_a_response_that_nobody_reads_ends_its_connection() {
    let service = service();
    let client = Client::joined(&service).await;
    let long = "x".repeat(200_000);
    for read_on in [true, false] {
        client.says(format!(r#"420["echo","{long}"]"#)).await;
        let (mut near, running, _) = connect(&service);
        let get = format!("GET {} HTTP/1.1\r\nHost: h\r\n\r\n", client.target);
        near.write_all(get.as_bytes()).await.unwrap();
        let mut got = vec![0; 40_000];
        if read_on {
            // However slowly.
            for _ in 0..5 {
                sleep(Duration::from_secs(29)).await;
                near.read_exact(&mut got).await.unwrap();
                client.says("3").await; // its pong
            }
        } else {
            sleep(Duration::from_secs(31)).await;
            let mut rest = Vec::new();
            let _ = near.read_to_end(&mut rest).await;
            assert!(rest.len() < long.len(), "{}", rest.len());
        }
        drop(running);
    }
}

#[tokio::test(start_paused = true)]
async fn requests_that_overlap_end_the_session() {
    let service = service();
    let mut client = Client::joined(&service).await;
    let poll = client.polls().await;
    let second = client.get().await;
    assert_eq!((second.status, second.text().contains(r#""code":3"#)), (400, true));
    assert_eq!(poll.await.unwrap().text(), "1");
    client.ended_with(End::Overlap).await;
    // Two bodies.
    let mut client = Client::joined(&service).await;
    let (mut stream, _running, _) = connect(&service);
    let head = format!("POST {} HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\n4", client.target);
    stream.write_all(head.as_bytes()).await.unwrap();
    sleep(Duration::from_secs(1)).await;
    assert_eq!(client.post("", "3").await.status, 400);
    client.ended_with(End::Overlap).await;
}

// A88.

#[tokio::test(start_paused = true)]
async fn a88_a_body_is_bounded_in_bytes_and_in_time() {
    let service = service();
    let client = Client::joined(&service).await;
    let long = format!(r#"420["echo","{}"]"#, "x".repeat(1_000_000));
    assert_eq!(client.post("", &long).await.status, 413);
    client.lives().await;
    // Without saying how long it is.
    let chunked =
        format!("POST {} HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n", client.target);
    let (mut stream, _running, _) = connect(&service);
    let body = format!("{chunked}{:x}\r\n{long}\r\n0\r\n\r\n", long.len());
    let _ = bounded(stream.write_all(body.as_bytes())).await;
    assert_eq!(bounded(answer(&mut stream)).await.status, 413);
    // So slowly that it takes for ever.
    let (mut stream, _running, _) = connect(&service);
    stream.write_all(format!("{chunked}1\r\n4\r\n").as_bytes()).await.unwrap();
    let begun = Instant::now();
    assert_eq!(bounded(answer(&mut stream)).await.status, 408);
    assert_eq!(begun.elapsed().as_secs(), 20);
    client.lives().await; // and the turn is free again
}

#[tokio::test(start_paused = true)]
async fn a88_attachments_over_polling_are_bounded_and_have_to_come() {
    let mut settings = Settings::default();
    settings.max_packet = 100_000;
    let service = service_with(settings);
    let mut client = Client::joined(&service).await;
    client.says(r#"452-1["echo",{"_placeholder":true,"num":1}]"#).await;
    client.says("bAQ==").await;
    for _ in 0..2 {
        assert_eq!(client.hears().await, "2");
        client.says("3").await;
    }
    client.ended_with(End::AttachmentTimeout).await;
    let mut client = Client::joined(&service).await;
    let half = format!("b{}", "AAAA".repeat(20_000));
    client.says(r#"452-1["echo",{"_placeholder":true,"num":1}]"#).await;
    client.says(&half).await;
    assert_eq!(client.post("", &half).await.status, 400);
    client.ended_with(MALFORMED).await;
}

// A89.

#[tokio::test(start_paused = true)]
async fn a89_what_comes_before_connect_ends_a_session_over_polling() {
    let service = service();
    for body in [r#"42["echo"]"#, "41", "431[]", r#"42/admin,["echo"]"#, "bAQ=="] {
        let (mut client, _) = Client::open(&service, "EIO=4").await;
        assert_eq!(client.post("", body).await.status, 400);
        client.ended_with(MALFORMED).await;
    }
    let (mut client, _) = Client::open(&service, "EIO=4").await;
    client.says("40/random").await;
    assert_eq!(client.hears().await, r#"44/random,{"message":"Invalid namespace"}"#);
    assert_eq!(client.hears().await, "2");
    client.says("3").await;
    client.ended_with(End::ConnectTimeout).await;
}

// A90.

#[tokio::test(start_paused = true)]
async fn a90_a_session_is_spoken_to_in_its_own_way() {
    let client = Client::joined(&service()).await;
    for (method, target) in [
        ("PUT", client.target.clone()),
        ("DELETE", client.target.clone()),
        ("POST", client.target.replace("=polling", "=websocket")),
    ] {
        let (answer, _) = http(&client.service, method, &target, "", b"").await;
        assert_eq!((answer.status, answer.text().contains(r#""code":2"#)), (400, true), "{method}");
    }
    let target = client.target.replace("=polling", "=websocket");
    let (answer, _) = http(&client.service, "GET", &target, "", b"").await; // no upgrade
    assert_eq!((answer.status, answer.text().contains(r#""code":3"#)), (400, true));
    client.lives().await;
}

#[tokio::test(start_paused = true)]
async fn a90_browsers_are_told_that_pages_of_all_origins_may() {
    let service = service();
    let target = "/socket.io/?EIO=3&transport=polling";
    let (open, _) = http(&service, "GET", target, "Origin: http://page.example\r\n", b"").await;
    assert_eq!(open.header("access-control-allow-origin"), Some("http://page.example"));
    assert_eq!(open.header("access-control-allow-credentials"), Some("true"));
    let asks = "Origin: http://page.example\r\nAccess-Control-Request-Method: POST\r\n\
        Access-Control-Request-Headers: content-type\r\n";
    let (preflight, _) = http(&service, "OPTIONS", target, asks, b"").await;
    assert_eq!(preflight.status, 200);
    assert_eq!(preflight.header("access-control-allow-methods"), Some("GET,POST"));
    assert_eq!(preflight.header("access-control-allow-headers"), Some("content-type"));
    // An error can be read by the page too.
    let gone = "/socket.io/?EIO=4&transport=polling&sid=x";
    let (gone, _) = http(&service, "GET", gone, "Origin: http://page.example\r\n", b"").await;
    assert_eq!(gone.header("access-control-allow-origin"), Some("http://page.example"));
}

#[tokio::test(start_paused = true)]
async fn long_responses_are_compressed_for_who_takes_that() {
    let client = Client::joined(&service()).await;
    let text = "tick ".repeat(2000);
    for (accepts, size, encoding) in
        [("gzip", 10_000, Some("gzip")), ("identity", 10_000, None), ("gzip", 100, None)]
    {
        client.says(format!(r#"420["echo","{}"]"#, &text[..size])).await;
        let headers = format!("Accept-Encoding: {accepts}\r\n");
        let (answer, _) = http(&client.service, "GET", &client.target, &headers, b"").await;
        assert_eq!(answer.header("content-encoding"), encoding);
        assert_eq!(answer.body.len() < 200, encoding.is_some() || size == 100);
    }
}

// A99.

#[tokio::test(start_paused = true)]
async fn a99_ids_over_polling_are_random_and_others_are_unknown() {
    let service = service();
    let mut ids = HashSet::new();
    for i in 0..200 {
        let query = if i % 2 == 0 { "EIO=4" } else { "EIO=3" };
        let (client, _) = Client::open(&service, query).await;
        let sid = client.target.rsplit('=').next().unwrap().to_owned();
        assert_eq!(sid.len(), 20);
        assert!(ids.insert(sid.clone()));
        // Near is not enough.
        for guess in
            [sid.to_lowercase(), sid[1..].to_owned(), format!("{sid}x"), format!("{sid}%00")]
        {
            let target = format!("/socket.io/?EIO=4&transport=polling&sid={guess}");
            let (answer, _) = http(&service, "GET", &target, "", b"").await;
            assert_eq!(answer.status, 400);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a99_sessions_are_bounded_and_expire() {
    let mut settings = Settings::default();
    settings.max_sessions = 3;
    let service = Service::new(app_with(settings));
    let mut clients = Vec::new();
    for query in ["EIO=4", "EIO=3", "EIO=4"] {
        clients.push(Client::open(&service, query).await.0);
    }
    assert_eq!(service.places_left(), 0);
    for transport in ["polling", "websocket"] {
        let headers = if transport == "websocket" { support::upgrade() } else { String::new() };
        let target = format!("/socket.io/?EIO=4&transport={transport}");
        let (answer, mut ends) = http(&service, "GET", &target, &headers, b"").await;
        assert_eq!(answer.status, 503);
        assert!(matches!(ends.next().await, Err(Ended::Refused(Refused::Full))));
    }
    // One that closes makes room, and others do once nobody has heard of them for 45 s.
    clients[0].says("1").await;
    clients[0].ended_with(End::Closed).await;
    assert_eq!(service.places_left(), 1);
    sleep(Duration::from_secs(46)).await;
    assert_eq!(service.places_left(), 3);
    Client::joined(&service).await.lives().await;
}

#[tokio::test(start_paused = true)]
async fn who_does_not_poll_is_not_listened_to_and_what_a_room_says_ends_it() {
    let service = service();
    let (talks, mut sleeps) = (Client::joined(&service).await, Client::joined(&service).await);
    // It asks for more than may wait for it; the second body is heard when it has polled.
    let event = format!(r#"421["echo","{}"]"#, "x".repeat(300_000));
    let ack = format!(r#"431["{}"]"#, "x".repeat(300_000));
    sleeps.says(&event).await;
    let (service2, target, body) = (service.clone(), sleeps.target.clone(), event.clone());
    let asks = tokio::spawn(async move {
        http(&service2, "POST", &target, "", body.as_bytes()).await.0.text()
    });
    sleep(Duration::from_secs(5)).await;
    assert!(!asks.is_finished());
    assert!(sleeps.hears().await == ack);
    assert_eq!(asks.await.unwrap(), "ok");
    assert!(sleeps.hears().await == ack);
    for client in [&talks, &sleeps] {
        client.says(r#"420["join","tea"]"#).await;
        client.hears().await;
    }
    let say = format!(r#"42["say","tea","{}"]"#, "x".repeat(500_000));
    for _ in 0..26 {
        talks.says(&say).await;
    }
    assert!(matches!(sleeps.ends.next().await, Err(Ended::TooSlow)));
    sleeps.is_over().await;
    talks.lives().await;
}
