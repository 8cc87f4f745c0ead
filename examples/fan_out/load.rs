//! The subscribers, in a process of their own: most read, some have stopped.
use crate::server::now;
use hdrhistogram::Histogram;
use std::{cell::RefCell, error, io, net::SocketAddr, rc::Rc, time::Duration};
use tickwire::{
    Config,
    handshake::client::Request,
    tokio::{WebSocket, client},
};
use tokio::{
    net::{TcpSocket, TcpStream},
    task::{JoinSet, LocalSet},
    time,
};

type Result<T> = std::result::Result<T, Box<dyn error::Error>>;

/// What is measured.
pub(crate) struct Measured {
    /// Ticks `first..last` count; those before warm up.
    pub(crate) first: u64,
    pub(crate) last: u64,
}

struct Tally {
    latency: Histogram<u64>,
    received: u64,
    gaps: u64,
}

/// Connects, reads to the last tick, and prints a line of results.
pub(crate) async fn run(
    server: SocketAddr,
    subscribers: usize,
    stalled: usize,
    measured: Measured,
) -> Result<()> {
    let request = Request::new(&format!("ws://{server}/"))?;
    let tally = Rc::new(RefCell::new(Tally {
        latency: Histogram::new_with_bounds(1000, 100_000_000_000, 3)?,
        received: 0,
        gaps: 0,
    }));
    let local = LocalSet::new();
    let (mut readers, mut asleep) = (JoinSet::new(), Vec::new());
    local
        .run_until(async {
            for n in 0..subscribers {
                let stalls = n * stalled / subscribers != (n + 1) * stalled / subscribers;
                let mut ws =
                    client(dial(server, stalls).await?, &request, &Config::default()).await?;
                ws.send("snapshot").await?;
                if stalls {
                    asleep.push(ws); // and is never read
                } else {
                    let (tally, first, last) = (tally.clone(), measured.first, measured.last);
                    readers.spawn_local(async move { read(ws, &tally, first, last).await });
                }
            }
            while let Some(reader) = readers.join_next().await {
                reader??;
            }
            Ok::<_, Box<dyn error::Error>>(())
        })
        .await?;
    let Tally { latency, received, gaps } = &*tally.borrow();
    let us = |quantile| latency.value_at_quantile(quantile) / 1000;
    println!("{received} {gaps} {} {} {} {}", us(0.5), us(0.99), us(0.999), latency.max() / 1000);
    Ok(())
}

async fn dial(server: SocketAddr, stalls: bool) -> io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    if stalls {
        socket.set_recv_buffer_size(4096)?; // not so much that it takes minutes to fill
    }
    let stream = time::timeout(Duration::from_secs(10), socket.connect(server)).await??;
    stream.set_nodelay(true)?;
    Ok(stream)
}

async fn read(
    mut ws: WebSocket<TcpStream>,
    tally: &RefCell<Tally>,
    first: u64,
    last: u64,
) -> std::result::Result<(), tickwire::Error> {
    let mut next = 0;
    while let Some(message) = ws.recv().await? {
        let Some((head, _)) = message.as_bytes().split_first_chunk::<16>() else { continue };
        let head = u128::from_be_bytes(*head);
        let (number, sent) = ((head >> 64) as u64, head as u64);
        if number == u64::MAX {
            continue; // the snapshot
        }
        let tally = &mut *tally.borrow_mut();
        tally.gaps += number.saturating_sub(next);
        next = number + 1;
        if number >= first {
            tally.received += 1;
            tally.latency.saturating_record(now().saturating_sub(sent));
        }
        if next == last {
            return Ok(());
        }
    }
    Ok(())
}
