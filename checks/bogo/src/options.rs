//! What the runner asks for by options.
use std::{env::args, io, process::exit, str::FromStr, sync::Arc};
use tickwire_tls::{
    Client, Server, Session,
    rustls::{
        ClientConfig, DigitallySignedStruct, Error, ServerConfig, SignatureScheme,
        SupportedProtocolVersion,
        client::{
            Resumption,
            danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        },
        crypto::{
            WebPkiSupportedAlgorithms,
            ring::{Ticketer, default_provider},
            verify_tls12_signature, verify_tls13_signature,
        },
        pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject},
        version::{TLS12, TLS13},
    },
};

#[derive(Default)]
pub(crate) struct Options {
    in_place: bool,
    pub(crate) port: u16,
    pub(crate) id: u64,
    pub(crate) ipv6: bool,
    server: bool,
    files: [Option<String>; 2],
    pub(crate) resumptions: u32,
    tickets: bool,
    pub(crate) writes_first: bool,
    pub(crate) wants_close: bool,
    pub(crate) shuts_down: bool,
    pub(crate) read_size: usize,
    fragment: Option<usize>,
    versions: Vec<&'static SupportedProtocolVersion>,
}

impl Options {
    /// # Errors
    ///
    /// The option, or the value, that this program does not know.
    pub(crate) fn parse() -> Result<Self, String> {
        let mut options = Self {
            tickets: true,
            read_size: 16 << 10,
            versions: vec![&TLS12, &TLS13],
            ..Self::default()
        };
        let mut args = args().skip(1);
        while let Some(option) = args.next() {
            options.take(&option, &mut args)?;
        }
        if options.versions.is_empty() || options.server && options.files.contains(&None) {
            return Err("no version, or no certificate".into());
        }
        Ok(options)
    }

    fn take(
        &mut self,
        option: &str,
        args: &mut impl Iterator<Item = String>,
    ) -> Result<(), String> {
        match option {
            // Of ours, by the runner's -shim-extra-flags.
            "-in-place" => self.in_place = true,
            "-is-handshaker-supported" => {
                println!("No");
                exit(0);
            }
            "-port" => self.port = value(args)?,
            "-shim-id" => self.id = value(args)?,
            "-ipv6" => self.ipv6 = true,
            "-server" => self.server = true,
            "-cert-file" => self.files[0] = Some(value(args)?),
            "-key-file" => self.files[1] = Some(value(args)?),
            "-resume-count" => self.resumptions = value(args)?,
            "-no-ticket" => self.tickets = false,
            "-shim-writes-first" => self.writes_first = true,
            "-check-close-notify" => self.wants_close = true,
            "-shim-shuts-down" => self.shuts_down = true,
            "-read-size" => self.read_size = value(args)?,
            "-max-send-fragment" => self.fragment = Some(value::<usize>(args)? + 5),
            "-no-tls13" => self.keep_versions(|version| version != 0x0304),
            "-no-tls12" => self.keep_versions(|version| version != 0x0303),
            "-min-version" => {
                let least: u16 = value(args)?;
                self.keep_versions(|version| version >= least);
            }
            "-max-version" => {
                let most: u16 = value(args)?;
                self.keep_versions(|version| version <= most);
            }
            // The runner checks these itself, or they ask for nothing.
            "-expect-version" | "-expect-resume-version" | "-trust-cert" => {
                value::<String>(args)?;
            }
            "-no-tls11"
            | "-no-tls1"
            | "-expect-no-session-id"
            | "-expect-session-id"
            | "-expect-no-hrr"
            | "-expect-hrr"
            | "-use-custom-verify-callback" => {}
            other => return Err(other.into()),
        }
        Ok(())
    }

    fn keep_versions(&mut self, keep: impl Fn(u16) -> bool) {
        self.versions.retain(|version| keep(version.version.into()));
    }

    pub(crate) fn client(&self) -> Client {
        let provider = default_provider();
        let trusting = Trusting(provider.signature_verification_algorithms);
        let builder = ClientConfig::builder_with_provider(Arc::new(provider));
        let builder = builder.with_protocol_versions(&self.versions).unwrap().dangerous();
        let builder = builder.with_custom_certificate_verifier(Arc::new(trusting));
        let mut config = builder.with_no_client_auth();
        config.max_fragment_size = self.fragment;
        if !self.tickets {
            config.resumption = Resumption::disabled();
        }
        let config = Client::from(config);
        if self.in_place { config.in_place() } else { config }
    }

    pub(crate) fn server(&self) -> Option<Server> {
        let [Some(chain), Some(key)] = &self.files else { return None };
        let chain = CertificateDer::pem_file_iter(chain).unwrap().map(Result::unwrap).collect();
        let key = PrivateKeyDer::from_pem_file(key).unwrap();
        let builder = ServerConfig::builder_with_provider(Arc::new(default_provider()));
        let builder = builder.with_protocol_versions(&self.versions).unwrap();
        let mut config = builder.with_no_client_auth().with_single_cert(chain, key).ok()?;
        config.max_fragment_size = self.fragment;
        if self.tickets {
            config.ticketer = Ticketer::new().unwrap();
        }
        let config = Server::from(config);
        Some(if self.in_place { config.in_place() } else { config })
    }

    pub(crate) fn session(&self, client: &Client, server: Option<&Server>) -> io::Result<Session> {
        let session = match server {
            Some(server) if self.server => Session::server(server.clone()),
            _ if self.server => exit(super::UNIMPLEMENTED), // a key that ring does not have
            _ => Session::client(client.clone(), ServerName::try_from("test.example").unwrap()),
        };
        session.map_err(|error| error.into_io())
    }
}

fn value<T: FromStr>(args: &mut impl Iterator<Item = String>) -> Result<T, String> {
    let value = args.next().unwrap_or_default();
    value.parse().map_err(|_| value)
}

/// Trusts every certificate, as the runner expects, but checks signatures.
#[derive(Debug)]
struct Trusting(WebPkiSupportedAlgorithms);

impl ServerCertVerifier for Trusting {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signed, &self.0)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signed, &self.0)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_schemes()
    }
}
