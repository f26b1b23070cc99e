//! A control plane as kubeadm brings it up on real nodes, behind VIPs that our static Pod answers
//! for: from before there is an API server until a second node has taken over.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "clippy sees only functions with #[test] as tests"
)]

use std::{
    fs, thread,
    thread::sleep,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tests::{
    agent::{VIP4, VIP6},
    cluster::{AGENT, Kubeadm, Role, page, page_service},
    fetches::{Fetch, Fetches, longest_outage},
    kubernetes::NAMESPACE,
    observer::{Observed, Observer, PAUSE},
};

/// Of the API server, and of a Service.
const VIPS: [&str; 3] = [VIP4, VIP6, SERVICE];
const SERVICE: &str = "192.0.2.110";
/// kubeadm gives it to its control-plane nodes.
const EXCLUDED: &str = "node.kubernetes.io/exclude-from-external-load-balancers";
/// What a hand-over may leave unanswered. The aim is 50 ms; here two processors are shared by two
/// control planes and four kubelets.
const HAND_OVER: Duration = Duration::from_millis(500);

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// Steps of the test, with the time that each took.
struct Steps(Instant);

impl Steps {
    fn done(&mut self, what: &str) {
        println!("{:>5.1} s  {what}", self.0.elapsed().as_secs_f64());
        self.0 = Instant::now();
    }
}

/// Nothing but Kubernetes' own is there.
fn knows_nothing_of_ours(bed: &Kubeadm) {
    let groups = bed.kubectl(&["api-resources"], "").unwrap();
    assert!(!groups.contains("xvip.io"), "{groups}");
    let namespaces = bed.kubectl(&["get", "namespaces"], "").unwrap();
    assert!(!namespaces.contains(NAMESPACE), "{namespaces}");
}

/// The API server answers at both VIPs, with a certificate that names them.
fn is_reached(bed: &Kubeadm) {
    for vip in [VIP4, VIP6] {
        assert_eq!(bed.ask(vip, "/readyz").unwrap(), "ok", "{vip}");
    }
}

/// Who has the Lease of the control plane: node, boot and session.
fn session(bed: &Kubeadm) -> String {
    let lease = bed.json(&["lease", "xvip-control-plane", "-n", "kube-system"]);
    let holder = &lease.unwrap()["spec"]["holderIdentity"];
    holder.as_str().unwrap_or_default().to_owned()
}

/// One node alone answered for the API server from `since` until `end`, and every question.
fn undisturbed(observed: &Observed, node: usize, bed: &Kubeadm, since: Duration, end: Duration) {
    for vip in [VIP4, VIP6] {
        let line = observed.timeline(vip).since(since).before(end);
        assert!(line.questions() > 1000, "{} questions", line.questions());
        assert_eq!(line.gaps(), [], "{vip}");
        assert_eq!(
            line.answerers(),
            [bed.nodes[node].seat.mac()].into(),
            "{vip}"
        );
    }
}

/// Every new connection to the API server was served.
fn none_failed(fetched: &[Fetch], from: Duration, until: Duration) {
    let within = fetched
        .iter()
        .filter(|it| it.began >= from && it.began < until);
    let (mut all, mut failed) = (0, Vec::new());
    for fetch in within {
        all += 1;
        failed.extend(fetch.error.is_some().then_some(fetch));
    }
    println!(
        "         {all} new connections to the API server, {} failed",
        failed.len()
    );
    assert!(all > 50 && failed.is_empty(), "{failed:?}");
}

fn label(bed: &Kubeadm, index: usize, change: &str) {
    let name = bed.nodes[index].seat.name();
    bed.kubectl(&["label", "node", &name, change], "").unwrap();
}

/// The nodes on which the DaemonSet's agents are available.
fn daemons(bed: &Kubeadm) -> Vec<Value> {
    let label = "app.kubernetes.io/name=xvip";
    let pods = bed.json(&["pods", "-n", NAMESPACE, "-l", label]).unwrap();
    let pods = pods["items"].as_array().unwrap().iter();
    let mut nodes: Vec<_> = pods.map(|pod| pod["spec"]["nodeName"].clone()).collect();
    nodes.sort_by_key(Value::to_string);
    nodes
}

/// Waits until the DaemonSet wants so many agents, and all are available.
fn wait_daemons(bed: &Kubeadm, wanted: u64) {
    let set = || bed.json(&["daemonset", AGENT, "-n", NAMESPACE]).unwrap();
    let available = || {
        let set = set();
        let status = &set["status"];
        Ok(
            status["observedGeneration"] == set["metadata"]["generation"]
                && status["desiredNumberScheduled"] == wanted
                && status["numberAvailable"] == wanted,
        )
    };
    let shown = || {
        format!(
            "{}\n{:?}",
            set(),
            bed.kubectl(&["get", "pods", "-A", "-o", "wide"], "")
        )
    };
    bed.wait("the DaemonSet's agents", available, shown)
        .unwrap();
}

/// Waits until the Service's VIP is answered by this node, and a page comes by it.
fn wait_served_by(bed: &Kubeadm, observer: &Observer, index: usize) {
    let mac = bed.nodes[index].seat.mac();
    observer.wait_answer(SERVICE, mac, observer.now()).unwrap();
    let page = || bed.client.run(&format!("curl -sf -m 2 http://{SERVICE}"));
    let served = || Ok(page().is_ok_and(|page| page.starts_with("node-")));
    bed.wait("a page", served, || format!("{:?}", page()))
        .unwrap();
}

/// By the VIP, which their kubelets go on to ask.
fn join_workers(bed: &Kubeadm) {
    let join = |index: usize| {
        bed.join(index, Role::Worker).unwrap();
        let kubelet = bed.nodes[index].peer.path("/etc/kubernetes/kubelet.conf");
        let kubelet = fs::read_to_string(kubelet).unwrap();
        let server = format!("server: https://{VIP4}:6443\n");
        assert!(kubelet.contains(&server), "{kubelet}");
        bed.wait_node(index).unwrap();
    };
    thread::scope(|scope| {
        for index in [1, 2] {
            scope.spawn(move || join(index));
        }
    });
}

/// The agents, of which control-plane nodes have one already, and a Service.
fn install(bed: &Kubeadm) {
    for kind in ["crds", "rbac"] {
        bed.install(&[kind]).unwrap();
    }
    bed.apply(&page(2).to_string()).unwrap();
    let service = page_service("web", &["IPv4"], &[SERVICE]);
    bed.apply(&serde_json::to_string(&service).unwrap())
        .unwrap();
    let beside = ["daemonset", "--beside-static-pods"];
    bed.install(&beside).unwrap();
    wait_daemons(bed, 2);
    assert_eq!(daemons(bed), ["node-2", "node-3"]);
    let of_web = || bed.json(&["service", "web"]).unwrap()["status"]["loadBalancer"].clone();
    let ingress = json!({"ingress": [{"ip": SERVICE, "ipMode": "VIP"}]});
    let shown = || of_web().to_string();
    bed.wait("an address", || Ok(of_web() == ingress), shown)
        .unwrap();
}

/// kubeadm keeps Services away from its control plane; a user may have them there.
fn serve_on_the_first_node(bed: &Kubeadm, observer: &Observer) {
    label(bed, 0, &format!("{EXCLUDED}-"));
    label(bed, 1, &format!("{EXCLUDED}="));
    label(bed, 2, &format!("{EXCLUDED}="));
    wait_served_by(bed, observer, 0);
    label(bed, 1, &format!("{EXCLUDED}-"));
    label(bed, 2, &format!("{EXCLUDED}-"));
    label(bed, 0, &format!("{EXCLUDED}="));
}

#[test]
#[ignore = "needs root"]
fn kubeadm_brings_up_a_control_plane_whose_vip_a_static_pod_answers_for_from_the_first_moment() {
    let began = Instant::now();
    let mut steps = Steps(began);
    let bed = Kubeadm::boot(4).unwrap();
    steps.done("four machines are on");

    // As docs/kubernetes.md has it: the file first, then `kubeadm init`.
    let observer = Observer::ask(&bed.client, &VIPS, PAUSE).unwrap();
    bed.write_static_pod(0, &["--first-node"]).unwrap();
    bed.init().unwrap();
    is_reached(&bed);
    knows_nothing_of_ours(&bed);
    let first = bed.wait_agent(0, None).unwrap();
    let answered = observer.now();
    steps.done("kubeadm init is through, and the VIPs lead to its API server");

    join_workers(&bed);
    bed.wait_node(0).unwrap();
    knows_nothing_of_ours(&bed);
    steps.done("two workers have joined by the VIP");

    let fetches = Fetches::start(&bed.client, &bed.kubeconfig()).unwrap();
    sleep(ms(500));
    let before = (session(&bed), fetches.now());
    bed.write_static_pod(0, &[]).unwrap();
    let second = bed.wait_agent(0, Some(first)).unwrap();
    println!(
        "         another process is ready after {:.1?}",
        fetches.now() - before.1
    );
    let put_away = "rm /etc/kubernetes/super-admin.conf";
    bed.nodes[0].peer.run(put_away).unwrap();
    // Longer than L, from the Pod's own start on.
    sleep(ms(6000));
    assert_eq!(session(&bed), before.0, "the session goes on");
    is_reached(&bed);
    let restarted = fetches.now();
    steps.done("the kubelet has restarted the static Pod with admin.conf");

    install(&bed);
    serve_on_the_first_node(&bed, &observer);
    assert_eq!(bed.wait_agent(0, None).unwrap(), second);
    steps.done("the same process serves what is installed, beside the DaemonSet");

    bed.write_static_pod(3, &[]).unwrap();
    bed.join(3, Role::ControlPlane).unwrap();
    bed.wait_node(3).unwrap();
    // The node has its role last: until then it is a worker to the DaemonSet.
    let leaves = || Ok(daemons(&bed) == ["node-2", "node-3"]);
    let shown = || format!("{:?}", daemons(&bed));
    bed.wait("the DaemonSet to leave node-4", leaves, shown)
        .unwrap();
    bed.wait_agent(3, None).unwrap();
    // Whoever thinks itself alone leaves its kernel answering.
    let log = || bed.agent_log(0).unwrap_or_default();
    let counts = |log: &str| {
        log.lines()
            .rfind(|line| line.contains("is counted"))
            .map(str::to_owned)
    };
    let of_two = || Ok(counts(&log()).is_some_and(|count| count.contains("alone: false")));
    bed.wait("a count of two", of_two, log).unwrap();
    assert_eq!(bed.wait_agent(0, None).unwrap(), second);
    let joined = (observer.now(), fetches.now());
    steps.done("a second control-plane node has joined");

    bed.remove_static_pod(0).unwrap();
    let mac = bed.nodes[3].seat.mac();
    for vip in [VIP4, VIP6] {
        observer.wait_answer(vip, mac, joined.0).unwrap();
    }
    sleep(ms(1000));
    is_reached(&bed);
    let moved = fetches.now();
    let fetched = fetches.finish();
    let observed = observer.finish().unwrap();
    steps.done("the first node's static Pod is gone, and the second node answers");

    println!("{:.0?} in all", began.elapsed());
    let first = observed
        .timeline(VIP4)
        .first_by(bed.nodes[0].seat.mac())
        .unwrap();
    println!(
        "the VIP was first answered {first:.1?} after `kubeadm init` began, which took {answered:.1?}"
    );
    observed.one_answerer(None).unwrap();
    undisturbed(&observed, 0, &bed, answered, joined.0);
    none_failed(&fetched, ms(0), restarted);
    let gap = |vip| observed.timeline(vip).since(joined.0).longest_gap();
    let gaps = [VIP4, VIP6].map(gap);
    let outage = longest_outage(&fetched, joined.1, moved);
    println!("hand-over: unanswered for {gaps:.2?}, no new connection for {outage:.2?}");
    assert!(gaps.iter().all(|gap| *gap <= HAND_OVER), "{gaps:?}");
}
