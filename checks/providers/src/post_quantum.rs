//! Agrees on X25519MLKEM768 with OpenSSL under Node, in both roles, over `connect`, `accept` and
//! the loop. Arguments: node, a certificate for `localhost` that the platform trusts
//! (`SSL_CERT_FILE`), and its key.
use std::{
    error::Error,
    io::{BufRead, BufReader},
    net::TcpListener,
    process::{Child, Command, Stdio},
    sync::Arc,
    time::Duration,
};
use tickwire::{
    Config, Dial,
    blocking::{self, TlsStream},
    handshake::{client::Request, server::Accept},
    tls::{
        Session,
        rustls::{
            ClientConfig, RootCertStore, ServerConfig,
            crypto::{
                CryptoProvider,
                aws_lc_rs::{default_provider, kx_group},
            },
            pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
        },
    },
};
use tickwire_loop::{Door, Event, Loop, Settings};

/// The groups that Node has as a client. Its first key is for the first group, so the second case
/// needs a HelloRetryRequest.
const GROUPS: [&str; 2] = ["X25519MLKEM768", "P-256:X25519MLKEM768"];

type Outcome<T = ()> = Result<T, Box<dyn Error>>;

struct Node {
    node: String,
    certificate: String,
    key: String,
}

impl Node {
    fn run(&self, role: &str, groups: &str, last: &str) -> Outcome<Child> {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/src/post_quantum.js");
        let mut command = Command::new(&self.node);
        command.args([script, role, groups, &self.certificate, last]).stdout(Stdio::piped());
        Ok(command.spawn()?)
    }

    fn serve(&self, groups: &str) -> Outcome<(Child, String)> {
        let mut child = self.run("serve", groups, &self.key)?;
        let mut port = String::new();
        BufReader::new(child.stdout.take().ok_or("no output")?).read_line(&mut port)?;
        Ok((child, format!("wss://localhost:{}/", port.trim())))
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Outcome {
    let mut args = std::env::args().skip(1);
    let (Some(node), Some(certificate), Some(key)) = (args.next(), args.next(), args.next()) else {
        return Err("usage: post_quantum NODE CERTIFICATE KEY".into());
    };
    default_provider().install_default().map_err(|_| "there was a default")?;
    let node = Node { node, certificate, key };
    let (mut child, url) = node.serve("X25519MLKEM768")?;
    let dialed = clients(&node, &url).await;
    child.kill()?;
    child.wait()?;
    dialed?;
    for groups in GROUPS {
        server(&node, groups)?;
        server_in_the_loop(&node, groups)?;
    }
    println!("X25519MLKEM768 with OpenSSL, in both roles");
    Ok(())
}

fn agreed(tls: Option<&Session>) {
    let tls = tls.expect("no TLS");
    assert_eq!(tls.negotiated_key_exchange_group(), Some(0x11ec));
    assert!(tls.in_place());
}

/// Connects to Node as the recipe does, then with a first key for another group, which needs a
/// HelloRetryRequest.
async fn clients(node: &Node, url: &str) -> Outcome {
    let config = Config::default();
    let mut ws = tickwire::tokio::connect(url, &config).await?;
    agreed(ws.get_ref().tls());
    ws.send("over tokio").await?;
    assert_eq!(ws.recv().await?.and_then(|message| message.as_text()), Some("over tokio"));
    ws.close(None).await?;

    let kx_groups = vec![kx_group::SECP256R1, kx_group::X25519MLKEM768];
    let provider = Arc::new(CryptoProvider { kx_groups, ..default_provider() });
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(&node.certificate)?)?;
    let tls =
        ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    let mut tls = tls.with_root_certificates(roots).with_no_client_auth();
    tls.enable_secret_extraction = true;
    let request = Request::new(url)?;
    let mut ws = Dial::new(&request).tls(Arc::new(tls)).blocking_connect(&config)?;
    agreed(ws.get_ref().tls().as_deref());
    ws.send("on a thread")?;
    assert_eq!(ws.recv()?.and_then(|message| message.as_text()), Some("on a thread"));
    ws.close(None)?;

    let mut net = Loop::<()>::new(Settings::default())?;
    net.net().dial(tickwire_loop::Dial::to(url)?, ())?; // Node has no other group
    let mut heard = false;
    net.run(|net, event| match event {
        Event::Open(handle) => drop(net.send(handle, "in the loop")),
        Event::Message { message, .. } => {
            heard = message.as_text() == Some("in the loop");
            net.shut_down(Duration::from_secs(9));
        }
        _ => {}
    })?;
    assert!(heard);
    Ok(())
}

/// A server that agrees on X25519MLKEM768 only.
fn certified(node: &Node) -> Outcome<Arc<ServerConfig>> {
    let kx_groups = vec![kx_group::X25519MLKEM768];
    let provider = Arc::new(CryptoProvider { kx_groups, ..default_provider() });
    let chain = CertificateDer::pem_file_iter(&node.certificate)?.collect::<Result<_, _>>()?;
    let key = PrivateKeyDer::from_pem_file(&node.key)?;
    let tls =
        ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    let mut tls = tls.with_no_client_auth().with_single_cert(chain, key)?;
    tls.enable_secret_extraction = true;
    Ok(Arc::new(tls))
}

fn server(node: &Node, groups: &str) -> Outcome {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let port = listener.local_addr()?.port().to_string();
    let mut child = node.run("connect", groups, &port)?;
    let stream = TlsStream::server(listener.accept()?.0, certified(node)?)?;
    let mut ws = blocking::accept(stream, &Config::default())?;
    agreed(Some(&ws.get_ref().session()));
    while let Some(received) = ws.recv_to_reply()? {
        received.sender.feed(received.message)?;
    }
    assert!(child.wait()?.success());
    Ok(())
}

fn server_in_the_loop(node: &Node, groups: &str) -> Outcome {
    let mut net = Loop::<()>::new(Settings::default())?;
    let door = Door::new(Config::default()).tls(certified(node)?);
    let port = net.net().listen(([127, 0, 0, 1], 0).into(), door)?.port().to_string();
    let mut child = node.run("connect", groups, &port)?;
    net.run(|net, event| match event {
        Event::Request { answer, .. } => answer.accept(Accept::default(), ()),
        Event::Message { from, message, .. } => drop(net.send(from, message)),
        Event::Closed { .. } => net.shut_down(Duration::ZERO),
        _ => {}
    })?;
    assert!(child.wait()?.success());
    Ok(())
}
