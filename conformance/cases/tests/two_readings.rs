//! The judge and the table are two readings of the RFCs: by different hands, and they agree.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use wsconform_cases::Role;
use wsconform_cases::judge::deflate::Parameters;
use wsconform_cases::judge::{self, Kind, Reader};
use wsconform_cases::protocol::{Answer, Block, Delivered, Event, Frame, Machine, Member, Sent};

/// What the judge can read: whole frames, but no limit, of which it has another.
fn is_read(event: &Event) -> bool {
    let is_whole = |member: &Member| matches!(member, Member::Frame(frame) if frame.cut.is_none() && !frame.refused);
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

/// The words of one event, and for any two states that go on the shortest one that tells them apart.
fn tails(machine: &Machine) -> BTreeSet<Vec<usize>> {
    let (states, events) = (machine.states.len(), machine.events.len());
    let mut apart: BTreeMap<(usize, usize), Vec<usize>> = BTreeMap::new();
    loop {
        let mut found = BTreeMap::new();
        for pair @ (here, there) in (0..states).flat_map(|here| (0..here).map(move |it| (here, it)))
        {
            if is_over(machine, here) || is_over(machine, there) || apart.contains_key(&pair) {
                continue;
            }
            let word = (0..events).find_map(|event| {
                let [a, b] = [here, there].map(|state| machine.at(state, event));
                if a.differs(b) {
                    return Some(vec![event]);
                }
                let next = (a.next().max(b.next()), a.next().min(b.next()));
                apart.get(&next).map(|tail| [&[event], &tail[..]].concat())
            });
            found.extend(word.map(|word| (pair, word)));
        }
        if found.is_empty() {
            break;
        }
        apart.extend(found);
    }
    let going = (0..states).filter(|state| !is_over(machine, *state)).count();
    assert_eq!(apart.len(), going * (going - 1) / 2, "two states that no word tells apart");
    (0..events).map(|event| vec![event]).chain(apart.into_values()).collect()
}

/// The words of the W-method for as many states as the table has, and more: a way to each state, any
/// event, and what tells the state behind it from each other one. Each event is said in each of its
/// members.
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
            let reader = Reader::new(role.other());
            let fresh = match agreed {
                true => reader.with_deflate(Parameters::default().inflater(role.other())),
                false => reader,
            };
            let tails = tails(&machine);
            for way in ways(&machine).into_iter().flatten() {
                let firsts = (0..machine.events.len()).map(|first| vec![first]);
                for middle in firsts.chain([Vec::new()]) {
                    for tail in &tails {
                        let word = [&way[..], &middle, tail].concat();
                        compare(&machine, &word, fresh.clone(), &frame, &mut words);
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

/// Whether a compressed message ends without a byte, or with the tail that its sender should have
/// left out (APPEALS.md, decision 13): the two readings have made different choices.
fn is_a_choice(machine: &Machine, state: usize, event: usize, member: usize) -> bool {
    match &machine.events[event].members[member] {
        Member::Frame(Frame { first, payload, .. }) if payload.is_empty() => {
            let begins = first & 0xc0 == 0xc0;
            begins || (*first == 0x80 && machine.states[state].receiving.ends_with("no block"))
        }
        Member::Frame(Frame { first, inflates: Some(inflates), .. }) => {
            first & 0x80 != 0 && inflates.to == Block::None
        }
        _ => false,
    }
}

/// Says a word, and compares what comes of each event of it until the connection is over.
fn compare(
    machine: &Machine,
    word: &[usize],
    mut reader: Reader,
    frame: &impl Fn(usize, usize) -> Vec<u8>,
    words: &mut usize,
) {
    let mut state = 0;
    for (place, event) in word.iter().copied().enumerate() {
        if is_over(machine, state) {
            return;
        }
        let step = machine.at(state, event);
        if step.out_of_place {
            return;
        }
        for (member, answers) in step.answers.iter().enumerate() {
            if is_a_choice(machine, state, event, member) {
                continue;
            }
            let judged = of_judge(&reader.clone().read(&frame(event, member)));
            let right: Vec<Vec<String>> = answers.iter().map(of_table).collect();
            let names: Vec<&str> =
                word[..=place].iter().map(|event| machine.events[*event].name).collect();
            assert!(
                right.contains(&judged),
                "{names:?} ({member}) in {}: the judge has {judged:?}, the table {right:?}",
                machine.states[state]
            );
        }
        if is_a_choice(machine, state, event, 0) {
            return;
        }
        drop(reader.read(&frame(event, 0)));
        state = step.next();
    }
    *words += 1;
}
