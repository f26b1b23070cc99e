//! `cargo xtask pictures`: real agents in network namespaces, as docs/pictures shows them.

mod terminal;

use std::{env, fs, net::Ipv4Addr, path::Path, process::ExitCode, thread, time::Duration};

use tests::{
    agent::{self, Agent, VIP4, VIP6, config, until},
    browser::Browser,
    kubernetes::{Bed, User, load_balancer},
    lan::{Lan, RIVAL_MAC},
    netns::{BedError, Peer, output_of, system},
    prometheus::{self, Prometheus, panels},
    wire::{Wire, arp_request},
};

/// [`VIP4`], which a rival claims.
const VIP: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 100);
/// Pixels of a window.
const WINDOW: (u32, u32) = (1100, 900);
/// Of a page that has more to show, the beginning has to do.
const HIGHEST: u32 = 1150;
/// What of the dashboard is shown.
const PANELS: [&str; 2] = ["Who holds what", "Conflicts and flaps"];
/// Where a Prometheus elsewhere finds the agents.
const METRICS: &str = "metrics: ':9480'\n";
/// So long the graphs rest between two things that happen.
const REST: Duration = Duration::from_secs(20);

fn main() -> ExitCode {
    let Some(folder) = env::args_os().nth(1) else {
        eprintln!("error: name the folder for the pictures");
        return ExitCode::FAILURE;
    };
    match draw(Path::new(&folder)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn draw(folder: &Path) -> Result<(), BedError> {
    fs::create_dir_all(folder).map_err(system("mkdir"))?;
    of_a_host(folder)?;
    of_a_cluster(folder)
}

/// What doctor finds on a plain host whose agent was killed, and whose address somebody removed.
fn of_a_host(folder: &Path) -> Result<(), BedError> {
    println!("pictures: a plain host");
    let lan = Lan::new()?;
    let mut agent = Agent::start(&lan, &config("auto", ""))?;
    for vip in [VIP4, VIP6] {
        agent.wait_state(vip, "answering")?;
    }
    agent.kill()?;
    lan.node.run(&format!("ip addr del {VIP4}/32 dev eth0"))?;
    let listed = format!("{VIP4},{VIP6}");
    let doctor = ["doctor", "--interfaces", "eth0", "--vips", &listed];
    terminal(folder, "doctor", "node-a", &lan.node, &doctor)
}

/// Three nodes of a cluster, a VIP that moves, a node that dies, a rival.
fn of_a_cluster(folder: &Path) -> Result<(), BedError> {
    println!("pictures: a cluster of three");
    let (mut bed, observer) = Bed::serving(3, METRICS)?;
    let targets: Vec<(String, String)> = (bed.nodes.iter())
        .map(|node| (node.name(), format!("{}:9480", node.seat().management())))
        .collect();
    let targets: Vec<(&str, &str)> = targets.iter().map(|it| (&*it.0, &*it.1)).collect();
    let prometheus = Prometheus::start(&bed.control.host, &targets)?;
    let holder = |bed: &Bed| bed.owner(&observer, VIP4).unwrap_or_default();
    thread::sleep(REST);

    println!("pictures: its node takes no more VIPs");
    let first = holder(&bed);
    bed.exclude(first, true)?;
    bed.wait_moved(&observer, &[VIP4], first)?;
    thread::sleep(REST);
    bed.exclude(first, false)?;

    println!("pictures: the next node loses its power");
    let second = holder(&bed);
    bed.power_off(second)?;
    bed.wait_moved(&observer, &[VIP4], second)?;
    thread::sleep(REST);
    bed.power_on(second)?;
    let config = bed.config(second, METRICS);
    bed.start_agent(second, &config)?;
    bed.nodes[second].agent().wait_ready()?;
    thread::sleep(REST);

    println!("pictures: more Services, whose VIPs fall to any of the nodes");
    for number in 2..5 {
        let mut service = load_balancer(&format!("web-{number}"), &["IPv4", "IPv6"]);
        let vips = format!("192.0.2.10{number},2001:db8::10{number}");
        let annotation = ("xvip.io/addresses".to_owned(), vips);
        service.metadata.annotations = Some([annotation].into());
        bed.create_service(&service)?;
    }

    println!("pictures: a rival claims the VIP");
    let rival = Wire::open(&bed.client, "lan0", Duration::from_millis(10))?;
    let node = &bed.nodes[holder(&bed)];
    for _claim in 0..3 {
        rival.send(&arp_request(RIVAL_MAC, VIP, VIP))?;
        thread::sleep(Duration::from_secs(2));
    }
    node.agent().wait_state(VIP4, "conflict")?;
    let (name, peer) = (node.name(), node.peer());
    terminal(folder, "status", &name, peer, &["status"])?;
    terminal(folder, "explain", &name, peer, &["explain", VIP4])?;
    let mut status = bed.control.host.command(&agent::binary().to_string_lossy());
    status.args(["status", "--cluster"]);
    status.env("KUBECONFIG", bed.control.kubeconfig(User::Admin));
    let said = output_of(&mut status)?;
    let shown = terminal::picture("admin$ vip-agent status --cluster", &said);
    keep(folder, "cluster.svg", shown.as_bytes())?;

    let browser = Browser::open(peer, WINDOW)?;
    browser.visit("http://127.0.0.1:9470/")?;
    rival.send(&arp_request(RIVAL_MAC, VIP, VIP))?;
    let shown = || browser.evaluate("return document.getElementById('vips').innerText");
    let is_told = || Ok(shown()?.to_string().contains("conflict"));
    until("the page", is_told, || format!("{:?}", shown()))?;
    keep(folder, "page.png", &browser.screenshot(HIGHEST)?)?;
    dashboard(folder, &bed, &prometheus)
}

/// Queries of the dashboard on the page of Prometheus, which has no dashboards.
fn dashboard(folder: &Path, bed: &Bed, prometheus: &Prometheus) -> Result<(), BedError> {
    let panels = panels("10s")?;
    let mut graphs = String::new();
    for (number, title) in PANELS.into_iter().enumerate() {
        let panel = panels.iter().find(|panel| panel.title == title);
        let panel = panel.ok_or(BedError::Panel(title))?;
        let query = panel.queries.first().into_iter().flat_map(|it| it.bytes());
        let query: String = query.map(|byte| format!("%{byte:02X}")).collect();
        graphs += &format!("&g{number}.expr={query}&g{number}.tab=0&g{number}.range_input=2m");
    }
    let browser = Browser::open(&bed.control.host, WINDOW)?;
    browser.visit(&format!("{}/graph?{graphs}", prometheus::URL))?;
    let drawn = "return [...document.querySelectorAll('.legend')]\
                 .filter(legend => legend.querySelector('.line')).length";
    until(
        "the graphs",
        || Ok(browser.evaluate(drawn)? == PANELS.len()),
        || prometheus.last_words(),
    )?;
    keep(folder, "prometheus.png", &browser.screenshot(2 * HIGHEST)?)
}

/// A subcommand on a node, with what it prints.
fn terminal(
    folder: &Path,
    picture: &str,
    name: &str,
    node: &Peer,
    arguments: &[&str],
) -> Result<(), BedError> {
    let output = agent::subcommand(node, arguments)?;
    let said = String::from_utf8_lossy(&output.stdout);
    let command = format!("{name}# vip-agent {}", arguments.join(" "));
    let shown = terminal::picture(&command, &said);
    keep(folder, &format!("{picture}.svg"), shown.as_bytes())
}

fn keep(folder: &Path, name: &str, picture: &[u8]) -> Result<(), BedError> {
    println!("pictures: {name}, {} kB", picture.len() / 1000);
    fs::write(folder.join(name), picture).map_err(system("write"))
}
