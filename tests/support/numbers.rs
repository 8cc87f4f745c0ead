//! Holds the names of tests against a numbered checklist: `p019_..` is for number 19, and so is
//! `a18_a19_..`, which is for 18 too.
use std::{collections::BTreeMap, ops::RangeInclusive};

/// A checklist, and the modules of a test binary that answer to it.
pub struct Checklist<'a> {
    /// What a number begins with in the name of a test, and how many digits it has.
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
fn numbers(name: &str, letter: char, digits: usize) -> Vec<u16> {
    let parts = name.split('_').map_while(|part| part.strip_prefix(letter));
    parts.map_while(|number| (number.len() == digits).then(|| number.parse().ok())?).collect()
}

/// Whether what follows this line is a test.
fn is_mark(line: &str) -> bool {
    line == "#[test]" || line.starts_with("#[tokio::test")
}

/// The names of all tests in a source.
fn tests(source: &str) -> impl Iterator<Item = &str> {
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

#[test]
fn numbers_are_read_off_names() {
    assert_eq!(numbers("p019_a_server_refuses", 'p', 3), [19]);
    assert_eq!(numbers("p071_p073_p075_it_waits_p080", 'p', 3), [71, 73, 75]);
    assert_eq!(numbers("a17_a_flood", 'a', 2), [17]);
    assert_eq!(numbers("p19_x", 'p', 3), [0; 0]);
    assert_eq!(numbers("a017_x", 'a', 2), [0; 0]);
    assert_eq!(numbers("ping_x", 'p', 3), [0; 0]);
    let source = "#[test]\nfn a() {}\nfn b() {}\n#[cfg(x)]\n#[test]\nfn c() {}\n\
                  #[tokio::test(start_paused = true)]\nasync fn d() {}\n";
    assert_eq!(tests(source).collect::<Vec<_>>(), ["a", "c", "d"]);
}

#[test]
fn nothing_that_is_wrong_with_a_checklist_passes() {
    let good = "#[test]\nfn x1_is_so() {}\n\n    #[tokio::test]\n    async fn x3_too() {}\n";
    let root = "mod h;\nmod m;\n";
    let why = "nobody knows how to do it, yet";
    // The numbers of the module, those without a test, and the reason.
    let faults = |source: &str, own: &[RangeInclusive<u16>], without, why, root: &str| {
        let (modules, without) = (&[("m", source, own)], &[(without, why)]);
        let (letter, digits, last, helpers) = ('x', 1, 3, &["h"]);
        Checklist { letter, digits, last, modules, without, root, helpers }.faults()
    };
    assert_eq!(faults(good, &[1..=3], 2..=2, why, root), [""; 0]);
    let fault = |source: &str, own, without, why, root: &str| {
        let faults = faults(source, own, without, why, root);
        assert_eq!(faults.len(), 1, "{faults:?}");
        faults.concat()
    };

    let nothing = 9..=9;
    assert_eq!(fault(good, &[1..=3], nothing, why, root), "x2 has neither a test nor a reason");
    assert_eq!(fault(good, &[1..=3], 2..=2, "hard", root), "x2: \"hard\" says little");
    assert_eq!(fault(good, &[1..=3], 2..=3, why, root), "x3 has a test, x3_too, and a reason");
    assert_eq!(
        fault(good, &[1..=1, 2..=2], 2..=2, why, root),
        "m: x3_too belongs to another module"
    );
    let more = |more: &str| fault(&[good, more].concat(), &[1..=3], 2..=2, why, root);
    assert_eq!(more("#[test]\nfn so() {}\n"), "m: so has no number");
    assert_eq!(more("#[test]\nfn x3_x9() {}\n"), "m: x3_x9: there is no such number");
    assert_eq!(more("#[test]\n#[ignore]\nfn x3_x() {}\n"), "m: an ignored test proves nothing");
    assert_eq!(more("#[test]\npub fn x3_x() {}\n"), "m: 3 tests, 2 found");
    assert_eq!(
        fault(good, &[1..=3], 2..=2, why, "mod m;\nmod other;\n"),
        "other: a module that is not looked at"
    );
    assert_eq!(fault(good, &[1..=3], 2..=2, why, "mod h;\n"), "m: not a module");
}
