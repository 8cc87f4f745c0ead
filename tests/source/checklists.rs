//! `docs/RULES.md` lists the requirements of RFC 6455 and RFC 7692 (P001 ..) and the known attacks
//! (A01 ..), `docs/TLS-AUDIT.md` the rules of TLS (T01 ..). Each rule has a test, or names the cells
//! of the table of the protocol that it is, or says why there is no test; and every number that is
//! used anywhere is on a list.
//!
//! A line of tags above a test says what it is for: `// P083, A36`.
use crate::{
    cells,
    security::{quoted, read, root, sources},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

#[derive(Debug)]
struct Checklist {
    letter: char,
    digits: usize,
    rules: BTreeMap<u16, Proof>,
}

#[derive(Debug)]
enum Proof {
    /// Any test with the rule's number.
    Tagged,
    /// A file of `tests` in which a test has the number.
    In(String),
    /// Claims of cells of the table of the protocol, and a file as in `In` for what no cell says.
    Table(String, Option<String>),
    /// No test under `tests` has the number, and this says why.
    Elsewhere(String),
}

fn rules(page: &str, letter: char, digits: usize) -> Checklist {
    let empty = Checklist { letter, digits, rules: BTreeMap::new() };
    let rows = page.lines().filter_map(|line| line.strip_prefix("| ")?.strip_suffix(" |"));
    let rules = rows.filter_map(|row| {
        let number = empty.number(row.split_once(' ')?.0)?;
        let proof = row.rsplit_once(" | ")?.1;
        let proof = match (file(proof), proof.strip_prefix("table: ")) {
            (Some(file), _) => Proof::In(file),
            (None, Some(all)) => {
                match all.rsplit_once(" and ").map(|(all, rest)| (all, file(rest))) {
                    Some((claims, Some(file))) => Proof::Table(claims.to_owned(), Some(file)),
                    _ => Proof::Table(all.to_owned(), None),
                }
            }
            (None, None) => Proof::Elsewhere(proof.to_owned()),
        };
        Some((number, proof))
    });
    Checklist { rules: rules.collect(), ..empty }
}

/// A cell that is the name of one file of tests.
fn file(cell: &str) -> Option<String> {
    let file = cell.strip_prefix('`')?.strip_suffix('`')?;
    (file.starts_with("tests/") && !file.contains('`')).then(|| file.to_owned())
}

fn requirements() -> Checklist {
    rules(&read("docs/RULES.md"), 'P', 3)
}

fn attacks() -> Checklist {
    rules(&read("docs/RULES.md"), 'A', 2)
}

fn tls() -> Checklist {
    let page = read("docs/TLS-AUDIT.md");
    let rows = page.lines().filter_map(|line| line.strip_prefix("| ")?.split_once(' '));
    let numbers = rows.filter_map(|(number, _)| number.parse().ok());
    let rules = numbers.map(|number| (number, Proof::Tagged)).collect();
    Checklist { letter: 'T', digits: 2, rules }
}

impl Checklist {
    /// The number that a word is, as `P083` is 83.
    fn number(&self, word: &str) -> Option<u16> {
        let number: u16 = word.strip_prefix(self.letter)?.parse().ok()?;
        (self.written(number) == word).then_some(number)
    }

    fn written(&self, number: u16) -> String {
        format!("{}{number:0width$}", self.letter, width = self.digits)
    }

    /// All that is wrong: a rule whose proof is not what its row says; a test of a number that is
    /// not on the list.
    fn faults(&self, tests: &[Test]) -> Vec<String> {
        let mut faults = Vec::new();
        let mut found: BTreeMap<u16, Vec<&Test>> = BTreeMap::new();
        for test in tests {
            for number in test.tags.iter().filter_map(|tag| self.number(tag)) {
                if !self.rules.contains_key(&number) {
                    faults.push(format!("{}: no number {}", test.name, self.written(number)));
                }
                found.entry(number).or_default().push(test);
            }
        }
        for (number, proof) in &self.rules {
            let written = self.written(*number);
            let tests = found.get(number).map_or(&[][..], Vec::as_slice);
            match (proof, tests) {
                (Proof::Elsewhere(why), []) if why.len() <= 20 => {
                    faults.push(format!("{written}: {why:?} says little"));
                }
                (Proof::Elsewhere(_), [test, ..]) => {
                    faults.push(format!("{written} has a test, {}, and a reason", test.name));
                }
                (Proof::Tagged | Proof::In(_), []) => faults.push(format!("{written} has no test")),
                (Proof::In(file) | Proof::Table(_, Some(file)), tests)
                    if tests.iter().all(|test| test.file != *file) =>
                {
                    faults.push(format!("{written} has no test in {file}"));
                }
                _ => {}
            }
            if let Proof::Table(claims, _) = proof {
                let wrong = cells::faults(claims).into_iter();
                faults.extend(wrong.map(|fault| format!("{written}: {fault}")));
            }
        }
        faults
    }
}

#[derive(Debug)]
struct Test {
    file: String,
    name: String,
    tags: Vec<String>,
    ignored: bool,
}

/// Whether a word is `P` and three digits, or `A` and at least two, or `T` and two.
fn is_tag(word: &str) -> bool {
    let Some((letter, digits)) = word.split_at_checked(1) else { return false };
    let lengths = match letter {
        "P" => 3..=3,
        "A" => 2..=3,
        "T" => 2..=2,
        _ => return false,
    };
    let padded = letter == "A" && digits.len() == 3 && digits.starts_with('0');
    lengths.contains(&digits.len()) && !padded && digits.bytes().all(|b| b.is_ascii_digit())
}

/// The words of a line that has tags and nothing else.
fn tags(line: &str) -> Option<Vec<String>> {
    let words: Vec<&str> = line.strip_prefix("// ")?.split(", ").collect();
    words.iter().all(|word| is_tag(word)).then(|| words.into_iter().map(str::to_owned).collect())
}

/// The tests of a source, and the lines of tags that stand above something else.
fn tests(file: &str, source: &str) -> (Vec<Test>, Vec<String>) {
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
                    tests.push(Test {
                        file: file.to_owned(),
                        name: name.to_owned(),
                        tags,
                        ignored,
                    });
                }
                // A behaviour, which a macro makes a test over each carrier.
                Some(name) if line.contains(&format!("fn {name}<")) && tagged.is_some() => {
                    let tags = tagged.take().unwrap_or_default();
                    tests.push(Test {
                        file: file.to_owned(),
                        name: name.to_owned(),
                        tags,
                        ignored,
                    });
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
        let file = path.strip_prefix(root()).unwrap().to_str().unwrap();
        let (tests, astray) = tests(file, &fs::read_to_string(path).unwrap());
        assert_eq!(astray, [""; 0], "{}: tags above what is no test", path.display());
        let ignored = tests.iter().find(|test| test.ignored && !test.tags.is_empty());
        assert!(ignored.is_none(), "an ignored test proves nothing: {ignored:?}");
        all.extend(tests);
    }
    all
}

/// The requirements that tests have, or that are of the table of the protocol.
pub(crate) fn tested_requirements() -> BTreeSet<u16> {
    let list = requirements();
    let in_the_table = list.rules.iter().filter(|(_, proof)| matches!(proof, Proof::Table(..)));
    let in_the_table: BTreeSet<u16> = in_the_table.map(|(number, _)| *number).collect();
    &tested(&list, &all_tests(|_| true)) | &in_the_table
}

pub(crate) fn all_attacks() -> BTreeSet<u16> {
    attacks().rules.into_keys().collect()
}

/// The attacks on the heap that have a test over sockets, which counts it.
pub(crate) fn attacks_on_the_heap_over_sockets() -> BTreeSet<u16> {
    let on_the_heap = bounds().into_iter().filter(|(_, bounds)| bounds.contains("heap"));
    let on_the_heap: BTreeSet<u16> = on_the_heap.map(|(number, _)| number).collect();
    &tested(&attacks(), &all_tests(|path| path.ends_with("over_sockets.rs"))) & &on_the_heap
}

/// What each attack must not use up, of heap, time and threads: the cell beside the proof.
fn bounds() -> BTreeMap<u16, String> {
    let page = read("docs/RULES.md");
    let rows = page.lines().filter_map(|line| line.strip_prefix("| ")?.strip_suffix(" |"));
    let cells = rows.filter_map(|row| {
        let cells: Vec<&str> = row.split(" | ").collect();
        let number = attacks().number(cells[0])?;
        Some((number, cells[cells.len() - 2].to_owned()))
    });
    cells.collect()
}

/// The claims of all rows.
pub(crate) fn claims_of_the_table() -> Vec<String> {
    let proofs = [requirements(), attacks()].into_iter().flat_map(|list| list.rules.into_values());
    let claims = proofs.filter_map(|proof| match proof {
        Proof::Table(claims, _) => Some(claims),
        _ => None,
    });
    claims.flat_map(|row| row.split("; ").map(str::to_owned).collect::<Vec<_>>()).collect()
}

fn tested(list: &Checklist, tests: &[Test]) -> BTreeSet<u16> {
    tests.iter().flat_map(|test| &test.tags).filter_map(|tag| list.number(tag)).collect()
}

#[test]
fn every_number_of_a_checklist_has_a_test_or_a_reason() {
    let tests = all_tests(|_| true);
    for list in [requirements(), attacks(), tls()] {
        assert_eq!(list.faults(&tests), [""; 0]);
    }
}

/// A twin in memory has no heap that is counted, no time that passes, and no threads. What an attack
/// must not use up is a cell of its row; of the others, which have a dash there, no socket is asked.
#[test]
fn what_an_attack_must_not_use_up_is_measured_over_a_socket() {
    let tests = all_tests(|path| path.ends_with("over_sockets.rs"));
    let over_sockets = tested(&attacks(), &tests);
    let rules = attacks().rules;
    let bounds = bounds();
    assert_eq!(Vec::from_iter(bounds.keys()), Vec::from_iter(rules.keys()));
    for (number, bounds) in bounds {
        let known = bounds.split(", ").all(|it| ["heap", "time", "threads"].contains(&it));
        assert!(known || bounds == "–", "A{number:02} bounds {bounds}");
        let elsewhere = matches!(rules[&number], Proof::Elsewhere(_));
        assert!(!known || elsewhere || over_sockets.contains(&number), "A{number:02}: {bounds}");
    }
}

#[test]
fn the_lists_have_no_gap() {
    let lists = [(requirements(), 238), (attacks(), 106), (tls(), 27)];
    for (list, last) in lists {
        let numbers = Vec::from_iter(list.rules.keys().copied());
        assert_eq!(numbers, Vec::from_iter(1..=last), "{}", list.letter);
    }
}

/// A rule that is tested outside of `tests` names what is there; a single file has the number.
#[test]
fn what_is_tested_elsewhere_is_there() {
    for list in [requirements(), attacks()] {
        for (number, proof) in &list.rules {
            let Proof::Elsewhere(why) = proof else { continue };
            let written = list.written(*number);
            for path in quoted(why).filter(|it| it.contains('/')) {
                let path = path.split(' ').next().unwrap();
                assert!(root().join(path).exists(), "{written}: {path}");
                if *why == format!("`{path}`") {
                    assert!(read(path).to_uppercase().contains(&written), "{written}: {path}");
                }
            }
        }
    }
}

/// Whoever meets a number in a comment, a vector or a page finds its sentence.
#[test]
fn every_number_that_is_used_is_on_a_list() {
    let lists = [requirements(), attacks()];
    let code =
        ["src", "tests", "crates", "ground", "examples", "fuzz", "benches"].map(sources).concat();
    let vectors = fs::read_dir(root().join("conformance/cases/data/vectors")).unwrap();
    let vectors = vectors.map(|entry| entry.unwrap().path());
    let pages =
        ["CONTRIBUTING.md", "SECURITY.md", "ROADMAP.md", "docs/LIMITS.md", "docs/TESTING.md"];
    let pages = pages.map(|page| root().join(page));
    let mut used = 0;
    for path in code.into_iter().chain(vectors).chain(pages) {
        let text = fs::read_to_string(&path).unwrap();
        for word in text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_') {
            if !is_tag(word) || word.starts_with('T') {
                continue;
            }
            let known = |list: &Checklist| {
                list.number(word).is_some_and(|number| list.rules.contains_key(&number))
            };
            let quoted_here =
                path.ends_with("source/checklists.rs") || path.ends_with("source/security.rs");
            assert!(quoted_here || lists.iter().any(known), "{}: {word}", path.display());
            used += 1;
        }
    }
    assert!(used > 1000, "{used} numbers");
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
    let (found, astray) = tests("f.rs", source);
    let shown: Vec<_> = found.iter().map(|test| (&*test.name, test.tags.join(" "))).collect();
    let want = [("a", "P083 A36"), ("c", "P019"), ("over", "T07"), ("d", "")];
    assert_eq!(shown, want.map(|(name, tags)| (name, tags.to_owned())));
    assert_eq!(
        found.iter().map(|test| test.ignored).collect::<Vec<_>>(),
        [false, false, false, true]
    );
    assert_eq!(astray, [""; 0]);
    assert_eq!(
        tests("f.rs", "// P083\nfn b() {}\n// A36\n\n#[test]\nfn c() {}\n").1,
        ["P083", "A36"]
    );
    assert_eq!(tags("// P83"), None);
    assert_eq!(tags("// A017"), None);
    assert_eq!(tags("// PING"), None);
}

#[test]
fn nothing_that_is_wrong_with_a_checklist_passes() {
    let faults = |source: &str, [first, second, third]: [&str; 3]| {
        let page = format!("| A01 a | {first} |\n| A02 b | c | {second} |\n| A03 d | {third} |\n");
        rules(&page, 'A', 2).faults(&tests("tests/f.rs", source).0)
    };
    let good = "// A01\n#[test]\nfn a() {}\n// A03\n#[test]\nfn b() {}\n";
    let here = "`tests/f.rs`";
    let why = "nobody knows how to do it, yet";
    assert_eq!(faults(good, [here, why, here]), [""; 0]);
    assert_eq!(faults(good, [here, here, here]), ["A02 has no test"]);
    assert_eq!(faults(good, [here, "hard", here]), ["A02: \"hard\" says little"]);
    assert_eq!(faults(good, [here, why, why]), ["A03 has a test, b, and a reason"]);
    assert_eq!(faults(good, ["`tests/g.rs`", why, here]), ["A01 has no test in tests/g.rs"]);
    assert_eq!(faults(good, [here, "table: `between`, `Ping` → `Pong back`", here]), [""; 0]);
    assert_eq!(faults(good, ["table: `between`, `Ping` → `Pong back`", why, here]), [""; 0]);
    let wrong = |claim: &str| {
        let [fault] = &faults(good, [here, &format!("table: {claim}"), here])[..] else {
            panic!("{claim} holds");
        };
        fault.strip_prefix(&format!("A02: {claim}")).unwrap().to_owned()
    };
    assert_eq!(wrong("`between`, `Ping`"), " has no answer");
    assert_eq!(wrong("`between`, `Pang` → `Pong back`"), ": no event Pang in the table");
    assert_eq!(wrong("`betwixt`, `Ping` → `Pong back`"), ": no such cell in the table");
    assert_eq!(wrong("between, Ping → `Pong back`"), ": no such cell in the table");
    assert_eq!(wrong("`between`, `Ping` if `tall` → `Pong back`"), ": no end is tall");
    assert_eq!(
        wrong("`between`, `Ping`, `Pong` → `Pong back`"),
        r#": the table has {"Pong back", "the Pong"}"#
    );
    assert_eq!(wrong("`between`, `Ping` → `Pong back` or `·`"), r#": the table has {"Pong back"}"#);
    let there = "table: `between`, `Ping` → `Pong back` and `tests/g.rs`";
    assert_eq!(faults(good, [there, why, here]), ["A01 has no test in tests/g.rs"]);
    let there = "table: `between`, `Ping` → `Pong back` and `tests/f.rs`";
    assert_eq!(faults(good, [there, why, here]), [""; 0]);
    assert_eq!(faults(good, [here, there, here]), ["A02 has no test in tests/f.rs"]);
    let more = [good, "// A02, A09\n#[test]\nfn c() {}\n"].concat();
    assert_eq!(faults(&more, [here, here, here]), ["c: no number A09"]);
}
