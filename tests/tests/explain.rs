//! What operators are told: why a VIP is answered or not, by one agent and by the cluster.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "clippy sees only functions with #[test] as tests"
)]

use std::{env, net::Ipv4Addr, os::unix::fs::symlink, path::Path, thread, time::Duration};

use serde_json::Value;
use tests::{
    agent::{Agent, VIP4, VIP6, binary, config, subcommand, until},
    kubernetes::{Bed, Times, User},
    lan::{Lan, RIVAL_MAC},
    netns::{Peer, output_of},
    wire::{Wire, arp_request},
};

/// What a subcommand prints on a node; it must succeed.
fn said(node: &Peer, arguments: &[&str]) -> String {
    let output = subcommand(node, arguments).unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {error}");
    String::from_utf8(output.stdout).unwrap()
}

fn explained(node: &Peer, vip: &str) -> Value {
    serde_json::from_str(&said(node, &["explain", vip, "-o", "json"])).unwrap()
}

fn messages(explanation: &Value) -> Vec<&str> {
    let findings = explanation["findings"].as_array().unwrap().iter();
    findings.map(|it| it["message"].as_str().unwrap()).collect()
}

#[test]
#[ignore = "needs root"]
fn a_static_node_explains_what_it_answers_and_what_contradicts_it() {
    let lan = Lan::new().unwrap();
    let agent = Agent::start(&lan, &config("native", "")).unwrap();
    for vip in [VIP4, VIP6] {
        agent.wait_state(vip, "answering").unwrap();
        let it = explained(&lan.node, vip);
        assert_eq!(messages(&it), [""; 0], "{it:#}");
        assert_eq!(it["answers"], true);
        assert_eq!(it["row"]["kind"], "configuration");
        let home: Vec<&Value> = (it["entries"].as_array().unwrap().iter())
            .filter(|entry| entry["interface"] == "eth0")
            .collect();
        assert_eq!(home[0]["standing"], "answered", "{it:#}");
        let bound = &it["bound"][0];
        assert_eq!(bound["interface"], "eth0");
        assert_eq!(bound["ours"], true);
        assert_eq!(it["session"]["deadlineInMs"], Value::Null);
        let events: Vec<&Value> = it["events"].as_array().unwrap().iter().collect();
        assert!(
            events.iter().any(|event| event["reason"] == "Live"),
            "{it:#}"
        );
    }
    let table = said(&lan.node, &["explain", VIP4]);
    let first = table.lines().next().unwrap();
    assert!(
        first.ends_with("answers for 192.0.2.100 on eth0: the configuration names it"),
        "{table}"
    );

    let archive = env::temp_dir().join(format!("xvip-dump-{}.tar.gz", std::process::id()));
    let out = archive.to_str().unwrap();
    said(&lan.node, &["sysdump", "--output", out]);
    let listed = lan.node.run(&format!("tar -tzf {out}"));
    let missing = lan
        .node
        .run(&format!("tar -xzOf {out} --wildcards '*/missing.txt'"));
    let vips = lan
        .node
        .run(&format!("tar -xzOf {out} --wildcards '*/maps/VIPS.txt'"));
    std::fs::remove_file(&archive).unwrap();
    let listed = listed.unwrap();
    for part in [
        "versions.txt",
        "configuration.txt",
        "environment.txt",
        "status.json",
        "events.json",
        "metrics.txt",
        "ready.txt",
        "explain/192.0.2.100.json",
        "explain/2001-db8--100.json",
        "maps/VIPS.txt",
        "maps/LEASES.txt",
        "links-and-addresses.txt",
        "doctor.txt",
    ] {
        assert!(listed.contains(&format!("/{part}\n")), "{part}: {listed}");
    }
    assert_eq!(missing.unwrap(), "");
    // Two VIPs, each on its interface and on all others.
    assert!(vips.unwrap().lines().count() >= 4);

    let unknown = explained(&lan.node, "192.0.2.99");
    assert_eq!(messages(&unknown), ["192.0.2.99 is not listed"]);
    assert_eq!(unknown["answers"], false);
    let refused = subcommand(&lan.node, &["explain", "web"]).unwrap();
    assert_eq!(refused.status.code(), Some(2));

    let vip: Ipv4Addr = VIP4.parse().unwrap();
    let rival = Wire::open(&lan.rival, "lan0", Duration::from_millis(10)).unwrap();
    rival.send(&arp_request(RIVAL_MAC, vip, vip)).unwrap();
    agent.wait_state(VIP4, "conflict").unwrap();
    let it = explained(&lan.node, VIP4);
    let [found] = messages(&it)[..] else {
        panic!("{it:#}")
    };
    assert!(found.contains(&RIVAL_MAC.to_string()), "{found}");
    let events = agent.get("/v1/events").unwrap();
    let (_, body) = events.split_once("\r\n\r\n").unwrap();
    let events: Value = serde_json::from_str(body).unwrap();
    let latest = &events["events"][0];
    assert_eq!(latest["reason"], "Conflict");
    assert_eq!(latest["vip"], VIP4);
    assert_eq!(latest["severity"], "warning");
}

#[test]
#[ignore = "needs root"]
fn what_is_traced_is_a_capture_whose_frames_say_their_verdict() {
    let lan = Lan::new().unwrap();
    let _agent = Agent::start(&lan, &config("native", "")).unwrap();
    let node = &*lan.node;
    let file = env::temp_dir().join(format!("xvip-trace-{}.pcapng", std::process::id()));
    let traced = thread::scope(|scope| {
        let pcap = file.to_str().unwrap();
        let trace = [
            "trace",
            "--count",
            "2",
            "--seconds",
            "10",
            "--vip",
            VIP4,
            "--pcap",
            pcap,
        ];
        let trace = scope.spawn(move || said(node, &trace));
        let asked = || lan.client.run("arping -c 1 -w 1 -I lan0 192.0.2.100");
        until(
            "the trace's end",
            || {
                let _ = asked();
                Ok(trace.is_finished())
            },
            String::new,
        )
        .unwrap();
        trace.join().unwrap()
    });
    assert_eq!(traced.lines().count(), 2, "{traced}");
    let fields = format!(
        "tshark -r {} -T fields -e frame.interface_name -e arp.dst.proto_ipv4 -e frame.comment",
        file.display()
    );
    let read = lan.client.run(&fields);
    let bytes = std::fs::read(&file);
    std::fs::remove_file(&file).unwrap();
    let expected = "eth0\t192.0.2.100\t192.0.2.100 answered: ";
    let read = read.unwrap();
    assert_eq!(read.lines().count(), 2, "{read}");
    assert!(
        read.lines().all(|line| line.starts_with(expected)),
        "{read} {bytes:?}"
    );

    let out = thread::scope(|scope| {
        let trace = ["trace", "--count", "1", "--seconds", "10", "--pcap", "-"];
        let trace = scope.spawn(move || subcommand(node, &trace).unwrap().stdout);
        let asked = || lan.client.run("arping -c 1 -w 1 -I lan0 192.0.2.100");
        until(
            "the trace's end",
            || {
                let _ = asked();
                Ok(trace.is_finished())
            },
            String::new,
        )
        .unwrap();
        trace.join().unwrap()
    });
    let magic = 0x0a0d_0d0a_u32.to_le_bytes();
    assert_eq!(out[..4], magic, "nothing but the capture");
}

/// Runs a program on the control plane's host as admin, with the plugin on its PATH.
fn as_admin(bed: &Bed, program: &Path, arguments: &[&str]) -> String {
    let folder = env::temp_dir().join(format!("xvip-plugin-{}", std::process::id()));
    let _ = std::fs::create_dir(&folder);
    let _ = symlink(
        binary().canonicalize().unwrap(),
        folder.join("kubectl-xvip"),
    );
    let mut command = bed.control.host.command(&program.to_string_lossy());
    command.args(arguments);
    command.env("KUBECONFIG", bed.control.kubeconfig(User::Admin));
    let path = env::var("PATH").unwrap_or_default();
    command.env("PATH", format!("{}:{path}", folder.display()));
    let said = output_of(&mut command);
    let _ = std::fs::remove_dir_all(&folder);
    said.unwrap()
}

fn kubectl() -> std::path::PathBuf {
    Path::new(&env::var_os("KUBEBUILDER_ASSETS").unwrap()).join("kubectl")
}

#[test]
#[ignore = "needs root"]
fn the_cluster_says_who_answers_for_what_and_why_by_agent_by_objects_and_by_kubectl() {
    let (bed, observer) = Bed::serving(2, Times::TWO_SECONDS.config).unwrap();
    let owner = bed.owner(&observer, VIP4).unwrap();
    let (owner, other) = (&bed.nodes[owner], &bed.nodes[1 - owner]);
    let (here, there) = (owner.name(), other.name());
    // The owner's status is told, and the other has seen the `Vip`.
    for node in [owner, other] {
        let it = || explained(node.peer(), VIP4);
        let is_quiet = || Ok(messages(&it()).is_empty());
        until("nothing to find", is_quiet, || format!("{:#}", it())).unwrap();
    }

    let it = explained(owner.peer(), VIP4);
    assert_eq!(
        (&it["answers"], &it["row"]["here"]),
        (&true.into(), &true.into())
    );
    assert_eq!(it["row"]["kind"], "bucket");
    assert!(
        it["row"]["name"].as_str().unwrap().contains("bucket 21"),
        "{it:#}"
    );
    assert_eq!(it["assignment"]["services"][0], "default/web-0");
    assert!(it["session"]["deadlineInMs"].as_i64().unwrap() > 0);
    let eligible: Vec<bool> = (it["candidates"].as_array().unwrap().iter())
        .map(|candidate| candidate["eligible"].as_bool().unwrap())
        .collect();
    assert_eq!(eligible, [true, true], "{it:#}");

    let it = explained(other.peer(), VIP4);
    assert_eq!(messages(&it), [""; 0], "{it:#}");
    assert_eq!(it["answers"], false);
    let summary = it["summary"].as_str().unwrap();
    assert!(
        summary.starts_with(&format!("{here} answers for {VIP4}, not {there}")),
        "{summary}"
    );

    let status = as_admin(&bed, &binary(), &["status", "--cluster", "-o", "json"]);
    let status: Value = serde_json::from_str(&status).unwrap();
    assert_eq!(status["nodes"].as_array().unwrap().len(), 2, "{status:#}");
    assert!((status["nodes"].as_array().unwrap().iter()).all(|node| node["session"] == "live"));
    let vips = status["vips"].as_array().unwrap();
    assert_eq!(vips.len(), 4);
    for vip in vips {
        assert_eq!(
            (&vip["state"], &vip["note"]),
            (&"answering".into(), &Value::Null),
            "{vip:#}"
        );
        assert_eq!(vip["node"], vip["row"]);
    }
    let table = as_admin(&bed, &kubectl(), &["xvip", "status"]);
    let line = table
        .lines()
        .find(|line| line.trim_start().starts_with(VIP4))
        .unwrap();
    assert!(
        line.contains(&here) && line.contains("default/web-0"),
        "{table}"
    );

    let explain = as_admin(&bed, &kubectl(), &["xvip", "explain", VIP4, "-o", "json"]);
    let it: Value = serde_json::from_str(&explain).unwrap();
    assert_eq!(messages(&it), [""; 0], "{it:#}");
    let summary = it["summary"].as_str().unwrap();
    assert!(
        summary.starts_with(&format!("{here} answers for {VIP4}: bucket 21")),
        "{summary}"
    );

    bed.exclude(owner.number - 1, true).unwrap();
    bed.wait_moved(&observer, &[VIP4], owner.number - 1)
        .unwrap();
    let told = || explained(owner.peer(), VIP4);
    let moved = || {
        told()["summary"]
            .as_str()
            .unwrap()
            .starts_with(&format!("{there} answers"))
    };
    until(
        "the former owner to say so",
        || Ok(moved()),
        || format!("{:#}", told()),
    )
    .unwrap();
    let it = told();
    let candidate = &it["candidates"][owner.number - 1];
    assert_eq!(candidate["eligible"], false);
    assert!(
        candidate["why"].as_str().unwrap().starts_with("excluded"),
        "{it:#}"
    );
    let reasons: Vec<&str> = (it["events"].as_array().unwrap().iter())
        .map(|event| event["reason"].as_str().unwrap())
        .collect();
    assert!(
        reasons.contains(&"Withdrawn") && reasons.contains(&"Live"),
        "{it:#}"
    );
}
