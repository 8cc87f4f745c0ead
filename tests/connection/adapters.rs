//! What an adapter has to do once there is a connection, over each adapter, whole and split: see
//! `support/ways`.
mod endings;
mod futures_io;
mod leaving;
mod messages;
mod odd_streams;
