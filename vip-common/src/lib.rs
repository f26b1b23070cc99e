//! What the kernel programs and the agent share: the layout of the maps, the parsing of
//! frames, and the decision what a frame gets in return.
//!
//! No standard library, no allocation, no clock: time, tables and frames come in through the
//! traits [`packet::Packet`] and [`tables::Tables`], which the kernel programs implement over
//! their context and maps, and tests, fuzzers and `trace` over slices and plain collections.
//!
//! Frames are read as *words*: `u16` values that hold two bytes in the order of the wire. Every
//! field of ARP and Neighbour Discovery lies at an even offset, and the verifier takes aligned
//! 16-bit accesses everywhere.
#![no_std]

#[cfg(test)]
extern crate std;

pub mod abi;
pub mod arp;
pub mod checksum;
pub mod counter;
pub mod egress;
pub mod ethernet;
pub mod extension;
pub mod ingress;
pub mod nd;
pub mod packet;
pub mod shape;
pub mod shortcut;
pub mod slice;
pub mod standing;
pub mod tables;
pub mod trace;
pub mod work;
