//! The client on tokio: one thread, in which sending and receiving take turns.
use crate::{
    Result,
    input::{Command, Input, close_frame},
    options::Options,
    record::Recorder,
    session::{Session, Steps, not_connected},
    tls,
};
use std::{
    convert::Infallible,
    future::pending,
    io,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};
use tickwire::{
    Error,
    handshake::HandshakeError,
    tokio::{Reader, WebSocket, Writer, client},
    url::Target,
};
use tickwire_tap::Tap;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpStream, lookup_host},
    runtime::Builder,
    select,
    sync::mpsc,
    time::timeout,
};

/// How long it may take to resolve the name and connect to it, and how long TLS may.
const PATIENCE: Duration = Duration::from_secs(10);

type Commands = mpsc::Sender<(Command, Instant)>;
type Todo = mpsc::Receiver<(Command, Instant)>;

pub(crate) fn talk(options: &Options) -> Result<u8> {
    Builder::new_current_thread().enable_all().build()?.block_on(connect(options))
}

async fn connect(options: &Options) -> Result<u8> {
    let fail = |error| not_connected(&options.request, error);
    let tls = tls::of(options).map_err(fail)?;
    let dialed = in_time(dial(options.request.target())).await;
    let (tcp, steps) = dialed.map_err(fail)?;
    match tls {
        None => tap(tcp, steps, options).await,
        #[cfg(feature = "rustls")]
        Some(tls) => {
            let (stream, steps) = in_time(secure(tcp, tls, steps, options)).await.map_err(fail)?;
            tap(stream, steps, options).await
        }
        #[cfg(not(feature = "rustls"))]
        Some(never) => match never {},
    }
}

async fn in_time<T>(
    step: impl Future<Output = std::result::Result<T, Error>>,
) -> std::result::Result<T, Error> {
    timeout(PATIENCE, step).await.unwrap_or(Err(HandshakeError::Timeout.into()))
}

/// What `tickwire::tokio::connect` does in one, step by step, to see how long each takes.
async fn dial(target: &Target) -> std::result::Result<(TcpStream, Steps), Error> {
    let began = Instant::now();
    let addresses = lookup_host((target.host(), target.port())).await?;
    let resolving = began.elapsed();
    let mut failed = io::Error::from(io::ErrorKind::NotFound); // a name without an address
    for peer in addresses {
        let began = Instant::now();
        match TcpStream::connect(peer).await {
            Ok(stream) => {
                stream.set_nodelay(true)?;
                let tcp = began.elapsed();
                let handshake = Duration::ZERO;
                return Ok((stream, Steps { peer, resolving, tcp, tls: None, handshake }));
            }
            Err(error) => failed = error,
        }
    }
    Err(failed.into())
}

#[cfg(feature = "rustls")]
async fn secure(
    tcp: TcpStream,
    tls: tls::Tls,
    mut steps: Steps,
    options: &Options,
) -> std::result::Result<(tickwire::tokio::TlsStream<TcpStream>, Steps), Error> {
    let began = Instant::now();
    let mut stream = tickwire::tokio::TlsStream::client(tcp, options.request.target(), tls)?;
    stream.handshake().await?;
    steps.tls = Some((began.elapsed(), tls::agreed(stream.session())));
    Ok((stream, steps))
}

async fn tap<S>(stream: S, steps: Steps, options: &Options) -> Result<u8>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    match &options.record {
        None => open(stream, steps, options).await,
        Some(file) => open(Tap::new(stream, Recorder::create(file)?), steps, options).await,
    }
}

async fn open<S>(stream: S, mut steps: Steps, options: &Options) -> Result<u8>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let began = Instant::now();
    let connected = client(stream, &options.request, &options.config).await;
    let ws = connected.map_err(|error| not_connected(&options.request, error))?;
    steps.handshake = began.elapsed();
    let session = Session::new(options, &steps, ws.connection().negotiated())?;
    converse(ws, &session, options).await
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
        let sent = reader.sender().counters();
        session.counters(sent, reader.receiver().counters());
    }
    session.ended(received, reader.closed())
}

/// Reading standard input blocks and cannot be called off: it has a thread, a few lines ahead, that
/// the end of the program takes along.
fn read_input(input: Input, session: Arc<Session>, commands: Commands) -> io::Result<()> {
    thread::Builder::new().spawn(move || {
        input.each(&session, |command, due| commands.blocking_send((command, due)).is_ok())
    })?;
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
            let _ = commands.try_send((Command::quit(), Instant::now()));
        }
        session.rtt(reader.sender().rtt());
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
    while let Some((command, due)) = todo.recv().await {
        match session.doing(command, due) {
            Command::Text(text) => writer.send(&text).await?,
            Command::Binary(bytes) => writer.send(&bytes).await?,
            Command::Ping => {
                writer.sender_mut().ping(&session.stamp())?;
                writer.flush().await?;
            }
            Command::Close(close) => return writer.close(close_frame(&close)).await,
        }
    }
    Ok(())
}
