//! The user memory of an idle connection of a server, with 51,000 connections.
//!
//! ```sh
//! cargo bench -p tickwire-loop --bench idle                              # over ws
//! cargo bench -p tickwire-loop --features rustls --bench idle -- wss     # over wss
//! ```
//!
//! With `--quick` there are 15,000 connections.
//!
//! The servers and their clients are processes of their own, because a process has descriptors for
//! few connections. A server reports its anonymous resident memory (`RssAnon`) before the first
//! connection, and after each client has had an echo and everything is silent. The difference, by
//! the number of connections, is everything that they hold: slots, connections, buffers, lists.
use std::{
    env,
    error::Error,
    fs,
    io::{self, BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};
use tickwire::{Config, handshake::server::Accept};
use tickwire_loop::{Door, Event, Loop, Settings};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

fn main() -> Result<()> {
    let each = if env::args().any(|arg| arg == "--quick") { 5_000 } else { 17_000 };
    let args: Vec<String> = env::args().skip(1).filter(|arg| !arg.starts_with("--")).collect();
    let args: Vec<&str> = args.iter().map(|arg| &**arg).collect();
    match args[..] {
        ["server", address, scheme] => serve(address.parse()?, scheme),
        ["clients", address, scheme, count] => connect(address.parse()?, scheme, count.parse()?),
        ["wss"] => measure("wss", 3, each),
        _ => measure("ws", 3, each),
    }
}

fn measure(scheme: &str, servers: usize, each: usize) -> Result<()> {
    let (mut before, mut after) = (0, 0);
    let mut running = Vec::new();
    for i in 0..servers {
        let at = format!("127.0.0.{}:0", i + 1);
        let (mut server, mut from_server) = child(&["server", &at, scheme])?;
        let address = line(&mut from_server)?;
        let (mut clients, mut from_clients) =
            child(&["clients", &address, scheme, &each.to_string()])?;
        line(&mut from_clients)?;
        writeln!(server.stdin.as_mut().ok_or("stdin")?)?;
        let told = line(&mut from_server)?;
        let told =
            told.split(' ').map(str::parse).collect::<std::result::Result<Vec<usize>, _>>()?;
        let [open, first, last] = told[..] else { return Err("three numbers".into()) };
        assert_eq!(open, each);
        before += first;
        after += last;
        running.push((server, from_server));
        clients.stdin.take();
        running.push((clients, from_clients));
    }
    for (mut child, _) in running {
        child.kill()?;
        child.wait()?;
    }
    let all = servers * each;
    println!("{scheme}: {all} connections in {servers} processes");
    println!(
        "  {} KiB before, {} KiB after: {} bytes each",
        before >> 10,
        after >> 10,
        (after - before) / all
    );
    Ok(())
}

fn child(args: &[&str]) -> Result<(Child, BufReader<impl Read + use<>>)> {
    let mut child = Command::new(env::current_exe()?)
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let out = child.stdout.take().ok_or("stdout")?;
    Ok((child, BufReader::new(out)))
}

fn line(from: &mut impl BufRead) -> Result<String> {
    let mut text = String::new();
    match from.read_line(&mut text)? {
        0 => Err("a child has ended".into()),
        _ => Ok(text.trim().to_owned()),
    }
}

// The server.

fn serve(address: SocketAddr, scheme: &str) -> Result<()> {
    let settings = Settings { max_per_address: usize::MAX, ..Settings::default() };
    let mut net = Loop::<()>::new(settings)?;
    let door = Door::new(Config::default());
    #[cfg(feature = "rustls")]
    let door = if scheme == "wss" { door.tls(tls::server()?) } else { door };
    let address = net.net().listen(address, door)?;
    println!("{address}");
    let waker = net.net().waker();
    thread::spawn(move || {
        let _ = io::stdin().read_line(&mut String::new());
        waker.wake()
    });
    let before = anonymous();
    net.run(|net, event| match event {
        Event::Request { answer, .. } => answer.accept(Accept::default(), ()),
        Event::Message { from, message, .. } => drop(net.send(from, message)),
        Event::Woken => println!("{} {before} {}", net.counts().open, anonymous()),
        _ => {}
    })?;
    let _ = scheme;
    Ok(())
}

/// Resident memory that is of no file, in bytes.
fn anonymous() -> usize {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"));
    let kib = line.and_then(|rest| rest.trim().strip_suffix(" kB")).map(str::parse::<usize>);
    kib.and_then(std::result::Result::ok).unwrap_or_default() << 10
}

// The clients.

fn connect(address: SocketAddr, scheme: &str, count: usize) -> Result<()> {
    #[cfg(feature = "rustls")]
    if scheme == "wss" {
        let all = (0..count).map(|_| tls::client(address)).collect::<Result<Vec<_>>>()?;
        return stay(all);
    }
    let _ = scheme;
    let request = format!(
        "GET / HTTP/1.1\r\nHost: {address}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    );
    let mut all = Vec::new();
    for _ in 0..count {
        let mut stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.write_all(request.as_bytes())?;
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte)?;
            head.push(byte[0]);
        }
        stream.write_all(b"\x82\x85\0\0\0\0hello")?;
        let mut reply = [0; 7];
        stream.read_exact(&mut reply)?;
        assert_eq!(&reply, b"\x82\x05hello");
        all.push(stream);
    }
    stay(all)
}

fn stay<T>(all: Vec<T>) -> Result<()> {
    thread::sleep(Duration::from_millis(500)); // the server is silent then
    println!("ready");
    thread::sleep(Duration::from_secs(3600)); // until the parent ends it
    drop(all);
    Ok(())
}

#[cfg(feature = "rustls")]
#[path = "support/certified.rs"]
mod certified;

#[cfg(feature = "rustls")]
mod tls {
    use super::Result;
    use std::{
        net::{SocketAddr, TcpStream},
        sync::OnceLock,
    };
    use tickwire::{
        Config, Dial,
        blocking::WebSocket,
        handshake::client::Request,
        tls::{Client, Server},
    };

    pub(crate) fn server() -> Result<Server> {
        crate::certified::server("idle")
    }

    pub(crate) fn client(address: SocketAddr) -> Result<WebSocket<impl Sized>> {
        static CONFIG: OnceLock<Client> = OnceLock::new();
        if CONFIG.get().is_none() {
            let config = Client::from(crate::certified::client("idle")?);
            let _ = CONFIG.set(config.in_place());
        }
        let config = CONFIG.get().ok_or("set above")?.clone();
        let request = Request::new("wss://localhost/")?;
        let mut ws = Dial::new(&request)
            .tls(config)
            .blocking_connect_with(&Config::default(), |_| TcpStream::connect(address))?;
        ws.send("hello")?;
        assert!(ws.recv()?.is_some());
        Ok(ws)
    }
}
