//! `cargo xtask bench`: one table of what the data plane costs, beside what it should; with
//! `--kubernetes` one of what a cluster with a thousand Services does.

use crate::{
    build, build_ebpf, command,
    envtest::{self, Set},
    error::Error,
    workspace,
};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Three agents, a real API server and a thousand Services instead.
    #[arg(long)]
    kubernetes: bool,
}

pub(crate) fn run(Args { kubernetes }: Args) -> Result<(), Error> {
    build::run(build::Args {})?;
    let run = ["run", "--release", "--package", "tests", "--bin", "bench"];
    let mut bench = command::cargo(None);
    bench.args(run).env("XVIP_AGENT", workspace::agent());
    if kubernetes {
        bench.env(envtest::ASSETS, envtest::ensure(Set::Light)?);
        bench.args(["--", "kubernetes"]);
    } else {
        build_ebpf::bench_programs()?;
    }
    command::run(&mut bench)
}
