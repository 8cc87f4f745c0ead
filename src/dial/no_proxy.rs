//! What stands in for [`Proxy`] without the feature `proxy`: nobody can have any.
use crate::{
    drive::{Error, Wire},
    proto::{config::Config, url::Target},
    tls,
};
use std::vec::Vec;

#[derive(Clone, Debug)]
pub(crate) enum Proxy {}

impl Proxy {
    pub(crate) fn target(&self) -> &Target {
        match *self {}
    }

    pub(crate) fn client_tls(&self) -> Result<Option<tls::Client>, Error> {
        match *self {}
    }

    pub(crate) async fn tunnel<I: Wire>(
        &self,
        _: &mut I,
        _: &Target,
        _: &Config,
    ) -> Result<Vec<u8>, Error> {
        match *self {}
    }
}
