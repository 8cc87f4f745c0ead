//! Masking keys and the handshake's: A26 to A28.
use crate::harness::*;
use std::collections::BTreeSet;
use tickwire::{Config, Error, Role, handshake::client::Request};

#[test]
fn a28_every_attempt_has_a_key_of_its_own_also_with_the_same_request() {
    for &adapter in ADAPTERS {
        let request = Request::new("ws://example.com/feed").unwrap();
        let mut keys = BTreeSet::new();
        for response in [
            "HTTP/1.1 302 Found\r\nLocation: ws://example.com/other\r\nContent-Length: 0\r\n\r\n",
            "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n",
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n",
            "", // it hangs up
        ] {
            for _ in 0..5 {
                let request = request.clone();
                let dial = move |door: Door| door.connect(&request, &Config::default()).err();
                let (error, head, heap) = duel(adapter, dial, |io| {
                    let mut foe = Foe::new(Role::Client, io);
                    let head = foe.head();
                    foe.wire(response);
                    head
                });
                let error = error.expect("refused");
                assert!(matches!(error, Error::Refused(_) | Error::Handshake(_)), "{error:?}");
                let key = head.split_once("Sec-WebSocket-Key: ").unwrap().1[..24].to_owned();
                assert!(keys.insert(key), "{adapter:?}: the same key again");
                heap.under(adapter.name(), SMALL);
            }
        }
        assert_eq!(keys.len(), 20);
    }
}
