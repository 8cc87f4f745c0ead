//! A chat server with rooms. Besides `/join` and `/leave`, messages go to the others in the room.
//!
//! ```text
//! cargo run --release --all-features --example rooms
//! cargo run --release --all-features --example client -- ws://127.0.0.1:9003 # for each
//! //join tea
//! hello
//! ```
//!
//! (The example `client` has commands of its own with one slash.) Rooms are the application's task:
//! `rooms.rs` needs only a map of channels. `session.rs` serves one connection, whose outbox
//! decides what happens to a client that is too slow.
//!
//! Nothing limits its peers: this server is only for the loopback. See the example `bounded`.
mod rooms;
mod session;

use arguments::{Arguments, Failure, cannot_listen};
use tokio::net::TcpListener;

const HELP: &str = "\
A chat server with rooms: /join ROOM, /leave; everything else goes to the others in the room.
In the example client, begin these two with //, because it has commands of its own.

Usage: rooms [ADDR]

  ADDR    where to listen [127.0.0.1:9003]
  --help  this text
";

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let address = Arguments::read(HELP).address("ADDR");
    let listener = TcpListener::bind(address).await.map_err(cannot_listen(address))?;
    println!("listening on ws://{}", listener.local_addr()?);
    let rooms = rooms::Rooms::default();
    for who in 0.. {
        let (stream, peer) = listener.accept().await?;
        let rooms = rooms.clone();
        tokio::spawn(async move {
            if let Err(error) = session::run(stream, &rooms, who).await {
                eprintln!("{peer}: {error}");
            }
        });
    }
    Ok(())
}
