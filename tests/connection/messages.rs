//! Messages and close frames as values: what they show in a log, what they turn into.
use crate::support::wire::{BINARY, CLOSE, ROLES, TEXT, arrive, connection, drain, frame_to, sent};
use bytes::Bytes;
use std::{borrow::Cow, cmp::Ordering::Greater, sync::Arc};
use tickwire::{
    Chunk, Config, DataKind, Event, Message, OwnedEvent, OwnedMessage, Role, Step, Text,
};

#[test]
fn a_message_shows_its_kind_and_at_most_64_bytes_with_nothing_unprintable() {
    let show = |message: Message<'_>| format!("{message:?}");
    assert_eq!(show(Message::Text("a\"\u{1b}[2J\n")), r#"Text("a\"\u{1b}[2J\n")"#);
    assert_eq!(show(Message::Binary(b"\x1b\"\xff a")), r#"Binary(b"\x1b\"\xff a")"#);
    assert_eq!(show(Message::Text("")), r#"Text("")"#);
    assert_eq!(show(Message::Binary(b"")), r#"Binary(b"")"#);

    let (whole, cut) = ("x".repeat(64), "x".repeat(65));
    assert_eq!(show(Message::Text(&whole)), format!("Text({whole:?})"));
    assert_eq!(show(Message::Text(&cut)), format!("Text({whole:?}.. 65 bytes)"));
    assert_eq!(show(Message::Binary(whole.as_bytes())), format!("Binary(b{whole:?})"));
    assert_eq!(show(Message::Binary(cut.as_bytes())), format!("Binary(b{whole:?}.. 65 bytes)"));
    // A character is shown whole or not at all.
    let greek = format!("x{}", "α".repeat(40));
    let shown = format!("x{}", "α".repeat(31));
    assert_eq!(show(Message::Text(&greek)), format!("Text({shown:?}.. 81 bytes)"));
}

#[test]
fn an_owned_message_and_a_piece_of_one_show_the_same() {
    assert_eq!(format!("{:?}", OwnedMessage::from("a\n")), r#"Text("a\n")"#);
    assert_eq!(format!("{:?}", OwnedMessage::from(vec![0; 65])).len(), {
        format!("{:?}", Message::Binary(&[0; 65])).len()
    });
    let chunk = Chunk { kind: DataKind::Text, first: true, data: b"a\n", last: true };
    assert_eq!(format!("{chunk:?}"), r#"Chunk { Text, first: true, Binary(b"a\n"), last: true }"#);
}

#[test]
fn a_message_gives_its_payload_in_every_form() {
    for (message, text, kind) in [
        (Message::Text("abc"), Some("abc"), DataKind::Text),
        (Message::Binary(b"abc"), None, DataKind::Binary),
    ] {
        assert_eq!((message.as_text(), message.kind()), (text, kind));
        assert_eq!((message.as_bytes().len(), message.as_bytes().is_empty()), (3, false));
        assert_eq!((message.as_bytes(), message.as_ref()), (&b"abc"[..], &b"abc"[..]));
        let owned = message.into_owned();
        let reference = &message;
        assert_eq!(reference.into_owned(), owned);
        assert_eq!((owned.as_message(), owned.as_message().kind()), (message, kind));
        assert_eq!((owned.as_bytes(), Bytes::from(owned.clone())), (&b"abc"[..], "abc".into()));
        let kept = text.map(|text| OwnedMessage::Text(text.into()));
        assert_eq!(owned, kept.unwrap_or(OwnedMessage::Binary(b"abc"[..].into())));
        assert_eq!((owned.as_bytes().len(), owned.as_bytes().is_empty()), (3, false));
    }
    assert!(Message::Text("").as_bytes().is_empty() && Message::Binary(b"").as_bytes().is_empty());
    assert_eq!(Message::from("abc"), Message::Text("abc"));
    assert_eq!(Message::from(&b"abc"[..]), Message::Binary(b"abc"));
    let (text, binary) = (Message::Text("abc").into_owned(), Message::Binary(b"abc").into_owned());
    for from in ["abc".into(), OwnedMessage::from(&"abc".to_owned()), "abc".to_owned().into()] {
        assert_eq!(from, text);
    }
    let bytes = Bytes::from_static(b"abc");
    for from in [b"abc".into(), OwnedMessage::from(&b"abc"[..]), vec![b'a', b'b', b'c'].into()] {
        assert_eq!(from, binary);
    }
    assert_eq!(OwnedMessage::text("abc"), text);
    assert_eq!(OwnedMessage::binary(vec![b'a', b'b', b'c']), binary);
    assert_eq!((text.as_text(), binary.as_text()), (Some("abc"), None));
    assert_eq!(Bytes::from(OwnedMessage::from(bytes.clone())).as_ptr(), bytes.as_ptr());
    assert!(OwnedMessage::from("").as_bytes().is_empty());
}

// A85
#[test]
fn a_chunk_that_is_cut_inside_a_character_can_be_shown() {
    let said = "a\u{e9}\u{20ac}\u{1f600}".repeat(20);
    for role in ROLES {
        let wire = [frame_to(role, TEXT, &said), frame_to(role, CLOSE, "")].concat();
        for cut in 1..wire.len() {
            let mut conn = connection(role, &Config::default());
            let mut seen = Vec::new();
            for piece in [&wire[..cut], &wire[cut..]] {
                arrive(&mut conn, piece);
                while !matches!(conn.step_chunk(), Ok(Step::NeedInput | Step::Closed)) {
                    let Some(chunk) = conn.receiver().chunk() else { continue }; // the Close
                    assert!(format!("{chunk:?}").is_ascii());
                    seen.extend_from_slice(chunk.data);
                }
            }
            assert_eq!(seen, said.as_bytes(), "{cut}");
        }
    }
}

/// In a channel, a map, a log; and back on the wire.
#[test]
fn a_text_is_what_a_str_is() {
    let text = Text::from("aé€");
    assert!(text == "aé€" && text == *"aé€" && text.starts_with('a'));
    assert!(text != "aé" && text != *"aé");
    assert_eq!(format!("{text} {text:?} {text:>5}"), "aé€ \"aé€\"   aé€");
    assert_eq!((Text::default(), Text::from("b")).cmp(&(Text::from(""), Text::from("a"))), Greater);
    assert_eq!(Text::from("a"), Text::from_static("a"));
    assert_eq!(std::collections::HashMap::from([(text.clone(), 1)]).get("aé€"), Some(&1));
    assert_eq!(std::collections::BTreeMap::from([(text.clone(), 1)]).get("aé€"), Some(&1));
    let as_bytes: &[u8] = text.as_ref();
    let (as_str, bytes): (&str, &Bytes) = (text.as_ref(), text.as_ref());
    assert_eq!((as_bytes, as_str, &bytes[..]), ("aé€".as_bytes(), "aé€", "aé€".as_bytes()));
    assert!(Text::try_from(Bytes::from_static(b"\xff")).is_err());
    // Nothing is copied on any way from bytes to bytes, through a message and a thread.
    let bytes = Bytes::from("aé€".to_owned());
    let message = OwnedMessage::from(Text::try_from(bytes.clone()).unwrap());
    let message = std::thread::spawn(move || message.clone()).join().unwrap();
    let OwnedMessage::Text(text) = message else { panic!("text") };
    assert_eq!(text.as_ptr(), bytes.as_ptr());
    assert_eq!(Bytes::from(text.clone()).as_ptr(), bytes.as_ptr());
    let mut conn = connection(Role::Server, &Config { min_vectored: 1, ..Config::default() });
    conn.sender_mut().feed(&text).unwrap();
    conn.sender_mut().feed(text).unwrap();
    assert_eq!(sent(&drain(&mut conn)), [(TEXT, bytes.to_vec()), (TEXT, bytes.to_vec())]);
}

#[test]
fn an_event_is_made_of_all_that_an_owned_message_is_made_of() {
    let text = OwnedEvent::Message(OwnedMessage::from("abc"));
    for from in ["abc".into(), (&"abc".to_owned()).into(), "abc".to_owned().into()] {
        assert_eq!(text, from);
    }
    assert_eq!(text, OwnedEvent::from(Message::Text("abc")));
    assert_eq!(text, OwnedEvent::from(OwnedMessage::from("abc")));
    let binary = OwnedEvent::Message(OwnedMessage::from(b"abc"));
    for from in
        [b"abc".into(), (&b"abc"[..]).into(), b"abc".to_vec().into(), Bytes::from("abc").into()]
    {
        assert_eq!(binary, from);
    }
    assert_eq!(OwnedEvent::from(Event::Ping(b"abc")), OwnedEvent::Ping("abc".into()));
}

#[test]
fn what_holds_text_or_bytes_is_sent_as_such() {
    let mut conn = connection(Role::Server, &Config::default());
    let tx = conn.sender_mut();
    tx.feed(Cow::Borrowed("a")).unwrap();
    tx.feed(Cow::<str>::Owned("b".into())).unwrap();
    tx.feed(Box::<str>::from("c")).unwrap();
    tx.feed(Arc::<str>::from("d")).unwrap();
    tx.feed(&[1, 2]).unwrap();
    tx.feed(&[3]).unwrap();
    tx.feed([4, 5]).unwrap();
    let text = ["a", "b", "c", "d"].map(|text| (TEXT, text.as_bytes().to_vec()));
    let bytes = [vec![1, 2], vec![3], vec![4, 5]].map(|bytes| (BINARY, bytes));
    assert_eq!(sent(&drain(&mut conn)), [&text[..], &bytes[..]].concat());
}
