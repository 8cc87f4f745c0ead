//! What is said to many subscribers, while they come, go and stop reading.
mod over_sockets;
