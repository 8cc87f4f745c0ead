//! A client: a command that connects to the URL it is given, once for each session.

use crate::{
    Error,
    options::Options,
    run::{self, Target},
    stream::Stream,
    tls,
};
use rustls::ServerConfig;
use std::{
    io,
    net::TcpListener,
    process::{Child, Command, Stdio},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};
use wsconform_cases::{Role, report::Report};

/// How long a command may take until it connects.
const START: Duration = Duration::from_secs(60);

/// How long a command may take to end by itself once its connection is over.
const END: Duration = Duration::from_millis(500);

struct Client<'a> {
    words: &'a [String],
    tls: Option<Arc<ServerConfig>>,
}

pub(crate) fn test(words: &[String], options: &Options) -> Result<Report, Error> {
    let command = words.join(" ");
    if !command.contains("{url}") {
        return Err(format!("no {{url}} in the command: {command}").into());
    }
    let name = options.name.as_deref().unwrap_or(&command);
    run::test(&Client { words, tls: tls::server(options)? }, name, ("", ""), options)
}

/// A connection, and the command at its other end.
pub(crate) struct Run {
    stream: Stream,
    child: Child,
    // Nobody else gets the port while the command runs: it may connect again.
    _listener: TcpListener,
}

impl Target for Client<'_> {
    type Connection = Run;

    // Each is a process.
    const OPEN: usize = 32;
    const STARTS: bool = true;

    fn role(&self) -> Role {
        Role::Client
    }

    fn connect(&self) -> Result<Run, Error> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let scheme = if self.tls.is_some() { "wss" } else { "ws" };
        let url = format!("{scheme}://localhost:{}/", listener.local_addr()?.port());
        let mut words: Vec<String> =
            self.words.iter().map(|word| word.replace("{url}", &url)).collect();
        let program = words.remove(0);
        let mut child = Command::new(&program)
            .args(&words)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| format!("{program}: {error}"))?;
        match self.accept(&listener, &mut child) {
            Ok(stream) => Ok(Run { stream, child, _listener: listener }),
            Err(error) => {
                let _ = child.kill();
                let _ = child.wait();
                Err(format!("{program}: {error}").into())
            }
        }
    }
}

impl Client<'_> {
    fn accept(&self, listener: &TcpListener, child: &mut Child) -> Result<Stream, Error> {
        listener.set_nonblocking(true)?;
        let until = Instant::now() + START;
        loop {
            match listener.accept() {
                Ok((tcp, _)) => {
                    tcp.set_nonblocking(false)?;
                    let stream = Stream::new(tcp)?;
                    return match &self.tls {
                        Some(config) => {
                            Ok(stream.with_server_tls(tls::server_session(config)?, START)?)
                        }
                        None => Ok(stream),
                    };
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error.into()),
            }
            if let Some(status) = child.try_wait()? {
                return Err(format!("the command ended ({status}) and did not connect").into());
            }
            if Instant::now() > until {
                return Err(
                    format!("the command did not connect within {} s", START.as_secs()).into()
                );
            }
            thread::sleep(Duration::from_millis(2));
        }
    }
}

impl AsMut<Stream> for Run {
    fn as_mut(&mut self) -> &mut Stream {
        &mut self.stream
    }
}

/// The stream ends first, so that the command can see it and end too.
impl Drop for Run {
    fn drop(&mut self) {
        self.stream.close();
        let until = Instant::now() + END;
        while Instant::now() < until {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            thread::sleep(Duration::from_millis(5));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
