//! Watches what the lease machines want to see: the agents' Leases and the claims objects, and
//! the Lease of the control plane.

use std::{collections::BTreeMap, fmt::Debug, hash::Hash, time::Duration};

use futures::{StreamExt, pin_mut};
use k8s_openapi::api::coordination::v1::Lease as LeaseObject;
use kube::{
    Api, Client, Resource,
    runtime::watcher::{self, watcher},
};
use serde::de::DeserializeOwned;
use tokio::{sync::mpsc, time::sleep};

use super::{claims, lease, watch::pause};
use crate::{
    api::VipClaims,
    manifest::{CONTROL_PLANE_LEASE, CONTROL_PLANE_NAMESPACE},
    ownership::{Event, PlaneEvent},
};

/// After an error the watch begins again, so soon: a second of blindness is a second in which a
/// takeover is not seen, and no lease is shorter.
const RETRY: Duration = Duration::from_millis(300);
/// The API server ends a watch after so many seconds, and a watch whose server vanished without a
/// word ends with it.
const WATCH_SECONDS: u32 = 60;

/// Sends Leases and claims objects of `namespace` to the machine, for ever.
pub async fn follow(client: Client, namespace: String, events: mpsc::UnboundedSender<Event>) {
    let (label, value) = lease::LABEL;
    let leases: Api<LeaseObject> = Api::namespaced(client.clone(), &namespace);
    let labelled = watcher::Config::default().labels(&format!("{label}={value}"));
    let objects: Api<VipClaims> = Api::namespaced(client, &namespace);
    let leases = watch(
        leases,
        labelled,
        |object| Some((object.metadata.name.clone()?, lease::read(object)?)),
        |news| match news {
            News::Seen(lease) => Event::LeaseSeen(lease),
            News::Gone(lease) => Event::LeaseGone(lease.node),
        },
        &events,
    );
    let objects = watch(
        objects,
        watcher::Config::default(),
        |object| Some((object.metadata.name.clone()?, claims::read(object)?)),
        |news| match news {
            News::Seen(claims) => Event::ClaimsSeen(claims),
            News::Gone(claims) => Event::ClaimsGone(claims.index),
        },
        &events,
    );
    tokio::join!(leases, objects);
}

/// Sends the Lease of the control plane to its machine, for ever.
pub async fn follow_control_plane(client: Client, events: mpsc::UnboundedSender<PlaneEvent>) {
    let name = format!("metadata.name={CONTROL_PLANE_LEASE}");
    watch(
        Api::<LeaseObject>::namespaced(client, CONTROL_PLANE_NAMESPACE),
        watcher::Config::default().fields(&name),
        |object| Some((object.metadata.name.clone()?, lease::read(object)?)),
        |news| match news {
            News::Seen(lease) => PlaneEvent::Seen(Some(lease)),
            News::Gone(_) => PlaneEvent::Seen(None),
        },
        &events,
    )
    .await;
}

enum News<T> {
    Seen(T),
    Gone(T),
}

async fn watch<K, T, R, F, E>(
    api: Api<K>,
    config: watcher::Config,
    read: R,
    event: F,
    events: &mpsc::UnboundedSender<E>,
) where
    K: Resource + Clone + DeserializeOwned + Debug + Send + 'static,
    K::DynamicType: Default + Clone + Eq + Hash,
    T: Clone,
    R: Fn(&K) -> Option<(String, T)>,
    F: Fn(News<T>) -> E,
{
    let stream = watcher(api, config.timeout(WATCH_SECONDS));
    pin_mut!(stream);
    let mut known = BTreeMap::new();
    let mut listed = BTreeMap::new();
    while let Some(next) = stream.next().await {
        let mut news = Vec::new();
        match next {
            Ok(watcher::Event::Init) => listed.clear(),
            Ok(watcher::Event::InitApply(object)) => listed.extend(read(&object)),
            Ok(watcher::Event::InitDone) => {
                let gone = known.iter().filter(|(name, _)| !listed.contains_key(*name));
                news.extend(gone.map(|(_, old)| News::Gone(T::clone(old))));
                news.extend(listed.values().cloned().map(News::Seen));
                known = std::mem::take(&mut listed);
            }
            Ok(watcher::Event::Apply(object)) => {
                if let Some((name, seen)) = read(&object) {
                    known.insert(name, seen.clone());
                    news.push(News::Seen(seen));
                }
            }
            Ok(watcher::Event::Delete(object)) => {
                if let Some((name, seen)) = read(&object) {
                    known.remove(&name);
                    news.push(News::Gone(seen));
                }
            }
            Err(error) => {
                tracing::debug!(%error, "the watch broke");
                sleep(pause(&error, RETRY)).await;
            }
        }
        for news in news {
            if events.send(event(news)).is_err() {
                return;
            }
        }
    }
}
