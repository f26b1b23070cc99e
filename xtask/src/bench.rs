//! `cargo xtask bench`: one table of what the data plane costs, beside what it should.

use crate::{build_ebpf, command, error::Error};

#[derive(clap::Args)]
pub(crate) struct Args {}

pub(crate) fn run(Args {}: Args) -> Result<(), Error> {
    build_ebpf::run(build_ebpf::Args {})?;
    build_ebpf::bench_programs()?;
    command::run(command::cargo(None).args([
        "run",
        "--release",
        "--package",
        "tests",
        "--bin",
        "bench",
    ]))
}
