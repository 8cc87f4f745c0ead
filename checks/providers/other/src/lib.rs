//! A crate that knows nothing of tickwire, and leaves the choice of a provider to rustls.
use rustls::{ClientConfig, RootCertStore};

pub fn config() -> ClientConfig {
    ClientConfig::builder().with_root_certificates(RootCertStore::empty()).with_no_client_auth()
}
