//! The words that `cargo test` says to each end: all of k = 0, the same in each run. They say each
//! rule by each of the profiles; further words say each member of each event in each state.
use super::{returns::PROFILES, suite::Suite};
use wsconform_cases::protocol::Machine;

/// Events with their members.
pub(crate) struct Words {
    said: Vec<(u16, u8)>,
    /// Where each word ends, and the number that chooses its profile.
    words: Vec<(u32, u32)>,
    /// How many of them come before those that say a member.
    all: usize,
}

impl Words {
    pub(crate) fn new(machine: &Machine, suite: &Suite) -> Self {
        let mut words = Self { said: Vec::new(), words: Vec::new(), all: 0 };
        let mut met = Met::new(machine);
        suite.run(0, (0, 1), |word| {
            let begin = words.said.len();
            let mut state = 0;
            for &event in word {
                let step = met.steps[state].get_mut(event).unwrap();
                let members = machine.events[event].members.len();
                let member = step.members % members;
                step.members += 1;
                step.first.get_or_insert((begin, words.said.len()));
                words.said.push((event as u16, member as u8));
                state = machine.at(state, event).next();
            }
            words.end(words.words.len());
        });
        add_profiles(machine, &mut words);
        words.all = words.words.len();
        met.add_members(machine, &mut words);
        words
    }

    fn end(&mut self, number: usize) {
        self.words.push((self.said.len() as u32, number as u32));
    }

    /// With those that say a member that no other says, or without.
    pub(crate) fn len(&self, members: bool) -> usize {
        if members { self.words.len() } else { self.all }
    }

    /// A word, and the number that chooses its profile.
    pub(crate) fn get(&self, at: usize) -> (impl Iterator<Item = (usize, usize)>, usize) {
        let begin = at.checked_sub(1).map_or(0, |before| self.words[before].0);
        let (end, number) = self.words[at];
        let word = self.said[begin as usize..end as usize].iter();
        (word.map(|(event, member)| (usize::from(*event), usize::from(*member))), number as usize)
    }
}

/// What a transition has met so far.
#[derive(Clone, Default)]
struct Step {
    /// How many of its members.
    members: usize,
    /// Where the first word with it begins, and where it is in there.
    first: Option<(usize, usize)>,
}

struct Met {
    steps: Vec<Vec<Step>>,
}

impl Met {
    fn new(machine: &Machine) -> Self {
        Self { steps: vec![vec![Step::default(); machine.events.len()]; machine.states.len()] }
    }

    /// A word for each member that no word says.
    fn add_members(&mut self, machine: &Machine, words: &mut Words) {
        for step in self.steps.iter().flatten() {
            let (begin, at) = step.first.unwrap();
            let event = words.said[at].0;
            for member in step.members..machine.events[usize::from(event)].members.len() {
                words.said.extend_from_within(begin..at);
                words.said.push((event, member as u8));
                words.end(words.words.len());
            }
        }
    }
}

/// A word for each profile by which no word says a rule.
fn add_profiles(machine: &Machine, words: &mut Words) {
    let mut met: Vec<(u8, Option<usize>)> = Vec::new();
    for number in 0..words.words.len() {
        let (word, profile) = words.get(number);
        let mut state = 0;
        for (event, member) in word {
            let answers = &machine.at(state, event).answers[member];
            // Which of several right answers an end gives is not known here.
            for answer in answers.iter().filter(|_| answers.len() == 1) {
                if met.len() <= answer.rule {
                    met.resize(answer.rule + 1, (0, None));
                }
                met[answer.rule].0 |= 1 << (profile % PROFILES);
                met[answer.rule].1.get_or_insert(number);
            }
            state = machine.at(state, event).next();
        }
    }
    for (profiles, first) in met {
        let Some(first) = first else { continue };
        for missing in (0..PROFILES).filter(|profile| profiles & (1 << profile) == 0) {
            let begin = first.checked_sub(1).map_or(0, |before| words.words[before].0);
            words.said.extend_from_within(begin as usize..words.words[first].0 as usize);
            words.end(missing);
        }
    }
}
