//! Does not build: `check` reads what the compiler says.
use tickwire::{
    Dial, Error, Events, SystemEntropy, Traffic, blocking, deflate::Deflate, futures_io, tls, tokio,
};

fn main() {}
