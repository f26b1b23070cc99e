//! What a cluster shows of Services and addresses, looked at and waited for.

use std::{collections::BTreeSet, thread, time::Duration};

use k8s_openapi::api::{
    core::v1::Service, discovery::v1::EndpointSlice, events::v1::Event as EventObject,
};
use kube::{
    Api,
    api::{DeleteParams, ListParams},
};
use vip_agent::api::{Vip, VipPool};

use super::{Bed, objects::place};
use crate::{agent::until, netns::BedError, observer::Observer};

impl Bed {
    /// Waits until a Service's status shows exactly these addresses, in this order.
    ///
    /// # Panics
    /// When it does not come to that.
    pub fn expect_ingress(&self, name: &str, expected: &[&str]) {
        until(
            &format!("{name} to have {expected:?}"),
            || Ok(self.ingress(name)? == expected),
            || self.described(name),
        )
        .unwrap();
    }

    /// Waits until a Service has a condition of ours: `xvip.io/Allocated` or `xvip.io/Warning`, and
    /// its reason. The message is returned.
    ///
    /// # Panics
    /// When it does not come to that.
    pub fn expect_condition(&self, name: &str, kind: &str, reason: &str) -> String {
        let message = || {
            let service = self.service(name).ok()?;
            let conditions = service.status?.conditions?;
            let ours = conditions.into_iter().find(|it| it.type_ == kind)?;
            (ours.reason == reason).then_some(ours.message)
        };
        until(
            &format!("{name} to have {kind}: {reason}"),
            || Ok(message().is_some()),
            || self.described(name),
        )
        .unwrap();
        message().unwrap_or_default()
    }

    /// Waits until a Service is told why it has no address.
    ///
    /// # Panics
    /// When it is not.
    pub fn expect_refusal(&self, name: &str, reason: &str) -> String {
        self.expect_condition(name, "xvip.io/Allocated", reason)
    }

    /// Waits until a Service has no condition of ours.
    ///
    /// # Panics
    /// When one stays.
    pub fn expect_no_condition(&self, name: &str) {
        let is_fine = || {
            let status = self.service(name)?.status.unwrap_or_default();
            let conditions = status.conditions.unwrap_or_default();
            Ok(!conditions.iter().any(|it| it.type_.starts_with("xvip.io/")))
        };
        until(&format!("{name} to have no condition"), is_fine, || {
            self.described(name)
        })
        .unwrap();
    }

    /// Waits for an Event about an object that has a reason, and a text in its note.
    ///
    /// # Panics
    /// When there is none.
    pub fn expect_event(&self, about: &str, reason: &str, text: &str) {
        let about = place(about).1;
        let told = || {
            let all = self.events()?;
            Ok(all
                .iter()
                .any(|(object, why, note)| object == about && why == reason && note.contains(text)))
        };
        until(
            &format!("an Event {reason} about {about} with {text:?}"),
            told,
            || format!("{:#?}", self.events()),
        )
        .unwrap();
    }

    /// Name of the object, reason and note of every Event.
    pub fn events(&self) -> Result<Vec<(String, String, String)>, BedError> {
        let list = self.control.call(async |client| {
            let events: Api<EventObject> = Api::all(client);
            events.list(&ListParams::default()).await
        })?;
        let events = list.items.into_iter().map(|event| {
            let about = event.regarding.and_then(|object| object.name);
            let text = Option::unwrap_or_default;
            (text(about), text(event.reason), text(event.note))
        });
        Ok(events.collect())
    }

    /// Every `Vip`.
    pub fn vips(&self) -> Result<Vec<Vip>, BedError> {
        let list = self.control.call(async |client| {
            let vips: Api<Vip> = Api::all(client);
            vips.list(&ListParams::default()).await
        })?;
        Ok(list.items)
    }

    /// Waits until the `Vip`s are these, by address, and no others.
    ///
    /// # Panics
    /// When it does not come to that.
    pub fn expect_vips(&self, expected: &[&str]) {
        let addresses = || -> Result<BTreeSet<String>, BedError> {
            let vips = self.vips()?.into_iter();
            Ok(vips.map(|vip| vip.spec.address).collect())
        };
        let expected: BTreeSet<String> = expected.iter().map(|vip| (*vip).to_owned()).collect();
        until(
            &format!("the Vips to be {expected:?}"),
            || Ok(addresses()? == expected),
            || format!("{:?}", addresses()),
        )
        .unwrap();
    }

    /// Waits until one of these nodes answers for a VIP on the LAN.
    ///
    /// # Panics
    /// When another does, or none.
    pub fn expect_answer(&self, observer: &Observer, vip: &str, nodes: &[usize]) -> usize {
        let since = observer.now();
        let answerer = || {
            let answer = observer.latest(vip).filter(|answer| answer.at > since)?;
            self.node_of(answer.by)
        };
        until(
            &format!("{vip} to be answered by one of {nodes:?}"),
            || Ok(answerer().is_some_and(|node| nodes.contains(&node))),
            || format!("{:?} {:?}", answerer(), self.rows()),
        )
        .unwrap();
        answerer().unwrap()
    }

    /// Waits until nobody has answered for a VIP for some time.
    ///
    /// # Panics
    /// When somebody goes on.
    pub fn expect_silence(&self, observer: &Observer, vip: &str) {
        const LONG: Duration = Duration::from_millis(300);
        let began = observer.now();
        let last = || {
            observer
                .latest(vip)
                .map_or(began, |answer| answer.at.max(began))
        };
        until(
            &format!("{vip} to be silent"),
            || Ok(observer.now() - last() > LONG),
            || format!("{:?}", observer.latest(vip)),
        )
        .unwrap();
    }

    /// What `kubectl describe` says of a Service, and what Vips there are.
    pub fn described(&self, name: &str) -> String {
        let (namespace, name) = place(name);
        let describe = ["describe", "service", "-n", namespace, name];
        let service = self.control.kubectl(&describe, "");
        let vips = self.control.kubectl(&["get", "vips", "-o", "wide"], "");
        let text = |said: Result<String, BedError>| said.unwrap_or_else(|error| error.to_string());
        format!("{}\n{}", text(service), text(vips))
    }

    /// Removes what tests write: Services, endpoints and pools. Waits until no address is left, and
    /// all may be given again.
    pub fn clear(&self) -> Result<(), BedError> {
        self.control.call(async |client| {
            let (all, gone) = (ListParams::default(), DeleteParams::default());
            let services: Api<Service> = Api::all(client.clone());
            for service in services.list(&all).await?.items {
                let metadata = service.metadata;
                let (Some(namespace), Some(name)) = (metadata.namespace, metadata.name) else {
                    continue;
                };
                if name != "kubernetes" {
                    let services: Api<Service> = Api::namespaced(client.clone(), &namespace);
                    services.delete(&name, &gone).await?;
                }
            }
            let slices: Api<EndpointSlice> = Api::default_namespaced(client.clone());
            let of_tests = all.clone().labels("kubernetes.io/service-name!=kubernetes");
            slices.delete_collection(&gone, &of_tests).await?;
            let pools: Api<VipPool> = Api::all(client);
            pools.delete_collection(&gone, &all).await?;
            Ok(())
        })?;
        until(
            "all Vips to go",
            || Ok(self.vips()?.is_empty()),
            || format!("{:?}", self.vips()),
        )?;
        // The allocator asks the LAN again half a second after an address was ours.
        thread::sleep(Duration::from_millis(600));
        Ok(())
    }
}
