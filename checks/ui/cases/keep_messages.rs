//! Keeps received messages beyond the next receiving call, which takes their buffer.
use tickwire::{Error, Message, tokio::WebSocket};
use tokio::{net::TcpStream, sync::mpsc::Sender};

async fn count(ws: &mut WebSocket<TcpStream>) -> Result<usize, Error> {
    let mut kept = Vec::new();
    while let Some(message) = ws.recv().await? {
        kept.push(message);
    }
    Ok(kept.len())
}

async fn pass_on(
    ws: &mut WebSocket<TcpStream>,
    tx: Sender<Message<'static>>,
) -> Result<(), Error> {
    if let Some(message) = ws.recv().await? {
        let _ = tx.send(message).await;
    }
    Ok(())
}

fn main() {
    let _ = (count, pass_on);
}
