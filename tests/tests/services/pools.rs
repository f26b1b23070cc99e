//! Which pool a Service may have an address of.

use k8s_openapi::api::core::v1::Namespace;
use kube::{Api, api::PostParams};
use serde_json::json;
use tests::{
    agent::until,
    kubernetes::{SharedBed, load_balancer},
};

use super::{annotated, asking, observe};

const FRONT: &str = "192.0.2.140";
const BACK: &str = "192.0.2.148";

/// `front` gives addresses away; `back` gives them to those who name it.
fn two_pools(bed: &SharedBed) {
    bed.put_pool("front", json!({"addresses": ["192.0.2.140/31"]}))
        .unwrap();
    bed.put_pool(
        "back",
        json!({"addresses": ["192.0.2.148/31", "2001:db8::148/127"], "autoAssign": false}),
    )
    .unwrap();
}

#[test]
#[ignore = "needs root"]
fn a_pool_is_a_range_or_a_prefix_and_every_address_of_it_is_given_once() {
    let bed = SharedBed::take().unwrap();
    bed.put_pool(
        "range",
        json!({"addresses": ["192.0.2.140-192.0.2.141", "2001:db8::140-2001:db8::141"]}),
    )
    .unwrap();
    for name in ["a", "b"] {
        bed.create_service(&load_balancer(name, &["IPv4", "IPv6"]))
            .unwrap();
    }
    bed.expect_ingress("a", &["192.0.2.140", "2001:db8::140"]);
    bed.expect_ingress("b", &["192.0.2.141", "2001:db8::141"]);
    bed.create_service(&load_balancer("c", &["IPv4", "IPv6"]))
        .unwrap();
    let message = bed.expect_refusal("c", "PoolExhausted");
    assert!(message.contains("range"), "{message}");
    bed.put_pool(
        "prefix",
        json!({"addresses": ["192.0.2.142/31", "2001:db8::142/127"]}),
    )
    .unwrap();
    bed.expect_ingress("c", &["192.0.2.142", "2001:db8::142"]);
    bed.expect_no_condition("c");
}

#[test]
#[ignore = "needs root"]
fn an_annotation_names_the_pool_and_only_then_one_that_gives_nothing_away_is_used() {
    let bed = SharedBed::take().unwrap();
    two_pools(&bed);
    bed.create_service(&load_balancer("any", &["IPv4"]))
        .unwrap();
    bed.expect_ingress("any", &[FRONT]);
    for (name, annotation, expected) in [
        ("ours", "xvip.io/pool", BACK),
        ("theirs", "metallb.io/address-pool", "192.0.2.149"),
    ] {
        bed.create_service(&annotated(name, &["IPv4"], json!({annotation: "back"})))
            .unwrap();
        bed.expect_ingress(name, &[expected]);
    }
    let old = json!({"metallb.universe.tf/address-pool": "back"});
    bed.create_service(&annotated("old", &["IPv6"], old))
        .unwrap();
    bed.expect_ingress("old", &["2001:db8::148"]);
    let none = json!({"xvip.io/pool": "none"});
    bed.create_service(&annotated("none", &["IPv4"], none))
        .unwrap();
    bed.expect_refusal("none", "NoSuchPool");
}

#[test]
#[ignore = "needs root"]
fn a_pool_is_for_its_namespaces_and_services_also_where_the_address_is_named() {
    let bed = SharedBed::take().unwrap();
    let labels = json!({"metadata": {"name": "shop", "labels": {"tier": "front"}}});
    let namespace: Namespace = serde_json::from_value(labels).unwrap();
    bed.control
        .call(async |client| {
            let namespaces: Api<Namespace> = Api::all(client);
            namespaces.create(&PostParams::default(), &namespace).await
        })
        .unwrap();
    bed.put_pool(
        "named",
        json!({"addresses": ["192.0.2.140/31"], "namespaces": ["shop"]}),
    )
    .unwrap();
    bed.put_pool(
        "labelled",
        json!({"addresses": ["192.0.2.148/31"],
            "namespaceSelector": {"matchLabels": {"tier": "front"}},
            "serviceSelector": {"matchLabels": {"public": "yes"}}}),
    )
    .unwrap();
    let in_shop = |name: &str, public: bool| {
        let mut service = load_balancer(name, &["IPv4"]);
        service.metadata.namespace = Some("shop".into());
        if public {
            service.metadata.labels = Some([("public".to_owned(), "yes".to_owned())].into());
        }
        service
    };
    // Elsewhere there is no pool, also for one of its addresses by name.
    bed.create_service(&load_balancer("elsewhere", &["IPv4"]))
        .unwrap();
    bed.expect_refusal("elsewhere", "NoPool");
    for (name, address) in [("named", FRONT), ("labelled", BACK)] {
        bed.create_service(&asking(name, &["IPv4"], address))
            .unwrap();
        let message = bed.expect_refusal(name, "PoolNotAllowed");
        assert!(message.contains("namespace"), "{message}");
    }
    let mut unlabelled = in_shop("unlabelled", false);
    unlabelled.metadata.annotations = Some([("xvip.io/addresses".into(), BACK.into())].into());
    bed.create_service(&unlabelled).unwrap();
    bed.expect_refusal("shop/unlabelled", "PoolNotAllowed");
    bed.create_service(&in_shop("plain", false)).unwrap();
    bed.expect_ingress("shop/plain", &[FRONT]);
    let mut public = in_shop("public", true);
    public.metadata.annotations = Some([("xvip.io/pool".into(), "labelled".into())].into());
    bed.create_service(&public).unwrap();
    bed.expect_ingress("shop/public", &[BACK]);
    bed.expect_vips(&[FRONT, BACK]);
}

#[test]
#[ignore = "needs root"]
fn what_a_later_pool_or_node_forbids_is_said_and_never_withdraws_what_serves() {
    let bed = SharedBed::take().unwrap();
    const OTHER: &str = "192.0.2.145";
    bed.create_service(&asking("pool", &["IPv4"], FRONT))
        .unwrap();
    bed.create_service(&asking("node", &["IPv4"], OTHER))
        .unwrap();
    bed.expect_ingress("pool", &[FRONT]);
    bed.expect_ingress("node", &[OTHER]);
    let observer = observe(&bed, &[FRONT, OTHER]);
    for vip in [FRONT, OTHER] {
        bed.expect_answer(&observer, vip, &[0, 1, 2]);
    }
    let began = observer.now();
    bed.put_pool("later", json!({"addresses": ["192.0.2.144/31"]}))
        .unwrap();
    let message = bed.expect_condition("pool", "xvip.io/Warning", "KeptAgainstRules");
    assert!(message.contains("in no pool"), "{message}");
    bed.expect_event("pool", "AddressQuestioned", FRONT);
    // A new one is refused.
    bed.create_service(&asking("new", &["IPv4"], "192.0.2.141"))
        .unwrap();
    bed.expect_refusal("new", "OutsidePool");
    bed.expect_event("new", "AddressRefused", "192.0.2.141");
    let addresses = json!({"status": {"addresses": [{"type": "InternalIP", "address": OTHER}]}});
    let node = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "later"}});
    bed.control.apply(&node.to_string()).unwrap();
    let patch = [
        "patch",
        "node",
        "later",
        "--subresource=status",
        "--type=merge",
        "-p",
    ];
    let status = addresses.to_string();
    bed.control
        .kubectl(&[&patch[..], &[&status]].concat(), "")
        .unwrap();
    let message = bed.expect_condition("node", "xvip.io/Warning", "KeptAgainstRules");
    assert!(message.contains("later"), "{message}");
    bed.expect_event("node", "AddressQuestioned", OTHER);
    bed.expect_ingress("pool", &[FRONT]);
    bed.expect_ingress("node", &[OTHER]);
    for vip in [FRONT, OTHER] {
        bed.expect_answer(&observer, vip, &[0, 1, 2]);
    }
    observer.finish().unwrap().undisturbed(began).unwrap();
    bed.control
        .kubectl(&["delete", "node", "later"], "")
        .unwrap();
}

#[test]
#[ignore = "needs root"]
fn kubectl_shows_who_holds_an_address_and_how_much_of_a_pool_is_used() {
    let bed = SharedBed::take().unwrap();
    two_pools(&bed);
    bed.create_service(&load_balancer("web", &["IPv4"]))
        .unwrap();
    bed.expect_ingress("web", &[FRONT]);
    let observer = observe(&bed, &[FRONT]);
    let owner = bed.expect_answer(&observer, FRONT, &[0, 1, 2]);
    observer.finish().unwrap();
    let shown = |what: &str, more: &[&str]| {
        let get = [&["get", what][..], more].concat();
        let table = bed.control.kubectl(&get, "").unwrap();
        let lines = table.lines().map(|line| {
            let fields = line.split_whitespace().map(str::to_owned);
            fields.collect::<Vec<_>>()
        });
        lines.collect::<Vec<_>>()
    };
    let row = |what: &str, name: &str| {
        let rows = shown(what, &[]);
        let found = rows.into_iter().find(|row| row[0] == name);
        found.unwrap_or_default()
    };
    let node = bed.nodes[owner].name();
    until(
        "the holder to be shown",
        || Ok(row("vips", FRONT).contains(&"answering".to_owned())),
        || format!("{:?}", shown("vips", &[])),
    )
    .unwrap();
    let [heads, vip] = &shown("vips", &[])[..] else {
        panic!("{:?}", shown("vips", &[]))
    };
    assert_eq!(
        heads[..],
        [
            "NAME",
            "ADDRESS",
            "NODE",
            "INTERFACE",
            "STATE",
            "SERVICE",
            "AGE"
        ]
    );
    assert_eq!(vip[..6], [FRONT, FRONT, &node, "eth0", "answering", "web"]);
    let wide = shown("vips", &["-o", "wide"]);
    assert_eq!(wide[0][6..], ["NAMESPACE", "POOL", "SINCE", "AGE"]);
    assert_eq!(wide[1][6..8], ["default", "front"]);
    let used = ["2", "1", "1"].map(str::to_owned);
    until(
        "the pool's use to be shown",
        || Ok(row("vippools", "front").get(3..6) == Some(&used[..])),
        || format!("{:?}", shown("vippools", &[])),
    )
    .unwrap();
    let heads = &shown("vippools", &[])[0];
    assert_eq!(
        heads[..],
        ["NAME", "ADDRESSES", "AUTO", "TOTAL", "USED", "FREE", "AGE"]
    );
}

#[test]
#[ignore = "needs root"]
fn what_cel_cannot_refuse_of_a_pool_is_a_condition_and_an_event() {
    let bed = SharedBed::take().unwrap();
    bed.put_pool(
        "turned",
        json!({"addresses": ["2001:db8::9-2001:db8::1", "192.0.2.140/31"]}),
    )
    .unwrap();
    bed.put_pool("twice", json!({"addresses": ["192.0.2.141-192.0.2.142"]}))
        .unwrap();
    for (name, kind, status) in [
        ("turned", "Valid", "False"),
        ("turned", "Overlapping", "True"),
        ("twice", "Overlapping", "True"),
    ] {
        let path = format!("jsonpath={{.status.conditions[?(@.type==\"{kind}\")].status}}");
        let get = ["get", "vippool", name, "-o", &path];
        until(
            &format!("{name}: {kind} {status}"),
            || Ok(bed.control.kubectl(&get, "")? == status),
            || {
                format!(
                    "{:?}",
                    bed.control.kubectl(&["get", "vippool", "-o", "yaml"], "")
                )
            },
        )
        .unwrap();
    }
    bed.expect_event("turned", "PoolInvalid", "2001:db8::9");
    bed.expect_event("twice", "PoolInvalid", "VipPool turned has");
    // What is right of it is used.
    bed.create_service(&load_balancer("web", &["IPv4"]))
        .unwrap();
    bed.expect_ingress("web", &[FRONT]);
}
