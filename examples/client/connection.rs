//! The client on tokio: one thread, in which sending and receiving take turns.
use crate::{
    Result,
    input::{Command, Input, close_frame},
    options::Options,
    print::{Shown, millis, tell, warn},
    session::{Session, not_connected},
    tls,
};
use std::{
    convert::Infallible,
    fs::{File, OpenOptions},
    future::pending,
    io::{self, Write},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};
use tickwire::{
    Error, Negotiated,
    handshake::HandshakeError,
    tokio::{Reader, WebSocket, Writer, client},
};
use tickwire_tap::Tap;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    runtime::Builder,
    select,
    sync::mpsc,
    time::timeout,
};

/// How long it may take to resolve the name and connect to it, and how long TLS may.
const PATIENCE: Duration = Duration::from_secs(10);

type Commands = mpsc::Sender<Command>;
type Todo = mpsc::Receiver<Command>;

pub(crate) fn talk(options: &Options) -> Result<u8> {
    Builder::new_current_thread().enable_all().build()?.block_on(connect(options))
}

/// What `tickwire::tokio::connect` does in one, step by step, to see how long each takes, and to
/// record what passes inside of TLS.
async fn connect(options: &Options) -> Result<u8> {
    let fail = |error| not_connected(&options.request, error);
    let target = options.request.target();
    let tls = tls::of(options).map_err(fail)?;
    let began = Instant::now();
    let dialed = in_time(async { Ok(TcpStream::connect((target.host(), target.port())).await?) });
    let tcp = dialed.await.map_err(fail)?;
    tcp.set_nodelay(true)?;
    if options.verbose {
        let (host, peer, took) = (target.host_header(), tcp.peer_addr()?, millis(began.elapsed()));
        tell(format_args!("{host} is {peer}; connected in {took:.1} ms"));
    }
    match tls {
        None => tap(tcp, options).await,
        #[cfg(feature = "rustls")]
        Some(tls) => tap(in_time(secure(tcp, tls, options)).await.map_err(fail)?, options).await,
        #[cfg(not(feature = "rustls"))]
        Some(never) => match never {},
    }
}

async fn in_time<T>(
    step: impl Future<Output = std::result::Result<T, Error>>,
) -> std::result::Result<T, Error> {
    timeout(PATIENCE, step).await.unwrap_or(Err(HandshakeError::Timeout.into()))
}

#[cfg(feature = "rustls")]
async fn secure(
    tcp: TcpStream,
    tls: tls::Tls,
    options: &Options,
) -> std::result::Result<tickwire::tokio::TlsStream<TcpStream>, Error> {
    let began = Instant::now();
    let mut stream = tickwire::tokio::TlsStream::client(tcp, options.request.target(), tls)?;
    stream.handshake().await?;
    if options.verbose {
        let (took, agreed) = (millis(began.elapsed()), tls::agreed(stream.session()));
        tell(format_args!("TLS: {took:.1} ms, {agreed}"));
    }
    Ok(stream)
}

async fn tap<S>(stream: S, options: &Options) -> Result<u8>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    match &options.record {
        None => open(stream, options).await,
        Some(file) => open(Tap::new(stream, Recorder::create(file)?), options).await,
    }
}

async fn open<S>(stream: S, options: &Options) -> Result<u8>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let began = Instant::now();
    let connected = client(stream, &options.request, &options.config).await;
    let ws = connected.map_err(|error| not_connected(&options.request, error))?;
    let negotiated = ws.connection().negotiated();
    if options.verbose {
        let subprotocol = Shown(negotiated.subprotocol.as_deref().unwrap_or("none"));
        let (took, extension) = (millis(began.elapsed()), extension(negotiated));
        tell(format_args!("handshake: {took:.1} ms, subprotocol {subprotocol}, {extension}"));
    }
    let session = Session::new(options, negotiated)?;
    converse(ws, &session, options).await
}

fn extension(negotiated: &Negotiated) -> &'static str {
    #[cfg(feature = "deflate")]
    if negotiated.deflate.is_some() {
        return "permessage-deflate";
    }
    let _ = negotiated;
    "no extension"
}

async fn converse<S>(ws: WebSocket<S>, session: &Arc<Session>, options: &Options) -> Result<u8>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let (commands, todo) = mpsc::channel(16);
    read_input(options.input.clone(), session.clone(), commands.clone())?;
    let (mut reader, writer) = ws.into_split();
    let received = select! {
        received = receive(&mut reader, session, &commands) => received,
        never = send(writer, todo, session) => match never {},
    };
    #[cfg(feature = "counters")]
    {
        let sent = reader.with_sender(|tx| tx.counters());
        session.counters(sent, reader.receiver().counters());
    }
    session.ended(received, reader.closed())
}

/// Reading standard input blocks and cannot be called off: it has a thread, a few lines ahead, that
/// the end of the program takes along.
fn read_input(input: Input, session: Arc<Session>, commands: Commands) -> io::Result<()> {
    thread::Builder::new()
        .spawn(move || input.each(&session, |command| commands.blocking_send(command).is_ok()))?;
    Ok(())
}

/// Prints what arrives, until the connection has ended.
async fn receive<R, W>(
    reader: &mut Reader<R, W>,
    session: &Session,
    commands: &Commands,
) -> Result<()>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    while let Some(event) = reader.recv_event().await? {
        if session.event(event)? {
            // Whoever has others to do asks before each.
            let _ = commands.try_send(Command::quit());
        }
        session.rtt(reader.with_sender(|tx| tx.rtt()));
    }
    Ok(())
}

/// Sends what the input asks for, and leaves it to the receiving side to say how it all ended: a
/// connection that takes nothing more will soon give nothing more.
async fn send<W>(mut writer: Writer<W>, todo: Todo, session: &Session) -> Infallible
where
    W: AsyncWrite + Unpin,
{
    let _ = send_all(&mut writer, todo, session).await;
    pending().await
}

async fn send_all<W>(
    writer: &mut Writer<W>,
    mut todo: Todo,
    session: &Session,
) -> std::result::Result<(), Error>
where
    W: AsyncWrite + Unpin,
{
    if session.verbose {
        writer.measure_rtt()?;
        writer.flush().await?;
    }
    while let Some(command) = todo.recv().await {
        match session.doing(command) {
            Command::Text(text) => writer.send(&text).await?,
            Command::Binary(bytes) => writer.send(&bytes).await?,
            Command::Ping => {
                writer.with_sender(|tx| tx.ping(&session.stamp()))?;
                writer.flush().await?;
            }
            Command::Close(close) => return writer.close(close_frame(&close)).await,
        }
    }
    Ok(())
}

/// A file for what passes, which the owner alone may read. Says once that it failed, since the tap
/// that writes here only remembers.
pub(crate) struct Recorder {
    file: File,
    name: String,
}

impl Recorder {
    pub(crate) fn create(name: &str) -> Result<Self> {
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let file = options.open(name).map_err(|error| format!("--record {name:?}: {error}"))?;
        Ok(Self { file, name: name.to_owned() })
    }
}

impl Write for Recorder {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes).inspect_err(|error| {
            let name = &self.name;
            warn(format_args!("--record {name:?}: {error}; nothing more is recorded"));
        })
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}
