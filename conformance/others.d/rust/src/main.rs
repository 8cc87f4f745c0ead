//! Echo servers and clients of crates, with default settings: `others NAME` is a server, and prints
//! `port N`; `others NAME URL` is a client, which sends back what comes until the connection ends.

use fastwebsockets::{FragmentCollector, OpCode};
use futures_util::{SinkExt, StreamExt};
use http_body_util::Empty;
use hyper::{
    Request, body::Bytes, body::Incoming, server::conn::http1, service::service_fn,
    upgrade::Upgraded,
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::compat::TokioAsyncReadCompatExt;

type Error = Box<dyn std::error::Error + Send + Sync>;

#[tokio::main]
async fn main() -> Result<(), Error> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let name = words[0].clone();
    if let Some(url) = words.get(1) {
        return client(&name, url).await;
    }
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("port {}", listener.local_addr()?.port());
    loop {
        let (tcp, _) = listener.accept().await?;
        let name = name.clone();
        tokio::spawn(async move {
            let _ = server(&name, tcp).await; // how a connection ends is for the suite to see
        });
    }
}

async fn server(name: &str, tcp: TcpStream) -> Result<(), Error> {
    match name {
        "tungstenite" => {
            let tcp = tcp.into_std()?;
            tcp.set_nonblocking(false)?;
            tokio::task::spawn_blocking(move || tungstenite_echo(tungstenite::accept(tcp)?)).await?
        }
        "tokio-tungstenite" => {
            tokio_tungstenite_echo(tokio_tungstenite::accept_async(tcp).await?).await
        }
        "tokio-websockets" => {
            let (_, socket) = tokio_websockets::ServerBuilder::new().accept(tcp).await?;
            tokio_websockets_echo(socket).await
        }
        "fastwebsockets" => {
            let upgrade = |mut request: Request<Incoming>| async move {
                let (response, socket) = fastwebsockets::upgrade::upgrade(&mut request)?;
                tokio::spawn(async move {
                    fastwebsockets_echo(FragmentCollector::new(socket.await?)).await
                });
                Ok::<_, fastwebsockets::WebSocketError>(response)
            };
            let connection =
                http1::Builder::new().serve_connection(TokioIo::new(tcp), service_fn(upgrade));
            Ok(connection.with_upgrades().await?)
        }
        "sockudo-ws" => sockudo_server(tcp).await,
        "soketto" => {
            use soketto::handshake::server::{Response, Server};
            let mut server = Server::new(tcp.compat());
            let key = server.receive_request().await?.key();
            server.send_response(&Response::Accept { key, protocol: None }).await?;
            soketto_echo(server.into_builder()).await
        }
        _ => Err("no such server".into()),
    }
}

async fn client(name: &str, url: &str) -> Result<(), Error> {
    let authority = url.trim_start_matches("ws://").trim_end_matches('/').to_owned();
    match name {
        "tungstenite" => {
            let url = url.to_owned();
            let echo = move || tungstenite_echo(tungstenite::connect(url)?.0);
            tokio::task::spawn_blocking(echo).await?
        }
        "tokio-tungstenite" => {
            tokio_tungstenite_echo(tokio_tungstenite::connect_async(url).await?.0).await
        }
        "tokio-websockets" => {
            let uri = url.parse()?;
            let (socket, _) = tokio_websockets::ClientBuilder::from_uri(uri).connect().await?;
            tokio_websockets_echo(socket).await
        }
        "fastwebsockets" => {
            let request = Request::get(format!("http://{authority}/"))
                .header("Host", &authority)
                .header("Upgrade", "websocket")
                .header("Connection", "upgrade")
                .header("Sec-WebSocket-Key", fastwebsockets::handshake::generate_key())
                .header("Sec-WebSocket-Version", "13")
                .body(Empty::<Bytes>::new())?;
            let tcp = TcpStream::connect(&authority).await?;
            let (socket, _) =
                fastwebsockets::handshake::client(&TokioExecutor::new(), request, tcp).await?;
            Ok(fastwebsockets_echo(FragmentCollector::new(socket)).await?)
        }
        "sockudo-ws" => {
            let tcp = TcpStream::connect(&authority).await?;
            sockudo_client(tcp, &authority).await
        }
        "soketto" => {
            use soketto::handshake::{Client, ServerResponse};
            let tcp = TcpStream::connect(&authority).await?;
            let mut client = Client::new(tcp.compat(), &authority, "/");
            let ServerResponse::Accepted { .. } = client.handshake().await? else {
                return Err("refused".into());
            };
            soketto_echo(client.into_builder()).await
        }
        _ => Err("no such client".into()),
    }
}

fn tungstenite_echo<S: std::io::Read + std::io::Write>(
    mut socket: tungstenite::WebSocket<S>,
) -> Result<(), Error> {
    loop {
        let message = socket.read()?;
        if message.is_text() || message.is_binary() {
            socket.send(message)?;
        }
    }
}

async fn tokio_tungstenite_echo<S>(
    mut socket: tokio_tungstenite::WebSocketStream<S>,
) -> Result<(), Error>
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
{
    while let Some(message) = socket.next().await {
        let message = message?;
        if message.is_text() || message.is_binary() {
            socket.send(message).await?;
        }
    }
    Ok(())
}

async fn tokio_websockets_echo<S>(
    mut socket: tokio_websockets::WebSocketStream<S>,
) -> Result<(), Error>
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
{
    while let Some(message) = socket.next().await {
        let message = message?;
        if message.is_text() || message.is_binary() {
            socket.send(message).await?;
        }
    }
    Ok(())
}

async fn fastwebsockets_echo(
    mut socket: FragmentCollector<TokioIo<Upgraded>>,
) -> Result<(), fastwebsockets::WebSocketError> {
    loop {
        let frame = socket.read_frame().await?;
        match frame.opcode {
            OpCode::Close => return Ok(()),
            OpCode::Text | OpCode::Binary => socket.write_frame(frame).await?,
            _ => {}
        }
    }
}

async fn sockudo_server(mut tcp: TcpStream) -> Result<(), Error> {
    let opened = sockudo_ws::handshake::server_handshake(&mut tcp).await?;
    sockudo_echo(tcp, sockudo_ws::Role::Server, opened.leftover).await
}

async fn sockudo_client(mut tcp: TcpStream, authority: &str) -> Result<(), Error> {
    let opened = sockudo_ws::handshake::client_handshake(&mut tcp, authority, "/", None).await?;
    sockudo_echo(tcp, sockudo_ws::Role::Client, opened.leftover).await
}

async fn sockudo_echo(
    tcp: TcpStream,
    role: sockudo_ws::Role,
    leftover: Option<Bytes>,
) -> Result<(), Error> {
    use sockudo_ws::{Config, WebSocketStream, protocol::Message};
    let mut socket =
        WebSocketStream::from_raw_with_leftover(tcp, role, Config::default(), leftover);
    while let Some(message) = socket.next().await {
        match message? {
            message @ (Message::Text(_) | Message::Binary(_)) => socket.send(message).await?,
            Message::Close(_) => break,
            _ => {}
        }
    }
    Ok(())
}

async fn soketto_echo<S>(builder: soketto::connection::Builder<S>) -> Result<(), Error>
where
    S: futures_util::AsyncRead + futures_util::AsyncWrite + Unpin,
{
    let (mut sender, mut receiver) = builder.finish();
    let mut message = Vec::new();
    loop {
        message.clear();
        match receiver.receive_data(&mut message).await? {
            soketto::Data::Binary(_) => sender.send_binary(&message).await?,
            soketto::Data::Text(_) => sender.send_text(std::str::from_utf8(&message)?).await?,
        }
        sender.flush().await?;
    }
}
