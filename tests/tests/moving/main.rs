//! A cluster of real nodes moves from the real kube-vip, and from the real MetalLB, to xvip: the
//! commands of the pages are run as they stand there, while a client goes on asking and fetching.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "clippy sees only functions with #[test] as tests"
)]

mod kube_vip;
mod metallb;

use std::time::Duration;

use tests::{
    cluster::{Cluster, IMAGE},
    manual::{OfCluster, Reader, Rule, Tools},
};

/// Between two questions. Each has a sender of its own, and a kernel that answers keeps a neighbour
/// for each: a thousand fill its table (`gc_thresh3`).
const PAUSE: Duration = Duration::from_millis(50);

/// Somebody who moves a cluster by a page.
struct Mover<'a> {
    cluster: &'a Cluster,
    page: &'static str,
    tools: Tools,
    reader: Reader,
}

impl<'a> Mover<'a> {
    fn new(cluster: &'a Cluster, page: &'static str, rules: Vec<Rule>, files: &[&str]) -> Self {
        let tools = Tools::gather().unwrap();
        let mut reader = Reader::new(rules);
        for file in files {
            let here = tools.folder().join(file).display().to_string();
            reader.name(file, &here);
        }
        reader.name("IMAGE", IMAGE);
        // Who edits takes the key and its one item out.
        reader.name(
            "kubectl edit",
            "KUBE_EDITOR='sed -i /adopt:/,+1d' kubectl edit",
        );
        Self {
            cluster,
            page,
            tools,
            reader,
        }
    }

    fn follow(&mut self, section: &str) {
        self.follow_without(section, &[]);
    }

    fn follow_without(&mut self, section: &str, without: &[&str]) {
        let places = OfCluster {
            cluster: self.cluster,
            tools: &self.tools,
            node: 0,
        };
        let reader = &mut self.reader;
        reader.follow_without(&places, self.page, section, without);
    }

    fn follow_only(&mut self, section: &str, only: &[&str]) {
        let places = OfCluster {
            cluster: self.cluster,
            tools: &self.tools,
            node: 0,
        };
        self.reader.follow_only(&places, self.page, section, only);
    }
}

fn kubectl(cluster: &Cluster, arguments: &[&str]) -> String {
    cluster.control.kubectl(arguments, "").unwrap()
}

/// What the agents are configured with.
fn config(cluster: &Cluster) -> String {
    let path = "jsonpath={.data.config\\.yaml}";
    kubectl(
        cluster,
        &["get", "cm", "-n", "xvip-system", "xvip-agent", "-o", path],
    )
}

/// Waits until the agents that a restart makes are there.
fn wait_restarted(cluster: &Cluster) {
    cluster.wait_agents().unwrap();
    assert!(!config(cluster).contains("adopt"), "{}", config(cluster));
}
