//! The server, in a process of its own: echoes, and ends each connection as its client has
//! announced.
use crate::{
    alloc,
    mix::{Ending, LONGEST},
    verdict::Usage,
};
use std::{
    error::Error,
    fs,
    io::{self, Write},
    str::FromStr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    thread,
    time::Duration,
};
use tickwire::{
    CloseCode, Config, RecvError,
    deflate::Deflate,
    tokio::{WebSocket, accept},
};
use tokio::{
    io::AsyncReadExt,
    net::{TcpListener, TcpSocket, TcpStream},
    runtime::Runtime,
    time,
};

pub(crate) type Failure = Box<dyn Error + Send + Sync>;

/// On so many ports: a closed connection keeps its pair of ports for a minute.
const LISTENERS: usize = 8;

/// So many errors are told; the others are only counted.
const TOLD: u64 = 20;

#[derive(Default)]
struct Counts {
    open: AtomicU64,
    messages: AtomicU64,
    errors: AtomicU64,
}

/// What the server tells each second, on a line of stdout.
pub(crate) struct Line {
    pub(crate) usage: Usage,
    pub(crate) open: u64,
    pub(crate) messages: u64,
    pub(crate) errors: u64,
}

impl FromStr for Line {
    type Err = Failure;

    fn from_str(line: &str) -> Result<Self, Failure> {
        let numbers: Vec<u64> =
            line.split_whitespace().map(str::parse).collect::<Result<_, _>>()?;
        let [heap, rss, descriptors, open, messages, errors] = numbers[..] else {
            return Err(format!("not what a server says: {line}").into());
        };
        Ok(Self { usage: Usage { heap, rss, descriptors }, open, messages, errors })
    }
}

/// What either end of a connection is set to.
pub(crate) fn config(deflate: bool) -> Config {
    Config {
        max_message: LONGEST,
        handshake_timeout: Duration::from_secs(30), // ten thousand may connect at once
        close_timeout: Duration::from_secs(30),
        deflate: deflate.then(Deflate::default),
        ..Config::default()
    }
}

/// Serves until stdin ends. The first line of stdout has the ports.
pub(crate) fn run(runtime: &Runtime, config: Config) -> Result<(), Failure> {
    let counts = Arc::new(Counts::default());
    let config = Arc::new(config);
    let mut ports = String::new();
    for _ in 0..LISTENERS {
        let _entered = runtime.enter();
        let socket = TcpSocket::new_v4()?;
        socket.bind(([127, 0, 0, 1], 0).into())?;
        let listener = socket.listen(4096)?;
        ports += &format!("{} ", listener.local_addr()?.port());
        runtime.spawn(listen(listener, config.clone(), counts.clone()));
    }
    println!("{ports}");
    thread::spawn(move || while report(&counts).is_ok() {});
    io::copy(&mut io::stdin(), &mut io::sink())?;
    Ok(())
}

fn report(counts: &Counts) -> io::Result<()> {
    // First what has ended, then what it has left.
    let [open, messages, errors] =
        [&counts.open, &counts.messages, &counts.errors].map(|count| count.load(Relaxed));
    let Usage { heap, rss, descriptors } = Usage::now()?;
    writeln!(io::stdout(), "{heap} {rss} {descriptors} {open} {messages} {errors}")?;
    thread::sleep(Duration::from_secs(1));
    Ok(())
}

async fn listen(listener: TcpListener, config: Arc<Config>, counts: Arc<Counts>) {
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                fail(&counts, "accept", &error.into());
                time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        counts.open.fetch_add(1, Relaxed);
        let (config, counts) = (config.clone(), counts.clone());
        tokio::spawn(async move {
            let mut way = None;
            if let Err(error) = serve(stream, &config, &counts, &mut way).await {
                fail(&counts, &format!("{way:?}"), &error);
            }
            counts.open.fetch_sub(1, Relaxed);
        });
    }
}

fn fail(counts: &Counts, what: &str, error: &Failure) {
    if counts.errors.fetch_add(1, Relaxed) < TOLD {
        eprintln!("server: {what}: {error}");
    }
}

async fn serve(
    stream: TcpStream,
    config: &Config,
    counts: &Counts,
    way: &mut Option<Ending>,
) -> Result<(), Failure> {
    stream.set_nodelay(true)?;
    let mut ws = accept(stream, config).await?;
    let announced = loop {
        let Some(received) = ws.recv_to_reply().await? else {
            return Err("closed without a word before".into());
        };
        counts.messages.fetch_add(1, Relaxed);
        received.sender.feed(received.message)?;
        if let Some(announced) = received.message.as_text().and_then(Ending::announced) {
            break announced;
        }
    };
    *way = Some(announced);
    ws.flush().await?;
    match announced {
        Ending::Client => closed(&mut ws, CloseCode::NORMAL).await,
        Ending::Server => {
            ws.close(CloseCode::GOING_AWAY).await?;
            closed(&mut ws, CloseCode::GOING_AWAY).await
        }
        Ending::Abort => {
            ws.sender_mut().abort(CloseCode::TRY_AGAIN_LATER)?;
            closed(&mut ws, CloseCode::TRY_AGAIN_LATER).await
        }
        Ending::Reset => loop {
            match ws.recv_to_reply().await {
                Ok(Some(received)) => drop(received.sender.feed(received.message)?),
                Ok(None) => return Err("closed, not reset".into()),
                Err(tickwire::Error::Io(_) | tickwire::Error::Recv(RecvError::UnexpectedEof)) => {
                    return Ok(());
                }
                Err(error) => return Err(error.into()),
            }
        },
        Ending::Drop => Ok(()),
        Ending::ClientSilent => unanswered(&mut ws).await,
        Ending::ServerSilent => drain(ws).await,
    }
}

/// Nothing more comes but the peer's Close, and both ends are content.
pub(crate) async fn closed(ws: &mut WebSocket<TcpStream>, code: CloseCode) -> Result<(), Failure> {
    if let Some(message) = ws.recv().await? {
        return Err(format!("received after the end: {message:?}").into());
    }
    match ws.closed() {
        Some(end) if end.clean && end.code == code.get() => Ok(()),
        end => Err(format!("{end:?}").into()),
    }
}

/// Nothing more comes, until the heartbeat says so.
pub(crate) async fn unanswered(ws: &mut WebSocket<TcpStream>) -> Result<(), Failure> {
    match ws.recv().await {
        Err(tickwire::Error::Recv(RecvError::PongTimeout)) => Ok(()),
        other => Err(format!("not a dead peer: {other:?}").into()),
    }
}

/// Answers nothing, until the peer has had enough.
pub(crate) async fn drain(ws: WebSocket<TcpStream>) -> Result<(), Failure> {
    let mut stream = ws.into_parts().0;
    let mut bytes = [0; 1024];
    while stream.read(&mut bytes).await.is_ok_and(|n| n > 0) {}
    Ok(())
}

impl Usage {
    /// Memory and descriptors now.
    ///
    /// # Errors
    ///
    /// Where there is no `/proc` as Linux has it.
    pub(crate) fn now() -> io::Result<Self> {
        let status = fs::read_to_string("/proc/self/status")?;
        let rss = field(&status, "VmRSS:").ok_or(io::ErrorKind::InvalidData)?;
        // One of them is the directory's own.
        let descriptors = fs::read_dir("/proc/self/fd")?.count() as u64 - 1;
        Ok(Self { heap: alloc::live_everywhere() as u64 / 1024, rss, descriptors })
    }
}

/// How many descriptors this process may have, if that is limited.
pub(crate) fn most_descriptors() -> Option<u64> {
    field(&fs::read_to_string("/proc/self/limits").ok()?, "Max open files")
}

fn field(text: &str, name: &str) -> Option<u64> {
    let rest = text.lines().find_map(|line| line.strip_prefix(name))?;
    rest.split_whitespace().next()?.parse().ok()
}
