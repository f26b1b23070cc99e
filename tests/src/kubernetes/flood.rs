//! A bounded crowd of requests that the API server cannot get rid of.

use std::{
    net::TcpListener,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use k8s_openapi::api::core::v1::ConfigMap;
use kube::{Api, api::PostParams, core::ObjectMeta};
use serde_json::json;
use tokio::{task::JoinSet, time::sleep};

use super::{
    Bed,
    control_plane::{STRANGERS, User},
};
use crate::netns::{BedError, system};

/// Service accounts that take part; fair queuing keeps flows of different users apart.
const USERS: usize = 16;
/// Requests that each has under way, all the time: together more than the API server has seats.
const EACH: usize = 12;
/// How long one of them occupies its seat.
const HELD_SECONDS: u64 = 10;

/// Strangers create ConfigMaps, and an admission webhook that never answers holds each of them
/// for ten seconds: seats are occupied, and no CPU is. Ends when dropped.
pub struct Flood {
    stop: Arc<AtomicBool>,
    ended: Arc<AtomicUsize>,
    threads: Vec<JoinHandle<()>>,
    /// Its kernel takes connections, and nobody reads them.
    _deaf: TcpListener,
}

impl Flood {
    /// Begins.
    pub fn start(bed: &Arc<Bed>) -> Result<Self, BedError> {
        let listen = || TcpListener::bind("127.0.0.1:9443").map_err(system("listen"));
        let deaf = bed.control.host.enter(listen)?;
        bed.control.apply(&webhook())?;
        let stop = Arc::new(AtomicBool::new(false));
        let ended = Arc::new(AtomicUsize::new(0));
        let threads = (1..=USERS).map(|user| {
            let (bed, stop, ended) = (Arc::clone(bed), Arc::clone(&stop), Arc::clone(&ended));
            thread::spawn(move || crowd(&bed, user, &stop, &ended))
        });
        Ok(Self {
            threads: threads.collect(),
            stop,
            ended,
            _deaf: deaf,
        })
    }

    /// Requests that have ended.
    pub fn ended(&self) -> usize {
        self.ended.load(Ordering::Relaxed)
    }
}

impl Drop for Flood {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            // A panic in it was printed.
            let _ = thread.join();
        }
    }
}

fn crowd(bed: &Bed, user: usize, stop: &AtomicBool, ended: &Arc<AtomicUsize>) {
    let work = bed.control.call_as(User::Stranger(user), async |client| {
        let mut asking = JoinSet::new();
        for _ in 0..EACH {
            asking.spawn(ask(
                Api::default_namespaced(client.clone()),
                Arc::clone(ended),
            ));
        }
        while !stop.load(Ordering::Relaxed) {
            sleep(Duration::from_millis(50)).await;
        }
        // What is under way is cut off.
        asking.shutdown().await;
        Ok(())
    });
    if let Err(error) = work {
        eprintln!("flood: {error}");
    }
}

async fn ask(maps: Api<ConfigMap>, ended: Arc<AtomicUsize>) {
    let map = ConfigMap {
        metadata: ObjectMeta {
            generate_name: Some("flood-".into()),
            ..ObjectMeta::default()
        },
        ..ConfigMap::default()
    };
    loop {
        // Created or refused: the next one.
        if maps.create(&PostParams::default(), &map).await.is_err() {
            sleep(Duration::from_millis(100)).await;
        }
        ended.fetch_add(1, Ordering::Relaxed);
    }
}

/// Strangers may do everything, and ConfigMaps of theirs are asked for at a deaf place.
fn webhook() -> String {
    let binding = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": "strangers"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": STRANGERS}],
    });
    let webhook = json!({
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingWebhookConfiguration",
        "metadata": {"name": "deaf"},
        "webhooks": [{
            "name": "deaf.bed.example",
            "clientConfig": {"url": "https://127.0.0.1:9443/"},
            "rules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"],
                "resources": ["configmaps"]}],
            "failurePolicy": "Ignore",
            "timeoutSeconds": HELD_SECONDS,
            "sideEffects": "None",
            "admissionReviewVersions": ["v1"],
        }],
    });
    format!("{binding}\n---\n{webhook}\n")
}
