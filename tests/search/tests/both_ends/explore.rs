//! Depth first through every state. A connection cannot be cloned: where a state has several
//! successors, the way to it is gone again from the beginning, which gives the same state, since
//! time and entropy are handed in.
use crate::world::{Action, Scenario, World};
use std::{
    collections::{HashMap, HashSet},
    hash::{DefaultHasher, Hash, Hasher},
    time::{Duration, Instant},
};

/// A state that was seen: its projection's hash.
type Key = u64;

pub(crate) struct Found {
    pub(crate) what: String,
    pub(crate) trace: Vec<Action>,
    pub(crate) state: String,
}

#[derive(Default)]
pub(crate) struct Explorer {
    /// With the hash of what may follow it.
    seen: HashMap<Key, u64>,
    /// On the way to the current state: to come to one of them again would be a way without end.
    way: HashSet<Key>,
    trace: Vec<Action>,
    text: String,
    pub(crate) transitions: u64,
    pub(crate) ends: u64,
    /// Ways that met a known state, and were followed one step further, to the same states.
    pub(crate) merges: u64,
    pub(crate) deepest: usize,
    pub(crate) longest: Duration,
    /// One merge in this many is followed.
    follow: u64,
    /// When to stop, and whether it did: not all was seen then.
    until: Option<Instant>,
    pub(crate) stopped: bool,
}

impl Explorer {
    /// Every state of `scenario`, or the first in which something does not hold.
    pub(crate) fn run(
        scenario: Scenario,
        follow: u64,
        most: Duration,
    ) -> (Self, Result<(), Found>) {
        let until = Instant::now().checked_add(most);
        let mut this = Self { follow, until, ..Self::default() };
        let result = this.visit(World::new(scenario), scenario).map(|_| ());
        let result = result.map_err(|what| Found {
            what,
            trace: std::mem::take(&mut this.trace),
            state: std::mem::take(&mut this.text),
        });
        (this, result)
    }

    pub(crate) fn states(&self) -> usize {
        self.seen.len()
    }

    fn key(&mut self, world: &World) -> Key {
        world.project(&mut self.text);
        let mut hasher = DefaultHasher::new();
        self.text.hash(&mut hasher);
        hasher.finish()
    }

    fn visit(&mut self, world: World, scenario: Scenario) -> Result<Key, String> {
        let key = self.key(&world);
        if self.way.contains(&key) {
            return Err("a way without end".into());
        }
        self.longest = self.longest.max(world.longest);
        if let Some(&follows) = self.seen.get(&key) {
            self.transitions += 1;
            if self.transitions.is_multiple_of(self.follow) {
                self.merges += 1;
                if self.successors(world, scenario)? != follows {
                    return Err("states that look the same and are not".into());
                }
            }
            return Ok(key);
        }
        self.transitions += 1;
        self.stopped |= self.transitions.is_multiple_of(1000)
            && self.until.is_some_and(|until| until < Instant::now());
        if self.stopped {
            return Ok(key);
        }
        self.deepest = self.deepest.max(self.trace.len());
        let actions = world.actions();
        if World::is_quiet(&actions) {
            world.check_quiet()?;
        }
        if actions.iter().all(|action| World::is_fault(*action)) {
            world.check_sink()?;
            self.ends += 1;
        }
        self.way.insert(key);
        let (mut live, mut follows) = (Some(world), 0);
        for action in actions {
            if self.stopped {
                return Ok(key);
            }
            let mut next = live.take().unwrap_or_else(|| self.again(scenario));
            self.trace.push(action);
            next.apply(action).inspect_err(|_| next.project(&mut self.text))?;
            follows ^= hash(action, self.visit(next, scenario)?);
            self.trace.pop();
        }
        if self.stopped {
            return Ok(key);
        }
        self.way.remove(&key);
        self.seen.insert(key, follows);
        Ok(key)
    }

    /// The state at the end of the trace.
    fn again(&self, scenario: Scenario) -> World {
        let mut world = World::new(scenario);
        for &action in &self.trace {
            world.apply(action).expect("it held before");
        }
        world
    }

    fn successors(&mut self, world: World, scenario: Scenario) -> Result<u64, String> {
        let actions = world.actions();
        let (mut live, mut follows) = (Some(world), 0);
        for action in actions {
            let mut next = live.take().unwrap_or_else(|| self.again(scenario));
            self.trace.push(action);
            next.apply(action).inspect_err(|_| next.project(&mut self.text))?;
            follows ^= hash(action, self.key(&next));
            self.trace.pop();
        }
        Ok(follows)
    }
}

fn hash(action: Action, key: Key) -> u64 {
    let mut hasher = DefaultHasher::new();
    (action, key).hash(&mut hasher);
    hasher.finish()
}

/// Prints what was explored.
pub(crate) fn report(scenario: &Scenario, explorer: &Explorer, began: Instant) {
    let Scenario { cuts, faults, blocks, delays, .. } = *scenario;
    let counts =
        [(u8::from(cuts), "cuts"), (faults, "faults"), (blocks, "blocks"), (delays, "delays")];
    let wrong: Vec<_> = counts.iter().filter(|(n, _)| *n > 0).map(|(_, what)| *what).collect();
    let name = format!("{} ({})", scenario.name, wrong.join(" "));
    println!(
        "{:<38} {:>9} states {:>10} transitions {:>8} ends, {:>3} deep, {:>8} merges followed, \
         closing {:>6.2?} at most, {:.1?}{}",
        name,
        explorer.states(),
        explorer.transitions,
        explorer.ends,
        explorer.deepest,
        explorer.merges,
        explorer.longest,
        began.elapsed(),
        if explorer.stopped { " !! NOT EXHAUSTED !!" } else { "" },
    );
}
