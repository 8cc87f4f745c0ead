//! What holds for all facts, and is not a line of the table.
use super::*;
use alloc::vec::Vec;

const FLAGS: [bool; 2] = [false, true];

/// All facts with all policies.
fn all() -> impl Iterator<Item = (Facts, Allow)> {
    let ended = [Ending::Flush, Ending::ShutDown, Ending::Discard, Ending::Done].map(Input::Ended);
    let inputs: Vec<_> = [Input::New, Input::Starved].into_iter().chain(ended).collect();
    inputs.into_iter().flat_map(|input| (0..192_u32).map(move |bits| (input, bits))).map(
        |(input, bits)| {
            let flag = |at: u32| FLAGS[((bits >> at) & 1) as usize];
            let clock = [Clock::Seen, Clock::Unseen, Clock::Old][(bits >> 6) as usize];
            let facts = Facts { input, unsent: flag(0), refused: flag(1), dry: flag(2), clock };
            (facts, Allow { deliver: flag(3), read: flag(4), ends_turn: flag(5) })
        },
    )
}

/// Not by `Facts::reads`, which `order` uses: a refused write stops no read, and input is drained
/// though the policy allows no read.
fn may_read(input: Input, allow: Allow) -> bool {
    match input {
        Input::New | Input::Starved => allow.read,
        Input::Ended(ending) => ending == Ending::Discard,
    }
}

#[test]
fn whatever_the_facts_the_order_breaks_no_rule() {
    for (facts, allow) in all() {
        let todo = order(facts, allow);
        let shown = (facts, allow, todo);
        match todo {
            Todo::Item => assert!(facts.input == Input::New && allow.deliver, "{shown:?}"),
            Todo::Write => assert!(facts.unsent && !facts.refused, "{shown:?}"),
            Todo::Read => {
                assert!(!facts.unsent || facts.refused, "{shown:?}");
                assert!(facts.reads(allow) && !facts.dry && facts.clock != Clock::Old, "{shown:?}");
                assert!(facts.input != Input::New || !allow.deliver, "{shown:?}");
            }
            Todo::ShutDown => {
                assert!(facts.input == Input::Ended(Ending::ShutDown) && !facts.refused);
            }
            Todo::Over => assert!(facts.input == Input::Ended(Ending::Done), "{shown:?}"),
            // A share ends without a look: undelivered input may disprove a silence.
            Todo::Wait => {
                assert!(facts.clock == Clock::Seen || allow.ends_turn, "{shown:?}");
                assert!(facts.dry || allow.ends_turn || !may_read(facts.input, allow), "{shown:?}");
            }
            Todo::Clock => {
                assert!(facts.clock != Clock::Seen, "{shown:?}");
                let more = facts.input == Input::New || may_read(facts.input, allow) && !facts.dry;
                assert!(!more || !allow.ends_turn, "{shown:?}");
            }
        }
    }
}

#[test]
fn after_a_look_comes_a_read_or_a_wait() {
    for (facts, allow) in all().filter(|(facts, allow)| order(*facts, *allow) == Todo::Clock) {
        let seen = Facts { clock: Clock::Seen, ..facts };
        let todo = if facts.reads_next(allow) { Todo::Read } else { Todo::Wait };
        assert_eq!(todo, order(seen, allow), "{facts:?}, {allow:?}");
    }
}

/// Each answer, carried out, changes a fact so that another answer follows. So who asks until there
/// is a wait, or the end, gets there, if no bytes come.
#[test]
fn who_asks_gets_to_a_wait_or_to_the_end() {
    for (mut facts, allow) in all() {
        for asked in 0.. {
            assert!(asked < 8, "{facts:?}, {allow:?}");
            match order(facts, allow) {
                Todo::Item => facts.input = Input::Starved,
                Todo::Write => facts.unsent = false,
                Todo::Clock => facts.clock = Clock::Seen,
                Todo::Read => facts.dry = true,
                Todo::ShutDown => facts.input = Input::Ended(Ending::Discard),
                Todo::Wait | Todo::Over => break,
            }
        }
    }
}

#[test]
fn a_flush_writes_once_before_it_waits_and_waits_only_behind_a_refusal() {
    for bits in 0..16_u32 {
        let flag = |at: u32| FLAGS[((bits >> at) & 1) as usize];
        let facts =
            SendFacts { asked: flag(0), refused: flag(1), has_room: flag(2), failed: flag(3) };
        let todo = order_sending(facts);
        assert_eq!(todo == ToSend::Failed, facts.failed, "{facts:?}");
        if !facts.failed {
            assert_eq!(todo == ToSend::Write, !facts.asked, "{facts:?}");
            let waits = facts.asked && facts.refused && !facts.has_room;
            assert_eq!(todo == ToSend::Wait, waits, "{facts:?}");
        }
    }
}
