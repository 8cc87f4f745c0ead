//! The judge and the table are two readings of the RFCs: by different hands, and they agree.

use std::collections::VecDeque;

use wsconform_cases::Role;
use wsconform_cases::judge::deflate::Parameters;
use wsconform_cases::judge::{self, Kind, Reader};
use wsconform_cases::protocol::{Answer, Delivered, Event, Machine, Member, Sent};

/// What the judge can read: whole frames, but no limit, of which it has another.
fn is_read(event: &Event) -> bool {
    let is_whole = |member: &Member| matches!(member, Member::Frame(frame) if frame.cut.is_none());
    let has_frames = event.members.iter().all(is_whole);
    has_frames && event.kind != "broken too big" && event.kind != "Close by hand"
}

/// What the last frame comes to, in words that both have.
fn of_judge(events: &[judge::Event]) -> Vec<String> {
    let word = |event: &judge::Event| match event {
        judge::Event::Message(Kind::Text, _) => "a text".to_owned(),
        judge::Event::Message(Kind::Binary, _) => "a binary message".to_owned(),
        judge::Event::Ping(payload) => format!("a Ping {payload:?}"),
        judge::Event::Pong(payload) => format!("a Pong {payload:?}"),
        judge::Event::Close(..) => "a Close".to_owned(),
        judge::Event::Violation(violation) => format!("{} at once", violation.code),
    };
    events.iter().map(word).collect()
}

fn of_table(answer: &Answer) -> Vec<String> {
    if answer.error.is_some() {
        let close = answer.sends.iter().find_map(|sent| match sent {
            Sent::Close(code) => *code,
            _ => None,
        });
        return vec![format!("{} at once", close.unwrap_or(0))];
    }
    let told = match &answer.delivers {
        Some(Delivered::Message { text: true }) => Some("a text".to_owned()),
        Some(Delivered::Message { text: false }) => Some("a binary message".to_owned()),
        Some(Delivered::Ping(payload)) => Some(format!("a Ping {payload:?}")),
        Some(Delivered::Pong(payload)) => Some(format!("a Pong {payload:?}")),
        Some(Delivered::Close(_)) => Some("a Close".to_owned()),
        None => None,
    };
    told.into_iter().collect()
}

/// The shortest way to each state, by the first members of events.
fn ways(machine: &Machine) -> Vec<Option<Vec<usize>>> {
    let mut ways = vec![None; machine.states.len()];
    ways[0] = Some(Vec::new());
    let mut queue = VecDeque::from([0]);
    while let Some(state) = queue.pop_front() {
        let way: Vec<usize> = ways[state].clone().unwrap_or_default();
        for event in 0..machine.events.len() {
            let next = machine.at(state, event).next();
            if ways[next].is_none() {
                ways[next] = Some([&way[..], &[event]].concat());
                queue.push_back(next);
            }
        }
    }
    ways
}

/// All words that lead to a state and go on with two events, of which the last is each of its
/// members: those of k = 0, and what tells any two states apart.
#[test]
fn the_judge_reads_each_word_as_the_table_has_it() {
    let mut words = 0;
    for role in [Role::Server, Role::Client] {
        for agreed in [false, true] {
            let machine = Machine::new(role, agreed, is_read);
            let frame = |event: usize, member: usize| match &machine.events[event].members[member] {
                Member::Frame(frame) => frame.bytes(role.other()),
                _ => unreachable!("only frames are read"),
            };
            let read = || {
                let reader = Reader::new(role.other());
                match agreed {
                    true => reader.with_deflate(Parameters::default().inflater(role.other())),
                    false => reader,
                }
            };
            for (state, way) in ways(&machine).into_iter().enumerate() {
                let Some(way) = way else { continue };
                for first in 0..machine.events.len() {
                    let mut reader = read();
                    way.iter().for_each(|event| drop(reader.read(&frame(*event, 0))));
                    let there = machine.at(state, first).next();
                    if machine.states[state].receiving == "over" || is_over(&machine, state) {
                        continue;
                    }
                    compare(&machine, state, first, &reader, &frame, &mut words, &way);
                    drop(reader.read(&frame(first, 0)));
                    if is_over(&machine, there) {
                        continue;
                    }
                    let way = [&way[..], &[first]].concat();
                    for second in 0..machine.events.len() {
                        compare(&machine, there, second, &reader, &frame, &mut words, &way);
                    }
                }
            }
        }
    }
    assert!(words > 10_000, "{words}");
}

fn is_over(machine: &Machine, state: usize) -> bool {
    matches!(machine.states[state].receiving, "ended" | "waits" | "over")
}

fn compare(
    machine: &Machine,
    state: usize,
    event: usize,
    reader: &Reader,
    frame: &impl Fn(usize, usize) -> Vec<u8>,
    words: &mut usize,
    way: &[usize],
) {
    for (member, answers) in machine.at(state, event).answers.iter().enumerate() {
        let is_nothing = matches!(&machine.events[event].members[member],
            Member::Frame(frame) if frame.first & 0xc0 == 0xc0 && frame.payload.is_empty());
        if is_nothing {
            continue; // APPEALS.md, decision 13: a choice, and each has made its own
        }
        *words += 1;
        let judged = of_judge(&reader.clone().read(&frame(event, member)));
        let right: Vec<Vec<String>> = answers.iter().map(of_table).collect();
        let names: Vec<&str> = way.iter().map(|event| machine.events[*event].name).collect();
        let name = machine.events[event].name;
        assert!(
            right.contains(&judged),
            "{names:?}, then {name} ({member}) in {}: the judge has {judged:?}, the table {right:?}",
            machine.states[state]
        );
    }
}
