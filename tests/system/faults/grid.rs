//! One thing goes wrong with the stream, at its n-th operation, for every n of a conversation.
use crate::support::placed::placed;
use crate::{
    faults::peer::{Closing, Peer, session},
    faults::stream::{Fault, Io},
    support::carriers::block_on,
    support::ends::{Adapter, Kind, Seat, Way, ending},
    support::talk::{Report, agree, class},
    support::tls::ROLES,
    support::wire::sampled,
};
use std::{
    io::ErrorKind,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};
use tickwire::{
    Config, Heartbeat, Role, blocking,
    frame::{Header, OpCode},
    handshake::client::Request,
};

#[derive(Clone, Copy, Debug)]
struct Case {
    adapter: Adapter,
    way: Way,
    role: Role,
    kind: Kind,
    closing: Closing,
    fault: Fault,
    when: usize,
    /// A blocking stream that waits, as opposed to one that is asked again and again.
    sleeps: bool,
}

impl Case {
    /// In `blocking` a sound stream never has to wait, and any other not for long.
    fn config(&self) -> Config {
        let config = self.kind.config();
        match self.adapter {
            Adapter::Tokio => {
                let second = Duration::from_secs(1);
                Config { heartbeat: Some(Heartbeat::new(4 * second, 4 * second)), ..config }
            }
            Adapter::Blocking if self.is_harmless() => config,
            Adapter::Blocking => {
                let soon = Duration::from_millis(20);
                Config {
                    heartbeat: Some(Heartbeat::new(soon, soon)),
                    handshake_timeout: if self.fault.blocks() { 2 * soon } else { 20 * soon },
                    close_timeout: soon,
                    write_timeout: soon,
                    ..config
                }
            }
        }
    }

    fn is_harmless(&self) -> bool {
        // In `blocking` it is how a timeout that was set shows itself.
        let timeout = self.fault == Fault::Fail(ErrorKind::TimedOut);
        self.fault.is_harmless() || (timeout && self.adapter == Adapter::Blocking)
    }
}

/// What came of a case.
struct Outcome {
    ours: Report,
    theirs: Report,
    ops: usize,
    /// What we read, as it was on the wire.
    read: Vec<u8>,
    /// What the peer got of ours.
    got: Vec<u8>,
}

fn run(case: Case) -> Outcome {
    let theirs = match case.role {
        Role::Server => Role::Client,
        Role::Client => Role::Server,
    };
    let over_tls = case.kind.is_tls();
    let session = case.kind.tls().map(|tls| session(theirs, &tls.client, &tls.server));
    let peer = Peer::new(theirs, &case.kind.config(), session, case.closing);
    let io = Io::new(peer, over_tls, case.fault, case.when, case.sleeps);
    let Case { role, kind, way, .. } = case;
    let seat = Seat { role, kind, way, config: case.config(), part: case.closing.ours() };
    let ours = match case.adapter {
        Adapter::Tokio => on_tokio_stream(&seat, io.clone()),
        Adapter::Blocking => seat.on_blocking(io.clone()),
    };
    let mut state = io.state();
    let theirs = state.peer.report();
    let read = std::mem::take(&mut state.read);
    let got = std::mem::take(&mut state.peer.got);
    Outcome { ours, theirs, ops: state.ops, read, got }
}

fn on_tokio_stream(seat: &Seat, io: Io) -> Report {
    let hour = Duration::from_secs(3600);
    let bounded = async { tokio::time::timeout(hour, seat.on_tokio(io)).await };
    let report = block_on(bounded);
    report.expect("a call that does not return")
}

// What may come of it.

impl Closing {
    /// Over a sound stream.
    fn ends(self) -> &'static str {
        match self {
            Self::Ours | Self::Theirs | Self::TheirsEarly | Self::Crossing => "Closed",
            Self::Violation => "Recv(Protocol(ReservedBits))",
            Self::HangUp => "Recv(UnexpectedEof)",
            Self::Silence => "Recv(PongTimeout)",
        }
    }
}

const TIMEOUTS: [&str; 4] =
    ["Handshake(Timeout)", "Recv(WriteTimeout)", "Recv(PongTimeout)", "Recv(CloseTimeout)"];

impl Case {
    /// How else it may end than over a sound stream.
    fn ends(&self) -> Vec<String> {
        let eof = match self.kind {
            Kind::Tls | Kind::Rustls => ["Io(UnexpectedEof)", "Recv(UnexpectedEof)"].as_slice(),
            _ => &["Handshake(UnexpectedEof)", "Recv(UnexpectedEof)"],
        };
        let tls = self.kind.is_tls();
        let failed = |kind| vec![format!("Io({kind:?})")];
        let mut ends: Vec<String> = match self.fault {
            Fault::Fail(kind) | Fault::FailForEver(kind) => failed(kind),
            Fault::WriteZero => failed(ErrorKind::WriteZero),
            Fault::Eof => vec![],
            Fault::Cut => failed(ErrorKind::BrokenPipe),
            _ => TIMEOUTS.map(str::to_owned).into(),
        };
        let like_eof = self.fault == Fault::Fail(ErrorKind::UnexpectedEof);
        if like_eof || matches!(self.fault, Fault::Eof | Fault::Cut) {
            ends.extend(eof.iter().map(|end| end.to_string()));
        }
        // What the handshake of TLS cannot write is left for its reads to find: see `fill`.
        if tls && matches!(self.fault, Fault::Fail(_) | Fault::WriteZero) {
            ends.push("Handshake(Timeout)".into());
        }
        // There the peer waits for us after a write that failed, and time is the machine's.
        if self.adapter == Adapter::Blocking {
            ends.extend(TIMEOUTS.map(str::to_owned));
            if !self.sleeps {
                ends.push("WouldBlock".into());
            }
        }
        // The peer has closed, but could not be told that we know.
        if self.closing.ends() == "Closed" {
            ends.push("Unanswered".into());
        }
        ends.push(self.closing.ends().into());
        ends
    }

    fn judge(&self, outcome: &Outcome, sound: &Outcome) {
        let Outcome { ours, theirs, .. } = outcome;
        agree(ours, theirs);
        let end = ending(ours);
        // TLS reads several times for one read of ours; twice nothing at once, and the stream is
        // taken for one that does not block, which ends an opening handshake.
        let given_up = self.adapter == Adapter::Blocking
            && self.kind.is_tls()
            && self.fault == Fault::Trickle
            && !ours.was_open();
        if given_up {
            assert_eq!(end, "WouldBlock");
            return;
        }
        if self.is_harmless() {
            // Nothing but the timing differs.
            assert_eq!(end, ending(&sound.ours));
            assert_eq!(ours.heard, sound.ours.heard);
            // How much is said before the peer's Close is heard, else depends on the timing.
            if self.way != Way::Over {
                assert_eq!(ours.fed, sound.ours.fed);
                assert_eq!(ours.written, sound.ours.written);
                assert_eq!(theirs.heard, sound.theirs.heard);
            }
        }
        let ends = self.ends();
        assert!(ends.contains(&end), "{end}");
        if let Some(unsaid) = ours.unsaid.as_ref().map(class) {
            // A writer is told that the reader has met the end of the stream, not what made it.
            let told = unsaid == "Send(Closed)"
                || self.way != Way::Whole && unsaid == "Recv(UnexpectedEof)";
            assert!(told || ends.contains(&unsaid), "sending: {unsaid}");
        }
        // The peer understood us, as far as it got.
        let end = ending(theirs);
        let understood = matches!(
            end.as_str(),
            "Closed" | "Unanswered" | "Recv(UnexpectedEof)" | "Handshake(UnexpectedEof)"
        );
        let refused = end.starts_with("Handshake(Refused { status: 40");
        assert!(understood || refused, "the peer: {end}");
        let frames = frames_in(&outcome.got);
        let mut behind =
            frames.iter().map(|f| f.opcode).skip_while(|&op| op != OpCode::Close).skip(1);
        assert!(behind.all(|op| op == OpCode::Pong), "data, or a Close, follows our Close");
        // A failure hides nothing that was read whole.
        if !self.kind.is_tls() && ours.was_open() {
            assert_eq!(ours.heard.len(), messages_in(&outcome.read));
        }
    }
}

/// How many messages are whole in what was read, behind the head.
fn messages_in(wire: &[u8]) -> usize {
    let legal = |f: &&Header| !f.rsv2; // see `Closing::Violation`
    let whole = |f: &&Header| f.fin && !f.opcode.is_control();
    frames_in(wire).iter().filter(legal).filter(whole).count()
}

/// The headers of the whole frames behind the head.
fn frames_in(wire: &[u8]) -> Vec<Header> {
    let mut frames = vec![];
    let Some(head) = wire.windows(4).position(|w| w == b"\r\n\r\n") else { return frames };
    let mut wire = &wire[head + 4..];
    while let Ok(Some((header, n))) = Header::parse(wire) {
        let Some(rest) = wire.get(n + header.payload_len as usize..) else { break };
        frames.push(header);
        wire = rest;
    }
    frames
}

// All cases.

/// Runs these in so many threads. All that fail are named.
fn each(cases: &[(Case, usize)], sound: &[Outcome], threads: usize) {
    let next = AtomicUsize::new(0);
    let failed = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let Some((case, of)) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let judged = || case.judge(&run(*case), &sound[*of]);
                    if catch_unwind(AssertUnwindSafe(judged)).is_err() {
                        failed.lock().unwrap().push(case);
                    }
                }
            });
        }
    });
    let failed = failed.into_inner().unwrap();
    failed.iter().take(20).for_each(|case| println!("{case:?}"));
    assert!(failed.is_empty(), "{} of {} cases fail", failed.len(), cases.len());
    println!("{} conversations", cases.len());
}

const CLOSINGS: [Closing; 7] = [
    Closing::Ours,
    Closing::Theirs,
    Closing::HangUp,
    Closing::TheirsEarly,
    Closing::Crossing,
    Closing::Violation,
    Closing::Silence,
];

/// Those that stand for the others where a conversation costs more, unless `TESTS=all`.
const SOME: [Fault; 8] = [
    Fault::Wait,
    Fault::Trickle,
    Fault::Buffer,
    Fault::Fail(ErrorKind::TimedOut),
    Fault::Fail(ErrorKind::ConnectionReset),
    Fault::Eof,
    Fault::Cut,
    Fault::BlockBoth,
];

/// Each fault at each operation of each conversation; an eleventh of that unless `TESTS=all`.
fn grid(adapter: Adapter, threads: usize) {
    let (mut cases, mut sound) = (vec![], vec![]);
    let step = sampled(1, 11);
    for kind in [Kind::Plain, Kind::Deflate, Kind::Tls, Kind::Rustls] {
        let closings = match (kind, adapter) {
            (Kind::Tls | Kind::Rustls, _) => &CLOSINGS[..3], // the handshake costs the most
            (_, Adapter::Blocking) => &CLOSINGS[..6],        // nothing is sound that waits
            (_, Adapter::Tokio) => &CLOSINGS,
        };
        let faults = match kind {
            _ if kind != Kind::Plain && step > 1 => &SOME[..],
            _ => &Fault::ALL,
        };
        let ways = match kind {
            Kind::Plain => &[Way::Whole, Way::Turns, Way::Over][..],
            Kind::Rustls => &[Way::Whole],
            _ => &[Way::Whole, Way::Turns],
        };
        for &closing in closings {
            for (way, role) in ways.iter().flat_map(|&way| ROLES.map(|role| (way, role))) {
                let (fault, when, sleeps) = (Fault::None, 0, true);
                let case = Case { adapter, way, role, kind, closing, fault, when, sleeps };
                let outcome = run(case);
                assert_eq!(ending(&outcome.ours), closing.ends(), "{case:?}");
                case.judge(&outcome, &outcome);
                // Of each fault other operations, and in each conversation others again.
                for (i, &fault) in faults.iter().enumerate() {
                    for when in ((i + sound.len()) % step..=outcome.ops).step_by(step) {
                        let case = Case { fault, when, ..case };
                        cases.push((case, sound.len()));
                        if adapter == Adapter::Blocking && fault.blocks() {
                            cases.push((Case { sleeps: false, ..case }, sound.len()));
                        }
                    }
                }
                sound.push(outcome);
            }
        }
    }
    each(&cases, &sound, threads);
}

#[test]
fn tls_is_in_place_or_not_as_its_kind_says() {
    for (kind, role) in [Kind::Tls, Kind::Rustls].into_iter().flat_map(|k| ROLES.map(|r| (k, r))) {
        let tls = kind.tls().unwrap();
        let theirs = if role == Role::Client { Role::Server } else { Role::Client };
        let peer = session(theirs, &tls.client, &tls.server);
        let peer = Peer::new(theirs, &kind.config(), Some(peer), Closing::Silence);
        let io = Io::new(peer, true, Fault::None, 0, true);
        let mut io = match role {
            Role::Client => {
                let request = Request::new("wss://localhost/").unwrap();
                blocking::TlsStream::client(io, request.target(), placed(tls.client.clone()))
                    .unwrap()
            }
            Role::Server => blocking::TlsStream::server(io, placed(tls.server.clone())).unwrap(),
        };
        io.handshake().unwrap();
        assert_eq!(io.with_session(|session| session.in_place()), kind == Kind::Tls);
    }
}

#[test]
fn tokio_survives_a_fault_at_every_operation() {
    grid(Adapter::Tokio, 2);
}

#[test]
fn blocking_survives_a_fault_at_every_operation() {
    grid(Adapter::Blocking, 64); // most of them sleep
}
