//! `cargo xtask demo`: what xvip does, shown with the tools of everyday use. Each step prints the
//! command with what it said, and the end is a table.

use std::{
    fmt::Display,
    process::{ExitCode, Stdio},
    thread,
    time::Duration,
};

use serde_json::Value;
use tests::{
    agent::{Agent, PINS, VIP4, VIP6, until},
    lan::{Lan, NODE_MAC, RIVAL_MAC},
    netns::{BedError, Peer, output_of, system},
};
use vip_common::abi::LAYOUT;

fn main() -> ExitCode {
    let mut table = Table::default();
    for mode in ["native", "tc"] {
        println!("\n==== mode {mode}");
        if let Err(error) = show(mode, &mut table) {
            table.row(mode, "the demo itself", false, error);
        }
    }
    table.finish()
}

/// One row per claim.
#[derive(Default)]
struct Table {
    rows: Vec<(String, String, bool, String)>,
}

impl Table {
    fn row(&mut self, mode: &str, claim: &str, holds: bool, seen: impl Display) {
        let seen = seen.to_string();
        println!("-> {claim}: {} ({seen})", word(holds));
        self.rows.push((mode.into(), claim.into(), holds, seen));
    }

    fn finish(self) -> ExitCode {
        println!("\n{:<7} {:<48} {:<6} seen", "mode", "what", "");
        for (mode, claim, holds, seen) in &self.rows {
            println!("{mode:<7} {claim:<48} {:<6} {seen}", word(*holds));
        }
        match self.rows.iter().all(|(.., holds, _)| *holds) {
            true => ExitCode::SUCCESS,
            false => ExitCode::FAILURE,
        }
    }
}

fn word(holds: bool) -> &'static str {
    if holds { "ok" } else { "FAILED" }
}

/// Runs a command, shows it with its output, and returns that. What it exits with is not judged.
fn shell(host: &Peer, name: &str, command: &str) -> Result<String, BedError> {
    println!("{name}$ {command}");
    let said = output_of(host.command("sh").args(["-c", command]))?;
    print!("{said}");
    Ok(said)
}

fn show(mode: &str, table: &mut Table) -> Result<(), BedError> {
    let lan = Lan::new()?;
    let config = format!(
        "interfaces: [eth0]\nattach: {mode}\nprefix: \"128\"\n\
         vips: [{{address: {VIP4}}}, {{address: \"{VIP6}\"}}]\n"
    );
    println!(
        "node$ vip-agent run   # with CAP_BPF, CAP_NET_ADMIN, CAP_NET_RAW and no other\n{config}"
    );
    let mut agent = Agent::start(&lan, &config)?;
    let shown = capabilities(&agent)?;
    table.row(mode, "exactly three capabilities", shown == THREE, shown);
    let attach = agent.status()?["interfaces"][0]["attach"].clone();
    table.row(mode, "programs attached", attach == mode, attach);
    clients_ask(mode, &lan, &agent, table)?;
    tools_see(mode, &lan, &agent, table)?;
    agent_dies(mode, &lan, &mut agent, table)?;
    rival_claims(mode, &lan, &agent, table)?;
    agent.terminate()?;
    let left = shell(&lan.node, "node", "ip -br addr show dev eth0")?;
    let gone = !left.contains(VIP4) && !left.contains(VIP6);
    table.row(
        mode,
        "SIGTERM withdraws the VIPs",
        gone,
        "addresses removed",
    );
    Ok(())
}

/// CAP_NET_ADMIN (12), CAP_NET_RAW (13), CAP_BPF (39).
const THREE: &str = "0000008000003000";

fn capabilities(agent: &Agent) -> Result<String, BedError> {
    let status = std::fs::read_to_string(format!("/proc/{}/status", agent.pid()));
    let status = status.unwrap_or_default();
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    Ok(effective.unwrap_or("none").trim().to_owned())
}

fn clients_ask(mode: &str, lan: &Lan, agent: &Agent, table: &mut Table) -> Result<(), BedError> {
    let client = |command: &str| shell(&lan.client, "client", command);
    let mac = NODE_MAC.to_string();
    let before = agent.frames("answered")?;

    let bound = shell(&lan.node, "node", "ip -br addr show dev eth0")?;
    let masks = bound.contains("192.0.2.100/32") && bound.contains("2001:db8::100/128");
    table.row(mode, "each family has its own mask", masks, "/32 and /128");

    let said = client("arping -c 3 -w 5 -I lan0 192.0.2.100")?;
    let fine = said.contains("3 packets received") && said.contains(&mac);
    table.row(mode, "arping is answered", fine, &mac);
    let said = client("ndisc6 -1 2001:db8::100 lan0")?;
    table.row(
        mode,
        "ndisc6 is answered",
        said.to_lowercase().contains(&mac),
        &mac,
    );
    let answered = agent.frames("answered")? - before;
    let left = agent.frames("left")?;
    let seen = format!("{answered} by the programs, {left} left to the stack");
    let counted = answered >= 4.0 && left == 0.0;
    table.row(mode, "XDP or tc answered, not the stack", counted, seen);

    for vip in [VIP4, VIP6] {
        let said = client(&format!("ping -c 2 -W 3 {vip}"))?;
        let fine = said.contains(" 0% packet loss");
        table.row(mode, "ping reaches the VIP", fine, vip);
    }
    let neighbours = client("ip neigh show dev lan0")?;
    let fine = [VIP4, VIP6].iter().all(|vip| {
        let entry = format!("{vip} lladdr {mac} REACHABLE");
        neighbours.lines().any(|line| line.starts_with(&entry))
    });
    table.row(
        mode,
        "the client's neighbour table agrees",
        fine,
        "REACHABLE",
    );
    Ok(())
}

fn tools_see(mode: &str, lan: &Lan, agent: &Agent, table: &mut Table) -> Result<(), BedError> {
    let dump = format!("bpftool -j map dump pinned {PINS}/{LAYOUT}/VIPS");
    println!("node$ {dump}");
    let said = lan.node.run(&dump)?;
    let entries: Value = serde_json::from_str(&said).unwrap_or_default();
    let entries = entries.as_array().cloned().unwrap_or_default();
    for entry in &entries {
        println!("  {{\"formatted\": {}}}", entry["formatted"]);
    }
    let named = entries.iter().all(|entry| {
        let formatted = &entry["formatted"];
        formatted["key"]["address"].is_array()
            && formatted["value"]["mac"].is_array()
            && formatted["value"]["epoch"].is_u64()
    });
    let seen = format!("{} entries of VIPS", entries.len());
    let fine = named && !entries.is_empty();
    table.row(mode, "bpftool prints fields by name", fine, seen);

    let metrics = agent.get("/metrics")?;
    println!("node$ curl -s 127.0.0.1:9470/metrics | grep '^xvip_vip'");
    for line in metrics.lines().filter(|line| line.starts_with("xvip_vip")) {
        println!("{line}");
    }
    let series = metrics
        .lines()
        .filter(|line| line.starts_with("xvip_"))
        .count();
    let held = agent.metric("xvip_vip_held", &[])?;
    let fine = held == 2.0 && metrics.contains("# EOF");
    table.row(
        mode,
        "/metrics is scraped",
        fine,
        format!("{series} series, {held} VIPs held"),
    );
    Ok(())
}

fn agent_dies(mode: &str, lan: &Lan, agent: &mut Agent, table: &mut Table) -> Result<(), BedError> {
    let asking = "arping -c 400 -W 0.01 -I lan0 192.0.2.100";
    println!("client$ {asking}   # meanwhile: kill -9 of the agent, and a second later a new one");
    let mut client = lan.client.command("sh");
    let client = client
        .args(["-c", &format!("{asking} | tail -n 4")])
        .stdout(Stdio::piped())
        .spawn()
        .map_err(system("spawn arping"))?;
    thread::sleep(Duration::from_millis(500));
    agent.kill()?;
    thread::sleep(Duration::from_secs(1));
    agent.restart()?;
    let output = client
        .wait_with_output()
        .map_err(system("wait for arping"))?;
    let said = String::from_utf8_lossy(&output.stdout);
    print!("{said}");
    let statistics = said
        .lines()
        .find(|line| line.contains("packets transmitted"))
        .unwrap_or("no statistics")
        .trim();
    let fine = statistics.starts_with("400 packets transmitted, 400 packets received");
    table.row(
        mode,
        "kill -9 under arping: no answer missed",
        fine,
        statistics,
    );
    Ok(())
}

fn rival_claims(mode: &str, lan: &Lan, agent: &Agent, table: &mut Table) -> Result<(), BedError> {
    // A client takes a new MAC only a second after its entry's last change (locktime).
    shell(
        &lan.client,
        "client",
        "ping -c 1 -W 3 192.0.2.100 | tail -n 2",
    )?;
    thread::sleep(Duration::from_millis(1200));
    let defended = agent.frames("defended")?;
    let claim = "arping -U -c 1 -I lan0 -S 192.0.2.100 192.0.2.100 > /dev/null; true";
    shell(&lan.rival, "rival", claim)?;
    let conflicts = || agent.metric("xvip_conflicts_total", &["vip=\"192.0.2.100\""]);
    until("the conflict", || Ok(conflicts()? > 0.0), || agent.log())?;
    let defended = agent.frames("defended")? - defended;
    let seen = format!("{defended} announcement, {} conflicts", conflicts()?);
    table.row(
        mode,
        "a rival's gratuitous ARP is defended",
        defended == 1.0,
        seen,
    );
    let row = agent.vip(VIP4)?;
    let log = agent.log();
    let line = log.lines().find(|line| line.contains("\"Conflict\""));
    println!("log: {}", line.unwrap_or_default());
    println!("status: {row}");
    let reported = row["state"] == "conflict"
        && line.is_some_and(|line| line.contains(&RIVAL_MAC.to_string()));
    table.row(mode, "and reported", reported, "log, /v1/status, /metrics");
    let entry = shell(&lan.client, "client", "ip neigh show 192.0.2.100 dev lan0")?;
    let ours = entry.contains(&NODE_MAC.to_string());
    table.row(mode, "the client still has our MAC", ours, entry.trim());
    Ok(())
}
