//! The documents: their links lead somewhere, the tests that they name are there, and the README's
//! figures are those of `benches/RESULTS.md`.
use crate::{
    architecture::{is_published, members, rust_files},
    security::{quoted, read, root, tests},
};
use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

/// What is built, fetched or found by a tool.
const NOT_OURS: [&str; 6] = ["target", "corpus", "artifacts", "coverage", "build", ".git"];

/// All Markdown of the repository.
fn pages() -> Vec<PathBuf> {
    let (mut found, mut folders) = (Vec::new(), vec![root().to_owned()]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap();
            if path.is_dir() && !NOT_OURS.contains(&name) {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "md") {
                found.push(path);
            }
        }
    }
    assert!(found.len() > 25, "{} pages", found.len());
    found
}

/// The lines outside of blocks of code.
fn prose(page: &str) -> impl Iterator<Item = &str> {
    let mut code = false;
    page.lines().filter(move |line| {
        let fence = line.trim_start().starts_with("```");
        code ^= fence;
        !fence && !code
    })
}

/// What a link to a heading has behind its `#`.
fn anchor(heading: &str) -> String {
    let kept = |c: &char| c.is_alphanumeric() || "_- ".contains(*c);
    let text = heading.trim_start_matches('#').trim().to_lowercase();
    text.chars().filter(kept).map(|c| if c == ' ' { '-' } else { c }).collect()
}

fn anchors(page: &str) -> BTreeSet<String> {
    prose(page).filter(|line| line.starts_with('#')).map(anchor).collect()
}

/// Where the links of a page lead: `[text](here)`, `[name]: here`, `href="here"`, `src="here"`.
fn links(page: &str) -> BTreeSet<&str> {
    let mut found = BTreeSet::new();
    for line in prose(page) {
        for (start, end) in [("](", ')'), ("href=\"", '"'), ("src=\"", '"')] {
            found.extend(line.split(start).skip(1).filter_map(|rest| rest.split(end).next()));
        }
        let definition = line.starts_with('[').then(|| line.split_once("]: ")).flatten();
        found.extend(definition.map(|(_, to)| to));
    }
    found
}

/// The file that a link leads to, and the heading in it: an item of `guide` is the page it
/// includes.
fn target(from: &Path, link: &str) -> Option<(PathBuf, Option<String>)> {
    let (path, heading) =
        link.split_once('#').map_or((link, None), |(p, h)| (p, Some(h.to_owned())));
    if let Some(recipes) = path.strip_prefix("crate::guide::recipes::") {
        return Some((root().join(format!("docs/recipes/{recipes}.md")), heading));
    }
    if path == "crate::guide::limits" {
        return Some((root().join("docs/LIMITS.md"), heading));
    }
    if path.contains("://") || path.starts_with("crate") {
        return None; // rustdoc looks at items
    }
    let file = if path.is_empty() { from.to_owned() } else { from.parent().unwrap().join(path) };
    Some((file, heading))
}

#[test]
fn every_link_of_the_documents_leads_somewhere() {
    let mut followed = 0;
    for page in pages() {
        let text = fs::read_to_string(&page).unwrap();
        for link in links(&text) {
            let Some((file, heading)) = target(&page, link) else { continue };
            assert!(file.exists(), "{}: {link} is not there", page.display());
            if let Some(heading) = heading {
                let there = anchors(&fs::read_to_string(&file).unwrap());
                assert!(there.contains(&heading), "{}: no heading {link}", page.display());
            }
            followed += 1;
        }
    }
    assert!(followed > 100, "{followed} links followed");
}

#[test]
fn links_and_anchors_are_found() {
    let page = "[a](b.md#c) ![d](e.svg)\n```\n[no](link)\n# none\n```\n[f]: g.md\n<a href=\"h\">";
    assert_eq!(links(page).into_iter().collect::<Vec<_>>(), ["b.md#c", "e.svg", "g.md", "h"]);
    assert_eq!(anchor("## `select!` corrupts, and 2.5 more?"), "select-corrupts-and-25-more");
    assert_eq!(anchors("# A b\n```\n# c\n```\n").into_iter().collect::<Vec<_>>(), ["a-b"]);
}

#[test]
fn every_test_that_a_page_names_is_there() {
    for (page, least) in [("docs/COMPARE.md", 3), ("docs/MIGRATING.md", 8), ("docs/HEADS.md", 30)] {
        let mut named = 0;
        for (path, name) in quoted(&read(page)).filter_map(|place| place.split_once(".rs: ")) {
            let source = read(&format!("{path}.rs"));
            let shared = source.contains(&format!("\nfn {name}<")); // run for each adapter
            assert!(shared || tests(&source).contains(name), "{page}: {path}.rs: no test {name}");
            named += 1;
        }
        assert!(named >= least, "{page}: {named} tests named");
    }
}

#[test]
fn every_row_of_the_heads_names_a_test() {
    let page = read("docs/HEADS.md");
    let rows = page.lines().filter(|line| line.starts_with('|') && !line.starts_with("|--"));
    let rows = rows.filter(|line| !line.starts_with("| head |"));
    let mut found = 0;
    for row in rows {
        let cells: Vec<_> = row.trim_matches('|').split('|').collect();
        assert!(cells.len() == 4 && cells[3].contains(".rs: "), "{row}");
        found += 1;
    }
    assert!(found > 30, "{found} rows");
}

/// A new rustls is a breaking release, but only for programs that convert.
#[test]
fn only_conversions_have_types_of_rustls() {
    let mut found = 0;
    for api in ["", "-loop", "-tls"] {
        let page = read(&format!("docs/PUBLIC-API{api}.txt"));
        for line in page.lines().filter(|line| line.contains("rustls::")) {
            let conversion = line.contains("core::convert::From<")
                || ["::from(", "::new(", "::connection("].iter().any(|name| line.contains(name));
            assert!(conversion, "docs/PUBLIC-API{api}.txt: {line}");
            found += 1;
        }
    }
    assert!(found > 9, "{found} conversions");
}

/// docs.rs has no page of a package that is not published.
#[test]
fn no_page_links_to_docs_that_are_nowhere() {
    let stays: Vec<_> = members().into_iter().filter(|member| !is_published(member)).collect();
    assert!(!stays.is_empty());
    for path in rust_files().into_iter().chain(pages()) {
        let text = fs::read_to_string(&path).unwrap();
        for member in &stays {
            let link =
                format!("https://docs.rs/{}/", member.file_name().unwrap().to_str().unwrap());
            assert!(!text.contains(&link), "{}: {link}", path.display());
        }
    }
}

/// Without such a line rustdoc allows each of them, also in a page that a crate includes.
#[test]
fn code_in_the_documentation_has_no_dead_arm_and_no_result_unlooked_at() {
    let line =
        "\n#![doc(test(attr(allow(unused), deny(unreachable_patterns, unused_must_use))))]\n";
    for folder in members().into_iter().chain([root().to_owned()]) {
        let lib = folder.join("src/lib.rs");
        assert!(fs::read_to_string(&lib).unwrap().contains(line), "{}", lib.display());
    }
}

/// What the list of the API has under tokio, and not under another adapter, is what the page says.
#[test]
fn the_recipes_name_each_call_that_an_adapter_lacks() {
    let (api, page) = (read("docs/PUBLIC-API.txt"), read("docs/recipes/README.md"));
    // Calls of `Stream` and `Sink` are no more than these traits.
    let of_traits =
        ["is_terminated", "poll_next", "poll_ready", "start_send", "poll_flush", "poll_close"];
    let calls = |adapter: &str| -> BTreeSet<String> {
        let start = format!("fn tickwire::{adapter}::");
        let names = api.lines().filter_map(|line| {
            let mut depth = 0;
            let outside = line.split_once(&start)?.1.split('(').next()?.chars().filter(|c| {
                depth += i32::from(*c == '<');
                let kept = depth == 0;
                depth -= i32::from(*c == '>');
                kept
            });
            let path = outside.collect::<String>();
            let (owner, name) = path.rsplit_once("::").unwrap_or(("", &path));
            let is_ours = ["", "Incoming", "Reader", "WebSocket", "Writer"].contains(&owner);
            (is_ours && !of_traits.contains(&name)).then(|| name.to_owned())
        });
        names.collect()
    };
    let all = calls("tokio");
    assert!(all.len() > 30, "{all:?}");
    for (adapter, without) in
        [("blocking", "and neither `Stream` nor `Sink`"), ("futures_io", "because")]
    {
        let lacks: BTreeSet<_> = all.difference(&calls(adapter)).cloned().collect();
        let (_, says) =
            page.split_once(&format!("\n- `{adapter}` has the calls of `tokio`")).unwrap();
        let (_, says) = says.split_once("but no ").unwrap();
        let says = says.split_once(without).unwrap().0;
        assert_eq!(lacks, quoted(says).map(str::to_owned).collect(), "{adapter}");
    }
}

/// The lines of each paragraph, joined; a row of a table is one.
fn paragraphs(text: &str) -> Vec<String> {
    let mut found = vec![String::new()];
    for line in text.lines().map(str::trim) {
        let row = line.starts_with('|');
        if row || line.is_empty() {
            found.push(String::new());
        }
        let last = found.last_mut().unwrap();
        last.push_str(line);
        last.push(' ');
        if row {
            found.push(String::new());
        }
    }
    found
}

/// Anybody could register it, and a reader would install that.
#[test]
fn who_names_a_crate_that_is_not_published_says_that_the_registry_has_none() {
    let members = members();
    let stays = members.iter().filter(|member| !is_published(member));
    let names: Vec<_> = stays.map(|it| it.file_name().unwrap().to_str().unwrap()).collect();
    assert_eq!(names.len(), 3, "{names:?}");
    let goes_out = |path: &Path| match members.iter().find(|member| path.starts_with(member)) {
        Some(member) => is_published(member),
        None => {
            let of_the_repository = ["docs/ARCHITECTURE.md", "docs/TESTING.md"];
            let starts = |start: &str| path.starts_with(root().join(start));
            ["README.md", "docs", "src"].into_iter().any(starts)
                && !of_the_repository.into_iter().any(starts)
        }
    };
    let mut found = 0;
    for path in rust_files().into_iter().chain(pages()).filter(|path| goes_out(path)) {
        let text = fs::read_to_string(&path).unwrap();
        let doc = |line: &str| match line.trim().strip_prefix("//") {
            Some(line) => line.strip_prefix(['!', '/']).unwrap_or_default().trim().to_owned(),
            None => String::new(),
        };
        let text = match path.extension().unwrap() == "rs" {
            true => text.lines().map(doc).collect::<Vec<_>>().join("\n"),
            false => text,
        };
        for paragraph in paragraphs(&text) {
            for name in &names {
                let bare = paragraph.replace('_', "-").replace(&format!("crates/{name}/"), "");
                // Not `tickwire_tape`.
                let ends = |rest: &str| !rest.starts_with(char::is_alphanumeric);
                let names_it = bare.split(name).skip(1).any(ends);
                if names_it && !bare.contains("#beside-this-crate") {
                    let says = bare.contains("no such crate is on the registry");
                    assert!(says, "{}: {paragraph}", path.display());
                    found += 1;
                }
            }
        }
    }
    assert!(found > 10, "{found} places");
}

/// `.ci/release --bump` sets both.
#[test]
fn pages_depend_on_the_version_that_cargo_toml_has() {
    let manifest = read("Cargo.toml");
    let version = manifest.lines().find_map(|line| line.strip_prefix("version = ")).unwrap();
    let minor = format!("{}\"", version.rsplit_once('.').unwrap().0);
    let mut found = 0;
    for path in pages() {
        let text = fs::read_to_string(&path).unwrap();
        for line in text.lines().filter(|line| line.contains("tickwire")) {
            for value in line.split("= ").skip(1).filter(|value| value.starts_with('"')) {
                let digit = value.as_bytes().get(1).is_some_and(u8::is_ascii_digit);
                assert!(!digit || value.starts_with(&minor), "{}: {line}", path.display());
                found += usize::from(digit);
            }
        }
    }
    assert!(found > 10, "{found} places");
}

/// A folder that moves takes its commands along.
#[test]
fn every_path_in_a_command_is_there() {
    let ours = "tests/ checks/ fuzz/ benches/ examples/ src/ docs/ .ci/ crates/";
    let ours: Vec<_> = ours.split(' ').collect();
    let pages = ["README.md", "CONTRIBUTING.md", "RELEASING.md", "docs/TESTING.md"];
    let mut found = 0;
    for page in pages.into_iter().chain(["docs/COMPARE.md", "docs/MIGRATING.md"]) {
        let page = read(page);
        for word in quoted(&page).flat_map(str::split_whitespace) {
            let path = word.trim_end_matches(':');
            if ours.iter().any(|start| path.starts_with(start)) && !path.contains(['{', '*']) {
                assert!(root().join(path).exists(), "{path} is not there");
                found += 1;
            }
        }
    }
    assert!(found > 50, "{found} paths");
}

/// What a reader copies finds dead peers: whoever starts a server with the defaults names its
/// heartbeat, in the same block of code or line of text. Lines that rustdoc hides are ends of the
/// page's own test, and the page about tests has servers that live for a moment.
#[test]
fn servers_that_one_copies_have_a_heartbeat() {
    const STARTS: [&str; 6] = [
        "accept(",
        "Incoming::read",
        "Door::new(",
        "Upgrade::new(",
        "Connection::server(",
        "server = Handshake::new(",
    ];
    let mut found = 0;
    for path in rust_files().into_iter().chain(pages()) {
        let path = path.strip_prefix(root()).unwrap();
        let docs = path.starts_with("src") || path.extension().is_some_and(|end| end == "md");
        if !docs || path.ends_with("recipes/testing.md") {
            continue;
        }
        let file = fs::read_to_string(root().join(path)).unwrap();
        let page = file.lines().filter_map(|line| match path.starts_with("src") {
            true => line.trim_start().strip_prefix("//"),
            false => Some(line),
        });
        let mut block = String::new();
        let mut code = false;
        for line in page {
            let text = line.trim_start_matches(['/', '!', ' ']);
            code ^= text.starts_with("```");
            let serves = |text: &str| STARTS.iter().any(|start| text.contains(start));
            if !text.starts_with('#') {
                let bad = serves(text) && text.contains("Config::default()");
                assert!(!bad, "{}: {text}", path.display());
                block += text;
            }
            if !code {
                let serves = serves(&block);
                let names = ["Config::server()", "heartbeat"];
                let is_alive = names.iter().any(|name| block.contains(name));
                let bad = serves && block.contains("Config::default()") && !is_alive;
                assert!(!bad, "{}: {block}", path.display());
                found += usize::from(serves && is_alive);
                block.clear();
            }
        }
    }
    assert!(found > 10, "{found} servers");
}

/// A row of a table cannot be broken, also where it is in a comment.
#[test]
fn lines_have_at_most_100_columns() {
    for path in rust_files().into_iter().chain(pages()) {
        for (line, number) in fs::read_to_string(&path).unwrap().lines().zip(1..) {
            let text = line.trim_start_matches([' ', '/', '!']);
            let whole =
                text.starts_with('|') || (text.starts_with('[') && text.contains("]: http"));
            let columns = line.chars().count();
            assert!(whole || columns <= 100, "{}:{number}: {columns} columns", path.display());
        }
    }
}

/// rustdoc shows 96 columns of code in a window of 1,300 pixels. Hidden lines do not count.
#[test]
fn code_in_the_documentation_fits_a_window() {
    let published = [
        "src",
        "ground",
        "crates",
        "README.md",
        "docs/recipes",
        "docs/MIGRATING.md",
        "docs/loop.rs",
    ];
    let published = published.map(|part| root().join(part));
    let files = rust_files().into_iter().chain(pages()).chain([root().join("docs/loop.rs")]);
    for path in files.filter(|path| published.iter().any(|part| path.starts_with(part))) {
        let is_code = path.ends_with("docs/loop.rs");
        let has_docs = !is_code && path.extension().is_some_and(|extension| extension == "rs");
        let mut fenced = is_code;
        for (mut line, number) in fs::read_to_string(&path).unwrap().lines().zip(1..) {
            if has_docs {
                let line_of_docs = line.trim_start().strip_prefix("//");
                let line_of_docs = line_of_docs.and_then(|rest| rest.strip_prefix(['/', '!']));
                line = line_of_docs.map_or("", |rest| rest.strip_prefix(' ').unwrap_or(rest));
            }
            fenced ^= line.trim_start().starts_with("```");
            let columns = line.chars().count();
            let fits = !fenced || columns <= 95 || line.starts_with("# ");
            assert!(fits, "{}:{number}: {columns} columns", path.display());
        }
    }
}

#[test]
fn the_figures_of_the_readme_and_its_chart_are_those_measured() {
    let (readme, benches, chart) =
        (read("README.md"), read("benches/RESULTS.md"), read("docs/chart.svg"));
    let (_, measured) = benches.split_once("\n## Side by side\n").unwrap();
    let measured: BTreeSet<_> = measured.split("\n## ").next().unwrap().lines().collect();
    let digit = |cell: &str| cell.trim_start().starts_with(|c: char| c.is_ascii_digit());
    let (_, compares) = readme.split_once("\n## How it compares\n").unwrap();
    let rows = compares.split("\n## ").next().unwrap().lines();
    let rows: Vec<_> = rows.filter(|row| row.split('|').nth(2).is_some_and(digit)).collect();
    assert!(rows.len() >= 3, "{rows:?}");
    for row in &rows {
        assert!(measured.contains(row), "{row}");
    }
    let head = compares.lines().find(|line| line.starts_with("| |")).unwrap();
    assert!(measured.contains(head), "{head}");

    let latency = measured.iter().find(|row| row.starts_with("| latency over ws, p50")).unwrap();
    let cells: Vec<_> = latency.split('|').map(str::trim).collect();
    let says = format!(
        "takes {} times that of bare TCP, tokio-tungstenite's {} and sockudo-ws' {}.",
        cells[2], cells[3], cells[6]
    );
    let prose = compares.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(prose.contains(&says), "the README does not say: {says}");

    for (name, kind) in [("| echo over ws, 64 B", "ws"), ("| echo over wss, 64 B", "wss")] {
        let row = rows.iter().find(|row| row.starts_with(name)).expect(name);
        for figure in row.trim_matches('|').split('|').skip(1) {
            let text = format!(">{} {kind}</text>", figure.trim());
            assert!(chart.contains(&text), "{name}: {figure} is not in docs/chart.svg");
        }
    }
}

/// Each row of the table has the number of crates that cargo resolves for its features.
#[test]
#[cfg(target_os = "linux")]
fn a_program_compiles_as_many_crates_as_compare_says() {
    let page = read("docs/COMPARE.md");
    let (_, table) = page.split_once("| features | crates | which |\n").unwrap();
    let rows: Vec<_> = table.lines().skip(1).take_while(|line| line.starts_with('|')).collect();
    assert_eq!(rows.len(), 6);
    for row in rows {
        let cells: Vec<_> = row.split('|').map(str::trim).collect();
        let mut features: Vec<_> = quoted(cells[1].split(':').next().unwrap()).collect();
        if cells[1].starts_with("the default") {
            features.extend(["client", "tokio"]);
        }
        let tree = std::process::Command::new(env!("CARGO"))
            .args(["tree", "--offline", "--locked", "--package=tickwire", "--edges=normal"])
            .args(["--prefix=none", "--target=x86_64-unknown-linux-gnu", "--no-default-features"])
            .arg(format!("--features={}", features.join(",")))
            .current_dir(root())
            .output()
            .unwrap();
        assert!(tree.status.success(), "{}", String::from_utf8_lossy(&tree.stderr));
        let tree = String::from_utf8(tree.stdout).unwrap();
        // Two versions of a crate are two, and tickwire itself is not below it.
        let crates: BTreeSet<Vec<_>> =
            tree.lines().map(|line| line.split_whitespace().take(2).collect()).collect();
        assert_eq!((crates.len() - 1).to_string(), cells[2], "{row}");
    }
}

/// The numbers of a text, without the commas in thousands.
fn numbers(text: &str) -> BTreeSet<String> {
    let inside = |c: char| c.is_ascii_digit() || c == '.' || c == ',';
    let words = text.split(|c| !inside(c)).map(|word| word.trim_matches(['.', ',']));
    words.filter(|word| !word.is_empty()).map(|word| word.replace(',', "")).collect()
}

/// A run of the benches changes `benches/RESULTS.md`; what quotes it then fails here.
#[test]
fn pages_that_quote_a_figure_quote_the_one_measured() {
    let results = read("benches/RESULTS.md");
    let measured = numbers(&results);
    let compare = read("docs/COMPARE.md");
    let programs = ["`instructions", "[instructions", "`memory", "`sockets", "`idle", "row "];
    let quotes = |row: &&str| {
        let by = row.trim_matches('|').rsplit('|').next().unwrap().trim_start();
        programs.iter().any(|program| by.starts_with(program))
    };
    let rows: Vec<_> = compare.lines().filter(quotes).collect();
    assert!(rows.len() > 10, "{} rows", rows.len());
    for row in rows {
        let quoted = numbers(row.split('|').nth(2).unwrap());
        let strange: Vec<_> = quoted.difference(&measured).collect();
        assert!(strange.is_empty(), "{strange:?} in {row}");
    }

    let idle = results.lines().find(|row| row.starts_with("| idle connection over ws: KiB"));
    let idle = format!("{} KiB", idle.unwrap().split('|').nth(2).unwrap().trim());
    for page in ["docs/MIGRATING.md", "docs/recipes/operations.md"] {
        assert!(read(page).contains(&idle), "{page} does not say {idle}");
    }
}
