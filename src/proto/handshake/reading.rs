//! What both roles share of reading the peer's head.
use super::{
    HandshakeError, Progress,
    head::{Scan, StatusLine, begins_well},
};
use crate::proto::{
    config::Config,
    connection::{Connection, RecvBuffer},
    role::Role,
    time::Time,
    trace,
};
use core::{fmt, time::Duration};

/// In bytes, unless [`max_head`](Config::max_head) is lower. Most heads fit into one read, and a
/// peer that sends no head costs only a buffer of about this length.
const HEAD: usize = 2 << 10;

/// How long a client waits for the body of a refusal. Short, because status and headers already
/// tell why the server refuses, and a body may never end.
const REFUSAL_BODY: Duration = Duration::from_secs(1);

/// The most interim responses before the final one. Otherwise a server could send 1xx for ever.
const INTERIM: u32 = 8;

/// The reading part of a handshake in either role. You report to it the bytes read, the end of the
/// stream, and the time.
pub struct Reading {
    pub(super) buf: RecvBuffer,
    pub(super) scan: Scan,
    /// `None` while more bytes must be read.
    outcome: Option<Result<(), HandshakeError>>,
    /// Whether a complete head is at the front of `buf`. It stays there after an error, so that the
    /// caller can look at it.
    pub(super) has_head: bool,
    eof: bool,
    /// How many were skipped so far.
    interim: u32,
    /// What the next `handle_timeout` starts, if anything.
    timeout: Option<Duration>,
    /// The earliest end of the timeouts that have started.
    deadline: Option<Time>,
    /// The error of a deadline that passes.
    timeout_error: HandshakeError,
}

impl Reading {
    pub(crate) fn new(role: Role, config: &Config) -> Self {
        Self {
            buf: RecvBuffer::new(HEAD.min(config.max_head), 0),
            scan: Scan::new(role, config),
            outcome: None,
            has_head: false,
            eof: false,
            interim: 0,
            timeout: Some(config.handshake_timeout),
            deadline: None,
            timeout_error: HandshakeError::Timeout,
        }
    }

    // Inputs.

    /// Returns the room to read the stream into; never empty.
    ///
    /// Once the handshake is [`Complete`](Progress::Complete), further bytes belong to the
    /// connection, and are kept without limit. So a server should accept or reject before it reads
    /// more. After an error, use this room to drain the stream.
    pub fn spare_mut(&mut self) -> &mut [u8] {
        let wire = self.buf.wire().len();
        // Beyond `max_head` the buffer doubles: in constant steps, each would copy all bytes that
        // the peer has sent so far.
        let max_head = self.scan.max_head;
        let limit = if wire < max_head { max_head } else { 2 * wire };
        self.buf.spare_mut(limit, 0) // 0: no frame is in progress.
    }

    /// Reports that `n` bytes were read into [`spare_mut`](Self::spare_mut). After an error, the
    /// bytes are dropped.
    ///
    /// # Panics
    ///
    /// Panics if `n` is more than the length of `spare_mut`, unless the handshake has failed.
    pub fn commit(&mut self, n: usize) {
        if !matches!(self.outcome, Some(Err(_))) {
            self.buf.commit(n);
        }
    }

    /// Reports that the stream has ended: no byte follows the committed bytes.
    pub fn end_of_stream(&mut self) {
        self.eof = true;
    }

    /// Tells the handshake the current time. The first call starts the handshake timeout. A
    /// client's first call after the head of a refusal starts the wait of one second for the
    /// refusal's body. Calls before the time of `poll_timeout`, and repeated calls, are harmless.
    ///
    /// # Errors
    ///
    /// [`HandshakeError::Timeout`] if the peer's head was not complete within
    /// [`handshake_timeout`](Config::handshake_timeout). [`Refused`] if the head of a refusal was
    /// complete in time, but the body was not: the body must arrive within the same timeout, and
    /// within a second of the head. The earlier error, if the handshake has already failed.
    ///
    /// [`Refused`]: HandshakeError::Refused
    pub fn handle_timeout(&mut self, now: Time) -> Result<(), HandshakeError> {
        if let Some(outcome) = self.outcome {
            return outcome;
        }
        if self.deadline.is_some_and(|at| now >= at) {
            return Err(self.fail(self.timeout_error));
        }
        if let Some(timeout) = self.timeout.take() {
            let at = now + timeout;
            // The wait for a body must not extend the handshake timeout.
            self.deadline = Some(self.deadline.map_or(at, |earlier| earlier.min(at)));
        }
        Ok(())
    }

    /// Fails the handshake with a fault that the caller has found. Use this call if you parse the
    /// head yourself, as an HTTP stack does. An event of `tracing` reports the error. This call and
    /// all later calls of `step`, `handle_timeout` and `fail` return this error. If the handshake
    /// had failed before, this call returns that earlier error instead, and changes nothing.
    pub fn fail(&mut self, error: HandshakeError) -> HandshakeError {
        if let Some(Err(earlier)) = self.outcome {
            return earlier;
        }
        trace::handshake_failed(self.scan.role, error, error.status());
        self.outcome = Some(Err(error));
        if !self.has_head {
            self.buf.skip(self.buf.wire().len()); // Nothing will use these bytes.
        }
        error
    }

    // Outputs.

    /// When to call [`handle_timeout`](Self::handle_timeout) next. The time is [`Time::ZERO`],
    /// which is due at once, if that call must start a timeout: before the first call, and again
    /// after the head of a refusal. `None` once the handshake has an outcome.
    pub fn poll_timeout(&self) -> Option<Time> {
        let running = self.deadline.filter(|_| self.timeout.is_none());
        self.outcome.is_none().then_some(running.unwrap_or(Time::ZERO))
    }

    // For both roles, and for the dialogue with a proxy.

    pub(crate) fn state(&self) -> &dyn fmt::Debug {
        match &self.outcome {
            None => &"reading",
            Some(Ok(())) => &"passed",
            Some(Err(error)) => error,
        }
    }

    pub(crate) fn outcome(&self) -> Option<Result<Progress, HandshakeError>> {
        self.outcome.map(|outcome| outcome.map(|()| Progress::Complete))
    }

    pub(crate) fn is_at_end(&self) -> bool {
        self.eof
    }

    pub(crate) fn wire(&self) -> &[u8] {
        self.buf.wire()
    }

    pub(crate) fn skip(&mut self, n: usize) {
        self.buf.skip(n);
    }

    /// Also joins each folded line of a response to the line before, in place.
    pub(super) fn head_len(&mut self) -> Result<Option<usize>, HandshakeError> {
        match self.scan.run(self.buf.wire_mut())? {
            None if self.eof => Err(HandshakeError::UnexpectedEof),
            len => Ok(len),
        }
    }

    pub(crate) fn final_response(&mut self) -> Result<Option<StatusLine>, HandshakeError> {
        loop {
            begins_well(self.wire())?;
            let Some(len) = self.head_len()? else { return Ok(None) };
            let line = StatusLine::parse(self.wire().get(..len).unwrap_or_default())?;
            match line.status {
                // RFC 9110 §15.2: any number of 1xx may precede the final response, but a 101 is
                // final.
                100 | 102..=199 => self.skip_interim(line)?,
                _ => return Ok(Some(line)),
            }
        }
    }

    fn skip_interim(&mut self, line: StatusLine) -> Result<(), HandshakeError> {
        // RFC 9110 §15.2: HTTP/1.0 has no interim responses.
        if line.minor != 1 {
            return Err(HandshakeError::BadHttpVersion);
        }
        if self.interim == INTERIM {
            return Err(HandshakeError::TooManyInterim);
        }
        self.interim += 1;
        self.buf.skip(line.len);
        self.scan.restart(); // The next head begins at index 0 of the unread bytes.
        Ok(())
    }

    /// Limits the time for the body of a refusal, after which the handshake fails with `refused`. A
    /// handshake timeout that is shorter and has not started yet applies instead.
    pub(super) fn expect_body(&mut self, refused: HandshakeError) {
        self.timeout = Some(REFUSAL_BODY.min(self.timeout.unwrap_or(REFUSAL_BODY)));
        self.timeout_error = refused;
    }

    /// Every later call of `step` repeats the outcome, unless it is [`Partial`](Progress::Partial).
    pub(crate) fn conclude(
        &mut self,
        found: Result<Progress, HandshakeError>,
    ) -> Result<Progress, HandshakeError> {
        match found {
            Ok(Progress::Partial) => {}
            Ok(Progress::Complete) => self.outcome = Some(Ok(())),
            Err(error) => return Err(self.fail(error)),
        }
        found
    }

    /// The bytes after the peer's head become the connection's first input, `response` (empty for a
    /// client) its first output.
    #[inline]
    pub(super) fn end(mut self, head: usize, connection: &mut Connection, response: &[&[u8]]) {
        self.buf.skip(head);
        connection.begin_with(self.buf, response);
        if self.eof {
            connection.receiver_mut().end_of_stream();
        }
    }
}

/// Shows the progress, not the bytes received.
impl fmt::Debug for Reading {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reading").field("state", self.state()).finish_non_exhaustive()
    }
}
