//! Which module may know which: what docs/ARCHITECTURE.md says of the layers, read out of the
//! source; and that the files, items and tests which it names exist.
use proptest::test_runner::{Config as ProptestConfig, RngSeed};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

/// Each module of the crate, and the others that it may name. `guide` holds documents alone.
const MAY_KNOW: &[(&str, &[&str])] = &[
    // Adapters. Each with the TLS stream that is its own.
    ("tokio", &["dial", "drive", "error", "proto", "tls"]),
    ("futures_io", &["drive", "proto"]),
    ("blocking", &["dial", "drive", "error", "proto", "socket", "tls"]),
    // What they have in common.
    ("dial", &["drive", "error", "proto", "socket", "tls"]),
    ("drive", &["error", "proto", "socket"]),
    ("error", &["proto", "tls"]),
    ("tls", &["proto"]),
    ("guide", &[]),
    // What the kernel knows of what a socket received, and writes that raise no signal.
    ("socket", &["proto"]),
    // The core.
    ("proto", &[]),
];

/// Of the core's insides: when something is due, how a message is handed out, what waits to be
/// written.
const NOT_FOR_ADAPTERS: [&str; 5] = ["Timers", "Phase", "Stall", "Delivery", "respond"];

/// The modules of std that a sans-IO core has no use for.
const NOT_FOR_THE_CORE: [&str; 7] = ["env", "fs", "io", "net", "process", "thread", "time"];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn src() -> PathBuf {
    root().join("src")
}

/// All files below a folder.
fn files(folder: PathBuf) -> Vec<PathBuf> {
    let (mut found, mut folders) = (Vec::new(), vec![folder]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => folders.push(path),
                false => found.push(path),
            }
        }
    }
    found
}

/// The folders of the members: the ground, and what stands on the crate.
pub(crate) fn members() -> Vec<PathBuf> {
    let floors = ["ground", "crates"].map(|floor| fs::read_dir(root().join(floor)).unwrap());
    let mut found: Vec<_> =
        floors.into_iter().flatten().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(found.len(), 10);
    found.sort();
    found
}

/// The Rust files of the crate and of these members.
pub(crate) fn rust_files() -> Vec<PathBuf> {
    let folders = members().into_iter().map(|member| member.join("src")).chain([src()]);
    let mut found: Vec<_> = folders.flat_map(files).collect();
    found.retain(|path| path.extension().is_some_and(|extension| extension == "rs"));
    assert!(found.len() > 150, "only {} files", found.len());
    found
}

/// A source file: its path of modules, and its text without comments and unit tests.
struct Source {
    module: Vec<String>,
    text: String,
}

fn sources() -> Vec<Source> {
    let found = sources_below(src());
    assert!(found.len() > 60, "only {} files", found.len());
    found
}

fn sources_below(src: PathBuf) -> Vec<Source> {
    let mut found = Vec::new();
    let lib = src.join("lib.rs");
    for path in files(src.clone()).into_iter().filter(|path| *path != lib) {
        let module = path.strip_prefix(&src).unwrap().with_extension("");
        let mut module: Vec<_> =
            module.iter().map(|part| part.to_str().unwrap().to_owned()).collect();
        if module.last().unwrap() == "mod" {
            module.pop();
        }
        let text = fs::read_to_string(&path).unwrap();
        let code = text.lines().map(|line| line.split("//").next().unwrap());
        let code = code.collect::<Vec<_>>().join("\n");
        let shipped = code.split("#[cfg(test)]\nmod ").next().unwrap().to_owned();
        found.push(Source { module, text: shipped });
    }
    found
}

impl Source {
    /// All paths with this beginning, which is so many modules above this one, from the crate's
    /// root.
    fn paths(&self, start: &str, above: usize) -> BTreeSet<Vec<String>> {
        let mut found = BTreeSet::new();
        let root = &self.module[..self.module.len().saturating_sub(above)];
        for (at, _) in self.text.match_indices(start) {
            // `$crate::` is what a macro writes into another crate.
            let longer = |c: char| c.is_alphanumeric() || "_:$".contains(c);
            if !self.text[..at].ends_with(longer) {
                tree(&self.text[at + start.len()..], root, &mut found);
            }
        }
        found
    }
}

/// Reads a path, or a tree of them in braces; returns what is behind it.
fn tree<'t>(text: &'t str, above: &[String], found: &mut BTreeSet<Vec<String>>) -> &'t str {
    let text = text.trim_start();
    if let Some(rest) = text.strip_prefix('*') {
        found.insert(above.to_vec());
        return rest;
    }
    if let Some(mut rest) = text.strip_prefix('{') {
        loop {
            rest = tree(rest, above, found).trim_start();
            if let Some(behind) = rest.strip_prefix("as ") {
                let word = |c: char| c.is_alphanumeric() || c == '_';
                rest = behind.trim_start().trim_start_matches(word);
            }
            match rest.trim_start().strip_prefix(',') {
                Some(behind) => rest = behind.trim_start(),
                None => return rest.trim_start().strip_prefix('}').expect("a closed tree"),
            }
            if let Some(behind) = rest.strip_prefix('}') {
                return behind;
            }
        }
    }
    let end = text.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len());
    let path = [above, &[text[..end].to_owned()]].concat();
    match text[end..].strip_prefix("::") {
        Some(rest) if !rest.starts_with('<') => tree(rest, &path, found),
        _ => {
            found.insert(path);
            &text[end..]
        }
    }
}

/// Who names whom, of modules as `name_of` groups them; a path that it groups nowhere is an item's
/// of its own module.
fn edges(name_of: impl Fn(&[String]) -> Option<String>) -> BTreeMap<String, BTreeSet<String>> {
    let mut edges = BTreeMap::<String, BTreeSet<String>>::new();
    for source in sources() {
        let Some(from) = name_of(&source.module) else { continue };
        let mut paths = source.paths("crate::", source.module.len());
        paths.extend(source.paths("super::", 1));
        let to = paths.iter().filter_map(|path| name_of(path)).filter(|to| *to != from);
        edges.entry(from.clone()).or_default().extend(to);
    }
    edges
}

#[test]
fn a_module_names_only_those_that_it_may_know() {
    let known: BTreeMap<_, _> = MAY_KNOW.iter().copied().collect();
    let edges = edges(|path| known.contains_key(&path[0][..]).then(|| path[0].clone()));
    let all: Vec<_> = edges.keys().map(String::as_str).collect();
    assert_eq!(all, known.keys().copied().collect::<Vec<_>>(), "modules and the table differ");
    for (from, to) in edges {
        let unused: Vec<_> = known[&from[..]].iter().filter(|name| !to.contains(**name)).collect();
        assert!(unused.is_empty(), "{from} does not need {unused:?}: take it out of the table");
        for to in to {
            assert!(known[&from[..]].contains(&&to[..]), "{from} names {to}");
        }
    }
}

/// Else the table above says nothing of it: `crate::Config` would come from anywhere.
#[test]
fn inside_of_the_crate_everything_is_named_by_its_module() {
    let modules: BTreeSet<_> = MAY_KNOW.iter().map(|(module, _)| *module).collect();
    for source in sources() {
        let (paths, none) = (source.paths("crate::", source.module.len()), BTreeSet::new());
        let loose: BTreeSet<_> =
            paths.iter().filter(|path| !modules.contains(&path[0][..])).collect();
        assert_eq!(loose, none, "in {:?}", source.module);
    }
}

#[test]
fn the_modules_of_the_core_name_each_other_in_no_circle() {
    let edges = edges(|path| match path {
        [proto, module, ..] if proto == "proto" => Some(module.clone()),
        _ => None,
    });
    assert!(edges["connection"].contains("frame"), "{edges:?}");
    no_circle(edges, "proto");
}

/// `mod.rs` of `drive` is the loop, over what its files define, so they name each other by file, and
/// nothing by way of the loop. On it stands `task` alone.
#[test]
fn what_the_loop_drives_does_not_name_the_loop() {
    let sources = sources();
    let within: Vec<_> = sources.iter().filter(|source| source.module[0] == "drive").collect();
    let names: BTreeSet<_> = within.iter().filter_map(|source| source.module.get(1)).collect();
    let mut seen = 0;
    for source in &within {
        let mut tasks = within.iter().filter_map(|other| match &other.module[1..] {
            [task, file] => Some(format!("{task}::{file}")),
            _ => None,
        });
        match &source.module[1..] {
            [] => assert!(tasks.all(|path| !source.text.contains(&path)), "{:?}", source.module),
            [file] if file != "task" => {
                let paths =
                    source.paths("crate::", 2).into_iter().chain(source.paths("super::", 1));
                for path in paths.filter(|path| path[0] == "drive") {
                    assert!(names.contains(&path[1]), "{file} names {path:?}");
                    seen += 1;
                }
            }
            _ => {}
        }
    }
    assert!(seen > 20, "{seen}");
}

/// The folders of a manifest's path dependencies, but those of tests, examples and benches. Each is
/// pinned: a package may use what another hides, and that may change with any release.
fn stands_on(member: &Path) -> BTreeSet<PathBuf> {
    let manifest = fs::read_to_string(member.join("Cargo.toml")).unwrap();
    let sections = manifest.split("\n[").filter(|section| {
        let name = section.split(']').next().unwrap();
        name.ends_with("dependencies") && !name.contains("dev-")
    });
    let lines = sections.flat_map(str::lines).filter(|line| line.contains("path = \""));
    let pinned = format!("version = \"={}\"", env!("CARGO_PKG_VERSION"));
    let lines = lines.inspect(|line| assert!(line.contains(&pinned), "{member:?}: {line}"));
    let paths = lines.map(|line| line.split("path = \"").nth(1).unwrap());
    let paths = paths.map(|rest| member.join(rest.split('"').next().unwrap()));
    paths.map(|path| path.canonicalize().unwrap()).collect()
}

/// The ground is below the crate, the members in `crates` are on it; and nobody needs `extras`.
#[test]
fn nothing_stands_on_what_is_above_it() {
    let root = root().canonicalize().unwrap();
    let ground = root.join("ground");
    let ours = stands_on(&root);
    assert_eq!(ours.len(), 2, "{ours:?}");
    assert!(ours.iter().all(|path| path.starts_with(&ground)), "{ours:?}");
    for member in members() {
        let below = stands_on(&member);
        let may = |path: &PathBuf| match member.starts_with(root.join("crates")) {
            true => {
                *path == root || path.starts_with(&ground) || path.starts_with(root.join("crates"))
            }
            false => path.starts_with(&ground),
        };
        assert!(below.iter().all(may), "{}: {below:?}", member.display());
    }
    let lock = fs::read_to_string(root.join("Cargo.lock")).unwrap();
    let extras = fs::read_dir(root.join("extras")).unwrap().map(|entry| entry.unwrap().path());
    for manifest in extras.map(|path| path.join("Cargo.toml")).filter(|path| path.exists()) {
        let text = fs::read_to_string(manifest).unwrap();
        let name = text.lines().find(|line| line.starts_with("name = ")).unwrap();
        assert!(!lock.contains(&format!("\n{name}\n")), "{name} is needed");
    }
}

/// The table of what stands beside the crate.
fn map() -> String {
    let page = fs::read_to_string(root().join("docs/ARCHITECTURE.md")).unwrap();
    let (_, map) = page.split_once("\n## What stands beside the crate\n").unwrap();
    map.split("\n## ").next().unwrap().to_owned()
}

/// The floors of the map are the folders, and plain cargo commands mean ground, product, examples and
/// benches.
#[test]
fn the_map_has_every_package_and_the_default_members() {
    let map = map();
    let rows = map.lines().filter(|line| line.contains('`') && line.starts_with("| "));
    let rows: Vec<(&str, Vec<&str>)> = rows
        .map(|row| {
            let cells: Vec<_> = row.split('|').map(str::trim).collect();
            (cells[1], cells[2].split('`').skip(1).step_by(2).collect())
        })
        .collect();
    let on = |floors: &[&str]| -> BTreeSet<&str> {
        let rows = rows.iter().filter(|(floor, _)| floors.contains(floor));
        rows.flat_map(|(_, paths)| paths.iter().copied()).collect()
    };
    let mut packages = on(&["ground", "product", "neighbour"]);
    assert!(packages.remove("src") && packages.remove("conformance"), "{packages:?}");
    let members = members();
    let members = members.iter().map(|member| member.strip_prefix(root()).unwrap().to_str());
    assert_eq!(packages, members.map(Option::unwrap).collect());

    let manifest = fs::read_to_string(root().join("Cargo.toml")).unwrap();
    let list = manifest.split("\ndefault-members = [").nth(1).unwrap().split(']').next().unwrap();
    let default: BTreeSet<_> = list.split('"').skip(1).step_by(2).collect();
    let mut meant = on(&["ground", "product"]);
    meant.extend([".", "benches", "examples", "examples/market_feed"]);
    meant.remove("src");
    assert_eq!(default, meant);
    for path in rows.iter().flat_map(|(_, paths)| paths) {
        assert!(root().join(path).exists(), "{path}");
    }
}

/// And each package that is not published has its reason in the column.
#[test]
fn the_map_says_yes_where_cargo_publishes() {
    let map = map();
    for member in members() {
        let path = member.strip_prefix(root()).unwrap().to_str().unwrap();
        let row = map.lines().find(|row| row.contains(&format!("`{path}`"))).unwrap();
        let published = row.split('|').nth(4).unwrap().trim();
        if is_published(&member) {
            assert_eq!(published, "yes", "{path}");
        } else {
            assert!(published.starts_with("not yet: "), "{path}: {published}");
        }
    }
}

pub(crate) fn is_published(member: &Path) -> bool {
    let manifest = fs::read_to_string(member.join("Cargo.toml")).unwrap();
    !manifest.contains("\npublish = false")
}

/// A file and the folder of its name are one: a folder's `mod.rs` names its files, and they add
/// methods to its types. Among files side by side, with all that is below each, nobody names who
/// names him. At the top of this crate `MAY_KNOW` has the rule.
#[test]
fn files_side_by_side_name_each_other_in_no_circle() {
    let ours = sources();
    no_circles(&ours, ours.iter().map(|source| source.module.clone()).collect());
    let manifest = fs::read_to_string(root().join("Cargo.toml")).unwrap();
    let list = manifest.split("\nmembers = [").nth(1).unwrap().split(']').next().unwrap();
    let members: Vec<&str> = list.split('"').skip(1).step_by(2).collect();
    assert!(members.len() > 20, "{members:?}");
    for member in members.into_iter().chain(["conformance/cases", "conformance/wsconform"]) {
        let member = root().join(member);
        let below = Some(member.join("src")).filter(|src| src.exists()).unwrap_or(member);
        let files = sources_below(below);
        let folders = files.iter().map(|file| file.module.clone()).chain([Vec::new()]);
        no_circles(&files, folders.collect());
    }
}

fn no_circles(sources: &[Source], folders: BTreeSet<Vec<String>>) {
    for folder in folders {
        let beside = |path: &[String]| -> Option<String> {
            let name = path.strip_prefix(&folder[..])?.first()?;
            let file = [&folder[..], std::slice::from_ref(name)].concat();
            sources.iter().any(|source| source.module == file).then(|| name.clone())
        };
        let mut edges = BTreeMap::<_, BTreeSet<_>>::new();
        for source in sources.iter().filter(|source| !source.module.contains(&"tests".to_owned())) {
            let Some(from) = beside(&source.module) else { continue };
            let mut paths = source.paths("crate::", source.module.len());
            for above in 1..=source.module.len() {
                paths.extend(source.paths(&"super::".repeat(above), above));
            }
            let to = paths.iter().filter_map(|path| beside(path)).filter(|to| *to != from);
            edges.entry(from.clone()).or_default().extend(to);
        }
        no_circle(edges, &folder.join("/"));
    }
}

/// Takes away whoever names nobody that is left, until nobody is left.
fn no_circle(mut edges: BTreeMap<String, BTreeSet<String>>, of: &str) {
    while !edges.is_empty() {
        let left: BTreeSet<_> = edges.keys().cloned().collect();
        edges.retain(|_, to| to.iter().any(|to| left.contains(to)));
        assert!(edges.len() < left.len(), "a circle in {of}: {edges:#?}");
    }
}

#[test]
fn adapters_name_no_timer_phase_stall_or_delivery() {
    let mut adapters = BTreeSet::new();
    for source in sources() {
        if matches!(&source.module[0][..], "tokio" | "futures_io" | "blocking") {
            adapters.insert(source.module[0].clone());
            let paths = source.paths("crate::", source.module.len());
            let mut names = paths.iter().filter(|path| path[0] == "proto").flatten();
            let found = names.find(|name| NOT_FOR_ADAPTERS.contains(&&name[..]));
            assert_eq!(found, None, "in {:?}", source.module);
        }
    }
    assert_eq!(adapters.len(), 3, "{adapters:?}");
}

/// Known: an error and slices of `io`, which are values.
#[test]
fn the_core_names_no_io_clock_or_thread() {
    let mut found = BTreeSet::new();
    for source in sources().iter().filter(|source| source.module[0] == "proto") {
        let paths = source.paths("std::", source.module.len());
        let paths = paths.iter().filter(|path| NOT_FOR_THE_CORE.contains(&&path[0][..]));
        found.extend(paths.map(|path| path[..2].join("::")));
    }
    let known = ["io::Error", "io::IoSlice", "io::Result", "io::Write"];
    assert_eq!(found, known.map(str::to_owned).into());
}

// A86
#[test]
fn a_clock_that_somebody_can_set_is_read_for_the_date_of_a_refusal_alone() {
    fn look(folder: &Path, files: &mut usize, reads: &mut Vec<String>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                look(&path, files, reads);
            } else {
                let source = fs::read_to_string(&path).unwrap();
                let code = source.lines().map(str::trim).filter(|line| !line.starts_with("//"));
                let reading =
                    code.filter(|line| line.contains("SystemTime") || line.contains("UNIX_EPOCH"));
                reads.extend(reading.map(str::to_string));
                *files += 1;
            }
        }
    }
    let (mut files, mut reads) = (0, Vec::new());
    look(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut files, &mut reads);
    assert!(files > 30, "{files}");
    // In `Incoming::answer`; a wrong clock makes a wrong header, and nothing else.
    let dated = "let response = \
                 self.handshake.reject(rejection.dated(std::time::UNIX_EPOCH.elapsed().ok()));";
    assert_eq!(reads, [dated]);
}

/// A `match` of the user's need not change with the next release, or must: each public enum says
/// which, and the latter why.
#[test]
fn each_public_enum_is_non_exhaustive_or_says_why_not() {
    let listings = ["docs/PUBLIC-API.txt", "docs/PUBLIC-API-tls.txt"];
    let listing = listings.map(|name| fs::read_to_string(root().join(name)).unwrap()).concat();
    let public: BTreeSet<_> = listing
        .lines()
        .filter_map(|line| line.split_once("pub enum "))
        .map(|(_, path)| path.split('<').next().unwrap().rsplit("::").next().unwrap().trim())
        .collect();
    let mut decided = BTreeSet::new();
    for path in [files(src()), files(root().join("ground/tickwire-tls/src"))].concat() {
        let text = fs::read_to_string(&path).unwrap();
        for (at, _) in text.match_indices("\npub enum ") {
            let name = text[at..].split_whitespace().nth(2).unwrap();
            let name = name.split('<').next().unwrap();
            let Some(name) = public.get(name) else { continue };
            let above = text[..at].lines().rev().take_while(|line| line.starts_with(['#', '/']));
            let mut above = above.take_while(|line| !line.starts_with("///"));
            let says =
                |line: &str| line == "#[non_exhaustive]" || line.starts_with("// Exhaustive: ");
            assert!(above.any(says), "{name} in {}", path.display());
            decided.insert(*name);
        }
    }
    assert_eq!(decided, public);
}

#[test]
fn architecture_names_only_what_is_there() {
    let page = fs::read_to_string(root().join("docs/ARCHITECTURE.md")).unwrap();
    let prose = page.split("```").step_by(2).collect::<String>();
    let folders = ["src", "tests", "checks", "crates", "ground"];
    let files: Vec<_> = folders.iter().flat_map(|name| files(root().join(name))).collect();
    let texts: Vec<_> = files.iter().filter_map(|path| fs::read_to_string(path).ok()).collect();
    let word = |c: char| c.is_alphanumeric() || c == '_';
    let is_a_word = |text: &String, part: &str| {
        let cut =
            |at: usize| !text[..at].ends_with(word) && !text[at + part.len()..].starts_with(word);
        text.match_indices(part).any(|(at, _)| cut(at))
    };

    let mut tests = 0;
    for name in prose.split('`').skip(1).step_by(2).filter(|name| !name.contains(' ')) {
        if name.contains(['/', '.']) {
            let below = |path: &PathBuf| path.ancestors().any(|path| path.ends_with(name));
            assert!(root().join(name).exists() || files.iter().any(below), "no file {name}");
        } else if name.matches('_').count() > 2 {
            let declared = [format!("fn {name}("), format!("fn {name}<")];
            let there = |text: &String| declared.iter().any(|line| text.contains(line));
            assert!(texts.iter().any(there), "no test {name}");
            tests += 1;
        } else {
            let parts = name.split(|c| !word(c)).filter(|part| !part.is_empty());
            for part in parts {
                assert!(texts.iter().any(|text| is_a_word(text, part)), "no {part}, of {name}");
            }
        }
    }
    assert!(tests > 20, "{tests} tests named");
}

/// A section of an RFC that our source cites: the RFC's number, and the section.
type Section = (u32, String);

/// What a source file cites. Where no RFC is named it is 7692 in what compresses, else 6455.
fn cited(path: &Path) -> BTreeSet<Section> {
    let text = fs::read_to_string(path).unwrap();
    let name = path.strip_prefix(root()).unwrap().to_str().unwrap();
    let ours = if name.contains("deflate") || name.contains("inflate") { 7692 } else { 6455 };
    let sections = text.match_indices('§').map(|(at, mark)| {
        let number = |c: char| !c.is_ascii_digit() && c != '.';
        let section = text[at + mark.len()..].split(number).next().unwrap();
        let before = text[..at].trim_end_matches(|c: char| c.is_whitespace() || "/!".contains(c));
        let digits = before.rsplit(|c: char| !c.is_ascii_digit()).next().unwrap();
        let named = before.strip_suffix(digits).is_some_and(|before| before.ends_with("RFC "));
        let rfc = if named { digits.parse().unwrap() } else { ours };
        (rfc, section.trim_end_matches('.').to_owned())
    });
    sections.filter(|(_, section)| !section.is_empty()).collect()
}

/// The rows of "Where is §x?": a section, and the file that has its rule. Each names a test, of
/// which `architecture_names_only_what_is_there` finds that it exists.
fn rules() -> Vec<(Section, PathBuf)> {
    let text = fs::read_to_string(root().join("docs/ARCHITECTURE.md")).unwrap();
    let table = text.split("## Where is §x?").nth(1).unwrap().split("\n## ").next().unwrap();
    let mut rules = Vec::new();
    for row in table.lines().filter(|line| line.contains('§')) {
        let cells: Vec<_> = row.trim_matches('|').split('|').map(str::trim).collect();
        let [sections, _, file, held] = cells[..] else { panic!("{row}") };
        assert!(held.starts_with('`') && held.matches('_').count() > 2, "no test: {row}");
        let other = sections.strip_prefix("RFC ").and_then(|rest| rest.split_once(' '));
        let (rfc, sections) =
            other.map_or((6455, sections), |(rfc, rest)| (rfc.parse().expect(row), rest));
        for section in sections.split(", ") {
            let section = section.strip_prefix('§').expect(row).to_owned();
            let file = file.trim_matches('`');
            let below = if file.contains("/src/") { root().to_owned() } else { src() };
            rules.push(((rfc, section), below.join(file)));
        }
    }
    rules
}

#[test]
fn each_section_of_the_rfcs_has_one_file_that_cites_it() {
    let rules = rules();
    for (section, file) in &rules {
        assert!(file.is_file(), "{file:?}");
        assert!(cited(file).contains(section), "{file:?} does not cite {section:?}");
    }
    let listed: BTreeSet<_> = rules.iter().map(|(section, _)| section.clone()).collect();
    assert_eq!(listed.len(), rules.len(), "a section has two rows");
    // Behind the introductions and examples, before IANA's registries.
    let normative = |(rfc, section): &Section| {
        let chapter: u32 = section.split('.').next().unwrap().parse().unwrap();
        match rfc {
            6455 => (3..=10).contains(&chapter) && section != "5.7",
            7692 => (5..=8).contains(&chapter),
            _ => false,
        }
    };
    let all: BTreeSet<_> = files(src()).iter().flat_map(|file| cited(file)).collect();
    assert!(all.len() > 50, "only {} sections", all.len());
    let lost: Vec<_> =
        all.iter().filter(|&cited| normative(cited) && !listed.contains(cited)).collect();
    assert!(lost.is_empty(), "cited in src, and not in the table: {lost:?}");
}

/// A pattern that names what is gone would hide mutants of the next one of that name.
#[test]
fn the_mutants_that_are_left_out_are_of_functions_that_are_there() {
    let paths = rust_files();
    let code: String = paths.iter().map(|path| fs::read_to_string(path).unwrap()).collect();
    let words = |text| {
        str::split(text, |c: char| !c.is_alphanumeric() && c != '_').filter(|word| !word.is_empty())
    };
    let pairs = words(&code).zip(words(&code).skip(1));
    let declared: BTreeSet<_> =
        pairs.filter(|pair| ["fn", "struct"].contains(&pair.0)).map(|pair| pair.1).collect();
    let config = fs::read_to_string(root().join(".cargo/mutants.toml")).unwrap();
    let patterns = config.lines().filter_map(|line| line.strip_prefix("    '")?.split("',").next());
    let mut found = 0;
    for pattern in patterns {
        let function = pattern.rsplit_once(" in ").map(|(_, function)| function);
        let there = match function.or_else(|| Some(pattern.split_once(" -> ")?.0)) {
            Some(function) => declared.contains(words(function).next_back().unwrap()),
            None => paths.iter().any(|path| path.ends_with(pattern.split(':').next().unwrap())),
        };
        assert!(there, "nothing is left of what {pattern:?} is about");
        found += 1;
    }
    assert!(found > 40, "{found}");
}

/// The tables of `docs/ARCHITECTURE.md`, line by line: a condition and what comes next. The first
/// line that applies decides.
/// So that a failure is the change's: `.cargo/config.toml` has the seed, and for its run `.ci/full`.
#[test]
fn property_tests_draw_by_a_seed_that_is_set() {
    assert_ne!(ProptestConfig::default().rng_seed, RngSeed::Random);
}

#[test]
fn architecture_has_the_order_of_events_that_the_code_has() {
    use tickwire::{
        Ending,
        order::{Allow, Clock, Facts, Input, SendFacts, ToSend, Todo, order, order_sending},
    };
    type Lines<'a, F, T> = &'a [(&'a dyn Fn(F) -> bool, T)];

    let reads = |(facts, allow): (Facts, Allow)| {
        let receives = !matches!(facts.input, Input::Ended(_));
        let drains = facts.input == Input::Ended(Ending::Discard);
        (allow.read && receives || drains) && !facts.dry
    };
    let lines: Lines<'_, (Facts, Allow), Todo> = &[
        (&|(facts, allow)| facts.input == Input::New && allow.deliver, Todo::Item),
        (&|(facts, _)| facts.unsent && !facts.refused, Todo::Write),
        (
            &|(facts, _)| facts.input == Input::Ended(Ending::ShutDown) && !facts.refused,
            Todo::ShutDown,
        ),
        (&|(facts, _)| facts.input == Input::Ended(Ending::Done), Todo::Over),
        (&|asked| (reads(asked) || asked.0.input == Input::New) && asked.1.ends_turn, Todo::Wait),
        (&|(facts, _)| facts.clock == Clock::Old, Todo::Clock),
        (&reads, Todo::Read),
        (&|(facts, _)| facts.clock == Clock::Unseen, Todo::Clock),
        (&|_| true, Todo::Wait),
    ];
    let flags = |bits: u32, at: u32| bits >> at & 1 == 1;
    let ended = [Ending::Flush, Ending::ShutDown, Ending::Discard, Ending::Done].map(Input::Ended);
    for input in [Input::New, Input::Starved].into_iter().chain(ended) {
        for clock in [Clock::Seen, Clock::Unseen, Clock::Old] {
            for bits in 0..64 {
                let [unsent, refused, dry] = [0, 1, 2].map(|at| flags(bits, at));
                let [deliver, read, ends_turn] = [3, 4, 5].map(|at| flags(bits, at));
                let facts = Facts { input, unsent, refused, dry, clock };
                let allow = Allow { deliver, read, ends_turn };
                let line = lines.iter().find(|(applies, _)| applies((facts, allow))).unwrap();
                assert_eq!(order(facts, allow), line.1, "{facts:?}, {allow:?}");
            }
        }
    }

    let sending: Lines<'_, SendFacts, ToSend> = &[
        (&|facts| facts.failed, ToSend::Failed),
        (&|facts| !facts.asked, ToSend::Write),
        (&|facts| facts.refused && !facts.has_room, ToSend::Wait),
        (&|_| true, ToSend::Done),
    ];
    for bits in 0..16 {
        let [asked, refused, has_room, failed] = [0, 1, 2, 3].map(|at| flags(bits, at));
        let facts = SendFacts { asked, refused, has_room, failed };
        let line = sending.iter().find(|(applies, _)| applies(facts)).unwrap();
        assert_eq!(order_sending(facts), line.1, "{facts:?}");
    }

    let page = fs::read_to_string(root().join("docs/ARCHITECTURE.md")).unwrap();
    let tables = page.split("| facts, the first line that applies | next | why |").skip(1);
    let says = tables.map(|table| {
        let rows = table.lines().skip(2).take_while(|line| line.starts_with('|'));
        rows.map(|row| row.split('|').nth(2).unwrap().trim().to_owned()).collect::<Vec<_>>()
    });
    let todos = lines.iter().map(|(_, todo)| format!("`{todo:?}`")).collect::<Vec<_>>();
    let to_send = sending.iter().map(|(_, todo)| format!("`{todo:?}`")).collect();
    assert_eq!(says.collect::<Vec<_>>(), [todos, to_send]);
}
