//! What stands in for [`SocketOptions`] without the feature `socket`: nobody can have any.
pub(crate) mod arrival;
#[path = "no_kernel.rs"]
mod kernel;
#[allow(dead_code, unreachable_pub)] // it is public with the feature
pub(crate) mod stamped;

pub(crate) use stamped::Stamped;

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

    pub(crate) fn stamps(&self) -> bool {
        match *self {}
    }

    pub(crate) fn reaches(&self, _: &SocketAddr) -> bool {
        match *self {}
    }

    pub(crate) fn dial(&self, _: &SocketAddr, _: Option<Duration>) -> io::Result<TcpStream> {
        match *self {}
    }
}

/// What `kernel` would read from.
pub(crate) trait Handle {}
impl<S> Handle for S {}
