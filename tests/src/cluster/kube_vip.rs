//! kube-vip, whose place xvip takes: the real one, or its state set up by hand where it could not
//! be built.

use serde_json::{Value, json};

use crate::netns::BedError;

use super::{Cluster, RealNode, settings::POD_IMAGE};

const IMAGE: &str = "registry.test/kube-vip:1";
const ARCHIVE: &str = "peers/kube-vip.tar";
/// Name of its DaemonSet and account, as its users have it.
pub const KUBE_VIP: &str = "kube-vip-ds";
/// Of the stand-in: the node that it binds addresses on.
const LEADER: usize = 1;

/// How it comes to be there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KubeVip {
    /// As its DaemonSet.
    Real,
    /// Addresses bound on one node, and in the Service's status.
    ByHand,
}

impl KubeVip {
    /// The real one where its image is there, on all nodes.
    pub fn find(cluster: &Cluster) -> Result<Self, BedError> {
        for node in &cluster.nodes {
            if !node.load_image(ARCHIVE)? {
                println!("kube-vip could not be built here: its state is set up by hand");
                return Ok(Self::ByHand);
            }
        }
        Ok(Self::Real)
    }

    /// Has it serve the addresses of a Service, which asks for them by kube-vip's annotation.
    /// Beside it a cloud provider is named that gives nothing out, and its pools.
    pub fn start(self, cluster: &Cluster, service: &str, vips: &[&str]) -> Result<(), BedError> {
        cluster.control.apply(&provider().to_string())?;
        cluster.control.apply(&self.manifest().to_string())?;
        self.serve(cluster, service, vips)
    }

    /// What the real one does once it runs.
    pub fn serve(self, cluster: &Cluster, service: &str, vips: &[&str]) -> Result<(), BedError> {
        match self {
            Self::Real => Ok(()),
            Self::ByHand => {
                bind(&cluster.nodes[LEADER], "add", vips)?;
                let ingress: Vec<_> = vips.iter().map(|vip| json!({"ip": vip})).collect();
                let status = json!({"status": {"loadBalancer": {"ingress": ingress}}}).to_string();
                let patch = [
                    "patch",
                    "service",
                    service,
                    "--subresource=status",
                    "--type=merge",
                ];
                let patch = [&patch[..], &["-p", &status]].concat();
                cluster.control.kubectl(&patch, "").map(drop)
            }
        }
    }

    /// What the real one does when it ends.
    pub fn end(self, cluster: &Cluster, vips: &[&str]) -> Result<(), BedError> {
        match self {
            Self::Real => Ok(()),
            Self::ByHand => bind(&cluster.nodes[LEADER], "del", vips),
        }
    }

    /// One leader for all Services, both families, and timings for a small cluster.
    fn manifest(self) -> Value {
        match self {
            Self::Real => manifest(IMAGE, &["manager"]),
            // It sleeps.
            Self::ByHand => manifest(POD_IMAGE, &[]),
        }
    }
}

/// The cloud provider: what it is called, and its pools. Its Pod sleeps.
fn provider() -> Value {
    let name = "kube-vip-cloud-provider";
    let labels = json!({"app": name});
    let metadata = |name: &str| json!({"name": name, "namespace": "kube-system"});
    json!({"apiVersion": "v1", "kind": "List", "items": [
        {
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata("kubevip"),
            "data": {"range-global": "192.0.2.120-192.0.2.129"},
        },
        {
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata(name),
            "spec": {"replicas": 1, "selector": {"matchLabels": labels}, "template": {
                "metadata": {"labels": labels},
                "spec": {"terminationGracePeriodSeconds": 1, "containers": [{
                    "name": name, "image": POD_IMAGE, "imagePullPolicy": "Never",
                }]},
            }},
        },
    ]})
}

fn bind(node: &RealNode, verb: &str, vips: &[&str]) -> Result<(), BedError> {
    vips.iter().try_for_each(|vip| {
        let (length, flags) = match (vip.contains(':'), verb) {
            (false, _) => (32, ""),
            (true, "add") => (128, "nodad"),
            (true, _) => (128, ""),
        };
        let change = format!("ip address {verb} {vip}/{length} dev eth0 {flags}");
        node.peer.run(&change).map(drop)
    })
}

fn manifest(image: &str, arguments: &[&str]) -> Value {
    let environment = [
        ("vip_arp", "true"),
        ("port", "6443"),
        ("vip_interface", "eth0"),
        ("vip_servicesinterface", "eth0"),
        ("vip_subnet", "32,128"),
        ("cp_enable", "false"),
        ("svc_enable", "true"),
        ("svc_leasename", "plndr-svcs-lock"),
        ("vip_leaderelection", "true"),
        ("vip_leaseduration", "5"),
        ("vip_renewdeadline", "3"),
        ("vip_retryperiod", "1"),
        ("prometheus_server", ":2112"),
    ];
    let mut environment: Vec<Value> = environment
        .iter()
        .map(|(name, value)| json!({"name": name, "value": value}))
        .collect();
    let node = json!({"fieldRef": {"fieldPath": "spec.nodeName"}});
    environment.push(json!({"name": "vip_nodename", "valueFrom": node}));
    let labels = json!({"app": KUBE_VIP});
    let rule = |group: &str, resources: &[&str]| {
        let verbs = ["get", "list", "watch", "create", "update", "patch"];
        json!({"apiGroups": [group], "resources": resources, "verbs": verbs})
    };
    let rules = [
        rule(
            "",
            &[
                "services",
                "services/status",
                "nodes",
                "endpoints",
                "events",
            ],
        ),
        rule("discovery.k8s.io", &["endpointslices"]),
        rule("coordination.k8s.io", &["leases"]),
    ];
    let name = json!({"name": KUBE_VIP});
    let account = json!({"name": KUBE_VIP, "namespace": "kube-system"});
    json!({"apiVersion": "v1", "kind": "List", "items": [
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": account},
        {
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
            "metadata": name, "rules": rules,
        },
        {
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding",
            "metadata": name,
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": KUBE_VIP},
            "subjects": [{"kind": "ServiceAccount", "name": KUBE_VIP, "namespace": "kube-system"}],
        },
        {
            "apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": account,
            "spec": {"selector": {"matchLabels": labels}, "template": {
                "metadata": {"labels": labels},
                "spec": {
                    "serviceAccountName": KUBE_VIP,
                    "hostNetwork": true,
                    "containers": [{
                        "name": "kube-vip",
                        "image": image,
                        "imagePullPolicy": "Never",
                        "args": arguments,
                        "env": environment,
                        "securityContext": {"capabilities": {
                            "add": ["NET_ADMIN", "NET_RAW"], "drop": ["ALL"],
                        }},
                    }],
                },
            }},
        },
    ]})
}
