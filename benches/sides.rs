//! The same work done by each side: the floor, the core, and both adapters on a stream in memory.
#![allow(dead_code, unreachable_pub)] // each bench uses its part
#![allow(clippy::expect_used, clippy::panic)] // it stops the bench

use crate::floor::{
    self, Body, Floor, REQUEST, Stream, connection, echo, flush, messages, receive,
};
use bytes::Bytes;
use std::{
    collections::VecDeque,
    future::pending,
    hint::black_box,
    io::{self, IoSlice, Read, Write},
    pin::{Pin, pin},
    rc::Rc,
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};
use tickwire::{
    Config, Connection, DataKind, Event, Next, Prepared, Sender, Step, Time, blocking,
    futures_io as on_futures,
    handshake::{
        Progress,
        server::{Accept, Handshake},
    },
    mask::Masker,
    tokio as tokio_adapter,
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Does as many messages as it is told.
pub type Work = Box<dyn FnMut(usize)>;

/// Who did it, and the work.
pub type Sides = Vec<(&'static str, Work)>;

fn four(
    floor: impl FnMut(usize) + 'static,
    core: impl FnMut(usize) + 'static,
    tokio: impl FnMut(usize) + 'static,
    blocking: impl FnMut(usize) + 'static,
) -> Sides {
    vec![
        ("floor", Box::new(floor)),
        ("core", Box::new(core)),
        ("tokio", Box::new(tokio)),
        ("blocking", Box::new(blocking)),
    ]
}

/// Each side's end.
struct Ends {
    floor: Floor,
    from: Stream,
    core: Connection,
    link: Stream,
    tokio: tokio_adapter::WebSocket<Stream>,
    blocking: blocking::WebSocket<Stream>,
}

fn ends(client: bool, stream: impl Fn() -> Stream) -> Ends {
    Ends {
        floor: Floor::new(client),
        from: stream(),
        core: connection(client),
        link: stream(),
        tokio: tokio_adapter::WebSocket::from_parts(stream(), connection(client)),
        blocking: blocking::WebSocket::from_parts(stream(), connection(client)),
    }
}

/// Calls `work` for `n` messages, up to `per` at a time.
fn in_turns(mut n: usize, per: usize, mut work: impl FnMut(usize)) {
    while n > 0 {
        let some = n.min(per);
        work(some);
        n -= some;
    }
}

/// The result of what never has to wait.
pub fn now<F: Future>(future: F) -> F::Output {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(done) => done,
        Poll::Pending => panic!("a stream in memory never waits"),
    }
}

/// The result of what may give up its turn, but never has to wait.
fn at_last<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    loop {
        let polled = future.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        if let Poll::Ready(done) = polled {
            return done;
        }
    }
}

/// Receiving. `by_message`: no read goes beyond the end of a message.
pub fn receiving(len: usize, body: Body, client: bool, by_message: bool) -> Sides {
    let stream = || {
        let stream = Stream::new(&messages(len, body), body, !client);
        if by_message { stream.by_message() } else { stream }
    };
    let Ends { mut floor, mut from, mut core, mut link, mut tokio, mut blocking } =
        ends(client, stream);
    four(
        move |n| {
            for _ in 0..n {
                assert!(black_box(floor.receive(&mut from)).len() == len);
            }
        },
        move |n| {
            for _ in 0..n {
                assert!(black_box(receive(&mut core, &mut link)).len() == len);
            }
        },
        move |n| {
            now(async {
                for _ in 0..n {
                    let message = tokio.recv().await.expect("no error").expect("a message");
                    assert!(black_box(message.as_bytes()).len() == len);
                }
            });
        },
        move |n| {
            for _ in 0..n {
                let message = blocking.recv().expect("no error").expect("a message");
                assert!(black_box(message.as_bytes()).len() == len);
            }
        },
    )
}

/// Receiving one message a read, by the adapter for futures-io too.
pub fn receiving_single(len: usize, client: bool) -> Sides {
    let mut sides = receiving(len, Body::Binary, client, true);
    let stream = Stream::new(&messages(len, Body::Binary), Body::Binary, !client).by_message();
    let mut ws = on_futures::WebSocket::from_parts(stream, timers(), connection(client));
    let work = move |n| {
        at_last(async {
            for _ in 0..n {
                let message = ws.recv().await.expect("no error").expect("a message");
                assert!(black_box(message.as_bytes()).len() == len);
            }
        });
    };
    sides.push(("futures", Box::new(work)));
    sides
}

/// That are never due.
fn timers() -> impl on_futures::Timers {
    |_: Instant| pending::<()>()
}

/// Receiving, where the core is asked what to do next. The other sides are those of `receiving`.
pub fn receiving_next(len: usize, client: bool, by_message: bool) -> Sides {
    let mut sides = receiving(len, Body::Binary, client, by_message);
    let mut link = Stream::new(&messages(len, Body::Binary), Body::Binary, !client);
    link = if by_message { link.by_message() } else { link };
    let mut core = connection(client);
    sides[1].1 = Box::new(move |mut n| {
        while n > 0 {
            match core.next(Time::ZERO) {
                Next::Event(Event::Message(message), _) => {
                    assert!(black_box(message.as_bytes()).len() == len);
                    n -= 1;
                }
                Next::Read(rx) => {
                    let n = link.read(rx.spare_mut());
                    rx.commit(n);
                }
                Next::Wait(wait) if wait.until == Some(Time::ZERO) => {} // time passes at last
                other => panic!("{other:?}"),
            }
        }
    });
    sides
}

/// Receiving by the reading half of a split connection; the core's receiver is the same as ever.
pub fn receiving_split(len: usize, body: Body, client: bool, by_message: bool) -> Sides {
    let stream = || {
        let stream = Stream::new(&messages(len, body), body, !client);
        if by_message { stream.by_message() } else { stream }
    };
    let mut sides = receiving(len, body, client, by_message);
    let (mut tokio, _) = split_tokio(stream(), client);
    let (mut blocking, _) = split_blocking(stream(), client);
    let futures = on_futures::WebSocket::from_parts(stream(), timers(), connection(client));
    let (mut futures, _) = futures.into_split_with(|stream| (stream.clone(), stream));
    sides.truncate(2);
    sides.push((
        "tokio",
        Box::new(move |n| {
            now(async {
                for _ in 0..n {
                    let message = tokio.recv().await.expect("no error").expect("a message");
                    assert!(black_box(message.as_bytes()).len() == len);
                }
            });
        }),
    ));
    sides.push((
        "blocking",
        Box::new(move |n| {
            for _ in 0..n {
                let message = blocking.recv().expect("no error").expect("a message");
                assert!(black_box(message.as_bytes()).len() == len);
            }
        }),
    ));
    sides.push((
        "futures",
        Box::new(move |n| {
            at_last(async {
                for _ in 0..n {
                    let message = futures.recv().await.expect("no error").expect("a message");
                    assert!(black_box(message.as_bytes()).len() == len);
                }
            });
        }),
    ));
    sides
}

/// Receiving in pieces, of which each message is one.
pub fn receiving_chunks(len: usize, client: bool) -> Sides {
    let stream = || Stream::new(&messages(len, Body::Binary), Body::Binary, !client);
    let Ends { mut floor, mut from, mut core, mut link, mut tokio, mut blocking } =
        ends(client, stream);
    four(
        move |n| {
            for _ in 0..n {
                assert!(black_box(floor.receive(&mut from)).len() == len);
            }
        },
        move |n| {
            let mut left = n * len;
            while left > 0 {
                match core.step_chunk() {
                    Ok(Step::Message) => {
                        let chunk = core.receiver().chunk().expect("the step said so");
                        left -= black_box(chunk.data).len();
                    }
                    Ok(Step::NeedInput) => {
                        let n = link.read(core.receiver_mut().spare_mut());
                        core.receiver_mut().commit(n);
                    }
                    other => panic!("{other:?}"),
                }
            }
        },
        move |n| {
            let mut left = n * len;
            now(async {
                while left > 0 {
                    let chunk = tokio.recv_chunk().await.expect("no error").expect("a chunk");
                    left -= black_box(chunk.data).len();
                }
            });
        },
        move |n| {
            let mut left = n * len;
            while left > 0 {
                let chunk = blocking.recv_chunk().expect("no error").expect("a chunk");
                left -= black_box(chunk.data).len();
            }
        },
    )
}

/// Receiving messages to own, of which the newest `kept` stay; the floor copies each.
pub fn receiving_owned(len: usize, body: Body, client: bool, kept: usize) -> Sides {
    let stream = || Stream::new(&messages(len, body), body, !client);
    let Ends { mut floor, mut from, mut core, mut link, mut tokio, mut blocking } =
        ends(client, stream);
    let mut copies = Newest::new(kept);
    let [mut from_core, mut from_tokio, mut from_blocking] = [(); 3].map(|()| Newest::new(kept));
    four(
        move |n| {
            for _ in 0..n {
                copies.push(floor.receive(&mut from).to_vec());
            }
        },
        move |n| {
            for _ in 0..n {
                receive(&mut core, &mut link);
                from_core.push(core.receiver_mut().take_message().expect("the step said so"));
            }
        },
        move |n| {
            now(async {
                for _ in 0..n {
                    from_tokio
                        .push(tokio.recv_owned().await.expect("no error").expect("a message"));
                }
            });
        },
        move |n| {
            for _ in 0..n {
                from_blocking.push(blocking.recv_owned().expect("no error").expect("a message"));
            }
        },
    )
}

/// Keeps up to so many, and drops the oldest for another.
struct Newest<T>(VecDeque<T>, usize);

impl<T> Newest<T> {
    fn new(most: usize) -> Self {
        Self(VecDeque::with_capacity(most + 1), most)
    }

    fn push(&mut self, one: T) {
        self.0.push_back(black_box(one));
        if self.0.len() > self.1 {
            self.0.pop_front();
        }
    }
}

fn split_tokio(
    stream: Stream,
    client: bool,
) -> (tokio_adapter::Reader<Stream, Stream>, tokio_adapter::Writer<Stream>) {
    let ws = tokio_adapter::WebSocket::from_parts(stream, connection(client));
    ws.into_split_with(|stream| (stream.clone(), stream))
}

fn split_blocking(
    stream: Stream,
    client: bool,
) -> (blocking::Reader<Stream>, blocking::Writer<Stream>) {
    let ws = blocking::WebSocket::from_parts(stream, connection(client));
    ws.into_split().expect("it can be cloned")
}

/// Compressed messages of 1 KiB, received without context takeover; the floor is the library alone,
/// on payloads that lie there.
#[cfg(feature = "deflate")]
pub fn inflating() -> Sides {
    use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress};
    use tickwire::{
        Negotiated,
        deflate::{Deflate, DeflateParams},
    };
    let mut rng = floor::Rng(0x9e37_79b9_7f4a_7c15);
    let payloads: Vec<Vec<u8>> = (0..256)
        .map(|_| {
            let message: String =
                (0..128).map(|_| format!("{:05}00,", rng.next() % 50_000)).collect();
            let mut out = vec![0; 2048];
            let mut raw = Compress::new(Compression::new(1), false);
            raw.compress(message.as_bytes(), &mut out, FlushCompress::Sync).expect("compresses");
            out.truncate(raw.total_out() as usize - 4); // the tail is not sent
            out
        })
        .collect();
    let mut wire = Vec::new();
    for payload in &payloads {
        let mut header =
            tickwire::frame::Header::new(tickwire::frame::OpCode::Text, payload.len() as u64);
        header.rsv1 = true;
        let (head, n) = header.encode();
        wire.extend_from_slice(&head[..n]);
        wire.extend_from_slice(payload);
    }
    let stream = || Stream::of(wire.clone(), vec![]);
    let connection = || {
        let config = Config { deflate: Some(Deflate::default()), ..Config::default() };
        Connection::client(&config, Negotiated::from(DeflateParams::default()), floor::Rng(7))
    };
    let mut raw = Decompress::new(false);
    let mut out = vec![0; 16 << 10];
    let mut at = 0;
    let (mut core, mut link) = (connection(), stream());
    let mut tokio = tokio_adapter::WebSocket::from_parts(stream(), connection());
    let mut blocking = blocking::WebSocket::from_parts(stream(), connection());
    four(
        move |n| {
            for _ in 0..n {
                raw.reset(false);
                for input in [&payloads[at][..], &[0, 0, 0xff, 0xff]] {
                    let to = &mut out[raw.total_out() as usize..];
                    let done = raw.decompress(black_box(input), to, FlushDecompress::None);
                    assert!(done.is_ok());
                }
                assert!(black_box(&out)[..raw.total_out() as usize].len() == 1024);
                at = (at + 1) % payloads.len();
            }
        },
        move |n| {
            for _ in 0..n {
                assert!(black_box(receive(&mut core, &mut link)).len() == 1024);
            }
        },
        move |n| {
            now(async {
                for _ in 0..n {
                    let message = tokio.recv().await.expect("no error").expect("a message");
                    assert!(black_box(message.as_bytes()).len() == 1024);
                }
            });
        },
        move |n| {
            for _ in 0..n {
                let message = blocking.recv().expect("no error").expect("a message");
                assert!(black_box(message.as_bytes()).len() == 1024);
            }
        },
    )
}

/// Cuts `all` into batches, for ever.
struct Batches<T> {
    all: Rc<[T]>,
    at: usize,
}

impl<T> Batches<T> {
    /// For each side.
    fn four(all: &Rc<[T]>) -> [Self; 4] {
        std::array::from_fn(|_| Self { all: all.clone(), at: 0 })
    }

    fn next(&mut self, n: usize) -> &[T] {
        if self.at + n > self.all.len() {
            self.at = 0;
        }
        self.at += n;
        &self.all[self.at - n..self.at]
    }
}

/// Sending, as many messages a write as make 16 KiB.
pub fn sending(len: usize, client: bool) -> Sides {
    let all: Rc<[Vec<u8>]> = messages(len, Body::Binary).into();
    let per = floor::batch(len);
    let stream = || Stream::of(vec![], vec![]);
    let Ends { mut floor, from: mut to, mut core, mut link, mut tokio, mut blocking } =
        ends(client, stream);
    let [mut a, mut b, mut c, mut d] = Batches::four(&all);
    four(
        move |n| {
            in_turns(n, per, |n| {
                for message in a.next(n) {
                    floor.feed(black_box(message));
                }
                floor.flush(&mut to);
            });
        },
        move |n| {
            in_turns(n, per, |n| {
                for message in b.next(n) {
                    assert!(core.sender_mut().feed(black_box(message)).is_ok());
                }
                flush(&mut core, &mut link);
            });
        },
        move |n| {
            in_turns(n, per, |n| {
                for message in c.next(n) {
                    assert!(tokio.feed(black_box(message)).is_ok());
                }
                assert!(now(tokio.flush()).is_ok());
            });
        },
        move |n| {
            in_turns(n, per, |n| {
                for message in d.next(n) {
                    assert!(blocking.feed(black_box(message)).is_ok());
                }
                assert!(blocking.flush().is_ok());
            });
        },
    )
}

/// A tick of some 200 bytes as JSON, and of 200 in a fixed layout.
#[derive(serde::Serialize)]
struct Tick {
    symbol: &'static str,
    venue: &'static str,
    sequence: u64,
    sent_at: u64,
    bids: [(u32, u32); 5],
    asks: [(u32, u32); 5],
}

/// How ticks are written.
#[derive(Clone, Copy, PartialEq)]
pub enum Layout {
    /// Text, by `serde_json`.
    Json,
    /// Binary: each field at its place.
    Fixed,
}

impl Tick {
    const LEN: usize = 200;

    fn many() -> Rc<[Self]> {
        let mut rng = floor::Rng(0x9e37_79b9_7f4a_7c15);
        let tick = |sequence| Self {
            symbol: "EURUSD",
            venue: "XLON",
            sequence,
            sent_at: 1_700_000_000_000_000 + rng.next() % 1_000_000_000,
            bids: std::array::from_fn(|i| (108_420 - i as u32, (rng.next() % 100) as u32)),
            asks: std::array::from_fn(|i| (108_421 + i as u32, (rng.next() % 100) as u32)),
        };
        (0..1024).map(tick).collect()
    }

    /// Each field of the fixed layout, in order, and zeroes up to its length.
    #[inline(always)]
    fn put(&self, mut put: impl FnMut(&[u8])) {
        let mut name = [0; 16];
        name[..self.symbol.len()].copy_from_slice(self.symbol.as_bytes());
        name[8..][..self.venue.len()].copy_from_slice(self.venue.as_bytes());
        put(&name);
        put(&self.sequence.to_le_bytes());
        put(&self.sent_at.to_le_bytes());
        for (price, size) in self.bids.iter().chain(&self.asks) {
            put(&price.to_le_bytes());
            put(&size.to_le_bytes());
        }
        put(&[0; Self::LEN - 16 - 16 - 80]);
    }

    /// In an allocation of its own, which is fed.
    fn feed(&self, layout: Layout, tx: &mut Sender) {
        let fed = match layout {
            // Binary, as all that is fed in this program: another kind would slow the others down.
            Layout::Json => {
                tx.feed(black_box(&serde_json::to_vec(black_box(self)).expect("it is plain")))
            }
            Layout::Fixed => {
                let mut message = Vec::with_capacity(Self::LEN);
                black_box(self).put(|field| message.extend_from_slice(field));
                tx.feed(black_box(&message))
            }
        };
        assert!(fed.is_ok());
    }

    /// Where it is sent from.
    fn build(&self, layout: Layout, tx: &mut Sender) {
        match layout {
            Layout::Json => {
                let mut message = tx.build(DataKind::Text).expect("there is room");
                assert!(serde_json::to_writer(&mut message, black_box(self)).is_ok());
                assert!(message.feed().is_ok());
            }
            Layout::Fixed => {
                let mut message = tx.build(DataKind::Binary).expect("there is room");
                let mut to = message.zeroed(Self::LEN);
                black_box(self).put(|field| {
                    let (at, rest) = std::mem::take(&mut to).split_at_mut(field.len());
                    at.copy_from_slice(field);
                    to = rest;
                });
                assert!(message.feed().is_ok());
            }
        }
    }
}

/// Sending ticks, as many a write as make 16 KiB. The floor builds each in a `Vec`, and feeds that.
pub fn building(layout: Layout, client: bool) -> Sides {
    let all = Tick::many();
    let per = floor::batch(Tick::LEN);
    let stream = || Stream::of(vec![], vec![]);
    let Ends { from: mut to, mut core, mut link, mut tokio, mut blocking, .. } =
        ends(client, stream);
    let mut first = connection(client);
    let [mut a, mut b, mut c, mut d] = Batches::four(&all);
    four(
        move |n| {
            in_turns(n, per, |n| {
                a.next(n).iter().for_each(|tick| tick.feed(layout, first.sender_mut()));
                flush(&mut first, &mut to);
            });
        },
        move |n| {
            in_turns(n, per, |n| {
                b.next(n).iter().for_each(|tick| tick.build(layout, core.sender_mut()));
                flush(&mut core, &mut link);
            });
        },
        move |n| {
            in_turns(n, per, |n| {
                c.next(n).iter().for_each(|tick| tick.build(layout, tokio.sender_mut()));
                assert!(now(tokio.flush()).is_ok());
            });
        },
        move |n| {
            in_turns(n, per, |n| {
                d.next(n).iter().for_each(|tick| tick.build(layout, blocking.sender_mut()));
                assert!(blocking.flush().is_ok());
            });
        },
    )
}

/// Sending by the writing half of a split connection.
pub fn sending_split(len: usize, client: bool) -> Sides {
    let all: Rc<[Vec<u8>]> = messages(len, Body::Binary).into();
    let per = floor::batch(len);
    let stream = || Stream::of(vec![], vec![]);
    let mut sides = sending(len, client);
    let (_, mut tokio) = split_tokio(stream(), client);
    let (_, mut blocking) = split_blocking(stream(), client);
    let [mut a, mut b, ..] = Batches::four(&all);
    sides.truncate(2);
    sides.push((
        "tokio",
        Box::new(move |n| {
            in_turns(n, per, |n| {
                for message in a.next(n) {
                    assert!(tokio.feed(black_box(message)).is_ok());
                }
                assert!(now(tokio.flush()).is_ok());
            });
        }),
    ));
    sides.push((
        "blocking",
        Box::new(move |n| {
            in_turns(n, per, |n| {
                for message in b.next(n) {
                    assert!(blocking.feed(black_box(message)).is_ok());
                }
                assert!(blocking.flush().is_ok());
            });
        }),
    ));
    sides
}

/// Sending shared payloads, from a server.
pub fn sharing(len: usize) -> Sides {
    let all: Rc<[Bytes]> = messages(len, Body::Binary).into_iter().map(Bytes::from).collect();
    let per = floor::batch(len);
    let stream = || Stream::of(vec![], vec![]);
    let Ends { mut floor, from: mut to, mut core, mut link, mut tokio, mut blocking } =
        ends(false, stream);
    let [mut a, mut b, mut c, mut d] = Batches::four(&all);
    four(
        move |n| {
            in_turns(n, per, |n| {
                for message in a.next(n) {
                    floor.feed_shared(black_box(message), &mut to);
                }
                floor.flush(&mut to);
            });
        },
        move |n| {
            in_turns(n, per, |n| {
                for message in b.next(n) {
                    assert!(core.sender_mut().feed(black_box(message).clone()).is_ok());
                }
                flush(&mut core, &mut link);
            });
        },
        move |n| {
            in_turns(n, per, |n| {
                for message in c.next(n) {
                    assert!(tokio.feed(black_box(message).clone()).is_ok());
                }
                assert!(now(tokio.flush()).is_ok());
            });
        },
        move |n| {
            in_turns(n, per, |n| {
                for message in d.next(n) {
                    assert!(blocking.feed(black_box(message).clone()).is_ok());
                }
                assert!(blocking.flush().is_ok());
            });
        },
    )
}

/// Sending one borrowed message after another, each at once; a client's are small. The core copies
/// a large one: it does no I/O.
pub fn sending_each(len: usize, client: bool) -> Sides {
    let all: Rc<[Vec<u8>]> = messages(len, Body::Binary).into();
    let stream = || Stream::of(vec![], vec![]);
    let Ends { mut floor, from: mut to, mut core, mut link, mut tokio, mut blocking } =
        ends(client, stream);
    let [mut a, mut b, mut c, mut d] = Batches::four(&all);
    four(
        move |n| {
            for _ in 0..n {
                floor.feed_shared(black_box(&a.next(1)[0]), &mut to);
                floor.flush(&mut to);
            }
        },
        move |n| {
            for _ in 0..n {
                assert!(core.sender_mut().feed(black_box(&b.next(1)[0])).is_ok());
                flush(&mut core, &mut link);
            }
        },
        move |n| {
            now(async {
                for _ in 0..n {
                    assert!(tokio.send(black_box(&c.next(1)[0])).await.is_ok());
                }
            });
        },
        move |n| {
            for _ in 0..n {
                assert!(blocking.send(black_box(&d.next(1)[0])).is_ok());
            }
        },
    )
}

/// A server's echo, `per` messages a write; of 1 also a read.
pub fn echoing(len: usize, per: usize) -> Sides {
    let stream = || {
        let stream = Stream::new(&messages(len, Body::Binary), Body::Binary, true);
        if per == 1 { stream.by_message() } else { stream }
    };
    let Ends { mut floor, mut from, mut core, mut link, mut tokio, mut blocking } =
        ends(false, stream);
    four(
        move |n| in_turns(n, per, |n| floor.echo(&mut from, n)),
        move |n| in_turns(n, per, |n| echo(&mut core, &mut link, n)),
        move |n| {
            in_turns(n, per, |n| {
                now(async {
                    for _ in 0..n {
                        let next = tokio.recv_to_reply().await.expect("no error");
                        let received = next.expect("a message");
                        assert!(received.sender.feed(black_box(received.message)).is_ok());
                    }
                    assert!(tokio.flush().await.is_ok());
                });
            });
        },
        move |n| {
            in_turns(n, per, |n| {
                for _ in 0..n {
                    let next = blocking.recv_to_reply().expect("no error");
                    let received = next.expect("a message");
                    assert!(received.sender.feed(black_box(received.message)).is_ok());
                }
                assert!(blocking.flush().is_ok());
            });
        },
    )
}

/// How many connections each tick goes to, and how many ticks go into one write.
const SUBSCRIBERS: usize = 200;
const TICKS: usize = 8;

/// Ticks, encoded once for all, to many connections in turn.
struct FanOut<C> {
    message: Vec<u8>,
    connections: Vec<C>,
    /// Whose turn it is.
    at: usize,
}

impl<C> FanOut<C> {
    fn new(len: usize, connection: impl Fn(Stream) -> C) -> Self {
        let message = messages(len, Body::Binary).swap_remove(0);
        let stream = |_| Stream::of(vec![], vec![]).ring(16 << 10);
        let connections = (0..SUBSCRIBERS).map(stream).map(connection).collect();
        Self { message, connections, at: 0 }
    }

    /// `encode` is called for each tick once, `send` for each connection with all of them.
    fn run<T>(
        &mut self,
        n: usize,
        ticks: &mut Vec<T>,
        encode: impl Fn(&[u8]) -> T,
        mut send: impl FnMut(&mut C, &[T]),
    ) {
        in_turns(n, TICKS, |n| {
            if self.at == 0 {
                ticks.clear();
                ticks.extend((0..TICKS).map(|_| encode(black_box(&self.message))));
            }
            send(&mut self.connections[self.at], &ticks[..n]);
            self.at = (self.at + 1) % SUBSCRIBERS;
        });
    }
}

/// Fan-out to 200 connections, 8 ticks a write, each encoded once.
pub fn fanning_out(len: usize) -> Sides {
    let prepare = |message: &[u8]| Prepared::new(message);
    let mut floor = FanOut::new(len, |stream| (Floor::new(false), stream));
    let mut core = FanOut::new(len, |stream| (connection(false), stream));
    let mut tokio =
        FanOut::new(len, |stream| tokio_adapter::WebSocket::from_parts(stream, connection(false)));
    let mut blocking =
        FanOut::new(len, |stream| blocking::WebSocket::from_parts(stream, connection(false)));
    let (mut a, mut b, mut c, mut d) = (vec![], vec![], vec![], vec![]);
    four(
        move |n| {
            floor.run(n, &mut a, floor::frame, |(floor, stream), ticks| {
                ticks.iter().for_each(|tick| floor.feed_prepared(tick));
                floor.flush(stream);
            });
        },
        move |n| {
            core.run(n, &mut b, prepare, |(core, stream), ticks| {
                ticks.iter().for_each(|tick| assert!(core.sender_mut().feed(tick).is_ok()));
                flush(core, stream);
            });
        },
        move |n| {
            tokio.run(n, &mut c, prepare, |ws, ticks| {
                ticks.iter().for_each(|tick| assert!(ws.feed(tick).is_ok()));
                assert!(now(ws.flush()).is_ok());
            });
        },
        move |n| {
            blocking.run(n, &mut d, prepare, |ws, ticks| {
                ticks.iter().for_each(|tick| assert!(ws.feed(tick).is_ok()));
                assert!(ws.flush().is_ok());
            });
        },
    )
}

/// A server's opening handshake, up to and with the connection. The tokio adapter arms a timer,
/// and so needs a runtime.
pub fn accepting() -> Sides {
    let stream = || Stream::of(REQUEST.into(), vec![REQUEST.len()]).by_message();
    let (mut a, mut b, mut c, mut d) = (stream(), stream(), stream(), stream());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
    let runtime = runtime.expect("a runtime");
    four(
        move |n| (0..n).for_each(|_| floor::accept(&mut a)),
        move |n| {
            let config = Config::default();
            for _ in 0..n {
                let mut handshake = Handshake::new(&config);
                let got = b.read(handshake.reading.spare_mut());
                handshake.reading.commit(got);
                assert!(handshake.step() == Ok(Progress::Complete));
                let mut conn = handshake.accept(Accept::default()).expect("a good request");
                flush(&mut conn, &mut b);
                black_box(&conn);
            }
        },
        move |n| {
            let _entered = runtime.enter();
            let config = Config::default();
            for _ in 0..n {
                black_box(now(tokio_adapter::accept(&mut c, &config)).expect("a good request"));
            }
        },
        move |n| {
            let config = Config::default();
            for _ in 0..n {
                black_box(blocking::accept(&mut d, &config).expect("a good request"));
            }
        },
    )
}

/// Unmasking in place, as bytes lie behind a header, beside a copy of the same bytes.
pub fn unmasking(len: usize) -> Sides {
    let mut from = vec![7; len + 6];
    let (mut to, mut payload) = (from.clone(), from.clone());
    let copy = move |n| {
        for _ in 0..n {
            black_box(&mut to)[6..].copy_from_slice(&black_box(&mut from)[6..]);
        }
    };
    let unmask = move |n| {
        for _ in 0..n {
            Masker::new(black_box([0x37, 0xfa, 0x21, 0x3d]))
                .apply(&mut black_box(&mut payload)[6..]);
        }
    };
    vec![("floor", Box::new(copy)), ("core", Box::new(unmask))]
}

// The stream, as the adapters want it.

impl AsyncRead for Stream {
    #[inline]
    fn poll_read(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let n = self.get_mut().read(buf.initialize_unfilled());
        buf.advance(n);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Stream {
    #[inline]
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.get_mut().write(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    #[inline]
    fn poll_write_vectored(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Poll::Ready(Write::write_vectored(self.get_mut(), slices))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    #[inline]
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

impl ::futures_io::AsyncRead for Stream {
    #[inline]
    fn poll_read(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(self.get_mut().read(buf)))
    }
}

impl ::futures_io::AsyncWrite for Stream {
    #[inline]
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.get_mut().write(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    #[inline]
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

impl Read for Stream {
    #[inline]
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        Ok(Stream::read(self, to))
    }
}

impl Write for Stream {
    #[inline]
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Stream::write(self, bytes);
        Ok(bytes.len())
    }

    #[inline]
    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let mut n = 0;
        for slice in slices {
            Stream::write(self, slice);
            n += slice.len();
        }
        Ok(n)
    }

    #[inline]
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Takes timeouts, as a socket does, and writes as `WithoutTimeouts` does.
impl blocking::Stream for Stream {
    fn try_read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        Read::read(self, buf)
    }

    fn try_write(&mut self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        match bufs {
            [bytes] => Write::write(self, bytes),
            _ => self.write_vectored(bufs),
        }
    }

    fn wait(&self, _: blocking::Interest, _: Option<Duration>) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn set_read_timeout(&self, _: Option<Duration>) -> io::Result<()> {
        Ok(())
    }

    fn writes_vectored(&self) -> bool {
        true
    }

    fn try_clone(&self) -> io::Result<Self> {
        Ok(self.clone())
    }
}
