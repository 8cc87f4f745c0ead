//! What is no packet, and packets without end: A87, A88.
use super::*;

// A87.

#[tokio::test(start_paused = true)]
async fn a87_whatever_is_no_packet_closes_the_connection() {
    let placeholder = r#"{"_placeholder":true,"num":0}"#;
    let spaceless = r#"
        0 0{} 2 2probe 3probe 11 5 6 7 9 b4AAEC é
        4 47 4a 4abc 49["a"] 4é 42 42{} 42[] 42[null] 42[{}] 42[true] 42[["echo"]] 42"echo"
        42["echo" 42["echo"]] 42["echo"], 42["echo",] 42["echo",nul] 42['echo'] 42["\ud800"]
        42["\x"] 42null 42abc["echo"] 42-1["echo"] 421.5["echo"] 421e3["echo"]
        4218446744073709551616["echo"] 42/,[ 42/ 43 43[] 431 431{} 4312 43x[] 41{} 41[] 417
        44 44{"message":"no"} 44"no" 40[] 40"x" 401{} 40{ 40nul
        42["connect"] 42["connect_error"] 42["disconnect"] 42["disconnecting"] 42["newListener"]
        42["removeListener"] 42["dis\u0063onnect"]
        45["a"] 45-["a"] 45x-["a"] 450-["a"] 4500-["a"] 45-1-["a"] 451["a"] 4511-["a"]
        451000000000-["a"] 4518446744073709551617-["a"] 451.0-["a"] 451e0-["a"] 45+1-["a"]
        45١-["a"] 451- 451-{} 451-[] 461-[] 461-x[]
        451-["a",{"_placeholder":true,"num":1}] 451-["a",{"_placeholder":true,"num":-1}]
        451-["a",{"_placeholder":true,"num":0.5}] 451-["a",{"_placeholder":true,"num":1e3}]
        451-["a",{"_placeholder":true,"num":"0"}] 451-["a",{"_placeholder":true,"num":{"num":0}}]
        451-["a",{"_placeholder":true,"num":18446744073709551616}] 451-["a",{"_placeholder":true}]
        451-["a",{"_placeholder":1,"num":"length"}] 451-["a",{"num":0,"_placeholder":true,"num":3}]
        451-["a",{"x":[1,{"\u005fplaceholder":true,"n\u0075m":7}]}]
        451-["a",{"x":{"_placeholder":true,"num":0},"_placeholder":true,"num":5}]
        451-["\ud8aa",{"_placeholder":true,"num":1}]"#;
    let mut packets: Vec<String> = spaceless.split_whitespace().map(str::to_owned).collect();
    assert_eq!(packets.len(), 98);
    let others = ["", "\0", " 42[]", "42[\"ec\nho\"]", "42 1[\"echo\"]", "45 1-[\"a\"]"];
    packets.extend(others.map(str::to_owned));
    packets.push(r#"451-["a",{ "_placeholder" : true, "num" : 7 }]"#.into());
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
    let io = app(Settings::default());
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
    let pieces: Vec<_> =
        r#"4 0 1 2 5 6 - / , admin [ ] { } "echo" "num" : "_placeholder" true 1.5e3 \ " \u005f é"#
            .split(' ')
            .chain([" ", "\0"])
            .collect();
    let mut state = 7_u64;
    let mut random = |below: usize| {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (state >> 33) as usize % below
    };
    let (mut lives, mut ended) = (0, 0);
    for _ in 0..100_000 {
        let mut session = support::session(&io, Time::ZERO);
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
    let settings = Settings { max_packet: 100_000, ..Settings::default() };
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
