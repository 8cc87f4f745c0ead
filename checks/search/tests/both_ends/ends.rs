//! The states of both ends, and the steps between them: each is taken by a real connection, once.
//! What an end does depends on itself and on what is handed to it, so that what came of it holds
//! whatever the other end and the stream are at.
use crate::{
    end::{End, Facts, Input},
    scenario::Scenario,
};
use std::{
    collections::HashMap,
    hash::{DefaultHasher, Hash, Hasher},
};
use tickwire::Role;

/// A connection and its record are some kilobytes.
const LIVE: usize = 4000;

/// A state of an end.
pub(crate) type Id = u32;

/// Of its projection.
pub(crate) type Sum = [u64; 2];

pub(crate) struct Ends {
    scenario: Scenario,
    states: Vec<State>,
    known: HashMap<Sum, Id>,
    /// Some connections that have gone to a state, and from none further.
    live: HashMap<Id, End>,
    text: String,
    /// How many steps were taken.
    pub(crate) steps: u64,
}

struct State {
    facts: Facts,
    sum: Sum,
    /// The step by which it was first come to: of the state before, and which of those from there.
    from: Option<(Id, usize)>,
    steps: Vec<Taken>,
}

struct Taken {
    input: Input,
    bytes: Box<[u8]>,
    to: Id,
}

impl Ends {
    /// The first two states are those at which a client and a server begin.
    pub(crate) fn new(scenario: Scenario) -> Self {
        let mut this = Self {
            scenario,
            states: Vec::new(),
            known: HashMap::new(),
            live: HashMap::new(),
            text: String::new(),
            steps: 0,
        };
        for role in [Role::Client, Role::Server] {
            this.state(End::new(role, &scenario), None);
        }
        this
    }

    pub(crate) fn len(&self) -> usize {
        self.states.len()
    }

    #[inline]
    pub(crate) fn get(&self, id: Id) -> &Facts {
        &self.states[id as usize].facts
    }

    pub(crate) fn sum(&self, id: Id) -> Sum {
        self.states[id as usize].sum
    }

    /// Where a step leads that was taken before.
    #[inline]
    pub(crate) fn taken(&self, id: Id, input: Input, bytes: &[u8]) -> Option<Id> {
        let steps = &self.states[id as usize].steps;
        steps.iter().find(|it| it.input == input && *it.bytes == *bytes).map(|it| it.to)
    }

    /// Takes a step that was not taken before. An error is what does not hold.
    pub(crate) fn step(&mut self, id: Id, input: Input, bytes: &[u8]) -> Result<Id, String> {
        self.steps += 1;
        let mut end = self.live.remove(&id).unwrap_or_else(|| self.again(id));
        end.apply(input, bytes).map_err(|what| format!("{:?}: {what}", end.role))?;
        let to = self.state(end, Some((id, self.states[id as usize].steps.len())));
        self.states[id as usize].steps.push(Taken { input, bytes: bytes.into(), to });
        Ok(to)
    }

    /// The state that an end is in.
    fn state(&mut self, end: End, from: Option<(Id, usize)>) -> Id {
        let sum = sum(&end, &mut self.text);
        let next = self.states.len() as Id;
        let id = *self.known.entry(sum).or_insert(next);
        if id == next {
            self.states.push(State { facts: end.facts(), sum, from, steps: Vec::new() });
            if self.live.len() == LIVE {
                self.live.clear();
            }
            self.live.insert(id, end);
        }
        id
    }

    /// Whether an end is in that state, by all that is known of it.
    pub(crate) fn is(&self, id: Id, end: &End) -> bool {
        let state = &self.states[id as usize];
        sum(end, &mut String::new()) == state.sum && end.facts() == state.facts
    }

    /// A connection cannot be cloned: one that goes the way to that state again from the beginning,
    /// which leads there, since time and entropy are handed in.
    fn again(&self, mut id: Id) -> End {
        let mut way = Vec::new();
        while let Some((before, at)) = self.states[id as usize].from {
            way.push(&self.states[before as usize].steps[at]);
            id = before;
        }
        let role = if id == 0 { Role::Client } else { Role::Server };
        let mut end = End::new(role, &self.scenario);
        end.again = true;
        for step in way.into_iter().rev() {
            end.apply(step.input, &step.bytes).expect("it held before");
        }
        end.again = false;
        end
    }
}

fn sum(end: &End, text: &mut String) -> Sum {
    text.clear();
    end.project(text);
    [0_u8, 1].map(|seed| {
        let mut hasher = DefaultHasher::new();
        (seed, &*text).hash(&mut hasher);
        hasher.finish()
    })
}
