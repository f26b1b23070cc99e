//! The shipped manifests on a real cluster: kubelets, containerd, runc, kube-proxy, DaemonSet.
//!
//! All tests share one cluster and take turns; each leaves it as it found it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "clippy sees only functions with #[test] as tests"
)]

use std::{
    collections::BTreeSet,
    env, fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{MutexGuard, Once},
    thread::sleep,
    time::Duration,
};

use serde_json::{Value, json};
use tests::{
    cluster::{AGENT, Cluster, IMAGE, ProxyMode, page_service, without_a_failed_request},
    kubernetes::NAMESPACE,
    lan::end_chain,
    observer::{Observer, PAUSE},
    scratch,
};
use vip_agent::io::datapath::AttachType;

/// The cluster with agents and a page on every node. Configured is what users of kube-vip had who
/// met the mask bug: a prefix length for IPv6 alone.
fn cluster() -> MutexGuard<'static, Cluster> {
    static INSTALLED: Once = Once::new();
    let cluster = Cluster::shared();
    INSTALLED.call_once(|| {
        println!("three nodes Ready after {:.1?}", cluster.took);
        cluster.install("", &[("vip_cidr", "128")]).unwrap();
        cluster.serve_page().unwrap();
    });
    cluster
}

/// The VIP is bound with its family's host prefix by its holder, which alone answers for it; pages
/// come from pods of every node.
fn is_served(cluster: &Cluster, vip: &str, ports: &[u16]) {
    let holder = cluster.wait_holder(vip).unwrap();
    let bound = if vip.contains(':') { 128 } else { 32 };
    let addresses = cluster.nodes[holder].peer.run("ip -o addr show dev eth0");
    let addresses = addresses.unwrap();
    assert!(
        addresses.contains(&format!(" {vip}/{bound} ")),
        "{addresses}"
    );

    let observer = Observer::ask(&cluster.client, &[vip], PAUSE).unwrap();
    sleep(Duration::from_millis(300));
    let observed = observer.finish().unwrap();
    let mac = cluster.nodes[holder].seat.mac();
    let line = observed.timeline(vip);
    line.one_answerer(None).unwrap();
    assert_eq!(line.answerers(), BTreeSet::from([mac]), "{vip}");

    for port in ports {
        cluster.wait_page_at(vip, *port).unwrap();
        let mut from = BTreeSet::new();
        for _ in 0..60 {
            from.insert(cluster.fetch(vip, *port).unwrap());
            if from.len() == cluster.nodes.len() {
                break;
            }
        }
        let names = cluster.nodes.iter().map(|node| node.seat.name());
        assert_eq!(from, names.collect(), "pages from {vip} port {port}");
    }
}

fn apply(cluster: &Cluster, object: &Value) {
    cluster.control.apply(&object.to_string()).unwrap();
}

fn delete_service(cluster: &Cluster, name: &str) {
    cluster
        .control
        .kubectl(&["delete", "service", name], "")
        .unwrap();
}

#[test]
#[ignore = "needs root"]
fn with_an_ipv6_prefix_alone_services_of_either_family_and_both_are_served() {
    let cluster = cluster();
    let port = |name: &str, port: u16| json!({"name": name, "port": port, "targetPort": 8080});
    let ports = [port("http", 80), port("https", 443), port("admin", 8443)];
    let service = |name: &str, spec: Value| {
        let mut service = json!({
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": name},
            "spec": {"type": "LoadBalancer", "selector": {"app": "page"}, "ports": ports},
        });
        for (key, value) in spec.as_object().unwrap() {
            service["spec"][key] = value.clone();
        }
        service
    };

    // The seed of the project: it crashed every agent of kube-vip 0.8.9.
    let vip = "192.0.2.100";
    let seed = json!({
        "ipFamilyPolicy": "SingleStack", "ipFamilies": ["IPv4"], "loadBalancerIP": vip,
    });
    apply(&cluster, &service("seed", seed));
    let ingress = cluster.wait_ingress("seed", &[vip]).unwrap();
    assert_eq!(ingress, json!([{"ip": vip, "ipMode": "VIP"}]));
    is_served(&cluster, vip, &[80, 443, 8443]);

    let (vip4, vip6) = ("192.0.2.101", "2001:db8::101");
    let mut dual = service("dual", json!({"ipFamilyPolicy": "RequireDualStack"}));
    dual["metadata"]["annotations"] =
        json!({"kube-vip.io/loadbalancerIPs": "192.0.2.101,2001:db8::101"});
    apply(&cluster, &dual);
    cluster.wait_ingress("dual", &[vip4, vip6]).unwrap();
    is_served(&cluster, vip4, &[80]);
    is_served(&cluster, vip6, &[80]);

    let vip = "2001:db8::102";
    let six = json!({
        "ipFamilyPolicy": "SingleStack", "ipFamilies": ["IPv6"], "loadBalancerIP": vip,
    });
    apply(&cluster, &service("six", six));
    let ingress = cluster.wait_ingress("six", &[vip]).unwrap();
    assert_eq!(ingress, json!([{"ip": vip, "ipMode": "VIP"}]));
    is_served(&cluster, vip, &[80, 443, 8443]);

    assert_eq!(cluster.restarts().unwrap(), [Some(0); 3]);
    for node in &cluster.nodes {
        let status = node.agent_status().unwrap();
        // NET_ADMIN 12, NET_RAW 13, BPF 39: by these numbers in capability.h.
        for set in ["CapPrm", "CapEff", "CapBnd"] {
            let line = format!("{set}:\t0000008000003000\n");
            assert_eq!(status.matches(&line).count(), 1, "{status}");
        }
    }
    for name in ["seed", "dual", "six"] {
        delete_service(&cluster, name);
    }
    let gone = || {
        let vips = cluster.json(&["vips"])?;
        Ok(vips["items"] == json!([]))
    };
    let shown = || format!("{:?}", cluster.json(&["vips"]));
    cluster.wait("the VIPs to be gone", gone, shown).unwrap();
    for node in &cluster.nodes {
        let addresses = node.peer.run("ip -o addr show dev eth0").unwrap();
        assert!(!addresses.contains("192.0.2.10"), "{addresses}");
    }
}

/// Two Services of both families, and their VIPs.
const PAIRS: [(&str, [&str; 2]); 2] = [
    ("web-0", ["192.0.2.110", "2001:db8::110"]),
    ("web-1", ["192.0.2.111", "2001:db8::111"]),
];

fn create_pairs(cluster: &Cluster) -> Vec<&'static str> {
    for (name, vips) in &PAIRS {
        let service = page_service(name, &["IPv4", "IPv6"], vips);
        apply(cluster, &serde_json::to_value(service).unwrap());
    }
    for (name, vips) in &PAIRS {
        cluster.wait_ingress(name, vips).unwrap();
        for vip in vips {
            cluster.wait_page_at(vip, 80).unwrap();
        }
    }
    PAIRS.iter().flat_map(|(_, vips)| *vips).collect()
}

fn delete_pairs(cluster: &Cluster) {
    PAIRS
        .iter()
        .for_each(|(name, _)| delete_service(cluster, name));
}

#[test]
#[ignore = "needs root"]
fn a_rolling_update_of_the_agents_fails_no_request() {
    let cluster = cluster();
    let vips = create_pairs(&cluster);
    let next = "registry.test/vip-agent:next";
    for node in &cluster.nodes {
        let image = format!("docker.io/library/{IMAGE}");
        node.tag_image(&image, next).unwrap();
    }
    let set_image = |image: &str| {
        let container = format!("{AGENT}={image}");
        let set = [
            "set",
            "image",
            "-n",
            NAMESPACE,
            "daemonset",
            AGENT,
            &container,
        ];
        cluster.control.kubectl(&set, "").unwrap();
        cluster.wait_agents().unwrap();
    };
    without_a_failed_request(&cluster, "rolling update", &vips, || set_image(next));
    assert_eq!(cluster.restarts().unwrap(), [Some(0); 3]);
    delete_pairs(&cluster);
}

#[test]
#[ignore = "needs root"]
fn a_drained_node_hands_over_and_fails_no_request() {
    let cluster = cluster();
    let vips = create_pairs(&cluster);
    let holder = cluster.wait_holder(vips[0]).unwrap();
    let node = cluster.nodes[holder].seat.name();
    without_a_failed_request(&cluster, "drain", &vips, || {
        let drain = ["drain", &node, "--ignore-daemonsets", "--timeout=60s"];
        cluster.control.kubectl(&drain, "").unwrap();
        for vip in &vips {
            cluster.wait_held(vip, |other| other != holder).unwrap();
        }
    });
    cluster.control.kubectl(&["uncordon", &node], "").unwrap();
    cluster.wait_page().unwrap();
    delete_pairs(&cluster);
}

#[test]
#[ignore = "needs root"]
fn each_node_serves_by_its_kube_proxy_whether_nftables_or_iptables() {
    let cluster = cluster();
    let vips = create_pairs(&cluster);
    let names: Vec<_> = cluster.nodes.iter().map(|node| node.seat.name()).collect();
    let mut modes = Vec::new();
    for (index, node) in cluster.nodes.iter().enumerate() {
        for (other, name) in names.iter().enumerate() {
            let verb = if other == index { "uncordon" } else { "cordon" };
            cluster.control.kubectl(&[verb, name], "").unwrap();
        }
        for vip in &vips[..2] {
            cluster.wait_held(vip, |holder| holder == index).unwrap();
            is_served(&cluster, vip, &[80]);
        }
        modes.push(node.proxy_mode);
    }
    for name in &names {
        cluster.control.kubectl(&["uncordon", name], "").unwrap();
    }
    use ProxyMode::{Iptables, Nftables};
    assert_eq!(modes, [Nftables, Iptables, Nftables]);
    delete_pairs(&cluster);
}

#[test]
#[ignore = "needs root"]
fn addresses_that_ipvs_binds_on_every_node_are_answered_by_their_holder_alone() {
    let cluster = cluster();
    let vips = create_pairs(&cluster);
    cluster.bind_like_ipvs(&vips).unwrap();
    let observer = Observer::ask(&cluster.client, &vips, PAUSE).unwrap();
    sleep(Duration::from_millis(500));
    let first = cluster.wait_holder(vips[0]).unwrap();
    let node = cluster.nodes[first].seat.name();
    cluster.control.kubectl(&["cordon", &node], "").unwrap();
    for vip in &vips {
        cluster.wait_held(vip, |holder| holder != first).unwrap();
    }
    sleep(Duration::from_millis(500));
    let observed = observer.finish().unwrap();
    observed.one_answerer(None).unwrap();
    for vip in &vips {
        let mac = observed.timeline(vip).reigns().last().unwrap().by;
        let holder = cluster.wait_holder(vip).unwrap();
        assert_eq!(cluster.node_of(mac), Some(holder), "{vip}");
        cluster.fetch(vip, 80).unwrap();
    }
    cluster.control.kubectl(&["uncordon", &node], "").unwrap();
    cluster.unbind_like_ipvs().unwrap();
    delete_pairs(&cluster);
}

/// The agents look at their place once a second: so long the kernel may answer for an address that
/// another tool has bound.
const POSITION_CHECK: Duration = Duration::from_secs(1);

#[test]
#[ignore = "needs root"]
fn behind_a_network_plugin_that_ends_the_chain_a_fenced_vip_stays_silent_and_it_is_said() {
    let cluster = cluster();
    let vips = create_pairs(&cluster);
    // Without the programs in the first place, the kernel of each node would answer for these.
    cluster.bind_like_ipvs(&vips).unwrap();
    let observer = Observer::ask(&cluster.client, &vips, PAUSE).unwrap();
    sleep(Duration::from_millis(300));
    let began = observer.now();
    let hooks = [AttachType::BPF_TCX_INGRESS, AttachType::BPF_TCX_EGRESS];
    let mut foreign = Vec::new();
    for node in &cluster.nodes {
        for hook in hooks {
            let program = node.peer.enter(|| end_chain("eth0", hook)).unwrap();
            foreign.push(program);
        }
    }
    let said = |fact: &str| {
        let logs = cluster.agent_logs()?;
        Ok(logs.matches(&format!("reason=\"{fact}\"")).count() >= cluster.nodes.len())
    };
    let logs = || cluster.agent_logs().unwrap_or_default();
    for fact in ["PositionLost", "PositionRestored"] {
        cluster.wait(fact, || said(fact), logs).unwrap();
    }
    let restored = observer.now();
    sleep(Duration::from_millis(500));
    let observed = observer.finish().unwrap();
    for vip in &vips {
        let line = observed.timeline(vip);
        let overlap = line.overlaps().iter().map(|overlap| overlap.length()).max();
        println!(
            "{vip}: two answered for {overlap:.0?}, it was said after {:.0?}",
            restored - began
        );
        assert!(overlap.is_none_or(|overlap| overlap < POSITION_CHECK * 2));
        line.since(restored).one_answerer(None).unwrap();
    }
    drop(foreign);
    cluster.unbind_like_ipvs().unwrap();
    delete_pairs(&cluster);
}

/// What there is of the cluster that process `pid` has started: cgroups, processes, files.
fn left_of(pid: u32) -> Vec<PathBuf> {
    let name = format!("xvip-cluster-{pid}-0");
    let entries = |dir: &Path| {
        let entries = fs::read_dir(dir).into_iter().flatten();
        entries.filter_map(|entry| Some(entry.ok()?.path()))
    };
    let cgroups = Path::new("/sys/fs/cgroup");
    let hierarchies = entries(cgroups).chain([cgroups.to_owned()]);
    let mut left: Vec<_> = hierarchies.map(|dir| dir.join(&name)).collect();
    left.push(env::temp_dir().join(&name));
    left.push(scratch::directory().join(format!("xvip-api-{pid}-0")));
    left.retain(|path| path.exists());
    left.extend(entries(Path::new("/proc")).filter(|process| {
        let line = fs::read(process.join("cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&line).contains(&name)
    }));
    left
}

#[test]
#[ignore = "needs root"]
fn of_a_cluster_whose_process_is_killed_nothing_stays() {
    const NAME: &str = "of_a_cluster_whose_process_is_killed_nothing_stays";
    const STARTS: &str = "XVIP_STARTS_A_CLUSTER";
    if env::var_os(STARTS).is_some() {
        let _cluster = Cluster::start().unwrap();
        loop {
            std::thread::park();
        }
    }
    // One at a time: this machine has better to do than to start two.
    let cluster = cluster();
    let mut other = Command::new(env::current_exe().unwrap())
        .args(["--include-ignored", "--exact", NAME])
        .env(STARTS, "1")
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let pid = other.id();
    let left = || left_of(pid);
    let shown = || format!("{:?}", left());
    let has_kubelets = || {
        let is_kubelet = |path: &PathBuf| {
            let name = fs::read_to_string(path.join("comm")).unwrap_or_default();
            name.trim() == "kubelet"
        };
        Ok(left().iter().filter(|path| is_kubelet(path)).count() == cluster.nodes.len())
    };
    cluster.wait("kubelets", has_kubelets, shown).unwrap();
    assert!(left().iter().any(|path| path.starts_with("/sys/fs/cgroup")));
    other.kill().unwrap();
    other.wait().unwrap();
    cluster
        .wait("everything to be gone", || Ok(left().is_empty()), shown)
        .unwrap();
}
