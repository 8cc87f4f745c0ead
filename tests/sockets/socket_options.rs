//! Options of TCP sockets, read back from the system: on a stream of the caller's, and on what
//! `connect` of both adapters dials.
use crate::support::blocking::*;
use socket2::SockRef;
use std::{
    error::Error as _,
    io,
    net::{TcpListener, TcpStream},
    thread,
    time::Duration,
};
use tickwire::{
    Config, Dial, Error, Keepalive, SocketOptions, blocking, handshake::client::Request,
};

fn options() -> SocketOptions {
    let (idle, interval) = (Duration::from_millis(6_500), Duration::from_secs(7));
    let mut options = SocketOptions::default();
    options.notsent_lowat = Some(16 << 10);
    if cfg!(target_os = "linux") {
        options.user_timeout = Some(Duration::from_micros(12_345_600));
    }
    options.keepalive = Some(Keepalive { idle, interval, probes: 8 });
    options.send_buffer = Some(40_000);
    options.recv_buffer = Some(50_000);
    options
}

/// [`SocketOptions`] that differ from the default ones in this.
fn with(set: impl FnOnce(&mut SocketOptions)) -> SocketOptions {
    let mut options = SocketOptions::default();
    set(&mut options);
    options
}

/// Options that the system refuses, and the name of the one that it does.
fn refused() -> (SocketOptions, &'static str) {
    let long = Duration::from_secs(1 << 20);
    if !cfg!(target_os = "linux") {
        return (with(|options| options.user_timeout = Some(long)), "TCP_USER_TIMEOUT: ");
    }
    // Linux takes up to 32,767 seconds.
    let keepalive = Keepalive { idle: long, interval: long, probes: 1 };
    (with(|options| options.keepalive = Some(keepalive)), "SO_KEEPALIVE: ")
}

/// What the system says of a socket with [`options`].
#[track_caller]
fn check<'a, S>(socket: &'a S, nodelay: bool)
where
    SockRef<'a>: From<&'a S>,
{
    let socket = SockRef::from(socket);
    assert_eq!(socket.tcp_nodelay().unwrap(), nodelay);
    assert!(socket.keepalive().unwrap());
    #[cfg(not(windows))] // which does not tell
    {
        assert_eq!(socket.tcp_keepalive_time().unwrap(), Duration::from_secs(7)); // rounded up
        assert_eq!(socket.tcp_keepalive_interval().unwrap(), Duration::from_secs(7));
        assert_eq!(socket.tcp_keepalive_retries().unwrap(), 8);
    }
    #[cfg(target_os = "linux")]
    {
        assert_eq!(socket.tcp_notsent_lowat().unwrap(), 16 << 10);
        assert_eq!(socket.tcp_user_timeout().unwrap(), Some(ms(12_345)));
        assert_eq!(socket.send_buffer_size().unwrap(), 80_000); // which Linux doubles
        assert_eq!(socket.recv_buffer_size().unwrap(), 100_000);
    }
}

/// A server for so many connections, and its URL. It answers each first message, and goes on until
/// the client closes.
fn serve(connections: usize) -> (String, thread::JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("ws://{}", listener.local_addr().unwrap());
    let serving = thread::spawn(move || {
        for _ in 0..connections {
            let (stream, _) = listener.accept().unwrap();
            let mut ws = blocking::accept(stream, &Config::default()).unwrap();
            while let Some(received) = ws.recv_with().unwrap() {
                let _ = received.sender.feed(received.message).unwrap();
            }
        }
    });
    (url, serving)
}

#[test]
fn a_stream_of_the_callers_gets_what_is_asked_for_and_nothing_else() {
    let (near, far) = tcp_pair();
    near.set_nodelay(false).unwrap();
    let before = (SockRef::from(&near).send_buffer_size().unwrap(), near.ttl().unwrap());
    SocketOptions::default().apply(&near).unwrap();
    let socket = SockRef::from(&near);
    assert!(socket.tcp_nodelay().unwrap() && !socket.keepalive().unwrap());
    assert_eq!((socket.send_buffer_size().unwrap(), near.ttl().unwrap()), before);
    let mut delayed = options();
    delayed.nodelay = false;
    delayed.apply(&far).unwrap();
    check(&far, false);
}

#[test]
fn streams_inherit_from_their_listener() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    options().apply(&listener).unwrap();
    let _near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (far, _) = listener.accept().unwrap();
    if cfg!(target_os = "linux") {
        check(&far, true);
    }
    options().apply(&far).unwrap();
    check(&far, true);
}

#[cfg(target_os = "linux")]
#[test]
fn quickack_is_set_by_itself_too() {
    let (near, _far) = tcp_pair();
    let quick = || SockRef::from(&near).tcp_quickack().unwrap();
    with(|options| options.quickack = Some(false)).apply(&near).unwrap();
    assert!(!quick());
    SocketOptions::quickack_now(&near).unwrap();
    assert!(quick());
    with(|options| options.quickack = Some(false)).apply(&near).unwrap();
    with(|options| options.quickack = Some(true)).apply(&near).unwrap();
    assert!(quick());
}

#[cfg(target_os = "linux")]
#[test]
fn busy_poll_needs_a_right_and_says_so() {
    let (near, _far) = tcp_pair();
    let options = with(|options| options.busy_poll = Some(Duration::from_micros(50)));
    match options.apply(&near) {
        Ok(()) => assert_eq!(SockRef::from(&near).busy_poll().unwrap(), 50),
        Err(error) => {
            assert_eq!(error.kind(), io::ErrorKind::PermissionDenied);
            assert!(error.to_string().starts_with("SO_BUSY_POLL: "), "{error}");
            assert!(!Error::Io(error).is_retryable());
        }
    }
}

/// Both are for those who may administer the network. The kernel says what it keeps of the first, not of the second.
#[cfg(target_os = "linux")]
#[test]
fn how_busy_polling_is_done_is_set_where_the_program_may() {
    use nix::{
        getsockopt_impl, libc,
        sys::socket::{getsockopt, sockopt::GetBool},
    };
    #[derive(Clone, Copy)]
    struct Preferred;
    getsockopt_impl!(Preferred, libc::SOL_SOCKET, libc::SO_PREFER_BUSY_POLL, bool, GetBool);

    let (near, _far) = tcp_pair();
    let allowed = |options: SocketOptions, option: &str| match options.apply(&near) {
        Ok(()) => true,
        Err(error) => {
            assert_eq!(error.kind(), io::ErrorKind::PermissionDenied);
            assert!(error.to_string().starts_with(&format!("{option}: ")), "{error}");
            false
        }
    };
    let administrator =
        allowed(with(|options| options.prefer_busy_poll = true), "SO_PREFER_BUSY_POLL");
    assert_eq!(getsockopt(&near, Preferred).unwrap(), administrator);
    let polls = |packets| {
        allowed(with(|options| options.busy_poll_budget = Some(packets)), "SO_BUSY_POLL_BUDGET")
    };
    assert_eq!(polls(4), administrator);
    assert_eq!(polls(u16::MAX), administrator);
}

#[cfg(target_os = "linux")]
#[test]
fn a_listener_knows_its_processor() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    with(|options| options.incoming_cpu = Some(1)).apply(&listener).unwrap();
    assert_eq!(SockRef::from(&listener).cpu_affinity().unwrap(), 1);
}

/// All of 127.0.0.0/8 is this machine's; the system would dial from 127.0.0.1.
#[cfg(target_os = "linux")]
#[test]
fn connect_dials_from_the_local_address() {
    bounded(|| {
        let (url, serving) = serve(1);
        let request = Request::new(&url).unwrap();
        let from = |local: &str| {
            let local: std::net::IpAddr = local.parse().unwrap();
            let options = with(|options| options.local_address = Some(local));
            Dial::new(&request).socket(options).blocking_connect(&Config::default())
        };
        // The wrong family, and an address for documentation, which is nobody's.
        let error = from("::1").unwrap_err();
        assert!(matches!(&error, Error::Io(e) if e.kind() == io::ErrorKind::NotFound), "{error:?}");
        let error = from("192.0.2.1").unwrap_err();
        assert!(error.to_string().starts_with("the local address: "), "{error}");
        assert!(
            matches!(&error, Error::Io(e) if e.kind() == io::ErrorKind::AddrNotAvailable),
            "{error:?}"
        );
        let mut ws = from("127.0.0.5").unwrap();
        assert_eq!(ws.get_ref().tcp().local_addr().unwrap().ip().to_string(), "127.0.0.5");
        ws.send("there").unwrap();
        assert_eq!(ws.recv().unwrap().unwrap().as_text(), Some("there"));
        ws.close(None).unwrap();
        serving.join().unwrap();
    });
}

#[test]
fn an_option_that_is_refused_is_named() {
    let (near, _far) = tcp_pair();
    let (options, name) = refused();
    let error = options.apply(&near).unwrap_err();
    assert!(error.to_string().starts_with(name), "{error}");
}

#[test]
fn connect_dials_with_them() {
    bounded(|| {
        let (url, serving) = serve(4);
        let request = Request::new(&url).unwrap();
        for bounded in [true, false] {
            let limit = if bounded { PATIENCE } else { Duration::MAX };
            let config = Config::default().handshake_timeout(limit);
            let dial = |options| Dial::new(&request).socket(options).blocking_connect(&config);
            let mut ws = dial(options()).unwrap();
            check(ws.get_ref().tcp(), true);
            ws.send("there").unwrap();
            assert_eq!(ws.recv().unwrap().unwrap().as_text(), Some("there"));
            ws.close(None).unwrap();
            let mut delayed = options();
            delayed.nodelay = false;
            let mut ws = dial(delayed).unwrap();
            check(ws.get_ref().tcp(), false);
            ws.close(None).unwrap();
        }
        serving.join().unwrap();
    });
}

#[test]
fn connect_still_fails_as_it_should() {
    bounded(|| {
        let dial = |url: &str, options| {
            let request = Request::new(url).unwrap();
            Dial::new(&request).socket(options).blocking_connect(&Config::default()).unwrap_err()
        };
        // Nobody listens there any more.
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let error = dial(&format!("ws://{address}"), options());
        assert!(error.to_string().ends_with(&format!(", dialing {address}")), "{error}");
        assert!(
            matches!(&error, Error::Io(e) if e.kind() == io::ErrorKind::ConnectionRefused),
            "{error:?}"
        );
        let system = error.source().and_then(|source| source.downcast_ref::<io::Error>());
        if cfg!(target_os = "linux") {
            assert_eq!(system.and_then(io::Error::raw_os_error), Some(111), "ECONNREFUSED");
        }
        let (near, _far) = tcp_pair();
        let url = format!("ws://{}", near.peer_addr().unwrap());
        let (options, name) = refused();
        let error = dial(&url, options);
        assert!(error.to_string().starts_with(name) && !error.is_retryable());
    });
}

#[cfg(feature = "tokio")]
#[tokio::test]
async fn connect_of_tokio_dials_with_them() {
    let (url, serving) = serve(if cfg!(target_os = "linux") { 3 } else { 2 });
    let request = Request::new(&url).unwrap();
    let dial =
        async |options| Dial::new(&request).socket(options).connect(&Config::default()).await;
    for nodelay in [true, false] {
        let mut options = options();
        options.nodelay = nodelay;
        let mut ws = dial(options).await.unwrap();
        check(ws.get_ref().tcp(), nodelay);
        ws.send("there").await.unwrap();
        assert_eq!(ws.recv().await.unwrap().unwrap().as_text(), Some("there"));
        ws.close(None).await.unwrap();
    }
    let error = dial(with(|options| options.local_address = "::1".parse().ok())).await;
    assert!(matches!(error, Err(Error::Io(e)) if e.kind() == io::ErrorKind::NotFound));
    if cfg!(target_os = "linux") {
        let options = with(|options| options.local_address = "127.0.0.5".parse().ok());
        let mut ws = dial(options).await.unwrap();
        assert_eq!(ws.get_ref().tcp().local_addr().unwrap().ip().to_string(), "127.0.0.5");
        ws.close(None).await.unwrap();
    }
    serving.join().unwrap();
    let error = dial(options()).await;
    let address = url.strip_prefix("ws://").unwrap().trim_end_matches('/');
    let shown = error.as_ref().unwrap_err().to_string();
    assert!(shown.ends_with(&format!(", dialing {address}")), "{shown}");
    assert!(matches!(error, Err(Error::Io(e)) if e.kind() == io::ErrorKind::ConnectionRefused));
}
