//! A WebSocket through a proxy, HTTP CONNECT or SOCKS5.
//!
//! ```text
//! cargo run -p proxy -- http://127.0.0.1:8888 ws://example.com/feed hello
//! cargo run -p proxy -- socks5://user:password@127.0.0.1:1080 ws://example.com/feed hello
//! ```
//!
//! The crate knows no proxies, and need not: it speaks over any stream. `dial.rs` is all that is to
//! be written around a library that speaks to proxies.
mod dial;
#[cfg(test)]
mod tests;

use dial::Proxy;
use std::{env, error::Error, process::ExitCode};
use tickwire::{CloseCode, Config, handshake::client::Request, tokio::client};

/// Sends each message and prints what comes back.
async fn run(proxy: &str, url: &str, messages: &[&str]) -> Result<(), Box<dyn Error>> {
    let request = Request::new(url)?;
    if request.target().secure() {
        return Err("for wss put TLS around what was dialed, before the handshake".into());
    }
    let stream = Proxy::parse(proxy)?.dial(request.target()).await?;
    let mut ws = client(stream, &request, &Config::default()).await?;
    for message in messages {
        ws.send(*message).await?;
        match ws.recv().await? {
            Some(answer) => println!("{answer:?}"),
            None => {
                return Err(
                    format!("closed with {}", ws.closed().map_or(1006, |end| end.code)).into()
                );
            }
        }
    }
    ws.close(CloseCode::NORMAL).await?;
    println!("closed");
    Ok(())
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let [proxy, url, messages @ ..] = &arguments[..] else {
        eprintln!("Usage: proxy PROXY URL [MESSAGE]...");
        return ExitCode::from(2);
    };
    match run(proxy, url, messages).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let mut cause: Option<&dyn Error> = Some(&*error);
            while let Some(error) = cause {
                eprintln!("proxy: {error}");
                cause = error.source();
            }
            ExitCode::FAILURE
        }
    }
}
