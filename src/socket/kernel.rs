//! The kernel's timestamps on Linux: SO_TIMESTAMPING, and reads that also return the time in a
//! `cmsg`.
use crate::proto::message::Arrival;
use nix::sys::{
    socket::{
        ControlMessageOwned, MsgFlags, TimestampingFlag, recvmsg, setsockopt, sockopt::Timestamping,
    },
    time::TimeSpec,
};
use std::{
    io::{self, IoSliceMut},
    os::fd::{AsFd, AsRawFd},
    time::Duration,
};

/// For the `cmsg` with the time (64 bytes), and others that the program may have enabled. Aligned
/// for a `cmsg` header, because nix makes a reference to it.
#[repr(align(16))]
struct Control([u8; 128]);

/// `false` in `no_kernel.rs`.
pub(super) const STAMPS: bool = true;

pub(super) fn stamp_reads<S: AsFd>(socket: &S) -> io::Result<()> {
    // `made` is what the kernel stamps, `told` what it returns with each read.
    let made = TimestampingFlag::SOF_TIMESTAMPING_RX_SOFTWARE
        | TimestampingFlag::SOF_TIMESTAMPING_RX_HARDWARE;
    let told = TimestampingFlag::SOF_TIMESTAMPING_SOFTWARE
        | TimestampingFlag::SOF_TIMESTAMPING_RAW_HARDWARE;
    Ok(setsockopt(socket, Timestamping, &(made | told))?)
}

/// `waits`: a read of a blocking socket waits for bytes.
pub(super) fn read<S: AsFd>(
    socket: &S,
    buf: &mut [u8],
    waits: bool,
) -> io::Result<(usize, Option<Arrival>)> {
    let mut control = Control([0; 128]);
    let socket = socket.as_fd().as_raw_fd();
    let slices = &mut [IoSliceMut::new(buf)];
    let flags = if waits { MsgFlags::empty() } else { MsgFlags::MSG_DONTWAIT };
    let read = recvmsg::<()>(socket, slices, Some(&mut control.0), flags)?;
    // If not all fit into `control`, this fails, and the read has no time.
    let arrived = read.cmsgs().ok().and_then(|mut all| all.find_map(arrived));
    Ok((read.bytes, arrived))
}

fn arrived(message: ControlMessageOwned) -> Option<Arrival> {
    let ControlMessageOwned::ScmTimestampsns(stamps) = message else { return None };
    // Zero means that the kernel gave no time.
    let time = |stamp: TimeSpec| Some(Duration::from(stamp)).filter(|time| !time.is_zero());
    Some(Arrival { software: time(stamps.system)?, hardware: time(stamps.hw_raw) })
}
