//! A small correct peer of either role, written from the RFCs, and ways to spoil it.

#![allow(dead_code)]

use wsconform_cases::judge::accept::{accept, base64, base64_len};
use wsconform_cases::judge::deflate::{self, Blocks, Parameters, Token};
use wsconform_cases::judge::frame::Header;
use wsconform_cases::judge::http::{self, Extension, Head};
use wsconform_cases::judge::inflate::Inflater;
use wsconform_cases::{Action, Case, End, Env, Level, Need, Peer, Probe, Role, Session, Verdict};

/// A way to be wrong, or several with `+` between them.
pub type Flaw = &'static str;

/// Flaws of an application: what it puts in the place of what, in the texts that it sends back.
pub const CHANGES: [(Flaw, &str, &str); 9] = [
    ("composes", "e\u{301}", "\u{e9}"),
    ("decomposes", "\u{e9}", "e\u{301}"),
    ("compatible", "\u{fb01}", "fi"),
    ("line-feeds", "\r\n", "\n"),
    ("lines-of-unicode", "\u{2028}", "\n"),
    ("no-blanks", "a \t", "a"),
    ("no-joiners", "\u{200d}", ""),
    ("escapes-markup", "&", "&amp;"),
    ("reads-escapes", "\\n", "\n"),
];

/// The open message: opcode, compressed, payload so far.
pub type Message = (u8, bool, Vec<u8>);

/// An echo peer: bytes in, bytes out.
pub struct Model {
    role: Role,
    flaw: Flaw,
    input: Vec<u8>,
    /// How much of `input` has been read.
    at: usize,
    pub output: Vec<u8>,
    /// The peer has ended its half of the stream.
    pub ended: bool,
    open: bool,
    deflate: Option<(Inflater, bool)>,
    message: Option<Message>,
    key: u32,
    offered: String,
    /// A violation that is reported with the next Close.
    late: bool,
    /// A Ping that is answered when all input is read.
    ping: Option<Vec<u8>>,
    /// What is echoed when all input is read.
    later: Vec<(u8, Vec<u8>)>,
    /// How many data messages have come.
    messages: usize,
    /// The last message sent, which a compressor that keeps its history refers to.
    sent: Vec<u8>,
    /// How many Pings have come, and how many fragments of the open message.
    pings: usize,
    fragments: usize,
    /// Where the last fragment of the open message begins.
    fragment: usize,
    /// The frame before was a Ping.
    is_behind_ping: bool,
    /// The masking key of the frame before.
    mask: [u8; 4],
    /// A read has ended behind so many bytes of a frame.
    cut: usize,
}

impl Model {
    pub fn new(role: Role, flaw: Flaw, connection: u32) -> Model {
        let mut model = Model {
            role,
            flaw,
            input: Vec::new(),
            at: 0,
            output: Vec::new(),
            ended: false,
            open: false,
            deflate: None,
            message: None,
            key: 0x1234_5678,
            offered: "permessage-deflate; client_max_window_bits".to_owned(),
            late: false,
            ping: None,
            later: Vec::new(),
            messages: 0,
            sent: Vec::new(),
            pings: 0,
            fragments: 0,
            fragment: 0,
            is_behind_ping: false,
            mask: [0; 4],
            cut: 0,
        };
        if model.is("has-foreign-history") {
            model.sent = b"the first connection has this in its past".to_vec();
        }
        if model.is("no-takeover") {
            model.offered = "permessage-deflate; server_no_context_takeover; \
                 client_no_context_takeover"
                .to_owned();
        }
        if model.is("refuses-unasked") {
            model.offered = "permessage-deflate".to_owned();
        }
        if role == Role::Client {
            let number = if model.is("same-key") { 0 } else { connection };
            let mut key = [7u8; 16];
            key[..4].copy_from_slice(&number.to_be_bytes());
            let length = if model.is("short-key") { 12 } else { 16 };
            let key = base64(&key[..length]);
            let version = if model.is("version-8") { "8" } else { "13" };
            model.key_sent(&key);
            let host = match flaw {
                "no-host" => "",
                "no-port" => "Host: localhost\r\n",
                _ => "Host: localhost:9001\r\n",
            };
            let offer = match model.is("no-deflate") {
                true => String::new(),
                false => format!("Sec-WebSocket-Extensions: {}\r\n", model.offered),
            };
            let request = format!(
                "GET / HTTP/1.1\r\n{host}Upgrade: websocket\r\nConnection: Upgrade\r\n\
                 Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: {version}\r\n{offer}\r\n"
            );
            model.output.extend(request.bytes());
            if model.is("early-frames") {
                model.frame(0x81, b"early");
            }
        }
        model
    }

    fn is(&self, flaw: &str) -> bool {
        self.flaw.split('+').any(|one| one == flaw)
    }

    /// A flawed model takes less, so that the tests take less time.
    fn limit(&self) -> u64 {
        if self.flaw.is_empty() || self.is("cuts-64k") { 64 << 20 } else { 128 << 10 }
    }

    fn key_sent(&mut self, key: &str) {
        self.message = Some((0, false, key.as_bytes().to_vec()));
    }

    /// Bytes from the suite.
    pub fn read(&mut self, bytes: &[u8]) {
        if self.ended {
            return;
        }
        self.input.extend(bytes);
        if !self.open {
            self.handshake();
        }
        if self.open && self.is("speaks") {
            self.frame(0x81, b"tick");
        }
        while self.open && !self.ended && self.frame_in() {}
        for (kind, data) in std::mem::take(&mut self.later) {
            if !self.ended {
                self.echo(kind, &data);
            }
        }
        if let Some(payload) = self.ping.take()
            && !self.ended
        {
            self.frame(0x8a, &payload);
        }
        self.input.drain(..self.at);
        self.at = 0;
        if self.open && !self.input.is_empty() {
            self.cut = self.input.len();
        }
    }

    /// Exchanges what was read of a head with what was read of another one.
    fn swap_head(&mut self, head: &mut Vec<u8>) {
        if !self.open {
            std::mem::swap(&mut self.input, head);
        }
    }

    /// Exchanges the open message with that of another connection.
    pub fn swap_message(&mut self, message: &mut Option<Message>) {
        if self.open {
            std::mem::swap(&mut self.message, message);
        }
    }

    /// How many bytes it holds, as one that makes room for what a frame announces. No peer makes room
    /// for more than 64 MiB.
    pub fn held(&self) -> u64 {
        if self.ended {
            return self.output.len() as u64;
        }
        let input = &self.input[self.at..];
        let announced = match Header::read(input) {
            Some((header, _)) if self.open => header.length.min(64 << 20),
            _ => input.len() as u64,
        };
        let message = self.message.as_ref().map_or(0, |message| message.2.len() as u64);
        announced + message + self.output.len() as u64
    }

    /// The suite has ended its half.
    pub fn end(&mut self) {
        if self.is("delivers-partial")
            && let Some((opcode, false, payload)) = self.message.take()
            && self.open
        {
            self.frame(0x80 | opcode, &payload);
        }
        self.ended = true;
    }

    fn handshake(&mut self) {
        loop {
            match self.role {
                Role::Server => {
                    // One empty line before a request is ignored (RFC 9112 2.2).
                    if self.input.starts_with(b"\r\n") {
                        self.input.drain(..2);
                    }
                }
                Role::Client => {}
            }
            // Frames may stand behind the head.
            let end = self.input.windows(4).position(|four| four == b"\r\n\r\n");
            let head = &self.input[..end.map_or(self.input.len(), |end| end + 4)];
            let text: String = head.iter().map(|&byte| char::from(byte)).collect();
            // A NUL or a bare line end shows before the head is whole.
            if text.contains("\n\n") || text.contains("\n\r\n") && !text.contains("\r\n\r\n") {
                return self.refuse(400);
            }
            match Head::read(&self.input) {
                Ok(None) => return,
                Err(_) if self.is("lenient-head") => return,
                Err(_) => return self.refuse(400),
                Ok(Some((head, length))) => {
                    self.input.drain(..length);
                    match self.role {
                        Role::Server => return self.request(&head),
                        Role::Client => {
                            if !self.response(&head) {
                                return;
                            }
                        }
                    }
                }
            }
        }
    }

    fn refuse(&mut self, status: u16) {
        if self.role == Role::Server {
            let versions =
                if self.is("no-versions") { "" } else { "Sec-WebSocket-Version: 13\r\n" };
            self.output.extend(
                format!("HTTP/1.1 {status} No\r\nConnection: close\r\n{versions}Content-Length: 0\r\n\r\n")
                    .bytes(),
            );
        }
        self.ended = true;
    }

    fn request(&mut self, head: &Head) {
        let Some((method, target, version)) = head.request() else { return self.refuse(400) };
        let (method, target, version) = (method.to_owned(), target.to_owned(), version.to_owned());
        if method != "GET" && !self.is("any-method") {
            return self.refuse(405);
        }
        if !matches!(version.as_str(), "HTTP/1.1" | "HTTP/1.2") && !self.is("http-1.0") {
            return self.refuse(400);
        }
        if !target.starts_with('/') && !target.contains("://") || target.contains('#') {
            return self.refuse(400);
        }
        let hosts: Vec<&str> = head.all("Host").collect();
        if hosts.is_empty() && !self.is("no-host-needed") {
            return self.refuse(400);
        }
        if hosts.len() > 1 && !self.is("two-hosts") {
            return self.refuse(400);
        }
        if hosts.first().is_some_and(|host| !is_host(host)) {
            return self.refuse(400);
        }
        if !head.lists("Upgrade", "websocket") && !self.is("no-upgrade-needed") {
            return self.refuse(426);
        }
        if self.is("upgrade-case") && !head.all("Upgrade").any(|value| value == "websocket") {
            return self.refuse(426);
        }
        if self.is("connection-whole") && head.one("Connection") != Some("Upgrade") {
            return self.refuse(400);
        }
        if !head.lists("Connection", "upgrade") && !self.is("no-connection-needed") {
            return self.refuse(400);
        }
        let key = head.one("Sec-WebSocket-Key").unwrap_or_default().to_owned();
        let needs_key = !self.is("no-key-needed") || key.contains(' ');
        if needs_key && http_key_is_bad(&key) {
            return self.refuse(400);
        }
        let any_version = self.is("any-version") && head.all("Sec-WebSocket-Version").count() > 0;
        if head.one("Sec-WebSocket-Version") != Some("13") && !any_version {
            return self.refuse(426);
        }
        if head.lists("Transfer-Encoding", "chunked") && self.is("takes-a-body") {
            let last = b"0\r\n\r\n";
            let end = self.input.windows(last.len()).position(|window| window == last);
            let Some(end) = end else { return self.refuse(400) };
            self.input.drain(..end + last.len());
        } else if head.all("Transfer-Encoding").count() > 0
            || head.all("Content-Length").any(|n| n != "0")
        {
            return self.refuse(400);
        }
        let mut extension = String::new();
        for line in head.all("Sec-WebSocket-Extensions") {
            match http::extensions(line) {
                Ok(list) => {
                    for offer in list {
                        if extension.is_empty() {
                            extension = self.answer(&offer).unwrap_or_default();
                        }
                        let is_old = offer.name.ends_with("deflate-frame");
                        if is_old && self.is("deflate-frame") || self.is("any-extension") {
                            extension = offer.name;
                        }
                    }
                }
                Err(_) if self.is("any-extensions") => {}
                Err(_) => return self.refuse(400),
            }
        }
        if self.is("unasked-extension") && extension.is_empty() {
            extension = deflate::NAME.to_owned();
        }
        let proof = match () {
            () if self.is("wrong-accept") => accept("x"),
            () if self.is("accept-constant") => accept("dGhlIHNhbXBsZSBub25jZQ=="),
            () => accept(&key),
        };
        let mut response = format!(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {proof}\r\n"
        );
        if self.is("no-blank") {
            response = response.replace(" Switching Protocols", "");
        }
        for (flaw, line) in [
            ("length-in-101", "Content-Length: 0\r\n"),
            ("chunked-101", "Transfer-Encoding: chunked\r\n"),
            ("lists-nothing", "Sec-WebSocket-Extensions:\r\n"),
        ] {
            if self.is(flaw) {
                response += line;
            }
        }
        if !extension.is_empty() {
            response += &format!("Sec-WebSocket-Extensions: {extension}\r\n");
        }
        if self.is("unasked-protocol") {
            response += "Sec-WebSocket-Protocol: mqtt\r\n";
        }
        response += "\r\n";
        self.output.extend(response.bytes());
        self.open = true;
        if self.is("greets") {
            self.frame(0x81, b"welcome");
        }
    }

    fn answer(&mut self, offer: &Extension) -> Option<String> {
        if offer.name != deflate::NAME || self.is("no-deflate") {
            return None;
        }
        let asked = match Parameters::read(offer, false) {
            // It bounds its memory (RFC 7692 7.1.2.2).
            Ok(asked) if self.is("wants-any-window") && asked.client_max_window_bits.is_none() => {
                return None;
            }
            Ok(asked) => asked,
            Err(_) if self.is("any-offer") => Parameters::default(),
            Err(_) => return None,
        };
        let mut answer = asked;
        // A number is answered only when one was asked for.
        answer.client_max_window_bits = asked.client_max_window_bits.filter(Option::is_some);
        if self.is("no-takeover") {
            answer.server_no_context_takeover = true;
            answer.client_no_context_takeover = true;
        }
        let mut text = deflate::NAME.to_owned();
        if self.is("repeats-its-offer") && asked.client_max_window_bits == Some(None) {
            text += "; client_max_window_bits";
        }
        if answer.server_no_context_takeover && !self.is("forgets-no-takeover") {
            text += "; server_no_context_takeover";
        }
        if answer.client_no_context_takeover {
            text += "; client_no_context_takeover";
        }
        if let Some(bits) = answer.server_max_window_bits
            && !self.is("forgets-window")
        {
            text += &format!("; server_max_window_bits={bits}");
        }
        if let Some(Some(bits)) = answer.client_max_window_bits {
            text += &format!("; client_max_window_bits={bits}");
        }
        self.deflate = Some((answer.inflater(Role::Client), true));
        Some(text)
    }

    /// Whether another response follows.
    fn response(&mut self, head: &Head) -> bool {
        let key = match &self.message {
            Some((0, _, key)) => String::from_utf8_lossy(key).into_owned(),
            _ => String::new(),
        };
        let bad = |model: &mut Model, flaw: &str| {
            if !model.is(flaw) {
                model.ended = true;
            }
            !model.is(flaw)
        };
        let status = head.status().map(|(version, status)| (version.to_owned(), status));
        match status {
            Some((version, 101)) if version == "HTTP/1.1" => {}
            Some((version, status)) if version == "HTTP/1.1" && (100..200).contains(&status) => {
                return true;
            }
            Some((_, 101)) if self.is("http-1.0") => {}
            _ => {
                if bad(self, "any-status") {
                    return false;
                }
            }
        }
        if head.one("Upgrade").is_none_or(|v| !v.eq_ignore_ascii_case("websocket"))
            && bad(self, "no-upgrade-needed")
        {
            return false;
        }
        if !head.lists("Connection", "upgrade") && bad(self, "no-connection-needed") {
            return false;
        }
        if head.one("Sec-WebSocket-Accept") != Some(&accept(&key)) && bad(self, "any-accept") {
            return false;
        }
        if head.all("Sec-WebSocket-Protocol").count() > 0 && bad(self, "any-protocol") {
            return false;
        }
        if head.all("Sec-WebSocket-Extensions").count() > 1 && bad(self, "any-extensions") {
            return false;
        }
        for line in head.all("Sec-WebSocket-Extensions") {
            let list = match http::extensions(line) {
                Ok(list) => list,
                Err(_) if self.is("any-extensions") => continue,
                Err(_) => {
                    self.ended = true;
                    return false;
                }
            };
            let offer = http::extensions(&self.offered).unwrap();
            let offer = Parameters::read(&offer[0], false).unwrap();
            for extension in list {
                let answer = Parameters::read(&extension, true);
                let fits = extension.name == deflate::NAME
                    && !self.is("no-deflate")
                    && (extension.parameters.is_empty() || !self.is("refuses-unasked"))
                    && self.deflate.is_none()
                    && answer.as_ref().is_ok_and(|answer| offer.permits(answer).is_ok());
                if !fits && self.is("stays") {
                    return false;
                }
                if !fits && bad(self, "any-extensions") {
                    return false;
                }
                if let Ok(answer) = answer {
                    self.deflate = Some((answer.inflater(Role::Server), true));
                }
            }
        }
        self.message = None;
        self.open = true;
        false
    }

    fn fail(&mut self, code: u16) -> bool {
        if self.is("fails-empty") {
            self.frame(0x88, &[]);
        } else if !self.is("no-close") {
            let other = [("fails-1000", 1000u16), ("fails-1001", 1001)];
            let other = other.into_iter().find(|(oddity, _)| self.is(oddity));
            self.frame(0x88, &other.map_or(code, |other| other.1).to_be_bytes());
        }
        self.ended = true;
        false
    }

    /// Reads one frame. False if it isn't all there, or the connection is over.
    fn frame_in(&mut self) -> bool {
        let input = &self.input[self.at..];
        let Some((&first, &second)) = input.first().zip(input.get(1)) else {
            return false;
        };
        let opcode = first & 15;
        let fin = first & 0x80 != 0;
        let masked = second & 0x80 != 0;
        if masked != (self.role == Role::Server) && !self.is("any-mask") {
            return self.fail(1002);
        }
        if !matches!(opcode, 0 | 1 | 2 | 8 | 9 | 10) && !self.is("any-opcode") {
            return self.fail(1002);
        }
        let may_continue = opcode == 0 && self.is("rsv1-on-continuation");
        let rsv1_fits = self.deflate.is_some() && (matches!(opcode, 1 | 2) || may_continue);
        if (first & 0x30 != 0 || first & 0x40 != 0 && !rsv1_fits) && !self.is("any-rsv") {
            return self.fail(1002);
        }
        if opcode >= 8 && (!fin || second & 127 > 125) && !self.is("any-control") {
            return self.fail(1002);
        }
        let starts = matches!(opcode, 1 | 2);
        if starts && self.message.is_some() && !self.is("any-order") {
            return self.fail(1002);
        }
        if opcode == 0 && self.message.is_none() && !self.is("any-order") {
            return self.fail(1002);
        }
        let (length, mut at, least) = match second & 127 {
            126 if input.len() >= 4 => {
                (u64::from(u16::from_be_bytes([input[2], input[3]])), 4, 126)
            }
            127 if input.len() >= 10 => {
                (u64::from_be_bytes(input[2..10].try_into().unwrap()), 10, 65536)
            }
            126 | 127 => return false,
            short => (u64::from(short), 2, 0),
        };
        if length < least || length >> 63 == 1 {
            return self.fail(1002);
        }
        let length = if self.is("length-of-32-bits") { length & 0xffff_ffff } else { length };
        if length > self.limit() {
            return self.fail(1009);
        }
        let mut key = [0; 4];
        if masked {
            let Some(four) = input.get(at..at + 4) else { return false };
            key.copy_from_slice(four);
            at += 4;
        }
        if key == [0; 4] && self.is("keeps-mask") {
            key = self.mask;
        }
        let length = length as usize;
        if input.len() < at + length {
            return false;
        }
        let mut payload = input[at..at + length].to_vec();
        self.at += at + length;
        self.mask = key;
        for (place, byte) in payload.iter_mut().enumerate() {
            *byte ^= key[place % 4];
        }
        let is_behind_ping = std::mem::replace(&mut self.is_behind_ping, opcode == 9);
        let cut = std::mem::take(&mut self.cut);
        match opcode {
            8 => self.close_in(&payload),
            9 => self.ping_in(payload),
            10 => self.pong_in(),
            1 | 2 if fin && payload.is_empty() && is_behind_ping && self.is("ping-eats") => true,
            _ => {
                let goes_on = self.data_in(opcode, first & 0x40 != 0, fin, payload.clone());
                let comes_twice = goes_on && opcode != 0 && fin;
                if comes_twice && cut > 0 && self.is(&format!("twice-cut-{cut}")) {
                    self.data_in(opcode, first & 0x40 != 0, fin, payload);
                }
                goes_on
            }
        }
    }

    fn ping_in(&mut self, mut payload: Vec<u8>) -> bool {
        if self.is("ping-ends-inflating")
            && let Some(message) = &mut self.message
        {
            message.1 = false;
        }
        self.pings += 1;
        if self.is("leaves-at-ping") {
            return self.leave();
        }
        if self.is("pong-empty") {
            payload.clear();
        }
        if self.is("no-pong-inside") && self.message.is_some() {
            return true;
        }
        if self.is("one-pong") {
            self.ping = Some(payload);
        } else if !(self.is("no-pong") || self.is("ping-33") && self.pings == 33) {
            self.frame(0x8a, &payload);
        }
        true
    }

    fn pong_in(&mut self) -> bool {
        // A state more than the RFC has.
        if self.is("pong-spoils-binary")
            && let Some((kind @ 2, ..)) = &mut self.message
        {
            *kind = 3;
        }
        true
    }

    fn close_in(&mut self, payload: &[u8]) -> bool {
        if self.late {
            return self.fail(1007);
        }
        if payload.len() == 1 && !self.is("any-close") {
            return self.fail(1002);
        }
        if payload.len() >= 2 && !self.is("any-close") {
            let code = u16::from_be_bytes([payload[0], payload[1]]);
            if !matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999) {
                return self.fail(1002);
            }
            if std::str::from_utf8(&payload[2..]).is_err() {
                return self.fail(1007);
            }
        }
        if !self.is("no-close-reply") {
            let mut code = payload.get(..2).unwrap_or_default().to_vec();
            if self.is("answers-1000") {
                code = 1000u16.to_be_bytes().to_vec();
            }
            if self.is("repeats-reasons") || self.is("close-reason-cut") {
                code = payload.to_vec();
            }
            if self.is("close-reason-cut") {
                code.truncate(102);
            }
            if self.is("reason-of-another") {
                code.extend(b"wsconform C-269 00000001");
            }
            self.frame(0x88, &code);
        }
        if self.is("data-after-close") {
            self.frame(0x81, b"more");
        }
        self.at = self.input.len();
        // A server ends TCP; a client waits for the server to do it.
        self.ended = !self.is("keeps-tcp");
        self.open = self.is("keeps-tcp");
        false
    }

    fn data_in(&mut self, opcode: u8, compressed: bool, fin: bool, payload: Vec<u8>) -> bool {
        if opcode != 0 || self.message.is_none() {
            let kind = if opcode == 0 { 2 } else { opcode };
            self.message = Some((kind, compressed, Vec::new()));
        }
        let Some((kind, compressed, mut data)) = self.message.take() else { return false };
        if opcode == 0 && fin && payload.is_empty() && self.is("empty-end-eats") {
            data.truncate(self.fragment);
        }
        self.fragment = data.len();
        data.extend(payload);
        if data.len() as u64 > self.limit() {
            return self.fail(1009);
        }
        // A text of one frame or more is checked when it can no longer be right.
        if kind == 1 && !compressed && !self.is("any-utf8") {
            match std::str::from_utf8(&data) {
                Err(error) if fin || error.error_len().is_some() => {
                    if self.is("late-utf8") {
                        self.late = true;
                        return true;
                    }
                    if !(self.is("utf8-per-frame") && opcode == 0) {
                        return self.fail(1007);
                    }
                }
                Err(_) if self.is("utf8-per-frame") => return self.fail(1007),
                _ => {}
            }
        }
        self.fragments = if opcode == 0 { self.fragments + 1 } else { 1 };
        if self.is("frag-256") && self.fragments == 256 {
            self.fragments = 0;
            self.echo(kind, &std::mem::take(&mut data));
        }
        if !fin {
            self.message = Some((kind, compressed, data));
            return true;
        }
        let is_one_frame = opcode != 0 && kind == 2;
        match data.len() {
            1024.. if is_one_frame && self.is("reverse-1k") => data.reverse(),
            0x10000.. if is_one_frame && self.is("rotate-64k") => data.rotate_left(4096),
            0x1001.. if kind == 1 && !compressed && self.is("text-swap") => data.rotate_left(2048),
            _ => {}
        }
        if compressed {
            if self.is("no-takeover-kept") {
                self.deflate = Some((Inflater::new(15, false), true));
            }
            let is_final = data.first().is_some_and(|byte| byte & 1 == 1);
            let final_too_long = is_final && self.is("final-above-4096");
            let limits_ratio = self.is("limits-ratio");
            let most = (data.len() * 100).max(64 << 10);
            if let Some((inflater, _)) = &mut self.deflate {
                match inflater.message(&data, 64 << 20) {
                    Ok(inflated) if final_too_long && inflated.len() > 4096 => {
                        self.ended = true;
                        return false;
                    }
                    Ok(inflated) if limits_ratio && inflated.len() > most => {
                        return self.fail(1009);
                    }
                    Ok(inflated) => data = inflated,
                    Err(_) if self.is("any-deflate") => {}
                    Err(_) => return self.fail(1007),
                }
            }
            if kind == 1 && std::str::from_utf8(&data).is_err() && !self.is("any-utf8") {
                return self.fail(1007);
            }
        }
        if kind == 2 && self.is("text-only") {
            return self.fail(1003);
        }
        if kind == 2 && self.is("utf8-in-binary") && std::str::from_utf8(&data).is_err() {
            return self.fail(1007);
        }
        if self.is("tag-strip") && kind == 1 {
            let tag = |c: &char| !('\u{e0000}'..='\u{e007f}').contains(c);
            let text = String::from_utf8_lossy(&data);
            data = text.chars().filter(tag).collect::<String>().into_bytes();
        }
        self.messages += 1;
        if self.is("leaves-after-3") && self.messages > 3 {
            return self.leave();
        }
        if self.is("binary-later") && kind == 2 {
            self.later.push((kind, data));
        } else {
            self.echo(kind, &data);
        }
        true
    }

    /// Ends the connection, though nobody has done anything wrong.
    fn leave(&mut self) -> bool {
        let code = if self.is("by-1008") { 1008u16 } else { 1000 };
        self.frame(0x88, &code.to_be_bytes());
        self.ended = true;
        false
    }

    fn echo(&mut self, mut kind: u8, data: &[u8]) {
        let changed;
        let mut data = data;
        let change = CHANGES.iter().find(|change| kind == 1 && self.is(change.0));
        if let Some((_, from, to)) = change {
            changed = String::from_utf8_lossy(data).replace(from, to);
            data = changed.as_bytes();
        } else if kind == 2 && self.is("binary-as-string") {
            changed = String::from_utf8_lossy(data).into_owned();
            data = changed.as_bytes();
        }
        if self.is("text-as-binary") {
            kind = 2;
        }
        if self.is("no-echo") || self.is("drops-empty") && data.is_empty() {
            return;
        }
        if self.is("fragments-echo") && data.len() > 1 {
            let (start, rest) = data.split_at(data.len() / 2);
            self.frame(kind, start);
            self.frame(0x80, rest);
            return;
        }
        if self.is("drops-125") && data.len() == 125 {
            return;
        }
        let masking_key = if self.role == Role::Server { 4 } else { 0 };
        if self.is("loses-at-4-kib") && (4 + masking_key + data.len()).is_multiple_of(4096) {
            self.frame(0x80 | kind, &data[..data.len() - 1]);
            return;
        }
        if kind == 1 && self.is("halves-surrogates") {
            let units: Vec<u16> = str::from_utf8(data).unwrap().encode_utf16().collect();
            let text: String = units.chunks(8192).map(String::from_utf16_lossy).collect();
            self.frame(0x81, text.as_bytes());
            return;
        }
        if self.is("cuts-64k") && data.len() > 65535 {
            self.frame(0x80 | kind, &data[..65535]);
            return;
        }
        if self.deflate.is_some() && !self.is("compresses-nothing") && data.len() < 5000 {
            let mut compressed = deflate::literals(data);
            let half = data.len() / 2;
            if self.is("forgets-its-window") && half > 258 && data[..half] == data[half..] {
                let mut tokens: Vec<Token> =
                    data[..half + half % 258].iter().map(|&byte| Token::Literal(byte)).collect();
                let copy = Token::Copy { length: 258, distance: half };
                tokens.extend(vec![copy; half / 258]);
                compressed = Blocks::new().fixed(&tokens, false).message();
            }
            let refers = self.is("keeps-own-history") || self.is("has-foreign-history");
            if refers && self.sent == data && data.len() > 2 {
                let copy = Token::Copy { length: data.len().min(258), distance: data.len() };
                compressed = Blocks::new().fixed(&[copy], false).message();
            }
            self.sent = data.to_vec();
            let first = if self.is("rsv1-on-pong") { 0x80 } else { 0xc0 };
            self.frame(first | kind, &compressed);
            return;
        }
        self.frame(0x80 | kind, data);
    }

    fn frame(&mut self, first: u8, payload: &[u8]) {
        let mut mask = self.role == Role::Client;
        if self.is("own-mask") {
            mask = !mask;
        }
        let bit = if mask { 0x80 } else { 0 };
        self.output.push(first);
        match payload.len() {
            length @ 0..126 if !self.is("long-lengths") => self.output.push(bit | length as u8),
            length @ 0..65536 => {
                self.output.push(bit | 126);
                self.output.extend((length as u16).to_be_bytes());
            }
            length => {
                self.output.push(bit | 127);
                self.output.extend((length as u64).to_be_bytes());
            }
        }
        if mask && first & 8 != 0 && self.is("mask-zero-control") {
            self.output.extend([0; 4]);
            self.output.extend(payload);
        } else if mask {
            let step = if self.is("one-mask") { 0 } else { 1_013_904_223 };
            self.key =
                self.key.wrapping_mul(if step == 0 { 1 } else { 1_664_525 }).wrapping_add(step);
            let key = self.key.to_be_bytes();
            self.output.extend(key);
            self.output.extend(payload.iter().enumerate().map(|(i, byte)| byte ^ key[i % 4]));
        } else {
            self.output.extend(payload);
        }
    }
}

/// uri-host [ ":" port ] (RFC 9110 7.2).
fn is_host(host: &str) -> bool {
    let (name, port) = match host.rfind(':') {
        Some(colon) if !host.ends_with(']') => (&host[..colon], &host[colon + 1..]),
        _ => (host, ""),
    };
    let inner = name.strip_prefix('[').and_then(|name| name.strip_suffix(']'));
    let name_fits = match inner {
        Some(address) => address.chars().all(|c| c.is_ascii_hexdigit() || c == ':' || c == '.'),
        None => !name.contains([' ', '/', '@', ':', '[', '\t']),
    };
    name_fits && port.bytes().all(|byte| byte.is_ascii_digit())
}

fn http_key_is_bad(key: &str) -> bool {
    base64_len(key) != Some(16)
}

/// Runs a session against a model, in memory; both ways in pieces of `piece` bytes.
pub fn drive(session: &mut Session, model: &mut Model, piece: usize) {
    while !goes_on(session, model, piece) {}
}

/// Runs the two sessions of a case by turns, each against a model.
pub fn drive_two(
    session: &mut Session,
    mut second: Session,
    models: &mut [Model; 2],
    piece: usize,
) {
    let [first_model, second_model] = models;
    let mut head = Vec::new();
    let mut goes_on = |session: &mut Session, model: &mut Model| {
        if model.is("one-head") {
            model.swap_head(&mut head);
        }
        let is_over = goes_on(session, model, piece);
        if model.is("one-head") {
            model.swap_head(&mut head);
        }
        is_over
    };
    goes_on(session, first_model);
    while !(goes_on(&mut second, second_model) & goes_on(session, first_model)) {}
    session.join(second);
}

/// Goes on until the other session has its turn, or this one is over. Returns whether it is.
fn goes_on(session: &mut Session, model: &mut Model, piece: usize) -> bool {
    for _ in 0..10_000_000 {
        let action = session.next_action();
        match action {
            Action::Send(bytes) => {
                for bytes in bytes.chunks(piece) {
                    model.read(bytes);
                }
            }
            Action::Shutdown | Action::Reset => model.end(),
            Action::Pause(_) => {
                let output = std::mem::take(&mut model.output);
                output.chunks(piece).for_each(|bytes| session.received(bytes));
            }
            Action::Receive(_) => {
                if model.output.is_empty() {
                    match model.ended {
                        true => session.ended(End::Fin),
                        false => session.timed_out(),
                    }
                    continue;
                }
                let output = std::mem::take(&mut model.output);
                for bytes in output.chunks(piece) {
                    session.received(bytes);
                }
            }
            Action::Turn => return false,
            Action::Done => return true,
        }
    }
    panic!("{} does not end", session.case().id);
}

/// What the probe finds out about a model.
pub fn probe(role: Role, flaw: Flaw) -> Peer {
    let mut probe = Probe::new(role, "localhost", "/", 1);
    let mut connection = 1;
    while let Some(mut session) = probe.next_session() {
        drive(&mut session, &mut Model::new(role, flaw, connection), 65536);
        probe.learn(&session);
        connection += 1;
    }
    probe.peer().clone()
}

/// The sessions of all cases for a role.
pub fn run(role: Role, flaw: Flaw, piece: usize) -> Vec<Session> {
    run_some(role, flaw, piece, |_| true)
}

/// The sessions of some cases for a role.
pub fn run_some(
    role: Role,
    flaw: Flaw,
    piece: usize,
    wanted: impl Fn(&Case) -> bool,
) -> Vec<Session> {
    let peer = probe(role, flaw);
    let env = Env::new("localhost", "/", peer, 1);
    // Only level R can fail, so only that is of interest for a flawed model.
    // It takes messages of 128 KiB, but for one flaw.
    let is_long = |case: &Case| {
        case.needs.contains(&Need::Message1M) || case.needs.contains(&Need::Message16M)
    };
    let counts = |case: &&Case| {
        let for_flaw = case.level == Level::R && (flaw == "cuts-64k" || !is_long(case));
        case.tests(role) && (flaw.is_empty() || for_flaw)
    };
    let cases = wsconform_cases::cases().iter().filter(counts).filter(|case| wanted(case));
    cases
        .enumerate()
        .map(|(number, case)| {
            let mut session = Session::new(case, role, &env);
            let mut model = Model::new(role, flaw, 1000 + number as u32);
            match session.second(&env) {
                Some(second) => {
                    let mut models = [model, Model::new(role, flaw, 5000)];
                    drive_two(&mut session, second, &mut models, piece);
                }
                None => drive(&mut session, &mut model, piece),
            }
            assert_ne!(session.verdict(), &Verdict::Waiting, "{}", case.id);
            session
        })
        .collect()
}

pub fn failures(sessions: &[Session]) -> Vec<String> {
    let failed = |session: &&Session| matches!(session.verdict(), Verdict::Fail { .. });
    sessions
        .iter()
        .filter(failed)
        .map(|s| format!("{} {}: {:?}", s.case().id, s.case().title, s.verdict()))
        .collect()
}

pub fn find(id: &str) -> &'static Case {
    wsconform_cases::find(id).unwrap_or_else(|| panic!("no case {id}"))
}
