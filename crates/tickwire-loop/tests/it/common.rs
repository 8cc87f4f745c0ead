//! A loop in a thread, blocking clients, and raw sockets.
use socket2::SockRef;
use std::{
    io::{Read, Write, stderr},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::mpsc::{Receiver, Sender, channel},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};
pub(crate) use testkit::frames::read_head;
use testkit::{
    PATIENCE,
    frames::{BINARY, masked},
};
use tickwire::{Config, blocking::WebSocket, handshake::server::Accept};
use tickwire_loop::{Counts, Door, Event, Loop, Net, Settings, Waker};

/// Over which back end the tests run: `TICKWIRE_IO_URING=1 cargo test` chooses io_uring.
pub(crate) fn chosen(mut settings: Settings) -> Settings {
    settings.io_uring |= std::env::var_os("TICKWIRE_IO_URING").is_some();
    settings
}

/// A loop that listens at one door.
pub(crate) fn listening<T>(settings: Settings, door: Door) -> (Loop<T>, SocketAddr) {
    let mut net = Loop::new(chosen(settings)).unwrap();
    let address = net.net().listen(([127, 0, 0, 1], 0).into(), door).unwrap();
    (net, address)
}

type Command<T> = Box<dyn FnOnce(&mut Net<'_, T>) + Send>;

/// A loop that runs in a thread until it is dropped. The test sends it commands.
pub(crate) struct Running<T> {
    pub(crate) address: SocketAddr,
    commands: Sender<Command<T>>,
    waker: Waker,
    thread: Option<JoinHandle<()>>,
}

impl<T: Send + 'static> Running<T> {
    /// Runs a loop with one door, and this handler.
    pub(crate) fn with(
        settings: Settings,
        door: Door,
        mut handler: impl FnMut(&mut Net<'_, T>, Event<'_, T>) + Send + 'static,
    ) -> Self {
        let (mut net, address) = listening(settings, door);
        if chosen(Settings::default()).io_uring && !net.net().uses_io_uring() {
            // Not `println`: libtest hides what a test that passes prints.
            let line = b"NOT RUN over io_uring, but over mio: the kernel or the build has none\n";
            let _ = stderr().write_all(line);
        }
        let (commands, inbox) = channel::<Command<T>>();
        let waker = net.net().waker();
        let thread = thread::spawn(move || {
            net.run(|net, event| match event {
                Event::Woken => inbox.try_iter().for_each(|command| command(net)),
                event => handler(net, event),
            })
            .unwrap();
        });
        Self { address, commands, waker, thread: Some(thread) }
    }

    /// With the default settings.
    pub(crate) fn at(
        door: Door,
        handler: impl FnMut(&mut Net<'_, T>, Event<'_, T>) + Send + 'static,
    ) -> Self {
        Self::with(Settings::default(), door, handler)
    }

    /// Lets the peers of the test come to this door, where the system holds few bytes of each
    /// connection: the loop has soon read a flood, and its writes soon block.
    pub(crate) fn narrow(mut self, door: Door) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        SockRef::from(&listener).set_recv_buffer_size(64 << 10).unwrap();
        SockRef::from(&listener).set_send_buffer_size(64 << 10).unwrap();
        self.address = self.call(|net| net.listen_on(listener, door).unwrap());
        self
    }

    /// Does something in the loop, and waits for its result.
    pub(crate) fn call<R: Send + 'static>(
        &self,
        command: impl FnOnce(&mut Net<'_, T>) -> R + Send + 'static,
    ) -> R {
        let (done, result) = channel();
        let _ = self.commands.send(Box::new(move |net| drop(done.send(command(net)))));
        self.waker.wake().unwrap();
        result.recv_timeout(PATIENCE).expect("the loop goes on")
    }

    pub(crate) fn counts(&self) -> Counts {
        self.call(|net| net.counts())
    }

    /// Waits until the counts are so.
    pub(crate) fn wait_for(&self, so: impl Fn(&Counts) -> bool) -> Counts {
        let began = Instant::now();
        loop {
            let counts = self.counts();
            if so(&counts) {
                return counts;
            }
            assert!(began.elapsed() < PATIENCE, "{counts:?}");
            thread::sleep(Duration::from_millis(10));
        }
    }

    pub(crate) fn connect(&self) -> WebSocket<TcpStream> {
        self.connect_with(&Config::default())
    }

    pub(crate) fn connect_with(&self, config: &Config) -> WebSocket<TcpStream> {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_nodelay(true).unwrap();
        let request = tickwire::handshake::client::Request::new("ws://localhost/").unwrap();
        tickwire::blocking::client(stream, &request, config).unwrap()
    }
}

impl<T> Drop for Running<T> {
    fn drop(&mut self) {
        let _ = self.commands.send(Box::new(|net| net.stop()));
        let _ = self.waker.wake();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
            && !thread::panicking()
        {
            panic!("the loop has panicked");
        }
    }
}

/// A loop that accepts each request, and what its handler tells of its other events.
pub(crate) fn telling<T: Default + Send + 'static, M: Send + 'static>(
    door: Door,
    mut handler: impl FnMut(&mut Net<'_, T>, Event<'_, T>) -> Option<M> + Send + 'static,
) -> (Running<T>, Receiver<M>) {
    let (tell, told) = channel();
    let running = Running::at(door, move |net, event| match event {
        Event::Request { answer, .. } => answer.accept(Accept::default(), T::default()),
        event => handler(net, event).into_iter().for_each(|message| say(&tell, message)),
    });
    (running, told)
}

/// An echo server.
pub(crate) fn echo(settings: Settings, config: Config) -> Running<()> {
    echo_at(settings, Door::new(config))
}

pub(crate) fn echo_at(settings: Settings, door: Door) -> Running<()> {
    Running::with(settings, door, |net, event| match event {
        Event::Request { answer, .. } => answer.accept(Accept::default(), ()),
        Event::Message { from, message, .. } => drop(net.send(from, message)),
        _ => {}
    })
}

/// An HTTP request for a WebSocket, as bytes.
pub(crate) const REQUEST: &str = "GET /feed HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n\
    Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
    Sec-WebSocket-Version: 13\r\n\r\n";

/// A binary message as a client sends it.
pub(crate) fn frame(payload: &[u8]) -> Vec<u8> {
    masked(BINARY, payload)
}

impl<T: Send + 'static> Running<T> {
    /// A raw socket, with a bound on its reads.
    pub(crate) fn raw(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    /// A raw socket that has sent this.
    pub(crate) fn raw_with(&self, bytes: impl AsRef<[u8]>) -> TcpStream {
        let mut stream = self.raw();
        stream.write_all(bytes.as_ref()).unwrap();
        stream
    }

    /// A raw socket whose opening handshake is done.
    pub(crate) fn raw_open(&self) -> TcpStream {
        open(self.raw())
    }
}

/// Completes the opening handshake.
pub(crate) fn open<S: Read + Write>(mut stream: S) -> S {
    stream.write_all(REQUEST.as_bytes()).unwrap();
    assert!(read_head(&mut stream).starts_with("HTTP/1.1 101 "));
    stream
}

/// What comes within [`PATIENCE`].
pub(crate) fn next<M>(of: &Receiver<M>) -> M {
    of.recv_timeout(PATIENCE).expect("the loop goes on")
}

/// Sends an event to the test, which may be over.
pub(crate) fn say<M>(to: &Sender<M>, event: M) {
    let _ = to.send(event);
}
