//! A server of a numbered feed that ends its connections in many ways.
use std::{io, net::SocketAddr};
use tickwire::{
    CloseCode, Config, Error, Message,
    handshake::server::{Accept, Rejection},
    tokio::{Incoming, WebSocket},
};
use tokio::{
    io::{AsyncWriteExt, copy, sink},
    net::{TcpListener, TcpStream},
};

/// How a connection ends.
#[derive(Clone, Copy, Debug)]
pub(crate) enum End {
    /// In the middle of the opening handshake.
    InHandshake,
    /// With an HTTP status, and Retry-After in seconds.
    Refused(u16, Option<u32>),
    /// With TCP's RST.
    Reset,
    /// With the end of the stream, and no Close.
    Eof,
    Closed(CloseCode),
    /// The connection does not end, but the server neither sends nor reads any more.
    Dead,
}

pub(crate) struct Server {
    address: SocketAddr,
    /// `None` while it is down.
    listener: Option<TcpListener>,
    /// The number of the last message sent.
    number: u64,
    /// Dead connections, which are kept open.
    dead: Vec<WebSocket<TcpStream>>,
}

impl Server {
    pub(crate) async fn bind(address: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        Ok(Self { address, listener: Some(listener), number: 0, dead: Vec::new() })
    }

    pub(crate) fn url(&self) -> String {
        format!("ws://{}/feed", self.address)
    }

    /// Stops listening.
    pub(crate) fn down(&mut self) {
        self.listener = None;
    }

    pub(crate) async fn up(&mut self) -> io::Result<()> {
        self.listener = Some(TcpListener::bind(self.address).await?);
        Ok(())
    }

    /// Skips the numbers of so many messages, as if they were sent while nobody listened.
    #[cfg(test)]
    pub(crate) fn skip(&mut self, messages: u64) {
        self.number += messages;
    }

    /// Accepts a connection. Receives `said` lines of the client (its login and its subscriptions),
    /// sends two messages, and ends the connection. Returns the lines.
    pub(crate) async fn serve(&mut self, said: usize, end: End) -> Result<Vec<String>, Error> {
        let Some(listener) = &self.listener else {
            return Err(io::Error::from(io::ErrorKind::NotConnected).into());
        };
        let (stream, _) = listener.accept().await?;
        if let End::InHandshake = end {
            return Ok(Vec::new());
        }
        stream.set_nodelay(true)?;
        let incoming = Incoming::read(stream, &Config::server()).await?;
        if let End::Refused(status, retry_after) = end {
            let mut rejection = Rejection::new(status);
            if let Some(seconds) = retry_after {
                rejection = rejection.header("Retry-After", &seconds.to_string())?;
            }
            incoming.reject(rejection).await?;
            return Ok(Vec::new());
        }
        let mut ws = incoming.accept(Accept::default()).await?;
        let mut lines = Vec::new();
        while lines.len() < said
            && let Some(message) = ws.recv().await?
        {
            let Some(line) = message.as_text().map(str::to_owned) else { continue };
            let answer = match line.split_once(' ') {
                Some(("subscribe", topic)) => format!("ok {topic}"),
                _ => "welcome".into(),
            };
            lines.push(line);
            ws.send(answer).await?;
        }
        for _ in 0..2 {
            self.number += 1;
            ws.send(Message::Text(&format!("message {}", self.number))).await?;
        }
        match end {
            End::Closed(code) => ws.close(code).await?,
            End::Reset => reset(ws).await?,
            End::Dead => self.dead.push(ws),
            End::Eof => {
                let mut stream = ws.into_parts().0;
                stream.shutdown().await?;
                // Reads the rest, because an unread Ping would turn the end into an RST.
                let _ = copy(&mut stream, &mut sink()).await;
            }
            End::InHandshake | End::Refused(..) => {}
        }
        Ok(lines)
    }
}

/// Ends a connection with an RST, as a crash or a firewall does.
async fn reset(mut ws: WebSocket<TcpStream>) -> Result<(), Error> {
    // A socket closed with unread bytes sends an RST, so the Pong is not read.
    ws.sender_mut().ping(b"answer me")?;
    ws.flush().await?;
    ws.get_ref().readable().await?;
    Ok(())
}
