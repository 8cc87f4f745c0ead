//! `wsconform learn`: the machine of a target, learned from outside, beside that of the RFCs.

mod compare;
mod learner;
mod talk;

use crate::{
    Error, autobahn,
    listener::Listener,
    options::Options,
    output::{print, tell},
    run::{Place, Progress, Target},
    server,
    signals::until_interrupt,
    stream::Stream,
    tls,
};
use compare::{Difference, Table};
use learner::{Learned, Learner, Stop, Word};
use std::{
    collections::BTreeMap,
    fmt::Write as _,
    fs,
    time::{Duration, Instant},
};
use talk::{Opening, Talks};
use wsconform_cases::{
    Level, Role,
    protocol::{Event, Machine},
};

/// Learns a server. Returns whether it keeps all that it must.
pub(crate) fn server(url: &str, options: &Options) -> Result<bool, Error> {
    let (server, place, url) = server::at(url, options)?;
    let name = options.name.as_deref().unwrap_or(&url);
    let learned = until_interrupt(
        || learn(&server, name, &place, options.jobs, options),
        || {
            server.abandon();
            Err("interrupted: what was learned until now stands above, if there is any".into())
        },
    )?;
    learned.map_err(|error| place.admission.without(&error.to_string()).into())
}

/// Learns a client that connects again and again.
pub(crate) fn client(address: &str, options: &Options) -> Result<bool, Error> {
    let listener = Listener::new(address, tls::server(options)?)?;
    listener.announce()?;
    let client = Client { listener, idle: options.idle };
    let name = options.name.as_deref().unwrap_or("client");
    until_interrupt(
        || learn(&client, name, &Place::default(), 1, options),
        || Err("interrupted: what was learned until now stands above, if there is any".into()),
    )?
}

struct Client {
    listener: Listener,
    idle: Duration,
}

impl Target for Client {
    type Connection = Stream;

    const OPEN: usize = 1;
    const STARTS: bool = false;

    fn role(&self) -> Role {
        Role::Client
    }

    fn connect(&self) -> Result<Stream, Error> {
        let until = Instant::now() + self.idle;
        let patience = || match Instant::now() > until {
            true => Err(format!("no client connects within {} s", self.idle.as_secs()).into()),
            false => Ok(()),
        };
        loop {
            let stream = self.listener.accept(patience)?;
            if let Ok(stream) = self.listener.secured(stream, autobahn::HEAD) {
                return Ok(stream);
            }
        }
    }
}

/// What can be said in a conversation, and has an answer that is judged: no limit is one, behind a
/// reset nothing can be heard, and who answers a Close does not show. What is compressed needs an
/// agreement, but for one frame that shows what is done without; no message is cut within a block of
/// DEFLATE, since not all events have a meaning there, and no stream refuses a write.
fn may_be_said(event: &Event, agreed: bool) -> bool {
    let is_compressed = event.name.contains("deflated") && event.name != "deflated text";
    event.arrives()
        && !matches!(event.kind, "reset" | "broken too big" | "Close by hand")
        && !event.name.ends_with(" block")
        && !event.kind.ends_with(" refused")
        && (agreed || !(is_compressed || event.name == "deflated, corrupt"))
}

fn learn<T: Target>(
    target: &T,
    name: &str,
    place: &Place,
    jobs: usize,
    options: &Options,
) -> Result<bool, Error> {
    let until = options.within.map(|within| Instant::now() + within);
    let opening = Opening { target, place, deflate: options.deflate };
    let look = opening.look()?;
    let agreed = look.agreed;
    let machine = Machine::new(target.role(), agreed, |event| may_be_said(event, agreed));
    let mut talks = Talks::new(opening, &machine, &look, jobs, until);
    let telling = Table { machine: &machine, echoes: true }.telling();
    let mut learner = Learner::new(&mut talks, machine.events.len(), telling);
    let mut told = Told {
        name,
        role: target.role(),
        machine: &machine,
        agreed,
        options,
        began: Instant::now(),
        last: None,
    };
    let result = learn_and_compare(&mut learner, &mut told);
    if let Some(death) = target.deaths().pop() {
        let how = death.in_words();
        return Err(format!("the command has died, and is not learned ({how})").into());
    }
    let names = |word: &[usize]| names(&machine, word, " | ");
    match (result, told.last) {
        (Ok(holds), _) => Ok(holds),
        (Err(Stop::Failed(_)), Some((_, holds))) if learner.target().is_late() => {
            tell("no time is left: the machine is as above\n");
            Ok(holds)
        }
        (Err(Stop::Failed(_)), None) if learner.target().is_late() => {
            Err("no time is left, and the machine is not learned yet: see --within".into())
        }
        (Err(Stop::Failed(error)), _) => Err(error),
        (Err(Stop::Endless), _) => Err("it has more than a hundred states, and is not learned: \
             its state depends on how much was said, or on when"
            .into()),
        (Err(Stop::Racing(word, [before, now])), _) => Err(format!(
            "it races, and is not learned: the last answer to {} is '{before}', and '{now}' \
             when that is said again",
            names(&word)
        )
        .into()),
    }
}

fn names(machine: &Machine, word: &[usize], between: &str) -> String {
    let names: Vec<&str> = word.iter().map(|symbol| machine.events[*symbol].name).collect();
    names.join(between)
}

/// What is told of a machine as soon as it is known.
struct Told<'a> {
    name: &'a str,
    role: Role,
    machine: &'a Machine,
    agreed: bool,
    options: &'a Options,
    began: Instant,
    /// How many states the machine had that was told last, and whether it keeps all that it must.
    last: Option<(usize, bool)>,
}

/// A difference, and what is answered if there are no Pings between the symbols, if that is
/// something else.
struct Seen {
    difference: Difference,
    at_once: Option<String>,
}

/// Returns whether the target keeps all that it must. No difference is told that was not seen in a
/// conversation.
fn learn_and_compare<T: Target>(
    learner: &mut Learner<'_, Talks<'_, T>>,
    told: &mut Told<'_>,
) -> Result<bool, Stop> {
    let machine = told.machine;
    let text = machine.events.iter().position(|event| event.name == "text");
    let text = text.expect("the table has texts");
    loop {
        let learned = learner.close()?;
        let states = learned.access.len();
        let echoes = learned.text(learned.at(0, text).0).starts_with("text");
        let differences = Table { machine, echoes }.differences(&learned);
        let traces: Vec<Word> = differences.iter().map(|found| found.trace.clone()).collect();
        if !learner.confirms(&learned, &traces)? {
            continue;
        }
        let mut seen = Vec::new();
        for difference in differences {
            let is = learner.target().say_at_once(&difference.trace)?;
            let by_steps = learned.all_answers(&difference.trace);
            let at_once = is.filter(|is| *is != by_steps);
            seen.push(Seen { difference, at_once });
        }
        let most = told.options.states.unwrap_or(states + 1);
        let holds = told.tell(&learned, learner.conversations, &seen, echoes, most)?;
        if most <= states {
            return Ok(holds);
        }
        let (more, most) = learner.learn(Some(most))?;
        if more.access.len() == states {
            Progress::end();
            let conversations = learner.conversations;
            let role = told.role;
            print(&format!(
                "\nComplete if the {role} has at most {most} states, by {conversations} conversations.\n"
            ))?;
            return Ok(holds);
        }
    }
}

impl Told<'_> {
    fn tell(
        &mut self,
        learned: &Learned,
        conversations: usize,
        seen: &[Seen],
        echoes: bool,
        most: usize,
    ) -> Result<bool, Error> {
        let Told { name, machine, options, .. } = *self;
        Progress::end();
        let states = learned.access.len();
        let seconds = self.began.elapsed().as_secs();
        tell(&format!("{conversations} conversations in {seconds} s\n"));
        let deflate = if self.agreed { ", with permessage-deflate" } else { "" };
        let role = self.role;
        let next = match most > states {
            true => format!(" Going on to {most}."),
            false => String::new(),
        };
        let mut text = format!(
            "{name}: {states} states, by {conversations} conversations of {} symbols{deflate}\n\
             Complete if the {role} has at most {states} states, and if no answer depends on what a \
             symbol stands for.{next}\n",
            machine.events.len()
        );
        write_states(&mut text, learned, machine);
        if let Some(file) = &options.dot {
            let dot = dot(name, learned, machine);
            fs::write(file, dot).map_err(|error| format!("{file}: {error}"))?;
        }
        if !echoes {
            text +=
                "\nIt sends no text back, so messages are judged as if none had to come back.\n";
        }
        text += "\n";
        if seen.is_empty() {
            text += "It is the machine of the RFCs.\n";
        }
        for Seen { difference, at_once } in seen {
            let between = if at_once.is_some() { " | two Pings | " } else { " | " };
            let _ = writeln!(
                text,
                "{:?} {}: {}\n    answer: {}; expected: {}",
                difference.level,
                difference.section,
                names(machine, &difference.trace, between),
                difference.answer,
                difference.expected
            );
            if let Some(at_once) = at_once {
                let _ = writeln!(text, "    without the Pings all that is answered: {at_once}");
            }
            if !difference.also.is_empty() {
                let also = difference.also.iter().map(|event| machine.events[*event].name);
                let also = also.collect::<Vec<_>>().join("; ");
                let _ = writeln!(text, "    so too, at the end of other words: {also}");
            }
        }
        print(&text)?;
        let fails = |level| level == Level::R || (options.strict && level == Level::S);
        let holds = !seen.iter().any(|seen| fails(seen.difference.level));
        self.last = Some((states, holds));
        Ok(holds)
    }
}

/// Symbols by what they do in a state.
fn moves(
    learned: &Learned,
    machine: &Machine,
    state: usize,
) -> Vec<(String, usize, Vec<&'static str>)> {
    let mut by_move: BTreeMap<(usize, usize), Vec<&str>> = BTreeMap::new();
    for (symbol, event) in machine.events.iter().enumerate() {
        by_move.entry(learned.at(state, symbol)).or_default().push(event.name);
    }
    let mut moves: Vec<_> = by_move
        .into_iter()
        .map(|((answer, next), names)| (learned.text(answer).to_owned(), next, names))
        .collect();
    moves.sort_by_key(|(_, _, names)| std::cmp::Reverse(names.len()));
    moves
}

fn write_states(text: &mut String, learned: &Learned, machine: &Machine) {
    for (state, access) in learned.access.iter().enumerate() {
        let way: Vec<&str> = access.iter().map(|symbol| machine.events[*symbol].name).collect();
        let way = if way.is_empty() { "the opening".to_owned() } else { way.join(" | ") };
        let _ = writeln!(text, "\nstate {state}, after {way}");
        if learned.is_over(state) {
            *text += "    the connection is over\n";
            continue;
        }
        for (answer, next, names) in moves(learned, machine, state) {
            let _ = writeln!(text, "    {answer}, state {next}: {}", names.join("; "));
        }
    }
}

/// A picture for Graphviz.
fn dot(name: &str, learned: &Learned, machine: &Machine) -> String {
    let escaped = |text: &str| text.replace('\\', "\\\\").replace('"', "\\\"");
    let mut text = format!("digraph {{\n  label=\"{}\";\n  node [shape=circle];\n", escaped(name));
    for state in 0..learned.access.len() {
        if learned.is_over(state) {
            let _ = writeln!(text, "  {state} [label=over shape=doublecircle];");
            continue;
        }
        for (answer, next, names) in moves(learned, machine, state) {
            let label = format!(
                "{}\\n/ {}",
                escaped(&names.join("\n")).replace('\n', "\\n"),
                escaped(&answer)
            );
            let _ = writeln!(text, "  {state} -> {next} [label=\"{label}\"];");
        }
    }
    text + "}\n"
}
