//! A WebSocket peer of either role that echoes, written from RFC 6455 and RFC 7692 for the test of
//! the judge alone: without I/O, and with a switch for each fault of `FAULTS.md`.

use crate::deflate::{Faults, deflate, inflate};
use crate::http::{Deflate, Head, accept, base64, extensions, is_host, is_key, is_token};
use std::hash::{BuildHasher, Hasher, RandomState};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Side {
    Server,
    Client,
}

const LONGEST_HEAD: usize = 64 << 10;
const LONGEST: usize = 20 << 20;
const LIMIT_OF_FAULT: usize = 1 << 20;

pub struct Peer {
    side: Side,
    fault: String,
    /// The fault's switch was reached, so it exists.
    pub reached: bool,
    key: String,
    input: Vec<u8>,
    /// Where reads ended, in `input`.
    cuts: Vec<usize>,
    pub output: Vec<u8>,
    open: bool,
    /// TCP is to end.
    pub over: bool,
    /// Our Close is out.
    closing: bool,
    agreed: Option<Deflate>,
    received: Vec<u8>,
    sent: Vec<u8>,
    stream_ended: bool,
    /// The message under way.
    opcode: Option<u8>,
    is_compressed: bool,
    message: Vec<u8>,
    fragments: usize,
    late: Vec<Vec<u8>>,
    mask: [u8; 4],
    echoed: usize,
}

struct Frame {
    fin: bool,
    rsv: u8,
    opcode: u8,
    payload: Vec<u8>,
}

enum Step {
    Frame(Frame),
    More,
    Fail(u16),
}

fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}

impl Peer {
    pub fn new(side: Side, fault: &str, host: &str, resource: &str) -> Peer {
        let mut nonce = random().to_be_bytes().to_vec();
        nonce.extend(random().to_be_bytes());
        let mut peer = Peer {
            side,
            fault: fault.to_owned(),
            reached: false,
            key: base64(&nonce),
            input: Vec::new(),
            cuts: Vec::new(),
            output: Vec::new(),
            open: false,
            over: false,
            closing: false,
            agreed: None,
            received: Vec::new(),
            sent: Vec::new(),
            stream_ended: false,
            opcode: None,
            is_compressed: false,
            message: Vec::new(),
            fragments: 0,
            late: Vec::new(),
            mask: (random() as u32 | 1).to_be_bytes(),
            echoed: 0,
        };
        if side == Side::Client {
            if peer.is("key-constant") {
                peer.key = "dGhlIHNhbXBsZSBub25jZQ==".to_owned();
            }
            if peer.is("key-short") {
                peer.key = base64(&nonce[..12]);
            }
            let version = if peer.is("request-http10") { "1.0" } else { "1.1" };
            let request = format!(
                "GET {resource} HTTP/{version}\r\nHost: {host}\r\nUpgrade: websocket\r\n\
                 Connection: Upgrade\r\nSec-WebSocket-Key: {}\r\nSec-WebSocket-Version: 13\r\n\
                 Sec-WebSocket-Protocol: chat\r\n\
                 Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n\r\n",
                peer.key
            );
            peer.output.extend(request.as_bytes());
        }
        peer
    }

    fn is(&mut self, fault: &str) -> bool {
        let is = self.fault == fault;
        self.reached |= is;
        is
    }

    /// What one read of TCP gives.
    pub fn read(&mut self, bytes: &[u8]) {
        if self.over || bytes.is_empty() {
            return;
        }
        self.input.extend(bytes);
        self.cuts.push(self.input.len());
        self.echoed = 0;
        if !self.open {
            self.opening();
        }
        if self.open && !self.over {
            self.frames();
        }
        if self.over {
            self.input.clear();
        }
    }

    /// The other side ended its half.
    pub fn eof(&mut self) {
        self.over = true;
    }

    // The opening handshake.

    fn opening(&mut self) {
        let end = self.input.windows(4).position(|four| four == b"\r\n\r\n");
        let Some(end) = end else {
            if self.is("head-one-read") || self.input.len() > LONGEST_HEAD {
                self.refuse("431 Request Header Fields Too Large", "");
            }
            return;
        };
        let rest = self.input.split_off(end + 4);
        let bytes = std::mem::replace(&mut self.input, rest);
        self.cuts = vec![self.input.len()];
        let head = Head::parse(&bytes).filter(|_| bytes.len() <= LONGEST_HEAD);
        let Some(head) = head else {
            self.refuse("400 Bad Request", "");
            return;
        };
        match self.side {
            Side::Server => self.request(&head),
            Side::Client => self.response(&head),
        }
        let loses = match self.side {
            Side::Server => self.is("pipelined-lost"),
            Side::Client => self.is("bundled-lost"),
        };
        if loses && self.open {
            self.input.clear();
            self.cuts.clear();
        }
    }

    fn refuse(&mut self, status: &str, fields: &str) {
        if self.side == Side::Server {
            let head = format!(
                "HTTP/1.1 {status}\r\n{fields}Content-Length: 0\r\nConnection: close\r\n\r\n"
            );
            self.output.extend(head.as_bytes());
        }
        self.over = true;
    }

    fn request(&mut self, head: &Head) {
        let parts: Vec<&str> = head.start.split(' ').collect();
        let [method, target, version] = parts[..] else {
            return self.refuse("400 Bad Request", "");
        };
        let minor = version.strip_prefix("HTTP/1.").and_then(|minor| minor.parse::<u8>().ok());
        let Some(minor) = minor else { return self.refuse("505 HTTP Version Not Supported", "") };
        if head.fields.len() > 60 && self.is("headers-crash") {
            self.over = true;
            return;
        }
        if method != "GET" && !self.is("post") {
            return self.refuse("405 Method Not Allowed", "Allow: GET\r\n");
        }
        if minor < 1 && !self.is("http10") || target.is_empty() {
            return self.refuse("400 Bad Request", "");
        }
        let hosts = head.all("Host").len();
        let bad_hosts = hosts > 1 && !self.is("host-twice")
            || hosts == 0 && !self.is("host-missing")
            || !head.all("Host").into_iter().all(is_host);
        let has_body = !head.all("Transfer-Encoding").is_empty() && !self.is("chunked-as-frames")
            || head.all("Content-Length").iter().any(|length| *length != "0");
        if bad_hosts || has_body {
            return self.refuse("400 Bad Request", "");
        }
        if self.is("name-case") {
            let exact = |name: &str| head.fields.iter().any(|field| field.0 == name);
            if !exact("Upgrade") || !exact("Sec-WebSocket-Key") || !exact("Connection") {
                return self.refuse("400 Bad Request", "");
            }
        }
        let mut upgrade = head.has("Upgrade", "websocket");
        if self.is("upgrade-case") {
            upgrade = head.all("Upgrade") == ["websocket"];
        }
        if !upgrade && !self.is("upgrade-any") {
            return self.refuse("426 Upgrade Required", "Upgrade: websocket\r\n");
        }
        let mut connection = head.has("Connection", "upgrade");
        if self.is("connection-list") {
            connection = head.all("Connection") == ["Upgrade"];
        }
        if !connection && !self.is("connection-any") {
            return self.refuse("400 Bad Request", "");
        }
        if head.only("Sec-WebSocket-Version") != Some("13") && !self.is("version-any") {
            let fields = "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n";
            let fields =
                if self.is("version-unlisted") { "Upgrade: websocket\r\n" } else { fields };
            return self.refuse("426 Upgrade Required", fields);
        }
        let key = match head.only("Sec-WebSocket-Key") {
            Some(key) if is_key(key) || self.is("key-length") => key,
            None if head.all("Sec-WebSocket-Key").is_empty() && self.is("key-missing") => "",
            _ => return self.refuse("400 Bad Request", ""),
        };
        let protocols = head.list("Sec-WebSocket-Protocol");
        if protocols.iter().any(|name| !is_token(name)) {
            return self.refuse("400 Bad Request", "");
        }
        let mut fields = String::new();
        let offers = self.offers(head);
        if self.over {
            return;
        }
        for (name, params) in offers {
            if name != "permessage-deflate" || self.agreed.is_some() {
                continue;
            }
            match Deflate::read(&params, false) {
                Some(offer) => fields += &self.agree(offer),
                None if self.is("offer-unknown") => {
                    let known = |param: &&(String, Option<String>)| param.0.contains("_");
                    let known: Vec<_> = params.iter().filter(known).cloned().collect();
                    if known.len() < params.len() {
                        let offer = Deflate::read(&known, false).unwrap_or_default();
                        fields += &self.agree(offer);
                    }
                }
                None if self.is("offer-twice") => {
                    let mut once: Vec<(String, Option<String>)> = Vec::new();
                    for param in &params {
                        once.retain(|other| other.0 != param.0);
                        once.push(param.clone());
                    }
                    if once.len() < params.len() {
                        fields += &self.agree(Deflate::read(&once, false).unwrap_or_default());
                    }
                }
                None if self.is("offer-bits-fatal") => {
                    return self.refuse("500 Internal Server Error", "");
                }
                None => {}
            }
        }
        if self.agreed.is_none() && self.is("extension-unasked") {
            self.agreed = Some(Deflate::default());
            fields += "Sec-WebSocket-Extensions: permessage-deflate\r\n";
        }
        if self.is("subprotocol-unasked") {
            fields += "Sec-WebSocket-Protocol: superchat\r\n";
        } else if !protocols.is_empty() {
            let whole = self.is("subprotocol-list");
            let chosen = if whole { protocols.join(", ") } else { protocols[0].to_owned() };
            fields += &format!("Sec-WebSocket-Protocol: {chosen}\r\n");
        }
        if !self.is("head-upgrade-missing") {
            fields += "Upgrade: websocket\r\n";
        }
        if self.is("accept-unhashed") {
            fields += &format!("Sec-WebSocket-Accept: {key}\r\n");
        } else if !self.is("accept-missing") {
            fields += &format!("Sec-WebSocket-Accept: {}\r\n", accept(key));
        }
        let head =
            format!("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n{fields}\r\n");
        self.output.extend(head.as_bytes());
        self.open = true;
    }

    fn offers(&mut self, head: &Head) -> Vec<(String, crate::http::Params)> {
        let lines = head.all("Sec-WebSocket-Extensions");
        let joined = lines.join(",");
        if self.is("extension-quoted") {
            let params = |one: &str| {
                let param = |param: &str| match param.trim().split_once('=') {
                    Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
                    None => (param.trim().to_owned(), None),
                };
                let mut parts = one.split(';');
                let name = parts.next().unwrap_or_default().trim().to_owned();
                (name, parts.map(param).collect())
            };
            return joined.split(',').map(params).collect();
        }
        if lines.is_empty() {
            return Vec::new();
        }
        let Some(list) = extensions(&joined) else {
            if !self.is("extension-malformed") {
                self.refuse("400 Bad Request", "");
            }
            return Vec::new();
        };
        let inherited = ["constructor", "toString", "hasOwnProperty", "valueOf", "__proto__"];
        if list.iter().any(|one| inherited.contains(&one.0.as_str())) && self.is("extension-crash")
        {
            self.over = true;
        }
        list
    }

    /// Agrees on an offer; what the answer says of it.
    fn agree(&mut self, offer: Deflate) -> String {
        let mut line = "Sec-WebSocket-Extensions: permessage-deflate".to_owned();
        let mut agreed = offer;
        if offer.server_fresh {
            if self.is("takeover-server-lost") {
                agreed.server_fresh = false;
            } else {
                line += "; server_no_context_takeover";
            }
        }
        if offer.client_fresh {
            line += "; client_no_context_takeover";
        }
        if let Some(bits) = offer.server_bits {
            if self.is("window-server-lost") {
                agreed.server_bits = None;
            } else {
                line += &format!("; server_max_window_bits={bits}");
            }
        }
        match offer.client_bits {
            Some(Some(bits)) if bits < 15 && self.is("window-client-larger") => {
                line += "; client_max_window_bits=15";
            }
            Some(Some(bits)) => line += &format!("; client_max_window_bits={bits}"),
            None if self.is("window-client-unasked") => line += "; client_max_window_bits=15",
            _ => {}
        }
        self.agreed = Some(agreed);
        line + "\r\n"
    }

    fn response(&mut self, head: &Head) {
        let status = head.start.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3));
        let is_interim = status.is_some_and(|status| status.starts_with('1') && status != "101");
        if is_interim {
            self.opening();
            return;
        }
        let mut good = status == Some("101") || self.is("status-any");
        let upgrade = head.all("Upgrade");
        good &= upgrade.len() == 1 && upgrade[0].eq_ignore_ascii_case("websocket")
            || head.all("Upgrade").is_empty() && self.is("upgrade-absent-ok");
        if self.is("upgrade-case-client") {
            good &= head.all("Upgrade") == ["websocket"];
        }
        good &= head.has("Connection", "upgrade")
            || head.all("Connection").is_empty() && self.is("connection-absent-ok");
        let accepts = head.all("Sec-WebSocket-Accept");
        good &= accepts == [accept(&self.key)]
            || !accepts.is_empty() && self.is("accept-unchecked")
            || accepts.is_empty() && self.is("accept-absent-ok");
        let protocols = head.all("Sec-WebSocket-Protocol");
        good &= protocols.is_empty() || protocols == ["chat"] || self.is("subprotocol-any");
        let lines = head.all("Sec-WebSocket-Extensions");
        if !lines.is_empty() {
            for (name, params) in extensions(&lines.join(",")).unwrap_or(vec![Default::default()]) {
                let any = self.is("deflate-answer-any");
                match Deflate::read(&params, true).or(any.then(Deflate::default)) {
                    Some(answer) if name == "permessage-deflate" && self.agreed.is_none() => {
                        self.agreed = Some(answer);
                    }
                    _ => good &= self.is("extension-any"),
                }
            }
        }
        self.open = good;
        self.over = !good;
    }

    // Frames.

    fn frames(&mut self) {
        let mut at = 0;
        while !self.over {
            if self.closing && !self.is("close-data-after") {
                // Nothing behind a Close is read.
                at = self.input.len();
                break;
            }
            match self.frame(&mut at) {
                Step::Frame(frame) => {
                    self.take(frame);
                    if self.is("frames-one-a-read") {
                        at = self.input.len();
                    }
                }
                Step::More => break,
                Step::Fail(code) => self.fail(code),
            }
        }
        let rest = self.input.len() - at.min(self.input.len());
        if rest > 0 && rest < 14 && self.is("header-one-read") {
            let complete = self.header_is_complete(at);
            if !complete {
                at = self.input.len();
            }
        }
        self.input.drain(..at.min(self.input.len()));
        self.cuts = self.cuts.iter().filter_map(|cut| cut.checked_sub(at)).collect();
        self.cuts.retain(|cut| *cut > 0);
    }

    fn header_is_complete(&self, at: usize) -> bool {
        let bytes = &self.input[at..];
        let Some(second) = bytes.get(1) else { return false };
        let long = match second & 0x7f {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        bytes.len() >= 2 + long + if second & 0x80 != 0 { 4 } else { 0 }
    }

    fn frame(&mut self, at: &mut usize) -> Step {
        if !self.header_is_complete(*at) {
            // What the first two bytes say is judged at once.
            return match (self.input.get(*at).copied(), self.input.get(*at + 1).copied()) {
                (Some(first), Some(second)) => {
                    self.check(first, second).map_or(Step::More, Step::Fail)
                }
                _ => Step::More,
            };
        }
        let first = self.input[*at];
        let second = self.input[*at + 1];
        if let Some(code) = self.check(first, second) {
            return Step::Fail(code);
        }
        let mut place = *at + 2;
        let number =
            |bytes: &[u8]| bytes.iter().fold(0u64, |sum, byte| sum << 8 | u64::from(*byte));
        let mut length = u64::from(second & 0x7f);
        if length == 126 {
            length = number(&self.input[place..place + 2]);
            let has_high_byte = self.input[place..place + 2].iter().any(|byte| *byte >= 0x80);
            if has_high_byte && self.is("length-signed-char") {
                return Step::Fail(1002);
            }
            place += 2;
            if length < 126 && !self.is("length-long-ok") {
                return Step::Fail(1002);
            }
        } else if length == 127 {
            length = number(&self.input[place..place + 8]);
            place += 8;
            if self.is("length-64-missing") {
                self.over = true;
                return Step::More;
            }
            if self.is("length-32") {
                length &= 0xffff_ffff;
            } else if length >> 63 != 0 {
                if !self.is("length-sign") {
                    return Step::Fail(1002);
                }
                length &= u64::MAX >> 1;
            } else if length < 0x1_0000 && !self.is("length-long-ok") {
                return Step::Fail(1002);
            }
        }
        let so_far = self.message.len();
        if length > (LONGEST - so_far.min(LONGEST)) as u64 {
            return Step::Fail(1009);
        }
        let mut key = [0; 4];
        if second & 0x80 != 0 {
            key.copy_from_slice(&self.input[place..place + 4]);
            place += 4;
        }
        let end = place + length as usize;
        let Some(payload) = self.input.get(place..end) else { return Step::More };
        let mut payload = payload.to_vec();
        if second & 0x80 != 0 {
            if self.is("mask-restart") {
                let mut step = 0;
                for (offset, byte) in payload.iter_mut().enumerate() {
                    if self.cuts.contains(&(place + offset)) {
                        step = 0;
                    }
                    *byte ^= key[step % 4];
                    step += 1;
                }
            } else {
                for (byte, key) in payload.iter_mut().zip(key.iter().cycle()) {
                    *byte ^= key;
                }
            }
        }
        *at = end;
        Step::Frame(Frame {
            fin: first & 0x80 != 0,
            rsv: first >> 4 & 7,
            opcode: first & 0xf,
            payload,
        })
    }

    /// The code for what is wrong with a header's first two bytes.
    fn check(&mut self, first: u8, second: u8) -> Option<u16> {
        let opcode = first & 0xf;
        let is_control = opcode >= 8;
        let is_masked = second & 0x80 != 0;
        let has_deflate = self.agreed.is_some();
        if is_masked != (self.side == Side::Server) {
            let any = if is_masked { "masked-ok" } else { "unmasked-ok" };
            let control = if is_masked { "masked-control-ok" } else { "unmasked-control-ok" };
            let is_taken = self.is(any) || is_control && self.is(control);
            if !is_taken {
                return Some(1002);
            }
        }
        let rsv = first >> 4 & 7;
        if rsv & 3 != 0 && !self.is("rsv-ok") && !(has_deflate && self.is("rsv23-ok-deflate")) {
            return Some(1002);
        }
        if rsv & 4 != 0 {
            let is_first = opcode == 1 || opcode == 2;
            let is_wrong = if !has_deflate {
                !self.is("rsv-ok")
            } else if is_control {
                !self.is("rsv1-control-ok") && !self.is("rsv-ok")
            } else if opcode == 0 {
                !self.is("rsv1-continuation-ok") && !self.is("rsv-ok")
            } else {
                !is_first
            };
            if is_wrong {
                return Some(1002);
            }
        }
        match opcode {
            3..=7 if !self.is("opcode-data-ok") => return Some(1002),
            11..=15 if !self.is("opcode-control-ok") => return Some(1002),
            _ => {}
        }
        if is_control {
            if second & 0x7f > 125 && !self.is("control-long-ok") {
                return Some(1002);
            }
            if first & 0x80 == 0 && !self.is("control-fragment-ok") {
                return Some(1002);
            }
            return None;
        }
        let starts = opcode == 1 || opcode == 2;
        if opcode == 0 && self.opcode.is_none() && !self.is("continuation-orphan-ok") {
            return Some(1002);
        }
        if starts && self.opcode.is_some() && !self.is("interleaved-ok") {
            return Some(1002);
        }
        None
    }

    fn fail(&mut self, code: u16) {
        let code = if code == 1002 && self.is("violation-1000") { 1000 } else { code };
        if !self.closing && !self.is("violation-drop") {
            self.send(0x88, &code.to_be_bytes());
        }
        self.over = true;
    }

    fn take(&mut self, frame: Frame) {
        if self.closing {
            // Only the fault lets a frame get here.
            if frame.opcode == 1 || frame.opcode == 2 {
                self.echo(frame.opcode, frame.payload);
            }
            return;
        }
        match frame.opcode {
            8 => self.close(frame.payload),
            9 => self.ping(frame.payload),
            10 if self.is("pong-unasked-fatal") => {
                self.fail(1002);
            }
            0..=2 => self.data(frame),
            _ => {}
        }
    }

    fn ping(&mut self, payload: Vec<u8>) {
        if self.opcode.is_some() {
            if self.is("ping-in-fragments-reset") {
                self.message.clear();
            }
            if self.is("ping-in-fragments-mixed") {
                self.message.extend(&payload);
            }
            if self.is("deflate-control-resets") {
                self.is_compressed = false;
            }
            if self.is("pong-late") {
                self.late.push(payload);
                return;
            }
        }
        if self.is("pong-missing") {
            return;
        }
        if self.is("pong-empty") {
            self.send(0x8a, b"");
        } else if self.is("pong-text") {
            let text = String::from_utf8_lossy(&payload).into_owned();
            self.send(0x8a, &text.as_bytes()[..text.len().min(125)]);
        } else {
            self.send(0x8a, &payload);
        }
    }

    fn close(&mut self, payload: Vec<u8>) {
        if self.opcode.is_some() && self.is("close-in-fragments") {
            return;
        }
        if self.is("close-unanswered") {
            // It waits for TCP to end.
            return;
        }
        if payload.is_empty() && self.is("close-empty-fatal") {
            self.over = true;
            return;
        }
        if payload.len() == 1 && !self.is("close-1-byte-ok") {
            return self.fail(1002);
        }
        let mut answer = payload.get(..2).unwrap_or_default().to_vec();
        if let [high, low, reason @ ..] = &payload[..] {
            let code = u16::from_be_bytes([*high, *low]);
            let is_valid = matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999);
            if code >= 3000 && self.is("close-code-strict") {
                return self.fail(1002);
            }
            if !is_valid && self.is("close-code-quiet") {
                answer = 1000u16.to_be_bytes().to_vec();
            } else if !is_valid && !self.is("close-code-any") {
                return self.fail(1002);
            }
            if utf8(reason, "") != Text::Whole {
                if !self.is("close-reason-any") {
                    return self.fail(1007);
                }
                answer.extend(reason);
            }
        }
        if payload.is_empty() && self.is("close-empty-1005") {
            answer = 1005u16.to_be_bytes().to_vec();
        }
        self.send(0x88, &answer);
        self.closing = true;
        if self.side == Side::Server && !self.is("close-data-after") && !self.is("close-keeps-tcp")
        {
            self.over = true;
        }
    }

    fn data(&mut self, frame: Frame) {
        let is_new = self.opcode.is_none();
        if is_new {
            self.opcode = Some(frame.opcode.max(1));
            self.is_compressed = frame.rsv & 4 != 0 && self.agreed.is_some();
            self.fragments = 0;
            self.message.clear();
        }
        self.fragments += 1;
        let opcode = self.opcode.unwrap_or(1);
        if self.is("fragments-as-messages") {
            if frame.fin {
                self.opcode = None;
            }
            return self.echo(opcode, frame.payload);
        }
        let is_empty_middle = !is_new && !frame.fin && frame.payload.is_empty();
        if is_empty_middle && self.is("fragment-empty-refused") {
            return self.fail(1008);
        }
        let is_over = frame.fin || is_empty_middle && self.is("fragment-empty-final");
        let skips = self.fragments > 1 && self.is_compressed && self.is("deflate-first-only");
        if !skips {
            self.message.extend(&frame.payload);
        }
        if opcode == 1
            && self.is("utf8-each-fragment")
            && !self.is_compressed
            && utf8(&frame.payload, "") != Text::Whole
        {
            return self.fail(1007);
        }
        if !is_over {
            // A text that is broken already needs no end.
            let is_small = self.message.len() < 4096;
            if opcode == 1 && !self.is_compressed && is_small && !self.is("utf8-any") {
                let fault = self.fault.clone();
                if utf8(&self.message, &fault) == Text::Broken {
                    self.fail(1007);
                }
            }
            return;
        }
        self.opcode = None;
        let message = std::mem::take(&mut self.message);
        let inflates = self.is_compressed || self.agreed.is_some() && self.is("deflate-plain");
        let message = match inflates {
            true => match self.inflated(message) {
                Ok(message) => message,
                Err(code) => return self.fail(code),
            },
            false => message,
        };
        if opcode == 1 && !self.is("utf8-any") {
            let fault = self.fault.clone();
            self.reached |= UTF8_FAULTS.contains(&fault.as_str());
            let text = utf8(&message, &fault);
            if text == Text::Broken || text == Text::Cut && !self.is("utf8-truncated") {
                return self.fail(1007);
            }
        }
        for payload in std::mem::take(&mut self.late) {
            self.send(0x8a, &payload);
        }
        self.echo(opcode, message);
    }

    fn inflated(&mut self, message: Vec<u8>) -> Result<Vec<u8>, u16> {
        let faults = Faults {
            first_block_only: self.is("deflate-blocks"),
            no_stored: self.is("deflate-stored"),
        };
        if (message.is_empty() || message == [0]) && self.is("deflate-empty") {
            return Err(1002);
        }
        if self.stream_ended {
            return Ok(Vec::new());
        }
        let agreed = self.agreed.unwrap_or_default();
        let is_fresh = match self.side {
            Side::Server => agreed.client_fresh,
            Side::Client => agreed.server_fresh,
        };
        if is_fresh || self.is("deflate-fresh") {
            self.received.clear();
        }
        let limit = if self.is("inflate-unlimited") { usize::MAX >> 1 } else { LONGEST };
        if self.is("inflate-unlimited") && message.len() > LIMIT_OF_FAULT {
            return Err(1009);
        }
        let inflated = match inflate(&self.received, &message, limit, faults) {
            Some(inflated) => inflated,
            None if self.is("deflate-garbage") => return Ok(Vec::new()),
            None => return Err(1007),
        };
        let mut data = inflated.data;
        if data.len() > limit {
            return Err(1009);
        }
        self.stream_ended = inflated.was_final && self.is("deflate-bfinal");
        keep(&mut self.received, &data);
        if data.len() > LIMIT_OF_FAULT && self.is("inflate-truncated") {
            data.truncate(LIMIT_OF_FAULT);
        }
        Ok(data)
    }

    fn echo(&mut self, opcode: u8, mut data: Vec<u8>) {
        self.echoed += 1;
        if self.echoed > 16 && self.is("burst-lost") || data.is_empty() && self.is("empty-lost") {
            return;
        }
        let opcode = if self.is("binary-as-text") { 1 } else { opcode };
        if opcode == 1 && self.is("utf8-bom") && data.starts_with(b"\xef\xbb\xbf") {
            data.drain(..3);
        }
        if opcode == 1 && self.is("utf8-nul") {
            let end = data.iter().position(|byte| *byte == 0).unwrap_or(data.len());
            data.truncate(end);
        }
        let Some(agreed) = self.agreed else {
            let rsv = if self.is("send-rsv1") { 0x40 } else { 0 };
            self.send(0x80 | rsv | opcode, &data);
            return;
        };
        let (is_fresh, bits) = match self.side {
            Side::Server => (agreed.server_fresh, agreed.server_bits),
            Side::Client => (agreed.client_fresh, agreed.client_bits.flatten()),
        };
        if is_fresh && !self.is("deflate-takeover-kept") {
            self.sent.clear();
        }
        let ignores = self.is("window-server-ignored");
        let bits = if ignores { 15 } else { bits.unwrap_or(15) };
        let mut packed = deflate(&self.sent, &data, 1 << bits);
        let tail = if self.is("deflate-tail") { 0 } else { 4 };
        packed.truncate(packed.len() - tail);
        keep(&mut self.sent, &data);
        if packed.len() > data.len() && self.is("deflate-dropped-output") {
            self.send(0x80 | opcode, &data);
        } else {
            self.send(0xc0 | opcode, &packed);
        }
    }

    fn send(&mut self, first: u8, payload: &[u8]) {
        let mut masks =
            (self.side == Side::Client) != (self.is("send-masked") || self.is("send-unmasked"));
        if payload.is_empty() && self.is("send-empty-unmasked") {
            masks = false;
        }
        let bit = if masks { 0x80 } else { 0 };
        self.output.push(first);
        let longer = usize::from(self.is("send-length-long"));
        let length = payload.len();
        if length + longer <= 125 {
            self.output.push(bit | length as u8);
        } else if length + longer <= 0xffff {
            self.output.push(bit | 126);
            self.output.extend((length as u16).to_be_bytes());
        } else {
            self.output.push(bit | 127);
            self.output.extend((length as u64).to_be_bytes());
        }
        if !masks {
            self.output.extend(payload);
            return;
        }
        if !self.is("mask-reused") {
            self.mask = (random() as u32).to_be_bytes();
        }
        let mask = self.mask;
        self.output.extend(mask);
        self.output.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, key)| byte ^ key));
    }
}

/// Keeps the last 32 KiB.
fn keep(window: &mut Vec<u8>, data: &[u8]) {
    window.extend(data);
    let surplus = window.len().saturating_sub(1 << 15);
    window.drain(..surplus);
}

#[derive(PartialEq, Eq, Debug)]
enum Text {
    Whole,
    /// It ends in a sequence.
    Cut,
    Broken,
}

const UTF8_FAULTS: [&str; 4] =
    ["utf8-surrogates", "utf8-overlong", "utf8-beyond", "utf8-f4-refused"];

/// RFC 3629, with a fault.
fn utf8(bytes: &[u8], fault: &str) -> Text {
    let mut at = 0;
    while let Some(first) = bytes.get(at) {
        let (more, mut low, mut high) = match first {
            0..=0x7f => (0, 0x80, 0xbf),
            0xc2..=0xdf => (1, 0x80, 0xbf),
            0xc0..=0xc1 if fault == "utf8-overlong" => (1, 0x80, 0xbf),
            0xe0 => (2, 0xa0, 0xbf),
            0xed => (2, 0x80, 0x9f),
            0xe1..=0xef => (2, 0x80, 0xbf),
            0xf0 => (3, 0x90, 0xbf),
            0xf1..=0xf3 => (3, 0x80, 0xbf),
            0xf4 if fault == "utf8-f4-refused" => return Text::Broken,
            0xf4 => (3, 0x80, 0x8f),
            0xf5..=0xf7 if fault == "utf8-beyond" => (3, 0x80, 0xbf),
            _ => return Text::Broken,
        };
        match fault {
            "utf8-overlong" => low = 0x80,
            "utf8-surrogates" if *first == 0xed => high = 0xbf,
            "utf8-beyond" if *first == 0xf4 => high = 0xbf,
            _ => {}
        }
        for step in 1..=more {
            match bytes.get(at + step) {
                None => return Text::Cut,
                Some(byte) if (low..=high).contains(byte) => {}
                Some(_) => return Text::Broken,
            }
            low = 0x80;
            high = 0xbf;
        }
        at += more + 1;
    }
    Text::Whole
}
