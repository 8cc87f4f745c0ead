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

    pub(crate) fn dial(&self, _: &SocketAddr, _: Option<Duration>) -> io::Result<TcpStream> {
        match *self {}
    }
}
