//! What is known beside the pages.

use tests::{
    cluster::IMAGE,
    manual::{Place, Rule, Tools, rule},
};

pub(super) const VIP: &str = "192.0.2.100";
pub(super) const VIP6: &str = "2001:db8::100";

pub(super) const INSTALL: &str = "docs/install.md";
pub(super) const FIRST: &str = "docs/first-service.md";
pub(super) const CLUSTER: &str = "docs/kubernetes.md";
pub(super) const FIND: &str = "docs/find-a-vip.md";
pub(super) const TROUBLE: &str = "docs/troubleshoot.md";
pub(super) const IPVS: &str = "docs/ipvs.md";
pub(super) const NODE_IP: &str = "docs/node-ip.md";
pub(super) const DRAIN: &str = "docs/drain.md";
pub(super) const UPGRADE: &str = "docs/upgrade.md";
pub(super) const CONTROL_PLANE: &str = "docs/control-plane-vip.md";
pub(super) const README: &str = "README.md";

/// What the test on a cluster follows from the first line to the last.
pub(super) const ON_A_CLUSTER: [&str; 10] = [
    INSTALL,
    FIRST,
    CLUSTER,
    FIND,
    TROUBLE,
    IPVS,
    NODE_IP,
    DRAIN,
    UPGRADE,
    CONTROL_PLANE,
];

/// Pages with commands that are not followed here.
pub(super) const ELSEWHERE: [(&str, &str); 8] = [
    ("docs/bpftool.md", "tests/tests/seeing.rs runs it"),
    ("docs/comparison.md", "it names runs of this repository"),
    (
        "docs/configuration.md",
        "it names commands; its file is checked below",
    ),
    ("docs/maps.md", "it names a command of docs/bpftool.md"),
    (
        "docs/move-from-kube-vip.md",
        "tests/tests/moving follows it",
    ),
    (
        "docs/move-from-metallb.md",
        "tests/tests/moving follows it, where MetalLB could be built",
    ),
    ("docs/performance.md", "it names runs of this repository"),
    ("docs/proofs.md", "it names runs of this repository"),
];

/// What pages write, and what that is here.
pub(super) fn names(tools: &Tools) -> Vec<(&'static str, String)> {
    let folder = tools.folder().display().to_string();
    let parts = std::env::var("XVIP_CLUSTER").unwrap_or_default();
    // It ends when it is asked to, as a good server does, and serves one line.
    let web = "--image=registry.test/pod:1 --replicas=2 -- /bin/sh -c \
               'mkdir /www; echo it works > /www/index.html; trap \"exit 0\" TERM; \
               httpd -f -h /www & wait'";
    let dry = "kubectl apply --dry-run=server";
    [
        (
            "import vip-agent.tar",
            format!("import {parts}/images/vip-agent.tar"),
        ),
        ("--image=nginx --replicas=2", web.to_owned()),
        // What is installed was installed by Helm.
        (
            "manifest crds | kubectl apply",
            format!("manifest crds | {dry}"),
        ),
        (
            "manifest rbac | kubectl apply",
            format!("manifest rbac | {dry}"),
        ),
        (
            "daemonset --image IMAGE | kubectl apply",
            format!("daemonset --image IMAGE | {dry}"),
        ),
        (
            "--beside-static-pods --image IMAGE | kubectl apply",
            format!("--beside-static-pods --image IMAGE | {dry}"),
        ),
        ("IMAGE", IMAGE.to_owned()),
        (
            "/etc/kubernetes/manifests/xvip.yaml",
            format!("{folder}/static-pod.yaml"),
        ),
        (
            "/usr/local/bin/",
            format!("{}/", tools.programs().display()),
        ),
        (
            "vip-agent sysdump",
            format!("vip-agent sysdump --output {folder}/dump.tar.gz"),
        ),
        ("vip-agent trace", "vip-agent trace --seconds 1".to_owned()),
        ("vip.pcapng", format!("{folder}/vip.pcapng")),
        // It goes on until somebody ends it.
        (
            "kubectl port-forward -n xvip-system daemonset/xvip-agent 9470",
            "timeout 6 kubectl port-forward -n xvip-system daemonset/xvip-agent 9470 & sleep 3; \
             curl -sf http://127.0.0.1:9470/ | grep 'Moves and conflicts'"
                .to_owned(),
        ),
        ("describe service NAME", "describe service web".to_owned()),
        ("--config F", format!("--config {folder}/xvip.yaml")),
        // The client's interface.
        ("arping -c 3 -I eth0", "arping -c 3 -I lan0".to_owned()),
        ("ndisc6 -m VIP eth0", format!("ndisc6 -m {VIP6} lan0")),
        ("VIP", VIP.to_owned()),
    ]
    .into()
}

/// What is known of commands on a cluster beside what their pages say.
pub(super) fn rules() -> Vec<Rule> {
    use Place::{Client, Node, OtherNode};
    const BUILT: &str = "the image of this cluster is built before the tests";
    const KUBEADM: &str = "this cluster is not made by kubeadm";
    const NAMED: &str = "it is named; the same with its arguments is run";
    vec![
        rule(INSTALL, "vip-agent doctor").at(Node),
        rule(INSTALL, "cargo xtask image").not_here(BUILT),
        rule(
            INSTALL,
            "skopeo copy oci-archive:target/image/vip-agent.tar docker://REGISTRY/vip-agent:v0.1.0",
        )
        .not_here("there is no registry"),
        rule(
            INSTALL,
            "ctr --namespace k8s.io images import vip-agent.tar",
        )
        .at(Node),
        rule(INSTALL, "vip-agent cleanup").not_here("its DaemonSet does it, on every node"),
        rule(
            INSTALL,
            "helm install xvip deploy/helm/xvip --namespace xvip-system --take-ownership \
             --set namespace.create=true --wait --values deploy/helm/xvip/values-k3s.yaml",
        )
        .not_here("this is no k3s; packages.rs gives it to an API server"),
        rule(FIRST, "kubectl get vippools").prints("default"),
        rule(FIRST, "curl -s http://192.0.2.64/")
            .at(Client)
            .prints("it works"),
        rule(FIRST, "curl -s http://192.0.2.100/")
            .at(Client)
            .prints("it works"),
        rule(FIRST, "curl -s http://[2001:db8::100]/")
            .at(Client)
            .prints("it works"),
        rule(CLUSTER, "kubectl get vips").prints(VIP),
        rule(FIND, "kubectl get vips -o wide")
            .prints(VIP)
            .prints(VIP6),
        rule(FIND, "vip-agent status --cluster")
            .prints(VIP)
            .prints("node-3"),
        rule(FIND, "kubectl xvip status")
            .prints(VIP)
            .prints("node-3"),
        rule(FIND, "kubectl xvip explain 192.0.2.100")
            .prints("ASK")
            .prints("answers for"),
        rule(FIND, "kubectl xvip explain").not_here(NAMED),
        rule(FIND, "vip-agent explain 192.0.2.100")
            .at(Node)
            .prints("BOUND"),
        rule(
            FIND,
            "kubectl exec -n xvip-system xvip-agent-7x2kq -- /vip-agent explain 192.0.2.100",
        )
        .prints("BOUND"),
        rule(FIND, "vip-agent status")
            .at(Node)
            .prints(VIP)
            .prints("answering"),
        rule(FIND, "vip-agent sysdump")
            .at(Node)
            .prints("dump.tar.gz"),
        rule(FIND, "vip-agent trace --vip 192.0.2.100")
            .at(Node)
            .prints("192.0.2.100 answered"),
        rule(FIND, "vip-agent trace --vip 192.0.2.100 --pcap vip.pcapng").at(Node),
        rule(
            FIND,
            "vip-agent trace --pcap - | tshark -r - -T fields -e frame.comment",
        )
        .at(Node)
        .prints("answered"),
        rule(TROUBLE, "kubectl describe service NAME").prints("AddressAllocated"),
        rule(TROUBLE, "kubectl get vippools").prints("default"),
        rule(TROUBLE, "kubectl xvip explain VIP").prints("answers for"),
        rule(TROUBLE, "vip-agent explain VIP")
            .at(Node)
            .prints("answers for"),
        rule(TROUBLE, "vip-agent check --config F").at(Node),
        rule(TROUBLE, "vip-agent doctor").at(Node),
        rule(TROUBLE, "vip-agent status").at(Node).prints(VIP),
        rule(TROUBLE, "curl -s 127.0.0.1:9470/readyz")
            .at(Node)
            .prints("ok"),
        rule(TROUBLE, "arping -c 3 -I eth0 VIP")
            .at(Client)
            .prints(VIP),
        rule(TROUBLE, "ndisc6 -m VIP eth0")
            .at(Client)
            .prints("Target link-layer address"),
        rule(TROUBLE, "kubectl get vips").prints(VIP),
        rule(TROUBLE, "kubectl xvip status").prints("live"),
        rule(TROUBLE, "vip-agent trace --vip VIP")
            .at(Node)
            .prints("answered"),
        rule(IPVS, "curl -s 127.0.0.1:10249/proxyMode")
            .at(Node)
            .prints("tables"),
        rule(IPVS, "ip -o address show dev kube-ipvs0")
            .at(OtherNode)
            .prints(VIP)
            .prints(VIP6),
        rule(
            IPVS,
            "sysctl net.ipv4.conf.all.arp_ignore net.ipv4.conf.all.arp_announce",
        )
        .at(Node)
        .prints("arp_ignore = 1")
        .prints("arp_announce = 2"),
        rule(IPVS, "vip-agent explain 192.0.2.100")
            .at(OtherNode)
            .prints("on kube-ipvs0 by another")
            .prints("silent"),
        rule(IPVS, "arping -c 3 -I eth0 192.0.2.100")
            .at(Client)
            .prints("MAC-OF-THE-HOLDER"),
        rule(
            NODE_IP,
            "kubectl get nodes -o custom-columns=NAME:.metadata.name,\
             ADDRESSES:.status.addresses[*].address",
        )
        .prints("OWN-IPV4,OWN-IPV6"),
        rule(NODE_IP, "kubectl get vips").prints(VIP6),
        rule(NODE_IP, "ip -o address show dev eth0")
            .at(Node)
            .prints("2001:db8::100/128")
            .prints("deprecated"),
        rule(NODE_IP, "ip route get 192.0.2.2")
            .at(Node)
            .prints("src OWN-IPV4"),
        rule(NODE_IP, "ip -6 route get 2001:db8::2")
            .at(Node)
            .prints("src OWN-IPV6"),
        rule(DRAIN, "kubectl get vips -o wide").prints(VIP),
        rule(DRAIN, "kubectl xvip status").prints("live"),
        rule(
            UPGRADE,
            "helm upgrade xvip deploy/helm/xvip --namespace xvip-system --reset-then-reuse-values \
             --wait",
        )
        .says("REVISION: 2"),
        rule(UPGRADE, "helm rollback xvip --namespace xvip-system --wait").says("success"),
        rule(CONTROL_PLANE, "kubeadm init").not_here(KUBEADM),
        rule(CONTROL_PLANE, "kubeadm join").not_here(KUBEADM),
    ]
}

pub(super) fn rules_of_readme() -> Vec<Rule> {
    const NAMED: &str = "it is named, as what another page is about";
    vec![
        rule(README, "kubeadm init").not_here(NAMED),
        rule(README, "kubectl xvip").not_here(NAMED),
        rule(README, "vip-agent convert").not_here(NAMED),
        rule(README, "cargo xtask demo").not_here("it is a step of its own"),
        rule(README, "cargo xtask test").not_here("this test is run by it"),
        rule(README, "cargo xtask build").not_here("the agent is built before the tests"),
        rule(README, "vip-agent check --config /etc/xvip.yaml").says(VIP),
        rule(README, "vip-agent run --config /etc/xvip.yaml").goes_on(),
        rule(README, "vip-agent status")
            .prints("answering")
            .prints(VIP6),
        rule(README, "vip-agent explain 192.0.2.100").prints("answers for"),
        rule(README, "vip-agent trace").prints("answered"),
        rule(README, "vip-agent doctor").prints("eth0"),
    ]
}
