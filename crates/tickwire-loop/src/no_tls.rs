//! The names of `tls.rs`, for builds without the feature `rustls`. No session exists there, so no
//! method is ever called.
use bytes::Buf;
use std::io;
use tickwire::{Error, Time, handshake::client::Request};

#[derive(Clone)]
pub(crate) enum Session {}
pub(crate) type Server = Session;
pub(crate) type Client = Session;

pub(crate) struct Tls {
    pub(crate) session: Session,
    pub(crate) holds: bool,
    pub(crate) read_at: Option<Time>,
}

impl Tls {
    pub(crate) fn server(config: &Server) -> Result<Box<Self>, Error> {
        match *config {}
    }

    pub(crate) fn client(_: Option<&Client>, _: &Request) -> Result<Box<Self>, Error> {
        Err(Error::NoTls)
    }

    pub(crate) fn read(&mut self, _: &mut [u8]) -> io::Result<Option<usize>> {
        match self.session {}
    }
}

impl Session {
    pub(crate) fn is_handshaking(&self) -> bool {
        match *self {}
    }

    pub(crate) fn write(&mut self, _: &mut impl Buf) -> io::Result<usize> {
        match *self {}
    }

    pub(crate) fn spare_mut(&mut self) -> &mut [u8] {
        match *self {}
    }

    pub(crate) fn buffered(&self) -> usize {
        match *self {}
    }

    pub(crate) fn commit(&mut self, _: usize) {
        match *self {}
    }

    pub(crate) fn end_of_stream(&mut self) {
        match *self {}
    }

    pub(crate) fn outgoing(&mut self) -> &[u8] {
        match *self {}
    }

    pub(crate) fn advance(&mut self, _: usize) {
        match *self {}
    }

    pub(crate) fn close(&mut self) {
        match *self {}
    }

    pub(crate) fn answer_close(&mut self) -> bool {
        match *self {}
    }
}
