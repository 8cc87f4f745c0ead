//! `tickwire-loop` against the reference of its tests, which was written from its documentation
//! alone. The input makes the choices of a script.
#![no_main]
#![allow(dead_code)] // what the tests alone use
#[path = "../../crates/tickwire-loop/tests/model/dice.rs"]
mod dice;
#[path = "../../crates/tickwire-loop/tests/model/flow.rs"]
mod flow;
#[path = "../../tests/support/placed.rs"]
mod placed;
#[path = "../../crates/tickwire-loop/tests/model/reference.rs"]
mod reference;
#[path = "../../crates/tickwire-loop/tests/model/script.rs"]
mod script;
#[path = "../../crates/tickwire-loop/tests/model/wire.rs"]
mod wire;

use dice::{Dice, config, settings};
use script::play;

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    let Some((first, choices)) = input.split_first() else { return };
    let mut dice = Dice::Bytes(choices);
    let (settings, config) = (settings(&mut dice, first % 2 == 1), config(&mut dice));
    play(&mut dice, settings, config);
});
