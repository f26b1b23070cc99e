//! `cargo xtask VERB`: what a developer does with this repository.
//!
//! A new verb is a file with `Args` and `run`, its `mod` line, and its line in the list below.

mod arch;
mod archive;
mod bench;
mod build;
mod build_ebpf;
mod builtin_calls;
mod cluster;
mod command;
mod complaints;
mod demo;
mod dist;
mod envtest;
mod error;
mod go_program;
mod golden;
mod helm;
mod image;
mod kube_vip;
mod lanes;
mod load_object;
mod manifests;
mod metallb;
mod pictures;
mod platform;
mod setup;
mod tally;
mod test;
mod test_kernels;
mod workspace;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use error::Error;

#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

macro_rules! verbs {
    ($($(#[$meta:meta])* $variant:ident => $module:ident;)*) => {
        #[derive(Subcommand)]
        enum Verb { $($(#[$meta])* $variant($module::Args),)* }

        fn run(verb: Verb) -> Result<(), Error> {
            match verb { $(Verb::$variant(args) => $module::run(args),)* }
        }
    };
}

verbs! {
    /// Build the one file to ship: target/release/vip-agent, eBPF object inside
    Build => build;
    /// The agent as a container image of one static file, as an OCI archive
    Image => image;
    /// All that a release consists of, in one folder: binaries, image, chart, manifest, checksums
    Dist => dist;
    /// Build target/bpf/xvip.o, look for calls of memory builtins, and load it with three capabilities
    BuildEbpf => build_ebpf;
    /// Everything: build, lints, architecture, unit and root tests, kernels in VMs
    Test => test;
    /// Show it: VIPs answered, agent killed, rival defended against, in network namespaces
    Demo => demo;
    /// Object, golden frames and agent on Debian's kernels in VMs, with three capabilities
    TestKernels => test_kernels;
    /// Draw docs/pictures anew: terminal, page and graphs of real agents
    Pictures => pictures;
    /// Answers a second beside a reflector, the kernel and a userspace responder; cost for others
    Bench => bench;
    /// Compare the captures of every rule with what the programs do; --bless rewrites them
    Golden => golden;
    /// Compare the generated parts of the chart and the flat manifest; --bless rewrites them
    Manifests => manifests;
    /// Kubernetes, etcd and Helm for the tests, built from Go modules once; --full for whole clusters
    Envtest => envtest;
    /// Runtime and images for the cluster of real nodes that tests start
    Cluster => cluster;
    /// Refuse imports that break the layering of the crates and modules
    Arch => arch;
    #[command(hide = true)]
    LoadObject => load_object;
}

fn main() -> ExitCode {
    workspace::complete_path();
    match run(Cli::parse().verb) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
