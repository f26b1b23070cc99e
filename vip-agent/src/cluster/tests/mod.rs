//! The rules of allocation, one by one, on objects as an API server keeps them.

mod addresses;
mod concerns;
mod families;
mod lives;
mod pools;
mod properties;
mod shared;

use std::{collections::BTreeMap, net::IpAddr};

use k8s_openapi::{
    api::core::v1 as core,
    apimachinery::pkg::apis::meta::v1::{Condition as Object, Time},
    jiff::Timestamp,
};
use serde_json::{Value, json};

use super::*;
use crate::vip::Mac;

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// With so many Services, whom a change concerns is checked no more: it takes too long.
const CROWD: usize = 20;
const RIVAL: Mac = Mac([2, 0, 0, 0, 0, 9]);

/// An API server and a LAN, both as an allocator sees them.
struct Bed {
    cluster: Cluster,
    settings: Settings,
    forbidden: Forbidden,
    lan: LanAnswers,
    /// Who answers on the LAN.
    rivals: Vec<IpAddr>,
    services: BTreeMap<ServiceKey, core::Service>,
    pools: BTreeMap<String, api::VipPool>,
    versions: u64,
}

fn conditions(conditions: &[Condition]) -> Vec<Object> {
    let objects = conditions.iter().map(|condition| Object {
        type_: condition.kind.into(),
        status: if condition.status { "True" } else { "False" }.into(),
        reason: condition.reason.clone(),
        message: condition.message.clone(),
        last_transition_time: Time(Timestamp::UNIX_EPOCH),
        observed_generation: None,
    });
    objects.collect()
}

impl Bed {
    /// Without anything in it.
    fn new() -> Self {
        let mut cluster = Cluster::default();
        cluster.services(Change::Listed(Vec::new()));
        cluster.endpoint_slices(Change::Listed(Vec::new()));
        cluster.nodes(Change::Listed(Vec::new()));
        cluster.namespaces(Change::Listed(Vec::new()));
        cluster.pools(Change::Listed(Vec::new()));
        cluster.vips(Change::Listed(Vec::new()));
        Self {
            cluster,
            settings: Settings {
                probe_ahead: 0,
                ..Settings::default()
            },
            forbidden: Forbidden::default(),
            lan: LanAnswers::new(),
            rivals: Vec::new(),
            services: BTreeMap::new(),
            pools: BTreeMap::new(),
            versions: 0,
        }
    }

    /// With a pool `main`.
    fn with_pool(addresses: Value) -> Self {
        let mut bed = Self::new();
        bed.pool("main", json!({"addresses": addresses}));
        bed
    }

    fn pool(&mut self, name: &str, spec: Value) {
        let mut pool = fixture::pool(name, spec);
        if let Some(before) = self.pools.get(name) {
            pool.status = before.status.clone();
        }
        self.pools.insert(name.into(), pool.clone());
        self.hear(|cluster| cluster.pools(Change::Applied(pool)));
    }

    /// Creates Service `web/name`, or writes its spec anew.
    fn service(&mut self, name: &str, change: Value) {
        self.service_in("web", name, change);
    }

    fn service_in(&mut self, namespace: &str, name: &str, change: Value) {
        let mut service = fixture::service(namespace, name, change);
        let key = ServiceKey::new(namespace, name);
        if let Some(before) = self.services.get(&key) {
            service.status = before.status.clone();
        }
        self.put(service);
    }

    fn put(&mut self, service: core::Service) {
        let key = ServiceKey::of(&service.metadata).unwrap();
        self.services.insert(key, service.clone());
        self.hear(|cluster| cluster.services(Change::Applied(service)));
    }

    fn delete(&mut self, name: &str) {
        let service = self.services.remove(&ServiceKey::new("web", name)).unwrap();
        self.hear(|cluster| cluster.services(Change::Deleted(service)));
    }

    /// Takes a change. Whoever it does not concern must come to the same conclusions as before.
    fn hear(&mut self, change: impl FnOnce(&mut Cluster) -> Concern) -> Concern {
        if self.services.len() > CROWD {
            return change(&mut self.cluster);
        }
        let (before, decided) = (served(&self.cluster), self.decide());
        let concern = change(&mut self.cluster);
        if concern < Concern::Everybody {
            assert_eq!(served(&self.cluster), before, "{concern:?}");
        }
        if concern < Concern::Allocator {
            assert_eq!(self.decide(), decided);
        }
        concern
    }

    fn decide(&self) -> Decision {
        decide(&self.cluster, &self.settings, &self.forbidden, &self.lan)
    }

    /// Does what a decision says.
    fn apply(&mut self, decision: &Decision) {
        for address in &decision.probe {
            assert!(self.cluster.vip(*address).is_none(), "{address} is a Vip");
            let answer = match self.rivals.contains(address) {
                true => LanAnswer::Answered(RIVAL),
                false => LanAnswer::Free,
            };
            self.lan.insert(*address, answer);
        }
        for assignment in &decision.create {
            assert!(self.cluster.vip(assignment.address).is_none());
            self.write(assignment);
        }
        for update in &decision.update {
            let vip = self.cluster.vip(update.assignment.address).unwrap();
            assert_eq!(vip.resource_version, update.resource_version);
            self.write(&update.assignment);
        }
        for deletion in &decision.delete {
            let vip = self.cluster.vip(deletion.address).unwrap();
            assert_eq!(vip.uid, deletion.uid);
            let object = api::Vip::new("", (&vip.assignment).into());
            self.hear(|cluster| cluster.vips(Change::Deleted(object)));
        }
        for status in &decision.statuses {
            let Some(mut service) = self.services.get(&status.service).cloned() else {
                panic!("no Service {}", status.service);
            };
            let ingress = status.ingress.iter();
            let ingress: Vec<_> = ingress
                .map(|ip| json!({"ip": ip, "ipMode": "VIP"}))
                .collect();
            service.status =
                serde_json::from_value(json!({"loadBalancer": {"ingress": ingress}})).ok();
            service.status.as_mut().unwrap().conditions = Some(conditions(&status.conditions));
            self.put(service);
        }
        for (name, status) in &decision.pools {
            let mut pool = self.pools[name].clone();
            pool.status = Some(api::VipPoolStatus {
                total: Some(status.total.to_string()),
                used: Some(status.used.to_string()),
                free: Some(status.free.to_string()),
                conditions: conditions(&status.conditions),
            });
            self.pools.insert(name.clone(), pool.clone());
            self.hear(|cluster| cluster.pools(Change::Applied(pool)));
        }
    }

    fn write(&mut self, assignment: &Assignment) {
        self.versions += 1;
        let name = api::vip_name(assignment.address);
        assert!(!assignment.services.is_empty(), "{name} belongs to nobody");
        let mut object = api::Vip::new(&name, assignment.into());
        object.metadata.uid = Some(name);
        object.metadata.resource_version = Some(self.versions.to_string());
        self.hear(|cluster| cluster.vips(Change::Applied(object)));
    }

    /// Decides and applies until nothing is left to do.
    fn settle(&mut self) -> Decision {
        for _ in 0..10 {
            let decision = self.decide();
            if decision.is_settled() {
                return decision;
            }
            self.apply(&decision);
        }
        panic!("no rest: {:#?}", self.decide());
    }

    /// The status of Service `web/name`.
    fn shown(&self, name: &str) -> Vec<String> {
        let service = self.cluster.service(&ServiceKey::new("web", name)).unwrap();
        let addresses = service.ingress.addresses.iter();
        addresses.map(ToString::to_string).collect()
    }

    fn condition(&self, name: &str) -> Option<(&'static str, String)> {
        let service = self.cluster.service(&ServiceKey::new("web", name)).unwrap();
        let first = service.conditions.first()?;
        Some((first.kind, first.reason.clone()))
    }

    fn refused(&self, name: &str) -> Vec<Refusal> {
        let decision = self.decide();
        let report = decision.reports.get(&ServiceKey::new("web", name));
        report
            .map(|report| report.refusals.clone())
            .unwrap_or_default()
    }

    fn vips(&self) -> Vec<String> {
        let vips = self.cluster.all_vips();
        vips.map(|vip| vip.assignment.address.to_string()).collect()
    }

    /// A new process knows what the API server keeps, and nothing of the LAN.
    fn restart(&mut self) {
        self.lan.clear();
    }
}

fn asks(address: &str) -> Value {
    json!({"metadata": {"annotations": {"xvip.io/addresses": address}}})
}

fn dual(policy: &str) -> Value {
    json!({"spec": {"ipFamilyPolicy": policy, "ipFamilies": ["IPv6", "IPv4"]}})
}

fn shared(key: &str, port: u16) -> Value {
    json!({
        "metadata": {"annotations": {"xvip.io/share-key": key}},
        "spec": {"ports": [{"port": port, "protocol": "TCP"}]},
    })
}
