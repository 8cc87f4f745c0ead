//! Replaces the module `layers` if the feature `rustls` is off: the stream never has TLS. If the
//! stream were an enum here too, a program would link each call, and the drop, once for each
//! variant.

macro_rules! layers {
    ($io:ident) => {
        $io
    };
}
pub(crate) use layers;

macro_rules! dialed {
    () => {
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
pub(crate) use dialed;

macro_rules! inner {
    ($layers:expr, $stream:ident => $do:expr) => {{
        let $stream = $layers;
        $do
    }};
}
pub(crate) use inner;
pub(crate) use inner as mapped;
