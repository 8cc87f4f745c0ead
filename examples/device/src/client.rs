//! A WebSocket client over a socket of smoltcp: it dials, sends telemetry, answers commands, and
//! dials again. It has no `unsafe` and knows no board.
use crate::say;
use alloc::vec;
use bytes::Buf;
use chacha20::ChaCha12Rng;
use chacha20::rand_core::{Rng, SeedableRng};
use core::{mem, time::Duration};
use smoltcp::socket::tcp::{RecvError as Read, Socket};
use smoltcp::{iface::Context, wire::IpEndpoint};
use tickwire::handshake::{HandshakeError, Progress, client};
use tickwire::{Config, Connection, Entropy, Event, Heartbeat, Message, Next, Report, Retry, Time};
use tickwire_parts::Backoff;

/// The longest message, in bytes.
const MESSAGE: usize = 1024;
/// Two messages of telemetry may wait here. TCP has room for more.
const HIGH_WATER: usize = 128;
/// A message of telemetry leaves this often.
const PERIOD: Duration = Duration::from_millis(20);

/// A generator of masking keys. Each connection has its own, with a seed from the device's.
struct Keys(ChaCha12Rng);

impl Entropy for Keys {
    fn fill(&mut self, dest: &mut [u8]) {
        self.0.fill_bytes(dest);
    }
}

pub struct Client {
    server: IpEndpoint,
    request: client::Request,
    config: Config,
    random: ChaCha12Rng,
    backoff: Backoff,
    stage: Stage,
    pub counts: Counts,
}

#[allow(clippy::large_enum_variant)] // there is only one value
enum Stage {
    /// Dials at this time.
    Waiting(Time),
    /// Connects by TCP, then shakes hands.
    Opening(client::Handshake),
    /// The open connection, since when it is open, and when the next telemetry is due.
    Open(Connection, Time, Time),
}

/// Counts of what has happened so far.
#[derive(Default)]
pub struct Counts {
    pub sent: u32,
    pub echoed: u32,
    pub pings: u32,
}

impl Client {
    /// Makes a client that dials at once.
    pub fn new(server: IpEndpoint, request: client::Request, mut random: ChaCha12Rng) -> Self {
        let mut backoff = Backoff::seeded(random.next_u64());
        backoff.first_delay = Duration::from_secs(1);
        backoff.max_delay = Duration::from_secs(10);
        let config = Config {
            read_buffer: 1536,
            max_message: MESSAGE,
            high_water: HIGH_WATER,
            max_head: 1536,
            heartbeat: Some(Heartbeat::new(Duration::from_secs(5), Duration::from_secs(3))),
            ..Config::default()
        };
        let (stage, counts) = (Stage::Waiting(Time::ZERO), Counts::default());
        Self { server, request, config, random, backoff, stage, counts }
    }

    /// Does what can be done now. Returns `false` if it has to wait for the network or the clock.
    pub fn run(&mut self, tcp: &mut Socket<'_>, cx: &mut Context, now: Time) -> bool {
        let delay = match &mut self.stage {
            Stage::Waiting(until) if now < *until => return false,
            Stage::Waiting(_) => {
                let port = 0xc000 | self.random.next_u32() as u16; // 49152 and above
                if tcp.connect(cx, self.server, port).is_ok() {
                    let keys = Keys(ChaCha12Rng::from_rng(&mut self.random));
                    self.stage =
                        Stage::Opening(client::Handshake::new(&self.request, &self.config, keys));
                }
                return false;
            }
            Stage::Opening(handshake) => match open(handshake, tcp, now) {
                Ok(Progress::Partial) => return false,
                Ok(Progress::Complete) => return self.opened(now),
                Err(error) => {
                    let status = handshake.response().map_or(0, |(status, _)| status);
                    say!("ended: no connection, status {status}");
                    let retryable = error.is_none_or(|error| error.retry() == Retry::BackOff);
                    self.backoff.after_error(retryable.then_some(Duration::ZERO))
                }
            },
            Stage::Open(conn, since, due) => {
                sample(conn, due, now, &mut self.counts);
                if exchange(conn, tcp, now, &mut self.counts) {
                    return false;
                }
                let (code, sent) = conn.closed().map_or((1006, 1006), |c| (c.code, c.sent_code));
                say!("ended: received Close {code}, sent {sent}");
                self.backoff.after_close(code, now - *since)
            }
        };
        tcp.abort();
        // It never gives up, because a device has nobody to ask.
        let delay = delay.or_else(|| self.backoff.rarely()).unwrap_or(self.backoff.max_delay);
        self.stage = Stage::Waiting(now + delay);
        true
    }

    fn opened(&mut self, now: Time) -> bool {
        let open = mem::replace(&mut self.stage, Stage::Waiting(now));
        if let Stage::Opening(handshake) = open
            && let Ok(mut conn) = handshake.into_connection()
        {
            let tx = conn.sender_mut();
            drop(tx.reclaim()); // the handshake's buffer
            tx.lend(vec![0; HIGH_WATER + MESSAGE + 14]); // so the buffer never grows
            self.stage = Stage::Open(conn, now, now);
            say!("open");
        }
        true
    }
}

/// The error is `None` if TCP has failed.
type Opened = Result<Progress, Option<HandshakeError>>;

/// Goes on with the opening handshake, whose deadline includes the time that TCP needs.
fn open(handshake: &mut client::Handshake, tcp: &mut Socket<'_>, now: Time) -> Opened {
    if let Ok(n) = tcp.send_slice(handshake.outgoing()) {
        handshake.advance(n);
    }
    match tcp.recv_slice(handshake.reading.spare_mut()) {
        Ok(n) => handshake.reading.commit(n),
        Err(Read::Finished) => handshake.reading.end_of_stream(),
        Err(Read::InvalidState) if tcp.is_open() => {} // TCP's handshake is on its way
        Err(Read::InvalidState) => return Err(None),
    }
    handshake.reading.handle_timeout(now)?;
    Ok(handshake.step()?)
}

/// Feeds the telemetry that is due.
fn sample(conn: &mut Connection, due: &mut Time, now: Time, counts: &mut Counts) {
    while *due <= now {
        *due = *due + PERIOD;
        let message = [counts.sent as u8; 64]; // of a sensor
        // While the network is slow, and once this end has closed, samples are dropped.
        if conn.sender_mut().feed(&message).is_ok() {
            counts.sent += 1;
        }
    }
}

/// Writes, reads and answers until the socket blocks. `false`: the connection is over.
fn exchange(conn: &mut Connection, tcp: &mut Socket<'_>, now: Time, counts: &mut Counts) -> bool {
    loop {
        conn.set_paused(!conn.sender().has_room()); // bounds the memory for a slow server
        match conn.next(now) {
            Next::Event(Event::Message(Message::Text(command)), tx) => {
                let _ = tx.feed(command.as_bytes()); // the answer; there is room
            }
            Next::Event(Event::Message(Message::Binary(_)), _) => counts.echoed += 1,
            Next::Event(Event::Ping(_), _) => counts.pings += 1, // answered already
            Next::Event(..) => {}
            Next::Write(mut out) => match tcp.send_slice(out.chunk()) {
                Ok(0) => conn.report(Report::WriteBlocked),
                Ok(n) => out.advance(n),
                Err(_) => conn.report(Report::WriteFailed),
            },
            Next::Read(rx) => match tcp.recv_slice(rx.spare_mut()) {
                Ok(0) => conn.report(Report::ReadBlocked),
                Ok(n) => rx.commit(n),
                Err(Read::Finished) => rx.end_of_stream(),
                Err(Read::InvalidState) => conn.report(Report::ReadFailed),
            },
            Next::ShutDown => {
                tcp.close();
                conn.report(Report::ShutDown);
            }
            Next::Wait(_) => return true,
            Next::Over(_) => return false,
        }
    }
}
