//! `Stream` and `Sink` of events.
mod everywhere;
