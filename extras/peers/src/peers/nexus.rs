//! nexus-web: its sans-IO reader and writer, driven by hand as tickwire's core is; its own client
//! and server block on a stream and write each message by itself.
//!
//! Text in one frame that a read has cut in two it does not validate at all, although it lends it
//! as a `str`: `tests/nexus.rs`.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Poll, ready};

use nexus_web::ws::{Client, FrameReader, FrameWriter, Message, Role};
use tokio::io::{AsyncWriteExt, ReadBuf};

use super::{Can, Conn, Io, Kept, NoDeflate, Peer};
use crate::bridge::AsStd;

/// How much its reader holds. By default 1 MiB, which no first-level cache does.
const BUFFER: usize = 64 << 10;
/// After how many bytes fed it writes by itself.
const FULL: usize = 64 << 10;

pub struct Nexus;

pub struct NexusConn<S> {
    io: S,
    reader: FrameReader,
    writer: FrameWriter,
    out: Vec<u8>,
}

impl<S> NexusConn<S> {
    fn new(io: S, role: Role) -> Self {
        let reader = FrameReader::builder().role(role).buffer_capacity(BUFFER).build();
        Self { io, reader, writer: FrameWriter::new(role), out: Vec::new() }
    }
}

impl Peer for Nexus {
    const NAME: &'static str = "nexus-web";
    const CAN: Can = Can { deflate: false, ..Can::ALL };
    type Conn<S: Io> = NexusConn<S>;
    type Deflated<S: Io> = NoDeflate;

    async fn server<S: Io>(io: S) -> Self::Conn<S> {
        NexusConn::new(io, Role::Server)
    }
    async fn client<S: Io>(io: S) -> Self::Conn<S> {
        NexusConn::new(io, Role::Client)
    }
    /// It blocks, and so cannot be `accept`.
    async fn handshake<S: Io>(io: S) -> bool {
        Client::builder().buffer_capacity(BUFFER).accept(AsStd(io)).is_ok()
    }
}

fn data<'m>(message: &Message<'m>) -> Option<&'m [u8]> {
    match *message {
        Message::Binary(data) => Some(data),
        Message::Text(text) => Some(text.as_bytes()),
        _ => None,
    }
}

/// Appends a frame.
fn encode(writer: &mut FrameWriter, out: &mut Vec<u8>, payload: &[u8]) {
    let at = out.len();
    out.resize(at + writer.max_encoded_len(payload.len()), 0);
    let n = writer.encode_binary(payload, &mut out[at..]);
    out.truncate(at + n);
}

impl<S: Io> NexusConn<S> {
    /// Reads once.
    async fn fill(&mut self) -> bool {
        let Self { io, reader, .. } = self;
        if reader.should_compact() || reader.remaining() == 0 {
            reader.compact();
        }
        let n = poll_fn(|cx| {
            let mut room = ReadBuf::new(reader.spare());
            let read = ready!(Pin::new(&mut *io).poll_read(cx, &mut room));
            Poll::Ready(read.map_or(0, |()| room.filled().len()))
        })
        .await;
        reader.filled(n);
        n > 0
    }

    /// Feeds the next message back, if one is here; nothing at the end.
    fn reply(&mut self) -> Option<bool> {
        match self.reader.next() {
            Ok(Some(message)) => encode(&mut self.writer, &mut self.out, data(&message)?),
            Ok(None) => return Some(false),
            Err(_) => return None,
        }
        Some(true)
    }
}

impl<S: Io> Conn for NexusConn<S> {
    type Shared = Kept;
    async fn recv(&mut self, see: impl FnOnce(&[u8])) -> bool {
        loop {
            match self.reader.poll() {
                Ok(true) => break,
                Ok(false) if self.fill().await => {}
                _ => return false,
            }
        }
        match self.reader.next() {
            Ok(Some(message)) => data(&message).map(see).is_some(),
            _ => false,
        }
    }
    async fn feed(&mut self, payload: &[u8]) -> bool {
        if self.out.len() > FULL && !self.flush().await {
            return false;
        }
        encode(&mut self.writer, &mut self.out, payload);
        true
    }
    async fn feed_shared(&mut self, payload: &Kept) -> bool {
        self.feed(payload).await
    }
    async fn flush(&mut self) -> bool {
        let done = self.io.write_all(&self.out).await.is_ok();
        self.out.clear();
        done
    }
    async fn echo(&mut self) -> bool {
        loop {
            match self.reply() {
                Some(true) => return self.flush().await,
                Some(false) if self.fill().await => {}
                _ => return false,
            }
        }
    }
    async fn echo_batch(&mut self) -> bool {
        loop {
            match self.reply() {
                Some(true) => {}
                Some(false) => return self.flush().await && self.fill().await,
                None => return false,
            }
        }
    }
}
