//! `--ca`: whom to believe that they are the server.
#[cfg(feature = "rustls")]
pub(crate) use with::*;
#[cfg(not(feature = "rustls"))]
pub(crate) use without::*;

#[cfg(feature = "rustls")]
mod with {
    use crate::{Result, options::Options};
    use tickwire::tls::rustls::{
        CipherSuite, ClientConfig, ProtocolVersion, RootCertStore,
        pki_types::{CertificateDer, pem::PemObject},
    };
    use tickwire::tls::{Session, platform_config};

    pub(crate) type Tls = tickwire::tls::Client;

    /// What `wss` needs; `None` for `ws`.
    pub(crate) fn of(options: &Options) -> std::result::Result<Option<Tls>, tickwire::Error> {
        if !options.request.target().secure() {
            return Ok(None);
        }
        Ok(Some(options.tls.clone().map_or_else(platform_config, Ok)?))
    }

    /// Version and cipher suite.
    pub(crate) fn agreed(session: &Session) -> String {
        let version = session.protocol_version().map(ProtocolVersion::from);
        let suite = session.negotiated_cipher_suite().map(CipherSuite::from);
        let names = [version.and_then(|v| v.as_str()), suite.and_then(|s| s.as_str())];
        names.map(|name| name.unwrap_or("unknown")).join(" ")
    }

    /// Trusts the authorities in a file, and no others.
    pub(crate) fn trust(file: &str) -> Result<Tls> {
        let mut roots = RootCertStore::empty();
        let fail = |error: &dyn std::fmt::Display| format!("--ca {file:?}: {error}");
        for root in CertificateDer::pem_file_iter(file).map_err(|error| fail(&error))? {
            let root = root.map_err(|error| fail(&error))?;
            roots.add(root).map_err(|error| fail(&error))?;
        }
        if roots.is_empty() {
            return Err(fail(&"no certificate in it").into());
        }
        let builder = ClientConfig::builder().with_root_certificates(roots);
        let mut config = builder.with_no_client_auth();
        config.enable_secret_extraction = true; // records in place
        Ok(config.into())
    }
}

#[cfg(not(feature = "rustls"))]
mod without {
    use crate::{Result, options::Options};

    #[derive(Clone)]
    pub(crate) enum Tls {}

    pub(crate) fn of(options: &Options) -> std::result::Result<Option<Tls>, tickwire::Error> {
        match options.request.target().secure() {
            true => Err(tickwire::Error::NoTls),
            false => Ok(options.tls.clone()),
        }
    }

    pub(crate) fn trust(_: &str) -> Result<Tls> {
        Err("--ca: TLS is not built in: add --features rustls".into())
    }
}
