//! The numbered lists have a test for each number, or say why there is none: the requirements of
//! RFC 6455 and RFC 7692 (P001 ..), the known attacks (A01 ..), the rules of `docs/TLS-AUDIT.md`
//! (T01 ..).
//!
//! A line of tags above a test says what it is for: `// P083, A36`.
use crate::security::{read, root, sources};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    ops::RangeInclusive,
    path::Path,
};

struct Checklist {
    letter: char,
    digits: usize,
    /// Numbers go from 1 to this one.
    last: u16,
    /// Numbers without a test, and why.
    without: &'static [(RangeInclusive<u16>, &'static str)],
}

const REQUIREMENTS: Checklist = Checklist {
    letter: 'P',
    digits: 3,
    last: 231,
    without: &[
        (108..=108, "only browsers pool connections; a program opens as many as it asks for"),
        (110..=110, "redirects are not followed; P094 hands them to the caller"),
        (
            111..=111,
            "of `Dial::proxy`: tests/dialing/proxies.rs, tests/tls/proxies.rs, \
             checks/interop/run proxy",
        ),
        (151..=151, "there is no second extension that could be stacked"),
        (210..=210, "of the futures of the adapter for tokio: tests/connection/cancel/tokio.rs"),
        (
            213..=220,
            "HTTP/2 and HTTP/3 are the HTTP stack's: \
             crates/tickwire-http/tests has what is left of 215 to 218",
        ),
        (
            228..=228,
            "there is no untrusted script: a program may know all about its failed handshake",
        ),
    ],
};

const ATTACKS: Checklist = Checklist {
    letter: 'A',
    digits: 2,
    last: 106,
    without: &[
        (87..=90, "Engine.IO and Socket.IO, which no code of ours speaks"),
        (99..=99, "session ids of Socket.IO, which no code of ours speaks"),
        (102..=103, "tested where the loop is: crates/tickwire-loop/tests/it/attacks.rs"),
        (105..=105, "tested where the loop is: crates/tickwire-loop/tests/it/received.rs"),
    ],
};

const TLS: Checklist = Checklist { letter: 'T', digits: 2, last: 26, without: &[] };

impl Checklist {
    /// The number that a word is, as `P083` is 83.
    fn number(&self, word: &str) -> Option<u16> {
        let number: u16 = word.strip_prefix(self.letter)?.parse().ok()?;
        (self.written(number) == word).then_some(number)
    }

    fn written(&self, number: u16) -> String {
        format!("{}{number:0width$}", self.letter, width = self.digits)
    }

    /// All that is wrong: a number without a test or a reason, or with both; one that is not on the
    /// list.
    fn faults(&self, tests: &[Test]) -> Vec<String> {
        let mut faults = Vec::new();
        let mut found = BTreeMap::new();
        for test in tests {
            for number in test.tags.iter().filter_map(|tag| self.number(tag)) {
                if !(1..=self.last).contains(&number) {
                    faults.push(format!("{}: no number {}", test.name, self.written(number)));
                }
                found.insert(number, &test.name);
            }
        }
        for number in 1..=self.last {
            let written = self.written(number);
            let reason = self.without.iter().find(|(range, _)| range.contains(&number));
            match (found.get(&number), reason) {
                (Some(_), None) => {}
                (None, Some((_, why))) if why.len() > 20 => {}
                (None, Some((_, why))) => faults.push(format!("{written}: {why:?} says little")),
                (Some(name), Some(_)) => {
                    faults.push(format!("{written} has a test, {name}, and a reason"));
                }
                (None, None) => faults.push(format!("{written} has neither a test nor a reason")),
            }
        }
        faults
    }
}

#[derive(Debug)]
struct Test {
    name: String,
    tags: Vec<String>,
    ignored: bool,
}

/// The words of a line that has tags and nothing else.
fn tags(line: &str) -> Option<Vec<String>> {
    let words: Vec<&str> = line.strip_prefix("// ")?.split(", ").collect();
    let lists = [REQUIREMENTS, ATTACKS, TLS];
    let all = words.iter().all(|word| lists.iter().any(|list| list.number(word).is_some()));
    all.then(|| words.into_iter().map(str::to_owned).collect())
}

/// The tests of a source, and the lines of tags that stand above something else.
fn tests(source: &str) -> (Vec<Test>, Vec<String>) {
    let mut tests = Vec::new();
    let mut astray = Vec::new();
    let mut tagged: Option<Vec<String>> = None;
    let mut marked = false;
    let mut ignored = false;
    for line in source.lines().map(str::trim_start) {
        if let Some(more) = tags(line) {
            astray.extend(tagged.replace(more).map(|tags| tags.join(", ")));
        } else if line.starts_with("#[") {
            marked |= line == "#[test]" || line.starts_with("#[tokio::test");
            ignored |= line.starts_with("#[ignore");
        } else if !line.starts_with("///") {
            let name = line.strip_prefix("async ").unwrap_or(line).strip_prefix("fn ");
            match name.and_then(|rest| rest.split(['(', '<']).next()) {
                Some(name) if marked => {
                    let tags = tagged.take().unwrap_or_default();
                    tests.push(Test { name: name.to_owned(), tags, ignored });
                }
                // A behaviour, which a macro makes a test over each carrier.
                Some(name) if line.contains(&format!("fn {name}<")) && tagged.is_some() => {
                    let tags = tagged.take().unwrap_or_default();
                    tests.push(Test { name: name.to_owned(), tags, ignored });
                }
                _ => astray.extend(tagged.take().map(|tags| tags.join(", "))),
            }
            marked = false;
            ignored = false;
        }
    }
    (tests, astray)
}

fn all_tests(of: impl Fn(&Path) -> bool) -> Vec<Test> {
    let mut all = Vec::new();
    for path in sources("tests").iter().filter(|path| of(path)) {
        let (tests, astray) = tests(&fs::read_to_string(path).unwrap());
        assert_eq!(astray, [""; 0], "{}: tags above what is no test", path.display());
        let ignored = tests.iter().find(|test| test.ignored && !test.tags.is_empty());
        assert!(ignored.is_none(), "an ignored test proves nothing: {ignored:?}");
        all.extend(tests);
    }
    all
}

fn numbers(letter: char, tests: &[Test]) -> BTreeSet<u16> {
    let list = [REQUIREMENTS, ATTACKS, TLS].into_iter().find(|list| list.letter == letter).unwrap();
    tests.iter().flat_map(|test| &test.tags).filter_map(|tag| list.number(tag)).collect()
}

/// The numbers of a list that tests have.
pub(crate) fn tested(letter: char) -> BTreeSet<u16> {
    numbers(letter, &all_tests(|_| true))
}

/// Those that tests have which count the heap.
pub(crate) fn tested_over_sockets(letter: char) -> BTreeSet<u16> {
    numbers(letter, &all_tests(|path| path.ends_with("over_sockets.rs")))
}

#[test]
fn every_number_of_a_checklist_has_a_test_or_a_reason() {
    let tests = all_tests(|_| true);
    for list in [REQUIREMENTS, ATTACKS, TLS] {
        assert_eq!(list.faults(&tests), [""; 0]);
    }
}

/// A twin in memory has no heap that is counted, and no stream that is cut.
#[test]
fn every_attack_is_made_over_a_socket() {
    let files = ["over_sockets.rs", "tls/cut_off.rs"];
    let tests = all_tests(|path| files.iter().any(|file| path.ends_with(file)));
    assert_eq!(ATTACKS.faults(&tests), [""; 0]);
}

#[test]
fn the_rules_of_tls_are_those_of_the_audit() {
    let page = read("docs/TLS-AUDIT.md");
    let rows = page.lines().filter_map(|line| line.strip_prefix("| ")?.split_once(' '));
    let numbers: Vec<u16> = rows.filter_map(|(number, _)| number.parse().ok()).collect();
    assert_eq!(numbers, Vec::from_iter(1..=TLS.last));
}

/// What no file declares is compiled by nobody, and its tests do not run.
#[test]
fn every_file_of_tests_is_a_module_of_some_binary() {
    let files = sources("tests");
    let users = ["tests", "crates", "examples"].map(sources).concat();
    let all: Vec<String> = users.iter().map(|path| fs::read_to_string(path).unwrap()).collect();
    let declared: BTreeSet<&str> = all
        .iter()
        .flat_map(|source| source.lines())
        .filter_map(|line| line.trim().strip_suffix(';')?.rsplit_once("mod ").map(|it| it.1))
        .collect();
    let by_path: BTreeSet<&str> = all
        .iter()
        .flat_map(|source| source.lines())
        .filter(|line| line.trim().starts_with("#[path = ") || line.starts_with("include!("))
        .filter_map(|line| line.split('"').nth(1)?.rsplit('/').next()?.strip_suffix(".rs"))
        .collect();
    for path in &files {
        let stem = path.file_stem().unwrap().to_str().unwrap();
        let folder = path.parent().unwrap();
        let name = match stem {
            "mod" => folder.file_name().unwrap().to_str().unwrap(),
            _ => stem,
        };
        let is_root = ["main", "lib"].contains(&stem) || folder == root().join("tests");
        assert!(is_root || declared.contains(name) || by_path.contains(stem), "{}", path.display());
    }
}

#[test]
fn tags_are_read_off_the_lines_above_tests() {
    let source = "// P083, A36\n/// Why.\n#[cfg(x)]\n#[test]\nfn a() {}\nfn b() {}\n\
                  // P019\n#[tokio::test(start_paused = true)]\nasync fn c() {}\n\
                  // T07\nfn over<E>() {}\n// P083, see there\n#[test]\n#[ignore]\nfn d() {}\n";
    let (found, astray) = tests(source);
    let shown: Vec<_> = found.iter().map(|test| (&*test.name, test.tags.join(" "))).collect();
    let want = [("a", "P083 A36"), ("c", "P019"), ("over", "T07"), ("d", "")];
    assert_eq!(shown, want.map(|(name, tags)| (name, tags.to_owned())));
    assert_eq!(
        found.iter().map(|test| test.ignored).collect::<Vec<_>>(),
        [false, false, false, true]
    );
    assert_eq!(astray, [""; 0]);
    assert_eq!(tests("// P083\nfn b() {}\n// A36\n\n#[test]\nfn c() {}\n").1, ["P083", "A36"]);
    assert_eq!(tags("// P83"), None);
    assert_eq!(tags("// A017"), None);
    assert_eq!(tags("// PING"), None);
}

#[test]
fn nothing_that_is_wrong_with_a_checklist_passes() {
    let faults = |source: &str, without| {
        let list = Checklist { letter: 'A', digits: 2, last: 3, without };
        list.faults(&tests(source).0)
    };
    let good = "// A01\n#[test]\nfn a() {}\n// A03\n#[test]\nfn b() {}\n";
    assert_eq!(faults(good, &[(2..=2, "nobody knows how to do it, yet")]), [""; 0]);
    assert_eq!(faults(good, &[]), ["A02 has neither a test nor a reason"]);
    assert_eq!(faults(good, &[(2..=2, "hard")]), ["A02: \"hard\" says little"]);
    let both = [(2..=3, "nobody knows how to do it, yet")];
    assert_eq!(faults(good, Box::leak(Box::new(both))), ["A03 has a test, b, and a reason"]);
    let more = [good, "// A02, A09\n#[test]\nfn c() {}\n"].concat();
    assert_eq!(faults(&more, &[]), ["c: no number A09"]);
}
