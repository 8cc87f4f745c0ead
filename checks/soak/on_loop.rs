//! The same server as `on_tokio`, on `tickwire-loop`.
use crate::{
    counts::{Counts, Failure},
    mix::Ending,
    server::{LISTENERS, Served},
};
use std::{
    collections::HashMap,
    sync::{Arc, atomic::Ordering::Relaxed},
    thread,
    time::Duration,
};
use tickwire::{CloseCode, Config, Error, RecvError, handshake::server::Accept};
use tickwire_loop::{Door, End, Event, Handle, Loop, Net, Settings};

/// Until the echo of an announcement has left.
const SOON: Duration = Duration::from_millis(10);

/// What a connection's client has announced.
type Announced = Option<Ending>;

/// Serves on a thread of its own.
pub(crate) fn run(config: Config, counts: &Arc<Counts>) -> Served {
    // After this time a client has given up a server that reads no more.
    let given_up =
        config.heartbeat.map_or(Duration::ZERO, |beat| 2 * (beat.interval + beat.timeout));
    let all = Settings::default().max_connections;
    let mut net = Loop::new(Settings { max_per_address: all, ..Settings::default() })?;
    let door = Door::new(config);
    let mut ports = Vec::new();
    for _ in 0..LISTENERS {
        ports.push(net.net().listen(([127, 0, 0, 1], 0).into(), door.clone())?.port());
    }
    let mut server = Server { counts: counts.clone(), leaving: HashMap::new(), given_up };
    thread::spawn(move || {
        let ended = net.run(|net, event| server.handle(net, event));
        server.counts.fail("loop", &ended.map_or_else(Failure::from, |()| "it ended".into()));
    });
    Ok(ports)
}

struct Server {
    counts: Arc<Counts>,
    /// To be ended when the timer of this number fires.
    leaving: HashMap<u64, (Handle, Ending)>,
    given_up: Duration,
}

impl Server {
    fn handle(&mut self, net: &mut Net<'_, Announced>, event: Event<'_, Announced>) {
        match event {
            Event::Request { answer, .. } => answer.accept(Accept::default(), None),
            Event::Message { from, message, .. } => {
                self.counts.messages.fetch_add(1, Relaxed);
                if let Err(error) = net.send(from, message) {
                    self.counts.fail("send", &error.into());
                }
                let announced = message.as_text().and_then(Ending::announced);
                if let (Some(way), Some(value)) = (announced, net.value_mut(from)) {
                    *value = announced;
                    self.end(net, from, way);
                }
            }
            Event::Timer(number) => {
                if let Some((handle, way)) = self.leaving.remove(&number) {
                    self.leave(net, handle, way);
                }
            }
            Event::Closed { end, value, .. } => {
                if let Err(error) = judge(&end, value) {
                    self.counts.fail(&format!("{value:?}"), &error);
                }
            }
            Event::Open(_) | Event::Control { .. } | Event::Room(_) | Event::Woken => {}
        }
        self.counts.open.store(net.counts().accepted_now as u64, Relaxed);
    }

    fn end(&mut self, net: &mut Net<'_, Announced>, handle: Handle, way: Ending) {
        let after = match way {
            Ending::Client | Ending::Reset | Ending::ClientSilent => return,
            Ending::Server => return net.close(handle, CloseCode::GOING_AWAY),
            Ending::Abort | Ending::Drop => SOON,
            Ending::ServerSilent => {
                net.pause(handle, true);
                self.given_up
            }
        };
        let number = self.counts.messages.load(Relaxed);
        self.leaving.insert(number, (handle, way));
        net.set_timer(net.now() + after, number);
    }

    fn leave(&self, net: &mut Net<'_, Announced>, handle: Handle, way: Ending) {
        if way != Ending::Abort {
            net.remove(handle);
            return;
        }
        let aborted = net.sender(handle).map(|tx| tx.abort(CloseCode::TRY_AGAIN_LATER));
        if !matches!(aborted, Some(Ok(()))) {
            self.counts.fail("abort", &format!("{aborted:?}").into());
        }
    }
}

/// Whether a connection ended as announced.
fn judge(end: &End<'_>, announced: Announced) -> Result<(), Failure> {
    let expected = match (announced, end) {
        (Some(Ending::Client), End::Closed(end)) => end.clean && end.code == 1000,
        (Some(Ending::Server), End::Closed(end)) => end.clean && end.code == 1001,
        (Some(Ending::Abort), End::Closed(end)) => end.clean && end.code == 1013,
        (Some(Ending::Reset), End::Closed(end)) => end.error == Some(RecvError::UnexpectedEof),
        (Some(Ending::Reset), End::Failed(Error::Io(_))) => true,
        (Some(Ending::ClientSilent), End::Closed(end)) => end.error == Some(RecvError::PongTimeout),
        _ => false,
    };
    if expected { Ok(()) } else { Err(format!("{end:?}").into()) }
}
