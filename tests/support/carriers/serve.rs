//! One opening request to every carrier's server.
#[cfg(feature = "blocking")]
use super::Line;
use super::{Outcome, core_of, everywhere, read_head, sent_a_head, shown, subprotocol};
use crate::support::wire::drain;
use tickwire::{
    Config,
    handshake::{
        HandshakeError,
        server::{Accept, Handshake},
    },
};

/// How a server took a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Served {
    /// What the application learns.
    pub(crate) verdict: Result<(), HandshakeError>,
    /// What it answered.
    pub(crate) status: u16,
    /// The lines of its answer behind the first, in order.
    pub(crate) lines: Vec<String>,
    pub(crate) body: String,
    pub(crate) subprotocol: Option<String>,
    /// What became of the connection, if there was one; what is behind the request are its frames.
    pub(crate) outcome: Option<Outcome>,
    /// The stream was shut for writing before it was dropped.
    pub(crate) shut: bool,
}

impl Served {
    /// The values of a header of the answer.
    pub(crate) fn named(&self, name: &str) -> Vec<&str> {
        let lines = self.lines.iter().filter_map(|line| line.split_once(": "));
        lines.filter(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value).collect()
    }

    fn new(
        verdict: Result<(), HandshakeError>,
        response: &[u8],
        subprotocol: Option<String>,
        outcome: Option<Outcome>,
        shut: bool,
    ) -> Self {
        let response = String::from_utf8(response.to_vec()).unwrap();
        let (head, body) = response.split_once("\r\n\r\n").expect("a whole head");
        let mut lines = head.split("\r\n").map(str::to_owned);
        let first = lines.next().unwrap();
        let status = first.strip_prefix("HTTP/1.1 ").expect("a status line")[..3].parse().unwrap();
        let (lines, body) = (lines.collect(), body.to_owned());
        Self { verdict, status, lines, body, subprotocol, outcome, shut }
    }
}

/// What a server makes of a stream that ends with `wire`.
#[track_caller]
pub(crate) fn serve(wire: &[u8]) -> Served {
    serve_with(&Config::default(), Accept::default(), wire)
}

#[track_caller]
pub(crate) fn serve_with(config: &Config, accept: Accept<'_>, wire: &[u8]) -> Served {
    let whole = core(config, accept.clone(), wire, &[]);
    let bytes = everywhere(wire.len());
    let mut others = vec![("core, byte by byte", core(config, accept.clone(), wire, &bytes))];
    for most in [usize::MAX, 1] {
        others.extend(adapters(config, &accept, wire, most));
    }
    for (name, mut served) in others {
        // The adapters have a clock, and so a date for what they refuse (RFC 9110 §6.6.1).
        let lines = served.lines.len();
        served.lines.retain(|line| !line.starts_with("Date: "));
        let dated = !name.starts_with("core") && served.status != 101;
        assert_eq!(lines - served.lines.len(), usize::from(dated), "{name}: {}", shown(wire));
        assert_eq!(served, whole, "{name}: {}", shown(wire));
    }
    whole
}

/// The same through the core alone, with `wire` cut at these places.
pub(crate) fn core(config: &Config, accept: Accept<'_>, wire: &[u8], cuts: &[usize]) -> Served {
    let mut handshake = Handshake::new(config);
    let (verdict, rest, cuts) = read_head(&mut handshake, Handshake::step, wire, cuts);
    if let Err(error) = verdict {
        return Served::new(verdict, &handshake.reject(error), None, None, true);
    }
    let mut conn = handshake.accept(accept).unwrap();
    let (answered, subprotocol) = (drain(&mut conn), subprotocol(&conn));
    opened(&answered, subprotocol, core_of(conn, rest, &cuts))
}

/// The same through the adapters, `most` bytes a read, with the name of each.
#[allow(unused_mut, unused_variables)]
pub(crate) fn adapters(
    config: &Config,
    accept: &Accept<'_>,
    wire: &[u8],
    most: usize,
) -> Vec<(&'static str, Served)> {
    let mut all: Vec<(&'static str, Served)> = Vec::new();
    #[cfg(feature = "blocking")]
    {
        let line = Line::new(wire, most);
        let read = tickwire::blocking::Incoming::read(line.clone(), config);
        let served = match read {
            Err(error) => failed(error, &line),
            Ok(handshake) => {
                let ws = handshake.accept(accept.clone()).unwrap();
                let (answered, subprotocol) = (line.output(), subprotocol(ws.connection()));
                opened(&answered, subprotocol, super::blocking(ws, &line))
            }
        };
        all.push(("blocking", served));
    }
    #[cfg(feature = "tokio")]
    {
        let line = Line::new(wire, most);
        let served = super::block_on(async {
            let read = tickwire::tokio::Incoming::read(line.clone(), config).await;
            match read {
                Err(error) => failed(error, &line),
                Ok(handshake) => {
                    let ws = handshake.accept(accept.clone()).await.unwrap();
                    let (answered, subprotocol) = (line.output(), subprotocol(ws.connection()));
                    opened(&answered, subprotocol, super::on_tokio(ws, &line).await)
                }
            }
        });
        all.push(("tokio", served));
    }
    all
}

#[cfg(feature = "blocking")]
fn failed(error: tickwire::Error, line: &Line) -> Served {
    match error {
        tickwire::Error::Handshake(error) => {
            Served::new(Err(error), &line.output(), None, None, line.is_shut())
        }
        other => panic!("{other:?}"),
    }
}

fn opened(answered: &[u8], subprotocol: Option<String>, outcome: Outcome) -> Served {
    sent_a_head(answered);
    let shut = outcome.shut;
    Served::new(Ok(()), answered, subprotocol, Some(outcome), shut)
}
