//! A client: a command that connects to the URL it is given, once for each session.

use crate::{
    Error,
    listener::Listener,
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
    _listener: Listener,
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
        let listener = Listener::new("127.0.0.1:0", self.tls.clone())?;
        let port = listener.address()?.port();
        let url = format!("{}://localhost:{port}/", listener.scheme());
        let words: Vec<String> =
            self.words.iter().map(|word| word.replace("{url}", &url)).collect();
        let command = Arc::new(Process::start(&words, || Ok(Stdio::null()))?);
        let mut started = lock(&self.started);
        started.retain(|command| command.strong_count() > 0);
        started.push(Arc::downgrade(&command));
        drop(started);
        match Self::accept(&listener, &command) {
            Ok(stream) => Ok(Run { stream, command, _listener: listener }),
            Err(error) => Err(format!("{}: {error}", words[0]).into()),
        }
    }

    fn abandon(&self) {
        lock(&self.started).iter().filter_map(Weak::upgrade).for_each(|command| command.kill());
    }
}

impl Client<'_> {
    fn accept(listener: &Listener, command: &Process) -> Result<Stream, Error> {
        let until = Instant::now() + START;
        let stream = listener.accept(|| {
            if let Some(status) = command.ended()? {
                return Err(format!("the command ended ({status}) and did not connect").into());
            }
            if Instant::now() > until {
                let start = START.as_secs();
                return Err(format!("the command did not connect within {start} s").into());
            }
            Ok(())
        })?;
        listener.secured(stream, START)
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
