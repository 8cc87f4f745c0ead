//! A large message that is shared is written from where it is: nothing of it is copied or lost,
//! whatever becomes of the call. A borrowed one is copied once.
use crate::support::{blocking::bounded, endless::Endless, talk::WithSender as _, wire::*};
use std::{
    pin::pin,
    task::{Context, Poll, Waker},
};
use testkit::{
    Rng,
    alloc::{allocations, live, peak},
};
use tickwire::{
    Config, Connection, Error, Message, Outbound, Prepared, Role, Sender, blocking, tokio,
};

/// An adapter that sends, whole or split.
trait Way: Sized {
    fn new(conn: Connection, io: Endless) -> Self;
    /// Whether all was written. If not, the call was given up.
    fn send(&mut self, message: Outbound<'_>) -> bool;
    fn flush(&mut self) -> bool;
    fn tx<T>(&mut self, f: impl FnOnce(&mut Sender) -> T) -> T;
}

fn once(future: impl Future<Output = Result<(), Error>>) -> bool {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(done) => done.map(|()| true).unwrap(),
        Poll::Pending => false,
    }
}

fn waited(result: Result<(), Error>) -> bool {
    match result {
        Err(Error::WouldBlock) => false,
        done => done.map(|()| true).unwrap(),
    }
}

/// A way whose sending end is its first field; `$done` sees its calls through.
macro_rules! way_of {
    ($way:ident, $done:ident, |$conn:ident, $io:ident| $new:expr) => {
        impl Way for $way {
            fn new($conn: Connection, $io: Endless) -> Self {
                $new
            }
            fn send(&mut self, message: Outbound<'_>) -> bool {
                $done(self.0.send(message))
            }
            fn flush(&mut self) -> bool {
                $done(self.0.flush())
            }
            fn tx<T>(&mut self, f: impl FnOnce(&mut Sender) -> T) -> T {
                self.0.with_sender(f)
            }
        }
    };
}

struct Tokio(tokio::WebSocket<Endless>);
struct TokioSplit(tokio::Writer<Endless>, #[allow(dead_code)] tokio::Reader<Endless, Endless>);
struct Blocking(blocking::WebSocket<Endless>);
struct BlockingSplit(blocking::Writer<Endless>, #[allow(dead_code)] blocking::Reader<Endless>);

way_of!(Tokio, once, |conn, io| Self(tokio::WebSocket::from_parts(io, conn)));
way_of!(TokioSplit, once, |conn, io| {
    let ws = tokio::WebSocket::from_parts(io, conn);
    let (reader, writer) = ws.into_split_with(|io| (io.clone(), io));
    Self(writer, reader)
});
way_of!(Blocking, waited, |conn, io| Self(blocking::WebSocket::from_parts(io, conn)));
way_of!(BlockingSplit, waited, |conn, io| {
    let (reader, writer) = blocking::WebSocket::from_parts(io, conn).into_split().unwrap();
    Self(writer, reader)
});

fn everywhere(f: impl Fn(usize) + Send + Sync + 'static) {
    bounded(move || {
        // For the timers of tokio.
        let runtime = ::tokio::runtime::Builder::new_current_thread().enable_time().build();
        let runtime = runtime.unwrap();
        let _entered = runtime.enter();
        (0..4).for_each(&f);
    });
}

/// Calls `$f::<W>` for the way with this number.
macro_rules! way {
    ($n:expr, $f:ident($($arg:expr),*)) => {
        match $n {
            0 => $f::<Tokio>($($arg),*),
            1 => $f::<TokioSplit>($($arg),*),
            2 => $f::<Blocking>($($arg),*),
            _ => $f::<BlockingSplit>($($arg),*),
        }
    };
}

/// With room for more than one of them.
fn config() -> Config {
    Config { high_water: 16 << 20, ..Config::default() }
}

/// A stream that remembers what it takes.
fn stream() -> Endless {
    let io = Endless::new(vec![]);
    io.state().written = Vec::with_capacity(4 << 20);
    io
}

const LEN: usize = 1 << 20;
/// Less than this is bookkeeping: the first buffer, and that of what is queued besides.
const LITTLE: i64 = 40 << 10;

#[test]
fn nothing_is_copied_of_a_shared_message_that_the_stream_takes() {
    fn check<W: Way>() {
        let payload = vec![7; LEN];
        let shared = bytes::Bytes::from(payload.clone());
        let prepared = Prepared::new(&payload);
        let messages: [Outbound<'_>; 2] = [shared.clone().into(), (&prepared).into()];
        for message in messages {
            let io = Endless::new(vec![]);
            let mut way = W::new(connection(Role::Server, &config()), io.clone());
            let cost = peak(|| assert!(way.send(message.clone())));
            assert!(cost < LITTLE, "{cost}");
            assert_eq!(io.state().taken, 10 + LEN);
            assert!(!way.tx(|tx| tx.has_outgoing()));
            let at = way.tx(|tx| tx.fed());
            assert!(way.tx(|tx| tx.is_written(at)));
            // And nothing at all from then on, but for what a split connection has twice.
            assert!(way.send(message.clone()));
            let before = allocations();
            assert!((0..10).all(|_| way.send(message.clone())));
            assert_eq!(allocations() - before, 0);
        }
        // With messages that wait.
        let io = stream();
        let mut way = W::new(connection(Role::Server, &config()), io.clone());
        way.tx(|tx| tx.feed("before")).unwrap();
        way.tx(|tx| tx.ping(b"!")).unwrap();
        let cost = peak(|| assert!(way.send(shared.into())));
        assert!(cost < LITTLE, "{cost}");
        let frames = frames(&io.state().written);
        let sent: Vec<_> = frames.iter().map(|frame| (frame.b0, frame.payload.len())).collect();
        assert_eq!(sent, [(PING, 1), (TEXT, 6), (BINARY, LEN)]);
    }
    everywhere(|n| way!(n, check()));
}

#[test]
fn nothing_is_copied_of_a_shared_message_that_the_stream_takes_in_part_and_nothing_is_lost() {
    fn check<W: Way>(cut: usize, before: bool) {
        let payload = Rng::new(cut as u64).bytes(LEN);
        let io = stream();
        let mut way = W::new(connection(Role::Server, &config()), io.clone());
        let mut head = 0;
        if before {
            way.tx(|tx| tx.feed("before")).unwrap();
            head = way.tx(|tx| tx.buffered_amount());
        }
        let whole = head + 10 + LEN;
        io.state().room = cut;
        let fed = way.tx(|tx| tx.fed());
        let shared = bytes::Bytes::from(payload.clone());
        let cost = peak(|| assert!(!way.send(shared.into())));
        assert!(cost < LITTLE, "{cost} at {cut}");
        // It was fed, and what is left is owed, behind what a call of its own adds.
        let at = way.tx(|tx| tx.fed());
        assert_ne!(at, fed);
        assert!(!way.tx(|tx| tx.is_written(at)));
        assert_eq!((way.tx(|tx| tx.buffered_amount()), io.state().taken), (whole - cut, cut));
        way.tx(|tx| tx.ping(b"now")).unwrap();
        way.tx(|tx| tx.feed("behind")).unwrap();
        io.state().room = 10;
        assert!(!way.flush());
        io.state().room = usize::MAX;
        assert!(way.flush());
        assert!(way.tx(|tx| tx.is_written(at)) && !way.tx(|tx| tx.has_outgoing()));
        // The message is whole, and the Ping goes in at a boundary.
        let mut sent = sent(&io.state().written);
        let ping = sent.iter().position(|frame| *frame == (PING, b"now".to_vec())).unwrap();
        sent.remove(ping);
        if before {
            assert_eq!(sent.remove(0), (TEXT, b"before".to_vec()));
        }
        assert!(sent[0] == (BINARY, payload), "at {cut}");
        assert_eq!(sent[1..], [(TEXT, b"behind".to_vec())]);
    }
    everywhere(|n| {
        let cuts = || (0..25).chain([4096, 70_000, LEN / 2, LEN, LEN + 9]);
        let all = [false, true].into_iter().flat_map(|before| cuts().map(move |cut| (cut, before)));
        // Of each way others.
        let nth = sampled(1, 7);
        for (cut, before) in all.skip(n % nth).step_by(nth) {
            way!(n, check(cut, before));
        }
    });
}

#[test]
fn a_borrowed_message_is_copied_once() {
    fn check<W: Way>() {
        let payload = vec![7; LEN];
        let io = Endless::new(vec![]);
        let mut way = W::new(connection(Role::Server, &config()), io.clone());
        let cost = peak(|| assert!(way.send((&payload).into())));
        assert!(cost < LEN as i64 + LITTLE, "{cost}");
        assert_eq!(io.state().taken, 10 + LEN);
    }
    everywhere(|n| way!(n, check()));
}

#[test]
fn a_ping_does_not_wait_for_all_that_was_fed_before() {
    fn check<W: Way>() {
        let payload = vec![7; LEN];
        let io = stream();
        let mut way = W::new(connection(Role::Server, &config()), io.clone());
        for _ in 0..300 {
            way.tx(|tx| tx.feed(&[1; 1000])).unwrap();
        }
        io.state().room = 5000;
        assert!(!way.send((&payload).into()));
        way.tx(|tx| tx.ping(b"now")).unwrap();
        io.state().room = usize::MAX;
        assert!(way.flush());
        let sent = sent(&io.state().written);
        let ping = sent.iter().position(|frame| *frame == (PING, b"now".to_vec())).unwrap();
        assert!(ping < 80, "{ping}");
        assert_eq!(sent.len(), 302);
    }
    everywhere(|n| way!(n, check()));
}

#[test]
fn one_that_is_under_way_is_not_cut_by_an_abort() {
    fn check<W: Way>() {
        let payload = vec![7; LEN];
        let io = stream();
        let mut way = W::new(connection(Role::Server, &config()), io.clone());
        io.state().room = 5000;
        assert!(!way.send((&payload).into()));
        way.tx(|tx| tx.abort(None)).unwrap();
        assert_eq!(way.tx(|tx| tx.dropped()), 0, "it is under way");
        io.state().room = usize::MAX;
        assert!(way.flush());
        let frames = sent(&io.state().written);
        assert!(frames[0] == (BINARY, payload) && frames[1..] == [(CLOSE, vec![])]);
    }
    everywhere(|n| way!(n, check()));
}

/// A client has to mask, a text may be compressed, and a small one is copied: all that works as
/// ever.
#[test]
fn any_message_arrives_as_it_was_sent() {
    fn check<W: Way>(role: Role) {
        let io = stream();
        let mut way = W::new(connection(role, &config()), io.clone());
        let text = "é".repeat(10_000);
        let lengths = [0, 125, 4095, 4096, 65_535, 65_536, 100_000];
        let payloads = lengths.map(|len| Rng::new(1).bytes(len));
        for payload in &payloads {
            assert!(way.send(payload.into()));
            assert!(way.send(payload.clone().into()));
            assert!(way.send(Outbound::plain(Message::Text(&text))));
        }
        let want = payloads.into_iter().flat_map(|payload| {
            [(BINARY, payload.clone()), (BINARY, payload), (TEXT, text.clone().into_bytes())]
        });
        assert!(sent(&io.state().written).into_iter().eq(want));
    }
    everywhere(|n| ROLES.iter().for_each(|&role| way!(n, check(role))));
}

#[test]
fn a_borrowed_message_of_16_mib_leaves_no_buffer_of_its_length_behind() {
    fn check<W: Way>() {
        let message = vec![7; 16 << 20];
        let io = Endless::new(vec![]);
        let mut way = W::new(connection(Role::Server, &Config::default()), io.clone());
        let before = live();
        assert!(way.send(Outbound::from(&message[..])));
        assert_eq!(io.state().taken, 10 + message.len());
        let left = live() - before;
        assert!(left < LITTLE, "{left}");
    }
    everywhere(|n| way!(n, check()));
}
