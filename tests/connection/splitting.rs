//! Two halves of a connection.
mod blocking;
