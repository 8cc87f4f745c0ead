//! What the facade and tungstenite print: `Display` and `Debug` of the same values, which programs
//! and their tests compare. A variant that this test lacks does not compile.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
use std::{
    fmt::{Debug, Display},
    io,
};

fn shown(value: &(impl Display + Debug)) -> String {
    format!("{value}\n{value:?}")
}

/// The texts of these values, one for each variant.
macro_rules! of_each {
    ($Enum:ty { $($pattern:pat => $value:expr,)+ }) => {{
        let _ = |value: $Enum| match value { $($pattern => (),)+ };
        let values: Vec<$Enum> = vec![$($value),+];
        values.iter().map(shown).collect::<Vec<_>>()
    }};
}

/// The texts of all errors and values, in the types of one of the two crates.
macro_rules! texts {
    ($tungstenite:path) => {{
        use $tungstenite as tungstenite;
        use tungstenite::{
            error::{CapacityError, Error, ProtocolError, SubProtocolError, TlsError, UrlError},
            http::{Response, header},
            protocol::{
                CloseFrame, Message,
                frame::{
                    Frame,
                    coding::{CloseCode, Control, Data, OpCode},
                },
            },
        };
        let mut texts = of_each!(CapacityError {
            CapacityError::TooManyHeaders => CapacityError::TooManyHeaders,
            CapacityError::MessageTooLong { .. } => {
                CapacityError::MessageTooLong { size: 9, max_size: 8 }
            },
        });
        texts.extend(of_each!(SubProtocolError {
            SubProtocolError::ServerSentSubProtocolNoneRequested => {
                SubProtocolError::ServerSentSubProtocolNoneRequested
            },
            SubProtocolError::InvalidSubProtocol => SubProtocolError::InvalidSubProtocol,
            SubProtocolError::NoSubProtocol => SubProtocolError::NoSubProtocol,
        }));
        texts.extend(of_each!(UrlError {
            UrlError::TlsFeatureNotEnabled => UrlError::TlsFeatureNotEnabled,
            UrlError::NoHostName => UrlError::NoHostName,
            UrlError::UnableToConnect(_) => UrlError::UnableToConnect("ws://h/".into()),
            UrlError::UnsupportedUrlScheme => UrlError::UnsupportedUrlScheme,
            UrlError::EmptyHostName => UrlError::EmptyHostName,
            UrlError::NoPathOrQuery => UrlError::NoPathOrQuery,
        }));
        texts.extend(of_each!(ProtocolError {
            ProtocolError::WrongHttpMethod => ProtocolError::WrongHttpMethod,
            ProtocolError::WrongHttpVersion => ProtocolError::WrongHttpVersion,
            ProtocolError::MissingConnectionUpgradeHeader => {
                ProtocolError::MissingConnectionUpgradeHeader
            },
            ProtocolError::MissingUpgradeWebSocketHeader => {
                ProtocolError::MissingUpgradeWebSocketHeader
            },
            ProtocolError::MissingSecWebSocketVersionHeader => {
                ProtocolError::MissingSecWebSocketVersionHeader
            },
            ProtocolError::MissingSecWebSocketKey => ProtocolError::MissingSecWebSocketKey,
            ProtocolError::InvalidSecWebSocketKey => ProtocolError::InvalidSecWebSocketKey,
            ProtocolError::SecWebSocketAcceptKeyMismatch => {
                ProtocolError::SecWebSocketAcceptKeyMismatch
            },
            ProtocolError::SecWebSocketSubProtocolError(_) => {
                ProtocolError::SecWebSocketSubProtocolError(SubProtocolError::NoSubProtocol)
            },
            ProtocolError::JunkAfterRequest => ProtocolError::JunkAfterRequest,
            ProtocolError::CustomResponseSuccessful => ProtocolError::CustomResponseSuccessful,
            ProtocolError::InvalidHeader(_) => ProtocolError::InvalidHeader(header::HOST.into()),
            ProtocolError::HandshakeIncomplete => ProtocolError::HandshakeIncomplete,
            ProtocolError::HttparseError(_) => httparse::Error::Token.into(),
            ProtocolError::SendAfterClosing => ProtocolError::SendAfterClosing,
            ProtocolError::ReceivedAfterClosing => ProtocolError::ReceivedAfterClosing,
            ProtocolError::NonZeroReservedBits => ProtocolError::NonZeroReservedBits,
            ProtocolError::UnmaskedFrameFromClient => ProtocolError::UnmaskedFrameFromClient,
            ProtocolError::MaskedFrameFromServer => ProtocolError::MaskedFrameFromServer,
            ProtocolError::FragmentedControlFrame => ProtocolError::FragmentedControlFrame,
            ProtocolError::ControlFrameTooBig => ProtocolError::ControlFrameTooBig,
            ProtocolError::UnknownControlFrameType(_) => ProtocolError::UnknownControlFrameType(11),
            ProtocolError::UnknownDataFrameType(_) => ProtocolError::UnknownDataFrameType(3),
            ProtocolError::UnexpectedContinueFrame => ProtocolError::UnexpectedContinueFrame,
            ProtocolError::ExpectedFragment(_) => ProtocolError::ExpectedFragment(Data::Text),
            ProtocolError::ResetWithoutClosingHandshake => {
                ProtocolError::ResetWithoutClosingHandshake
            },
            ProtocolError::InvalidOpcode(_) => ProtocolError::InvalidOpcode(5),
            ProtocolError::InvalidCloseSequence => ProtocolError::InvalidCloseSequence,
        }));
        let refusal = Response::builder().status(400).body(None).unwrap();
        texts.extend(of_each!(Error {
            Error::ConnectionClosed => Error::ConnectionClosed,
            Error::AlreadyClosed => Error::AlreadyClosed,
            Error::Io(_) => io::Error::other("no route").into(),
            Error::Tls(_) => TlsError::InvalidDnsName.into(),
            Error::Capacity(_) => CapacityError::TooManyHeaders.into(),
            Error::Protocol(_) => ProtocolError::WrongHttpMethod.into(),
            Error::WriteBufferFull(_) => Error::WriteBufferFull(Message::text("a").into()),
            Error::Utf8(_) => String::from_utf8(vec![b'a', 0xff]).unwrap_err().into(),
            Error::AttackAttempt => Error::AttackAttempt,
            Error::Url(_) => UrlError::NoHostName.into(),
            Error::Http(_) => Error::Http(refusal.into()),
            Error::HttpFormat(_) => header::HeaderName::from_bytes(b"").unwrap_err().into(),
        }));
        let failed = rustls::Error::General("no roots".into());
        for error in [TlsError::InvalidDnsName, TlsError::from(failed)] {
            texts.push(shown(&error));
        }
        let frame = CloseFrame { code: CloseCode::Normal, reason: "bye".into() };
        texts.push(shown(&frame));
        texts.push(shown(&Frame::ping(vec![1, 0xab])));
        texts.extend(of_each!(Message {
            Message::Text(_) => Message::text("a\n\"b\""),
            Message::Binary(_) => Message::binary(vec![1, 0xff]),
            Message::Ping(_) => Message::Ping(vec![1].into()),
            Message::Pong(_) => Message::Pong(vec![0xff].into()),
            Message::Close(_) => Message::Close(Some(frame)),
            Message::Frame(_) => Message::Frame(Frame::pong("x")),
        }));
        let codes = [OpCode::Data(Data::Binary), OpCode::Control(Control::Reserved(11))];
        texts.extend(codes.iter().map(shown));
        texts.extend((0..5000).map(|code| shown(&CloseCode::from(code))));
        texts
    }};
}

#[test]
fn the_facade_prints_what_tungstenite_prints() {
    let theirs = texts!(::tungstenite);
    let ours = texts!(::tickwire_tungstenite::tungstenite);
    assert!(ours.len() > 5060 && ours.len() == theirs.len());
    for (ours, theirs) in ours.into_iter().zip(theirs) {
        assert_eq!(ours, theirs);
    }
}
