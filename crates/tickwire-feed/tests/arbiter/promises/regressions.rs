//! Short lists of calls that broke a promise once. The failure quotes the sentence.
use std::time::Duration;

use super::calls::Call::{self, Close, Liar, Offer, Open, Resume, Resync, Wait};
use super::model::Setting;
use super::replay;

const FAR: u64 = 1_000_000;

/// A message of one number.
const fn one(line: u8, number: u64) -> Call {
    Offer(line, number, number)
}

/// What holds, the most messages kept, the reach, and the calls.
type Regression = (&'static str, usize, u64, &'static [Call]);

#[rustfmt::skip]
const REGRESSIONS: &[Regression] = &[
    // Each number is delivered or told.
    ("behind a gap of refused numbers a line still brings the next ones", 1, FAR,
        &[Open(1), Open(2), Resume, one(1, 1), one(1, 3), one(1, 4), one(2, 4), Resume, Resume,
            one(1, 9), one(2, 5)]),
    ("behind a gap that ended by patience a line still brings the next numbers", 1, FAR,
        &[Open(1), Open(2), one(1, 2), one(2, 1), Resume, Wait(10), Resume, one(1, 9), one(2, 3)]),
    ("a line opened behind a lost gap skips nothing that an older line brings", 1, FAR,
        &[Open(1), Open(2), Resync(1), one(1, 2), one(1, 3), one(2, 1), Close(2), Resume, Open(3),
            one(3, 6), one(1, 4), one(1, 5)]),
    ("a burst beyond the room is told, and the line goes on behind it", 3, FAR,
        &[Open(1), Open(2), Resync(1), one(1, 2), one(1, 3), one(1, 4), one(1, 5), one(1, 6),
            one(2, 1), Close(2), Resume, Open(3), one(3, 9), one(1, 7), one(1, 8)]),
    ("a refused number behind the told gap is told before the feed goes on", 1, FAR,
        &[Open(1), one(1, 7), Open(2), Resync(1), one(1, 8), one(2, 11), Open(3), Resync(5),
            one(3, 8), Resume, Resume, one(2, 42)]),
    ("a number beyond reach is told before the feed goes on behind it", 8, 5,
        &[Open(1), Resync(1), one(1, 20), Resume, one(1, 21)]),
    // A gap is lost in time, and not before.
    ("a gap after a silence lasts until the other line has passed it", 8, FAR,
        &[Open(1), Open(2), Resume, one(1, 1), one(2, 1), Wait(10), one(1, 3)]),
    ("a snapshot older than what was delivered leaves a gap, once a line goes on", 8, FAR,
        &[Open(1), Resume, one(1, 5), Resync(3), one(1, 6)]),
    ("a snapshot older than what was beyond reach leaves a gap, once a line goes on", 8, 5,
        &[Open(1), Resync(3), one(1, 20), Resync(4), one(1, 21)]),
    ("a gap is not found before a later number has arrived", 1, FAR,
        &[Open(1), Open(2), one(2, 5), Resync(1), one(2, 6), Wait(5), one(2, 20), one(1, 10),
            Resume, Resume]),
    ("a number refused before the start shortens the patience with no gap", 8, 3,
        &[Liar(1), Offer(1, 100, 104), Open(2), Wait(1), Resume, Offer(2, 3, 5), Wait(20)]),
    ("poll_timeout does not wait for a line that is closed", 8, FAR,
        &[Open(1), Resync(3), one(1, 1), Close(1), Wait(10)]),
    // A restart comes in time, and not without a reason.
    ("a line below the feed restarts it after the only other line is closed", 8, FAR,
        &[Open(1), Resync(50), one(1, 50), Open(2), one(2, 1), Close(1), one(2, 2)]),
    ("a line that stays below a snapshot restarts the feed after the patience", 8, FAR,
        &[Open(1), one(1, 1), Resync(9), one(1, 2), Wait(10), one(1, 9)]),
    ("a line far below the feed restarts it when the other line is closed", 8, 5,
        &[Open(1), Open(2), Resync(20), one(2, 1), Close(1), Wait(10)]),
    ("a wrong number behind a lost gap is not believed", 1, FAR,
        &[Open(1), Liar(2), Resume, one(1, 1), one(1, 3), one(1, 4), one(2, 4), Resume, Resume,
            one(2, 1000), one(1, 5)]),
    ("a line below the first message restarts no feed that has a snapshot since", 8, FAR,
        &[Resume, Open(1), Open(2), one(2, 3), one(2, 6), one(1, 1), Resync(6), Wait(10)]),
    // Whose a kept message is.
    ("a message that many lines had passed goes with the last of them", 1, FAR,
        &[Resync(1), Liar(1), Open(2), Liar(4), Offer(1, 1, 4), one(2, 2), one(1, 12), Open(5),
            one(4, 6), one(4, 3), one(2, 7), one(4, 9), Close(1), one(4, FAR * FAR), Close(2),
            one(4, 12)]),
    ("a line has not passed what is below its first number, if that was the next one", 8, FAR,
        &[Open(1), Resync(1000), one(1, 1000), Liar(4), Liar(5), one(1, 1018), Wait(10),
            one(5, 1018), Offer(5, 4, 1_000_004), one(5, 1021)]),
    // Room and reach.
    ("the newest message stays though it overlaps an older one", 2, FAR,
        &[Open(1), Open(2), one(1, 1), one(1, 2), Offer(2, 1, 3), Offer(1, 3, 4)]),
    ("before the start a message may go as far above its first number as the reach", 8, 5,
        &[Open(1), Offer(1, 0, 5), Offer(1, 6, 12)]),
    ("the next message may go as far above its first number as the reach", 8, 5,
        &[Open(1), Resync(0), Offer(1, 0, 5), Offer(1, 6, 12)]),
];

/// With a patience of 10 ms.
#[test]
fn what_broke_once_holds() {
    for &(what, most_kept, reach, calls) in REGRESSIONS {
        let set = Setting { most_kept, reach, patience: Duration::from_millis(10) };
        let result = replay(set, calls);
        assert!(result.is_ok(), "{what}: {result:?}");
    }
}
