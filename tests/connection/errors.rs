//! `Debug` of errors: all that a `main` shows of the error that it returns.
#[cfg(all(feature = "blocking", not(miri)))]
mod over_sockets;

use std::{fmt::Debug, io};
use tickwire::{
    CloseCode, Error, ProtocolError, RecvError, SendError,
    handshake::{HandshakeError, HeaderError},
    url::UrlError,
};
use tickwire_parts::PushError;

fn shown(error: &dyn Debug) -> String {
    format!("{error:?}")
}

/// Each limit of time that LIMITS names, wherever it passed; and no other error.
#[cfg(feature = "blocking")]
#[test]
fn what_a_time_limit_ended_is_a_timeout() {
    let timed_out = || Error::Io(io::ErrorKind::TimedOut.into());
    for error in [
        timed_out(),
        Error::Handshake(HandshakeError::Timeout),
        Error::Proxy(Box::new(timed_out())),
        Error::Proxy(Box::new(Error::Handshake(HandshakeError::Timeout))),
        Error::Recv(RecvError::PongTimeout),
        Error::Recv(RecvError::DataTimeout),
        Error::Recv(RecvError::CloseTimeout),
        Error::Recv(RecvError::FrameTimeout),
        Error::Recv(RecvError::WriteTimeout),
    ] {
        assert!(error.is_timeout(), "{error:?}");
    }
    for error in [
        Error::WouldBlock,
        Error::Io(io::ErrorKind::ConnectionRefused.into()),
        Error::Handshake(HandshakeError::UnexpectedEof),
        Error::Proxy(Box::new(Error::NoTls)),
        Error::Recv(RecvError::UnexpectedEof),
        Error::Send(SendError::Closed),
    ] {
        assert!(!error.is_timeout(), "{error:?}");
    }
}

#[test]
fn debug_has_variant_fields_and_text() {
    let full = SendError::Full { buffered: 9, limit: 8 };
    let cases: [(&dyn Debug, &str); 11] = [
        (&UrlError::NoScheme, r#"NoScheme: "URL does not begin with ws:// or wss://""#),
        (&ProtocolError::BadUtf8, r#"BadUtf8: "invalid UTF-8""#),
        (
            &RecvError::MessageTooBig { limit: 7 },
            "MessageTooBig { limit: 7 }: \"message longer than the limit of 7 bytes \
             (max_message)\"",
        ),
        (
            &full,
            "Full { buffered: 9, limit: 8 }: \"9 bytes buffered, limit 8: flush, or wait for \
             `ready`, then feed again\"",
        ),
        (
            &HandshakeError::MissingHeader("Upgrade"),
            r#"MissingHeader("Upgrade"): "header Upgrade is missing""#,
        ),
        (&HeaderError::RepeatedSubprotocol, r#"RepeatedSubprotocol: "subprotocol is named twice""#),
        (
            &CloseCode::try_from(1005).unwrap_err(),
            r#"InvalidCloseCode(1005): "1005 is no close code that a Close frame may have""#,
        ),
        (
            &Error::NoTls,
            "NoTls: \"TLS is not built in: `wss`, or an `https` proxy, needs the features `rustls` \
             and `ring`\"",
        ),
        (
            &Error::Io(io::ErrorKind::UnexpectedEof.into()),
            r#"Io(Kind(UnexpectedEof)): "unexpected end of file""#,
        ),
        (
            &PushError::Full,
            "Full: \"the subscriber's queue is at its bound: feed from it and flush, then push \
             again\"",
        ),
        (
            &PushError::Disconnected(CloseCode::POLICY_VIOLATION),
            r#"Disconnected(CloseCode(1008)): "subscriber too slow, disconnected with 1008""#,
        ),
    ];
    for (error, expected) in cases {
        assert_eq!(shown(error), expected);
    }
}

#[test]
fn an_error_in_an_error_has_its_text_once() {
    let recv = RecvError::Protocol(ProtocolError::BadUtf8);
    let cases: [(Error, &str); 4] = [
        (recv.into(), r#"Recv(Protocol(BadUtf8: "invalid UTF-8"))"#),
        (UrlError::EmptyHost.into(), r#"Url(EmptyHost: "URL has no host")"#),
        (
            Error::Proxy(Box::new(HandshakeError::NotUpgrade.into())),
            r#"Proxy(Handshake(NotUpgrade: "no upgrade to websocket"))"#,
        ),
        (
            SendError::BadUtf8.into(),
            r#"Send(BadUtf8: "text is not valid UTF-8: send such bytes as binary")"#,
        ),
    ];
    for (error, expected) in cases {
        assert_eq!(shown(&error), expected);
    }
}

#[test]
fn quotes_in_a_text_are_escaped_and_the_long_form_has_it_too() {
    let failed = Error::Io(io::Error::other("no \"such\"\nhost"));
    assert!(shown(&failed).ends_with(r#": "no \"such\"\nhost""#), "{failed:?}");
    let url = UrlError::EmptyHost;
    assert_eq!(format!("{:#?}", Some(url)), "Some(\n    EmptyHost: \"URL has no host\",\n)");
}
