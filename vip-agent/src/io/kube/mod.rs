//! The API server: the register of the lease machine, what is watched, and what is written.

pub mod apiserver;
pub mod claims;
pub mod connector;
mod desired;
mod desk;
pub mod follow;
pub mod installed;
pub mod keepalive;
pub mod lease;
pub mod notice;
mod outbox;
pub mod register;
pub mod servers;
pub mod survey;
pub mod version;
pub mod watch;
pub mod write;
pub mod writer;
