//! A loop in a thread, blocking clients, and raw sockets.
use std::{
    net::{SocketAddr, TcpStream},
    sync::mpsc::{Receiver, Sender, channel},
    thread::{self, JoinHandle},
    time::Duration,
};
use tickwire::{Config, blocking::WebSocket, handshake::server::Accept};
use tickwire_loop::{Counts, Door, Event, Loop, Net, Settings, Waker};

/// Longer than anything here takes, unless it hangs.
pub(crate) const LONG: Duration = Duration::from_secs(20);

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
        let mut net = Loop::new(settings).unwrap();
        let address = net.net().listen(SocketAddr::from(([127, 0, 0, 1], 0)), door).unwrap();
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

    /// Does something in the loop, and waits for its result.
    pub(crate) fn call<R: Send + 'static>(
        &self,
        command: impl FnOnce(&mut Net<'_, T>) -> R + Send + 'static,
    ) -> R {
        let (done, result) = channel();
        let _ = self.commands.send(Box::new(move |net| drop(done.send(command(net)))));
        self.waker.wake().unwrap();
        result.recv_timeout(LONG).expect("the loop goes on")
    }

    pub(crate) fn counts(&self) -> Counts {
        self.call(|net| net.counts())
    }

    /// Waits until the counts are so.
    pub(crate) fn wait_for(&self, so: impl Fn(&Counts) -> bool) -> Counts {
        for _ in 0..2000 {
            let counts = self.counts();
            if so(&counts) {
                return counts;
            }
            thread::sleep(Duration::from_millis(10));
        }
        panic!("{:?}", self.counts());
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

/// An echo server.
pub(crate) fn echo(settings: Settings, config: Config) -> Running<()> {
    Running::with(settings, Door::new(config), |net, event| match event {
        Event::Request { answer, .. } => answer.accept(Accept::default(), ()),
        Event::Message { from, message, .. } => drop(net.send(from, message)),
        _ => {}
    })
}

/// Events by name, for a test to wait for.
pub(crate) fn events() -> (Sender<String>, Receiver<String>) {
    channel()
}
