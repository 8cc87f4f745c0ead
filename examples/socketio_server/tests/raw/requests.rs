//! The opening request, and the ids that it gets: A90, A99.
use super::*;

// A90.

#[tokio::test(start_paused = true)]
async fn a90_requests_of_other_versions_and_transports_are_refused() {
    let service = service();
    let plain = "";
    let upgrade = upgrade();
    let upgrade = upgrade.as_str();
    // Queries one a line.
    for (method, queries, headers, refused, code) in [
        (
            "GET",
            "
            EIO=4
            EIO=4&transport
            EIO=4&transport=
            EIO=4&transport=flashsocket
            EIO=4&transport=webtransport
            EIO=4&transport=__proto__
            EIO=4&transport=x&transport=websocket",
            upgrade,
            Refused::Transport,
            0,
        ),
        ("POST", "EIO=4&transport=webtransport", plain, Refused::Transport, 0),
        (
            "GET",
            "transport=websocket
            EIO=&transport=websocket
            EIO=2&transport=websocket
            EIO=5&transport=websocket
            EIO=44&transport=websocket
            EIO=abc&transport=websocket
            xEIO=4&transport=websocket",
            upgrade,
            Refused::Version,
            5,
        ),
        ("GET", "transport=polling\nEIO=5&transport=polling", plain, Refused::Version, 5),
        ("GET", "EIO=4&transport=websocket&sid=x", upgrade, Refused::SessionId, 1),
        ("GET", "EIO=4&transport=polling&sid=", plain, Refused::SessionId, 1),
        ("POST", "EIO=4&transport=polling&sid=x", plain, Refused::SessionId, 1),
        ("PUT", "EIO=4&transport=polling&sid=x", plain, Refused::SessionId, 1),
        ("POST", "EIO=4&transport=websocket", upgrade, Refused::Method, 2),
        ("POST", "EIO=4&transport=polling", plain, Refused::Method, 2),
        ("PUT", "EIO=4&transport=polling", plain, Refused::Method, 2),
        ("DELETE", "EIO=3&transport=polling", plain, Refused::Method, 2),
        ("GET", "EIO=4&transport=websocket", plain, Refused::BadRequest, 3),
        (
            "GET",
            "EIO=4&transport=websocket",
            "Connection: Upgrade\r\nUpgrade: websocket\r\n",
            Refused::BadRequest,
            3,
        ),
        ("GET", "EIO=3&transport=polling&j=0", plain, Refused::BadRequest, 3), // JSONP
    ] {
        for target in queries.lines().map(|query| format!("/socket.io/?{}", query.trim())) {
            let (answer, mut ends) = http(&service, method, &target, headers, b"").await;
            assert_eq!(answer.status, 400, "{method} {target} {headers}");
            assert_eq!(answer.header("content-type"), Some("application/json"), "{}", answer.head);
            let body: Value = serde_json::from_str(&answer.text()).unwrap();
            assert_eq!(body["code"], code, "{method} {target}");
            assert!(!body["message"].as_str().unwrap().is_empty());
            let ended = ends.next().await;
            assert!(matches!(ended, Err(Ended::Refused(why)) if why == refused), "{ended:?}");
        }
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
    let origins = Some(vec!["https://good.example".parse().unwrap()]);
    let service = service_with(Settings { origins, ..Settings::default() });
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
    let service = service_with(Settings { max_per_address: 300, ..Settings::default() });
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
