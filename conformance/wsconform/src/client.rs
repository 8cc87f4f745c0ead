//! A client: a command that connects to the URL it is given, once for each session.

use crate::{
    Error,
    options::Options,
    output::Outputs,
    process::Process,
    run::{self, Place, Target},
    stream::Stream,
    tls,
    turns::lock,
};
use rustls::ServerConfig;
use std::{
    io,
    net::TcpListener,
    process::Stdio,
    sync::{Arc, Mutex, Weak},
    thread,
    time::{Duration, Instant},
};
use wsconform_cases::Role;

/// How long a command may take until it connects.
const START: Duration = Duration::from_secs(60);

/// How long a command may take to end by itself once its connection is over.
const END: Duration = Duration::from_millis(500);

struct Client<'a> {
    words: &'a [String],
    tls: Option<Arc<ServerConfig>>,
    started: Mutex<Vec<Weak<Process>>>,
}

pub(crate) fn test(
    words: &[String],
    options: &Options,
    outputs: &Outputs<'_>,
) -> Result<bool, Error> {
    let command = words.join(" ");
    if !command.contains("{url}") {
        return Err(format!("no {{url}} in the command: {command}").into());
    }
    let name = options.name.as_deref().unwrap_or(&command);
    let client = Client { words, tls: tls::server(options)?, started: Mutex::default() };
    run::test(&client, name, &Place::default(), options, outputs)
}

/// A connection, and the command at its other end.
pub(crate) struct Run {
    stream: Stream,
    command: Arc<Process>,
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
        let words: Vec<String> =
            self.words.iter().map(|word| word.replace("{url}", &url)).collect();
        let command = Arc::new(Process::start(&words, || Ok(Stdio::null()))?);
        let mut started = lock(&self.started);
        started.retain(|command| command.strong_count() > 0);
        started.push(Arc::downgrade(&command));
        drop(started);
        match self.accept(&listener, &command) {
            Ok(stream) => Ok(Run { stream, command, _listener: listener }),
            Err(error) => Err(format!("{}: {error}", words[0]).into()),
        }
    }

    fn abandon(&self) {
        lock(&self.started).iter().filter_map(Weak::upgrade).for_each(|command| command.kill());
    }
}

impl Client<'_> {
    fn accept(&self, listener: &TcpListener, command: &Process) -> Result<Stream, Error> {
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
            if let Some(status) = command.ended()? {
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
            if !matches!(self.command.ended(), Ok(None)) {
                return;
            }
            thread::sleep(Duration::from_millis(5));
        }
    }
}
