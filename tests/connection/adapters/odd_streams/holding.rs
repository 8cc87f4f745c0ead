//! A stream that takes bytes and holds them, as TLS does: what counts as written, who is woken, and
//! when it has refused for too long.
use crate::support::{
    polled::{Polled, polled},
    talk::WithSender as _,
    wire::connection,
};
use std::{
    io,
    pin::pin,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    task::{Context, Poll, Wake, Waker},
    time::Duration,
};
use tickwire::{Config, Role, tokio::WebSocket};
use tokio::time::{Instant, timeout};

#[derive(Clone)]
struct Holds(Arc<Mutex<State>>);

struct State {
    /// How many bytes it takes.
    room: usize,
    flushes: bool,
    /// Whom it wakes; forgotten when it takes bytes.
    writer: Option<Waker>,
}

impl Holds {
    fn new(room: usize, flushes: bool) -> Self {
        Self(Arc::new(Mutex::new(State { room, flushes, writer: None })))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    /// Whom that wakes.
    fn flushes_and_takes_no_more(&self) -> Waker {
        let mut state = self.state();
        (state.flushes, state.room) = (true, 0);
        state.writer.take().unwrap()
    }

    fn ws(&self, config: &Config) -> WebSocket<Self> {
        WebSocket::from_parts(self.clone(), connection(Role::Server, config))
    }
}

polled!(tokio: Holds);
impl Polled for Holds {
    fn poll_write(&mut self, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let mut state = self.state();
        if state.room == 0 {
            state.writer = Some(cx.waker().clone());
            return Poll::Pending;
        }
        state.writer = None;
        let n = buf.len().min(state.room);
        state.room -= n;
        Poll::Ready(Ok(n))
    }
    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut state = self.state();
        if state.flushes {
            return Poll::Ready(Ok(()));
        }
        state.writer = Some(cx.waker().clone());
        Poll::Pending
    }
}

fn once<F: Future>(future: F) -> Poll<F::Output> {
    pin!(future).poll(&mut Context::from_waker(Waker::noop()))
}

/// The same for the whole and for the sending half, over a stream of its own each.
macro_rules! whole_and_split {
    ($config:expr, |$io:ident, $tx:ident| $check:block) => {
        let $io = Holds::new(usize::MAX, true);
        let mut $tx = $io.ws(&$config);
        $check
        let $io = Holds::new(usize::MAX, true);
        let (_reader, mut $tx) = $io.ws(&$config).into_split();
        $check
    };
}

#[tokio::test(start_paused = true)]
async fn what_was_flushed_stays_written_whatever_is_held_later() {
    for later in ["in order", "first", "pong"] {
        whole_and_split!(Config::default(), |io, tx| {
            // One in order, and one that overtook it.
            io.state().room = 0;
            let order = tx.feed("a").unwrap();
            assert!(once(tx.flush()).is_pending());
            let first = tx.with_sender(|tx| tx.feed_first("urgent")).unwrap();
            io.state().room = usize::MAX;
            assert!(once(tx.flush()).is_ready());
            io.state().flushes = false;
            for room in [0, 50, usize::MAX] {
                match later {
                    "in order" => _ = tx.feed(&[1; 1000]).unwrap(),
                    "first" => _ = tx.with_sender(|tx| tx.feed_first(&[2; 200])).unwrap(),
                    _ => tx.with_sender(|tx| tx.pong(b"0123456789")).unwrap(),
                }
                io.state().room = room;
                assert!(once(tx.flush()).is_pending());
                assert!(tx.is_written(order) && tx.is_written(first), "{later}, {room}");
            }
        });
    }
}

#[tokio::test(start_paused = true)]
async fn what_the_stream_holds_is_known_after_it_was_taken_apart() {
    let io = Holds::new(usize::MAX, false);
    let mut ws = io.ws(&Config::default());
    let order = ws.feed("a").unwrap();
    assert!(once(ws.flush()).is_pending());
    let (stream, conn) = ws.into_parts();
    let mut ws = WebSocket::from_parts(stream, conn);
    assert!(once(ws.flush()).is_pending() && !ws.sender().is_written(order));
    io.state().flushes = true;
    assert!(once(ws.flush()).is_ready() && ws.sender().is_written(order));
}

/// The reader goes on with what the writer has begun, and no deadline is judged before it has
/// tried.
#[tokio::test(start_paused = true)]
async fn a_cancelled_send_is_written_by_the_reader() {
    let config = Config { write_timeout: Duration::from_secs(10), ..Config::default() };
    for woken in [true, false] {
        let io = Holds::new(50, true);
        let (mut reader, mut writer) = io.ws(&config).into_split();
        let mut recv = pin!(reader.recv());
        assert!(once(recv.as_mut()).is_pending());
        assert!(timeout(Duration::from_secs(1), writer.send(&[1; 200])).await.is_err());
        io.state().room = usize::MAX;
        let waker = io.state().writer.take();
        waker.filter(|_| woken).inspect(Waker::wake_by_ref);
        // Without a wake-up at the deadline.
        let patience = Duration::from_secs(if woken { 1 } else { 60 });
        assert!(timeout(patience, recv).await.is_err());
        assert_eq!(writer.buffered_amount(), 0);
    }
}

struct Count(AtomicUsize);

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, SeqCst);
    }
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_makes_room_wakes_the_writer_flushed_or_not() {
    for flushes in [true, false] {
        let io = Holds::new(0, flushes);
        let (mut reader, mut writer) =
            io.ws(&Config { high_water: 100, ..Config::default() }).into_split();
        let _ = writer.feed(&[1; 200]).unwrap();
        let woken = Arc::new(Count(AtomicUsize::new(0)));
        let mut ready = pin!(writer.ready());
        let waker = Waker::from(woken.clone());
        assert!(ready.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        io.state().room = 150; // which forgets the writer
        assert!(once(reader.recv()).is_pending());
        assert_eq!(woken.0.load(SeqCst), 1, "{flushes}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_flush_takes_gives_time_back() {
    let config = Config { write_timeout: Duration::from_secs(10), ..Config::default() };
    whole_and_split!(config, |io, tx| {
        io.state().flushes = false;
        let began = Instant::now();
        let _ = tx.feed("a".repeat(10 * 512)).unwrap();
        assert!(timeout(Duration::from_secs(5), tx.flush()).await.is_err());
        let _ = tx.feed("b").unwrap();
        assert!(timeout(Duration::from_secs(4), tx.flush()).await.is_err());
        io.flushes_and_takes_no_more().wake();
        assert!(tx.flush().await.is_err());
        assert!((19..=21).contains(&began.elapsed().as_secs()), "{:?}", began.elapsed());
    });
}
