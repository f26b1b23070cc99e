//! Which node answers: `externalTrafficPolicy`, node selectors, the label that excludes a node.

use std::{
    io::Write,
    net::TcpListener,
    sync::Mutex,
    thread::{self, sleep},
};

use serde_json::json;
use tests::{
    kubernetes::{Backend, SharedBed, endpoint_slice},
    netns::system,
    observer::HAND_OVER,
};

use super::{asking, local, ms, observe};

const VIP: &str = "192.0.2.130";
const SIX: &str = "2001:db8::130";

/// Writes the endpoints of Service `web`: node, and `ready`, `leaving` (terminating, and serving
/// still) or `dead`.
fn put(bed: &SharedBed, endpoints: &[(&str, &str)]) {
    for (family, address) in [("IPv4", "10.244.1.5"), ("IPv6", "fd00:244::5")] {
        let backends: Vec<_> = endpoints
            .iter()
            .map(|(node, state)| Backend {
                address,
                node,
                serving: *state != "dead",
                terminating: *state == "leaving",
            })
            .collect();
        bed.put_endpoints(&endpoint_slice("web", family, &backends))
            .unwrap();
    }
}

#[test]
#[ignore = "needs root"]
fn local_follows_serving_endpoints_then_terminating_ones_and_stays_where_none_are_left() {
    let bed = SharedBed::take().unwrap();
    put(&bed, &[("node-1", "ready")]);
    let service = asking("web", &["IPv4", "IPv6"], &format!("{VIP},{SIX}"));
    bed.create_service(&local(service)).unwrap();
    let observer = observe(&bed, &[VIP, SIX]);
    let answers = |index| {
        for vip in [VIP, SIX] {
            bed.expect_answer(&observer, vip, &[index]);
        }
    };
    answers(0);
    let began = observer.now();
    put(&bed, &[("node-1", "dead"), ("node-2", "ready")]);
    answers(1);
    put(&bed, &[("node-2", "leaving"), ("node-3", "ready")]);
    answers(2);
    // The last resort.
    put(&bed, &[("node-2", "leaving"), ("node-3", "dead")]);
    answers(1);
    // All endpoints are gone: it stays.
    let gone = observer.now();
    put(&bed, &[("node-2", "dead"), ("node-3", "dead")]);
    sleep(ms(700));
    put(&bed, &[]);
    sleep(ms(700));
    answers(1);
    let back = observer.now();
    put(&bed, &[("node-1", "ready")]);
    answers(0);
    let observed = observer.finish().unwrap();
    observed.one_answerer(None).unwrap();
    for vip in [VIP, SIX] {
        let line = observed.timeline(vip).since(began);
        println!("{vip}: unanswered {:?} at moves", line.longest_gap());
        assert!(line.longest_gap() <= HAND_OVER, "{vip}: {:?}", line.gaps());
        let without = line.since(gone).before(back);
        assert_eq!(without.answerers(), [bed.nodes[1].mac()].into(), "{vip}");
        assert_eq!(without.gaps(), [], "{vip}");
    }
}

#[test]
#[ignore = "needs root"]
fn cluster_policy_minds_no_endpoints_and_a_change_of_policy_moves_the_address_to_them() {
    let bed = SharedBed::take().unwrap();
    bed.create_service(&asking("web", &["IPv4"], VIP)).unwrap();
    let observer = observe(&bed, &[VIP]);
    let owner = bed.expect_answer(&observer, VIP, &[0, 1, 2]);
    let began = observer.now();
    let other = (owner + 1) % bed.nodes.len();
    put(&bed, &[(&*bed.nodes[other].name(), "ready")]);
    sleep(ms(700));
    bed.expect_answer(&observer, VIP, &[owner]);
    let changed = observer.now();
    let policy = |policy: &str| json!({"spec": {"externalTrafficPolicy": policy}});
    bed.patch_service("web", policy("Local")).unwrap();
    bed.expect_answer(&observer, VIP, &[other]);
    bed.patch_service("web", policy("Cluster")).unwrap();
    // The address row is handed back to the bucket's.
    bed.expect_answer(&observer, VIP, &[owner]);
    let observed = observer.finish().unwrap();
    observed.one_answerer(None).unwrap();
    let line = observed.timeline(VIP).since(began);
    assert_eq!(line.clone().before(changed).gaps(), []);
    assert!(line.longest_gap() <= HAND_OVER, "{:?}", line.gaps());
}

#[test]
#[ignore = "needs root"]
fn a_node_with_the_exclude_label_answers_for_nothing_until_the_label_is_cleared() {
    let bed = SharedBed::take().unwrap();
    put(&bed, &[("node-1", "ready")]);
    bed.create_service(&local(asking("web", &["IPv4"], VIP)))
        .unwrap();
    let observer = observe(&bed, &[VIP]);
    bed.expect_answer(&observer, VIP, &[0]);
    // Never means never, also where no other has an endpoint.
    bed.exclude(0, true).unwrap();
    bed.expect_answer(&observer, VIP, &[1, 2]);
    put(&bed, &[("node-1", "ready"), ("node-3", "ready")]);
    bed.expect_answer(&observer, VIP, &[2]);
    let cleared = observer.now();
    bed.exclude(0, false).unwrap();
    sleep(ms(1000));
    bed.expect_answer(&observer, VIP, &[2]);
    put(&bed, &[("node-1", "ready")]);
    bed.expect_answer(&observer, VIP, &[0]);
    let observed = observer.finish().unwrap();
    observed.one_answerer(None).unwrap();
    let line = observed.timeline(VIP).since(cleared);
    assert!(line.longest_gap() <= HAND_OVER, "{:?}", line.gaps());
}

#[test]
#[ignore = "needs root"]
fn a_pools_node_selector_says_which_node_answers() {
    let bed = SharedBed::take().unwrap();
    for (number, node) in bed.nodes.iter().enumerate() {
        let selector = json!({"matchLabels": {"kubernetes.io/hostname": node.name()}});
        let addresses = [format!("192.0.2.13{number}/32")];
        let spec = json!({"addresses": addresses, "nodeSelector": selector});
        bed.put_pool(&node.name(), spec).unwrap();
    }
    let vips = ["192.0.2.130", "192.0.2.131", "192.0.2.132"];
    let observer = observe(&bed, &vips);
    for (index, vip) in vips.into_iter().enumerate() {
        let name = format!("web-{index}");
        bed.create_service(&asking(&name, &["IPv4"], vip)).unwrap();
        bed.expect_answer(&observer, vip, &[index]);
    }
    observer.finish().unwrap().one_answerer(None).unwrap();
}

#[test]
#[ignore = "needs root"]
fn a_node_that_is_not_ready_hands_over_and_is_the_last_choice() {
    let bed = SharedBed::take().unwrap();
    bed.create_service(&asking("web", &["IPv4"], VIP)).unwrap();
    let observer = observe(&bed, &[VIP]);
    let owner = bed.expect_answer(&observer, VIP, &[0, 1, 2]);
    let began = observer.now();
    let others: Vec<usize> = (0..bed.nodes.len())
        .filter(|index| *index != owner)
        .collect();
    bed.set_ready(owner, false).unwrap();
    let next = bed.expect_answer(&observer, VIP, &others);
    let last: Vec<usize> = others.into_iter().filter(|index| *index != next).collect();
    bed.set_ready(next, false).unwrap();
    bed.expect_answer(&observer, VIP, &last);
    // Nobody is better: it stays.
    bed.set_ready(last[0], false).unwrap();
    sleep(ms(1000));
    bed.expect_answer(&observer, VIP, &last);
    for index in 0..bed.nodes.len() {
        bed.set_ready(index, true).unwrap();
    }
    let observed = observer.finish().unwrap();
    observed.one_answerer(None).unwrap();
    let line = observed.timeline(VIP).since(began);
    assert!(line.longest_gap() <= HAND_OVER, "{:?}", line.gaps());
}

/// Answers on kube-proxy's health port of a node until it is told to stop.
fn kube_proxy<'scope>(
    bed: &SharedBed,
    index: usize,
    scope: &'scope thread::Scope<'scope, '_>,
    word: &'scope Mutex<Option<&'static str>>,
) {
    let listen = || TcpListener::bind("127.0.0.1:10256").map_err(system("listen"));
    let listener = bed.nodes[index].peer().enter(listen).unwrap();
    listener.set_nonblocking(true).unwrap();
    scope.spawn(move || {
        while let Some(word) = *word.lock().unwrap() {
            if let Ok((mut asked, _)) = listener.accept() {
                let answer = format!("HTTP/1.0 {word}\r\n\r\n");
                // Whoever asked has gone once it has read the status.
                let _ = asked.write_all(answer.as_bytes());
            }
            sleep(ms(10));
        }
    });
}

#[test]
#[ignore = "needs root"]
fn a_node_whose_kube_proxy_says_that_it_fails_hands_over() {
    let mut bed = SharedBed::take().unwrap();
    bed.create_service(&asking("web", &["IPv4"], VIP)).unwrap();
    let observer = observe(&bed, &[VIP]);
    let owner = bed.expect_answer(&observer, VIP, &[0, 1, 2]);
    let others: Vec<usize> = (0..3).filter(|index| *index != owner).collect();
    let word = Mutex::new(Some("200 OK"));
    thread::scope(|scope| {
        kube_proxy(&bed, owner, scope, &word);
        sleep(ms(2500));
        bed.expect_answer(&observer, VIP, &[owner]);
        *word.lock().unwrap() = Some("503 Service Unavailable");
        bed.expect_answer(&observer, VIP, &others);
        *word.lock().unwrap() = None;
    });
    observer.finish().unwrap().one_answerer(None).unwrap();
    // A kube-proxy that was there and is gone fails, too.
    bed.nodes[owner].agent_mut().kill().unwrap();
    bed.nodes[owner].agent_mut().restart().unwrap();
}
