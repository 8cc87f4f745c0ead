//! `SECURITY.md`, and the limits in `docs/LIMITS.md`, held against the code: what they say of
//! defaults, constants, tests, `unsafe` and dependencies is so.
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};
use tickwire::Config;

use crate::{
    architecture::rust_files,
    checklists::{all_attacks, tested_requirements},
};

const PAGE: &str = include_str!("../../SECURITY.md");
const LIMITS: &str = include_str!("../../docs/LIMITS.md");

/// Settings that are no limit on a peer.
const NO_LIMITS: [&str; 8] = [
    "max_frame_sent", // limits what we send
    "min_vectored",
    "auto_pong",
    "auto_close",
    "stamp_reads",
    "idle_message",
    "deflate",
    "more", // no setting: it stands for the fields of later versions
];

pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

pub(crate) fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// What is under a heading, up to the next of any level above it.
fn section<'a>(page: &'a str, heading: &str) -> &'a str {
    let (_, rest) = page.split_once(&format!("\n{heading}\n")).expect(heading);
    rest.split("\n## ").next().unwrap()
}

/// The rows of all tables, by cell, without their heads.
fn rows(section: &str) -> Vec<Vec<&str>> {
    let lines: Vec<&str> = section.lines().collect();
    let mut rows = Vec::new();
    for (i, line) in lines.iter().enumerate() {
        let Some(inner) = line.strip_prefix("| ").and_then(|rest| rest.strip_suffix(" |")) else {
            continue;
        };
        if lines.get(i + 1).is_some_and(|next| next.starts_with("|---")) {
            continue; // a head
        }
        rows.push(inner.split(" | ").collect());
    }
    rows
}

/// What stands between backquotes.
pub(crate) fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

/// A number as people write it: `16 MiB`, `131,072`, `10 s`; nothing for what is no number.
fn value(text: &str) -> Option<u64> {
    let (number, unit) = text.split_once(' ').unwrap_or((text, ""));
    let number: u64 = number.replace(',', "").parse().ok()?;
    Some(match unit {
        "" | "s" => number,
        "KiB" => number << 10,
        "MiB" => number << 20,
        _ => return None,
    })
}

/// A value as `Debug` and Rust write it: `10s`, `None`, `4 << 20`, `Duration::from_secs(1)`.
fn literal(text: &str) -> Option<u64> {
    if let Some((number, shift)) = text.split_once(" << ") {
        return Some(number.parse::<u64>().ok()? << shift.parse::<u32>().ok()?);
    }
    let inner = text.strip_prefix("Duration::from_secs(").and_then(|rest| rest.strip_suffix(')'));
    let number = inner.or(text.strip_suffix('s')).unwrap_or(text);
    number.parse().ok()
}

/// Every setting, and its default.
fn defaults() -> BTreeMap<String, String> {
    let shown = format!("{:#?}", Config::default());
    let fields = shown.lines().filter_map(|line| line.strip_prefix("    "));
    let fields = fields.filter_map(|line| line.strip_suffix(',')?.split_once(": "));
    fields.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

/// What is wrong with `said`, the default of the setting `name` on a page.
fn fault_in_default(
    defaults: &BTreeMap<String, String>,
    page: &str,
    name: &str,
    said: &str,
) -> Option<String> {
    let real = defaults.get(name).unwrap_or_else(|| panic!("{name}: no such setting"));
    let off = said == "off" || said == "as `max_message`";
    let is_so = value(said) == literal(real) && off == (real == "None");
    (!is_so).then(|| format!("{page} says {said:?} of {name}, which is {real}"))
}

#[test]
fn the_defaults_of_all_limits_are_as_said() {
    let defaults = defaults();
    assert!(defaults.len() >= 20, "{defaults:?}");
    let mut named: BTreeSet<&str> = NO_LIMITS.into();
    let mut wrong = Vec::new();
    for row in rows(section(LIMITS, "## Settings")) {
        if let [name, said, _, _] = row[..]
            && !row[2].contains("src/")
        {
            let name = quoted(name).next().unwrap();
            wrong.extend(fault_in_default(&defaults, "docs/LIMITS.md", name, said));
            assert!(named.insert(name), "{name} twice, or it is no limit");
        }
    }
    assert_eq!(wrong, [""; 0]);
    let unnamed = defaults.keys().filter(|name| !named.contains(&***name));
    assert_eq!(unnamed.collect::<Vec<_>>(), [""; 0], "limits that LIMITS.md does not name");
}

/// The default that a text names next, as `default 16 MiB`, `(default 64 KiB)` or `is 16 KiB`.
fn named_default(text: &str) -> Option<&str> {
    let text = ["default is ", "default "].iter().find_map(|word| text.strip_prefix(word))?;
    let end = [", ", ";", ")", ". "].iter().filter_map(|stop| text.find(stop)).min();
    Some(text[..end.unwrap_or(text.len())].trim_end_matches('.'))
}

/// Beside LIMITS, defaults stand on the pages of `Config` and in tables of other pages.
#[test]
fn the_defaults_are_the_same_on_every_page() {
    let defaults = defaults();
    let source = read("src/proto/config.rs");
    let fields = source.split("pub struct Config {").nth(1).unwrap().split("\n}").next().unwrap();
    let mut doc = String::new();
    let mut held = BTreeSet::new();
    let mut wrong = Vec::new();
    for line in fields.lines().map(str::trim) {
        if let Some(more) = line.strip_prefix("/// ") {
            doc.extend([more, " "]);
        } else if let Some((name, _)) = line.strip_prefix("pub ").and_then(|it| it.split_once(':'))
        {
            let mut said =
                doc.match_indices("default ").filter_map(|(at, _)| named_default(&doc[at..]));
            if let Some(said) = said.find(|said| value(said).is_some()) {
                wrong.extend(fault_in_default(&defaults, "src/proto/config.rs", name, said));
                held.insert(name.to_owned());
            }
            doc.clear();
        }
    }
    assert!(held.len() >= 12, "{held:?}");

    let mut named = 0;
    for page in ["src/proto/config.rs", "docs/MIGRATING.md", "docs/recipes/socketio.md"] {
        for line in read(page).lines().filter(|line| line.contains("| ")) {
            for name in defaults.keys() {
                let Some((_, rest)) = line.split_once(&format!("{name}`")) else { continue };
                let rest =
                    rest.strip_prefix("](").map_or(rest, |rest| rest.split_once(')').unwrap().1);
                let rest = rest.trim_start();
                let rest = rest.strip_prefix('(').or(rest.strip_prefix("| ")).unwrap_or_default();
                let said = rest.strip_prefix("default ").unwrap_or(rest);
                let said = said.split([',', ')', '|']).next().unwrap().trim();
                if value(said).is_some() || said == "off" {
                    wrong.extend(fault_in_default(&defaults, page, name, said));
                    named += 1;
                }
            }
        }
    }
    assert!(named >= 9, "{named} defaults in tables");
    assert_eq!(wrong, [""; 0]);
}

#[test]
fn the_fixed_limits_are_as_said() {
    let mut found = 0;
    for row in rows(section(LIMITS, "## Settings")) {
        let Some((path, name)) = quoted(row[2]).next().and_then(|place| place.split_once(": "))
        else {
            continue;
        };
        let source = read(path);
        let declared = source.lines().find_map(|line| {
            let (_, rest) = line.split_once(&format!("const {name}: "))?;
            rest.split_once(" = ")?.1.strip_suffix(';')
        });
        let declared = declared.unwrap_or_else(|| panic!("{path}: no constant {name}"));
        assert!(value(row[1]).is_some(), "{row:?}");
        assert_eq!(
            value(row[1]),
            literal(declared),
            "{name}: {} is said, {declared} is so",
            row[1]
        );
        found += 1;
    }
    assert_eq!(found, 23);
}

/// In whole minutes, beyond the first.
fn time(seconds: u64) -> String {
    if seconds <= 60 { format!("{seconds} s") } else { format!("{} min", seconds / 60) }
}

#[test]
fn how_long_a_slow_peer_holds_a_connection_is_as_said() {
    let Config { frame_timeout, close_timeout, max_message, .. } = Config::default();
    let frame = frame_timeout.as_secs();
    let longest = max_message as u64 / (16 << 10); // at 16 KiB/s
    let of = |times: u64| {
        let short = time(times * frame);
        format!("{short}, or {} for {} MiB", time(times * frame + longest), max_message >> 20)
    };
    let want = [of(1), of(10), time(2 * close_timeout.as_secs())];
    let (_, table) = LIMITS.split_once("| what the peer holds |").unwrap();
    let said = rows(table).into_iter().map(|row| row[2].to_owned()).take(want.len());
    assert_eq!(said.collect::<Vec<_>>(), want, "docs/LIMITS.md");
}

/// All Rust sources below a directory.
pub(crate) fn sources(directory: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut waiting = vec![root().join(directory)];
    while let Some(directory) = waiting.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                waiting.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(path);
            }
        }
    }
    found
}

/// The names of all tests in a source.
pub(crate) fn tests(source: &str) -> BTreeSet<&str> {
    let mut marked = false;
    let mut names = BTreeSet::new();
    for line in source.lines().map(str::trim_start) {
        if line.starts_with("#[") {
            marked |= line == "#[test]" || line.starts_with("#[tokio::test");
            continue;
        }
        let function = line.strip_prefix("async ").unwrap_or(line).strip_prefix("fn ");
        if let Some(name) = function.filter(|_| std::mem::take(&mut marked)) {
            names.extend(name.split(['(', '<']).next());
        }
    }
    names
}

#[test]
fn every_test_and_file_that_is_named_is_there() {
    let mut named = 0;
    for place in quoted(PAGE) {
        let (path, name) = match place.split_once(": ") {
            Some((path, name)) => (path, Some(name)),
            None => (place, None),
        };
        let ours = ["tests/", "checks/", "fuzz/", "examples/", "src/"];
        if !ours.iter().any(|start| path.starts_with(start)) {
            continue;
        }
        assert!(root().join(path).exists(), "{path} is not there");
        if let Some(name) = name.filter(|_| !path.starts_with("src/")) {
            assert!(tests(&read(path)).contains(name), "{path}: no test {name}");
            named += 1;
        }
    }
    assert!(named >= 20, "{named} tests named");
    for link in PAGE.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
        let outside = link.starts_with("https://");
        assert!(outside || root().join(link).exists(), "{link} is not there");
    }
}

/// The numbers of a checklist that a text names: `A17`, `A20-A22`, `A87 - A90`.
fn numbers(text: &str, letter: char, digits: usize) -> BTreeSet<u16> {
    let text = text.replace(" - ", "-");
    let number = |word: &str| {
        let number: u16 = word.strip_prefix(letter)?.parse().ok()?;
        (format!("{letter}{number:0digits$}") == word).then_some(number)
    };
    let mut found = BTreeSet::new();
    for word in text.split(|c: char| !c.is_ascii_alphanumeric() && c != '-') {
        let (from, to) = word.split_once('-').unwrap_or((word, word));
        if let (Some(from), Some(to)) = (number(from), number(to)) {
            found.extend(from..=to);
        }
    }
    found
}

#[test]
fn every_attack_is_in_a_class_and_every_number_that_is_named_has_a_test() {
    let attacks = numbers(PAGE, 'A', 2);
    assert_eq!(attacks, all_attacks(), "each of the list, and no others");

    let requirements = numbers(PAGE, 'P', 3);
    assert!(requirements.len() > 20, "{requirements:?}");
    let bare = &requirements - &tested_requirements();
    assert!(bare.is_empty(), "requirements without a test: {bare:?}");
}

#[test]
fn numbers_are_found_in_text_and_names() {
    let found = |text| numbers(text, 'A', 2).into_iter().collect::<Vec<_>>();
    assert_eq!(found("A01-A03, A9, A100, (A17) A87 - A88 `a17_`"), [1, 2, 3, 17, 87, 88, 100]);
    assert_eq!(found("CVE-2026-1528, AES"), [0; 0]);
    let names = tests("#[test]\nfn a() {}\nfn b() {}\n#[tokio::test]\nasync fn c<T>() {}\n");
    assert_eq!(names.into_iter().collect::<Vec<_>>(), ["a", "c"]);
}

#[test]
fn unsafe_is_where_it_is_said_to_be() {
    let rows = rows(section(PAGE, "## Unsafe"));
    let mut found = 0;
    for path in rust_files() {
        let source = fs::read_to_string(&path).unwrap();
        for line in source.lines().filter(|line| !line.trim_start().starts_with("//")) {
            if line.split(|c: char| !c.is_alphanumeric() && c != '_').any(|word| word == "unsafe") {
                let named = section(PAGE, "## Unsafe").split("| where |").next().unwrap();
                let here = path.strip_prefix(root()).unwrap().to_str().unwrap();
                assert!(quoted(named).any(|place| place == here), "{here}: {line}");
                let known = |row: &Vec<&str>| quoted(row[0]).all(|name| line.contains(name));
                assert!(rows.iter().any(known), "{line}");
                found += 1;
            }
        }
    }
    assert_eq!(found, rows.len());
}

/// It builds for another target, where no check of this workspace compiles it.
#[test]
fn the_firmware_denies_unsafe_outside_of_its_board() {
    let main = read("examples/device/src/main.rs");
    assert!(main.contains("\n#![deny(unsafe_code)]\n"), "{main}");
    assert_eq!(main.matches("\n#[allow(unsafe_code)]\nmod board;\n").count(), 1);
    for path in sources("examples/device/src") {
        let allowed = fs::read_to_string(&path).unwrap().matches("allow(unsafe_code)").count();
        assert_eq!(allowed, usize::from(path.ends_with("main.rs")), "{}", path.display());
    }
}

#[test]
fn the_dependencies_of_the_core_are_those_named() {
    let manifest = read("Cargo.toml");
    let (_, rest) = manifest.split_once("\n[dependencies]\n").unwrap();
    let lines = rest.lines().take_while(|line| !line.starts_with('['));
    let always = lines.filter(|line| line.contains(" = ") && !line.contains("optional = true"));
    let always: Vec<&str> = always.filter_map(|line| line.split(" = ").next()).collect();
    let (_, named) = section(PAGE, "## Dependencies").split_once('(').unwrap();
    let named: Vec<&str> = quoted(named.split_once(')').unwrap().0).collect();
    assert_eq!(always, named);
}

/// A wrapper such as flate2 inflates with what the features of any crate of the program choose: C
/// zlib, for one. zlib-rs is named directly, and calls nobody else.
#[test]
fn no_other_crate_chooses_what_inflates() {
    let manifest = read("Cargo.toml");
    let (_, rest) = manifest.split_once("\n[dependencies]\n").unwrap();
    let ours = rest.split("\n[").next().unwrap();
    let names = ours.lines().filter_map(|line| Some(line.split_once(" = ")?.0));
    let packs = ["flate", "libz", "zlib", "miniz", "inflate"];
    let found: Vec<&str> =
        names.filter(|name| packs.iter().any(|part| name.contains(part))).collect();
    assert_eq!(found, ["zlib-rs"]);
    let lock = read("Cargo.lock");
    let mut packages = lock.split("[[package]]\n");
    let chosen = packages.find(|package| package.starts_with("name = \"zlib-rs\"\n")).unwrap();
    assert!(!chosen.contains("dependencies = "), "{chosen}");
    assert!(packages.all(|package| !package.starts_with("name = \"zlib-rs\"\n")), "two versions");
}
