//! The clients: so many connections at once, each replaced by a new one when its time has come.
use crate::{
    counts::Failure,
    mix::{Ending, Exchange, Kind, LONGEST, text},
    on_tokio::{closed, drain, unanswered},
    server::config,
    tally::{Counts, Tally},
};
use std::{
    net::Ipv4Addr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use testkit::Rng;
use tickwire::{
    Chunk, CloseCode, Config, DataKind, Error, Event, Heartbeat, Message, RecvError,
    handshake::client::Request,
    tokio::{WebSocket, client},
};
use tokio::{
    net::TcpStream,
    sync::Semaphore,
    task::JoinSet,
    time::{Instant, sleep_until, timeout_at},
};

type Ws = WebSocket<TcpStream>;

/// So many may connect at the same time.
const CONNECTING: usize = 256;

pub(crate) struct Load {
    pub(crate) connections: usize,
    /// Ends, and connects, a second.
    pub(crate) churn: f64,
    pub(crate) duration: Duration,
    /// Exchanges a second on each connection.
    pub(crate) rate: f64,
    /// How many of a hundred offer permessage-deflate.
    pub(crate) deflate: usize,
    pub(crate) heartbeat: Heartbeat,
}

impl Load {
    pub(crate) fn config(&self, deflate: bool) -> Config {
        Config { heartbeat: Some(self.heartbeat), ..config(deflate) }
    }
}

pub(crate) struct Clients {
    load: Load,
    plain: Config,
    compressed: Config,
    requests: Vec<(u16, Request)>,
    began: Instant,
    connecting: Semaphore,
    tally: Arc<Tally>,
    /// Connections of which one end has gone silent: nobody waits for them but the end.
    silent: Mutex<JoinSet<()>>,
}

impl Clients {
    pub(crate) fn new(load: Load, ports: &[u16], tally: Arc<Tally>) -> Result<Arc<Self>, Failure> {
        let request = |&port| Ok((port, Request::new(&format!("ws://127.0.0.1:{port}/"))?));
        let requests = ports.iter().map(request).collect::<Result<_, Failure>>()?;
        Ok(Arc::new(Self {
            plain: load.config(false),
            compressed: load.config(true),
            load,
            requests,
            began: Instant::now(),
            connecting: Semaphore::new(CONNECTING),
            tally,
            silent: Mutex::default(),
        }))
    }

    fn tally(&self) -> MutexGuard<'_, Counts> {
        self.tally.lock()
    }

    fn silent(&self) -> MutexGuard<'_, JoinSet<()>> {
        self.silent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn until(&self) -> Instant {
        self.began + self.load.duration
    }

    /// Connects, sends and ends, for as long as the load lasts and the last connections take to
    /// end.
    pub(crate) async fn run(self: Arc<Self>) {
        let mut places = JoinSet::new();
        for place in 0..self.load.connections {
            places.spawn(self.clone().hold(place));
        }
        while places.join_next().await.is_some() {}
        let mut silent = std::mem::take(&mut *self.silent());
        while silent.join_next().await.is_some() {}
    }

    /// One connection after the other. When each ends is known from the start, so that they come
    /// evenly, and none is left out because the one before took long.
    async fn hold(self: Arc<Self>, place: usize) {
        let Load { connections, churn, .. } = self.load;
        let mut rng = Rng::new(place as u64 + 1);
        let mut end = self.began + Duration::from_secs_f64((place + 1) as f64 / churn);
        while end < self.until() {
            self.live(place, end, &mut rng).await;
            end += Duration::from_secs_f64(connections as f64 / churn);
        }
        self.live(place, self.until(), &mut rng).await;
    }

    async fn live(self: &Arc<Self>, place: usize, end: Instant, rng: &mut Rng) {
        let last = end == self.until();
        let way = if last { None } else { Ending::draw(rng) }.unwrap_or(Ending::Client);
        let lived = self.connection(place, end, way, rng).await;
        match lived {
            Ok(()) if last => {}
            Ok(()) => *self.tally().ended.entry(way.name()).or_default() += 1,
            Err(error) => self.tally.fail(format_args!("{}: {error}", way.name())),
        }
    }

    async fn connection(
        self: &Arc<Self>,
        place: usize,
        end: Instant,
        way: Ending,
        rng: &mut Rng,
    ) -> Result<(), Failure> {
        let mut ws = self.connect(place).await?;
        self.tally().open += 1;
        let done = self.exchange_until(end, &mut ws, rng).await;
        self.tally().open -= 1;
        done?;
        self.end(ws, way, rng).await
    }

    async fn connect(&self, place: usize) -> Result<Ws, Failure> {
        let _permit = self.connecting.acquire().await?;
        let (port, request) = &self.requests[place % self.requests.len()];
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, *port)).await?;
        stream.set_nodelay(true)?;
        let deflates = place % 100 < self.load.deflate;
        let config = if deflates { &self.compressed } else { &self.plain };
        let ws = client(stream, request, config).await?;
        if ws.connection().negotiated().deflate.is_some() != deflates {
            return Err("not compressed as agreed".into());
        }
        self.tally().connects += 1;
        Ok(ws)
    }

    async fn exchange_until(
        &self,
        end: Instant,
        ws: &mut Ws,
        rng: &mut Rng,
    ) -> Result<(), Failure> {
        // Twice the mean at most, the mean on the average.
        let pause = |rng: &mut Rng| {
            let share = rng.below(2001) as f64 / 1000.0;
            Duration::from_secs_f64(share / self.load.rate)
        };
        let mut next = Instant::now() + pause(rng);
        while next < end {
            idle(ws, next).await?;
            self.exchange(ws, rng).await?;
            // One that took long is not made up for: it would come to a standstill.
            next = Instant::now() + pause(rng);
        }
        idle(ws, end).await
    }

    async fn exchange(&self, ws: &mut Ws, rng: &mut Rng) -> Result<(), Failure> {
        let Some(exchange) = Exchange::draw(rng) else { return Ok(()) };
        let mut messages = 1;
        match exchange {
            Exchange::Small => {
                let len = 16 + rng.below(257);
                let message = rng.bytes(len);
                let began = Instant::now();
                ws.send(&message).await?;
                echoed(ws, (&message).into()).await?;
                self.tally().times.record(began.elapsed());
            }
            Exchange::Text => {
                let len = 100 + rng.below(1001);
                let text = text(rng, len);
                ws.send(&text).await?;
                echoed(ws, (&text).into()).await?;
            }
            Exchange::Large => {
                let len = (32 << 10) + rng.below(LONGEST - (32 << 10));
                let message = rng.bytes(len);
                feed_pieces(ws, &message, true, rng).await?;
                ws.flush().await?;
                echoed(ws, (&message).into()).await?;
            }
            Exchange::Burst => {
                messages = 2 + rng.below(15);
                let lens: Vec<_> = (0..messages).map(|_| 16 + rng.below(257)).collect();
                let burst: Vec<_> = lens.into_iter().map(|len| rng.bytes(len)).collect();
                for message in &burst {
                    let _ = ws.feed(message)?;
                }
                ws.flush().await?;
                for message in &burst {
                    echoed(ws, message.into()).await?;
                }
            }
            Exchange::Ping => {
                messages = 0;
                let len = 8 + rng.below(100);
                let payload = rng.bytes(len);
                ws.sender_mut().ping(&payload)?;
                ws.flush().await?;
                loop {
                    match ws.recv_event().await? {
                        Some(Event::Pong(pong)) if pong == payload => break,
                        Some(Event::Ping(_) | Event::Pong(_)) => {} // the heartbeats'
                        other => return Err(format!("not a Pong: {other:?}").into()),
                    }
                }
            }
        }
        let tally = &mut *self.tally();
        tally.messages += messages as u64;
        *tally.exchanges.entry(exchange.name()).or_default() += 1;
        Ok(())
    }

    async fn end(self: &Arc<Self>, mut ws: Ws, way: Ending, rng: &mut Rng) -> Result<(), Failure> {
        let announcement = way.announcement();
        ws.send(&announcement).await?;
        echoed(&mut ws, (&announcement).into()).await?;
        match way {
            Ending::Client => {
                ws.close(CloseCode::NORMAL).await?;
                closed(&mut ws, CloseCode::NORMAL).await
            }
            Ending::Server => closed(&mut ws, CloseCode::GOING_AWAY).await,
            Ending::Abort => closed(&mut ws, CloseCode::TRY_AGAIN_LATER).await,
            Ending::Reset => {
                ws.send(&rng.bytes(100)).await?;
                let message = rng.bytes(20_000);
                feed_pieces(&mut ws, &message, false, rng).await?;
                ws.flush().await?;
                // Its echo is there and unread, so that the system resets the connection.
                Ok(ws.get_ref().readable().await?)
            }
            Ending::Drop => match ws.recv().await {
                Err(Error::Recv(RecvError::UnexpectedEof)) => Ok(()),
                other => Err(format!("not the end of the stream: {other:?}").into()),
            },
            Ending::ClientSilent => self.apart(way, drain(ws)),
            Ending::ServerSilent => self.apart(way, async move { unanswered(&mut ws).await }),
        }
    }

    /// The rest of a connection, while another one takes its place.
    fn apart(
        self: &Arc<Self>,
        way: Ending,
        rest: impl Future<Output = Result<(), Failure>> + Send + 'static,
    ) -> Result<(), Failure> {
        let clients = self.clone();
        let mut silent = self.silent();
        while silent.try_join_next().is_some() {}
        silent.spawn(async move {
            if let Err(error) = rest.await {
                clients.tally.fail(format_args!("{}: {error}", way.name()));
            }
        });
        Ok(())
    }
}

/// Waits as a client that has nothing to say: it receives.
async fn idle(ws: &mut Ws, until: Instant) -> Result<(), Failure> {
    if let Ok(received) = timeout_at(until, ws.recv()).await {
        return Err(format!("received while idle: {:?}", received?).into());
    }
    sleep_until(until).await;
    Ok(())
}

/// The next message is this one.
async fn echoed(ws: &mut Ws, sent: Message<'_>) -> Result<(), Failure> {
    match ws.recv().await? {
        Some(message) if message == sent => Ok(()),
        other => Err(format!("sent {sent:?}, received {other:?}").into()),
    }
}

/// A binary message in pieces of up to 16 KiB; without its last piece, unless `whole`.
async fn feed_pieces(
    ws: &mut Ws,
    message: &[u8],
    whole: bool,
    rng: &mut Rng,
) -> Result<(), Failure> {
    let (mut rest, mut first) = (message, true);
    while !rest.is_empty() {
        let (data, behind) = rng.cut(rest, 16 << 10);
        rest = behind;
        ws.ready().await?;
        let last = whole && rest.is_empty();
        let _ = ws.sender_mut().feed_chunk(Chunk { kind: DataKind::Binary, first, data, last })?;
        first = false;
    }
    Ok(())
}
