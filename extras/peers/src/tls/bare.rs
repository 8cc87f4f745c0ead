//! Records by ring alone: the prototype, which is a stream, and what it is made of.

use tickwire::{Connection, Step};
use tokio::io::AsyncWriteExt;

use crate::mem::Mem;
use crate::peers::{Conn, Kept, tickwire as ours};

#[allow(unreachable_pub)] // the benches include it too
#[path = "../../../../benches/bare_tls.rs"]
mod bare_tls;

pub use bare_tls::{Bare, Keys};
use bare_tls::{HEADER, MOST, body_len};

/// The base: each record is copied once and opened there, and `Connection` gets the plaintext where
/// it lies. It sends as the prototype, from the core's own output.
pub struct Base {
    io: Mem,
    keys: Keys,
    conn: Connection,
    /// While the connection does not have it.
    record: Vec<u8>,
    out: Vec<u8>,
}

impl Base {
    pub fn new(keys: Keys) -> Self {
        let record = vec![0; MOST + 256];
        Base { io: Mem::filled(), keys, conn: ours::client(), record, out: Vec::new() }
    }

    /// Opens a record, and says how long its plaintext is; nothing at the end.
    fn open(&mut self) -> Option<usize> {
        let header: [u8; HEADER] = self.io.take(HEADER)?.try_into().ok()?;
        let body = self.io.take(body_len(&header))?;
        let record = &mut self.record[..body.len()];
        record.copy_from_slice(body);
        Some(self.keys.rx.open(&header, record))
    }

    fn fill(&mut self) -> bool {
        let rx = self.conn.receiver_mut();
        if self.record.is_empty() {
            self.record = rx.reclaim();
        }
        let Some(n) = self.open() else {
            return false;
        };
        let record = std::mem::take(&mut self.record);
        self.conn.receiver_mut().lend_filled(record, n).is_none()
    }
}

impl Conn for Base {
    type Shared = Kept;
    async fn recv(&mut self, see: impl FnOnce(&[u8])) -> bool {
        loop {
            match self.conn.step() {
                Ok(Step::Message) => break,
                Ok(Step::NeedInput) if self.fill() => {}
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
        use bytes::Buf;
        let Self { io, keys, conn, out: wire, .. } = self;
        let mut out = conn.sender_mut().outgoing();
        wire.clear();
        while out.has_remaining() {
            let n = out.chunk().len().min(MOST);
            keys.tx.seal(&out.chunk()[..n], wire);
            out.advance(n);
        }
        io.write_all(wire).await.is_ok()
    }
    async fn echo(&mut self) -> bool {
        unreachable!("it is measured one way at a time")
    }
}
