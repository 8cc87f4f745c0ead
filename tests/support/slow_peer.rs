//! A peer that reads slowly, or nothing, behind a socket of this machine, and what has to become of
//! it. The table is written from the page on limits, "Peers that read slowly". For these tests, and
//! those of `tickwire-loop`.
use bytes::Bytes;
use socket2::SockRef;
use std::{
    fmt::Debug,
    io::{self, Read, Write},
    net::TcpListener,
    sync::LazyLock,
    thread,
    time::{Duration, Instant},
};
use testkit::{
    frames::{BINARY, CLOSE, close_body, masked},
    threads::spawn,
};
use tickwire::{CloseCode, Closed, Config, Error, RecvError};

/// Who closes first, behind a message of which our end, a server, has the most part still to write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Closes {
    /// The peer, when it has read the message.
    Nobody,
    We,
    Peer,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Case {
    pub(crate) closes: Closes,
    pub(crate) reads: bool,
    /// The length of the message.
    len: usize,
    /// Both `write_timeout` and `close_timeout`.
    full: Duration,
}

/// What our program is told in the end.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    Clean,
    Failed(RecvError),
    Other(String),
}

/// The length of a message that nobody closes behind: beyond what the peer reads slowly, more than
/// the buffers of both sockets grow to, or than TCP_NOTSENT_LOWAT leaves of them.
const LONGEST: usize = 8 << 20;
const LONG: usize = 2 << 20;
const SHORT: usize = 1 << 20;
/// What it reads at once, and how often while the full time runs. Its kernel has room for 8 KiB, so
/// that each piece shows in our send buffer at once (measured: after 12.6 ms in the median, with a
/// full time of 200 ms). Of a Unix socket, Linux tells once three quarters of the send buffer are
/// free, which are five pieces.
const PIECE: usize = 32 << 10;
const PIECES: u32 = 16;
/// If it is not enough for the peer to read in time, nothing is.
const MOST: Duration = Duration::from_secs(30);
const CODE: CloseCode = CloseCode::GOING_AWAY;

impl Case {
    pub(crate) fn message(&self) -> Bytes {
        static MESSAGE: LazyLock<Bytes> = LazyLock::new(|| vec![7; LONGEST].into());
        MESSAGE.slice(..self.len)
    }

    pub(crate) fn config(&self) -> Config {
        let (write_timeout, close_timeout) = (self.full, self.full);
        Config { write_timeout, close_timeout, high_water: 2 * LONGEST, ..Config::default() }
    }

    fn pause(&self) -> Duration {
        self.full / PIECES
    }

    fn fate(&self) -> Fate {
        match (self.closes, self.reads) {
            (_, true) => Fate::Clean,
            (Closes::Nobody, false) => Fate::Failed(RecvError::WriteTimeout),
            (Closes::We | Closes::Peer, false) => Fate::Failed(RecvError::CloseTimeout),
        }
    }
}

impl Fate {
    pub(crate) fn new(ended: Result<(), Error>, closed: Option<Closed<'_>>) -> Self {
        match (ended, closed) {
            (Ok(()), Some(closed)) if closed.clean => Self::Clean,
            (Err(Error::Recv(error)), _) => Self::Failed(error),
            other => Self::Other(format!("{other:?}")),
        }
    }
}

/// The peer's stream.
pub(crate) trait Both: Read + Write {}

impl<S: Read + Write> Both for S {}

/// Its sockets, and those that it accepts, keep little that has not been sent.
pub(crate) fn keep_little(listener: &TcpListener) {
    SockRef::from(listener).set_tcp_notsent_lowat(64 << 10).unwrap();
}

/// What drives our end, over which stream.
pub(crate) trait Carrier: Copy + Debug + Send + 'static {
    /// With the buffers that TCP has by default, what a peer reads slowly is soon all in them, and
    /// then nothing tells whether the peer reads it.
    fn has_deep_buffers(self) -> bool;

    /// Begins both ends: the peer's stream, and a call that waits for the end of ours.
    fn open(self, case: Case) -> (Box<dyn Both>, Box<dyn FnOnce() -> Fate>);
}

/// Plays each case over each of these, all at the same time.
pub(crate) fn play_all<C: Carrier>(carriers: impl IntoIterator<Item = C>) {
    let mut all = vec![];
    for carrier in carriers {
        for closes in [Closes::Nobody, Closes::We, Closes::Peer] {
            if closes == Closes::Nobody || !carrier.has_deep_buffers() {
                all.extend([true, false].map(|reads| spawn(move || play(carrier, closes, reads))));
            }
        }
    }
    let failed = all.into_iter().filter_map(|one| one.join().err()).count();
    assert_eq!(failed, 0);
}

/// With a longer and longer time until the peer has read as fast as it should: on a busy machine it
/// does not.
fn play(carrier: impl Carrier, closes: Closes, reads: bool) {
    let len = match closes {
        Closes::Nobody if carrier.has_deep_buffers() => LONGEST,
        Closes::Nobody => LONG,
        Closes::We | Closes::Peer => SHORT,
    };
    let mut full = Duration::from_millis(200);
    loop {
        let case = Case { closes, reads, len, full };
        let began = Instant::now();
        let (mut peer, fate) = carrier.open(case);
        let mut pauses = 0;
        let done = peer_does(&mut peer, case, &mut pauses);
        let is_late = began.elapsed() > case.pause() * pauses + full / 4;
        let fate = fate();
        if fate == case.fate() && done.is_ok() {
            let took = began.elapsed();
            assert!(reads || took >= full, "{carrier:?} {case:?}: {took:?}");
            return;
        }
        assert!(is_late && full < MOST, "{carrier:?} {case:?}: {fate:?} {done:?}");
        full *= 2;
    }
}

fn say_close(to: &mut impl Write) -> io::Result<()> {
    to.write_all(&masked(CLOSE, close_body(u16::from(CODE), "")))?;
    to.flush()
}

/// To the end of the stream, if it reads.
fn peer_does(io: &mut (impl Read + Write), case: Case, pauses: &mut u32) -> io::Result<()> {
    if case.closes == Closes::Peer {
        say_close(io)?;
    }
    if !case.reads {
        return Ok(());
    }
    let mut header = [0; 10];
    io.read_exact(&mut header)?;
    assert_eq!(header[..2], [BINARY, 127]);
    assert_eq!(header[2..], (case.len as u64).to_be_bytes());
    let mut piece = vec![0; PIECE];
    let sent = vec![7; PIECE];
    for _ in 0..case.len / PIECE {
        io.read_exact(&mut piece)?;
        assert!(piece == sent);
        // A message that nobody closes behind is read slowly for three times the full time.
        if case.closes != Closes::Nobody || *pauses < 3 * PIECES {
            thread::sleep(case.pause());
            *pauses += 1;
        }
    }
    if case.closes == Closes::Nobody {
        say_close(io)?;
    }
    let mut close = [0; 4];
    io.read_exact(&mut close)?;
    assert_eq!(close, [&[CLOSE, 2][..], &u16::from(CODE).to_be_bytes()].concat()[..]);
    if case.closes == Closes::We {
        say_close(io)?;
    }
    let _ = io.read(&mut piece); // the end
    Ok(())
}
