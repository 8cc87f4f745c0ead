//! The cryptographic provider of the tests of TLS: ring, or aws-lc-rs in `checks/providers/tests`.
#[cfg(feature = "aws-lc-rs")]
pub(crate) use tickwire::tls::rustls::crypto::aws_lc_rs::*;
#[cfg(not(feature = "aws-lc-rs"))]
pub(crate) use tickwire::tls::rustls::crypto::ring::*;
