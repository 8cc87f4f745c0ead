//! The words of the W-method, and the table that they are made of.

use testkit::table::suite::Suite;
use wsconform_cases::{
    Role,
    protocol::{Machine, Move},
};

/// The table says something of each event in each state, and no two states are the same.
#[test]
fn every_state_has_an_answer_to_every_event_and_differs_from_all_others() {
    for role in [Role::Server, Role::Client] {
        for agreed in [false, true] {
            let machine = Machine::new(role, agreed, |_| true);
            let suite = Suite::new(&machine);
            let mut words = 0;
            suite.run(0, (0, 1), |_| words += 1);
            println!(
                "{role}, agreed {agreed}: {} states, {} events, {words} words",
                machine.states.len(),
                machine.events.len()
            );
            assert!(words > machine.states.len() * machine.events.len());
        }
    }
}

fn lead(made: &mut Move, to: usize) {
    made.answers.iter_mut().flatten().for_each(|answer| answer.next = to);
}

/// The machine with a further state that only looks like the first, until `secret` happens
/// there.
fn with_another_state(machine: &Machine, from: usize, event: usize, secret: usize) -> Machine {
    let mut other = machine.clone();
    let (states, events) = (machine.states.len(), machine.events.len());
    let next = machine.at(from, event).next();
    let mut copied: Vec<_> = (0..events).map(|event| machine.at(next, event).clone()).collect();
    let astray = (copied[secret].next() + 1) % states;
    lead(&mut copied[secret], astray);
    other.states.push(machine.states[next]);
    other.moves.extend(copied);
    lead(&mut other.moves[from * events + event], states);
    other
}

fn finds(machine: &Machine, other: &Machine, k: usize) -> bool {
    let mut found = false;
    Suite::new(machine).run(k, (0, 1), |word| {
        let (mut here, mut there) = (0, 0);
        found |= word.iter().any(|event| {
            let (a, b) = (machine.at(here, *event), other.at(there, *event));
            here = a.next();
            there = b.next();
            a.differs(b)
        });
    });
    found
}

#[test]
fn an_end_that_goes_astray_once_is_found_with_a_state_more_for_each_k() {
    let few = ["text..", "..more, E2", "..more, 86", "..last", "Ping", "Close", "close", "FIN"];
    let machine = Machine::new(Role::Server, false, |event| few.contains(&event.name));
    let (states, events) = (machine.states.len(), machine.events.len());
    assert!(states > 8 && events == few.len(), "{states} states, {events} events");
    let mut behind = 0;
    for (from, event) in (0..states).flat_map(|from| (0..events).map(move |event| (from, event))) {
        for to in 0..states {
            let mut other = machine.clone();
            if machine.at(from, event).next() != to {
                lead(&mut other.moves[from * events + event], to);
                assert!(finds(&machine, &other, 0), "{from} -{event}-> {to}");
            }
        }
        for secret in 0..events {
            let other = with_another_state(&machine, from, event, secret);
            assert!(finds(&machine, &other, 1), "{from} -{event}-> {secret}");
            behind += usize::from(!finds(&machine, &other, 0));
        }
    }
    assert!(behind > 0, "one state more was never out of reach");
}
