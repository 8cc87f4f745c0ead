//! Negotiation, over sockets of this machine, with the heap counted.
use crate::deflate::{RSV1, sockets::deflated};
use crate::{
    harness::*,
    support::{set, wire::*},
};
use tickwire::{Config, Error, Role, deflate::Deflate, handshake::client::Request};

// A42
#[test]
fn window_bits_that_are_none_fail_the_handshake() {
    let bad = ["0", "7", "16", "99", "4294967304", "", "08", "+9", "-9", "9x", "\"\"", " "];
    for &adapter in ADAPTERS {
        for (name, value) in product(["server_max_window_bits", "client_max_window_bits"], bad) {
            let config = Config {
                deflate: Some(set(Deflate::default(), |it| it.server.window_bits = 9)),
                ..patient()
            };
            let request = Request::new("ws://example.com/feed").unwrap();
            let dial = move |door: Door| match door.connect(&request, &config) {
                Err(Error::Handshake(error)) => error,
                Err(other) => panic!("{other}"),
                Ok(_) => panic!("accepted {name}={value}"),
            };
            let (error, (), heap) = duel(adapter, dial, |io| {
                let mut foe = Foe::new(Role::Client, io);
                let frame = foe.frame(RSV1 | TEXT, deflated("behind"));
                let line =
                    format!("Sec-WebSocket-Extensions: permessage-deflate; {name}={value}\r\n");
                foe.shake_and(&line, &frame);
                assert_eq!(foe.rest(), [], "nothing is said to it");
            });
            println!("{adapter:?} {name}={value}: {error}");
            heap.under(adapter.name(), SMALL);
        }
    }
}

// A50
#[test]
fn floods_of_offers_and_parameters_are_accepted_once_or_not_at_all() {
    let same = ["permessage-deflate"; 1000].join(", ");
    let unknown = format!("permessage-deflate{}", "; x=1".repeat(1000));
    let windows = ["permessage-deflate; server_max_window_bits=8"; 1000].join(", ");
    let long = ["permessage-deflate"; 5000].join(", ");
    // The head in a buffer that doubles, and what is made of it.
    const HEAD: usize = 64 << 10;
    let bound = 4 * HEAD + SMALL + READ;
    for (offers, status, accepted) in [
        (same, 101, Some(true)),
        (unknown, 101, Some(false)),
        (windows, 101, Some(false)),
        (long, 431, None),
    ] {
        for &adapter in ADAPTERS {
            let config = Config { deflate: Some(Deflate::default()), ..patient() };
            let defend = move |door: Door| {
                door.accept(&config).map(|ws| ws.connection().negotiated().deflate)
            };
            let (agreed, head, heap) = duel(adapter, defend, |io| {
                let mut foe = Foe::new(Role::Server, io);
                foe.flood(
                    format!("{REQUEST}Sec-WebSocket-Extensions: {offers}\r\n\r\n").as_bytes(),
                    1,
                );
                foe.head()
            });
            assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{adapter:?}: {head}");
            assert_eq!(agreed.ok().map(|agreed| agreed.is_some()), accepted, "{adapter:?}");
            let answers = head.matches("permessage-deflate").count();
            assert_eq!(answers, usize::from(accepted == Some(true)), "{head}");
            heap.under(format_args!("{adapter:?} {status}"), bound);
        }
    }
}
