//! A byte to and fro between the two processes, over TCP and on threads of their own: how long a
//! round trip takes here at the moment, whatever is measured.
use crate::{
    counts::{Counts, Failure},
    tally::{Tally, Times},
};
use std::{
    io::{self, Read, Write},
    net::{Ipv4Addr, TcpListener, TcpStream},
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

/// Between two round trips.
const PAUSE: Duration = Duration::from_millis(20);

/// Sends back what comes, until it ends.
pub(crate) fn echo(listener: TcpListener, counts: Arc<Counts>) -> io::Result<()> {
    let mut stream = listener.accept()?.0;
    drop(listener);
    stream.set_nodelay(true)?;
    thread::spawn(move || -> io::Result<()> {
        let mut byte = [0];
        loop {
            stream.read_exact(&mut byte)?;
            counts.watch.tick();
            stream.write_all(&byte)?;
        }
    });
    Ok(())
}

/// The other end of [`echo`].
pub(crate) struct Bare(Arc<Mutex<Times>>);

impl Bare {
    pub(crate) fn connect(port: u16, tally: Arc<Tally>) -> Result<Self, Failure> {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
        stream.set_nodelay(true)?;
        let times = Arc::new(Mutex::new(Times::new()?));
        let shared = times.clone();
        thread::spawn(move || -> io::Result<()> {
            let mut byte = [0];
            loop {
                tally.watch.tick();
                let began = Instant::now();
                stream.write_all(&byte)?;
                stream.read_exact(&mut byte)?;
                shared.lock().unwrap_or_else(PoisonError::into_inner).record(began.elapsed());
                thread::sleep(PAUSE);
            }
        });
        Ok(Self(times))
    }

    pub(crate) fn take(&self) -> Option<[u64; 2]> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}
