//! What the kernel programs and the agent share: the layout of the maps, the parsing of
//! frames, and the decision what a frame gets in return.
//!
//! No standard library, no allocation, no clock: time, tables and frames come in through the
//! traits [`packet::Packet`] and [`tables::Tables`], which the kernel programs implement over
//! their context and maps, and tests, fuzzers and `trace` over slices.
#![no_std]

#[cfg(test)]
extern crate std;

pub mod abi;
pub mod counter;
