//! A resolver of names that a test plays.
use crate::PATIENCE;
use std::{
    io,
    net::SocketAddr,
    sync::{Mutex, mpsc},
};

/// A lookup that waits for its answer.
pub struct Question {
    /// The name that is looked up.
    pub host: String,
    answer: mpsc::Sender<io::Result<Vec<SocketAddr>>>,
}

impl Question {
    /// Ends it.
    pub fn answer(self, found: io::Result<Vec<SocketAddr>>) {
        self.answer.send(found).unwrap();
    }
}

/// The lookups that were made of the resolver.
pub struct Questions(mpsc::Receiver<Question>);

impl Questions {
    /// The next one, which is made soon.
    pub fn next(&self) -> Question {
        self.0.recv_timeout(PATIENCE).unwrap()
    }

    /// Those that were made already.
    pub fn made(&self) -> Vec<Question> {
        self.0.try_iter().collect()
    }
}

/// A resolver. Each of its lookups lasts until the test answers, and fails if the test drops it.
pub fn resolver() -> (impl Fn(&str) -> io::Result<Vec<SocketAddr>> + Send + Sync, Questions) {
    let (ask, questions) = mpsc::channel();
    let ask = Mutex::new(ask);
    let resolve = move |host: &str| {
        let (answer, answered) = mpsc::channel();
        let asked = ask.lock().unwrap().send(Question { host: host.to_owned(), answer });
        asked.map_err(|_| io::ErrorKind::NotConnected)?; // the test is over
        answered.recv().unwrap_or_else(|_| Err(io::ErrorKind::NotFound.into()))
    };
    (resolve, Questions(questions))
}
