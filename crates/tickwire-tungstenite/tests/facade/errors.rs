//! What a peer does wrong, in tungstenite's errors.
use crate::Canned;
use tickwire_tungstenite::tungstenite::{
    Error, Message, WebSocket,
    error::{CapacityError, ProtocolError},
    protocol::{
        Role, WebSocketConfig,
        frame::{CloseFrame, coding::CloseCode},
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
