//! `kubectl xvip`: what the cluster's objects tell, with the caller's credentials.

use std::net::IpAddr;

use clap::{Parser, Subcommand};

use super::{caller::Caller, explain, output::OutputFormat, status};

/// Which node answers for which VIP, and why
#[derive(Parser, Clone, Debug)]
#[command(name = "kubectl xvip", bin_name = "kubectl xvip", version)]
pub struct PluginArgs {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Clone, Debug)]
enum Command {
    /// All nodes and VIPs
    Status {
        #[command(flatten)]
        caller: Caller,
        /// Form of the output
        #[arg(short, long, value_enum, default_value_t)]
        output: OutputFormat,
    },
    /// Which node is to answer for a VIP, which could, and what contradicts that
    Explain {
        /// The VIP
        #[arg(value_name = "VIP")]
        vip: IpAddr,
        #[command(flatten)]
        caller: Caller,
        /// Form of the output
        #[arg(short, long, value_enum, default_value_t)]
        output: OutputFormat,
    },
}

/// Nothing can be told.
#[derive(Debug, thiserror::Error)]
pub enum PluginError {
    /// No status.
    #[error(transparent)]
    Status(#[from] status::StatusError),
    /// No explanation.
    #[error(transparent)]
    Explain(#[from] explain::ExplainError),
}

/// The text to print.
pub async fn run(args: &PluginArgs) -> Result<String, PluginError> {
    Ok(match &args.command {
        Command::Status { caller, output } => status::of_cluster(caller, *output).await?,
        Command::Explain {
            vip,
            caller,
            output,
        } => explain::of_cluster(*vip, caller, *output).await?,
    })
}
