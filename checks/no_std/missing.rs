//! Does not build: `check` reads what the compiler says.
use tickwire::{
    Counters, Dial, Error, Events, SystemEntropy, blocking, deflate::Deflate, futures_io, tls,
    tokio,
};

fn main() {}
