//! What is queued, in what order it leaves, and what is refused.
mod built;
mod chunks;
mod max_frame_sent;
mod outbox;
mod overtaking;
mod prepared;
mod queue;
