//! The feed over `tickwire::tokio`: a task for each session, a task for each subscriber.
use crate::{
    BoxError, PAGE, bare_tcp,
    feed::{Feed, INTERVAL, Outlet, config},
    page, runtime,
    subscriber::{Stats, Subscriber},
    wire,
};
use std::net::SocketAddr;
use tickwire::{Config, handshake::server::Accept, tokio::Incoming};
use tokio::{
    net::{TcpListener, TcpStream},
    select,
    task::JoinSet,
    time::{MissedTickBehavior, interval, sleep},
};

/// Serves until the feed and then the last session have ended.
pub(crate) fn serve(listener: std::net::TcpListener, feed: Feed) -> Result<(), BoxError> {
    runtime()?.block_on(accept_all(listener, feed))
}

/// Subscribes `clients` times, until the server ends the feed.
pub(crate) fn subscribe(to: SocketAddr, clients: usize, bare: bool) -> Result<Stats, BoxError> {
    runtime()?.block_on(async {
        let mut tasks = JoinSet::new();
        for _ in 0..clients {
            match bare {
                true => tasks.spawn(bare_tcp::follow(to)),
                false => tasks.spawn(follow(format!("ws://{to}"))),
            };
        }
        let mut sum = Stats::new()?;
        while let Some(stats) = tasks.join_next().await {
            sum.add(&stats??)?;
        }
        Ok(sum)
    })
}

/// Accepts, publishes, and starts a session for each stream.
async fn accept_all(listener: std::net::TcpListener, mut feed: Feed) -> Result<(), BoxError> {
    let listener = TcpListener::from_std(listener)?;
    let (mut sessions, bare) = (JoinSet::new(), feed.bare);
    let start = |(stream, peer): (TcpStream, SocketAddr), outlet| async move {
        let ended = match bare {
            true => bare_tcp::session(stream, outlet).await,
            false => session(stream, outlet).await,
        };
        if let Err(error) = ended {
            eprintln!("market_feed: subscriber {peer}: {error}");
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
                    eprintln!("market_feed: cannot accept: {error}");
                    sleep(INTERVAL).await; // most likely no file descriptor is left
                }
            },
            Some(_) = sessions.join_next() => {}
        }
    }
    drop((feed, listener)); // so the sessions learn of the end
    while sessions.join_next().await.is_some() {}
    Ok(())
}

/// Serves one subscriber, including both handshakes, or a browser that wants the page.
async fn session(stream: TcpStream, mut outlet: Outlet) -> Result<(), BoxError> {
    stream.set_nodelay(true)?;
    let incoming = Incoming::read_any(stream, &config()).await?;
    if let Some(error) = incoming.error() {
        let answer = page::answer(PAGE, &incoming.request(), error)?;
        return Ok(incoming.reject(answer).await?);
    }
    let mut ws = incoming.accept_corked(Accept::default())?;
    let _ = ws.feed(outlet.join())?;
    loop {
        select! {
            biased;
            // `recv_to_reply` also writes what was fed below, as far as the stream accepts it, and
            // answers Pings and the Close. Subscribers send little else.
            received = ws.recv_to_reply() => match received? {
                Some(said) => {
                    if let Some(answer) = wire::echo(said.message.as_bytes()) {
                        let _ = said.sender.feed(&answer);
                    }
                }
                None => return Ok(()),
            },
            batch = outlet.batch() => {
                let Some(batch) = batch else { break };
                let (snapshot, ticks) = outlet.due(&batch, ws.sender().buffered_amount());
                // Feeding fails only if the subscriber is leaving and needs no ticks.
                let _ = snapshot.map(|snapshot| ws.feed(&snapshot));
                let fed = ticks.iter().map_while(|tick| ws.feed(tick).ok());
                outlet.done += fed.count() as u64;
            }
        }
    }
    // A subscriber that is behind also gets the final state.
    if let Some(snapshot) = outlet.catch_up() {
        ws.ready().await?;
        let _ = ws.feed(&snapshot);
    }
    ws.close(outlet.market.farewell()).await?;
    Ok(())
}

async fn follow(url: String) -> Result<Stats, BoxError> {
    let mut subscriber = Subscriber::new()?;
    let mut ws = tickwire::tokio::connect(&url, &Config::default()).await?;
    while let Some(received) = ws.recv_to_reply().await? {
        subscriber.take(received.message.as_bytes())?;
    }
    Ok(subscriber.stats)
}
