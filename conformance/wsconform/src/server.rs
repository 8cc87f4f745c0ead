//! A server, at a URL.

use crate::{
    Error,
    admission::Admission,
    options::Options,
    output::Outputs,
    run::{self, Place, Target},
    stream::Stream,
    supervisor::{Death, Supervisor},
    tls,
};
use rustls::ClientConfig;
use std::{
    io::ErrorKind,
    net::{SocketAddr, TcpStream, ToSocketAddrs},
    sync::Arc,
    thread,
    time::Duration,
};
use wsconform_cases::Role;

/// For TCP: the system answers, unless the queue of a server that takes none is full.
const CONNECT: Duration = Duration::from_secs(5);

/// For TLS.
const SHAKE: Duration = Duration::from_secs(10);

pub(crate) struct Server {
    host: String,
    addresses: Vec<SocketAddr>,
    tls: Option<Arc<ClientConfig>>,
    command: Option<Supervisor>,
}

/// How long a command may take until it listens, unless `--wait` says it.
const START: Duration = Duration::from_secs(60);

pub(crate) fn test(url: &str, options: &Options, outputs: &Outputs<'_>) -> Result<bool, Error> {
    let (server, place, url) = at(url, options)?;
    run::test(&server, options.name.as_deref().unwrap_or(&url), &place, options, outputs)
}

/// The server at a URL, and the URL without credentials.
pub(crate) fn at(url: &str, options: &Options) -> Result<(Server, Place, String), Error> {
    let (url, credentials) = without_credentials(url);
    let bad = || format!("{url} is no URL of the form ws://HOST[:PORT][/PATH] or wss://..");
    let (scheme, rest) = url.split_once("://").ok_or_else(bad)?;
    let secure = match scheme {
        "ws" => false,
        "wss" => true,
        _ => return Err(bad().into()),
    };
    let at = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, resource) = rest.split_at(at);
    let resource =
        if resource.starts_with('/') { resource.to_owned() } else { format!("/{resource}") };
    let default = if secure { 443 } else { 80 };
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, port.parse().map_err(|_| bad())?),
        _ => (authority, default),
    };
    let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
    if host.is_empty() {
        return Err(bad().into());
    }
    let found = (host.as_str(), port).to_socket_addrs();
    let addresses: Vec<SocketAddr> =
        found.map_err(|error| format!("no address of {host}: {error}"))?.collect();
    let tls = if secure { Some(tls::client(options)?) } else { None };
    let admission = Admission::new(options, credentials.as_deref())?;
    let place = Place { host: authority.to_owned(), resource, admission };
    let command = (!options.command.is_empty())
        .then(|| Supervisor::new(&options.command, &addresses, options.wait.unwrap_or(START)));
    Ok((Server { host, addresses, tls, command }, place, url))
}

/// The URL, and what stands before the host.
fn without_credentials(url: &str) -> (String, Option<String>) {
    let start = url.find("://").map_or(0, |place| place + 3);
    let end = url[start..].find(['/', '?']).map_or(url.len(), |place| start + place);
    match url[start..end].rfind('@') {
        Some(at) => {
            let (before, host) = (&url[start..start + at], &url[start + at + 1..]);
            (format!("{}{host}", &url[..start]), Some(before.to_owned()))
        }
        None => (url.to_owned(), None),
    }
}

impl Target for Server {
    type Connection = Stream;

    const OPEN: usize = 256;
    const STARTS: bool = false;

    fn role(&self) -> Role {
        Role::Server
    }

    fn connect(&self) -> Result<Stream, Error> {
        let mut last = None;
        // A server that restarts has a second; one that says nothing has had its time.
        for attempt in 0..5 {
            let mut is_silent = false;
            thread::sleep(Duration::from_millis(attempt * 100));
            if let Some(command) = &self.command {
                command.ready()?;
            }
            for address in &self.addresses {
                let connected = TcpStream::connect_timeout(address, CONNECT).and_then(Stream::new);
                let error = match connected {
                    Ok(stream) => return self.secured(stream),
                    Err(error) => error,
                };
                is_silent = error.kind() == ErrorKind::TimedOut;
                last = Some(format!("no connection to {address}: {error}"));
            }
            if is_silent {
                break;
            }
        }
        Err(last.unwrap_or_else(|| format!("{} has no address", self.host)).into())
    }

    fn is_ours(&self) -> bool {
        self.command.is_some()
    }

    fn deaths(&self) -> Vec<Death> {
        self.command.as_ref().map(Supervisor::deaths).unwrap_or_default()
    }

    fn abandon(&self) {
        if let Some(command) = &self.command {
            command.stop();
        }
    }
}

impl Server {
    fn secured(&self, stream: Stream) -> Result<Stream, Error> {
        match &self.tls {
            Some(config) => {
                let session = tls::client_session(config, &self.host)?;
                stream.with_tls(session, SHAKE).map_err(|error| {
                    let cause = error.get_ref().and_then(|cause| cause.downcast_ref());
                    let is_distrust = matches!(cause, Some(rustls::Error::InvalidCertificate(_)));
                    let advice = if is_distrust { "; see --ca and --insecure" } else { "" };
                    format!("TLS: {error}{advice}").into()
                })
            }
            None => Ok(stream),
        }
    }
}

impl AsMut<Stream> for Stream {
    fn as_mut(&mut self) -> &mut Stream {
        self
    }
}
