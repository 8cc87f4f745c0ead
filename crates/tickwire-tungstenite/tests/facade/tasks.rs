//! `WebSocketStream`, whole and split.
use futures_util::{SinkExt, StreamExt};
use std::time::Duration;
use testkit::PATIENCE;
use tickwire_tungstenite::{
    WebSocketStream, accept_async, client_async, connect_async,
    tungstenite::{
        Error, Message,
        error::ProtocolError,
        protocol::{Role, WebSocketConfig},
    },
};
use tokio::{io::DuplexStream, net::TcpListener, time::timeout};

/// Both ends on a pipe of `capacity` bytes.
async fn pair(
    capacity: usize,
    config: Option<WebSocketConfig>,
) -> (WebSocketStream<DuplexStream>, WebSocketStream<DuplexStream>) {
    let (client, server) = tokio::io::duplex(capacity);
    (
        WebSocketStream::from_raw_socket(client, Role::Client, config).await,
        WebSocketStream::from_raw_socket(server, Role::Server, config).await,
    )
}

// A lost wake-up waits for ever.
#[tokio::test]
async fn an_echo_over_tcp_ends_in_order() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("ws://{}", listener.local_addr().unwrap());
    let serving = tokio::spawn(async move {
        let mut socket = accept_async(listener.accept().await.unwrap().0).await.unwrap();
        while let Some(message) = socket.next().await {
            match message.unwrap() {
                Message::Close(_) => {}
                message => socket.send(message).await.unwrap(),
            }
        }
    });
    let (mut socket, _) = connect_async(url).await.unwrap();
    for len in [0, 1, 126, 70_000] {
        let message = Message::binary(vec![1; len]);
        socket.send(message.clone()).await.unwrap();
        assert_eq!(socket.next().await.unwrap().unwrap(), message);
    }
    socket.close(None).await.unwrap();
    assert_eq!(socket.next().await.unwrap().unwrap(), Message::Close(None));
    assert!(socket.next().await.is_none());
    assert!(matches!(socket.send("late".into()).await, Err(Error::AlreadyClosed)));
    serving.await.unwrap();
}

#[tokio::test]
async fn the_opening_handshake_passes_a_pipe_of_one_byte() {
    let (client, server) = tokio::io::duplex(1);
    let both =
        async { tokio::join!(client_async("ws://localhost/", client), accept_async(server)) };
    let (client, server) = timeout(PATIENCE, both).await.unwrap();
    let ((mut client, _), mut server) = (client.unwrap(), server.unwrap());
    let (sent, received) = tokio::join!(client.send("hi".into()), server.next());
    sent.unwrap();
    assert_eq!(received.unwrap().unwrap(), Message::text("hi"));
}

#[tokio::test]
async fn a_split_connection_echoes_in_two_tasks() {
    let (client, server) = pair(1000, None).await;
    let (mut to_server, mut from_server) = client.split();
    let (mut to_client, mut from_client) = server.split();
    let echo = tokio::spawn(async move {
        while let Some(message) = from_client.next().await {
            let message = message.unwrap();
            if message.is_binary() {
                to_client.send(message).await.unwrap();
            }
        }
    });
    let sending = tokio::spawn(async move {
        for n in 0..500_usize {
            to_server.send(Message::binary(vec![n as u8; n * 7])).await.unwrap();
            if n % 50 == 0 {
                to_server.send(Message::Ping("?".into())).await.unwrap();
            }
        }
        to_server
    });
    let (mut n, mut pongs) = (0, 0);
    while n < 500 {
        match timeout(PATIENCE, from_server.next()).await.unwrap().unwrap().unwrap() {
            Message::Binary(bytes) => {
                assert_eq!(bytes, vec![n as u8; n * 7]);
                n += 1;
            }
            Message::Pong(payload) => {
                assert_eq!(payload, "?");
                pongs += 1;
            }
            other => panic!("{other}"),
        }
    }
    assert!(pongs > 0);
    sending.await.unwrap().close().await.unwrap();
    assert!(timeout(PATIENCE, from_server.next()).await.unwrap().unwrap().unwrap().is_close());
    echo.await.unwrap();
    assert!(timeout(PATIENCE, from_server.next()).await.unwrap().is_none());
}

/// The writer waits for the pipe; so does the reader, with its Pong. What empties the pipe has to
/// wake both: the reader sees the next message only if it is woken.
#[tokio::test]
async fn a_pipe_that_empties_wakes_the_writer_and_the_reader_that_has_a_pong_to_write() {
    for order in [false, true] {
        let (mut client, server) = pair(64, None).await;
        let (mut to_client, mut from_client) = server.split();
        client.send(Message::Ping("!".into())).await.unwrap();
        let writing = tokio::spawn(async move {
            to_client.send(Message::binary(vec![5; 10_000])).await.unwrap();
            to_client
        });
        if order {
            tokio::task::yield_now().await; // the writer waits first
        }
        let reading = tokio::spawn(async move {
            assert_eq!(from_client.next().await.unwrap().unwrap(), Message::Ping("!".into()));
            from_client.next().await.unwrap().unwrap()
        });
        for _ in 0..10 {
            tokio::task::yield_now().await; // both wait
        }
        let mut received = Vec::new();
        while received.len() < 2 {
            received.push(timeout(PATIENCE, client.next()).await.unwrap().unwrap().unwrap());
        }
        assert!(received.contains(&Message::Pong("!".into())));
        assert!(received.contains(&Message::binary(vec![5; 10_000])));
        let mut to_client = timeout(PATIENCE, writing).await.unwrap().unwrap();
        client.send(Message::text("next")).await.unwrap();
        assert_eq!(timeout(PATIENCE, reading).await.unwrap().unwrap(), Message::text("next"));
        to_client.flush().await.unwrap();
    }
}

#[tokio::test]
async fn feeding_does_not_write_and_a_flush_does() {
    let (mut client, mut server) = pair(1 << 20, None).await;
    for n in 0..100_u8 {
        client.feed(Message::binary(vec![n])).await.unwrap();
    }
    let nothing = timeout(Duration::from_millis(20), server.next()).await;
    assert!(nothing.is_err());
    client.flush().await.unwrap();
    for n in 0..100_u8 {
        assert_eq!(server.next().await.unwrap().unwrap(), Message::binary(vec![n]));
    }
}

#[tokio::test]
async fn a_stream_that_ends_without_a_close_is_an_error_and_then_the_end() {
    let (client, mut server) = pair(1000, None).await;
    drop(client);
    match server.next().await {
        Some(Err(Error::Protocol(ProtocolError::ResetWithoutClosingHandshake))) => {}
        other => panic!("{other:?}"),
    }
    assert!(server.next().await.is_none());
}

#[tokio::test]
async fn a_receive_that_is_dropped_at_every_poll_loses_nothing() {
    let (mut client, mut server) = pair(16, None).await;
    let sending = tokio::spawn(async move {
        for n in 0..50_u8 {
            client.send(Message::binary(vec![n; 100])).await.unwrap();
        }
        client
    });
    let mut n = 0;
    while n < 50 {
        tokio::select! {
            biased;
            message = server.next() => {
                assert_eq!(message.unwrap().unwrap(), Message::binary(vec![n; 100]));
                n += 1;
            }
            () = tokio::task::yield_now() => {}
        }
    }
    sending.await.unwrap();
}
