//! The client on threads that block: this one receives, one reads the input, one sends.
use crate::{
    Result,
    input::{Command, close_frame},
    options::Options,
    record::Recorder,
    session::{Session, Steps, not_connected},
    tls,
};
use std::{
    io,
    net::{TcpStream, ToSocketAddrs},
    sync::{
        Arc,
        mpsc::{Receiver, sync_channel},
    },
    thread,
    time::{Duration, Instant},
};
use tickwire::{
    Error,
    blocking::{Reader, Stream, WebSocket, Writer, client},
    url::Target,
};
use tickwire_tap::Tap;

/// How long TCP may take with each address, and TLS with each read.
const PATIENCE: Duration = Duration::from_secs(10);

pub(crate) fn talk(options: &Options) -> Result<u8> {
    let fail = |error| not_connected(&options.request, error);
    let tls = tls::of(options).map_err(fail)?;
    let (tcp, steps) = dial(options.request.target()).map_err(|error| fail(error.into()))?;
    match tls {
        None => tap(tcp, steps, options),
        #[cfg(feature = "rustls")]
        Some(tls) => {
            let (stream, steps) = secure(tcp, tls, steps, options).map_err(fail)?;
            tap(stream, steps, options)
        }
        #[cfg(not(feature = "rustls"))]
        Some(never) => match never {},
    }
}

/// What `tickwire::blocking::connect` does in one, step by step, to see how long each takes.
fn dial(target: &Target) -> io::Result<(TcpStream, Steps)> {
    let began = Instant::now();
    let addresses = (target.host(), target.port()).to_socket_addrs()?;
    let resolving = began.elapsed();
    let mut failed = io::Error::from(io::ErrorKind::NotFound); // a name without an address
    for peer in addresses {
        let began = Instant::now();
        match TcpStream::connect_timeout(&peer, PATIENCE) {
            Ok(stream) => {
                stream.set_nodelay(true)?;
                let tcp = began.elapsed();
                let handshake = Duration::ZERO;
                return Ok((stream, Steps { peer, resolving, tcp, tls: None, handshake }));
            }
            Err(error) => failed = error,
        }
    }
    Err(failed)
}

#[cfg(feature = "rustls")]
fn secure(
    tcp: TcpStream,
    tls: tls::Tls,
    mut steps: Steps,
    options: &Options,
) -> std::result::Result<(tickwire::blocking::TlsStream, Steps), Error> {
    let began = Instant::now();
    tcp.set_read_timeout(Some(PATIENCE))?;
    let mut stream = tickwire::blocking::TlsStream::client(tcp, options.request.target(), tls)?;
    stream.handshake().map_err(|error| match error.kind() {
        io::ErrorKind::WouldBlock => io::ErrorKind::TimedOut.into(),
        _ => error,
    })?;
    let agreed = tls::agreed(&stream.session());
    steps.tls = Some((began.elapsed(), agreed));
    Ok((stream, steps))
}

fn tap<S: Stream + Send + 'static>(stream: S, steps: Steps, options: &Options) -> Result<u8> {
    match &options.record {
        None => open(stream, steps, options),
        Some(file) => open(Tap::new(stream, Recorder::create(file)?), steps, options),
    }
}

fn open<S: Stream + Send + 'static>(stream: S, mut steps: Steps, options: &Options) -> Result<u8> {
    let began = Instant::now();
    let ws = client(stream, &options.request, &options.config)
        .map_err(|error| not_connected(&options.request, error))?;
    steps.handshake = began.elapsed();
    let session = Session::new(options, &steps, ws.connection().negotiated())?;
    converse(ws, &session, options)
}

fn converse<S>(ws: WebSocket<S>, session: &Arc<Session>, options: &Options) -> Result<u8>
where
    S: Stream + Send + 'static,
{
    let (mut reader, mut writer) = ws.into_split()?;
    let (commands, todo) = sync_channel(16);
    // Reading standard input cannot be called off: the end of the program takes the thread along.
    let (input, typed, waiting) = (options.input.clone(), commands.clone(), session.clone());
    thread::Builder::new()
        .spawn(move || input.each(&waiting, |command, due| typed.send((command, due)).is_ok()))?;
    // How it all ended is for this side to say: a connection that takes nothing more will soon give
    // nothing more.
    let sending = session.clone();
    thread::Builder::new().spawn(move || {
        let _ = send_all(&mut writer, &todo, &sending);
    })?;
    let received = receive(&mut reader, session, || {
        // Whoever has others to do asks before each.
        let _ = commands.try_send((Command::quit(), Instant::now()));
    });
    #[cfg(feature = "counters")]
    {
        let sent = reader.sender().counters();
        session.counters(sent, reader.receiver().counters());
    }
    session.ended(received, reader.closed())
}

/// Prints what arrives, until the connection has ended.
fn receive<S>(reader: &mut Reader<S>, session: &Session, enough: impl Fn()) -> Result<()>
where
    S: Stream,
{
    while let Some(event) = reader.recv_event()? {
        if session.event(event)? {
            enough();
        }
        session.rtt(reader.sender().rtt());
    }
    Ok(())
}

/// Sends what the input asks for.
fn send_all<S>(
    writer: &mut Writer<S>,
    todo: &Receiver<(Command, Instant)>,
    session: &Session,
) -> std::result::Result<(), Error>
where
    S: Stream,
{
    if session.verbose {
        writer.measure_rtt()?;
        writer.flush()?;
    }
    for (command, due) in todo {
        match session.doing(command, due) {
            Command::Text(text) => writer.send(&text)?,
            Command::Binary(bytes) => writer.send(&bytes)?,
            Command::Ping => {
                writer.sender_mut().ping(&session.stamp())?;
                writer.flush()?;
            }
            Command::Close(close) => return writer.close(close_frame(&close)),
        }
    }
    Ok(())
}
