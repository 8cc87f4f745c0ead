//! Requests of who has not joined, of others, of pages, and too many: A89, A90, A99.
use super::*;

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
    let service = service_with(Settings { max_per_address: 200, ..Settings::default() });
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
    let service = service_with(Settings { max_sessions: 3, ..Settings::default() });
    let mut clients = Vec::new();
    for query in ["EIO=4", "EIO=3", "EIO=4"] {
        clients.push(Client::open(&service, query).await.0);
    }
    assert_eq!(service.sessions(), 3);
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
    assert_eq!(service.sessions(), 2);
    sleep(Duration::from_secs(46)).await;
    assert_eq!(service.sessions(), 0);
    Client::joined(&service).await.lives().await;
}

#[tokio::test(start_paused = true)]
async fn a99_one_address_does_not_take_all_sessions() {
    for behind_proxy in [false, true] {
        let settings = Settings { max_per_address: 2, behind_proxy, ..Settings::default() };
        let service = service_with(settings);
        let opens = async |peer: &str, forwarded: &str| {
            let target = "/socket.io/?EIO=4&transport=polling";
            let headers = format!("X-Forwarded-For: 10.9.9.9, {forwarded}\r\n");
            let peer = peer.parse().unwrap();
            http_from(peer, &service, "GET", target, &headers, b"").await.0.status
        };
        // An IPv6 subscriber has a whole /64.
        for (address, status) in [
            ("10.0.0.1", 200),
            ("10.0.0.1", 200),
            ("10.0.0.1", 503),
            ("10.0.0.2", 200),
            ("2001:db8::1", 200),
            ("2001:db8::2", 200),
            ("2001:db8::3", 503),
            ("2001:db8:0:1::1", 200),
        ] {
            let (peer, forwarded) =
                if behind_proxy { ("127.0.0.1", address) } else { (address, "10.1.1.1") };
            assert_eq!(opens(peer, forwarded).await, status, "{address}");
        }
        assert_eq!(service.sessions(), 6);
    }
}

#[tokio::test]
async fn a99_one_address_does_not_take_all_connections() {
    let (listener, address) = bind(([127, 0, 0, 1], 0).into()).await.unwrap();
    let (_running, stop) = watch::channel(());
    let service = service_with(Settings { max_per_address: 1, ..Settings::default() });
    tokio::spawn(service.serve(listener, stop, |_| {}));
    let mut streams = Vec::new();
    for _ in 0..3 {
        streams.push(TcpStream::connect(address).await.unwrap());
    }
    let mut third = streams.pop().unwrap();
    assert!(matches!(bounded(third.read(&mut [0])).await, Ok(0) | Err(_)));
    for stream in &mut streams {
        stream.write_all(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n").await.unwrap();
        assert_eq!(bounded(answer(stream)).await.status, 404);
    }
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
