//! A WebSocket through a proxy: HTTP CONNECT, also over TLS, or SOCKS5.
//!
//! ```text
//! cargo run -p proxy -- http://127.0.0.1:8888 ws://example.com/feed hello
//! cargo run -p proxy -- socks5://user:password@127.0.0.1:1080 wss://example.com/feed hello
//! HTTPS_PROXY=http://127.0.0.1:8888 cargo run -p proxy -- env ws://example.com/feed hello
//! cargo run -p proxy -- --threads http://127.0.0.1:8888 ws://example.com/feed hello
//! ```
#[cfg(test)]
mod tests;

use std::{env, error::Error, process::ExitCode};
use tickwire::{CloseCode, Config, Dial, Proxy, handshake::client::Request};

/// How to connect: through the proxy at a URL, or, for `env`, the one that the environment names.
fn by_way_of<'r>(proxy: &str, request: &'r Request) -> Result<Dial<'r>, Box<dyn Error>> {
    let proxy = match proxy {
        "env" => Proxy::from_env(request.target())?,
        url => Some(Proxy::new(url)?),
    };
    Ok(Dial::new(request).proxy(proxy))
}

/// Sends each message and prints what comes back.
async fn run(proxy: &str, url: &str, messages: &[&str]) -> Result<(), Box<dyn Error>> {
    let request = Request::new(url)?;
    let mut ws = by_way_of(proxy, &request)?.connect(&Config::default()).await?;
    for message in messages {
        ws.send(*message).await?;
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
fn run_blocking(proxy: &str, url: &str, messages: &[&str]) -> Result<(), Box<dyn Error>> {
    let request = Request::new(url)?;
    let mut ws = by_way_of(proxy, &request)?.blocking_connect(&Config::default())?;
    for message in messages {
        ws.send(*message)?;
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
async fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match &arguments[..] {
        ["--threads", proxy, url, messages @ ..] => run_blocking(proxy, url, messages),
        [proxy, url, messages @ ..] => run(proxy, url, messages).await,
        _ => {
            eprintln!("Usage: proxy [--threads] PROXY|env URL [MESSAGE]...");
            return ExitCode::from(2);
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("proxy: {error}");
            ExitCode::FAILURE
        }
    }
}
