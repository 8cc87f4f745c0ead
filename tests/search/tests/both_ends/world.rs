//! Both ends, the stream between them, and the time: what can happen next, and what has to hold.
use crate::{
    end::{End, Op, Stopped},
    wire::{CLOSE, Mode},
};
use std::{fmt::Write as _, time::Duration};
use tickwire::{Config, Ending, Heartbeat, ReadyState, Role};

pub(crate) const CLIENT: usize = 0;
pub(crate) const SERVER: usize = 1;
const ENDS: [usize; 2] = [CLIENT, SERVER];

const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);
const FRAME_TIMEOUT: Duration = Duration::from_secs(7);
const WRITE_TIMEOUT: Duration = Duration::from_secs(3);
/// What a shutdown may take, and the discarding behind it.
const BRIEF: Duration = Duration::from_secs(1);

/// In what order an end does what it can do. The stream and the application take any time in all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pace {
    /// As the adapters do: what the end has to do comes first, and the stream takes what is written at
    /// once, unless it refuses everything.
    Prompt,
    /// Messages may be fed, and bytes read, before the stream takes what was fed earlier.
    Loose,
    /// Any order; and time may pass though an end has something to do.
    Lazy,
}

/// What is explored: what each application does, and how often what may go wrong does.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    pub(crate) client: &'static [Op],
    pub(crate) server: &'static [Op],
    /// Reads and writes end inside frames too.
    pub(crate) cuts: bool,
    /// How many faults of the stream.
    pub(crate) faults: u8,
    /// How often a stream refuses bytes.
    pub(crate) blocks: u8,
    /// How often time passes without a deadline.
    pub(crate) delays: u8,
    pub(crate) pace: Pace,
    /// Closes are answered by the application.
    pub(crate) by_hand: bool,
    pub(crate) heartbeat: bool,
    /// How often time may pass: without a heartbeat it ends by itself.
    pub(crate) ticks: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Action {
    App(usize),
    /// Up to the end of a frame, or of its first byte.
    Write(usize, bool),
    Block(usize),
    FailWrite(usize),
    /// Up to the end of a frame, or all of it but the last byte.
    Read(usize, bool),
    /// All that is here, of several frames.
    ReadAll(usize),
    EndOfStream(usize),
    Step(usize),
    /// What `ending` says of the stream.
    Follow(usize),
    Tell(usize),
    /// To the next deadline, or half way.
    Pass {
        half: bool,
    },
    /// What an end wrote and the other did not read is lost; it is told that, or nothing.
    Lose {
        writer: usize,
        told: bool,
    },
    /// Both ways, and writes fail.
    Reset,
    /// An end is no more; what it wrote arrives.
    Kill(usize),
}

pub(crate) struct World {
    scenario: Scenario,
    pub(crate) ends: [End; 2],
    now: Duration,
    faults: u8,
    blocks: u8,
    delays: u8,
    ticks: u8,
    reset: bool,
    /// Neither time nor a fault has had a part in it.
    calm: bool,
    /// What an end took from its first Close, or failure, to dropping the stream.
    pub(crate) longest: Duration,
}

impl World {
    pub(crate) fn new(scenario: Scenario) -> Self {
        let mut config = Config::default()
            .read_buffer(512)
            .close_timeout(CLOSE_TIMEOUT)
            .frame_timeout(FRAME_TIMEOUT)
            .write_timeout(WRITE_TIMEOUT)
            .auto_close(!scenario.by_hand);
        if scenario.heartbeat {
            let pulse = Heartbeat::new(Duration::from_secs(10), Duration::from_secs(4));
            config = config.heartbeat(pulse);
        }
        let client = End::new(Role::Client, &config, scenario.client);
        let server = End::new(Role::Server, &config, scenario.server);
        let Scenario { faults, blocks, delays, ticks, .. } = scenario;
        Self {
            scenario,
            ends: [client, server],
            now: Duration::ZERO,
            faults,
            blocks,
            delays,
            ticks,
            reset: false,
            calm: true,
            longest: Duration::ZERO,
        }
    }

    // What can happen.

    pub(crate) fn actions(&self) -> Vec<Action> {
        let mut all = Vec::new();
        ENDS.iter().for_each(|&e| self.actions_of(e, &mut all));
        if self.next_deadline().is_some() && self.time_may_pass() && self.ticks > 0 {
            all.push(Action::Pass { half: false });
            if self.delays > 0 {
                all.push(Action::Pass { half: true });
            }
        }
        if self.faults > 0 && self.ends.iter().any(|end| !end.gone) {
            self.faults_now(&mut all);
        }
        all
    }

    fn actions_of(&self, e: usize, all: &mut Vec<Action>) {
        let (end, peer) = (&self.ends[e], &self.ends[1 - e]);
        if end.gone {
            return;
        }
        if end.dirty {
            all.push(Action::Step(e));
        }
        if end.end_due().is_some() {
            all.push(Action::Follow(e));
        }
        let (prompt, lazy) = (self.scenario.pace == Pace::Prompt, self.scenario.pace == Pace::Lazy);
        let writes = end.has_outgoing() && !end.blocked;
        if end.next_op().is_some() && !(prompt && writes) {
            all.push(Action::App(e));
        }
        if end.is_busy() && !lazy {
            return;
        }
        if end.has_outgoing() {
            if !self.reset {
                all.push(Action::Write(e, false));
                if self.scenario.cuts && end.out.at_boundary() {
                    all.push(Action::Write(e, true));
                }
            }
            if self.blocks > 0 && !end.blocked && !self.reset {
                all.push(Action::Block(e));
            }
            if self.reset || peer.gone {
                all.push(Action::FailWrite(e));
            }
        }
        if prompt && writes {
            return;
        }
        let due = !end.dirty && end.deadline().is_some_and(|at| at <= self.now);
        if due && (lazy || !writes) {
            all.push(Action::Tell(e));
        }
        if end.reads() && !(prompt && due) {
            let here = peer.out.here();
            let (n, begun) = peer.out.to_read();
            if here > 0 {
                all.push(Action::Read(e, false));
                if self.scenario.cuts && !begun && n > 1 {
                    all.push(Action::Read(e, true));
                }
                if here > n {
                    all.push(Action::ReadAll(e));
                }
            } else if peer.out.has_ended() && !end.eof {
                all.push(Action::EndOfStream(e));
            }
        }
    }

    fn next_deadline(&self) -> Option<Duration> {
        self.ends.iter().filter_map(End::deadline).filter(|at| *at > self.now).min()
    }

    /// What an end has to do takes it no time, unless it is lazy; what the stream does may take any.
    fn time_may_pass(&self) -> bool {
        self.ends.iter().all(|end| {
            let told = end.deadline().is_none_or(|at| at > self.now);
            let idle = !end.is_busy() && (end.blocked || !end.has_outgoing());
            end.gone || told && (idle || self.scenario.pace == Pace::Lazy)
        })
    }

    fn faults_now(&self, all: &mut Vec<Action>) {
        for e in ENDS {
            let (end, peer) = (&self.ends[e], &self.ends[1 - e]);
            let carries = matches!(end.out.mode, Mode::Flowing | Mode::Ended);
            if carries && !peer.gone && !peer.eof {
                all.push(Action::Lose { writer: e, told: true });
                all.push(Action::Lose { writer: e, told: false });
            }
            if !end.gone {
                all.push(Action::Kill(e));
            }
        }
        all.push(Action::Reset);
    }

    // What happens.

    /// An error is what does not hold.
    pub(crate) fn apply(&mut self, action: Action) -> Result<(), String> {
        match action {
            Action::App(e) => {
                let end = &mut self.ends[e];
                end.next_op().map_or(Ok(()), |op| end.act(op))?;
            }
            Action::Write(e, inside) => {
                let peer_closed = self.ends[e].peers_close().is_some();
                self.ends[e].write(inside, peer_closed)?;
            }
            Action::Block(e) => {
                self.blocks -= 1;
                self.ends[e].block();
            }
            Action::FailWrite(e) => {
                self.calm = false;
                self.ends[e].fail_write();
            }
            Action::Read(..) | Action::ReadAll(_) => self.read(action),
            Action::EndOfStream(e) => self.ends[e].end_of_stream(),
            Action::Step(e) => {
                let [client, server] = &mut self.ends;
                let (end, peer) = if e == CLIENT { (client, server) } else { (server, client) };
                end.step(&peer.out)?;
            }
            Action::Follow(e) => self.follow(e)?,
            Action::Tell(e) => self.ends[e].tell(self.now)?,
            Action::Pass { half } => self.pass(half),
            Action::Lose { .. } | Action::Reset | Action::Kill(_) => self.fault(action),
        }
        for e in ENDS {
            let [client, server] = &mut self.ends;
            let (end, peer) = if e == CLIENT { (client, server) } else { (server, client) };
            if !end.killed {
                end.check(&peer.out, self.now).map_err(|what| format!("{:?}: {what}", end.role))?;
            }
        }
        Ok(())
    }

    fn read(&mut self, action: Action) {
        let (Action::Read(e, _) | Action::ReadAll(e)) = action else { return };
        let [client, server] = &mut self.ends;
        let (end, peer) = if e == CLIENT { (client, server) } else { (server, client) };
        let n = match action {
            Action::Read(_, true) => peer.out.to_read().0 - 1,
            Action::Read(_, false) => peer.out.to_read().0,
            _ => peer.out.here(),
        };
        end.read(&peer.out.bytes[peer.out.read..][..n]);
        peer.out.read += n;
    }

    fn pass(&mut self, half: bool) {
        let Some(next) = self.next_deadline() else { return };
        self.calm = false;
        if half {
            self.delays -= 1;
            self.now += (next - self.now) / 2;
        } else {
            self.ticks -= 1;
            self.now = next;
        }
    }

    fn follow(&mut self, e: usize) -> Result<(), String> {
        let reads_to_the_end = self.calm && self.ends[e].stopped == Stopped::Closed;
        match self.ends[e].end_due() {
            Some(Ending::ShutDown) => {
                // §7.1.1: the server ends the stream first.
                if e == CLIENT && reads_to_the_end && !self.ends[e].eof {
                    return Err("a client ends the stream before the server".into());
                }
                self.ends[e].conn.shut_down();
                self.ends[e].shut = true;
                self.ends[e].out.end();
            }
            Some(Ending::Done) => {
                let unread = self.ends[1 - e].out.here() > 0;
                let end = &mut self.ends[e];
                end.gone = true;
                if let Some(since) = end.closing_since {
                    self.longest = self.longest.max(self.now - since);
                }
                end.out.end();
                // A stream that is dropped with unread input is reset.
                if unread && end.out.mode == Mode::Ended && end.out.here() > 0 {
                    end.out.mode = Mode::Cut;
                }
                let most = 2 * (CLOSE_TIMEOUT + BRIEF);
                if self.longest > most && self.scenario.pace != Pace::Lazy {
                    return Err(format!("closing took {:?}", self.longest));
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn fault(&mut self, fault: Action) {
        self.faults -= 1;
        self.calm = false;
        match fault {
            Action::Lose { writer, told } => {
                self.ends[writer].out.mode = if told { Mode::Cut } else { Mode::Black };
            }
            Action::Kill(e) => {
                (self.ends[e].gone, self.ends[e].killed) = (true, true);
                self.ends[e].out.end();
            }
            _ => {
                self.reset = true;
                self.ends.iter_mut().for_each(|end| end.out.mode = Mode::Cut);
            }
        }
    }

    // What holds where nothing can happen but faults, or the time passing.

    pub(crate) fn is_fault(action: Action) -> bool {
        matches!(action, Action::Lose { .. } | Action::Kill(_) | Action::Reset)
    }

    /// Whether only time, or a fault, can change something.
    pub(crate) fn is_quiet(actions: &[Action]) -> bool {
        actions.iter().all(|action| {
            use Action::{Block, Kill, Lose, Pass, Reset};
            matches!(action, Pass { .. } | Block(_) | Lose { .. } | Kill(_) | Reset)
        })
    }

    pub(crate) fn check_quiet(&self) -> Result<(), String> {
        let closing = self.ends.iter().any(|end| end.conn.ready_state() != ReadyState::Open);
        if !self.calm || !closing {
            return Ok(());
        }
        for e in ENDS {
            let (end, peer) = (&self.ends[e], &self.ends[1 - e]);
            let closes = end.out.frames.iter().filter(|f| f.b0 == CLOSE).count();
            if !end.gone {
                return Err(format!("{:?} waits for a timeout, and nothing went wrong", end.role));
            }
            if closes != 1 {
                return Err(format!("{:?} sent {closes} Closes", end.role));
            }
            // Who fails the connection says why, and the peer is told, unless it does the same.
            match end.stopped {
                Stopped::Failed(error) if error.close_code().is_none() => {
                    return Err(format!("{:?} fails with {error}", end.role));
                }
                Stopped::Failed(_) => {}
                _ if !end.conn.closed().is_some_and(|closed| closed.clean) => {
                    return Err(format!("{:?} was not clean", end.role));
                }
                _ if end.delivered().cloned().collect::<Vec<_>>() != End::messages(&peer.out) => {
                    return Err(format!("{:?} did not get all", end.role));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Where nothing at all can happen.
    pub(crate) fn check_sink(&self) -> Result<(), String> {
        for e in ENDS {
            let (end, peer) = (&self.ends[e], &self.ends[1 - e]);
            if !end.gone && (end.conn.ready_state() != ReadyState::Open || self.scenario.heartbeat)
            {
                return Err(format!("{:?} waits for ever", end.role));
            }
            let written = End::messages(&end.out).len();
            let got = peer.delivered().count();
            let why = peer.conn.closed().is_some_and(|closed| closed.error.is_some());
            let lost = end.out.mode == Mode::Black && !peer.gone;
            if got < written && !why && !peer.killed && !lost {
                return Err(format!("{:?} wrote {written}, and {got} came", end.role));
            }
        }
        Ok(())
    }

    /// All that the future depends on, as text: equal texts are the same state.
    pub(crate) fn project(&self, out: &mut String) {
        out.clear();
        let over = self.ends.iter().all(|end| end.gone);
        let (now, ticks) = (Some(self.now), Some(self.ticks));
        let _ = write!(
            out,
            "{:?} faults {} blocks {} delays {} ticks {:?} reset {} calm {}",
            now.filter(|_| !over),
            self.faults,
            self.blocks,
            self.delays,
            ticks.filter(|_| self.scenario.heartbeat && !over),
            self.reset,
            self.calm
        );
        for end in &self.ends {
            out.push('\n');
            end.project(out, self.scenario.heartbeat);
        }
    }
}
