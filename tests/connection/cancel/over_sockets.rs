//! Futures dropped wherever they wait, over sockets of this machine, with the heap counted.
use crate::{
    harness::{ADAPTERS, Adapter, Door, Foe, SMALL, Ws, duel, patient},
    support::wire::{BINARY, CLOSE, ROLES, close_body, product, read_frame},
};
use std::{
    future::poll_fn,
    io::{Read, Write},
    net::TcpStream,
    pin::pin,
    task::Poll,
    thread,
    time::Duration,
};
use testkit::Rng;
use tickwire::{Config, Error, Message, Role, blocking, tokio::WebSocket};
use tokio::task::yield_now;

/// Polls a new future each time, until one is ready: each is dropped where it first waits.
macro_rules! impatient {
    ($call:expr) => {
        loop {
            let once = {
                let mut future = pin!($call);
                poll_fn(|cx| {
                    Poll::Ready(match future.as_mut().poll(cx) {
                        Poll::Ready(done) => Some(done),
                        Poll::Pending => None,
                    })
                })
                .await
            };
            match once {
                Some(done) => break done,
                None => yield_now().await,
            }
        }
    };
}

/// Echoes messages; receives, sends and closes so that each future is dropped wherever it waits.
async fn echo_impatiently(ws: &mut WebSocket<tokio::net::TcpStream>) -> Result<usize, Error> {
    let mut echoed = 0;
    loop {
        let message = match echoed % 3 {
            0 => impatient!(ws.recv()).map(|message| message.map(Message::into_owned)),
            1 => impatient!(ws.recv_to_reply())
                .map(|message| message.map(|r| r.message.into_owned())),
            _ => impatient!(ws.recv_owned()),
        };
        let Some(message) = message? else { break };
        let message = message.as_message();
        if echoed % 2 == 0 {
            impatient!(ws.ready())?;
            let _ = ws.feed(message)?;
            impatient!(ws.flush())?;
        } else {
            // `fed` tells whether a send that was dropped has taken the message.
            let before = ws.sender().fed();
            loop {
                let once = {
                    let mut sending = pin!(ws.send(message));
                    poll_fn(|cx| Poll::Ready(sending.as_mut().poll(cx))).await
                };
                match once {
                    Poll::Ready(sent) => break sent?,
                    Poll::Pending => yield_now().await,
                }
                if ws.sender().fed() != before {
                    impatient!(ws.flush())?;
                    break;
                }
            }
        }
        echoed += 1;
    }
    impatient!(ws.close(None))?;
    Ok(echoed)
}

/// The same where a call gives up: the caller's timeout is over before anything comes.
fn echo_hastily(ws: &mut blocking::WebSocket<TcpStream>) -> Result<usize, Error> {
    let blink = Some(Duration::from_micros(1));
    ws.set_read_timeout(blink).unwrap();
    ws.set_write_timeout(blink).unwrap();
    let again = |done: &Result<(), Error>| matches!(done, Err(Error::WouldBlock));
    let mut echoed = 0;
    loop {
        let message = loop {
            match ws.recv_owned() {
                Err(Error::WouldBlock) => {}
                done => break done?,
            }
        };
        let Some(message) = message else { break };
        while again(&ws.ready()) {}
        let _ = ws.feed(message.as_message())?;
        while again(&ws.flush()) {}
        echoed += 1;
    }
    while again(&ws.close(None)) {}
    Ok(echoed)
}

// A81
#[test]
fn futures_dropped_wherever_they_wait_lose_and_repeat_nothing() {
    thread::scope(|scope| {
        for (role, &adapter) in product(ROLES, ADAPTERS) {
            scope.spawn(move || echoes(adapter, role));
        }
    });
}

fn echoes(adapter: Adapter, role: Role) {
    const MESSAGES: usize = 60;
    const LONGEST: usize = 150_000;
    let defend = move |door: Door| {
        let mut ws = door.open(role, &Config { high_water: 64 << 10, ..patient() });
        match &mut ws {
            Ws::Blocking(ws) => echo_hastily(ws),
            Ws::Tokio(ws, runtime) => runtime.block_on(echo_impatiently(ws)),
        }
    };
    let (echoed, (), heap) = duel(adapter, defend, |io| {
        let mut foe = Foe::new(role, io);
        foe.shake();
        let mut rng = Rng::new(9);
        let sizes = [0, 1, 125, 126, 2000, 70_000, LONGEST - 4];
        let numbered = |i: usize| {
            let mut payload = rng.bytes(sizes[i % sizes.len()]);
            payload.extend((i as u32).to_be_bytes());
            payload
        };
        let messages: Vec<Vec<u8>> = (0..MESSAGES).map(numbered).collect();
        let mut wire = messages.iter().map(|m| foe.frame(BINARY, m)).collect::<Vec<_>>().concat();
        wire.extend(foe.frame(CLOSE, close_body(1000, "")));
        let mut out = foe.io.try_clone().unwrap();
        thread::scope(|scope| {
            // Cut anywhere.
            scope.spawn(|| {
                let (mut rng, mut rest) = (Rng::new(10), &wire[..]);
                while !rest.is_empty() {
                    let most = [7, 500, 90_000][rng.below(3)];
                    let (piece, more) = rng.cut(rest, most);
                    out.write_all(piece).unwrap();
                    rest = more;
                }
            });
            let mut back = Vec::new();
            foe.io.read_to_end(&mut back).unwrap();
            let mut rest = &back[..];
            for message in &messages {
                let (frame, n) = read_frame(rest).expect("whole, and none is missing");
                assert!(frame.b0 == BINARY && frame.payload == *message, "as it was sent");
                rest = &rest[n..];
            }
            let (frame, n) = read_frame(rest).expect("a Close");
            assert_eq!((frame.b0, frame.payload), (CLOSE, close_body(1000, "")));
            assert_eq!(n, rest.len(), "nothing is said twice");
        });
    });
    assert_eq!(echoed.unwrap(), MESSAGES, "{adapter:?} {role:?}");
    // A message received, kept and fed again, each in a buffer of up to twice its length, the one
    // before that while it grows, and what tokio's pool keeps of these.
    heap.under(format_args!("{adapter:?} {role:?}"), 10 * LONGEST + SMALL);
}
