//! The process: who connects, what they say, and a goodbye.
use crate::{
    bus::{Bus, backoff},
    follow::Follower,
    hub::{Hub, Subscriber},
    memory::Memory,
    options::Serve,
    protocol::{SUBPROTOCOL, Wish},
    publisher::Publisher,
    replay::Replays,
    stats::{self, Lag},
};
use arguments::cannot_listen;
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
    CloseCode, Config, Heartbeat, Time,
    handshake::server::Accept,
    tokio::{Incoming, MessageOrRoom, WebSocket},
};
use tickwire_parts::Outbox;
use tokio::{
    net::{TcpListener, TcpSocket, TcpStream},
    select,
    sync::{mpsc, watch},
    task::JoinSet,
    time::{Instant, sleep, timeout},
};

/// The longest message of a client; brokers take more.
const MAX_MESSAGE: usize = 64 * 1024;

/// So many messages of all clients together may wait to be published; of more their clients are
/// told that they were not.
const JOBS: usize = 256;

/// How long peers have to answer our Close.
const GOODBYE: Duration = Duration::from_secs(5);

/// How long to leave off accepting when the system would not: out of file descriptors, say.
const PAUSE: Duration = Duration::from_millis(50);

/// Below how much the system takes more of one subscriber's: what it has taken is out of reach of
/// the outbox.
const SEND_BUFFER: u32 = 64 * 1024;

/// What a client wants published.
struct Job {
    who: Arc<Subscriber>,
    channel: String,
    payload: Vec<u8>,
}

struct Server {
    hub: Arc<Hub>,
    jobs: mpsc::Sender<Job>,
    options: Serve,
    config: Config,
    epoch: Instant,
    /// Only if it is shown.
    lag: Option<Lag>,
}

/// Until a signal says to stop.
pub async fn serve<B: Bus>(bus: B, serve: Serve) -> Result<(), Box<dyn Error>> {
    let memory = Memory::new(serve.max_memory, serve.max_connections);
    let (hub, epoch) = (Arc::new(Hub::new(serve.tail, memory)), Instant::now());
    let listener = listen(serve.listen).map_err(cannot_listen(serve.listen))?;
    let publisher = Publisher::new(bus.clone())?;
    let follower = Follower { bus: bus.clone(), hub: hub.clone(), epoch };
    let (jobs, waiting) = mpsc::channel(JOBS);
    let lag = if serve.stats { Some(Lag::new()?) } else { None };
    let config = Config {
        max_message: MAX_MESSAGE,
        close_timeout: GOODBYE,
        heartbeat: Some(Heartbeat::BEHIND_PROXIES),
        ..Config::default()
    };
    let server = Arc::new(Server { hub, jobs, options: serve, config, epoch, lag });
    writeln!(io::stdout(), "listening on ws://{}", listener.local_addr()?)?;

    let (until, stop) = watch::channel(());
    let showing = async {
        match &server.lag {
            Some(lag) => stats::show(B::NAME, &server.hub, lag).await,
            None => std::future::pending().await,
        }
    };
    let mut sessions = JoinSet::new();
    select! {
        () = follower.run(backoff()?) => {}
        ended = Replays::new(bus, &server.hub, epoch).run() => ended?,
        () = publish_all(waiting, publisher, epoch) => {}
        () = showing => {}
        () = accept_all(listener, &server, &stop, &mut sessions) => {}
        asked = stop_asked() => asked?,
    }
    drop(until); // all sessions say goodbye at once
    let gone = async { while sessions.join_next().await.is_some() {} };
    if timeout(GOODBYE, gone).await.is_err() {
        eprintln!("stopped without the Close of {} peers", sessions.len());
    }
    Ok(())
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    if cfg!(unix) {
        socket.set_reuseaddr(true)?; // it means something else on Windows
    }
    socket.set_send_buffer_size(SEND_BUFFER)?; // what is accepted inherits it
    socket.bind(address)?;
    socket.listen(4096)
}

#[cfg(unix)]
async fn stop_asked() -> io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let (mut terminate, mut interrupt) =
        (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}

#[cfg(not(unix))]
async fn stop_asked() -> io::Result<()> {
    tokio::signal::ctrl_c().await
}

/// Publishes what clients want published, what waits in one batch.
async fn publish_all<B: Bus>(
    mut jobs: mpsc::Receiver<Job>,
    mut publisher: Publisher<B>,
    epoch: Instant,
) {
    let mut batch = Vec::new();
    let mut fails = false;
    while jobs.recv_many(&mut batch, JOBS).await > 0 {
        let messages = batch.iter().map(|job: &Job| (&*job.channel, &*job.payload));
        let published = publisher.publish(messages).await;
        if let Err(error) = &published
            && !fails
        {
            eprintln!("publishing: {error}");
        }
        fails = published.is_err();
        let numbers = published.unwrap_or_default();
        let now = Time::new(epoch.elapsed());
        for (i, job) in batch.drain(..).enumerate() {
            let Job { who, channel, .. } = job;
            who.tell(
                now,
                &match numbers.get(i) {
                    Some(seq) => format!("published {channel} {seq}"),
                    None => format!("error not published on {channel}"),
                },
            );
        }
    }
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
                    // Nothing is owed to a flood.
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

async fn open(stream: TcpStream, config: &Config) -> Result<WebSocket<TcpStream>, tickwire::Error> {
    let incoming = Incoming::read(stream, config).await?;
    incoming.accept(Accept::default().subprotocols(&[SUBPROTOCOL])).await
}

/// One connection, and what it wants. Dropping it gives that up.
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
    let mut ws = select! {
        accepted = open(stream, &server.config) => accepted?,
        _ = stop.changed() => return Ok(()),
    };
    let Serve { slow, max_behind, .. } = server.options;
    let mut outbox = Outbox::new(slow);
    outbox.max_bytes = max_behind;
    let me = Subscriber::new(id, outbox, server.hub.memory.clone());
    let mut session = Session { server, me, channels: HashSet::new() };
    loop {
        session.feed(&mut ws);
        select! {
            biased; // receiving writes what was fed: before more is
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
    fn feed(&self, ws: &mut WebSocket<TcpStream>) {
        let oldest = self.me.feed(self.now(), ws.sender_mut());
        if let (Some(lag), Some(oldest)) = (&self.server.lag, oldest) {
            lag.record(oldest);
        }
    }

    /// Does what a client wants. Who may do so is for an application to say, here.
    fn heed(&mut self, message: &[u8]) {
        let (now, hub) = (self.now(), &self.server.hub);
        match Wish::parse(message) {
            Ok(Wish::Sub(name, from)) => {
                let most = self.server.options.max_channels;
                if self.channels.len() >= most && !self.channels.contains(name) {
                    return self.me.tell(now, &format!("error at most {most} channels"));
                }
                self.channels.insert(name.to_owned());
                hub.sub(now, name, from, &self.me);
            }
            Ok(Wish::Unsub(name)) => {
                if self.channels.remove(name) {
                    hub.unsub(name, &self.me);
                }
                self.me.tell(now, &format!("unsubscribed {name}"));
            }
            Ok(Wish::Pub(name, payload)) => {
                let job = Job {
                    who: self.me.clone(),
                    channel: name.to_owned(),
                    payload: payload.to_vec(),
                };
                if self.server.jobs.try_send(job).is_err() {
                    self.me.tell(now, &format!("error not published on {name}: too much waits"));
                }
            }
            Err(bad) => {
                let what = if message.starts_with(b"pub ") { "not published: " } else { "" };
                self.me.tell(now, &format!("error {what}{bad}"));
            }
        }
    }

    fn now(&self) -> Time {
        Time::new(self.server.epoch.elapsed())
    }
}

impl Drop for Session<'_> {
    fn drop(&mut self) {
        for name in &self.channels {
            self.server.hub.unsub(name, &self.me);
        }
    }
}
