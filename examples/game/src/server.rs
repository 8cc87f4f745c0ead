//! The server around the world: one task moves it on, each client has a task of its own.
//!
//! ```text
//! session -- input --> World (behind a lock) -- step, encode once --> Frame -- watch --> sessions
//! ```
//!
//! A session that is late sees the newest frame only, and a client whose stream is full gets the newest
//! message of each kind once there is room: its queue conflates. Nobody waits for it, and there is
//! nothing it would have to catch up with.
use crate::{
    BoxError, PAGE, page,
    wire::{self, SUBPROTOCOL, Said},
    world::{Id, Input, MAX_PLAYERS, RATE, World},
};
use places::{Limits, Place, Places};
use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tickwire::{
    CloseCode, CloseFrame, Config, Heartbeat, Prepared, Time,
    handshake::{
        HandshakeError,
        server::{Accept, Origins, RequestHead},
    },
    tokio::{Incoming, MessageOrRoom, WebSocket},
};
use tickwire_parts::{Outbox, Overflow};
use tokio::{
    net::{TcpListener, TcpStream},
    select,
    sync::watch,
    task::JoinSet,
    time::{Instant, interval, sleep, timeout},
};

/// Connections that may be open: players, and those who ask for the page or have not said who they are.
/// Behind one address may be a whole household.
const LIMITS: Limits = Limits {
    handshakes: 2 * MAX_PLAYERS,
    each_handshakes: MAX_PLAYERS / 4,
    peers: 4 * MAX_PLAYERS,
    each: MAX_PLAYERS / 2, // or one address has the whole world
};

/// How long a client may take to say who it is.
const PATIENCE: Duration = Duration::from_secs(10);

/// A client that for so long has not taken a message is gone.
const MAX_AGE: Duration = Duration::from_secs(5);

/// What of the queue may be handed to the connection while it is not written: about four steps of a full
/// world.
const MAX_UNSENT: usize = 1 << 10;

/// The kinds of message, of each of which the newest replaces an older one that waits.
mod key {
    pub(super) const SNAPSHOT: u64 = 1;
    pub(super) const OWN: u64 = 2;
    pub(super) const ORBS: u64 = 3;
    pub(super) const ROSTER: u64 = 4;
    pub(super) const PONG: u64 = 5;
}

/// What all clients are told after a step.
#[derive(Clone)]
struct Frame {
    snapshot: Prepared,
    /// With their versions, since they change less often than that.
    orbs: (u32, Prepared),
    roster: (u32, Prepared),
}

impl Frame {
    fn new(world: &World) -> Self {
        Self {
            snapshot: Prepared::new(&wire::snapshot(world)[..]),
            orbs: (world.orbs_version, Prepared::new(&wire::orbs(world)[..])),
            roster: (world.roster_version, Prepared::new(&wire::roster(world)[..])),
        }
    }

    /// That of the next step, which shares with this one what has not changed.
    fn next(&self, world: &World) -> Self {
        let mut next = Self { snapshot: Prepared::new(&wire::snapshot(world)[..]), ..self.clone() };
        if next.orbs.0 != world.orbs_version {
            next.orbs = (world.orbs_version, Prepared::new(&wire::orbs(world)[..]));
        }
        if next.roster.0 != world.roster_version {
            next.roster = (world.roster_version, Prepared::new(&wire::roster(world)[..]));
        }
        next
    }
}

#[derive(Clone)]
struct Game {
    world: Arc<Mutex<World>>,
    /// Ends when the server does.
    frames: watch::Receiver<Frame>,
    origins: Option<Origins>,
}

impl Game {
    fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the page that asks may play: one of those named, or else the one we serve. Programs that
    /// are no browsers name no page.
    fn allows(&self, request: &RequestHead<'_>) -> bool {
        match (&self.origins, request.host()) {
            (Some(origins), _) => origins.allows(request),
            (None, Some(host)) => {
                let own = Origins::new([format!("http://{host}"), format!("https://{host}")]);
                own.is_ok_and(|own| own.allows(request))
            }
            (None, None) => false,
        }
    }
}

/// A player's place in the world, until dropped.
struct Seat<'g> {
    game: &'g Game,
    id: Id,
}

impl<'g> Seat<'g> {
    fn take(game: &'g Game, name: &str) -> Option<Self> {
        let id = game.world().join(name)?;
        Some(Self { game, id })
    }

    fn input(&self, input: Input) {
        self.game.world().input(self.id, input);
    }

    fn own(&self) -> Option<Vec<u8>> {
        self.game.world().players.get(&self.id).map(wire::own)
    }
}

impl Drop for Seat<'_> {
    fn drop(&mut self) {
        self.game.world().leave(self.id);
    }
}

/// Serves until `stop`, and then says goodbye to all.
pub async fn serve(
    listener: TcpListener,
    origins: Option<Origins>,
    stop: impl Future<Output = ()>,
) {
    let world = World::new(u64::from(std::process::id()));
    let (frames, receiver) = watch::channel(Frame::new(&world));
    let game = Game { world: Arc::new(Mutex::new(world)), frames: receiver, origins };
    let places = Places::new(LIMITS);
    let mut sessions = JoinSet::new();
    // Steps that were missed are made up for: the clients have counted them.
    let mut beat = interval(Duration::from_secs(1) / RATE);
    tokio::pin!(stop);
    loop {
        select! {
            _ = &mut stop => break,
            _ = beat.tick() => {
                let mut world = game.world();
                world.step();
                frames.send_modify(|frame| *frame = frame.next(&world));
            }
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => if let Some(place) = places.enter(peer.ip()) {
                    let game = game.clone();
                    sessions.spawn(async move {
                        if let Err(error) = session(stream, place, &game).await {
                            eprintln!("{peer}: {error}");
                        }
                    });
                },
                Err(error) => {
                    eprintln!("cannot accept: {error}");
                    sleep(Duration::from_millis(50)).await; // out of file descriptors, most likely
                }
            },
            Some(_) = sessions.join_next() => {}
        }
    }
    drop((frames, listener)); // by which the sessions know
    while sessions.join_next().await.is_some() {}
}

/// A client has nothing long to say, and says something all the time.
fn config() -> Config {
    Config {
        max_message: 256,
        write_timeout: MAX_AGE,
        heartbeat: Some(Heartbeat::new(Duration::from_secs(5), Duration::from_secs(10))),
        ..Config::default()
    }
}

/// One connection, from its opening handshake to its end.
async fn session(stream: TcpStream, mut place: Place, game: &Game) -> Result<(), BoxError> {
    stream.set_nodelay(true)?;
    let (incoming, checked) = Incoming::read_any(stream, &config()).await?;
    if let Err(error) = checked {
        let answer = page::answer(PAGE, &incoming.request(), error)?;
        return Ok(incoming.reject(answer).await?);
    }
    if !game.allows(&incoming.request()) {
        return Ok(incoming.reject(HandshakeError::OriginNotAllowed).await?);
    }
    let mut ws = incoming.accept(Accept::default().subprotocols(&[SUBPROTOCOL])).await?;
    let seat = match timeout(PATIENCE, ws.recv()).await {
        Ok(said) => match said?.map(|said| Said::decode(said.as_bytes())) {
            Some(Some(Said::Join(name))) => Seat::take(game, name).ok_or(FULL),
            Some(_) => Err(NOT_UNDERSTOOD),
            None => return Ok(()),
        },
        Err(_) => Err(SILENT),
    };
    place.opened(); // and it has said who it is
    let farewell = match seat {
        Ok(seat) => match play(&mut ws, &seat).await? {
            Some(farewell) => farewell,
            None => return Ok(()),
        },
        Err(farewell) => farewell,
    };
    Ok(ws.close(farewell).await?)
}

const FULL: CloseFrame<'static> =
    CloseFrame::with_reason(CloseCode::TRY_AGAIN_LATER, "the world is full");
const SILENT: CloseFrame<'static> =
    CloseFrame::with_reason(CloseCode::POLICY_VIOLATION, "who are you?");
const NOT_UNDERSTOOD: CloseFrame<'static> =
    CloseFrame::with_reason(CloseCode::POLICY_VIOLATION, "not understood");
const STOPS: CloseFrame<'static> =
    CloseFrame::with_reason(CloseCode::GOING_AWAY, "the server stops");

/// Plays until the client leaves, or there is a reason to part with it.
async fn play(
    ws: &mut WebSocket<TcpStream>,
    seat: &Seat<'_>,
) -> Result<Option<CloseFrame<'static>>, BoxError> {
    let began = Instant::now();
    let now = || Time::new(began.elapsed());
    let mut outbox = Outbox::new(Overflow::Conflate);
    outbox.max_age = Some(MAX_AGE);
    outbox.max_unsent = MAX_UNSENT;
    let mut frames = seat.game.frames.clone();
    frames.mark_changed();
    let mut seen = (None, None);
    // What a push returns says that the client was too slow; `feed` then disconnects it.
    let _ = outbox.push(now(), wire::welcome(seat.id));
    loop {
        let _ = outbox.feed(now(), ws.sender_mut()); // closed: the next call says why
        select! {
            received = ws.recv_or_room(outbox.max_unsent) => match received? {
                MessageOrRoom::Message(said) => match Said::decode(said.as_bytes()) {
                    Some(Said::Input(input)) => seat.input(input),
                    Some(Said::Ping(own)) => {
                        let _ = outbox.push_keyed(now(), key::PONG, wire::pong(own));
                    }
                    Some(Said::Join(_)) | None => return Ok(Some(NOT_UNDERSTOOD)),
                },
                MessageOrRoom::Room => {}
                MessageOrRoom::Closed => return Ok(None),
            },
            changed = frames.changed() => {
                if changed.is_err() {
                    return Ok(Some(STOPS));
                }
                let frame = frames.borrow_and_update().clone();
                // Who they are goes before where they are.
                if seen.0.replace(frame.roster.0) != Some(frame.roster.0) {
                    let _ = outbox.push_keyed(now(), key::ROSTER, frame.roster.1);
                }
                if seen.1.replace(frame.orbs.0) != Some(frame.orbs.0) {
                    let _ = outbox.push_keyed(now(), key::ORBS, frame.orbs.1);
                }
                let _ = outbox.push_keyed(now(), key::SNAPSHOT, frame.snapshot);
                if let Some(own) = seat.own() {
                    let _ = outbox.push_keyed(now(), key::OWN, own);
                }
            }
        }
    }
}
