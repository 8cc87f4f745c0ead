use super::in_place::InPlace;
use ::rustls::{ClientConfig, ServerConfig};
use std::{fmt, sync::Arc};

macro_rules! config {
    ($(#[$doc:meta])* $name:ident of $theirs:ident) => {
        $(#[$doc])*
        #[derive(Clone)]
        pub struct $name {
            pub(super) config: Arc<$theirs>,
            /// A copy whose sessions hand over their keys. Nobody outside this crate gets it.
            pub(super) in_place: Option<InPlace<Arc<$theirs>>>,
        }

        #[cfg(feature = "in-place")]
        impl $name {
            /// Has this crate open and seal the records of TLS 1.3 in place, where rustls would
            /// copy each twice and allocate memory for it. rustls still does the handshake, and
            /// its provider the cryptography; framing, sequence numbers and the messages after the
            /// handshake are then code of this crate.
            ///
            /// The sessions give their keys to this crate alone: it keeps a copy of the
            /// configuration for them, and the conversion to rustls' type returns the one from
            /// which no keys can be extracted. Both share the session tickets.
            ///
            /// [`Session::connection`](crate::Session::connection) is `None` then, so there are no
            /// exporters, and a session that is closed during its handshake sends no close_notify.
            #[must_use]
            pub fn in_place(mut self) -> Self {
                let mut config = $theirs::clone(&self.config);
                config.enable_secret_extraction = true;
                self.in_place = Some(InPlace::new(Arc::new(config)));
                self
            }
        }

        impl From<$theirs> for $name {
            fn from(config: $theirs) -> Self {
                Self::from(Arc::new(config))
            }
        }

        impl From<Arc<$theirs>> for $name {
            fn from(config: Arc<$theirs>) -> Self {
                Self { config, in_place: None }
            }
        }

        /// Returns rustls' configuration, which does not say whether to work in place.
        impl From<$name> for Arc<$theirs> {
            fn from(config: $name) -> Self {
                config.config
            }
        }

        /// Shows no field, because a configuration may hold secret keys.
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($name)).finish_non_exhaustive()
            }
        }
    };
}

config! {
    /// A client's configuration of TLS, made with rustls, or by
    /// [`platform_config`](crate::platform_config).
    ///
    /// Cheap to clone. All clones share the session tickets, which make the next connection to the
    /// same server cheaper. To change a configuration, convert it to rustls' type and back.
    Client of ClientConfig
}

config! {
    /// A server's configuration of TLS, made with rustls. Cheap to clone.
    Server of ServerConfig
}
