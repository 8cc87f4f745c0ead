//! tickwire's core driven by hand over TLS: a session without I/O between the stream and the
//! connection.

use std::io::{self, Read, Write};

use bytes::Buf;
use tickwire::{Connection, Step, tls};

use crate::bridge::AsStd;
use crate::mem::Mem;
use crate::peers::{Conn, Kept, tickwire as ours};

pub struct Session {
    io: AsStd<Mem>,
    tls: tls::Session,
    conn: Connection,
}

impl Session {
    pub(super) fn new(tls: tls::Session) -> Self {
        Session { io: AsStd(Mem::filled()), tls, conn: ours::client() }
    }

    /// Goes on with the handshake of TLS; nothing while there is more to do.
    pub(super) fn shake(&mut self) -> Option<()> {
        let _ = self.turn(); // there is nothing to read at the end
        if self.tls.is_handshaking() || self.tls.has_outgoing() {
            return None;
        }
        assert!(self.tls.in_place());
        Some(())
    }

    fn read(&mut self) -> io::Result<()> {
        let n = self.io.read(self.tls.spare_mut())?;
        self.tls.commit(n);
        Ok(())
    }

    fn write(&mut self) -> io::Result<()> {
        loop {
            let mut out = self.conn.sender_mut().outgoing();
            self.tls.write(&mut out)?;
            let more = out.has_remaining();
            while self.tls.has_outgoing() {
                let n = self.io.write(self.tls.outgoing())?;
                self.tls.advance(n);
            }
            if !more {
                return Ok(());
            }
        }
    }

    /// Goes on with what comes.
    fn turn(&mut self) -> io::Result<()> {
        if self.conn.sender().has_outgoing() || self.tls.has_outgoing() {
            self.write()?;
        }
        loop {
            let rx = self.conn.receiver_mut();
            match self.tls.read(rx.spare_mut())? {
                Some(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Some(n) => {
                    rx.commit(n);
                    return Ok(());
                }
                None => self.read()?,
            }
        }
    }
}

impl Conn for Session {
    type Shared = Kept;
    async fn recv(&mut self, see: impl FnOnce(&[u8])) -> bool {
        loop {
            match self.conn.step() {
                Ok(Step::Message) => break,
                Ok(Step::NeedInput) if self.turn().is_ok() => {}
                _ => return false,
            }
        }
        self.conn.receiver().message().map(|message| see(message.as_bytes())).is_some()
    }
    async fn feed(&mut self, payload: &[u8]) -> bool {
        self.conn.sender_mut().feed(payload).is_ok()
    }
    async fn feed_shared(&mut self, payload: &Kept) -> bool {
        self.feed(payload).await
    }
    async fn flush(&mut self) -> bool {
        self.write().is_ok()
    }
    async fn echo(&mut self) -> bool {
        unreachable!("it is measured one way at a time")
    }
}
