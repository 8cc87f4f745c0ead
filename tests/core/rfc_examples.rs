//! The examples of RFC 6455 §5.7, as they are sent; the vectors of `conformance` have them as they
//! are received.
use crate::support::wire::*;
use tickwire::{Config, Entropy, Negotiated};

/// Gives the key of the RFC's examples.
struct ExampleKey;

impl Entropy for ExampleKey {
    fn fill(&mut self, dest: &mut [u8]) {
        dest.chunks_mut(4).for_each(|c| c.copy_from_slice(&KEY[..c.len()]));
    }
}

const MASKED_HELLO: &[u8] = b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58";

#[test]
fn the_examples_are_sent_byte_for_byte() {
    let mut server = server(&Config::default());
    server.sender_mut().feed("Hello").unwrap();
    assert_eq!(drain(&mut server), b"\x81\x05Hello");
    server.sender_mut().ping(b"Hello").unwrap();
    assert_eq!(drain(&mut server), b"\x89\x05Hello");
    let block: Vec<u8> = (0..=255).collect();
    server.sender_mut().feed(&block).unwrap();
    assert_eq!(drain(&mut server), [b"\x82\x7e\x01\x00", &block[..]].concat());
    let long = vec![7; 65536];
    server.sender_mut().feed(&long).unwrap();
    assert_eq!(
        drain(&mut server),
        [b"\x82\x7f\x00\x00\x00\x00\x00\x01\x00\x00", &long[..]].concat()
    );

    let mut client =
        tickwire::Connection::client(&Config::default(), Negotiated::default(), ExampleKey);
    client.sender_mut().feed("Hello").unwrap();
    assert_eq!(drain(&mut client), MASKED_HELLO);
    assert_eq!(receive(&mut client, b"\x89\x05Hello"), [Seen::Ping(b"Hello".to_vec())]);
    assert_eq!(drain(&mut client), b"\x8a\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58");
}
