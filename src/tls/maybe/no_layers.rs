//! Replaces the module `layers` if the feature `rustls` is off: the stream never has TLS. If the
//! stream were an enum here too, a program would link each call, and the drop, once for each
//! variant.

#[cfg(feature = "tokio")]
pub(super) type Tokio<S> = S;

pub(super) type Blocking<S> = S;

macro_rules! dialed {
    ($adapter:ident) => {
        pub(crate) fn new(io: S, _: &Target, tls: Option<Client>) -> Result<Self, Error> {
            match tls {
                None => Ok(Self(io)),
                Some(never) => match never {},
            }
        }

        pub(crate) fn with_tls(self, _: &Target, tls: Client, _: &[u8]) -> Result<Self, Error> {
            match tls {}
        }

        /// The stream. If there is a proxy, the stream leads to the proxy.
        pub fn get_ref(&self) -> &S {
            &self.0
        }
    };
}
pub(super) use dialed;

macro_rules! inner {
    ($layers:expr, $stream:ident => $do:expr) => {{
        let $stream = $layers;
        $do
    }};
}
pub(super) use inner;
pub(super) use inner as mapped;
