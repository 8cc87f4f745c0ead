//! Pings, ends, events, and who does not read.
use super::*;

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
    let io = app(Settings::default());
    for excused in [true, false] {
        let mut session = support::session(&io, at(0));
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
async fn a_namespace_has_events_of_its_own() {
    let mut client = Client::open(&service()).await;
    client.join(r#"40/admin,{"token":"secret"}"#).await;
    assert_eq!(client.ask(r#"42/admin,13["echo","x"]"#).await, r#"43/admin,13["x"]"#);
    client.send(r#"451-/admin,14["echo",{"_placeholder":true,"num":0}]"#).await;
    client.send(b"x").await;
    assert_eq!(client.text().await, r#"461-/admin,14[{"_placeholder":true,"num":0}]"#);
    assert_eq!(client.bytes().await, b"x");
}
