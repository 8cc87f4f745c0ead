//! A language model's answer in a browser, token by token: it can be stopped, waits for a slow
//! reader, and goes on after a cut with the token that is next.
//!
//! ```text
//! cargo run --release --example tokens -- --listen 127.0.0.1:9008
//! ```
//!
//! `answers.rs` is what a program needs; `model.rs` stands for the model. Where tokens only come
//! and the rest can be requests, server-sent events would do: SCALING.md of `fan_out_bus` compares.
//! Nothing bounds how many peers come: for the loopback. See the example `bounded`.
mod answers;
mod model;

use arguments::{Arguments, Failure, cannot_listen};
use tokio::net::TcpListener;

const HELP: &str = "\
A language model's answer in a page, token by token.

Usage: tokens [OPTION]...

  --listen ADDR  where to listen [127.0.0.1:9008]
  --help         this text
";

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let address = Arguments::read(HELP).address("--listen");
    let listener = TcpListener::bind(address).await.map_err(cannot_listen(address))?;
    println!("listening on http://{}", listener.local_addr()?);
    let answers = answers::Answers::default();
    loop {
        let session = answers::session(listener.accept().await?.0, answers.clone());
        tokio::spawn(async { session.await.inspect_err(|error| eprintln!("{error}")) });
    }
}
