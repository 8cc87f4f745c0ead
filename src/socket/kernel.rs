//! Linux: SO_TIMESTAMPING, reads that bring a control message along, and how busy polling is done.
use crate::proto::message::Arrival;
use nix::{
    errno::Errno,
    libc, setsockopt_impl,
    sys::{
        socket::{
            ControlMessageOwned, MsgFlags, TimestampingFlag, recvmsg, setsockopt,
            sockopt::{SetBool, SetUsize, Timestamping},
        },
        time::TimeSpec,
    },
};
use std::{
    io::{self, IoSliceMut},
    os::fd::{AsFd, AsRawFd},
    time::Duration,
};

/// Room for the control message, 64 bytes, and others that the caller may have asked the socket for. Aligned as
/// its header, to which nix makes a reference.
#[repr(align(16))]
struct Control([u8; 128]);

#[derive(Clone)]
struct PreferBusyPoll;
setsockopt_impl!(PreferBusyPoll, libc::SOL_SOCKET, libc::SO_PREFER_BUSY_POLL, bool, SetBool);

#[derive(Clone)]
struct BusyPollBudget;
setsockopt_impl!(BusyPollBudget, libc::SOL_SOCKET, libc::SO_BUSY_POLL_BUDGET, usize, SetUsize);

pub(super) fn prefer_busy_poll<S: AsFd>(socket: &S) -> io::Result<()> {
    where_known(setsockopt(socket, PreferBusyPoll, &true))
}

pub(super) fn busy_poll_budget<S: AsFd>(socket: &S, packets: u16) -> io::Result<()> {
    where_known(setsockopt(socket, BusyPollBudget, &packets.into()))
}

/// A kernel older than the option goes without.
fn where_known(set: nix::Result<()>) -> io::Result<()> {
    match set {
        Err(Errno::ENOPROTOOPT) => Ok(()),
        set => Ok(set?),
    }
}

/// Has reads stamped. Says whether they will be.
pub(super) fn stamp_reads<S: AsFd>(socket: &S) -> io::Result<bool> {
    let made = TimestampingFlag::SOF_TIMESTAMPING_RX_SOFTWARE
        | TimestampingFlag::SOF_TIMESTAMPING_RX_HARDWARE;
    let told = TimestampingFlag::SOF_TIMESTAMPING_SOFTWARE
        | TimestampingFlag::SOF_TIMESTAMPING_RAW_HARDWARE;
    setsockopt(socket, Timestamping, &(made | told))?;
    Ok(true)
}

/// Reads once.
pub(super) fn read<S: AsFd>(socket: &S, buf: &mut [u8]) -> io::Result<(usize, Option<Arrival>)> {
    let mut control = Control([0; 128]);
    let socket = socket.as_fd().as_raw_fd();
    let slices = &mut [IoSliceMut::new(buf)];
    let read = recvmsg::<()>(socket, slices, Some(&mut control.0), MsgFlags::empty())?;
    let arrived = read.cmsgs().ok().and_then(|mut all| all.find_map(arrived));
    Ok((read.bytes, arrived))
}

fn arrived(message: ControlMessageOwned) -> Option<Arrival> {
    let ControlMessageOwned::ScmTimestampsns(stamps) = message else { return None };
    // Zero is none.
    let time = |stamp: TimeSpec| Some(Duration::from(stamp)).filter(|time| !time.is_zero());
    Some(Arrival { software: time(stamps.system)?, hardware: time(stamps.hw_raw) })
}
