//! Processes: this one's core and limits; a server in a process of its own, its processor time and
//! its memory. Linux only, by what `/proc` says.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::TcpStream;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use rustix::process::{Resource, Rlimit, Signal};
use rustix::thread::CpuSet;
use rustix::time::ClockId;

pub const SERVER_CORE: usize = 0;
pub const CLIENT_CORE: usize = 1;

/// Keeps this process on one core, where the machine has it.
pub fn pin(core: usize) {
    let mut set = CpuSet::new();
    set.set(core);
    let _ = rustix::thread::sched_setaffinity(None, &set);
}

/// Processor time of this thread: what others on this core do is left out.
pub fn thread_time() -> Duration {
    let t = rustix::time::clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(t.tv_sec as u64, t.tv_nsec as u32)
}

/// Allows as many descriptors as may be, and says how many.
pub fn raise_descriptors() -> u64 {
    let maximum = rustix::process::getrlimit(Resource::Nofile).maximum;
    let all = Rlimit { current: maximum, maximum };
    let _ = rustix::process::setrlimit(Resource::Nofile, all);
    rustix::process::getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

/// What this process is to serve, where it is a [`Server`]'s.
pub fn serving() -> Option<Vec<String>> {
    let mut args = std::env::args().skip(1);
    if args.next()? != "serve" {
        return None;
    }
    // The server ends with its parent, however that ends.
    let _ = rustix::process::set_parent_process_death_signal(Some(Signal::KILL));
    raise_descriptors();
    Some(args.collect())
}

/// This program again, as `serve <args>`; ended when dropped.
pub struct Server {
    child: Child,
    port: u16,
    /// Kept open: a server that says something more would break on a closed pipe.
    _says: BufReader<ChildStdout>,
}

impl Server {
    pub fn start(args: &[&str]) -> Server {
        Self::start_under(&[], args)
    }

    /// The server as an argument of another program, `strace` say.
    pub fn start_under(wrapper: &[&str], args: &[&str]) -> Server {
        let mut command = match wrapper {
            // Also where a build has put another file in this one's place.
            [] => Command::new("/proc/self/exe"),
            [program, options @ ..] => {
                let this = std::env::current_exe().expect("this program has a path");
                let mut command = Command::new(program);
                command.args(options).arg(this);
                command
            }
        };
        command.arg("serve").args(args).stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("the server starts");
        let mut says = BufReader::new(child.stdout.take().expect("it is piped"));
        let mut line = String::new();
        says.read_line(&mut line).expect("the server says its port");
        let port = line.trim().parse().unwrap_or_else(|_| panic!("{args:?} said {line:?}"));
        Server { child, port, _says: says }
    }

    fn file(&self, name: &str) -> String {
        fs::read_to_string(format!("/proc/{}/{name}", self.child.id())).expect("it still runs")
    }

    /// Every thread's file of this name.
    fn threads(&self, name: &str) -> Vec<String> {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.child.id())).expect("it runs");
        let read = |task: fs::DirEntry| fs::read_to_string(task.path().join(name)).ok();
        tasks.flatten().filter_map(read).collect()
    }

    /// Waits until none of its threads runs: their times are exact only then.
    pub fn rest(&self) {
        let asleep = |stat: &String| {
            stat.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with('S'))
        };
        while !self.threads("stat").iter().all(asleep) {
            std::thread::yield_now();
        }
    }

    /// Nanoseconds its threads have run.
    pub fn cpu(&self) -> u64 {
        self.rest();
        self.threads("schedstat").iter().filter_map(|s| first_number(s)).sum()
    }

    /// Resident bytes.
    pub fn rss(&self) -> u64 {
        let pages = self.file("statm").split(' ').nth(1).and_then(first_number);
        pages.unwrap_or(0) * rustix::param::page_size() as u64
    }

    /// Resident bytes once it has nothing more to do.
    pub fn settled_rss(&self) -> u64 {
        self.rest();
        std::thread::sleep(Duration::from_millis(50));
        self.rest();
        self.rss()
    }

    /// Where it listens.
    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn connect(&self) -> TcpStream {
        let io = TcpStream::connect(("127.0.0.1", self.port)).expect("the server listens");
        io.set_nodelay(true).expect("it is TCP");
        io.set_read_timeout(Some(Duration::from_secs(30))).expect("it is TCP");
        io
    }

    /// Waits until it has ended by itself.
    pub fn wait(mut self) {
        let _ = self.child.wait();
    }
}

fn first_number(text: &str) -> Option<u64> {
    text.split_whitespace().next()?.parse().ok()
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
