//! The key exchange in the first messages of a handshake: a ClientHello that is longer than a
//! segment, and a HelloRetryRequest.
use crate::support::placed::placed;
use crate::support::{
    provider::{default_provider, kx_group},
    tls::{Authority, is_in_place},
};
use tickwire::tls::{
    Session,
    rustls::{
        ClientConfig, ClientConnection, NamedGroup, ServerConfig,
        crypto::{CryptoProvider, SupportedKxGroup},
        pki_types::ServerName,
    },
};

type Groups<'g> = &'g [&'static dyn SupportedKxGroup];

fn configs(client: Groups<'_>, server: Groups<'_>) -> (ClientConfig, ServerConfig) {
    let authority = Authority::new();
    let of =
        |groups: Groups<'_>| CryptoProvider { kx_groups: groups.to_vec(), ..default_provider() };
    (authority.client_by(of(client)), authority.issue(&["localhost"]).server_by(of(server)))
}

/// A length of which nothing is cut.
const WHOLE: usize = usize::MAX;
/// The payload of a TCP segment over Ethernet.
const SEGMENT: usize = 1448;

/// The length of the ClientHello and the two ends, after a handshake whose bytes arrived in pieces
/// of `cut`.
fn agreed(mut client: Session, server: ServerConfig, cut: usize) -> (usize, [Session; 2]) {
    let mut server = Session::server(placed(server)).unwrap();
    let hello = client.outgoing().len();
    for _ in 0..4 {
        deliver(&mut client, &mut server, cut);
        deliver(&mut server, &mut client, cut);
    }
    assert!(!client.is_handshaking() && server.in_place() == is_in_place());
    client.write(&mut &b"up"[..]).unwrap();
    assert_eq!(deliver(&mut client, &mut server, cut), b"up");
    server.write(&mut &b"down"[..]).unwrap();
    assert_eq!(deliver(&mut server, &mut client, cut), b"down");
    (hello, [client, server])
}

fn localhost() -> ServerName<'static> {
    ServerName::try_from("localhost").unwrap()
}

fn ours(client: ClientConfig) -> Session {
    Session::client(placed(client), localhost()).unwrap()
}

/// Brings all outgoing bytes to the other end; the data in them.
fn deliver(from: &mut Session, to: &mut Session, cut: usize) -> Vec<u8> {
    let wire = from.outgoing().to_vec();
    from.advance(wire.len());
    let mut data = Vec::new();
    for mut piece in wire.chunks(cut) {
        while !piece.is_empty() {
            let room = to.spare_mut();
            let n = piece.len().min(room.len());
            room[..n].copy_from_slice(&piece[..n]);
            piece = &piece[n..];
            to.commit(n);
            let mut plain = [0; 99];
            while let Some(n) = to.read(&mut plain).unwrap() {
                data.extend_from_slice(&plain[..n]);
            }
        }
    }
    data
}

#[test]
fn a_client_hello_longer_than_a_segment_is_read_however_it_is_cut() {
    for cut in [1, SEGMENT, WHOLE] {
        let (mut client, server) = configs(&[kx_group::X25519], &[kx_group::X25519]);
        // With some protocols it is as long as with the key of a post-quantum exchange.
        client.alpn_protocols = (0..8u8).map(|i| vec![b'a' + i; 160]).collect();
        let client = ClientConnection::new(client.into(), localhost()).unwrap();
        let (hello, ends) = agreed(Session::new(client), server, cut);
        assert!((SEGMENT..2 * SEGMENT).contains(&hello), "{hello} bytes");
        for end in &ends {
            assert_eq!(end.negotiated_key_exchange_group(), Some(NamedGroup::X25519.into()));
        }
    }
}

#[test]
fn a_hello_retry_request_is_sent_and_answered() {
    for cut in [1, SEGMENT, WHOLE] {
        // The client's first key is for the first group, which the server does not have.
        let groups = [kx_group::X25519, kx_group::SECP256R1];
        let (client, server) = configs(&groups, &[kx_group::SECP256R1]);
        for end in agreed(ours(client), server, cut).1 {
            assert_eq!(end.in_place(), is_in_place());
            let group = end.negotiated_key_exchange_group();
            assert_eq!(group, Some(NamedGroup::secp256r1.into()));
        }
    }
}

#[cfg(feature = "aws-lc-rs")] // ring has no such group
#[test]
fn the_post_quantum_exchange_is_agreed_on_with_and_without_a_hello_retry_request() {
    let hybrid: Groups<'_> = &[kx_group::X25519MLKEM768];
    let first: Groups<'_> = &[kx_group::X25519MLKEM768, kx_group::X25519];
    let last: Groups<'_> = &[kx_group::SECP256R1, kx_group::X25519MLKEM768];
    for cut in [1, SEGMENT, WHOLE] {
        for (groups, retries) in [(first, false), (last, true)] {
            let (client, server) = configs(groups, hybrid);
            let (hello, ends) = agreed(ours(client), server, cut);
            assert_eq!(hello > 1400, !retries, "{hello} bytes");
            for end in ends {
                let group = end.negotiated_key_exchange_group();
                assert_eq!(group, Some(NamedGroup::X25519MLKEM768.into()));
            }
        }
    }
}

#[test]
fn a_server_has_the_name_in_a_client_hello_although_other_records_came_before() {
    const WARNING: &[u8] = &[21, 3, 3, 0, 2, 1, 90]; // user_canceled
    const CHANGE: &[u8] = &[20, 3, 3, 0, 1, 1];
    const UNKNOWN: &[u8] = &[99, 3, 3, 0, 1, 1];
    let (client, server) = configs(&[kx_group::X25519], &[kx_group::X25519]);
    let hello = ours(client).outgoing()[5..].to_vec();
    // What rustls' buffered connection and its unbuffered connection make of the hello in two
    // records, of which the first has `first` bytes. `before`: what comes before each record.
    let told = |first, before: [&[u8]; 2]| {
        let part = |of: &[u8]| [&[22, 3, 1][..], &(of.len() as u16).to_be_bytes(), of].concat();
        let (one, two) = hello.split_at(first);
        let wire = [before[0], &part(one), before[1], &part(two)].concat();
        [false, true].map(|keys| {
            let mut server = server.clone();
            server.enable_secret_extraction = keys;
            let mut server = Session::server(placed(server)).unwrap();
            server.spare_mut()[..wire.len()].copy_from_slice(&wire);
            server.commit(wire.len());
            let read = server.read(&mut [0; 9]).map_err(|error| error.to_string());
            (read, server.server_name().map(str::to_owned))
        })
    };
    for first in [1, 3, 4, 5, 99] {
        for before in [&[][..], WARNING, &WARNING.repeat(4)] {
            for (read, name) in told(first, [before, &[]]) {
                assert_eq!((read, name.as_deref()), (Ok(None), Some("localhost")), "{before:?}");
            }
        }
        // rustls rejects these records on either way, so it has their bytes.
        for bad in [&WARNING.repeat(5), CHANGE, UNKNOWN] {
            for before in [[bad, &[]], [&[], bad], [&[], WARNING]] {
                let [buffered, unbuffered] = told(first, before);
                assert_eq!(buffered, unbuffered, "{before:?}");
                assert!(buffered.0.is_err() && buffered.1.is_none(), "{buffered:?}");
            }
        }
    }
}

crate::by_rustls::once_more! {
    a_client_hello_longer_than_a_segment_is_read_however_it_is_cut
    a_hello_retry_request_is_sent_and_answered
    #[cfg(feature = "aws-lc-rs")] the_post_quantum_exchange_is_agreed_on_with_and_without_a_hello_retry_request
    a_server_has_the_name_in_a_client_hello_although_other_records_came_before
}
