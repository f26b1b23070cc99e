//! The production lease machine under a seeded simulation: nodes with clocks of their own, a
//! register that is slow, lossy and cut off, a LAN that is cut, agents that are killed, stopped
//! and restarted, nodes that reboot, and people who edit Leases and delete objects.
//!
//! Always: two nodes that hear each other do not both answer for a VIP, and two confirmed nodes
//! never do. Sometimes: fail-over, hand-over, revocation ([`Tally`]). Finally: once everything is
//! healed, every VIP is answered by exactly one.

mod chaos;
mod check;
mod dice;
mod kernel;
mod lan;
mod mutation;
mod node;
mod register;
mod saboteur;
mod world;

use self::world::World;
pub use self::{check::Violation, mutation::Mutation, register::Tally};

/// Runs a seed to its end.
pub fn run(seed: u64, mutation: Option<Mutation>) -> Result<Tally, Violation> {
    World::new(seed, mutation, mutation, false).run()
}

/// Runs a seed in the weather of a mutant, with nothing broken.
pub fn run_sound(seed: u64, weather: Mutation) -> Result<Tally, Violation> {
    World::new(seed, Some(weather), None, false).run()
}

/// Runs a seed, telling everything that happens.
pub fn trace(seed: u64, mutation: Option<Mutation>) -> Result<Tally, Violation> {
    World::new(seed, mutation, mutation, true).run()
}
