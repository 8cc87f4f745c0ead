//! The sockets, under tokio: a task for each connection, and one that lets time pass.
use super::{
    applied::{Applied, EVERY},
    options::{Options, Tls},
    tls::{Certificates, certificates},
};
use badday::{ConnectionId, Dialed, Exchange, Heard, Reply, Report, Said};
use socket2::SockRef;
use std::{
    collections::HashMap,
    error::Error,
    future::pending,
    io,
    net::{Shutdown, SocketAddr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant, UNIX_EPOCH},
};
use tickwire::{
    CloseCode, CloseFrame, Config, Event,
    handshake::{
        accept_key,
        server::{Accept, Rejection},
    },
    tokio::{Incoming, TlsStream, WebSocket},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpSocket, TcpStream},
    select,
    sync::{Notify, mpsc, watch},
    time::{sleep, sleep_until, timeout},
};

const BACKLOG: u32 = 1_024;

/// What may wait for a client that does not read. Then the exchange drops it.
const OUTBOX: usize = 4_096;

/// The longest message of a client. A subscription to all symbols has less than 1 KiB.
const MOST_BYTES: usize = 64 << 10;

/// How long a client may take to answer our Close, or our FIN.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// The exchange, and where to pass on what it says.
struct State {
    exchange: Exchange,
    outboxes: HashMap<ConnectionId, mpsc::Sender<Said>>,
    /// How many events were told.
    told: usize,
}

struct Shared {
    state: Mutex<State>,
    started: Instant,
    /// Something has happened: what is due next may have changed.
    changed: Notify,
    /// Whether somebody listens, for each address.
    listens: watch::Sender<Vec<bool>>,
    certificates: Option<Certificates>,
}

pub(crate) async fn play(options: &Options) -> Result<Report, Box<dyn Error>> {
    let certificates = certificates(&options.tls, &options.listen)?;
    let mut listeners = Vec::new();
    for &address in &options.listen {
        let listener = hold(address).and_then(listen);
        listeners.push(listener.map_err(|error| format!("cannot listen at {address}: {error}"))?);
    }
    // Whoever has read that we listen may interrupt us.
    let interrupted = interrupted()?;
    let scheme = if let Tls::No = options.tls { "ws" } else { "wss" };
    for listener in &listeners {
        eprintln!("badday: listening on {scheme}://{}", listener.local_addr()?);
    }
    let exchange = Exchange::new(options.day.clone(), options.speed).started(UNIX_EPOCH.elapsed()?);
    let end = options.seconds.map_or(exchange.end(), |seconds| seconds.min(exchange.end()));
    let (listens, watched) = watch::channel(vec![true; listeners.len()]);
    let shared = Arc::new(Shared {
        state: Mutex::new(State { exchange, outboxes: HashMap::new(), told: 0 }),
        started: Instant::now(),
        changed: Notify::new(),
        listens,
        certificates,
    });
    for (index, listener) in listeners.into_iter().enumerate() {
        tokio::spawn(accept_all(listener, index, watched.clone(), shared.clone()));
    }
    let mut applied = options.applied.as_deref().map(Applied::new).transpose()?;
    select! {
        () = shared.clone().pass_time(end) => {}
        () = interrupted => {}
        failed = shared.judge(&mut applied) => failed?,
    }
    if let Some(applied) = &mut applied {
        applied.finish(|line| shared.applied(line))?;
    }
    shared.with(|_, _| ());
    let report = shared.lock().exchange.report();
    Ok(report)
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn with<Out>(&self, act: impl FnOnce(&mut Exchange, Duration) -> Out) -> Out {
        let mut state = self.lock();
        let now = self.started.elapsed();
        let out = act(&mut state.exchange, now);
        self.pass_on(&mut state, now);
        out
    }

    fn pass_on(&self, state: &mut State, now: Duration) {
        while let Some((id, said)) = state.exchange.poll(now) {
            if let Some(outbox) = state.outboxes.get(&id)
                && outbox.try_send(said).is_err()
            {
                state.outboxes.remove(&id);
            }
        }
        let happened = state.exchange.happened();
        for event in &happened[state.told..] {
            eprintln!("badday: {:8.1} s  {event}", now.as_secs_f64());
        }
        state.told = happened.len();
        self.listens.send_if_modified(|listens| {
            let before = listens.clone();
            for (address, listens) in listens.iter_mut().enumerate() {
                *listens = state.exchange.listens(address);
            }
            *listens != before
        });
        self.changed.notify_one();
    }

    async fn pass_time(self: Arc<Self>, end: Duration) {
        loop {
            let due = self.lock().exchange.poll_timeout().min(end);
            if self.started.elapsed() >= end {
                return;
            }
            select! {
                () = sleep_until((self.started + due).into()) => self.with(|_, _| ()),
                () = self.changed.notified() => {}
            }
        }
    }

    fn applied(&self, line: &str) -> Result<(), String> {
        self.with(|exchange, now| exchange.applied(now, line))
    }

    /// Reads what the client writes to its file; ends with a line that is none.
    async fn judge(&self, applied: &mut Option<Applied<'_>>) -> Result<(), String> {
        let Some(applied) = applied else { return pending().await };
        self.applied("")?; // it is to be judged, though it may never write
        loop {
            applied.read(|line| self.applied(line))?;
            sleep(EVERY).await;
        }
    }

    /// Registers a connection before anything can be said on it.
    fn dial(&self, address: usize) -> (Dialed, mpsc::Receiver<Said>) {
        let (outbox, said) = mpsc::channel(OUTBOX);
        let mut state = self.lock();
        let now = self.started.elapsed();
        let dialed = state.exchange.dial(now, address);
        if let Dialed::Open(id) | Dialed::Stuck(id) = dialed {
            state.outboxes.insert(id, outbox);
        }
        self.pass_on(&mut state, now);
        (dialed, said)
    }
}

/// A socket that has the address, and does not listen: the kernel refuses whoever dials it, and
/// gives the port to nobody else.
fn hold(address: SocketAddr) -> io::Result<TcpSocket> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    // Connections of the last listener may still have the port. It means something else on Windows.
    socket.set_reuseaddr(cfg!(unix))?;
    socket.bind(address)?;
    // On Linux, nobody else may listen at the port of a socket without it.
    socket.set_reuseaddr(false)?;
    Ok(socket)
}

fn listen(socket: TcpSocket) -> io::Result<TcpListener> {
    socket.set_reuseaddr(cfg!(unix))?;
    socket.listen(BACKLOG)
}

async fn accept_all(
    mut listener: TcpListener,
    address: usize,
    mut listens: watch::Receiver<Vec<bool>>,
    shared: Arc<Shared>,
) -> io::Result<()> {
    let at = listener.local_addr()?;
    loop {
        let accepted = select! {
            accepted = listener.accept() => Some(accepted),
            _ = listens.wait_for(|listens| !listens[address]) => None,
        };
        match accepted {
            Some(Ok((stream, _))) => _ = tokio::spawn(serve(stream, address, shared.clone())),
            Some(Err(error)) => {
                eprintln!("badday: accept: {error}");
                sleep(Duration::from_millis(100)).await;
            }
            None => {
                // The port can be held only once nobody listens at it.
                drop(listener);
                let held = hold(at).inspect_err(|error| eprintln!("badday: lost {at}: {error}"))?;
                if listens.wait_for(|listens| listens[address]).await.is_err() {
                    return Ok(()); // the day is over
                }
                listener = listen(held)?;
            }
        }
    }
}

/// Ready at SIGINT or SIGTERM. Signals count from this call on.
#[cfg(unix)]
fn interrupted() -> io::Result<impl Future<Output = ()>> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    Ok(async move {
        select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}

#[cfg(not(unix))]
fn interrupted() -> io::Result<impl Future<Output = ()>> {
    let mut interrupt = tokio::signal::windows::ctrl_c()?;
    Ok(async move {
        interrupt.recv().await;
    })
}

/// Tells the exchange that a connection has ended, however its task ends.
struct Place {
    id: ConnectionId,
    shared: Arc<Shared>,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.shared.with(|exchange, now| exchange.heard(now, self.id, Heard::End));
        self.shared.lock().outboxes.remove(&self.id);
    }
}

/// A stream with TCP below it.
trait OverTcp: AsyncRead + AsyncWrite + Unpin + Send {
    fn tcp(&self) -> &TcpStream;
}

impl OverTcp for TcpStream {
    fn tcp(&self) -> &TcpStream {
        self
    }
}

impl OverTcp for TlsStream<TcpStream> {
    fn tcp(&self) -> &TcpStream {
        self.get_ref()
    }
}

async fn serve(stream: TcpStream, address: usize, shared: Arc<Shared>) {
    let _ = stream.set_nodelay(true);
    let (dialed, mut said) = shared.dial(address);
    let id = match dialed {
        // It came just before the listener was closed.
        Dialed::Refused => return reset(&stream),
        Dialed::Stuck(id) | Dialed::Open(id) => id,
    };
    let place = Place { id, shared };
    if let Dialed::Stuck(_) = dialed {
        return stand_still(&stream, &mut said).await;
    }
    let Some(certificates) = &place.shared.certificates else {
        return converse(stream, &place, said).await;
    };
    let shown = place.shared.lock().exchange.certificate(id);
    match TlsStream::server(stream, certificates.config(shown)) {
        Ok(stream) => converse(stream, &place, said).await,
        Err(error) => eprintln!("badday: TLS: {error}"),
    }
}

/// Serves a connection from its request on.
async fn converse<S: OverTcp>(mut stream: S, place: &Place, mut said: mpsc::Receiver<Said>) {
    let config = Config { max_message: MOST_BYTES, ..Config::default() };
    let Ok(incoming) = Incoming::read_any(&mut stream, &config).await else { return };
    let target = incoming.request().target().to_owned();
    let reply = place
        .shared
        .with(|exchange, now| exchange.request(now, place.id, &target, incoming.error().is_none()));
    match reply {
        Reply::Upgrade => {
            if let Ok(ws) = incoming.accept(Accept::default()).await {
                let _ = talk(ws, place, &mut said).await;
            }
        }
        Reply::Http { after, status, headers, body } => {
            sleep(after).await;
            let mut rejection = Rejection::new(status).body(body);
            for (name, value) in &headers {
                match rejection.clone().header(name, value) {
                    Ok(more) => rejection = more,
                    Err(error) => eprintln!("badday: {name}: {error}"),
                }
            }
            let _ = incoming.reject(rejection).await;
        }
        Reply::WrongSubprotocol => {
            let key = incoming.request().header("Sec-WebSocket-Key").unwrap_or("");
            let response = format!(
                "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                 Sec-WebSocket-Accept: {}\r\nSec-WebSocket-Protocol: badday\r\n\r\n",
                accept_key(key),
            );
            drop(incoming);
            let _ = stream.write_all(response.as_bytes()).await;
            let _ = stream.flush().await;
            finish(stream.tcp()).await;
        }
        Reply::Nothing => {
            // The stream stays with the request, and nobody reads it.
            while let Some(said) = said.recv().await {
                if said != Said::Freeze {
                    return;
                }
            }
        }
    }
}

async fn talk<S: OverTcp>(
    mut ws: WebSocket<&mut S>,
    place: &Place,
    said: &mut mpsc::Receiver<Said>,
) -> Result<(), tickwire::Error> {
    loop {
        select! {
            news = said.recv() => match news {
                None => return Ok(()), // it has read too little
                Some(Said::Text(text)) => ws.send(text).await?,
                Some(Said::Ping) => {
                    ws.sender_mut().ping(b"")?;
                    ws.flush().await?;
                }
                Some(Said::BadText) => {
                    // All that was sent before is flushed. 0xFF is in no UTF-8.
                    let stream = ws.get_mut();
                    stream.write_all(&[0x81, 1, 0xff]).await?;
                    stream.flush().await?;
                    let ends = async { while let Ok(Some(_)) = ws.recv().await {} };
                    let _ = timeout(LAST_WORDS, ends).await;
                    return Ok(());
                }
                Some(Said::Close(code, reason)) => {
                    let code = CloseCode::new(code).unwrap_or(CloseCode::NORMAL);
                    let frame = CloseFrame::with_reason(code, reason);
                    return ws.leave(frame, LAST_WORDS).await;
                }
                Some(Said::Cut) => {
                    finish(ws.get_ref().tcp()).await;
                    return Ok(());
                }
                Some(Said::Reset) => {
                    reset(ws.get_ref().tcp());
                    return Ok(());
                }
                Some(Said::Freeze) => {
                    stand_still(ws.get_ref().tcp(), said).await;
                    return Ok(());
                }
            },
            event = ws.recv_event() => {
                let heard = match event? {
                    None => return Ok(()),
                    Some(Event::Message(message)) => match message.as_text() {
                        Some(text) => Heard::Text(text),
                        None => Heard::Text(""), // no exchange reads binary messages
                    },
                    Some(Event::Ping(_)) => Heard::Ping,
                    Some(Event::Pong(_)) => Heard::Pong,
                    Some(Event::Close(_)) => Heard::End,
                };
                place.shared.with(|exchange, now| exchange.heard(now, place.id, heard));
            }
        }
    }
}

/// Reads and writes nothing, until the server is started anew.
async fn stand_still(stream: &TcpStream, said: &mut mpsc::Receiver<Said>) {
    while let Some(said) = said.recv().await {
        if said == Said::Reset {
            reset(stream);
            return;
        }
    }
}

/// Has TCP send an RST when the stream is dropped.
fn reset(stream: &TcpStream) {
    let _ = SockRef::from(stream).set_linger(Some(Duration::ZERO));
}

/// Sends TCP's FIN, and no Close or close_notify. Bytes that nobody reads would make it an RST.
async fn finish(stream: &TcpStream) {
    let _ = SockRef::from(stream).shutdown(Shutdown::Write);
    let drained = async {
        let mut rest = [0; 4_096];
        while stream.readable().await.is_ok() {
            match stream.try_read(&mut rest) {
                Ok(0) => return,
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(_) => return,
            }
        }
    };
    let _ = timeout(LAST_WORDS, drained).await;
}
