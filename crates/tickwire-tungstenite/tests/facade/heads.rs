//! Answers of servers, as both clients read them.
use crate::{handshake::requested_key, server};
use futures_util::StreamExt;
use std::io::Write;
use tickwire_tungstenite::{
    connect_async,
    tungstenite::{
        Error, Message, connect,
        error::ProtocolError,
        handshake::{client::Response, derive_accept_key},
        http::Version,
    },
};

/// The first message behind this answer, or why there is none. `AGREED` stands for the lines of a
/// 101, without the empty line. Each character is one byte.
#[track_caller]
fn answered(answer: &str) -> Result<Message, Error> {
    let serve = || {
        let answer = answer.to_owned();
        server(move |mut stream| {
            let agreed = format!(
                "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\
                 Connection: Upgrade\r\nSec-WebSocket-Accept: {}\r\n",
                derive_accept_key(requested_key(&mut stream).as_bytes())
            );
            let answer = answer.replace("AGREED\r\n", &agreed);
            let bytes: Vec<u8> = answer.chars().map(|c| u8::try_from(c).unwrap()).collect();
            stream.write_all(&bytes).unwrap();
        })
    };
    let (url, serving) = serve();
    let blocking = connect(url).map(|(mut socket, _)| socket.read().unwrap());
    serving.join().unwrap();
    let (url, serving) = serve();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().unwrap();
    let on_tokio = runtime.block_on(async {
        let (mut socket, _) = connect_async(url).await?;
        socket.next().await.unwrap()
    });
    serving.join().unwrap();
    assert_eq!(format!("{blocking:?}"), format!("{on_tokio:?}"));
    blocking
}

#[track_caller]
fn refused(answer: &str) -> Response {
    match answered(answer) {
        Err(Error::Http(response)) => *response,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_101_ends_at_its_empty_line_and_stands_behind_interim_responses() {
    for answer in [
        "AGREED\r\n\r\n",
        "AGREED\r\nTransfer-Encoding: chunked\r\n\r\n",
        "AGREED\r\nContent-Length: 5\r\nContent-Length: x\r\n\r\n",
        "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nAGREED\r\n\r\n",
        &("HTTP/1.1 100 Continue\r\n\r\n".repeat(8) + "AGREED\r\n\r\n"),
    ] {
        let message = answered(&format!("{answer}\u{81}\u{2}hi")).unwrap();
        assert_eq!(message, Message::text("hi"), "{answer}");
    }
    let many = "HTTP/1.1 100 Continue\r\n\r\n".repeat(9) + "AGREED\r\n\r\n";
    let error = answered(&many).unwrap_err().to_string();
    assert!(error.contains("more than 8 interim responses"), "{error}");
    for old in ["HTTP/1.0 100 Continue\r\n\r\n", "HTTP/1.0 101 Switching Protocols\r\n\r\n"] {
        let error = answered(old).unwrap_err();
        assert!(matches!(error, Error::Protocol(ProtocolError::WrongHttpVersion)), "{error:?}");
    }
}

#[test]
fn a_folded_line_of_an_answer_is_unfolded() {
    let answer = "AGREED\r\nX: a,\r\n b \r\n \r\nY:\r\n\tz\r\n\r\n\u{81}\u{2}hi";
    assert_eq!(answered(answer).unwrap(), Message::text("hi"));
    let refusal = refused("HTTP/1.1 403 No\r\nX: a,\r\n b \r\n \r\nContent-Length:\r\n 0\r\n\r\n");
    assert_eq!(refusal.status(), 403);
    assert_eq!(refusal.headers()["x"], "a,   b");
    assert_eq!(refusal.headers()["content-length"], "0");
    let error = answered("HTTP/1.1 403 No\r\n X: y\r\n\r\n").unwrap_err();
    assert!(matches!(error, Error::Protocol(ProtocolError::HttparseError(_))), "{error:?}");
}

#[test]
fn a_refusal_has_its_status_whatever_its_version_and_its_body_without_framing() {
    let refusal = refused("HTTP/1.0 503 Busy\r\nRetry-After: 7\r\n\r\nlater");
    assert_eq!((refusal.status().as_u16(), refusal.version()), (503, Version::HTTP_10));
    assert_eq!(refusal.headers()["retry-after"], "7");
    assert_eq!(refusal.into_body().unwrap(), b"later");
    for (head, wire, body) in [
        ("Transfer-Encoding: chunked", "6\r\ndenied\r\n2;x=y\r\n!!\r\n0\r\n\r\n", "denied!!"),
        ("Transfer-Encoding: gzip, chunked", "6\r\nden", "den"),
        ("Transfer-Encoding: chunked", "no chunk", ""),
        ("Content-Length: 2", "no more", "no"),
        ("Content-Length: 100", "short", "short"),
        ("Server: x", "6\r\ndenied\r\n", "6\r\ndenied\r\n"),
    ] {
        let refusal = refused(&format!("HTTP/1.1 403 Forbidden\r\n{head}\r\n\r\n{wire}"));
        assert_eq!(refusal.body().as_deref(), Some(body.as_bytes()), "{head}");
    }
    let long = "x".repeat(40_000); // more than arrives at once
    let refusal = refused(&format!("HTTP/1.1 404 No\r\n\r\n{long}"));
    assert!(long.as_bytes().starts_with(&refusal.into_body().unwrap()));
}
