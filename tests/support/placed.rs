//! Our configurations of those of rustls. A test asks for records in place by rustls'
//! `enable_secret_extraction`, which a peer on rustls may need too.
use std::sync::Arc;
use tickwire::tls::{
    Client, Server,
    rustls::{ClientConfig, ServerConfig},
};

pub(crate) trait Placed {
    type Ours;
    fn placed(self) -> Self::Ours;
}

macro_rules! placed {
    ($($Theirs:ident => $Ours:ident),*) => {$(
        impl Placed for Arc<$Theirs> {
            type Ours = $Ours;
            fn placed(self) -> $Ours {
                match self.enable_secret_extraction {
                    true => $Ours::from(self).in_place(),
                    false => self.into(),
                }
            }
        }

        impl Placed for $Theirs {
            type Ours = $Ours;
            fn placed(self) -> $Ours {
                Arc::new(self).placed()
            }
        }

        /// It has been said already.
        impl Placed for $Ours {
            type Ours = $Ours;
            fn placed(self) -> $Ours {
                self
            }
        }
    )*};
}
placed!(ClientConfig => Client, ServerConfig => Server);

pub(crate) fn placed<C: Placed>(config: C) -> C::Ours {
    config.placed()
}
