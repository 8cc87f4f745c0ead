//! Active learning of a Mealy machine: Angluin's table (1987) with the counterexamples of Rivest and
//! Schapire (1993), held to the W-method (Chow 1978; Fujiwara and others 1991) before it is believed.
//!
//! Behind an answer that ends the connection nothing can be said, so no word goes on there. All such
//! answers lead to one state, in which each symbol is answered by [`OVER`].

use std::collections::{BTreeSet, HashMap, VecDeque};

use crate::Error;

/// Symbols, by their numbers.
pub(crate) type Word = Vec<usize>;

/// The answer to what comes behind the end.
pub(crate) const OVER: usize = 0;

/// How many words are given to the target at one time.
const AT_ONCE: usize = 256;

/// A target with so many states has one for each length of a word, or so.
const MOST_STATES: usize = 100;

/// Answers each word by one text for each symbol, or by fewer if the last of them is the end.
pub(crate) trait Answers {
    fn answer(&mut self, words: &[Word]) -> Result<Vec<Vec<String>>, Error>;

    /// Takes how far it is: so many states, and how many of the next words were said.
    fn tell(&mut self, _states: usize, _said: usize, _most: usize) {}
}

/// The machine that was learned. The first state is the one after the opening.
pub(crate) struct Learned {
    /// A shortest word that leads to each state.
    pub(crate) access: Vec<Word>,
    /// For each state and symbol, the number of the answer, and the next state.
    moves: Vec<Vec<(usize, usize)>>,
    answers: Vec<String>,
}

impl Learned {
    /// A machine that is known already.
    pub(crate) fn of(moves: Vec<Vec<(usize, usize)>>, answers: Vec<String>) -> Learned {
        Learned { access: vec![Word::new(); moves.len()], moves, answers }
    }

    pub(crate) fn at(&self, state: usize, symbol: usize) -> (usize, usize) {
        self.moves[state][symbol]
    }

    pub(crate) fn text(&self, answer: usize) -> &str {
        &self.answers[answer]
    }

    /// Nothing can be said there.
    pub(crate) fn is_over(&self, state: usize) -> bool {
        self.moves[state].iter().all(|(answer, _)| *answer == OVER)
    }

    fn answers_to(&self, mut state: usize, word: &[usize]) -> Vec<usize> {
        let mut answers = Vec::new();
        for symbol in word {
            let (answer, next) = self.at(state, *symbol);
            answers.push(answer);
            state = next;
        }
        answers
    }

    /// What is answered to all of a word, as one text.
    pub(crate) fn all_answers(&self, word: &[usize]) -> String {
        let answers = self.answers_to(0, word).into_iter().filter(|answer| *answer != OVER);
        let mut texts: Vec<&str> = answers.map(|answer| self.text(answer)).collect();
        texts.retain(|text| *text != "nothing");
        if texts.is_empty() { "nothing".to_owned() } else { texts.join(", ") }
    }

    fn after(&self, mut state: usize, word: &[usize]) -> usize {
        for symbol in word {
            state = self.at(state, *symbol).1;
        }
        state
    }

    /// A shortest word that is answered differently in these two states.
    fn apart(&self, here: usize, there: usize) -> Option<Word> {
        let mut seen = BTreeSet::from([(here, there)]);
        let mut queue = VecDeque::from([(here, there, Word::new())]);
        while let Some((here, there, word)) = queue.pop_front() {
            for symbol in 0..self.moves[0].len() {
                let ((a, here), (b, there)) = (self.at(here, symbol), self.at(there, symbol));
                let word = [&word[..], &[symbol]].concat();
                if a != b {
                    return Some(word);
                }
                if seen.insert((here, there)) {
                    queue.push_back((here, there, word));
                }
            }
        }
        None
    }

    /// For each state, words that tell it from each other one; few in all.
    pub(crate) fn telling(&self) -> Vec<BTreeSet<Word>> {
        let states = self.access.len();
        let mut words: Vec<Word> = Vec::new();
        let mut of = |here: usize, there: usize| {
            let tells = |word: &&Word| self.answers_to(here, word) != self.answers_to(there, word);
            let known = words.iter().find(tells).cloned();
            known.or_else(|| self.apart(here, there).inspect(|word| words.push(word.clone())))
        };
        let mut own = |here| (0..states).filter_map(|there| of(here, there)).collect();
        (0..states).map(&mut own).collect()
    }
}

/// What the target has answered, as a tree.
#[derive(Default)]
struct Tree {
    answers: Vec<String>,
    numbers: HashMap<String, usize>,
    moves: HashMap<(usize, usize), (usize, usize)>,
    /// Whether a node is behind the end.
    over: Vec<bool>,
}

impl Tree {
    fn new() -> Tree {
        Tree { answers: vec!["-".to_owned()], over: vec![false], ..Tree::default() }
    }

    /// The answers to a word, if all are known.
    fn known(&self, word: &[usize]) -> Option<Vec<usize>> {
        let mut node = 0;
        let mut answers = Vec::new();
        for symbol in word {
            if self.over[node] {
                answers.push(OVER);
                continue;
            }
            let (answer, next) = *self.moves.get(&(node, *symbol))?;
            answers.push(answer);
            node = next;
        }
        Some(answers)
    }

    /// Takes the answers to a word, unless it was answered in another way before: then, how.
    fn add(&mut self, word: &[usize], texts: &[String]) -> Result<(), (usize, String)> {
        let mut node = 0;
        for (at, (symbol, text)) in word.iter().zip(texts).enumerate() {
            let fresh = self.answers.len();
            let answer = *self.numbers.entry(text.clone()).or_insert(fresh);
            if answer == fresh {
                self.answers.push(text.clone());
            }
            let is_over = at + 1 == texts.len() && texts.len() < word.len();
            let next = self.over.len();
            let (before, there) = *self.moves.entry((node, *symbol)).or_insert((answer, next));
            if before != answer {
                return Err((at, self.answers[before].clone()));
            }
            if there == next {
                self.over.push(false);
            }
            node = there;
            self.over[node] |= is_over;
        }
        Ok(())
    }
}

pub(crate) struct Learner<'a, A> {
    target: &'a mut A,
    symbols: usize,
    tree: Tree,
    /// Words that lead to states, and words whose answers tell those apart.
    access: Vec<Word>,
    suffixes: Vec<Word>,
    pub(crate) conversations: usize,
}

/// Why nothing was learned.
pub(crate) enum Stop {
    Failed(Error),
    /// This word has had two answers to its last symbol.
    Racing(Word, [String; 2]),
    /// It has more states than can be meant.
    Endless,
}

impl From<Error> for Stop {
    fn from(error: Error) -> Stop {
        Stop::Failed(error)
    }
}

impl<'a, A: Answers> Learner<'a, A> {
    /// `suffixes` are words that probably tell the target's states apart: at least one.
    pub(crate) fn new(target: &'a mut A, symbols: usize, suffixes: Vec<Word>) -> Self {
        Learner {
            target,
            symbols,
            tree: Tree::new(),
            access: vec![Word::new()],
            suffixes,
            conversations: 0,
        }
    }

    /// Learns a machine that is the target's if that has no more states than the machine.
    pub(crate) fn close(&mut self) -> Result<Learned, Stop> {
        self.learn(Some(0)).map(|(learned, _)| learned)
    }

    pub(crate) fn target(&mut self) -> &mut A {
        self.target
    }

    /// Learns a machine that is the target's if that has at most so many states; by itself, one more
    /// than were found. Returns this number too.
    pub(crate) fn learn(&mut self, most: Option<usize>) -> Result<(Learned, usize), Stop> {
        loop {
            let learned = self.table()?;
            let found = learned.access.len();
            let more = most.map_or(1, |most| most.saturating_sub(found));
            match self.counterexample(&learned, more)? {
                None => return Ok((learned, found + more)),
                Some(word) => {
                    let suffix = self.new_suffix(&learned, &word)?;
                    self.suffixes.push(suffix);
                }
            }
        }
    }

    /// Whether the target answers these words as the machine does, each as a whole. If not, more is
    /// to be learned.
    pub(crate) fn confirms(&mut self, learned: &Learned, words: &[Word]) -> Result<bool, Stop> {
        self.ask(words.to_vec())?;
        match words.iter().find_map(|word| self.other_answer(learned, word)) {
            None => Ok(true),
            Some(word) => {
                let suffix = self.new_suffix(learned, &word)?;
                self.suffixes.push(suffix);
                Ok(false)
            }
        }
    }

    /// The word up to the first answer that is not the machine's.
    fn other_answer(&self, learned: &Learned, word: &[usize]) -> Option<Word> {
        let is = self.known(word).into_iter();
        let at = is.zip(learned.answers_to(0, word)).position(|(a, b)| a != b)?;
        Some(word[..=at].to_vec())
    }

    fn ask(&mut self, mut words: Vec<Word>) -> Result<(), Stop> {
        words.sort();
        words.dedup_by(|next, word| {
            next.starts_with(word) && {
                std::mem::swap(next, word);
                true
            }
        });
        words.retain(|word| self.tree.known(word).is_none());
        let most = words.len();
        let before = self.conversations;
        let mut words = words.into_iter();
        loop {
            let said = self.conversations - before;
            self.target.tell(self.access.len(), said, most);
            let unknown = words.by_ref().filter(|word| self.tree.known(word).is_none());
            let some: Vec<Word> = unknown.take(AT_ONCE).collect();
            if some.is_empty() {
                return Ok(());
            }
            let answers = self.target.answer(&some)?;
            self.conversations += some.len();
            for (word, texts) in some.iter().zip(answers) {
                if let Err((at, before)) = self.tree.add(word, &texts) {
                    return Err(Stop::Racing(word[..=at].to_vec(), [before, texts[at].clone()]));
                }
            }
        }
    }

    fn known(&self, word: &[usize]) -> Vec<usize> {
        self.tree.known(word).expect("it was asked")
    }

    /// Finds states until each symbol leads from each to one of them.
    fn table(&mut self) -> Result<Learned, Stop> {
        let mut known = Vec::new();
        loop {
            let mut words = Vec::new();
            let starts = self.access.iter().flat_map(|access| {
                let step = |symbol| [&access[..], &[symbol]].concat();
                (0..self.symbols).map(step).chain([access.clone()])
            });
            for start in starts {
                words.extend(self.suffixes.iter().map(|suffix| [&start[..], suffix].concat()));
            }
            self.ask(words)?;
            let row = |learner: &Self, start: &[usize]| -> Vec<Vec<usize>> {
                let suffixes = learner.suffixes.iter();
                let of = |suffix: &Word| {
                    let answers = learner.known(&[start, suffix].concat());
                    answers[start.len()..].to_vec()
                };
                suffixes.map(of).collect()
            };
            if self.access.len() > MOST_STATES {
                return Err(Stop::Endless);
            }
            let mut rows: Vec<_> = self.access.iter().map(|access| row(self, access)).collect();
            let before = rows.len();
            known.clear();
            for state in 0..before {
                let mut moves = Vec::new();
                for symbol in 0..self.symbols {
                    let word = [&self.access[state][..], &[symbol]].concat();
                    let answer = self.known(&word)[word.len() - 1];
                    let there = row(self, &word);
                    let next = rows.iter().position(|row| *row == there).unwrap_or_else(|| {
                        rows.push(there);
                        self.access.push(word);
                        rows.len() - 1
                    });
                    moves.push((answer, next));
                }
                known.push(moves);
            }
            if rows.len() == before {
                let (access, answers) = (self.access.clone(), self.tree.answers.clone());
                return Ok(Learned { access, moves: known, answers });
            }
        }
    }

    /// A word that the target answers otherwise, of those that a target with so many states more
    /// cannot all answer alike. It ends with the first other answer.
    fn counterexample(&mut self, learned: &Learned, more: usize) -> Result<Option<Word>, Stop> {
        let own = learned.telling();
        let whole: BTreeSet<Word> = own.iter().flatten().cloned().collect();
        let mut starts = learned.access.clone();
        for middle in 0..=more + 1 {
            for some in starts.chunks(AT_ONCE) {
                let mut words = Vec::new();
                for start in some {
                    let end = learned.after(0, start);
                    let tails = if middle <= more { &whole } else { &own[end] };
                    words.push(start.clone());
                    words.extend(tails.iter().map(|tail| [&start[..], tail].concat()));
                }
                self.ask(words.clone())?;
                if let Some(word) = words.iter().find_map(|word| self.other_answer(learned, word)) {
                    return Ok(Some(word));
                }
            }
            starts.retain(|start| self.is_open(start));
            let step = |start: &Word| {
                let start = start.clone();
                (0..self.symbols).map(move |symbol| [&start[..], &[symbol]].concat())
            };
            starts = starts.iter().flat_map(step).collect();
        }
        Ok(None)
    }

    /// Something can be said behind this word, which was answered.
    fn is_open(&self, word: &[usize]) -> bool {
        let behind = [word, &[0]].concat();
        self.tree.known(&behind).is_none_or(|answers| answers[word.len()] != OVER)
    }

    /// The end of a counterexample that tells apart two words of which the table has made one state.
    fn new_suffix(&mut self, learned: &Learned, word: &[usize]) -> Result<Word, Stop> {
        let mut before = self.known(word)[word.len() - 1];
        for at in 1..word.len() {
            let access = &learned.access[learned.after(0, &word[..at])];
            let other = [&access[..], &word[at..]].concat();
            self.ask(vec![other.clone()])?;
            let answer = self.known(&other)[other.len() - 1];
            if answer != before {
                return Ok(word[at..].to_vec());
            }
            before = answer;
        }
        unreachable!("the last symbol alone is answered as the machine has it")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Answers as a machine of which each move has an answer and a next state; the last state is
    /// behind the end.
    struct Machine(Vec<Vec<(usize, usize)>>);

    impl Answers for Machine {
        fn answer(&mut self, words: &[Word]) -> Result<Vec<Vec<String>>, Error> {
            let over = self.0.len();
            let say = |word: &Word| {
                let mut state = 0;
                let mut answers = Vec::new();
                for symbol in word {
                    if state == over {
                        break;
                    }
                    let (answer, next) = self.0[state][*symbol];
                    answers.push(answer.to_string());
                    state = next;
                }
                answers
            };
            Ok(words.iter().map(say).collect())
        }
    }

    fn singles(symbols: usize) -> Vec<Word> {
        (0..symbols).map(|symbol| vec![symbol]).collect()
    }

    fn learn(moves: &[Vec<(usize, usize)>], most: usize) -> usize {
        let mut machine = Machine(moves.to_vec());
        let result =
            Learner::new(&mut machine, moves[0].len(), singles(moves[0].len())).learn(Some(most));
        result.unwrap_or_else(|_| panic!("it is deterministic")).0.access.len()
    }

    /// A lock: it opens for one word alone, and looks like one state otherwise.
    fn lock(length: usize) -> Vec<Vec<(usize, usize)>> {
        let step = |at: usize| {
            let (answer, next) = if at + 1 == length { (1, length) } else { (0, at + 1) };
            vec![(answer, next), (0, 0), (0, 0)]
        };
        (0..length).map(step).collect()
    }

    #[test]
    fn a_lock_is_learned_as_far_as_it_was_promised() {
        for length in 1..6 {
            // With the state behind the end.
            assert_eq!(learn(&lock(length), length + 1), length + 1);
        }
        assert!(learn(&lock(6), 3) < 7, "no promise was made");
    }

    #[test]
    fn drawn_machines_are_learned_whole() {
        let mut seed = 1u64;
        let mut below = |most: usize| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (seed >> 33) as usize % most
        };
        for _ in 0..40 {
            let states = 2 + below(5);
            let draw = |below: &mut dyn FnMut(usize) -> usize| {
                let mut one = || {
                    let next = below(states + 1);
                    (if next == states { 2 } else { below(2) }, next)
                };
                (0..3).map(|_| one()).collect::<Vec<_>>()
            };
            let moves: Vec<_> = (0..states).map(|_| draw(&mut below)).collect();
            let mut machine = Machine(moves.clone());
            let result = Learner::new(&mut machine, 3, vec![vec![0]]).learn(Some(states + 1));
            let Ok((learned, most)) = result else { panic!("it is deterministic") };
            assert!(most > states && learned.access.len() <= states + 1);
            for _ in 0..200 {
                let word: Word = (0..12).map(|_| below(3)).collect();
                let said = machine.answer(std::slice::from_ref(&word)).unwrap().remove(0);
                let answers = learned.answers_to(0, &word);
                for (at, answer) in answers.into_iter().enumerate() {
                    let text = said.get(at).map_or("-", |text| text);
                    assert_eq!(learned.text(answer), text, "{word:?} of {moves:?}");
                }
            }
        }
    }

    #[test]
    fn two_answers_to_one_word_are_a_race() {
        struct Racing(usize);
        impl Answers for Racing {
            fn answer(&mut self, words: &[Word]) -> Result<Vec<Vec<String>>, Error> {
                let mut say = |symbol: usize| {
                    self.0 += usize::from(symbol == 1);
                    if symbol == 1 && self.0 > 1 { "late".to_owned() } else { "now".to_owned() }
                };
                let texts = |word: &Word| word.iter().map(|symbol| say(*symbol)).collect();
                Ok(words.iter().map(texts).collect())
            }
        }
        let mut target = Racing(0);
        match Learner::new(&mut target, 2, singles(2)).learn(None) {
            Err(Stop::Racing(word, answers)) => {
                assert_eq!(word.last(), Some(&1));
                assert_eq!(answers, ["now", "late"]);
            }
            _ => panic!("no race was seen"),
        }
    }
}
