//! The production machines of `vip-ownership` under a seeded simulation: nodes with clocks of
//! their own, a register that is slow, lossy and cut off, a LAN that is cut, agents that are
//! killed, stopped and restarted, nodes that reboot, and people who edit Leases and delete objects.
//!
//! Always: two nodes that hear each other do not both answer for a VIP, and two confirmed nodes
//! never do. Sometimes: fail-over, hand-over, revocation ([`Tally`]). Finally: once everything is
//! healed, every VIP is answered by exactly one.
//!
//! [`run`] makes a walk of a seed, [`Schedule::run`] follows a sequence of events that was written
//! down, and [`search`] looks for such sequences.

mod agent;
mod chaos;
mod check;
pub mod checker;
mod dice;
mod kept;
mod kernel;
mod lan;
mod mutation;
mod node;
mod register;
mod saboteur;
mod schedule;
pub mod search;
mod world;

use self::world::World;
pub use self::{
    agent::Kind,
    check::Violation,
    kept::KEPT,
    mutation::Mutation,
    register::Tally,
    schedule::{DICE, Schedule, Step, Wire, run_steps},
};

/// Runs a seed to its end.
pub fn run(kind: Kind, seed: u64) -> Result<Tally, Violation> {
    World::new(kind, seed, None, false).walk()
}

/// Runs a seed, telling everything that happens.
pub fn trace(kind: Kind, seed: u64) -> Result<Tally, Violation> {
    World::new(kind, seed, None, true).walk()
}
