//! What must hold on every day. Each broken rule is noted under its sentence, with the first case.
use super::world::{Got, MINUTE, Ms, QUIET, SECOND, Said, World};
use std::collections::BTreeMap;
use tickwire_feed::State;

/// What the settings and the documentation of the follower promise.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rules {
    /// At most so many attempts, and messages of one connection, within this time.
    pub(crate) dials: (usize, Ms),
    pub(crate) pace: (usize, Ms),
    /// A connection that is dead or frozen is left within this time, and one with a frozen
    /// subscription.
    pub(crate) dead: Ms,
    pub(crate) mute: Ms,
    /// All is said within this time, and nothing is said again before this time.
    pub(crate) said: Ms,
    pub(crate) again: Ms,
    /// Without a connection, it dials within this time, if it may.
    pub(crate) idle: Ms,
    /// The longest Retry-After that is obeyed, and the wait after a 429 without.
    pub(crate) retry_after: Ms,
    pub(crate) window: Ms,
    /// A connection is replaced from this age on.
    pub(crate) replaced: Ms,
    pub(crate) lines: usize,
    /// There is no trouble, so that each connection is replaced in time.
    pub(crate) calm: bool,
    /// Silence of the market ends no connection.
    pub(crate) quiet: bool,
    /// Subscriptions have to be answered.
    pub(crate) answers: bool,
}

/// One stream, as the client's program sees it.
#[derive(Default)]
struct Seen {
    /// Restarts and number of the last delivered message.
    last: Option<(u32, u64)>,
    restarted: bool,
    /// The end of the last gap that was told.
    gap: u64,
    /// Numbers that reached the client, and were neither delivered nor told as lost; and the
    /// connections that brought them. A number whose connections are over, or went back, may have
    /// been dropped.
    arrived: BTreeMap<(u32, u64), Vec<usize>>,
}

/// One connection, as the client's program sees it.
#[derive(Default)]
struct Talk {
    line: usize,
    /// The line had no other connection meanwhile.
    alone: bool,
    said: Vec<(Ms, Said)>,
    /// Of the streams that are wanted, those that were subscribed, and those that were answered.
    streams: u64,
    answers: u64,
    logged_in: bool,
    wrong: bool,
    refused: bool,
    checked: bool,
    /// When the login was accepted, or when it was opened if there is none, by the client's clock.
    admitted: Option<Ms>,
    /// The last number of each stream.
    last: BTreeMap<usize, u64>,
    /// When each answered stream last had data, or was first answered if it had none.
    fresh: Vec<Ms>,
}

#[derive(Default)]
struct Line {
    /// It may not dial until somebody says go on, and why.
    stopped: Option<String>,
    /// Where its last connection or attempt was, and whether that had a fault.
    last_host: Option<(usize, bool)>,
    /// It was last shown as silent, and so may have turned already.
    silent: bool,
}

/// What is known of a host.
#[derive(Clone, Default)]
struct Host {
    /// What it last did has to be mended by people: nobody dials it for a second from here on.
    alarm: Option<Ms>,
    /// It wants to be left alone until then, by its Retry-After or its close code.
    waits: Ms,
    /// Something has failed, and no connection to it has lived for a minute since.
    is_bad: bool,
}

#[derive(Default)]
pub(crate) struct Oracle {
    rules: Rules,
    pub(crate) broken: BTreeMap<&'static str, (u32, String)>,
    streams: Vec<Seen>,
    talks: Vec<Talk>,
    lines: Vec<Line>,
    hosts: Vec<Host>,
    /// Ends that people have to mend.
    graves: u32,
    /// When a 429 or 418 came last.
    shut: Ms,
    dials: Vec<Ms>,
    /// A bit for each stream that the client wants, and when that changed.
    wanted: u64,
    changed: Ms,
    /// Until when no attempt is allowed, and until when a line may have to wait for another reason,
    /// by the client's clock.
    away: Ms,
    waits: Ms,
    /// Connections and attempts that the client holds, and when it last held one.
    held: Vec<usize>,
    busy: Ms,
    /// Gaps, and messages.
    pub(crate) counts: [u64; 2],
}

impl Oracle {
    pub(crate) fn new(streams: usize, rules: Rules) -> Self {
        let lines = (0..rules.lines).map(|_| Line::default()).collect();
        let (seen, wanted) = ((0..streams).map(|_| Seen::default()), (1 << streams) - 1);
        Self { rules, lines, streams: seen.collect(), wanted, ..Self::default() }
    }

    fn holds(&mut self, sentence: &'static str, yes: bool, what: impl Fn() -> String) {
        if !yes {
            self.broken.entry(sentence).or_insert_with(|| (0, what())).0 += 1;
        }
    }

    /// The connections and attempts of a line, the oldest first.
    fn of(&self, line: usize) -> impl Iterator<Item = usize> {
        self.held.iter().copied().filter(move |&id| self.talks[id].line == line)
    }

    /// The client begins an attempt under the number `id`.
    pub(crate) fn dials(&mut self, world: &World, id: usize, line: usize) {
        let (now, host) = (world.now, world.connections[id].host);
        let at = || format!("{id} at {now} ms, line {line}, host {host}; {:?}", world.last);
        let held: Vec<usize> = self.of(line).collect();
        held.iter().for_each(|&id| self.talks[id].alone = false);
        let (alone, fresh) = (held.is_empty(), vec![0; self.streams.len()]);
        self.talks.push(Talk { line, fresh, alone, ..Talk::default() });
        self.held.push(id);
        self.dials.push(now);
        let (most, window) = self.rules.dials;
        let count = self.dials.iter().rev().take_while(|&&at| now - at < window).count();
        self.holds("no attempt exceeds the rate", count <= most, at);
        self.holds("a Retry-After is kept", world.clock() >= self.away, at);
        let new = Line::default();
        let Line { stopped, last_host, .. } = std::mem::replace(&mut self.lines[line], new);
        self.hosts.resize_with(world.plan.hosts, Host::default);
        self.holds("nobody dials until told", stopped.is_none(), || {
            format!("{stopped:?} {}", at())
        });
        let waited = self.hosts[host].alarm.is_none_or(|since| now - since >= SECOND);
        self.holds("what people mend is left alone for a second", waited, at);
        // After a fault, a host that may be dialed and has done nothing wrong comes first.
        let is_well = |host: &Host| host.alarm.is_none() && host.waits < now && !host.is_bad;
        let mut others = self.hosts.iter().enumerate().filter(|(other, _)| *other != host);
        let has_other = others.any(|(_, host)| is_well(host));
        let turned = match last_host {
            Some((last, true)) => last != host || !has_other,
            Some((_, false)) | None => true,
        };
        let turned = turned || !alone;
        self.holds("a line turns to the next address", turned, at);
        let few = held.len() < 2 && held.iter().all(|&id| world.connections[id].open.is_some());
        self.holds("a line has few connections", few, at);
        let oldest = held.iter().filter_map(|&id| world.connections[id].open).min();
        let planned = oldest.is_some_and(|open| now - open >= self.rules.replaced);
        let quiet = self.rules.quiet && (QUIET.start + 5 * SECOND..QUIET.end).contains(&now);
        self.holds("a quiet market is no reason to connect again", !quiet || planned, at);
    }

    /// The client holds this no more. `turns`: a line without others turns to the next address.
    fn drops(&mut self, world: &World, id: usize, turns: bool) {
        self.busy = world.now;
        self.held.retain(|&held| held != id);
        self.forgets(id, None);
        if self.talks[id].alone && self.lines.len() == 1 && !self.lines[0].silent {
            self.lines[0].last_host = Some((world.connections[id].host, turns));
        }
    }

    /// What only this connection brought may be dropped.
    fn forgets(&mut self, id: usize, stream: Option<usize>) {
        for (at, seen) in self.streams.iter_mut().enumerate() {
            if stream.is_none_or(|stream| stream == at) {
                seen.arrived.values_mut().for_each(|by| by.retain(|by| *by != id));
            }
        }
    }

    pub(crate) fn go_on(&mut self) {
        self.hosts.iter_mut().for_each(|host| host.alarm = None);
        self.lines.iter_mut().for_each(|line| line.last_host = None);
        for line in self.lines.iter_mut().filter(|line| line.stopped.is_some()) {
            *line = Line::default();
        }
    }

    /// This reaches the client.
    pub(crate) fn hears(&mut self, world: &World, id: usize, got: Got) {
        let (now, clock) = (world.now, world.clock());
        let longest = self.rules.retry_after;
        let asked = |after: Option<u64>, or: Ms| {
            after.map_or(or, |after| after.saturating_mul(1000)).min(longest)
        };
        let back = matches!(got, Got::Data { stream, number, .. }
            if self.talks[id].last.insert(stream, number).is_some_and(|last| number < last));
        if let Got::Data { stream, .. } = got
            && back
        {
            self.forgets(id, Some(stream));
        }
        if let Got::Unreachable | Got::NoName = got {
            // It has reached no server, so it is given back.
            let at = world.connections[id].dialed;
            let taken = self.dials.iter().rposition(|dialed| *dialed == at);
            taken.map(|taken| self.dials.remove(taken));
        }
        let (talk, lines) = (&mut self.talks[id], &mut self.lines);
        match got {
            Got::Refused(429 | 418, after) => {
                let asked = match (got, after) {
                    (_, Some(_)) => asked(after, 0) * 11 / 10 + 2 * SECOND,
                    (Got::Refused(418, _), None) => 2 * MINUTE,
                    (_, None) => SECOND,
                };
                // One that was on the way when another one was refused counts for nothing.
                let is_first = after.is_some() || world.connections[id].dialed >= self.shut;
                if is_first {
                    self.away = self.away.max(clock + asked);
                    self.shut = now;
                }
                self.waits = self.waits.max(clock + self.rules.window.max(2 * MINUTE));
            }
            Got::Refused(_, after) => {
                let asked = asked(after, 0);
                self.waits = self.waits.max(clock + asked + asked / 10);
            }
            Got::Open if !world.plan.login => talk.admitted = Some(clock),
            Got::LoggedIn => {
                talk.logged_in = true;
                talk.admitted.get_or_insert(clock);
            }
            Got::Answer(_, streams, true) => {
                let new = streams & talk.streams & !talk.answers;
                let fresh = talk.fresh.iter_mut().enumerate();
                fresh.filter(|(at, _)| new >> at & 1 == 1).for_each(|(_, fresh)| *fresh = now);
                talk.answers |= new;
            }
            Got::Answer(_, _, false) => talk.refused = true,
            Got::Data { stream, restarts, number } => {
                talk.answers |= (1 << stream) & talk.streams; // data before is no answer
                talk.fresh[stream] = now;
                let seen = &mut self.streams[stream];
                let new = seen.last.is_none_or(|last| (restarts, number) > last);
                let told = seen.last.is_some_and(|last| last.0 == restarts) && number <= seen.gap;
                if new && !told && !talk.wrong {
                    seen.arrived.entry((restarts, number)).or_default().push(id);
                }
            }
            _ => {}
        }
        talk.wrong |= matches!(got, Got::LoginRefused | Got::Garbage);
        self.hosts.resize_with(world.plan.hosts, Host::default);
        let hosts = &mut self.hosts;
        let host = world.connections[id].host;
        let why = || Some(format!("{got:?} at {now} ms"));
        match got {
            Got::Open => {
                hosts[host].alarm = None;
                hosts[host].waits = 0;
            }
            Got::Refused(408 | 500.., after) => {
                let asked = asked(after, 0);
                hosts[host].waits = now + asked + asked / 10 + MINUTE;
            }
            Got::Closed(1012 | 1013) => hosts[host].waits = now + MINUTE,
            // As the program says.
            Got::LoginRefused => lines[talk.line].stopped = why(),
            Got::Refused(401, _) => self.waits = self.waits.max(clock + 18 * MINUTE),
            Got::Refused(403 | 404, _) | Got::BadCertificate | Got::Garbage => {
                hosts[host].alarm = Some(now);
            }
            // The answer to a login.
            Got::Closed(1000 | 1002 | 1008) if talk.admitted.is_none() => {
                self.waits = self.waits.max(clock + 18 * MINUTE);
            }
            _ => {}
        }
        self.graves += u32::from(matches!(
            got,
            Got::Refused(401 | 403 | 404 | 407 | 418, _)
                | Got::BadCertificate
                | Got::Garbage
                | Got::LoginRefused
                | Got::Closed(1000 | 1002 | 1008)
        ));
        let lived = talk.admitted.map_or(0, |since| clock - since);
        if got.is_end() {
            let at = || format!("{got:?} of {id} at {now} ms");
            self.holds("a connection is replaced before it is cut", !self.rules.calm, at);
            let is_silence = matches!(got, Got::PongTimeout | Got::Closed(1012 | 1013));
            let is_attempt = world.connections[id].open.is_none();
            self.hosts[host].is_bad = is_silence || is_attempt || lived < MINUTE;
            self.drops(world, id, is_silence || is_attempt || lived < MINUTE);
        }
    }

    /// The client says this over a connection.
    pub(crate) fn says(&mut self, world: &World, id: usize, said: Said) {
        let (now, talk) = (world.now, &mut self.talks[id]);
        let soon = now.saturating_sub(self.rules.again.min(now - self.changed));
        let again = talk.said.iter().rev().take_while(|(at, _)| *at > soon);
        let again = again.into_iter().any(|(_, before)| match (said, before) {
            (Said::Subscribe(_, now), Said::Subscribe(_, before)) => now & before > 0,
            _ => false,
        });
        let again = again || said == Said::Login && !talk.said.is_empty();
        talk.said.push((now, said));
        let subscribes = if let Said::Subscribe(_, streams) = said { streams } else { 0 };
        talk.streams |= subscribes;
        let first = subscribes == 0 || !world.plan.login || talk.logged_in;
        let (most, window) = self.rules.pace;
        let count = talk.said.iter().rev().take_while(|(at, _)| now - at < window).count();
        let at = || format!("{said:?} of {id} at {now} ms; {:?}", world.last);
        let open = self.held.contains(&id) && world.connections[id].open.is_some();
        self.holds("only an open connection is written to", open, at);
        self.holds("a subscription waits for the login", first, at);
        self.holds("only wanted subscriptions are said", subscribes & !self.wanted == 0, at);
        self.holds("messages keep to the pace", count <= most, at);
        self.holds("nothing is said again too soon", !again, at);
    }

    /// The client leaves: for a successor, or because something is wrong.
    pub(crate) fn leaves(&mut self, world: &World, id: usize, for_successor: bool) {
        let older = self.of(self.talks[id].line).any(|other| other < id);
        self.drops(world, id, !for_successor && !self.talks[id].wrong);
        let (connection, talk) = (&world.connections[id], &self.talks[id]);
        // The older one was silent, and has spoken.
        let ready = older || self.of(talk.line).any(|id| self.is_ready(world, id));
        let silent = connection.dead.is_some() || connection.frozen.is_some() || connection.gone;
        let bad = silent || connection.mute > 0 || talk.wrong || talk.refused || !self.rules.quiet;
        let bad = bad || connection.open.is_none_or(|open| open < world.stubborn.0);
        let what = || format!("{id} at {} ms; {:?}", world.now, world.last);
        self.holds("a connection is left only for one that has all", ready || !for_successor, what);
        self.holds("no healthy connection is left", bad || for_successor, what);
    }

    /// Whether all subscriptions are answered, or said if no answers are expected.
    fn is_ready(&self, world: &World, id: usize) -> bool {
        let talk = &self.talks[id];
        let ready = if self.rules.answers { talk.answers } else { talk.streams };
        world.connections[id].open.is_some() && self.wanted & !ready == 0
    }

    /// The client wants these streams: a bit for each.
    pub(crate) fn wants(&mut self, now: Ms, streams: u64) {
        let changed = self.wanted ^ streams;
        (self.wanted, self.changed) = (streams, now);
        for talk in &mut self.talks {
            (talk.answers, talk.streams) = (talk.answers & !changed, talk.streams & !changed);
        }
        for (stream, seen) in self.streams.iter_mut().enumerate() {
            if changed >> stream & 1 == 1 {
                *seen = Seen::default();
            }
        }
    }

    /// The client's program gets this message.
    pub(crate) fn delivers(&mut self, now: Ms, stream: usize, restarts: u32, number: u64) {
        self.counts[1] += 1;
        let seen = &mut self.streams[stream];
        let (last, gap) = (seen.last, seen.gap);
        let arrived = seen.arrived.remove(&(restarts, number)).is_some();
        let restarted = std::mem::take(&mut seen.restarted);
        seen.last = Some((restarts, number));
        let Some((_, before)) = last.filter(|_| !restarted) else {
            return self.snapshot(stream, restarts, number);
        };
        let what = || format!("{number} of {stream} behind {last:?} and gap {gap}, {now} ms");
        self.holds("each number is delivered once", arrived && number > before, what);
        let told = number <= before.max(gap) + 1;
        self.holds("each missing number lies in a gap that was told", told, what);
    }

    /// The client's program is told of a gap.
    pub(crate) fn gap(&mut self, now: Ms, stream: usize, first: u64, last: u64) {
        self.counts[0] += 1;
        let seen = &mut self.streams[stream];
        let (restarts, before) = seen.last.unwrap_or_default();
        let known = seen.gap.max(before);
        let sure = |by: &Vec<usize>| !by.is_empty();
        let mut arrived = 0;
        seen.arrived.retain(|&(of, number), by| {
            let told = of == restarts && (first..=last).contains(&number);
            arrived += usize::from(told && sure(by));
            !told
        });
        seen.gap = last;
        let what = || format!("{first}..={last} of {stream} behind {known}, {now} ms");
        self.holds("a gap is told once", first == known + 1 && last >= first, what);
        self.holds("a number that arrived is in no gap", arrived == 0, what);
        self.holds("a planned replacement loses nothing", !self.rules.calm, what);
    }

    pub(crate) fn restarts(&mut self, stream: usize) {
        self.streams[stream].restarted = true;
    }

    /// The program goes on behind this number: it has a snapshot up to there.
    pub(crate) fn snapshot(&mut self, stream: usize, restarts: u32, number: u64) {
        let seen = &mut self.streams[stream];
        (seen.last, seen.gap, seen.restarted) = (Some((restarts, number)), 0, false);
        seen.arrived.retain(|&later, _| later > (restarts, number));
    }

    /// To be asked after each step of the client.
    pub(crate) fn looks(&mut self, world: &World, states: &[State]) {
        let now = world.now;
        let is_stopped = |state: &State| matches!(state, State::Stopped { .. });
        if !self.held.is_empty() || states.iter().any(is_stopped) {
            self.busy = now;
        }
        self.busy = self.busy.max(world.when(self.away.max(self.waits)));
        let idle = world.awake(self.busy) > self.rules.idle;
        self.holds("it dials again soon", !idle, || {
            format!("{now} ms; {states:?}; {:?}", world.last)
        });
        for at in 0..self.held.len() {
            let id = self.held[at];
            let connection = &world.connections[id];
            let Some(open) = connection.open else { continue };
            let what = || format!("{id} at {now} ms, open {open}; {:?}", world.last);
            // Without a subscription there may be nothing to ask.
            let silent = connection.dead.or(connection.frozen).filter(|_| self.wanted != 0);
            let late = silent.is_some_and(|at| world.awake(at.max(self.changed)) > self.rules.dead);
            // A silent connection stays until its successor has data.
            let line = self.talks[id].line;
            let shown = states.get(line).is_some_and(|state| {
                matches!(state, State::Silent { .. } | State::Stopped { .. } | State::Alarm { .. })
            });
            let oldest = self.of(line).all(|other| other >= id);
            self.holds("a dead line is left in time", !late || shown && oldest, what);
            let talk = &mut self.talks[id];
            let frozen = |(stream, fresh): (usize, &Ms)| {
                (connection.mute & talk.answers) >> stream & 1 == 1
                    && world.awake(*fresh) > self.rules.mute
            };
            let late = connection.mute > 0 && talk.fresh.iter().enumerate().any(frozen);
            let since = open.max(self.changed);
            if silent.is_none() && !talk.checked && world.awake(since) > self.rules.said {
                talk.checked = true;
                let login = talk.said.first().is_some_and(|(_, said)| *said == Said::Login);
                let all = login == world.plan.login && self.wanted & !talk.streams == 0;
                let all = all || talk.wrong || talk.refused;
                self.holds("all is said on each connection", all, what);
            }
            let kept = shown || !oldest;
            self.holds("a frozen subscription is left in time", !late || kept, what);
        }
        for (line, state) in states.iter().enumerate() {
            self.lines[line].silent = matches!(state, State::Silent { .. });
            self.shows(world, line, state);
        }
    }

    /// The client shows this state of the line.
    fn shows(&mut self, world: &World, line: usize, state: &State) {
        let held: Vec<usize> = self.of(line).collect();
        let oldest = held.iter().copied().find(|id| world.connections[*id].open.is_some());
        let ready = oldest.is_some_and(|id| self.is_ready(world, id));
        let logged_in = oldest.is_some_and(|id| self.talks[id].logged_in);
        let stopped = self.lines[line].stopped.is_some();
        let true_ = match state {
            State::Stopped { .. } => stopped,
            _ if stopped => false,
            State::Alarm { .. } => self.graves > 0,
            State::Held { .. } | State::Waiting { .. } => held.is_empty(),
            State::Silent { .. } => oldest.is_some(),
            State::Dialing { .. } => held.len() == 1 && oldest.is_none(),
            State::LoggingIn => oldest.is_some() && world.plan.login && !logged_in,
            State::Subscribing { .. } => oldest.is_some() && !ready,
            State::Probing => oldest.is_some(),
            State::Following => ready && held.len() == 1,
            State::Replacing => ready && held.len() == 2,
        };
        let what = if true_ {
            String::new() // asked for too often to be written each time
        } else {
            format!(
                "{state:?} at {} ms: line {line}, {held:?}, {stopped:?}; {:?}",
                world.now, world.last
            )
        };
        self.holds("the state shown is true", true_, || what.clone());
    }

    /// At the end of the day, after hours without trouble.
    pub(crate) fn ends(&mut self, world: &World, states: &[State]) {
        let live =
            |state: &State| matches!(state, State::Following | State::Replacing | State::Probing);
        let live = states.iter().all(live);
        self.holds("it is live after hours without trouble", live, || format!("{:?}", world.last));
        for stream in 0..self.streams.len() {
            let (last, (restarts, number)) = (self.streams[stream].last, world.published(stream));
            let near = last.is_some_and(|last| last.0 == restarts && last.1 + 3 >= number);
            let what = || format!("stream {stream}: {last:?} of {:?}", (restarts, number));
            self.holds("the feed is delivered up to the end of the day", near, what);
        }
    }
}
