//! A language model's answer in a browser, token by token: it can be stopped, waits for a slow reader, and goes on after a
//! cut with the token that is next.
//!
//! ```text
//! cargo run --release --example tokens -- --listen 127.0.0.1:9008
//! ```
//!
//! `answers.rs` is what a program needs; `model.rs` stands for the model. Where tokens only come and the rest can be requests,
//! server-sent events would do: `docs/SCALING.md`. Nothing bounds how many peers come: for the
//! loopback. See the example `bounded`.
mod answers;
mod model;

use market_feed::BoxError;
use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let mut options = std::env::args().skip_while(|arg| arg != "--listen");
    let address = options.nth(1).unwrap_or_else(|| "127.0.0.1:9008".into());
    let listener = TcpListener::bind(address).await?;
    println!("listening on http://{}", listener.local_addr()?);
    let answers = answers::Answers::default();
    loop {
        let session = answers::session(listener.accept().await?.0, answers.clone());
        tokio::spawn(async { session.await.inspect_err(|error| eprintln!("{error}")) });
    }
}
