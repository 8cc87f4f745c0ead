//! A name with an IPv6 address that answers nothing and an IPv4 address that does: both adapters
//! that dial reach the server after the head start of the first attempt (RFC 8305), and say how
//! long it took.
//!
//! It runs in a network namespace and a mount namespace of its own, where one end of a veth pair
//! drops all IPv6, and /etc/hosts has the name. Needs Linux, `ip`, `unshare` and the right to make
//! namespaces (root, or user namespaces); says so and passes where that is missing.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[cfg(not(all(target_os = "linux", feature = "tokio")))]
fn main() {
    println!("dual_stack: skipped: needs Linux and the feature tokio");
}

#[cfg(all(target_os = "linux", feature = "tokio"))]
fn main() {
    linux::main();
}

#[cfg(all(target_os = "linux", feature = "tokio"))]
mod linux {
    use std::{
        env, fs,
        net::TcpListener,
        process::{Command, Output, exit},
        thread,
        time::{Duration, Instant},
    };
    use tickwire::{Config, Dial, blocking, handshake::client::Request};

    const INSIDE: &str = "TICKWIRE_DUAL_STACK";
    const NOT_PERMITTED: i32 = 77;
    use testkit::PATIENCE;

    pub(crate) fn main() {
        if env::var_os(INSIDE).is_some() {
            return inside();
        }
        let args: Vec<String> = env::args().skip(1).collect();
        let wanted = |arg: &String| arg.starts_with('-') || "dual_stack".contains(arg.as_str());
        if args.iter().any(|arg| arg == "--list") || !args.iter().all(wanted) {
            return;
        }
        let ran = match apart(&[]) {
            // Not root: as the root of a user namespace, if there may be one.
            Ok(ran) if ran.status.code() == Some(1) => apart(&["--user", "--map-root-user"]),
            ran => ran,
        };
        let ran = match ran {
            Ok(ran) => ran,
            Err(error) => return println!("dual_stack: NOT RUN: unshare: {error}"),
        };
        let out = [ran.stdout, ran.stderr].concat();
        let out = String::from_utf8_lossy(&out);
        match ran.status.code() {
            Some(0) => println!("{out}dual_stack: ok"),
            Some(1 | NOT_PERMITTED) => println!("dual_stack: NOT RUN: {}", out.trim()),
            _ => panic!("dual_stack: {}\n{out}", ran.status),
        }
    }

    /// This program again, in namespaces of its own.
    fn apart(user: &[&str]) -> std::io::Result<Output> {
        let mut command = Command::new("unshare");
        command.args(["--net", "--mount"]).args(user).arg(env::current_exe().unwrap());
        command.env(INSIDE, "").output()
    }

    fn run(command: &str) {
        try_run(command).unwrap_or_else(|why| {
            eprintln!("{command}: {why}");
            exit(NOT_PERMITTED)
        });
    }

    fn try_run(command: &str) -> Result<(), String> {
        let mut words = command.split_whitespace();
        let ran = Command::new(words.next().unwrap()).args(words).output();
        match ran {
            Ok(ran) if ran.status.success() => Ok(()),
            Ok(ran) => Err(String::from_utf8_lossy(&ran.stderr).trim().into()),
            Err(error) => Err(error.to_string()),
        }
    }

    fn inside() {
        thread::spawn(|| {
            thread::sleep(PATIENCE);
            eprintln!("it hangs");
            exit(3);
        });
        run("ip link set lo up");
        run("ip link add near type veth peer name far");
        run("ip link set near up");
        run("ip link set far up");
        run("ip addr add 192.0.2.1/24 dev lo");
        run("ip -6 addr add 2001:db8::1/64 dev near nodad");
        // The address of a host that is not there: what is sent to it is lost without a word.
        run("ip -6 neigh add 2001:db8::2 lladdr 02:00:00:00:00:02 dev near nud permanent");
        let hosts = env::temp_dir().join(format!("tickwire-hosts-{}", std::process::id()));
        fs::write(&hosts, "2001:db8::2 dual.test\n192.0.2.1 dual.test\n").unwrap();
        let mounted = try_run(&format!("mount --bind {} /etc/hosts", hosts.display()));
        fs::remove_file(hosts).unwrap(); // /etc/hosts keeps it
        if let Err(why) = mounted {
            eprintln!("mount: {why}");
            exit(NOT_PERMITTED)
        }

        let listener = TcpListener::bind("192.0.2.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        thread::spawn(move || {
            for stream in listener.incoming() {
                let mut ws = blocking::accept(stream.unwrap(), &Config::default()).unwrap();
                while let Ok(Some(_)) = ws.recv() {}
            }
        });
        let request = Request::new(&format!("ws://dual.test:{port}/")).unwrap();
        let (dial, config) = (Dial::new(&request), Config::default());

        let began = Instant::now();
        let ws = dial.blocking_connect(&config).unwrap();
        let blocking = began.elapsed();
        assert!(ws.get_ref().get_ref().peer_addr().unwrap().is_ipv4());
        drop(ws);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let (tokio, alone) = runtime.block_on(async {
            let began = Instant::now();
            let ws = dial.connect(&config).await.unwrap();
            assert!(ws.get_ref().get_ref().peer_addr().unwrap().is_ipv4());
            let tokio = began.elapsed();
            // Alone, the first address answers nothing until the time is over.
            let request = Request::new(&format!("ws://[2001:db8::2]:{port}/")).unwrap();
            let config =
                Config { handshake_timeout: Duration::from_millis(900), ..Config::default() };
            (tokio, Dial::new(&request).connect(&config).await.map(drop).unwrap_err())
        });
        for took in [blocking, tokio] {
            assert!(
                took >= Duration::from_millis(250),
                "the first address was not tried: {took:?}"
            );
        }
        assert!(alone.to_string().contains("timed out, dialing [2001:db8::2]"), "{alone}");
        println!("IPv6 lost: connected after {blocking:.1?} (blocking), {tokio:.1?} (tokio)");
    }
}
