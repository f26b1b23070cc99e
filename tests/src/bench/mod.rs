//! What the data plane costs: every ratio from interleaved slices of one run, so that a busy
//! neighbour slows both sides of it.
//!
//! *Path*: a veth pair of two namespaces for each answerer. Live frames of BPF_PROG_TEST_RUN
//! enter at the client's end by a program that rewrites the whole frame, the answerer sits at the
//! other end, and an XDP program at the client's end counts the answers. All of it runs on the
//! generator's CPU, except the userspace responder, which may have one of its own.

mod answers;
mod bed;
mod cluster;
mod error;
mod frames;
mod passing;
mod process;
mod programs;
mod responder;
mod scale;
mod table;

use std::path::Path;

pub use error::Error;
use table::Table;

/// A thousand Services on a real API server, as a table.
pub fn run_kubernetes() -> Result<(), Error> {
    let mut table = Table::new();
    cluster::measure(&mut table)?;
    print!("{table}");
    Ok(())
}

/// Runs everything that needs no API server and prints the table.
pub fn run() -> Result<(), Error> {
    let objects = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/bpf");
    let mut table = Table::new();
    // Before this thread gives up its capabilities: the agent gets its three from setpriv.
    scale::measure(&mut table)?;
    let mut bed = bed::Bed::new(&objects)?;
    for part in [answers::measure, passing::measure] {
        part(&mut bed, &mut table)?;
    }
    print!("{table}");
    Ok(())
}
