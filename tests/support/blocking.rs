//! What the tests of the blocking adapter share: connections without a handshake, a peer that the
//! test plays byte by byte, streams that count, stutter and fail, and a watchdog.
pub(crate) use super::peer::Peer;
pub(crate) use super::wire::{
    BINARY, CLOSE, KEY, PING, PONG, TEXT, close_body, fed_in_every_way, feed_in_every_way, frame,
    frame_to, masked, product, role_of, unmasked,
};
use std::{
    collections::VecDeque,
    io::{self, IoSlice, Read, Write},
    net::TcpStream,
    sync::{Arc, Mutex, MutexGuard},
    thread,
    time::{Duration, Instant},
};
pub use testkit::{
    PATIENCE,
    threads::{bounded, tcp_pair},
};
use tickwire::{
    Config, Connection, Error, Negotiated, RecvError, Role, SystemEntropy,
    blocking::{Interest, Stream, WebSocket},
};

/// Default settings, but for deadlines: they have none that a busy machine misses.
pub fn patient() -> Config {
    Config {
        handshake_timeout: PATIENCE,
        close_timeout: PATIENCE,
        frame_timeout: PATIENCE,
        write_timeout: PATIENCE,
        ..Config::default()
    }
}

/// [`bounded`], for each of these.
pub fn bounded_each<T: Send + 'static>(
    these: impl IntoIterator<Item = T>,
    test: impl FnOnce(T) + Clone + Send + 'static,
) {
    for one in these {
        let test = test.clone();
        bounded(move || test(one));
    }
}

pub fn recv_error<T>(result: Result<T, Error>) -> RecvError {
    match result {
        Err(Error::Recv(error)) => error,
        Err(other) => panic!("{other:?}"),
        Ok(_) => panic!("no error"),
    }
}

pub fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

pub fn conn(server: bool, config: &Config) -> Connection {
    match server {
        true => Connection::server(config, Negotiated::default()),
        false => Connection::client(config, Negotiated::default(), SystemEntropy::new().unwrap()),
    }
}

pub fn server<S: Stream>(io: S, config: &Config) -> WebSocket<S> {
    WebSocket::from_parts(io, conn(true, config))
}

pub fn client<S: Stream>(io: S, config: &Config) -> WebSocket<S> {
    WebSocket::from_parts(io, conn(false, config))
}

/// A server over TCP, and its peer, which the test plays.
pub(crate) fn served(config: &Config) -> (WebSocket<TcpStream>, Peer) {
    let (near, far) = tcp_pair();
    (server(near, config), client_in_bytes(far))
}

pub(crate) fn client_in_bytes(io: TcpStream) -> Peer {
    io.set_read_timeout(Some(PATIENCE)).unwrap();
    Peer::new(io, Role::Server)
}

/// What a scripted stream does at a read.
#[derive(Clone, Debug)]
pub enum Read1 {
    Bytes(Vec<u8>),
    Fail(io::ErrorKind),
}

/// A stream whose reads are scripted; then it ends, or would block. Counts all calls.
#[derive(Clone, Default, Debug)]
pub struct Scripted(Arc<Mutex<Script>>);

#[derive(Default, Debug)]
pub struct Script {
    pub input: VecDeque<Read1>,
    pub open: bool,
    /// What follows without end, and how long each read of it takes.
    pub endless: Vec<u8>,
    pub pause: Duration,
    pub reads: usize,
    pub writes: usize,
    pub flushes: usize,
    pub timeouts: usize,
    /// How often it was asked whether it can be waited for, and the answer.
    pub asked: usize,
    pub wait_error: Option<io::ErrorKind>,
    /// Something comes whenever it is waited for.
    pub ready: bool,
    pub written: Vec<u8>,
    pub write_error: Option<io::ErrorKind>,
    /// The most a write takes.
    pub room: Option<usize>,
    /// The order of calls: `r` and `w`.
    pub trace: String,
}

impl Scripted {
    pub fn new(input: impl IntoIterator<Item = Read1>) -> Self {
        let this = Self::default();
        this.script().input = input.into_iter().collect();
        this
    }

    pub fn script(&self) -> MutexGuard<'_, Script> {
        self.0.lock().unwrap()
    }
}

impl Read for Scripted {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let mut script = self.script();
        script.reads += 1;
        script.trace.push('r');
        if script.input.is_empty() && !script.endless.is_empty() {
            let more = Read1::Bytes(script.endless.clone());
            script.input.push_back(more);
            thread::sleep(script.pause);
        }
        match script.input.pop_front() {
            None if script.open => Err(io::ErrorKind::WouldBlock.into()),
            None => Ok(0),
            Some(Read1::Fail(kind)) => Err(kind.into()),
            Some(Read1::Bytes(mut bytes)) => {
                let n = bytes.len().min(buf.len());
                buf[..n].copy_from_slice(&bytes[..n]);
                if n < bytes.len() {
                    script.input.push_front(Read1::Bytes(bytes.split_off(n)));
                }
                Ok(n)
            }
        }
    }
}

impl Write for Scripted {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.write_vectored(&[IoSlice::new(buf)])
    }

    fn write_vectored(&mut self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        let mut script = self.script();
        script.writes += 1;
        script.trace.push('w');
        if let Some(kind) = script.write_error {
            return Err(kind.into());
        }
        let all = bufs.iter().map(|buf| &**buf).collect::<Vec<_>>().concat();
        let n = script.room.unwrap_or(usize::MAX).min(all.len());
        if n == 0 {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        if let Some(room) = &mut script.room {
            *room -= n;
        }
        script.written.extend(&all[..n]);
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.script().flushes += 1;
        Ok(())
    }
}

impl Stream for Scripted {
    crate::support::tries::tries!();
    fn set_read_timeout(&self, _: Option<Duration>) -> io::Result<()> {
        self.script().timeouts += 1;
        Ok(())
    }

    fn wait(&self, _: Interest, timeout: Option<Duration>) -> io::Result<()> {
        let mut script = self.script();
        let asked = timeout == Some(Duration::ZERO);
        script.asked += usize::from(asked);
        match script.wait_error {
            Some(kind) => Err(kind.into()),
            None if asked || script.ready => Ok(()),
            None => Err(io::ErrorKind::WouldBlock.into()), // for ever
        }
    }

    fn try_clone(&self) -> io::Result<Self> {
        Ok(self.clone())
    }

    fn writes_vectored(&self) -> bool {
        true
    }
}

/// Writes a byte of these after each pause, until nobody reads any more.
pub fn trickle(mut to: impl Write, bytes: &[u8], pause: Duration) {
    for byte in bytes {
        if to.write_all(&[*byte]).is_err() {
            return;
        }
        thread::sleep(pause);
    }
    panic!("all of it was listened to");
}

/// At least this has passed. A busy machine takes longer, and a deadline that never passes is a
/// hang.
pub fn took(began: Instant, least: Duration) {
    let took = began.elapsed();
    assert!(took >= least, "took {took:?}, not {least:?}");
}

/// What this returns when it takes less than `most` for once. A busy machine delays it now and
/// then; a wait that must not be there delays it each time.
pub fn for_once_within<T>(most: Duration, mut f: impl FnMut() -> T) -> T {
    let first = Instant::now();
    loop {
        let began = Instant::now();
        let done = f();
        if began.elapsed() < most {
            return done;
        }
        assert!(first.elapsed() < PATIENCE, "never within {most:?}");
    }
}

/// Runs this with a longer and longer deadline, until it says that the machine was fast enough to
/// do in time what has to be done before the deadline passes.
pub fn with_time_enough(mut test: impl FnMut(Duration) -> bool) {
    let mut deadline = ms(200);
    while !test(deadline) {
        deadline *= 2;
        assert!(deadline < PATIENCE, "{deadline:?} would not be enough");
    }
}
