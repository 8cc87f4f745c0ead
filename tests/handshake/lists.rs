//! Subprotocols and extensions: lists that a client offers, and what may be agreed on.
use crate::support::{
    carriers::{dial_with, serve, serve_with},
    heads::{feed_head, request, response},
};
use tickwire::{
    Config,
    handshake::{
        HandshakeError, Progress,
        client::Request,
        server::{Accept, Handshake},
    },
};

/// A handshake whose request has passed.
fn passed(lines: &[&str]) -> Handshake {
    let wire = request(lines);
    let mut handshake = Handshake::new(&Config::default());
    feed_head(&mut handshake, &wire);
    assert_eq!(handshake.step(), Ok(Progress::Complete), "{lines:?}");
    handshake
}

#[test]
fn a_cookie_is_found_by_its_name_unless_it_is_there_twice() {
    let cookie = |lines: &[&str], name| {
        let handshake = passed(lines);
        let value = handshake.request().unwrap().cookie(name);
        value.map(|value| String::from_utf8(value.to_vec()).unwrap())
    };
    let one = ["Cookie: lang=en; __Host-session=a=b; other=1"];
    assert_eq!(cookie(&one, "__Host-session").as_deref(), Some("a=b"));
    assert_eq!(cookie(&one, "lang").as_deref(), Some("en"));
    for absent in ["session", "Lang", "lan", "en", "__Host-session=a", ""] {
        assert_eq!(cookie(&one, absent), None, "{absent}");
    }
    let lines = ["cookie: a=1;b=2", "Cookie: c=; a=3; flag"];
    assert_eq!(cookie(&lines, "b").as_deref(), Some("2"));
    assert_eq!(cookie(&lines, "c").as_deref(), Some(""));
    assert_eq!(cookie(&lines, "flag"), None);
    assert_eq!(cookie(&lines, "a"), None, "it is there twice");
    assert_eq!(cookie(&[], "a"), None);
}

fn offered(lines: &[&str]) -> Vec<String> {
    passed(lines).request().unwrap().subprotocols().map(str::to_owned).collect()
}

/// What a server that speaks `ours` chooses, in the header and as the application sees it.
fn chosen(ours: &[&str], lines: &[&str]) -> Option<String> {
    let accept = Accept::default().subprotocols(ours);
    let served = serve_with(&Config::default(), accept, &request(lines));
    assert_eq!(served.status, 101);
    let named = served.named("Sec-WebSocket-Protocol");
    assert_eq!(named, served.subprotocol.iter().map(|s| &**s).collect::<Vec<_>>());
    served.subprotocol
}

// P138
#[test]
fn the_subprotocols_of_all_lines_are_one_list_in_order() {
    let want = ["a", "b", "c", "d"];
    for lines in [
        &["Sec-WebSocket-Protocol: a, b, c, d"][..],
        &["Sec-WebSocket-Protocol: a,b", "X: y", "sec-websocket-protocol: c ,\td"],
        &[
            "Sec-WebSocket-Protocol: a",
            "Sec-WebSocket-Protocol: b",
            "Sec-WebSocket-Protocol: c",
            "Sec-WebSocket-Protocol: d",
        ],
    ] {
        assert_eq!(offered(lines), want);
        assert_eq!(chosen(&["x", "d"], lines).as_deref(), Some("d"));
    }
}

// P139
#[test]
fn the_server_chooses_what_was_offered_or_nothing() {
    let line = "Sec-WebSocket-Protocol: a, b";
    assert_eq!(chosen(&["b", "a"], &[line]).as_deref(), Some("b"));
    assert_eq!(chosen(&["c", "A", "ab"], &[line]), None);
    assert_eq!(chosen(&[], &[line]), None);
    assert_eq!(chosen(&[""], &[line]), None);
    assert_eq!(chosen(&["a"], &[]), None);
    assert_eq!(chosen(&["", "a"], &["Sec-WebSocket-Protocol:"]), None);
}

// P140
#[test]
fn empty_elements_are_skipped_and_bad_tokens_refused() {
    assert_eq!(offered(&["Sec-WebSocket-Protocol: ,, a ,\t, b,"]), ["a", "b"]);
    assert_eq!(offered(&["Sec-WebSocket-Protocol: ,"]).len(), 0);
    for value in ["a b", "a;b", "\"a\"", "a/b", "caf\u{e9}", "a, b, a", "a, b c"] {
        let served = serve(&request(&[&format!("Sec-WebSocket-Protocol: {value}")]));
        let error = HandshakeError::BadHeader("Sec-WebSocket-Protocol");
        assert_eq!((served.verdict, served.status), (Err(error), 400), "{value}");
    }
    let twice = request(&["Sec-WebSocket-Protocol: a", "Sec-WebSocket-Protocol: a"]);
    assert_eq!(serve(&twice).status, 400);
    for (many, status) in [(128, 101), (129, 400)] {
        let names = (0..many).map(|i| format!("p{i}")).collect::<Vec<_>>().join(",");
        assert_eq!(serve(&request(&[&format!("Sec-WebSocket-Protocol: {names}")])).status, status);
    }
}

// P141
#[test]
fn subprotocols_compare_with_regard_to_case() {
    let line = "Sec-WebSocket-Protocol: chat";
    assert_eq!(chosen(&["Chat", "CHAT"], &[line]), None);
    assert_eq!(offered(&["Sec-WebSocket-Protocol: chat, Chat"]), ["chat", "Chat"]);
    let request = Request::new("ws://h").unwrap().subprotocols(&["chat", "Chat"]).unwrap();
    for (answer, verdict) in
        [("Chat", Ok(())), ("CHAT", Err(HandshakeError::UnexpectedSubprotocol))]
    {
        let wire = response(&[&format!("Sec-WebSocket-Protocol: {answer}")]);
        assert_eq!(dial_with(&request, &Config::default(), &wire).verdict, verdict);
    }
}

/// A server takes up the one offer of permessage-deflate here, which asks for a window of 10 bits.
#[track_caller]
fn taken_up(lines: &[&str]) {
    #[cfg(feature = "deflate")]
    let (config, want) = (
        Config { deflate: Some(tickwire::deflate::Deflate::default()), ..Config::default() },
        ["permessage-deflate; server_no_context_takeover; client_no_context_takeover; \
          server_max_window_bits=10"],
    );
    #[cfg(not(feature = "deflate"))]
    let (config, want) = (Config::default(), [""; 0]);
    let served = serve_with(&config, Accept::default(), &request(lines));
    assert_eq!((&served.verdict, served.status), (&Ok(()), 101), "{lines:?}");
    assert_eq!(served.named("Sec-WebSocket-Extensions"), want, "{lines:?}");
}

/// A server accepts these offers, and takes none up.
#[track_caller]
fn ignored(value: &str) {
    let served = serve(&request(&[&format!("Sec-WebSocket-Extensions: {value}")]));
    assert_eq!((served.verdict, served.status), (Ok(()), 101), "{value}");
    assert_eq!(served.named("Sec-WebSocket-Extensions").len(), 0, "{value}");
}

#[track_caller]
fn refused(value: &str) {
    let error = HandshakeError::BadHeader("Sec-WebSocket-Extensions");
    let line = format!("Sec-WebSocket-Extensions: {value}");
    let served = serve(&request(&[&line]));
    assert_eq!((served.verdict, served.status), (Err(error), 400), "{value}");
    let dialed =
        dial_with(&Request::new("ws://h").unwrap(), &Config::default(), &response(&[&line]));
    assert_eq!(dialed.verdict, Err(error), "{value}");
}

// P142
#[test]
fn extensions_are_the_same_in_one_line_or_several() {
    let deflate = "permessage-deflate; server_max_window_bits=10";
    taken_up(&[&format!("Sec-WebSocket-Extensions: a; b; c=1, {deflate}, d")]);
    taken_up(&[
        "Sec-WebSocket-Extensions: a; b; c=1",
        "X: y",
        &format!("sec-websocket-extensions: {deflate}, d"),
    ]);
}

// P143
#[test]
fn a_quoted_value_has_to_be_a_token_once_unescaped() {
    for value in ["10", "\"10\"", "\"\\10\"", "\"\\1\\0\""] {
        let offer = format!("permessage-deflate; server_max_window_bits={value}");
        taken_up(&[&format!("Sec-WebSocket-Extensions: {offer}")]);
    }
    for value in ["a; b=\"\"", "a; b=\"1,0\"", "a; b=\"1 0\"", "a; b=\"\\\"\"", "a; b=\"\\ \""] {
        refused(value);
    }
    refused("a; b=\"c\"d");
    refused("a; b=caf\u{e9}");
}

// P144
#[test]
fn separators_in_quotes_are_no_separators_and_quotes_have_to_end() {
    for value in ["a; b=\"c,d\"", "a; b=\"c;d\"", "a; b=\"c", "a; b=\"c\\", "a; b=\"c\\\""] {
        refused(value);
    }
    refused(&format!("a; b=\"{}", "\\c".repeat(5000)));
    let lines = ["Sec-WebSocket-Extensions: a; b=\"c", "Sec-WebSocket-Extensions: d\""];
    assert_eq!(serve(&request(&lines)).status, 400, "a line ends them too");
}

// P145
#[test]
fn blanks_are_fine_around_every_separator() {
    for offers in [
        "a;b=c,permessage-deflate;server_max_window_bits=10",
        " a\t; b = c , permessage-deflate ;\tserver_max_window_bits = 10 ",
        "a ;b =\"c\"\t,\tpermessage-deflate; server_max_window_bits =\"10\"",
    ] {
        taken_up(&[&format!("Sec-WebSocket-Extensions:{offers}")]);
    }
    refused("a b");
    refused("a; b c");
}

// P146, A93
#[test]
fn a_malformed_list_of_extensions_is_refused() {
    for value in
        ["a;", ";a", "a;;b", "a; =b", "a; b=", "a=b", "\"a\"", "a; \"b\"", "a/b", "caf\u{e9}"]
    {
        refused(value);
    }
}

// P147, A93
#[test]
fn unknown_extensions_are_ignored() {
    ignored(&",".repeat(30_000));
    let long = "a".repeat(4096);
    ignored(&format!("{long}; {long}={long}"));
    let known = "permessage-deflate; server_max_window_bits=10";
    let line = format!("__proto__, permessage-deflate; constructor, {long}, {known}");
    taken_up(&[&format!("Sec-WebSocket-Extensions: {line}")]);
    for value in
        ["", "x-unknown", "x; y=z; y", "x-webkit-deflate-frame", "constructor; __proto__=a"]
    {
        ignored(value);
    }
}

// P148
#[test]
fn the_same_extension_may_be_offered_again_as_an_alternative() {
    let bits = |n| format!("permessage-deflate; server_max_window_bits={n}");
    let offers = format!("{}, {}, permessage-deflate", bits(10), bits(12)); // in order
    taken_up(&[&format!("Sec-WebSocket-Extensions: {offers}")]);
}

// P150
#[test]
fn names_of_extensions_compare_without_case_and_parameters_are_as_they_are() {
    taken_up(&["Sec-WebSocket-Extensions: Permessage-Deflate; server_max_window_bits=10"]);
    ignored("permessage-deflate; Server_Max_Window_Bits=10");
}
