//! The W-method (Chow 1978), in the form of Fujiwara and others (1991) that ends each word with the
//! words of the state it ends in: an implementation with at most `k` states more than the machine
//! answers all words of `k` as the machine does only if it is the machine.

use super::{Machine, shortest};

/// The words that tell whether an implementation is the machine.
#[derive(Debug)]
pub struct Suite {
    events: usize,
    next: Vec<usize>,
    cover: Vec<Vec<usize>>,
    whole: Vec<Vec<usize>>,
    own: Vec<Vec<Vec<usize>>>,
}

impl Suite {
    /// # Panics
    ///
    /// If the machine has two states that no word tells apart.
    pub fn new(machine: &Machine) -> Self {
        let (states, events) = (machine.states.len(), machine.events.len());
        let next = |state: usize, event: usize| machine.at(state, event).next;
        let apart = Apart::new(machine);
        let all: Vec<usize> = (0..states).collect();
        Self {
            events,
            next: (0..states * events).map(|at| next(at / events, at % events)).collect(),
            cover: shortest(states, events, next),
            whole: apart.words(machine, &all),
            own: all.iter().map(|state| apart.words(machine, &[*state])).collect(),
        }
    }

    fn after(&self, mut state: usize, word: &[usize]) -> usize {
        for event in word {
            state = self.next[state * self.events + event];
        }
        state
    }

    /// Calls `run` with each word of `k`, the `part`th of `parts`.
    pub fn run(&self, k: usize, part: usize, parts: usize, mut run: impl FnMut(&[usize])) {
        let mut word = Vec::new();
        let mut number = 0;
        for (state, way) in self.cover.iter().enumerate() {
            for middle in 0..=k + 1 {
                let mut digits = vec![0; middle];
                loop {
                    number += 1;
                    if number % parts == part {
                        let end = self.after(state, &digits);
                        let tails = if middle <= k { &self.whole } else { &self.own[end] };
                        for tail in tails {
                            word.clear();
                            word.extend(way.iter().chain(&digits).chain(tail));
                            run(&word);
                        }
                    }
                    let Some(at) = digits.iter().rposition(|digit| digit + 1 < self.events) else {
                        break;
                    };
                    digits[at] += 1;
                    digits[at + 1..].fill(0);
                }
            }
        }
    }
}

/// For each two states, the shortest word that tells them apart.
struct Apart {
    states: usize,
    words: Vec<Vec<usize>>,
}

impl Apart {
    fn new(machine: &Machine) -> Self {
        let (states, events) = (machine.states.len(), machine.events.len());
        let mut words = vec![Vec::new(); states * states];
        loop {
            let mut found = Vec::new();
            for here in 0..states {
                for there in (here + 1)..states {
                    if words[here * states + there].is_empty() {
                        let word = (0..events).find_map(|event| {
                            let (a, b) = (machine.at(here, event), machine.at(there, event));
                            if a.differs(b) {
                                return Some(vec![event]);
                            }
                            let tail: &Vec<usize> = &words[a.next * states + b.next];
                            (!tail.is_empty()).then(|| [&[event], tail.as_slice()].concat())
                        });
                        found.extend(word.map(|word| (here, there, word)));
                    }
                }
            }
            if found.is_empty() {
                break;
            }
            for (here, there, word) in found {
                words[here * states + there].clone_from(&word);
                words[there * states + here] = word;
            }
        }
        for (at, word) in words.iter().enumerate() {
            let (here, there) = (machine.states[at / states], machine.states[at % states]);
            assert!(here == there || !word.is_empty(), "{here} and {there} are the same");
        }
        Self { states, words }
    }

    /// Words that tell each of these states from all others, few and short ones.
    fn words(&self, machine: &Machine, these: &[usize]) -> Vec<Vec<usize>> {
        let mut left: Vec<(usize, usize)> = these
            .iter()
            .flat_map(|here| (0..self.states).map(|there| (*here, there)))
            .filter(|(here, there)| here != there)
            .collect();
        let mut candidates = self.words.clone();
        candidates.retain(|word| !word.is_empty());
        candidates.sort();
        candidates.dedup();
        let mut chosen = Vec::new();
        while !left.is_empty() {
            let told = |word: &Vec<usize>| {
                left.iter().filter(|(a, b)| tells_apart(machine, *a, *b, word)).count()
            };
            let best = candidates.iter().max_by_key(|word| (told(word), usize::MAX - word.len()));
            let best = best.expect("a word for each two states").clone();
            left.retain(|(a, b)| !tells_apart(machine, *a, *b, &best));
            chosen.push(best);
        }
        chosen
    }
}

fn tells_apart(machine: &Machine, mut a: usize, mut b: usize, word: &[usize]) -> bool {
    word.iter().any(|event| {
        let (here, there) = (machine.at(a, *event), machine.at(b, *event));
        a = here.next;
        b = there.next;
        here.differs(there)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Role;

    /// With a further state that only looks like the first, until `secret` happens there.
    fn with_another_state(machine: &Machine, from: usize, event: usize, secret: usize) -> Machine {
        let mut other = machine.clone();
        let (states, events) = (machine.states.len(), machine.events.len());
        let next = machine.at(from, event).next;
        let mut copied: Vec<_> = (0..events).map(|event| machine.at(next, event).clone()).collect();
        copied[secret].next = (copied[secret].next + 1) % states;
        other.states.push(machine.states[next]);
        other.moves.extend(copied);
        other.moves[from * events + event].next = states;
        other
    }

    fn finds(machine: &Machine, other: &Machine, k: usize) -> bool {
        let mut found = false;
        Suite::new(machine).run(k, 0, 1, |word| {
            let (mut here, mut there) = (0, 0);
            found |= word.iter().any(|event| {
                let (a, b) = (machine.at(here, *event), other.at(there, *event));
                here = a.next;
                there = b.next;
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
        for (from, event) in
            (0..states).flat_map(|from| (0..events).map(move |event| (from, event)))
        {
            for to in 0..states {
                let mut other = machine.clone();
                let next = &mut other.moves[from * events + event].next;
                if *next != to {
                    *next = to;
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
}
