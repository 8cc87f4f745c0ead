//! Connectors: streams that the caller makes, under `connect_with` of both adapters that dial.
use crate::support::{
    blocking::bounded,
    proxy::{echo, first, relay},
};
use std::{cell::RefCell, future, io, net::TcpStream, time::Duration};
use tickwire::{
    Config, Dial, Error, Proxy, handshake::client::Request, tokio as on_tokio, url::Target,
};
use tokio::{net, runtime::Builder};

fn runtime() -> tokio::runtime::Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

/// What the connector was asked for.
type Asked = RefCell<Vec<(String, u16)>>;

fn note(asked: &Asked, to: &Target) {
    asked.borrow_mut().push((to.host().into(), to.port()));
}

#[test]
fn a_connector_resolves_as_it_likes() {
    bounded(|| {
        let request = Request::new("ws://feed.invalid:81/ticks").unwrap();
        let (dial, config) = (Dial::new(&request), Config::default());
        let asked = Asked::default();

        let (address, serving) = echo();
        let connect = |to: &Target| {
            note(&asked, to);
            TcpStream::connect(address)
        };
        let mut ws = dial.blocking_connect_with(&config, connect).unwrap();
        assert_eq!(ws.get_ref().get_ref().peer_addr().unwrap(), address);
        assert!(ws.get_ref().get_ref().nodelay().unwrap());
        ws.send("one").unwrap();
        assert_eq!(ws.recv().unwrap().unwrap().as_text(), Some("one"));
        ws.close(None).unwrap();
        serving.join().unwrap();

        let (address, serving) = echo();
        runtime().block_on(async {
            let connect = |to| {
                note(&asked, to);
                net::TcpStream::connect(address)
            };
            let mut ws = dial.connect_with(&config, connect).await.unwrap();
            assert_eq!(ws.get_ref().get_ref().peer_addr().unwrap(), address);
            ws.send("two").await.unwrap();
            assert_eq!(ws.recv().await.unwrap().unwrap().as_text(), Some("two"));
            ws.close(None).await.unwrap();
        });
        serving.join().unwrap();
        assert_eq!(*asked.borrow(), vec![("feed.invalid".to_owned(), 81); 2]);
    });
}

/// Or a reader that waits would never look whether the writer has closed.
#[test]
fn the_reads_of_a_split_connection_end_on_a_connectors_stream_too() {
    bounded(|| {
        let request = Request::new("ws://feed.invalid/ticks").unwrap();
        let (address, serving) = echo();
        let connect = |_: &Target| TcpStream::connect(address);
        let ws = Dial::new(&request).blocking_connect_with(&Config::default(), connect).unwrap();
        let (mut reader, mut writer) = ws.into_split().unwrap();
        writer.send("one").unwrap();
        assert_eq!(reader.recv().unwrap().unwrap().as_text(), Some("one"));
        assert!(reader.get_ref().get_ref().read_timeout().unwrap().is_some());
        writer.close(None).unwrap();
        assert!(reader.recv().unwrap().is_none());
        serving.join().unwrap();
    });
}

#[test]
fn a_connector_makes_the_way_to_a_proxy() {
    bounded(|| {
        let request = Request::new("ws://feed.invalid/ticks").unwrap();
        let proxy = Proxy::new("http://proxy.invalid:3128").unwrap();
        let (dial, config) = (Dial::new(&request).proxy(proxy), Config::default());
        let asked = Asked::default();
        for on_tokio in [false, true] {
            let (server, serving) = echo();
            let (address, relaying) = first(move |stream| relay(stream, server));
            if on_tokio {
                runtime().block_on(async {
                    let connect = |to| {
                        note(&asked, to);
                        net::TcpStream::connect(address)
                    };
                    let mut ws = dial.connect_with(&config, connect).await.unwrap();
                    ws.close(None).await.unwrap();
                });
            } else {
                let connect = |to: &Target| {
                    note(&asked, to);
                    TcpStream::connect(address)
                };
                let mut ws = dial.blocking_connect_with(&config, connect).unwrap();
                ws.close(None).unwrap();
            }
            serving.join().unwrap();
            let told = String::from_utf8(relaying.join().unwrap().proxy).unwrap();
            assert!(told.contains("feed.invalid:80 HTTP/1.1\r\n"), "{told}");
        }
        assert_eq!(*asked.borrow(), vec![("proxy.invalid".to_owned(), 3128); 2]);
    });
}

#[test]
fn the_error_of_a_connector_is_passed_on() {
    let request = Request::new("ws://feed.invalid:81/").unwrap();
    let (dial, config) = (Dial::new(&request), Config::default());
    let refuse = || io::Error::new(io::ErrorKind::ConnectionRefused, "no such feed");
    let blocking = dial.blocking_connect_with::<TcpStream>(&config, |_| Err(refuse()));
    let tokio = runtime().block_on(
        dial.connect_with::<net::TcpStream, _>(&config, |_| future::ready(Err(refuse()))),
    );
    for error in [blocking.map(drop).unwrap_err(), tokio.map(drop).unwrap_err()] {
        assert!(error.to_string().contains("no such feed"), "{error}");
        let Error::Io(error) = error else { panic!("{error}") };
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
    }
}

#[test]
fn the_time_of_the_opening_handshake_bounds_a_connector() {
    let request = Request::new("ws://feed.invalid:81/").unwrap();
    let config = Config { handshake_timeout: Duration::from_secs(7), ..Config::default() };
    let runtime = Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let began = tokio::time::Instant::now();
        let dial = Dial::new(&request);
        let stuck = dial.connect_with::<net::TcpStream, _>(&config, |_| future::pending()).await;
        let error = stuck.map(drop).unwrap_err();
        assert!(matches!(error, Error::Io(error) if error.kind() == io::ErrorKind::TimedOut));
        assert_eq!(began.elapsed().as_secs(), 7);
    });
}

/// A simulated network: a pipe in memory, whose far end a server accepts.
#[test]
fn a_connector_has_any_stream() {
    runtime().block_on(async {
        let request = Request::new("ws://feed.invalid/").unwrap();
        let (near, far) = tokio::io::duplex(64);
        let near = RefCell::new(Some(near));
        let dial = Dial::new(&request);
        let config = Config::default();
        let (ws, peer) = tokio::join!(
            dial.connect_with(&config, |_| future::ready(Ok(near.take().unwrap()))),
            on_tokio::accept(far, &config),
        );
        let (mut ws, mut peer) = (ws.unwrap(), peer.unwrap());
        peer.send("tick").await.unwrap();
        assert_eq!(ws.recv().await.unwrap().unwrap().as_text(), Some("tick"));
    });
}

#[cfg(unix)]
mod unix {
    use super::*;
    use std::{
        env, fs,
        os::unix::net::{UnixListener, UnixStream},
        path::PathBuf,
        process, thread,
    };
    use tickwire::blocking;

    /// The path of a socket, which goes with this.
    struct Place(PathBuf);

    impl Place {
        fn new(name: &str) -> Self {
            Self(env::temp_dir().join(format!("tickwire-{}-{name}", process::id())))
        }
    }

    impl Drop for Place {
        fn drop(&mut self) {
            let _ = fs::remove_file(&self.0);
        }
    }

    fn request() -> Request {
        Request::new("ws://localhost/ticks?all").unwrap()
    }

    #[test]
    fn a_thread_serves_and_dials_a_unix_socket() {
        bounded(|| {
            let place = Place::new("thread");
            let listener = UnixListener::bind(&place.0).unwrap();
            let serving = thread::spawn(move || {
                let stream = listener.accept().unwrap().0;
                let incoming = blocking::Incoming::read(stream, &Config::default()).unwrap();
                assert_eq!(incoming.request().path(), "/ticks");
                assert_eq!(incoming.request().headers().get("host"), Some(&b"localhost"[..]));
                let mut ws = incoming.accept(Default::default()).unwrap();
                ws.send("tick").unwrap();
                while ws.recv().unwrap().is_some() {}
            });
            let request = request();
            let dial = Dial::new(&request);
            let connect = |_: &Target| UnixStream::connect(&place.0);
            let mut ws = dial.blocking_connect_with(&Config::default(), connect).unwrap();
            assert_eq!(ws.recv().unwrap().unwrap().as_text(), Some("tick"));
            ws.close(None).unwrap();
            serving.join().unwrap();
        });
    }

    #[test]
    fn a_task_serves_and_dials_a_unix_socket() {
        let place = Place::new("task");
        runtime().block_on(async {
            let listener = net::UnixListener::bind(&place.0).unwrap();
            let config = Config::default();
            let request = request();
            let dial = Dial::new(&request);
            let (ws, peer) = tokio::join!(
                dial.connect_with(&config, |_| net::UnixStream::connect(&place.0)),
                async { on_tokio::accept(listener.accept().await.unwrap().0, &config).await },
            );
            let (mut ws, mut peer) = (ws.unwrap(), peer.unwrap());
            ws.send("order").await.unwrap();
            assert_eq!(peer.recv().await.unwrap().unwrap().as_text(), Some("order"));
        });
    }
}
