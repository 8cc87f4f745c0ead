//! The test vectors of the conformance suite, with the loop as server: what peers may send, and
//! what they must not. Each is sent whole, and if it is short, byte by byte.
use crate::common::{Running, head, next, say};
use serde_json::{Value, json};
use std::{
    io::{Read, Write},
    net::{Shutdown, TcpStream},
    sync::{
        Arc, Mutex,
        mpsc::{Receiver, channel},
    },
};
use testkit::PATIENCE;
use tickwire::{Config, RecvError, handshake::server::Accept};
use tickwire_loop::{Door, End, Event};
use wsconform_cases::vectors::{CLIENTS, FRAMES, REQUESTS, head as request, hex, joined};

fn vectors(file: &str) -> Vec<Value> {
    let mut file: Value = serde_json::from_str(file).unwrap();
    let Value::Array(vectors) = file["vectors"].take() else { panic!("no vectors") };
    assert!(!vectors.is_empty());
    vectors
}

fn bytes(digits: &Value) -> Vec<u8> {
    hex(&joined(digits)).expect("hexadecimal digits")
}

fn of_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn config(vector: &Value) -> Config {
    let mut config = Config::default();
    for (name, value) in vector["config"].as_object().into_iter().flatten() {
        let n = value.as_u64().unwrap() as usize;
        match name.as_str() {
            "max_message" => config.max_message = n,
            "max_frame" => config.max_frame = Some(n),
            "max_fragments" => config.max_fragments = n as u32,
            "max_head" => config.max_head = n,
            "max_headers" => config.max_headers = n,
            "max_request_line" => config.max_request_line = n,
            other => panic!("{other}"),
        }
    }
    config
}

/// What the application saw of a connection.
#[derive(Default)]
struct Seen {
    events: Vec<Value>,
    code: u16,
    clean: bool,
}

/// A loop with a door for each vector.
struct Server {
    net: Running<()>,
    subprotocols: Arc<Mutex<Vec<&'static str>>>,
    told: Receiver<Seen>,
}

impl Server {
    fn new() -> Self {
        let (tell, told) = channel();
        let subprotocols = Arc::<Mutex<Vec<&'static str>>>::default();
        let (known, mut seen) = (subprotocols.clone(), Seen::default());
        let net = Running::at(Door::new(Config::default()), move |_, event| match event {
            Event::Request { answer, .. } => {
                let known: &[_] = known.lock().unwrap().clone().leak();
                answer.accept(Accept::default().subprotocols(known), ());
            }
            Event::Message { message, .. } => seen.events.push(match message.as_text() {
                Some(text) => json!(["text", text]),
                None => json!(["binary", of_hex(message.as_bytes())]),
            }),
            Event::Control { event, .. } => seen.events.push(match event {
                tickwire::Event::Ping(payload) => json!(["ping", of_hex(payload)]),
                tickwire::Event::Pong(payload) => json!(["pong", of_hex(payload)]),
                tickwire::Event::Close(Some(close)) => {
                    json!(["close", close.code.get(), close.reason])
                }
                tickwire::Event::Close(None) => json!(["close"]),
                other => panic!("{other:?}"),
            }),
            Event::Closed { end: End::Closed(closed), .. } => {
                seen.events.extend(closed.error.map(|error| match error {
                    RecvError::UnexpectedEof => json!(["lost"]),
                    error => json!(["fail", error.close_code().unwrap().get()]),
                }));
                (seen.code, seen.clean) = (closed.code, closed.clean);
                say(&tell, std::mem::take(&mut seen));
            }
            Event::Closed { end, .. } => panic!("{end:?}"),
            _ => {}
        });
        Self { net, subprotocols, told }
    }

    /// Sends these bytes to a new door, and shuts the stream.
    fn hear(&self, config: &Config, bytes: &[u8], step: usize) -> TcpStream {
        let door = Door::new(config.clone());
        let listen = |net: &mut tickwire_loop::Net<'_, ()>| {
            net.stop_listening();
            net.listen(([127, 0, 0, 1], 0).into(), door).unwrap()
        };
        let mut stream = TcpStream::connect(self.net.call(listen)).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        for part in bytes.chunks(step) {
            if stream.write_all(part).is_err() {
                break; // the server has ended the connection
            }
        }
        let _ = stream.shutdown(Shutdown::Write);
        stream
    }

    /// Compares what the application saw and what the peer got with the vector.
    fn check(&self, vector: &Value, mut stream: TcpStream, how: &str) -> Seen {
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest); // an end or a reset
        let mut sent = Vec::new();
        while let [first, len @ 0..126, after @ ..] = &rest[..] {
            let (payload, after) = after.split_at(usize::from(*len));
            sent.push((*first, payload.to_vec()));
            rest = after.to_vec();
        }
        assert_eq!(rest, b"", "{}, {how}", vector["name"]);
        let out = vector["out"].as_array().unwrap().iter();
        let out: Vec<_> = out.map(|frame| (bytes(&frame[0])[0], bytes(&frame[1]))).collect();
        let seen = next(&self.told);
        let events = |events: &[Value]| -> Vec<Value> {
            let plain = |event: &Value| match event[0].as_str().unwrap() {
                "binary" | "ping" | "pong" => json!([event[0], of_hex(&bytes(&event[1]))]),
                _ => event.clone(),
            };
            events.iter().map(plain).collect()
        };
        let wanted = events(vector["events"].as_array().unwrap());
        assert_eq!(events(&seen.events), wanted, "{}, {how}", vector["name"]);
        assert_eq!(sent, out, "{}, {how}", vector["name"]);
        seen
    }
}

const OPENING: &str = "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";

/// Whole, and byte by byte if it is short.
fn steps(len: usize) -> impl Iterator<Item = usize> {
    [len.max(1), 1].into_iter().filter(move |step| *step > 1 || len < 4096)
}

#[test]
fn frames_have_the_events_the_replies_and_the_codes_of_the_vectors() {
    let server = Server::new();
    for vector in vectors(FRAMES) {
        if vector["to"] != "server" {
            continue;
        }
        let wire = [OPENING.as_bytes(), &bytes(&vector["in"])].concat();
        for step in steps(wire.len()) {
            let mut stream = server.hear(&config(&vector), &wire, step);
            assert!(head(&mut stream).starts_with("HTTP/1.1 101 "), "{}", vector["name"]);
            let seen = server.check(&vector, stream, &format!("{step} at once"));
            assert_eq!(
                (json!(seen.code), json!(seen.clean)),
                (vector["code"].clone(), vector["clean"].clone())
            );
        }
    }
}

#[test]
fn requests_have_the_responses_of_the_vectors() {
    let server = Server::new();
    let all = vectors(REQUESTS);
    let clients = vectors(CLIENTS);
    for vector in all.into_iter().chain(clients) {
        let known = vector["subprotocols"].as_array().into_iter().flatten();
        *server.subprotocols.lock().unwrap() =
            known.map(|name| &*name.as_str().unwrap().to_owned().leak()).collect();
        let wire = [request(&vector["request"]), bytes(&vector["behind"])].concat();
        for step in steps(wire.len()) {
            let name = format!("{}, {step} at once", vector["name"]);
            let mut stream = server.hear(&config(&vector), &wire, step);
            let response = head(&mut stream).to_ascii_lowercase();
            let status = vector["status"].as_u64().unwrap();
            assert!(response.starts_with(&format!("http/1.1 {status} ")), "{name}: {response}");
            let lines: Vec<_> = response.lines().collect();
            for (header, value) in vector["headers"].as_object().into_iter().flatten() {
                let line = format!("{header}: {}", value.as_str().unwrap()).to_ascii_lowercase();
                assert_eq!(lines.iter().filter(|it| **it == line).count(), 1, "{name}: {response}");
            }
            for header in vector["absent"].as_array().into_iter().flatten() {
                let begin = format!("{}:", header.as_str().unwrap()).to_ascii_lowercase();
                assert!(!lines.iter().any(|it| it.starts_with(&begin)), "{name}: {response}");
            }
            if status == 101 && !vector["events"].is_null() {
                server.check(&vector, stream, &name);
            } else if status == 101 {
                drop(stream);
                next(&server.told);
            }
        }
    }
}
