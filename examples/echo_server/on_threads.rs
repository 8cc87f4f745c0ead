//! The server on threads that block: one for each connection, and those that accept.
use super::{
    ACCEPT_PAUSE, CLOSE_TIMEOUT, Options, Served, announce, cannot_listen, log, processor_time,
    refusal, report,
};
use signal_hook::{
    consts::{SIGINT, SIGTERM},
    flag,
};
use std::{
    io,
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};
#[cfg(feature = "rustls")]
use tickwire::blocking::TlsStream;
use tickwire::{
    CloseCode, Error,
    blocking::{Incoming, Stream, WebSocket},
    handshake::{HandshakeError, server::Accept},
};

/// How often whoever waits looks whether to stop.
const TICK: Duration = Duration::from_millis(200);

/// What all threads know.
struct Server {
    options: Options,
    /// Set by a signal: stop.
    stop: Arc<AtomicBool>,
    /// How many connections have asked, and have not ended.
    open: AtomicUsize,
    /// What those did that have ended.
    served: Mutex<Served>,
}

/// Serves until a signal says to stop.
pub(crate) fn serve(options: Options) -> io::Result<()> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGTERM, SIGINT] {
        flag::register(signal, stop.clone())?;
    }
    let bound = TcpListener::bind(options.listen);
    let listener = bound.map_err(cannot_listen(options.listen))?;
    let threads = options.threads;
    let (open, served) = (AtomicUsize::new(0), Mutex::default());
    let server = Arc::new(Server { options, stop, open, served });
    announce(&server.options.url(listener.local_addr()?))?;
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
    if server.options.stats
        && let Ok(served) = server.served.lock()
    {
        report(format_args!("all threads"), &served);
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
        let mut open = Open { server: self, asked: false, connections: 0, messages: 0 };
        if let Err(error) = self.converse(stream, &mut open) {
            log(format_args!("{peer}: {error}"));
        }
    }

    fn converse(&self, stream: TcpStream, open: &mut Open<'_>) -> Result<(), Error> {
        let url = self.options.url(stream.local_addr()?);
        match self.options.tls.clone() {
            None => self.serve(stream, &url, open),
            #[cfg(feature = "rustls")]
            Some(tls) => self.serve(TlsStream::server(stream, tls)?, &url, open),
        }
    }

    fn serve<S: Stream>(&self, stream: S, url: &str, open: &mut Open<'_>) -> Result<(), Error> {
        let (incoming, checked) = Incoming::read_any(stream, &self.options.config)?;
        open.asked();
        let mut ws = self.answer(incoming, checked, url)?;
        open.connections = 1;
        // So that a silent peer does not keep us from looking whether to stop.
        ws.set_read_timeout(Some(TICK))?;
        while !self.stops() {
            match self.echo(&mut ws, &mut open.messages) {
                Err(Error::WouldBlock) => {}
                ended => return ended,
            }
        }
        ws.set_read_timeout(None)?;
        ws.close(CloseCode::GOING_AWAY)
    }

    /// Accepts or refuses a request.
    fn answer<S: Stream>(
        &self,
        incoming: Incoming<S>,
        checked: Result<(), HandshakeError>,
        url: &str,
    ) -> Result<WebSocket<S>, Error> {
        match self.options.admit(incoming.request(), checked) {
            Ok(()) => incoming.accept(Accept::default().subprotocols(&self.options.subprotocols)),
            Err(error) => {
                incoming.reject(refusal(error, url))?;
                Err(error.into())
            }
        }
    }

    /// Replies to all messages that one read brought leave in one write.
    fn echo<S: Stream>(&self, ws: &mut WebSocket<S>, count: &mut u64) -> Result<(), Error> {
        while let Some(received) = ws.recv_to_reply()? {
            let _ = received.sender.feed(received.message)?;
            *count += 1;
            if self.stops() {
                return Err(Error::WouldBlock);
            }
        }
        Ok(())
    }
}

/// A connection, and what it did. The program does not end between its request and its drop.
struct Open<'a> {
    server: &'a Server,
    asked: bool,
    /// Opened: 1, or 0 of a request that was refused.
    connections: u64,
    messages: u64,
}

impl Open<'_> {
    /// Comes before the answer: whoever has one is said goodbye to, and a refusal is logged.
    fn asked(&mut self) {
        self.asked = true;
        self.server.open.fetch_add(1, Ordering::AcqRel);
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        if !self.asked {
            return;
        }
        if let Ok(mut all) = self.server.served.lock() {
            all.connections += self.connections;
            all.messages += self.messages;
            // A connection has its thread to itself.
            all.processor = processor_time().map(|took| took + all.processor.unwrap_or_default());
        }
        self.server.open.fetch_sub(1, Ordering::AcqRel);
    }
}
