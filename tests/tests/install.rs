//! An installation from its beginning to its end, on three real nodes: by Helm and by the flat
//! manifest, upgraded, rolled back and removed, while a client goes on fetching pages.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "clippy sees only functions with #[test] as tests"
)]

use std::{fs, thread::sleep, time::Duration};

use serde_json::{Value, json};
use tests::{
    cluster::{AGENT, Cluster, Fetching, IMAGE, RealNode, page_service, without_a_failed_request},
    observer::{Observer, PAUSE},
    packages::{CHART, FLAT, Helm, NAMESPACE, RELEASE, repository},
};
use vip_agent::manifest::{self, CLEANUP};

const VIPS: [&str; 2] = ["192.0.2.110", "2001:db8::110"];
/// Where the manifests look for the image; each node's store has it from an archive.
const STORED: &str = "docker.io/library/";
/// Somebody else's, on every node.
const FOREIGN: &str = "198.51.100.200/32";

/// Gives a node what is none of ours: an address on the VIPs' own interface, and a pinned map
/// beside our pins.
fn plant(node: &RealNode) {
    node.peer
        .run(&format!(
            "ip addr add {FOREIGN} dev eth0 && mkdir /sys/fs/bpf/foreign && bpftool map create \
             /sys/fs/bpf/foreign/map type array key 4 value 4 entries 1 name foreign"
        ))
        .unwrap();
}

/// What a node has, by lines.
fn seen(node: &RealNode) -> String {
    let look = "ip -o addr show dev eth0; ls -R /sys/fs/bpf; bpftool net show dev eth0";
    node.peer.run(look).unwrap()
}

/// Nothing of ours is left, and nothing foreign is gone.
fn is_clean(node: &RealNode) {
    let seen = seen(node);
    let name = node.seat.name();
    for ours in ["xvip", VIPS[0], VIPS[1]] {
        assert!(!seen.contains(ours), "{ours} on {name}: {seen}");
    }
    for foreign in [FOREIGN, "/sys/fs/bpf/foreign:\nmap"] {
        assert!(seen.contains(foreign), "{foreign} on {name}: {seen}");
    }
}

fn kubectl(cluster: &Cluster, arguments: &[&str]) -> String {
    cluster.control.kubectl(arguments, "").unwrap()
}

fn is_served(cluster: &Cluster) {
    cluster.wait_ingress("web", &VIPS).unwrap();
    for vip in VIPS {
        cluster.wait_held(vip, |_| true).unwrap();
        cluster.wait_page_at(vip, 80).unwrap();
    }
}

/// Takes the agents away and cleans the nodes. Whoever fetches a page before that gets it, no VIP
/// has two answerers at any time, and in the end nobody answers: the last agent leaves its kernel
/// answering for the next one, and that ends with the cleanup.
fn remove(cluster: &Cluster, what: &str, agents: impl FnOnce()) {
    let observer = Observer::ask(&cluster.client, &VIPS, PAUSE).unwrap();
    let fetching = Fetching::start(&cluster.client, &VIPS, Duration::from_millis(40)).unwrap();
    sleep(Duration::from_millis(500));
    let began = observer.now();
    let fetched_until = fetching.now();
    agents();
    let gone = observer.now();
    clean_up(cluster);
    let clean = observer.now();
    sleep(Duration::from_millis(500));
    let observed = observer.finish().unwrap();
    let fetches = fetching.finish().unwrap();
    let before = fetches.iter().filter(|fetch| fetch.at < fetched_until);
    let failed: Vec<_> = before.filter(|fetch| fetch.page.is_err()).collect();
    assert!(failed.len() <= 1, "what was open may break off: {failed:?}");
    observed.one_answerer(None).unwrap();
    for vip in VIPS {
        let silent = observed.timeline(vip).since(clean);
        assert!(
            silent.questions() > 0 && silent.answerers().is_empty(),
            "{vip}"
        );
    }
    println!(
        "{what}: agents gone after {:.1?}, nodes clean {:.1?} later",
        gone - began,
        clean - gone
    );
}

/// What docs/install.md says of the nodes, word for word.
fn clean_up(cluster: &Cluster) {
    let cleanup = manifest::cleanup(NAMESPACE, IMAGE).unwrap().to_yaml();
    cluster.control.apply(&cleanup.unwrap()).unwrap();
    let set = format!("daemonset/{CLEANUP}");
    let status = ["rollout", "status", "-n", NAMESPACE, &set, "--timeout=90s"];
    kubectl(cluster, &status);
    kubectl(cluster, &["delete", "-n", NAMESPACE, &set]);
    cluster.nodes.iter().for_each(is_clean);
}

/// The maps' directory gets the name of another layout, as if an earlier agent had made it.
fn age(node: &RealNode) {
    let rename = "mv /sys/fs/bpf/xvip/v1 /sys/fs/bpf/xvip/v0";
    node.peer.run(rename).unwrap();
}

fn layouts(node: &RealNode) -> String {
    let list = "cd /sys/fs/bpf/xvip && ls -d v*";
    node.peer.run(list).unwrap().trim().to_owned()
}

fn agent_images(cluster: &Cluster) -> Vec<Value> {
    let pods = cluster.json(&["pods", "-n", NAMESPACE]).unwrap();
    let pods = pods["items"].as_array().unwrap().iter();
    pods.map(|pod| pod["spec"]["containers"][0]["image"].clone())
        .collect()
}

#[test]
#[ignore = "needs root"]
fn installed_upgraded_rolled_back_and_removed_by_helm_and_by_the_flat_manifest() {
    let helm = Helm::find().unwrap();
    let cluster = Cluster::shared();
    println!("three nodes Ready after {:.1?}", cluster.took);
    let cluster = &*cluster;
    let helm = |arguments: &[&str]| helm.on(&cluster.control, arguments).unwrap();
    let nodes = cluster.nodes.iter();
    nodes.clone().for_each(plant);
    cluster.serve_page().unwrap();
    let service = page_service("web", &["IPv4", "IPv6"], &VIPS);
    let service = serde_json::to_string(&service).unwrap();
    cluster.control.apply(&service).unwrap();

    let install = [
        "install",
        RELEASE,
        CHART,
        "--namespace",
        NAMESPACE,
        "--take-ownership",
        "--set",
        "namespace.create=true",
        "--wait",
    ];
    kubectl(cluster, &["create", "namespace", NAMESPACE]);
    let notes = helm(&install);
    assert!(notes.contains("VipPool"), "{notes}");
    // The namespace has its labels, so nothing is said of them.
    assert!(!notes.contains("kubectl label"), "{notes}");
    cluster.wait_agents().unwrap();
    is_served(cluster);
    for node in nodes.clone() {
        let at_node = format!("curl -sf http://{}:9470", node.seat.ipv4());
        let asked = |path: &str| cluster.client.run(&format!("{at_node}/{path}"));
        assert!(asked("metrics").unwrap().contains("xvip_build_info"));
        asked("v1/status").unwrap_err();
    }

    let next = "registry.test/vip-agent:next";
    for node in nodes.clone() {
        node.tag_image(&format!("{STORED}{IMAGE}"), next).unwrap();
    }
    without_a_failed_request(cluster, "upgrade", &VIPS, || {
        nodes.clone().for_each(age);
        helm(&[
            "upgrade",
            RELEASE,
            CHART,
            "--namespace",
            NAMESPACE,
            "--reset-then-reuse-values",
            "--set",
            "image.repository=registry.test/vip-agent,image.tag=next",
            "--wait",
        ]);
        cluster.wait_agents().unwrap();
    });
    assert_eq!(agent_images(cluster), [next; 3]);
    for node in nodes.clone() {
        assert_eq!(layouts(node), "v1", "{}", node.seat.name());
    }
    without_a_failed_request(cluster, "roll-back", &VIPS, || {
        helm(&["rollback", RELEASE, "--namespace", NAMESPACE, "--wait"]);
        cluster.wait_agents().unwrap();
    });
    assert_eq!(agent_images(cluster), [IMAGE; 3]);

    let pool = json!({
        "apiVersion": "xvip.io/v1alpha1", "kind": "VipPool", "metadata": {"name": "kept"},
        "spec": {"addresses": ["192.0.2.64/26", "2001:db8::100/120"]},
    });
    cluster.control.apply(&pool.to_string()).unwrap();
    remove(cluster, "helm uninstall", || {
        helm(&["uninstall", RELEASE, "--namespace", NAMESPACE, "--wait"]);
        no_agents(cluster);
    });
    // Definitions stay, and so do pools.
    kubectl(cluster, &["get", "vippool", "kept"]);

    let flat = fs::read_to_string(repository(FLAT)).unwrap();
    cluster.control.apply(&flat).unwrap();
    cluster.wait_agents().unwrap();
    is_served(cluster);
    remove(cluster, "kubectl delete", || {
        kubectl(cluster, &["delete", "-n", NAMESPACE, "daemonset", AGENT]);
        no_agents(cluster);
    });
    let path = repository(FLAT).display().to_string();
    kubectl(cluster, &["delete", "-f", &path, "--ignore-not-found"]);
    let groups = cluster.control.kubectl(&["api-resources"], "").unwrap();
    assert!(!groups.contains("xvip.io"), "{groups}");
}

/// Waits until no Pod of the agents is there.
fn no_agents(cluster: &Cluster) {
    let label = "app.kubernetes.io/name=xvip";
    let pods = || cluster.json(&["pods", "-n", NAMESPACE, "-l", label]);
    let gone = || Ok(pods()?["items"] == json!([]));
    cluster
        .wait("the agents to be gone", gone, || format!("{:?}", pods()))
        .unwrap();
}
