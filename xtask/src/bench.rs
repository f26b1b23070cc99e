//! `cargo xtask bench`: one table of what the data plane costs, beside what it should.

use crate::{build, build_ebpf, command, error::Error, workspace};

#[derive(clap::Args)]
pub(crate) struct Args {}

pub(crate) fn run(Args {}: Args) -> Result<(), Error> {
    build::run(build::Args {})?;
    build_ebpf::bench_programs()?;
    let run = ["run", "--release", "--package", "tests", "--bin", "bench"];
    let mut bench = command::cargo(None);
    bench.args(run).env("XVIP_AGENT", workspace::agent());
    command::run(&mut bench)
}
