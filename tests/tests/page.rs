//! The agent's page, as a real browser shows it once its script has run.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "clippy sees only functions with #[test] as tests"
)]

use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::Value;
use tests::{
    agent::{Agent, VIP4, VIP6, config, until},
    browser::Browser,
    kubernetes::{Bed, Times},
    lan::{Lan, RIVAL_MAC},
    netns::output_of,
    wire::{Wire, arp_request},
};

const PAGE: &str = "http://127.0.0.1:9470/";
const WINDOW: (u32, u32) = (1100, 900);

/// The cells of a table's body as they are shown; nobody sees what is hidden.
fn rows(browser: &Browser, id: &str) -> Vec<Vec<String>> {
    let script = format!(
        "return [...document.querySelectorAll('#{id} tr')]\
         .map(row => [...row.cells].map(cell => cell.innerText))"
    );
    serde_json::from_value(browser.evaluate(&script).unwrap()).unwrap()
}

/// VIP, node and state.
fn vips(browser: &Browser) -> Vec<[String; 3]> {
    let rows = rows(browser, "vips").into_iter();
    rows.map(|row| [row[0].clone(), row[1].clone(), row[2].clone()])
        .collect()
}

/// The marks on the time line: on which lane, what they say, and how far they are from its
/// beginning, in parts of its width.
fn marks(browser: &Browser) -> Vec<(String, String, f64)> {
    let marks = browser.evaluate(
        "return [...document.querySelectorAll('#line line')].map(mark => {
            const lane = mark.ownerSVGElement.getBoundingClientRect();
            const box = mark.getBoundingClientRect();
            return [mark.closest('tr').cells[0].innerText, mark.textContent,
                lane.width > 300 && lane.height > 5 && box.height > 5
                    ? (box.x + box.width / 2 - lane.x) / lane.width : -1];
        })",
    );
    serde_json::from_value(marks.unwrap()).unwrap()
}

fn said(browser: &Browser) -> String {
    let said = browser.evaluate("return document.getElementById('said').innerText");
    said.unwrap().as_str().unwrap().to_owned()
}

/// Waits until the page shows something; it is never loaded again.
fn shows(browser: &Browser, what: &str, is_so: impl Fn() -> bool) {
    let body = || browser.evaluate("return document.body.innerText");
    until(
        what,
        || Ok(is_so()),
        || body().unwrap_or_default().to_string(),
    )
    .unwrap();
}

#[test]
#[ignore = "needs root"]
fn the_page_shows_each_vip_its_node_and_state_and_a_conflict_as_soon_as_it_comes() {
    let lan = Lan::new().unwrap();
    let agent = Agent::start(&lan, &config("native", "node: node-a\n")).unwrap();
    let browser = Browser::open(&lan.node, WINDOW).unwrap();
    browser.visit(PAGE).unwrap();
    let row = |vip: &str, state: &str| [vip, "node-a", state].map(str::to_owned);
    let v6 = format!("{VIP6}/128");
    let answering = [row("192.0.2.100/32", "answering"), row(&v6, "answering")];
    shows(&browser, "both VIPs", || vips(&browser) == answering);
    let interface = rows(&browser, "interfaces");
    assert_eq!(interface[0][0], "eth0");
    assert_eq!(
        browser
            .evaluate("return document.getElementById('ago').innerText.split(/\\s+/)")
            .unwrap(),
        serde_json::json!(["4", "min", "3", "min", "2", "min", "1", "min", "now"])
    );

    let vip = VIP4.parse().unwrap();
    let rival = Wire::open(&lan.rival, "lan0", Duration::from_millis(10)).unwrap();
    rival.send(&arp_request(RIVAL_MAC, vip, vip)).unwrap();
    agent.wait_state(VIP4, "conflict").unwrap();
    let conflict = [row("192.0.2.100/32", "conflict"), row(&v6, "answering")];
    shows(&browser, "the conflict", || vips(&browser) == conflict);
    let marks = marks(&browser);
    let place = |vip: &str, told: &str| {
        let mut found = (marks.iter()).filter(|(lane, says, _)| lane == vip && says.contains(told));
        let (Some((.., place)), None) = (found.next(), found.next()) else {
            panic!("{vip} {told}: {marks:?}")
        };
        assert!((0.0..=1.0).contains(place), "{vip} {told}: {marks:?}");
        *place
    };
    let conflict = place(VIP4, &format!("Conflict: {RIVAL_MAC} claims the VIP too"));
    for vip in [VIP4, VIP6] {
        assert!(
            place(vip, "Live: ") < conflict,
            "later is further right: {marks:?}"
        );
    }
    let latest = &rows(&browser, "events")[0];
    assert_eq!(latest[2..4], [VIP4, "Conflict"], "{latest:?}");
    assert!(latest[4].contains(&RIVAL_MAC.to_string()), "{latest:?}");
}

#[test]
#[ignore = "needs root"]
fn the_page_says_that_it_is_stale_while_the_agent_hangs_and_once_it_is_dead() {
    let lan = Lan::new().unwrap();
    let mut agent = Agent::start(&lan, &config("native", "")).unwrap();
    let browser = Browser::open(&lan.node, WINDOW).unwrap();
    browser.visit(PAGE).unwrap();
    let dimmed = || {
        let opacity = "return getComputedStyle(document.querySelector('table')).opacity";
        let opacity = browser.evaluate(opacity).unwrap();
        opacity.as_str().unwrap().parse::<f64>().unwrap() < 0.6
    };
    let fresh = || vips(&browser).len() == 2 && said(&browser).is_empty() && !dimmed();
    let stale = || said(&browser).starts_with("Stale: this is how it was at 2") && dimmed();
    shows(&browser, "two VIPs", fresh);
    agent.signal(Signal::SIGSTOP).unwrap();
    shows(&browser, "that the agent hangs", stale);
    agent.signal(Signal::SIGCONT).unwrap();
    shows(&browser, "that it is back", fresh);
    agent.kill().unwrap();
    shows(&browser, "that the agent is dead", stale);
    assert_eq!(vips(&browser).len(), 2, "as it was");
    agent.restart().unwrap();
    shows(&browser, "the new agent", fresh);
}

#[test]
#[ignore = "needs root"]
fn nothing_on_the_page_changes_anything() {
    let lan = Lan::new().unwrap();
    let agent = Agent::start(&lan, &config("native", "")).unwrap();
    let browser = Browser::open(&lan.node, WINDOW).unwrap();
    browser.visit(PAGE).unwrap();
    shows(&browser, "two VIPs", || vips(&browser).len() == 2);
    let controls = "return document.querySelectorAll(\
        'form, input, button, select, textarea, a, iframe, [onclick], [contenteditable]').length";
    assert_eq!(browser.evaluate(controls).unwrap(), 0);
    // All that it asked for, and nobody else was asked.
    let asked = "return [...new Set(performance.getEntriesByType('resource').map(it => it.name))]";
    let asked: Vec<String> = serde_json::from_value(browser.evaluate(asked).unwrap()).unwrap();
    let documents = ["v1/status", "v1/events"].map(|path| format!("{PAGE}{path}"));
    assert_eq!(asked, documents);

    let before = agent.status().unwrap();
    let paths = ["", "metrics", "livez", "readyz", "healthz", "v1/explain"];
    let paths = paths.map(|path| format!("{PAGE}{path}"));
    for url in paths.iter().chain(&documents) {
        for method in ["POST", "PUT", "PATCH", "DELETE"] {
            let mut curl = lan.node.command("curl");
            let code = ["-s", "-o", "/dev/null", "-w", "%{http_code}"];
            curl.args(code).args(["-X", method, "-d", "x=1", url]);
            assert_eq!(output_of(&mut curl).unwrap(), "405", "{method} {url}");
        }
    }
    let states = |status: &Value| -> Vec<Value> {
        let vips = status["vips"].as_array().unwrap().iter();
        vips.map(|vip| vip["state"].clone()).collect()
    };
    assert_eq!(states(&agent.status().unwrap()), states(&before));
}

#[test]
#[ignore = "needs root"]
fn in_a_cluster_the_page_of_each_node_says_which_node_holds_each_vip() {
    let (bed, observer) = Bed::serving(2, Times::TWO_SECONDS.config).unwrap();
    let owner = bed.owner(&observer, VIP4).unwrap();
    let browser = Browser::open(bed.nodes[owner].peer(), WINDOW).unwrap();
    browser.visit(PAGE).unwrap();
    // As the LAN has it, whatever the agents say.
    let held = || {
        let vips = tests::kubernetes::VIPS.map(|vip| {
            let index = bed.owner(&observer, vip).unwrap();
            let state = if index == owner {
                "answering"
            } else {
                "fenced"
            };
            let address = vip.to_owned();
            [address, bed.nodes[index].name(), state.to_owned()]
        });
        let mut vips = vips.to_vec();
        vips.sort();
        vips
    };
    let shown = || {
        let mut shown = vips(&browser);
        for row in &mut shown {
            row[0].truncate(row[0].find('/').unwrap());
        }
        shown.sort();
        shown
    };
    shows(&browser, "every VIP", || shown() == held());

    bed.exclude(owner, true).unwrap();
    bed.wait_moved(&observer, &[VIP4], owner).unwrap();
    shows(&browser, "the move", || shown() == held());
    let other = bed.nodes[1 - owner].name();
    let row = shown().into_iter().find(|row| row[0] == VIP4).unwrap();
    assert_eq!(row[1..], [other, "fenced".to_owned()]);
    let marks = marks(&browser);
    for reason in ["Live", "Withdrawn"] {
        let told = format!("{VIP4} {reason}: ");
        let is_told =
            |(lane, says, _): &(String, String, f64)| lane == VIP4 && says.contains(&told);
        assert!(marks.iter().any(is_told), "{reason}: {marks:?}");
    }
}
