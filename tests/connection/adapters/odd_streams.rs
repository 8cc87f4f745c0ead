//! Streams that can do less than a socket, or more.
mod everywhere;
