#![doc = include_str!("../README.md")]
#![no_std]
#![cfg_attr(docsrs, feature(doc_cfg))]
#![forbid(unsafe_code)]

extern crate alloc;

mod no_proxy;
mod race;
mod socks5;

pub use no_proxy::is_bypassed;
pub use race::{Race, Step};
pub use socks5::{Login, Socks5, SocksError};
