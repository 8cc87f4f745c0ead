//! permessage-deflate (RFC 7692).
mod limits;
mod negotiation;
mod received;
mod sent;
