//! Masking: who masks, with which keys, and what is unmasked (docs/RULES.md 2).
use crate::{delivers, support::wire::*};
use bytes::Bytes;
use std::collections::HashSet;
use testkit::Rng;
use tickwire::{
    Chunk, CloseCode, CloseFrame, Config, Connection, DataKind, Prepared, ProtocolError, Role,
    mask::Masker,
};

#[cfg(all(feature = "blocking", not(miri)))]
mod over_sockets;

// P019
#[test]
fn a_server_hands_out_no_piece_of_a_frame_that_is_not_masked() {
    let mut conn = server(&Config::default());
    arrive(&mut conn, &unmasked(BINARY, "payload"));
    let error = ProtocolError::MaskRequired.into();
    assert_eq!(chunks(&mut conn), [Seen::Failed(error)]);
}

/// Everything that can be sent, in every way.
fn everything(conn: &mut Connection) -> Vec<u8> {
    let role = conn.role();
    let tx = conn.sender_mut();
    let chunk = |first, data, last| Chunk { kind: DataKind::Text, first, data, last };
    tx.feed("").unwrap();
    tx.feed(b"x").unwrap();
    tx.feed(Bytes::from(vec![1; 5000])).unwrap();
    tx.feed(tickwire::OwnedMessage::from("owned")).unwrap();
    tx.feed(&Prepared::new("prepared")).unwrap();
    tx.feed(&Prepared::new(&vec![2; 70_000])).unwrap();
    for (data, last) in [(&b""[..], false), (b"c", false), (b"", true)] {
        let first = tx.message_in_progress().is_none();
        tx.feed_chunk(chunk(first, data, last)).unwrap();
    }
    tx.feed_first("first").unwrap();
    tx.ping(b"").unwrap();
    tx.pong(b"p").unwrap();
    let ping = frame_to(role, PING, "");
    receive(conn, &ping);
    conn.sender_mut().close(CloseCode::NORMAL).unwrap();
    drain(conn)
}

// P021
#[test]
fn a_client_masks_every_frame_whatever_it_is() {
    let wire = everything(&mut client(&Config::default()));
    let all = frames(&wire);
    assert_eq!(all.len(), 14);
    assert!(all.iter().all(|frame| frame.masked));
    for close in [None, Some(CloseFrame::from(CloseCode::NORMAL))] {
        let mut conn = client(&Config::default());
        conn.sender_mut().close(close).unwrap();
        let wire = drain(&mut conn);
        let len = if close.is_some() { 2 } else { 0 };
        assert_eq!((wire[1], wire.len()), (0x80 | len as u8, 6 + len), "a key for no payload too");
    }
    // What it is made to say: a Pong, the answer to a Close, the report of a violation.
    for wire in [unmasked(PING, ""), unmasked(CLOSE, ""), unmasked(0x83, "")] {
        // Looks at the masks.
        crate::support::carriers::run(Role::Client, &Config::default(), &wire);
    }
}

// P022
#[test]
fn a_server_masks_nothing() {
    let wire = everything(&mut server(&Config::default()));
    let all = frames(&wire);
    assert_eq!(all.len(), 14);
    assert!(all.iter().all(|frame| !frame.masked));
    for wire in [masked(PING, ""), masked(CLOSE, ""), masked(0x83, "")] {
        // Looks at the masks.
        crate::support::carriers::run(Role::Server, &Config::default(), &wire);
    }
}

/// The keys of all frames of a client's wire.
fn keys(mut wire: &[u8]) -> Vec<[u8; 4]> {
    let mut keys = Vec::new();
    while let Some((header, n)) = tickwire::frame::Header::parse(wire).unwrap() {
        keys.push(header.masking_key.unwrap());
        wire = &wire[n + header.payload_len as usize..];
    }
    keys
}

// P023
#[test]
fn every_frame_has_a_fresh_key_that_comes_from_the_entropy() {
    let wire = |mut conn: Connection| {
        for _ in 0..1000 {
            conn.sender_mut().feed("the same").unwrap();
        }
        keys(&drain(&mut conn))
    };
    let drawn = wire(client(&Config::default()));
    // Each is the next four bytes of the source, none given out twice.
    let source = Rng::new(1).bytes(4000);
    assert_eq!(drawn.concat(), source);
    assert_eq!(drawn.iter().collect::<HashSet<_>>().len(), 1000);
    // The default is ChaCha12, seeded anew for each connection.
    #[cfg(feature = "client")]
    {
        let fresh = || {
            let entropy = tickwire::SystemEntropy::new().unwrap();
            wire(Connection::client(&Config::default(), tickwire::Negotiated::default(), entropy))
        };
        let (one, two) = (fresh(), fresh());
        assert!(one.iter().collect::<HashSet<_>>().len() > 990);
        assert_ne!(one, two);
        assert!(one.iter().flatten().collect::<HashSet<_>>().len() == 256);
    }
}

// P024
#[test]
fn the_phase_of_the_mask_goes_on_over_reads_of_any_length() {
    let data: Vec<u8> = (0..320).map(|i| (i * 7) as u8).collect();
    let xor = |at: usize, b: u8| b ^ KEY[at % 4];
    for (len, align) in product(0..=300, 0..8) {
        let mut buffer = data[..align + len].to_vec();
        let want: Vec<u8> =
            data[align..align + len].iter().enumerate().map(|(i, &b)| xor(i, b)).collect();
        let mut masker = Masker::new(KEY);
        let step = 1 + (len + align) % 11;
        for piece in buffer[align..].chunks_mut(step) {
            masker.apply(piece);
        }
        assert_eq!(buffer[align..], want, "{len} at {align} by {step}");
        assert_eq!(format!("{masker:?}"), "Masker"); // keys are not logged
    }
    for (len, step) in product([0, 1, 3, 4, 5, 31, 32, 33, 300], 1..=9) {
        let wire = masked(BINARY, &data[..len]);
        let cuts = (0..wire.len()).step_by(step);
        let (seen, _) = transcript(Role::Server, &Config::default(), &wire, cuts);
        assert_eq!(seen, [binary(&data[..len])], "{len} by {step}");
    }
    let wire = masked(BINARY, &data);
    delivers(Role::Server, &wire, &[binary(&data)]);
}

// P025
#[test]
fn a_key_of_zeros_is_legal() {
    for payload in ["", "as it is"] {
        delivers(Role::Server, &frame(TEXT, Some([0; 4]), payload.as_bytes()), &[text(payload)]);
    }
}

// P026
#[test]
fn the_mask_covers_the_payload_and_nothing_else() {
    let mut conn = client(&Config::default());
    conn.sender_mut().feed(&vec![0; 200]).unwrap();
    let wire = drain(&mut conn);
    assert_eq!(wire[..4], [BINARY, 0x80 | 126, 0, 200], "the header is as it is");
    let key = &wire[4..8];
    assert!(wire[8..].iter().zip(key.iter().cycle()).all(|(a, b)| a == b), "zeros show the key");
    // It comes off before anything looks at the payload: a key that makes it look like bad UTF-8.
    delivers(Role::Server, &frame(TEXT, Some([0xff; 4]), b"text"), &[text("text")]);
    let close = frame(CLOSE, Some([0xff; 4]), &close_body(1000, ""));
    assert_eq!(sent(&transcript(Role::Server, &Config::default(), &close, []).1).len(), 1);
}

// P027
#[test]
fn no_caller_chooses_the_key_of_a_frame() {
    // A prepared message is one frame for all, and still masked anew by each client, each time.
    let prepared = Prepared::new("chosen");
    let mut conn = client(&Config::default());
    conn.sender_mut().feed(&prepared).unwrap();
    conn.sender_mut().feed(&prepared).unwrap();
    let keys = keys(&drain(&mut conn));
    assert_ne!(keys[0], keys[1]);
    // The adapters' clients take no entropy from the caller: the same calls, other bytes.
    #[cfg(feature = "blocking")]
    {
        use crate::support::{carriers::Line, heads::response};
        use tickwire::handshake::{accept_key, client::Request};
        let wire = || {
            let respond = |request: &[u8]| {
                let request = String::from_utf8(request.to_vec()).unwrap();
                let (_, key) = request.split_once("Key: ").unwrap();
                let text = String::from_utf8(response(&[])).unwrap();
                text.replace(crate::support::carriers::ACCEPT, &accept_key(&key[..24])).into_bytes()
            };
            let line = Line::responding(respond, usize::MAX);
            let request = Request::new("ws://h/").unwrap();
            let config = Config::default();
            let mut ws = tickwire::blocking::client(line.clone(), &request, &config).unwrap();
            ws.send("chosen").unwrap();
            let output = line.output();
            output[output.len() - 10..].to_vec()
        };
        assert_ne!(wire(), wire());
    }
}
