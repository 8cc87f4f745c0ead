//! What is queued, in what order it leaves, and what is refused.
mod built;
mod chunks;
mod max_frame_sent;
mod outbox;
#[cfg(all(feature = "tokio", not(miri)))]
mod outbox_sockets;
mod overtaking;
mod prepared;
mod queue;
