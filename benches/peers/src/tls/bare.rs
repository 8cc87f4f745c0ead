//! Records by ring alone, with the keys of a session, nothing but data and no checks: the prototype,
//! and what it is made of.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use ring::aead::{AES_128_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use tickwire::tls::rustls::{ConnectionTrafficSecrets, ExtractedSecrets};
use tickwire::{Connection, Step};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};

use crate::mem::Mem;
use crate::peers::{Conn, Kept, keep, tickwire as ours};

/// Of a record.
const HEADER: usize = 5;
/// What is read at once.
const ROOM: usize = 64 << 10;
/// The most plaintext in a record.
const MOST: usize = 16 << 10;

/// For one direction: the key, the initialisation vector, the number of the next record.
pub struct Key(LessSafeKey, [u8; 12], u64);

/// For receiving and sending.
pub struct Keys(Key, Key);

impl Keys {
    pub(super) fn new(secrets: ExtractedSecrets) -> Self {
        Keys(Key::new(secrets.rx), Key::new(secrets.tx))
    }
}

impl Key {
    fn new((number, secrets): (u64, ConnectionTrafficSecrets)) -> Self {
        let ConnectionTrafficSecrets::Aes128Gcm { key, iv } = secrets else {
            panic!("another suite was agreed on");
        };
        let key = UnboundKey::new(&AES_128_GCM, key.as_ref()).expect("it is as long");
        Key(LessSafeKey::new(key), iv.as_ref().try_into().expect("twelve bytes"), number)
    }

    fn nonce(&mut self) -> Nonce {
        let mut nonce = self.1;
        for (byte, number) in nonce[4..].iter_mut().zip(self.2.to_be_bytes()) {
            *byte ^= number;
        }
        self.2 += 1;
        Nonce::assume_unique_for_key(nonce)
    }

    /// How much plaintext then lies at the front of `body`.
    fn open(&mut self, header: &[u8], body: &mut [u8]) -> usize {
        let nonce = self.nonce();
        let plain = self.0.open_in_place(nonce, Aad::from(header), body).expect("a good tag");
        let at = plain.iter().rposition(|&byte| byte != 0).expect("a type");
        assert!(plain[at] == 23);
        at
    }

    /// Appends a record.
    fn seal(&mut self, plain: &[u8], out: &mut Vec<u8>) {
        let at = out.len();
        let [hi, lo] = ((plain.len() + 17) as u16).to_be_bytes();
        out.extend_from_slice(&[23, 3, 3, hi, lo]);
        out.extend_from_slice(plain);
        out.push(23);
        let nonce = self.nonce();
        let (header, body) = out[at..].split_at_mut(HEADER);
        let tag = self.0.seal_in_place_separate_tag(nonce, Aad::from(&*header), body);
        out.extend_from_slice(tag.expect("it is short enough").as_ref());
    }
}

fn body_len(header: &[u8]) -> usize {
    assert!(header[0] == 23);
    usize::from(u16::from_be_bytes([header[3], header[4]]))
}

/// The prototype: records are opened where they were read to and sealed where they are written from,
/// but the plaintext is copied once.
pub struct Prototype {
    io: Mem,
    keys: Keys,
    /// Ciphertext in `wire[at..end]`; plaintext that nobody has read in `wire[from..to]`.
    wire: Vec<u8>,
    at: usize,
    end: usize,
    from: usize,
    to: usize,
    out: Vec<u8>,
}

impl Prototype {
    pub fn new(keys: Keys) -> Self {
        let (io, wire, out) = (Mem::filled(), vec![0; ROOM], Vec::with_capacity(2 * MOST));
        Prototype { io, keys, wire, at: 0, end: 0, from: 0, to: 0, out }
    }

    /// Opens the first record, if all of it is here.
    fn open(&mut self) -> bool {
        let wire = &mut self.wire[self.at..self.end];
        let Some((header, rest)) = wire.split_at_mut_checked(HEADER) else {
            return false;
        };
        let len = body_len(header);
        let Some(body) = rest.get_mut(..len) else {
            return false;
        };
        self.from = self.at + HEADER;
        self.to = self.from + self.keys.0.open(header, body);
        self.at += HEADER + len;
        true
    }
}

impl AsyncRead for Prototype {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        to: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        while this.from == this.to && !this.open() {
            this.wire.copy_within(this.at..this.end, 0);
            (this.at, this.end) = (0, this.end - this.at);
            let mut room = ReadBuf::new(&mut this.wire[this.end..]);
            ready!(Pin::new(&mut this.io).poll_read(cx, &mut room))?;
            this.end += room.filled().len();
        }
        let n = to.remaining().min(this.to - this.from);
        to.put_slice(&this.wire[this.from..][..n]);
        this.from += n;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Prototype {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        from: &[u8],
    ) -> Poll<io::Result<usize>> {
        let Self { io, keys, out, .. } = &mut *self;
        out.clear();
        from.chunks(MOST).for_each(|piece| keys.1.seal(piece, out));
        Pin::new(io).poll_write(cx, out).map_ok(|_| from.len())
    }
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

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
        Some(self.keys.0.open(&header, record))
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
    fn share(payload: &[u8]) -> Kept {
        keep(payload)
    }
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
            keys.1.seal(&out.chunk()[..n], wire);
            out.advance(n);
        }
        io.write_all(wire).await.is_ok()
    }
    async fn echo(&mut self) -> bool {
        unreachable!("it is measured one way at a time")
    }
}
