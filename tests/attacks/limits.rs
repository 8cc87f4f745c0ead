//! The bounds on memory that docs/LIMITS.md states.
use crate::harness::*;
use tickwire::{Config, Error, handshake::HandshakeError};

#[test]
fn a53_the_longest_head_allowed_and_then_silence_takes_no_more_than_its_bound() {
    for &adapter in ADAPTERS {
        let accept = |door: Door| match door.accept(&Config::default()) {
            Err(Error::Handshake(error)) => error,
            other => panic!("{:?}", other.err()),
        };
        let (error, (), heap) = duel(adapter, accept, |mut io| {
            let head = [b"GET / HTTP/1.1\r\nX: ".as_slice(), &[b'a'; HEAD]].concat();
            for byte in &head[..HEAD - 1] {
                std::io::Write::write_all(&mut io, &[*byte]).unwrap();
            }
        });
        assert_eq!(error, HandshakeError::UnexpectedEof, "{adapter:?}");
        heap.under(adapter.name(), longest_head(HEAD));
    }
}
