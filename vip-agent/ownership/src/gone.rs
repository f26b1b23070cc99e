//! Leases of Nodes that are gone. Whoever holds bucket 0 removes them.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use super::{
    lease::{Lease, NodeName, ResourceVersion},
    time::BootTime,
};

/// Since when Leases are without a Node, by this process's own observation: one that begins anew
/// begins to count anew.
#[derive(Clone, Debug, Default)]
pub struct Gone {
    since: BTreeMap<NodeName, (ResourceVersion, BootTime)>,
}

impl Gone {
    /// A Lease stays for so long, unchanged, after its Node went.
    pub const AFTER: Duration = Duration::from_secs(3600);

    /// The Leases to be deleted, each in the state (uid and resourceVersion) in which it is given.
    /// `nodes` are all Nodes by a complete list. Without a single one nothing is deleted: this
    /// node is one.
    pub fn expired<'l>(
        &mut self,
        leases: impl IntoIterator<Item = &'l Lease>,
        nodes: &BTreeSet<NodeName>,
        now: BootTime,
    ) -> Vec<&'l Lease> {
        let earlier = std::mem::take(&mut self.since);
        let mut expired = Vec::new();
        for lease in leases {
            if nodes.is_empty() || nodes.contains(&lease.node) {
                continue;
            }
            let since = match earlier.get(&lease.node) {
                Some((version, since)) if *version == lease.resource_version => *since,
                _ => now,
            };
            if now >= since + Self::AFTER {
                expired.push(lease);
            }
            let seen = (lease.resource_version.clone(), since);
            self.since.insert(lease.node.clone(), seen);
        }
        expired
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Serves;

    const HOUR: u64 = 3600;

    fn lease(node: &str, version: &str) -> Lease {
        Lease {
            node: node.into(),
            uid: "u".into(),
            resource_version: version.into(),
            holder: None,
            revoked: None,
            claims_read: BTreeSet::new(),
            serves: Serves::default(),
            duration: Duration::from_secs(5),
        }
    }

    fn names(gone: &mut Gone, leases: &[Lease], nodes: &[&str], seconds: u64) -> Vec<String> {
        let nodes = nodes.iter().map(|node| (*node).into()).collect();
        let now = BootTime(seconds * 1_000_000_000);
        let expired = gone.expired(leases, &nodes, now);
        expired.iter().map(|lease| lease.node.to_string()).collect()
    }

    #[test]
    fn a_lease_is_removed_an_hour_after_its_node_was_first_missed() {
        let mut gone = Gone::default();
        let leases = [lease("a", "1"), lease("b", "1")];
        let none: [String; 0] = [];
        assert_eq!(names(&mut gone, &leases, &["a", "b"], 0), none);
        assert_eq!(names(&mut gone, &leases, &["a"], 100), none);
        assert_eq!(names(&mut gone, &leases, &["a"], 99 + HOUR), none);
        assert_eq!(names(&mut gone, &leases, &["a"], 100 + HOUR), ["b"]);
    }

    #[test]
    fn a_lease_that_is_written_or_whose_node_is_back_counts_anew() {
        let none: [String; 0] = [];
        for (nodes, version) in [(&["a", "b"][..], "1"), (&["a"], "2")] {
            let mut gone = Gone::default();
            assert_eq!(names(&mut gone, &[lease("b", "1")], &["a"], 0), none);
            let leases = [lease("b", version)];
            assert_eq!(names(&mut gone, &leases, nodes, HOUR), none);
            assert_eq!(names(&mut gone, &leases, &["a"], HOUR + 1), none);
        }
    }

    #[test]
    fn an_empty_list_of_nodes_removes_nothing() {
        let mut gone = Gone::default();
        let leases = [lease("b", "1")];
        let none: [String; 0] = [];
        assert_eq!(names(&mut gone, &leases, &["a"], 0), none);
        assert_eq!(names(&mut gone, &leases, &[], 2 * HOUR), none);
        assert_eq!(names(&mut gone, &leases, &["a"], 2 * HOUR), none);
    }
}
