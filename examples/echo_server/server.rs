//! The server. Every thread has its own listener, runtime and connections, and shares nothing with
//! other threads while messages pass. The system distributes new connections among the listeners.
//!
//! The threads share only the options. Their count of owners changes with each connection, and only
//! an opening handshake reads them. A message touches its connection, the runtime's queue and
//! timers, and the pool of buffers. All of these belong to the message's thread, and each socket is
//! in one epoll instance only. So no lock, counter or cache line moves between processors.
use super::{ACCEPT_PAUSE, CLOSE_TIMEOUT, Options, announce, cannot_listen, log, refusal};
use arguments::serve::{socket, stop_asked};
use std::{
    io,
    net::SocketAddr,
    pin::{Pin, pin},
    sync::Arc,
    thread,
};
use tickwire::{
    CloseCode, Error,
    handshake::server::Accept,
    tokio::{Incoming, TlsStream, WebSocket},
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpSocket, TcpStream},
    runtime::Builder,
    select,
    sync::{Notify, futures::OwnedNotified},
    task::JoinSet,
    time::{sleep, timeout},
};

/// How many connections may wait to be accepted.
const BACKLOG: u32 = 4096;

/// A future that is ready when the server stops. A connection polls this future whenever it wakes.
/// `changed` of a tokio `watch` would cost twice as much.
type Stop = OwnedNotified;

/// Serves until a signal says to stop.
pub(crate) fn serve(mut options: Options) -> io::Result<()> {
    let shared = options.threads > 1;
    let (address, first) = worker(options.listen, shared)?;
    options.listen = address; // the port is known now
    let others = (1..options.threads).map(|_| worker(address, shared));
    let others = others.collect::<io::Result<Vec<_>>>()?;
    announce(&options.url())?;
    let options = Arc::new(options);
    let mut threads = Vec::new();
    for (_, run) in others {
        let options = options.clone();
        threads.push(thread::Builder::new().spawn(move || run(&options))?);
    }
    first(&options);
    for thread in threads {
        thread.join().map_err(|_| io::Error::other("a thread has panicked"))?;
    }
    Ok(())
}

/// Listens. Returns the address, and what a thread has to run. `shared`: workers share the address.
fn worker(
    address: SocketAddr,
    shared: bool,
) -> io::Result<(SocketAddr, impl FnOnce(&Arc<Options>) + Send)> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let entered = runtime.enter(); // the listener will belong to this runtime
    let stop = stop_asked()?; // each runtime waits for the signal itself
    let socket = socket(address)?;
    if shared {
        share_port(&socket)?;
    }
    let listening = socket.bind(address).and_then(|()| socket.listen(BACKLOG));
    let listener = listening.map_err(cannot_listen(address))?;
    drop(entered);
    let address = listener.local_addr()?;
    let run = move |options: &Arc<Options>| {
        runtime.block_on(accept_all(listener, options, stop));
    };
    Ok((address, run))
}

#[cfg(all(unix, not(any(target_os = "solaris", target_os = "illumos", target_os = "cygwin"))))]
fn share_port(socket: &TcpSocket) -> io::Result<()> {
    socket.set_reuseport(true)
}

#[cfg(any(not(unix), target_os = "solaris", target_os = "illumos", target_os = "cygwin"))]
fn share_port(_: &TcpSocket) -> io::Result<()> {
    Err(io::Error::other("more than one of --threads needs SO_REUSEPORT, which is not to be had"))
}

/// Accepts until it is to stop, then waits for the connections to close.
async fn accept_all(listener: TcpListener, options: &Arc<Options>, stop: impl Future<Output = ()>) {
    let (mut stop, stopping) = (pin!(stop), Arc::new(Notify::new()));
    let mut connections = JoinSet::new();
    loop {
        select! {
            _ = &mut stop => break,
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => {
                    let stop = stopping.clone().notified_owned();
                    let options = options.clone();
                    connections.spawn(async move {
                        if let Err(error) = converse(stream, &options, stop).await {
                            log(format_args!("{peer}: {error}"));
                        }
                    });
                }
                // The connection is gone already, or the system lacks something. Both may pass.
                Err(error) => {
                    log(format_args!("accept: {error}"));
                    sleep(ACCEPT_PAUSE).await;
                }
            },
            Some(ended) = connections.join_next() => {
                if let Err(error) = ended {
                    log(format_args!("connection: {error}"));
                }
            }
        }
    }
    drop(listener);
    stopping.notify_waiters();
    let closed = async { while connections.join_next().await.is_some() {} };
    if timeout(CLOSE_TIMEOUT, closed).await.is_err() {
        log(format_args!("stopped without the Close of {} peers", connections.len()));
    }
}

async fn converse(stream: TcpStream, options: &Options, stop: Stop) -> Result<(), Error> {
    stream.set_nodelay(true)?;
    match options.tls.clone() {
        None => serve_one(stream, options, stop).await,
        Some(tls) => serve_one(TlsStream::server(stream, tls)?, options, stop).await,
    }
}

async fn serve_one<S>(stream: S, options: &Options, stop: Stop) -> Result<(), Error>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut stop = pin!(stop);
    // The box is freed after the handshake, which needs more memory than an open connection.
    let Some(mut ws) = Box::pin(open(stream, options, stop.as_mut())).await? else {
        return Ok(());
    };
    select! {
        // `stop` is first: a peer that floods keeps the echo busy until tokio's budget is used up.
        biased;
        // The echo may be dropped while it waits: the WebSocket stays usable.
        _ = &mut stop => ws.close(CloseCode::GOING_AWAY).await,
        echoed = echo(&mut ws) => echoed,
    }
}

/// Reads a request, and accepts or refuses it. `None` if the server stops before the request.
async fn open<S>(
    stream: S,
    options: &Options,
    stop: Pin<&mut Stop>,
) -> Result<Option<WebSocket<S>>, Error>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let incoming = select! {
        asked = Incoming::read_any(stream, &options.config) => asked?,
        _ = stop => return Ok(None), // there is no connection to close yet
    };
    // A request that has come is answered even if the server stops, and a refusal is logged.
    if let Some(error) = incoming.error() {
        incoming.reject(refusal(error, options.url())).await?;
        return Err(error.into());
    }
    let accept = Accept::default().subprotocols(&options.subprotocols);
    incoming.accept(accept).await.map(Some)
}

/// Echoes messages. The replies to all messages that one read brought leave in one write.
async fn echo<S>(ws: &mut WebSocket<S>) -> Result<(), Error>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    while let Some(received) = ws.recv_to_reply().await? {
        let _ = received.sender.feed(received.message)?;
    }
    Ok(())
}
