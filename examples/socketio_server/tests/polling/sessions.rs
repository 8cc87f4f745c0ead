//! Revision 4: opened, pinged, polled and over.
use super::*;

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
    let io = app(Settings::default());
    let service = Service::new(io.clone());
    let mut client = Client::joined(&service).await;
    client.says(r#"420["join","tea"]"#).await;
    assert_eq!(client.hears().await, r#"430[{"status":"ok"}]"#);
    assert_eq!(io.nsp("/").to("tea").count(), 1);
    let (mut stream, _running, _) = connect(&service);
    let request = format!("GET {} HTTP/1.1\r\nHost: h\r\n\r\n", client.target);
    stream.write_all(request.as_bytes()).await.unwrap();
    sleep(Duration::from_secs(1)).await;
    drop(stream);
    assert!(matches!(client.ends.next().await, Err(Ended::Gone)));
    client.is_over().await;
    assert!(io.rooms().is_empty());
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
