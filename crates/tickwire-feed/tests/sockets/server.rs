use tickwire::{
    Config,
    handshake::server::Rejection,
    tokio::{Incoming, WebSocket, accept},
};
use tokio::net::{TcpListener, TcpStream};

pub(crate) struct Server(TcpListener);

impl Server {
    pub(crate) async fn bind() -> Self {
        Self(TcpListener::bind(("127.0.0.1", 0)).await.unwrap())
    }

    pub(crate) fn url(&self) -> String {
        format!("ws://{}/", self.0.local_addr().unwrap())
    }

    pub(crate) async fn accept(&mut self) -> Peer {
        let (stream, _) = self.0.accept().await.unwrap();
        Peer(accept(stream, &Config::server()).await.unwrap())
    }

    pub(crate) async fn refuse(&mut self, status: u16) {
        let (stream, _) = self.0.accept().await.unwrap();
        let incoming = Incoming::read(stream, &Config::server()).await.unwrap();
        incoming.reject(Rejection::new(status)).await.unwrap();
    }
}

pub(crate) struct Peer(WebSocket<TcpStream>);

impl Peer {
    /// The client's next text; `None` once the connection has ended.
    pub(crate) async fn recv(&mut self) -> Option<String> {
        let message = self.0.recv().await.ok()??;
        message.as_text().map(str::to_owned)
    }

    /// The code of the client's Close.
    pub(crate) fn code(&self) -> Option<u16> {
        self.0.closed().map(|closed| closed.code)
    }

    pub(crate) async fn send(&mut self, text: &str) {
        self.0.send(text).await.unwrap();
    }
}
