//! Where commands are run.

use std::{env, process::Command};

use crate::{cluster::Cluster, kubernetes::User, lan::Lan, netns::Peer};

use super::Tools;

/// Where a page says that a command is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Where a kubeconfig is; without a cluster on the host itself.
    Anywhere,
    /// On the node that is spoken of.
    Node,
    /// On a node that is not.
    OtherNode,
    /// On a client of the LAN.
    Client,
}

/// What the places of a test are.
pub trait Places {
    /// `sh`, there.
    fn shell(&self, place: Place) -> Command;
}

/// The places of a cluster.
#[derive(Debug)]
pub struct OfCluster<'a> {
    /// It.
    pub cluster: &'a Cluster,
    /// What there is to run.
    pub tools: &'a Tools,
    /// The node that is spoken of.
    pub node: usize,
}

/// The places of a LAN, without a cluster.
pub struct OfLan<'a> {
    /// It.
    pub lan: &'a Lan,
    /// What there is to run.
    pub tools: &'a Tools,
}

impl Places for OfCluster<'_> {
    fn shell(&self, place: Place) -> Command {
        let (nodes, control) = (&self.cluster.nodes, &self.cluster.control);
        let mut shell = shell(
            self.tools,
            match place {
                Place::Anywhere => &control.host,
                Place::Node => &nodes[self.node].peer,
                Place::OtherNode => &nodes[(self.node + 1) % nodes.len()].peer,
                Place::Client => &self.cluster.client,
            },
        );
        if place == Place::Anywhere {
            let own = |name: &str| control.directory().join(name);
            shell
                .env("KUBECONFIG", control.kubeconfig(User::Admin))
                .env("KUBECACHEDIR", own("kubectl"))
                .env("HELM_CACHE_HOME", own("helm-cache"))
                .env("HELM_CONFIG_HOME", own("helm-config"))
                .env("HELM_DATA_HOME", own("helm-data"));
        }
        shell
    }
}

impl Places for OfLan<'_> {
    fn shell(&self, place: Place) -> Command {
        shell(
            self.tools,
            match place {
                Place::Client => &self.lan.client,
                _ => &self.lan.node,
            },
        )
    }
}

/// A shell inside, which goes when this process does.
fn shell(tools: &Tools, host: &Peer) -> Command {
    let mut command = host.command("setpriv");
    command.args(["--pdeathsig=KILL", "sh"]);
    command.env("PATH", tools.path());
    // They are the test bed's, and the agent takes every name that begins so for a setting.
    for (name, _) in env::vars_os() {
        if name.to_string_lossy().starts_with("XVIP_") {
            command.env_remove(name);
        }
    }
    command
}
