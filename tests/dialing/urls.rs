//! What a URL says: whom to dial, and what to ask for (docs/RULES.md 12).
use tickwire::url::{Target, UrlError};

/// URL, secure, host, port, Host header, resource.
type Case = (&'static str, bool, &'static str, u16, &'static str, &'static str);

// P193, P196, P197, P198, P199, P200
#[test]
fn a_url_says_whom_to_dial_and_what_to_ask_for() {
    let cases: &[Case] = &[
        ("ws://h", false, "h", 80, "h", "/"),
        ("wss://h", true, "h", 443, "h", "/"),
        ("WS://H/Path", false, "h", 80, "h", "/Path"),
        ("wSs://Example.COM/", true, "example.com", 443, "example.com", "/"),
        ("ws://h:80/", false, "h", 80, "h", "/"),
        ("ws://h:443/", false, "h", 443, "h:443", "/"),
        ("wss://h:443/", true, "h", 443, "h", "/"),
        ("wss://h:80", true, "h", 80, "h:80", "/"),
        ("ws://h:/", false, "h", 80, "h", "/"),
        ("ws://h:", false, "h", 80, "h", "/"),
        ("ws://h:0000008080/", false, "h", 8080, "h:8080", "/"),
        ("ws://h:65535/", false, "h", 65535, "h:65535", "/"),
        ("ws://h?x=1", false, "h", 80, "h", "/?x=1"),
        ("ws://h/?x=1", false, "h", 80, "h", "/?x=1"),
        ("ws://h?", false, "h", 80, "h", "/?"),
        ("ws://h/a?b?c/d@e:f", false, "h", 80, "h", "/a?b?c/d@e:f"),
        ("ws://h/%23%20%zz%2525", false, "h", 80, "h", "/%23%20%zz%2525"),
        ("ws://h/../a/./b//c", false, "h", 80, "h", "/../a/./b//c"),
        ("ws://h/a|b{c}^`", false, "h", 80, "h", "/a|b{c}^`"),
        ("ws://127.0.0.1:9001/", false, "127.0.0.1", 9001, "127.0.0.1:9001", "/"),
        ("ws://[::1]", false, "::1", 80, "[::1]", "/"),
        ("ws://[::1]:8080/x", false, "::1", 8080, "[::1]:8080", "/x"),
        ("wss://[2001:DB8::A]:443", true, "2001:db8::a", 443, "[2001:db8::a]", "/"),
        ("ws://[fe80::1%25eth0]:81/", false, "fe80::1%eth0", 81, "[fe80::1]:81", "/"),
        ("ws://a-b_c.example./", false, "a-b_c.example.", 80, "a-b_c.example.", "/"),
        (
            "ws://xn--bcher-kva.example/",
            false,
            "xn--bcher-kva.example",
            80,
            "xn--bcher-kva.example",
            "/",
        ),
        ("ws://a~b/", false, "a~b", 80, "a~b", "/"),
        ("wss://A!b:1", true, "a!b", 1, "a!b:1", "/"),
        ("ws://u@$&'()*+,;=-._~/", false, "$&'()*+,;=-._~", 80, "$&'()*+,;=-._~", "/"),
        ("ws://user:pass@h:81/x", false, "h", 81, "h:81", "/x"),
        ("ws://@h/", false, "h", 80, "h", "/"),
        ("ws://h/a%23b", false, "h", 80, "h", "/a%23b"),
        ("ws://h/%C3%A9%2f?a=%25&b=+", false, "h", 80, "h", "/%C3%A9%2f?a=%25&b=+"),
    ];
    for &(url, secure, host, port, host_header, resource) in cases {
        let target = url.parse::<Target>().unwrap_or_else(|e| panic!("{url}: {e}"));
        assert_eq!(target.secure(), secure, "{url}");
        assert_eq!(target.host(), host, "{url}");
        assert_eq!(target.port(), port, "{url}");
        assert_eq!(target.host_header(), host_header, "{url}");
        assert_eq!(target.resource(), resource, "{url}");
        assert_eq!(url.parse::<Target>(), Ok(target));
    }
}

// P194, P195, P196, P199
/// Also P092, A66.
#[test]
fn a_url_that_cannot_be_sent_as_it_is_is_refused() {
    use UrlError::*;
    let cases = [
        ("", NoScheme),
        ("h", NoScheme),
        ("h:80/x", NoScheme),
        ("//h/x", NoScheme),
        ("ws:h", NoScheme),
        ("ws:/h", NoScheme),
        ("http://h", HttpScheme),
        ("HTTPS://h", HttpScheme),
        ("ftp://h", UnknownScheme),
        ("://h", UnknownScheme),
        ("wsss://h", UnknownScheme),
        ("w://h", UnknownScheme),
        ("ws+unix:///run/feed.sock:/ticks", UnknownScheme),
        ("ws:x://h", UnknownScheme),
        ("wss/user:p'86ss@E886/a/b?://u=1", UnknownScheme), // found by the fuzz target `url`
        ("ws://", EmptyHost),
        ("ws:///x", EmptyHost),
        ("ws://?x", EmptyHost),
        ("ws://:80/", EmptyHost),
        ("ws://u:p@/", EmptyHost),
        ("ws://::1/", BadHost),
        ("ws://fe80::1:80/", BadHost),
        ("ws://[::1", BadHost),
        ("ws://[::1]x", BadHost),
        ("ws://[]/", BadHost),
        ("ws://[h]/", BadHost),
        ("ws://[::g]", BadHost),
        ("ws://[127.0.0.1]/", BadHost),
        ("ws://[v1.a]/", BadHost),
        ("ws://[fe80::1%eth0]/", BadZone),
        ("ws://[fe80::1%1]/", BadZone),
        ("ws://[fe80::1%25]/", BadZone),
        ("ws://[fe80::1%25a%0d]/", BadZone),
        ("ws://a..b/", BadHost),
        ("ws://./", BadHost),
        ("ws://.a/", BadHost),
        ("ws://a..b:1/", BadHost),
        ("ws://../", BadHost),
        ("ws://a|b/", BadHost),
        ("ws://a`b/", BadHost),
        ("ws://a{b}/", BadHost),
        ("ws://a^b/", BadHost),
        ("ws://a[b]/", BadHost),
        ("ws://[::1]%41/", BadHost),
        ("ws://a%/", BadHost),
        ("ws://a%4/", BadHost),
        ("ws://a%zz/", BadHost),
        ("ws://a%4%31/", BadHost),
        ("ws://a%2eb/", EncodedHost),
        ("wss://%2Ftmp%2Fa.sock/", EncodedHost),
        ("ws://%C3%BC:80/", EncodedHost),
        ("ws://b\u{fc}cher.example/", NonAsciiHost),
        ("ws://h:0/", BadPort),
        ("ws://h:00/", BadPort),
        ("ws://h:65536/", BadPort),
        ("ws://h:99999999999999999999/", BadPort),
        ("ws://h:+80/", BadPort),
        ("ws://h:-1/", BadPort),
        ("ws://h:8o/", BadPort),
        ("ws://[::1]:0/", BadPort),
        ("ws://h/#", Fragment),
        ("ws://h#x", Fragment),
        ("ws://h/?a#b", Fragment),
        ("ws://u@v@h/", BadUserinfo),
        ("ws://u%3ax@h/", BadUserinfo),
        ("ws://u:%0d%0a@h/", BadUserinfo),
        ("ws://u%@h/", BadUserinfo),
        ("ws://u%4@h/", BadUserinfo),
        ("ws://u%+4@h/", BadUserinfo),
        ("ws://\u{fc}@h/", BadUserinfo),
        (" ws://h", IllegalCharacter),
        ("ws://h ", IllegalCharacter),
        ("ws://h/a b", IllegalCharacter),
        ("ws://h/\u{e9}", IllegalCharacter),
        ("ws://h/?\u{e9}", IllegalCharacter),
        ("ws://h/\r\nX: y", IllegalCharacter),
        ("ws://h\r\n/", IllegalCharacter),
        ("ws://h/?\0", IllegalCharacter),
        ("ws://h/\t", IllegalCharacter),
        ("ws://h/\x7f", IllegalCharacter),
        ("ws://good.example\\@evil.example/", IllegalCharacter),
        ("ws://h/<\">", IllegalCharacter),
    ];
    for (url, error) in cases {
        assert_eq!(url.parse::<Target>(), Err(error), "{url:?}");
    }
    let of_length = |n: usize| format!("ws://h/{}", "a".repeat(n - "ws://h/".len()));
    assert!(of_length(16 << 10).parse::<Target>().is_ok());
    assert_eq!(of_length((16 << 10) + 1).parse::<Target>(), Err(TooLong));
}

// P200
/// As Bun and npm `ws` have it.
#[test]
fn who_writes_ws_unix_learns_what_dials_a_unix_socket() {
    let error = "ws+unix:///run/feed.sock:/ticks".parse::<Target>().unwrap_err().to_string();
    assert!(error.contains("connect_with"), "{error}");
}

#[test]
fn the_certificate_is_for_the_host_without_zone_and_trailing_dot() {
    for (url, name) in [
        ("wss://Example.com.:8443/", "example.com"),
        ("wss://[fe80::1%25eth0]/", "fe80::1"),
        ("wss://h", "h"),
    ] {
        assert_eq!(url.parse::<Target>().unwrap().server_name(), name);
    }
}

// P194
#[test]
fn user_and_password_are_shown_nowhere() {
    let target = "WS://alice:s3cret@H:81?q".parse::<Target>().unwrap();
    assert_eq!(target.to_string(), "ws://h:81/?q");
    let shown = format!("{target:?}");
    assert!(!shown.contains("alice") && !shown.contains("s3cret"), "{shown}");
    assert_eq!(target.to_string().parse::<Target>().unwrap().resource(), "/?q");
}
