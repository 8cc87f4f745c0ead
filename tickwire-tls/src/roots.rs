//! Why a platform has no roots.
use ::rustls::Error;
use std::{ffi::OsString, format, string::String, vec::Vec};

/// The variables that say where roots are, on systems without a verifier of their own.
const VARIABLES: [&str; 2] = ["SSL_CERT_FILE", "SSL_CERT_DIR"];

/// Adds to an error of the platform's verifier where roots were looked for: the files that the
/// variables name, if one is set, and otherwise the places that are usual on this system.
/// `variable` returns the value of a variable.
pub(crate) fn explained(
    error: Error,
    variable: impl Fn(&'static str) -> Option<OsString>,
) -> Error {
    let looks = cfg!(unix) && !cfg!(any(target_os = "android", target_vendor = "apple"));
    let Error::General(text) = error else { return error };
    if !looks {
        return Error::General(text);
    }
    let told = |name| Some(format!("{name} is {}", variable(name)?.display()));
    let set: Vec<String> = VARIABLES.into_iter().filter_map(told).collect();
    let places = match &set[..] {
        [] => "SSL_CERT_FILE and SSL_CERT_DIR are not set".into(),
        set => set.join(", "),
    };
    Error::General(format!("{text}: {places}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::ToString;

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
}
