//! Compares the tables at the head of `closing.rs` with the code, for every combination of states.
use super::*;
use alloc::{format, string::String, vec::Vec};
use core::fmt::Debug;

mod inputs;

const THEIRS: [Theirs; 5] =
    [Theirs::Awaited, Theirs::Came, Theirs::Violated, Theirs::Overdue, Theirs::Missing];
const OURS: [Ours; 5] = [Ours::None, Ours::Queued, Ours::Followed, Ours::Written, Ours::Lost];
const STREAMS: [Stream; 4] = [Stream::Open, Stream::Ended, Stream::Shut, Stream::Gone];
const ROLES: [Role; 2] = [Role::Client, Role::Server];

/// Returns the rows of the table whose first column is called `first`.
fn table(first: &str) -> Vec<Vec<&'static str>> {
    let lines = include_str!("../closing.rs").lines().map_while(|line| line.strip_prefix("//!"));
    let cells = lines.map(|line| line.split('|').skip(1).map(str::trim).collect::<Vec<_>>());
    let behind = cells.skip_while(|row| row.first() != Some(&first)).skip(2);
    behind.take_while(|row| !row.is_empty()).collect()
}

fn admits(cell: &str, value: impl Debug) -> bool {
    cell == "*" || cell.split(", ").any(|one| one == format!("{value:?}"))
}

/// Returns every combination of states and role; under Miri, every thirteenth combination.
fn all() -> impl Iterator<Item = Closing> {
    let all = THEIRS.into_iter().flat_map(|theirs| {
        OURS.into_iter().flat_map(move |ours| {
            STREAMS.into_iter().flat_map(move |stream| {
                ROLES.into_iter().map(move |role| Closing { theirs, ours, stream, role })
            })
        })
    });
    all.step_by(if cfg!(miri) { 13 } else { 1 })
}

#[test]
fn the_table_has_one_row_for_each_combination_and_the_code_agrees() {
    let table = table("theirs");
    let mut used = 0;
    for now in all() {
        let rows: Vec<_> = (table.iter().enumerate())
            .filter(|(_, row)| {
                admits(row[0], now.theirs)
                    && admits(row[1], now.ours)
                    && admits(row[2], now.stream)
                    && admits(row[3], now.role)
            })
            .collect();
        assert_eq!(rows.len(), 1, "{now:?}: {rows:?}");
        let (at, row) = rows[0];
        assert_eq!(row[4], format!("{:?}", now.phase()), "{now:?}");
        used |= 1 << at;
    }
    if !cfg!(miri) {
        assert_eq!(used, (1_u64 << table.len()) - 1, "a row for nothing");
    }
}

#[test]
fn each_phase_has_the_ending_ready_state_and_deadline_of_its_row() {
    let table = table("phase");
    let hour = Duration::from_secs(3600);
    for now in all() {
        let phase = now.phase();
        let rows: Vec<_> = table.iter().filter(|row| admits(row[0], phase)).collect();
        assert_eq!(rows.len(), 1, "{phase:?}: {rows:?}");
        let row = rows[0];
        assert_eq!(row[1], format!("{:?}", phase.ending()), "{phase:?}");
        assert_eq!(row[2], format!("{:?}", phase.ready_state()), "{phase:?}");
        let long = phase.at_most(hour);
        let short = phase.at_most(LINGER / 2);
        let bounds = match row[3] {
            "" => [None, None],
            "close_timeout" => [Some(hour), Some(LINGER / 2)],
            linger => {
                assert_eq!(linger, "LINGER");
                [Some(LINGER), Some(LINGER / 2)]
            }
        };
        assert_eq!([long, short], bounds, "{phase:?}");
    }
    let unlike: Vec<String> = table.iter().map(|row| row[0].into()).collect();
    assert_eq!(unlike.len(), 12);
}

#[test]
fn it_is_clean_where_both_have_passed_and_never_while_it_is_open() {
    for now in all() {
        let written = matches!(now.ours, Ours::Followed | Ours::Written);
        let both = now.theirs == Theirs::Came && written;
        assert_eq!(now.is_clean(), both, "{now:?}");
        if now.is_clean() {
            assert_ne!(now.phase().ready_state(), ReadyState::Open);
        }
    }
}

/// No call undoes any of these facts: our Close was queued, the peer's Close came, receiving
/// failed, the stream ended or was shut. So the ready state must not move back. But our Close, once
/// written, may count as unwritten again: see `Ours`.
#[test]
fn whatever_happens_next_a_ready_state_never_goes_back() {
    let later = |a: Closing, b: Closing| {
        let theirs = a.theirs == b.theirs || a.theirs == Theirs::Awaited;
        let ours = a.ours == Ours::None || b.ours != Ours::None;
        let stream = a.stream == b.stream || a.stream == Stream::Open || b.stream == Stream::Gone;
        theirs && ours && stream && a.role == b.role
    };
    // The code that finds a violation also queues our Close, unless a write has failed. So
    // `Violated` with `None` never occurs. A failed write makes the stream `Gone`, so `Lost` occurs
    // only with `Gone`. `Overdue` is the exception: unwritten bytes are dropped, but the stream is
    // not `Gone`. The peer's Close is overdue only after our Close was queued.
    let seen = |now: &Closing| {
        (now.theirs, now.ours) != (Theirs::Violated, Ours::None)
            && (now.theirs, now.ours) != (Theirs::Overdue, Ours::None)
            && (now.ours != Ours::Lost
                || now.stream == Stream::Gone
                || now.theirs == Theirs::Overdue)
    };
    for now in all().filter(seen) {
        for next in all().filter(seen).filter(|&next| later(now, next)) {
            let before = now.phase().ready_state();
            let after = next.phase().ready_state();
            assert!(before <= after, "{now:?} -> {next:?}");
        }
    }
}
