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
//! `on_threads.rs`. Without a URL it follows a server that goes through every kind of loss.
mod feed;
mod on_threads;
mod on_tokio;
mod unreliable;

use feed::{Feed, Subscription};
use lexopt::{Arg, Parser, ValueExt};
use std::{error, process::ExitCode, time::Duration};
use tickwire::{
    CloseCode, Config, Error, Heartbeat, Message, SystemEntropy, handshake::client::Request,
};
use tickwire_parts::Backoff;
use unreliable::{End, Server};

const HELP: &str = "\
Follows a feed over as many connections as it takes.

Usage: reconnect [URL] [OPTION]...

Without URL it follows a server of its own, which ends its connections in every way there is.

  --token TOKEN     who we are, said after each connect [secret]
  --topic NAME      what to subscribe to, after each connect; again for more [ticks]
  --adapter NAME    tokio or blocking [tokio]
  --help            this text
";

type Result<T> = std::result::Result<T, Box<dyn error::Error>>;

struct Print;

impl Feed for Print {
    fn message(&mut self, message: Message<'_>) {
        println!("{message:?}");
    }

    fn gap(&mut self, ended: &std::result::Result<u16, Error>, delay: Duration) {
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

fn options() -> Result<Option<Options>> {
    let mut options =
        Options { url: None, token: "secret".into(), topics: Vec::new(), blocking: false };
    let mut parser = Parser::from_env();
    while let Some(arg) = parser.next()? {
        match arg {
            Arg::Value(url) if options.url.is_none() => options.url = Some(url.string()?),
            Arg::Long("token") => options.token = parser.value()?.string()?,
            Arg::Long("topic") => options.topics.push(parser.value()?.string()?),
            Arg::Long("adapter") => {
                options.blocking = match &*parser.value()?.string()? {
                    "tokio" => false,
                    "blocking" => true,
                    other => return Err(format!("--adapter {other}: tokio or blocking").into()),
                }
            }
            Arg::Long("help") => return Ok(None),
            other => return Err(other.unexpected().into()),
        }
    }
    if options.topics.is_empty() {
        options.topics.push("ticks".into());
    }
    Ok(Some(options))
}

/// Goes through every kind of loss, and refuses at last.
async fn act(mut server: Server, said: usize) -> Result<()> {
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

async fn run(options: Options) -> Result<()> {
    let said = 1 + options.topics.len();
    let (url, mut backoff) = match options.url {
        Some(url) => (url, Backoff::new(SystemEntropy::new()?)),
        None => {
            let server = Server::bind(([127, 0, 0, 1], 0).into()).await?;
            let url = server.url();
            tokio::spawn(async move {
                if let Err(error) = act(server, said).await {
                    eprintln!("server: {error}");
                }
            });
            // Short, since this is to be watched.
            let mut short = Backoff::new(SystemEntropy::new()?);
            short.first_delay = Duration::from_millis(200);
            short.max_delay = Duration::from_millis(800);
            (url, short)
        }
    };
    let beat = Heartbeat::new(Duration::from_millis(500), Duration::from_millis(500));
    let subscription = Subscription {
        request: Request::new(&url)?,
        config: Config { heartbeat: Some(beat), ..Config::default() },
        token: options.token,
        topics: options.topics,
    };
    let code = if options.blocking {
        let follow = move || on_threads::run(&subscription, &mut backoff, &mut Print);
        tokio::task::spawn_blocking(follow).await??
    } else {
        on_tokio::run(&subscription, &mut backoff, &mut Print).await?
    };
    println!("-- closed for good with {code}");
    Ok(())
}

fn main() -> ExitCode {
    let done = match options() {
        Ok(Some(options)) => tokio::runtime::Runtime::new()
            .map_err(Into::into)
            .and_then(|runtime| runtime.block_on(run(options))),
        Ok(None) => {
            print!("{HELP}");
            Ok(())
        }
        Err(error) => Err(error),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("-- the end: {error}");
            ExitCode::FAILURE
        }
    }
}
