//! What is said on an open connection.
use super::{Connection, ConnectionId, Exchange, Heard, Said, Stage};
use crate::{
    day::Fault,
    visitor::Door,
    wire::{self, Asked},
};
use serde_json::Value;

impl Exchange {
    /// The connection is open: greets the client, and counts what its target asks for.
    pub(super) fn open(&mut self, id: ConnectionId, target: &str) {
        let (streams, wrapped) = wire::streams_of(self.day.shape, target, self.listed);
        let ping = self.day.rules.ping;
        let now = self.now;
        let Some(connection) = self.connections.get_mut(&id) else { return };
        connection.stage = Stage::Open;
        connection.opened = now;
        connection.last_text = now;
        connection.voice.wrapped = wrapped;
        if let Some((every, _)) = ping {
            connection.next_ping = now + every;
        }
        if let Some(greeting) = connection.voice.greeting() {
            self.said.push_back((id, Said::Text(greeting)));
        }
        if !streams.is_empty() {
            self.subscribe(id, &streams);
        }
    }

    /// The client has said something, or its connection has ended.
    pub fn heard(&mut self, now: std::time::Duration, id: ConnectionId, heard: Heard<'_>) {
        self.advance(now);
        let now = self.now;
        let Some(connection) = self.connections.get_mut(&id) else { return };
        if heard == Heard::End {
            if connection.stage == Stage::Dialed {
                // TLS failed. That an attempt came to no request makes it no cheaper.
                self.visitor.comes(Door::Dials, now);
            }
            self.connections.remove(&id);
            "the client itself".clone_into(&mut self.cause);
            self.look();
            return;
        }
        if connection.stage != Stage::Open {
            return;
        }
        self.messages.add(now);
        let sent = connection.heard.add(now);
        let limit = self.day.rules.messages;
        if sent > limit.most {
            let why = format!("{sent} messages within {:?} on one connection", limit.within);
            self.expelled += 1;
            self.end_one(id, Said::Close(1008, "Too many requests"), "too many messages");
            self.strike(why);
            return;
        }
        match heard {
            Heard::Text(text) => {
                connection.last_text = now;
                let asked = connection.voice.read(text, self.listed);
                self.answer(id, asked);
            }
            Heard::Pong => connection.pinged = None,
            Heard::Ping | Heard::End => {}
        }
    }

    fn answer(&mut self, id: ConnectionId, asked: Asked) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        let voice = &connection.voice;
        let answers = match asked {
            Asked::Subscribe(..) if !connection.logged_in => {
                vec![voice.error("log in first", &Value::Null)]
            }
            Asked::Subscribe(symbols, request) => {
                let answers = voice.subscribed(&symbols, &request);
                self.say(id, answers);
                self.subscribe(id, &symbols);
                return;
            }
            Asked::Unsubscribe(symbols, request) => {
                let answers = voice.unsubscribed(&symbols, &request);
                for symbol in symbols {
                    connection.subscribed[symbol] = false;
                }
                self.say(id, answers);
                self.look();
                return;
            }
            Asked::Login => {
                self.log_in(id);
                return;
            }
            Asked::Ping(request) => vec![voice.pong(&request)],
            Asked::Configure(request) => vec![voice.configured(&request)],
            Asked::Unknown(what, request) => vec![voice.error(what, &request)],
        };
        self.say(id, answers);
    }

    fn say(&mut self, id: ConnectionId, texts: Vec<String>) {
        self.said.extend(texts.into_iter().map(|text| (id, Said::Text(text))));
    }

    fn log_in(&mut self, id: ConnectionId) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        let address = connection.address;
        let refused = |fault: &Fault| matches!(fault, Fault::KeyRefused(_));
        if self.fault_at(address, refused).is_none() {
            if let Some(connection) = self.connections.get_mut(&id) {
                connection.logged_in = true;
                let answer = connection.voice.logged_in();
                self.say(id, vec![answer]);
            }
            return;
        }
        self.end_one(id, Said::Close(1008, "apikey: invalid"), "the key was refused");
        let refused = self.refused_logins.add(self.now);
        if refused > self.day.rules.refused_logins.most {
            self.strike(format!("{refused} logins with a key that is refused"));
        }
    }

    /// Subscribes a connection. Where the exchange answers with snapshots, it sends them.
    fn subscribe(&mut self, id: ConnectionId, symbols: &[usize]) {
        let since_1970 = self.since_1970();
        let with_snapshot = !self.day.shape.snapshots_over_http();
        let Some(address) = self.connections.get(&id).map(|open| open.address) else { return };
        let mute = self.fault_at(address, |fault| matches!(fault, Fault::Mute(_))).is_some();
        let Some(connection) = self.connections.get_mut(&id) else { return };
        connection.ever_subscribed = true;
        connection.muted[0] |= mute;
        let mut snapshots = Vec::new();
        for &symbol in symbols {
            // To subscribe again is answered, but brings no dead stream back.
            let again = std::mem::replace(&mut connection.subscribed[symbol], true);
            if with_snapshot && !again {
                let at = self.market.snapshot(symbol);
                let text = connection.voice.snapshot(symbol, at, since_1970);
                snapshots.push((symbol, at, text));
            }
        }
        self.look();
        for (symbol, at, text) in snapshots {
            self.sight.snapshot(symbol, at);
            self.said.push_back((id, Said::Text(text)));
        }
    }

    pub(super) fn end_one(&mut self, id: ConnectionId, said: Said, cause: &str) {
        if said == Said::Freeze {
            if let Some(connection) = self.connections.get_mut(&id) {
                connection.stage = Stage::Frozen;
            }
        } else {
            self.connections.remove(&id);
        }
        self.said.push_back((id, said));
        cause.clone_into(&mut self.cause);
        self.look();
    }

    fn strike(&mut self, why: String) {
        self.visitor.strike(self.now, why);
        if self.visitor.is_banned(self.now) {
            self.end_all();
        }
    }

    pub(super) fn end_all(&mut self) {
        let open = |(&id, connection): (&ConnectionId, &Connection)| {
            (connection.stage == Stage::Open).then_some(id)
        };
        let ids: Vec<_> = self.connections.iter().filter_map(open).collect();
        for id in ids {
            self.end_one(id, Said::Cut, "banned");
        }
    }

    /// Looks which symbols have a healthy connection.
    pub(super) fn look(&mut self) {
        let connections = &self.connections;
        let healthy = |symbol| connections.values().any(|open| open.brings(symbol));
        self.sight.look(self.now, healthy, |symbol| self.market.position(symbol), &self.cause);
    }
}
