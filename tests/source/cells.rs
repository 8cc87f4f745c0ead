//! A row of `docs/RULES.md` that says `table:` claims cells of the table of the protocol. A claim is
//! a state, events, and the answer: `` `in a message`, `Ping` → `Pong back` ``. It is held to
//! the machine that `conformance/cases/data/protocol.txt` makes, in each state of a group, for each
//! member of an event, and for each end that the words behind `if` describe.
use crate::security::quoted;
use std::{collections::BTreeSet, sync::OnceLock};
use wsconform_cases::{
    Role,
    protocol::{Answer, Delivered, Event, Machine, Member, Sent, State, table},
};

/// A machine, and the end whose machine it is.
struct Of {
    role: Role,
    agreed: bool,
    machine: Machine,
}

fn machines() -> &'static [Of] {
    static MADE: OnceLock<Vec<Of>> = OnceLock::new();
    MADE.get_or_init(|| {
        let ends = [Role::Server, Role::Client].map(|role| [(role, false), (role, true)]);
        let made = ends.into_iter().flatten().map(|(role, agreed)| Of {
            role,
            agreed,
            machine: Machine::new(role, agreed, |_| true),
        });
        made.collect()
    })
}

/// What is wrong with the claims of a row, which have semicolons between them.
pub(crate) fn faults(claims: &str) -> Vec<String> {
    claims.split("; ").flat_map(|claim| fault(claim, |_, _| {})).collect()
}

/// The same of one claim, if each answer is changed, of which so many states are known.
fn fault(claim: &str, change: fn(usize, &mut Answer)) -> Option<String> {
    let Some((cells, answer)) = claim.split_once(" → ") else {
        return Some(format!("{claim} has no answer"));
    };
    let (cells, condition) = match cells.split_once(" if ") {
        Some((cells, condition)) => (cells, quoted(condition).next()),
        None => (cells, None),
    };
    let mut names = quoted(cells);
    let state = names.next().unwrap_or_default();
    let events: Vec<_> = names.map(|name| (name, meant(name))).collect();
    let said: BTreeSet<String> = quoted(answer).map(str::to_owned).collect();
    let mut found = BTreeSet::new();
    for Of { role, agreed, machine } in machines() {
        let this = match condition {
            None => true,
            Some("server") => *role == Role::Server,
            Some("client") => *role == Role::Client,
            Some("agreed") => *agreed,
            Some("not agreed") => !agreed,
            Some(condition) => return Some(format!("{claim}: no end is {condition}")),
        };
        if !this {
            continue;
        }
        let meant = machine.events.iter().enumerate();
        let is_meant =
            |event: &Event| events.iter().any(|(_, of)| of.iter().any(|it| it.name == event.name));
        let meant = meant.filter(|(_, event)| is_meant(event));
        let meant: Vec<_> = meant.collect();
        for at in states(machine, state) {
            for (number, event) in &meant {
                let answers = machine.at(at, *number).answers.iter().zip(&event.members);
                found.extend(answers.flat_map(|(answers, member)| {
                    answers.iter().map(|answer| {
                        let mut answer = answer.clone();
                        change(machine.states.len(), &mut answer);
                        shown(*role, machine, at, member, &answer)
                    })
                }));
            }
        }
    }
    match events.iter().find(|(_, events)| events.is_empty()) {
        Some((name, _)) => Some(format!("{claim}: no event {name} in the table")),
        None if found.is_empty() => Some(format!("{claim}: no such cell in the table")),
        None if found != said => Some(format!("{claim}: the table has {found:?}")),
        None => None,
    }
}

/// A name, or the names that a group stands for.
fn expanded(name: &str) -> Vec<&str> {
    match table().rows("groups").iter().find(|row| row[0] == name) {
        Some(row) => row[1].split(", ").flat_map(expanded).collect(),
        None => vec![name],
    }
}

/// An event of this name or, if there is none, those of this kind or group.
fn meant(name: &str) -> Vec<&'static Event> {
    if let Some(event) = table().event(name) {
        return vec![event];
    }
    let kinds = expanded(name);
    let is_of = |event: &&Event| {
        let behind = kinds.iter().filter_map(|kind| Some((kind, event.kind.strip_prefix(*kind)?)));
        behind.into_iter().any(|(kind, rest)| rest.is_empty() || *kind == "broken")
    };
    table().events.iter().filter(is_of).collect()
}

/// A state of receiving is one in which everything may be sent, if there is such a one; a state of
/// sending is one between two messages.
fn states(machine: &Machine, name: &str) -> Vec<usize> {
    let all = || machine.states.iter().enumerate();
    let numbers = |of: &dyn Fn(&State) -> bool| -> Vec<usize> {
        all().filter(|(_, state)| of(state)).map(|(number, _)| number).collect()
    };
    if let Some((receiving, sending)) = name.split_once(" / ") {
        let (receiving, sending) = (expanded(receiving), expanded(sending));
        return numbers(&|state| {
            receiving.contains(&state.receiving) && sending.contains(&state.sending)
        });
    }
    let each = expanded(name).into_iter().flat_map(|name| {
        let idle = numbers(&|state| {
            [(name, "open"), ("between", name)].contains(&(state.receiving, state.sending))
        });
        if idle.is_empty() { numbers(&|state| state.receiving == name) } else { idle }
    });
    each.collect()
}

/// All that an answer is: what the application gets, what the peer gets, what becomes of the stream,
/// and the next state, where it is another. docs/PROTOCOL.md says which words stand for the usual ways.
pub(crate) fn shown(
    role: Role,
    machine: &Machine,
    at: usize,
    member: &Member,
    answer: &Answer,
) -> String {
    let Answer { delivers, sends, error, drops, next, .. } = answer;
    let (before, next) = (machine.states[at], machine.states[*next]);
    let stays = |next: &State| before.sending == next.sending;
    let closed = State {
        receiving: if role == Role::Server { "ended" } else { "waits" },
        sending: "closed",
    };
    let ended = State { receiving: "ended", ..closed };
    match (delivers, &sends[..], error) {
        (None, [Sent::Close(Some(code)), Sent::Fin], Some(_))
            if matches!(member, Member::Frame(_)) && next == ended && !drops =>
        {
            return format!("Close {code}");
        }
        (Some(Delivered::Close(body)), [Sent::Close(code), rest @ ..], None)
            if next == closed
                && !drops
                && *code == body.first_chunk().map(|code| u16::from_be_bytes(*code))
                && rest == (if role == Role::Server { &[Sent::Fin][..] } else { &[] }) =>
        {
            return "Close back".into();
        }
        (Some(Delivered::Ping(ping)), [Sent::Pong(pong)], None)
            if next == before && !drops && ping == pong =>
        {
            return "Pong back".into();
        }
        (Some(Delivered::Message { .. }), [], None)
            if next.receiving == "between" && stays(&next) && !drops =>
        {
            return "delivered".into();
        }
        (None, [], None) if next == before && !drops => return "·".into(),
        _ => {}
    }
    let mut words: Vec<String> = Vec::new();
    words.extend(delivers.as_ref().map(|delivers| match delivers {
        Delivered::Message { .. } => "the message".into(),
        Delivered::Ping(_) => "the Ping".into(),
        Delivered::Pong(_) => "the Pong".into(),
        Delivered::Close(_) => "the Close".into(),
    }));
    words.extend(sends.iter().map(|sent| match (sent, member) {
        (Sent::Data(0x80, _), _) => "the last fragment".into(),
        (Sent::Data(0x81.., _), _) => "message".into(),
        (Sent::Data(0, _), _) => "fragment".into(),
        (Sent::Data(..), _) => "first fragment".into(),
        (Sent::Ping(_), _) => "Ping".into(),
        (Sent::Pong(_), _) => "Pong".into(),
        (Sent::Close(code), Member::Call(call)) if *code == call.code => "our Close".into(),
        (Sent::Close(code), _) => format!("Close {code:?}"),
        (Sent::Fin, _) => "FIN".into(),
    }));
    words.extend(error.map(|error| format!("error: {error}")));
    words.extend(drops.then(|| "dropped".to_owned()));
    for (before, next) in [(before.receiving, next.receiving), (before.sending, next.sending)] {
        words.extend((before != next).then(|| next.to_owned()));
    }
    words.join(", ")
}

/// Whatever of an answer is changed, each claim of the page fails that speaks of the cell.
#[test]
fn a_row_fails_if_its_cell_is_flipped() {
    type Flip = fn(usize, &mut Answer);
    let flips: [Flip; 5] = [
        |_, answer| {
            if answer.sends.pop().is_none() {
                answer.sends.push(Sent::Ping(b"flipped"));
            }
        },
        |_, answer| {
            if answer.delivers.take().is_none() {
                answer.delivers = Some(Delivered::Message { text: true });
            }
        },
        |_, answer| {
            if answer.error.take().is_none() {
                answer.error = Some("flipped");
            }
        },
        |_, answer| answer.drops ^= true,
        |states, answer| answer.next = (answer.next + 1) % states,
    ];
    let claims = crate::checklists::claims_of_the_table();
    assert!(claims.len() > 60, "{claims:?}");
    let wrong: Vec<String> = claims.iter().flat_map(|claim| faults(claim)).collect();
    assert_eq!(wrong, [""; 0]);
    for (number, flip) in flips.into_iter().enumerate() {
        for claim in &claims {
            assert!(fault(claim, flip).is_some(), "{claim} holds behind flip {number}");
        }
    }
}
