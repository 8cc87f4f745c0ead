//! Each rule is broken once, and kept once by what differs least.
#![allow(clippy::unwrap_used)]

use super::{Facts, Note, Tape, Wait};
use crate::proto::{error::RecvError, time::Time};
use core::time::Duration;
use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    string::String,
    vec::Vec,
};

fn at(seconds: u64) -> Time {
    Time::new(Duration::from_secs(seconds))
}

/// Plays notes, each with what the connection is like then. Returns the rule that the last one
/// breaks.
fn play(notes: &[(Note, Facts)]) -> Option<String> {
    let tape = Tape::new();
    let (last, before) = notes.split_last().unwrap();
    for (note, facts) in before {
        tape.check(*note, || *facts);
    }
    let last = catch_unwind(AssertUnwindSafe(|| tape.check(last.0, || last.1)));
    let message = *last.err()?.downcast::<String>().unwrap();
    Some(message.lines().next().unwrap().trim_start_matches("tape: ").into())
}

fn plain(notes: &[Note], last: Facts) -> Option<String> {
    let mut all: Vec<_> = notes.iter().map(|note| (*note, Facts::default())).collect();
    all.last_mut().unwrap().1 = last;
    play(&all)
}

fn whole() -> Facts {
    Facts { whole: true, ..Facts::default() }
}

const WRITES: Note = Note::Writes { early: false };
const BLOCKED: Note = Note::Pending { asked: true };

fn waits(wait: Wait) -> Note {
    Note::Waits(wait)
}

fn reads() -> Wait {
    Wait { readable: true, ..Wait::default() }
}

#[test]
fn what_is_delivered_written_and_read_has_an_order() {
    let over = Facts { over: true, done: true, ..whole() };
    #[allow(clippy::type_complexity)] // a table
    let cases: [(&str, &[Note], Facts, &[Note], Facts); 7] = [
        (
            "nothing is delivered behind the end",
            &[Note::Ended, Note::Delivered],
            whole(),
            &[Note::Starved, Note::Delivered],
            whole(),
        ),
        (
            "all is delivered before replies are written",
            &[WRITES],
            whole(),
            &[Note::Writes { early: true }],
            whole(),
        ),
        (
            "all is delivered before more is read",
            &[Note::Starved, Note::Read(1), Note::Reads],
            whole(),
            &[Note::Starved, Note::Read(0), Note::Reads],
            whole(),
        ),
        (
            "nothing is read behind the end, but to drain",
            &[Note::Ended, Note::Reads],
            whole(),
            &[Note::Ended, Note::Reads],
            Facts { drains: true, ..whole() },
        ),
        (
            "nothing is read in a pause",
            &[Note::Starved, Note::Reads],
            Facts { paused: true, ..whole() },
            &[Note::Starved, WRITES],
            Facts { paused: true, ..whole() },
        ),
        (
            "all that the stream takes is written before more is read",
            &[Note::Starved, Note::Refused, Note::Wrote, Note::Reads],
            Facts { has_outgoing: true, ..whole() },
            &[Note::Starved, Note::Wrote, Note::Refused, Note::Reads],
            Facts { has_outgoing: true, ..whole() },
        ),
        (
            "Over comes behind the end",
            &[Note::Starved, Note::Over],
            over,
            &[Note::Ended, Note::Over],
            over,
        ),
    ];
    for (rule, broken, facts, kept, others) in cases {
        assert_eq!(plain(broken, facts).as_deref(), Some(rule));
        assert_eq!(plain(kept, others), None, "{rule}");
    }
}

#[test]
fn after_over_nothing_is_done() {
    let over = Facts { over: true, done: true, ..whole() };
    for note in [Note::Reads, WRITES, waits(reads()), Note::WriterWaits(at(1))] {
        let notes = [(Note::Ended, whole()), (Note::Over, over), (note, whole())];
        assert_eq!(play(&notes).as_deref(), Some("after Over nothing is done"));
    }
    let left = [(Note::Ended, whole()), (Note::Over, Facts { done: false, ..over })];
    assert_eq!(play(&left).as_deref(), Some("Over comes only if nothing is left to do"));
    let unsent = [(Note::Ended, whole()), (Note::Over, Facts { has_outgoing: true, ..over })];
    assert_eq!(play(&unsent).as_deref(), Some("all is written or dropped before Over"));
}

#[test]
fn a_wait_names_what_ends_it_and_has_tried_it() {
    let due = Facts { deadline: Some(at(5)), ..whole() };
    let unsent = Facts { has_outgoing: true, ..whole() };
    let writes = Wait { writable: true, ..reads() };
    let until = |seconds| Wait { until: Some(at(seconds)), ..reads() };
    let starved = [Note::Starved, BLOCKED];
    let cases: [(&str, &[Note], Wait, Facts); 7] = [
        ("all is delivered before a wait", &[BLOCKED], reads(), whole()),
        ("a wait ends at the next deadline", &starved, until(6), due),
        ("a wait ends when the stream can be read", &starved, Wait::default(), whole()),
        (
            "a wait for input comes behind a read that brought nothing",
            &[Note::Starved],
            reads(),
            whole(),
        ),
        ("a wait with something to write ends when the stream takes it", &starved, reads(), unsent),
        (
            "a wait with something to write ends when the stream takes it",
            &[Note::Ended],
            Wait::default(),
            Facts { shuts: true, ..whole() },
        ),
        ("a wait to write comes behind a refusal", &starved, writes, unsent),
    ];
    for (rule, notes, wait, facts) in cases {
        let notes: Vec<_> = notes.iter().copied().chain([waits(wait)]).collect();
        assert_eq!(plain(&notes, facts).as_deref(), Some(rule));
        // Whoever gives up its turn, or was woken, polls again at once.
        assert_eq!(plain(&notes, Facts { woken: true, ..facts }), None);
    }
    let kept = |notes: &[Note], wait, facts| {
        let notes: Vec<_> = notes.iter().copied().chain([waits(wait)]).collect();
        assert_eq!(plain(&notes, facts), None);
    };
    kept(&starved, until(5), due);
    kept(&[Note::Starved, BLOCKED, Note::Timer(at(4))], reads(), due);
    kept(&[Note::Starved, BLOCKED, Note::Refused], writes, unsent);
    let writer = Note::WriterWaits(at(5));
    let half = Facts { whole: false, ..due };
    let notes = [Note::Refused, writer, Note::Starved, BLOCKED, waits(reads())];
    assert_eq!(play(&notes.map(|note| (note, half))), None);
    let pinged = Facts { deadline: Some(at(0)), ..half };
    let notes = [Note::Starved, BLOCKED, Note::Timer(at(4)), Note::Refused, waits(reads())];
    assert_eq!(play(&notes.map(|note| (note, pinged))), None);
    let notes = [Note::Starved, BLOCKED, Note::Timer(at(4)), Note::Wrote, waits(reads())];
    let rule = "a wait ends at the next deadline";
    assert_eq!(play(&notes.map(|note| (note, pinged))).as_deref(), Some(rule));
}

#[test]
fn a_verdict_needs_a_look_and_a_read_that_the_stream_refused() {
    let found = Note::Looked { now: at(1), found: true };
    let verdict = Note::Verdict(RecvError::DataTimeout);
    let rule = "a verdict comes behind a look and a read that the stream refused";
    let perhaps = Note::Blocked { surely: false };
    let surely = Note::Blocked { surely: true };
    for broken in
        [&[verdict][..], &[found, verdict], &[found, perhaps, verdict], &[surely, verdict]]
    {
        assert_eq!(plain(broken, whole()).as_deref(), Some(rule));
    }
    for kept in [&[found, surely, verdict][..], &[found, perhaps, perhaps, verdict]] {
        assert_eq!(plain(kept, whole()), None);
    }
    let close = Note::Verdict(RecvError::CloseTimeout);
    assert_eq!(plain(&[close], whole()), None);
    let put_off = [Note::Pending { asked: false }, perhaps];
    let asked = "a read blocked only if the stream was asked";
    assert_eq!(plain(&put_off, whole()).as_deref(), Some(asked));
    assert_eq!(plain(&[BLOCKED, perhaps], whole()), None);
}

#[test]
fn a_writer_waits_behind_a_refusal_and_wakes_who_waits_too_long() {
    let due = Facts { deadline: Some(at(5)), ..whole() };
    let wait = |seconds| Note::WriterWaits(at(seconds));
    let rule = "a wait to write comes behind a refusal";
    assert_eq!(plain(&[wait(5)], due).as_deref(), Some(rule));
    let late = plain(&[Note::Refused, wait(6)], due);
    assert_eq!(late.as_deref(), Some("a wait ends at the next deadline"));
    assert_eq!(plain(&[Note::Refused, wait(5)], due), None);

    let left = Facts { sending_deadline: Some(at(3)), ..Facts::default() };
    let notes = |until, wakes| {
        let wait = Wait { until: Some(at(until)), ..reads() };
        [Note::Starved, BLOCKED, waits(wait), Note::Sent { wakes }]
    };
    let rule = "who moves a deadline forward wakes the one who waits";
    assert_eq!(plain(&notes(4, false), left).as_deref(), Some(rule));
    assert_eq!(plain(&notes(4, true), left), None);
    assert_eq!(plain(&notes(3, false), left), None);
}
