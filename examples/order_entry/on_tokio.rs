//! Under tokio: first a stall, in which a cancel overtakes quotes, then a cut.
use super::order::{Kind, Order};
use arguments::Failure;
use std::sync::Arc;
use tickwire::{
    Config, Error, Position,
    handshake::client::Request,
    tokio::{WebSocket, accept, client},
};
use tokio::{
    io::{DuplexStream, duplex},
    select,
    sync::Notify,
    task::yield_now,
};

/// How many bytes the line holds while the exchange does not read.
const LINE: usize = 2048;

pub(crate) async fn stalled_and_cut(quotes: u64) -> Result<(), Failure> {
    let (near, far) = duplex(LINE);
    let (reads, cuts) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let exchange = tokio::spawn(exchange(far, quotes + 1, reads.clone(), cuts.clone()));
    let request = Request::new("ws://exchange.example/orders")?;
    let mut ws = client(near, &request, &Config::default()).await?;

    // The line stalls. Bytes that it does not accept wait in the send buffer.
    for number in 1..=quotes {
        quote(number).feed(ws.sender_mut())?;
    }
    write_what_the_line_takes(&mut ws).await?;
    let cancel = Order { kind: Kind::Cancel, number: 1, price: 0, size: 0 };
    let cancelled = cancel.feed_first(ws.sender_mut())?;
    println!("{quotes} quotes, then a cancel: {} bytes wait", ws.sender().buffered_amount());
    reads.notify_one();
    ws.flush().await?;
    assert!(ws.sender().is_written(cancelled), "the line has taken all");

    // The exchange reads no more, and then the line is cut.
    let orders: Vec<(u64, Position)> = (quotes + 1..=2 * quotes)
        .map(|number| Ok((number, quote(number).feed(ws.sender_mut())?)))
        .collect::<Result<_, Error>>()?;
    write_what_the_line_takes(&mut ws).await?;
    cuts.notify_one();
    let arrived = exchange.await??;
    let before = arrived.iter().position(|order| order.kind == Kind::Cancel);
    let before = before.ok_or("no cancel has arrived")? as u64;
    println!(
        "the exchange got {before} quotes before the cancel, which overtook {}",
        quotes - before
    );
    let ended = match ws.recv().await {
        Ok(_) => "closed".into(),
        Err(error) => error.to_string(),
    };

    // An order that was not written has not left, and may be sent again on the next connection. An
    // order that was written may have arrived or not. Ask the exchange before you send it again, or
    // it could be executed twice.
    let (left, unsent): (Vec<_>, Vec<_>) =
        orders.into_iter().partition(|(_, position)| ws.sender().is_written(*position));
    println!(
        "the line is cut ({ended}): {} orders may have left, {} have not",
        left.len(),
        unsent.len()
    );
    if before == quotes || left.is_empty() || unsent.is_empty() {
        return Err("the line did not stall".into());
    }
    Ok(())
}

fn quote(number: u64) -> Order {
    Order { kind: Kind::Quote, number, price: 1_084_200_000 + number, size: 100 }
}

/// `flush` waits for the line. Dropping it is safe: bytes that are not written yet stay queued.
async fn write_what_the_line_takes(ws: &mut WebSocket<DuplexStream>) -> Result<(), Error> {
    select! {
        biased;
        flushed = ws.flush() => flushed,
        () = yield_now() => Ok(()),
    }
}

/// Receives `most` orders once it may read, then nothing more until the line is cut.
async fn exchange(
    line: DuplexStream,
    most: u64,
    reads: Arc<Notify>,
    cuts: Arc<Notify>,
) -> Result<Vec<Order>, Error> {
    let mut ws = accept(line, &Config::default()).await?;
    reads.notified().await;
    let mut arrived = Vec::new();
    while (arrived.len() as u64) < most
        && let Some(message) = ws.recv().await?
    {
        arrived.extend(Order::read(message.as_bytes()));
    }
    cuts.notified().await;
    Ok(arrived) // here the line is dropped
}
