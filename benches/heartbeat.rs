//! What a heartbeat costs a server whose connections are idle: task wake-ups, system wake-ups and
//! processor time of its process, each per second, with `Config::default()` and `Config::server()`.
//!
//! ```text
//! cargo bench -p benches --no-default-features --features std --bench heartbeat -- 10000 120
//! ```
//!
//! The clients are another process, which answers the Pings. Each process needs a descriptor for
//! each connection (`ulimit -n`).
use std::{
    env, fs,
    future::poll_fn,
    io::{BufRead, BufReader},
    net::SocketAddr,
    pin::pin,
    process::{Command, Stdio},
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::{Duration, Instant},
};
use tickwire::{
    Config,
    handshake::client::Request,
    tokio::{accept, client},
};
use tokio::net::{TcpListener, TcpStream};

static POLLS: AtomicU64 = AtomicU64::new(0);

fn main() {
    let mut args = env::args().skip(1).filter(|arg| arg != "--bench");
    let first = args.next().unwrap_or_else(|| "10000".into());
    let second = args.next().unwrap_or_else(|| "120".into());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    if first == "clients" {
        let (to, count) = second.split_once('x').unwrap();
        return runtime.block_on(clients(to.parse().unwrap(), count.parse().unwrap()));
    }
    let seconds = Duration::from_secs(second.parse().unwrap());
    println!("per second: wake-ups of tasks, of the process, ms of processor (user, system)");
    for (name, config) in [("default", Config::default()), ("server", Config::server())] {
        let cost = runtime.block_on(serve(config, first.parse().unwrap(), seconds));
        println!("{name:8} {:8.0} {:8.0} {:8.2} {:8.2}", cost[0], cost[1], cost[2], cost[3]);
    }
}

/// What this process has used: voluntary switches, user and system time in ticks of 10 ms.
fn used() -> [u64; 3] {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let switches = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
    let stat = fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<_> = stat.rsplit_once(") ").unwrap().1.split(' ').collect();
    [
        switches.unwrap().trim().parse().unwrap(),
        fields[11].parse().unwrap(),
        fields[12].parse().unwrap(),
    ]
}

async fn serve(config: Config, count: usize, measured: Duration) -> [f64; 4] {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let to = format!("{}x{count}", listener.local_addr().unwrap());
    let mut peer = Command::new(env::current_exe().unwrap())
        .args(["clients", &to])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    for _ in 0..count {
        let stream = listener.accept().await.unwrap().0;
        let config = config.clone();
        tokio::spawn(async move {
            let mut ws = accept(stream, &config).await.unwrap();
            let mut recv = pin!(ws.recv());
            let ended = poll_fn(|cx| {
                POLLS.fetch_add(1, Relaxed);
                recv.as_mut().poll(cx).map(|got| got.map(|message| message.is_some()))
            });
            assert!(!matches!(ended.await, Ok(true)), "nobody sends a message");
        });
    }
    let mut out = BufReader::new(peer.stdout.take().unwrap());
    let ready = tokio::task::spawn_blocking(move || out.read_line(&mut String::new()));
    ready.await.unwrap().unwrap();
    // Until Pings and Pongs are spread as they stay.
    tokio::time::sleep(Duration::from_secs(30)).await;
    let before = used();
    let polls = POLLS.load(Relaxed);
    let began = Instant::now();
    tokio::time::sleep(measured).await;
    let after = used();
    let polls = POLLS.load(Relaxed) - polls;
    let each = |n: u64| n as f64 / began.elapsed().as_secs_f64();
    let cost = [
        each(polls),
        each(after[0] - before[0]),
        10.0 * each(after[1] - before[1]),
        10.0 * each(after[2] - before[2]),
    ];
    peer.kill().unwrap();
    peer.wait().unwrap();
    cost
}

/// Connects over 20 s, as the connections of a server do not begin together.
async fn clients(to: SocketAddr, count: u32) {
    let request = Request::new(&format!("ws://{to}/")).unwrap();
    let mut all = Vec::new();
    for _ in 0..count {
        let stream = TcpStream::connect(to).await.unwrap();
        let mut ws = client(stream, &request, &Config::default()).await.unwrap();
        all.push(tokio::spawn(async move { drop(ws.recv().await) }));
        tokio::time::sleep(Duration::from_secs(20) / count).await;
    }
    println!("ready");
    for one in all {
        let _ = one.await;
    }
}
