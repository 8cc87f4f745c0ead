//! The record layer of TLS 1.3 after the handshake (RFC 9846, chapters 5, 6 and 4.7), in place:
//! framing, sequence numbers, and the messages after the handshake. rustls handles keys, tickets
//! and secrets; its cryptographic provider protects each record (AEAD, nonce, padding).
use super::{
    agreed::Agreed,
    buffer::Buffer,
    buffered::WAITING,
    kernel::{Kernel, Seal, decrypter},
};
use ::rustls::{
    AlertDescription, ContentType, Error, ExtractedSecrets, HandshakeType, InvalidMessage,
    PeerMisbehaved, ProtocolVersion, Tls13CipherSuite,
    crypto::cipher::{
        InboundOpaqueMessage, MessageDecrypter, MessageEncrypter, OutboundChunks,
        OutboundPlainMessage,
    },
};
use core::{ops::Range, slice};
use std::io::IoSlice;

/// Type, version and length.
pub(super) const HEADER: usize = 5;
/// The same in all suites.
const TAG: usize = 16;
/// RFC 9846 §5.1.
pub(super) const PLAIN: usize = 1 << 14;
/// To the plaintext, at most (RFC 9846 §5.2).
const EXPANSION: usize = 256;
/// The longest handshake message, in bytes. rustls has the same bound.
pub(super) const HANDSHAKE: usize = 65535;
/// The most empty records and KeyUpdates since the last data. rustls counts 32 of each kind, but
/// one kind resets the other's count; with one count, a peer cannot alternate them for ever. Parts
/// of a handshake message don't count, because BoringSSL's tests send a ticket in records of one
/// byte; `HANDSHAKE` limits the whole message.
const DATALESS: u8 = 32;
/// Per connection. rustls has the same bound.
const WARNINGS: u8 = 4;
/// The most that we send (RFC 9846 §4.7.3).
pub(super) const UPDATES: u64 = (1 << 48) - 1;
/// The first sequence number that is never used. rustls has the same bound.
const LAST: u64 = u64::MAX - 1;

/// `record` is the record's length.
pub(super) enum Opened {
    /// The record has not arrived in full.
    Partial,
    /// At `plain`, perhaps empty.
    Data { record: usize, plain: Range<usize> },
    /// An alert or handshake messages, which are already processed.
    Message { record: usize },
    /// The peer's close_notify. Everything after it is ignored.
    End,
}

/// Not `Clone`, because a sequence number must be used only once.
pub(super) struct Records {
    pub(super) agreed: Agreed,
    kernel: Kernel,
    suite: &'static Tls13CipherSuite,
    decrypter: Box<dyn MessageDecrypter>,
    /// The sequence number of the next record to open.
    opened: u64,
    seal: Seal,
    /// The sequence number of the next record to seal.
    sealed: u64,
    /// The most plaintext of one record, in bytes.
    fragment: usize,
    /// The peer has asked for one (RFC 9846 §4.7.3).
    owes_update: bool,
    /// How many we have sent.
    pub(super) updates: u64,
    /// We have sent an alert, or received a fatal one: we send no other, and `Session::seal`
    /// refuses data, because the session has failed or is closed.
    silent: bool,
    /// A handshake message whose rest has not arrived.
    partial: Vec<u8>,
    dataless: u8,
    warnings: u8,
}

impl Records {
    /// `fragment` is from 1 to `PLAIN`: with 0, `write` would seal empty records for ever; records
    /// longer than `PLAIN` are illegal (RFC 9846 §5.1), and their length might not fit into the
    /// header.
    pub(super) fn new(
        agreed: Agreed,
        secrets: ExtractedSecrets,
        kernel: Kernel,
        fragment: usize,
    ) -> Result<Self, Error> {
        // Never fails: `Opening::is_done` has found a suite of TLS 1.3.
        let suite = agreed.suite.and_then(|suite| suite.tls13()).ok_or(Error::EncryptError)?;
        let (sealed, tx) = secrets.tx;
        let (opened, rx) = secrets.rx;
        Ok(Self {
            agreed,
            kernel,
            suite,
            decrypter: decrypter(suite, rx)?,
            opened,
            seal: Seal::new(suite, tx)?,
            sealed,
            fragment,
            owes_update: false,
            updates: 0,
            silent: false,
            partial: Vec::new(),
            dataless: 0,
            warnings: 0,
        })
    }

    /// Opens the first record in `wire`. The answer to an alert goes to `out`; after any error
    /// except a received alert, the caller sends the alert of `fault::alert`.
    pub(super) fn open(&mut self, wire: &mut [u8], out: &mut Buffer) -> Result<Opened, Error> {
        // As soon as it has arrived: otherwise a peer that announces too long a record could fill
        // the buffer first.
        let Some(record) = record(wire)? else {
            return Ok(Opened::Partial);
        };
        let Some(body) = wire.get_mut(HEADER..record) else {
            return Ok(Opened::Partial);
        };
        let (kind, plain) = self.decrypt(body)?;
        let payload = body.get(plain.clone()).unwrap_or_default();
        // RFC 9846 §5.1: nothing comes between the parts of a handshake message.
        if kind != ContentType::Handshake && !self.partial.is_empty() {
            return Err(PeerMisbehaved::MessageInterleavedWithHandshakeMessage.into());
        }
        match kind {
            // RFC 9846 §5.1: only data may be empty.
            ContentType::Alert | ContentType::Handshake if payload.is_empty() => {
                return Err(unexpected(kind));
            }
            ContentType::ApplicationData => {
                // Legal, but it costs us a decryption and gives the program nothing. Only data of
                // at least one byte resets `dataless`: otherwise a peer could alternate tickets or
                // warnings with empty data for ever.
                if payload.is_empty() {
                    bounded(&mut self.dataless, DATALESS, PeerMisbehaved::TooManyEmptyFragments)?;
                } else {
                    self.dataless = 0;
                }
                let plain = HEADER + plain.start..HEADER + plain.end;
                return Ok(Opened::Data { record, plain });
            }
            ContentType::Alert if self.alerted(payload, out)? => return Ok(Opened::End),
            ContentType::Alert => {}
            ContentType::Handshake => self.take_handshake(payload)?,
            kind => return Err(unexpected(kind)),
        }
        Ok(Opened::Message { record })
    }

    /// The content type, and where in `body` the plaintext is. If decrypting fails, nothing of the
    /// plaintext is left there.
    fn decrypt(&mut self, body: &mut [u8]) -> Result<(ContentType, Range<usize>), Error> {
        let seq = next(&mut self.opened)?;
        let at = body.as_ptr() as usize;
        // RFC 9846 §5.2: each protected record has this type and version.
        let message = InboundOpaqueMessage::new(
            ContentType::ApplicationData,
            ProtocolVersion::TLSv1_2,
            &mut *body,
        );
        // The provider returns a slice, of whose address we make its position in `body`. The
        // `match` below rejects one outside.
        let opened = self.decrypter.decrypt(message, seq).map(|message| {
            let from = (message.payload.as_ptr() as usize).wrapping_sub(at);
            (message.typ, from..from.wrapping_add(message.payload.len()))
        });
        match opened {
            Ok((kind, plain)) if body.get(plain.clone()).is_some() => Ok((kind, plain)),
            // An empty slice may have any address.
            Ok((kind, plain)) if plain.is_empty() => Ok((kind, 0..0)),
            Ok(_) => Err(Error::General("plaintext outside its record".into())),
            // A provider may decrypt before it checks the tag, and what an attacker made up must
            // not stay in the buffer that data is read from.
            Err(error) => {
                body.fill(0);
                Err(error)
            }
        }
    }

    /// `true` for a close_notify (RFC 9846 §6.1). Every other alert except user_canceled is an
    /// error, and ends the connection.
    fn alerted(&mut self, alert: &[u8], out: &mut Buffer) -> Result<bool, Error> {
        let &[level, description] = alert else {
            return Err(match alert.len() {
                0 | 1 => InvalidMessage::MissingData("AlertDescription").into(),
                _ => InvalidMessage::TrailingData("AlertMessagePayload").into(),
            });
        };
        let description = AlertDescription::from(description);
        match (level, description) {
            // RFC 9846 §6: the description says how severe an alert is, so the level of these two
            // is ignored.
            (1 | 2, AlertDescription::CloseNotify) => return Ok(true),
            (1 | 2, AlertDescription::UserCanceled) => {
                let error = PeerMisbehaved::TooManyWarningAlertsReceived;
                return bounded(&mut self.warnings, WARNINGS, error).map(|()| false);
            }
            // Other warnings are illegal in TLS 1.3. rustls answers them with this alert too.
            (1, _) => self.end(Some(AlertDescription::DecodeError), out),
            // RFC 9846 §6.2: the peer has closed the connection already, and reads no alert.
            (2, _) => self.silent = true,
            // TLS has no other level.
            _ => self.end(Some(AlertDescription::IllegalParameter), out),
        }
        Err(Error::AlertReceived(description))
    }

    fn take_handshake(&mut self, payload: &[u8]) -> Result<(), Error> {
        let mut all = core::mem::take(&mut self.partial);
        all.extend_from_slice(payload);
        let left = self.messages(&all)?.len();
        all.drain(..all.len() - left);
        if left > 0 {
            self.partial = all; // otherwise the memory is freed
        }
        Ok(())
    }

    fn messages<'m>(&mut self, mut from: &'m [u8]) -> Result<&'m [u8], Error> {
        while let Some((&[kind, a, b, c], rest)) = from.split_first_chunk() {
            let len = u32::from_be_bytes([0, a, b, c]) as usize;
            // Before the body arrives, because three bytes of length can announce 16 MiB.
            if len > HANDSHAKE {
                return Err(InvalidMessage::HandshakePayloadTooLarge.into());
            }
            let Some((body, behind)) = rest.split_at_checked(len) else {
                break;
            };
            from = behind;
            self.message(HandshakeType::from(kind), body, from.is_empty())?;
        }
        Ok(from)
    }

    fn message(&mut self, kind: HandshakeType, body: &[u8], last: bool) -> Result<(), Error> {
        match (kind, &mut self.kernel) {
            (HandshakeType::NewSessionTicket, Kernel::Client(kernel)) => {
                kernel.handle_new_session_ticket(body)
            }
            (HandshakeType::KeyUpdate, _) => self.updated(body, last),
            (got_type, kernel) => {
                let expect_types = match kernel {
                    Kernel::Client(_) => {
                        vec![HandshakeType::NewSessionTicket, HandshakeType::KeyUpdate]
                    }
                    Kernel::Server(_) => vec![HandshakeType::KeyUpdate],
                };
                Err(Error::InappropriateHandshakeMessage { expect_types, got_type })
            }
        }
    }

    /// RFC 9846 §4.7.3: the peer seals its later records with its next key.
    fn updated(&mut self, body: &[u8], last: bool) -> Result<(), Error> {
        // RFC 9846 §5.1: otherwise two keys could protect parts of one handshake message.
        if !last {
            return Err(PeerMisbehaved::KeyEpochWithPendingFragment.into());
        }
        // Deriving a key costs as much as opening kilobytes of data.
        bounded(&mut self.dataless, DATALESS, PeerMisbehaved::TooManyKeyUpdateRequests)?;
        match body {
            [0] => {}
            // The answer waits for our next data or alert, and answers all requests until then, so
            // a peer that asks again and again, and never reads, cannot make our output grow. After
            // `UPDATES` KeyUpdates, requests are ignored.
            [1] => self.owes_update = self.updates < UPDATES,
            [_] => return Err(InvalidMessage::InvalidKeyUpdate.into()),
            [] => return Err(InvalidMessage::MissingData("KeyUpdateRequest").into()),
            _ => return Err(InvalidMessage::TrailingData("KeyUpdateRequest").into()),
        }
        let (seq, secrets) = self.kernel.next_to_open()?;
        self.decrypter = decrypter(self.suite, secrets)?;
        self.opened = seq;
        Ok(())
    }

    /// Seals data in the fewest records, until `out` holds about `WAITING` bytes.
    ///
    /// After an error, `out` keeps the records sealed before it, but nothing says how much data
    /// they contain: the caller must not repeat the write, because the peer would get this data
    /// twice.
    #[inline]
    pub(super) fn write(&mut self, from: &[IoSlice<'_>], out: &mut Buffer) -> Result<usize, Error> {
        // What is beyond `WAITING` stays with the caller: otherwise a peer that reads nothing would
        // make our output grow. Headers and tags may exceed it.
        let all: usize = from.iter().map(|slice| slice.len()).sum();
        let taken = all.min(WAITING.saturating_sub(out.len()));
        let mut from = Slices::new(from);
        let mut left = taken;
        while left > 0 {
            self.update_if_due(out)?;
            let len = left.min(self.fragment);
            self.seal(ContentType::ApplicationData, &mut from, len, out)?;
            left -= len;
        }
        Ok(taken)
    }

    /// If the peer has asked, or if the next record would be the last under this key.
    #[inline]
    fn update_if_due(&mut self, out: &mut Buffer) -> Result<(), Error> {
        // RFC 9846 §5.5 limits the records under one key. A KeyUpdate is sealed under the old key,
        // so the last record is kept for it.
        let last = self.sealed.saturating_add(1) >= self.seal.limit();
        if self.owes_update || last { self.update(out) } else { Ok(()) }
    }

    #[cold]
    fn update(&mut self, out: &mut Buffer) -> Result<(), Error> {
        // The key is at its limit. (A peer's request doesn't lead here: `updated` ignores it after
        // `UPDATES` KeyUpdates.)
        if self.updates >= UPDATES {
            return Err(Error::EncryptError);
        }
        self.owes_update = false;
        self.updates += 1;
        // Type 24, one byte, 0: asks for no answer, otherwise two ends could ask each other for
        // ever. The old key seals this record; the next key seals all later ones.
        self.say(ContentType::Handshake, &[24, 0, 0, 1, 0], out)?;
        let (seq, secrets) = self.kernel.next_to_seal()?;
        self.seal = Seal::new(self.suite, secrets)?;
        self.sealed = seq;
        Ok(())
    }

    /// With a `fatal` alert, or else a close_notify. Nothing if `silent`.
    pub(super) fn end(&mut self, fatal: Option<AlertDescription>, out: &mut Buffer) {
        if self.silent {
            return;
        }
        let alert = match fatal {
            None => [1, AlertDescription::CloseNotify.into()],
            Some(description) => [2, description.into()],
        };
        // If the key may seal no more records, the peer gets only the end of the stream.
        let _ = self.update_if_due(out).and_then(|()| self.say(ContentType::Alert, &alert, out));
        self.silent = true;
    }

    #[cold]
    fn say(&mut self, kind: ContentType, message: &[u8], out: &mut Buffer) -> Result<(), Error> {
        let slices = [IoSlice::new(message)];
        self.seal(kind, &mut Slices::new(&slices), message.len(), out)
    }

    /// The next `len` bytes as one record. The sequence number counts as used before the sealing
    /// begins, so no two records have the same, even if sealing fails.
    #[inline]
    fn seal(
        &mut self,
        kind: ContentType,
        from: &mut Slices<'_, '_>,
        len: usize,
        out: &mut Buffer,
    ) -> Result<(), Error> {
        let seq = next(&mut self.sealed)?;
        match &mut self.seal {
            Seal::InPlace(key, _) => {
                // Header, plaintext, content type, tag (RFC 9846 §5.2), without padding.
                let all = HEADER + len + 1 + TAG;
                let room = out.spare(all).split_first_chunk_mut::<HEADER>();
                let Some((header, (body, rest))) = room
                    .and_then(|(header, rest)| Some((header, rest.split_at_mut_checked(len + 1)?)))
                else {
                    return Err(Error::EncryptError);
                };
                // `as` cuts nothing off, because `len` is at most `PLAIN`. Type and version are the
                // same in each record, so that nobody on the path sees which ones carry alerts.
                let [hi, lo] = u16::to_be_bytes((len + 1 + TAG) as u16);
                *header = [23, 3, 3, hi, lo];
                if let Some((inner, plain)) = body.split_last_mut() {
                    from.copy(plain);
                    *inner = kind.into();
                }
                let sealed = key.encrypt_in_place(seq, header, body);
                // By reference, because moving the tag would copy it in pieces.
                match (&sealed, rest.first_chunk_mut::<TAG>()) {
                    (Ok(sealed), Some(tag)) if sealed.as_ref().len() == TAG => {
                        tag.copy_from_slice(sealed.as_ref());
                    }
                    _ => return sealed.and(Err(Error::EncryptError)),
                }
                out.commit(all); // last: a record whose sealing failed is never sent
            }
            Seal::Whole(key, _) => out.push(&seal_whole(&mut **key, kind, from, len, seq)?),
        }
        Ok(())
    }
}

#[cold]
fn seal_whole(
    key: &mut dyn MessageEncrypter,
    typ: ContentType,
    from: &mut Slices<'_, '_>,
    len: usize,
    seq: u64,
) -> Result<Vec<u8>, Error> {
    let mut plain = vec![0; len];
    from.copy(&mut plain);
    // `Multiple` would save the copy, but takes a list of `&[u8]`, which needs memory too.
    let payload = OutboundChunks::Single(&plain);
    // rustls passes this version too. A provider does not need it for TLS 1.3: each protected
    // record has this version (RFC 9846 §5.2).
    let version = ProtocolVersion::TLSv1_2;
    Ok(key.encrypt(OutboundPlainMessage { typ, version, payload }, seq)?.encode())
}

fn record(wire: &[u8]) -> Result<Option<usize>, Error> {
    let Some(&[kind, version, _, hi, lo]) = wire.first_chunk() else {
        return Ok(None);
    };
    let len = usize::from(u16::from_be_bytes([hi, lo]));
    match ContentType::from(kind) {
        // The next two mean that the peer does not speak TLS. The version's second byte is ignored
        // (RFC 9846 §5.1).
        ContentType::Unknown(_) => Err(InvalidMessage::InvalidContentType.into()),
        _ if version != 3 => Err(InvalidMessage::UnknownProtocolVersion.into()),
        ContentType::ApplicationData if len > PLAIN + EXPANSION => {
            Err(Error::PeerSentOversizedRecord)
        }
        ContentType::ApplicationData => Ok(Some(HEADER + len)),
        // All records are protected now: RFC 9846 §5 allows change_cipher_spec in handshakes only.
        kind => Err(unexpected(kind)),
    }
}

fn next(seq: &mut u64) -> Result<u64, Error> {
    let this = *seq;
    if this >= LAST {
        return Err(Error::EncryptError);
    }
    *seq += 1;
    Ok(this)
}

fn bounded(seen: &mut u8, most: u8, or: PeerMisbehaved) -> Result<(), Error> {
    if *seen == most {
        return Err(or.into());
    }
    *seen += 1;
    Ok(())
}

fn unexpected(got_type: ContentType) -> Error {
    let expect_types = vec![ContentType::ApplicationData, ContentType::Handshake];
    Error::InappropriateMessage { expect_types, got_type }
}

struct Slices<'a, 'b> {
    first: &'a [u8],
    others: slice::Iter<'a, IoSlice<'b>>,
}

impl<'a, 'b> Slices<'a, 'b> {
    #[inline]
    fn new(slices: &'a [IoSlice<'b>]) -> Self {
        let mut others = slices.iter();
        Self { first: others.next().map_or(&[], |slice| slice), others }
    }

    #[inline]
    fn copy(&mut self, mut to: &mut [u8]) {
        loop {
            let len = self.first.len().min(to.len()); // so both splits below succeed
            let (now, later) = self.first.split_at_checked(len).unwrap_or_default();
            let (here, rest) = to.split_at_mut_checked(len).unwrap_or_default();
            here.copy_from_slice(now);
            self.first = later;
            to = rest;
            if to.is_empty() {
                return;
            }
            match self.others.next() {
                Some(next) => self.first = next,
                None => return, // not reached: the caller never asks for more than there is
            }
        }
    }
}
