//! The examples of RFC 6455 §5.7, both ways, whole and at every cut.
use crate::support::wire::*;
use tickwire::{Config, Entropy, Negotiated, Role, mask::Masker};

/// Gives the key of the RFC's examples.
struct ExampleKey;

impl Entropy for ExampleKey {
    fn fill(&mut self, dest: &mut [u8]) {
        dest.chunks_mut(4).for_each(|c| c.copy_from_slice(&KEY[..c.len()]));
    }
}

const MASKED_HELLO: &[u8] = b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58";

/// Who receives, the bytes, what is seen, what is answered (unmasked payload).
type Example = (Role, Vec<u8>, Vec<Seen>, Vec<(u8, Vec<u8>)>);

fn table() -> Vec<Example> {
    let block: Vec<u8> = (0..=255).collect();
    let long: Vec<u8> = (0..65536u32).map(|i| i as u8).collect();
    let hello = || vec![text("Hello")];
    vec![
        (Role::Client, b"\x81\x05\x48\x65\x6c\x6c\x6f".to_vec(), hello(), vec![]),
        (Role::Server, MASKED_HELLO.to_vec(), hello(), vec![]),
        (Role::Client, b"\x01\x03\x48\x65\x6c\x80\x02\x6c\x6f".to_vec(), hello(), vec![]),
        (
            Role::Client,
            b"\x89\x05\x48\x65\x6c\x6c\x6f".to_vec(),
            vec![Seen::Ping(b"Hello".to_vec())],
            vec![(PONG, b"Hello".to_vec())],
        ),
        (
            Role::Server,
            b"\x8a\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58".to_vec(),
            vec![Seen::Pong(b"Hello".to_vec())],
            vec![],
        ),
        (Role::Client, [b"\x82\x7e\x01\x00", &block[..]].concat(), vec![binary(&block)], vec![]),
        (
            Role::Client,
            [b"\x82\x7f\x00\x00\x00\x00\x00\x01\x00\x00", &long[..]].concat(),
            vec![binary(&long)],
            vec![],
        ),
    ]
}

#[test]
fn the_examples_are_received_as_the_rfc_says() {
    for (role, wire, seen, answer) in table() {
        let (got, output) = transcript(role, &Config::default(), &wire, []);
        assert_eq!((got, sent(&output)), (seen, answer), "{role:?}");
    }
}

#[test]
fn the_examples_are_the_same_at_every_cut() {
    // P002, A14
    for (role, wire, seen, answer) in table() {
        let places = (0..=wire.len().min(300)).step_by(every(31)).chain([wire.len() - 1]);
        for cut in places {
            let (got, output) = transcript(role, &Config::default(), &wire, [cut]);
            assert_eq!((&got, &sent(&output)), (&seen, &answer), "{role:?} cut at {cut}");
        }
        if wire.len() < 1000 {
            let (got, output) = transcript(role, &Config::default(), &wire, 0..wire.len());
            assert_eq!((got, sent(&output)), (seen, answer), "{role:?} byte by byte");
        }
    }
}

#[test]
fn the_examples_are_sent_byte_for_byte() {
    let mut server = server(&Config::default());
    server.sender_mut().feed("Hello").unwrap();
    assert_eq!(drain(&mut server), b"\x81\x05Hello");
    server.sender_mut().ping(b"Hello").unwrap();
    assert_eq!(drain(&mut server), b"\x89\x05Hello");
    let block: Vec<u8> = (0..=255).collect();
    server.sender_mut().feed(&block).unwrap();
    assert_eq!(drain(&mut server), [b"\x82\x7e\x01\x00", &block[..]].concat());
    let long = vec![7; 65536];
    server.sender_mut().feed(&long).unwrap();
    assert_eq!(
        drain(&mut server),
        [b"\x82\x7f\x00\x00\x00\x00\x00\x01\x00\x00", &long[..]].concat()
    );

    let mut client =
        tickwire::Connection::client(&Config::default(), Negotiated::default(), ExampleKey);
    client.sender_mut().feed("Hello").unwrap();
    assert_eq!(drain(&mut client), MASKED_HELLO);
    assert_eq!(receive(&mut client, b"\x89\x05Hello"), [Seen::Ping(b"Hello".to_vec())]);
    assert_eq!(drain(&mut client), b"\x8a\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58");
}

#[test]
fn a_masker_in_pieces_is_a_masker_at_once() {
    // P024
    let plain: Vec<u8> = (0..300u32).map(|i| (i * 7) as u8).collect();
    let whole: Vec<u8> = plain.iter().zip(KEY.iter().cycle()).map(|(p, k)| p ^ k).collect();
    for cut in (0..=plain.len()).step_by(every(31)) {
        let mut bytes = plain.clone();
        let (front, back) = bytes.split_at_mut(cut);
        let mut masker = Masker::new(KEY);
        masker.apply(front);
        masker.apply(back);
        assert!(bytes == whole, "in place, cut at {cut}");
    }
    assert_eq!(format!("{:?}", Masker::new(KEY)), "Masker"); // keys are not logged
}
