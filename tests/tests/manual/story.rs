//! A cluster, and somebody who reads.

use std::{collections::BTreeSet, thread::sleep, time::Duration};

use tests::{
    cluster::Cluster,
    manual::{OfCluster, Reader, Tools},
    observer::{Observer, PAUSE},
};

/// A cluster and somebody who reads.
pub(super) struct Story<'a> {
    pub(super) cluster: &'a mut Cluster,
    pub(super) tools: &'a Tools,
    pub(super) reader: Reader,
    /// The node that the pages speak of.
    pub(super) node: usize,
}

impl Story<'_> {
    pub(super) fn follow(&mut self, page: &str, section: &str) {
        self.follow_without(page, section, &[]);
    }

    pub(super) fn follow_without(&mut self, page: &str, section: &str, without: &[&str]) {
        let places = OfCluster {
            cluster: self.cluster,
            tools: self.tools,
            node: self.node,
        };
        self.reader.follow_without(&places, page, section, without);
    }

    pub(super) fn follow_only(&mut self, page: &str, section: &str, only: &[&str]) {
        let places = OfCluster {
            cluster: self.cluster,
            tools: self.tools,
            node: self.node,
        };
        self.reader.follow_only(&places, page, section, only);
    }

    pub(super) fn kubectl(&self, arguments: &[&str]) -> String {
        self.cluster.control.kubectl(arguments, "").unwrap()
    }

    /// The pages speak of the node that holds a VIP from now on.
    pub(super) fn go_to_holder(&mut self, vip: &str) -> usize {
        self.node = self.cluster.wait_holder(vip).unwrap();
        self.node
    }

    pub(super) fn node_name(&self, index: usize) -> String {
        self.cluster.nodes[index].seat.name()
    }

    /// The only one who answers for a VIP within half a second is the node that its object names.
    pub(super) fn is_answered_by_its_holder(&self, vip: &str) {
        let holder = self.cluster.wait_holder(vip).unwrap();
        let observer = Observer::ask(&self.cluster.client, &[vip], PAUSE).unwrap();
        sleep(Duration::from_millis(500));
        let observed = observer.finish().unwrap();
        let mac = self.cluster.nodes[holder].seat.mac();
        let answerers = observed.timeline(vip).answerers();
        assert_eq!(answerers, BTreeSet::from([mac]), "{vip}");
    }
}

impl Story<'_> {
    /// Waits until these are the addresses of a Node.
    pub(super) fn reports(&self, node: &str, expected: &[String]) {
        let addresses = || {
            let object = self.cluster.json(&["node", node])?;
            let all = object["status"]["addresses"].as_array().cloned();
            let all = all.unwrap_or_default().into_iter();
            let internal = all.filter(|address| address["type"] == "InternalIP");
            Ok(internal.map(|it| it["address"].clone()).collect::<Vec<_>>())
        };
        let what = format!("{node} to report {expected:?}");
        let is_so = || Ok(addresses()? == expected);
        let shown = || format!("{:?}", addresses());
        self.cluster.wait(&what, is_so, shown).unwrap();
    }

    /// Waits until a Service says that something about its address is wrong.
    pub(super) fn is_warned(&self, service: &str) {
        let is_so = || {
            let service = self.cluster.json(&["service", service])?;
            let conditions = service["status"]["conditions"].as_array().cloned();
            let mut conditions = conditions.unwrap_or_default().into_iter();
            Ok(conditions.any(|it| it["type"] == "xvip.io/Warning" && it["status"] == "True"))
        };
        let shown = || self.kubectl(&["describe", "service", service]);
        self.cluster.wait("the warning", is_so, shown).unwrap();
    }
}
