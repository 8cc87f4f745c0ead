//! Holds the names of tests against a numbered checklist: `p019_..` is for number 19, and so is
//! `a18_a19_..`, which is for 18 too.
use std::{collections::BTreeMap, ops::RangeInclusive};

/// A checklist, and the modules of a test binary that answer to it.
pub struct Checklist<'a> {
    /// What a number begins with in the name of a test, and how many digits it has at least.
    pub letter: char,
    pub digits: usize,
    /// Numbers go from 1 to this one.
    pub last: u16,
    pub modules: &'a [Module<'a>],
    /// Numbers without a test, and why.
    pub without: &'a [(RangeInclusive<u16>, &'a str)],
    /// The source of the binary's root, and what it has of modules without numbered tests.
    pub root: &'a str,
    pub helpers: &'a [&'a str],
}

/// A module of tests: its name, its source, and the numbers that belong there.
pub type Module<'a> = (&'a str, &'a str, &'a [RangeInclusive<u16>]);

impl Checklist<'_> {
    /// All that is wrong: numbers without a test or a reason, tests that are not for a number, are
    /// not run, or stand in a module that is not looked at.
    pub fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        let mut found: BTreeMap<u16, &str> = BTreeMap::new();
        for (module, source, own) in self.modules {
            let mut fault = |what: String| faults.push(format!("{module}: {what}"));
            let names: Vec<&str> = tests(source).collect();
            let marks = source.lines().filter(|line| is_mark(line.trim_start())).count();
            if names.len() != marks {
                fault(format!("{marks} tests, {} found", names.len()));
            }
            if source.lines().any(|line| line.trim_start().starts_with("#[ignore")) {
                fault("an ignored test proves nothing".into());
            }
            for name in names {
                let numbers = numbers(name, self.letter, self.digits);
                if numbers.is_empty() {
                    fault(format!("{name} has no number"));
                } else if !numbers.iter().any(|n| own.iter().any(|range| range.contains(n))) {
                    // A test of several numbers stands with one of them.
                    fault(format!("{name} belongs to another module"));
                }
                for number in numbers {
                    if !(1..=self.last).contains(&number) {
                        fault(format!("{name}: there is no such number"));
                    }
                    found.insert(number, name);
                }
            }
        }
        faults.extend((1..=self.last).filter_map(|number| self.unmet(number, &found)));
        faults.extend(self.misplaced());
        faults
    }

    fn unmet(&self, number: u16, found: &BTreeMap<u16, &str>) -> Option<String> {
        let shown = format!("{}{number:0width$}", self.letter, width = self.digits);
        let reason = self.without.iter().find(|(range, _)| range.contains(&number));
        match (found.get(&number), reason) {
            (Some(_), None) => None,
            (None, Some((_, why))) if why.len() > 20 => None,
            (None, Some((_, why))) => Some(format!("{shown}: {why:?} says little")),
            (Some(name), Some(_)) => Some(format!("{shown} has a test, {name}, and a reason")),
            (None, None) => Some(format!("{shown} has neither a test nor a reason")),
        }
    }

    /// Modules that are compiled and not looked at, and the other way round.
    fn misplaced(&self) -> Vec<String> {
        let declared: Vec<&str> = self
            .root
            .lines()
            .filter_map(|line| line.strip_prefix("mod ")?.strip_suffix(';'))
            .collect();
        let known = |name: &str| self.modules.iter().any(|(module, ..)| *module == name);
        let unseen = declared.iter().filter(|name| !known(name) && !self.helpers.contains(name));
        let absent = self.modules.iter().filter(|(name, ..)| !declared.contains(name));
        let unseen = unseen.map(|name| format!("{name}: a module that is not looked at"));
        unseen.chain(absent.map(|(name, ..)| format!("{name}: not a module"))).collect()
    }
}

/// The numbers that the name of a test begins with: `p071_p073_..` has two.
pub fn numbers(name: &str, letter: char, digits: usize) -> Vec<u16> {
    let parts = name.split('_').map_while(|part| part.strip_prefix(letter));
    parts
        .map_while(|part| part.parse().ok().filter(|n: &u16| format!("{n:0digits$}") == part))
        .collect()
}

/// Whether what follows this line is a test.
fn is_mark(line: &str) -> bool {
    line == "#[test]" || line.starts_with("#[tokio::test")
}

/// The names of all tests in a source.
pub fn tests(source: &str) -> impl Iterator<Item = &str> {
    let mut marked = false;
    source.lines().filter_map(move |line| {
        let line = line.trim_start();
        if line.starts_with("#[") {
            marked |= is_mark(line);
            return None;
        }
        let line = line.strip_prefix("async ").unwrap_or(line);
        let found = line.strip_prefix("fn ").filter(|_| std::mem::take(&mut marked));
        found.and_then(|rest| rest.split_once('(')).map(|(name, _)| name)
    })
}
