//! This crate beside two other implementations, `tungstenite` and `tokio-websockets`: what it
//! writes they read, what they write it reads, and of any wire all make the same, but for the
//! differences that `peers::Difference` lists.
#![no_main]
use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use testkit::frames;
use tickwire::{
    Chunk, CloseCode, CloseFrame, Config, Connection, Event as Arrived, OwnedMessage, Prepared,
};
use tickwire_fuzz::{
    Cuts, Data, Len, binary, connection, event,
    peers::{Difference, End, Heard, PEERS, Peer, Said, explain},
    play,
    reference::{self, Event, Limits},
    text, write,
};

#[derive(Arbitrary, Debug)]
enum Input {
    /// They receive what this crate sends.
    Ours { client: bool, cut: u8, high_water: u16, sends: Vec<Send>, close: Option<(u16, u8)> },
    /// This crate receives what they send.
    Theirs { client: bool, cut: u8, frame: Len, sends: Vec<Plain> },
    /// All receive the same.
    Any { to_server: bool, cut: u8, frames: Vec<Frame>, tail: Vec<u8>, shorter_by: u8 },
}

const BUDGET: usize = 70 << 10;

#[derive(Arbitrary, Debug)]
enum Send {
    Whole(u8, Data),
    First(Data),
    Chunks(bool, Vec<Len>),
    Ping(u8),
    Pong(u8),
    /// Writes what there is.
    Write,
}

#[derive(Arbitrary, Debug)]
enum Plain {
    Text(Len),
    Binary(Len),
    Ping(u8),
    Pong(u8),
}

#[derive(Arbitrary, Debug)]
struct Frame {
    /// FIN, reserved bits and opcode: legal ones as a rule.
    first: u8,
    payload: Payload,
    /// Which form of the length.
    form: u8,
    /// Masked as it has to be, but for one value.
    mask: u8,
    key: [u8; 4],
}

#[derive(Arbitrary, Debug)]
enum Payload {
    Bytes(Vec<u8>),
    Text(String),
    Close(u16, String),
    Long(Len),
    /// A length that nothing follows.
    Lie(u64),
}

fuzz_target!(init: check_examples(), |input: Input| {
    match input {
        Input::Ours { client, cut, high_water, sends, close } => {
            ours(client, cut, usize::from(high_water), &sends, close);
        }
        Input::Theirs { client, cut, frame, sends } => theirs(client, cut, frame, &sends),
        Input::Any { to_server, cut, frames, tail, shorter_by } => {
            let mut wire = vec![];
            let mut budget = BUDGET;
            frames.iter().take(32).for_each(|frame| frame.add(&mut wire, to_server, &mut budget));
            wire.extend(tail.iter().take(64));
            wire.truncate(wire.len() - wire.len().min(usize::from(shorter_by)));
            any(&wire, to_server, cut);
        }
    }
});

/// Every entry of the list is a difference still.
fn check_examples() {
    for (difference, peer, to_server, wire) in Difference::EXAMPLES {
        let want = reference::receive(wire, to_server, Limits::DEFAULT);
        let heard = peer.hear(wire, to_server, 0);
        assert!(!same(&want, &heard), "{peer:?}: {difference:?} is none any more");
        assert_eq!(explain(peer, wire, &want, &heard), Some(difference));
    }
}

fn message(as_text: bool, len: usize, seed: usize) -> OwnedMessage {
    match as_text {
        true => OwnedMessage::from(text(len, seed)),
        false => OwnedMessage::from(binary(len, seed)),
    }
}

fn ours(client: bool, cut: u8, high_water: usize, sends: &[Send], close: Option<(u16, u8)>) {
    let mut conn = connection(client, &Config { high_water, ..Config::default() });
    let mut wire = vec![];
    let (mut fed, mut budget) = (vec![], BUDGET);
    for (i, send) in sends.iter().take(32).enumerate() {
        send.by(&mut conn, &mut wire, &mut fed, &mut budget, i);
    }
    let frame = close.map(|(code, reason)| {
        let reason = &"because of this ".repeat(7)[..usize::from(reason) % 100];
        let code = CloseCode::new(code).filter(|code| client || code.get() != 1010);
        (code.unwrap_or(CloseCode::NORMAL), reason.to_owned())
    });
    let frame = frame.as_ref().map(|(code, reason)| CloseFrame::with_reason(*code, reason));
    conn.sender_mut().close(frame).expect("it is open");
    drain(&mut conn, &mut wire);

    let want = reference::receive(&wire, client, Limits::DEFAULT);
    assert_eq!((want.used, &want.end), (wire.len(), &reference::End::Closed), "whole and legal");
    // What overtakes is compared by the reference, what is in order by what was fed too.
    let mut data = want.events.iter().filter(|event| matches!(event, Event::Message { .. }));
    assert!(fed.iter().all(|fed| data.any(|event| event == fed)), "a message is missing");
    for peer in PEERS {
        let heard = peer.hear(&wire, client, cut);
        compare(peer, &wire, &want, &heard);
    }
}

/// Writes all there is: what overtakes comes in a turn of its own.
fn drain(conn: &mut Connection, wire: &mut Vec<u8>) {
    while write(conn.sender_mut(), wire, usize::MAX) > 0 {}
}

impl Send {
    fn by(
        &self,
        conn: &mut Connection,
        wire: &mut Vec<u8>,
        fed: &mut Vec<Event>,
        budget: &mut usize,
        seed: usize,
    ) {
        if !conn.sender().has_room() {
            drain(conn, wire);
        }
        match self {
            Self::Whole(how, data) => {
                let message = message(data.text, data.len.within(budget), seed);
                let tx = conn.sender_mut();
                let done = match how % 3 {
                    0 => tx.feed(&message),
                    1 => tx.feed(message.clone()),
                    _ => tx.feed(Prepared::new(&message)),
                };
                done.expect("there is room");
                fed.push(event(Arrived::Message(message.as_message())));
            }
            Self::First(data) => {
                let message = message(data.text, data.len.within(budget), seed);
                // Which has a bound of its own, at twice the high-water mark.
                drain(conn, wire);
                conn.sender_mut().feed_first(&message).expect("all before is written");
            }
            Self::Chunks(text, lens) => {
                let lens: Vec<usize> = lens.iter().take(6).map(|len| len.within(budget)).collect();
                let message = message(*text, lens.iter().sum(), seed);
                let mut left = message.as_bytes();
                for (i, len) in lens.iter().chain([&0]).enumerate() {
                    let (data, rest) = left.split_at(*len);
                    left = rest;
                    drain(conn, wire);
                    let chunk = Chunk {
                        kind: message.as_message().kind(),
                        first: i == 0,
                        data,
                        last: i == lens.len(),
                    };
                    conn.sender_mut().feed_chunk(chunk).expect("all before is written");
                }
                fed.push(event(Arrived::Message(message.as_message())));
            }
            Self::Ping(n) => {
                conn.sender_mut().ping(&binary(usize::from(n % 126), seed)).expect("it fits");
            }
            Self::Pong(n) => {
                conn.sender_mut().pong(&binary(usize::from(n % 126), seed)).expect("it fits");
            }
            Self::Write => drain(conn, wire),
        }
    }
}

fn theirs(client: bool, cut: u8, frame: Len, sends: &[Plain]) {
    let mut budget = BUDGET;
    let said: Vec<Said> = sends
        .iter()
        .take(32)
        .enumerate()
        .map(|(i, send)| match send {
            Plain::Text(len) => Said::Text(text(len.within(&mut budget), i)),
            Plain::Binary(len) => Said::Binary(binary(len.within(&mut budget), i)),
            Plain::Ping(n) => Said::Ping(binary(usize::from(n % 126), i)),
            Plain::Pong(n) => Said::Pong(binary(usize::from(n % 126), i)),
        })
        .collect();
    let want: Vec<Event> = said
        .iter()
        .map(|said| match said {
            Said::Text(text) => Event::Message { text: true, payload: text.clone().into_bytes() },
            Said::Binary(bytes) => Event::Message { text: false, payload: bytes.clone() },
            Said::Ping(bytes) => Event::Ping(bytes.clone()),
            Said::Pong(bytes) => Event::Pong(bytes.clone()),
        })
        .collect();
    for peer in PEERS {
        let wire = peer.say(&said, client, frame.get().max(16));
        let mut conn = connection(client, &Config::default());
        let mut seen = play(&mut conn, &wire, &mut Cuts::new(cut));
        assert_eq!(seen.error, None);
        assert!(matches!(seen.events.pop(), Some(Event::Close(_))), "their Close");
        assert!(seen.events == want, "{peer:?} sent something else");
    }
}

impl Frame {
    fn add(&self, wire: &mut Vec<u8>, to_server: bool, budget: &mut usize) {
        const FIRST: [u8; 14] =
            [0x82, 0x81, 0x01, 0x02, 0x00, 0x80, 0x89, 0x8a, 0x88, 0x81, 0x01, 0x00, 0x80, 0x82];
        let usual = FIRST[usize::from(self.first) % FIRST.len()];
        let mut first = if self.first >= 250 { self.key[0] } else { usual };
        let payload = match &self.payload {
            Payload::Bytes(bytes) => bytes.clone(),
            Payload::Text(text) => text.clone().into_bytes(),
            Payload::Close(code, reason) => {
                first = 0x88;
                // Around the codes that there are, as a rule.
                let code = if code & 1 == 0 { 990 + code / 2 % 40 } else { *code };
                let mut body = code.to_be_bytes().to_vec();
                body.extend(reason.bytes().take(123));
                body
            }
            Payload::Long(len) => binary(len.within(budget), usize::from(self.form)),
            Payload::Lie(_) => vec![],
        };
        let len = if let Payload::Lie(len) = self.payload { len } else { payload.len() as u64 };
        let masked = to_server != (self.mask == 0xff);
        let key = masked.then_some(self.key);
        let len = match (len, self.form) {
            (0..=125, 0..=250) => frames::Len::Short(len as u8),
            (126..=0xffff, 0..=250) | (0..=125, 251..=253) => frames::Len::Medium(len as u16),
            _ => frames::Len::Long(len),
        };
        wire.extend(frames::head(first, key, len));
        wire.extend(frames::xored(key.unwrap_or_default(), &payload));
    }
}

fn any(wire: &[u8], to_server: bool, cut: u8) {
    let want = reference::receive(wire, to_server, Limits::DEFAULT);
    let mut conn = connection(!to_server, &Config::default());
    let seen = play(&mut conn, wire, &mut Cuts::new(cut));
    assert_eq!(seen.events, want.events);
    match (&want.end, seen.error) {
        (reference::End::More | reference::End::Closed, None) => {}
        (reference::End::Failed(reasons), Some(error)) => assert!(reasons.contains(&error)),
        (want, got) => panic!("{got:?}, wanted {want:?}"),
    }
    let mut answer = vec![];
    drain(&mut conn, &mut answer);
    for peer in PEERS {
        let heard = peer.hear(wire, to_server, cut);
        if compare(peer, wire, &want, &heard) {
            compare_answers(peer, &want, &answer, &heard, to_server);
        }
    }
}

fn same(want: &reference::Received, heard: &Heard) -> bool {
    let end = match (&want.end, heard.end) {
        (reference::End::More, End::More) | (reference::End::Closed, End::Closed) => true,
        (reference::End::Failed(reasons), End::Failed(code)) => reasons
            .iter()
            .any(|reason| reason.close_code().is_some_and(|reason| reason.get() == code)),
        _ => false,
    };
    end && heard.events == want.events
}

/// False where they are known to differ.
fn compare(peer: Peer, wire: &[u8], want: &reference::Received, heard: &Heard) -> bool {
    let same = same(want, heard);
    assert!(
        same || explain(peer, wire, want, heard).is_some(),
        "{peer:?} differs, and nobody knows why: {heard:?}, wanted {want:?}"
    );
    same
}

/// Pongs and the echo of a Close. Who failed may answer or not: tungstenite leaves the Close that
/// reports a violation to its user. Reasons are echoed by tungstenite, and by nobody else; of
/// several Pings one may be answered (§5.5.3), and tungstenite answers the last.
fn compare_answers(
    peer: Peer,
    want: &reference::Received,
    ours: &[u8],
    heard: &Heard,
    to_server: bool,
) {
    if matches!(want.end, reference::End::Failed(_)) {
        return;
    }
    let pings = want.events.iter().filter(|event| matches!(event, Event::Ping(_))).count();
    let read = |answer: &[u8]| {
        let mut got = reference::receive(answer, !to_server, Limits::NONE);
        assert_eq!(got.used, answer.len());
        if let Some(Event::Close(body)) = got.events.last_mut() {
            body.truncate(2);
        }
        if pings > 1 {
            got.events.retain(|event| matches!(event, Event::Close(_)));
        }
        got.events
    };
    assert_eq!(read(ours), read(&heard.answer), "{peer:?} answers otherwise");
}
