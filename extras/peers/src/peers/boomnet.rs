//! boomnet, a client alone, over a stream that never blocks. It masks with a key of zeros, which is
//! no masking (RFC 6455 §5.3, §10.3), leaves UTF-8 and the order of fragments to the application,
//! and has no limits.

use std::io::{self, Read, Write};

use boomnet::stream::ReadHint;
use boomnet::ws::{Websocket, WebsocketFrame};

use super::{Can, Conn, Io, Kept, NoDeflate, Peer};
use crate::bridge::AsStd;

pub struct Boomnet;

/// It writes a message in up to five pieces and then flushes, each time: this writes them as one.
/// Its own buffered stream does so too, but has no room for a long message.
pub struct Gather<S> {
    io: AsStd<S>,
    out: Vec<u8>,
}

impl<S: Io> Read for Gather<S> {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        self.io.read(to)
    }
}

impl<S: Io> ReadHint for Gather<S> {
    fn read_hint(&self) -> bool {
        true
    }
}

impl<S: Io> Write for Gather<S> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.out.extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        let done = self.io.write_all(&self.out);
        self.out.clear();
        done
    }
}

impl Peer for Boomnet {
    const NAME: &'static str = "boomnet";
    const CAN: Can = Can {
        server: false,
        sockets: false,
        handshake: false,
        batch: false,
        deflate: false,
        ..Can::ALL
    };
    type Conn<S: Io> = Websocket<Gather<S>>;
    type Deflated<S: Io> = NoDeflate;

    async fn server<S: Io>(_: S) -> Self::Conn<S> {
        unreachable!("boomnet is a client")
    }
    async fn client<S: Io>(io: S) -> Self::Conn<S> {
        Websocket::new_with_handshake_complete(Gather { io: AsStd(io), out: Vec::new() })
    }
}

impl<S: Io> Conn for Websocket<Gather<S>> {
    type Shared = Kept;
    async fn recv(&mut self, see: impl FnOnce(&[u8])) -> bool {
        loop {
            // A frame of several reads is `None` until the last.
            let data = match self.receive_next() {
                Some(Ok(WebsocketFrame::Binary(true, data))) => data,
                Some(Ok(WebsocketFrame::Text(true, data)))
                    if simdutf8::basic::from_utf8(data).is_ok() =>
                {
                    data
                }
                None => continue,
                _ => return false,
            };
            see(data);
            return true;
        }
    }
    async fn feed(&mut self, payload: &[u8]) -> bool {
        self.send_binary(true, Some(payload)).is_ok()
    }
    async fn feed_shared(&mut self, payload: &Kept) -> bool {
        self.feed(payload).await
    }
    async fn flush(&mut self) -> bool {
        true
    }
    async fn echo(&mut self) -> bool {
        unreachable!("boomnet is a client")
    }
}
