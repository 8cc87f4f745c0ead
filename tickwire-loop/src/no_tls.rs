//! The same names as in `tls.rs`, for builds without the feature `rustls`. No session exists there,
//! so no method of one is ever called.
use std::io;
use tickwire::{Error, Outgoing, Time, handshake::client::Request};

#[derive(Clone)]
pub(crate) enum Server {}
#[derive(Clone)]
pub(crate) enum Client {}

pub(crate) struct Tls {
    never: Server,
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
        match self.never {}
    }

    pub(crate) fn seal(&mut self, _: &mut Outgoing<'_>) -> io::Result<usize> {
        match self.never {}
    }

    pub(crate) fn seal_text(&mut self, _: &[u8]) -> io::Result<usize> {
        match self.never {}
    }

    pub(crate) fn spare_mut(&mut self) -> &mut [u8] {
        match self.never {}
    }

    pub(crate) fn commit(&mut self, _: usize) {
        match self.never {}
    }

    pub(crate) fn end_of_stream(&mut self) {
        match self.never {}
    }

    pub(crate) fn has_outgoing(&self) -> bool {
        match self.never {}
    }

    pub(crate) fn outgoing(&mut self) -> &[u8] {
        match self.never {}
    }

    pub(crate) fn advance(&mut self, _: usize) {
        match self.never {}
    }

    pub(crate) fn close(&mut self) {
        match self.never {}
    }
}
