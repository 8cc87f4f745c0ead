//! A WebSocket through a proxy: HTTP CONNECT, also over TLS, or SOCKS5.
//!
//! ```text
//! cargo run --example proxy -- http://127.0.0.1:8888 ws://example.com/feed hello
//! cargo run --features rustls --example proxy -- socks5://user:password@127.0.0.1:1080 \
//!     wss://example.com/feed hello
//! HTTPS_PROXY=http://127.0.0.1:8888 cargo run --example proxy -- env ws://example.com/feed hello
//! cargo run --example proxy -- --threads http://127.0.0.1:8888 ws://example.com/feed hello
//! ```
use arguments::{Arguments, Failure, refuse};
use std::error::Error;
use tickwire::{CloseCode, Config, Dial, Proxy, handshake::client::Request};

const HELP: &str = "\
Sends messages to a WebSocket server through a proxy, and prints what comes back.

Usage: proxy [OPTION]... PROXY URL [MESSAGE]...

  PROXY       the URL of one, of http, https or socks5; or env: as the environment says
  URL         the server's
  MESSAGE...  is sent
  --threads   without tokio
  --help      this text
";

/// How to connect: through the proxy at a URL, or, for `env`, the one that the environment names.
fn by_way_of<'r>(proxy: &str, request: &'r Request) -> Result<Dial<'r>, Box<dyn Error>> {
    let proxy = match proxy {
        "env" => Proxy::from_env(request.target())?,
        url => Some(Proxy::new(url).unwrap_or_else(|error| refuse(error))),
    };
    Ok(Dial::new(request).proxy(proxy))
}

/// Sends each message and prints what comes back.
async fn run(proxy: &str, request: &Request, messages: &[String]) -> Result<(), Box<dyn Error>> {
    let mut ws = by_way_of(proxy, request)?.connect(&Config::default()).await?;
    for message in messages {
        ws.send(&**message).await?;
        match ws.recv().await? {
            Some(answer) => println!("{answer:?}"),
            None => return Err("closed".into()),
        }
    }
    ws.close(CloseCode::NORMAL).await?;
    println!("closed");
    Ok(())
}

/// The same without tokio.
fn run_blocking(proxy: &str, request: &Request, messages: &[String]) -> Result<(), Box<dyn Error>> {
    let mut ws = by_way_of(proxy, request)?.blocking_connect(&Config::default())?;
    for message in messages {
        ws.send(&**message)?;
        match ws.recv()? {
            Some(answer) => println!("{answer:?}"),
            None => return Err("closed".into()),
        }
    }
    ws.close(CloseCode::NORMAL)?;
    println!("closed");
    Ok(())
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Failure> {
    let args = Arguments::read(HELP);
    let (proxy, url, messages) = (args.text("PROXY"), args.text("URL"), args.all("MESSAGE"));
    let request = Request::new(&url).unwrap_or_else(|error| refuse(error));
    match args.has("--threads") {
        true => run_blocking(&proxy, &request, &messages)?,
        false => run(&proxy, &request, &messages).await?,
    }
    Ok(())
}
