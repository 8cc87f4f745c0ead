//! Closes with a number, with a reason that has no code.
use tickwire::{Sender, tokio::WebSocket};
use tokio::net::TcpStream;

fn leave(ws: &mut WebSocket<TcpStream>, tx: &mut Sender) {
    drop(ws.close(4009));
    tx.close("bye").unwrap();
}

fn main() {
    let _ = leave;
}
