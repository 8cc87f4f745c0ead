use super::{BUSY, Condition, ConnectionId, Exchange, SHORTEST_INTERVAL, Said, Stage};
use crate::day::{Fault, Shape};
use std::time::Duration;

#[derive(Clone, Copy)]
enum Due {
    Event,
    ConditionOver,
    Tick,
    /// A book may be late.
    Books,
    /// Something about this connection.
    Connection(ConnectionId),
}

/// How and why the exchange ends a connection.
struct Ending {
    at: Duration,
    said: Said,
    why: &'static str,
    /// Whether the client is to blame.
    expels: bool,
}

impl Exchange {
    /// Lets time pass: all that is due happens at its own time.
    pub(super) fn advance(&mut self, now: Duration) {
        let now = now.max(self.now).min(self.end);
        loop {
            let (at, due) = self.next();
            let until = at.min(now);
            let unserved = self.is_unserved();
            self.sight.pass(until - self.now, unserved);
            self.books.pass(until - self.now, unserved);
            self.now = until;
            self.look_at_books();
            match due {
                Some(due) if at <= now => self.happen(due),
                _ => return,
            }
        }
    }

    pub(super) fn due(&self) -> Duration {
        self.next().0
    }

    /// What is due next, and when. At the end of the day nothing is.
    fn next(&self) -> (Duration, Option<Due>) {
        let mut next = (self.end, None);
        let mut offer = |at: Duration, due| {
            if at < next.0 {
                next = (at.max(self.now), Some(due));
            }
        };
        if let Some(&at) = self.schedule.get(self.next_event) {
            offer(at, Due::Event);
        }
        for condition in &self.conditions {
            offer(condition.until, Due::ConditionOver);
        }
        offer(self.next_tick, Due::Tick);
        if let Some(at) = self.books.due() {
            offer(at, Due::Books);
        }
        for &id in self.connections.keys() {
            if let Some(ending) = self.end_of(id) {
                offer(ending.at, Due::Connection(id));
            }
            offer(self.connections[&id].next_ping, Due::Connection(id));
        }
        next
    }

    /// How the exchange will end a connection, if its client goes on as now.
    fn end_of(&self, id: ConnectionId) -> Option<Ending> {
        let connection = self.connections.get(&id)?;
        if connection.stage != Stage::Open {
            return None;
        }
        let rules = &self.day.rules;
        let mut first: Option<Ending> = None;
        let mut offer = |at, said, why, expels| {
            if first.as_ref().is_none_or(|first| at < first.at) {
                first = Some(Ending { at, said, why, expels });
            }
        };
        if let Some(life) = self.day.life {
            offer(connection.opened + life / self.speed, Said::Cut, "the longest life", false);
        }
        if let Some(at) = connection.retires {
            offer(at, Said::Close(1001, ""), "the announced end", false);
        }
        let short = |fault: &Fault| matches!(fault, Fault::ShortLived { .. });
        if let Some(Fault::ShortLived { code, life, .. }) = self.fault_at(connection.address, short)
        {
            let said = code.map_or(Said::Cut, |code| Said::Close(code, ""));
            offer(connection.opened + life, said, "a short life", false);
        }
        if let Some(quiet) = rules.quiet {
            let said = Said::Close(4004, "No data received in 30s.");
            offer(connection.last_text + quiet, said, "no text from the client", true);
        }
        if let Some(pinged) = connection.pinged
            && let Some((_, within)) = rules.ping
        {
            let said = Said::Close(1008, "Pong timeout");
            offer(pinged + within, said, "no Pong from the client", true);
        }
        if let Some(within) = rules.subscribe
            && !connection.ever_subscribed
        {
            let said = Said::Close(1008, "no subscription");
            offer(connection.opened + within, said, "no subscription", true);
        }
        first
    }

    fn happen(&mut self, due: Due) {
        match due {
            Due::Event => {
                let event = self.day.events[self.next_event];
                self.next_event += 1;
                self.busy_until = self.now + event.watch;
                if event.watch > Duration::ZERO {
                    self.next_tick = self.next_tick.min(self.now + BUSY);
                }
                self.begin(event.fault, event.address, event.thread);
            }
            Due::ConditionOver => self.end_conditions(),
            Due::Tick => self.tick(),
            Due::Books => self.look_at_books(),
            Due::Connection(id) => self.attend(id),
        }
    }

    /// An event: at once, and as long as it lasts.
    fn begin(&mut self, fault: Fault, address: Option<usize>, thread: &str) {
        let lasts = fault.lasts();
        if lasts > Duration::ZERO {
            let until = self.now + lasts;
            self.conditions.push(Condition { fault, address, until });
        }
        let said = match fault {
            Fault::Close(code, reason) => Said::Close(code, reason),
            Fault::Cut => Said::Cut,
            Fault::Reset => Said::Reset,
            Fault::Silent | Fault::Frozen(_) => Said::Freeze,
            Fault::BadText => Said::BadText,
            Fault::Mute(_) => return self.mute(address, thread),
            Fault::Jump(numbers) => return self.market.jump(numbers),
            Fault::Delist => return self.delist(),
            Fault::Lose(updates) => return self.market.lose(updates),
            Fault::Anew => return self.begin_anew(),
            Fault::Stale(_) => return self.market.stop_cache(),
            Fault::Announce(after) => return self.announce(after),
            Fault::Down(_)
            | Fault::Refuse { .. }
            | Fault::Certificate { .. }
            | Fault::WrongSubprotocol(_)
            | Fault::ShortLived { .. }
            | Fault::Quiet(_)
            | Fault::KeyRefused(_) => return,
        };
        let ids = match said {
            Said::Freeze => self.at(address, |stage| stage != Stage::Frozen),
            _ => self.at(address, |stage| stage == Stage::Open),
        };
        for id in ids {
            self.end_one(id, said.clone(), thread);
        }
    }

    pub(super) fn look_at_books(&mut self) {
        let cause = self.happened().last().map_or("the start", |event| event.thread);
        self.books.look(self.now, |symbol| self.market.position(symbol), cause);
    }

    fn at(&self, address: Option<usize>, is: impl Fn(Stage) -> bool) -> Vec<ConnectionId> {
        let here = |at| address.is_none_or(|address| address == at);
        let connections = self.connections.iter();
        let found = connections.filter(|(_, open)| is(open.stage) && here(open.address));
        found.map(|(&id, _)| id).collect()
    }

    fn mute(&mut self, address: Option<usize>, thread: &str) {
        for id in self.at(address, |_| true) {
            if let Some(connection) = self.connections.get_mut(&id) {
                connection.muted[0] |= connection.subscribed[0];
            }
        }
        thread.clone_into(&mut self.cause);
        self.look();
    }

    fn unmute(&mut self, address: Option<usize>) {
        for id in self.at(address, |_| true) {
            if let Some(connection) = self.connections.get_mut(&id) {
                connection.muted[0] = false;
            }
        }
        self.look();
    }

    fn delist(&mut self) {
        self.listed -= 1;
        for connection in self.connections.values_mut() {
            connection.subscribed[self.listed] = false;
        }
        self.sight.forget(self.listed);
        self.books.forget(self.listed);
        self.look();
    }

    fn begin_anew(&mut self) {
        let in_stream = self.day.shape == Shape::Bybit;
        self.market.begin_anew(u64::from(in_stream));
        let since_1970 = self.since_1970();
        for symbol in 0..self.listed {
            let at = self.market.position(symbol);
            self.sight.needs(symbol, at);
            if !in_stream {
                continue;
            }
            for (&id, connection) in &mut self.connections {
                if connection.brings(symbol) {
                    let text = connection.voice.snapshot(symbol, at, since_1970);
                    self.said.push_back((id, Said::Text(text)));
                    self.sight.snapshot(symbol, at);
                }
            }
        }
    }

    fn announce(&mut self, after: Duration) {
        let since_1970 = self.since_1970();
        let retires = Some(self.now + after);
        for (&id, connection) in &mut self.connections {
            if connection.stage == Stage::Open {
                connection.retires = retires;
                self.said.push_back((id, Said::Text(connection.voice.announcement(since_1970))));
            }
        }
    }

    fn end_conditions(&mut self) {
        let now = self.now;
        let (over, on) = self.conditions.drain(..).partition(|condition| condition.until <= now);
        self.conditions = on;
        for condition in over {
            match condition.fault {
                Fault::Stale(_) => self.market.renew_cache(),
                Fault::Frozen(_) => self.thaw(condition.address),
                Fault::Mute(_) => self.unmute(condition.address),
                _ => {}
            }
        }
    }

    /// The server is started anew: what was stuck in its old life is reset.
    fn thaw(&mut self, address: Option<usize>) {
        for id in self.at(address, |stage| stage == Stage::Frozen) {
            self.connections.remove(&id);
            self.said.push_back((id, Said::Reset));
        }
    }

    fn tick(&mut self) {
        let mut interval = (self.day.interval / self.speed).max(SHORTEST_INTERVAL);
        if self.now < self.busy_until {
            interval = interval.min(BUSY);
        }
        self.next_tick = self.now + interval;
        let since_1970 = self.since_1970();
        if self.conditions.iter().any(|condition| matches!(condition.fault, Fault::Quiet(_))) {
            return self.keep_alive(since_1970);
        }
        for symbol in 0..self.listed {
            let (update, sent) = self.market.next(symbol);
            self.sight.made(symbol, sent, self.market.position(symbol));
            if sent {
                self.books.sent(symbol, self.market.position(symbol), self.now);
            }
            for (&id, connection) in &mut self.connections {
                if !connection.brings(symbol) {
                    continue;
                }
                let text = connection.voice.update(&update, since_1970);
                if sent {
                    self.said.push_back((id, Said::Text(text)));
                }
            }
        }
    }

    fn keep_alive(&mut self, since_1970: u128) {
        for symbol in 0..self.listed {
            let at = self.market.position(symbol);
            for (&id, connection) in &self.connections {
                if connection.brings(symbol)
                    && let Some(text) = connection.voice.keepalive(symbol, at, since_1970)
                {
                    self.said.push_back((id, Said::Text(text)));
                }
            }
        }
    }

    fn attend(&mut self, id: ConnectionId) {
        if let Some(ending) = self.end_of(id)
            && ending.at <= self.now
        {
            self.expelled += usize::from(ending.expels);
            self.end_one(id, ending.said, ending.why);
            return;
        }
        let now = self.now;
        let every = self.day.rules.ping.map_or(Duration::MAX, |(every, _)| every);
        let Some(connection) = self.connections.get_mut(&id) else { return };
        if connection.next_ping > now {
            return;
        }
        connection.next_ping = now.checked_add(every).unwrap_or(Duration::MAX);
        if connection.stage == Stage::Open {
            connection.pinged.get_or_insert(now);
            self.said.push_back((id, Said::Ping));
        }
    }

    /// Whether no address would serve a new connection now, for more than seconds.
    pub(super) fn is_unserved(&self) -> bool {
        let hinders = |fault: &Fault| {
            matches!(
                fault,
                Fault::Frozen(_)
                    | Fault::Down(_)
                    | Fault::Refuse { .. }
                    | Fault::Certificate { .. }
                    | Fault::WrongSubprotocol(_)
                    | Fault::Mute(_)
                    | Fault::KeyRefused(_)
                    | Fault::Stale(_)
                    | Fault::ShortLived { .. }
            )
        };
        let hindered = |address| match self.fault_at(address, hinders) {
            Some(Fault::KeyRefused(_)) => self.day.login,
            fault => fault.is_some(),
        };
        (0..self.day.addresses).all(hindered)
    }
}
