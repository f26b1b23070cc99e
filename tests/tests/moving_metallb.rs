//! A cluster of real nodes moves from the real MetalLB to xvip as docs/move-from-metallb.md says,
//! while a client goes on asking and fetching.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "clippy sees only functions with #[test] as tests"
)]

use std::{env, fs, process::Command, thread::sleep, time::Duration};

use serde_json::Value;
use tests::{
    agent,
    cluster::{AGENT, Cluster, Fetching, IMAGE, MetalLb, page_service},
    observer::Observer,
    packages::NAMESPACE,
};

/// What the Service asks for.
const ASKED: &str = "192.0.2.130";
/// What MetalLB may give out besides.
const POOL: [&str; 3] = [
    "192.0.2.130/32",
    "192.0.2.140-192.0.2.149",
    "2001:db8::140-2001:db8::149",
];
const PAUSE: Duration = Duration::from_millis(50);
/// From a speaker's end until somebody of ours answers.
const DARK: Duration = Duration::from_millis(4000);

fn kubectl(cluster: &Cluster, arguments: &[&str]) -> String {
    cluster.control.kubectl(arguments, "").unwrap()
}

fn vip_agent(arguments: &[&str]) -> String {
    let output = Command::new(agent::binary())
        .args(arguments)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "vip-agent {arguments:?}: {said}");
    String::from_utf8(output.stdout).unwrap()
}

/// MetalLB's objects and the Services of the cluster as xvip's.
fn converted(cluster: &Cluster) -> String {
    let folder = env::temp_dir().join(format!("xvip-metallb-{}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    let kinds = "ipaddresspools,l2advertisements,bgpadvertisements,bgppeers";
    let printed = [
        (
            "metallb.yaml",
            kubectl(
                cluster,
                &["get", kinds, "-n", "metallb-system", "-o", "yaml"],
            ),
        ),
        (
            "services.yaml",
            kubectl(cluster, &["get", "svc,ns", "-A", "-o", "yaml"]),
        ),
    ];
    let mut arguments = vec!["convert".to_owned(), "metallb".to_owned()];
    for (name, text) in printed {
        let path = folder.join(name);
        fs::write(&path, text).unwrap();
        arguments.extend(["-f".to_owned(), path.display().to_string()]);
    }
    let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
    let text = vip_agent(&arguments);
    fs::remove_dir_all(&folder).unwrap();
    text
}

/// Addresses in the status of a Service.
fn ingress(cluster: &Cluster, service: &str) -> Vec<String> {
    let service = cluster.json(&["service", service]).unwrap();
    let ingress = service["status"]["loadBalancer"]["ingress"].as_array();
    let addresses = ingress.into_iter().flatten();
    addresses
        .filter_map(|one| one["ip"].as_str().map(str::to_owned))
        .collect()
}

#[test]
#[ignore = "needs root"]
fn every_service_keeps_its_addresses_from_metallb_to_xvip_and_none_has_two_answerers() {
    let cluster = Cluster::shared();
    let cluster = &*cluster;
    println!("three nodes Ready after {:.1?}", cluster.took);
    let Some(metallb) = MetalLb::find(cluster).unwrap() else {
        return;
    };
    cluster.serve_page().unwrap();
    metallb.start(cluster, &POOL).unwrap();
    // One asks for its address, one is given two by MetalLB's pool.
    let services: [(&str, &[&str]); 2] = [("asks", &["IPv4"]), ("given", &["IPv4", "IPv6"])];
    for (name, families) in services {
        let mut service = page_service(name, families, &[]);
        if name == "asks" {
            let asked = ("metallb.io/loadBalancerIPs".to_owned(), ASKED.to_owned());
            service.metadata.annotations = Some([asked].into());
        }
        if let Some(spec) = &mut service.spec {
            spec.load_balancer_class = None;
        }
        let text = serde_json::to_string(&service).unwrap();
        cluster.control.apply(&text).unwrap();
    }
    let has_all = || {
        Ok(services
            .iter()
            .all(|(name, families)| ingress(cluster, name).len() == families.len()))
    };
    let shown = || format!("{:?}", services.map(|(name, _)| ingress(cluster, name)));
    cluster
        .wait("MetalLB to give addresses", has_all, shown)
        .unwrap();
    let given = services.map(|(name, _)| ingress(cluster, name));
    assert_eq!(given[0], [ASKED]);
    let vips: Vec<&str> = given.iter().flatten().map(String::as_str).collect();
    println!("MetalLB gave {vips:?}");
    for vip in &vips {
        cluster.wait_page_at(vip, 80).unwrap();
    }

    let observer = Observer::ask(&cluster.client, &vips, PAUSE).unwrap();
    let fetching = Fetching::start(&cluster.client, &vips, PAUSE).unwrap();
    sleep(Duration::from_millis(500));
    let scale = [
        "scale",
        "deployment",
        "-n",
        "metallb-system",
        "controller",
        "--replicas=0",
    ];
    kubectl(cluster, &scale);
    for kind in ["crds", "rbac"] {
        let text = vip_agent(&["manifest", kind]);
        cluster.control.apply(&text).unwrap();
    }
    cluster.control.apply(&converted(cluster)).unwrap();
    let set = [
        "manifest",
        "daemonset",
        "--without-config",
        "--image",
        IMAGE,
    ];
    cluster.control.apply(&vip_agent(&set)).unwrap();
    cluster.wait_agents().unwrap();
    sleep(Duration::from_secs(3));
    let ends = observer.now();
    kubectl(
        cluster,
        &[
            "delete",
            "ds",
            "-n",
            "metallb-system",
            "speaker",
            "--cascade=foreground",
        ],
    );
    for vip in &vips {
        cluster.wait_holder(vip).unwrap();
        cluster.wait_page_at(vip, 80).unwrap();
    }
    sleep(Duration::from_millis(1500));
    let observed = observer.finish().unwrap();
    let fetches = fetching.finish().unwrap();

    observed.one_answerer(None).unwrap();
    for vip in &vips {
        let line = observed.timeline(vip);
        assert_eq!(
            line.clone().before(ends).gaps(),
            [],
            "{vip} beside the speakers"
        );
        let dark = line.longest_gap();
        println!("{vip}: unanswered for {dark:.1?} after the speakers ended");
        assert!(dark < DARK, "{vip}: {dark:?}");
    }
    let failed = fetches.iter().filter(|fetch| fetch.page.is_err()).count();
    println!(
        "of {} requests {failed} failed, while nobody answered",
        fetches.len()
    );
    assert_eq!(services.map(|(name, _)| ingress(cluster, name)), given);

    // Afterwards `adopt` is taken out again.
    let config = cluster
        .json(&["configmap", AGENT, "-n", NAMESPACE])
        .unwrap();
    let text = config["data"]["config.yaml"].as_str().unwrap_or_default();
    assert!(text.contains("adopt"), "{text}");
    let pools = cluster.json(&["vippools"]).unwrap();
    let names: Vec<_> = pools["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(name_of)
        .collect();
    assert_eq!(names, ["lan"]);
}

fn name_of(object: &Value) -> &str {
    object["metadata"]["name"].as_str().unwrap_or_default()
}
