//! Depth first through every state.
use crate::{
    ends::Sum,
    scenario::Scenario,
    world::{Action, Pair, Rest, World},
};
use std::{
    collections::{HashMap, HashSet},
    hash::{BuildHasherDefault, Hasher},
    time::{Duration, Instant},
};

/// A state: both ends, and a number for all the rest.
type Key = (u32, u32, u32);

/// Many states are looked up: a few instructions are enough for three small numbers.
#[derive(Default)]
struct Mix(u64);

impl Hasher for Mix {
    fn write(&mut self, _: &[u8]) {
        unreachable!("a key is of u32");
    }

    fn write_u32(&mut self, n: u32) {
        let product = u128::from(self.0 ^ u64::from(n)) * 0x9e37_79b9_7f4a_7c15;
        self.0 = (product >> 64) as u64 ^ product as u64;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

/// Of the first so many ways all are driven, of the next half, and so on.
const DRIVEN: u64 = 300;

/// No way is a quarter as long.
const LONG: usize = 1000;

pub(crate) struct Found {
    pub(crate) what: String,
    pub(crate) trace: Vec<Action>,
    pub(crate) state: String,
}

pub(crate) struct Explorer {
    pub(crate) pair: Pair,
    rests: HashMap<Rest, u32>,
    seen: HashSet<Key, BuildHasherDefault<Mix>>,
    /// The way to the current state, and which states are on it: to come to one of them again would
    /// be a way without end.
    way: Vec<On>,
    on_way: HashSet<Key>,
    /// What is still to be done in the states on the way.
    todo: Vec<Action>,
    pub(crate) transitions: u64,
    pub(crate) ends: u64,
    /// Ways that ended, at an end or at a known state; and how many of them a pair of connections
    /// was driven.
    ways: u64,
    pub(crate) driven: u64,
    /// What the last of those led to, as text.
    pub(crate) example: String,
    pub(crate) deepest: usize,
    /// When to stop, and whether it did: not all was seen then.
    until: Option<Instant>,
    pub(crate) stopped: bool,
}

/// A state on the way.
struct On {
    world: World,
    key: Key,
    /// How it was come to; the first was not.
    by: Option<Action>,
    /// Where in `todo` its actions begin.
    todo: usize,
}

impl Explorer {
    /// Every state of a scenario, or the first in which something does not hold.
    pub(crate) fn run(pair: Pair, most: Duration) -> (Self, Result<(), Found>) {
        let mut this = Self {
            pair,
            rests: HashMap::new(),
            seen: HashSet::default(),
            way: Vec::new(),
            on_way: HashSet::new(),
            todo: Vec::new(),
            transitions: 0,
            ends: 0,
            ways: 0,
            driven: 0,
            example: String::new(),
            deepest: 0,
            until: Instant::now().checked_add(most),
            stopped: false,
        };
        let result = this.all().map_err(|(what, last)| {
            let trace: Vec<_> = this.way.iter().filter_map(|on| on.by).chain(last).collect();
            let (_, state) = this.pair.drive(&trace);
            Found { what, trace, state }
        });
        (this, result)
    }

    pub(crate) fn states(&self) -> usize {
        self.seen.len()
    }

    /// The states in which no end can go first: by the sums of both ends' projections, and the
    /// rest.
    pub(crate) fn settled(&self) -> HashSet<([Sum; 2], Rest)> {
        let rests: HashMap<_, _> = self.rests.iter().map(|(rest, n)| (*n, *rest)).collect();
        let states = self
            .seen
            .iter()
            .map(|&(client, server, n)| World { ends: [client, server], rest: rests[&n] });
        let settled = states.filter(|world| self.pair.alone(world).is_none());
        settled.map(|world| (world.ends.map(|id| self.pair.ends.sum(id)), world.rest)).collect()
    }

    /// An error comes with the action that led to it.
    fn all(&mut self) -> Result<(), (String, Option<Action>)> {
        self.visit(World::new(&self.pair.scenario), None).map_err(|what| (what, None))?;
        while let Some(on) = self.way.last() {
            if self.todo.len() == on.todo {
                self.on_way.remove(&on.key);
                self.way.pop();
                continue;
            }
            let (world, action) = (on.world, self.todo.pop());
            let Some(action) = action else { break };
            self.transitions += 1;
            if self.transitions.is_multiple_of(1 << 16)
                && self.until.is_some_and(|until| until < Instant::now())
            {
                self.stopped = true;
                break;
            }
            let next = self.pair.apply(&world, action);
            next.and_then(|next| self.visit(next, Some(action)))
                .map_err(|what| (what, Some(action)))?;
        }
        Ok(())
    }

    fn key(&mut self, world: &World) -> Key {
        let next = self.rests.len() as u32;
        let rest = *self.rests.entry(world.rest).or_insert(next);
        let [client, server] = world.ends;
        (client, server, rest)
    }

    fn visit(&mut self, world: World, by: Option<Action>) -> Result<(), String> {
        let key = self.key(&world);
        if !self.seen.insert(key) {
            if self.on_way.contains(&key) {
                return Err("a way without end".into());
            }
            return self.way_ends(by);
        }
        if self.way.len() > LONG {
            return Err("a way without end, it seems".into());
        }
        let todo = self.todo.len();
        self.pair.actions(&world, &mut self.todo);
        let actions = &self.todo[todo..];
        if actions.iter().all(|action| action.is_quiet()) {
            self.pair.check_quiet(&world)?;
        }
        if actions.iter().all(|action| action.is_fault()) {
            self.pair.check_sink(&world)?;
            self.ends += 1;
        }
        if actions.is_empty() {
            return self.way_ends(by);
        }
        self.on_way.insert(key);
        self.way.push(On { world, key, by, todo });
        self.deepest = self.deepest.max(self.way.len());
        Ok(())
    }

    fn way_ends(&mut self, last: Option<Action>) -> Result<(), String> {
        self.ways += 1;
        if !self.ways.is_multiple_of(1 + self.ways / DRIVEN) {
            return Ok(());
        }
        self.driven += 1;
        let way: Vec<_> = self.way.iter().filter_map(|on| on.by).chain(last).collect();
        let (result, text) = self.pair.drive(&way);
        self.example = text;
        result
    }
}

/// What was explored, as a line to print.
pub(crate) fn report(explorer: &Explorer, began: Instant) -> String {
    let Scenario { name, cuts, faults, blocks, delays, .. } = explorer.pair.scenario;
    let counts = [(cuts, "cuts"), (faults, "faults"), (blocks, "blocks"), (delays, "delays")];
    let wrong: Vec<_> = counts.iter().filter(|(n, _)| *n > 0).map(|(_, what)| *what).collect();
    format!(
        "{:<38} {:>9} states {:>10} transitions {:>8} ends, {:>3} deep; \
         {:>6} states of an end, {:>7} steps; \
         {:>7} ways driven; closing {:>6.2?} at most; {:.1?}{}",
        format!("{name} ({})", wrong.join(" ")),
        explorer.states(),
        explorer.transitions,
        explorer.ends,
        explorer.deepest,
        explorer.pair.ends.len(),
        explorer.pair.ends.steps,
        explorer.driven,
        explorer.pair.longest,
        began.elapsed(),
        if explorer.stopped { " !! NOT EXHAUSTED !!" } else { "" },
    )
}
