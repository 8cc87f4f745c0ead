//! The cryptographic provider of the tests of TLS: ring, or aws-lc-rs in `checks/providers/tests`.
#![allow(dead_code)]
#[cfg(feature = "aws-lc-rs")]
pub(crate) use tickwire::tls::rustls::crypto::aws_lc_rs::*;
#[cfg(not(feature = "aws-lc-rs"))]
pub(crate) use tickwire::tls::rustls::crypto::ring::*;
use tickwire::tls::rustls::{
    SupportedCipherSuite, Tls12CipherSuite, Tls13CipherSuite, crypto::CipherSuiteCommon,
};

/// A suite with something changed, by the function for its version of TLS.
pub(crate) fn altered(
    suite: &SupportedCipherSuite,
    tls13: impl FnOnce(&mut Tls13CipherSuite),
    tls12: impl FnOnce(&mut Tls12CipherSuite),
) -> SupportedCipherSuite {
    let common = |of: &CipherSuiteCommon| CipherSuiteCommon {
        suite: of.suite,
        hash_provider: of.hash_provider,
        confidentiality_limit: of.confidentiality_limit,
    };
    match suite {
        SupportedCipherSuite::Tls13(suite) => {
            let mut suite = Tls13CipherSuite { common: common(&suite.common), ..**suite };
            tls13(&mut suite);
            SupportedCipherSuite::Tls13(Box::leak(Box::new(suite)))
        }
        SupportedCipherSuite::Tls12(suite) => {
            let mut suite = Tls12CipherSuite { common: common(&suite.common), ..**suite };
            tls12(&mut suite);
            SupportedCipherSuite::Tls12(Box::leak(Box::new(suite)))
        }
    }
}
