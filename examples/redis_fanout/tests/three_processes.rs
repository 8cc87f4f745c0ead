//! A real redis-server, three processes, subscribers of each, publishers anywhere, and a restart of
//! Redis in the middle. Prints `ok` or `FAIL` and what was checked, a line each.
//!
//! Needs `redis-server` (in the PATH, or as REDIS_SERVER); says so and passes where it is missing. All
//! on the loopback, on free ports; what is started here ends here.
use std::{
    collections::HashMap,
    env,
    io::{BufRead, BufReader},
    net::TcpListener,
    process::{Child, Command, ExitCode, Stdio},
    sync::{Arc, Mutex},
    thread,
    time::{Duration, Instant},
};
use tickwire::blocking::{self, WebSocket};
use tickwire::{CloseCode, Config, Heartbeat};

/// No part of it takes as long.
const PATIENCE: Duration = Duration::from_secs(30);

/// How many messages each publisher publishes.
const MANY: usize = 2000;

const PROGRAM: &str = env!("CARGO_BIN_EXE_redis_fanout");

/// A process that ends with this.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

struct Redis {
    port: u16,
    running: Option<Running>,
}

impl Redis {
    fn new() -> Result<Self, String> {
        for _ in 0..5 {
            let free = TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr());
            let mut redis = Self { port: free.map_err(|e| e.to_string())?.port(), running: None };
            if redis.start()? {
                return Ok(redis);
            }
        }
        Err("no free port".into())
    }

    /// Whether it answers; an error if there is no such program.
    fn start(&mut self) -> Result<bool, String> {
        let program = env::var("REDIS_SERVER").unwrap_or_else(|_| "redis-server".into());
        let mut command = Command::new(&program);
        command.args(["--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--port"]);
        command.arg(self.port.to_string()).current_dir(env::temp_dir());
        command.stdout(Stdio::null()).stderr(Stdio::null());
        self.running = Some(Running(command.spawn().map_err(|e| format!("{program}: {e}"))?));
        Ok(within(PATIENCE, || {
            let ended = |r: &mut Running| r.0.try_wait().is_ok_and(|status| status.is_some());
            if self.running.as_mut().is_none_or(ended) {
                return Some(false);
            }
            self.connection().map(|_| true)
        })
        .unwrap_or(false))
    }

    fn kill(&mut self) {
        self.running = None;
    }

    fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    fn connection(&self) -> Option<redis::Connection> {
        let mut connection = redis::Client::open(self.url()).ok()?.get_connection().ok()?;
        redis::cmd("PING").query::<String>(&mut connection).ok()?;
        Some(connection)
    }

    /// How many processes have subscribed to a channel.
    fn subscribed(&self, channel: &str) -> Option<u64> {
        let mut connection = self.connection()?;
        let mut command = redis::cmd("PUBSUB");
        command.arg("NUMSUB").arg(format!("feed:{channel}"));
        command.query::<(String, u64)>(&mut connection).ok().map(|(_, n)| n)
    }

    fn publish(&self, channel: &str, message: &str) -> Option<u64> {
        let mut command = redis::cmd("PUBLISH");
        command.arg(channel).arg(message).query(&mut self.connection()?).ok()
    }

    /// Whether that many processes come to be subscribed.
    fn comes_to(&self, channel: &str, processes: u64) -> bool {
        within(PATIENCE, || (self.subscribed(channel)? == processes).then_some(())).is_some()
    }
}

/// A server process, and what it prints.
struct Server {
    running: Running,
    url: String,
    printed: Arc<Mutex<Vec<String>>>,
}

impl Server {
    fn new(redis: &Redis, options: &[&str]) -> Self {
        let mut command = Command::new(PROGRAM);
        command.args(["--redis", &redis.url(), "--listen", "127.0.0.1:0", "--stats"]);
        // More than waits for one of ours while another is read.
        command.args(["--max-behind", "4194304"]).args(options);
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let printed = Arc::new(Mutex::new(Vec::new()));
        let (lines, sink) = (BufReader::new(child.stdout.take().unwrap()).lines(), printed.clone());
        thread::spawn(move || {
            lines.map_while(Result::ok).for_each(|l| sink.lock().unwrap().push(l))
        });
        let mut server = Self { running: Running(child), url: String::new(), printed };
        server.url = server.prints("listening on ws://").unwrap()["listening on ".len()..].into();
        server
    }

    /// Waits for a line that has this.
    fn prints(&self, text: &str) -> Option<String> {
        within(PATIENCE, || {
            self.printed.lock().unwrap().iter().find(|line| line.contains(text)).cloned()
        })
    }
}

/// A WebSocket, and all it was told.
struct Client {
    ws: WebSocket<blocking::MaybeTls>,
    seen: Vec<String>,
}

impl Client {
    fn new(server: &Server) -> Self {
        let config = Config::default().heartbeat(Heartbeat::new(PATIENCE, PATIENCE));
        let mut ws = blocking::connect(&server.url, &config).unwrap();
        ws.set_read_timeout(Some(PATIENCE)).unwrap();
        Self { ws, seen: Vec::new() }
    }

    fn say(&mut self, text: &str) {
        let _ = self.ws.send(text); // what is wrong, the next one read says
    }

    /// Reads until it is told something of which this is true, and says what.
    fn told(&mut self, wanted: impl Fn(&str) -> bool) -> Result<String, String> {
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

    fn is_told(&mut self, text: &str) -> bool {
        self.told(|told| told == text).is_ok()
    }

    /// Whether it is told this, or has been.
    fn knows(&mut self, text: &str) -> bool {
        self.seen.iter().any(|told| told == text) || self.is_told(text)
    }

    fn ask(&mut self, text: &str, answer: &str) -> bool {
        self.say(text);
        self.is_told(answer)
    }

    /// Whether something comes that begins so.
    fn is_told_so(&mut self, start: &str) -> bool {
        self.told(|told| told.starts_with(start)).is_ok()
    }

    /// The messages on a channel so far: FROM, SEQ, PAYLOAD.
    fn messages(&self, channel: &str) -> Vec<(String, u64, String)> {
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
    fn reads(&mut self, channel: &str, messages: usize) -> bool {
        let start = format!("message {channel} ");
        let mut have = self.messages(channel).len();
        while have < messages && self.is_told_so(&start) {
            have += 1;
        }
        have == messages
    }

    /// Publishes numbered messages, no more than 100 under way, and says by whom the last was.
    fn publishes(&mut self, channel: &str, messages: usize) -> bool {
        let answer = format!("published {channel} ");
        (0..messages).collect::<Vec<_>>().chunks(100).all(|chunk| {
            chunk.iter().for_each(|n| self.say(&format!("pub {channel} {n}")));
            chunk.iter().all(|_| self.is_told_so(&answer))
        })
    }
}

/// Tries until there is something.
fn within<T>(time: Duration, mut attempt: impl FnMut() -> Option<T>) -> Option<T> {
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
fn in_order(messages: &[(String, u64, String)]) -> bool {
    let mut last: HashMap<&str, u64> = HashMap::new();
    messages.iter().all(|(from, seq, _)| {
        let before = last.insert(from, *seq);
        before.is_none_or(|before| before + 1 == *seq)
    })
}

#[derive(Default)]
struct Checks {
    failed: bool,
}

impl Checks {
    fn check(&mut self, what: &str, holds: bool) {
        println!("{} {what}", if holds { "ok  " } else { "FAIL" });
        self.failed |= !holds;
    }
}

fn closed_with<S>(ws: &WebSocket<S>, code: CloseCode) -> bool {
    ws.closed().is_some_and(|end| end.code == code.get())
}

fn main() -> ExitCode {
    let args: Vec<String> = env::args().skip(1).collect();
    let wanted = |arg: &String| arg.starts_with('-') || "three_processes".contains(arg.as_str());
    if args.iter().any(|arg| arg == "--list") || !args.iter().all(wanted) {
        return ExitCode::SUCCESS;
    }
    let redis = match Redis::new() {
        Ok(redis) => redis,
        Err(error) => {
            println!("three_processes: skipped: {error}");
            return ExitCode::SUCCESS;
        }
    };
    let mut checks = Checks::default();
    run(redis, &mut checks);
    if checks.failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

fn publisher(redis: &Redis, channel: &str, count: usize) -> Running {
    let mut command = Command::new(PROGRAM);
    command.args(["publish", channel, "--redis", &redis.url(), "--count", &count.to_string()]);
    Running(command.args(["--rate", "4000"]).stdout(Stdio::null()).spawn().unwrap())
}

fn run(mut redis: Redis, checks: &mut Checks) {
    let servers = [[].as_slice(), &["--max-channels", "3"], &[]].map(|o| Server::new(&redis, o));

    // Three subscribers of each process: one of a, one of b, one of both.
    let mut clients: Vec<(usize, [bool; 2], Client)> = Vec::new();
    for (at, server) in servers.iter().enumerate() {
        for wants in [[true, false], [false, true], [true, true]] {
            clients.push((at, wants, Client::new(server)));
        }
    }
    let all = clients.iter_mut().all(|(_, [a, b], client)| {
        (!*a || client.ask("sub a", "subscribed a")) && (!*b || client.ask("sub b", "subscribed b"))
    });
    checks.check("nine subscribers of three processes are told that they are subscribed", all);
    let once = redis.subscribed("a") == Some(3) && redis.subscribed("b") == Some(3);
    checks.check("each process subscribes at Redis once, whoever many want a channel", once);
    checks.check("and to nothing that nobody wants", redis.subscribed("c") == Some(0));

    // Two programs publish on a, clients of two processes on b.
    let mut programs = [publisher(&redis, "a", MANY), publisher(&redis, "a", MANY)];
    let mut speakers = [Client::new(&servers[0]), Client::new(&servers[1])];
    let said = thread::scope(|scope| {
        let said = speakers.each_mut().map(|one| scope.spawn(|| one.publishes("b", MANY)));
        said.map(|one| one.join().unwrap()).iter().all(|said| *said)
    });
    checks.check("clients of two processes are told that Redis has what they published", said);
    let ended = programs.each_mut().map(|one| one.0.wait().is_ok_and(|status| status.success()));
    checks.check("two programs have published", ended == [true, true]);
    received(checks, &mut clients, 2 * MANY, "all of both publishers");
    if checks.failed {
        return; // no need to wait for all the rest of it
    }

    // Anybody can publish; what is no text is binary.
    let plain = redis.publish("feed:a", "by hand") == Some(3);
    let told = on(&mut clients, 0, |client| client.is_told("message a - 0 0 by hand"));
    checks.check("what any Redis client publishes arrives, without a number", plain && told);
    checks.check("another application's channels are out of reach", {
        let reached = redis.publish("a", "not ours");
        reached == Some(0)
    });
    let _ = speakers[0].ws.send(&b"pub b \xff\x00"[..]);
    let binary = speakers[0].is_told_so("published b ")
        && on(&mut clients, 1, |client| match client.ws.recv() {
            Ok(Some(message)) => {
                message.as_text().is_none() && message.as_bytes().ends_with(b" \xff\x00")
            }
            _ => false,
        });
    checks.check("a payload that is no text arrives as a binary message", binary);
    clients.iter_mut().for_each(|(_, _, client)| client.seen.clear());

    limits(checks, &redis, &servers, &mut speakers);
    slow(checks, &servers, &mut speakers[0]);

    // Redis goes, and comes back.
    redis.kill();
    let stale = on(&mut clients, 0, |client| client.knows("stale a"))
        & on(&mut clients, 1, |client| client.knows("stale b"));
    checks.check("when Redis is killed all are told that what they see is stale", stale);
    let refused = (0..3).all(|_| speakers[0].ask("pub b lost", "error not published on b"));
    checks.check("who publishes meanwhile is told that it failed", refused);
    let mut late = Client::new(&servers[0]);
    late.say("sub a");
    checks.check("Redis is started again", redis.start() == Ok(true));
    let back = on(&mut clients, 0, |client| client.knows("gap a ?"))
        & on(&mut clients, 1, |client| client.knows("gap b ?"));
    checks.check("all are told of the gap, on the connections they had", back);
    let late_in = late.is_told("subscribed a") && late.seen.len() == 1;
    checks.check("who came meanwhile is subscribed then, and told of no gap", late_in);
    let [tries, others] = [(0, "b"), (1, "c")].map(|(at, channel)| {
        let speaker = &mut speakers[at];
        let mut tries = 0;
        let done = within(PATIENCE, || {
            tries += 1;
            speaker.say(&format!("pub {channel} back"));
            let answer = speaker.told(|t| t.starts_with("published") || t.starts_with("error"));
            answer.is_ok_and(|answer| answer.starts_with("published")).then_some(())
        });
        done.map(|()| tries)
    });
    let again = tries.and(others);
    let lost = 3 + tries.unwrap_or(1) - 1;
    checks.check("the same clients can publish again", again.is_some());
    if checks.failed {
        return;
    }
    let counted = on(&mut clients, 1, |client| client.knows(&format!("gap b {lost}")));
    checks.check("how many are missing is told by the first message behind", counted);
    clients.iter_mut().for_each(|(_, _, client)| client.seen.clear());
    let told = on(&mut clients, 1, |client| client.is_told_so("message b "));
    checks.check("which arrives", told);
    let mut programs = [publisher(&redis, "a", MANY), publisher(&redis, "a", MANY)];
    let said = thread::scope(|scope| {
        let said = speakers.each_mut().map(|one| scope.spawn(|| one.publishes("b", MANY)));
        said.map(|one| one.join().unwrap()).iter().all(|said| *said)
    });
    let ended = programs.each_mut().map(|one| one.0.wait().is_ok_and(|status| status.success()));
    checks.check("all publish again", said && ended == [true, true]);
    if checks.failed {
        return;
    }
    clients.iter_mut().for_each(|(_, _, client)| client.seen.clear());
    received(checks, &mut clients, 2 * MANY, "all of both publishers after the restart");
    let calm =
        !clients.iter().any(|(_, _, client)| client.seen.iter().any(|l| l.starts_with("gap")));
    checks.check("and no gap that is none", calm);

    // What it shows.
    let shown = servers.iter().all(|server| server.prints(", lag p50 ").is_some());
    checks.check("each process shows its lag", shown);
    let shown = servers.iter().all(|server| server.prints("Redis lost ").is_some());
    checks.check("and that Redis was lost", shown);

    // They leave: one says so, the others just go.
    for (at, wants, client) in &mut clients {
        if *at == 2 && wants[1] {
            client.ask("unsub b", "unsubscribed b");
        }
    }
    checks.check("when the last of a process gives a channel up, so does the process", {
        redis.comes_to("b", 2) && redis.subscribed("a") == Some(3)
    });
    clients.retain(|(at, _, _)| *at != 2);
    checks.check("or when the last has gone", redis.comes_to("a", 2));

    // They stop.
    let mut goodbyes = true;
    let mut exits = true;
    let [mut one, two, _three] = servers;
    drop(two);
    let pid = one.running.0.id().to_string();
    exits &= Command::new("kill").args(["-TERM", &pid]).status().is_ok_and(|s| s.success());
    for (at, _, client) in &mut clients {
        if *at == 0 {
            let _ = client.told(|_| false);
            goodbyes &= closed_with(&client.ws, CloseCode::GOING_AWAY);
        }
    }
    drop((late, speakers));
    exits &= one.running.0.wait().is_ok_and(|status| status.success());
    checks.check("a process that is asked to stop says goodbye to each, with 1001", goodbyes);
    checks.check("and ends well", exits);
}

/// Whether this is so for all who want channel a (0) or b (1).
fn on(
    clients: &mut [(usize, [bool; 2], Client)],
    channel: usize,
    mut so: impl FnMut(&mut Client) -> bool,
) -> bool {
    let concerned = clients.iter_mut().filter(|(_, wants, _)| wants[channel]);
    concerned.map(|(_, _, client)| so(client)).fold(true, |all, one| all & one)
}

/// Each has got as many on each of its channels, in order, and all the same.
fn received(
    checks: &mut Checks,
    clients: &mut [(usize, [bool; 2], Client)],
    messages: usize,
    what: &str,
) {
    for (at, name) in ["a", "b"].into_iter().enumerate() {
        let got = on(clients, at, |client| client.reads(name, messages));
        checks.check(&format!("every subscriber of {name} has {what}"), got);
        let order = on(clients, at, |client| in_order(&client.messages(name)));
        checks.check(&format!("each publisher's are in its order on {name}"), order);
        let mut first = None;
        let same = on(clients, at, |client| {
            let messages = client.messages(name);
            *first.get_or_insert_with(|| messages.clone()) == messages
        });
        checks.check(&format!("and all subscribers of {name} have seen one order"), same);
    }
}

fn limits(checks: &mut Checks, redis: &Redis, servers: &[Server; 3], speakers: &mut [Client; 2]) {
    let mut client = Client::new(&servers[1]);
    let named = format!("sub {}", "x".repeat(129));
    let mut errors = true;
    for bad in [&*named, "sub", "sub ", "sub a b", "hello", "", "pub a"] {
        client.say(bad);
        errors &= client.told(|_| true).is_ok_and(|answer| answer.starts_with("error "));
    }
    checks.check("what is no wish gets an error, and nothing else", errors);
    let three = ["x", "y", "z"]
        .map(|name| client.ask(&format!("sub {name}"), &format!("subscribed {name}")));
    let bound = client.ask("sub w", "error at most 3 channels");
    let kept = client.ask("unsub x", "unsubscribed x") && client.ask("sub w", "subscribed w");
    checks.check("a client may have so many channels", three == [true; 3] && bound && kept);
    let (x, w) = (redis.comes_to("x", 0), redis.comes_to("w", 1));
    checks.check("and those alone are asked for", x && w);
    let own = client.ask("sub w", "subscribed w") && speakers[1].publishes("w", 1);
    let once = client.reads("w", 1) && client.ask("unsub w", "unsubscribed w");
    checks.check("subscribing twice is once", own && once && client.messages("w").len() == 1);
}

/// One who does not read is let go, and the others notice nothing.
fn slow(checks: &mut Checks, servers: &[Server; 3], speaker: &mut Client) {
    let (mut slow, mut quick) = (Client::new(&servers[2]), Client::new(&servers[2]));
    let in_both = slow.ask("sub big", "subscribed big") && quick.ask("sub big", "subscribed big");
    let payload = "x".repeat(60_000);
    let mut reads = in_both;
    for _ in 0..200 {
        speaker.say(&format!("pub big {payload}"));
        reads &= speaker.is_told_so("published big ") && quick.is_told_so("message big ");
    }
    checks.check("one who reads gets all", reads && in_order(&quick.messages("big")));
    let _ = slow.told(|_| false);
    let whole = in_order(&slow.messages("big"));
    let let_go = closed_with(&slow.ws, CloseCode::TRY_AGAIN_LATER);
    checks
        .check("one who does not read is let go with 1013, without a hole before", whole && let_go);
}
