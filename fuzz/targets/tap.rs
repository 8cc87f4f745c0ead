//! Recordings of a wire: any text is one or is none, and replays without a panic; what passed over
//! a `Tap` is what its recording says, and replayed it gives the events that the bytes stand for.
//!
//! The first byte chooses, the second how the wire is cut.
#![no_main]
use libfuzzer_sys::fuzz_target;
use std::{
    io::{self, Read, Write},
    sync::{Arc, Mutex},
};
use tickwire::Config;
use tickwire_fuzz::{
    Cuts, connection, event,
    reference::{self, Limits},
};
use tickwire_tap::{Recording, Tap};

/// Bits of the first byte.
const TEXT: u8 = 1;
/// With the title in front.
const TITLED: u8 = 2;
const CLIENT: u8 = 4;
/// The recording is cut short somewhere.
const SHORT: u8 = 8;

fuzz_target!(|data: &[u8]| {
    let [flags, cut, rest @ ..] = data else {
        return;
    };
    if flags & TEXT != 0 {
        let title = if flags & TITLED != 0 { "tickwire tap 1\n" } else { "" };
        any_text(&format!("{title}{}", String::from_utf8_lossy(rest)));
    } else {
        any_wire(*flags, *cut, rest);
    }
});

fn any_text(text: &str) {
    let recording = match text.parse::<Recording>() {
        Ok(recording) => recording,
        Err(error) => return assert!(error.line >= 1 && error.line <= text.lines().count().max(1)),
    };
    assert!(recording.passed.len() < text.lines().count().max(1));
    let config = Config::default();
    let _ = recording.replay(&config, |_, _| {});
    for client in [true, false] {
        recording.replay_into(&mut connection(client, &config), |_, _| {});
    }
    // What is complete stays what it is, whatever is cut off behind it.
    if let Some(end) = text.rfind('\n') {
        assert_eq!(text[..=end].parse::<Recording>(), Ok(recording));
    }
}

/// Gives what it has in pieces, and takes all.
struct Stub<'a>(&'a [u8], Cuts);

impl Read for Stub<'_> {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        let n = self.1.next().unwrap_or(1).min(to.len()).min(self.0.len());
        let (piece, rest) = self.0.split_at(n);
        to[..n].copy_from_slice(piece);
        self.0 = rest;
        Ok(n)
    }
}

impl Write for Stub<'_> {
    fn write(&mut self, from: &[u8]) -> io::Result<usize> {
        Ok(self.1.next().unwrap_or(1).min(from.len()))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[derive(Clone, Default)]
struct Kept(Arc<Mutex<Vec<u8>>>);

impl Write for Kept {
    fn write(&mut self, from: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(from)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn any_wire(flags: u8, cut: u8, wire: &[u8]) {
    let client = flags & CLIENT != 0;
    let kept = Kept::default();
    let mut tap = Tap::new(Stub(wire, Cuts::new(cut)), kept.clone());
    let mut pieces = vec![];
    let mut buffer = [0; 600];
    loop {
        let n = tap.read(&mut buffer).unwrap();
        pieces.push((true, buffer[..n].to_vec()));
        if n == 0 {
            break;
        }
        let n = tap.write(&buffer[..n]).unwrap();
        pieces.push((false, buffer[..n].to_vec()));
    }
    assert!(!tap.failed());
    let text = kept.0.lock().unwrap().clone();
    let mut text = String::from_utf8(text).expect("it is text");
    let whole = text.parse::<Recording>().expect("its own");
    let passed = |recording: &Recording| -> Vec<_> {
        recording.passed.iter().map(|p| (p.received, p.bytes.clone())).collect()
    };
    assert_eq!(passed(&whole), pieces);
    assert!(whole.passed.windows(2).all(|two| two[0].at <= two[1].at));
    if flags & SHORT != 0 && !text.is_empty() {
        text.truncate(text.len() - 1 - usize::from(cut) % text.len());
        if let Ok(short) = text.parse::<Recording>() {
            assert!(pieces.starts_with(&passed(&short)));
        }
        return;
    }
    let mut events = vec![];
    let mut conn = connection(client, &Config::default());
    whole.replay_into(&mut conn, |_, seen| events.push(event(seen)));
    let want = reference::receive(wire, !client, Limits::DEFAULT);
    assert_eq!(events, want.events);
    let error = conn.closed().and_then(|end| end.error);
    match want.end {
        reference::End::Failed(reasons) => {
            assert!(error.is_some_and(|error| reasons.contains(&error)));
        }
        reference::End::Closed => assert_eq!(error, None),
        reference::End::More => assert!(error.is_some(), "the stream ended too soon"),
    }
}
