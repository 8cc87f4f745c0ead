//! How long each stage of a tick takes, from the exchange to the book.
use hdrhistogram::Histogram;
use tickwire::Time;

/// A histogram for each stage, in nanoseconds, of the ticks that were the next of their feed when
/// they came.
#[derive(Clone, Debug)]
pub struct Stages {
    /// From when the kernel had the bytes to the end of the read that brought them: behind other
    /// lines, and until the system runs the thread. Linux, as is the next.
    pub kernel_to_read: Histogram<u64>,
    /// From then to when the message is handed out: all that it waits for on this machine.
    pub kernel_to_message: Histogram<u64>,
    /// From the end of the read to when the message is handed out: behind others of the same read,
    /// and TLS.
    pub read_to_message: Histogram<u64>,
    /// From then to when the lines are arbitrated and the book is brought up to date and checked.
    pub message_to_book: Histogram<u64>,
}

impl Stages {
    pub fn new() -> Result<Self, hdrhistogram::CreationError> {
        let stage = || Histogram::new_with_bounds(1, 60_000_000_000, 3);
        Ok(Self {
            kernel_to_read: stage()?,
            kernel_to_message: stage()?,
            read_to_message: stage()?,
            message_to_book: stage()?,
        })
    }

    /// Of one tick.
    #[inline]
    pub(crate) fn record(&mut self, kernel: Option<Time>, read: Time, message: Time, book: Time) {
        let nanos = |from, to: Time| (to - from).as_nanos() as u64;
        if let Some(kernel) = kernel {
            self.kernel_to_read.saturating_record(nanos(kernel, read));
            self.kernel_to_message.saturating_record(nanos(kernel, message));
        }
        self.read_to_message.saturating_record(nanos(read, message));
        self.message_to_book.saturating_record(nanos(message, book));
    }

    pub fn each(&self) -> [(&'static str, &Histogram<u64>); 4] {
        [
            ("kernel to read", &self.kernel_to_read),
            ("kernel to message", &self.kernel_to_message),
            ("read to message", &self.read_to_message),
            ("message to book", &self.message_to_book),
        ]
    }
}
