//! A game: several people move in one world, sixty times a second, and only the server's word counts.
//!
//! ```text
//! cargo run --release -p game -- --listen 127.0.0.1:8080
//! ```
//!
//! and open that address in two browsers. What to look at:
//!
//! | file        | what is there                                                               |
//! |-------------|-----------------------------------------------------------------------------|
//! | `world`     | the simulation, without sockets and clocks: inputs in, a sixtieth of a second on |
//! | `wire`      | the binary messages                                                         |
//! | `server`    | sessions: a snapshot encoded once for all, newest state for who is slow     |
//! | `page.html` | prediction of one's own ball, interpolation of the others', measured ping   |
#[path = "../../market_feed/page.rs"]
mod page;
mod server;
mod wire;
mod world;

use arguments::{Arguments, Failure, cannot_listen, refuse};
use std::{
    error::Error,
    io::{self, Write},
};
use tickwire::handshake::server::Origins;
use tokio::net::TcpSocket;

type BoxError = Box<dyn Error + Send + Sync>;

const HELP: &str = "\
A game for browsers: collect orbs, together.

Usage: game [OPTION]...

  --listen ADDR      where to listen [127.0.0.1:8080]; 0.0.0.0:8080 for phones around;
                     of one address at most 16 connections, 8 of them not yet playing
  --origin ORIGIN    let pages of this origin play, such as https://example.com, and no
                     others; again for more (else the server's own page)
  --help             this text
";

const PAGE: &str = include_str!("page.html");

/// What the system may hold for a client: what is in there can be neither dropped nor replaced, and
/// 16 KiB are a second of a full world already.
const SEND_BUFFER: u32 = 16 << 10;

/// Serves until ctrl-c.
#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Failure> {
    let args = Arguments::read(HELP);
    let listen = args.address("--listen");
    // Without any: that of the page we serve.
    let origins = args.has("--origin").then(|| {
        let given = Origins::new(args.all("--origin"));
        given.unwrap_or_else(|error| refuse(format_args!("--origin: {error}")))
    });
    let socket = if listen.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    socket.set_reuseaddr(cfg!(unix))?;
    socket.set_send_buffer_size(SEND_BUFFER)?;
    socket.bind(listen).map_err(cannot_listen(listen))?;
    let listener = socket.listen(128).map_err(cannot_listen(listen))?;
    writeln!(io::stdout(), "listening on http://{}", listener.local_addr()?)?;
    let stop = async {
        let _ = tokio::signal::ctrl_c().await;
    };
    server::serve(listener, origins, stop).await;
    Ok(())
}
