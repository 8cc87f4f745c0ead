//! A client of HTTP/2 that says how much it will read.
use bytes::Bytes;
use h2::{RecvStream, SendStream, client, ext::Protocol};
use http::{Request, Version};
use std::{future::poll_fn, net::SocketAddr, pin::pin, task::Poll};
use tokio::{net::TcpStream, sync::oneshot};

/// Opens a WebSocket by extended CONNECT (RFC 8441), over a connection whose streams have this
/// window, until the last of the three is told another.
pub(crate) async fn open(
    address: SocketAddr,
    path: &str,
    window: u32,
) -> (SendStream<Bytes>, RecvStream, oneshot::Sender<u32>) {
    let tcp = TcpStream::connect(address).await.unwrap();
    let mut builder = client::Builder::new();
    let (mut client, connection) =
        builder.initial_window_size(window).handshake(tcp).await.unwrap();
    let (open, opens) = oneshot::channel();
    tokio::spawn(async move {
        let mut connection = pin!(connection);
        tokio::select! {
            _ = connection.as_mut() => return,
            Ok(window) = opens => connection.set_initial_window_size(window).unwrap(),
        }
        let _ = connection.await;
    });
    poll_fn(|cx| match client.is_extended_connect_protocol_enabled() {
        true => Poll::Ready(()), // the server's settings have come
        false => {
            cx.waker().wake_by_ref();
            Poll::Pending
        }
    })
    .await;
    let request = Request::connect(format!("http://{address}{path}"))
        .version(Version::HTTP_2)
        .header("Sec-WebSocket-Version", "13")
        .extension(Protocol::from_static("websocket"))
        .body(())
        .unwrap();
    let (response, sending) = client.send_request(request, false).unwrap();
    let response = response.await.unwrap();
    assert_eq!(response.status(), 200);
    (sending, response.into_body(), open)
}
