//! What stands in for [`SocketOptions`] without the feature `socket`: nobody can have any.
use std::{
    io,
    net::{SocketAddr, TcpStream},
    time::Duration,
};

#[derive(Clone, Copy, Debug)]
pub(crate) enum SocketOptions {}

impl SocketOptions {
    pub(crate) fn apply<S>(&self, _: &S) -> io::Result<()> {
        match *self {}
    }

    #[allow(dead_code)] // without tokio, too
    pub(crate) fn prepare<S>(&self, _: &S) -> io::Result<()> {
        match *self {}
    }

    pub(crate) fn reaches(&self, _: &SocketAddr) -> bool {
        match *self {}
    }

    pub(crate) fn dial(&self, _: &SocketAddr, _: Option<Duration>) -> io::Result<TcpStream> {
        match *self {}
    }
}
