//! 12 URIs and reconnecting.
use crate::support::carriers::SampleNonce;
use std::{iter, time::Duration};
use tickwire::{
    Config,
    handshake::client::{Handshake, Request},
    url::{Target, UrlError},
};
use tickwire_parts::Backoff;

fn parse(url: &str) -> Target {
    url.parse::<Target>().unwrap_or_else(|error| panic!("{url}: {error}"))
}

#[track_caller]
fn refused(url: &str, error: UrlError) {
    assert_eq!(url.parse::<Target>(), Err(error), "{url}");
}

#[test]
fn p193_ws_and_wss_are_the_schemes_whatever_their_case() {
    for (url, secure, port) in [
        ("ws://h", false, 80),
        ("wss://h", true, 443),
        ("WS://h", false, 80),
        ("Wss://h:1", true, 1),
    ] {
        let target = parse(url);
        assert_eq!((target.secure(), target.port()), (secure, port), "{url}");
    }
    for url in ["http://h", "https://h", "HTTP://h"] {
        refused(url, UrlError::HttpScheme);
    }
}

#[test]
fn p194_other_schemes_and_empty_hosts_are_refused_and_userinfo_is_never_in_the_target() {
    for url in ["ftp://h", "wsss://h", "w://h", "://h"] {
        refused(url, UrlError::UnknownScheme);
    }
    for url in ["h", "//h", "ws:h", "ws:/h", ""] {
        refused(url, UrlError::NoScheme);
    }
    for url in ["ws://", "ws:///x", "ws://:80", "ws://?x", "ws://u:p@/x"] {
        refused(url, UrlError::EmptyHost);
    }
    let request = Request::new("ws://user:pa%20ss@h/x").unwrap();
    let handshake = Handshake::new(&request, &Config::default(), SampleNonce(None));
    let text = String::from_utf8(handshake.outgoing().to_vec()).unwrap();
    assert!(text.starts_with("GET /x HTTP/1.1\r\nHost: h\r\n"), "{text}");
    assert!(text.contains("\r\nAuthorization: Basic dXNlcjpwYSBzcw==\r\n"), "{text}");
    assert!(!text.contains("user") && !request.target().to_string().contains("user"));
}

#[test]
fn p195_a_fragment_is_refused_and_its_escape_is_not() {
    for url in ["ws://h#x", "ws://h/#", "ws://h/a?b#c"] {
        refused(url, UrlError::Fragment);
    }
    assert_eq!(parse("ws://h/a%23b").resource(), "/a%23b");
}

#[test]
fn p196_a_port_is_a_number_of_1_to_65535_or_left_out() {
    for url in ["ws://h:0", "ws://h:65536", "ws://h:99999999999", "ws://h:-1", "ws://h:+1"] {
        refused(url, UrlError::BadPort);
    }
    refused("ws://h:8o", UrlError::BadPort);
    for (url, port) in
        [("ws://h:/", 80), ("wss://h:", 443), ("ws://h:0080", 80), ("ws://h:65535", 65535)]
    {
        assert_eq!(parse(url).port(), port, "{url}");
    }
}

#[test]
fn p197_an_ipv6_address_has_brackets_in_host_and_none_to_dial_and_its_zone_stays_here() {
    let target = parse("ws://[FE80::1%25eth0]:8080/x");
    assert_eq!((target.host(), target.host_header()), ("fe80::1%eth0", "[fe80::1]:8080"));
    assert_eq!(target.server_name(), "fe80::1");
    for url in ["ws://::1/", "ws://[::1", "ws://[::g]", "ws://[::1%eth0]", "ws://[::1]x", "ws://[]"]
    {
        refused(url, UrlError::BadHost);
    }
}

#[test]
fn p198_an_empty_path_before_a_query_is_a_slash() {
    for (url, resource) in
        [("ws://h?x=1", "/?x=1"), ("ws://h", "/"), ("ws://h?", "/?"), ("ws://h/?x", "/?x")]
    {
        assert_eq!(parse(url).resource(), resource, "{url}");
    }
}

#[test]
fn p199_escapes_pass_unchanged_and_what_needs_one_is_refused() {
    let escaped = "/%20%C3%A9%2f%zz?a=%25&b=+";
    assert_eq!(parse(&format!("ws://h{escaped}")).resource(), escaped);
    for url in ["ws://h/a b", "ws://h/é", "ws://h/?é", "ws://h/\x01", "ws://h/\\", "ws://h/<>"] {
        refused(url, UrlError::IllegalCharacter);
    }
}

#[test]
fn p200_a_host_is_lower_case_and_ascii_and_the_name_for_tls_is_bare() {
    let target = parse("wss://Example.COM.:8443/Path");
    assert_eq!((target.host(), target.server_name()), ("example.com.", "example.com"));
    assert_eq!(target.host_header(), "example.com.:8443");
    assert_eq!(target.resource(), "/Path");
    for host in ["a~b", "a!b", "a-b_c.d"] {
        assert_eq!(parse(&format!("ws://{host}/")).host(), host);
    }
    refused("ws://a%7eb/", UrlError::EncodedHost); // no resolver decodes it
    assert_eq!(parse("wss://XN--bcher-kva.example").host(), "xn--bcher-kva.example");
    refused("wss://bücher.example", UrlError::NonAsciiHost);
}

#[test]
fn p201_delays_grow_are_capped_and_jittered() {
    let delays: Vec<Vec<u64>> = (0..1000)
        .map(|seed| Backoff::seeded(seed).take(12).map(|delay| delay.as_millis() as u64).collect())
        .collect();
    for (n, (least, most)) in [(0, 5000), (5000, 10_000), (10_000, 20_000), (20_000, 40_000)]
        .into_iter()
        .chain(iter::repeat_n((30_000, 60_000), 8))
        .enumerate()
    {
        let of_all = || delays.iter().map(|delays| delays[n]);
        let (min, max) = (of_all().min().unwrap(), of_all().max().unwrap());
        assert!(least <= min && max <= most, "{n}: {min} to {max}");
        // All over the range, so that those who were lost together do not come back together.
        assert!(min < least + (most - least) / 50 && max > most - (most - least) / 50, "{n}");
    }
}

#[test]
fn p202_a_server_that_accepts_and_drops_is_not_called_in_a_tight_loop() {
    // Ten hours of a server whose connections live for 50 ms and bring nothing.
    let mut backoff = Backoff::seeded(202);
    let (mut now, mut attempts) = (Duration::ZERO, 0);
    while now < Duration::from_secs(36_000) {
        let lived = Duration::from_millis(50);
        backoff.connected_for(lived);
        now += lived + backoff.after_close(1006).unwrap();
        attempts += 1;
    }
    assert!((600..=1210).contains(&attempts), "{attempts}"); // one in 30 to 60 s
    backoff.reset();
    assert!(backoff.next().unwrap() <= Duration::from_secs(5));
}

#[test]
fn p203_the_server_is_obeyed_and_what_cannot_be_mended_is_not_retried() {
    let second = Duration::from_secs(1);
    for seed in 0..100 {
        let backoff = || Backoff::seeded(seed);
        // Restart: 5 to 30 s. Try again later: as late as it gets.
        let delay = backoff().after_close(1012).unwrap();
        assert!((5 * second..=30 * second).contains(&delay), "{delay:?}");
        let delay = backoff().after_close(1013).unwrap();
        assert!((30 * second..=60 * second).contains(&delay), "{delay:?}");
        // Growing goes on behind both.
        let mut grown = backoff();
        grown.by_ref().take(5).for_each(drop);
        assert!(grown.after_close(1012).unwrap() >= 30 * second);
        assert_eq!(grown.attempts(), 6);
        for status in [429, 503] {
            let delay = backoff().after_refusal(status, Some(90 * second)).unwrap();
            assert!((90 * second..=95 * second).contains(&delay), "{status}: {delay:?}");
        }
        for code in [1002, 1003, 1007, 1008, 1009, 1010] {
            assert_eq!(backoff().after_close(code), None, "{code}");
        }
        for status in [400, 401, 403, 404, 405, 410, 426] {
            assert_eq!(backoff().after_refusal(status, Some(second)), None, "{status}");
        }
    }
}
