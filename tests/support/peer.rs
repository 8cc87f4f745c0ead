//! The other end of a connection, in bytes, over a socket that blocks.
use crate::support::wire::{frame, key_of, peer, read_frame};
use std::{
    io::{ErrorKind, Read, Write},
    net::{Shutdown, TcpStream},
};
use testkit::frames::read_head;
use tickwire::Role;

pub(crate) struct Peer<S = TcpStream> {
    pub(crate) io: S,
    role: Role,
}

impl<S: Read + Write> Peer<S> {
    /// The peer of an end in this role. `io` has a timeout for reads.
    pub(crate) fn new(io: S, of: Role) -> Self {
        Self { io, role: peer(of) }
    }

    /// A frame as it sends it.
    pub(crate) fn frame(&self, b0: u8, payload: &[u8]) -> Vec<u8> {
        frame(b0, key_of(self.role), payload)
    }

    pub(crate) fn say(&mut self, b0: u8, payload: &[u8]) {
        let frame = self.frame(b0, payload);
        self.wire(&frame);
    }

    pub(crate) fn wire(&mut self, bytes: &[u8]) {
        self.io.write_all(bytes).unwrap();
    }

    pub(crate) fn exact(&mut self, n: usize) -> Vec<u8> {
        let mut bytes = vec![0; n];
        self.io.read_exact(&mut bytes).unwrap();
        bytes
    }

    /// The next frame, or `None` at the end.
    pub(crate) fn hear(&mut self) -> Option<(u8, Vec<u8>)> {
        hear(&mut self.io, self.role == Role::Server)
    }

    /// The next frame.
    pub(crate) fn next(&mut self) -> (u8, Vec<u8>) {
        self.hear().expect("a frame, not the end")
    }

    /// The next frame is this one.
    pub(crate) fn expect(&mut self, b0: u8, payload: &[u8]) {
        match self.hear() {
            Some(heard) if heard.0 == b0 && heard.1 == payload => {}
            Some((other, heard)) => {
                let (start, len) = (heard[..heard.len().min(40)].escape_ascii(), heard.len());
                panic!(
                    "{b0:#x} of {} bytes expected, not {other:#x} of {len}: {start}",
                    payload.len()
                );
            }
            None => panic!("{b0:#x} of {} bytes expected, not the end", payload.len()),
        }
    }

    /// Up to the end of an HTTP head.
    pub(crate) fn head(&mut self) -> String {
        let head = read_head(&mut self.io);
        assert!(head.ends_with("\r\n\r\n"), "{head:?}");
        head
    }

    /// All that is left of the stream, whose end is no reset.
    pub(crate) fn rest(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.io.read_to_end(&mut bytes).unwrap();
        bytes
    }

    /// The stream ends here, without a reset.
    pub(crate) fn at_end(&mut self) {
        assert_eq!(self.io.read(&mut [0; 1]).unwrap(), 0);
    }
}

impl Peer {
    pub(crate) fn end(&self) {
        self.io.shutdown(Shutdown::Write).unwrap();
    }

    /// Something has come, and is left there: a frame has begun.
    pub(crate) fn looks(&self) {
        assert_ne!(self.io.peek(&mut [0; 1]).unwrap(), 0);
    }
}

/// The next frame of an end that masks or does not, and not a byte of what follows it; `None` at the
/// end.
pub(crate) fn hear(io: &mut impl Read, masked: bool) -> Option<(u8, Vec<u8>)> {
    let mut wire = vec![0];
    match io.read(&mut wire) {
        Ok(0) => return None,
        Ok(_) => {}
        Err(error) if error.kind() == ErrorKind::ConnectionReset => return None,
        Err(error) => panic!("{error}"),
    }
    let second = more(io, &mut wire, 1)[0];
    assert_eq!(second & 0x80 != 0, masked, "whether it is masked");
    let number = |bytes: &[u8]| bytes.iter().fold(0, |len, byte| len << 8 | usize::from(*byte));
    let len = match second & 0x7f {
        126 => number(more(io, &mut wire, 2)),
        127 => number(more(io, &mut wire, 8)),
        len => len.into(),
    };
    more(io, &mut wire, len + if masked { 4 } else { 0 });
    let (frame, _) = read_frame(&wire).expect("a whole frame");
    Some((frame.b0, frame.payload))
}

fn more<'w>(io: &mut impl Read, wire: &'w mut Vec<u8>, n: usize) -> &'w [u8] {
    let from = wire.len();
    let read = io.by_ref().take(n as u64).read_to_end(wire).expect("a whole frame");
    assert_eq!(read, n, "a whole frame");
    &wire[from..]
}
