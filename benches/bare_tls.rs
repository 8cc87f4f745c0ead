//! TLS 1.3 records by ring alone, with the keys of a session (AES-128-GCM): nothing but data, and
//! no checks. The floor of a message over TLS, for the benches here and for `peers`, which includes
//! this file.
use ring::aead::{AES_128_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use std::{
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll, ready},
};
use tickwire::tls::rustls::{ConnectionTrafficSecrets, ExtractedSecrets};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Of a record.
pub const HEADER: usize = 5;
/// The most plaintext in a record.
pub const MOST: usize = 16 << 10;
/// What is read at once, and about what is written at once, so that what is sealed is still in the
/// cache then.
const ROOM: usize = 64 << 10;

/// For one direction: the key, the initialisation vector, the number of the next record.
pub struct Key(LessSafeKey, [u8; 12], u64);

impl Key {
    pub fn new((number, secrets): (u64, ConnectionTrafficSecrets)) -> Self {
        let ConnectionTrafficSecrets::Aes128Gcm { key, iv } = secrets else {
            panic!("another suite was agreed on");
        };
        let key = UnboundKey::new(&AES_128_GCM, key.as_ref()).expect("it is as long");
        Self(LessSafeKey::new(key), iv.as_ref().try_into().expect("twelve bytes"), number)
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
    pub fn open(&mut self, header: &[u8], body: &mut [u8]) -> usize {
        let nonce = self.nonce();
        let plain = self.0.open_in_place(nonce, Aad::from(header), body).expect("a good tag");
        let n = plain.iter().rposition(|&byte| byte != 0).expect("a type");
        assert_eq!(plain[n], 23);
        n
    }

    /// Appends a record of `len` bytes, which `put` appends.
    fn seal_with(&mut self, out: &mut Vec<u8>, len: usize, put: impl FnOnce(&mut Vec<u8>)) {
        let at = out.len();
        let [hi, lo] = ((len + 17) as u16).to_be_bytes();
        out.extend_from_slice(&[23, 3, 3, hi, lo]);
        put(out);
        out.push(23);
        let nonce = self.nonce();
        let (header, body) = out[at..].split_at_mut(HEADER);
        let tag = self.0.seal_in_place_separate_tag(nonce, Aad::from(&*header), body);
        out.extend_from_slice(tag.expect("it is short enough").as_ref());
    }

    /// Appends a record.
    pub fn seal(&mut self, plain: &[u8], out: &mut Vec<u8>) {
        self.seal_with(out, plain.len(), |out| out.extend_from_slice(plain));
    }
}

/// The length of the body behind a header.
pub fn body_len(header: &[u8; HEADER]) -> usize {
    let &[kind, _, _, hi, lo] = header;
    let len = usize::from(u16::from_be_bytes([hi, lo]));
    assert!(kind == 23 && len <= MOST + 256);
    len
}

/// For receiving and sending.
pub struct Keys {
    pub rx: Key,
    pub tx: Key,
}

impl Keys {
    pub fn new(secrets: ExtractedSecrets) -> Self {
        Self { rx: Key::new(secrets.rx), tx: Key::new(secrets.tx) }
    }
}

/// A stream over `S`: records are opened where they were read to and sealed where they are written
/// from, but the plaintext is copied once.
pub struct Bare<S> {
    io: S,
    keys: Keys,
    /// Ciphertext in `wire[at..end]`; plaintext that nobody has read in `wire[from..to]`.
    wire: Vec<u8>,
    at: usize,
    end: usize,
    from: usize,
    to: usize,
    out: Vec<u8>,
}

impl<S> Bare<S> {
    pub fn new(io: S, keys: Keys) -> Self {
        let (wire, out) = (vec![0; ROOM], Vec::with_capacity(2 * ROOM));
        Self { io, keys, wire, at: 0, end: 0, from: 0, to: 0, out }
    }

    /// Opens the first record, if all of it is here.
    fn open(&mut self) -> bool {
        let wire = &mut self.wire[self.at..self.end];
        let Some((header, rest)) = wire.split_first_chunk_mut() else {
            return false;
        };
        let len = body_len(header);
        let Some(body) = rest.get_mut(..len) else {
            return false;
        };
        self.from = self.at + HEADER;
        self.to = self.from + self.keys.rx.open(header, body);
        self.at += HEADER + len;
        true
    }
}

impl<S: AsyncWrite + Unpin> Bare<S> {
    fn write_out(&mut self, cx: &mut Context<'_>, taken: usize) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, &self.out).map_ok(|_| taken)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Bare<S> {
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

impl<S: AsyncWrite + Unpin> AsyncWrite for Bare<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        from: &[u8],
    ) -> Poll<io::Result<usize>> {
        let Self { keys, out, .. } = &mut *self;
        out.clear();
        from.chunks(MOST).for_each(|piece| keys.tx.seal(piece, out));
        self.write_out(cx, from.len())
    }
    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let Self { keys, out, .. } = &mut *self;
        out.clear();
        let all = bufs.iter().map(|buf| buf.len()).sum::<usize>().min(ROOM);
        let mut bufs = bufs.iter().map(|buf| &buf[..]);
        let (mut from, mut left): (&[u8], _) = (&[], all);
        while left > 0 {
            let len = left.min(MOST);
            left -= len;
            keys.tx.seal_with(out, len, |out| {
                let mut len = len;
                while len > 0 {
                    if from.is_empty() {
                        from = bufs.next().expect("as many as were counted");
                    }
                    let (now, later) = from.split_at(from.len().min(len));
                    out.extend_from_slice(now);
                    from = later;
                    len -= now.len();
                }
            });
        }
        self.write_out(cx, all)
    }
    fn is_write_vectored(&self) -> bool {
        true
    }
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
