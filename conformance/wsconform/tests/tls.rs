//! The program over TLS, with a certificate that signs itself.

#[path = "../../cases/tests/support/mod.rs"]
mod support;

use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair};
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection, StreamOwned,
    crypto::ring,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    path::PathBuf,
    process::{Command, Output, Stdio},
    sync::Arc,
    thread,
};
use support::Model;
use wsconform_cases::Role;

/// A certificate for localhost and its key, in files.
struct Files {
    cert: PathBuf,
    key: PathBuf,
}

fn files(name: &str) -> Files {
    files_of(name, CertificateParams::new(["localhost".to_owned()]).unwrap())
}

fn files_of(name: &str, params: CertificateParams) -> Files {
    let signing_key = KeyPair::generate().unwrap();
    let cert = params.self_signed(&signing_key).unwrap();
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    let file = |end| folder.join(format!("{}-{name}-{end}.pem", std::process::id()));
    let files = Files { cert: file("cert"), key: file("key") };
    fs::write(&files.cert, cert.pem()).unwrap();
    fs::write(&files.key, signing_key.serialize_pem()).unwrap();
    files
}

fn server_config(files: &Files) -> Arc<ServerConfig> {
    let cert = CertificateDer::from_pem_file(&files.cert).unwrap();
    let key = PrivateKeyDer::from_pem_file(&files.key).unwrap();
    let builder = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let builder = builder.with_safe_default_protocol_versions().unwrap();
    Arc::new(builder.with_no_client_auth().with_single_cert(vec![cert], key).unwrap())
}

fn client_config(cert: &str) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(cert).unwrap()).unwrap();
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let builder = builder.with_safe_default_protocol_versions().unwrap();
    Arc::new(builder.with_root_certificates(roots).with_no_client_auth())
}

/// Plays the model until either end has ended.
fn play(mut stream: impl Read + Write, mut model: Model) {
    let mut buffer = vec![0; 64 << 10];
    loop {
        let output = std::mem::take(&mut model.output);
        if stream.write_all(&output).and_then(|()| stream.flush()).is_err() || model.ended {
            return;
        }
        match stream.read(&mut buffer) {
            Ok(0) | Err(_) => return,
            Ok(n) => model.read(&buffer[..n]),
        }
    }
}

fn serve(files: &Files) -> String {
    let config = server_config(files);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("wss://localhost:{}/", listener.local_addr().unwrap().port());
    thread::spawn(move || {
        for tcp in listener.incoming() {
            let session = ServerConnection::new(config.clone()).unwrap();
            let stream = StreamOwned::new(session, tcp.unwrap());
            thread::spawn(move || play(stream, Model::new(Role::Server, "", 0)));
        }
    });
    url
}

fn program(words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wsconform"));
    command.args(words);
    command
}

fn text(output: &Output) -> String {
    let bytes = [&output.stdout[..], &output.stderr].concat();
    String::from_utf8_lossy(&bytes).into_owned()
}

#[test]
fn a_server_is_tested_over_tls_if_its_certificate_is_trusted() {
    let ours = files("server");
    let others = files("other");
    let url = serve(&ours);
    let run = |trust: &[&str]| {
        let cases = ["--case", "HS-00", "--case", "F-20", "--case", "T-223"];
        program(&["server", &url]).args(cases).args(trust).output().unwrap()
    };
    let [ca, other] = [&ours.cert, &others.cert].map(|file| file.to_str().unwrap());
    for trust in [&["--ca", ca][..], &["--insecure"]] {
        let output = run(trust);
        assert_eq!(output.status.code(), Some(0), "{}", text(&output));
        assert!(text(&output).contains(", 0 fail, "), "{}", text(&output));
    }
    for trust in [&["--ca", other][..], &[]] {
        let output = run(trust);
        assert_eq!(output.status.code(), Some(2), "{}", text(&output));
        assert!(text(&output).contains("invalid peer certificate"), "{}", text(&output));
        assert!(text(&output).contains("; see --ca and --insecure"), "{}", text(&output));
    }
}

/// `openssl req -x509` makes an authority of it, which is no server's certificate to webpki.
#[test]
fn a_certificate_that_is_its_own_authority_is_taken_if_it_is_named() {
    let mut params = CertificateParams::new(["localhost".to_owned()]).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let files = files_of("authority", params);
    let url = serve(&files);
    let ca = files.cert.to_str().unwrap();
    let output = program(&["server", &url, "--case", "F-202", "--ca", ca]).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
}

/// Not a test: the command of the test below.
#[test]
fn client_process() {
    let Ok(url) = std::env::var("WSCONFORM_URL") else { return };
    let port = url.trim_start_matches("wss://localhost:").trim_end_matches('/');
    let config = client_config(&std::env::var("WSCONFORM_CA").unwrap());
    let session = ClientConnection::new(config, "localhost".try_into().unwrap()).unwrap();
    let tcp = TcpStream::connect(("127.0.0.1", port.parse().unwrap())).unwrap();
    play(StreamOwned::new(session, tcp), Model::new(Role::Client, "", std::process::id()));
}

#[test]
fn a_client_is_tested_over_tls() {
    let files = files("client");
    let [cert, key] = [&files.cert, &files.key].map(|file| file.to_str().unwrap());
    let this = std::env::current_exe().unwrap();
    let output = program(&["client", "--cert", cert, "--key", key, "--case", "HC-00"])
        .args(["--case", "F-20", "--", "env", "WSCONFORM_URL={url}"])
        .arg(format!("WSCONFORM_CA={cert}"))
        .arg(this)
        .args(["--exact", "client_process"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
}

#[test]
fn a_client_that_asks_for_its_cases_is_served_over_tls() {
    let files = files("listen");
    let [cert, key] = [&files.cert, &files.key].map(|file| file.to_str().unwrap());
    let mut running = program(&["client", "--listen", "127.0.0.1:0", "--case", "F-20"])
        .args(["--cert", cert, "--key", key])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(running.stdout.take().unwrap()).lines();
    let first = lines.next().unwrap().unwrap();
    let address = first.strip_prefix("listening on wss://").unwrap().to_owned();
    let config = client_config(cert);
    let ask = |number: u32, target: &str| {
        let tcp = TcpStream::connect(&address).unwrap();
        let session =
            ClientConnection::new(config.clone(), "localhost".try_into().unwrap()).unwrap();
        let mut model = Model::new(Role::Client, "", number);
        let request = String::from_utf8(std::mem::take(&mut model.output)).unwrap();
        model.output = request.replacen("GET / ", &format!("GET {target} "), 1).into_bytes();
        play(StreamOwned::new(session, tcp), model);
    };
    let listed = program(&["--list", "--case", "F-20"]).output().unwrap();
    let cases = String::from_utf8(listed.stdout).unwrap().lines().count() as u32;
    let last = 6 + cases; // the probe has six numbers
    for number in 1..=last {
        ask(number, &format!("/runCase?case={number}&agent=model"));
    }
    ask(last + 1, "/updateReports?agent=model");
    let report: Vec<String> = lines.map(Result::unwrap).collect();
    assert_eq!(running.wait().unwrap().code(), Some(0), "{report:?}");
    assert!(report.last().unwrap().contains(" 0 fail"), "{report:?}");
}
