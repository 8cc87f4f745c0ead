//! Programs under test. A test starts them and talks to them over their pipes. They end with the
//! test. The examples have to be built; a plain `cargo test` builds them.
#![allow(dead_code)] // no test crate uses all of this file
use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::mpsc::{self, Receiver},
    thread,
    time::{Duration, Instant},
};
use testkit::PATIENCE;

/// A program under test. Dropping this value ends the program.
pub(crate) struct Program {
    pub(crate) child: Child,
    pub(crate) out: Receiver<String>,
    pub(crate) err: Receiver<String>,
}

/// Where an example was built.
pub(crate) fn example(name: &str) -> PathBuf {
    // target/PROFILE/deps/examples-HASH; the examples are beside `deps`.
    let test = std::env::current_exe().unwrap();
    let path = test.ancestors().nth(2).unwrap().join("examples").join(name);
    assert!(path.exists(), "{} is missing: cargo build --examples", path.display());
    path
}

impl Program {
    pub(crate) fn start(name: &str, args: &[&str]) -> Self {
        Self::start_in(name, args, &[])
    }

    /// Starts a program that is no example of this package.
    pub(crate) fn start_at(path: &Path, args: &[&str]) -> Self {
        Self::spawn(path, args, &[])
    }

    /// Starts an example with these variables in its environment.
    pub(crate) fn start_in(name: &str, args: &[&str], variables: &[(&str, &str)]) -> Self {
        Self::spawn(&example(name), args, variables)
    }

    fn spawn(path: &Path, args: &[&str], variables: &[(&str, &str)]) -> Self {
        let mut child = Command::new(path)
            .args(args)
            .envs(variables.iter().copied())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let out = lines(child.stdout.take().unwrap());
        let err = lines(child.stderr.take().unwrap());
        Self { child, out, err }
    }

    pub(crate) fn write(&mut self, input: &[u8]) {
        self.child.stdin.as_mut().unwrap().write_all(input).unwrap();
    }

    pub(crate) fn line(&self) -> String {
        self.out.recv_timeout(PATIENCE).expect("a line of output")
    }

    pub(crate) fn signal(&self, signal: &str) {
        let sent = Command::new("kill").args([signal, &self.child.id().to_string()]).status();
        assert!(sent.unwrap().success());
    }

    /// Ends the input. Returns the exit code, and the unread lines of both outputs.
    pub(crate) fn finish(mut self) -> (i32, Vec<String>, Vec<String>) {
        drop(self.child.stdin.take());
        let until = Instant::now() + PATIENCE;
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            assert!(Instant::now() < until, "does not end");
            thread::sleep(Duration::from_millis(5));
        };
        (status.code().expect("no exit code"), self.out.iter().collect(), self.err.iter().collect())
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The lines of a pipe, as they come.
fn lines(pipe: impl Read + Send + 'static) -> Receiver<String> {
    let (to, from) = mpsc::channel();
    thread::spawn(move || {
        for line in BufReader::new(pipe).lines() {
            if to.send(line.unwrap()).is_err() {
                break;
            }
        }
    });
    from
}

/// An `echo_server` on a free port, and that port's address.
pub(crate) fn server(args: &[&str]) -> (Program, String) {
    let args = [&["--listen", "127.0.0.1:0"], args].concat();
    let program = Program::start("echo_server", &args);
    let line = program.line();
    let (_, address) = line.strip_prefix("listening on ws").expect(&line).split_once("//").unwrap();
    let address = address.to_string();
    assert!(address.starts_with("127.0.0.1:") && !address.ends_with(":0"), "{line}");
    (program, address)
}

/// Sends an HTTP request and returns the whole answer.
pub(crate) fn http(address: &str, request: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

/// Runs `client` to its end.
pub(crate) fn client(args: &[&str], input: &[u8]) -> (i32, Vec<String>, Vec<String>) {
    let mut program = Program::start("client", args);
    // This fails if the program has ended already, which is no error.
    let _ = program.child.stdin.as_mut().unwrap().write_all(input);
    program.finish()
}
