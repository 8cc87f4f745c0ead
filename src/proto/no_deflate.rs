//! Replaces the module `deflate` if the feature `deflate` is off. Compression cannot be configured
//! or agreed on, because these types have no values.

#[derive(Clone, Debug)]
pub enum Deflate {}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeflateParams {}
