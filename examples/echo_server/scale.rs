//! `--scale` measures the server with more and more threads. The server of each row is this
//! program, started again. This process makes the load, and takes processors too.
use arguments::Arguments;
use std::{
    env,
    error::Error,
    fs,
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    thread,
    time::Duration,
};
use tickwire::{
    CloseCode, Config, Dial,
    blocking::{MaybeTls, WebSocket},
    handshake::client::Request,
    tls::platform_config_and_roots,
};

/// Prints a row for each number of threads.
pub(crate) fn run(args: &Arguments) -> Result<(), Box<dyn Error>> {
    let [cert, key] = ["--tls-cert", "--tls-key"].map(|name| (name, args.optional(name)));
    println!("threads  messages/s  ns of processor time a message");
    for threads in 1..=args.number("--scale", 1..=1024) {
        let mut server = Command::new(env::current_exe()?);
        server.args(["--listen", "127.0.0.1:0", "--threads", &threads.to_string()]);
        server.args(args.has("--io-uring").then_some("--io-uring"));
        for (name, file) in [&cert, &key] {
            server.args(file.iter().flat_map(|file| [*name, file]));
        }
        let mut server = server.stdout(Stdio::piped()).spawn()?;
        let mut line = String::new();
        BufReader::new(server.stdout.take().ok_or("no output")?).read_line(&mut line)?;
        let url = line.trim().trim_start_matches("listening on ");
        let all = (0..16 * threads).map(|_| connect(url, cert.1.as_deref())).collect();
        let row = Result::<Vec<_>, _>::map(all, |all| measure(all, &server));
        let _ = server.kill().and_then(|()| server.wait());
        let (messages, took) = row?;
        let cost = took.map_or("not told by this system".to_owned(), |took| {
            format!("{:.0}", took.as_nanos() as f64 / messages as f64)
        });
        println!("{threads:7}  {messages:10}  {cost}");
    }
    Ok(())
}

/// Dials a server that has the certificate of a file.
fn connect(url: &str, cert: Option<&str>) -> Result<WebSocket<MaybeTls>, Box<dyn Error>> {
    let request = Request::new(url)?;
    let mut dial = Dial::new(&request);
    if let Some(file) = cert {
        dial = dial.tls(platform_config_and_roots(&fs::read(file)?)?);
    }
    Ok(dial.blocking_connect(&Config::default())?)
}

/// Returns the messages of a second, and the server's processor time.
fn measure(all: Vec<WebSocket<MaybeTls>>, server: &Child) -> (u64, Option<Duration>) {
    let (messages, stop) = (&AtomicU64::new(0), &AtomicBool::new(false));
    let now = || (messages.load(Relaxed), processor(server));
    thread::scope(|scope| {
        all.into_iter().for_each(|ws| _ = scope.spawn(move || load(ws, messages, stop)));
        thread::sleep(Duration::from_millis(200));
        let before = now();
        thread::sleep(Duration::from_secs(1));
        let after = now();
        stop.store(true, Relaxed);
        (
            after.0 - before.0,
            after.1.zip(before.1).map(|(after, before)| after.saturating_sub(before)),
        )
    })
}

/// Sends a batch and receives its echo, again and again. Ends on `stop`, or if the server fails.
fn load(mut ws: WebSocket<MaybeTls>, messages: &AtomicU64, stop: &AtomicBool) {
    while !stop.load(Relaxed) && (0..16).all(|_| ws.feed(&[b'x'; 64]).is_ok()) && ws.flush().is_ok()
    {
        for _ in 0..16 {
            let Ok(Some(_)) = ws.recv() else { return };
            messages.fetch_add(1, Relaxed);
        }
    }
    let _ = ws.close(CloseCode::NORMAL); // so that the server reports no error
}

/// The processor time of a process's threads so far. `None` on systems other than Linux.
fn processor(of: &Child) -> Option<Duration> {
    let tasks = fs::read_dir(format!("/proc/{}/task", of.id())).ok()?;
    let stat = |task: fs::DirEntry| fs::read_to_string(task.path().join("schedstat")).ok();
    let nanos = |stat: String| stat.split_ascii_whitespace().next()?.parse::<u64>().ok();
    Some(Duration::from_nanos(tasks.flatten().filter_map(stat).filter_map(nanos).sum()))
}
