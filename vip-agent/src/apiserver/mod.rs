//! The API servers behind a VIP of their own (`ownership.md`, rule 12): which of them is asked,
//! whether the one of this node is ready, and whether there are others. No clock and no I/O.

mod census;
mod health;
mod servers;

pub use self::{
    census::{Census, Count},
    health::{Answer, Health},
    servers::Servers,
};
