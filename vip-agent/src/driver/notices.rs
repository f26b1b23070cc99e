//! What the users of Services and pools are told by Kubernetes Events, each once.

use std::{collections::BTreeMap, net::IpAddr};

use super::{Driver, cluster::View, kubernetes::Kubernetes};
use crate::{
    cluster::{Condition, Decision, Refusal, ServiceKey, Warning},
    io::kube::{
        notice::{About, Notice, Reason},
        write::Write,
    },
};

/// What was told.
#[derive(Default)]
pub(super) struct Told {
    /// Of Services.
    refused: BTreeMap<ServiceKey, Vec<Refusal>>,
    warned: BTreeMap<ServiceKey, Vec<Warning>>,
    /// Of pools.
    faulted: BTreeMap<String, Vec<Condition>>,
}

impl Driver {
    /// A rival claims a VIP: its Services' users should know.
    pub(super) fn tell_of_rival(&self, vip: IpAddr, rival: &str) {
        if let Some(Kubernetes { view, writes, .. }) = &self.kubernetes {
            let node = &self.config.node;
            let note = format!("{rival} claims {vip}, which {node} answers for");
            for notice in view.about(vip, Reason::Conflict, &note) {
                let _ = writes.send(Write::Notice(notice));
            }
        }
    }
}

impl View {
    /// The Services of a VIP are told something.
    fn about(&self, vip: IpAddr, reason: Reason, note: &str) -> Vec<Notice> {
        let services = self.cluster.vip(vip).map(|vip| &vip.assignment.services);
        let found = services
            .into_iter()
            .flatten()
            .filter_map(|key| self.cluster.service(key));
        found
            .map(|service| Notice {
                about: About::Service {
                    key: service.key.clone(),
                    uid: service.uid.clone(),
                },
                reason,
                note: note.to_owned(),
            })
            .collect()
    }

    /// This node answers for a VIP from now on.
    pub(super) fn announced(&self, vip: IpAddr, node: &str) -> Option<Vec<Notice>> {
        let holder = self.cluster.vip(vip)?.holder.as_deref();
        Some(match holder {
            Some(holder) if holder == node => return None,
            Some(holder) => {
                let note = format!("{node} answers for {vip}, in place of {holder}");
                self.about(vip, Reason::Moved, &note)
            }
            None => {
                let note = format!("{node} answers for {vip} and announces it");
                self.about(vip, Reason::Announced, &note)
            }
        })
    }

    /// What is newly wrong with pools.
    fn faults(&mut self, decision: &Decision, notices: &mut Vec<Notice>) {
        self.told
            .faulted
            .retain(|name, _| self.cluster.pool(name).is_some());
        for (name, status) in &decision.pools {
            let Some(pool) = self.cluster.pool(name) else {
                continue;
            };
            let faults = status.conditions.iter();
            let faults: Vec<_> = faults.filter(|it| it.faults_pool()).cloned().collect();
            let before = self.told.faulted.insert(name.clone(), faults.clone());
            let before = before.unwrap_or_default();
            let new = faults.into_iter().filter(|it| !before.contains(it));
            notices.extend(new.map(|fault| Notice {
                about: About::Pool {
                    name: name.clone(),
                    uid: pool.uid.clone(),
                },
                reason: Reason::PoolInvalid,
                note: fault.message,
            }));
        }
    }

    /// What is new for the users of Services.
    pub(super) fn notices(&mut self, decision: &Decision) -> Vec<Notice> {
        let mut notices = Vec::new();
        for created in &decision.create {
            for service in created
                .services
                .iter()
                .filter_map(|key| self.cluster.service(key))
            {
                let from = match &created.pool {
                    Some(pool) => format!("from pool {pool}"),
                    None => "as it was asked for".to_owned(),
                };
                notices.push(Notice {
                    about: About::Service {
                        key: service.key.clone(),
                        uid: service.uid.clone(),
                    },
                    reason: Reason::AddressAllocated,
                    note: format!("{} {from}", created.address),
                });
            }
        }
        self.faults(decision, &mut notices);
        let known = |key: &ServiceKey| decision.reports.contains_key(key);
        self.told.refused.retain(|key, _| known(key));
        self.told.warned.retain(|key, _| known(key));
        for (key, report) in &decision.reports {
            let Some(service) = self.cluster.service(key) else {
                continue;
            };
            let mut say = |reason, note: String| {
                notices.push(Notice {
                    about: About::Service {
                        key: key.clone(),
                        uid: service.uid.clone(),
                    },
                    reason,
                    note,
                });
            };
            let before = self
                .told
                .refused
                .insert(key.clone(), report.refusals.clone())
                .unwrap_or_default();
            for refusal in report.refusals.iter().filter(|it| !before.contains(it)) {
                say(Reason::AddressRefused, refusal.to_string());
            }
            let before = self
                .told
                .warned
                .insert(key.clone(), report.warnings.clone())
                .unwrap_or_default();
            for warning in report.warnings.iter().filter(|it| !before.contains(it)) {
                say(Reason::AddressQuestioned, warning.to_string());
            }
        }
        notices
    }
}
