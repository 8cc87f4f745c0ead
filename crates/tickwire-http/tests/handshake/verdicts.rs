//! The opening handshake in the types of the crate `http` gives the same verdicts and answers as
//! the handshake over bytes. Also tests extended CONNECT (docs/RULES.md, section 14).
use http::{HeaderMap, Method, Request, Response, StatusCode, Version};
use tickwire::{
    Config, Connection, RecvError, Role, SystemEntropy,
    deflate::Deflate,
    handshake::{
        HandshakeError, Progress, client,
        server::{self, Accept, Origins, Rejection},
    },
};
use tickwire_http::{Head, Opening, Upgrade, rejection, uri};

const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
/// A Sec-WebSocket-Accept that belongs to no key of these tests.
const NOT_OURS: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAA=";

/// Gives a connection these bytes, as a short read does.
fn feed(connection: &mut Connection, wire: &[u8]) {
    let receiver = connection.receiver_mut();
    receiver.spare_mut()[..wire.len()].copy_from_slice(wire);
    receiver.commit(wire.len());
}

fn get() -> Request<()> {
    Request::get("/feed?symbol=X")
        .header("Host", "example.com")
        .header("Upgrade", "websocket")
        .header("Connection", "keep-alive, Upgrade")
        .header("Sec-WebSocket-Version", "13")
        .header("Sec-WebSocket-Key", KEY)
        .header("Sec-WebSocket-Protocol", "a, b")
        .header("Origin", "https://example.com")
        .body(())
        .unwrap()
}

fn connect() -> Request<()> {
    Request::connect("https://example.com/feed?symbol=X")
        .version(Version::HTTP_2)
        .header("Sec-WebSocket-Version", "13")
        .header("Sec-WebSocket-Protocol", "a, b")
        .header("Origin", "https://example.com")
        .header("Cookie", "session=1")
        .header("Cookie", "theme=dark")
        .body(())
        .unwrap()
}

/// This request with one change.
fn with(mut request: Request<()>, change: impl FnOnce(&mut Request<()>)) -> Request<()> {
    change(&mut request);
    request
}

fn add(request: Request<()>, name: &'static str, value: &[u8]) -> Request<()> {
    with(request, |r| _ = r.headers_mut().append(name, value.try_into().unwrap()))
}

fn check(request: &Request<()>) -> Result<Upgrade, HandshakeError> {
    let protocol = (request.version() != Version::HTTP_11).then_some("websocket");
    Upgrade::new(request, protocol, &Config::default())
}

fn names(headers: &HeaderMap) -> Vec<&str> {
    let mut names: Vec<_> = headers.keys().map(|name| name.as_str()).collect();
    names.sort();
    names
}

/// The verdict of the handshake over bytes.
fn over_bytes(request: &Request<()>) -> Result<(), HandshakeError> {
    let mut head = format!("{} {} HTTP/1.1\r\n", request.method(), request.uri()).into_bytes();
    for (name, value) in request.headers() {
        head.extend([name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"].concat());
    }
    head.extend(b"\r\n");
    let mut handshake = server::Handshake::new(&Config::default());
    for byte in head {
        handshake.reading.spare_mut()[0] = byte;
        handshake.reading.commit(1);
        if handshake.step()? == Progress::Complete {
            return Ok(());
        }
    }
    panic!("not complete")
}

#[test]
fn an_upgrade_is_answered_with_101_and_what_was_agreed_on() {
    let upgrade = check(&get()).unwrap();
    let request = upgrade.request();
    assert_eq!((request.path(), request.query()), ("/feed", Some("symbol=X")));
    assert!(Origins::new(["https://example.com"]).unwrap().allows(&request));
    assert!(!Origins::new(["https://example.org"]).unwrap().allows(&request));
    let accept = Accept::default().subprotocols(&["b", "a"]).header("Set-Cookie", "x=1").unwrap();
    let accept = accept.header("Set-Cookie", "y=2").unwrap();
    let (response, connection) = upgrade.accept(accept).unwrap();
    assert_eq!(response.status(), StatusCode::SWITCHING_PROTOCOLS);
    let headers = response.headers();
    assert_eq!(headers["sec-websocket-accept"], "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    assert_eq!(headers["sec-websocket-protocol"], "b");
    assert_eq!(headers["upgrade"], "websocket");
    assert_eq!(headers["connection"], "Upgrade");
    assert_eq!(headers.get_all("set-cookie").iter().collect::<Vec<_>>(), ["x=1", "y=2"]);
    assert_eq!(headers.len(), 6);
    // Nothing of the response is left for the stream.
    assert!(!connection.sender().has_outgoing());
    assert_eq!(connection.sender().buffered_amount(), 0);
    assert_eq!(connection.sender().counters(), tickwire::Counters::default());
    assert_eq!(
        (connection.role(), connection.negotiated().subprotocol.as_deref()),
        (Role::Server, Some("b"))
    );
}

#[test]
fn p215_p216_p217_an_extended_connect_needs_no_key_and_gets_200() {
    let upgrade = check(&connect()).unwrap();
    let request = upgrade.request();
    assert_eq!((request.path(), request.query()), ("/feed", Some("symbol=X")));
    assert_eq!(request.host(), Some("example.com"));
    assert_eq!(request.headers().get("cookie"), Some(&b"session=1; theme=dark"[..]));
    let (response, connection) = upgrade.accept(Accept::default().subprotocols(&["b"])).unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(names(response.headers()), ["sec-websocket-protocol"]);
    assert_eq!(connection.negotiated().subprotocol.as_deref(), Some("b"));
    // HTTP/2 forbids Connection and Upgrade. Host has to equal the authority, and a key is ignored.
    for (name, value, verdict) in [
        ("connection", "Upgrade", Some(HandshakeError::BadHeader("Connection"))),
        ("upgrade", "websocket", Some(HandshakeError::BadHeader("Connection"))),
        ("host", "other.example", Some(HandshakeError::HostMismatch)),
        ("host", "EXAMPLE.com", None),
        ("sec-websocket-key", "nonsense", None),
        ("content-length", "5", Some(HandshakeError::HasBody)),
        ("sec-websocket-protocol", "a", Some(HandshakeError::BadHeader("Sec-WebSocket-Protocol"))),
    ] {
        let request = add(connect(), name, value.as_bytes());
        assert_eq!(check(&request).err(), verdict, "{name}: {value}");
    }
    let request = with(connect(), |r| _ = r.headers_mut().remove("sec-websocket-version"));
    assert_eq!(check(&request).err(), Some(HandshakeError::MissingVersion));
    let request = with(connect(), |r| *r.method_mut() = Method::GET);
    assert_eq!(check(&request).err(), Some(HandshakeError::NotConnect));
    let request = with(connect(), |r| *r.uri_mut() = "/feed".parse().unwrap());
    assert_eq!(check(&request).err(), Some(HandshakeError::MissingHeader("Host")));
    let refused = Upgrade::new(&connect(), Some("webtransport"), &Config::default());
    assert_eq!(refused.err().map(HandshakeError::status), Some(501)); // P220
    let refused = Upgrade::new(&get(), Some("websocket"), &Config::default());
    assert_eq!(refused.err(), Some(HandshakeError::BadHttpVersion));
}

#[test]
fn the_verdict_is_that_of_the_handshake_over_bytes() {
    let without = |name: &str| with(get(), |r| _ = r.headers_mut().remove(name).unwrap());
    let at = |uri: &str| with(get(), |r| *r.uri_mut() = uri.parse().unwrap());
    let requests = [
        get(),
        without("host"),
        without("upgrade"),
        without("connection"),
        without("sec-websocket-version"),
        without("sec-websocket-key"),
        add(get(), "sec-websocket-key", KEY.as_bytes()),
        add(get(), "host", b"example.com"),
        add(get(), "origin", b"null"),
        add(get(), "content-length", b"1"),
        add(get(), "transfer-encoding", b"chunked"),
        add(get(), "x-bytes", b"\x80\xff"),
        add(get(), "sec-websocket-extensions", b"a; b=\""),
        add(get(), "x-long", &[b'a'; 20_000]),
        with(get(), |r| *r.method_mut() = Method::POST),
        at("http://other.example/feed"),
        at("*"),
    ];
    let mut verdicts = std::collections::BTreeSet::new();
    for request in &requests {
        let verdict = check(request).map(|_| ());
        assert_eq!(verdict, over_bytes(request), "{request:?}");
        verdicts.insert(format!("{verdict:?}"));
    }
    assert!(verdicts.len() >= 12, "{verdicts:?}");
    for (version, error) in [
        (Version::HTTP_10, HandshakeError::OldHttpVersion),
        (Version::HTTP_09, HandshakeError::Malformed { what: "first line" }),
    ] {
        let old = with(get(), |r| *r.version_mut() = version);
        assert_eq!(Upgrade::new(&old, None, &Config::default()).err(), Some(error));
    }
    // From HTTP/2 on, a CONNECT replaces the upgrade. A plain CONNECT asks for a tunnel.
    for version in [Version::HTTP_2, Version::HTTP_3] {
        for (method, error) in [
            (Method::GET, HandshakeError::NotConnect),
            (Method::POST, HandshakeError::NotConnect),
            (Method::CONNECT, HandshakeError::UnknownProtocol),
        ] {
            let new = with(get(), |r| (*r.version_mut(), *r.method_mut()) = (version, method));
            assert_eq!(Upgrade::new(&new, None, &Config::default()).err(), Some(error));
        }
    }
}

#[test]
fn a_request_says_whether_it_asks_for_a_websocket() {
    let upgrades = |request: &Request<()>, protocol| Head::from(request).is_upgrade(protocol);
    assert!(upgrades(&get(), None));
    let parts = get().into_parts().0;
    assert!(Head::from(&parts).is_upgrade(None));
    for (upgrade, connection, asked) in [
        (&["h2c, WebSocket"][..], &["keep-alive", "x, upgrade"][..], true),
        (&["websocket"], &[], false),
        (&[], &["Upgrade"], false),
        (&["h2c"], &["Upgrade"], false),
        (&["websocket"], &["close"], false),
    ] {
        let mut request = Request::post("/"); // other faults do not matter
        for value in upgrade {
            request = request.header("Upgrade", *value);
        }
        for value in connection {
            request = request.header("Connection", *value);
        }
        assert_eq!(upgrades(&request.body(()).unwrap(), None), asked, "{upgrade:?} {connection:?}");
    }
    assert!(!upgrades(&Request::get("/").body(()).unwrap(), Some("websocket")));

    assert!(upgrades(&connect(), Some("websocket")));
    assert!(!upgrades(&connect(), Some("connect-udp")));
    assert!(!upgrades(&connect(), None)); // a tunnel
    let of = |version| with(get(), |r| *r.version_mut() = version);
    assert!(!upgrades(&of(Version::HTTP_10), None)); // RFC 9110 §7.8
    assert!(!upgrades(&of(Version::HTTP_2), Some("websocket"))); // HTTP/2 uses no Upgrade
}

#[test]
fn the_connection_has_the_configuration_given_at_accept() {
    let accept = Accept::default().config(Config { max_message: 10, ..Config::default() });
    let (_, mut connection) = check(&get()).unwrap().accept(accept).unwrap();
    let frame = [&b"\x82\x8b\0\0\0\0"[..], &[7; 11]].concat();
    feed(&mut connection, &frame);
    assert!(matches!(connection.step(), Err(RecvError::MessageTooBig { .. })));
}

#[test]
fn a_request_that_passed_the_checks_is_accepted_whatever_limits_are_given_at_accept() {
    for config in [
        Config { max_head: 1, ..Config::default() },
        Config { max_headers: 1, ..Config::default() },
        Config { max_request_line: 1, ..Config::default() },
    ] {
        for request in [get(), connect()] {
            let accept = Accept::default().config(config.clone());
            assert!(check(&request).unwrap().accept(accept).is_ok());
        }
    }
}

#[test]
fn compression_is_agreed_on_as_the_configuration_given_at_accept_says() {
    let config = Config { deflate: Some(Deflate::default()), ..Config::default() };
    let request = client::Request::new("ws://example.com/").unwrap();
    for (open, version) in [
        (Opening::new as fn(&_, &_, SystemEntropy) -> _, Version::HTTP_11),
        (Opening::connect, Version::HTTP_2),
    ] {
        // The server chooses whether its messages refer to earlier ones.
        for takeover in [false, true] {
            let (request, opening) = open(&request, &config, SystemEntropy::new().unwrap());
            let mut deflate = Deflate::default();
            deflate.server.takeover = takeover;
            let config = Config { deflate: Some(deflate), ..Config::default() };
            let accept = Accept::default().config(config);
            let (mut response, server) = check(&request).unwrap().accept(accept).unwrap();
            assert!(response.headers().contains_key("sec-websocket-extensions"));
            *response.version_mut() = version;
            let client = opening.accept(&response).unwrap();
            let agreed = client.negotiated().deflate.unwrap();
            assert_eq!((agreed.server.takeover, agreed.client.takeover), (takeover, false));
            assert_eq!(client.negotiated(), server.negotiated());
        }
    }
}

#[test]
fn a_head_shows_what_is_no_secret() {
    let mut request = add(get(), "authorization", b"secret");
    *request.uri_mut() = "/?token=secret".parse().unwrap();
    assert_eq!(format!("{:?}", Head::from(&request)), "Head { method: GET, version: HTTP/1.1 }");
}

#[test]
fn a_refusal_says_what_the_one_over_bytes_says() {
    let later = Rejection::new(503).header("Retry-After", "30").unwrap().body("later\n");
    let response = rejection(later.clone(), Version::HTTP_11);
    assert_eq!(response.status(), 503);
    assert_eq!(
        names(response.headers()),
        ["connection", "content-length", "content-type", "retry-after"]
    );
    assert_eq!(
        (&response.headers()["connection"], &response.body()[..]),
        (&"close".parse().unwrap(), &b"later\n"[..])
    );
    let response = rejection(Rejection::new(200), Version::HTTP_2);
    assert_eq!(response.status(), 500, "a 2xx would accept a CONNECT");
    assert_eq!(rejection(Rejection::new(200), Version::HTTP_11).status(), 200);
    let response = rejection(later, Version::HTTP_2);
    assert_eq!(response.status(), 503);
    assert_eq!(names(response.headers()), ["content-length", "content-type", "retry-after"]);
    for (version, error) in [
        (Version::HTTP_11, HandshakeError::NotUpgrade),
        (Version::HTTP_10, HandshakeError::OldHttpVersion),
    ] {
        let response = rejection(error, version);
        assert_eq!(response.status(), StatusCode::UPGRADE_REQUIRED);
        let connection: Vec<_> = response.headers().get_all("connection").iter().collect();
        assert_eq!(connection, ["close", "Upgrade"]);
        assert_eq!(response.headers()["upgrade"], "websocket");
    }
    let response = rejection(HandshakeError::UnsupportedVersion, Version::HTTP_11);
    assert_eq!(
        (response.status().as_u16(), &response.headers()["sec-websocket-version"]),
        (426, &"13".parse().unwrap())
    );
    for (version, allowed, error) in [
        (Version::HTTP_11, "GET", HandshakeError::BadMethod),
        (Version::HTTP_2, "CONNECT", HandshakeError::NotConnect),
    ] {
        let response = rejection(error, version);
        assert_eq!(error.to_string().contains("GET"), version == Version::HTTP_11);
        assert_eq!(
            (response.status(), &response.headers()["allow"]),
            (StatusCode::METHOD_NOT_ALLOWED, &allowed.parse().unwrap())
        );
        let own = Rejection::new(405).header("Allow", "GET, HEAD").unwrap();
        let own = rejection(own, version);
        assert_eq!(own.headers()["allow"], "GET, HEAD");
    }
}

fn opening(extended: bool) -> (Request<()>, Opening) {
    let request = client::Request::new("wss://example.com:8443/feed?x=1").unwrap();
    let request = request.subprotocols(&["a", "b"]).unwrap().header("Authorization", "t").unwrap();
    let entropy = SystemEntropy::new().unwrap();
    match extended {
        false => Opening::new(&request, &Config::default(), entropy),
        true => Opening::connect(&request, &Config::default(), entropy),
    }
}

#[test]
fn both_ends_agree() {
    for extended in [false, true] {
        let (request, opening) = opening(extended);
        if extended {
            assert_eq!(request.uri(), "https://example.com:8443/feed?x=1");
            assert_eq!(
                names(request.headers()),
                ["authorization", "sec-websocket-protocol", "sec-websocket-version"]
            );
        } else {
            assert_eq!(
                (request.uri().to_string(), &request.headers()["host"]),
                ("/feed?x=1".into(), &"example.com:8443".parse().unwrap())
            );
        }
        let upgrade = check(&request).unwrap();
        let (mut response, server) =
            upgrade.accept(Accept::default().subprotocols(&["b"])).unwrap();
        *response.version_mut() = request.version();
        // P231: neither of these headers has a meaning here.
        response.headers_mut().insert("content-length", "5".parse().unwrap());
        response.headers_mut().insert("transfer-encoding", "chunked".parse().unwrap());
        let mut client = opening.accept(&response).unwrap();
        assert_eq!(client.negotiated().subprotocol.as_deref(), Some("b"));
        assert_eq!(client.negotiated(), server.negotiated());
        // P218: the client masks its frames, as always.
        let _ = client.sender_mut().feed("hello").unwrap();
        let mut server = server;
        exchange(&mut client, &mut server);
        assert_eq!(
            server.receiver().message().and_then(|message| message.as_text()),
            Some("hello")
        );
    }
}

/// The length of the first write of a long message.
fn first_write(mut connection: Connection) -> usize {
    use bytes::Buf;
    connection.sender_mut().feed(&[7; 100_000]).map(drop).unwrap();
    connection.sender_mut().outgoing().chunk().len()
}

#[test]
fn from_http_2_on_writes_are_short_and_stay_so_in_a_connection_that_was_dormant() {
    for (extended, written) in [(false, [100_010, 100_014]), (true, [16 << 10; 2])] {
        for sleeps in [false, true] {
            let (request, opening) = opening(extended);
            let (mut response, server) =
                check(&request).unwrap().accept(Accept::default().subprotocols(&["a"])).unwrap();
            *response.version_mut() = request.version();
            let ends = [server, opening.accept(&response).unwrap()].map(|end| match sleeps {
                true => end.into_dormant().unwrap().into_connection(&Config::default()),
                false => end,
            });
            assert_eq!(ends.map(first_write), written, "{extended} {sleeps}");
        }
    }
}

fn exchange(from: &mut Connection, to: &mut Connection) {
    use bytes::Buf;
    let mut outgoing = from.sender_mut().outgoing();
    let bytes = outgoing.copy_to_bytes(outgoing.remaining());
    assert_eq!(bytes[1] & 0x80, 0x80);
    feed(to, &bytes);
    assert_eq!(to.step().unwrap(), tickwire::Step::Message);
}

#[test]
fn a_client_checks_what_its_http_stack_brings() {
    let answer = |status: u16, version| {
        let response = Response::builder().status(status).version(version);
        response.header("Upgrade", "websocket").header("Connection", "Upgrade").body(()).unwrap()
    };
    let verdict =
        |extended: bool, response: Response<()>| opening(extended).1.accept(&response).err();
    let accept = HandshakeError::MissingHeader("Sec-WebSocket-Accept");
    assert_eq!(verdict(false, answer(101, Version::HTTP_11)), Some(accept));
    assert_eq!(verdict(false, answer(101, Version::HTTP_10)), Some(HandshakeError::BadHttpVersion));
    let refused = |status| Some(HandshakeError::Refused { status });
    assert_eq!(verdict(false, answer(200, Version::HTTP_11)), refused(200));
    assert_eq!(verdict(false, answer(503, Version::HTTP_11)), refused(503));
    assert_eq!(verdict(false, answer(503, Version::HTTP_10)), refused(503));
    assert_eq!(verdict(true, answer(502, Version::HTTP_11)), refused(502)); // from a proxy
    assert_eq!(verdict(true, answer(101, Version::HTTP_2)), refused(101)); // P217
    assert_eq!(verdict(true, answer(404, Version::HTTP_2)), refused(404));
    assert_eq!(verdict(true, answer(200, Version::HTTP_11)), Some(HandshakeError::BadHttpVersion));
    assert_eq!(verdict(true, answer(200, Version::HTTP_2)), None);
    let unexpected = Some(HandshakeError::UnexpectedSubprotocol);
    for (status, version, name, value, error) in [
        (200, Version::HTTP_2, "sec-websocket-protocol", "c", unexpected),
        // HTTP/2 has no Sec-WebSocket-Accept, so a value is ignored.
        (200, Version::HTTP_2, "sec-websocket-accept", "none", None),
        (101, Version::HTTP_11, "sec-websocket-accept", NOT_OURS, Some(HandshakeError::BadAccept)),
    ] {
        let mut response = answer(status, version);
        response.headers_mut().append(name, value.parse().unwrap());
        assert_eq!(verdict(status == 200, response), error, "{name}: {value}");
    }
}

#[test]
fn as_many_headers_pass_as_the_limit_says_whatever_the_version() {
    let config = Config::default();
    let too_many = |limit| Some(HandshakeError::TooManyHeaders { limit });
    for (mut request, config, limit) in [
        (get(), config.clone(), 128),
        (connect(), config.clone(), 128),
        (connect(), Config { max_headers: 5, ..config }, 5),
    ] {
        let protocol = (request.version() != Version::HTTP_11).then_some("websocket");
        let cookies = request.headers().get_all("cookie").iter().count(); // become one header
        while request.headers().len() - cookies.saturating_sub(1) < limit {
            request.headers_mut().append("x", "1".parse().unwrap());
        }
        assert!(Upgrade::new(&request, protocol, &config).is_ok(), "{limit}");
        request.headers_mut().append("x", "1".parse().unwrap());
        let refused = Upgrade::new(&request, protocol, &config).err();
        assert_eq!(refused, too_many(limit as u32));
    }
    for (count, verdict) in [(128, None), (129, too_many(128))] {
        assert_eq!(opening(true).1.accept(&response_with(count)).err(), verdict);
    }
}

/// Returns a response that accepts an extended CONNECT, with this number of headers.
fn response_with(headers: usize) -> Response<()> {
    let mut response = Response::builder().version(Version::HTTP_2).body(()).unwrap();
    for _ in 0..headers {
        response.headers_mut().append("x", "1".parse().unwrap());
    }
    response
}

#[test]
fn a_client_of_http_2_refuses_a_response_with_more_headers_than_its_configuration_allows() {
    let config = Config { max_headers: 5, ..Config::default() };
    let request = client::Request::new("wss://example.com/").unwrap();
    for (count, verdict) in [(5, None), (6, Some(HandshakeError::TooManyHeaders { limit: 5 }))] {
        let (_, opening) = Opening::connect(&request, &config, SystemEntropy::new().unwrap());
        assert_eq!(opening.accept(&response_with(count)).err(), verdict);
    }
}

#[test]
fn what_may_be_secret_is_marked_so() {
    let (asked, _) = opening(false);
    for (name, secret) in [("authorization", true), ("sec-websocket-key", true), ("host", false)] {
        assert_eq!(asked.headers()[name].is_sensitive(), secret, "{name}");
    }
}

#[test]
fn what_the_url_asks_for_is_what_is_asked_for() {
    let longest = |unit: &str| format!("/{}", unit.repeat((1 << 14) - "ws://example.com/".len()));
    for (path, asked_for) in [
        ("/a?b=`", "/a?b=`"),
        ("//a//b", "//a//b"),
        ("/^|{}'%60", "/^|{}'%60"),
        ("/a`b", "/a%60b"), // `Uri` accepts it only encoded; it means the same
        (&longest("`"), &longest("%60")),
    ] {
        let request = client::Request::new(&format!("ws://example.com{path}")).unwrap();
        for open in [Opening::new, Opening::connect] {
            let (asked, _) = open(&request, &Config::default(), SystemEntropy::new().unwrap());
            assert_eq!(asked.uri().path_and_query().unwrap(), asked_for);
        }
        let whole = format!("http://example.com{asked_for}");
        assert_eq!(uri(request.target()).to_string(), whole);
    }
    let odd = "-._~!$&'()*+,;=a";
    let request = client::Request::new(&format!("ws://{odd}/")).unwrap();
    assert_eq!(uri(request.target()).to_string(), format!("http://{odd}/"));
    let host = "h".repeat((1 << 14) - "wss://:1/".len());
    let request = client::Request::new(&format!("wss://{host}:1/")).unwrap();
    assert_eq!(uri(request.target()).to_string(), format!("https://{host}:1/"));
}
