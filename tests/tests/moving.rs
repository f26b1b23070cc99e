//! A cluster of real nodes moves from kube-vip to xvip, and back, as docs/move-from-kube-vip.md says,
//! while a client goes on asking and fetching.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "clippy sees only functions with #[test] as tests"
)]

use std::{env, fs, process::Command, thread::sleep, time::Duration};

use serde_json::json;
use tests::{
    agent,
    cluster::{AGENT, Cluster, Fetching, IMAGE, KUBE_VIP, KubeVip, NoPage, page_service},
    observer::{Observed, Observer},
    packages::NAMESPACE,
};
use vip_agent::manifest::{self, CLEANUP};

const VIPS: [&str; 2] = ["192.0.2.120", "2001:db8::120"];

/// Between two questions. Each has a sender of its own, and a kernel that answers keeps a neighbour
/// for each: a thousand fill its table (`gc_thresh3`).
const PAUSE: Duration = Duration::from_millis(50);

fn kubectl(cluster: &Cluster, arguments: &[&str]) -> String {
    cluster.control.kubectl(arguments, "").unwrap()
}

/// What `vip-agent` prints.
fn vip_agent(arguments: &[&str]) -> String {
    let output = Command::new(agent::binary())
        .args(arguments)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "vip-agent {arguments:?}: {said}");
    String::from_utf8(output.stdout).unwrap()
}

/// The settings of the cluster as xvip's: what `convert` makes of what kubectl prints.
fn converted(cluster: &Cluster, kube_vip: KubeVip) -> String {
    let services = kubectl(cluster, &["get", "services", "-A", "-o", "yaml"]);
    let sets = match kube_vip {
        KubeVip::Real => kubectl(
            cluster,
            &[
                "get",
                "daemonset",
                KUBE_VIP,
                "-n",
                "kube-system",
                "-o",
                "yaml",
            ],
        ),
        KubeVip::ByHand => "svc_enable=true\nvip_interface=eth0\n".to_owned(),
    };
    let folder = env::temp_dir().join(format!("xvip-move-{}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    let write = |name: &str, text: &str| {
        let path = folder.join(name);
        fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let (settings, services) = (write("kube-vip", &sets), write("services.yaml", &services));
    let text = vip_agent(&["convert", "kube-vip", "-f", &settings, "-f", &services]);
    fs::remove_dir_all(&folder).unwrap();
    text
}

/// The node whose MAC address answers for all VIPs.
fn answerer(cluster: &Cluster, observer: &Observer) -> usize {
    let by = VIPS.map(|vip| {
        observer
            .latest(vip)
            .and_then(|answer| cluster.node_of(answer.by))
    });
    assert_eq!(by[0], by[1], "kube-vip has one leader");
    by[0].unwrap()
}

/// What the observer and the fetching client saw of something that is to leave no trace.
fn unnoticed(cluster: &Cluster, what: &str, work: impl FnOnce(&Observer)) -> Observed {
    let observer = Observer::ask(&cluster.client, &VIPS, PAUSE).unwrap();
    let fetching = Fetching::start(&cluster.client, &VIPS, Duration::from_millis(40)).unwrap();
    sleep(Duration::from_millis(500));
    work(&observer);
    sleep(Duration::from_millis(1500));
    let fetches = fetching.finish().unwrap();
    let observed = observer.finish().unwrap();
    let failed: Vec<_> = (fetches.iter())
        .filter(|fetch| matches!(&fetch.page, Err(no) if !matches!(no, NoPage::Broken(_))))
        .collect();
    let gaps: Vec<_> = observed
        .timelines()
        .into_iter()
        .map(|(vip, line)| (vip, line.longest_gap()))
        .collect();
    println!(
        "{what}: of {} requests {} failed; unanswered at most {gaps:.1?}",
        fetches.len(),
        failed.len()
    );
    observed.one_answerer(None).unwrap();
    assert!(failed.is_empty(), "{what}: {failed:?}");
    observed
}

#[test]
#[ignore = "needs root"]
fn every_service_keeps_its_addresses_from_kube_vip_to_xvip_and_nobody_notices() {
    let cluster = Cluster::shared();
    let cluster = &*cluster;
    println!("three nodes Ready after {:.1?}", cluster.took);
    cluster.serve_page().unwrap();
    let mut service = page_service("web", &["IPv4", "IPv6"], &[]);
    let annotation = ("kube-vip.io/loadbalancerIPs".to_owned(), VIPS.join(","));
    service.metadata.annotations = Some([annotation].into());
    if let Some(spec) = &mut service.spec {
        spec.load_balancer_class = None;
    }
    cluster
        .control
        .apply(&serde_json::to_string(&service).unwrap())
        .unwrap();
    let kube_vip = KubeVip::find(cluster).unwrap();
    kube_vip.start(cluster, "web", &VIPS).unwrap();
    cluster.wait_ingress("web", &VIPS).unwrap();
    for vip in VIPS {
        cluster.wait_page_at(vip, 80).unwrap();
    }

    let mut leader = 0;
    let observed = unnoticed(cluster, "the move", |observer| {
        leader = answerer(cluster, observer);
        println!("kube-vip answers on {}", cluster.nodes[leader].seat.name());
        for kind in ["crds", "rbac"] {
            cluster
                .control
                .apply(&vip_agent(&["manifest", kind]))
                .unwrap();
        }
        cluster
            .control
            .apply(&converted(cluster, kube_vip))
            .unwrap();
        let set = vip_agent(&[
            "manifest",
            "daemonset",
            "--without-config",
            "--image",
            IMAGE,
        ]);
        cluster.control.apply(&set).unwrap();
        cluster.wait_agents().unwrap();
        for vip in VIPS {
            let holder = cluster.wait_holder(vip).unwrap();
            assert_eq!(holder, leader, "{vip} is adopted where it is answered");
        }
        kube_vip.stop(cluster, &VIPS).unwrap();
    });
    let mac = cluster.nodes[leader].seat.mac();
    for vip in VIPS {
        let line = observed.timeline(vip);
        assert_eq!(line.gaps(), [], "{vip}");
        assert_eq!(line.answerers(), [mac].into(), "{vip}");
    }
    cluster.wait_ingress("web", &VIPS).unwrap();

    back(cluster, kube_vip);
}

/// The way back: kube-vip binds beside the agents, and answers once they are gone and cleaned up.
fn back(cluster: &Cluster, kube_vip: KubeVip) {
    let observer = Observer::ask(&cluster.client, &VIPS, PAUSE).unwrap();
    kube_vip.start(cluster, "web", &VIPS).unwrap();
    sleep(Duration::from_secs(8));
    let before = observer.now();
    kubectl(
        cluster,
        &[
            "delete",
            "-n",
            NAMESPACE,
            "daemonset",
            AGENT,
            "--cascade=foreground",
        ],
    );
    let cleanup = manifest::cleanup(NAMESPACE, IMAGE)
        .unwrap()
        .to_yaml()
        .unwrap();
    cluster.control.apply(&cleanup).unwrap();
    let set = format!("daemonset/{CLEANUP}");
    kubectl(
        cluster,
        &["rollout", "status", "-n", NAMESPACE, &set, "--timeout=90s"],
    );
    for vip in VIPS {
        cluster.wait_page_at(vip, 80).unwrap();
    }
    sleep(Duration::from_millis(500));
    let observed = observer.finish().unwrap();
    for vip in VIPS {
        let line = observed.timeline(vip);
        assert_eq!(
            line.clone().before(before).gaps(),
            [],
            "{vip} beside kube-vip"
        );
        let overlaps: Vec<_> = line.overlaps().iter().map(|two| two.length()).collect();
        println!(
            "the way back: {vip} unanswered {:.1?}, by two {overlaps:.1?}",
            line.longest_gap()
        );
        assert_eq!(line.before(before).overlaps(), [], "{vip} beside kube-vip");
    }
    kubectl(cluster, &["delete", "vips", "--all"]);
    let services = cluster.json(&["service", "web"]).unwrap();
    let kept = &services["status"]["loadBalancer"]["ingress"];
    assert_eq!(kept[0]["ip"], json!(VIPS[0]));
}
