//! `openssl s_server` and `s_client`: KeyUpdates of theirs, with an answer and without, between
//! lines of text of many lengths.
use super::{Files, Relay, Way, check, talk::Agreed, tell, ways};
use crate::{Adapter, Result};
use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    process::{Child, ChildStdin, Command, Stdio},
    sync::mpsc::{Receiver, RecvTimeoutError, channel},
    thread,
    time::Duration,
};
use tickwire::{
    blocking::{Stream, TlsStream},
    handshake::client::Request,
};

const PATIENCE: Duration = Duration::from_secs(60);

/// openssl at the other end. It sends each line that it is told, and prints what it hears.
struct Openssl {
    child: Child,
    tell: ChildStdin,
    output: Receiver<String>,
    heard: String,
}

impl Openssl {
    fn start(args: &str) -> Result<Self> {
        let mut child = Command::new("openssl")
            .args(args.split(' '))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let tell = child.stdin.take().ok_or("no stdin")?;
        let mut stdout = child.stdout.take().ok_or("no stdout")?;
        let (tx, output) = channel();
        thread::spawn(move || {
            let mut room = [0; 4096];
            while let Ok(n @ 1..) = stdout.read(&mut room) {
                if tx.send(String::from_utf8_lossy(&room[..n]).into_owned()).is_err() {
                    return;
                }
            }
        });
        Ok(Self { child, tell, output, heard: String::new() })
    }

    /// In one write: a command is what one read begins with.
    fn tell(&mut self, line: &str) -> Result<()> {
        Ok(self.tell.write_all(format!("{line}\n").as_bytes())?)
    }

    /// Waits for a line that ends like this. What openssl says of itself may stand before, and amid
    /// it.
    fn hears(&mut self, end: &str) -> Result<()> {
        loop {
            for own in ["SSL_do_handshake -> 1\n", "Read BLOCK\n", "read R BLOCK\n", "KEYUPDATE\n"]
            {
                self.heard = self.heard.replace(own, "");
            }
            if let Some(at) = self.heard.find(&format!("{end}\n")) {
                self.heard.drain(..at + end.len() + 1);
                return Ok(());
            }
            self.more(end)?;
        }
    }

    /// Waits for a line that begins like this; its rest.
    fn line(&mut self, begin: &str) -> Result<String> {
        loop {
            if let Some((_, behind)) = self.heard.split_once(begin)
                && let Some((rest, behind)) = behind.split_once('\n')
            {
                let rest = rest.to_owned();
                self.heard = behind.to_owned();
                return Ok(rest);
            }
            self.more(begin)?;
        }
    }

    fn more(&mut self, wanted: &str) -> Result<()> {
        self.heard += &self.output.recv_timeout(PATIENCE).map_err(|why| match why {
            RecvTimeoutError::Timeout => format!("openssl does not say {wanted:.20}.."),
            RecvTimeoutError::Disconnected => format!("openssl ended before {wanted:.20}.."),
        })?;
        Ok(())
    }
}

impl Drop for Openssl {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Both adapters have the same session; here it is within threads.
pub(super) fn run(files: &Files) -> Result<bool> {
    let is_mine = |way: &Way| way.by == Adapter::Blocking && way.suite.is_some();
    thread::scope(|scope| {
        // It waits more than it works.
        let all: Vec<_> = ways()
            .into_iter()
            .filter(is_mine)
            // For each KeyUpdate s_client says something amid the data, and loses some of that if
            // it is much.
            .map(|way| Way { max_fragment_size: way.max_fragment_size.map(|n| n.max(500)), ..way })
            .map(|way| scope.spawn(move || talk_in(way, files)))
            .collect();
        let mut good = true;
        for one in all {
            good &= one.join().map_err(|_| "a panic")?;
        }
        Ok(good)
    })
}

fn talk_in(way: Way, files: &Files) -> bool {
    let mut good = true;
    for (role, of) in [("client", client as fn(Way, &Files) -> _), ("server", server)] {
        for request in ["K", "k"] {
            let done = of(way, files).and_then(|(io, ssl)| talk(way, io, ssl, request));
            good &= tell(format_args!("{role} of openssl: {way}"), done);
        }
    }
    good
}

fn client(way: Way, files: &Files) -> Result<(TlsStream, Openssl)> {
    let (cert, key) = (files.cert.display(), files.key.display());
    let mut ssl = Openssl::start(&format!(
        "s_server -accept 127.0.0.1:0 -cert {cert} -key {key} -tls1_3 -max_send_frag 1000"
    ))?;
    let port: u16 = ssl.line("ACCEPT 127.0.0.1:")?.parse()?;
    let relay = Relay::to(([127, 0, 0, 1], port).into(), u64::from(port))?;
    let request = Request::new("wss://localhost/")?;
    let tcp = TcpStream::connect(relay.address)?;
    Ok((TlsStream::client(tcp, request.target(), way.client(files)?)?, ssl))
}

fn server(way: Way, files: &Files) -> Result<(TlsStream, Openssl)> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let relay = Relay::to(listener.local_addr()?, u64::from(listener.local_addr()?.port()))?;
    let ssl = Openssl::start(&format!(
        "s_client -connect {} -servername localhost -CAfile {} -tls1_3 -max_send_frag 1000",
        relay.address,
        files.cert.display()
    ))?;
    // It would print tickets where it hears them, amid a line.
    let config = way.server(files, 0)?;
    Ok((TlsStream::server(listener.accept()?.0, config)?, ssl))
}

fn talk(way: Way, mut io: TlsStream, mut ssl: Openssl, request: &str) -> Result<String> {
    io.set_read_timeout(Some(PATIENCE))?;
    io.handshake()?;
    check(&way, io.with_session(Agreed::on))?;
    for round in 0..3 {
        let line = format!("from openssl in round {round}");
        ssl.tell(&line)?;
        expect(&mut io, &line)?;
        for len in [1, 100, 4000, 16_383, 16_384, 16_385, 50_000] {
            let line = format!("{}#{round}.{len}", "x".repeat(len));
            writeln!(io, "{line}")?;
            io.flush()?;
            ssl.hears(&line)?;
        }
        ssl.tell(request)?;
        // The next line must not be in the same read.
        thread::sleep(Duration::from_millis(300));
    }
    // What is too long for a terminal is none for a pipe.
    let line = "y".repeat(3000);
    ssl.tell(&line)?;
    expect(&mut io, &line)?;
    io.shutdown()?;
    Ok(format!("3 times {request}"))
}

/// Reads a line.
fn expect(io: &mut TlsStream, line: &str) -> Result<()> {
    let mut got = vec![0; line.len() + 1];
    io.read_exact(&mut got)?;
    match got.strip_suffix(b"\n") == Some(line.as_bytes()) {
        true => Ok(()),
        false => Err(format!("{:?}", String::from_utf8_lossy(&got)).into()),
    }
}
