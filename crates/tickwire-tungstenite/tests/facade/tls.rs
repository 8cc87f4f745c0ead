//! `wss` on rustls, with a certificate made for the occasion.
use futures_util::{SinkExt, StreamExt};
use rustls::{ClientConfig, ClientConnection, ServerConfig, ServerConnection};
use std::{net::TcpStream, sync::Arc};
use tickwire_tungstenite::{
    Connector, MaybeTlsStream, accept_async, client_async_tls_with_config,
    connect_async_tls_with_config,
    tungstenite::{self, Error, Message, error::UrlError},
};
use tokio::{io::AsyncWriteExt, net::TcpListener};
use tokio_rustls::TlsAcceptor;

/// A server's configuration, and that of a client which trusts it.
pub(crate) fn configs() -> (Arc<ServerConfig>, Arc<ClientConfig>) {
    let identity = testkit::tls::Identity::self_signed(&["localhost"]);
    (Arc::new(identity.server()), Arc::new(identity.client()))
}

/// An echo on tokio, for one connection; its address, as the name in the certificate has it.
async fn echo(config: Arc<ServerConfig>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = format!("localhost:{}", listener.local_addr().unwrap().port());
    tokio::spawn(async move {
        let stream = listener.accept().await.unwrap().0;
        let stream = TlsAcceptor::from(config).accept(stream).await?;
        let mut socket = accept_async(stream).await.unwrap();
        while let Some(Ok(message)) = socket.next().await {
            if !message.is_close() {
                socket.send(message).await.unwrap();
            }
        }
        socket.get_mut().shutdown().await // TLS has an end of its own
    });
    at
}

#[tokio::test]
async fn a_wss_url_is_spoken_over_tokio_rustls_stream() {
    let (server, client) = configs();
    let url = format!("wss://{}/feed", echo(server).await);
    let connector = Some(Connector::Rustls(client));
    let (mut socket, _) = connect_async_tls_with_config(url, None, true, connector).await.unwrap();
    for len in [0, 1, 126, 70_000, 1 << 20] {
        let message = Message::binary(vec![7; len]);
        socket.send(message.clone()).await.unwrap();
        assert_eq!(socket.next().await.unwrap().unwrap(), message);
    }
    // As programs do that look below TLS: at the version, the certificate, the socket's options.
    let stream: &tokio_rustls::client::TlsStream<tokio::net::TcpStream> = match socket.get_ref() {
        MaybeTlsStream::Rustls(stream) => stream,
        other => panic!("{other:?}"),
    };
    let (tcp, session) = stream.get_ref();
    assert!(tcp.nodelay().unwrap());
    assert_eq!(session.protocol_version(), Some(rustls::ProtocolVersion::TLSv1_3));
    assert!(session.peer_certificates().is_some());
    socket.close(None).await.unwrap();
    assert!(socket.next().await.unwrap().unwrap().is_close());
    assert!(socket.next().await.is_none());
}

#[tokio::test]
async fn a_certificate_that_nobody_vouches_for_is_refused() {
    let (server, _) = configs();
    let url = format!("wss://{}", echo(server).await);
    let (_, stranger) = configs();
    let connector = Some(Connector::Rustls(stranger));
    let refused = connect_async_tls_with_config(url, None, false, connector).await;
    match refused.map(drop) {
        Err(Error::Io(error)) => assert!(error.to_string().contains("certificate"), "{error}"),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_connector_without_tls_refuses_wss_and_takes_ws() {
    let plain = || Some(Connector::Plain);
    let (client, server) = tokio::io::duplex(1000);
    let refused = client_async_tls_with_config("wss://localhost/", client, None, plain()).await;
    assert!(matches!(refused, Err(Error::Url(UrlError::TlsFeatureNotEnabled))));
    drop(server);
    // Nothing is dialed: nobody listens on port 1.
    let url = "wss://localhost:1/";
    let refused = connect_async_tls_with_config(url, None, false, plain()).await;
    assert!(matches!(refused, Err(Error::Url(UrlError::TlsFeatureNotEnabled))));
    let (client, server) = tokio::io::duplex(1000);
    let connecting = client_async_tls_with_config("ws://localhost/", client, None, plain());
    let (connected, accepted) = tokio::join!(connecting, accept_async(server));
    accepted.unwrap();
    assert!(matches!(connected.unwrap().0.get_ref(), MaybeTlsStream::Plain(_)));
}

#[test]
fn blocking_ends_speak_tls_too() {
    let (server, client) = configs();
    let (url, serving) = crate::server(|stream| {
        let session = ServerConnection::new(server).unwrap();
        let mut socket = tungstenite::accept(rustls::StreamOwned::new(session, stream)).unwrap();
        let message = socket.read().unwrap();
        socket.send(message).unwrap();
        assert!(socket.read().unwrap().is_close());
    });
    let port = url.strip_prefix("ws://127.0.0.1:").unwrap();
    let stream = TcpStream::connect(format!("127.0.0.1:{}", port.strip_suffix("/feed").unwrap()));
    let connector = Some(tungstenite::Connector::Rustls(client));
    let (mut socket, _) = tungstenite::client_tls_with_config(
        format!("wss://localhost:{port}"),
        stream.unwrap(),
        None,
        connector,
    )
    .unwrap();
    let message = Message::text("ö".repeat(50_000));
    socket.send(message.clone()).unwrap();
    assert_eq!(socket.read().unwrap(), message);
    let stream: &rustls::StreamOwned<ClientConnection, TcpStream> = match socket.get_ref() {
        tungstenite::stream::MaybeTlsStream::Rustls(stream) => stream,
        other => panic!("{other:?}"),
    };
    assert!(!stream.conn.is_handshaking());
    socket.close(None).unwrap();
    serving.join().unwrap();
}
