//! `vip-agent status`: the document of a running agent, or of the whole cluster.

use jiff::Timestamp;

use super::{
    agent::{AgentAddress, AskError},
    caller::{CallError, Caller},
    output::{OutputError, OutputFormat},
};
use crate::{io::kube::survey::Scope, status::Status};

/// What `vip-agent status` takes.
#[derive(Clone, Debug, clap::Args)]
pub struct StatusArgs {
    #[command(flatten)]
    pub agent: AgentAddress,
    /// All nodes and VIPs of the cluster, by its objects
    #[arg(long)]
    pub cluster: bool,
    #[command(flatten)]
    pub caller: Caller,
    /// Form of the output
    #[arg(short, long, value_enum, default_value_t)]
    pub output: OutputFormat,
}

/// The status cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum StatusError {
    /// The agent gives none.
    #[error(transparent)]
    Ask(#[from] AskError),
    /// The cluster is not seen.
    #[error(transparent)]
    Call(#[from] CallError),
    /// It cannot be printed.
    #[error(transparent)]
    Output(#[from] OutputError),
}

/// Asks the agent; the text to print.
pub async fn run(args: &StatusArgs) -> Result<String, StatusError> {
    if args.cluster {
        return of_cluster(&args.caller, args.output).await;
    }
    let status = fetch(&args.agent).await?;
    let now = Timestamp::now();
    Ok(args.output.print(&status, |status| status.table(now))?)
}

/// The document of the cluster, to print.
pub async fn of_cluster(caller: &Caller, output: OutputFormat) -> Result<String, StatusError> {
    let survey = caller.survey(Scope::Holders).await?;
    let now = Timestamp::now();
    Ok(output.print(&survey.status(now), |status| status.table(now))?)
}

/// The document of an agent.
pub async fn fetch(agent: &AgentAddress) -> Result<Status, AskError> {
    agent.document("/v1/status").await
}
