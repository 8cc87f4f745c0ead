//! Finds roots that the platform's verifier misses, and says where it looked if it found none.
use ::rustls::{
    Error, RootCertStore,
    pki_types::{CertificateDer, pem::PemObject},
};
use std::{env, ffi::OsString, fs, path::PathBuf};

/// The byte order mark that Windows editors write, which hides a file's first line from the
/// verifier.
const MARK: &str = "\u{feff}";

/// All, because a text joined from several files may have a mark before each part.
pub(crate) fn without_marks(pem: &[u8]) -> Vec<u8> {
    String::from_utf8_lossy(pem).replace(MARK, "").into_bytes()
}

/// Where roots are, on systems without a verifier of their own.
const VARIABLES: [&str; 2] = ["SSL_CERT_FILE", "SSL_CERT_DIR"];

pub(crate) fn explained(
    error: Error,
    variable: impl Fn(&'static str) -> Option<OsString>,
) -> Error {
    let looks = cfg!(unix) && !cfg!(any(target_os = "android", target_vendor = "apple"));
    let text = match error {
        // The verifier's, if it has found no root.
        Error::General(text) if looks => text,
        error => return error,
    };
    let told = |name| Some(format!("{name} is {}", variable(name)?.display()));
    let set: Vec<String> = VARIABLES.into_iter().filter_map(told).collect();
    let places = match &set[..] {
        [] => "SSL_CERT_FILE and SSL_CERT_DIR are not set".into(),
        set => set.join(", "),
    };
    Error::General(format!("{text}: {places}"))
}

/// The first certificate after each byte order mark, in the files that the two variables name: the
/// platform's verifier misses those. Malformed ones are left out, because the verifier would fail
/// on them.
///
/// The files are those that rustls-native-certs looks at for the verifier: `SSL_CERT_DIR` may list
/// several folders, and folders inside a folder are skipped. The system's default places, used if
/// neither variable is set, we don't know.
pub(crate) fn behind_marks(
    variable: impl Fn(&'static str) -> Option<OsString>,
) -> Vec<CertificateDer<'static>> {
    let [file, folders] = VARIABLES.map(variable);
    let folders = folders.iter().flat_map(env::split_paths).filter_map(|at| fs::read_dir(at).ok());
    let inside = folders.flatten().filter_map(|entry| Some(entry.ok()?.path()));
    let first = |part: &str| {
        let first = CertificateDer::from_pem_slice(part.as_bytes()).ok()?;
        RootCertStore::empty().add(first.clone()).is_ok().then_some(first)
    };
    let mut roots = Vec::new();
    // Only regular files: a pipe can be read only once, and the verifier has to read it; opening a
    // FIFO may block for ever.
    for file in file.map(PathBuf::from).into_iter().chain(inside).filter(|file| file.is_file()) {
        let text = fs::read(file).unwrap_or_default();
        roots.extend(String::from_utf8_lossy(&text).split(MARK).skip(1).filter_map(first));
    }
    roots
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(all(unix, not(target_vendor = "apple")))]
    #[test]
    fn a_platform_without_roots_names_where_they_were_looked_for() {
        let explain = |file: Option<&str>, dir: Option<&str>| {
            let value =
                |name: &str| (if name.ends_with("FILE") { file } else { dir }).map(Into::into);
            explained(Error::General("none".into()), value).to_string()
        };
        let text = explain(Some("/no/such.pem"), None);
        assert!(text.ends_with("none: SSL_CERT_FILE is /no/such.pem"), "{text}");
        let text = explain(Some("a"), Some("b"));
        assert!(text.ends_with("none: SSL_CERT_FILE is a, SSL_CERT_DIR is b"), "{text}");
        let text = explain(None, None);
        assert!(text.ends_with("none: SSL_CERT_FILE and SSL_CERT_DIR are not set"), "{text}");
    }

    #[test]
    fn the_roots_behind_byte_order_marks_are_found() -> Result<(), Box<dyn std::error::Error>> {
        let made = || testkit::tls::Identity::self_signed(&["localhost"]);
        let marked = made();
        let plain = made();
        let later = made();
        let folder = env::temp_dir().join(format!("tickwire-roots-{}", std::process::id()));
        fs::create_dir_all(folder.join("a folder"))?;
        let joined = [MARK, marked.pem(), plain.pem(), MARK, later.pem(), plain.pem()].concat();
        fs::write(folder.join("marked.pem"), joined)?;
        fs::write(folder.join("plain.pem"), plain.pem())?;
        fs::write(folder.join("no.pem"), MARK)?;
        let broken = marked.pem().replace("MII", "MIJ");
        fs::write(folder.join("broken.pem"), [MARK.as_bytes(), broken.as_bytes()].concat())?;
        let found = |name: &'static str, file: Option<&str>| {
            let path = file.map_or(folder.clone(), |file| folder.join(file)).into_os_string();
            behind_marks(|it| (it == name).then(|| path.clone()))
        };
        let hidden = [marked.chain[0].clone(), later.chain[0].clone()];
        assert_eq!(found("SSL_CERT_FILE", Some("marked.pem")), hidden);
        assert_eq!(found("SSL_CERT_DIR", None), hidden);
        for file in ["plain.pem", "no.pem", "broken.pem", "missing.pem", "a folder"] {
            assert_eq!(found("SSL_CERT_FILE", Some(file)), [], "{file}");
        }
        fs::remove_dir_all(folder)?;
        Ok(())
    }

    #[cfg(unix)]
    #[test]
    fn a_pipe_is_left_to_the_platforms_verifier() -> Result<(), Box<dyn std::error::Error>> {
        use std::{io::Read, os::fd::AsRawFd};
        let (mut roots, mut writer) = std::io::pipe()?;
        std::io::Write::write_all(&mut writer, MARK.as_bytes())?;
        drop(writer);
        let path = format!("/dev/fd/{}", roots.as_raw_fd());
        let found = behind_marks(|name| (name == "SSL_CERT_FILE").then(|| path.clone().into()));
        let mut left = String::new();
        roots.read_to_string(&mut left)?;
        assert_eq!((found, &*left), (vec![], MARK));
        Ok(())
    }
}
