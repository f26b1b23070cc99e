//! Who answers while somebody edits, steals and deletes what sessions are made of.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "clippy sees only functions with #[test] as tests"
)]

use std::{thread::sleep, time::Duration};

use serde_json::{Value, json};
use tests::{
    agent::{VIP4, VIP6},
    kubernetes::{Bed, NAMESPACE, Times, User},
    observer::Observer,
};
use vip_agent::ownership::Layout;

/// Allowed where claims or a Lease's duration were edited by hand.
const BY_HAND: Duration = Duration::from_secs(2);

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// Lets what was done take effect, and tells what was unanswered of a VIP since.
fn settle(bed: &Bed, observer: &Observer, what: &str, vip: &str, since: Duration) {
    sleep(ms(3000));
    bed.wait_owned(observer).unwrap();
    let line = observer.look(|observed| observed.timeline(vip).since(since));
    println!(
        "{what}: unanswered {:.0?}, reigns {}",
        line.longest_gap(),
        line.reigns().len()
    );
}

#[test]
#[ignore = "needs root"]
fn a_session_lease_that_is_touched_emptied_stolen_or_deleted_never_makes_two_answer() {
    let (bed, observer) = Bed::serving(3, Times::TWO_SECONDS.config).unwrap();
    let began = observer.now();
    let owner = bed.owner(&observer, VIP4).unwrap();
    let harmless = [
        json!({"spec": {"renewTime": "2001-01-01T00:00:00.000000Z"}}),
        json!({"metadata": {"annotations": {"xvip.io/claims-read": null, "mine": "too"}}}),
        json!({"metadata": {"labels": {"mine": "too"}}}),
    ];
    for change in harmless {
        bed.patch_session(owner, &change).unwrap();
        sleep(ms(1500));
    }
    let untouched = observer.now();
    let holder = bed.session(owner).unwrap()["spec"]["holderIdentity"].clone();
    let mut other = holder.as_str().unwrap().to_owned();
    let last = other.pop();
    other.push(if last == Some('0') { '1' } else { '0' });
    for (what, identity) in [
        ("emptied", Value::Null),
        ("stolen by somebody", json!("somebody")),
        ("stolen by another session", json!(other)),
    ] {
        let owner = bed.owner(&observer, VIP4).unwrap();
        let since = observer.now();
        let before = bed.session(owner).unwrap()["spec"]["holderIdentity"].clone();
        bed.patch_session(owner, &json!({"spec": {"holderIdentity": identity}}))
            .unwrap();
        settle(&bed, &observer, what, VIP4, since);
        let after = bed.session(owner).unwrap()["spec"]["holderIdentity"].clone();
        // Nobody goes on under an id that left its Lease.
        assert!(
            after != before && after != identity && after.is_string(),
            "{before} {after}"
        );
    }
    let owner = bed.owner(&observer, VIP4).unwrap();
    let name = format!("xvip-{}", bed.nodes[owner].name());
    let since = observer.now();
    let delete = ["delete", "lease", &name, "-n", NAMESPACE];
    bed.control.kubectl(&delete, "").unwrap();
    settle(&bed, &observer, "deleted", VIP4, since);
    let observed = observer.finish().unwrap();
    observed.one_answerer(None).unwrap();
    for (vip, line) in observed.timelines() {
        let line = line.since(began).before(untouched);
        assert_eq!((line.gaps(), line.reigns().len()), (vec![], 1), "{vip}");
    }
}

#[test]
#[ignore = "needs root"]
fn a_lease_duration_edited_by_hand_makes_two_answer_for_two_seconds_at_most() {
    let (bed, observer) = Bed::serving(3, "").unwrap();
    for seconds in [1, 2, 3600] {
        let owner = bed.owner(&observer, VIP4).unwrap();
        let since = observer.now();
        bed.patch_session(owner, &json!({"spec": {"leaseDurationSeconds": seconds}}))
            .unwrap();
        settle(&bed, &observer, &format!("L = {seconds} s"), VIP4, since);
        assert_eq!(
            bed.session(owner).unwrap()["spec"]["leaseDurationSeconds"],
            5
        );
    }
    observer
        .finish()
        .unwrap()
        .one_answerer(Some(BY_HAND))
        .unwrap();
}

/// The claims object of a VIP's bucket, its name first.
fn claims(bed: &Bed, vip: &str) -> (String, Value) {
    let layout = Layout::default();
    let name = format!(
        "xvip-{}",
        layout.object(layout.bucket(vip.parse().unwrap()))
    );
    let get = ["get", "vipclaims", &name, "-n", NAMESPACE, "-o", "json"];
    let text = bed.control.kubectl(&get, "").unwrap();
    (name, serde_json::from_str(&text).unwrap())
}

#[test]
#[ignore = "needs root"]
fn claims_that_are_deleted_come_back_with_one_answerer() {
    let (bed, observer) = Bed::serving(3, Times::TWO_SECONDS.config).unwrap();
    for vip in [VIP4, VIP6] {
        let (name, before) = claims(&bed, vip);
        let since = observer.now();
        let delete = ["delete", "vipclaims", &name, "-n", NAMESPACE];
        bed.control.kubectl(&delete, "").unwrap();
        settle(&bed, &observer, "one deleted", vip, since);
        let (_, after) = claims(&bed, vip);
        assert_ne!(before["metadata"]["uid"], after["metadata"]["uid"]);
    }
    let since = observer.now();
    let delete = ["delete", "vipclaims", "--all", "-n", NAMESPACE];
    bed.control.kubectl(&delete, "").unwrap();
    settle(&bed, &observer, "all deleted", VIP4, since);
    observer.finish().unwrap().one_answerer(None).unwrap();
}

#[test]
#[ignore = "needs root"]
fn claims_edited_past_the_policy_make_two_answer_for_two_seconds_at_most() {
    let (bed, observer) = Bed::serving(3, Times::TWO_SECONDS.config).unwrap();
    sleep(ms(1000));
    let edit = |user: User, change: &dyn Fn(&mut Value)| {
        // An agent that wrote in between is read anew.
        loop {
            let (_, mut object) = claims(&bed, VIP4);
            change(&mut object["spec"]);
            let replace = ["replace", "-f", "-"];
            match bed.control.kubectl_as(user, &replace, &object.to_string()) {
                Err(error) if error.to_string().contains("(Conflict)") => {}
                said => return said,
            }
        }
    };
    let refused = edit(User::Admin, &|spec| spec["rows"] = json!([])).unwrap_err();
    assert!(
        refused.to_string().contains("only the agents write them"),
        "{refused}"
    );

    let bucket = Layout::default().bucket(VIP4.parse().unwrap());
    let owner = bed.owner(&observer, VIP4).unwrap();
    let heir = (owner + 1) % 3;
    let session = bed.session(heir).unwrap()["spec"]["holderIdentity"].clone();
    let to_heir = |spec: &mut Value| {
        spec["version"] = json!(spec["version"].as_i64().unwrap() + 1);
        for row in spec["rows"].as_array_mut().unwrap() {
            if row["bucket"] == bucket {
                row["node"] = json!(bed.nodes[heir].name());
                row["session"] = session.clone();
            }
        }
    };
    let since = observer.now();
    edit(User::Agent(1), &to_heir).unwrap();
    settle(&bed, &observer, "a row given to another", VIP4, since);
    assert_eq!(bed.owner(&observer, VIP4), Some(heir));

    let rowless = |spec: &mut Value| spec["rows"] = json!([]);
    let since = observer.now();
    edit(User::Agent(1), &rowless).unwrap();
    settle(
        &bed,
        &observer,
        "no row left, the version kept",
        VIP4,
        since,
    );

    let older = |spec: &mut Value| spec["version"] = json!(1);
    let since = observer.now();
    edit(User::Agent(1), &older).unwrap();
    settle(&bed, &observer, "an older version", VIP4, since);

    let nonsense = |spec: &mut Value| {
        spec["version"] = json!(spec["version"].as_i64().unwrap() + 1);
        for row in spec["rows"].as_array_mut().unwrap() {
            row["session"] = json!("nobody");
        }
    };
    let since = observer.now();
    edit(User::Agent(1), &nonsense).unwrap();
    settle(&bed, &observer, "rows of nobody", VIP4, since);
    observer
        .finish()
        .unwrap()
        .one_answerer(Some(BY_HAND))
        .unwrap();
}
