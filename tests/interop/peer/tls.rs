//! This crate's TLS streams, records opened in place, against `openssl s_server` and `s_client`: both roles, all
//! suites of TLS 1.3, KeyUpdates of theirs with an answer and without, data of many lengths. A line, ok or FAIL,
//! for each check.
//!
//! `tls DIRECTORY`, which has `cert.pem` and `key.pem`, for `localhost`.
use std::{
    error,
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    path::Path,
    process::{Child, ChildStdin, Command, ExitCode, Stdio},
    sync::{
        Arc,
        mpsc::{Receiver, channel},
    },
    thread,
    time::Duration,
};
use tickwire::{
    blocking::{Stream, TlsStream},
    handshake::client::Request,
    tls::rustls::{
        ClientConfig, RootCertStore, ServerConfig,
        pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    },
};

type Result<T> = std::result::Result<T, Box<dyn error::Error + Send + Sync>>;

const PATIENCE: Duration = Duration::from_secs(10);

const SUITES: [&str; 3] =
    ["TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"];

/// openssl at the other end. It sends each line that it is told, and prints what it hears.
struct Openssl {
    child: Child,
    tell: ChildStdin,
    output: Receiver<String>,
    heard: String,
}

impl Openssl {
    fn start(args: &[&str]) -> Result<Self> {
        let mut child = Command::new("openssl")
            .args(args)
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

    /// Waits for a line that ends like this. What openssl says of itself may stand before, and amid it.
    fn hears(&mut self, end: &str) -> Result<()> {
        loop {
            for own in ["SSL_do_handshake -> 1\n", "Read BLOCK\n", "KEYUPDATE\n"] {
                self.heard = self.heard.replace(own, "");
            }
            if let Some(at) = self.heard.find(&format!("{end}\n")) {
                self.heard.drain(..at + end.len() + 1);
                return Ok(());
            }
            self.heard += &self.output.recv_timeout(PATIENCE)?;
        }
    }
}

impl Drop for Openssl {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn main() -> ExitCode {
    match run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            println!("FAIL {error}");
            ExitCode::from(2)
        }
    }
}

fn run() -> Result<bool> {
    let directory = std::env::args().nth(1).ok_or("no directory")?;
    let [cert, key] = ["cert.pem", "key.pem"].map(|name| Path::new(&directory).join(name));
    let mut good = true;
    for suite in SUITES {
        for (role, of) in [("client", client as fn(&Path, &Path, &str) -> _), ("server", server)] {
            for request in ["K", "k"] {
                let done = of(&cert, &key, suite).and_then(|(io, ssl)| talk(io, ssl, request));
                let what = format!("{role}, {suite}, KeyUpdate {request}");
                match done {
                    Ok(()) => println!("ok   {what}"),
                    Err(error) => {
                        good = false;
                        println!("FAIL {what}: {error}");
                    }
                }
            }
        }
    }
    Ok(good)
}

fn client(cert: &Path, key: &Path, suite: &str) -> Result<(TlsStream, Openssl)> {
    let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port().to_string();
    let (cert_file, key) = (path(cert)?, path(key)?);
    let mut ssl = Openssl::start(&[
        "s_server",
        "-accept",
        &port,
        "-cert",
        cert_file,
        "-key",
        key,
        "-tls1_3",
        "-ciphersuites",
        suite,
    ])?;
    ssl.hears("ACCEPT")?;
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(cert)?)?;
    let mut config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    config.enable_secret_extraction = true;
    let request = Request::new("wss://localhost/")?;
    let tcp = TcpStream::connect(format!("127.0.0.1:{port}"))?;
    Ok((TlsStream::client(tcp, request.target(), Arc::new(config))?, ssl))
}

fn server(cert: &Path, key: &Path, suite: &str) -> Result<(TlsStream, Openssl)> {
    let chain = vec![CertificateDer::from_pem_file(cert)?];
    let builder = ServerConfig::builder().with_no_client_auth();
    let mut config = builder.with_single_cert(chain, PrivateKeyDer::from_pem_file(key)?)?;
    config.enable_secret_extraction = true;
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let to = listener.local_addr()?.to_string();
    let ssl = Openssl::start(&[
        "s_client",
        "-connect",
        &to,
        "-servername",
        "localhost",
        "-CAfile",
        path(cert)?,
        "-tls1_3",
        "-ciphersuites",
        suite,
    ])?;
    Ok((TlsStream::server(listener.accept()?.0, Arc::new(config))?, ssl))
}

fn path(path: &Path) -> Result<&str> {
    path.to_str().ok_or_else(|| "a path that is not UTF-8".into())
}

fn talk(mut io: TlsStream, mut ssl: Openssl, request: &str) -> Result<()> {
    io.set_read_timeout(Some(PATIENCE))?;
    io.handshake()?;
    if !io.session().in_place() {
        return Err("not in place".into());
    }
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
    Ok(())
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
