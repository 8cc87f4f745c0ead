//! One response to every carrier's client.
use super::{Line, Outcome, core_of, everywhere, read_head, sent_a_head, shown, subprotocol};
use testkit::Rng;
use tickwire::{
    Config, Entropy,
    handshake::{
        HandshakeError, accept_key,
        client::{Handshake, Request},
    },
};

/// The key of RFC 6455 §1.3, base64 of `the sample nonce`.
pub(crate) const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
/// What proves that a server read it. In a response it stands for the proof of any key.
pub(crate) const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// Yields the nonce of RFC 6455 §1.3, then numbers.
pub(crate) struct SampleNonce(pub(crate) Option<Rng>);

impl Entropy for SampleNonce {
    fn fill(&mut self, dest: &mut [u8]) {
        match &mut self.0 {
            Some(rng) => rng.fill(dest),
            None => {
                dest.copy_from_slice(b"the sample nonce");
                self.0 = Some(Rng::new(1));
            }
        }
    }
}

/// How a client took a response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Dialed {
    pub(crate) verdict: Result<(), HandshakeError>,
    /// The body of a refusal, as much as was kept.
    pub(crate) body: Option<Vec<u8>>,
    pub(crate) subprotocol: Option<String>,
    /// What became of the connection, if there was one; what is behind the response are its
    /// frames.
    pub(crate) outcome: Option<Outcome>,
}

/// What a client that asks for nothing special makes of a stream that ends with `response`.
#[track_caller]
pub(crate) fn dial(response: &[u8]) -> Dialed {
    dial_with(&Request::new("ws://example.com/").unwrap(), &Config::default(), response)
}

#[track_caller]
pub(crate) fn dial_with(request: &Request, config: &Config, response: &[u8]) -> Dialed {
    let whole = core(request, config, response, &[]);
    let bytes = everywhere(response.len());
    let mut others = vec![("core, byte by byte", core(request, config, response, &bytes))];
    for most in [usize::MAX, 1] {
        others.extend(adapters(request, config, response, most));
    }
    for (name, dialed) in others {
        assert_eq!(dialed, whole, "{name}: {}", shown(response));
    }
    whole
}

/// The same through the core alone, with `response` cut at these places.
pub(crate) fn core(request: &Request, config: &Config, response: &[u8], cuts: &[usize]) -> Dialed {
    let mut handshake = Handshake::new(request, config, SampleNonce(None));
    handshake.advance(usize::MAX);
    let (verdict, rest, cuts) = read_head(&mut handshake, Handshake::step, response, cuts);
    if verdict.is_err() {
        assert!(handshake.outgoing().is_empty(), "nothing is sent after the request");
        let body = handshake.into_refusal().map(|refusal| refusal.body.to_vec());
        return Dialed { verdict, body, subprotocol: None, outcome: None };
    }
    let conn = handshake.into_connection().unwrap();
    opened(subprotocol(&conn), core_of(conn, rest, &cuts))
}

/// `response` with the proof of this request's key in place of the sample's.
fn proven(response: &[u8], request: &[u8]) -> Vec<u8> {
    let text: String = request.iter().map(|&b| char::from(b)).collect();
    let (_, rest) = text.split_once("Sec-WebSocket-Key: ").expect("a key");
    let accept = accept_key(&rest[..24]);
    let text: String = response.iter().map(|&b| char::from(b)).collect();
    text.replace(ACCEPT, &accept).chars().map(|c| c as u8).collect()
}

/// The same through the adapters, `most` bytes a read, with the name of each.
#[allow(unused_mut, unused_variables)]
pub(crate) fn adapters(
    request: &Request,
    config: &Config,
    response: &[u8],
    most: usize,
) -> Vec<(&'static str, Dialed)> {
    let mut all: Vec<(&'static str, Dialed)> = Vec::new();
    let line = || {
        let response = response.to_vec();
        Line::responding(move |request| proven(&response, request), most)
    };
    #[cfg(feature = "blocking")]
    {
        let line = line();
        let dialed = tickwire::blocking::client(line.clone(), request, config);
        let dialed = match dialed {
            Err(error) => failed(error, &line),
            Ok(ws) => {
                sent_a_head(&line.output());
                opened(subprotocol(ws.connection()), super::blocking(ws, &line))
            }
        };
        all.push(("blocking", dialed));
    }
    #[cfg(feature = "tokio")]
    {
        let line = line();
        let dialed = super::block_on(async {
            match tickwire::tokio::client(line.clone(), request, config).await {
                Err(error) => failed(error, &line),
                Ok(ws) => {
                    sent_a_head(&line.output());
                    opened(subprotocol(ws.connection()), super::on_tokio(ws, &line).await)
                }
            }
        });
        all.push(("tokio", dialed));
    }
    all
}

#[cfg(feature = "blocking")]
fn failed(error: tickwire::Error, line: &Line) -> Dialed {
    sent_a_head(&line.output());
    let (error, body) = match error {
        tickwire::Error::Handshake(error) => (error, None),
        tickwire::Error::Refused(refusal) => {
            let status = refusal.status;
            (HandshakeError::Refused { status }, Some(refusal.body.to_vec()))
        }
        other => panic!("{other:?}"),
    };
    Dialed { verdict: Err(error), body, subprotocol: None, outcome: None }
}

fn opened(subprotocol: Option<String>, outcome: Outcome) -> Dialed {
    Dialed { verdict: Ok(()), body: None, subprotocol, outcome: Some(outcome) }
}
