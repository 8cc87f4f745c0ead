//! A peer that vanishes without a FIN: packets are dropped between two network namespaces, and the
//! heartbeat finds it within 1.25 × interval + timeout (P204), over either adapter, whole and split,
//! as client and as server.
//!
//! Three processes in a namespace each: `near` holds the connections under test, `far` their peers,
//! and `router` forwards between them until it is told not to, which drops packets without a word.
//! The namespaces go when the processes do; nothing outside them is touched. Needs Linux, `ip`,
//! `unshare` and the right to make namespaces (root, or user namespaces); says so and passes where
//! that is missing.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[cfg(not(all(target_os = "linux", feature = "tokio")))]
fn main() {
    println!("netns: skipped: needs Linux and the feature tokio");
}

#[cfg(all(target_os = "linux", feature = "tokio"))]
fn main() {
    linux::main();
}

#[cfg(all(target_os = "linux", feature = "tokio"))]
mod linux {
    use std::{
        env,
        io::{self, BufRead, BufReader, Lines, Read, Write},
        net::{TcpListener, TcpStream},
        process::{Child, ChildStdin, ChildStdout, Command, Stdio, exit},
        sync::mpsc,
        thread,
        time::{Duration, Instant},
    };
    use tickwire::{
        Config, Error, Event, Heartbeat, Message, RecvError, blocking, handshake::client::Request,
        tokio as adapter,
    };

    const INTERVAL: Duration = Duration::from_secs(1);
    const TIMEOUT: Duration = Duration::from_secs(1);
    /// For a busy machine, on which a thread that is due may not run at once.
    const SLACK: Duration = Duration::from_secs(1);
    /// No part of it takes as long.
    const PATIENCE: Duration = Duration::from_secs(40);

    const ROLE: &str = "TICKWIRE_NETNS_ROLE";
    const FAILED: i32 = 3;
    const NOT_PERMITTED: i32 = 77;

    pub(crate) fn main() {
        match env::var(ROLE).as_deref() {
            Ok("router") => router(),
            Ok("near") => near(),
            Ok("far") => far(),
            _ => from_outside(),
        }
    }

    /// This program again, in a network namespace of its own.
    fn apart(role: &str, user: &[&str]) -> Command {
        let mut command = Command::new("unshare");
        command.arg("--net").args(user).arg(env::current_exe().unwrap()).env(ROLE, role);
        command
    }

    fn from_outside() {
        let args: Vec<String> = env::args().skip(1).collect();
        let wanted = |arg: &String| arg.starts_with('-') || "netns".contains(arg.as_str());
        if args.iter().any(|arg| arg == "--list") || !args.iter().all(wanted) {
            return;
        }
        let ran = apart("router", &[]).output();
        let ran = match ran {
            // Not root: as the root of a user namespace, if there may be one.
            Ok(ran) if ran.status.code() == Some(1) => {
                apart("router", &["--user", "--map-root-user"]).output()
            }
            ran => ran,
        };
        let (status, out) = match ran {
            Ok(ran) => (ran.status, [ran.stdout, ran.stderr].concat()),
            Err(error) => return println!("netns: skipped: unshare: {error}"),
        };
        let out = String::from_utf8_lossy(&out);
        match status.code() {
            Some(0) => println!("{out}netns: ok"),
            Some(1 | NOT_PERMITTED) => println!("netns: skipped: {}", out.trim()),
            _ => panic!("netns: {status}\n{out}"),
        }
    }

    // The router.

    fn run(command: &str) {
        let mut words = command.split(' ');
        let ran = Command::new(words.next().unwrap()).args(words).output();
        let trouble = match ran {
            Ok(ran) if ran.status.success() => return,
            Ok(ran) => String::from_utf8_lossy(&ran.stderr).into_owned(),
            Err(error) => error.to_string(),
        };
        not_permitted(command, trouble.trim());
    }

    fn not_permitted(what: &str, why: &str) -> ! {
        eprintln!("{what}: {why}");
        exit(NOT_PERMITTED)
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
            let spawned = apart(role, &[]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
            let mut child = spawned.unwrap_or_else(|e| not_permitted("unshare", &e.to_string()));
            let to = child.stdin.take().unwrap();
            let from = BufReader::new(child.stdout.take().unwrap()).lines();
            let mut this = Self { child, to, from };
            this.expect("here"); // and so in its namespace
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
        near.expect("open");
        forward(false);
        near.tell("gone");
        loop {
            let line = near.line(); // the end of `near` ends this too
            println!("{line}");
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
        thread::spawn(|| {
            thread::sleep(PATIENCE);
            eprintln!("it hangs");
            exit(FAILED);
        });
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
        let config = Config::default().heartbeat(Heartbeat::new(INTERVAL, TIMEOUT));
        let (alive, lives) = mpsc::channel();
        let mut found = Vec::new();
        for (adapter, hold) in [("blocking", in_a_thread as Hold), ("tokio", in_a_task)] {
            for split in [false, true] {
                for client in [false, true] {
                    let (address, config, alive) = (address.clone(), config.clone(), alive.clone());
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
        drop(alive);
        for _ in &found {
            lives.recv().expect("all connections live through a Ping");
        }
        say("open");
        assert_eq!(told(), "gone");
        let gone = Instant::now();
        let most = INTERVAL * 5 / 4 + TIMEOUT;
        let mut failed = false;
        for (name, holding) in found {
            let (error, at) = holding.join().unwrap();
            let took = at - gone;
            say(&format!("{name}: {error}, {took:.3?} after it vanished, at most {most:?}"));
            failed |= !matches!(error, Error::Recv(RecvError::PongTimeout)) || took > most + SLACK;
        }
        exit(if failed { FAILED } else { 0 });
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
}
