//! The command line.

use crate::Error;
use lexopt::prelude::*;
use std::{env, ffi::OsString, str::FromStr, time::Duration};
use wsconform_cases::{Case, Group, Role, cases};

pub(crate) const HELP: &str = "\
Tests a WebSocket server or client against RFC 6455 and RFC 7692.

Usage:
  wsconform server URL                    a server, best one that echoes
  wsconform server URL -- COMMAND ..      the same, and the command is the server: it is started,
                                          started again when it has died, and stopped
  wsconform client -- COMMAND .. {url}    a client: one run of the command for each case
  wsconform client --listen ADDRESS       a client that asks for cases as Autobahn's do
  wsconform learn URL                     the state machine of a server, beside that of the RFCs
  wsconform learn URL -- COMMAND ..       the same, of a server that the command is
  wsconform learn --listen ADDRESS        of a client that connects again and again
  wsconform html REPORT.json ..           one page of several reports
  wsconform --list                        the cases
  wsconform --explain CASE                one page about a case

What is run:
  --case CASE       only this case; may be repeated, and may be the start of numbers, such as F-
  --group GROUP     only handshake, http, frames, close, utf8, deflate or delivery; may be repeated
  --section START   only of sections that begin so, such as 'RFC 6455 5.5'; may be repeated
  --except CASE     not this case, such as one that ends the server; may be repeated
  --no-echo         do not expect the peer to send messages back
  --handshake       with --listen: handshake cases too
  --keep            with --listen: go on after the first report, afresh
  --idle SECONDS    with --listen: end if so long, in the middle of a round, no client connects [60]
  --wait SECONDS    how long the first connection is tried; until COMMAND listens [0; 60]
  --within SECONDS  the run ends then, with what was judged and exit code 2 [1800]
  --jobs N          cases that talk with the peer at one time, 1 to 64 [8]; with 1, no other is open
  --seed N          of masking keys and drawn data [0]

What is learned:
  --states N        complete for a target of so many states [one more than it is found to have]
  --within SECONDS  what is learned by then
  --deflate         offer permessage-deflate, and learn what becomes of compressed messages too
  --dot FILE        the machine as a picture for Graphviz

What a server wants to see (no report shows it):
  --header 'NAME: VALUE'   in each request, unless the case has that header; may be repeated
  --subprotocol NAME       offered in the same way; may be repeated
  --origin ORIGIN          the page that the requests come from
  ws://USER:PASSWORD@..    in the URL, % before two digits as usual: basic authentication

What comes out:
  --json FILE       the report
  --html FILE       the report as a page
  --junit FILE      the report for CI servers
  --hex             the bytes of each case that was run, and what they say
  --expect FILE     known failures, and the edition of the cases that they are of
  --write-expect FILE   makes this file of the failures; it may be that of --expect
  --strict          a peer that takes what no peer may send (level S) fails
  --name NAME       what the report calls the target [the URL or the command]

TLS:
  --ca FILE         trust the certificates of this PEM file, not those of the web: authorities, or
                    the very one that the server has
  --insecure        trust any certificate
  --cert FILE --key FILE   with `client`: serve wss; both or none

An option that does nothing for a command is refused.

The exit code is 0 if each case has a verdict and nothing failed but what --expect names, 1 if
something did, 2 if a case has none, the target could not be tested, fell silent or did not ask for
all, or at Ctrl-C: the report has what was judged until then.
";

/// What to do.
pub(crate) enum Command {
    Help,
    Version,
    List,
    Explain(String),
    Html(Vec<String>),
    Server(String),
    Learn(String),
    LearnClient(String),
    Client(Vec<String>),
    Listen(String),
}

/// How to do it.
#[derive(Default)]
pub(crate) struct Options {
    cases: Vec<String>,
    except: Vec<String>,
    groups: Vec<String>,
    sections: Vec<String>,
    pub(crate) no_echo: bool,
    pub(crate) handshake: bool,
    pub(crate) keep: bool,
    pub(crate) idle: Duration,
    /// The command of a server.
    pub(crate) command: Vec<String>,
    pub(crate) wait: Option<Duration>,
    pub(crate) jobs: usize,
    pub(crate) seed: u64,
    pub(crate) headers: Vec<String>,
    pub(crate) subprotocols: Vec<String>,
    pub(crate) origin: Option<String>,
    pub(crate) json: Option<String>,
    pub(crate) html: Option<String>,
    pub(crate) junit: Option<String>,
    pub(crate) hex: bool,
    pub(crate) strict: bool,
    pub(crate) expect: Option<String>,
    pub(crate) write_expect: Option<String>,
    pub(crate) name: Option<String>,
    pub(crate) ca: Option<String>,
    pub(crate) insecure: bool,
    pub(crate) cert: Option<String>,
    pub(crate) key: Option<String>,
    pub(crate) states: Option<usize>,
    pub(crate) within: Option<Duration>,
    pub(crate) deflate: bool,
    pub(crate) dot: Option<String>,
}

impl Options {
    /// Whether `--case`, `--group`, `--section` and `--except` let this case run.
    pub(crate) fn chooses(&self, case: &Case) -> bool {
        let by_number =
            self.cases.is_empty() || self.cases.iter().any(|start| case.id.starts_with(start));
        let by_group = self.groups.is_empty()
            || self.groups.iter().any(|name| *name == group_name(case.group()));
        let section = &case.rule.section;
        let by_section =
            self.sections.is_empty() || self.sections.iter().any(|start| begins(section, start));
        let is_excepted = self.except.iter().any(|start| case.id.starts_with(start));
        by_number && by_group && by_section && !is_excepted
    }

    /// The cases that are to run on this role: at least one.
    pub(crate) fn chosen(&self, role: Role) -> Result<Vec<&'static Case>, Error> {
        let chosen: Vec<&Case> =
            cases().iter().filter(|case| case.tests(role) && self.chooses(case)).collect();
        if chosen.is_empty() {
            return Err(format!("no case that was chosen tests a {role}").into());
        }
        Ok(chosen)
    }

    /// What cannot be meant, or cannot be done together.
    fn check(&self) -> Result<(), Error> {
        match (&self.cert, &self.key) {
            (Some(_), None) => return Err("--cert without --key: TLS takes both".into()),
            (None, Some(_)) => return Err("--key without --cert: TLS takes both".into()),
            _ => {}
        }
        for start in self.cases.iter().chain(&self.except) {
            if !cases().iter().any(|case| case.id.starts_with(start)) {
                return Err(format!("no case begins with {start}: see --list").into());
            }
        }
        for start in &self.sections {
            if !cases().iter().any(|case| begins(&case.rule.section, start)) {
                return Err(format!("no case is of section {start}: see --list").into());
            }
        }
        if self.idle.is_zero() {
            return Err("--idle 0: it takes at least 1".into());
        }
        if !(1..=64).contains(&self.jobs) {
            return Err(format!("--jobs {}: it takes 1 to 64", self.jobs).into());
        }
        Ok(())
    }
}

/// Whether a section is the other, or a part of it: 5.5 has 5.5.1, and not 5.55.
fn begins(section: &str, start: &str) -> bool {
    section.strip_prefix(start).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

fn group_name(group: Group) -> String {
    serde_json::to_value(group)
        .ok()
        .and_then(|name| name.as_str().map(str::to_owned))
        .unwrap_or_default()
}

impl Command {
    /// What the option would do nothing for, unless the command takes it.
    fn refuses(&self, option: &str) -> Option<&'static str> {
        let (name, takes): (_, &[&[&str]]) = match self {
            Command::Help | Command::Version => return None,
            Command::List => ("--list", &[CHOICE, &["list"]]),
            Command::Explain(_) => ("--explain", &[&["explain"]]),
            Command::Html(_) => ("html", &[]),
            Command::Server(_) => {
                ("server", &[CHOICE, RUN, ADMISSION, &["jobs", "wait", "within", "ca", "insecure"]])
            }
            Command::Learn(_) => ("learn URL", &[LEARN, ADMISSION, &["jobs", "ca", "insecure"]]),
            Command::LearnClient(_) => {
                ("learn --listen", &[LEARN, &["listen", "idle", "cert", "key"]])
            }
            Command::Client(_) => {
                ("client -- COMMAND", &[CHOICE, RUN, &["jobs", "wait", "within", "cert", "key"]])
            }
            Command::Listen(_) => (
                "client --listen",
                &[CHOICE, RUN, &["listen", "handshake", "keep", "idle", "cert", "key"]],
            ),
        };
        let is_taken = takes.iter().any(|options| options.contains(&option));
        (!is_taken).then_some(name)
    }
}

/// Options of which cases are meant.
const CHOICE: &[&str] = &["case", "group", "section", "except"];

/// Options of what is learned.
const LEARN: &[&str] = &["states", "within", "deflate", "dot", "name", "strict"];

/// Options for a server that does not let everybody in.
const ADMISSION: &[&str] = &["header", "subprotocol", "origin"];

/// Options of every run.
const RUN: &[&str] = &[
    "no-echo",
    "seed",
    "strict",
    "json",
    "html",
    "junit",
    "hex",
    "expect",
    "write-expect",
    "name",
];

pub(crate) fn read() -> Result<(Command, Options), Error> {
    let mut arguments: Vec<OsString> = env::args_os().skip(1).collect();
    let end = arguments.iter().position(|word| word == "--").unwrap_or(arguments.len());
    let mut behind = Vec::new();
    for word in arguments.split_off(end).into_iter().skip(1) {
        behind.push(word.string()?);
    }
    let mut parser = lexopt::Parser::from_args(arguments);
    let mut options = Options { jobs: 8, idle: Duration::from_secs(60), ..Options::default() };
    let mut words: Vec<String> = Vec::new();
    let mut command = None;
    let mut listen = None;
    let mut given = Vec::new();
    while let Some(word) = parser.next()? {
        if let Long(name) = word {
            given.push(name.to_owned());
        }
        match word {
            Long("help") | Short('h') => command = Some(Command::Help),
            Long("version") | Short('V') => command = Some(Command::Version),
            Long("list") => command = Some(Command::List),
            Long("explain") => command = Some(Command::Explain(case(&mut parser)?)),
            Long("listen") => listen = Some(parser.value()?.string()?),
            Long("case") => options.cases.push(case(&mut parser)?),
            Long("except") => options.except.push(case(&mut parser)?),
            Long("group") => {
                let name = parser.value()?.string()?;
                if !Group::ALL.iter().any(|&group| group_name(group) == name) {
                    let groups = Group::ALL.map(group_name).join(", ");
                    return Err(format!("there is no group {name}: {groups}").into());
                }
                options.groups.push(name);
            }
            Long("section") => options.sections.push(parser.value()?.string()?),
            Long("no-echo") => options.no_echo = true,
            Long("handshake") => options.handshake = true,
            Long("keep") => options.keep = true,
            Long("idle") => options.idle = Duration::from_secs(number(&mut parser, "--idle")?),
            Long("wait") => {
                options.wait = Some(Duration::from_secs(number(&mut parser, "--wait")?));
            }
            Long("jobs") => options.jobs = number(&mut parser, "--jobs")?,
            Long("seed") => options.seed = number(&mut parser, "--seed")?,
            Long("header") => options.headers.push(parser.value()?.string()?),
            Long("subprotocol") => options.subprotocols.push(parser.value()?.string()?),
            Long("origin") => options.origin = Some(parser.value()?.string()?),
            Long("json") => options.json = Some(parser.value()?.string()?),
            Long("html") => options.html = Some(parser.value()?.string()?),
            Long("junit") => options.junit = Some(parser.value()?.string()?),
            Long("hex") => options.hex = true,
            Long("strict") => options.strict = true,
            Long("write-expect") => options.write_expect = Some(parser.value()?.string()?),
            Long("expect") => options.expect = Some(parser.value()?.string()?),
            Long("name") => options.name = Some(parser.value()?.string()?),
            Long("ca") => options.ca = Some(parser.value()?.string()?),
            Long("insecure") => options.insecure = true,
            Long("cert") => options.cert = Some(parser.value()?.string()?),
            Long("states") => options.states = Some(number(&mut parser, "--states")?),
            Long("within") => {
                options.within = Some(Duration::from_secs(number(&mut parser, "--within")?));
            }
            Long("deflate") => options.deflate = true,
            Long("dot") => options.dot = Some(parser.value()?.string()?),
            Long("key") => options.key = Some(parser.value()?.string()?),
            Value(value) => words.push(value.string()?),
            other => return Err(other.unexpected().into()),
        }
    }
    options.check()?;
    let command = match command {
        Some(command @ (Command::List | Command::Explain(_))) if !words.is_empty() => {
            let name = if matches!(command, Command::List) { "--list" } else { "--explain CASE" };
            return Err(format!("{name} takes no word more: {words:?}").into());
        }
        Some(command) => command,
        None => of_words(words, &mut behind, listen)?,
    };
    if !matches!(command, Command::Server(_) | Command::Learn(_)) && !behind.is_empty() {
        return Err(format!("a command stands behind server URL or learn URL: {behind:?}").into());
    }
    options.command = behind;
    for option in given {
        if let Some(name) = command.refuses(&option) {
            return Err(format!("--{option} does nothing for {name}").into());
        }
    }
    Ok((command, options))
}

/// The command, by what stands there beside options, and behind `--`.
fn of_words(
    mut words: Vec<String>,
    behind: &mut Vec<String>,
    listen: Option<String>,
) -> Result<Command, Error> {
    if words.is_empty() {
        return Err("a command is missing: server, client, learn or html; see --help".into());
    }
    let first = words.remove(0);
    if first == "client" {
        words.append(behind);
    }
    Ok(match (first.as_str(), listen) {
        ("server", None) if words.len() == 1 => Command::Server(words.remove(0)),
        ("client", None) if !words.is_empty() => Command::Client(words),
        ("client", Some(address)) if words.is_empty() => Command::Listen(address),
        ("learn", None) if words.len() == 1 => Command::Learn(words.remove(0)),
        ("learn", Some(address)) if words.is_empty() => Command::LearnClient(address),
        ("learn", _) => return Err("learn takes one URL, or --listen ADDRESS".into()),
        ("html", None) if !words.is_empty() => Command::Html(words),
        ("server", None) if words.is_empty() => return Err("server: its URL is missing".into()),
        ("server", None) => return Err(format!("server takes one URL, not {words:?}").into()),
        ("client", None) => return Err("client: -- COMMAND or --listen is missing".into()),
        ("client", Some(_)) => return Err(format!("--listen takes no command: {words:?}").into()),
        ("html", None) => return Err("html: no REPORT.json is named".into()),
        ("server" | "html", Some(_)) => {
            return Err("--listen is for client and learn alone".into());
        }
        _ => return Err(format!("{first} is no command: server, client, learn or html").into()),
    })
}

/// The number of a case, in capitals.
fn case(parser: &mut lexopt::Parser) -> Result<String, Error> {
    Ok(parser.value()?.string()?.to_ascii_uppercase())
}

fn number<N: FromStr>(parser: &mut lexopt::Parser, option: &str) -> Result<N, Error> {
    let value = parser.value()?.string()?;
    value.parse().map_err(|_| format!("{option} {value}: it takes a number").into())
}
