//! The documentation, followed: its commands are taken out of the pages and run, each where its
//! page says. What is known beside the pages stands in the tables at the end.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "clippy sees only functions with #[test] as tests"
)]

use std::{
    collections::BTreeSet,
    fs,
    thread::sleep,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tests::{
    agent::subcommand,
    cluster::{Cluster, IMAGE},
    kubernetes::NAMESPACE,
    lan::Lan,
    manual::{OfCluster, OfLan, Page, Place, Reader, Rule, Tools, broken_links, pages, rule},
    observer::{Observer, PAUSE},
};

const VIP: &str = "192.0.2.100";
const VIP6: &str = "2001:db8::100";

const INSTALL: &str = "docs/install.md";
const FIRST: &str = "docs/first-service.md";
const CLUSTER: &str = "docs/kubernetes.md";
const FIND: &str = "docs/find-a-vip.md";
const TROUBLE: &str = "docs/troubleshoot.md";
const IPVS: &str = "docs/ipvs.md";
const NODE_IP: &str = "docs/node-ip.md";
const DRAIN: &str = "docs/drain.md";
const UPGRADE: &str = "docs/upgrade.md";
const CONTROL_PLANE: &str = "docs/control-plane-vip.md";
const README: &str = "README.md";

/// What the test on a cluster follows from the first line to the last.
const ON_A_CLUSTER: [&str; 10] = [
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
const ELSEWHERE: [(&str, &str); 8] = [
    ("docs/bpftool.md", "tests/tests/seeing.rs runs it"),
    ("docs/comparison.md", "it names runs of this repository"),
    (
        "docs/configuration.md",
        "it names commands; its file is checked below",
    ),
    ("docs/maps.md", "it names a command of docs/bpftool.md"),
    ("docs/move-from-kube-vip.md", "it takes a kube-vip"),
    ("docs/move-from-metallb.md", "it takes a MetalLB"),
    ("docs/performance.md", "it names runs of this repository"),
    ("docs/proofs.md", "it names runs of this repository"),
];

#[test]
fn every_link_between_pages_leads_somewhere() {
    assert_eq!(broken_links(&pages()), [""; 0]);
}

#[test]
fn every_page_with_commands_is_followed_or_said_to_be_tested_elsewhere() {
    let pages = pages();
    let with_commands = pages
        .iter()
        .filter(|path| !Page::read(path).commands.is_empty());
    let with_commands: BTreeSet<_> = with_commands.map(String::as_str).collect();
    let elsewhere = ELSEWHERE.iter().map(|(path, _)| *path);
    let named: BTreeSet<_> = ON_A_CLUSTER
        .into_iter()
        .chain(elsewhere)
        .chain([README])
        .collect();
    assert_eq!(with_commands, named);
}

/// A cluster and somebody who reads.
struct Story<'a> {
    cluster: &'a mut Cluster,
    tools: &'a Tools,
    reader: Reader,
    /// The node that the pages speak of.
    node: usize,
}

impl Story<'_> {
    fn follow(&mut self, page: &str, section: &str) {
        self.follow_without(page, section, &[]);
    }

    fn follow_without(&mut self, page: &str, section: &str, without: &[&str]) {
        let places = OfCluster {
            cluster: self.cluster,
            tools: self.tools,
            node: self.node,
        };
        self.reader.follow_without(&places, page, section, without);
    }

    fn follow_only(&mut self, page: &str, section: &str, only: &[&str]) {
        let places = OfCluster {
            cluster: self.cluster,
            tools: self.tools,
            node: self.node,
        };
        self.reader.follow_only(&places, page, section, only);
    }

    fn kubectl(&self, arguments: &[&str]) -> String {
        self.cluster.control.kubectl(arguments, "").unwrap()
    }

    /// The pages speak of the node that holds a VIP from now on.
    fn go_to_holder(&mut self, vip: &str) -> usize {
        self.node = self.cluster.wait_holder(vip).unwrap();
        self.node
    }

    fn node_name(&self, index: usize) -> String {
        self.cluster.nodes[index].seat.name()
    }

    /// The only one who answers for a VIP within half a second is the node that its object names.
    fn is_answered_by_its_holder(&self, vip: &str) {
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
    fn reports(&self, node: &str, expected: &[String]) {
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
    fn is_warned(&self, service: &str) {
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

#[test]
#[ignore = "needs root"]
fn the_pages_about_clusters_do_what_they_say() {
    let tools = Tools::gather().unwrap();
    let mut cluster = Cluster::shared();
    println!("three nodes Ready after {:.1?}", cluster.took);
    let mut reader = Reader::new(rules());
    for (written, here) in names(&tools) {
        reader.name(written, &here);
    }
    let mut story = Story {
        cluster: &mut cluster,
        tools: &tools,
        reader,
        node: 0,
    };
    for chapter in [
        install,
        first_service,
        find,
        troubleshoot,
        ipvs,
        node_ip,
        drain,
        upgrade,
        control_plane,
        take_away,
    ] {
        let began = Instant::now();
        chapter(&mut story);
        println!("chapter: {:.1?}", began.elapsed());
    }
    story.reader.finish(&ON_A_CLUSTER);
}

fn install(story: &mut Story<'_>) {
    story.follow(INSTALL, "Install it, and take it away again");
    story.follow(INSTALL, "The image");
    story.follow(INSTALL, "By Helm");
    story.cluster.wait_agents().unwrap();
    story.follow(INSTALL, "Addresses");
}

fn first_service(story: &mut Story<'_>) {
    story.follow(FIRST, "A pool");
    story.follow(FIRST, "A Service");
    story.follow(FIRST, "The address that you want");
    story.cluster.wait_ingress("web", &[VIP]).unwrap();
    story.follow(FIRST, "Both families");
    story.cluster.wait_ingress("web", &[VIP, VIP6]).unwrap();
    for vip in [VIP, VIP6] {
        story.is_answered_by_its_holder(vip);
    }
    story.follow(FIRST, "The clients' own addresses");
    let service = story.cluster.json(&["service", "web"]).unwrap();
    assert_eq!(service["spec"]["externalTrafficPolicy"], "Local");
    story.follow(CLUSTER, "xvip in a cluster");
}

/// Somebody asks for both VIPs all the time, so that there is something to see.
fn find(story: &mut Story<'_>) {
    let holder = story.go_to_holder(VIP);
    let on_holder = format!("spec.nodeName={}", story.node_name(holder));
    let pods = [
        "get",
        "pods",
        "-n",
        NAMESPACE,
        "-o",
        "name",
        "--field-selector",
        &on_holder,
    ];
    let pod = story.kubectl(&pods);
    let pod = pod.trim().trim_start_matches("pod/");
    story.reader.name("xvip-agent-7x2kq", pod);
    let observer = Observer::ask(&story.cluster.client, &[VIP, VIP6], PAUSE).unwrap();
    for section in [
        "All of them",
        "As a plugin of kubectl",
        "Why this node, or why none",
        "For a report",
        "On the wire",
    ] {
        story.follow(FIND, section);
    }
    observer.finish().unwrap();
    let capture = fs::read(story.tools.folder().join("vip.pcapng")).unwrap();
    assert!(
        capture.starts_with(&[0x0a, 0x0d, 0x0d, 0x0a]),
        "it is no pcapng"
    );
}

fn troubleshoot(story: &mut Story<'_>) {
    let of_agents = [
        "get",
        "configmap",
        "-n",
        NAMESPACE,
        "xvip-agent",
        "-o",
        "json",
    ];
    let config: Value = serde_json::from_str(&story.kubectl(&of_agents)).unwrap();
    let config = config["data"]["config.yaml"].as_str().unwrap();
    story.tools.write("xvip.yaml", config).unwrap();
    let observer = Observer::ask(&story.cluster.client, &[VIP, VIP6], PAUSE).unwrap();
    for section in [
        "Troubleshoot",
        "From the outside in",
        "It answers, and nothing connects",
        "Reasons of /readyz",
    ] {
        story.follow(TROUBLE, section);
    }
    observer.finish().unwrap();
}

/// Answered by the holder alone, with `strictARP` and without, also while the VIP moves.
fn ipvs(story: &mut Story<'_>) {
    story.cluster.bind_like_ipvs(&[VIP, VIP6]).unwrap();
    for strict in [false, true] {
        story.cluster.set_strict_arp(strict).unwrap();
        let holder = story.go_to_holder(VIP);
        let observer = Observer::ask(&story.cluster.client, &[VIP, VIP6], PAUSE).unwrap();
        let node = story.node_name(holder);
        story.kubectl(&["cordon", &node]);
        story
            .cluster
            .wait_held(VIP, |other| other != holder)
            .unwrap();
        story.kubectl(&["uncordon", &node]);
        observer.finish().unwrap().one_answerer(None).unwrap();
        for vip in [VIP, VIP6] {
            story.is_answered_by_its_holder(vip);
        }
    }
    let holder = story.go_to_holder(VIP);
    let mac = story.cluster.nodes[holder].seat.mac().to_string();
    story.reader.name("MAC-OF-THE-HOLDER", &mac);
    story.follow(IPVS, "See it");
    story.cluster.set_strict_arp(false).unwrap();
    story.cluster.unbind_like_ipvs().unwrap();
}

/// What the page says of `--node-ip=::` is so, and with the node's own addresses it is not.
fn node_ip(story: &mut Story<'_>) {
    let holder = story.go_to_holder(VIP6);
    let (seat, node) = (story.cluster.nodes[holder].seat, story.node_name(holder));
    let own = [seat.ipv4().to_string(), seat.ipv6().to_string()];
    story.reader.name("OWN-IPV4", &own[0]);
    story.reader.name("OWN-IPV6", &own[1]);
    story.follow(NODE_IP, "See it");

    // Both VIPs come to this node and stay there, also while its kubelet is started anew.
    let anywhere = r#"{"spec": {"externalTrafficPolicy": "Cluster"}}"#;
    story.kubectl(&["patch", "service", "web", "-p", anywhere]);
    let others = (0..story.cluster.nodes.len()).filter(|other| *other != holder);
    let others: Vec<_> = others.map(|other| story.node_name(other)).collect();
    for other in &others {
        story.kubectl(&["cordon", other]);
    }
    for (node_ip, expected) in [
        (Some("0.0.0.0"), &own[..1]),
        (Some("::"), &[VIP6.to_owned()]),
        (None, &own),
    ] {
        let kubelet = &mut story.cluster.nodes[holder];
        kubelet.restart_kubelet(node_ip).unwrap();
        for vip in [VIP, VIP6] {
            story.cluster.wait_held(vip, |it| it == holder).unwrap();
        }
        story.reports(&node, expected);
        if node_ip == Some("::") {
            story.is_warned("web");
            story.is_answered_by_its_holder(VIP6);
        }
    }
    for other in &others {
        story.kubectl(&["uncordon", other]);
    }
}

fn drain(story: &mut Story<'_>) {
    let holder = story.go_to_holder(VIP);
    let node = story.node_name(holder);
    story.reader.name("NODE", &node);
    story.follow(DRAIN, "Drain a node");
    for vip in [VIP, VIP6] {
        story
            .cluster
            .wait_held(vip, |other| other != holder)
            .unwrap();
    }
    let local = format!("spec.nodeName={node}");
    let pods = [
        "get",
        "pods",
        "-l",
        "app=web",
        "-o",
        "name",
        "--field-selector",
        &local,
    ];
    assert_eq!(story.kubectl(&pods), "");
    story.follow(DRAIN, "Reboot it");
    story.follow(DRAIN, "Keep VIPs away from a node, and Pods on it");
    let object = story.cluster.json(&["node", &node]).unwrap();
    assert_eq!(object["spec"]["unschedulable"], Value::Null);
}

fn upgrade(story: &mut Story<'_>) {
    let by_helm = "helm upgrade xvip deploy/helm/xvip --namespace xvip-system \
                   --reset-then-reuse-values --wait";
    story.follow_only(UPGRADE, "Upgrade, and roll back", &[by_helm]);
    story.follow(UPGRADE, "Back");
}

fn control_plane(story: &mut Story<'_>) {
    story.follow(CONTROL_PLANE, "On the control-plane nodes");
    let written = fs::read_to_string(story.tools.folder().join("static-pod.yaml")).unwrap();
    for part in [
        "kind: Pod",
        "192.0.2.10",
        IMAGE,
        "/etc/kubernetes/admin.conf",
    ] {
        assert!(written.contains(part), "{part}: {written}");
    }
    story.follow(CONTROL_PLANE, "With the whole agent");
}

/// By Helm, and once more by the flat manifest, which comes in between.
fn take_away(story: &mut Story<'_>) {
    const AWAY: &str = "Take it away";
    let of_helm = [
        "helm uninstall xvip --namespace xvip-system --wait --cascade foreground",
        "kubectl delete crd vippools.xvip.io vips.xvip.io vipclaims.xvip.io",
        "kubectl delete namespace xvip-system",
    ];
    let of_manifest = [
        "kubectl delete --namespace xvip-system daemonset xvip-agent --cascade=foreground",
        "kubectl delete -f deploy/xvip.yaml --ignore-not-found",
    ];
    story.follow(FIRST, "Away");
    story.follow_without(INSTALL, AWAY, &of_manifest);
    is_gone(story);
    story.follow(INSTALL, "By the flat manifest");
    let status = "kubectl rollout status --namespace xvip-system daemonset/xvip-agent";
    let apply = "kubectl apply -f deploy/xvip.yaml";
    story.follow_only(UPGRADE, "Upgrade, and roll back", &[apply, status]);
    story.follow(UPGRADE, "A new configuration");
    story.cluster.wait_agents().unwrap();
    story.follow_without(INSTALL, AWAY, &of_helm);
    is_gone(story);
}

/// No definition, no namespace, and on the nodes no pin, program or address.
fn is_gone(story: &Story<'_>) {
    let groups = story.kubectl(&["api-resources", "-o", "name"]);
    assert!(!groups.contains("xvip.io"), "{groups}");
    let namespaces = story.cluster.json(&["namespaces"]).unwrap();
    let mut namespaces = namespaces["items"].as_array().unwrap().iter();
    assert!(namespaces.all(|it| it["metadata"]["name"] != json!(NAMESPACE)));
    for node in &story.cluster.nodes {
        let look = "ip -o addr show dev eth0; ls /sys/fs/bpf; bpftool net show dev eth0";
        let seen = node.peer.run(look).unwrap();
        for ours in ["xvip", VIP, VIP6] {
            assert!(!seen.contains(ours), "{ours}: {seen}");
        }
    }
}

#[test]
#[ignore = "needs root"]
fn the_first_page_does_what_it_says_on_a_plain_host() {
    const USE: &str = "Use it";
    const CLEANUP: &str = "vip-agent cleanup";
    let tools = Tools::gather().unwrap();
    let lan = Lan::new().unwrap();
    let [file] = &Page::read(README).files[..] else {
        panic!("more than one file in {README}");
    };
    tools.write("xvip.yaml", file).unwrap();
    let mut reader = Reader::new(rules_of_readme());
    let config = tools.folder().join("xvip.yaml");
    reader.name("/etc/xvip.yaml", &config.display().to_string());
    reader.name("vip-agent trace", "vip-agent trace --seconds 1");
    let places = OfLan {
        lan: &lan,
        tools: &tools,
    };
    let observer = Observer::ask(&lan.client, &[VIP, VIP6], PAUSE).unwrap();
    reader.follow(&places, README, "Try it");
    reader.follow_without(&places, README, USE, &[CLEANUP]);
    reader.stop();
    reader.follow_only(&places, README, USE, &[CLEANUP]);
    let stopped = observer.now();
    sleep(Duration::from_millis(300));
    let observed = observer.finish().unwrap();
    for vip in [VIP, VIP6] {
        let line = observed.timeline(vip);
        assert_eq!(line.answerers().len(), 1, "{vip}");
        assert!(line.since(stopped).answerers().is_empty(), "{vip}");
    }
    reader.finish(&[README]);
}

#[test]
#[ignore = "needs root"]
fn the_file_of_the_page_about_configuration_is_taken() {
    let (tools, lan) = (Tools::gather().unwrap(), Lan::new().unwrap());
    let files = Page::read("docs/configuration.md").files;
    assert!(!files.is_empty());
    for file in files {
        let text = format!("interfaces: [eth0]\n{file}\n");
        tools.write("xvip.yaml", &text).unwrap();
        let path = tools.folder().join("xvip.yaml").display().to_string();
        let checked = subcommand(&lan.node, &["check", "--config", &path]).unwrap();
        assert!(checked.status.success(), "{checked:?}");
    }
}

/// What pages write, and what that is here.
fn names(tools: &Tools) -> Vec<(&'static str, String)> {
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
fn rules() -> Vec<Rule> {
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

fn rules_of_readme() -> Vec<Rule> {
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
