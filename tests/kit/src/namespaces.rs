//! Tests whose network is their own: they run themselves again in new namespaces, where nothing
//! outside is touched and which go when the processes do. That needs Linux, `ip`, `unshare` and the
//! right to make namespaces (root, or user namespaces). Where that is missing, a test says so and
//! passes.
use crate::PATIENCE;
use std::{
    env, fs,
    io::{self, Write},
    net::UdpSocket,
    process::{Command, exit},
    thread,
    time::Duration,
};

/// The status of a process in a namespace that has failed.
pub const FAILED: i32 = 3;
const NOT_PERMITTED: i32 = 77;

/// A command that runs the test again, alone. It is for the test to tell itself there from here.
/// `options` are those of `unshare`.
pub fn again(test: &str, options: &[&str]) -> Command {
    let mut command = Command::new("unshare");
    command.args(options).arg(env::current_exe().unwrap());
    // Quiet, the harness prints whole lines and nothing else.
    command.args(["--exact", test, "--nocapture", "--quiet"]);
    command
}

/// Runs such a command, as `introduce` completes it, and shows what it printed.
pub fn run_apart(test: &str, options: &[&str], introduce: impl Fn(&mut Command)) {
    let run_as = |user: &[&str]| {
        let mut command = again(test, &[options, user].concat());
        introduce(&mut command);
        command.output()
    };
    let ran = match run_as(&[]) {
        // Not root: as the root of a user namespace, if there may be one.
        Ok(ran) if ran.status.code() == Some(1) => run_as(&["--user", "--map-root-user"]),
        ran => ran,
    };
    let ran = match ran {
        Ok(ran) => ran,
        Err(error) => return not_run(test, &format!("unshare: {error}")),
    };
    let out = [ran.stdout, ran.stderr].concat();
    let out = String::from_utf8_lossy(&out);
    match ran.status.code() {
        Some(0) => {
            assert!(out.contains("running 1 test\n"), "there is no {test}:\n{out}");
            println!("{out}");
        }
        Some(1 | NOT_PERMITTED) => not_run(test, out.trim()),
        _ => panic!("{}\n{out}", ran.status),
    }
}

/// Is shown even if the harness captures what a test prints.
fn not_run(test: &str, why: &str) {
    let _ = writeln!(io::stderr(), "{test}: NOT RUN: {why}");
}

/// Ends the process in the namespace: what the test needs is not to be had.
pub fn not_permitted(what: &str, why: &str) -> ! {
    eprintln!("{what}: {why}");
    exit(NOT_PERMITTED)
}

/// Ends the process in the namespace if it hangs: who waits for its output has no other way.
pub fn ends_in_time() {
    thread::spawn(|| {
        thread::sleep(PATIENCE);
        eprintln!("it hangs");
        exit(FAILED)
    });
}

/// Runs it in this namespace, and ends the process if that is not permitted.
pub fn run(command: &str) {
    if let Err(why) = try_run(command) {
        not_permitted(command, &why);
    }
}

/// Runs it in this namespace. What it printed, or why it failed.
pub fn try_run(command: &str) -> Result<String, String> {
    let mut words = command.split_whitespace();
    let ran = Command::new(words.next().unwrap()).args(words).output();
    match ran {
        Ok(ran) if ran.status.success() => Ok(String::from_utf8_lossy(&ran.stdout).into()),
        Ok(ran) => Err(String::from_utf8_lossy(&ran.stderr).trim().into()),
        Err(error) => Err(error.to_string()),
    }
}

/// Forbids the way to three hosts, as a firewall or a VPN that connects again does, each by a rule
/// of another kind. With each host comes what connect(2) says from then on.
pub fn forbid() -> [(&'static str, &'static str); 3] {
    run("ip link set lo up");
    run("ip rule add to 192.0.2.0/24 prohibit");
    run("ip rule add to 198.51.100.0/24 blackhole");
    run("ip -6 rule add to 2001:db8::/32 prohibit");
    [
        ("192.0.2.1", "Permission denied (os error 13)"),
        ("198.51.100.1", "Invalid argument (os error 22)"),
        ("[2001:db8::1]", "Permission denied (os error 13)"),
    ]
}

/// Runs `inside` where [`serve_names`] answers, in namespaces of network and mounts of its own:
/// `test`, which calls this, runs once more for it.
pub fn with_names(test: &str, inside: impl FnOnce()) {
    const INSIDE: &str = "TICKWIRE_NAMES";
    if env::var_os(INSIDE).is_some() {
        ends_in_time();
        serve_names();
        return inside();
    }
    run_apart(test, &["--net", "--mount"], |command| _ = command.env(INSIDE, ""));
}

/// Gives the namespaces of network and mounts a name server, which the system's resolver asks from
/// now on. It says of each name at once that its IPv4 address is 192.0.2.1, where a server may
/// listen. Of IPv6 addresses it says, by the name's first label: `at-once`, that there is none;
/// `late`, the same after 300 ms; `servfail`, that it has failed; and of `never` nothing. Who waits
/// for an answer waits for a second, and asks twice. It asks for one kind after the other: after
/// both at once it would try a third time, each alone.
fn serve_names() {
    run("ip link set lo up");
    run("ip addr add 192.0.2.1/24 dev lo");
    let bound = UdpSocket::bind("127.0.0.1:53");
    let socket = bound.unwrap_or_else(|error| not_permitted("port 53", &error.to_string()));
    bind_file("/etc/resolv.conf", "nameserver 127.0.0.1\noptions timeout:1 single-request\n");
    bind_file("/etc/hosts", "");
    bind_file("/etc/nsswitch.conf", "hosts: files dns\n");
    thread::spawn(move || {
        let mut query = [0; 512];
        loop {
            let (n, from) = socket.recv_from(&mut query).unwrap();
            if let Some((after, answer)) = answered(&query[..n]) {
                let socket = socket.try_clone().unwrap();
                thread::spawn(move || {
                    thread::sleep(after);
                    let _ = socket.send_to(&answer, from); // who asked may have given up
                });
            }
        }
    });
}

/// What the name server says to a query (RFC 1035), and after how long.
fn answered(query: &[u8]) -> Option<(Duration, Vec<u8>)> {
    const A: u8 = 1;
    const SERVFAIL: u8 = 2;
    let first = &query[13..13 + usize::from(query[12])];
    let name = query[12..].iter().position(|&byte| byte == 0).unwrap();
    let question = &query[12..12 + name + 5];
    let is_a = question[name + 2] == A;
    let (after, code) = match first {
        _ if is_a => (0, 0),
        b"at-once" => (0, 0),
        b"late" => (300, 0),
        b"servfail" => (0, SERVFAIL),
        _ => return None,
    };
    // It is an answer, recursion was wanted and is to be had; a question, an answer or none.
    let head = [0x81, 0x80 | code, 0, 1, 0, u8::from(is_a), 0, 0, 0, 0];
    let mut answer = [&query[..2], &head, question].concat();
    if is_a {
        // The name of the question, of type A and class IN, for no time, in four bytes.
        answer.extend([0xc0, 12, 0, A, 0, 1, 0, 0, 0, 0, 0, 4, 192, 0, 2, 1]);
    }
    Some((Duration::from_millis(after), answer))
}

/// Gives the namespace of mounts this file in the place of another.
pub fn bind_file(path: &str, text: &str) {
    let name = path.replace('/', "-");
    let file = env::temp_dir().join(format!("tickwire{name}-{}", std::process::id()));
    fs::write(&file, text).unwrap();
    let mounted = try_run(&format!("mount --bind {} {path}", file.display()));
    fs::remove_file(file).unwrap(); // what is mounted stays
    if let Err(why) = mounted {
        not_permitted(&format!("mount {path}"), &why);
    }
}
