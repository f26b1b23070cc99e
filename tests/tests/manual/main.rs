//! The documentation, followed: its commands are taken out of the pages and run, each where its
//! page says.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "clippy sees only functions with #[test] as tests"
)]

mod story;
mod tables;

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
    manual::{OfLan, Page, Reader, Tools, broken_links, pages},
    observer::{Observer, PAUSE},
};

use story::Story;
use tables::*;

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
        "In a browser",
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
    let object = story.cluster.json(&["node", &node]).unwrap();
    assert_eq!(object["spec"]["unschedulable"], Value::Null);

    const KEEP_AWAY: &str = "Keep VIPs away from a node, and Pods on it";
    let label = "kubectl label node NODE node.kubernetes.io/exclude-from-external-load-balancers";
    let holder = story.go_to_holder(VIP);
    story.reader.name("NODE", &story.node_name(holder));
    story.follow_only(DRAIN, KEEP_AWAY, &[&format!("{label}=true")]);
    let elsewhere = |other| other != holder;
    story.cluster.wait_held(VIP, elsewhere).unwrap();
    story.follow_only(DRAIN, KEEP_AWAY, &[&format!("{label}-")]);
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
