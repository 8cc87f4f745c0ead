//! What autobahn.rs is, on tickwire-tungstenite: a server or a client for the Autobahn TestSuite
//! that echoes every message with its type, written as for tokio-tungstenite and tungstenite.
//!
//! `facade server|client --adapter tokio|blocking --listen ADDR|--connect URL`, all three in this
//! order.
use std::{error, process::ExitCode};
use tickwire_tungstenite::{
    deflate::Deflate,
    tungstenite::{Message, protocol::WebSocketConfig},
};

type Result<T> = std::result::Result<T, Box<dyn error::Error + Send + Sync>>;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let ended = match args[..] {
        ["server", "--adapter", "tokio", "--listen", at] => on_tokio::serve(at),
        ["client", "--adapter", "tokio", "--connect", url] => on_tokio::run_cases(url),
        ["server", "--adapter", "blocking", "--listen", at] => on_threads::serve(at),
        ["client", "--adapter", "blocking", "--connect", url] => on_threads::run_cases(url),
        _ => Err("usage: see the first lines of facade.rs".into()),
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// With whatever the suite wants of permessage-deflate.
fn config() -> Option<WebSocketConfig> {
    let mut both = Deflate::default();
    both.server.takeover = true;
    both.client.takeover = true;
    Some(WebSocketConfig::default().deflate(both))
}

fn is_echoed(message: &Message) -> bool {
    message.is_text() || message.is_binary()
}

/// How many cases there are, as the suite says it.
fn count(message: &Message) -> Result<u32> {
    Ok(message.to_text()?.parse()?)
}

fn case(url: &str, case: u32) -> String {
    format!("{url}/runCase?case={case}&agent=facade")
}

mod on_tokio {
    use super::{Result, case, config, count, is_echoed};
    use futures_util::{SinkExt, StreamExt};
    use tickwire_tungstenite::{
        MaybeTlsStream, WebSocketStream, accept_async_with_config, connect_async_with_config,
    };
    use tokio::{
        io::{AsyncRead, AsyncWrite},
        net::{TcpListener, TcpStream},
    };

    #[tokio::main(flavor = "current_thread")]
    pub(crate) async fn serve(at: &str) -> Result<()> {
        let listener = TcpListener::bind(at).await?;
        println!("listening on ws://{}", listener.local_addr()?);
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            tokio::spawn(async move {
                // Most cases end in an error, as they should.
                match accept_async_with_config(stream, config()).await {
                    Ok(socket) => echo(socket).await,
                    Err(error) => eprintln!("{error}"),
                }
            });
        }
    }

    async fn echo<S: AsyncRead + AsyncWrite + Unpin>(mut socket: WebSocketStream<S>) {
        while let Some(received) = socket.next().await {
            let echoed = match received {
                Ok(message) if is_echoed(&message) => socket.send(message).await,
                received => received.map(drop),
            };
            if let Err(error) = echoed {
                eprintln!("{error}");
            }
        }
    }

    async fn connect(url: String) -> Result<WebSocketStream<MaybeTlsStream<TcpStream>>> {
        Ok(connect_async_with_config(url, config(), true).await?.0)
    }

    #[tokio::main(flavor = "current_thread")]
    pub(crate) async fn run_cases(url: &str) -> Result<()> {
        let mut socket = connect(format!("{url}/getCaseCount")).await?;
        let count = count(&socket.next().await.ok_or("the suite does not count")??)?;
        for number in 1..=count {
            echo(connect(case(url, number)).await?).await;
        }
        echo(connect(format!("{url}/updateReports?agent=facade")).await?).await;
        Ok(())
    }
}

mod on_threads {
    use super::{Result, case, config, count, is_echoed};
    use std::{
        io::{Read, Write},
        net::{TcpListener, TcpStream},
        thread,
    };
    use tickwire_tungstenite::tungstenite::{
        Error, WebSocket, accept_with_config, client::connect_with_config, stream::MaybeTlsStream,
    };

    pub(crate) fn serve(at: &str) -> Result<()> {
        let listener = TcpListener::bind(at)?;
        println!("listening on ws://{}", listener.local_addr()?);
        loop {
            let (stream, _) = listener.accept()?;
            stream.set_nodelay(true)?;
            thread::Builder::new().spawn(move || match accept_with_config(stream, config()) {
                Ok(socket) => echo(socket),
                Err(error) => eprintln!("{error}"),
            })?;
        }
    }

    fn echo<S: Read + Write>(mut socket: WebSocket<S>) {
        loop {
            let echoed = match socket.read() {
                Ok(message) if is_echoed(&message) => socket.send(message),
                received => received.map(drop),
            };
            match echoed {
                Ok(()) => {}
                Err(Error::ConnectionClosed) => return,
                Err(error) => return eprintln!("{error}"),
            }
        }
    }

    fn connect(url: String) -> Result<WebSocket<MaybeTlsStream<TcpStream>>> {
        Ok(connect_with_config(url, config(), 3)?.0)
    }

    pub(crate) fn run_cases(url: &str) -> Result<()> {
        let count = count(&connect(format!("{url}/getCaseCount"))?.read()?)?;
        for number in 1..=count {
            echo(connect(case(url, number))?);
        }
        echo(connect(format!("{url}/updateReports?agent=facade"))?);
        Ok(())
    }
}
