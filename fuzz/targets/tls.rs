//! Any records behind a handshake, sealed as they should be or not: with records opened in place,
//! the same data, the same end and the same records sent as through rustls.
//!
//! The first byte chooses role, suite, how much a read gives and takes; then come steps.
#![no_main]
use libfuzzer_sys::fuzz_target;
use tickwire_fuzz::tls::End;

/// Bits of the first byte.
const SERVER: u8 = 1;
const CHACHA: u8 = 2;
const SHORT_READS: u8 = 4;
const LITTLE_ROOM: u8 = 8;

/// Empty records and KeyUpdates, together, that pass without data between; rustls counts each kind
/// apart.
const BARREN: usize = 32;

/// The length of a record of three bytes.
const SHORT: u8 = 5 + 3 + 1 + 16;

fuzz_target!(|data: &[u8]| {
    let Some((flags, mut steps)) = data.split_first() else { return };
    let most = if flags & SHORT_READS != 0 { 37 } else { usize::MAX };
    let room = if flags & LITTLE_ROOM != 0 { 100 } else { 16 << 10 };
    let new = |in_place| End::new(flags & SERVER != 0, flags & CHACHA != 0, in_place, most);
    let mut ends = [new(true), new(false)];
    let mut askew = false;
    while let [step, arg, rest @ ..] = steps {
        let (content, behind) = rest.split_at(rest.len().min(usize::from(*arg)));
        steps = if matches!(step % 8, 1..=3) { behind } else { rest };
        let mut stricter = false;
        for end in &mut ends {
            stricter |= apply(end, *step, *arg, content);
            end.read(room);
        }
        let [ours, theirs] = &ends;
        stricter |= ours.barren > BARREN && ours.ended == Some(false) && theirs.ended.is_none();
        // Behind a length that is not its record's, the next one is no record.
        if stricter && !askew {
            // rustls reads on, or waits for more: it is the less strict one.
            assert_eq!(ends[0].ended, Some(false));
            assert!(ends[1].read.starts_with(&ends[0].read));
            return;
        }
        askew |= step % 8 == 5 && matches!(arg % SHORT, 3 | 4);
        assert!(ends[0].read == ends[1].read, "other data");
        assert_eq!(ends[0].ended, ends[1].ended);
        if ends[0].ended.is_some() {
            break;
        }
    }
    if ends[0].ended.is_none() {
        for end in &mut ends {
            end.end();
            end.read(room);
            end.hear();
        }
        assert_eq!(ends[0].ended, Some(false));
        assert_eq!(ends[0].ended, ends[1].ended);
    }
    // Alerts differ: rustls sends none for some errors.
    let [ours, theirs] =
        ends.map(|end| end.sent.into_iter().filter(|(kind, _)| *kind != 21).collect::<Vec<_>>());
    assert_eq!(ours, theirs);
});

/// Returns whether we are stricter here than rustls.
fn apply(end: &mut End, step: u8, arg: u8, content: &[u8]) -> bool {
    let record = match step % 8 {
        // Data, padded.
        0 => {
            let data = vec![step; usize::from(arg) * 64];
            end.sealed(&[&data[..], &[23], &[0; 3]].concat())
        }
        // Anything inside.
        kind @ 1..=3 => {
            let kind = [&[][..], &[22], &[21]][usize::from(kind) - 1];
            let mut inner = [content, kind].concat();
            let len = inner.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1);
            // rustls takes this user_canceled for an error, because its level is fatal.
            if inner[..len] == [2, 90, 21] {
                inner[0] = 1;
            }
            let record = end.sealed(&inner);
            end.put(&record);
            // An empty message, which RFC 9846 §5.4 forbids.
            return len == 1 && matches!(inner[0], 21 | 22);
        }
        // A KeyUpdate.
        4 => {
            let record = end.sealed(&[24, 0, 0, 1, arg % 2, 22]);
            end.put(&record);
            end.update();
            return false;
        }
        // A byte of a good record is another.
        5 => {
            let mut record = end.sealed(&[step, step, step, 23]);
            let at = usize::from(arg % SHORT);
            record[at] ^= step; // which is odd
            end.put(&record);
            let len = u16::from_be_bytes([record[3], record[4]]);
            // The outer type is sealed by no tag; the length is refused before the rest comes.
            return at == 0 || (at <= 4 && len > (1 << 14) + 256);
        }
        6 => {
            // An empty write has rustls send the KeyUpdate that it owes.
            end.write(&vec![arg; usize::from(arg) * 100 + 1]);
            return false;
        }
        _ => {
            end.hear();
            return false;
        }
    };
    end.put(&record);
    false
}
