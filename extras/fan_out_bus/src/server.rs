//! The WebSocket server: accepts connections, does what clients ask, and says goodbye at the end.
use crate::{
    bus::Bus,
    follow::follow,
    hub::{Hub, Subscriber},
    memory::Memory,
    options::Serve,
    protocol::{SUBPROTOCOL, Wish},
    replay::replay,
};
use arguments::{cannot_listen, serve};
use places::{Limits, Places};
use std::{
    collections::HashSet,
    error::Error,
    io::{self, Write},
    net::SocketAddr,
    sync::Arc,
    time::Duration,
};
use tickwire::{
    CloseCode, Config,
    handshake::server::Accept,
    tokio::{Incoming, MessageOrRoom},
};
use tickwire_parts::{Outbox, Overflow};
use tokio::{
    net::{TcpListener, TcpStream},
    select,
    sync::watch,
    task::JoinSet,
    time::{sleep, timeout},
};

/// The longest message of a client: `sub`, a channel and a place.
const MAX_MESSAGE: usize = 1024;

/// How long peers have to answer our Close.
const GOODBYE: Duration = Duration::from_secs(5);

/// How long to pause after `accept` has failed, for example because no file descriptor is left.
const PAUSE: Duration = Duration::from_millis(50);

/// The size of the system's send buffer. The outbox cannot drop bytes that are in this buffer.
const SEND_BUFFER: u32 = 64 * 1024;

struct Server {
    hub: Arc<Hub>,
    options: Serve,
    config: Config,
}

/// Serves until a signal asks the program to end.
pub async fn serve<B: Bus>(bus: B, options: Serve) -> Result<(), Box<dyn Error>> {
    let memory = Memory::new(options.max_memory, options.max_connections);
    let hub = Arc::new(Hub::new(options.tail, memory));
    let listener = listen(options.listen).map_err(cannot_listen(options.listen))?;
    let config = Config { max_message: MAX_MESSAGE, close_timeout: GOODBYE, ..Config::server() };
    let server = Arc::new(Server { hub, options, config });
    writeln!(io::stdout(), "listening on ws://{}", listener.local_addr()?)?;

    let (until, stop) = watch::channel(());
    let mut sessions = JoinSet::new();
    select! {
        ended = follow(&bus, &server.hub) => ended?,
        ended = replay(&bus, &server.hub) => ended?,
        () = accept_all(listener, &server, &stop, &mut sessions) => {}
        () = serve::stop_asked()? => {}
    }
    drop(until); // all sessions say goodbye at once
    let gone = async { while sessions.join_next().await.is_some() {} };
    if timeout(GOODBYE, gone).await.is_err() {
        eprintln!("stopped without the Close of {} peers", sessions.len());
    }
    Ok(())
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = serve::socket(address)?;
    socket.set_send_buffer_size(SEND_BUFFER)?;
    socket.bind(address)?;
    socket.listen(4096)
}

async fn accept_all(
    listener: TcpListener,
    server: &Arc<Server>,
    stop: &watch::Receiver<()>,
    sessions: &mut JoinSet<()>,
) {
    let Serve { max_connections, max_per_address, .. } = server.options;
    let places = Places::new(Limits::of_connections(max_connections, max_per_address));
    for id in 0.. {
        let (stream, peer, place) = loop {
            match listener.accept().await {
                Ok((stream, peer)) => {
                    // A peer without a place gets no answer: a flood could cost too much.
                    let Some(place) = places.enter(peer.ip()) else { continue };
                    break (stream, peer, place);
                }
                Err(error) => {
                    eprintln!("accept: {error}");
                    sleep(PAUSE).await;
                }
            }
        };
        let (server, stop) = (server.clone(), stop.clone());
        sessions.spawn(async move {
            if let Err(error) = session(stream, id, &server, stop).await {
                eprintln!("{peer}: {error}");
            }
            drop(place);
        });
        while sessions.try_join_next().is_some() {}
    }
}

/// One connection, and its subscriptions. Dropping this value ends the subscriptions.
struct Session<'s> {
    server: &'s Server,
    me: Arc<Subscriber>,
    channels: HashSet<String>,
}

async fn session(
    stream: TcpStream,
    id: u64,
    server: &Server,
    mut stop: watch::Receiver<()>,
) -> Result<(), tickwire::Error> {
    stream.set_nodelay(true)?;
    let opening = async {
        let incoming = Incoming::read(stream, &server.config).await?;
        incoming.accept(Accept::default().subprotocols(&[SUBPROTOCOL])).await
    };
    let mut ws = select! {
        accepted = opening => accepted?,
        _ = stop.changed() => return Ok(()),
    };
    let mut outbox = Outbox::new(Overflow::Disconnect(CloseCode::TRY_AGAIN_LATER));
    outbox.max_bytes = server.options.max_behind;
    let me = Subscriber::new(id, outbox, server.hub.memory.clone());
    let mut session = Session { server, me, channels: HashSet::new() };
    loop {
        session.me.feed(ws.sender_mut());
        select! {
            biased; // receiving before `news`, because it writes what was fed
            _ = stop.changed() => return ws.close(CloseCode::GOING_AWAY).await,
            received = ws.recv_or_room(Outbox::MAX_UNSENT) => match received? {
                MessageOrRoom::Message(message) => session.heed(message.as_bytes()),
                MessageOrRoom::Room => {}
                MessageOrRoom::Closed => return Ok(()),
            },
            () = session.me.news.notified() => {}
        }
    }
}

impl Session<'_> {
    /// Does what a client asks for. An application checks here whether the client may ask for it.
    fn heed(&mut self, message: &[u8]) {
        let hub = &self.server.hub;
        match Wish::parse(message) {
            Ok(Wish::Sub(name, from)) => {
                let most = self.server.options.max_channels;
                if self.channels.len() >= most && !self.channels.contains(name) {
                    return self.me.tell(&format!("error at most {most} channels"));
                }
                self.channels.insert(name.to_owned());
                hub.sub(name, from, &self.me);
            }
            Ok(Wish::Unsub(name)) => {
                if self.channels.remove(name) {
                    hub.unsub(name, &self.me);
                }
                self.me.tell(&format!("unsubscribed {name}"));
            }
            Err(bad) => self.me.tell(&format!("error {bad}")),
        }
    }
}

impl Drop for Session<'_> {
    fn drop(&mut self) {
        for name in &self.channels {
            self.server.hub.unsub(name, &self.me);
        }
    }
}
