//! The words of `cargo test`: all of k = 0, the same in each run. Ends may share them, but for a sample
//! that says each rule by each of the profiles; further words say each member of each event in each
//! state.
use super::{
    returns::{PROFILES, STREAMS},
    suite::Suite,
};
use std::ops::Range;
use wsconform_cases::protocol::{Event, Machine};

/// Events with their members.
pub(crate) struct Words {
    said: Vec<(u16, u8)>,
    /// Where each word ends, and the number that chooses its profile.
    words: Vec<(u32, u32)>,
    /// The last ones say a member, in these states.
    members: Vec<usize>,
    /// Those of a sample that says each rule by each profile, and two events over each stream.
    sample: Vec<bool>,
}

impl Words {
    pub(crate) fn new(machine: &Machine, suite: &Suite) -> Self {
        let mut words =
            Self { said: Vec::new(), words: Vec::new(), members: Vec::new(), sample: Vec::new() };
        let mut met = Met::new(machine);
        suite.run(0, (0, 1), |word| {
            let begin = words.said.len();
            let mut state = 0;
            if !is_said(machine, word) {
                return;
            }
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
        add_pairs(machine, &mut words);
        add_ends(machine, &mut words);
        let before = words.words.len();
        add_joined(machine, &mut words);
        add_streams(machine, &mut words);
        let by_streams = before..words.words.len();
        add_profiles(machine, &mut words, &by_streams);
        met.add_members(machine, &mut words);
        words
    }

    fn end(&mut self, number: usize) {
        self.words.push((self.said.len() as u32, number as u32));
    }

    /// The sample and one of so many of the others. Where no other says a member, only some states
    /// have it said.
    pub(crate) fn chosen(
        &self,
        (turn, turns): (usize, usize),
        members: impl Fn(usize) -> bool,
    ) -> impl Iterator<Item = usize> {
        let all = self.words.len() - self.members.len();
        let is_said = move |at: usize| at < all || members(self.members[at - all]);
        let is_chosen = move |at: usize| at % turns == turn || self.sample.get(at) == Some(&true);
        (0..self.words.len()).filter(move |at| is_chosen(*at) && is_said(*at))
    }

    /// A word, and the number that chooses its profile.
    pub(crate) fn get(&self, at: usize) -> (impl Iterator<Item = (usize, usize)>, usize) {
        let begin = at.checked_sub(1).map_or(0, |before| self.words[before].0);
        let (end, number) = self.words[at];
        let word = self.said[begin as usize..end as usize].iter();
        (word.map(|(event, member)| (usize::from(*event), usize::from(*member))), number as usize)
    }
}

/// Whether each event of a word is said where it leads.
fn is_said(machine: &Machine, word: &[usize]) -> bool {
    let mut state = 0;
    word.iter().all(|event| {
        let step = machine.at(state, *event);
        state = step.next();
        !step.out_of_place
    })
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
        for (state, steps) in self.steps.iter().enumerate() {
            for step in steps {
                let Some((begin, at)) = step.first else { continue };
                let event = words.said[at].0;
                for member in step.members..machine.events[usize::from(event)].members.len() {
                    words.said.extend_from_within(begin..at);
                    words.said.push((event, member as u8));
                    words.end(words.words.len());
                    words.members.push(state);
                }
            }
        }
    }
}

/// Adds a word for each two frames, and each two calls, that change nothing in the first state, and
/// for each member of one that comes twice: what an end keeps of the first must not change the
/// second.
fn add_pairs(machine: &Machine, words: &mut Words) {
    let is_still = |event: &usize| {
        let step = machine.at(0, *event);
        step.next() == 0 && !step.out_of_place
    };
    let still: Vec<_> = (0..machine.events.len()).filter(is_still).collect();
    let members = |event: usize| machine.events[event].members.len();
    let alike = |a: &usize, b: &usize| machine.events[*a].arrives() == machine.events[*b].arrives();
    let pairs = still.iter().flat_map(|a| still.iter().map(move |b| (*a, *b)));
    for (first, second) in pairs.filter(|(a, b)| alike(a, b)) {
        for turn in 0..if first == second { members(first) } else { 1 } {
            let number = words.words.len();
            for event in [first, second] {
                let turn = if first == second { turn } else { number };
                words.said.push((event as u16, (turn % members(event)) as u8));
            }
            words.end(number);
        }
    }
}

/// Adds a word for each call behind each end of the stream, with and without a Close of ours before
/// it: the machine has one state for all of them, and an end need not.
fn add_ends(machine: &Machine, words: &mut Words) {
    let number = |event: &&Event| machine.events.iter().position(|it| it == event);
    let all = || machine.events.iter().copied();
    let calls = || all().filter(|event| !event.arrives());
    for before in [None, calls().find(|event| event.kind == "close")] {
        for end in all().filter(|event| super::ends(event)) {
            for call in calls() {
                let word = before.into_iter().chain([end, call]);
                let word: Vec<_> = word.filter_map(|event| number(&event)).collect();
                if is_said(machine, &word) {
                    words.said.extend(word.iter().map(|event| (*event as u16, 0)));
                    words.end(words.words.len());
                }
            }
        }
    }
}

/// Adds a word over each kind of stream for each Close of the peer behind ours and a Ping, which is
/// not answered if it came in the same read.
fn add_joined(machine: &Machine, words: &mut Words) {
    let of = |kind: &'static str| {
        let events = machine.events.iter().enumerate();
        events.filter(move |(_, event)| event.kind == kind).map(|(at, _)| at)
    };
    let first = of("close").zip(of("Ping")).take(1);
    for (ours, ping) in first {
        for (theirs, stream) in of("Close").flat_map(|at| (0..STREAMS).map(move |of| (at, of))) {
            words.said.extend([ours, ping, theirs].map(|event| (event as u16, 0)));
            words.end(PROFILES * stream + words.words.len() % PROFILES);
        }
    }
}

/// Adds a word over each kind of stream for each two calls that send something else: over one that
/// takes nothing until both were made, one of them may overtake the other.
fn add_streams(machine: &Machine, words: &mut Words) {
    let sends = |event: &usize| {
        let step = machine.at(0, *event);
        let [answer] = &step.answers[0][..] else { return false };
        !machine.events[*event].arrives() && step.next() == 0 && answer.error.is_none()
    };
    let calls: Vec<_> = (0..machine.events.len()).filter(sends).collect();
    for (first, second) in calls.iter().flat_map(|a| calls.iter().map(move |b| (*a, *b))) {
        for stream in (0..STREAMS).filter(|_| first != second) {
            words.said.extend([(first as u16, 0), (second as u16, 0)]);
            let profile = words.words.len() % PROFILES;
            words.end(PROFILES * stream + profile);
        }
    }
}

/// Chooses a sample that has these words and says each rule by each profile, and adds a word for each
/// profile by which no word does.
fn add_profiles(machine: &Machine, words: &mut Words, these: &Range<usize>) {
    let mut met: Vec<(u8, Option<usize>)> = Vec::new();
    let mut open = vec![0; machine.events.len()];
    for number in 0..words.words.len() {
        let (word, profile) = words.get(number);
        let profile = 1 << (profile % PROFILES);
        let mut is_new = false;
        let mut state = 0;
        for (event, member) in word {
            let answers = &machine.at(state, event).answers[member];
            let profiles = if let [answer] = &answers[..] {
                if met.len() <= answer.rule {
                    met.resize(answer.rule + 1, (0, None));
                }
                met[answer.rule].1.get_or_insert(number);
                &mut met[answer.rule].0
            } else {
                &mut open[event] // which of several right answers an end gives is not known here
            };
            is_new |= *profiles & profile == 0;
            *profiles |= profile;
            state = machine.at(state, event).next();
        }
        words.sample.push(is_new || these.contains(&number));
    }
    for (profiles, first) in met {
        let Some(first) = first else { continue };
        for missing in (0..PROFILES).filter(|profile| profiles & (1 << profile) == 0) {
            let begin = first.checked_sub(1).map_or(0, |before| words.words[before].0);
            words.said.extend_from_within(begin as usize..words.words[first].0 as usize);
            words.end(missing);
            words.sample.push(true);
        }
    }
}
