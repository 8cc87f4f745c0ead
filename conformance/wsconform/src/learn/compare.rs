//! What a machine that was learned does, beside the table of the protocol.

use super::learner::{Learned, OVER, Word};
use std::collections::{BTreeSet, VecDeque};
use wsconform_cases::{
    Level, cases,
    protocol::{Answer, Event, Machine},
};

/// A way in which a machine differs, and the shortest way to it.
pub(crate) struct Difference {
    pub(crate) level: Level,
    pub(crate) section: String,
    pub(crate) trace: Word,
    pub(crate) answer: String,
    pub(crate) expected: String,
    /// Events at the end of other words of which the same is true.
    pub(crate) also: BTreeSet<usize>,
}

/// The table, as the target's side of the wire has it.
pub(crate) struct Table<'a> {
    pub(crate) machine: &'a Machine,
    /// Messages come back.
    pub(crate) echoes: bool,
}

/// Level, section, and what was expected.
type Breach = (Level, String, String);

/// Where the table is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    state: usize,
    /// A text is no UTF-8, which shows at its end at last. RFC 6455 8.1 does not say when.
    is_spoiled: bool,
}

impl Table<'_> {
    fn is_over(&self, state: usize) -> bool {
        matches!(self.machine.states[state].receiving, "ended" | "waits" | "over")
    }

    /// The right answers, in the words of a talk.
    pub(crate) fn answers(&self, state: usize, event: usize) -> Vec<String> {
        let mut words: Vec<_> =
            self.rows(state, event).iter().map(|answer| self.words(answer)).collect();
        words.dedup();
        words
    }

    fn rows(&self, state: usize, event: usize) -> &[Answer] {
        &self.machine.at(state, event).answers[0]
    }

    fn words(&self, answer: &Answer) -> String {
        use wsconform_cases::protocol::{Delivered, Sent};
        let mut words = Vec::new();
        if let Some(Delivered::Message { text }) = answer.delivers
            && self.echoes
        {
            words.push(if text { "text" } else { "binary" }.to_owned());
        }
        for sent in &answer.sends {
            match sent {
                Sent::Pong(_) => words.push("Pong".to_owned()),
                Sent::Close(Some(code)) => words.push(format!("Close {code}")),
                Sent::Close(None) => words.push("Close".to_owned()),
                _ => {}
            }
        }
        if self.is_over(answer.next) {
            words.push("end".to_owned());
        }
        if words.is_empty() { "nothing".to_owned() } else { words.join(", ") }
    }

    /// Words that tell the states of the table apart.
    pub(crate) fn telling(&self) -> Vec<Word> {
        let states: Vec<usize> =
            (0..self.machine.states.len()).filter(|state| !self.is_over(*state)).collect();
        let mut answers = vec!["-".to_owned()];
        let mut moves = Vec::new();
        for state in &states {
            let mut row = Vec::new();
            for event in 0..self.machine.events.len() {
                let answer = self.rows(*state, event).last().expect("an answer");
                let words = self.words(answer);
                let number = answers.iter().position(|known| *known == words);
                let next = states.iter().position(|state| *state == answer.next);
                row.push((number.unwrap_or(answers.len()), next.unwrap_or(states.len())));
                if number.is_none() {
                    answers.push(words);
                }
            }
            moves.push(row);
        }
        moves.push(vec![(OVER, states.len()); self.machine.events.len()]);
        let telling = Learned::of(moves, answers).telling();
        telling.into_iter().flatten().collect::<BTreeSet<_>>().into_iter().collect()
    }

    /// Each way in which the learned machine differs, by level.
    pub(crate) fn differences(&self, learned: &Learned) -> Vec<Difference> {
        let mut found: Vec<Difference> = Vec::new();
        let start = (0, Place { state: 0, is_spoiled: false });
        let mut seen = BTreeSet::from([start]);
        let mut queue = VecDeque::from([(start, Vec::new())]);
        while let Some(((here, place), way)) = queue.pop_front() {
            for event in 0..self.machine.events.len() {
                let (answer, next) = learned.at(here, event);
                let text = learned.text(answer);
                let trace = [&way[..], &[event]].concat();
                let (judged, there) = self.judge(place, event, text);
                if let Some((level, section, expected)) = judged {
                    let is_same = |known: &&mut Difference| {
                        (&*known.answer, &known.expected, &known.section)
                            == (text, &expected, &section)
                    };
                    if let Some(known) = found.iter_mut().find(is_same) {
                        known.also.insert(event);
                    } else {
                        let (trace, answer) = (trace.clone(), text.to_owned());
                        let also = BTreeSet::new();
                        found.push(Difference { level, section, trace, answer, expected, also });
                    }
                }
                if let Some(there) = there.filter(|_| !learned.is_over(next))
                    && seen.insert((next, there))
                {
                    queue.push_back(((next, there), trace));
                }
            }
        }
        found.sort_by_key(|difference| difference.level);
        found
    }

    /// What the answer breaks, and where the table is behind it, if both go on.
    fn judge(&self, place: Place, event: usize, text: &str) -> (Option<Breach>, Option<Place>) {
        let what = self.machine.events[event];
        let rows = self.rows(place.state, event);
        let goes_on = rows.iter().rfind(|row| !self.is_over(row.next));
        let to = |state, is_spoiled| Some(Place { state, is_spoiled });
        let late = |kind: &str| matches!(kind, "text.." | "..more");
        if place.is_spoiled && matches!(what.kind, "..more" | "..last") {
            let is_end = text.split(", ").all(|word| word == "end" || word.starts_with("Close"));
            return match (what.kind, text) {
                (_, _) if is_end => (None, None),
                ("..more", "nothing") => (None, Some(place)),
                _ => (Some(of_rule("utf8.bad", "Close 1007, end".to_owned())), None),
            };
        }
        let expected = self.answers(place.state, event);
        if let Some(row) =
            rows.iter().find(|row| !self.is_over(row.next) && self.words(row) == text)
        {
            return (None, to(row.next, place.is_spoiled));
        }
        if expected.iter().any(|words| words == text) {
            return (None, None);
        }
        let expected_text = expected.join(" or ");
        if let Some(row) = goes_on {
            // A legal event.
            let level = if row.level == "open" { Level::C } else { Level::R };
            let there = (!text.ends_with("end")).then_some(Place { state: row.next, ..place });
            return (Some((level, cite(row.section), expected_text)), there);
        }
        let row = &rows[0];
        if row.error == Some("bad UTF-8") && late(what.kind) && text == "nothing" {
            let state = self.state_in_text();
            let (level, section, _) = of_rule("utf8.fast", String::new());
            return (Some((level, section, expected_text)), to(state, true));
        }
        (Some(self.ended_otherwise(what, rows, text, expected_text)), None)
    }

    /// The rule that is broken at an event behind which the connection has to end.
    fn ended_otherwise(
        &self,
        what: &Event,
        rows: &[Answer],
        text: &str,
        expected: String,
    ) -> Breach {
        let words: Vec<&str> = text.split(", ").collect();
        let closes = words.first().is_some_and(|word| word.starts_with("Close"));
        let stops = closes && words.len() <= 2 || text == "end";
        if what.kind == "Close" {
            let id = match words[..] {
                [first, "end"] if first.starts_with("Close") => "close.echo",
                [first, ..] if first.starts_with("Close") => "close.tcp",
                _ => "close.reply",
            };
            return of_rule(id, expected);
        }
        if rows[0].error == Some("end of stream") {
            // Nothing of a message may be told, and the rest is open.
            return match stops || text == "silence" {
                true => (Level::C, cite(rows[0].section), expected),
                false => of_rule("partial", expected),
            };
        }
        if stops {
            return (Level::C, "RFC 6455 7.1.7".to_owned(), expected);
        }
        let ids = rows.iter().filter_map(|row| rule_of(what, row.error?));
        let mut rules: Vec<_> = ids.map(|id| of_rule(id, expected.clone())).collect();
        rules.sort_by_key(|rule| rule.0);
        rules.into_iter().next().unwrap_or((Level::C, cite(rows[0].section), expected))
    }

    fn state_in_text(&self) -> usize {
        let is_text = |state: &wsconform_cases::protocol::State| state.receiving == "text";
        self.machine.states.iter().position(is_text).expect("a text can be begun")
    }
}

/// The rule of the suite that an end keeps by this error.
fn rule_of(event: &Event, error: &str) -> Option<&'static str> {
    Some(match error {
        "reserved bits" => "rsv",
        "reserved opcode" => "opcode",
        "expected continuation" | "unexpected continuation" => "order",
        "bad control frame" => "control",
        "wrong mask" => "mask",
        "bad length" => "length",
        "short Close" => "close.body",
        "bad code" => "close.code",
        "bad UTF-8" if event.kind.starts_with("broken") => "close.body",
        "bad UTF-8" => "utf8.bad",
        "bad DEFLATE" => "pmd.broken",
        _ => return None,
    })
}

fn of_rule(id: &str, expected: String) -> Breach {
    let found = cases().iter().map(|case| &case.rule).find(|rule| rule.id == id);
    let rule = found.unwrap_or_else(|| panic!("no rule {id}"));
    (rule.level, rule.section.clone(), expected)
}

/// Sections of the table in full: those without the number of an RFC are of RFC 6455.
fn cite(sections: &str) -> String {
    let sections = sections.replace(", 7692", ", RFC 7692");
    let rfc = if sections.starts_with("7692") { "RFC" } else { "RFC 6455" };
    format!("{rfc} {sections}")
}
