//! A loop in each thread: a shared port, streams that are dealt out, messages between loops.
use crate::common::{Running, chosen, echo};
use std::{
    collections::BTreeSet,
    io::Read,
    net::{SocketAddr, TcpListener, TcpStream},
    sync::mpsc::{Receiver, Sender, channel},
    thread,
};
use testkit::PATIENCE;
use tickwire::{
    Config, Message, Prepared, blocking,
    handshake::{client::Request, server::Accept},
};
use tickwire_loop::{Door, Event, Handle, Loop, Settings, Waker};

type Other = (Sender<String>, Waker);

/// A loop that sends each message to all its connections, and to the other loop for those there.
/// Its thread returns the number of connections that it opened.
fn chat(
    mut net: Loop<()>,
    inbox: Receiver<String>,
    other: Other,
) -> thread::JoinHandle<std::io::Result<usize>> {
    thread::spawn(move || {
        let (mut all, mut opened) = (BTreeSet::<Handle>::new(), 0);
        net.run(|net, event| match event {
            Event::Request { answer, .. } => answer.accept(Accept::default(), ()),
            Event::Open(handle) => {
                opened += 1;
                all.insert(handle);
            }
            Event::Message { message, .. } => {
                let text = message.as_text().unwrap();
                net.send_to(all.iter().copied(), &Prepared::new(text));
                other.0.send(text.to_owned()).unwrap();
                other.1.wake().unwrap(); // after the send
            }
            Event::Woken => inbox.try_iter().for_each(|text| match &*text {
                "" => net.stop(),
                text => drop(net.send_to(all.iter().copied(), &Prepared::new(text))),
            }),
            Event::Closed { handle, .. } => drop(all.remove(&handle)),
            _ => {}
        })?;
        Ok(opened)
    })
}

#[test]
fn loops_share_a_port_and_a_message_reaches_the_connections_of_all() {
    let door = || Door::new(Config::default()).share_port(true);
    let mut loops = [(); 2].map(|()| Loop::<()>::new(chosen(Settings::default())).unwrap());
    let mut address = SocketAddr::from(([127, 0, 0, 1], 0));
    for net in &mut loops {
        address = net.net().listen(address, door()).unwrap();
    }
    let wakers = [0, 1].map(|i| loops[i].net().waker());
    let (to, inboxes): (Vec<_>, Vec<_>) = [(); 2].map(|()| channel()).into_iter().unzip();
    let threads: Vec<_> = loops
        .into_iter()
        .zip(inboxes)
        .enumerate()
        .map(|(i, (net, inbox))| chat(net, inbox, (to[1 - i].clone(), wakers[1 - i].clone())))
        .collect();

    let request = Request::new("ws://localhost/").unwrap();
    let mut clients: Vec<_> = (0..40)
        .map(|_| {
            let stream = TcpStream::connect(address).unwrap();
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            blocking::client(stream, &request, &Config::default()).unwrap()
        })
        .collect();
    let (first, last) = (0, clients.len() - 1);
    for from in [first, last] {
        // A client hears its own message when its loop knows it, and sends after the others.
        clients[from].send("hello to all").unwrap();
        for client in &mut clients {
            assert_eq!(client.recv().unwrap(), Some(Message::Text("hello to all")));
        }
    }
    for (to, waker) in to.iter().zip(&wakers) {
        to.send(String::new()).unwrap();
        waker.wake().unwrap();
    }
    let opened: Vec<_> =
        threads.into_iter().map(|thread| thread.join().unwrap().unwrap()).collect();
    assert_eq!(opened.iter().sum::<usize>(), clients.len());
    assert!(opened.iter().all(|count| *count > 0), "{opened:?}");
}

#[test]
fn a_port_that_is_not_shared_has_one_loop() {
    let first = echo(Settings::default(), Config::default());
    let mut second = Loop::<()>::new(chosen(Settings::default())).unwrap();
    let listened = second.net().listen(first.address, Door::new(Config::default()));
    assert_eq!(listened.unwrap_err().kind(), std::io::ErrorKind::AddrInUse);
}

#[test]
fn an_acceptor_deals_streams_out_within_the_limits_of_each_loop() {
    let settings = Settings { max_connections: 3, ..Settings::default() };
    let loops = [(); 2].map(|()| echo(settings.clone(), Config::default()));
    let acceptor = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let door = Door::new(Config::default());
    let mut dialed = Vec::new();
    for i in 0..8 {
        dialed.push(TcpStream::connect(acceptor.local_addr().unwrap()).unwrap());
        let (stream, _) = acceptor.accept().unwrap();
        let door = door.clone();
        let to: &Running<()> = &loops[i % 2];
        to.call(move |net| net.adopt(stream, &door)).unwrap();
    }
    for mut refused in dialed.split_off(6) {
        refused.set_read_timeout(Some(PATIENCE)).unwrap();
        assert_eq!(refused.read(&mut [0]).unwrap_or(0), 0);
    }
    let request = Request::new("ws://localhost/").unwrap();
    for stream in dialed {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut ws = blocking::client(stream, &request, &Config::default()).unwrap();
        ws.send("dealt").unwrap();
        assert_eq!(ws.recv().unwrap(), Some(Message::Text("dealt")));
    }
    for net in &loops {
        let counts = net.wait_for(|counts| counts.accepted_now == 0);
        assert_eq!((counts.accepted, counts.over_connections), (4, 1));
    }
}
