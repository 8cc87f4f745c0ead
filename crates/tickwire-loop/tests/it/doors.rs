//! A door's hook gets each accepted socket, before the loop reads from it.
use crate::common::{Running, say};
use socket2::{SockRef, Socket};
use std::{
    io::{self, Read},
    net::{TcpListener, TcpStream},
    sync::mpsc::channel,
};
use tickwire::{Config, handshake::server::Accept};
use tickwire_loop::{Door, Event};

#[test]
fn the_hook_sets_options_of_accepted_and_adopted_sockets() {
    let (tell, told) = channel();
    let door = Door::new(Config::default()).prepare(move |socket| {
        let options = SockRef::from(&socket);
        assert!(!options.keepalive()?, "nobody else sets the option");
        options.set_keepalive(true)?;
        say(&tell, Socket::from(socket.try_clone_to_owned()?));
        Ok(())
    });
    let to_adopt = door.clone();
    let server = Running::<()>::at(door, |_, event| {
        if let Event::Request { answer, .. } = event {
            answer.accept(Accept::default(), ());
        }
    });
    // The socket of an open connection has the option: the clone names the same socket.
    let is_kept_alive = |client: &TcpStream| {
        let socket = told.try_recv().unwrap();
        assert_eq!(socket.peer_addr().unwrap().as_socket(), client.local_addr().ok());
        assert!(socket.keepalive().unwrap());
        assert!(socket.tcp_nodelay().unwrap());
    };
    is_kept_alive(&server.raw_open());

    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (stream, _) = listener.accept().unwrap();
    server.call(move |net| net.adopt(stream, &to_adopt)).unwrap();
    is_kept_alive(&client);
}

#[test]
fn a_connection_whose_hook_fails_is_closed_and_counted() {
    let door = Door::new(Config::default()).prepare(|_| Err(io::ErrorKind::Other.into()));
    let server = Running::<()>::at(door, |_, event| {
        if let Event::Request { .. } = event {
            panic!("the connection is closed before");
        }
    });
    assert_eq!(server.raw().read(&mut [0]).unwrap(), 0);
    let counts = server.counts();
    assert_eq!((counts.accepted, counts.handshakes_failed, counts.accepted_now), (1, 1, 0));
}
