//! `vip-agent explain VIP`: why the node of a running agent answers for a VIP, or does not.

use std::net::IpAddr;

use jiff::Timestamp;

use super::{
    agent::{AgentAddress, AskError},
    caller::{CallError, Caller},
    output::{OutputError, OutputFormat},
};
use crate::{explain::Explanation, io::kube::survey::Scope};

/// What `vip-agent explain` takes.
#[derive(Clone, Debug, clap::Args)]
pub struct ExplainArgs {
    /// The VIP
    #[arg(value_name = "VIP")]
    pub vip: IpAddr,
    #[command(flatten)]
    pub agent: AgentAddress,
    /// By the objects of the cluster: which node is to answer, and which could
    #[arg(long)]
    pub cluster: bool,
    #[command(flatten)]
    pub caller: Caller,
    /// Form of the output
    #[arg(short, long, value_enum, default_value_t)]
    pub output: OutputFormat,
}

/// There is no explanation.
#[derive(Debug, thiserror::Error)]
pub enum ExplainError {
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
pub async fn run(args: &ExplainArgs) -> Result<String, ExplainError> {
    if args.cluster {
        return of_cluster(args.vip, &args.caller, args.output).await;
    }
    let explanation = fetch(&args.agent, args.vip).await?;
    let now = Timestamp::now();
    Ok(args.output.print(&explanation, |it| it.table(now))?)
}

/// The document of the cluster, to print.
pub async fn of_cluster(
    vip: IpAddr,
    caller: &Caller,
    output: OutputFormat,
) -> Result<String, ExplainError> {
    let survey = caller.survey(Scope::Candidates).await?;
    let now = Timestamp::now();
    Ok(output.print(&survey.explain(vip, now), |it| it.table(now))?)
}

/// The document of an agent.
pub async fn fetch(agent: &AgentAddress, vip: IpAddr) -> Result<Explanation, AskError> {
    agent.document(&format!("/v1/explain?vip={vip}")).await
}
