//! A client that reconnects: says who it is and subscribes again after each connect, marks the gap,
//! and never sends anything twice by itself.
//!
//! ```text
//! cargo run --release --example reconnect
//! cargo run --release --example reconnect -- ws://127.0.0.1:9000/feed --topic EURUSD
//! ```
//!
//! There is no reconnecting client in the crate, since what has to happen after a connect is the
//! application's: the loop is short, and here it is, in `on_tokio.rs` and once more in
//! `on_threads.rs`. Without a URL, it follows a server that ends connections in each way of `End`.
mod feed;
mod on_threads;
mod on_tokio;
mod unreliable;

use arguments::{Arguments, Failure, refuse};
use feed::{Feed, Subscription};
use std::time::Duration;
use tickwire::{
    CloseCode, Config, Error, Heartbeat, Message, SystemEntropy, handshake::client::Request,
};
use tickwire_parts::Backoff;
use unreliable::{End, Server};

const HELP: &str = "\
Follows a feed over as many connections as it takes.

Usage: reconnect [URL] [OPTION]...

Without URL it follows a server of its own, which ends its connections in every way there is.

  URL               whom to follow
  --token TOKEN     who we are, said after each connect [secret]
  --topic NAME      what to subscribe to, after each connect; again for more [ticks]
  --adapter NAME    tokio or blocking [tokio]
  --help            this text
";

struct Print;

impl Feed for Print {
    fn message(&mut self, message: Message<'_>) {
        println!("{message:?}");
    }

    fn gap(&mut self, ended: &Result<u16, Error>, delay: Duration) {
        match ended {
            Ok(code) => println!("-- gap: closed with {code}; next attempt in {delay:.1?}"),
            Err(error) => println!("-- gap: {error}; next attempt in {delay:.1?}"),
        }
    }
}

struct Options {
    url: Option<String>,
    token: String,
    topics: Vec<String>,
    blocking: bool,
}

fn options() -> Options {
    let args = Arguments::read(HELP);
    Options {
        url: args.optional("URL"),
        token: args.text("--token"),
        topics: args.all("--topic"),
        blocking: args.one_of("--adapter", &[("tokio", false), ("blocking", true)]),
    }
}

/// Lets the server end connections in each way of `End`, be down for a second, and refuse at last.
async fn act(mut server: Server, said: usize) -> Result<(), Error> {
    server.serve(said, End::InHandshake).await?;
    server.serve(said, End::Eof).await?;
    server.serve(said, End::Closed(CloseCode::SERVICE_RESTART)).await?;
    server.serve(said, End::Reset).await?;
    server.serve(said, End::Refused(503, Some(1))).await?;
    server.serve(said, End::Dead).await?;
    server.serve(said, End::Closed(CloseCode::TRY_AGAIN_LATER)).await?;
    server.down();
    tokio::time::sleep(Duration::from_secs(1)).await;
    server.up().await?;
    server.serve(said, End::Refused(401, None)).await?;
    Ok(())
}

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let options = options();
    let said = 1 + options.topics.len();
    let (url, acting, mut backoff) = match options.url {
        Some(url) => (url, None, Backoff::new(SystemEntropy::new()?)),
        None => {
            let server = Server::bind(([127, 0, 0, 1], 0).into()).await?;
            let url = server.url();
            let acting = tokio::spawn(act(server, said));
            // Short, since this is to be watched.
            let mut short = Backoff::new(SystemEntropy::new()?);
            short.first_delay = Duration::from_millis(200);
            short.max_delay = Duration::from_millis(800);
            (url, Some(acting), short)
        }
    };
    let beat = Heartbeat::new(Duration::from_millis(500), Duration::from_millis(500));
    let subscription = Subscription {
        request: Request::new(&url).unwrap_or_else(|error| refuse(error)),
        config: Config { heartbeat: Some(beat), ..Config::default() },
        token: options.token,
        topics: options.topics,
    };
    let ended = if options.blocking {
        let follow = move || on_threads::run(&subscription, &mut backoff, &mut Print);
        tokio::task::spawn_blocking(follow).await?
    } else {
        on_tokio::run(&subscription, &mut backoff, &mut Print).await
    };
    match (ended, acting) {
        (Ok(code), _) => println!("-- closed for good with {code}"),
        // Our own server has this after all the others.
        (Err(Error::Refused(refusal)), Some(acting)) if refusal.status == 401 => {
            acting.await??;
            println!("-- the end: {}", Error::Refused(refusal));
        }
        (Err(error), _) => return Err(error.into()),
    }
    Ok(())
}
