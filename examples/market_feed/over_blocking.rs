//! The feed over `tickwire::blocking`: two threads for each session, one for each subscriber.
use crate::{
    BoxError, PAGE, PANICKED,
    carrier::Carrier,
    clock,
    feed::{Encoded, Feed, INTERVAL, Market, Outlet, config},
    page,
    subscriber::{Stats, Subscriber, Tally},
    wire::Echo,
};
use std::{
    io::{self, ErrorKind},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc,
        mpsc::{self, Receiver},
    },
    thread::{Builder, scope, sleep},
    time::{Duration, Instant},
};
use tickwire::{
    CloseCode, Config, Error, Prepared,
    blocking::{Incoming, Stream, WebSocket, Writer},
    handshake::server::Accept,
};

/// WebSocket, with threads.
pub(crate) enum Ws {}

impl Carrier for Ws {
    type Tick = Prepared;

    fn target(address: SocketAddr) -> String {
        format!("ws://{address}")
    }

    fn serve(listener: TcpListener, feed: Feed<Prepared>) -> Result<(), BoxError> {
        serve(listener, feed, session)
    }

    fn subscribe(
        url: &str,
        clients: usize,
        limit: Option<Duration>,
        tally: Arc<Tally>,
    ) -> Result<Stats, BoxError> {
        let until = limit.and_then(|limit| Instant::now().checked_add(limit));
        all(clients, &tally, || follow(url, until, &tally))
    }
}

/// Accepts, publishes, and starts a session for each stream; what a session is, is the caller's.
pub(crate) fn serve<T: Encoded>(
    listener: TcpListener,
    mut feed: Feed<T>,
    session: impl Fn(TcpStream, Outlet<T>) -> Result<(), BoxError> + Sync,
) -> Result<(), BoxError> {
    // A thread that waits for a connection could not be told that the feed has ended.
    listener.set_nonblocking(true)?;
    let (session, market) = (&session, &*feed.market());
    scope(|scope| {
        let mut next = Instant::now();
        while feed.publish() {
            while let Some((stream, peer)) = accept(&listener, market) {
                let outlet = feed.outlet();
                let tell =
                    move |error: BoxError| market.tell(format_args!("subscriber {peer}: {error}"));
                let run = move || session(stream, outlet).unwrap_or_else(tell);
                if let Err(error) = Builder::new().spawn_scoped(scope, run) {
                    tell(error.into());
                }
            }
            next += INTERVAL;
            sleep(next.saturating_duration_since(Instant::now()));
        }
        drop((feed, listener)); // by which the sessions know
    });
    Ok(())
}

/// The next connection that is waiting.
fn accept(listener: &TcpListener, market: &Market) -> Option<(TcpStream, SocketAddr)> {
    match listener.accept() {
        Ok(accepted) => return Some(accepted),
        Err(error) if error.kind() == ErrorKind::WouldBlock => {}
        Err(error) => market.tell(format_args!("cannot accept: {error}")),
    }
    None
}

/// How many echoes may wait to be answered; more are forgotten.
const ECHOES: usize = 16;

/// One subscriber, from its opening handshake to its closing one; or a browser that wants the page.
/// This thread writes, another one reads, to answer Pings and the Close.
fn session(stream: TcpStream, mut outlet: Outlet<Prepared>) -> Result<(), BoxError> {
    stream.set_nonblocking(false)?; // on some systems it is as its listener was
    stream.set_nodelay(true)?;
    let (incoming, checked) = Incoming::read_any(stream, &config())?;
    if let Err(error) = checked {
        let answer = page::answer(PAGE, &incoming.request(), error)?;
        return Ok(incoming.reject(answer)?);
    }
    let mut ws = incoming.accept_corked(Accept::default())?;
    let _ = ws.feed(outlet.join())?;
    let (mut reader, mut writer) = ws.into_split()?;
    let (asked, echoes) = mpsc::sync_channel(ECHOES);
    scope(|scope| {
        let reader = scope.spawn(move || -> Result<(), Error> {
            while let Some(said) = reader.recv()? {
                Echo::decode(said.as_bytes(), clock::now()).map(|echo| asked.try_send(echo));
            }
            Ok(())
        });
        // Why the stream failed, if it did, is better known to who reads.
        let _ = write(&mut writer, &mut outlet, &echoes);
        Ok(reader.join().map_err(|_| PANICKED)??)
    })
}

fn write<S: Stream>(
    writer: &mut Writer<S>,
    outlet: &mut Outlet<Prepared>,
    echoes: &Receiver<Echo>,
) -> Result<(), Error> {
    writer.flush()?;
    while let Some(batch) = outlet.blocking_batch() {
        // A flush waits until all is written. What queues up meanwhile, if the subscriber is slow,
        // are batches.
        let due = outlet.due(&batch, outlet.lag(&batch));
        if let Some(snapshot) = due.snapshot {
            let _ = writer.feed(&snapshot)?;
        }
        let n = due.ticks.iter().map_while(|tick| writer.feed(tick).ok()).count();
        outlet.sent(n);
        for echo in echoes.try_iter() {
            let _ = writer.feed(&echo.answer(clock::now()))?;
        }
        writer.flush()?;
    }
    // Also one that is behind gets to see the end.
    if let Some(snapshot) = outlet.catch_up() {
        let _ = writer.feed(&snapshot)?;
    }
    writer.close(outlet.farewell())
}

/// The sum of many.
pub(crate) fn all(
    clients: usize,
    tally: &Tally,
    one: impl Fn() -> Result<Stats, BoxError> + Sync,
) -> Result<Stats, BoxError> {
    let one = || one().inspect_err(|error| tally.fail(error));
    scope(|scope| {
        let start = |_| Builder::new().spawn_scoped(scope, one);
        let threads: io::Result<Vec<_>> = (0..clients).map(start).collect();
        let mut sum = Stats::new()?;
        for thread in threads.inspect_err(|error| tally.fail(error))? {
            sum.add(&crate::join(thread)?)?;
        }
        Ok(sum)
    })
}

fn follow(url: &str, until: Option<Instant>, tally: &Tally) -> Result<Stats, BoxError> {
    let mut subscriber = Subscriber::new(tally)?;
    let mut ws = tickwire::blocking::connect(url, &Config::default())?;
    receive(&mut ws, &mut subscriber, until)?;
    Ok(subscriber.into_stats())
}

fn receive<S: Stream>(
    ws: &mut WebSocket<S>,
    to: &mut Subscriber<'_>,
    until: Option<Instant>,
) -> Result<(), BoxError> {
    if until.is_some() {
        ws.set_read_timeout(Some(Duration::from_millis(50)))?; // to look at the clock
    }
    loop {
        match ws.recv_to_reply() {
            Ok(Some(received)) => {
                to.take(received.message.as_bytes())?;
                if received.info().more {
                    continue;
                }
                to.settle();
            }
            Ok(None) => return Ok(()),
            Err(Error::WouldBlock) => {}
            Err(error) => return Err(error.into()),
        }
        if until.is_some_and(|until| Instant::now() >= until) {
            ws.set_read_timeout(None)?;
            return Ok(ws.close(CloseCode::NORMAL)?);
        }
    }
}
