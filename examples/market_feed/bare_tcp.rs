//! The same feed over bare TCP: what the WebSocket runs are measured against. Same tasks, same
//! batches, same conflation; no handshake, no frames, no Close, no Pings.
//!
//! It does what one would do by hand: a batch is written from where it lies, the same bytes for all
//! subscribers, and only what the stream does not take at once is copied.
use crate::{
    BoxError,
    carrier::Carrier,
    feed::{Feed, Outlet},
    over_tokio, runtime,
    subscriber::{Foreign, Stats, Subscriber, Tally},
    wire::{self, TICK_LEN},
};
use std::{
    io::{self, ErrorKind},
    net::{SocketAddr, TcpListener},
    sync::Arc,
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    select,
};

type Tick = [u8; TICK_LEN];

/// Bare TCP.
pub(crate) enum Bare {}

impl Carrier for Bare {
    type Tick = Tick;

    fn target(address: SocketAddr) -> String {
        address.to_string()
    }

    fn serve(listener: TcpListener, feed: Feed<Tick>) -> Result<(), BoxError> {
        runtime()?.block_on(over_tokio::serve(listener, feed, session))
    }

    fn subscribe(
        address: &str,
        clients: usize,
        _: Option<Duration>,
        tally: Arc<Tally>,
    ) -> Result<Stats, BoxError> {
        let address = address.parse()?;
        runtime()?.block_on(over_tokio::all(clients, || follow(address, tally.clone())))
    }
}

async fn session(mut stream: TcpStream, mut outlet: Outlet<Tick>) -> Result<(), BoxError> {
    stream.set_nodelay(true)?;
    // What the stream did not take yet.
    let mut rest = outlet.join();
    loop {
        select! {
            biased;
            ready = stream.writable(), if !rest.is_empty() => {
                ready?;
                let n = try_write(&stream, &rest)?;
                rest.drain(..n);
            }
            ready = stream.readable() => {
                ready?;
                match stream.try_read(&mut [0; 64]) {
                    Ok(0) => return Ok(()),
                    Ok(_) => {}
                    Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                    Err(error) => return Err(error.into()),
                }
            }
            batch = outlet.batch() => {
                let Some(batch) = batch else { break };
                let due = outlet.due(&batch, rest.len());
                rest.extend(due.snapshot.unwrap_or_default());
                let ticks = due.ticks.as_flattened();
                let n = if rest.is_empty() { try_write(&stream, ticks)? } else { 0 };
                rest.extend_from_slice(ticks.get(n..).unwrap_or_default());
                outlet.sent(due.ticks.len());
            }
        }
    }
    rest.extend(outlet.catch_up().unwrap_or_default());
    stream.write_all(&rest).await?;
    stream.shutdown().await?;
    Ok(())
}

/// How much the stream takes now.
fn try_write(stream: &TcpStream, bytes: &[u8]) -> io::Result<usize> {
    match stream.try_write(bytes) {
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(0),
        written => written,
    }
}

async fn follow(address: SocketAddr, tally: Arc<Tally>) -> Result<Stats, BoxError> {
    let mut subscriber = Subscriber::new(&tally)?;
    let mut stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let mut buffer = Buffer::default();
    loop {
        match stream.read(buffer.spare()).await? {
            0 if buffer.is_empty() => return Ok(subscriber.into_stats()),
            0 => return Err(io::Error::from(ErrorKind::UnexpectedEof).into()),
            n => buffer.take(n, &mut subscriber)?,
        }
    }
}

/// Bytes read, as large as a WebSocket's own buffer; what is left of a message is moved to the
/// front.
struct Buffer {
    bytes: Vec<u8>,
    end: usize,
}

impl Default for Buffer {
    fn default() -> Self {
        Self { bytes: vec![0; 16 << 10], end: 0 }
    }
}

impl Buffer {
    fn is_empty(&self) -> bool {
        self.end == 0
    }

    fn spare(&mut self) -> &mut [u8] {
        if self.end == self.bytes.len() {
            self.bytes.resize(2 * self.end, 0);
        }
        &mut self.bytes[self.end..]
    }

    /// Hands on the messages that are whole, now that `n` bytes were read.
    fn take(&mut self, n: usize, subscriber: &mut Subscriber<'_>) -> Result<(), Foreign> {
        self.end += n;
        let mut rest = &self.bytes[..self.end];
        while rest.len() >= 8 {
            let len = wire::len(rest).ok_or(Foreign)?;
            let Some((message, behind)) = rest.split_at_checked(len) else { break };
            subscriber.take(message)?;
            rest = behind;
        }
        subscriber.settle();
        let begin = self.end - rest.len();
        self.bytes.copy_within(begin..self.end, 0);
        self.end -= begin;
        Ok(())
    }
}
