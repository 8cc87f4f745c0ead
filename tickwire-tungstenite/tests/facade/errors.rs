//! What a peer does wrong, in tungstenite's errors.
use crate::Canned;
#[cfg(feature = "__rustls-tls")]
use tickwire_tungstenite::tungstenite::error::TlsError;
use tickwire_tungstenite::tungstenite::{
    Error, Message, WebSocket,
    error::{CapacityError, ProtocolError, SubProtocolError, UrlError},
    http::Response,
    protocol::{
        Role, WebSocketConfig,
        frame::{
            CloseFrame,
            coding::{CloseCode, Data},
        },
    },
};

/// What a client with these limits makes of the bytes.
fn refused(wire: &[u8], config: WebSocketConfig) -> Error {
    let canned = Canned { ends: true, ..Canned::new(wire) };
    let mut socket = WebSocket::from_raw_socket(canned, Role::Client, Some(config));
    let error = loop {
        if let Err(error) = socket.read() {
            break error;
        }
    };
    assert!(matches!(socket.read(), Err(Error::AlreadyClosed)));
    error
}

#[test]
fn each_violation_has_its_error() {
    let table: [(&[u8], ProtocolError); 9] = [
        (b"\xC1\x01a", ProtocolError::NonZeroReservedBits),
        (b"\x81\x81\0\0\0\0a", ProtocolError::MaskedFrameFromServer),
        (b"\x09\0", ProtocolError::ControlFrameTooBig),
        (b"\x89\x7E\0\x7E", ProtocolError::ControlFrameTooBig),
        (b"\x80\x01a", ProtocolError::UnexpectedContinueFrame),
        (b"\x88\x01\x03", ProtocolError::InvalidCloseSequence),
        (b"\x88\x02\x03\xED", ProtocolError::InvalidCloseSequence),
        (b"\x81\x05ab", ProtocolError::ResetWithoutClosingHandshake),
        (b"", ProtocolError::ResetWithoutClosingHandshake),
    ];
    for (wire, expected) in table {
        match refused(wire, WebSocketConfig::default()) {
            Error::Protocol(error) => assert_eq!(error, expected, "{wire:02X?}"),
            other => panic!("{wire:02X?}: {other:?}"),
        }
    }
    let reserved = refused(b"\x83\0", WebSocketConfig::default());
    assert!(matches!(reserved, Error::Protocol(ProtocolError::InvalidOpcode(_))));
    let inside = refused(b"\x01\x01a\x81\x01b", WebSocketConfig::default());
    assert!(matches!(inside, Error::Protocol(ProtocolError::ExpectedFragment(_))));
    for not_utf8 in [&b"\x81\x01\xFF"[..], b"\x88\x03\x03\xE8\xFF"] {
        assert!(matches!(refused(not_utf8, WebSocketConfig::default()), Error::Utf8(_)));
    }
}

#[test]
fn close_1014_is_received_as_it_is() {
    let mut socket =
        WebSocket::from_raw_socket(Canned::new(b"\x88\x02\x03\xF6"), Role::Client, None);
    let Message::Close(Some(close)) = socket.read().unwrap() else { panic!() };
    assert_eq!(u16::from(close.code), 1014);
}

#[test]
fn a_server_refuses_frames_without_masks_and_says_so() {
    let mut socket = WebSocket::from_raw_socket(Canned::new(b"\x81\x01a"), Role::Server, None);
    assert!(matches!(socket.read(), Err(Error::Protocol(ProtocolError::UnmaskedFrameFromClient))));
    assert_eq!(socket.get_ref().output, b"\x88\x02\x03\xEA"); // 1002
}

#[test]
fn limits_hold_for_frames_and_for_messages() {
    let small = WebSocketConfig::default().max_frame_size(Some(4)).max_message_size(Some(6));
    for (wire, limit) in [(&b"\x82\x05abcde"[..], 4), (b"\x02\x04abcd\x80\x03efg", 6)] {
        match refused(wire, small) {
            Error::Capacity(CapacityError::MessageTooLong { size, max_size }) => {
                assert!(max_size == limit && size > limit);
            }
            other => panic!("{other:?}"),
        }
    }
    let none = WebSocketConfig::default().max_frame_size(None).max_message_size(None);
    let huge = [&b"\x82\x7F\0\0\0\0\x01\x10\0\0"[..], &vec![0; 17 << 20], b"\x88\0"].concat();
    assert!(matches!(refused(&huge, none), Error::ConnectionClosed));
}

#[test]
fn what_cannot_be_sent_is_refused_and_the_connection_goes_on() {
    let mut socket = WebSocket::from_raw_socket(Canned::new(b""), Role::Server, None);
    let long = socket.send(Message::Ping(vec![0; 126].into()));
    assert!(matches!(long, Err(Error::Protocol(ProtocolError::ControlFrameTooBig))));
    let close = |code: u16, reason: String| {
        Some(CloseFrame { code: CloseCode::from(code), reason: reason.into() })
    };
    let never = socket.close(close(1006, String::new()));
    assert!(matches!(never, Err(Error::Protocol(ProtocolError::InvalidCloseSequence))));
    let long = socket.close(close(1000, "x".repeat(124)));
    assert!(matches!(long, Err(Error::Protocol(ProtocolError::ControlFrameTooBig))));
    assert!(socket.can_write());
    socket.send(Message::text("a")).unwrap();
    assert_eq!(socket.get_ref().output, b"\x81\x01a");
}

/// Programs and alerts match the texts.
#[test]
fn each_error_has_the_text_of_tungstenites() {
    let whole = [
        (Error::ConnectionClosed, "Connection closed normally"),
        (Error::AlreadyClosed, "Trying to work with closed connection"),
        (Error::Io(std::io::ErrorKind::BrokenPipe.into()), "IO error: broken pipe"),
        (Error::Capacity(CapacityError::TooManyHeaders), "Space limit exceeded: Too many headers"),
        (
            Error::Protocol(ProtocolError::HandshakeIncomplete),
            "WebSocket protocol error: Handshake not finished",
        ),
        (Error::WriteBufferFull(Box::new(Message::text("a"))), "Write buffer is full"),
        #[cfg(feature = "__rustls-tls")]
        (Error::Tls(TlsError::InvalidDnsName), "TLS error: Invalid DNS name"),
        #[cfg(feature = "__rustls-tls")]
        (
            Error::Tls(rustls::Error::DecryptError.into()),
            "TLS error: rustls error: cannot decrypt peer's message",
        ),
        (Error::Utf8("at 3".into()), "UTF-8 encoding error: at 3"),
        (Error::AttackAttempt, "Attack attempt detected"),
        (Error::Url(UrlError::NoHostName), "URL error: No host name in the URL"),
        (
            Error::Http(Box::new(Response::builder().status(403).body(None).unwrap())),
            "HTTP error: 403 Forbidden",
        ),
        (
            Error::HttpFormat(Response::builder().status(1).body(()).unwrap_err()),
            "HTTP format error: invalid status code",
        ),
    ];
    for (error, text) in whole {
        assert_eq!(error.to_string(), text);
    }
    let limits = [
        (CapacityError::TooManyHeaders, "Too many headers"),
        (CapacityError::MessageTooLong { size: 5, max_size: 4 }, "Message too long: 5 > 4"),
    ];
    for (error, text) in limits {
        assert_eq!(Error::from(error).to_string(), format!("Space limit exceeded: {text}"));
    }
    let subprotocols = [
        (
            SubProtocolError::ServerSentSubProtocolNoneRequested,
            "Server sent a subprotocol but none was requested",
        ),
        (SubProtocolError::InvalidSubProtocol, "Server sent an invalid subprotocol"),
        (SubProtocolError::NoSubProtocol, "Server sent no subprotocol"),
    ];
    for (error, text) in subprotocols {
        assert_eq!(error.to_string(), text);
    }
    let urls = [
        (UrlError::TlsFeatureNotEnabled, "TLS support not compiled in"),
        (UrlError::NoHostName, "No host name in the URL"),
        (UrlError::UnableToConnect("a:1".into()), "Unable to connect to a:1"),
        (UrlError::UnsupportedUrlScheme, "URL scheme not supported"),
        (UrlError::EmptyHostName, "URL contains empty host name"),
        (UrlError::NoPathOrQuery, "No path/query in URL"),
    ];
    for (error, text) in urls {
        assert_eq!(Error::from(error).to_string(), format!("URL error: {text}"));
    }
}

#[test]
fn each_violation_has_the_text_of_tungstenites() {
    let protocol = [
        (ProtocolError::WrongHttpMethod, "Unsupported HTTP method used - only GET is allowed"),
        (ProtocolError::WrongHttpVersion, "HTTP version must be 1.1 or higher"),
        (ProtocolError::MissingConnectionUpgradeHeader, "No \"Connection: upgrade\" header"),
        (ProtocolError::MissingUpgradeWebSocketHeader, "No \"Upgrade: websocket\" header"),
        (
            ProtocolError::MissingSecWebSocketVersionHeader,
            "No \"Sec-WebSocket-Version: 13\" header",
        ),
        (ProtocolError::MissingSecWebSocketKey, "No \"Sec-WebSocket-Key\" header"),
        (ProtocolError::InvalidSecWebSocketKey, "Invalid \"Sec-WebSocket-Key\" header value"),
        (
            ProtocolError::SecWebSocketAcceptKeyMismatch,
            "Key mismatch in \"Sec-WebSocket-Accept\" header",
        ),
        (
            ProtocolError::SecWebSocketSubProtocolError(SubProtocolError::NoSubProtocol),
            "SubProtocol error: Server sent no subprotocol",
        ),
        (ProtocolError::JunkAfterRequest, "Junk after client request"),
        (ProtocolError::CustomResponseSuccessful, "Custom response must not be successful"),
        (
            ProtocolError::InvalidHeader(Box::new("host".parse().unwrap())),
            "Missing, duplicated or incorrect header host",
        ),
        (ProtocolError::HandshakeIncomplete, "Handshake not finished"),
        (ProtocolError::HttparseError(httparse::Error::Token), "httparse error: invalid token"),
        (ProtocolError::SendAfterClosing, "Sending after closing is not allowed"),
        (ProtocolError::ReceivedAfterClosing, "Remote sent after having closed"),
        (ProtocolError::NonZeroReservedBits, "Reserved bits are non-zero"),
        (ProtocolError::UnmaskedFrameFromClient, "Received an unmasked frame from client"),
        (ProtocolError::MaskedFrameFromServer, "Received a masked frame from server"),
        (ProtocolError::FragmentedControlFrame, "Fragmented control frame"),
        (
            ProtocolError::ControlFrameTooBig,
            "Control frame too big (payload must be 125 bytes or less)",
        ),
        (ProtocolError::UnknownControlFrameType(11), "Unknown control frame type: 11"),
        (ProtocolError::UnknownDataFrameType(3), "Unknown data frame type: 3"),
        (ProtocolError::UnexpectedContinueFrame, "Continue frame but nothing to continue"),
        (
            ProtocolError::ExpectedFragment(Data::Text),
            "While waiting for more fragments received: TEXT",
        ),
        (ProtocolError::ResetWithoutClosingHandshake, "Connection reset without closing handshake"),
        (ProtocolError::InvalidOpcode(5), "Encountered invalid opcode: 5"),
        (ProtocolError::InvalidCloseSequence, "Invalid close sequence"),
    ];
    for (error, text) in protocol {
        assert_eq!(Error::from(error).to_string(), format!("WebSocket protocol error: {text}"));
    }
}
