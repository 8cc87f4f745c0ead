//! soketto at the other end of tickwire-tungstenite, as client and as server, with
//! permessage-deflate and without.

use futures_util::{SinkExt, StreamExt};
use soketto::connection::{Builder, CloseReason, Mode};
use soketto::extension::deflate::Deflate;
use soketto::handshake::{Client, Server, ServerResponse, server::Response};
use soketto::{Data, Incoming};
use tickwire_tungstenite::tungstenite::Message;
use tickwire_tungstenite::tungstenite::protocol::WebSocketConfig;
use tickwire_tungstenite::{WebSocketStream, accept_async_with_config, client_async_with_config};
use tokio::io::DuplexStream;
use tokio_util::compat::{Compat, TokioAsyncReadCompatExt};

type Soketto = Builder<Compat<DuplexStream>>;
type Facade = WebSocketStream<DuplexStream>;

fn config(deflate: bool) -> Option<WebSocketConfig> {
    let config = WebSocketConfig::default();
    Some(if deflate { config.deflate(Default::default()) } else { config })
}

/// soketto as client, the facade as server.
async fn client(deflate: bool) -> (Soketto, Facade) {
    let (here, there) = tokio::io::duplex(10_000);
    let server = tokio::spawn(accept_async_with_config(there, config(deflate)));
    let mut client = Client::new(here.compat(), "localhost", "/");
    if deflate {
        client.add_extension(Box::new(Deflate::new(Mode::Client)));
    }
    assert!(matches!(client.handshake().await.unwrap(), ServerResponse::Accepted { .. }));
    (client.into_builder(), server.await.unwrap().unwrap())
}

/// soketto as server, the facade as client.
async fn server(deflate: bool) -> (Soketto, Facade) {
    let (here, there) = tokio::io::duplex(10_000);
    let client = client_async_with_config("ws://localhost/", there, config(deflate));
    let client = tokio::spawn(client);
    let mut server = Server::new(here.compat());
    if deflate {
        server.add_extension(Box::new(Deflate::new(Mode::Server)));
    }
    let key = server.receive_request().await.unwrap().key();
    server.send_response(&Response::Accept { key, protocol: None }).await.unwrap();
    let (client, response) = client.await.unwrap().unwrap();
    assert_eq!(response.headers().contains_key("Sec-WebSocket-Extensions"), deflate);
    (server.into_builder(), client)
}

/// Sends back what comes, to the Close.
async fn echo(mut facade: Facade) {
    while let Some(message) = facade.next().await {
        match message.unwrap() {
            message @ (Message::Text(_) | Message::Binary(_)) => {
                facade.send(message).await.unwrap()
            }
            Message::Ping(payload) => assert_eq!(payload, "beat"),
            other => assert!(other.is_close(), "{other:?}"),
        }
    }
}

async fn converse(soketto: Soketto, facade: Facade) {
    let facade = tokio::spawn(echo(facade));
    let (mut sender, mut receiver) = soketto.finish();
    let mut message = Vec::new();
    for len in [0, 1, 125, 126, 5000, 65_535, 65_536, 1 << 20] {
        let text = "ö€".repeat(len / 5);
        let exchange = async {
            sender.send_text(&text).await.unwrap();
            sender.send_binary(&text.as_bytes()[..len / 5]).await.unwrap();
            sender.flush().await.unwrap();
        };
        let answers = async {
            let mut both = Vec::new();
            for _ in 0..2 {
                message.clear();
                let kind = receiver.receive_data(&mut message).await.unwrap();
                both.push((kind, message.clone()));
            }
            both
        };
        let ((), answers) = tokio::join!(exchange, answers);
        assert_eq!(answers[0], (Data::Text(text.len()), text.clone().into_bytes()));
        assert_eq!(answers[1].1, text.as_bytes()[..len / 5]);
    }
    sender.send_ping(b"beat"[..].try_into().unwrap()).await.unwrap();
    sender.flush().await.unwrap();
    assert_eq!(receiver.receive(&mut message).await.unwrap(), Incoming::Pong(b"beat"));
    sender.close().await.unwrap();
    match receiver.receive(&mut message).await {
        Ok(Incoming::Closed(CloseReason { code, .. })) => assert_eq!(code, 1000),
        other => panic!("{other:?}"),
    }
    drop((sender, receiver));
    facade.await.unwrap();
}

#[tokio::test]
async fn soketto_as_client_is_understood_and_understands() {
    for deflate in [false, true] {
        let (soketto, facade) = client(deflate).await;
        converse(soketto, facade).await;
    }
}

#[tokio::test]
async fn soketto_as_server_is_understood_and_understands() {
    for deflate in [false, true] {
        let (soketto, facade) = server(deflate).await;
        converse(soketto, facade).await;
    }
}
