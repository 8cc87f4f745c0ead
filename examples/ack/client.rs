//! The sending end: connects again and again until the server has all orders.
use super::delivery::{self, Unacked};
use std::time::Instant;
use tickwire::{CloseCode, Config, Dial, Error, handshake::client::Request};
use tickwire_parts::Backoff;
use tokio::{sync::mpsc::Receiver, time::sleep};

/// Sends all orders of `orders`. Returns once there are no more orders and the server has all of
/// them. The result is the number of connections that it took.
pub(crate) async fn run(
    request: &Request,
    backoff: &mut Backoff,
    mut orders: Receiver<Vec<u8>>,
) -> Result<u32, Error> {
    let mut unacked = Unacked::new(100);
    for connections in 1.. {
        let began = Instant::now();
        let ended = session(request, backoff, &mut orders, &mut unacked).await;
        let delay = match &ended {
            Ok(Done::All) => return Ok(connections),
            Ok(Done::Closed(code)) => backoff.after_close(*code, began.elapsed()),
            Err(error) => backoff.after_error(error.retry_delay()),
        };
        let Some(delay) = delay else { return ended.map(|_| connections) };
        sleep(delay).await;
    }
    Ok(u32::MAX)
}

enum Done {
    /// There are no more orders, and the server has them all.
    All,
    /// The server has closed.
    Closed(u16),
}

async fn session(
    request: &Request,
    backoff: &mut Backoff,
    orders: &mut Receiver<Vec<u8>>,
    unacked: &mut Unacked,
) -> Result<Done, Error> {
    let mut ws = Dial::new(request).connect(&Config::default()).await?;
    // The server says up to which number it has all orders. The rest is sent again.
    match ws.recv().await? {
        Some(message) => unacked.acked(delivery::read(message.as_bytes()).map_or(0, |(n, _)| n)),
        None => return Ok(Done::Closed(ws.closed().map_or(1006, |end| end.code))),
    }
    for (number, payload) in unacked.iter() {
        let _ = ws.feed(delivery::order(number, payload)); // refused once the stream is broken
    } // and then `recv` returns the error
    let mut more = true;
    while more || !unacked.is_empty() {
        tokio::select! {
            message = ws.recv() => match message? { // also writes what was fed
                Some(message) => {
                    unacked.acked(delivery::read(message.as_bytes()).map_or(0, |(n, _)| n));
                    backoff.reset();
                }
                None => return Ok(Done::Closed(ws.closed().map_or(1006, |end| end.code))),
            },
            order = orders.recv(), if more && unacked.has_room() => match order {
                // The order is remembered before it is sent, so it will arrive in any case.
                Some(order) => if let Some(number) = unacked.push(&order) {
                    let _ = ws.feed(delivery::order(number, &order));
                },
                None => more = false,
            },
        }
    }
    ws.close(CloseCode::NORMAL).await?;
    Ok(Done::All)
}
