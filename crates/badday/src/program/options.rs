use badday::{Day, Event, Fault, days};
use lexopt::{
    Arg::{Long, Short},
    Parser, ValueExt,
};
use std::{error::Error, net::SocketAddr, path::PathBuf, time::Duration};

pub(crate) const HELP: &str = "\
Plays an exchange on a bad day, for a client of yours.

Usage: badday --day NAME [OPTION]...
       badday --list
       badday --explain NAME

  --day NAME        the day to play
  --listen ADDRESS  where to listen; again for the second address [127.0.0.1:9000, :9001]
  --addresses N     how many of the day's addresses the client knows: nothing happens at others
  --speed N         how many times faster quiet times and lives of connections pass [1]
  --seconds N       end after this time, if the day has not ended before
  --tls             wss, with certificates of an authority of its own
  --ca FILE         where to write that authority's certificate [badday-ca.pem]
  --cert FILE       wss, with this certificate and its chain (PEM)
  --key FILE        the key of --cert (PEM)
  --applied FILE    judge the books by what the client says, line by line, that it has applied to
                    them; see README.md
  --json            the report as JSON
  --list            all days
  --explain NAME    what happens on a day, how to subscribe, the rules, the public reports
  --help            this text

The report is written to the standard output at the end of the day, or at SIGINT or SIGTERM.
The status is 0 if the client has passed, 1 if not, 2 if the day could not be played.
";

pub(crate) enum Task {
    Help,
    List,
    Explain(Box<Day>),
    Play(Box<Options>),
}

pub(crate) struct Options {
    pub(crate) day: Day,
    pub(crate) listen: Vec<SocketAddr>,
    pub(crate) speed: u32,
    pub(crate) seconds: Option<Duration>,
    pub(crate) tls: Tls,
    pub(crate) applied: Option<PathBuf>,
    pub(crate) json: bool,
}

/// Whether the exchange speaks `ws` or `wss`.
pub(crate) enum Tls {
    No,
    /// With an authority of our own, whose certificate goes to this file.
    Own(PathBuf),
    Given {
        cert: PathBuf,
        key: PathBuf,
    },
}

impl Options {
    pub(crate) fn read() -> Result<Task, Box<dyn Error>> {
        let mut day = None;
        let mut listen = Vec::new();
        let mut speed = 1;
        let mut seconds = None;
        let mut known = usize::MAX;
        let mut own = false;
        let mut ca = PathBuf::from("badday-ca.pem");
        let mut cert = None;
        let mut key = None;
        let mut applied = None;
        let mut json = false;
        let mut parser = Parser::from_env();
        while let Some(arg) = parser.next()? {
            match arg {
                Long("day") => day = Some(named(&parser.value()?.string()?)?),
                Long("listen") => listen.push(parser.value()?.parse()?),
                Long("speed") => speed = parser.value()?.parse()?,
                Long("seconds") => {
                    let value = parser.value()?.parse()?;
                    seconds = Some(Duration::try_from_secs_f64(value)?);
                }
                Long("addresses") => known = parser.value()?.parse()?,
                Long("tls") => own = true,
                Long("ca") => ca = parser.value()?.into(),
                Long("cert") => cert = Some(PathBuf::from(parser.value()?)),
                Long("key") => key = Some(PathBuf::from(parser.value()?)),
                Long("applied") => applied = Some(PathBuf::from(parser.value()?)),
                Long("json") => json = true,
                Long("list") => return Ok(Task::List),
                Long("explain") => {
                    let day = named(&parser.value()?.string()?)?;
                    return Ok(Task::Explain(Box::new(day)));
                }
                Long("help") | Short('h') => return Ok(Task::Help),
                _ => return Err(arg.unexpected().into()),
            }
        }
        let day = day.ok_or("--day is missing; --list has all days")?;
        let tls = match (own, cert, key) {
            (false, None, None) => Tls::No,
            (true, None, None) => Tls::Own(ca),
            (false, Some(cert), Some(key)) => Tls::Given { cert, key },
            _ => return Err("give --tls alone, or --cert and --key together".into()),
        };
        let shows = |event: &Event| matches!(event.fault, Fault::Certificate { .. });
        if day.events.iter().any(shows) && !matches!(tls, Tls::Own(_)) {
            return Err(format!("--day {} needs --tls, for its certificates", day.name).into());
        }
        let day = day.with_addresses(known);
        let listen = addresses(listen, day.addresses)?;
        Ok(Task::Play(Box::new(Self { day, listen, speed, seconds, tls, applied, json })))
    }
}

fn named(name: &str) -> Result<Day, String> {
    days::named(name).ok_or_else(|| format!("no day is called {name:?}; --list has all days"))
}

/// Adds addresses until there are as many as the day has: the ports after the last one given.
fn addresses(mut given: Vec<SocketAddr>, most: usize) -> Result<Vec<SocketAddr>, String> {
    if given.len() > most {
        return Err(format!("the exchange has {most} address on this day: too many --listen"));
    }
    if given.is_empty() {
        given.push(([127, 0, 0, 1], 9000).into());
    }
    while let Some(&last) = given.last()
        && given.len() < most
    {
        let port = match last.port() {
            0 => 0,
            port => port.checked_add(1).ok_or("give each --listen")?,
        };
        given.push(SocketAddr::new(last.ip(), port));
    }
    Ok(given)
}
