//! What is between a connection and its stream: nothing, or TLS.
use bytes::Buf;
use std::mem;
use tickwire::{Connection, Outgoing, tls::Session};

pub struct Layer {
    tls: Option<Box<Session>>,
    /// The other end has shut its side, or is gone, or broke the rules of TLS.
    pub shut: bool,
}

/// What goes to the stream: a connection's bytes, or ciphertext.
pub enum Out<'p> {
    Plain(Outgoing<'p>),
    Sealed(&'p mut Session),
}

impl Layer {
    pub fn new(tls: Option<Session>) -> Self {
        Self { tls: tls.map(Box::new), shut: false }
    }

    pub fn is_tls(&self) -> bool {
        self.tls.is_some()
    }

    /// Whether there may be plaintext in these bytes, or those before.
    pub fn may_have(&self, bytes: &[u8]) -> bool {
        self.is_tls() || !bytes.is_empty()
    }

    /// Takes some of the bytes that came to `room`, as plaintext. How much that is; 0, if there is none now.
    pub fn take(&mut self, bytes: &mut &[u8], room: &mut [u8]) -> usize {
        let Some(tls) = &mut self.tls else {
            return copy(bytes, room);
        };
        loop {
            match tls.read(room) {
                Ok(Some(n)) => {
                    self.shut |= n == 0;
                    return n;
                }
                Ok(None) if !bytes.is_empty() => {
                    let n = copy(bytes, tls.spare_mut());
                    tls.commit(n);
                }
                Ok(None) if self.shut => tls.end_of_stream(), // which may be an error
                Ok(None) => return 0,
                Err(_) => {
                    *bytes = &[];
                    self.shut = true; // when the alert is sent
                    return 0;
                }
            }
        }
    }

    /// Takes bytes that came to where they are decrypted.
    pub fn put(&mut self, mut bytes: &[u8]) {
        while let (Some(tls), false) = (&mut self.tls, bytes.is_empty()) {
            let n = copy(&mut bytes, tls.spare_mut());
            tls.commit(n);
        }
    }

    pub fn discard(&mut self, bytes: &mut &[u8]) {
        while self.take(bytes, &mut [0; 4096]) > 0 {}
    }

    /// Seals what a connection has to send, behind what was sealed before is sent. Whether something is to be sent.
    pub fn seal(&mut self, conn: &mut Connection) -> bool {
        let Some(tls) = &mut self.tls else {
            return true;
        };
        if !tls.has_outgoing() && tls.write(&mut conn.sender_mut().outgoing()).is_err() {
            conn.write_failed();
        }
        tls.has_outgoing()
    }

    /// Nothing more can be sent.
    pub fn write_failed(&mut self) {
        if let Some(tls) = &mut self.tls {
            let all = tls.outgoing().len();
            tls.advance(all);
        }
    }

    /// Seals the last words, and the end.
    pub fn say_last(&mut self, text: Vec<u8>) -> Vec<u8> {
        let Some(tls) = &mut self.tls else {
            return text;
        };
        let _ = tls.write(&mut &text[..]); // not before the handshake of TLS is over
        tls.close();
        let sealed = tls.outgoing().to_vec();
        tls.advance(sealed.len());
        sealed
    }

    /// Announces the end. Whether that has to be sent.
    pub fn close(&mut self) -> bool {
        self.tls.as_mut().is_some_and(|tls| {
            tls.close();
            tls.has_outgoing()
        })
    }

    /// Whether TLS has something to send.
    pub fn has_outgoing(&self) -> bool {
        self.tls.as_ref().is_some_and(|tls| tls.has_outgoing())
    }

    pub fn outgoing<'p>(&'p mut self, conn: Option<&'p mut Connection>) -> Option<Out<'p>> {
        match &mut self.tls {
            Some(tls) => Some(Out::Sealed(tls)),
            None => Some(Out::Plain(conn?.sender_mut().outgoing())),
        }
    }
}

impl Out<'_> {
    pub fn chunk(&mut self) -> &[u8] {
        match self {
            Self::Plain(out) => (*out).chunk(),
            Self::Sealed(tls) => tls.outgoing(),
        }
    }

    pub fn advance(&mut self, n: usize) {
        match self {
            Self::Plain(out) => out.advance(n),
            Self::Sealed(tls) => tls.advance(n),
        }
    }
}

/// Takes as many bytes as there is room for.
fn copy(bytes: &mut &[u8], room: &mut [u8]) -> usize {
    let n = bytes.len().min(room.len());
    let (piece, rest) = mem::take(bytes).split_at(n);
    room[..n].copy_from_slice(piece);
    *bytes = rest;
    n
}
