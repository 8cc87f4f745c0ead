//! Sent, over sockets of this machine, with the heap counted.
use crate::deflate::{
    RSV1, TAIL,
    sockets::{PLAIN_OFFER, prose, scene},
};
use crate::{
    harness::{End, *},
    support::wire::*,
};
use flate2::{Decompress, FlushDecompress};
use std::{
    sync::{Arc, Mutex},
    thread,
};
use testkit::{
    Rng,
    alloc::{live, uncounted},
};
use tickwire::{
    Config, Role,
    deflate::{Deflate, Direction},
};

/// What the victim's frames become, of which the compressed ones have RSV1 set.
struct Reader {
    raw: Decompress,
    takeover: bool,
}

impl Reader {
    fn new(takeover: bool) -> Self {
        Self { raw: Decompress::new(false), takeover }
    }

    fn read(&mut self, (b0, payload): (u8, Vec<u8>), most: usize) -> Vec<u8> {
        if b0 & RSV1 == 0 {
            return payload;
        }
        if !self.takeover {
            self.raw.reset(false);
        }
        let mut out = vec![0; most + 100];
        let before = self.raw.total_out();
        let input = [&payload[..], &TAIL].concat();
        self.raw.decompress(&input, &mut out, FlushDecompress::Sync).unwrap();
        out.truncate((self.raw.total_out() - before) as usize);
        out
    }
}

/// A message of one of two senders, who say numbers in order.
fn of_sender(sender: usize, n: usize) -> String {
    format!("{sender} says {n} {}", prose(100 + 7 * n + 50 * sender))
}

const EACH: usize = 200;

/// All messages of both senders came whole, those of each in order.
#[track_caller]
fn both_were_heard(foe: &mut Foe, takeover: bool) {
    let mut reader = Reader::new(takeover);
    let mut next = [0, 0];
    for _ in 0..2 * EACH {
        let frame = foe.next();
        assert_ne!(frame.0 & RSV1, 0, "compressed");
        let message = String::from_utf8(reader.read(frame, 10_000)).unwrap();
        let sender = usize::from(message.starts_with('1'));
        assert_eq!(message, of_sender(sender, next[sender]));
        next[sender] += 1;
    }
}

// A48
#[test]
fn two_threads_that_send_share_one_compressor() {
    for (role, takeover) in product(ROLES, [false, true]) {
        let scene = scene(role, takeover);
        let config = scene.config.clone();
        let defend = move |door: Door| {
            let ws = door.open(role, &config).into_blocking();
            let (mut reader, writer) = ws.into_split().unwrap();
            let writer = Arc::new(Mutex::new(writer));
            let threads = [0, 1].map(|sender| {
                let writer = writer.clone();
                thread::spawn(move || {
                    for n in 0..EACH {
                        writer.lock().unwrap().send(&*of_sender(sender, n)).unwrap();
                    }
                })
            });
            threads.into_iter().for_each(|thread| thread.join().unwrap());
            while reader.recv().unwrap().is_some() {}
        };
        let ((), (), _) = duel(Adapter::Blocking, defend, |io| {
            let mut foe = Foe::new(role, io);
            foe.shake_with(scene.lines);
            both_were_heard(&mut foe, takeover);
            assert_eq!(foe.say(&foe.frame(CLOSE, "")), [(CLOSE, vec![])]);
        });
    }
}

// A48
#[cfg(feature = "tokio")]
#[test]
fn two_tasks_that_send_share_one_compressor() {
    for (role, takeover) in product(ROLES, [false, true]) {
        let scene = scene(role, takeover);
        let config = scene.config.clone();
        let defend = move |door: Door| {
            let (ws, runtime) = door.open(role, &config).into_tokio();
            let (mut reader, writer) = ws.into_split();
            let writer = tokio::sync::Mutex::new(writer);
            let send = async |sender| {
                for n in 0..EACH {
                    let message = uncounted(|| of_sender(sender, n));
                    writer.lock().await.send(&*message).await.unwrap();
                    uncounted(|| drop(message));
                    tokio::task::yield_now().await;
                }
            };
            runtime.block_on(async {
                tokio::join!(send(0), send(1));
                while reader.recv().await.unwrap().is_some() {}
            });
        };
        let ((), (), heap) = duel(Adapter::Tokio, defend, |io| {
            let mut foe = Foe::new(role, io);
            foe.shake_with(scene.lines);
            both_were_heard(&mut foe, takeover);
            assert_eq!(foe.say(&foe.frame(CLOSE, "")), [(CLOSE, vec![])]);
        });
        heap.under("two tasks", COMPRESS + 2 * READ + SMALL);
    }
}

/// A compressor with the largest window, and the first buffer that it writes to.
const COMPRESS: usize = 400 << 10;

/// What is hard to compress: noise, what only looks like repetition, and all in turn.
fn hard(len: usize, n: u64) -> Vec<u8> {
    let mut rng = Rng::new(n);
    match n % 4 {
        0 => rng.bytes(len),
        1 => (0..len as u64).map(|i| (i * i / 3) as u8).collect(),
        2 => (0..len).map(|_| b"ab"[rng.below(2)]).collect(),
        _ => (0..len).map(|i| if i % 300 < 258 { 7 } else { rng.next() as u8 }).collect(),
    }
}

// A49
#[test]
fn input_that_defeats_matching_comes_back_as_it_was_at_every_setting() {
    const LENGTHS: [usize; 8] = [1, 2, 257, 258, 259, 5000, 33_000, 150_000];
    let each = product(LENGTHS, 0..4).enumerate();
    let messages: Arc<[_]> = each.map(|(n, (len, _))| hard(len, n as u64)).collect();
    for level in 1..=9 {
        let bits = 9 + (level % 7);
        let mut deflate = Deflate { min_size: 0, level, ..Deflate::default() };
        deflate.server = Direction { takeover: level % 2 == 0, window_bits: bits };
        let scene = Scene {
            role: Role::Server,
            config: Config { deflate: Some(deflate), ..patient() },
            lines: PLAIN_OFFER,
        };
        let to_send = messages.clone();
        let send = move |ws: &mut Ws| {
            to_send.iter().for_each(|message| ws.send(message).unwrap());
            End::of(ws.close(None))
        };
        for (adapter, end, (), heap) in scene.act(send, |foe| {
            let mut reader = Reader::new(true);
            for message in &*messages {
                if level % 2 != 0 {
                    reader = Reader::new(false);
                }
                let len = message.len();
                assert!(reader.read(foe.next(), len) == *message, "{level} {len}");
            }
            assert_eq!(foe.next(), (CLOSE, vec![]));
            foe.say(&foe.frame(CLOSE, ""));
        }) {
            assert_eq!(end, End::Closed, "{adapter:?} {level}");
            heap.under(format_args!("{adapter:?} {level}"), COMPRESS + 6 * 150_000 + SMALL);
        }
    }
}

// A51
#[test]
fn what_a_large_message_took_is_given_back_after_it_was_sent() {
    let len = sampled(12 << 20, 3 << 20);
    let message = Arc::new(hard(len, 2));
    for (role, takeover) in product(ROLES, [false, true]) {
        let message = message.clone();
        let send = move |ws: &mut Ws| {
            let before = live();
            ws.send(&*message).unwrap();
            // Small ones, up to where what is large is given up.
            for _ in 0..70 {
                ws.send("small").unwrap();
                let asked = ws.recv().map(|message| message.is_some());
                assert!(matches!(asked, Ok(true)));
            }
            usize::try_from(live() - before).unwrap_or(0)
        };
        for (adapter, kept, (), heap) in scene(role, takeover).act(send, |foe| {
            assert_eq!(foe.next().0, RSV1 | BINARY);
            for _ in 0..70 {
                foe.next();
                foe.wire(foe.frame(TEXT, "and?"));
            }
            foe.rest();
        }) {
            let who = format!("{adapter:?} {role:?} {takeover}");
            println!("{who}: {kept} bytes kept");
            assert!(kept <= POOL + COMPRESS + SMALL, "{who}: {kept} bytes kept");
            heap.under(who, 3 * len + POOL + COMPRESS + SMALL);
        }
    }
}
