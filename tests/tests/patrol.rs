//! Nodes ask for the VIPs of others, as clients do.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "clippy sees only functions with #[test] as tests"
)]

use std::{thread::sleep, time::Duration};

use tests::{
    agent::{Agent, VIP4, until},
    kubernetes::{Bed, Times},
    lan::CLIENT_MAC,
};

fn count(agent: &Agent, vip: &str, result: &str) -> f64 {
    let labels = [format!("vip=\"{vip}\""), format!("result=\"{result}\"")];
    let labels = [&*labels[0], &*labels[1]];
    agent.metric("xvip_probe_answers_total", &labels).unwrap()
}

fn wait(agent: &Agent, vip: &str, result: &str) {
    let before = count(agent, vip, result);
    until(
        &format!("{vip} to be answered by {result}"),
        || Ok(count(agent, vip, result) > before),
        || agent.log(),
    )
    .unwrap();
}

#[test]
#[ignore = "needs root"]
fn a_node_says_whether_the_vips_of_others_are_answered_by_one_by_none_or_by_two() {
    let (bed, observer) = Bed::serving(2, Times::TWO_SECONDS.config).unwrap();
    let vip = VIP4;
    let owner = bed.owner(&observer, vip).unwrap();
    let asking = bed.nodes[1 - owner].agent();
    wait(asking, vip, "one");
    assert_eq!(
        (count(asking, vip, "none"), count(asking, vip, "two")),
        (0.0, 0.0)
    );
    let holder = bed.nodes[owner].agent();
    for result in ["one", "none", "two"] {
        assert_eq!(count(holder, vip, result), 0.0, "nobody asks for its own");
    }

    bed.client
        .run(&format!("ip addr add {vip}/32 dev lan0"))
        .unwrap();
    wait(asking, vip, "two");
    asking
        .wait_log(&format!("{} and", bed.nodes[owner].mac().min(CLIENT_MAC)))
        .unwrap();
    bed.client
        .run(&format!("ip addr del {vip}/32 dev lan0"))
        .unwrap();

    // The two nodes hear the gateway and the client, and not each other.
    bed.lan.isolate(&["n1", "n2"]).unwrap();
    wait(asking, vip, "none");
    asking.wait_log("nobody answers").unwrap();

    // It would ask again every two seconds; who hears nobody learns nothing by it.
    bed.cut_lan(1 - owner).unwrap();
    let is_deaf = || Ok(asking.metric("xvip_deaf", &[])? == 1.0);
    until("deafness", is_deaf, || asking.log()).unwrap();
    let before = count(asking, vip, "none");
    sleep(Duration::from_secs(6));
    assert_eq!(count(asking, vip, "none"), before, "{}", asking.log());
}
