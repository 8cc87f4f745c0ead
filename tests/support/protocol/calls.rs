//! The calls of tickwire's own types, and what they give, in the words of the table.
use std::{io::ErrorKind, time::Duration};
use testkit::table::{
    Chunk, Closed, Got,
    returns::{Form, Value},
};
use tickwire::{
    CloseCode, CloseFrame, DataKind, Event as Heard, Message, Outbound, Prepared, ProtocolError,
    RecvError, SendError, Sender, Time,
};
use wsconform_cases::protocol::{Call, Event};

/// The table's words for the errors.
pub(crate) fn recv_error(error: RecvError) -> &'static str {
    match error {
        RecvError::Protocol(error) => match error {
            ProtocolError::ReservedBits => "reserved bits",
            ProtocolError::ReservedOpCode => "reserved opcode",
            ProtocolError::BadControlFrame => "bad control frame",
            ProtocolError::BadLength => "bad length",
            ProtocolError::MaskRequired | ProtocolError::MaskForbidden => "wrong mask",
            ProtocolError::UnexpectedContinuation => "unexpected continuation",
            ProtocolError::ExpectedContinuation => "expected continuation",
            ProtocolError::BadClose { .. } => "bad code",
            ProtocolError::ShortClose => "short Close",
            ProtocolError::BadUtf8 => "bad UTF-8",
            ProtocolError::BadDeflate => "bad DEFLATE",
            _ => "a new violation",
        },
        RecvError::MessageTooBig { .. } | RecvError::FrameTooBig { .. } => "too big",
        RecvError::Failed { .. } => "failed by us",
        RecvError::UnexpectedEof => "end of stream",
        _ => "another error",
    }
}

pub(crate) fn send_error(error: SendError) -> &'static str {
    match error {
        SendError::Closed => "closed",
        SendError::MessageInProgress => "message in progress",
        SendError::NoMessage => "no message",
        SendError::ControlTooLong => "control too long",
        SendError::ReasonTooLong => "reason too long",
        SendError::BadCloseCode => "bad code",
        SendError::BadUtf8 => "bad UTF-8",
        _ => "another error",
    }
}

/// What an adapter's call failed with.
pub(crate) fn error(error: &tickwire::Error) -> &'static str {
    match error {
        tickwire::Error::Recv(error) => recv_error(*error),
        tickwire::Error::Send(error) => send_error(*error),
        tickwire::Error::Io(error) => match error.kind() {
            ErrorKind::ConnectionReset => "reset",
            ErrorKind::BrokenPipe => "refused write",
            _ => "another error of the stream",
        },
        tickwire::Error::WouldBlock => "not all is written",
        _ => "another error",
    }
}

/// A message that was received.
pub(crate) fn whole(message: Message<'_>) -> Value {
    Value::Got(heard(Heard::Message(message)))
}

pub(crate) fn heard(event: Heard<'_>) -> Got {
    match event {
        Heard::Message(Message::Text(text)) => Got::Message { text: true, payload: text.into() },
        Heard::Message(Message::Binary(bytes)) => {
            Got::Message { text: false, payload: bytes.into() }
        }
        Heard::Ping(payload) => Got::Ping(payload.into()),
        Heard::Pong(payload) => Got::Pong(payload.into()),
        Heard::Close(frame) => Got::Close(frame.map_or_else(Vec::new, |frame| {
            [&frame.code.get().to_be_bytes(), frame.reason.as_bytes()].concat()
        })),
    }
}

pub(crate) fn closed(end: &tickwire::Closed<'_>) -> Closed {
    Closed {
        code: end.code,
        reason: end.reason.to_owned(),
        sent_code: end.sent_code,
        clean: end.clean,
        error: end.error.map(recv_error),
        unconfirmed: end.unconfirmed,
        cut: end.cut.map(|kind| kind == DataKind::Text),
    }
}

pub(crate) fn frame(call: &Call) -> Option<CloseFrame<'_>> {
    let code = CloseCode::new(call.code?).unwrap();
    Some(CloseFrame::with_reason(code, str::from_utf8(&call.payload).unwrap()))
}

/// A chunk that was received.
pub(crate) fn piece(chunk: tickwire::Chunk<'_>) -> Value {
    let tickwire::Chunk { kind, first, data, last } = chunk;
    Value::Chunk { text: kind == DataKind::Text, first, data: data.into(), last }
}

/// The message that a call sends, as the application has it.
pub(crate) fn message(call: &Call, form: Form) -> Outbound<'_> {
    let message = borrowed(call);
    match form {
        Form::Prepared => Prepared::new(message).into(),
        Form::Owned => message.into_owned().into(),
        Form::Borrowed => message.into(),
    }
}

pub(crate) fn borrowed(call: &Call) -> Message<'_> {
    match call.text {
        true => Message::Text(str::from_utf8(&call.payload).unwrap()),
        false => Message::Binary(&call.payload),
    }
}

/// The calls that the sending half has.
pub(crate) fn send(
    tx: &mut Sender,
    now: Time,
    event: &Event,
    call: &Call,
    chunk: Chunk,
    form: Form,
) -> Result<(), SendError> {
    let data = &call.payload[..];
    match event.kind {
        _ if event.name == "abort" => tx.abort(frame(call)),
        "send" => tx.feed(message(call, form)).map(drop),
        "send first" => {
            tx.feed(message(call, form))?;
            tx.feed_first("!").map(drop)
        }
        "send Ping" | "control too long" | "write fails" => tx.ping(data),
        "send Pong" => tx.pong(data),
        "close" | "close 1010" | "close too long" => tx.close(frame(call)),
        "leave" => tx.leave(frame(call), now + Duration::from_secs(3600)),
        _ => {
            let Chunk { text, first, last } = chunk;
            let kind = if text { DataKind::Text } else { DataKind::Binary };
            tx.feed_chunk(tickwire::Chunk { kind, first, data, last }).map(drop)
        }
    }
}
