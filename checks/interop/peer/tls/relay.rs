//! A relay that cuts what it passes on anywhere, and sees the records of TLS in it.
use crate::Result;
use std::{
    io::{self, Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::mpsc::{Receiver, channel},
    thread,
    time::Duration,
};
use testkit::Rng;

/// A relay for one connection.
pub(super) struct Relay {
    pub(super) address: SocketAddr,
    done: Receiver<io::Result<[Seen; 2]>>,
}

/// What one end sent.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// Records of data, or of what TLS 1.3 makes look like data, and the lengths of their
    /// ciphertext.
    pub(super) records: usize,
    pub(super) shortest: usize,
    pub(super) longest: usize,
    /// As long as a KeyUpdate of TLS 1.3.
    pub(super) updates: usize,
    /// The type of the last record, and its length.
    last: (u8, usize),
    /// TCP ended with a reset, or did not take all from the other end.
    reset: bool,
    refused: bool,
    /// Of the record that is not whole yet: its header, and how much of it is to come.
    header: Vec<u8>,
    rest: usize,
}

impl Relay {
    pub(super) fn to(target: SocketAddr, seed: u64) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let (tx, done) = channel();
        thread::spawn(move || drop(tx.send(pass(&listener, target, seed))));
        Ok(Self { address, done })
    }

    /// What the end that connected has sent, and what the other has.
    pub(super) fn seen(&self) -> Result<[Seen; 2]> {
        let seen = self.done.recv_timeout(Duration::from_secs(60));
        Ok(seen.map_err(|_| "an end of TCP does not come")??)
    }
}

fn pass(listener: &TcpListener, target: SocketAddr, seed: u64) -> io::Result<[Seen; 2]> {
    let (near, _) = listener.accept()?;
    let far = TcpStream::connect(target)?;
    let (from, to) = (near.try_clone()?, far.try_clone()?);
    let there = thread::spawn(move || one_way(from, to, seed));
    let back = one_way(far, near, !seed)?;
    Ok([there.join().map_err(|_| io::Error::other("a panic"))??, back])
}

/// Passes on what there is to the end of `from`; after `to` has gone, to nobody.
fn one_way(mut from: TcpStream, mut to: TcpStream, seed: u64) -> io::Result<Seen> {
    to.set_nodelay(true)?;
    let (mut seen, mut room) = (Seen::default(), vec![0; 1 << 16]);
    let (mut passed, mut rng) = (0, Rng::new(seed));
    loop {
        let n = from.read(&mut room).unwrap_or_else(|_| {
            seen.reset = true;
            0
        });
        if n == 0 {
            let _ = to.shutdown(Shutdown::Write);
            return Ok(seen);
        }
        seen.note(&room[..n]);
        let mut rest = &room[..n];
        while !rest.is_empty() {
            let most = match rng.below(8) {
                _ if passed < 4000 => 1, // the handshake and some records more
                0 => 1 + rng.below(6),
                _ => 1 + rng.below(8000),
            };
            let (now, later) = rest.split_at(most.min(rest.len()));
            seen.refused |= to.write_all(now).is_err();
            passed += now.len();
            rest = later;
        }
    }
}

impl Seen {
    fn note(&mut self, mut bytes: &[u8]) {
        while let [first, tail @ ..] = bytes {
            if self.rest > 0 {
                let n = self.rest.min(bytes.len());
                self.rest -= n;
                bytes = &bytes[n..];
                continue;
            }
            bytes = tail;
            self.header.push(*first);
            if let [kind, _, _, high, low] = *self.header {
                let len = usize::from(u16::from_be_bytes([high, low]));
                self.header.clear();
                self.rest = len;
                self.last = (kind, len);
                if kind == 23 {
                    self.shortest = if self.records == 0 { len } else { self.shortest.min(len) };
                    self.longest = self.longest.max(len);
                    self.records += 1;
                    self.updates += usize::from(len == 5 + 1 + 16);
                }
            }
        }
    }

    /// The last record may be an alert, and none is cut off.
    pub(super) fn is_announced(&self, tls13: bool) -> bool {
        let alert = if tls13 { self.last == (23, 2 + 1 + 16) } else { self.last.0 == 21 };
        alert && self.rest == 0 && self.header.is_empty()
    }

    /// All reached the other end, and it was not reset.
    pub(super) fn is_calm(&self) -> bool {
        !self.reset && !self.refused
    }
}
