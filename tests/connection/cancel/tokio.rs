//! Cancel safety of the tokio adapter: a fresh future for every single poll, over streams that
//! stutter byte by byte, loses, doubles and cuts nothing (P210, P211, A81).
use crate::support::{talk::WithSender as _, tokio::*};
use std::task::Poll;
use tickwire::{
    CloseCode, CloseFrame, Config, DataKind, Error, Event, OwnedMessage, SendError,
    tokio::{Reader, WebSocket, Writer},
};

const STEPS: [usize; 6] = [1, 2, 3, 13, 127, 100_000];
const COUNT: u8 = 24;

fn config() -> Config {
    // Longer messages, owned and borrowed, are written from where they lie.
    let min_vectored = 200;
    Config { cork_limit: 400, high_water: 800, read_buffer: 512, min_vectored, ..Config::default() }
}

fn message(i: u8) -> OwnedMessage {
    let len = [0, 1, 7, 125, 126, 250, 400, 1000][usize::from(i) % 8] + usize::from(i);
    match i % 3 {
        0 => OwnedMessage::from("añ€𝄞".repeat(len / 10)),
        _ => OwnedMessage::from(vec![i; len]),
    }
}

fn sent() -> Vec<OwnedMessage> {
    (0..COUNT).map(message).collect()
}

/// Messages whole and in fragments, empty fragments among them, pings in every gap, a Close.
fn input(from_client: bool) -> Vec<u8> {
    let mut wire = vec![];
    for i in 0..COUNT {
        let message = message(i);
        let opcode = if message.as_message().kind() == DataKind::Text { TEXT } else { BINARY };
        let payload = message.as_bytes();
        if i % 4 == 1 {
            let (a, b) = payload.split_at(payload.len() / 3);
            wire.extend(frame_to(role_of(from_client), opcode & !FIN, a));
            wire.extend(frame_to(role_of(from_client), PING, [i, 1]));
            wire.extend(frame_to(role_of(from_client), CONT_OPEN, b""));
            wire.extend(frame_to(role_of(from_client), CONT, b));
        } else {
            wire.extend(frame_to(role_of(from_client), opcode, payload));
        }
        wire.extend(frame_to(role_of(from_client), PING, [i]));
        wire.extend(frame_to(role_of(from_client), PONG, b"unasked"));
    }
    wire.extend(frame_to(role_of(from_client), CLOSE, close_body(1001, "bye")));
    wire
}

/// Both roles, all steps.
fn cases() -> impl Iterator<Item = (bool, usize)> {
    product([true, false], STEPS)
}

/// A stream that brings this, `step` bytes a read at most, and ends.
fn stutters(wire: &[u8], step: usize) -> Scripted {
    let io = Scripted::new(wire);
    io.with(|s| {
        s.at_end = AtEnd::Eof;
        s.step = Some(step);
    });
    io
}

fn stuttering(server: bool, step: usize) -> WebSocket<Scripted> {
    WebSocket::from_parts(stutters(&input(server), step), conn(server, &config()))
}

/// What was written is whole frames, of the right role; pongs answer pings in order and the last
/// one is answered; the Close is answered once and last. Returns the data messages.
fn check_output(io: &Scripted, server: bool) -> Vec<OwnedMessage> {
    let frames = io.all_frames();
    assert!(frames.iter().all(|f| f.masked != server), "P021, P022");
    let pongs: Vec<_> = frames.iter().filter(|f| f.b0 == PONG).map(|f| &f.payload).collect();
    assert!(!pongs.is_empty());
    assert!(pongs.windows(2).all(|w| w[0][0] <= w[1][0]), "{pongs:?}");
    assert_eq!(pongs.last().unwrap()[..], [COUNT - 1]);
    let closes: Vec<_> = frames.iter().filter(|f| f.b0 == CLOSE).collect();
    assert_eq!(closes.len(), 1, "P062");
    assert_eq!(frames.last(), closes.first().copied(), "P064");
    assert_eq!(closes[0].payload, close_body(1001, ""));
    messages(&frames)
}

fn check_end(ws: &WebSocket<Scripted>, server: bool) {
    let end = ws.closed().unwrap();
    assert_eq!((end.code, end.reason, end.clean), (1001, "bye", true));
    assert!(check_output(ws.get_ref(), server).is_empty());
    assert!(ws.get_ref().with(|io| io.shut));
}

#[tokio::test(start_paused = true)]
async fn recv_survives_being_dropped_at_every_poll() {
    for (server, step) in cases() {
        let mut ws = stuttering(server, step);
        let mut got = vec![];
        while let Some(message) = fresh!(ws.recv()).unwrap() {
            got.push(message.into_owned());
        }
        assert!(got == sent(), "server {server}, step {step}");
        assert!(fresh!(ws.recv()).unwrap().is_none());
        check_end(&ws, server);
    }
}

#[tokio::test(start_paused = true)]
async fn recv_reply_survives_being_dropped_at_every_poll_and_so_do_the_replies() {
    for (server, step) in cases() {
        let mut ws = stuttering(server, step);
        let mut got = vec![];
        while let Some(received) = fresh!(ws.recv_to_reply()).unwrap() {
            assert!(!received.info().more || step > 1);
            let _ = received.sender.feed(received.message).expect("room for a reply");
            got.push(received.message.into_owned());
        }
        assert!(got == sent(), "server {server}, step {step}");
        assert!(check_output(ws.get_ref(), server) == sent(), "server {server}, step {step}");
        assert!(ws.closed().unwrap().clean);
    }
}

#[tokio::test(start_paused = true)]
async fn recv_event_survives_being_dropped_at_every_poll() {
    for (server, step) in cases() {
        let mut ws = stuttering(server, step);
        let (mut got, mut pings, mut pongs, mut closes) = (vec![], vec![], 0, 0);
        while let Some(event) = fresh!(ws.recv_event()).unwrap() {
            assert_eq!(closes, 0, "A34");
            match event {
                Event::Message(message) => got.push(message.into_owned()),
                Event::Ping(payload) => pings.push(payload.to_vec()),
                Event::Pong(payload) => {
                    assert_eq!(payload, b"unasked");
                    pongs += 1;
                }
                Event::Close(frame) => {
                    assert_eq!(frame.unwrap().reason, "bye");
                    closes += 1;
                }
            }
        }
        assert!(got == sent(), "server {server}, step {step}");
        let expected: Vec<_> = (0..COUNT)
            .flat_map(|i| if i % 4 == 1 { vec![vec![i, 1], vec![i]] } else { vec![vec![i]] })
            .collect();
        assert_eq!(pings, expected);
        assert_eq!((pongs, closes), (COUNT, 1));
        check_end(&ws, server);
    }
}

#[tokio::test(start_paused = true)]
async fn recv_chunk_survives_being_dropped_at_every_poll() {
    for (server, step) in cases() {
        let mut ws = stuttering(server, step);
        let (mut got, mut so_far) = (vec![], vec![]);
        while let Some(chunk) = fresh!(ws.recv_chunk()).unwrap() {
            so_far.extend_from_slice(chunk.data);
            if chunk.last {
                got.push(owned(chunk.kind, &so_far));
                so_far.clear();
            }
        }
        assert!(so_far.is_empty() && got == sent(), "server {server}, step {step}");
        check_end(&ws, server);
    }
}

#[tokio::test(start_paused = true)]
async fn kinds_of_recv_can_be_mixed_between_polls() {
    // Each poll is another method's: whichever is ready gets the next message, none is lost.
    for (server, step) in cases() {
        let mut ws = stuttering(server, step);
        let (mut got, mut turn) = (vec![], 0);
        loop {
            turn += 1;
            let polled = match turn % 4 {
                0 => once!(ws.recv()).map(|r| r.unwrap().map(|m| m.into_owned())),
                1 => once!(ws.recv_to_reply()).map(|r| r.unwrap().map(|m| m.message.into_owned())),
                2 => once!(ws.recv_owned()).map(Result::unwrap),
                _ => once!(ws.recv_to_reply()).map(|r| r.unwrap().map(|m| m.message.into_owned())),
            };
            match polled {
                Poll::Pending => {}
                Poll::Ready(Some(message)) => got.push(message),
                Poll::Ready(None) => break,
            }
        }
        assert!(got == sent(), "server {server}, step {step}");
        check_end(&ws, server);
    }
}

/// Sends as the docs say one should who drops futures: what was fed is not sent again.
macro_rules! send_all {
    ($sender:expr) => {
        for message in &sent() {
            loop {
                let before = $sender.fed();
                match once!($sender.send(message)) {
                    Poll::Ready(sent) => {
                        sent.unwrap();
                        assert_ne!($sender.fed(), before);
                    }
                    Poll::Pending if $sender.fed() == before => continue, // was not fed
                    Poll::Pending => fresh!($sender.flush()).unwrap(),
                }
                let at = $sender.fed();
                assert!($sender.is_written(at));
                assert_eq!($sender.buffered_amount(), 0);
                break;
            }
        }
    };
}

#[tokio::test(start_paused = true)]
async fn send_survives_being_dropped_at_every_poll_and_fed_tells_of_it() {
    for (server, step) in cases() {
        let mut ws = stuttering(server, step);
        send_all!(ws);
        let frames = ws.get_ref().all_frames();
        assert!(messages(&frames) == sent() && frames.len() == sent().len());
    }
}

#[tokio::test(start_paused = true)]
async fn a_send_dropped_before_there_was_room_sent_nothing() {
    let config = Config { high_water: 100, ..config() };
    let io = Scripted::new(&[]);
    io.with(|s| s.room = 0);
    let mut ws = server(io.clone(), &config);
    let first = ws.feed(&[1; 200]).unwrap();
    for _ in 0..5 {
        assert!(once!(ws.send("no room")).is_pending());
        assert_eq!(ws.sender().fed(), first);
        assert!(matches!(ws.feed("no room"), Err(SendError::Full { .. })));
    }
    assert!(!ws.sender().is_written(first));
    // Room for a part: below the high-water mark the next one is admitted, though not written.
    io.with(|s| s.room = 150);
    assert!(once!(ws.send("second")).is_pending());
    let second = ws.sender().fed();
    assert_ne!(second, first);
    assert!(!ws.sender().is_written(first) && !ws.sender().is_written(second));
    io.with(|s| s.room = 54);
    assert!(once!(ws.flush()).is_pending());
    assert!(ws.sender().is_written(first) && !ws.sender().is_written(second));
    io.with(|s| s.room = usize::MAX);
    ws.flush().await.unwrap();
    assert!(ws.sender().is_written(second));
    let got = messages(&io.frames());
    assert_eq!(got.len(), 2);
    assert_eq!(got[1], OwnedMessage::from("second"));
}

#[tokio::test(start_paused = true)]
async fn ready_and_flush_survive_being_dropped_at_every_poll() {
    for (server, step) in cases() {
        let mut ws = stuttering(server, step);
        for message in &sent() {
            fresh!(ws.ready()).unwrap();
            let _ = ws.feed(message).expect("there is room");
        }
        fresh!(ws.flush()).unwrap();
        assert!(messages(&ws.get_ref().all_frames()) == sent());
    }
}

// P234
#[tokio::test(start_paused = true)]
async fn close_survives_being_dropped_at_every_poll() {
    for (server, step) in cases() {
        let mut ws = stuttering(server, step);
        for message in &sent()[..4] {
            let _ = ws.feed(message).unwrap();
        }
        let frame = CloseFrame::with_reason(CloseCode::GOING_AWAY, "done");
        fresh!(ws.close(frame)).unwrap();
        assert!(ws.closed().unwrap().clean);
        let frames = ws.get_ref().all_frames();
        assert!(messages(&frames) == sent()[..4]);
        let closes: Vec<_> = frames.iter().filter(|f| f.b0 == CLOSE).collect();
        assert_eq!(closes.len(), 1);
        assert_eq!(closes[0].payload, close_body(1001, "done"));
        let mut behind = frames.iter().skip_while(|f| f.b0 != CLOSE).skip(1);
        assert!(behind.all(|f| f.b0 == PONG), "no data follows a Close (P064)");
        assert_eq!(ws.closed().unwrap().reason, "bye");
        assert!(ws.get_ref().with(|io| io.shut));
        assert!(fresh!(ws.recv()).unwrap().is_none());
    }
}

#[tokio::test(start_paused = true)]
async fn a_violation_is_reported_whole_though_every_future_is_dropped() {
    for (server, step) in cases() {
        let mut wire = frame_to(role_of(server), BINARY, b"good");
        wire.extend(frame_to(role_of(server), PING, b"p"));
        wire.extend([0xf1, 0x80, 1, 2, 3]); // reserved bits (P003)
        wire.extend(frame_to(role_of(server), BINARY, b"never seen"));
        let mut ws = WebSocket::from_parts(stutters(&wire, step), conn(server, &config()));
        assert_eq!(fresh!(ws.recv()).unwrap().unwrap().as_bytes(), b"good");
        for _ in 0..3 {
            let error = fresh!(ws.recv()).unwrap_err();
            assert!(matches!(error, Error::Recv(e) if e.close_code().is_some()), "{error:?}");
        }
        let frames = ws.get_ref().all_frames();
        let last = frames.last().unwrap();
        assert_eq!((last.b0, &last.payload[..]), (CLOSE, &close_body(1002, "")[..]));
        assert!(ws.get_ref().with(|io| io.shut));
        assert!(ws.get_ref().with(|io| io.input.is_empty()), "the rest is drained (P072)");
    }
}

// Split.

type Halves = (Reader<Scripted, Scripted>, Writer<Scripted>);

fn split(server: bool, step: usize) -> (Halves, Scripted) {
    let io = stutters(&input(server), step);
    let ws = WebSocket::from_parts(io.clone(), conn(server, &config()));
    (ws.into_split_with(|io| (io.clone(), io)), io)
}

#[tokio::test(start_paused = true)]
async fn all_calls_that_receive_on_a_split_reader_survive_being_dropped_at_every_poll() {
    for (server, step) in cases() {
        let ((mut reader, _writer), _) = split(server, step);
        let mut got = vec![];
        while let Some((message, _)) = fresh!(reader.recv_with_info()).unwrap() {
            got.push(message.into_owned());
        }
        assert!(got == sent());

        let ((mut reader, _writer), _) = split(server, step);
        let mut got = vec![];
        while let Some(message) = fresh!(reader.recv_owned()).unwrap() {
            got.push(message);
        }
        assert!(got == sent());

        let ((mut reader, _writer), _) = split(server, step);
        let (mut got, mut controls) = (vec![], 0);
        while let Some(event) = fresh!(reader.recv_event()).unwrap() {
            match event {
                Event::Message(message) => got.push(message.into_owned()),
                _ => controls += 1,
            }
        }
        assert!(got == sent());
        assert_eq!(controls, 2 * COUNT + COUNT / 4 + 1);

        let ((mut reader, _writer), _) = split(server, step);
        let (mut got, mut so_far) = (vec![], vec![]);
        while let Some(chunk) = fresh!(reader.recv_chunk()).unwrap() {
            so_far.extend_from_slice(chunk.data);
            if chunk.last {
                got.push(owned(chunk.kind, &std::mem::take(&mut so_far)));
            }
        }
        assert!(got == sent());
    }
}

#[tokio::test(start_paused = true)]
async fn a_split_writers_calls_survive_being_dropped_at_every_poll() {
    for (server, step) in cases() {
        let ((_reader, mut writer), io) = split(server, step);
        send_all!(writer);
        assert!(messages(&io.all_frames()) == sent());

        let ((_reader, mut writer), io) = split(server, step);
        for message in &sent() {
            fresh!(writer.ready()).unwrap();
            let _ = writer.feed(message).expect("there is room");
        }
        fresh!(writer.close(None)).unwrap();
        fresh!(writer.close(None)).unwrap();
        let frames = io.all_frames();
        assert!(messages(&frames) == sent());
        assert_eq!(frames.iter().filter(|f| f.b0 == CLOSE).count(), 1);
        assert_eq!(frames.last().unwrap().b0, CLOSE);
    }
}

#[tokio::test(start_paused = true)]
async fn both_halves_in_turn_survive_being_dropped_at_every_poll() {
    for ((server, step), favour) in product(cases(), [1, 2, 5]) {
        let ((mut reader, mut writer), io) = split(server, step);
        let sent = sent();
        let (mut got, mut fed, mut feeding, mut turn) = (vec![], 0, true, 0);
        loop {
            turn += 1;
            if turn % favour == 0 && feeding {
                let before = writer.fed();
                if let Some(message) = sent.get(fed) {
                    match once!(writer.send(message)) {
                        Poll::Ready(Ok(())) => fed += 1,
                        Poll::Ready(Err(Error::Send(SendError::Closed))) => feeding = false,
                        Poll::Ready(Err(error)) => panic!("{error}"),
                        Poll::Pending if writer.fed() != before => fed += 1,
                        Poll::Pending => {}
                    }
                } else {
                    let _ = once!(writer.flush()).map(Result::unwrap);
                }
            }
            match once!(reader.recv()) {
                Poll::Ready(Ok(Some(message))) => got.push(message.into_owned()),
                Poll::Ready(Ok(None)) => break,
                Poll::Ready(Err(error)) => panic!("{error}"),
                Poll::Pending => {}
            }
        }
        assert!(got == sent, "server {server}, step {step}");
        // Whatever was fed before the peer's Close went out, whole and in order.
        let out = check_output(&io, server);
        assert!(out == sent[..fed], "server {server}, step {step}: {fed}");
        assert!(reader.closed().unwrap().clean);
    }
}
