//! For TCP: reads that also get the kernel's time of arrival, and writes that raise no SIGPIPE.
pub(crate) mod arrival;
#[cfg_attr(not(all(feature = "stamps", target_os = "linux")), path = "no_kernel.rs")]
mod kernel;
pub(crate) mod sigpipe;
pub(crate) mod timestamped;

#[cfg(not(windows))]
pub(crate) use std::os::fd::AsFd as AsSocket;
#[cfg(windows)]
pub(crate) use std::os::windows::io::AsSocket;
