//! What an operator sees: status, trace, doctor, log, and the page about bpftool.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "clippy sees only functions with #[test] as tests"
)]

use std::{
    process::{Command, Output},
    thread,
    time::Duration,
};

use serde_json::Value;
use tests::{
    agent::{self, Agent, MODES, VIP4, VIP6, config, until},
    lan::{CLIENT_MAC, Lan, NODE_MAC, RIVAL_MAC, end_chain},
    observer::{Observer, observe},
    wire::{Wire, arp_request},
};
use vip_agent::io::datapath::AttachType;

/// Why a question of hardware type 6 is left.
const ODD: &str = "hardware type 6 (IEEE 802)";

fn printed(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// What `vip-agent trace` says while `ask` runs again and again.
fn traced(lan: &Lan, arguments: &[&str], ask: impl Fn()) -> String {
    let arguments = [&["trace"], arguments].concat();
    thread::scope(|scope| {
        let trace = scope.spawn(|| agent::subcommand(&lan.node, &arguments));
        while !trace.is_finished() {
            ask();
            thread::sleep(Duration::from_millis(20));
        }
        let output = trace.join().unwrap().unwrap();
        assert!(output.status.success(), "{output:?}");
        printed(&output)
    })
}

#[test]
#[ignore = "needs root"]
fn trace_shows_each_decision_with_its_reason_and_filters_by_vip_and_client() {
    for mode in MODES {
        let lan = Lan::new().unwrap();
        let agent = Agent::start(&lan, &config(mode, "")).unwrap();
        let rival = Wire::open(&lan.rival, "lan0", Duration::from_millis(1)).unwrap();
        let _observer = Observer::start(&lan, &[VIP4, VIP6]).unwrap();
        let by_rival = arp_request(RIVAL_MAC, [192, 0, 2, 3].into(), VIP4.parse().unwrap());
        let mut odd = by_rival.clone();
        odd[14..16].copy_from_slice(&[0, 6]);
        let ask = || {
            rival.send(&by_rival).unwrap();
            rival.send(&odd).unwrap();
        };
        let documents = |text: &str| -> Vec<Value> {
            text.lines()
                .map(|line| serde_json::from_str(line).unwrap())
                .collect()
        };

        let of_vip6 = traced(&lan, &["--vip", VIP6, "--count", "5", "-o", "json"], ask);
        let of_vip6 = documents(&of_vip6);
        assert_eq!(of_vip6.len(), 5);
        for decision in &of_vip6 {
            assert_eq!(decision["vip"], VIP6, "{decision}");
            assert_eq!(decision["client_mac"], CLIENT_MAC.to_string());
            assert_eq!(
                (&decision["verdict"], &decision["reason"]),
                (&"answered".into(), &"regular".into())
            );
        }

        // By its address or its MAC address; what is unusual is left to the kernel.
        for client in ["192.0.2.3".to_owned(), RIVAL_MAC.to_string()] {
            let arguments = ["--client", &client, "--count", "6", "-o", "json"];
            let of_rival = documents(&traced(&lan, &arguments, ask));
            let told = |verdict: &str, reason: &str| {
                let is_it = |it: &&Value| it["verdict"] == verdict && it["reason"] == reason;
                of_rival.iter().filter(is_it).count()
            };
            assert!(
                of_rival
                    .iter()
                    .all(|it| it["client"] == "192.0.2.3" && it["vip"] == VIP4)
            );
            assert_eq!(told("answered", "regular") + told("left", ODD), 6);
            assert!(told("answered", "regular") > 0 && told("left", ODD) > 0);
        }

        agent::fence(&lan.node).unwrap();
        let line = traced(&lan, &["--client", "192.0.2.3", "--count", "1"], ask);
        for part in [
            "eth0 192.0.2.100 fenced: this node does not own the VIP now",
            &RIVAL_MAC.to_string(),
            "ARP, who-has 192.0.2.100 tell 192.0.2.3",
        ] {
            assert!(line.contains(part), "{line}");
        }
        drop(agent);
    }
}

#[test]
#[ignore = "needs root"]
fn status_is_a_table_json_and_yaml_of_one_content() {
    let lan = Lan::new().unwrap();
    let agent = Agent::start(&lan, &config("tc", "")).unwrap();
    observe(&lan, &[VIP4], Duration::from_millis(100)).unwrap();
    let status = |form: &str| {
        let output = agent::subcommand(&lan.node, &["status", "-o", form]).unwrap();
        assert!(output.status.success(), "{output:?}");
        printed(&output)
    };
    let json: Value = serde_json::from_str(&status("json")).unwrap();
    assert_eq!(json, agent.status().unwrap());
    let row = &json["vips"][0];
    assert_eq!(
        (&row["address"], &row["state"]),
        (&VIP4.into(), &"answering".into())
    );
    assert!(row["answers"].as_u64() >= Some(40), "{row}");
    let (table, yaml) = (status("table"), status("yaml"));
    for text in [&table, &yaml] {
        for part in [VIP4, VIP6, "eth0", "answering", &NODE_MAC.to_string()] {
            assert!(text.contains(part), "{text}");
        }
    }
    assert!(table.contains("ANSWERS") && yaml.contains("answers:"));
}

#[test]
#[ignore = "needs root"]
fn doctor_shows_the_order_of_programs_and_finds_what_is_wrong_with_a_fix_for_each() {
    let lan = Lan::new().unwrap();
    let mut agent = Agent::start(&lan, &config("tc", "")).unwrap();
    let doctor = || {
        let listed = format!("{VIP4},{VIP6}");
        let arguments = [
            "doctor",
            "--interfaces",
            "eth0",
            "--vips",
            &listed,
            "-o",
            "json",
        ];
        let output = agent::subcommand(&lan.node, &arguments).unwrap();
        let diagnosis: Value = serde_json::from_str(&printed(&output)).unwrap();
        assert_eq!(
            output.status.code(),
            Some(i32::from(diagnosis["ok"] != true))
        );
        diagnosis
    };
    let chain = |diagnosis: &Value| {
        let rows = diagnosis["interfaces"].as_array().unwrap();
        let row = rows.iter().find(|row| row["name"] == "eth0").unwrap();
        let names: Vec<String> = row["tc_in"]
            .as_array()
            .unwrap()
            .iter()
            .map(|name| {
                name.as_str()
                    .unwrap()
                    .split(" #")
                    .next()
                    .unwrap()
                    .to_owned()
            })
            .collect();
        names
    };
    let mut healthy = Value::Null;
    // A node is ready with its first VIP; the other follows.
    let nothing_found = agent::until(
        "no finding",
        || {
            healthy = doctor();
            Ok(healthy["findings"] == Value::Array(vec![]))
        },
        String::new,
    );
    nothing_found.unwrap_or_else(|error| panic!("{error}: {healthy}"));
    assert_eq!(chain(&healthy), ["xvip"]);

    agent.kill().unwrap();
    let _foreign = lan
        .node
        .enter(|| end_chain("eth0", AttachType::BPF_TCX_INGRESS))
        .unwrap();
    lan.node.run("ip addr del 192.0.2.100/32 dev eth0").unwrap();
    lan.switch.run("ip link set eth0 down").unwrap();
    let expected = [
        ("agent", "no agent answers at 127.0.0.1:9470"),
        ("eth0", "runs before xvip"),
        ("eth0", "it serves VIPs and carries no traffic"),
        (VIP4, "it is answered and not bound"),
    ];
    let fix = |ill: &Value, (subject, message): (&str, &str)| {
        let findings = ill["findings"].as_array()?;
        let found = findings.iter().find(|finding| {
            finding["subject"] == subject && finding["message"].as_str().unwrap().contains(message)
        })?;
        Some(found["fix"].as_str()?.to_owned())
    };
    let mut ill = Value::Null;
    // The kernel tells of a lost carrier up to a second later.
    let found = agent::until(
        "all findings",
        || {
            ill = doctor();
            Ok(expected.iter().all(|one| fix(&ill, *one).is_some()))
        },
        String::new,
    );
    found.unwrap_or_else(|error| panic!("{error}: {ill}"));
    assert_eq!(ill["ok"], false);
    let order = chain(&ill);
    assert!(order.len() == 2 && order[1] == "xvip", "{order:?}");
    for one in expected {
        let fix = fix(&ill, one);
        assert!(
            fix.as_ref().is_some_and(|fix| fix.len() > 10),
            "{one:?}: {fix:?}"
        );
    }
    assert!(!ill.to_string().contains("see the message"));
}

#[test]
#[ignore = "needs root"]
fn doctor_tells_of_an_agent_that_hangs() {
    let lan = Lan::new().unwrap();
    let agent = Agent::start(&lan, &config("tc", "")).unwrap();
    agent.signal(nix::sys::signal::Signal::SIGSTOP).unwrap();
    let output = agent::subcommand(&lan.node, &["doctor", "--interfaces", "eth0"]).unwrap();
    let found = printed(&output);
    assert!(
        found.contains("error: agent: it hangs") && found.contains("fix: `kill -9` it"),
        "{found}"
    );
}

#[test]
#[ignore = "needs root"]
fn json_lines_have_fields_and_the_programs_own_lines_come_at_debug_alone() {
    for (level, expected) in [("debug", true), ("info", false)] {
        let lan = Lan::new().unwrap();
        let config = config("native", "").replace(
            "log: {level: debug}",
            &format!("log: {{level: {level}, format: json}}"),
        );
        let agent = Agent::start(&lan, &config).unwrap();
        let claim = arp_request(RIVAL_MAC, VIP4.parse().unwrap(), VIP4.parse().unwrap());
        Wire::open(&lan.rival, "lan0", Duration::from_millis(1))
            .unwrap()
            .send(&claim)
            .unwrap();
        agent.wait_log("\"Conflict\"").unwrap();
        let lines = || -> Vec<Value> {
            agent
                .log()
                .lines()
                .map(|line| serde_json::from_str(line).unwrap())
                .collect()
        };
        let conflict = lines()
            .into_iter()
            .find(|line| line["fields"]["reason"] == "Conflict")
            .unwrap();
        assert_eq!(conflict["level"], "WARN");
        assert_eq!(conflict["fields"]["vip"], VIP4);
        assert_eq!(conflict["fields"]["interface"], "eth0");
        let by_programs = |line: &Value| line["fields"]["message"] == "conflict";
        if expected {
            until(
                "the program's line",
                || Ok(lines().iter().any(by_programs)),
                || agent.log(),
            )
            .unwrap();
            assert!(
                lines()
                    .iter()
                    .filter(|line| by_programs(line))
                    .all(|line| line["level"] == "DEBUG")
            );
        } else {
            thread::sleep(Duration::from_millis(300));
            assert!(!lines().iter().any(by_programs), "{}", agent.log());
        }
    }
}

const PAGE: &str = include_str!("../../docs/bpftool.md");

/// The commands of the page, each with the lines that it shows as output.
fn examples() -> Vec<(String, Vec<&'static str>)> {
    let mut examples: Vec<(String, Vec<&str>)> = Vec::new();
    for line in PAGE.lines() {
        let Some(line) = line.strip_prefix("    ") else {
            continue;
        };
        match (line.strip_prefix("# "), examples.last_mut()) {
            (Some(command), _) => examples.push((command.to_owned(), Vec::new())),
            (None, Some((command, shown))) => match command.strip_suffix('\\') {
                Some(start) => *command = format!("{start}{}", line.trim()),
                None => shown.push(line),
            },
            (None, None) => {}
        }
    }
    examples
}

/// Text without the numbers that differ from one host to the next, and without the program's hash.
fn words(line: &str) -> String {
    let mut words: Vec<&str> = line.split_whitespace().collect();
    if let Some(tag) = words.iter().position(|word| *word == "tag") {
        words.truncate(tag + 1);
    }
    words.join(" ").replace(|it: char| it.is_ascii_digit(), "")
}

#[test]
#[ignore = "needs root"]
fn the_page_about_bpftool_shows_what_its_commands_print() {
    let lan = Lan::new().unwrap();
    let agent = Agent::start(&lan, &config("auto", "")).unwrap();
    lan.client
        .run("arping -c 2 -w 5 -I lan0 192.0.2.100")
        .unwrap();
    lan.client.run("ndisc6 -1 2001:db8::100 lan0").unwrap();
    lan.rival
        .run("arping -U -c 1 -I lan0 -S 192.0.2.100 192.0.2.100 > /dev/null; true")
        .unwrap();
    until(
        "the defence",
        || Ok(agent.frames("defended")? > 0.0),
        || agent.log(),
    )
    .unwrap();
    // The page is of a node whose eth0 has the index 2.
    let index = lan.ifindex("eth0").unwrap();
    let examples = examples();
    assert!(examples.len() >= 8, "{examples:?}");
    let mut program = String::new();
    for (command, shown) in examples {
        let command = command
            .replace("prog show id 1486", &format!("prog show id {program}"))
            .replace("/links/2-", &format!("/links/{index}-"))
            .replace(
                "02 00 00 00  00 00 00 00",
                &format!("{index:02x} 00 00 00  00 00 00 00"),
            );
        let printed = lan.node.run(&command).unwrap();
        assert!(!printed.trim().is_empty(), "{command}");
        if let Some((_, id)) = printed.split_once("  prog ") {
            program = id.trim().to_owned();
        }
        let printed: Vec<String> = printed.lines().map(words).collect();
        for line in shown
            .into_iter()
            .filter(|line| !line.trim().ends_with("..."))
        {
            let expected = words(line);
            assert!(
                printed.contains(&expected),
                "{command}\nprints no line like {line:?}:\n{}",
                printed.join("\n")
            );
        }
    }
}

#[test]
#[ignore = "needs systemd-analyze"]
fn systemd_takes_the_unit_without_a_complaint() {
    let unit = include_str!("../../deploy/systemd/xvip.service");
    let agent = agent::binary().canonicalize().unwrap();
    let unit = unit.replace("/usr/local/bin/vip-agent", &agent.to_string_lossy());
    let directory = std::env::temp_dir().join(format!("xvip-unit-{}", std::process::id()));
    std::fs::create_dir(&directory).unwrap();
    let path = directory.join("xvip.service");
    std::fs::write(&path, unit).unwrap();
    let verified = Command::new("systemd-analyze")
        .args(["verify", "--man=no"])
        .arg(&path)
        .output()
        .unwrap();
    std::fs::remove_dir_all(&directory).unwrap();
    let said = String::from_utf8_lossy(&verified.stderr);
    assert!(
        verified.status.success() && said.trim().is_empty(),
        "{said}"
    );
}
