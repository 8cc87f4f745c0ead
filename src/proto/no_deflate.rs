//! In place of `deflate` without that feature: nobody can ask for compression or agree on it, since
//! these types have no values.

#[derive(Clone, Debug)]
pub enum Deflate {}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeflateParams {}
