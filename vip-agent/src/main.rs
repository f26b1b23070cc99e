//! The command line: `vip-agent run`, `check`, `status`, `doctor`, `trace`, `cleanup`, `completion`.

use std::{fmt::Display, process::ExitCode};

use clap::{CommandFactory, Parser, Subcommand};
use clap_complete::Shell;
use tokio::runtime::{Builder, Runtime};
use vip_agent::cli::{check, cleanup, doctor, flags::Flags, run, status, trace};

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
    /// Find what keeps this host from serving VIPs, with a fix for each finding
    Doctor(doctor::DoctorArgs),
    /// Show every decision of the kernel programs over a VIP, with its reason
    Trace(trace::TraceArgs),
    /// Remove all that the agent created on this host, and nothing else
    Cleanup(cleanup::CleanupArgs),
    /// Print the completion script of a shell
    Completion {
        /// The shell
        shell: Shell,
    },
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => execute(arguments.command, &runtime),
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
        Command::Trace(arguments) => match runtime.block_on(trace::run(&arguments)) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => fail(1, error),
        },
        Command::Cleanup(arguments) => {
            let removed = runtime.block_on(cleanup::run(&arguments));
            print_or_fail(removed.map(|lines| {
                match lines.as_slice() {
                    [] => "nothing to remove\n".into(),
                    lines => lines
                        .iter()
                        .map(|line| format!("removed {line}\n"))
                        .collect(),
                }
            }))
        }
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
