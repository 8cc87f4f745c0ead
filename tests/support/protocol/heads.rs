//! The heads of an opening handshake, as the table's peer sends them.
use tickwire::handshake::accept_key;

/// Agrees on permessage-deflate, if it is said on both sides.
fn extension(agreed: bool) -> &'static str {
    match agreed {
        true => {
            "Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover; \
             client_no_context_takeover\r\n"
        }
        false => "",
    }
}

pub(crate) fn request(agreed: bool) -> String {
    format!(
        "GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{}\r\n",
        extension(agreed)
    )
}

/// What accepts this request.
pub(crate) fn response(request: &str, agreed: bool) -> String {
    let key = request.lines().find_map(|line| line.strip_prefix("Sec-WebSocket-Key: "));
    format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {}\r\n{}\r\n",
        accept_key(key.unwrap().trim()),
        extension(agreed)
    )
}
