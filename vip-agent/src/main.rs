//! The command line: `vip-agent run`, `check`, `status`, `explain`, `doctor`, `trace`, `cleanup`, `manifest`,
//! `completion`.

use std::{fmt::Display, path::Path, process::ExitCode};

use clap::{CommandFactory, Parser, Subcommand};
use clap_complete::Shell;
use tokio::runtime::{Builder, Runtime};
use vip_agent::cli::{
    check, cleanup, convert, doctor, explain, flags::Flags, manifest, plugin, run, status, sysdump,
    trace,
};

/// Under this name the same program is a plugin of kubectl: `kubectl xvip status`.
const PLUGIN: &str = "kubectl-xvip";

/// Virtual IPs of both families, answered in the kernel.
#[derive(Parser)]
#[command(version, about, max_term_width = 100)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Serve the VIPs until SIGTERM
    Run(Flags),
    /// Print what a configuration means, with every error at once
    Check(check::CheckArgs),
    /// Show what a running agent serves
    Status(status::StatusArgs),
    /// Say why the node of a running agent answers for a VIP, or does not
    Explain(explain::ExplainArgs),
    /// Find what keeps this host from serving VIPs, with a fix for each finding
    Doctor(doctor::DoctorArgs),
    /// Show every decision of the kernel programs over a VIP, with its reason
    Trace(trace::TraceArgs),
    /// Collect all that a report about this node needs into one archive, without secrets
    Sysdump(sysdump::SysdumpArgs),
    /// Remove all that the agent created on this host, and nothing else
    Cleanup(cleanup::CleanupArgs),
    /// Print what installs xvip in a cluster: `vip-agent manifest crds | kubectl apply -f -`
    Manifest(manifest::ManifestArgs),
    /// Turn the settings of kube-vip or MetalLB into ours, and say what is refused and why
    Convert(convert::ConvertArgs),
    /// Print the completion script of a shell
    Completion {
        /// The shell
        shell: Shell,
    },
}

fn main() -> ExitCode {
    let is_plugin = std::env::args_os()
        .next()
        .is_some_and(|name| Path::new(&name).file_stem() == Some(PLUGIN.as_ref()));
    match Builder::new_current_thread().enable_all().build() {
        Ok(runtime) if is_plugin => {
            print_or_fail(runtime.block_on(plugin::run(&plugin::PluginArgs::parse())))
        }
        Ok(runtime) => execute(Arguments::parse().command, &runtime),
        Err(error) => fail(1, error),
    }
}

fn execute(command: Command, runtime: &Runtime) -> ExitCode {
    match command {
        Command::Run(flags) => match runtime.block_on(run::run(flags)) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => fail(error.exit_code(), error),
        },
        Command::Check(arguments) => report(runtime.block_on(check::run(&arguments))),
        Command::Doctor(arguments) => report(runtime.block_on(doctor::run(&arguments))),
        Command::Status(arguments) => print_or_fail(runtime.block_on(status::run(&arguments))),
        Command::Explain(arguments) => print_or_fail(runtime.block_on(explain::run(&arguments))),
        Command::Trace(arguments) => match runtime.block_on(trace::run(&arguments)) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => fail(1, error),
        },
        Command::Cleanup(arguments) => {
            let removed = runtime.block_on(cleanup::run(&arguments));
            let stays = arguments.stay && removed.is_ok();
            let code = print_or_fail(removed.map(|lines| {
                match lines.as_slice() {
                    [] => "nothing to remove\n".into(),
                    lines => lines
                        .iter()
                        .map(|line| format!("removed {line}\n"))
                        .collect(),
                }
            }));
            if stays {
                runtime.block_on(cleanup::stay());
            }
            code
        }
        Command::Sysdump(arguments) => print_or_fail(runtime.block_on(sysdump::run(&arguments))),
        Command::Manifest(arguments) => print_or_fail(manifest::run(&arguments)),
        Command::Convert(arguments) => match convert::run(&arguments) {
            Ok(converted) => {
                print!("{}", converted.text);
                eprint!("{}", converted.remarks);
                ExitCode::from(converted.code)
            }
            Err(error) => fail(1, error),
        },
        Command::Completion { shell } => {
            let mut command = Arguments::command();
            clap_complete::generate(shell, &mut command, "vip-agent", &mut std::io::stdout());
            ExitCode::SUCCESS
        }
    }
}

/// Prints a document that carries its exit code.
fn report(result: Result<(String, u8), impl Display>) -> ExitCode {
    match result {
        Ok((text, code)) => {
            print!("{text}");
            ExitCode::from(code)
        }
        Err(error) => fail(2, error),
    }
}

fn print_or_fail(result: Result<String, impl Display>) -> ExitCode {
    match result {
        Ok(text) => {
            print!("{text}");
            ExitCode::SUCCESS
        }
        Err(error) => fail(1, error),
    }
}

fn fail(code: u8, error: impl Display) -> ExitCode {
    eprintln!("vip-agent: {error}");
    ExitCode::from(code)
}
