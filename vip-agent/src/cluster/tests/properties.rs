//! What holds for any Services and pools, in any order of events.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    time::Instant,
};

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

/// Something that happens between two decisions.
#[derive(Clone, Debug)]
enum Step {
    /// Service `name` is written: its address, pool and key, families, ports.
    Write(u8, Ask),
    Delete(u8),
    /// Pool `name` is written with these addresses.
    Pool(u8, Vec<u8>, bool),
    /// Somebody answers for an address of the pools from now on.
    Rival(u8),
    /// Some decisions are taken and applied.
    Decide(u8),
    /// What is known of the LAN is too old.
    Forget,
}

#[derive(Clone, Debug)]
struct Ask {
    address: Option<u8>,
    pool: Option<u8>,
    key: Option<u8>,
    policy: u8,
    port: u16,
    local: bool,
    created: u8,
}

fn ask() -> impl Strategy<Value = Ask> {
    let maybe = |range| prop::option::weighted(0.3, range);
    (
        maybe(0..6_u8),
        maybe(0..3_u8),
        prop::option::of(0..2_u8),
        0..4_u8,
        80..83_u16,
        prop::bool::weighted(0.3),
        0..10_u8,
    )
        .prop_map(|(address, pool, key, policy, port, local, created)| Ask {
            address,
            pool,
            key,
            policy,
            port,
            local,
            created,
        })
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0..8_u8, ask()).prop_map(|(name, ask)| Step::Write(name, ask)),
        1 => (0..8_u8).prop_map(Step::Delete),
        2 => (0..3_u8, prop::collection::vec(0..4_u8, 1..3), any::<bool>())
            .prop_map(|(name, blocks, auto)| Step::Pool(name, blocks, auto)),
        1 => (0..8_u8).prop_map(Step::Rival),
        3 => (1..4_u8).prop_map(Step::Decide),
        1 => Just(Step::Forget),
    ]
}

impl Ask {
    fn service(&self) -> Value {
        let mut annotations = serde_json::Map::new();
        if let Some(address) = self.address {
            let text = match address % 2 {
                0 => format!("192.0.2.{address}"),
                _ => format!("2001:db8::{address}"),
            };
            annotations.insert("xvip.io/addresses".into(), text.into());
        }
        if let Some(pool) = self.pool {
            annotations.insert("xvip.io/pool".into(), format!("p{pool}").into());
        }
        if let Some(key) = self.key {
            annotations.insert("xvip.io/share-key".into(), format!("k{key}").into());
        }
        let (policy, families) = match self.policy {
            0 => ("SingleStack", vec!["IPv4"]),
            1 => ("SingleStack", vec!["IPv6"]),
            2 => ("PreferDualStack", vec!["IPv4", "IPv6"]),
            _ => ("RequireDualStack", vec!["IPv6", "IPv4"]),
        };
        let traffic = if self.local { "Local" } else { "Cluster" };
        json!({
            "metadata": {
                "annotations": annotations,
                "creationTimestamp": format!("2026-01-01T00:00:0{}Z", self.created),
            },
            "spec": {
                "ipFamilyPolicy": policy,
                "ipFamilies": families,
                "externalTrafficPolicy": traffic,
                "ports": [{"port": self.port, "protocol": "TCP"}],
            },
        })
    }
}

fn take(bed: &mut Bed, asks: &mut BTreeMap<u8, Ask>, step: &Step) {
    match step {
        Step::Write(name, ask) => {
            // Sharing once settled is not undone by a later change of key or port: those have
            // tests of their own.
            let mut ask = ask.clone();
            if let Some(before) = asks.get(name) {
                (ask.key, ask.port, ask.local) = (before.key, before.port, before.local);
                ask.created = before.created;
            }
            bed.service(&format!("s{name}"), ask.service());
            asks.insert(*name, ask);
        }
        Step::Delete(name) => {
            if asks.remove(name).is_some() {
                bed.delete(&format!("s{name}"));
                // A Vip names a Service by its name: one that is made anew under it inherits.
                let decision = bed.decide();
                bed.apply(&decision);
            }
        }
        Step::Pool(name, blocks, auto) => {
            let blocks = blocks.iter().flat_map(|block| {
                let first = block * 2;
                [
                    format!("192.0.2.{first}/31"),
                    format!("2001:db8::{first}/127"),
                ]
            });
            let addresses: Vec<_> = blocks.collect();
            let spec = json!({"addresses": addresses, "autoAssign": auto});
            bed.pool(&format!("p{name}"), spec);
        }
        Step::Rival(last) => bed.rivals.push(ip(&format!("192.0.2.{last}"))),
        Step::Decide(times) => {
            for _ in 0..*times {
                let decision = bed.decide();
                bed.apply(&decision);
            }
        }
        Step::Forget => bed.lan.clear(),
    }
}

fn holders(bed: &Bed) -> BTreeMap<IpAddr, Vec<&Service>> {
    let vips = bed.cluster.all_vips().map(|vip| &vip.assignment);
    vips.map(|assignment| {
        let services = assignment.services.iter();
        let services = services.filter_map(|key| bed.cluster.service(key));
        (assignment.address, services.collect())
    })
    .collect()
}

proptest! {
    #[test]
    fn no_address_has_two_services_that_do_not_share_it(
        steps in prop::collection::vec(step(), 1..40),
    ) {
        let mut bed = Bed::new();
        let mut asks = BTreeMap::new();
        for step in &steps {
            take(&mut bed, &mut asks, step);
            for (address, services) in holders(&bed) {
                for (index, one) in services.iter().enumerate() {
                    for other in &services[..index] {
                        prop_assert!(one.share_key().is_some(), "{}", address);
                        prop_assert_eq!(one.share_key(), other.share_key());
                        prop_assert!(one.ports.is_disjoint(&other.ports));
                        prop_assert!(!one.is_local && !other.is_local || one.selector == other.selector);
                    }
                }
            }
        }
    }

    #[test]
    fn decisions_come_to_rest_and_stay_there(
        steps in prop::collection::vec(step(), 1..40),
        ahead in 0..3_usize,
    ) {
        let mut bed = Bed::new();
        bed.settings.probe_ahead = ahead;
        let mut asks = BTreeMap::new();
        for step in &steps {
            take(&mut bed, &mut asks, step);
        }
        let rest = bed.settle();
        prop_assert_eq!(&bed.decide(), &rest);
        // After a restart, too: at most the LAN is asked again.
        bed.lan.clear();
        let restarted = bed.decide();
        prop_assert!(restarted.create.is_empty() && restarted.update.is_empty());
        prop_assert!(restarted.delete.is_empty());
        // A rival that is asked again may be another reason than before, and nothing more.
        for status in &restarted.statuses {
            let service = bed.cluster.service(&status.service).unwrap();
            prop_assert_eq!(&service.ingress.addresses, &status.ingress);
        }
    }

    #[test]
    fn statuses_show_the_addresses_of_vips_and_of_the_right_families(
        steps in prop::collection::vec(step(), 1..40),
    ) {
        let mut bed = Bed::new();
        let mut asks = BTreeMap::new();
        for step in &steps {
            take(&mut bed, &mut asks, step);
        }
        bed.settle();
        let holders = holders(&bed);
        let mut shown = BTreeSet::new();
        for name in asks.keys() {
            let key = ServiceKey::new("web", &format!("s{name}"));
            let service = bed.cluster.service(&key).unwrap();
            let families: Vec<_> = service.ingress.addresses.iter().map(|a| Family::of(*a)).collect();
            let wanted = service.wanted_families();
            prop_assert!(wanted.iter().filter(|f| families.contains(f)).eq(&families));
            for address in &service.ingress.addresses {
                prop_assert!(holders[address].iter().any(|holder| holder.key == key));
                shown.insert(*address);
            }
        }
        prop_assert!(holders.keys().eq(&shown), "a Vip that nobody shows");
    }

    #[test]
    fn what_serves_is_never_withdrawn_by_pools_or_rivals(
        before in prop::collection::vec(step(), 1..30),
        after in prop::collection::vec(step(), 1..10),
    ) {
        let mut bed = Bed::new();
        let mut asks = BTreeMap::new();
        for step in &before {
            take(&mut bed, &mut asks, step);
        }
        bed.settle();
        let serves: Vec<_> = asks.keys().map(|name| (*name, bed.shown(&format!("s{name}")))).collect();
        for step in &after {
            if matches!(step, Step::Pool(..) | Step::Rival(_) | Step::Decide(_) | Step::Forget) {
                take(&mut bed, &mut asks, step);
            }
        }
        bed.settle();
        for (name, before) in serves {
            let now = bed.shown(&format!("s{name}"));
            // A Service that asks for another pool or address than it has may get it by now.
            let asks = &asks[&name];
            let stays = asks.pool.is_some() || asks.address.is_some();
            prop_assert!(now.len() >= before.len());
            prop_assert!(stays || before.iter().all(|address| now.contains(address)));
        }
    }
}

/// By hand, in release: `cargo test --release -p vip-agent --lib thousand -- --ignored --nocapture`.
#[test]
#[ignore = "measures"]
fn a_thousand_services_are_decided_within_ten_milliseconds() {
    let mut bed = Bed::new();
    bed.pool(
        "main",
        json!({"addresses": ["10.0.0.0/16", "2001:db8::/64"]}),
    );
    let families =
        json!({"spec": {"ipFamilyPolicy": "RequireDualStack", "ipFamilies": ["IPv4", "IPv6"]}});
    for index in 0..1000 {
        bed.service(&format!("s{index}"), families.clone());
    }
    bed.settings.probe_ahead = 8;
    loop {
        let start = Instant::now();
        let decision = bed.decide();
        let took = start.elapsed();
        eprintln!(
            "{} probes, {} created, {} statuses: {took:?}",
            decision.probe.len(),
            decision.create.len(),
            decision.statuses.len()
        );
        assert!(took.as_millis() < 10 || cfg!(debug_assertions));
        if decision.is_settled() {
            break;
        }
        bed.apply(&decision);
    }
    let start = Instant::now();
    assert_eq!(served(&bed.cluster).len(), 2000);
    eprintln!("served: {:?}", start.elapsed());
}
