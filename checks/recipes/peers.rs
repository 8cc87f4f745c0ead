//! Whom each recipe with a loop meets, over TCP and in bytes.
#![allow(clippy::unwrap_used)]
use std::{
    io::{self, Read, Write},
    net::TcpStream,
    thread::{self, JoinHandle},
    time::Duration,
};
use testkit::frames::{CLOSE, TEXT, WireFrame, close_body, frame, read_head, whole_frames};

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wrong {
    /// Says Close 1012, and keeps TCP open for a while.
    Closes,
    /// Reads nothing, and keeps TCP open. Its thread never ends.
    Deaf,
    /// Ends TCP without a Close.
    Gone,
}

/// Each, for a loop over them.
pub const ALL: [Wrong; 3] = [Wrong::Closes, Wrong::Deaf, Wrong::Gone];

/// A peer of a connection.
pub struct Peer {
    /// Its end.
    pub io: TcpStream,
    /// None for a server.
    pub key: Option<[u8; 4]>,
    /// A deaf peer goes on sending, so that replies pile up.
    pub floods: bool,
    /// The code of its Close.
    pub code: u16,
}

impl Peer {
    /// A client, which floods if it is deaf.
    pub fn client(io: TcpStream) -> Self {
        Self { io, key: Some([7; 4]), floods: true, code: 1012 }
    }

    /// A server, which does not.
    pub fn server(io: TcpStream) -> Self {
        Self { io, key: None, floods: false, code: 1012 }
    }

    /// Asks for a WebSocket, and waits for the answer, byte by byte so that no frame is taken.
    pub fn opens(mut self) -> Self {
        let request = "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
        self.io.write_all(request.as_bytes()).unwrap();
        let head = read_head(&mut self.io);
        assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
        self
    }

    fn write(&mut self, b0: u8, payload: &[u8]) -> io::Result<()> {
        self.io.write_all(&frame(b0, self.key, payload))
    }

    /// Sends a text, once `after` messages have come, and does what is wrong. Returns the messages
    /// that have come.
    pub fn goes(mut self, wrong: Wrong, after: usize) -> JoinHandle<Vec<Vec<u8>>> {
        thread::spawn(move || {
            let mut wire = Vec::new();
            if wrong != Wrong::Deaf {
                while messages(&wire).len() < after && self.reads(&mut wire) {}
            }
            self.write(TEXT, b"hello").unwrap();
            match wrong {
                Wrong::Closes => {
                    self.write(CLOSE, &close_body(self.code, "")).unwrap();
                    // As a server does that has more to do before it ends TCP.
                    self.io.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
                    while self.reads(&mut wire) {}
                }
                Wrong::Deaf => {
                    while self.floods && self.write(TEXT, &[b'x'; 30_000]).is_ok() {}
                    loop {
                        thread::park();
                    }
                }
                Wrong::Gone => {}
            }
            messages(&wire)
        })
    }

    /// Sends `messages` texts and its Close once a byte has come, and leaves this byte unread: so
    /// its end of TCP is a reset. Returns when that is done.
    pub fn resets(mut self, messages: usize) {
        self.io.peek(&mut [0]).unwrap();
        let mut last_words = frame(TEXT, self.key, b"hello").repeat(messages);
        last_words.extend(frame(CLOSE, self.key, &close_body(self.code, "")));
        self.io.write_all(&last_words).unwrap();
    }

    fn reads(&mut self, wire: &mut Vec<u8>) -> bool {
        let mut piece = vec![0; 64 << 10];
        let n = self.io.read(&mut piece).unwrap_or(0);
        wire.extend_from_slice(&piece[..n]);
        n > 0
    }
}

fn messages(wire: &[u8]) -> Vec<Vec<u8>> {
    let (frames, _) = whole_frames(wire);
    let is_message = |frame: &WireFrame| frame.b0 & 0x0f <= 2;
    frames.into_iter().filter(is_message).map(|frame| frame.payload).collect()
}
