//! Alerts and dashboard: by promtool, and by a real Prometheus that scrapes a real agent.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "clippy sees only functions with #[test] as tests"
)]

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value;
use tests::{
    agent::until,
    kubernetes::{Bed, Times},
    prometheus::{Prometheus, panels},
};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap()
}

/// What follows `key` on the lines of a YAML text.
fn values<'a>(text: &'a str, key: &str) -> Vec<&'a str> {
    let lines = text.lines().map(|line| line.trim_start_matches([' ', '-']));
    lines
        .filter_map(|line| line.strip_prefix(key))
        .map(str::trim)
        .collect()
}

/// Names of metrics in a text.
fn metrics(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    words
        .filter(|word| word.starts_with("xvip_"))
        .map(str::to_owned)
        .collect()
}

/// The queries of the dashboard.
fn queries() -> Vec<String> {
    let panels = panels("1m").unwrap();
    panels.into_iter().flat_map(|it| it.queries).collect()
}

#[test]
fn every_alert_has_a_page_and_every_page_an_alert() {
    let rules = read("deploy/prometheus/xvip.rules.yaml");
    let (alerts, pages) = (values(&rules, "alert: "), values(&rules, "runbook_url: "));
    assert_eq!(alerts.len(), pages.len());
    for (alert, page) in alerts.iter().zip(&pages) {
        let text = read(page);
        assert!(text.starts_with(&format!("# {alert}\n")), "{page}");
    }
    let files = fs::read_dir(root().join("docs/runbooks")).unwrap().count();
    assert_eq!(files, pages.iter().collect::<BTreeSet<_>>().len());
}

#[test]
#[ignore = "needs promtool"]
fn promtool_fires_every_alert_and_leaves_it_silent_where_nothing_is_wrong() {
    let folder = root().join("deploy/prometheus");
    for arguments in [
        ["check", "rules", "xvip.rules.yaml"],
        ["test", "rules", "xvip.test.yaml"],
    ] {
        let mut promtool = Command::new("promtool");
        let promtool = promtool.current_dir(&folder).args(arguments);
        let said = promtool.output().unwrap();
        assert!(said.status.success(), "{said:#?}");
    }
    let cases = read("deploy/prometheus/xvip.test.yaml");
    let fired = cases.split("alertname: ").filter(|case| {
        let first = case.lines().nth(1).unwrap_or_default();
        first.trim() == "exp_alerts:"
    });
    let fired: BTreeSet<&str> = fired.map(|case| case.lines().next().unwrap()).collect();
    let rules = read("deploy/prometheus/xvip.rules.yaml");
    assert_eq!(fired, values(&rules, "alert: ").into_iter().collect());
}

#[test]
#[ignore = "needs root"]
fn a_real_prometheus_scrapes_the_agent_and_finds_what_every_rule_and_panel_asks_for() {
    let (bed, _observer) = Bed::serving(1, Times::TWO_SECONDS.config).unwrap();
    let node = &bed.nodes[0];
    let exported = metrics(&node.agent().get("/metrics").unwrap());
    let rules = read("deploy/prometheus/xvip.rules.yaml");
    for used in metrics(&rules)
        .into_iter()
        .chain(queries().iter().flat_map(|it| metrics(it)))
    {
        assert!(exported.contains(&used), "{used} is not exported");
    }

    let prometheus = Prometheus::start(node.peer(), &[("node-1", "127.0.0.1:9470")]).unwrap();
    let answer = |query: &str| prometheus.answer(query);
    let asked = |path: &str| prometheus.document(path);
    // Rates need two scrapes.
    let scraped = || answer("sum_over_time(up{job=\"xvip-agent\"}[1m]) > 2").unwrap_or_default();
    until(
        "three scrapes",
        || Ok(!scraped().trim().is_empty()),
        || format!("{:?} {}", asked("targets"), prometheus.last_words()),
    )
    .unwrap();
    for query in queries() {
        // A scrape that a busy machine misses leaves a gap.
        let finds = || Ok(!answer(&query)?.trim().is_empty());
        until(&query, finds, || asked("targets").unwrap_or_default()).unwrap();
        let found = answer(&query).unwrap();
        assert!(
            !found.contains("NaN @") || query.contains("quantile"),
            "{query}: {found}"
        );
    }
    let firing = answer("ALERTS{alertstate=\"firing\"}").unwrap();
    assert_eq!(firing.trim(), "", "nothing is wrong");
    let rules = asked("rules").unwrap();
    let rules: Value = serde_json::from_str(&rules).unwrap();
    let rules = rules["data"]["groups"][0]["rules"].as_array().unwrap();
    assert!(rules.len() >= 16);
    for rule in rules {
        assert_eq!(rule["health"], "ok", "{rule:#}");
    }
}
