//! The server on threads that block: one for each connection, and those that accept.
use super::{ACCEPT_PAUSE, CLOSE_TIMEOUT, Options, announce, log, not_listening, refusal};
use signal_hook::{
    consts::{SIGINT, SIGTERM},
    flag,
};
use std::{
    io,
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};
use tickwire::{
    CloseCode, CloseFrame, Error,
    blocking::{Handshake, WebSocket},
    handshake::server::Accept,
};

/// How often whoever waits looks whether to stop.
const TICK: Duration = Duration::from_millis(200);

/// What all threads know.
struct Server {
    options: Options,
    /// Set by a signal: stop.
    stop: Arc<AtomicBool>,
    /// How many connections are open.
    open: AtomicUsize,
}

/// Serves until a signal says to stop.
pub(crate) fn serve(options: Options) -> io::Result<()> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGTERM, SIGINT] {
        flag::register(signal, stop.clone())?;
    }
    let bound = TcpListener::bind(options.listen);
    let listener = bound.map_err(|error| not_listening(options.listen, &error))?;
    let threads = options.threads;
    let server = Arc::new(Server { options, stop, open: AtomicUsize::new(0) });
    announce(listener.local_addr()?)?;
    for _ in 0..threads {
        let (listener, server) = (listener.try_clone()?, server.clone());
        thread::Builder::new().spawn(move || server.accept_all(&listener))?;
    }
    while !server.stops() {
        thread::sleep(TICK);
    }
    // The threads say goodbye by themselves. Those that accept, or read an opening request, end
    // with the program.
    let until = Instant::now() + CLOSE_TIMEOUT;
    while server.open.load(Ordering::Acquire) > 0 && Instant::now() < until {
        thread::sleep(TICK / 10);
    }
    match server.open.load(Ordering::Acquire) {
        0 => {}
        left => log(format_args!("stopped without the Close of {left} peers")),
    }
    Ok(())
}

impl Server {
    fn stops(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    fn accept_all(self: Arc<Self>, listener: &TcpListener) {
        while !self.stops() {
            let accepted = listener.accept().and_then(|(stream, peer)| {
                let server = self.clone();
                thread::Builder::new().spawn(move || server.connection(stream, peer))
            });
            // A connection that is gone already, or a shortage that may pass.
            if let Err(error) = accepted {
                log(format_args!("accept: {error}"));
                thread::sleep(ACCEPT_PAUSE);
            }
        }
    }

    fn connection(&self, stream: TcpStream, peer: SocketAddr) {
        if let Err(error) = self.converse(stream) {
            log(format_args!("{peer}: {error}"));
        }
    }

    fn converse(&self, stream: TcpStream) -> Result<(), Error> {
        let mut ws = self.handshake(stream)?;
        let _open = Open::new(&self.open);
        // So that a silent peer does not keep us from looking whether to stop.
        ws.set_read_timeout(Some(TICK))?;
        while !self.stops() {
            match self.echo(&mut ws) {
                Err(Error::WouldBlock) => {}
                ended => return ended,
            }
        }
        ws.set_read_timeout(None)?;
        ws.close(CloseFrame::new(CloseCode::GOING_AWAY))
    }

    fn handshake(&self, stream: TcpStream) -> Result<WebSocket<TcpStream>, Error> {
        stream.set_nodelay(true)?;
        let server = stream.local_addr()?;
        let (handshake, checked) = Handshake::read_any(stream, &self.options.config)?;
        match self.options.admit(handshake.request(), checked) {
            Ok(()) => handshake.accept(Accept::new().subprotocols(&self.options.subprotocols)),
            Err(error) => {
                handshake.refuse(refusal(error, server))?;
                Err(error.into())
            }
        }
    }

    /// Replies to all messages that one read brought leave in one write.
    fn echo(&self, ws: &mut WebSocket<TcpStream>) -> Result<(), Error> {
        while let Some((message, reply)) = ws.recv_reply()? {
            let _ = reply.feed(message)?;
            if self.stops() {
                return Err(Error::WouldBlock);
            }
        }
        Ok(())
    }
}

/// Counts a connection as long as it is there.
struct Open<'a>(&'a AtomicUsize);

impl<'a> Open<'a> {
    fn new(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::AcqRel);
        Self(count)
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}
