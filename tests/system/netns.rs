//! A peer that vanishes without a FIN: packets are dropped between two network namespaces, and the
//! heartbeat finds it within 1.25 × interval + timeout (P204), over either adapter, whole and
//! split, as client and as server.
//!
//! Before that, all of them hold a conversation while packets are lost, late and out of order, also
//! compressed and over TLS: every message arrives, once and in order, and both ends close. (With
//! the features `deflate` and `rustls`.) Where the kernel has no netem, `tc` does with what it has:
//! of the packets of a connection, which are numbered, each 16th is dropped, and each 4th takes a
//! slow way round.
//!
//! Three processes in a namespace each: `near` holds the connections under test, `far` their peers,
//! and `router` forwards between them until it is told not to, which drops packets without a word.
use std::{
    env,
    io::{self, BufRead, BufReader, Lines, Read, Write},
    net::{TcpListener, TcpStream},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio, exit},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};
use testkit::namespaces::{FAILED, again, ends_in_time, not_permitted, run, run_apart, try_run};
use tickwire::{
    Config, Error, Event, Heartbeat, Message, RecvError, blocking, handshake::client::Request,
    tokio as adapter,
};

const INTERVAL: Duration = Duration::from_millis(500);
const TIMEOUT: Duration = Duration::from_millis(500);
/// For a busy machine, on which a thread that is due may not run at once. Where one does not
/// run for longer, all vanish once more.
const SLACK: Duration = Duration::from_secs(1);
const ROLE: &str = "TICKWIRE_NETNS_ROLE";

const TEST: &str = "netns::what_packet_loss_takes_comes_again_and_who_vanishes_is_found";

#[test]
fn what_packet_loss_takes_comes_again_and_who_vanishes_is_found() {
    match env::var(ROLE).as_deref() {
        Ok("router") => router(),
        Ok("near") => near(),
        Ok("far") => far(),
        _ => run_apart(TEST, &["--net"], |command| introduce(command, "router")),
    }
}

fn introduce(command: &mut Command, role: &str) {
    command.env(ROLE, role);
    #[cfg(all(feature = "deflate", feature = "in-place"))]
    lossy::introduce(command);
}

// The router.

/// Loses, delays and reorders what leaves by this device; says by what.
fn impair(device: &str) -> Result<&'static str, String> {
    let netem = "netem delay 5ms 4ms loss 3% reorder 20% 50%";
    if try_run(&format!("tc qdisc add dev {device} root {netem}")).is_ok() {
        return Ok(netem);
    }
    // Byte 5 of an IP header is the lower half of the packet's number.
    for command in [
        "qdisc add dev X root handle 1: htb default 10 r2q 1000",
        "class add dev X parent 1: classid 1:10 htb rate 1gbit",
        "class add dev X parent 1: classid 1:20 htb rate 4mbit burst 1600 cburst 1600",
        "class add dev X parent 1: classid 1:30 htb rate 1gbit",
        "qdisc add dev X parent 1:20 handle 20: pfifo limit 100",
        "qdisc add dev X parent 1:30 handle 30: pfifo limit 0",
        "filter add dev X parent 1: protocol ip prio 1 u32 match u8 0x03 0x0f at 5 flowid 1:30",
        "filter add dev X parent 1: protocol ip prio 2 u32 match u8 0x00 0x03 at 5 flowid 1:20",
    ] {
        let command = format!("tc {}", command.replace('X', device));
        try_run(&command).map_err(|why| format!("NOT RUN: {command}: {why}"))?;
    }
    Ok("1 of 16 packets dropped, 1 of 4 at 4 Mbit/s")
}

/// Ends that; how many packets were dropped.
fn heal(device: &str) -> usize {
    let shown = try_run(&format!("tc -s qdisc show dev {device}")).unwrap();
    let dropped = shown.split("(dropped ").skip(1).map(|rest| {
        let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
        digits.parse::<usize>().unwrap()
    });
    try_run(&format!("tc qdisc del dev {device} root")).unwrap();
    // The first is the root, which counts for those below it.
    dropped.max().unwrap_or(0)
}

fn forward(yes: bool) {
    let file = "/proc/sys/net/ipv4/ip_forward";
    if let Err(error) = std::fs::write(file, if yes { "1" } else { "0" }) {
        not_permitted(file, &error.to_string());
    }
}

/// One of the other two, and the lines that pass between.
struct Other {
    child: Child,
    to: ChildStdin,
    from: Lines<BufReader<ChildStdout>>,
}

impl Other {
    fn new(role: &str, net: u8) -> Self {
        let mut command = again(TEST, &["--net"]);
        introduce(&mut command, role);
        let spawned = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let mut child = spawned.unwrap_or_else(|e| not_permitted("unshare", &e.to_string()));
        let to = child.stdin.take().unwrap();
        let from = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut this = Self { child, to, from };
        while this.line() != "here" {} // behind the harness's own; and so in its namespace
        let pid = this.child.id();
        run(&format!("ip link add {role} type veth peer name eth0 netns {pid}"));
        run(&format!("ip addr add 10.0.{net}.1/24 dev {role}"));
        run(&format!("ip link set {role} up"));
        this.tell(&format!("{net}"));
        this.expect("up");
        this
    }

    fn tell(&mut self, line: &str) {
        writeln!(self.to, "{line}").unwrap();
    }

    fn line(&mut self) -> String {
        match self.from.next() {
            Some(line) => line.unwrap(),
            None => exit(self.child.wait().unwrap().code().unwrap_or(FAILED)),
        }
    }

    fn expect(&mut self, line: &str) {
        assert_eq!(self.line(), line);
    }
}

fn router() {
    let mut near = Other::new("near", 1);
    let mut far = Other::new("far", 2);
    forward(true);
    let port = far.line();
    near.tell(&port);
    let impaired = match cfg!(all(feature = "deflate", feature = "in-place")) {
        true => impair("near").and_then(|_| impair("far")),
        false => Err("skipped: needs the features deflate and rustls".into()),
    };
    match impaired {
        Ok(how) => {
            near.tell("lossy");
            loop {
                match near.line() {
                    line if line == "said" => break,
                    line => println!("{line}"),
                }
            }
            let dropped = [heal("near"), heal("far")];
            println!("{how}: {dropped:?} packets dropped there and back");
            assert!(dropped.iter().all(|&n| n > 0), "a network that loses nothing");
        }
        Err(why) => println!("loss, delay and reordering: {why}"),
    }
    near.tell("sound");
    loop {
        // The end of `near` ends this too.
        match near.line() {
            line if line == "open" => {
                forward(false);
                near.tell("gone");
            }
            line if line == "late" => {
                forward(true);
                near.tell("back");
            }
            line => println!("{line}"),
        }
    }
}

// The other two.

/// Lines from the router. Its end is ours.
fn told() -> String {
    let mut line = String::new();
    match io::stdin().read_line(&mut line) {
        Ok(0) | Err(_) => exit(FAILED),
        Ok(_) => line.trim().to_owned(),
    }
}

fn say(line: &str) {
    println!("{line}");
    io::stdout().flush().unwrap();
}

/// Waits for the router to have plugged in the cable.
fn join() -> String {
    ends_in_time();
    say("here");
    let net = told();
    run("ip link set lo up");
    run(&format!("ip addr add 10.0.{net}.2/24 dev eth0"));
    run("ip link set eth0 up");
    run(&format!("ip route add default via 10.0.{net}.1"));
    say("up");
    net
}

/// Answers, until nobody listens any more; does not notice that.
fn far() {
    let net = join();
    let listener = TcpListener::bind(format!("10.0.{net}.2:0")).unwrap();
    say(&listener.local_addr().unwrap().port().to_string());
    thread::spawn(move || {
        for stream in listener.incoming() {
            thread::spawn(move || serve(stream.unwrap()));
        }
    });
    told();
}

/// The first byte says which end to be. Says so when a Ping came.
fn serve(mut stream: TcpStream) {
    let mut role = [0];
    stream.read_exact(&mut role).unwrap();
    #[cfg(all(feature = "deflate", feature = "in-place"))]
    if lossy::serves(role[0], &mut stream) {
        return;
    }
    let config = Config::default();
    let mut ws = match &role {
        b"c" => blocking::accept(stream, &config).unwrap(),
        _ => blocking::client(stream, &request(), &config).unwrap(),
    };
    while let Ok(Some(event)) = ws.recv_event() {
        if matches!(event, Event::Ping(_)) {
            let _ = ws.feed("pinged").unwrap();
        }
    }
}

fn request() -> Request {
    Request::new("ws://far/").unwrap()
}

fn near() {
    join();
    let address = format!("10.0.2.2:{}", told());
    let mut network = told();
    if network == "lossy" {
        #[cfg(all(feature = "deflate", feature = "in-place"))]
        lossy::converse(&address);
        say("said");
        network = told();
    }
    assert_eq!(network, "sound");
    while !are_found(&address) {
        say("late");
        assert_eq!(told(), "back");
    }
    exit(0);
}

/// Whether every connection says in time that its peer has vanished. That it says so is
/// asserted.
fn are_found(address: &str) -> bool {
    let config = Config { heartbeat: Some(Heartbeat::new(INTERVAL, TIMEOUT)), ..Config::default() };
    let mut lives = Vec::new();
    let mut found = Vec::new();
    for (adapter, hold) in [("blocking", in_a_thread as Hold), ("tokio", in_a_task)] {
        for split in [false, true] {
            for client in [false, true] {
                let (address, config) = (address.to_owned(), config.clone());
                let (alive, live) = mpsc::channel();
                lives.push(live);
                let halves = if split { "split" } else { "whole" };
                let role = if client { "client" } else { "server" };
                let name = format!("{adapter}, {halves}, {role}");
                let holding = thread::spawn(move || {
                    let mut stream = TcpStream::connect(address).unwrap();
                    stream.write_all(if client { b"c" } else { b"s" }).unwrap();
                    let error = hold(stream, client, split, &config, &alive);
                    (error, Instant::now())
                });
                found.push((name, holding));
            }
        }
    }
    for live in lives {
        let _ = live.recv(); // it lives through a Ping; or has ended already, which is too early
    }
    say("open");
    assert_eq!(told(), "gone");
    let gone = Instant::now();
    let most = INTERVAL * 5 / 4 + TIMEOUT;
    let mut in_time = true;
    for (name, holding) in found {
        let (error, at) = holding.join().unwrap();
        let took = at - gone;
        say(&format!("{name}: {error}, {took:.3?} after it vanished, at most {most:?}"));
        if !matches!(error, Error::Recv(RecvError::PongTimeout)) {
            exit(FAILED);
        }
        in_time &= at > gone && took <= most + SLACK;
    }
    in_time
}

/// Opens a connection, says when the peer has answered a Ping, and waits for what ends it.
type Hold = fn(TcpStream, bool, bool, &Config, &mpsc::Sender<()>) -> Error;

fn pinged(message: Option<Message<'_>>, alive: &mpsc::Sender<()>) {
    assert_eq!(message.unwrap().as_text(), Some("pinged"));
    let _ = alive.send(()); // nobody listens to the later ones
}

fn in_a_thread(
    stream: TcpStream,
    client: bool,
    split: bool,
    config: &Config,
    alive: &mpsc::Sender<()>,
) -> Error {
    let mut ws = match client {
        true => blocking::client(stream, &request(), config).unwrap(),
        false => blocking::accept(stream, config).unwrap(),
    };
    if !split {
        loop {
            match ws.recv() {
                Ok(message) => pinged(message, alive),
                Err(error) => return error,
            }
        }
    }
    let (mut reader, _writer) = ws.into_split().unwrap();
    loop {
        match reader.recv() {
            Ok(message) => pinged(message, alive),
            Err(error) => return error,
        }
    }
}

fn in_a_task(
    stream: TcpStream,
    client: bool,
    split: bool,
    config: &Config,
    alive: &mpsc::Sender<()>,
) -> Error {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        stream.set_nonblocking(true).unwrap();
        let stream = tokio::net::TcpStream::from_std(stream).unwrap();
        let mut ws = match client {
            true => adapter::client(stream, &request(), config).await.unwrap(),
            false => adapter::accept(stream, config).await.unwrap(),
        };
        if !split {
            loop {
                match ws.recv().await {
                    Ok(message) => pinged(message, alive),
                    Err(error) => return error,
                }
            }
        }
        let (mut reader, _writer) = ws.into_split_with(tokio::net::TcpStream::into_split);
        loop {
            match reader.recv().await {
                Ok(message) => pinged(message, alive),
                Err(error) => return error,
            }
        }
    })
}

/// The conversations over a network that loses packets.
#[cfg(all(feature = "deflate", feature = "in-place"))]
mod lossy {
    use crate::{
        support::ends::{Kind, Seat, TLS, Tls, Way, ending},
        support::talk::{Part, Report, messages},
        support::tls::{Authority, async_tcp, runtime, wait},
    };
    use std::{
        env,
        io::{Read, Write},
        net::TcpStream,
        process::{Command, exit},
        sync::Mutex,
        thread,
    };
    use tickwire::{
        Role,
        tls::rustls::{
            ClientConfig, RootCertStore, ServerConfig,
            pki_types::{CertificateDer, PrivateKeyDer},
        },
    };

    /// What the processes know of each other: authority, certificate and key.
    const IDENTITY: &str = "TICKWIRE_NETNS_TLS";

    pub(super) fn introduce(command: &mut Command) {
        if env::var_os(IDENTITY).is_some() {
            return; // those of our parent
        }
        let authority = Authority::new();
        let identity = authority.issue(&["localhost"]);
        let parts = [authority.der(), identity.chain[0].to_vec(), identity.key.serialize_der()];
        let hex = |bytes: &Vec<u8>| bytes.iter().map(|b| format!("{b:02x}")).collect::<String>();
        command.env(IDENTITY, parts.iter().map(hex).collect::<Vec<_>>().join(","));
    }

    fn identify() {
        let unhex = |hex: &str| {
            let pairs = hex.as_bytes().chunks(2).map(|pair| str::from_utf8(pair).unwrap());
            pairs.map(|pair| u8::from_str_radix(pair, 16).unwrap()).collect::<Vec<u8>>()
        };
        TLS.get_or_init(|| {
            let told = env::var(IDENTITY).unwrap();
            let parts: Vec<_> = told.split(',').map(unhex).collect();
            let mut roots = RootCertStore::empty();
            roots.add(CertificateDer::from(parts[0].clone())).unwrap();
            let client = ClientConfig::builder().with_root_certificates(roots);
            let mut client = client.with_no_client_auth();
            client.enable_secret_extraction = true; // the server's records go through rustls
            let chain = vec![CertificateDer::from(parts[1].clone())];
            let key = PrivateKeyDer::Pkcs8(parts[2].clone().into());
            let server = ServerConfig::builder().with_no_client_auth();
            Tls {
                client: client.into(),
                server: server.with_single_cert(chain, key).unwrap().into(),
            }
        });
    }

    const LENGTHS: [usize; 8] = [20, 1400, 4000, 125, 9000, 0, 600, 3000];
    const KINDS: [Kind; 3] = [Kind::Plain, Kind::Deflate, Kind::Tls];

    /// One of the conversations, as a byte that is none of those for a role.
    #[derive(Clone, Copy)]
    struct Talk(u8);

    impl Talk {
        const ALL: u8 = 2 * 2 * 2 * 2 * 3;

        /// Whether the digit is set.
        fn bit(self, n: u8) -> bool {
            ((self.0 / 3) >> n) & 1 == 1
        }

        /// What one side does: bit 0 says who is the client, 1 and 2 who runs on tokio, 3
        /// whether both are in halves.
        fn hold(self, near: bool, stream: TcpStream) -> Report {
            let client = self.bit(0) == near;
            let who = if client { 'c' } else { 's' };
            let kind = KINDS[usize::from(self.0 % 3)];
            let seat = Seat {
                role: if client { Role::Client } else { Role::Server },
                kind,
                // Who closes has to have heard all.
                way: match (self.bit(3), near) {
                    (false, _) => Way::Whole,
                    (true, true) => Way::Turns,
                    (true, false) => Way::Threads,
                },
                config: kind.config(),
                part: Part {
                    says: messages(who, &LENGTHS),
                    hears: LENGTHS.len(),
                    closes_after: near.then_some(LENGTHS.len()),
                },
            };
            if !self.bit(if near { 1 } else { 2 }) {
                return seat.on_blocking(stream);
            }
            let runtime = runtime();
            let stream = async_tcp(&runtime, stream);
            wait(&runtime, seat.on_tokio(stream))
        }

        /// What is wrong with that.
        fn judge(self, near: bool, report: &Report) -> Option<String> {
            let other = if self.bit(0) == near { 's' } else { 'c' };
            let all = report.heard == messages(other, &LENGTHS);
            let written = report.written == LENGTHS.len();
            let fine = ending(report) == "Closed" && all && written;
            (!fine).then(|| format!("{}, near {near}: {report:?}", self.0))
        }
    }

    /// What the far side found.
    static FOUND: Mutex<Vec<Option<String>>> = Mutex::new(Vec::new());

    /// The far side of a conversation, or what came of all of them.
    pub(super) fn serves(what: u8, stream: &mut TcpStream) -> bool {
        identify();
        if what == b'?' {
            let found = loop {
                let found = FOUND.lock().unwrap().clone();
                if found.len() == usize::from(Talk::ALL) {
                    break found;
                }
                thread::yield_now();
            };
            let wrong: Vec<String> = found.into_iter().flatten().collect();
            stream.write_all(wrong.join("\n").as_bytes()).unwrap();
            return true;
        }
        if what >= Talk::ALL {
            return false;
        }
        let report = Talk(what).hold(false, stream.try_clone().unwrap());
        FOUND.lock().unwrap().push(Talk(what).judge(false, &report));
        true
    }

    pub(super) fn converse(address: &str) {
        identify();
        let talks = (0..Talk::ALL).map(|n| {
            let address = address.to_owned();
            thread::spawn(move || {
                let mut stream = TcpStream::connect(address).unwrap();
                stream.set_nodelay(true).unwrap();
                stream.write_all(&[n]).unwrap();
                Talk(n).judge(true, &Talk(n).hold(true, stream))
            })
        });
        let talks: Vec<_> = talks.collect();
        let mut wrong: Vec<String> =
            talks.into_iter().filter_map(|talk| talk.join().unwrap()).collect();
        let mut stream = TcpStream::connect(address).unwrap();
        stream.write_all(b"?").unwrap();
        let mut theirs = String::new();
        stream.read_to_string(&mut theirs).unwrap();
        wrong.extend(theirs.lines().map(str::to_owned));
        super::say(&format!("{} conversations, {} went wrong", Talk::ALL, wrong.len()));
        if !wrong.is_empty() {
            wrong.iter().for_each(|why| super::say(why));
            exit(super::FAILED);
        }
    }
}
