//! A peer that is called again and again, over sockets of this machine, with the heap counted.
use crate::{
    alone::alone,
    harness::{ADAPTERS, Adapter, Foe, PATIENCE, READ, SMALL, patient},
    opening::heap_of_a_head,
    support::wire::{TEXT, product},
};
use std::{
    io::{ErrorKind, Read},
    net::{TcpListener, TcpStream},
    thread,
    time::Duration,
};
use tickwire::{Dial, Error, Message, Role, handshake::client::Request};
use tickwire_parts::Backoff;

/// Where a peer drops whomever it accepts.
#[derive(Clone, Copy, Debug)]
enum Drops {
    Connecting,
    /// In the middle of its response.
    Responding,
    Open,
    AfterAFrame,
}

// A97
#[test]
fn a_peer_that_drops_is_called_less_and_less_often() {
    thread::scope(|scope| {
        let all = [Drops::Connecting, Drops::Responding, Drops::Open, Drops::AfterAFrame];
        for (drops, &adapter) in product(all, ADAPTERS) {
            scope.spawn(move || calls(adapter, drops));
        }
    });
}

fn calls(adapter: Adapter, drops: Drops) {
    const TIMES: u32 = 1000;
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let request = Request::new(&format!("ws://{}", listener.local_addr().unwrap())).unwrap();
    // Delays of nothing at first, and of a millisecond at most, so that a thousand pass.
    let most = Duration::from_millis(1);
    let mut backoff = Backoff::seeded(1);
    backoff.first_delay = Duration::ZERO;
    backoff.max_delay = most;
    backoff.max_attempts = Some(TIMES);
    let client = move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let (mut delays, mut asked) = (Vec::with_capacity(1000), Vec::with_capacity(1000));
        let mut defaults = Backoff::seeded(2);
        loop {
            let called = match adapter {
                Adapter::Blocking => on_a_thread(&request),
                Adapter::Tokio => runtime.block_on(on_tokio(&request)),
            };
            let retry_delay = called.unwrap_err().retry_delay();
            let Some(delay) = backoff.after_error(retry_delay) else { return (delays, asked) };
            delays.push(delay);
            asked.extend(defaults.after_error(retry_delay));
            thread::sleep(delay);
        }
    };
    let ((delays, asked), (), heap) = alone(client, || {
        for _ in 0..=TIMES {
            let (io, _) = listener.accept().unwrap();
            drop_at(drops, io);
        }
        listener.set_nonblocking(true).unwrap();
        let another = listener.accept().map(drop).unwrap_err();
        assert_eq!(another.kind(), ErrorKind::WouldBlock, "{TIMES} and no more");
    });
    let what = format!("{adapter:?} {drops:?}");
    assert_eq!(delays.len(), TIMES as usize, "{what}");
    // A peer that proved nothing is never called at once again.
    assert_eq!(delays[0], Duration::ZERO);
    let grown = delays[1..].iter().all(|delay| (most / 2..=most).contains(delay));
    assert!(grown, "{what}: {delays:?}");
    // With the defaults: 0-5, 5-10, 10-20, 20-40, 30-60, 30-60, .. s.
    assert_eq!(asked.len(), TIMES as usize);
    for (n, delay) in asked.iter().enumerate().skip(1) {
        let most = (5_u64 << n.min(4)).min(60);
        let within = most / 2..=most;
        assert!(within.contains(&delay.as_secs()), "{what} {n}: {delay:?}");
    }
    // As much as one connection, and no more the thousandth time than the first.
    heap.under(&what, SMALL + heap_of_a_head(512) + (64 << 10)); // and tokio's runtime
    assert!(heap.kept <= 4 * READ, "{what}: {heap:?}");
}

fn on_a_thread(request: &Request) -> Result<(), Error> {
    let mut ws = Dial::new(request).blocking_connect(&patient())?;
    ws.send("subscribe a")?;
    while let Some(message) = ws.recv()? {
        assert_eq!(message, Message::Text("one frame"));
    }
    Ok(())
}

async fn on_tokio(request: &Request) -> Result<(), Error> {
    let mut ws = Dial::new(request).connect(&patient()).await?;
    ws.send("subscribe a").await?;
    while let Some(message) = ws.recv().await? {
        assert_eq!(message, Message::Text("one frame"));
    }
    Ok(())
}

fn drop_at(drops: Drops, io: TcpStream) {
    io.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut foe = Foe::new(Role::Client, io);
    match drops {
        Drops::Connecting => {}
        Drops::Responding => {
            foe.head();
            foe.flood(b"HTTP/1.1 101 Switch", 1);
        }
        Drops::Open => foe.shake(),
        Drops::AfterAFrame => {
            let accept = foe.proof();
            let mut wire = crate::opening::response(&accept, &[]);
            wire.extend(foe.frame(TEXT, "one frame"));
            foe.flood(&wire, 1);
            // It reads what the client says, so that the end is one, and the frame is received.
            foe.end();
            let _ = foe.io.read_to_end(&mut Vec::new());
        }
    }
}
