//! What the tests share: brokers, server processes, clients, and a line for each check.
use std::{
    collections::HashMap,
    env,
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    process::{Child, Command, ExitCode, Stdio},
    sync::{Arc, Mutex},
    thread,
    time::{Duration, Instant},
};
use tickwire::blocking::{self, WebSocket};
use tickwire::{Config, Heartbeat};

include!("../../../../tests/support/patience.rs");

/// How many messages each publisher publishes.
pub const MANY: usize = 2000;

pub const PROGRAM: &str = env!("CARGO_BIN_EXE_fan_out_bus");

/// A process that ends with this.
pub struct Running(pub Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Redis,
    Nats,
}

/// A broker, which keeps its port when it is killed.
pub struct Broker {
    pub kind: Kind,
    port: u16,
    /// Where NATS says who subscribes.
    monitor: u16,
    running: Option<Running>,
}

fn free_port() -> Result<u16, String> {
    let free = TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr());
    free.map(|address| address.port()).map_err(|e| e.to_string())
}

impl Broker {
    pub fn new(kind: Kind) -> Result<Self, String> {
        for _ in 0..5 {
            let (port, monitor) = (free_port()?, free_port()?);
            let mut broker = Self { kind, port, monitor, running: None };
            if broker.start()? {
                return Ok(broker);
            }
        }
        Err("no free port".into())
    }

    pub fn name(&self) -> &'static str {
        match self.kind {
            Kind::Redis => "Redis",
            _ => "NATS",
        }
    }

    /// Whether it answers; an error if there is no such program.
    pub fn start(&mut self) -> Result<bool, String> {
        let (variable, program) = match self.kind {
            Kind::Redis => ("REDIS_SERVER", "redis-server"),
            _ => ("NATS_SERVER", "nats-server"),
        };
        let program = env::var(variable).unwrap_or_else(|_| program.into());
        let mut command = Command::new(&program);
        match self.kind {
            Kind::Redis => {
                command.args(["--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--port"]);
                command.arg(self.port.to_string());
            }
            _ => {
                command.args(["-a", "127.0.0.1", "-p", &self.port.to_string(), "-m"]);
                command.arg(self.monitor.to_string());
            }
        }
        command.current_dir(env::temp_dir()).stdout(Stdio::null()).stderr(Stdio::null());
        self.running = Some(Running(command.spawn().map_err(|e| format!("{program}: {e}"))?));
        Ok(within(PATIENCE, || {
            let ended = |r: &mut Running| r.0.try_wait().is_ok_and(|status| status.is_some());
            if self.running.as_mut().is_none_or(ended) {
                return Some(false);
            }
            self.subscribed("a").map(|_| true)
        })
        .unwrap_or(false))
    }

    /// As SIGKILL does: without a word.
    pub fn kill(&mut self) {
        self.running = None;
    }

    pub fn url(&self) -> String {
        let scheme = match self.kind {
            Kind::Redis => "redis",
            Kind::Nats => "nats",
        };
        format!("{scheme}://127.0.0.1:{}", self.port)
    }

    fn connection(&self) -> Option<redis::Connection> {
        let mut connection = redis::Client::open(self.url()).ok()?.get_connection().ok()?;
        redis::cmd("PING").query::<String>(&mut connection).ok()?;
        Some(connection)
    }

    /// How many connections there are to Redis, but for this one.
    pub fn connections(&self) -> Option<usize> {
        let list = redis::cmd("CLIENT").arg("LIST").query::<String>(&mut self.connection()?);
        list.ok().map(|list| list.lines().count() - 1)
    }

    /// How many processes have subscribed to a channel.
    pub fn subscribed(&self, channel: &str) -> Option<u64> {
        if self.kind != Kind::Redis {
            return self.subjects(&format!("feed.{channel}"));
        }
        let mut connection = self.connection()?;
        let mut command = redis::cmd("PUBSUB");
        command.arg("NUMSUB").arg(format!("feed:{channel}"));
        command.query::<(String, u64)>(&mut connection).ok().map(|(_, n)| n)
    }

    /// How many subscribe to a subject, by the server's own report.
    fn subjects(&self, subject: &str) -> Option<u64> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.monitor)).ok()?;
        let get = "GET /subsz?subs=1&limit=10000 HTTP/1.0\r\n\r\n";
        stream.write_all(get.as_bytes()).ok()?;
        let mut report = String::new();
        stream.read_to_string(&mut report).ok()?;
        TcpStream::connect(("127.0.0.1", self.port)).ok()?;
        report.contains("200 OK").then_some(())?;
        Some(report.matches(&format!("\"subject\": \"{subject}\"")).count() as u64)
    }

    /// What some other program publishes on a channel, or beside them; how many processes get it.
    pub fn publish(&self, channel: &str, message: &str) -> Option<u64> {
        if self.kind != Kind::Redis {
            let subject = channel.replace("feed:", "feed.");
            let mut stream = TcpStream::connect(("127.0.0.1", self.port)).ok()?;
            let length = message.len();
            let said = format!(
                "CONNECT {{\"verbose\":false}}\r\nPUB {subject} {length}\r\n{message}\r\nPING\r\n"
            );
            stream.write_all(said.as_bytes()).ok()?;
            let mut lines = BufReader::new(stream).lines().map_while(Result::ok);
            lines.find(|line| line == "PONG")?;
            return self.subjects(&subject);
        }
        let mut command = redis::cmd("PUBLISH");
        command.arg(channel).arg(message).query(&mut self.connection()?).ok()
    }

    /// Whether that many processes come to be subscribed.
    pub fn comes_to(&self, channel: &str, processes: u64) -> bool {
        within(PATIENCE, || (self.subscribed(channel)? == processes).then_some(())).is_some()
    }
}

/// A server process, and what it prints.
pub struct Server {
    _running: Running,
    pub url: String,
    printed: Arc<Mutex<Vec<String>>>,
}

impl Server {
    pub fn new(broker: &Broker) -> Self {
        let mut command = Command::new(PROGRAM);
        command.args(["--bus", &broker.url(), "--listen", "127.0.0.1:0", "--stats"]);
        // More than waits for one of ours while another is read.
        command.args(["--max-behind", "4194304"]);
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let printed = Arc::new(Mutex::new(Vec::new()));
        let (lines, sink) = (BufReader::new(child.stdout.take().unwrap()).lines(), printed.clone());
        thread::spawn(move || {
            lines.map_while(Result::ok).for_each(|l| sink.lock().unwrap().push(l))
        });
        let mut server = Self { _running: Running(child), url: String::new(), printed };
        server.url = server.prints("listening on ws://").unwrap()["listening on ".len()..].into();
        server
    }

    /// Waits for a line that has this.
    pub fn prints(&self, text: &str) -> Option<String> {
        within(PATIENCE, || {
            self.printed.lock().unwrap().iter().find(|line| line.contains(text)).cloned()
        })
    }
}

/// A WebSocket, and all it was told.
pub struct Client {
    pub ws: WebSocket<blocking::MaybeTls>,
    pub seen: Vec<String>,
}

impl Client {
    pub fn new(server: &Server) -> Self {
        let config =
            Config { heartbeat: Some(Heartbeat::new(PATIENCE, PATIENCE)), ..Config::default() };
        let mut ws = blocking::connect(&server.url, &config).unwrap();
        ws.set_read_timeout(Some(PATIENCE)).unwrap();
        Self { ws, seen: Vec::new() }
    }

    pub fn say(&mut self, text: &str) {
        let _ = self.ws.send(text); // what is wrong, the next one read says
    }

    /// Reads until it is told something of which this is true, and says what.
    pub fn told(&mut self, wanted: impl Fn(&str) -> bool) -> Result<String, String> {
        loop {
            match self.ws.recv() {
                Ok(Some(message)) => {
                    let text = String::from_utf8_lossy(message.as_bytes()).into_owned();
                    self.seen.push(text.clone());
                    if wanted(&text) {
                        return Ok(text);
                    }
                }
                Ok(None) => return Err(format!("{:?}", self.ws.closed())),
                Err(error) => return Err(error.to_string()),
            }
        }
    }

    pub fn is_told(&mut self, text: &str) -> bool {
        self.told(|told| told == text).is_ok()
    }

    /// Whether it is told this, or has been.
    pub fn knows(&mut self, text: &str) -> bool {
        self.seen.iter().any(|told| told == text) || self.is_told(text)
    }

    pub fn ask(&mut self, text: &str, answer: &str) -> bool {
        self.say(text);
        self.is_told(answer)
    }

    /// Whether something comes that begins so.
    pub fn is_told_so(&mut self, start: &str) -> bool {
        self.told(|told| told.starts_with(start)).is_ok()
    }

    /// The messages on a channel so far: FROM, SEQ, PAYLOAD.
    pub fn messages(&self, channel: &str) -> Vec<(String, u64, String)> {
        let start = format!("message {channel} ");
        let messages = self.seen.iter().filter_map(|line| line.strip_prefix(&start));
        let fields = |message: &str| {
            let mut fields = message.splitn(4, ' ');
            let from = fields.next().unwrap().to_owned();
            let seq = fields.next().unwrap().parse().unwrap();
            (from, seq, fields.nth(1).unwrap().to_owned())
        };
        messages.map(fields).collect()
    }

    /// Reads until there are so many messages on a channel.
    pub fn reads(&mut self, channel: &str, messages: usize) -> bool {
        let start = format!("message {channel} ");
        let mut have = self.messages(channel).len();
        while have < messages && self.is_told_so(&start) {
            have += 1;
        }
        have == messages
    }

    /// Publishes numbered messages, no more than 100 under way, and says by whom the last was.
    pub fn publishes(&mut self, channel: &str, messages: usize) -> bool {
        let answer = format!("published {channel} ");
        (0..messages).collect::<Vec<_>>().chunks(100).all(|chunk| {
            chunk.iter().for_each(|n| self.say(&format!("pub {channel} {n}")));
            chunk.iter().all(|_| self.is_told_so(&answer))
        })
    }
}

/// Tries until there is something.
pub fn within<T>(time: Duration, mut attempt: impl FnMut() -> Option<T>) -> Option<T> {
    let until = Instant::now() + time;
    loop {
        match attempt() {
            Some(got) => return Some(got),
            None if Instant::now() > until => return None,
            None => thread::sleep(Duration::from_millis(10)),
        }
    }
}

/// Whether each publisher's numbers go up one by one from the first.
pub fn in_order(messages: &[(String, u64, String)]) -> bool {
    let mut last: HashMap<&str, u64> = HashMap::new();
    messages.iter().all(|(from, seq, _)| {
        let before = last.insert(from, *seq);
        before.is_none_or(|before| before + 1 == *seq)
    })
}

pub struct Checks {
    /// Goes before what was checked.
    over: String,
    pub failed: bool,
}

impl Checks {
    pub fn check(&mut self, what: &str, holds: bool) {
        let Self { over, .. } = self;
        println!("{} {over}{what}", if holds { "ok  " } else { "FAIL" });
        self.failed |= !holds;
    }
}

/// A process that publishes numbered messages.
pub fn publisher(broker: &Broker, channel: &str, count: usize, rate: usize) -> Running {
    let mut command = Command::new(PROGRAM);
    command.args(["publish", channel, "--bus", &broker.url(), "--count", &count.to_string()]);
    command.args(["--rate", &rate.to_string()]).stdout(Stdio::null());
    Running(command.spawn().unwrap())
}

/// Makes the checks of a test for each kind of broker there is a program for.
pub fn main_of(name: &str, kinds: &[Kind], run: fn(Broker, &mut Checks)) -> ExitCode {
    let args: Vec<String> = env::args().skip(1).collect();
    let wanted = |arg: &String| arg.starts_with('-') || name.contains(arg.as_str());
    if args.iter().any(|arg| arg == "--list") || !args.iter().all(wanted) {
        return ExitCode::SUCCESS;
    }
    let mut failed = false;
    for kind in kinds {
        match Broker::new(*kind) {
            Ok(broker) => {
                let mut checks = Checks { over: format!("{kind:?}: "), failed: false };
                run(broker, &mut checks);
                failed |= checks.failed;
            }
            Err(error) => println!("!! {name}: {kind:?}: NOT RUN: {error} !!"),
        }
    }
    if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}
