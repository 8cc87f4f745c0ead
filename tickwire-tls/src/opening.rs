//! rustls' handshake in the shape that hands the keys over when it is done, for configurations that
//! allow it. Where they cannot be had (TLS 1.2, a provider that keeps them) it goes on with the
//! data.
use super::{
    agreed::Agreed,
    buffer::Buffer,
    kernel::{Kernel, gives_keys},
    records::{HANDSHAKE, HEADER, PLAIN, Records, WAITING},
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
    io::IoSlice,
    string::{String, ToString},
    sync::Arc,
    vec::Vec,
};

enum Side {
    Client(UnbufferedClientConnection),
    Server(UnbufferedServerConnection),
}

pub(super) struct Opening {
    side: Side,
    /// The most plaintext in a record.
    fragment: usize,
    /// What has come, of which rustls has looked at the first `seen` bytes, and wants to see them
    /// again.
    input: Buffer,
    seen: usize,
    /// Looks at the client's first message for the name asked for, which `side` does not tell.
    hello: Option<Acceptor>,
    name: Option<String>,
    /// Data that has come.
    plain: Buffer,
}

/// What is to be sent once rustls is ready for it.
enum Say<'a> {
    Data(&'a [u8]),
    CloseNotify,
}

/// What to do after a step of rustls.
enum Next {
    Step,
    /// More input, or it is done with the handshake.
    Wait,
    /// The peer has ended its side.
    End,
}

impl Opening {
    pub(super) fn client(
        config: Arc<ClientConfig>,
        name: ServerName<'static>,
        alpn: Vec<Vec<u8>>,
    ) -> Result<Self, Error> {
        let fragment = fragment(config.max_fragment_size);
        let conn = UnbufferedClientConnection::new_with_alpn(config, name, alpn)?;
        Ok(Self::new(Side::Client(conn), fragment, None))
    }

    pub(super) fn server(config: Arc<ServerConfig>) -> Result<Self, Error> {
        let fragment = fragment(config.max_fragment_size);
        let conn = UnbufferedServerConnection::new(config)?;
        Ok(Self::new(Side::Server(conn), fragment, Some(Acceptor::default())))
    }

    fn new(side: Side, fragment: usize, hello: Option<Acceptor>) -> Self {
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

    pub(super) fn server_name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// One step of rustls on the first `seen` bytes of the input.
    fn step(&mut self, say: &mut Option<Say<'_>>, out: &mut Buffer) -> Result<Next, Error> {
        let wire = self.input.filled_mut().get_mut(..self.seen).unwrap_or_default();
        let plain = &mut self.plain;
        let (done, next) = match &mut self.side {
            Side::Client(conn) => react(conn.process_tls_records(wire), say, plain, out),
            Side::Server(conn) => react(conn.process_tls_records(wire), say, plain, out),
        };
        self.input.consume(done);
        self.seen -= done;
        next
    }

    /// Encrypts what rustls has to say.
    pub(super) fn speak(&mut self, out: &mut Buffer) -> Result<(), Error> {
        while self.state().wants_write() {
            self.step(&mut None, out)?;
        }
        Ok(())
    }

    /// More input.
    pub(super) fn push(&mut self, wire: &[u8]) {
        self.input.push(wire);
    }

    /// Takes input. Returns whether the peer has ended its side. Stops at the end of the handshake,
    /// for [`into_records`](Self::into_records).
    pub(super) fn take(&mut self, out: &mut Buffer) -> Result<bool, Error> {
        let ended = self.take_records(out);
        if ended.is_err() {
            let _ = self.speak(out); // the alert
        }
        self.input.shed();
        ended
    }

    /// A record at a time: those behind the last one of the handshake are under keys that may be
    /// ours.
    fn take_records(&mut self, out: &mut Buffer) -> Result<bool, Error> {
        let opening = self.state().is_handshaking();
        loop {
            match self.step(&mut None, out)? {
                Next::Step => continue,
                Next::End => return Ok(true),
                Next::Wait if self.seen > HANDSHAKE => {
                    return Err(InvalidMessage::HandshakePayloadTooLarge.into());
                }
                Next::Wait => {}
            }
            let behind = self.input.filled().get(self.seen..).unwrap_or_default();
            let done = opening && !self.state().is_handshaking();
            if done || behind.is_empty() {
                return Ok(false);
            }
            match behind.get(..record_len(behind)) {
                Some(record) => {
                    self.seen += record.len();
                    look_for_name(&mut self.hello, &mut self.name, record);
                }
                None => {
                    // It has to look like TLS already.
                    let len = behind.len();
                    self.seen += len;
                    let looked = self.step(&mut None, out);
                    self.seen = self.seen.saturating_sub(len);
                    return looked.map(|_| false);
                }
            }
        }
    }

    /// Data that has come.
    pub(super) fn read(&mut self, to: &mut [u8]) -> usize {
        let len = self.plain.len().min(to.len());
        if let (Some(to), Some(from)) = (to.get_mut(..len), self.plain.filled().get(..len)) {
            to.copy_from_slice(from);
        }
        self.plain.consume(len);
        self.plain.shed();
        len
    }

    /// Encrypts data in the fewest records, as far as ciphertext may wait; returns how much of it.
    pub(super) fn write(&mut self, from: &[IoSlice<'_>], out: &mut Buffer) -> Result<usize, Error> {
        let (mut data, mut room) = (Vec::new(), WAITING.saturating_sub(out.len()));
        for slice in from {
            let taken = slice.get(..room).unwrap_or(slice);
            data.extend_from_slice(taken);
            room -= taken.len();
        }
        self.send(Say::Data(&data), out)?;
        Ok(data.len())
    }

    /// Sends the close_notify, unless the handshake is not over: then the stream just ends.
    pub(super) fn close(&mut self, out: &mut Buffer) {
        if !self.state().is_handshaking() {
            let _ = self.send(Say::CloseNotify, out);
        }
    }

    /// Encrypts this, behind what rustls has to say.
    fn send(&mut self, say: Say<'_>, out: &mut Buffer) -> Result<(), Error> {
        let mut say = Some(say);
        while let Next::Step = self.step(&mut say, out)? {}
        match say {
            None => Ok(()),
            Some(_) => Err(Error::General("nothing can be sent now".into())),
        }
    }

    /// Whether the keys can be had, once the handshake is over. Its last message ends its record
    /// (RFC 8446 §5.1), so that rustls has seen nothing of what came behind.
    pub(super) fn gives_keys(&self) -> bool {
        let suite = self.state().negotiated_cipher_suite().and_then(|suite| suite.tls13());
        suite.is_some_and(gives_keys)
    }

    /// The record layer that goes on from here, and what has come for it.
    pub(super) fn into_records(mut self) -> Result<(Records, Buffer), Error> {
        let name = self.name.take();
        let agreed = Agreed::of(self.state(), name);
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
        Ok((Records::new(agreed, secrets, kernel, self.fragment)?, self.input))
    }
}

/// Does as rustls says. Returns how much of the input is done with.
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
        Ok(_) => Ok(Next::Wait),
    };
    (discard, next)
}

/// Encrypts what is to be sent.
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

/// Lets `write` fill room in `out`, as much as it asks for.
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

/// The length of the record that `wire` begins with, if there is a header to say.
fn record_len(wire: &[u8]) -> usize {
    let len = |&[_, _, _, hi, lo]: &[u8; HEADER]| usize::from(u16::from_be_bytes([hi, lo]));
    HEADER + wire.first_chunk().map_or(0, len)
}

/// Looks for the name that a client asks for, in its first message.
fn look_for_name(hello: &mut Option<Acceptor>, name: &mut Option<String>, mut record: &[u8]) {
    while let (Some(acceptor), false) = (&mut *hello, record.is_empty()) {
        let read = acceptor.read_tls(&mut record);
        match read.is_ok_and(|n| n > 0).then(|| acceptor.accept()) {
            Some(Ok(None)) => continue,
            Some(Ok(Some(accepted))) => {
                *name = accepted.client_hello().server_name().map(String::from);
            }
            _ => {} // `side` says what is wrong with it
        }
        *hello = None;
    }
}

/// The most plaintext in a record, by a configuration's `max_fragment_size`, which counts the
/// header.
fn fragment(size: Option<usize>) -> usize {
    size.map_or(PLAIN, |size| size.saturating_sub(HEADER)).clamp(1, PLAIN)
}
