//! Calls of many tasks over one connection, and over the next one when that is lost.
//!
//! ```text
//! call -- request --> Driver -- number, request --> server
//! call <-- answer --- Driver <-- number, answer ---
//! ```
//!
//! One task owns the WebSocket, so there is no lock, and requests of several tasks leave in one write.
//! A call that is over, however it ended, leaves nothing here: its answer is dropped when it comes.
use super::wire;
use std::{
    collections::HashMap,
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};
use tickwire::{
    CloseCode, CloseFrame, Config, Dial, Error, Position, Sender,
    handshake::client::Request,
    tokio::{MessageOrRoom, WebSocket},
};
use tickwire_parts::Backoff;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot},
    time::{Instant, sleep, timeout_at},
};

/// Why a call has no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CallError {
    /// The request was not written, or not all of it: the server cannot have acted on it.
    NotSent,
    /// The request was written, then the connection was lost: the server may have acted on it.
    Lost,
    /// There was no answer in time: the server may have acted on the request, or will yet.
    TimedOut,
    /// Not sent either, and no later call will be: the [`Driver`] has ended.
    Ended,
}

impl fmt::Display for CallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotSent => "not sent",
            Self::Lost => "the connection was lost before the answer came",
            Self::TimedOut => "no answer in time",
            Self::Ended => "not sent: there will be no connection any more",
        })
    }
}

impl std::error::Error for CallError {}

type Answer = Result<Vec<u8>, CallError>;

/// Makes calls, from any number of tasks: each has a clone.
#[derive(Clone)]
pub(crate) struct Client {
    /// Bounded by `places`.
    commands: mpsc::UnboundedSender<Command>,
    places: Arc<Semaphore>,
    number: Arc<AtomicU64>,
}

/// What the driver is to do.
enum Command {
    Call(u64, Call),
    /// The call with this number is over.
    Forget(u64),
}

struct Call {
    request: Vec<u8>,
    /// Set by whoever is first: the driver that feeds the request, or the caller that gives up.
    begun: Arc<AtomicBool>,
    waiting: Waiting,
}

struct Waiting {
    answer: oneshot::Sender<Answer>,
    _place: OwnedSemaphorePermit,
}

impl Client {
    /// A client, and what has to run for it. Calls beyond `in_flight` at a time wait for a place.
    pub(crate) fn new(in_flight: usize) -> (Self, Driver) {
        let (commands, received) = mpsc::unbounded_channel();
        let places = Arc::new(Semaphore::new(in_flight));
        let client = Self { commands, places, number: Arc::default() };
        (client, Driver { commands: received, waiting: HashMap::new() })
    }

    /// Sends a request, and returns its answer. It waits for a place, for a connection and for the
    /// answer, together no longer than `within`. Dropping the future gives the call up.
    pub(crate) async fn call(&self, request: Vec<u8>, within: Duration) -> Answer {
        let deadline = Instant::now() + within;
        let place = timeout_at(deadline, self.places.clone().acquire_owned()).await;
        let Ok(Ok(place)) = place else { return Err(CallError::NotSent) };
        let number = self.number.fetch_add(1, Relaxed);
        let (begun, (answer, answered)) = (Arc::new(AtomicBool::new(false)), oneshot::channel());
        let waiting = Waiting { answer, _place: place };
        let call = Call { request, begun: begun.clone(), waiting };
        self.commands.send(Command::Call(number, call)).map_err(|_| CallError::Ended)?;
        let over = Over { client: self, number, begun };
        match timeout_at(deadline, answered).await {
            Ok(Ok(answer)) => answer,
            _ if over.was_not_begun() => Err(CallError::NotSent),
            Ok(Err(_)) => Err(CallError::Lost), // the driver was dropped
            Err(_) => Err(CallError::TimedOut),
        }
    }

    /// How many more calls would get a place now.
    #[allow(dead_code)] // for the test
    pub(crate) fn free(&self) -> usize {
        self.places.available_permits()
    }
}

/// Gives a call up when it is dropped, with the future of the caller or at its end.
struct Over<'c> {
    client: &'c Client,
    number: u64,
    begun: Arc<AtomicBool>,
}

impl Over<'_> {
    /// From here on the driver will not begin it either.
    fn was_not_begun(&self) -> bool {
        !self.begun.swap(true, Relaxed)
    }
}

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.was_not_begun();
        let _ = self.client.commands.send(Command::Forget(self.number));
    }
}

/// Owns the connection.
pub(crate) struct Driver {
    commands: mpsc::UnboundedReceiver<Command>,
    /// The calls that were fed, each with where its request ends in what was.
    waiting: HashMap<u64, (Position, Waiting)>,
}

impl Driver {
    /// Connects as often as it takes. Ends once all clients are dropped, or when another attempt would
    /// not help: with the code of the Close, or an error such as status 401.
    pub(crate) async fn run(
        mut self,
        request: &Request,
        config: &Config,
        mut backoff: Backoff,
    ) -> Result<u16, Error> {
        loop {
            let ended = match Dial::new(request).connect(config).await {
                Ok(mut ws) => {
                    let opened = Instant::now();
                    let ended = self.drive(&mut ws).await;
                    backoff.connected_for(opened.elapsed());
                    self.settle(ws.sender());
                    ended
                }
                Err(error) => Err(error),
            };
            let delay = match &ended {
                Ok(code) => backoff.after_close(*code),
                Err(error) => backoff.after_error(error.retry_delay()),
            };
            match delay {
                Some(delay) if !self.commands.is_closed() => sleep(delay).await,
                _ => return ended,
            }
        }
    }

    /// One connection, to its end.
    async fn drive<S>(&mut self, ws: &mut WebSocket<S>) -> Result<u16, Error>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        loop {
            tokio::select! {
                received = ws.recv_or_room(usize::MAX) => match received? { // writes what was fed, too
                    MessageOrRoom::Message(message) => match wire::read(message.as_bytes()) {
                        // No caller waits for an answer that is late, or the second of its number.
                        Some((number, answer)) => if let Some((_, call)) = self.waiting.remove(&number) {
                            let _ = call.answer.send(Ok(answer.to_vec()));
                        },
                        None => {
                            let why = "an answer begins with the number of its call";
                            ws.fail(CloseFrame::with_reason(CloseCode::POLICY_VIOLATION, why))?;
                        }
                    },
                    MessageOrRoom::Room => {}
                    MessageOrRoom::Closed => return Ok(ws.closed().map_or(1006, |end| end.code)),
                },
                // While there is no room, calls wait; once closed, for the next connection.
                command = self.commands.recv(), if has_room(ws.sender()) => match command {
                    Some(Command::Call(number, Call { request, begun, waiting })) => {
                        if begun.swap(true, Relaxed) {
                            continue; // given up
                        }
                        match ws.feed(wire::message(number, &request)) {
                            Ok(position) => drop(self.waiting.insert(number, (position, waiting))),
                            // The server has just closed: receiving says why.
                            Err(_) => drop(waiting.answer.send(Err(CallError::NotSent))),
                        }
                    }
                    Some(Command::Forget(number)) => drop(self.waiting.remove(&number)),
                    None => {
                        ws.close(CloseCode::NORMAL).await?;
                        return Ok(CloseCode::NORMAL.get());
                    }
                },
            }
        }
    }

    /// The connection is over, and writes nothing any more: ends the calls that were under way.
    fn settle(&mut self, tx: &Sender) {
        for (_, (position, call)) in self.waiting.drain() {
            let written = tx.is_written(position);
            let _ =
                call.answer.send(Err(if written { CallError::Lost } else { CallError::NotSent }));
        }
    }
}

fn has_room(tx: &Sender) -> bool {
    tx.has_room() && !tx.is_closed()
}
