//! `WebSocket` on streams that block and on streams that do not.
use crate::{Canned, server};
use std::{io, net::TcpStream, sync::mpsc};
use tickwire_tungstenite::tungstenite::{
    Error, HandshakeError, Message, WebSocket, accept, client, connect,
    error::ProtocolError,
    protocol::{
        CloseFrame, Role, WebSocketConfig,
        frame::{
            Frame, FrameHeader, FrameSocket,
            coding::{CloseCode, Control, Data, OpCode},
        },
    },
};

fn blocked<T>(result: Result<T, Error>) -> bool {
    matches!(result, Err(Error::Io(error)) if error.kind() == io::ErrorKind::WouldBlock)
}

#[test]
fn an_echo_returns_text_and_bytes_of_any_length() {
    let (url, serving) = server(|stream| {
        let mut socket = accept(stream).unwrap();
        loop {
            match socket.read() {
                Ok(message) if message.is_close() => {}
                Ok(message) => socket.send(message).unwrap(),
                Err(error) => return error,
            }
        }
    });
    let (mut socket, _) = connect(url).unwrap();
    for len in [0, 1, 125, 126, 4096, 65_535, 65_536, 1 << 20] {
        for message in [Message::binary(vec![7; len]), Message::text("ö".repeat(len / 2))] {
            socket.send(message.clone()).unwrap();
            assert_eq!(socket.read().unwrap(), message);
        }
    }
    socket.close(None).unwrap();
    assert_eq!(socket.read().unwrap(), Message::Close(None));
    assert!(matches!(socket.read(), Err(Error::ConnectionClosed)));
    assert!(matches!(socket.read(), Err(Error::AlreadyClosed)));
    assert!(matches!(serving.join().unwrap(), Error::ConnectionClosed));
}

#[test]
fn a_close_by_the_server_reaches_the_client_with_code_and_reason() {
    let close = CloseFrame { code: CloseCode::Again, reason: "later".into() };
    let sent = close.clone();
    let (url, serving) = server(|stream| {
        let mut socket = accept(stream).unwrap();
        socket.close(Some(sent)).unwrap();
        assert!(!socket.can_write() && socket.can_read());
        let refused = socket.send(Message::text("late"));
        assert!(matches!(refused, Err(Error::Protocol(ProtocolError::SendAfterClosing))));
        (socket.read().unwrap(), socket.read().unwrap_err())
    });
    let (mut socket, _) = connect(url).unwrap();
    assert_eq!(socket.read().unwrap(), Message::Close(Some(close)));
    assert!(matches!(socket.read(), Err(Error::ConnectionClosed)));
    let (answer, end) = serving.join().unwrap();
    // The answer has the code, not the reason.
    let answered = CloseFrame { code: CloseCode::Again, reason: "".into() };
    assert_eq!(answer, Message::Close(Some(answered)));
    assert!(matches!(end, Error::ConnectionClosed));
}

#[test]
fn a_handshake_that_would_block_is_interrupted_and_goes_on() {
    let (answer, asked) = mpsc::channel();
    let (url, serving) = server(move |stream| {
        asked.recv().unwrap();
        let mut socket = accept(stream).unwrap();
        socket.read().unwrap()
    });
    let at = url.strip_prefix("ws://").unwrap().strip_suffix("/feed").unwrap();
    let stream = TcpStream::connect(at).unwrap();
    stream.set_nonblocking(true).unwrap();
    let mut attempt = client(&url, stream);
    let mut socket = loop {
        match attempt {
            Ok((socket, response)) => {
                assert_eq!(response.status(), 101);
                break socket;
            }
            Err(HandshakeError::Interrupted(rest)) => {
                let _ = answer.send(()); // not before
                std::thread::yield_now();
                attempt = rest.handshake();
            }
            Err(HandshakeError::Failure(error)) => panic!("{error}"),
        }
    };
    assert!(blocked(socket.read()));
    socket.send(Message::text("hi")).unwrap();
    assert_eq!(serving.join().unwrap(), Message::text("hi"));
}

#[test]
fn a_ping_is_answered_by_the_next_call_that_reads_and_again_until_the_stream_takes_it() {
    let mut socket = WebSocket::from_raw_socket(Canned::new(b"\x89\x02hi"), Role::Client, None);
    socket.get_mut().full = true;
    assert_eq!(socket.read().unwrap(), Message::Ping("hi".into()));
    assert!(blocked(socket.read()));
    socket.get_mut().full = false;
    assert!(socket.get_ref().output.is_empty());
    assert!(blocked(socket.read()));
    assert_eq!(socket.get_ref().output[..2], [0x8A, 0x82]);
    assert_eq!(socket.get_ref().output.len(), 8);
    assert!(blocked(socket.read()));
    assert_eq!(socket.get_ref().output.len(), 8);
}

#[test]
fn a_message_beyond_the_write_buffer_is_given_back() {
    let config = WebSocketConfig::default().write_buffer_size(0).max_write_buffer_size(20);
    let mut socket = WebSocket::from_raw_socket(Canned::new(b""), Role::Server, Some(config));
    socket.get_mut().full = true;
    assert!(blocked(socket.write(Message::binary(vec![1; 10])))); // 12 bytes wait
    let next = Message::binary(vec![2; 7]);
    match socket.write(next.clone()) {
        Err(Error::WriteBufferFull(message)) => assert_eq!(*message, next),
        other => panic!("{other:?}"),
    }
    assert!(blocked(socket.write(Message::binary(vec![3; 6])))); // 8 more
    socket.get_mut().full = false;
    socket.write(next).unwrap_err();
    socket.flush().unwrap();
    assert_eq!(
        socket.get_ref().output,
        b"\x82\x0A\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x82\x06\x03\x03\x03\x03\x03\x03"
    );
}

#[test]
fn a_reply_and_a_close_go_out_whatever_the_write_buffer_may_hold() {
    let config = WebSocketConfig::default().write_buffer_size(0).max_write_buffer_size(1);
    let socket = |input| WebSocket::from_raw_socket(Canned::new(input), Role::Server, Some(config));
    for (input, received, replied) in [
        (b"\x88\x80\0\0\0\0", Message::Close(None), b"\x88\0"),
        (b"\x89\x80\0\0\0\0", Message::Ping("".into()), b"\x8A\0"),
    ] {
        let mut socket = socket(input);
        assert_eq!(socket.read().unwrap(), received);
        socket.read().unwrap_err();
        assert_eq!(socket.get_ref().output, replied);
    }
    let mut socket = socket(b"");
    assert!(matches!(socket.send(Message::Ping("".into())), Err(Error::WriteBufferFull(_))));
    socket.close(None).unwrap();
    assert_eq!(socket.get_ref().output, b"\x88\0");
}

#[test]
fn a_control_frame_is_taken_whatever_the_limit_on_frames() {
    let config = WebSocketConfig::default().max_frame_size(Some(1));
    let input = b"\x89\x02hi\x81\x02hi";
    let mut socket = WebSocket::from_raw_socket(Canned::new(input), Role::Client, Some(config));
    assert_eq!(socket.read().unwrap(), Message::Ping("hi".into()));
    assert!(matches!(socket.read(), Err(Error::Capacity(_))));
}

#[test]
fn a_server_hears_that_it_is_over_when_its_answer_is_written() {
    type Call = fn(&mut WebSocket<Canned>) -> Result<(), Error>;
    let (read, flush): (Call, Call) = (|socket| socket.read().map(drop), WebSocket::flush);
    for (first, then) in [(read, read), (read, flush), (flush, read), (flush, flush)] {
        let canned = Canned { full: true, ..Canned::new(b"\x88\x80\0\0\0\0") };
        let mut socket = WebSocket::from_raw_socket(canned, Role::Server, None);
        assert_eq!(socket.read().unwrap(), Message::Close(None));
        assert!(blocked(first(&mut socket)));
        assert!(blocked(then(&mut socket)));
        socket.get_mut().full = false;
        assert!(matches!(then(&mut socket), Err(Error::ConnectionClosed)));
        assert_eq!(socket.get_ref().output, b"\x88\0");
    }
}

#[test]
fn frames_go_out_as_they_are_in_their_place_among_the_messages() {
    let mut socket = WebSocket::from_raw_socket(Canned::new(b""), Role::Server, None);
    let part = |data: &'static str, code, last| {
        Message::Frame(Frame::message(data, OpCode::Data(code), last))
    };
    socket.write(Message::text("a")).unwrap();
    socket.write(part("b", Data::Text, false)).unwrap();
    socket.write(part("c", Data::Continue, true)).unwrap();
    socket.write(Message::text("d")).unwrap();
    socket.flush().unwrap();
    assert_eq!(socket.get_ref().output, b"\x81\x01a\x01\x01b\x80\x01c\x81\x01d");
}

#[test]
fn a_client_masks_the_frames_it_is_given() {
    let mut socket = WebSocket::from_raw_socket(Canned::new(b""), Role::Client, None);
    let frame = Frame::message("hello", OpCode::Data(Data::Text), true);
    socket.send(Message::Frame(frame.clone())).unwrap();
    let output = socket.into_inner().output;
    assert_eq!(output.len(), 11);
    assert_ne!(output[6..], *b"hello");
    let mut frames = FrameSocket::new(Canned::new(&output));
    assert_eq!(frames.read(None).unwrap(), Some(frame));
}

#[test]
fn a_frame_socket_refuses_a_header_that_breaks_a_rule_and_reads_what_came_before() {
    for (header, expected) in [
        (&b"\x09\0"[..], ProtocolError::ControlFrameTooBig),
        (b"\x8A\x7E", ProtocolError::ControlFrameTooBig),
        (b"\x88\x01", ProtocolError::InvalidCloseSequence),
        (b"\x83\0", ProtocolError::InvalidOpcode(0)),
    ] {
        let mut frames = FrameSocket::new(Canned::new(&[b"\x02\x01a", header].concat()));
        let first = Frame::message("a", OpCode::Data(Data::Binary), false);
        assert_eq!(frames.read(None).unwrap(), Some(first));
        match frames.read(None) {
            Err(Error::Protocol(error)) => assert_eq!(error, expected),
            other => panic!("{header:02X?}: {other:?}"),
        }
    }
    let long_form = FrameSocket::new(Canned::new(b"\x82\x7E\0\x01a")).read(None);
    assert!(matches!(long_form, Err(Error::Io(_))), "a length that is not in its shortest form");
}

/// A program may send it, to test a peer.
#[test]
fn a_frame_with_a_reserved_opcode_and_all_bits_goes_out_as_it_is() {
    let opcode = OpCode::Control(Control::Reserved(11));
    let bits = FrameHeader { rsv1: true, rsv2: true, rsv3: true, opcode, ..Default::default() };
    for (len, header) in [(0, &b"\xFB\0"[..]), (125, b"\xFB\x7D"), (126, b"\xFB\x7E\0\x7E")] {
        let mut wire = Vec::new();
        Frame::from_payload(bits.clone(), vec![7; len].into()).format(&mut wire).unwrap();
        assert_eq!(wire, [header, &vec![7; len]].concat());
        assert_eq!(bits.len(len as u64), header.len());
    }
    let mut header = Vec::new();
    let masked = FrameHeader { is_final: false, mask: Some([1, 2, 3, 4]), ..bits };
    masked.format(65536, &mut header).unwrap();
    assert_eq!(header, b"\x7B\xFF\0\0\0\0\0\x01\0\0\x01\x02\x03\x04");
    assert_eq!(masked.len(65536), header.len());
}

#[test]
fn frames_without_masks_are_taken_where_that_is_allowed_however_they_are_cut() {
    let wire = b"\x81\x05hello\x89\x81\x01\x02\x03\x04\x60\x02\x01\x07\x80\x81\0\0\0\0\x08";
    let config = WebSocketConfig::default().accept_unmasked_frames(true);
    for at_once in 1..wire.len() {
        for before in [0, 3, wire.len()] {
            let (before, behind) = wire.split_at(before);
            let mut stream = Canned::new(behind);
            stream.at_once = at_once;
            let mut socket =
                WebSocket::from_partially_read(stream, before.into(), Role::Server, Some(config));
            assert_eq!(socket.read().unwrap(), Message::text("hello"));
            assert_eq!(socket.read().unwrap(), Message::Ping("a".into()));
            assert_eq!(socket.read().unwrap(), Message::binary(vec![7, 8]));
            assert!(blocked(socket.read()));
        }
    }
}

#[test]
fn the_client_that_resets_after_both_have_closed_has_only_not_waited() {
    for (wire, closed) in [(&b"\x88\0"[..], true), (b"\x89\0", false)] {
        let canned = Canned { resets: true, ..Canned::new(wire) };
        let mut socket = WebSocket::from_raw_socket(canned, Role::Client, None);
        socket.read().unwrap();
        let end = socket.read().unwrap_err();
        assert_eq!(matches!(end, Error::ConnectionClosed), closed, "{end:?}");
    }
}
