//! The handshake on rustls' unbuffered connection, which can hand over its keys afterwards. If
//! rustls keeps them (with TLS 1.2, or because of the provider), this connection also processes the
//! data.
use super::{
    agreed::Agreed,
    buffer::Buffer,
    buffered::WAITING,
    kernel::{Kernel, gives_keys},
    records::{HANDSHAKE, HEADER, PLAIN, Records},
};
use ::rustls::{
    ClientConfig, CommonState, Error, InvalidMessage, ServerConfig,
    client::UnbufferedClientConnection,
    pki_types::ServerName,
    server::{Acceptor, UnbufferedServerConnection},
    unbuffered::{
        ConnectionState, EncodeError, EncryptError, InsufficientSizeError, UnbufferedStatus,
        WriteTraffic,
    },
};
use std::{
    io::{IoSlice, Read},
    sync::Arc,
};

enum Side {
    Client(UnbufferedClientConnection),
    Server(UnbufferedServerConnection),
}

pub(super) struct Opening {
    side: Side,
    /// In bytes, of plaintext in a record of ours.
    fragment: usize,
    /// Ciphertext that has arrived. rustls has looked at the first `seen` bytes, and has to see
    /// them again at its next step.
    pub(super) input: Buffer,
    seen: usize,
    /// `None` once it is complete, and for a client.
    hello: Option<Hello>,
    /// Of the ClientHello, because rustls' unbuffered connection does not return it.
    pub(super) name: Option<String>,
    /// Not yet read.
    pub(super) plain: Buffer,
}

/// How much of the ClientHello has arrived. rustls' `Acceptor`, which finds the server name, keeps
/// a copy of all its input, so it gets nothing before the ClientHello is complete.
#[derive(Default)]
struct Hello {
    /// Of the handshake message: its type, and its length in three bytes.
    header: [u8; 4],
    /// Bytes of the handshake message, header included.
    arrived: usize,
}

enum Say<'a> {
    Data(&'a [u8]),
    CloseNotify,
}

enum Next {
    /// rustls may have more to do without more input.
    Step,
    Wait,
    End,
}

impl Opening {
    pub(super) fn client(
        config: Arc<ClientConfig>,
        name: ServerName<'static>,
        alpn: Vec<Vec<u8>>,
    ) -> Result<Self, Error> {
        let size = config.max_fragment_size;
        let conn = UnbufferedClientConnection::new_with_alpn(config, name, alpn)?;
        Ok(Self::new(Side::Client(conn), size, None))
    }

    pub(super) fn server(config: Arc<ServerConfig>) -> Result<Self, Error> {
        let size = config.max_fragment_size;
        let conn = UnbufferedServerConnection::new(config)?;
        Ok(Self::new(Side::Server(conn), size, Some(Hello::default())))
    }

    /// `size` is the configuration's `max_fragment_size`, which also counts the header.
    /// `Records::new` says why `fragment` is clamped.
    fn new(side: Side, size: Option<usize>, hello: Option<Hello>) -> Self {
        let fragment = size.map_or(PLAIN, |size| size.saturating_sub(HEADER)).clamp(1, PLAIN);
        Self {
            side,
            fragment,
            input: Buffer::default(),
            seen: 0,
            hello,
            name: None,
            plain: Buffer::default(),
        }
    }

    pub(super) fn is_server(&self) -> bool {
        matches!(self.side, Side::Server(_))
    }

    pub(super) fn state(&self) -> &CommonState {
        match &self.side {
            Side::Client(conn) => conn,
            Side::Server(conn) => conn,
        }
    }

    fn step(&mut self, say: &mut Option<Say<'_>>, out: &mut Buffer) -> Result<Next, Error> {
        let wire = self.input.filled_mut().get_mut(..self.seen).unwrap_or_default();
        let plain = &mut self.plain;
        let (done, next) = match &mut self.side {
            Side::Client(conn) => react(conn.process_tls_records(wire), say, plain, out),
            Side::Server(conn) => react(conn.process_tls_records(wire), say, plain, out),
        };
        // Even if the step failed. rustls has to see the rest again.
        self.input.consume(done);
        self.seen -= done;
        next
    }

    /// To the end of the input, or until [`into_records`](Self::into_records) may be called. `true`
    /// after the peer's close_notify.
    pub(super) fn take(&mut self, input: &mut Buffer, out: &mut Buffer) -> Result<bool, Error> {
        self.input.push(input.filled());
        input.clear();
        let ended = self.take_records(out);
        while ended.is_err() && self.state().wants_write() && self.step(&mut None, out).is_ok() {}
        self.input.shed();
        ended
    }

    /// One record at a time: those after the handshake's last must not reach rustls, because we
    /// open them once we have taken over the keys.
    fn take_records(&mut self, out: &mut Buffer) -> Result<bool, Error> {
        loop {
            match self.step(&mut None, out)? {
                Next::Step => continue,
                Next::End => return Ok(true),
                // rustls limits a message to `HANDSHAKE` bytes, but not to a number of records. A
                // record of one byte takes 23 (header 5, type 1, tag 16), and we keep all records
                // of a message before we know who the peer is: so the limit applies to `seen`,
                // which counts the records' bytes.
                Next::Wait if self.seen > HANDSHAKE => {
                    return Err(InvalidMessage::HandshakePayloadTooLarge.into());
                }
                Next::Wait => {}
            }
            let behind = self.input.filled().get(self.seen..).unwrap_or_default();
            if behind.is_empty() || self.is_done() {
                return Ok(false);
            }
            match behind.get(..record_len(behind)) {
                Some(record) => {
                    self.seen += record.len();
                    if self.hello.as_mut().is_some_and(|hello| hello.ends_in(record)) {
                        self.hello = None;
                        self.name = server_name(self.input.filled().get(..self.seen));
                    }
                }
                None => {
                    // rustls gets even an incomplete record, so that bytes that aren't TLS fail at
                    // once. It must not count as seen, so its length is then subtracted, which
                    // never saturates, because rustls discards no byte of an incomplete record.
                    // Only an error of this step matters.
                    let len = behind.len();
                    self.seen += len;
                    let looked = self.step(&mut None, out);
                    self.seen = self.seen.saturating_sub(len);
                    return looked.map(|_| false);
                }
            }
        }
    }

    pub(super) fn read(&mut self, to: &mut [u8]) -> usize {
        let len = self.plain.filled().read(to).unwrap_or(0); // a slice returns no error
        self.plain.consume(len);
        self.plain.shed();
        len
    }

    /// In the fewest records, until `out` holds about `WAITING` bytes. rustls takes one slice here,
    /// so we join them.
    pub(super) fn write(&mut self, from: &[IoSlice<'_>], out: &mut Buffer) -> Result<usize, Error> {
        let mut data = Vec::new();
        let mut room = WAITING.saturating_sub(out.len());
        for slice in from {
            let taken = slice.get(..room).unwrap_or(slice);
            data.extend_from_slice(taken);
            room -= taken.len();
        }
        self.send(Say::Data(&data), out)?; // rustls makes no record of empty data
        Ok(data.len())
    }

    /// During the handshake, rustls' unbuffered connection cannot send a close_notify, so the
    /// stream ends without one.
    pub(super) fn close(&mut self, out: &mut Buffer) {
        if !self.state().is_handshaking() {
            let _ = self.send(Say::CloseNotify, out); // if it fails, the stream ends without one
        }
    }

    fn send(&mut self, say: Say<'_>, out: &mut Buffer) -> Result<(), Error> {
        let mut say = Some(say);
        // The last step encrypts `say`, when rustls has nothing else to send. None returns
        // `Next::End`: `take_records` gets the one report of a close_notify.
        while let Next::Step = self.step(&mut say, out)? {}
        // Only if both ends have closed: it is then a repeated close_notify, because the session
        // seals no data after `close`.
        say.map_or(Ok(()), |_| Err(Error::General("nothing can be sent now".into())))
    }

    /// The handshake is over, and rustls can hand over the keys. It has seen nothing behind the
    /// handshake, because it gets one record at a time, and the last handshake message ends its
    /// record (RFC 9846 §5.1).
    pub(super) fn is_done(&self) -> bool {
        let suite = self.state().negotiated_cipher_suite().and_then(|suite| suite.tls13());
        !self.state().is_handshaking() && suite.is_some_and(gives_keys)
    }

    /// The caller has taken `input`, which the records continue with.
    pub(super) fn into_records(mut self) -> Result<Records, Error> {
        let name = self.name.take();
        let agreed = Agreed::of(self.state(), name);
        // `plain` is empty, because all data comes after the records that rustls has seen. From
        // here on we count the sequence numbers: one used twice under one key would break the
        // cipher, hence "dangerous".
        let (secrets, kernel) = match self.side {
            Side::Client(conn) => {
                let (secrets, kernel) = conn.dangerous_into_kernel_connection()?;
                (secrets, Kernel::Client(kernel))
            }
            Side::Server(conn) => {
                let (secrets, kernel) = conn.dangerous_into_kernel_connection()?;
                (secrets, Kernel::Server(kernel))
            }
        };
        Records::new(agreed, secrets, kernel, self.fragment)
    }
}

/// How many input bytes to discard, and what to do next.
fn react<Data>(
    status: UnbufferedStatus<'_, '_, Data>,
    say: &mut Option<Say<'_>>,
    plain: &mut Buffer,
    out: &mut Buffer,
) -> (usize, Result<Next, Error>) {
    let UnbufferedStatus { mut discard, state, .. } = status;
    let next = match state {
        Err(error) => Err(error),
        Ok(ConnectionState::EncodeTlsData(mut message)) => {
            let encoded = fitting(out, |room| match message.encode(room) {
                Err(EncodeError::InsufficientSize(error)) => Err(error),
                encoded => Ok(encoded),
            });
            encoded.map(|()| Next::Step).map_err(|error| Error::General(error.to_string()))
        }
        Ok(ConnectionState::TransmitTlsData(message)) => {
            // rustls asks us to send the bytes before it encodes more. It is enough that they are
            // in `out`, which keeps the order.
            message.done();
            Ok(Next::Step)
        }
        Ok(ConnectionState::ReadTraffic(mut records)) => loop {
            match records.next_record() {
                Some(Ok(record)) => {
                    discard += record.discard;
                    plain.push(record.payload);
                }
                Some(Err(error)) => break Err(error),
                None => break Ok(Next::Step),
            }
        },
        Ok(ConnectionState::WriteTraffic(traffic)) => match say.take() {
            Some(say) => encrypt(traffic, say, out).map(|()| Next::Wait),
            None => Ok(Next::Wait),
        },
        Ok(ConnectionState::PeerClosed) => Ok(Next::End),
        // rustls needs more input, or both ends have closed. The state for early data never comes:
        // `Session::server` excludes it.
        Ok(_) => Ok(Next::Wait),
    };
    (discard, next)
}

fn encrypt<Data>(
    mut traffic: WriteTraffic<'_, Data>,
    say: Say<'_>,
    out: &mut Buffer,
) -> Result<(), Error> {
    let encrypted = fitting(out, |room| {
        let encrypted = match say {
            Say::Data(data) => traffic.encrypt(data, room),
            Say::CloseNotify => traffic.queue_close_notify(room),
        };
        match encrypted {
            Err(EncryptError::InsufficientSize(error)) => Err(error),
            encrypted => Ok(encrypted),
        }
    });
    encrypted.map_err(|_| Error::EncryptError)
}

/// Each call of `write` gets more room than the one before, so the loop ends.
fn fitting<E>(
    out: &mut Buffer,
    mut write: impl FnMut(&mut [u8]) -> Result<Result<usize, E>, InsufficientSizeError>,
) -> Result<(), E> {
    let mut len = 0;
    loop {
        match write(out.spare(len)) {
            Ok(written) => return written.map(|len| out.commit(len)),
            Err(error) => len = error.required_size.max(len + 1),
        }
    }
}

/// `HEADER` if the record's header is incomplete.
fn record_len(wire: &[u8]) -> usize {
    let len = |&[_, _, _, hi, lo]: &[u8; HEADER]| usize::from(u16::from_be_bytes([hi, lo]));
    HEADER + wire.first_chunk().map_or(0, len)
}

impl Hello {
    /// Counts a handshake record (type 22). Others do not count: rustls ignores a warning alert
    /// before the ClientHello.
    fn ends_in(&mut self, record: &[u8]) -> bool {
        let [22, _, _, _, _, part @ ..] = record else {
            return false;
        };
        // The end of a record may cut the message's header. Until it is complete, `arrived` is
        // below 4, so the result is `false`.
        for (to, from) in self.header.iter_mut().skip(self.arrived).zip(part) {
            *to = *from;
        }
        self.arrived += part.len();
        let [_, len @ ..] = self.header;
        let len = len.into_iter().fold(0, |len, byte| len << 8 | usize::from(byte));
        self.arrived >= self.header.len() + len
    }
}

/// `None` for a bad ClientHello too: the connection in `Opening::side` then reports what is wrong.
fn server_name(hello: Option<&[u8]>) -> Option<String> {
    let mut acceptor = Acceptor::default();
    let mut wire = hello?;
    while acceptor.read_tls(&mut wire).ok()? > 0 {
        if let Some(accepted) = acceptor.accept().ok()? {
            return accepted.client_hello().server_name().map(String::from);
        }
    }
    None
}
