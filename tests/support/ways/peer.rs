//! The other end of the line, frame by frame.
use crate::support::{
    blocking::PATIENCE,
    wire::{WireFrame, frame, key_of, peer, read_frame},
};
use std::{
    io::{Read, Write},
    os::unix::net::UnixStream,
};
use tickwire::Role;

pub(crate) struct Peer {
    pub(crate) io: UnixStream,
    role: Role,
    read: Vec<u8>,
}

impl Peer {
    /// That of an end in this role.
    pub(crate) fn new(io: UnixStream, of: Role) -> Self {
        io.set_read_timeout(Some(PATIENCE)).unwrap();
        Self { io, role: peer(of), read: vec![] }
    }

    /// A frame as it sends it.
    pub(crate) fn frame(&self, b0: u8, payload: &[u8]) -> Vec<u8> {
        frame(b0, key_of(self.role), payload)
    }

    pub(crate) fn say(&mut self, b0: u8, payload: &[u8]) {
        let frame = self.frame(b0, payload);
        self.io.write_all(&frame).unwrap();
    }

    fn fill(&mut self) -> bool {
        let mut buf = vec![0; 64 << 10];
        match self.io.read(&mut buf) {
            Ok(n) => {
                self.read.extend(&buf[..n]);
                n > 0
            }
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => false,
            Err(error) => panic!("{error}"),
        }
    }

    /// The next frame, or `None` at the end.
    pub(crate) fn hear(&mut self) -> Option<(u8, Vec<u8>)> {
        loop {
            if let Some((WireFrame { b0, masked, payload }, n)) = read_frame(&self.read) {
                assert_eq!(masked, self.role == Role::Server);
                self.read.drain(..n);
                return Some((b0, payload));
            }
            if !self.fill() {
                assert!(self.read.is_empty(), "the end, in the middle of a frame");
                return None;
            }
        }
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
        let end = loop {
            match self.read.windows(4).position(|w| w == b"\r\n\r\n") {
                Some(at) => break at + 4,
                None => assert!(self.fill(), "{:?}", String::from_utf8_lossy(&self.read)),
            }
        };
        String::from_utf8(self.read.drain(..end).collect()).unwrap()
    }

    /// All that is left of the stream, whose end is no reset.
    pub(crate) fn rest(&mut self) -> String {
        self.io.read_to_end(&mut self.read).unwrap();
        String::from_utf8(std::mem::take(&mut self.read)).unwrap()
    }
}
