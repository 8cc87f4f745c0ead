//! Sends while a received message, part of the WebSocket's buffer, is in use.
use tickwire::{Error, tokio::WebSocket};
use tokio::net::TcpStream;

async fn echo(ws: &mut WebSocket<TcpStream>) -> Result<(), Error> {
    while let Some(message) = ws.recv().await? {
        ws.send(message).await?;
    }
    Ok(())
}

fn main() {
    let _ = echo;
}
