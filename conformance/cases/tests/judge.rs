//! The judge, by bytes that the RFCs print and by the vectors.

use serde_json::Value;
use wsconform_cases::Role;
use wsconform_cases::judge::deflate::{Blocks, Parameters, Token, literals};
use wsconform_cases::judge::http::{Head, extensions};
use wsconform_cases::judge::inflate::{InflateError, Inflater};
use wsconform_cases::judge::{Event, Kind, Reader, accept};
use wsconform_cases::vectors::{self, hex, joined};

fn bytes(text: &str) -> Vec<u8> {
    hex(&text.replace(' ', "")).expect("hexadecimal digits")
}

fn text(text: &str) -> Event {
    Event::Message(Kind::Text, text.as_bytes().to_vec())
}

fn read(sender: Role, frames: &str) -> Vec<Event> {
    Reader::new(sender).read(&bytes(frames))
}

#[test]
fn rfc_6455_5_7() {
    assert_eq!(read(Role::Server, "81 05 48656c6c6f"), [text("Hello")]);
    assert_eq!(read(Role::Client, "81 85 37fa213d 7f9f4d5158"), [text("Hello")]);
    assert_eq!(read(Role::Server, "01 03 48656c 80 02 6c6f"), [text("Hello")]);
    assert_eq!(read(Role::Server, "89 05 48656c6c6f"), [Event::Ping(b"Hello".to_vec())]);
    assert_eq!(read(Role::Client, "8a 85 37fa213d 7f9f4d5158"), [Event::Pong(b"Hello".to_vec())]);
    let mut long = bytes("82 7e 0100");
    long.extend([7; 256]);
    assert_eq!(Reader::new(Role::Server).read(&long), [Event::Message(Kind::Binary, vec![7; 256])]);
    let mut longer = bytes("82 7f 0000000000010000");
    longer.extend([8; 65536]);
    let events = Reader::new(Role::Server).read(&longer);
    assert_eq!(events, [Event::Message(Kind::Binary, vec![8; 65536])]);
}

#[test]
fn rfc_7692_7_2_3() {
    let compressed = |frames: &str| {
        let mut reader = Reader::new(Role::Server).with_deflate(Inflater::new(15, true));
        reader.read(&bytes(frames))
    };
    let hello = "c1 07 f248cdc9c90700";
    assert_eq!(compressed(hello), [text("Hello")]);
    assert_eq!(compressed("41 03 f248cd 80 04 c9c90700"), [text("Hello")]);
    assert_eq!(compressed(&format!("{hello} c1 05 f200110000")), [text("Hello"), text("Hello")]);
    assert_eq!(compressed("c1 0b 000500faff48656c6c6f00"), [text("Hello")]);
    assert_eq!(compressed("c1 08 f348cdc9c9070000"), [text("Hello")]);
    assert_eq!(compressed("c1 0d f248050000 00ffffcac9c90700"), [text("Hello")]);
    assert_eq!(compressed("c1 01 00"), [text("")]);
}

#[test]
fn references_are_bound_by_the_window_and_the_history() {
    let history: Vec<u8> = (0..512u32).map(|i| i as u8).collect();
    let back = |distance| {
        let copy = Token::Copy { length: 3, distance };
        Blocks::new().fixed(&[copy], false).message()
    };
    let mut inflater = Inflater::new(8, true);
    assert_eq!(inflater.message(&literals(&history), 1024), Ok(history.clone()));
    assert_eq!(inflater.clone().message(&back(256), 1024), Ok(vec![0, 1, 2]));
    let outside = InflateError::OutsideWindow { distance: 257 };
    assert_eq!(inflater.message(&back(257), 1024), Err(outside));

    let mut alone = Inflater::new(15, false);
    assert_eq!(alone.message(&literals(b"abc"), 1024), Ok(b"abc".to_vec()));
    assert_eq!(alone.message(&back(3), 1024), Err(InflateError::BeforeStart { distance: 3 }));
    assert_eq!(Inflater::new(15, true).message(&literals(b"abc"), 2), Err(InflateError::TooBig));
    assert_eq!(Inflater::new(15, true).message(&[0x06], 9), Err(InflateError::Malformed));
    assert_eq!(Inflater::new(15, true).message(&[0xf2, 0x48], 9), Err(InflateError::Truncated));
    assert_eq!(Inflater::new(15, true).message(&[], 9), Err(InflateError::Truncated));
}

/// Every length and distance that a block can have, written by hand and read again.
#[test]
fn the_compressor_and_the_inflater_agree_on_each_code() {
    let data: Vec<u8> = (0..32768u32).map(|i| ((i * i) >> 3) as u8).collect();
    let mut inflater = Inflater::new(15, true);
    inflater.message(&literals(&data), 1 << 20).expect("literals");
    let mut history = data;
    let distances =
        [1, 4, 5, 6, 7, 8, 9, 192, 193, 256, 257, 1024, 1025, 16384, 16385, 24577, 32768];
    for length in 3..=258 {
        let distance = distances[length % distances.len()];
        let block = Blocks::new().fixed(&[Token::Copy { length, distance }], length % 2 == 0);
        let start = history.len();
        for _ in 0..length {
            history.push(history[history.len() - distance]);
        }
        assert_eq!(inflater.message(&block.message(), 1 << 20), Ok(history[start..].to_vec()));
    }
}

#[test]
fn parameters_fit_their_offer_or_not() {
    let parameters = |text: &str, answer| {
        let list = extensions(&format!("permessage-deflate{text}")).expect("a list");
        Parameters::read(&list[0], answer)
    };
    for bad in ["; foo", "; server_max_window_bits", "; server_max_window_bits=08"] {
        assert!(parameters(bad, false).is_err(), "{bad}");
    }
    assert!(parameters("; client_max_window_bits", false).is_ok());
    assert!(parameters("; client_max_window_bits", true).is_err());
    let fits = |offer: &str, answer: &str| {
        let offer = parameters(offer, false).expect("an offer");
        offer.permits(&parameters(answer, true).expect("an answer")).is_ok()
    };
    assert!(fits("", "; server_max_window_bits=9; client_no_context_takeover"));
    assert!(!fits("", "; client_max_window_bits=9"));
    assert!(fits("; client_max_window_bits", "; client_max_window_bits=9"));
    assert!(!fits("; client_max_window_bits=9", "; client_max_window_bits=10"));
    assert!(!fits("; server_max_window_bits=9", ""));
    assert!(!fits("; server_max_window_bits=9", "; server_max_window_bits=10"));
    assert!(fits("; server_max_window_bits=\"9\"", "; server_max_window_bits=8"));
    assert!(!fits("; server_no_context_takeover", ""));
}

#[test]
fn heads_and_lists() {
    let (head, length) =
        Head::read(b"HTTP/1.1 101 x\r\nA: b\r\na:\tc \r\n\r\nrest").unwrap().unwrap();
    assert_eq!(length, 31);
    assert_eq!(head.status(), Some(("HTTP/1.1", 101)));
    assert_eq!(head.list("A").collect::<Vec<_>>(), ["b", "c"]);
    assert_eq!(head.one("a"), None);
    assert_eq!(Head::read(b"GET / HTTP/1.1\r\nA: b\r\n"), Ok(None));
    for bad in ["A b", "A : b", ": b", " A: b", "A: \x01", "A: b\rc"] {
        assert!(Head::read(format!("x\r\n{bad}\r\n\r\n").as_bytes()).is_err(), "{bad}");
    }
    for bad in ["a;", ";a", "a b", "a; b=", "a; b=\"\"", "a; b=\"c", "a; b=\"1,0\"", "\"a\""] {
        assert!(extensions(bad).is_err(), "{bad}");
    }
    assert_eq!(extensions(" , a ;\tb = \"\\c\" , d,").expect("a list").len(), 2);
    assert_eq!(accept::accept("dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
}

/// What a vector says of these events, in the words of its file.
fn as_vector(events: &[Event]) -> Vec<Value> {
    let digits = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let mut list: Vec<Value> = Vec::new();
    for event in events {
        list.push(match event {
            Event::Message(Kind::Text, data) => {
                serde_json::json!(["text", String::from_utf8_lossy(data)])
            }
            Event::Message(Kind::Binary, data) => serde_json::json!(["binary", digits(data)]),
            Event::Ping(data) => serde_json::json!(["ping", digits(data)]),
            Event::Pong(data) => serde_json::json!(["pong", digits(data)]),
            Event::Close(None, _) => serde_json::json!(["close"]),
            Event::Close(Some(code), reason) => serde_json::json!(["close", code, reason]),
            Event::Violation(violation) => serde_json::json!(["fail", violation.code]),
        });
    }
    let over = |event: &Event| matches!(event, Event::Close(..) | Event::Violation(_));
    if !events.last().is_some_and(over) {
        list.push(serde_json::json!(["lost"]));
    }
    list
}

#[test]
fn the_judge_reads_the_vectors_in_any_pieces() {
    let file: Value = serde_json::from_str(vectors::FRAMES).expect("JSON");
    let mut run = 0;
    for vector in file["vectors"].as_array().expect("a list") {
        let config = &vector["config"];
        if config.get("max_frame").is_some() || config.get("max_fragments").is_some() {
            continue; // The judge has no such limits.
        }
        let sender = if vector["to"] == "server" { Role::Client } else { Role::Server };
        let limit = config["max_message"].as_u64().unwrap_or(64 << 20) as usize;
        let input = hex(&joined(&vector["in"])).expect("hexadecimal digits");
        let wanted: Vec<Value> = vector["events"]
            .as_array()
            .expect("a list")
            .iter()
            .map(|event| match event[0].as_str() {
                Some(kind @ ("text" | "binary" | "ping" | "pong")) => {
                    serde_json::json!([kind, joined(&event[1])])
                }
                _ => event.clone(),
            })
            .collect();
        let mut splits = vec![vec![&input[..]], input.chunks(1).collect()];
        if input.len() < 4096 {
            splits.extend((0..=input.len()).map(|at| vec![&input[..at], &input[at..]]));
        }
        for pieces in splits {
            let mut reader = Reader::new(sender).with_limit(limit);
            let events: Vec<Event> = pieces.iter().flat_map(|piece| reader.read(piece)).collect();
            assert_eq!(as_vector(&events), wanted, "{}", vector["name"]);
        }
        run += 1;
    }
    assert!(run > 250, "only {run} vectors were read");
}
