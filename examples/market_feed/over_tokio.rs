//! The feed over `tickwire::tokio`: a task for each session, a task for each subscriber.
use crate::{
    BoxError, PAGE,
    carrier::Carrier,
    clock,
    feed::{Encoded, Feed, INTERVAL, Outlet, config},
    page, runtime,
    subscriber::{Stats, Subscriber, Tally},
    wire::Echo,
};
use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};
use tickwire::{
    CloseCode, Config, Prepared,
    handshake::server::Accept,
    tokio::{Incoming, WebSocket},
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    select,
    task::JoinSet,
    time::{MissedTickBehavior, interval, sleep, timeout_at},
};

/// WebSocket, with tasks.
pub(crate) enum Ws {}

impl Carrier for Ws {
    type Tick = Prepared;

    fn target(address: SocketAddr) -> String {
        format!("ws://{address}")
    }

    fn serve(listener: std::net::TcpListener, feed: Feed<Prepared>) -> Result<(), BoxError> {
        runtime()?.block_on(serve(listener, feed, session))
    }

    fn subscribe(
        url: &str,
        clients: usize,
        limit: Option<Duration>,
        tally: Arc<Tally>,
    ) -> Result<Stats, BoxError> {
        let until = limit.and_then(|limit| Instant::now().checked_add(limit));
        let url: Arc<str> = url.into();
        runtime()?.block_on(all(clients, || follow(url.clone(), until, tally.clone())))
    }
}

/// Accepts, publishes, and starts a session for each stream; what a session is, is the caller's.
pub(crate) async fn serve<T, F>(
    listener: std::net::TcpListener,
    mut feed: Feed<T>,
    session: impl Fn(TcpStream, Outlet<T>) -> F,
) -> Result<(), BoxError>
where
    T: Encoded,
    F: Future<Output = Result<(), BoxError>> + Send + 'static,
{
    let listener = TcpListener::from_std(listener)?;
    let market = feed.market();
    let mut sessions = JoinSet::new();
    let start = |(stream, peer): (TcpStream, SocketAddr), outlet| {
        let (session, market) = (session(stream, outlet), market.clone());
        async move {
            if let Err(error) = session.await {
                market.tell(format_args!("subscriber {peer}: {error}"));
            }
        }
    };
    let mut beat = interval(INTERVAL);
    beat.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        select! {
            _ = beat.tick() => if !feed.publish() {
                break;
            },
            accepted = listener.accept() => match accepted {
                Ok(accepted) => drop(sessions.spawn(start(accepted, feed.outlet()))),
                Err(error) => {
                    market.tell(format_args!("cannot accept: {error}"));
                    sleep(INTERVAL).await; // out of file descriptors, most likely
                }
            },
            Some(_) = sessions.join_next() => {}
        }
    }
    drop((feed, listener)); // by which the sessions know
    while sessions.join_next().await.is_some() {}
    Ok(())
}

/// One subscriber, from its opening handshake to its closing one; or a browser that wants the page.
async fn session(stream: TcpStream, mut outlet: Outlet<Prepared>) -> Result<(), BoxError> {
    stream.set_nodelay(true)?;
    let (incoming, checked) = Incoming::read_any(stream, &config()).await?;
    if let Err(error) = checked {
        let answer = page::answer(PAGE, &incoming.request(), error)?;
        return Ok(incoming.reject(answer).await?);
    }
    let mut ws = incoming.accept_corked(Accept::default())?;
    let _ = ws.feed(outlet.join())?;
    loop {
        select! {
            biased;
            // Writes what was fed below, as far as the stream takes it, and answers Pings and the
            // Close. Subscribers have little else to say.
            received = ws.recv_to_reply() => match received? {
                Some(said) => if let Some(echo) = Echo::decode(said.message.as_bytes(), clock::now()) {
                    let _ = said.sender.feed(&echo.answer(clock::now()));
                },
                None => return Ok(()),
            },
            batch = outlet.batch() => {
                let Some(batch) = batch else { break };
                let due = outlet.due(&batch, ws.sender().buffered_amount());
                // What cannot be fed is what a subscriber that just leaves does not miss.
                let _ = due.snapshot.map(|snapshot| ws.feed(&snapshot));
                let fed = due.ticks.iter().map_while(|tick| ws.feed(tick).ok());
                outlet.sent(fed.count());
            }
        }
    }
    // Also one that is behind gets to see the end.
    if let Some(snapshot) = outlet.catch_up() {
        ws.ready().await?;
        let _ = ws.feed(&snapshot);
    }
    ws.close(outlet.farewell()).await?;
    Ok(())
}

/// The sum of many.
pub(crate) async fn all<F>(clients: usize, one: impl Fn() -> F) -> Result<Stats, BoxError>
where
    F: Future<Output = Result<Stats, BoxError>> + Send + 'static,
{
    let mut tasks: JoinSet<_> = (0..clients).map(|_| one()).collect();
    let mut sum = Stats::new()?;
    while let Some(stats) = tasks.join_next().await {
        sum.add(&stats??)?;
    }
    Ok(sum)
}

async fn follow(
    url: Arc<str>,
    until: Option<Instant>,
    tally: Arc<Tally>,
) -> Result<Stats, BoxError> {
    let mut subscriber = Subscriber::new(&tally)?;
    let mut ws = tickwire::tokio::connect(&url, &Config::default()).await?;
    let received = receive(&mut ws, &mut subscriber);
    match until {
        None => received.await?,
        Some(until) => match timeout_at(until.into(), received).await {
            Ok(received) => received?,
            Err(_) => ws.close(CloseCode::NORMAL).await?,
        },
    }
    Ok(subscriber.into_stats())
}

async fn receive<S>(ws: &mut WebSocket<S>, to: &mut Subscriber<'_>) -> Result<(), BoxError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    while let Some(received) = ws.recv_to_reply().await? {
        to.take(received.message.as_bytes())?;
        if !received.info().more {
            to.settle();
        }
    }
    Ok(())
}
