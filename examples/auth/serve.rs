//! A server behind the gate, and clients of each kind that try to get in.
use super::gate::{COOKIE, Gate, PROTOCOL, Way};
use std::{io, sync::Arc};
use tickwire::{
    Config, Entropy, Error, SystemEntropy,
    handshake::{
        HeaderError,
        client::Request,
        server::{Accept, Origins},
    },
    tokio::Incoming,
};
use tokio::net::{TcpListener, TcpStream};

/// The origin of the pages that are let in.
pub(crate) const ORIGIN: &str = "https://ticks.example";

/// Serves one connection: sends a greeting to a client that was let in.
pub(crate) async fn session(stream: TcpStream, gate: &Gate) -> Result<(), Error> {
    let incoming = Incoming::read(stream, &Config::server()).await?;
    let name = match gate.look(&incoming.request()) {
        Ok(name) => name,
        Err(rejection) => return incoming.reject(rejection).await,
    };
    // Only `PROTOCOL` is ever agreed on, so the response never repeats an offered token.
    let mut ws = incoming.accept(Accept::default().subprotocols([PROTOCOL])).await?;
    ws.send(&format!("hello {name}")).await?;
    while ws.recv().await?.is_some() {}
    Ok(())
}

/// Starts a server that knows these secrets, and returns its address.
pub(crate) async fn start(secrets: &Secrets) -> io::Result<String> {
    let origins = Origins::new([ORIGIN]).map_err(io::Error::other)?;
    let gate = Gate::new(origins)
        .admit("ann", Way::Session, &secrets.session)
        .admit("ben", Way::Token, &secrets.token)
        .admit("cyd", Way::Key, &format!("cyd:{}", secrets.key));
    let gate = Arc::new(gate);
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?.to_string();
    tokio::spawn(async move {
        while let Ok((stream, peer)) = listener.accept().await {
            let gate = gate.clone();
            tokio::spawn(async move {
                if let Err(error) = session(stream, &gate).await {
                    eprintln!("{peer}: {error}");
                }
            });
        }
    });
    Ok(address)
}

/// The secrets of the known clients, made anew for each run.
pub(crate) struct Secrets {
    pub(crate) session: String,
    pub(crate) token: String,
    pub(crate) key: String,
}

impl Secrets {
    /// Each secret has 256 bits, so nobody can guess it.
    pub(crate) fn new() -> io::Result<Self> {
        let mut entropy = SystemEntropy::new()?;
        let mut secret = || {
            let mut bytes = [0; 32];
            entropy.fill(&mut bytes);
            bytes.map(|b| format!("{b:02x}")).concat()
        };
        Ok(Self { session: secret(), token: secret(), key: secret() })
    }
}

/// A client: its description, its request, and the expected result.
pub(crate) type Attempt = (&'static str, Request, Result<&'static str, u16>);

/// One client of each kind, and clients that must not get in.
pub(crate) fn attempts(address: &str, secrets: &Secrets) -> Result<Vec<Attempt>, HeaderError> {
    let Secrets { session, token, key } = secrets;
    let ask = |query: &str| {
        Request::new(&format!("ws://{address}/ticks{query}")).map_err(|_| HeaderError::BadValue)
    };
    let page = |origin: &str| ask("")?.origin(origin);
    let cookie = format!("lang=en; {COOKIE}={session}");
    let offer = [PROTOCOL.to_owned(), format!("bearer.{token}")];
    let both = format!("{COOKIE}=x; {cookie}");
    Ok(vec![
        (
            "a page of ours, its user's cookie",
            page(ORIGIN)?.header("Cookie", &cookie)?,
            Ok("hello ann"),
        ),
        ("a page of ours, a token", page(ORIGIN)?.subprotocols(&offer)?, Ok("hello ben")),
        (
            "a program, Bearer",
            ask("")?.header("Authorization", &format!("Bearer {token}"))?,
            Ok("hello ben"),
        ),
        ("a program, Basic", ask("")?.basic_auth("cyd", key)?, Ok("hello cyd")),
        (
            "another page, our user's cookie",
            page("https://evil.example")?.header("Cookie", &cookie)?,
            Err(403),
        ),
        (
            "a page without an origin",
            ask("")?.header("Origin", "null")?.header("Cookie", &cookie)?,
            Err(403),
        ),
        (
            "another page, even with a token",
            page("https://evil.example")?.subprotocols(&offer)?,
            Err(403),
        ),
        ("a page of ours, two session cookies", page(ORIGIN)?.header("Cookie", &both)?, Err(401)),
        ("a program, a page's cookie", ask("")?.header("Cookie", &cookie)?, Err(401)),
        ("a program, a wrong key", ask("")?.basic_auth("cyd", token)?, Err(401)),
        ("a program, another's key", ask("")?.basic_auth("ann", key)?, Err(401)),
        ("a token in the query", ask(&format!("?token={token}"))?, Err(401)),
        ("nobody", ask("")?, Err(401)),
    ])
}
