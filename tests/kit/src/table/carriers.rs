//! The rows of `carriers.txt`.
use std::{cell::Cell, sync::LazyLock};
use wsconform_cases::protocol::{Event, Machine, State, table};

struct Row {
    line: &'static str,
    carriers: Vec<&'static str>,
    events: Vec<&'static str>,
    receiving: Vec<&'static str>,
    sending: Vec<&'static str>,
    conditions: Vec<&'static str>,
    what: &'static str,
    value: &'static str,
}

static ROWS: LazyLock<Vec<Row>> = LazyLock::new(|| {
    let lines = include_str!("carriers.txt").lines();
    lines.filter(|line| !line.is_empty() && !line.starts_with('#')).map(row).collect()
});

fn row(line: &'static str) -> Row {
    let cells: Vec<_> = line.split('|').map(str::trim).collect();
    let [carriers, events, receiving, sending, conditions, what, value, why] = cells[..] else {
        panic!("a row has eight cells: {line}")
    };
    assert!(!why.is_empty(), "no reason: {line}");
    let list = |cell: &'static str| cell.split(", ").filter(|item| !item.is_empty()).collect();
    Row {
        line,
        carriers: list(carriers),
        events: table().named(events),
        receiving: table().named(receiving),
        sending: table().named(sending),
        conditions: list(conditions),
        what,
        value,
    }
}

/// The rows of an end, and which of them speak of each state and event.
pub(crate) struct Carrier {
    rows: Vec<&'static Row>,
    states: Vec<u32>,
    events: Vec<u32>,
}

impl Carrier {
    /// The rows of an end that has these names, and to which frames may come in one read.
    pub(crate) fn new(names: &[&str], machine: &Machine) -> Self {
        let is_of = |name: &&str| *name == "joined" || names.contains(name);
        let own = |row: &&Row| row.carriers.iter().any(is_of);
        let rows: Vec<_> = ROWS.iter().filter(own).collect();
        let is_in = |names: &[&str], name| names.is_empty() || names.contains(&name);
        let bits = |of: &dyn Fn(&Row) -> bool| {
            let rows = rows.iter().enumerate();
            rows.filter(|(_, row)| of(row)).fold(0, |bits, (at, _)| bits | 1 << at)
        };
        let of_state = |state: &State| {
            bits(&|row| {
                is_in(&row.receiving, state.receiving) && is_in(&row.sending, state.sending)
            })
        };
        let of_event = |event: &&Event| bits(&|row| is_in(&row.events, event.kind));
        let states = machine.states.iter().map(of_state).collect();
        let events = machine.events.iter().map(of_event).collect();
        Self { rows, states, events }
    }

    pub(crate) fn at<'a>(&'a self, state: usize, event: usize, needed: &'a Cell<u32>) -> Rows<'a> {
        Rows { rows: &self.rows, these: self.states[state] & self.events[event], needed }
    }

    /// Those of these names that made no difference, although such an end can meet them.
    pub(crate) fn idle(&self, names: &[&str], needed: u32, is_client: bool) -> Vec<&'static str> {
        let others = if is_client { "server" } else { "client" };
        let own = |row: &Row| row.carriers.iter().any(|carrier| names.contains(carrier));
        let rows = self.rows.iter().enumerate().filter(|(_, row)| own(row));
        let rows =
            rows.filter(|(at, row)| needed & 1 << at == 0 && !row.conditions.contains(&others));
        rows.map(|(_, row)| row.line).collect()
    }
}

/// The rows that speak of an event in a state.
#[derive(Clone, Copy)]
pub(crate) struct Rows<'a> {
    rows: &'a [&'static Row],
    these: u32,
    /// Which of the end's have made a difference.
    needed: &'a Cell<u32>,
}

impl Rows<'_> {
    /// The row that says what is otherwise, and its bit.
    fn find(self, what: &str, holds: impl Fn(&str) -> bool) -> Option<(&'static Row, u32)> {
        let bits = (0..self.rows.len()).map(|at| (self.rows[at], 1 << at));
        let mut rows = bits.filter(|(row, bit)| self.these & bit != 0 && row.what == what);
        rows.find(|(row, _)| row.conditions.iter().all(|it| holds(it)))
    }

    /// Whether a row says that, and its bit.
    pub(crate) fn bit(self, what: &str, holds: impl Fn(&str) -> bool) -> Option<u32> {
        self.find(what, holds).map(|(_, bit)| bit)
    }

    /// What it is instead of the usual.
    pub(crate) fn instead<T: PartialEq>(
        self,
        what: &str,
        holds: impl Fn(&str) -> bool,
        usual: T,
        value: impl FnOnce(&'static str) -> T,
    ) -> T {
        if self.these == 0 {
            return usual;
        }
        let Some((row, bit)) = self.find(what, holds) else { return usual };
        let value = value(row.value);
        if value != usual {
            self.needed.set(self.needed.get() | bit);
        }
        value
    }
}
