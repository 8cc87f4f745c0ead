//! permessage-deflate, by one more line.
use crate::server;
use std::{
    io::{self, Read, Write},
    net::TcpStream,
};
use tickwire_tungstenite::{
    deflate::Deflate,
    tungstenite::{
        Message, accept_hdr_with_config, accept_with_config,
        client::{client_with_config, connect_with_config},
        handshake::server::{Request, Response},
        protocol::WebSocketConfig,
    },
};

/// A stream that counts what passes.
struct Counted(TcpStream, usize);

impl Read for Counted {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        self.0.read(to).inspect(|n| self.1 += n)
    }
}

impl Write for Counted {
    fn write(&mut self, from: &[u8]) -> io::Result<usize> {
        self.0.write(from).inspect(|n| self.1 += n)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

fn config() -> Option<WebSocketConfig> {
    Some(WebSocketConfig::default().deflate(Deflate::default()))
}

/// An echo, and how much passed on the wire for a text of 100,000 bytes there and back.
fn echo(server_config: Option<WebSocketConfig>) -> (usize, bool) {
    let (url, serving) = server(move |stream| {
        let mut socket = accept_with_config(stream, server_config).unwrap();
        let message = socket.read().unwrap();
        socket.send(message).unwrap();
    });
    let at = url.strip_prefix("ws://").unwrap().strip_suffix("/feed").unwrap();
    let stream = Counted(TcpStream::connect(at).unwrap(), 0);
    let (mut socket, response) = client_with_config(&url, stream, config()).unwrap();
    let text = Message::text("abcdefghij".repeat(10_000));
    socket.send(text.clone()).unwrap();
    assert_eq!(socket.read().unwrap(), text);
    serving.join().unwrap();
    (socket.get_ref().1, response.headers().contains_key("sec-websocket-extensions"))
}

#[test]
fn messages_are_compressed_if_both_ends_want_it() {
    let (wire, agreed) = echo(config());
    assert!(agreed && wire < 5_000, "{wire}");
    let (wire, agreed) = echo(None);
    assert!(!agreed && wire > 200_000, "{wire}");
}

#[test]
fn a_callback_that_takes_the_extension_away_has_its_way() {
    let (url, serving) = server(|stream| {
        let plain = |_: &Request, mut response: Response| {
            assert!(response.headers_mut().remove("sec-websocket-extensions").is_some());
            Ok(response)
        };
        let mut socket = accept_hdr_with_config(stream, plain, config()).unwrap();
        socket.send(Message::text("a".repeat(1000))).unwrap();
    });
    let (mut socket, _) = connect_with_config(&url, config(), 0).unwrap();
    assert_eq!(socket.read().unwrap().len(), 1000);
    serving.join().unwrap();
}

#[test]
fn a_client_takes_a_server_with_takeover_unless_it_is_told_not_to() {
    let takeover = || {
        let mut deflate = Deflate::default();
        deflate.server.takeover = true;
        Some(WebSocketConfig::default().deflate(deflate))
    };
    let text = "abcdefghij".repeat(100);
    let (url, serving) = server({
        let text = text.clone();
        move |stream| {
            let mut socket = accept_with_config(stream, takeover()).unwrap();
            for _ in 0..2 {
                socket.send(Message::text(&text)).unwrap();
            }
        }
    });
    let (mut socket, response) = connect_with_config(&url, config(), 0).unwrap();
    assert_eq!(
        response.headers()["sec-websocket-extensions"],
        "permessage-deflate; client_no_context_takeover"
    );
    for _ in 0..2 {
        assert_eq!(socket.read().unwrap(), Message::text(&text));
    }
    serving.join().unwrap();

    // This server ignores what it is asked.
    let (url, serving) = server(move |stream| {
        let answer = |_: &Request, mut response: Response| {
            let headers = response.headers_mut();
            headers.insert("sec-websocket-extensions", "permessage-deflate".parse().unwrap());
            Ok(response)
        };
        accept_hdr_with_config(stream, answer, takeover()).unwrap();
    });
    let strict = Deflate { require_no_takeover: true, ..Deflate::default() };
    let config = WebSocketConfig::default().deflate(strict);
    let error = connect_with_config(&url, Some(config), 0).unwrap_err();
    assert!(error.to_string().contains("Deflate::require_no_takeover"), "{error}");
    serving.join().unwrap();
}
