//! Sends values that are neither text nor bytes.
use tickwire::{Sender, tokio::WebSocket};
use tokio::net::TcpStream;

struct Order;

fn place(ws: &mut WebSocket<TcpStream>, tx: &mut Sender) {
    drop(ws.send(Order));
    tx.feed(Some("text")).unwrap();
}

fn main() {
    let _ = place;
}
