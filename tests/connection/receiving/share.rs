//! A connection whose reads have grown takes no larger share of its thread than others.
use crate::support::tokio::*;
use ::tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{advance, timeout},
};
use std::{
    cell::Cell,
    io,
    pin::{Pin, pin},
    rc::Rc,
    task::{Context, Poll, Waker, ready},
    time::Duration,
};
use tickwire::Config;

/// Has messages of 4 KiB for whoever reads, and counts their bytes. Takes part in tokio's budget,
/// as sockets do.
struct Flood {
    frame: Vec<u8>,
    at: usize,
    bytes: Rc<Cell<usize>>,
    longest: Rc<Cell<usize>>,
}

impl AsyncRead for Flood {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        ready!(::tokio::task::coop::poll_proceed(cx)).made_progress();
        self.longest.set(self.longest.get().max(buf.remaining()));
        self.bytes.set(self.bytes.get() + buf.remaining());
        while buf.remaining() > 0 {
            let rest = &self.frame[self.at..];
            let n = rest.len().min(buf.remaining());
            buf.put_slice(&rest[..n]);
            self.at = (self.at + n) % self.frame.len();
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Flood {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(buf.len()))
    }
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// Between two turns of another task, a flooded connection reads as much as with reads of 16 KiB:
/// tokio's budget is 128 reads.
#[tokio::test]
async fn long_reads_take_as_much_of_the_budget_as_their_bytes_in_short_ones() {
    const SHARE: usize = 128 * ((16 << 10) + 14);
    let (bytes, longest) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(0)));
    let frame = masked(BINARY, [7; 4 << 10]);
    let io = Flood { frame, at: 0, bytes: bytes.clone(), longest: longest.clone() };
    let mut ws = server(io, &Config { max_read: 256 << 10, ..config() });
    let local = tokio::task::LocalSet::new();
    local.spawn_local(async move { while let Ok(Some(_)) = ws.recv().await {} });
    local
        .run_until(async {
            for _ in 0..20 {
                let before = bytes.get();
                tokio::task::yield_now().await;
                let read = bytes.get() - before;
                assert!(read <= SHARE + longest.get(), "{read}");
            }
        })
        .await;
    assert!(longest.get() > 200 << 10, "reads have grown: {}", longest.get());
    assert!(bytes.get() > 10 * SHARE, "{}", bytes.get());
}

/// Has so many Pings, each in a read of its own that takes 160 us, and behind them a message. Takes
/// part in tokio's budget.
struct Backlog(Rc<Cell<Option<usize>>>);

polled!(tokio: Backlog);
impl Polled for Backlog {
    fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let budget = ready!(::tokio::task::coop::poll_proceed(cx));
        let Some(pings) = self.0.get() else { return Poll::Pending };
        budget.made_progress();
        self.0.set(pings.checked_sub(1));
        // The first poll sets the clock.
        let read = advance(Duration::from_micros(160));
        let _ = pin!(read).poll(&mut Context::from_waker(Waker::noop()));
        buf.put_slice(&if pings > 0 { masked(PING, b"") } else { masked(BINARY, b"!") });
        Poll::Ready(Ok(()))
    }
    fn poll_write(&mut self, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(bytes.len()))
    }
}

/// The budget ends some reads while `data_timeout` is judged. The message behind them is delivered.
#[tokio::test(start_paused = true)]
async fn a_read_that_the_budget_puts_off_shows_no_silence() {
    let unread = Rc::new(Cell::new(None));
    let config = Config { data_timeout: Some(Duration::from_millis(300)), ..config() };
    let mut ws = server(Backlog(unread.clone()), &config);
    assert!(timeout(Duration::from_millis(1), ws.recv()).await.is_err(), "the deadline runs");
    advance(Duration::from_millis(400)).await;
    unread.set(Some(600));
    let received = ws.recv().await.unwrap();
    assert_eq!(received.unwrap().as_bytes(), b"!");
}
