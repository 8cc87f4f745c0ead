//! Tests the limit on sent KeyUpdates. It is too high to reach, so the test sets the counter.
#![allow(clippy::unwrap_used, clippy::panic)]
use super::{Client, Session, engine::Engine, records::UPDATES};
use ::rustls::{
    ClientConfig, ServerConfig, ServerConnection, SupportedCipherSuite, Tls13CipherSuite,
    crypto::{CipherSuiteCommon, CryptoProvider, ring},
    pki_types::ServerName,
};
use std::{
    io::{Read, Write},
    sync::Arc,
};

/// The most records that the client may seal under one key.
const LIMIT: u64 = 8;

/// Returns a client that opens and seals in place, and its server, after the handshake.
fn ends() -> (Session, ServerConnection) {
    let SupportedCipherSuite::Tls13(suite) = ring::cipher_suite::TLS13_AES_128_GCM_SHA256 else {
        panic!("a suite of TLS 1.3");
    };
    let common = CipherSuiteCommon { confidentiality_limit: LIMIT, ..suite.common };
    let Tls13CipherSuite { hkdf_provider, aead_alg, quic, .. } = *suite;
    let suite = Box::leak(Box::new(Tls13CipherSuite { common, hkdf_provider, aead_alg, quic }));
    let cipher_suites = vec![SupportedCipherSuite::Tls13(suite)];
    let limited = Arc::new(CryptoProvider { cipher_suites, ..ring::default_provider() });
    let identity = testkit::tls::Identity::self_signed(&["localhost"]);
    let client = ClientConfig::builder_with_provider(limited);
    let client = client.with_safe_default_protocol_versions().unwrap();
    let client = client.with_root_certificates(identity.roots()).with_no_client_auth();
    let server = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let server = server.with_safe_default_protocol_versions().unwrap().with_no_client_auth();
    let server = server.with_single_cert(identity.chain.clone(), identity.private()).unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    let mut client = Session::client(Client::from(client).in_place(), name).unwrap();
    let mut server = ServerConnection::new(server.into()).unwrap();
    for _ in 0..4 {
        sent(&mut client, &mut server);
        assert_eq!(hear(&mut server, &mut client), None);
    }
    assert!(client.in_place() && !server.is_handshaking());
    (client, server)
}

/// Gives the server the client's outgoing ciphertext, which the server must be able to open.
/// Returns the length of the ciphertext.
fn sent(client: &mut Session, server: &mut ServerConnection) -> usize {
    let wire = client.outgoing().to_vec();
    client.advance(wire.len());
    let mut from = &wire[..];
    while !from.is_empty() {
        server.read_tls(&mut from).unwrap();
        server.process_new_packets().unwrap();
        let _ = server.reader().read_to_end(&mut Vec::new());
    }
    wire.len()
}

/// Gives the client what the server has sent, and reads once.
fn hear(server: &mut ServerConnection, client: &mut Session) -> Option<usize> {
    let mut wire = Vec::new();
    while server.wants_write() {
        server.write_tls(&mut wire).unwrap();
    }
    client.spare_mut()[..wire.len()].copy_from_slice(&wire);
    client.commit(wire.len());
    client.read(&mut [0; 9]).unwrap()
}

#[test]
fn no_more_than_2_48_minus_1_key_updates_are_sent() {
    let (mut client, mut server) = ends();
    let data = 5 + 1 + 17;
    let update = 5 + 5 + 17;
    let Engine::Records(records) = &mut client.engine else { panic!("not in place") };
    records.updates = UPDATES - 1;
    // The client sends its last KeyUpdate, then ignores the peer's other two requests.
    for expected in [update + data, data, data] {
        server.refresh_traffic_keys().unwrap();
        assert_eq!(hear(&mut server, &mut client), None);
        client.write(&mut &b"a"[..]).unwrap();
        assert_eq!(sent(&mut client, &mut server), expected);
    }
    // The client seals data up to the limit of its last key, and then nothing more.
    for _ in 3..LIMIT - 1 {
        client.write(&mut &b"a"[..]).unwrap();
        assert_eq!(sent(&mut client, &mut server), data);
    }
    client.write(&mut &b"a"[..]).unwrap_err();
    assert_eq!(sent(&mut client, &mut server), 0);
    // The other direction still works.
    server.writer().write_all(b"data").unwrap();
    assert_eq!(hear(&mut server, &mut client), Some(4));
}
