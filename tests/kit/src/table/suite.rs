//! The W-method (Chow 1978), in the form of Fujiwara and others (1991) that ends each word with the
//! words of the state it ends in: an implementation with at most `k` states more than the machine
//! answers all words of `k` as the machine does only if it is the machine.

use std::collections::VecDeque;
use wsconform_cases::protocol::Machine;

/// The words that tell whether an implementation is the machine.
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
        let apart = Apart::new(machine);
        let (states, events) = (apart.states, apart.events);
        let pairs = |here: usize, from: usize| (from..states).map(move |there| (here, there));
        let all: Vec<_> = (0..states).flat_map(|here| pairs(here, here + 1)).collect();
        for (here, there) in &all {
            let (a, b) = (machine.states[*here], machine.states[*there]);
            assert!(!apart.words[here * states + there].is_empty(), "{a} and {b} are the same");
        }
        let own = |here: usize| pairs(here, 0).filter(|(a, b)| a != b).collect();
        Self {
            events,
            cover: shortest(states, events, |state, event| apart.next[state * events + event]),
            whole: apart.words(all),
            own: (0..states).map(|state| apart.words(own(state))).collect(),
            next: apart.next,
        }
    }

    fn after(&self, mut state: usize, word: &[usize]) -> usize {
        for event in word {
            state = self.next[state * self.events + event];
        }
        state
    }

    /// Calls `run` with each word of `k`, the `part`th of so many `parts`.
    pub fn run(&self, k: usize, (part, parts): (usize, usize), mut run: impl FnMut(&[usize])) {
        let mut word = Vec::new();
        let mut number = 0;
        for (state, way) in self.cover.iter().enumerate() {
            for middle in 0..=k + 1 {
                let mut digits = vec![0; middle];
                loop {
                    number += 1;
                    if number % parts == part {
                        let end = self.after(state, &digits);
                        for tail in if middle <= k { &self.whole } else { &self.own[end] } {
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

    /// Calls `run` with the shortest word to each transition, the `part`th of so many `parts`.
    pub fn transitions(&self, (part, parts): (usize, usize), mut run: impl FnMut(&[usize])) {
        let mut word = Vec::new();
        let each =
            self.cover.iter().flat_map(|way| (0..self.events).map(move |event| (way, event)));
        for (way, event) in each.skip(part).step_by(parts) {
            word.clone_from(way);
            word.push(event);
            run(&word);
        }
    }

    /// One of the longest words of `k`, by numbers that `below` chooses below its argument.
    pub fn some(&self, k: usize, mut below: impl FnMut(usize) -> usize) -> Vec<usize> {
        let state = below(self.cover.len());
        let mut word = self.cover[state].clone();
        let digits: Vec<_> = (0..=k).map(|_| below(self.events)).collect();
        let tails = &self.own[self.after(state, &digits)];
        word.extend(digits);
        word.extend(&tails[below(tails.len())]);
        word
    }
}

/// The machine in numbers, and for each two states the shortest word that tells them apart.
struct Apart {
    states: usize,
    events: usize,
    next: Vec<usize>,
    /// The first state that answers an event in the same way.
    like: Vec<usize>,
    /// Whether two states with these numbers answer an event in ways of which none is the same.
    differs: Vec<bool>,
    words: Vec<Vec<usize>>,
}

impl Apart {
    fn new(machine: &Machine) -> Self {
        let (states, events) = (machine.states.len(), machine.events.len());
        let mut apart = Self {
            states,
            events,
            next: Vec::new(),
            like: vec![0; states * events],
            differs: vec![false; states * states * events],
            words: vec![Vec::new(); states * states],
        };
        for at in 0..states * events {
            apart.next.push(machine.at(at / events, at % events).next());
        }
        for event in 0..events {
            let mut firsts: Vec<usize> = Vec::new();
            for state in 0..states {
                let this = machine.at(state, event);
                let first = firsts.iter().find(|first| machine.at(**first, event).is_like(this));
                let like = first.copied().unwrap_or(state);
                apart.like[state * events + event] = like;
                if like == state {
                    for first in &firsts {
                        let differs = machine.at(*first, event).differs(this);
                        apart.differs[(event * states + *first) * states + state] = differs;
                        apart.differs[(event * states + state) * states + *first] = differs;
                    }
                    firsts.push(state);
                }
            }
        }
        apart.find_words();
        apart
    }

    fn differs(&self, here: usize, there: usize, event: usize) -> bool {
        let like = |state: usize| self.like[state * self.events + event];
        self.differs[(event * self.states + like(here)) * self.states + like(there)]
    }

    fn find_words(&mut self) {
        let (states, events) = (self.states, self.events);
        loop {
            let mut found = Vec::new();
            for here in 0..states {
                for there in (here + 1)..states {
                    if self.words[here * states + there].is_empty() {
                        let word = (0..events).find_map(|event| {
                            if self.differs(here, there, event) {
                                return Some(vec![event]);
                            }
                            let next = |state: usize| self.next[state * events + event];
                            let tail = &self.words[next(here) * states + next(there)];
                            (!tail.is_empty()).then(|| [&[event], tail.as_slice()].concat())
                        });
                        found.extend(word.map(|word| (here, there, word)));
                    }
                }
            }
            if found.is_empty() {
                return;
            }
            for (here, there, word) in found {
                self.words[here * states + there].clone_from(&word);
                self.words[there * states + here] = word;
            }
        }
    }

    /// Words that tell each of these pairs of states apart, few and short ones.
    fn words(&self, mut left: Vec<(usize, usize)>) -> Vec<Vec<usize>> {
        let of = |(here, there): &(usize, usize)| &self.words[here * self.states + there];
        let mut candidates: Vec<_> = left.iter().map(of).collect();
        candidates.sort();
        candidates.dedup();
        let mut chosen = Vec::new();
        while !left.is_empty() {
            let told = |word: &[usize]| left.iter().filter(|pair| self.tells(**pair, word)).count();
            let best = candidates.iter().max_by_key(|word| (told(word), usize::MAX - word.len()));
            let best = best.map_or_else(Vec::new, |word| (*word).clone());
            left.retain(|pair| !self.tells(*pair, &best));
            chosen.push(best);
        }
        chosen
    }

    fn tells(&self, (mut here, mut there): (usize, usize), word: &[usize]) -> bool {
        word.iter().any(|event| {
            let differs = self.differs(here, there, *event);
            here = self.next[here * self.events + event];
            there = self.next[there * self.events + event];
            differs
        })
    }
}

/// The shortest way from the first state to each, by `next` of a state and an event.
fn shortest(states: usize, events: usize, next: impl Fn(usize, usize) -> usize) -> Vec<Vec<usize>> {
    let mut ways: Vec<Option<Vec<usize>>> = vec![None; states];
    ways[0] = Some(Vec::new());
    let mut queue = VecDeque::from([0]);
    while let Some(state) = queue.pop_front() {
        for event in 0..events {
            let there = next(state, event);
            if ways[there].is_none() {
                let mut way = ways[state].clone().unwrap_or_default();
                way.push(event);
                ways[there] = Some(way);
                queue.push_back(there);
            }
        }
    }
    ways.into_iter().map(|way| way.unwrap()).collect()
}
