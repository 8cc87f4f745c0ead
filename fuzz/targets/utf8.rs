//! Text in frames, frames in pieces, against the standard library: the same verdict, and no later
//! than at the first byte that makes it impossible.
#![no_main]
use libfuzzer_sys::fuzz_target;
use tickwire::{Config, Message, ProtocolError, RecvError, Step};
use tickwire_fuzz::{Cuts, begin_frame, connection};

fuzz_target!(|data: &[u8]| {
    let [frames, reads, flags, rest @ ..] = data else {
        return;
    };
    let text = rest.repeat(1 + usize::from(flags >> 4));
    let (masked, chunks) = (flags & 1 != 0, flags & 2 != 0);
    let key = [0x55, 0xaa, 0x12, 0xef];
    // The wire, and where in it each byte of text lies.
    let (mut wire, mut places) = (vec![], vec![]);
    let mut left = &text[..];
    let mut opcode = 1;
    for n in Cuts::new(*frames) {
        let (piece, rest) = left.split_at(n.min(left.len()));
        left = rest;
        let first = opcode | if left.is_empty() { 0x80 } else { 0 };
        begin_frame(&mut wire, first, masked, piece.len());
        if masked {
            wire.extend(key);
        }
        for (i, byte) in piece.iter().enumerate() {
            places.push(wire.len());
            wire.push(if masked { byte ^ key[i % 4] } else { *byte });
        }
        opcode = 0;
        if left.is_empty() {
            break;
        }
    }
    let whole = wire.len();
    let want = std::str::from_utf8(&text);
    // It is wrong when this much of the wire is here: behind the first impossible byte, or, where
    // it only ends too soon, at its end.
    let wrong = want.err().map(|e| match e.error_len() {
        None => whole,
        Some(_) => (e.valid_up_to()..text.len())
            .find(|&i| std::str::from_utf8(&text[..=i]).is_err_and(|e| e.error_len().is_some()))
            .map_or(whole, |i| places[i] + 1),
    });

    let mut conn = connection(!masked, &Config::default());
    let mut seen = vec![];
    let mut at = 0;
    let mut cuts = Cuts::new(*reads);
    loop {
        let step = if chunks { conn.step_chunk() } else { conn.step() };
        match step {
            Ok(Step::NeedInput) => {
                assert!(at < whole, "a whole message, and nothing was said");
                assert!(wrong.is_none_or(|w| at < w), "impossible since {wrong:?}, read {at}");
                let spare = conn.receiver_mut().spare_mut();
                let n = cuts.next().unwrap().min(spare.len()).min(whole - at);
                spare[..n].copy_from_slice(&wire[at..at + n]);
                conn.receiver_mut().commit(n);
                at += n;
            }
            Ok(Step::Message) if chunks => {
                let chunk = conn.receiver().chunk().unwrap();
                seen.extend_from_slice(chunk.data);
                // What was handed out is always the beginning of valid text.
                assert!(
                    std::str::from_utf8(&seen).map_or_else(|e| e.error_len().is_none(), |_| true)
                );
                if chunk.last {
                    assert_eq!(Ok(&*seen), want.map(str::as_bytes));
                    break;
                }
            }
            Ok(Step::Message) => {
                assert_eq!(
                    conn.receiver().message().and_then(Message::as_text).map(Ok),
                    Some(want)
                );
                break;
            }
            Err(RecvError::Protocol(ProtocolError::BadUtf8)) => {
                assert!(wrong.is_some_and(|w| at >= w), "wrong at {wrong:?}, failed at {at}");
                break;
            }
            other => panic!("{other:?}"),
        }
    }
});
