//! Peers that read slowly or nothing, of the loop over mio and io_uring. `slow_peer` has the table.
use crate::{
    common::{Running, listening, next, open},
    placed::placed,
    slow_peer::{self, Both, Case, Closes, Fate, keep_little, play_all},
    tls::{Keys, keys},
};
use std::{
    net::TcpListener,
    sync::{
        LazyLock,
        mpsc::{Receiver, channel},
    },
};
use testkit::{PATIENCE, slow_reader::narrow};
use tickwire::{
    CloseCode, Config, Error, RecvError,
    handshake::server::Accept,
    tls::rustls::{ClientConnection, StreamOwned},
};
use tickwire_loop::{Door, End, Event, Settings};

#[derive(Clone, Copy, Debug, PartialEq)]
enum Tls {
    None,
    Rustls,
    InPlace,
}

#[derive(Clone, Copy, Debug)]
struct Carrier {
    io_uring: bool,
    tls: Tls,
    /// The socket has TCP_NOTSENT_LOWAT.
    lowat: bool,
}

impl Carrier {
    fn all() -> impl Iterator<Item = Self> {
        let here = [false, true].into_iter().filter(|io_uring| {
            let settings = Settings { io_uring: *io_uring, ..Settings::default() };
            let (mut net, _) = listening::<()>(settings, Door::new(Config::default()));
            net.net().uses_io_uring() == *io_uring // the kernel or the build may have none
        });
        let carriers = |io_uring| {
            let all = [Tls::None, Tls::Rustls, Tls::InPlace].into_iter();
            let all = all.flat_map(|tls| [(tls, false), (tls, true)]);
            all.map(move |(tls, lowat)| Self { io_uring, tls, lowat })
        };
        here.flat_map(carriers)
    }

    fn serve(self, keys: &Keys, case: Case) -> (Running<()>, Receiver<Fate>) {
        let mut door = Door::new(case.config());
        if self.tls != Tls::None {
            door = door.tls(placed(keys.server.clone()));
        }
        let (tell, told) = channel();
        let settings = Settings { io_uring: self.io_uring, ..Settings::default() };
        let mut running = Running::with(settings, door.clone(), move |net, event| match event {
            Event::Request { answer, .. } => answer.accept(Accept::default(), ()),
            Event::Open(handle) => {
                net.send(handle, case.message()).unwrap();
                if case.closes == Closes::We {
                    net.close(handle, CloseCode::GOING_AWAY);
                }
            }
            Event::Closed { end: End::Closed(closed), .. } => {
                // With the peer's Close, receiving has not failed: what tells is our own Close.
                let is_unwritten = closed.error.is_none() && closed.sent_code == 1006;
                let error = closed.error.or(is_unwritten.then_some(RecvError::CloseTimeout));
                let ended = error.map_or(Ok(()), |error| Err(Error::from(error)));
                tell.send(Fate::new(ended, Some(closed))).unwrap();
            }
            Event::Closed { end, .. } => tell.send(Fate::Other(format!("{end:?}"))).unwrap(),
            _ => {}
        });
        if self.lowat {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            keep_little(&listener);
            running.address = running.call(|net| net.listen_on(listener, door).unwrap());
        }
        (running, told)
    }

    /// The peer's stream after the opening handshake.
    fn peer(self, running: &Running<()>, keys: &Keys) -> Box<dyn Both> {
        let tcp = narrow(running.address);
        tcp.set_read_timeout(Some(PATIENCE)).unwrap();
        if self.tls == Tls::None {
            return Box::new(open(tcp));
        }
        let name = "localhost".try_into().unwrap();
        let tls = ClientConnection::new(keys.client.clone(), name).unwrap();
        Box::new(open(StreamOwned::new(tls, tcp)))
    }
}

impl slow_peer::Carrier for Carrier {
    fn has_deep_buffers(self) -> bool {
        !self.lowat
    }

    fn open(self, case: Case) -> (Box<dyn Both>, Box<dyn FnOnce() -> Fate>) {
        static KEYS: LazyLock<[Keys; 2]> = LazyLock::new(|| [false, true].map(keys));
        let keys = &KEYS[usize::from(self.tls == Tls::InPlace)];
        let (running, told) = self.serve(keys, case);
        let peer = self.peer(&running, keys);
        let ends = move || {
            let fate = next(&told);
            drop(running);
            fate
        };
        (peer, Box::new(ends))
    }
}

#[test]
fn who_reads_slowly_gets_all_and_who_reads_nothing_ends() {
    play_all(Carrier::all());
}
