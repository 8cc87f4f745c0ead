//! Tests the example `auth`. (The program itself fails if a wrong client gets in, or a right client
//! does not: see `command_line.rs`.)
#![cfg(feature = "tokio")]

#[path = "../../auth/gate.rs"]
mod gate;
#[path = "../../auth/serve.rs"]
mod serve;

use self::gate::{COOKIE, Gate, Kept, PROTOCOL, Way};
use self::serve::{ORIGIN, Secrets, attempts, start};
use std::marker::PhantomData;
use testkit::tasks::bounded;
use tickwire::{
    Config, Dial, SystemEntropy,
    handshake::{
        Progress, client,
        server::{Handshake, Origins},
    },
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

#[tokio::test]
async fn a_token_among_the_subprotocols_is_not_repeated_to_anybody() {
    bounded(async {
        let secrets = Secrets::new().unwrap();
        assert_ne!(secrets.token, Secrets::new().unwrap().token);
        let address = start(&secrets).await.unwrap();
        for (who, request, want) in attempts(&address, &secrets).unwrap() {
            assert!(!format!("{request:?}").contains(&secrets.token), "{who}");
            if want.is_ok() {
                let ws = Dial::new(&request).connect(&Config::default()).await.unwrap();
                let token = who.contains("a token");
                assert_eq!(
                    ws.connection().negotiated().subprotocol.as_deref(),
                    token.then_some(PROTOCOL),
                    "{who}"
                );
                assert!(!format!("{ws:?}").contains(&secrets.token), "{who}");
            }
        }
    })
    .await;
}

#[tokio::test]
async fn who_is_refused_is_told_nothing_and_the_stream_ends() {
    bounded(async {
        let secrets = Secrets::new().unwrap();
        let address = start(&secrets).await.unwrap();
        let mut answers = Vec::new();
        for lines in [
            "Origin: https://evil.example\r\nConnection: keep-alive\r\n",
            "Authorization: Bearer 0\r\n",
            "Authorization: Basic ?\r\n",
            "Cookie: __Host-session=0\r\nOrigin: https://ticks.example\r\n",
        ] {
            let mut stream = TcpStream::connect(&address).await.unwrap();
            let request = format!(
                "GET /ticks HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                 Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
                 {lines}\r\n"
            );
            // A second request follows the first at once. The server must not answer it.
            let request = request.clone() + &request;
            stream.write_all(request.as_bytes()).await.unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await.unwrap();
            assert!(answer.contains("\r\nConnection: close\r\n"), "{answer}");
            assert_eq!(answer.matches("HTTP/1.1").count(), 1, "{answer}");
            answers.push(answer);
        }
        assert!(answers[0].starts_with("HTTP/1.1 403 Forbidden\r\n"), "{}", answers[0]);
        assert!(answers[1].starts_with("HTTP/1.1 401 Unauthorized\r\n"), "{}", answers[1]);
        assert!(answers[1].contains("\r\nWWW-Authenticate: Bearer, Basic"), "{}", answers[1]);
        // A wrong credential gets the same answer as a credential that cannot be parsed.
        assert!(answers[1..].iter().all(|answer| *answer == answers[1]));
    })
    .await;
}

/// The gate's result for a request with these headers: the client's name, or the status.
fn look(gate: &Gate, f: impl FnOnce(client::Request) -> client::Request) -> Result<String, u16> {
    let request = f(client::Request::new("ws://h/ticks").unwrap());
    let client =
        client::Handshake::new(&request, &Config::default(), SystemEntropy::new().unwrap());
    let bytes = client.outgoing();
    let mut server = Handshake::new(&Config::default());
    server.reading.spare_mut()[..bytes.len()].copy_from_slice(bytes);
    server.reading.commit(bytes.len());
    assert_eq!(server.step(), Ok(Progress::Complete));
    let asked = server.request().unwrap();
    gate.look(&asked).map(str::to_owned).map_err(|rejection| rejection.status())
}

fn gate() -> Gate {
    Gate::new(Origins::new([ORIGIN]).unwrap())
        .admit("ann", Way::Session, "s3ssion")
        .admit("ben", Way::Token, "t0ken")
        .admit("cyd", Way::Key, "cyd:k3y:with:colons")
}

#[test]
fn a_session_s_cookie_is_found_among_others_and_counts_only_once() {
    let cookie =
        |line: &str| look(&gate(), |r| r.origin(ORIGIN).unwrap().header("Cookie", line).unwrap());
    let ann = Ok("ann".to_owned());
    for line in [
        "__Host-session=s3ssion",
        "a=b; __Host-session=s3ssion",
        "__Host-session=s3ssion; a=b",
        " a=b;__Host-session=s3ssion ; c",
        "x__Host-session=0; __Host-session=s3ssion",
    ] {
        assert_eq!(cookie(line), ann, "{line}");
    }
    for line in [
        "",
        "s3ssion",
        "session=s3ssion",
        "__host-session=s3ssion",
        "__Host-session",
        "__Host-session=",
        "__Host-session=s3ssion2",
        "__Host-session=S3SSION",
        "__Host-session=\"s3ssion\"",
        "__Host-session=s3ssion; __Host-session=s3ssion",
        "__Host-session=t0ken",
    ] {
        assert_eq!(cookie(line), Err(401), "{line}");
    }
    assert_eq!(COOKIE, "__Host-session");
}

#[test]
fn authorization_is_read_as_http_has_it() {
    let authorization = |value: &str| look(&gate(), |r| r.header("Authorization", value).unwrap());
    for (value, name) in [
        ("Bearer t0ken", "ben"),
        ("bearer t0ken", "ben"),
        ("Basic Y3lkOmszeTp3aXRoOmNvbG9ucw==", "cyd"),
        ("BASIC Y3lkOmszeTp3aXRoOmNvbG9ucw==", "cyd"),
    ] {
        assert_eq!(authorization(value), Ok(name.to_owned()), "{value}");
    }
    for value in [
        "t0ken",
        "Bearer",
        "Bearer ",
        "Bearer  t0ken",
        "Bearer t0ken t0ken",
        "Bearer T0KEN",
        "Bearer s3ssion",
        "Bearer cyd:k3y:with:colons",
        "Basic t0ken",
        "Basic Y3lkOmszeTp3aXRoOmNvbG9ucw",
        "Basic Y3lk",
        "Basic \u{e9}",
        "Digest t0ken",
    ] {
        assert_eq!(authorization(value), Err(401), "{value}");
    }
    // If one credential is wrong, another credential in the same request does not help.
    let both = look(&gate(), |r| {
        let r = r.header("Authorization", "Bearer x").unwrap().origin(ORIGIN).unwrap();
        r.header("Cookie", "__Host-session=s3ssion").unwrap()
    });
    assert_eq!(both, Err(401));
    let offered = look(&gate(), |r| r.subprotocols(&[PROTOCOL, "bearer.t0ken"]).unwrap());
    assert_eq!(offered, Ok("ben".to_owned()));
    let offered = look(&gate(), |r| r.subprotocols(&[PROTOCOL, "Bearer.t0ken"]).unwrap());
    assert_eq!(offered, Err(401));
}

/// `Kept` has no `==`, which would stop at the first difference.
#[test]
fn there_is_no_other_way_to_compare_credentials() {
    struct Compares<T>(PhantomData<T>);
    trait Otherwise {
        const EQ: bool = false;
    }
    impl<T> Otherwise for Compares<T> {}
    impl<T: PartialEq> Compares<T> {
        const EQ: bool = true;
    }
    const { assert!(Compares::<[u8; 32]>::EQ && !Compares::<Kept>::EQ) }
    // The comparison takes the same time whatever the difference is.
    assert!(include_str!("../../auth/gate.rs").contains("self.0.ct_eq(&other.0)"));
}
