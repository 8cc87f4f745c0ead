//! Negotiation, over sockets of this machine, with the heap counted.
use crate::harness::*;
use tickwire::{Config, Role, deflate::Deflate};

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
