//! Both ends, the stream between them, and the time: what can happen next, and what has to hold.
use crate::{
    end::{End, Facts, Input, Op, Stopped},
    ends::{Ends, Id},
    scenario::{MANY, Pace, Scenario},
    wire::{CLOSE, Mode, Stream},
};
use std::time::Duration;
use tickwire::{
    Ending, Role,
    order::{self, Allow, Clock, Todo, order},
};

pub(crate) const CLIENT: usize = 0;
pub(crate) const SERVER: usize = 1;
const ENDS: [usize; 2] = [CLIENT, SERVER];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// An end is handed this, and reads so many bytes.
    Of(usize, Input, usize),
    /// To the next deadline, or half way.
    Pass { half: bool },
    /// What an end wrote and the other did not read is lost; it is told that, or nothing.
    Lose { writer: usize, told: bool },
    /// Both ways, and writes fail.
    Reset,
}

impl Action {
    pub(crate) fn is_fault(self) -> bool {
        matches!(self, Self::Lose { .. } | Self::Of(_, Input::Kill, _) | Self::Reset)
    }

    /// Whether only time, or a fault, can change something.
    pub(crate) fn is_quiet(self) -> bool {
        self.is_fault() || matches!(self, Self::Pass { .. } | Self::Of(_, Input::Block, _))
    }
}

/// A state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct World {
    pub(crate) ends: [Id; 2],
    pub(crate) rest: Rest,
}

/// All of it but the ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Rest {
    /// Of what each end writes.
    streams: [Stream; 2],
    /// Since when each end closes.
    closing: [Option<Duration>; 2],
    now: Duration,
    cuts: u8,
    faults: u8,
    blocks: u8,
    delays: u8,
    ticks: u8,
    reset: bool,
    /// Neither time nor a fault has had a part in it.
    calm: bool,
}

impl World {
    pub(crate) fn new(scenario: &Scenario) -> Self {
        let Scenario { cuts, faults, blocks, delays, ticks, .. } = *scenario;
        let rest = Rest {
            streams: [Stream::NEW; 2],
            closing: [None; 2],
            now: Duration::ZERO,
            cuts,
            faults,
            blocks,
            delays,
            ticks,
            reset: false,
            calm: true,
        };
        Self { ends: [0, 1], rest }
    }
}

/// Both ends of a scenario, in all their states.
pub(crate) struct Pair {
    pub(crate) scenario: Scenario,
    pub(crate) ends: Ends,
    /// Whether an end that can go first does, and nothing else happens before.
    reduced: bool,
    /// What an end took at most, from its first Close, or failure, to dropping the stream.
    pub(crate) longest: Duration,
}

impl Pair {
    pub(crate) fn new(scenario: Scenario, reduced: bool) -> Self {
        Self { scenario, ends: Ends::new(scenario), reduced, longest: Duration::ZERO }
    }

    fn both(&self, world: &World) -> [&Facts; 2] {
        world.ends.map(|id| self.ends.get(id))
    }

    // What can happen.

    pub(crate) fn actions(&self, world: &World, all: &mut Vec<Action>) {
        let (ends, rest) = (self.both(world), &world.rest);
        if let Some(e) = self.alone(world).filter(|_| self.reduced) {
            return self.actions_of(e, ends, rest, all);
        }
        ENDS.iter().for_each(|&e| self.actions_of(e, ends, rest, all));
        if next_deadline(ends, rest.now).is_some() && self.time_may_pass(ends, rest) {
            all.push(Action::Pass { half: false });
            if rest.delays > 0 {
                all.push(Action::Pass { half: true });
            }
        }
        if rest.faults > 0 && ends.iter().any(|end| !end.gone) {
            faults_now(ends, rest, all);
        }
    }

    /// An end of which what it can do now commutes with all that can happen elsewhere, which
    /// neither adds to it nor takes from it: it steps, is told the time, or its application calls,
    /// which changes nothing but that end, and no time can pass before. README.md says why it is
    /// enough to let that end go first.
    pub(crate) fn alone(&self, world: &World) -> Option<usize> {
        let (ends, pace) = (self.both(world), self.scenario.pace);
        ENDS.into_iter().find(|&e| {
            let end = ends[e];
            let told = !end.outgoing && self.todo(end, &world.rest) == Some(Todo::Clock);
            (end.is_dirty() || told) && pace != Pace::Lazy && end.next_op != Some(Op::Violate)
        })
    }

    /// What `order` says to a prompt end. How many reads were made since the last look at the clock
    /// is no part of a state: a due deadline counts as an old clock, which is looked at before the
    /// next read. The other paces also read before the look.
    fn todo(&self, end: &Facts, rest: &Rest) -> Option<Todo> {
        let due = end.deadline.is_some_and(|at| at <= rest.now);
        let facts = order::Facts {
            input: end.input,
            unsent: end.outgoing,
            refused: end.outgoing && end.blocked,
            dry: false,
            clock: if due { Clock::Old } else { Clock::Seen },
        };
        (!end.gone && self.scenario.pace == Pace::Prompt).then(|| order(facts, Allow::ALL))
    }

    fn actions_of(&self, e: usize, ends: [&Facts; 2], rest: &Rest, all: &mut Vec<Action>) {
        let (end, peer) = (ends[e], ends[1 - e]);
        let mut of = |input, n| all.push(Action::Of(e, input, n));
        if end.gone {
            return;
        }
        let todo = self.todo(end, rest);
        let may = |what, otherwise| todo.map_or(otherwise, |todo| todo == what);
        let lazy = self.scenario.pace == Pace::Lazy;
        let writes = end.outgoing && !end.blocked;
        if may(Todo::Item, end.is_dirty()) {
            of(Input::Step, 0);
        }
        if may(Todo::ShutDown, end.end_due() == Some(Ending::ShutDown)) {
            of(Input::ShutDown, 0);
        }
        if may(Todo::Over, end.end_due() == Some(Ending::Done)) {
            of(Input::Drop, 0);
        }
        if end.next_op.is_some() && !(todo.is_some() && writes) {
            of(Input::App, 0);
        }
        let busy = |todo| matches!(todo, Todo::Item | Todo::ShutDown | Todo::Over);
        if todo.map_or(end.is_busy() && !lazy, busy) {
            return;
        }
        if may(Todo::Write, end.outgoing) || end.blocked && end.outgoing {
            if !rest.reset {
                of(Input::Write { inside: false }, 0);
                if rest.cuts > 0 && end.out.at_boundary() {
                    of(Input::Write { inside: true }, 0);
                }
            }
            if rest.blocks > 0 && !end.blocked && !rest.reset {
                of(Input::Block, 0);
            }
            if rest.reset || peer.gone {
                of(Input::FailWrite, 0);
            }
        }
        let due = end.deadline.is_some_and(|at| at <= rest.now);
        if may(Todo::Clock, !end.is_dirty() && due && (lazy || !writes)) {
            of(Input::Tell(rest.now), 0);
        }
        let reads = order::Facts { input: end.input, ..order::Facts::NEW }.reads(Allow::ALL);
        if may(Todo::Read, reads && !end.is_dirty()) {
            let stream = rest.streams[1 - e];
            let here = stream.here(&peer.out);
            let (n, begun) = stream.next(&peer.out);
            if here > 0 {
                of(Input::Read, n); // up to the end of a frame
                if rest.cuts > 0 && !begun && n > 1 {
                    of(Input::Read, n - 1);
                }
                if here > n {
                    of(Input::Read, here); // of several frames
                }
            } else if stream.has_ended(&peer.out) && !end.eof {
                of(Input::EndOfStream, 0);
            }
        }
    }

    /// What an end has to do takes it no time, unless it is lazy; what the stream does may take
    /// any.
    fn time_may_pass(&self, ends: [&Facts; 2], rest: &Rest) -> bool {
        rest.ticks > 0
            && ends.iter().all(|end| {
                let told = end.deadline.is_none_or(|at| at > rest.now);
                let idle = !end.is_busy() && (end.blocked || !end.outgoing);
                end.gone || told && (idle || self.scenario.pace == Pace::Lazy)
            })
    }

    /// What an action hands to an end, if to any, and the bytes that are read.
    pub(crate) fn input(&self, world: &World, action: Action) -> Option<(usize, Input, &[u8])> {
        let Action::Of(e, input, n) = action else { return None };
        let (stream, out) = (world.rest.streams[1 - e], &self.ends.get(world.ends[1 - e]).out);
        Some((e, input, &out.bytes[stream.read..][..n]))
    }

    /// Whether it is a read or a write that ends inside a frame.
    fn is_cut(&self, world: &World, action: Action) -> bool {
        match action {
            Action::Of(_, Input::Write { inside }, _) => inside,
            Action::Of(e, Input::Read, n) => {
                let out = &self.ends.get(world.ends[1 - e]).out;
                n < world.rest.streams[1 - e].next(out).0
            }
            _ => false,
        }
    }

    // What happens.

    /// The state that follows. An error is what does not hold.
    pub(crate) fn apply(&mut self, before: &World, action: Action) -> Result<World, String> {
        let mut world = *before;
        let rest = &mut world.rest;
        if rest.cuts < MANY && self.is_cut(before, action) {
            rest.cuts -= 1;
        }
        match action {
            Action::Of(_, Input::Block, _) => rest.blocks -= 1,
            Action::Of(_, Input::FailWrite, _) => rest.calm = false,
            Action::Pass { half } => {
                pass(self.both(before), rest, half);
                rest.ticks -= u8::from(self.scenario.heartbeat && !half);
            }
            _ if action.is_fault() => fault(action, rest),
            _ => {}
        }
        let Some((e, input, bytes)) = self.input(before, action) else {
            return Ok(world);
        };
        rest.streams[1 - e].read += bytes.len();
        world.ends[e] = match self.ends.taken(before.ends[e], input, bytes) {
            Some(id) => id,
            None => {
                let bytes = bytes.to_vec();
                self.ends.step(before.ends[e], input, &bytes)?
            }
        };
        match input {
            Input::ShutDown => {
                // §7.1.1: the server ends the stream first.
                let end = self.ends.get(world.ends[e]);
                let to_the_end = rest.calm && end.stopped == Stopped::Closed;
                if e == CLIENT && to_the_end && !end.eof {
                    return Err("a client ends the stream before the server".into());
                }
                rest.streams[e].end();
            }
            Input::Drop => self.dropped(e, &mut world)?,
            _ => {}
        }
        self.settle(e, &mut world);
        Ok(world)
    }

    /// An end dropped the stream.
    fn dropped(&mut self, e: usize, world: &mut World) -> Result<(), String> {
        let rest = &mut world.rest;
        let took = rest.closing[e].map_or(Duration::ZERO, |since| rest.now - since);
        self.longest = self.longest.max(took);
        if took > self.scenario.closing() && self.scenario.pace != Pace::Lazy {
            return Err(format!("closing took {took:?}"));
        }
        // With unread input it is reset.
        let [mine, theirs] = [e, 1 - e].map(|e| &self.ends.get(world.ends[e]).out);
        let unread = rest.streams[1 - e].here(theirs) > 0;
        rest.streams[e].end();
        if unread && rest.streams[e].mode == Mode::Ended && rest.streams[e].here(mine) > 0 {
            rest.streams[e].mode = Mode::Cut;
        }
        Ok(())
    }

    /// Notes since when an end closes, and leaves out what does not count any more.
    fn settle(&self, e: usize, world: &mut World) {
        let ends = self.both(world);
        let rest = &mut world.rest;
        if ends[e].gone {
            rest.closing[e] = None;
        } else if ends[e].closing && !ends[e].unanswered {
            rest.closing[e].get_or_insert(rest.now);
        }
        if ends.iter().all(|end| end.gone) {
            (rest.now, rest.ticks) = (Duration::ZERO, 0);
        }
    }

    // What holds where nothing can happen but faults, or the time passing.

    pub(crate) fn check_quiet(&self, world: &World) -> Result<(), String> {
        let ends = self.both(world);
        if !world.rest.calm || !ends.iter().any(|end| end.closing) {
            return Ok(());
        }
        for e in ENDS {
            let (end, peer, role) = (ends[e], ends[1 - e], role(e));
            let closes = end.out.frames.iter().filter(|f| f.b0 == CLOSE).count();
            if !end.gone {
                return Err(format!("{role:?} waits for a timeout, and nothing went wrong"));
            }
            if closes != 1 {
                return Err(format!("{role:?} sent {closes} Closes"));
            }
            // Who fails the connection says why, and the peer is told, unless it does the same.
            match end.stopped {
                Stopped::Failed(error) if error.close_code().is_none() => {
                    return Err(format!("{role:?} fails with {error}"));
                }
                Stopped::Failed(_) => {}
                _ if !end.clean => return Err(format!("{role:?} was not clean")),
                _ if end.delivered != peer.out.messages() => {
                    return Err(format!("{role:?} did not get all"));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Where nothing at all can happen.
    pub(crate) fn check_sink(&self, world: &World) -> Result<(), String> {
        let ends = self.both(world);
        if world.rest.ticks == 0 && ends.iter().any(|end| !end.gone) {
            return Ok(()); // it would go on: the bound of a heartbeat
        }
        for e in ENDS {
            let (end, peer, role) = (ends[e], ends[1 - e], role(e));
            if !end.gone && (end.closing || self.scenario.heartbeat) {
                return Err(format!("{role:?} waits for ever"));
            }
            let written = end.out.messages().len();
            let got = peer.delivered.len();
            let lost = world.rest.streams[e].mode == Mode::Black && !peer.gone;
            if got < written && !peer.erred && !peer.killed && !lost {
                return Err(format!("{role:?} wrote {written}, and {got} came"));
            }
        }
        Ok(())
    }

    /// Takes a pair of connections all the way, which has to lead through the same states as their
    /// steps that were taken one by one. Returns the state that they come to, as text.
    pub(crate) fn drive(&mut self, way: &[Action]) -> (Result<(), String>, String) {
        let mut pair = ENDS.map(|e| End::new(role(e), &self.scenario));
        let mut world = World::new(&self.scenario);
        let result =
            way.iter().try_for_each(|&action| self.drive_one(&mut pair, &mut world, action));
        let mut text = format!("{:?}", world.rest);
        for end in &pair {
            text.push('\n');
            end.project(&mut text);
        }
        (result, text)
    }

    fn drive_one(
        &mut self,
        pair: &mut [End; 2],
        world: &mut World,
        action: Action,
    ) -> Result<(), String> {
        let mut moved = None;
        if let Some((e, input, bytes)) = self.input(world, action) {
            pair[e].apply(input, bytes)?;
            moved = Some(e);
        }
        *world = self.apply(world, action)?;
        let same = moved.is_none_or(|e| self.ends.is(world.ends[e], &pair[e]));
        if same { Ok(()) } else { Err("states that look the same and are not".into()) }
    }
}

fn role(e: usize) -> Role {
    if e == CLIENT { Role::Client } else { Role::Server }
}

fn next_deadline(ends: [&Facts; 2], now: Duration) -> Option<Duration> {
    ends.iter().filter_map(|end| end.deadline).filter(|at| *at > now).min()
}

fn pass(ends: [&Facts; 2], rest: &mut Rest, half: bool) {
    let Some(next) = next_deadline(ends, rest.now) else { return };
    rest.calm = false;
    if half {
        rest.delays -= 1;
        rest.now += (next - rest.now) / 2;
    } else {
        rest.now = next;
    }
}

fn faults_now(ends: [&Facts; 2], rest: &Rest, all: &mut Vec<Action>) {
    for e in ENDS {
        let (end, peer) = (ends[e], ends[1 - e]);
        let carries = matches!(rest.streams[e].mode, Mode::Flowing | Mode::Ended);
        if carries && !peer.gone && !peer.eof {
            all.push(Action::Lose { writer: e, told: true });
            all.push(Action::Lose { writer: e, told: false });
        }
        if !end.gone {
            all.push(Action::Of(e, Input::Kill, 0));
        }
    }
    all.push(Action::Reset);
}

fn fault(fault: Action, rest: &mut Rest) {
    rest.faults -= 1;
    rest.calm = false;
    match fault {
        Action::Lose { writer, told } => {
            rest.streams[writer].mode = if told { Mode::Cut } else { Mode::Black };
        }
        Action::Of(e, ..) => rest.streams[e].end(),
        _ => {
            rest.reset = true;
            rest.streams.iter_mut().for_each(|stream| stream.mode = Mode::Cut);
        }
    }
}
