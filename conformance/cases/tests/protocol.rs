//! The table of the protocol: it says something of each event in each state, and no two states are
//! the same.
use wsconform_cases::Role;
use wsconform_cases::protocol::{Machine, Suite};

#[test]
fn every_state_has_an_answer_to_every_event_and_differs_from_all_others() {
    for role in [Role::Server, Role::Client] {
        for agreed in [false, true] {
            let machine = Machine::new(role, agreed, |_| true);
            let suite = Suite::new(&machine);
            let mut words = 0;
            suite.run(1, (0, 1), |_| words += 1);
            println!(
                "{role}, agreed {agreed}: {} states, {} events, {words} words",
                machine.states.len(),
                machine.events.len()
            );
            assert!(words > machine.states.len() * machine.events.len() * machine.events.len());
        }
    }
}
