//! tickwire-tungstenite under the Autobahn TestSuite (see `autobahn`), written as for
//! tokio-tungstenite and tungstenite.
use crate::socket::{Echoes, Opened, async_tcp, runtime};
use futures_util::{SinkExt, StreamExt};
use std::{
    io::{Read, Write},
    net::TcpStream,
};
use tickwire_tungstenite::{
    WebSocketStream, accept_async_with_config, connect_async_with_config,
    deflate::Deflate,
    tungstenite::{
        Error, Message, WebSocket, accept_with_config, client::connect_with_config,
        protocol::WebSocketConfig,
    },
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    runtime::Runtime,
};

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

pub(crate) fn accept_async(tcp: TcpStream) -> Opened {
    tcp.set_nodelay(true)?;
    let runtime = runtime()?;
    let socket =
        runtime.block_on(async { accept_async_with_config(async_tcp(tcp)?, config()).await })?;
    Ok(Box::new((runtime, socket)))
}

pub(crate) fn connect_async(url: &str) -> Opened {
    let runtime = runtime()?;
    let (socket, _) = runtime.block_on(connect_async_with_config(url, config(), true))?;
    Ok(Box::new((runtime, socket)))
}

impl<S: AsyncRead + AsyncWrite + Unpin> Echoes for (Runtime, WebSocketStream<S>) {
    fn text(&mut self) -> crate::Result<String> {
        let (runtime, socket) = self;
        let message = runtime.block_on(socket.next()).ok_or("the suite does not count")??;
        Ok(message.to_text()?.to_string())
    }

    fn echo(&mut self) -> crate::Result<()> {
        let (runtime, socket) = self;
        runtime.block_on(async {
            while let Some(received) = socket.next().await {
                let echoed = match received {
                    Ok(message) if is_echoed(&message) => socket.send(message).await,
                    received => received.map(drop),
                };
                if let Err(error) = echoed {
                    eprintln!("{error}");
                }
            }
            Ok(())
        })
    }
}

pub(crate) fn accept(tcp: TcpStream) -> Opened {
    tcp.set_nodelay(true)?;
    Ok(Box::new(accept_with_config(tcp, config()).map_err(|error| error.to_string())?))
}

pub(crate) fn connect(url: &str) -> Opened {
    Ok(Box::new(connect_with_config(url, config(), 3)?.0))
}

impl<S: Read + Write> Echoes for WebSocket<S> {
    fn text(&mut self) -> crate::Result<String> {
        Ok(self.read()?.to_text()?.to_string())
    }

    fn echo(&mut self) -> crate::Result<()> {
        loop {
            let echoed = match self.read() {
                Ok(message) if is_echoed(&message) => self.send(message),
                received => received.map(drop),
            };
            match echoed {
                Ok(()) => {}
                Err(Error::ConnectionClosed) => return Ok(()),
                Err(error) => return Err(error.into()),
            }
        }
    }
}
