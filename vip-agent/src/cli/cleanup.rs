//! `vip-agent cleanup`: removes all that the agent created on this host, and nothing else.

use std::{io, path::PathBuf};

use tokio::signal::unix::{SignalKind, signal};

use crate::{
    binding::{self, Refusal},
    io::{
        datapath,
        lock::{AgentLock, LockError},
        netlink::{AddressError, Netlink, NetlinkError},
    },
    vip::BoundVip,
};

/// What `vip-agent cleanup` takes.
#[derive(Clone, Debug, clap::Args)]
pub struct CleanupArgs {
    /// Directory of the pins on bpffs
    #[arg(
        long,
        env = "XVIP_PIN_DIR",
        value_name = "DIR",
        default_value = "/sys/fs/bpf/xvip"
    )]
    pub pin_dir: PathBuf,
    /// Stay until SIGTERM when all is removed, as a Pod of a DaemonSet has to
    #[arg(long)]
    pub stay: bool,
}

/// Something stays.
#[derive(Debug, thiserror::Error)]
pub enum CleanupError {
    /// An agent runs: it would make everything anew.
    #[error("{0}; stop it first")]
    Running(#[from] LockError),
    /// The addresses cannot be seen.
    #[error(transparent)]
    Netlink(#[from] NetlinkError),
    /// An address stays.
    #[error(transparent)]
    Address(#[from] AddressError),
    /// An address cannot be removed, so nothing is: without the programs, the kernel would answer.
    #[error("{0} cannot be removed: {1}")]
    Stuck(BoundVip, Refusal),
    /// A pin, link or filter stays.
    #[error("cannot remove what is pinned: {0}")]
    Pins(#[from] io::Error),
}

/// Removes addresses first: while they are there, the programs keep them silent. Returns a line
/// for each thing removed.
pub async fn run(args: &CleanupArgs) -> Result<Vec<String>, CleanupError> {
    let _lock = AgentLock::take()?;
    let (netlink, _changes) = Netlink::connect()?;
    let host = netlink.observe().await?;
    let plan = binding::plan(&[], &host, &[]);
    if let Some(((_, net), refusal)) = plan.stuck().next() {
        return Err(CleanupError::Stuck(net, refusal));
    }
    let changes = plan.changes();
    for result in netlink.bind(&changes).await {
        result?;
    }
    let name = |ifindex| {
        host.links
            .get(&ifindex)
            .map_or("?", |link| link.name.as_str())
    };
    let mut lines: Vec<String> = changes
        .iter()
        .map(|change| format!("address {} on {}", change.net, name(change.ifindex)))
        .collect();
    lines.extend(
        datapath::cleanup(&args.pin_dir)?
            .iter()
            .map(ToString::to_string),
    );
    Ok(lines)
}

/// Until SIGTERM or SIGINT; at once where signals cannot be had.
pub async fn stay() {
    let signals = (
        signal(SignalKind::terminate()),
        signal(SignalKind::interrupt()),
    );
    if let (Ok(mut terminate), Ok(mut interrupt)) = signals {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    }
}
