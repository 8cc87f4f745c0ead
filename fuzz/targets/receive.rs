//! Any bytes, cut anyhow, into a connection of either role: the same events, the same end and the
//! same replies as the reference, which saw the wire whole.
//!
//! The first byte chooses the connection, the second how the wire is cut; the rest is the wire.
#![no_main]
use libfuzzer_sys::fuzz_target;
use tickwire::{CloseCode, Config, Connection, DataKind, RecvError, Step};
use tickwire_fuzz::{
    Cuts, connection, event, read,
    reference::{self, End, Limits},
    write,
};

/// Bits of the first byte.
const CLIENT: u8 = 1;
const SMALL_LIMITS: u8 = 2;
const CHUNKS: u8 = 4;
/// Lend a buffer before each read and reclaim it after.
const LEND: u8 = 8;
const SMALL_BUFFER: u8 = 16;
/// Take messages out instead of borrowing them.
const TAKE: u8 = 32;

fuzz_target!(|data: &[u8]| {
    let [flags, cut, wire @ ..] = data else {
        return;
    };
    let (client, chunks) = (flags & CLIENT != 0, flags & CHUNKS != 0);
    let mut config = Config::default();
    let mut limits = Limits::DEFAULT;
    if flags & SMALL_LIMITS != 0 {
        limits = Limits { message: 150, frame: 130, fragments: 3 };
        config = Config { max_message: 150, max_frame: Some(130), max_fragments: 3, ..config };
    }
    if flags & SMALL_BUFFER != 0 {
        config = Config { read_buffer: 512, ..config };
    }
    if chunks {
        (limits.message, limits.fragments) = (usize::MAX, u32::MAX);
    }
    let want = reference::receive(wire, !client, limits);
    let whole = Run::new(*flags, &config, wire, 0, &want);
    let pieces = Run::new(*flags, &config, wire, *cut, &want);
    assert_eq!(whole.error, pieces.error, "the cuts changed the error");
});

struct Run {
    events: Vec<reference::Event>,
    /// The pieces so far of a message in chunks.
    partial: Vec<u8>,
    error: Option<RecvError>,
}

impl Run {
    fn new(flags: u8, config: &Config, wire: &[u8], cut: u8, want: &reference::Received) -> Self {
        let (client, chunks) = (flags & CLIENT != 0, flags & CHUNKS != 0);
        let mut conn = connection(client, config);
        let mut run = Self { events: vec![], partial: vec![], error: None };
        let mut out = vec![];
        let mut cuts = Cuts::new(cut);
        let (mut left, mut eof, mut reads) = (wire, false, 0);
        let step = loop {
            let step = if chunks { conn.step_chunk() } else { conn.step() };
            match step {
                Ok(Step::NeedInput) if left.is_empty() => {
                    assert!(!eof, "input asked for behind the end");
                    assert_eq!(want.end, End::More);
                    conn.receiver_mut().end_of_stream();
                    eof = true;
                }
                Ok(Step::NeedInput) => {
                    reads += 1;
                    if flags & LEND != 0 && reads % 8 > 3 {
                        let n = cuts.next().map_or(1, |n| n.min(left.len()));
                        let (piece, rest) = left.split_at(n);
                        let mut buffer = piece.to_vec();
                        buffer.resize(n + [0, 7, 8, 600][reads % 4], 0xdd);
                        conn.receiver_mut().lend_filled(buffer, n);
                        left = rest;
                        continue;
                    }
                    if flags & LEND != 0 {
                        let lent = conn.receiver_mut().reclaim();
                        let len = [lent.len(), 600, 40, 5000][reads % 4];
                        conn.receiver_mut().lend(vec![0xdd; len]);
                    }
                    read(conn.receiver_mut(), &mut left, cuts.next().unwrap_or(1));
                }
                Ok(Step::Closed) | Err(_) => break step,
                Ok(_) => run.take(&mut conn, flags & TAKE != 0),
            }
            write(conn.sender_mut(), &mut out, usize::MAX);
        };
        write(conn.sender_mut(), &mut out, usize::MAX);
        run.error = step.err();
        // It stays where it is, whatever comes now.
        while !left.is_empty() {
            read(conn.receiver_mut(), &mut left, cuts.next().unwrap_or(1));
            assert_eq!(conn.step(), step);
            assert!(conn.receiver().event().is_none());
        }
        assert_eq!(conn.step_chunk(), step);
        assert_eq!(write(conn.sender_mut(), &mut out, usize::MAX), 0, "output behind the end");

        assert_eq!(run.events, want.events);
        match (&want.end, run.error) {
            (End::More, Some(RecvError::UnexpectedEof)) => {
                if chunks {
                    assert_eq!(run.partial, want.partial);
                }
            }
            (End::Closed, None) => {}
            (End::Failed(reasons), Some(error)) => {
                assert!(reasons.contains(&error), "{error:?}, not of {reasons:?}");
                // Of a frame that turned out wrong, pieces may have been handed out before.
                assert!(!chunks || run.partial.starts_with(&want.partial));
            }
            (want, got) => panic!("{got:?}, wanted {want:?}"),
        }
        run.check_replies(&out, client);
        run
    }

    /// What the last step stopped at.
    fn take(&mut self, conn: &mut Connection, owned: bool) {
        if let Some(chunk) = conn.receiver().chunk() {
            self.partial.extend_from_slice(chunk.data);
            if chunk.last {
                let text = chunk.kind == DataKind::Text;
                let payload = std::mem::take(&mut self.partial);
                self.events.push(reference::Event::Message { text, payload });
            }
            return;
        }
        let event = event(conn.receiver().event().expect("the step said that something arrived"));
        if let (true, reference::Event::Message { payload, .. }) = (owned, &event) {
            let taken = conn.receiver_mut().take_message().expect("it was there");
            assert_eq!(taken.as_bytes(), payload);
            assert!(conn.receiver().message().is_none());
        }
        self.events.push(event);
    }

    /// A Pong for each Ping, and the Close that the end calls for.
    fn check_replies(&self, out: &[u8], client: bool) {
        let mut replies: Vec<_> = self
            .events
            .iter()
            .filter_map(|event| match event {
                reference::Event::Ping(payload) => Some(reference::Event::Pong(payload.clone())),
                reference::Event::Close(body) => {
                    Some(reference::Event::Close(body[..body.len().min(2)].to_vec()))
                }
                _ => None,
            })
            .collect();
        let code = self.error.and_then(RecvError::close_code);
        replies.extend(
            code.map(|code: CloseCode| reference::Event::Close(code.get().to_be_bytes().to_vec())),
        );
        let got = reference::receive(out, client, Limits::NONE);
        assert_eq!(got.events, replies);
        assert_eq!(got.used, out.len(), "output behind the Close, or half a frame");
    }
}
