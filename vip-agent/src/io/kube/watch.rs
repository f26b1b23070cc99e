//! Watches the cluster: Services, EndpointSlices, Nodes, Namespaces, pools and Vips.
//!
//! Each kind has a watch of its own, which never ends: after an error it begins again, later and
//! later. Of each object only what [`crate::cluster`] reads is kept on the way.

use std::{
    fmt::Debug,
    hash::{BuildHasher, Hash, Hasher, RandomState},
    time::Duration,
};

use futures::{StreamExt, pin_mut};
use k8s_openapi::api::{
    core::v1::{Namespace, Node, NodeStatus, Service},
    discovery::v1::EndpointSlice,
};
use kube::{
    Api, Client, Resource,
    core::Status,
    runtime::watcher::{self, watcher},
};
use serde::de::DeserializeOwned;
use tokio::{
    sync::mpsc,
    time::{Instant, sleep},
};

use crate::{
    api::{Vip, VipPool},
    cluster::Change,
};

/// The API server ends a watch after so long, and one whose server vanished without a word ends
/// five seconds later.
const WATCH_SECONDS: u32 = 120;
/// Wait after the first error.
const FIRST_RETRY: Duration = Duration::from_millis(250);
/// And the longest wait, shortened at random so that a thousand agents do not come back at once.
const LAST_RETRY: Duration = Duration::from_secs(8);
/// Without an error for so long, the next one is the first again.
const CALM: Duration = Duration::from_secs(30);
/// An error that stays is told again after so long.
const TELL_AGAIN: Duration = Duration::from_secs(60);
/// Status of what is no more.
const GONE: u16 = 410;
/// Status of what has too many requests.
const CROWDED: u16 = 429;
/// Objects in one page of a list.
const PAGE: u32 = 500;
/// No load balancer's Service is headless.
const NOT_HEADLESS: &str = "!service.kubernetes.io/headless";
/// A whole object once more, as `kubectl apply` left it.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// What a watch tells.
// An object passes through once, and no crowd of them waits.
#[expect(clippy::large_enum_variant)]
#[derive(Debug)]
pub enum News {
    /// Of Services.
    Services(Change<Service>),
    /// Of EndpointSlices, without the headless Services'.
    EndpointSlices(Change<EndpointSlice>),
    /// Of Nodes.
    Nodes(Change<Node>),
    /// Of Namespaces.
    Namespaces(Change<Namespace>),
    /// Of pools.
    Pools(Change<VipPool>),
    /// Of Vips.
    Vips(Change<Vip>),
    /// A watch broke, and is tried again: told once when it begins to, then once a minute.
    Broken(WatchError),
}

/// Why a watch does not work.
#[derive(Debug, thiserror::Error)]
pub enum WatchError {
    /// The API server does not know the kind.
    #[error("the API server does not know {kind}: vip-agent manifest crds | kubectl apply -f -")]
    Unknown {
        /// Plural name.
        kind: String,
    },
    /// The agent may not see it.
    #[error("may not watch {kind}: vip-agent manifest rbac | kubectl apply -f - ({message})")]
    Forbidden {
        /// Plural name.
        kind: String,
        /// What the API server says.
        message: String,
    },
    /// Anything else.
    #[error("watching {kind}: {source}")]
    Failed {
        /// Plural name.
        kind: String,
        /// What the API server says, or what the connection does.
        source: Box<watcher::Error>,
    },
}

impl WatchError {
    /// None for a watch that the API server has no history for any more: it lists anew.
    fn of(kind: String, error: watcher::Error) -> Option<Self> {
        match refusal(&error).map(|status| (status.code, &status.message)) {
            Some((GONE, _)) => None,
            Some((404, _)) => Some(Self::Unknown { kind }),
            Some((403, message)) => Some(Self::Forbidden {
                kind,
                message: message.clone(),
            }),
            _ => Some(Self::Failed {
                kind,
                source: Box::new(error),
            }),
        }
    }
}

/// What the API server says, where it is one that does.
fn refusal(error: &watcher::Error) -> Option<&Status> {
    use watcher::Error::{InitialListFailed, WatchError, WatchFailed, WatchStartFailed};
    match error {
        WatchError(status) => Some(status),
        InitialListFailed(kube::Error::Api(status))
        | WatchStartFailed(kube::Error::Api(status))
        | WatchFailed(kube::Error::Api(status)) => Some(status),
        _ => None,
    }
}

/// What a watch waits after an error, which usually waits for `usual`.
pub(super) fn pause(error: &watcher::Error, usual: Duration) -> Duration {
    match refusal(error).map(|status| status.code) {
        // The API server has no history of so long ago: it has begun anew since, for one. The watch
        // lists next, and to wait would help nobody.
        Some(GONE) => Duration::ZERO,
        // It asks for that in a header, which is not told.
        Some(CROWDED) => Duration::from_secs(1),
        _ => usual,
    }
}

/// Tells everything about the cluster, until nobody listens.
pub async fn cluster(client: Client, news: mpsc::Sender<News>) {
    let all = |client: &Client| client.clone();
    let sliced = watcher::Config::default().labels(NOT_HEADLESS);
    let any = watcher::Config::default;
    tokio::join!(
        watch(Api::all(all(&client)), any(), |_| (), News::Services, &news),
        watch(
            Api::all(all(&client)),
            sliced,
            trim_slice,
            News::EndpointSlices,
            &news
        ),
        watch(Api::all(all(&client)), any(), trim_node, News::Nodes, &news),
        watch(
            Api::all(all(&client)),
            any(),
            |_| (),
            News::Namespaces,
            &news
        ),
        watch(Api::all(all(&client)), any(), |_| (), News::Pools, &news),
        watch(Api::all(all(&client)), any(), |_| (), News::Vips, &news),
    );
}

async fn watch<K>(
    api: Api<K>,
    config: watcher::Config,
    trim: impl Fn(&mut K),
    news: impl Fn(Change<K>) -> News,
    out: &mpsc::Sender<News>,
) where
    K: Resource + Clone + DeserializeOwned + Debug + Send + 'static,
    K::DynamicType: Default + Clone + Eq + Hash,
{
    let trim = |object: &mut K| {
        let metadata = object.meta_mut();
        metadata.managed_fields = None;
        if let Some(annotations) = &mut metadata.annotations {
            annotations.remove(LAST_APPLIED);
        }
        trim(object);
    };
    let stream = watcher(api, config.timeout(WATCH_SECONDS).page_size(PAGE));
    pin_mut!(stream);
    let mut listed = Vec::new();
    let mut trouble = Trouble::default();
    while let Some(next) = stream.next().await {
        let told = match next.map(|event| event.modify(trim)) {
            Ok(watcher::Event::Init) => {
                listed.clear();
                continue;
            }
            Ok(watcher::Event::InitApply(object)) => {
                listed.push(object);
                continue;
            }
            Ok(watcher::Event::InitDone) => news(Change::Listed(std::mem::take(&mut listed))),
            Ok(watcher::Event::Apply(object)) => news(Change::Applied(object)),
            Ok(watcher::Event::Delete(object)) => news(Change::Deleted(object)),
            Err(error) => {
                let kind = K::plural(&K::DynamicType::default()).into_owned();
                let Some(error) = WatchError::of(kind, error) else {
                    continue;
                };
                let verdict = trouble.judge(Instant::now().into_std());
                if verdict.tell && out.send(News::Broken(error)).await.is_err() {
                    return;
                }
                sleep(verdict.wait.mul_f64(0.5 + 0.5 * chance())).await;
                continue;
            }
        };
        if out.send(told).await.is_err() {
            return;
        }
    }
}

/// Errors of one watch.
#[derive(Debug, Default)]
struct Trouble {
    last: Option<std::time::Instant>,
    told: Option<std::time::Instant>,
    wait: Duration,
}

/// What to do about an error.
#[derive(Debug, PartialEq, Eq)]
struct Verdict {
    tell: bool,
    wait: Duration,
}

impl Trouble {
    fn judge(&mut self, now: std::time::Instant) -> Verdict {
        let calm = self.last.is_none_or(|last| now - last >= CALM);
        self.last = Some(now);
        self.wait = match calm {
            true => FIRST_RETRY,
            false => LAST_RETRY.min(self.wait * 2),
        };
        let tell = calm || self.told.is_none_or(|told| now - told >= TELL_AGAIN);
        if tell {
            self.told = Some(now);
        }
        Verdict {
            tell,
            wait: self.wait,
        }
    }
}

/// From 0 to 1, at random.
fn chance() -> f64 {
    f64::from(RandomState::new().build_hasher().finish() as u32) / f64::from(u32::MAX)
}

/// Images of a Node, and all else that its kubelet reports, change often and say nothing here.
fn trim_node(node: &mut Node) {
    node.metadata.annotations = None;
    if let Some(status) = node.status.take() {
        node.status = Some(NodeStatus {
            addresses: status.addresses,
            conditions: status.conditions,
            ..NodeStatus::default()
        });
    }
}

/// Of endpoints, the node and whether they serve are asked for, and where API servers are.
fn trim_slice(slice: &mut EndpointSlice) {
    slice.metadata.annotations = None;
    for endpoint in &mut slice.endpoints {
        endpoint.target_ref = None;
        endpoint.hints = None;
        endpoint.deprecated_topology = None;
        endpoint.zone = None;
        endpoint.hostname = None;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    fn refused(code: u16) -> Option<WatchError> {
        let status = Status::failure("", "").with_code(code).boxed();
        let error = watcher::Error::InitialListFailed(kube::Error::Api(status));
        WatchError::of("vips".into(), error)
    }

    #[test]
    fn an_error_says_what_to_do() {
        assert!(matches!(refused(404), Some(WatchError::Unknown { .. })));
        assert!(matches!(refused(403), Some(WatchError::Forbidden { .. })));
        assert!(matches!(refused(500), Some(WatchError::Failed { .. })));
        let text = refused(404).unwrap().to_string();
        assert!(
            text.contains("vips") && text.contains("manifest crds"),
            "{text}"
        );
    }

    #[test]
    fn a_history_that_ran_out_is_no_error() {
        assert!(refused(410).is_none());
        let during =
            |code| watcher::Error::WatchError(Status::failure("", "").with_code(code).boxed());
        for (code, expected) in [(410, 0), (500, 7), (429, 1000)] {
            let wait = pause(&during(code), Duration::from_millis(7));
            assert_eq!(wait, Duration::from_millis(expected), "{code}");
        }
        assert!(WatchError::of("vips".into(), during(410)).is_none());
    }

    #[test]
    fn an_error_that_stays_is_told_once_a_minute_and_retried_later_and_later() {
        let mut trouble = Trouble::default();
        let start = Instant::now();
        let (mut at, mut told, mut waits) = (start, Vec::new(), Vec::new());
        while at < start + Duration::from_secs(130) {
            let verdict = trouble.judge(at);
            if verdict.tell {
                told.push((at - start).as_secs());
            }
            waits.push(verdict.wait);
            at += verdict.wait;
        }
        assert_eq!(told.len(), 3, "{told:?}");
        assert_eq!(waits[..3], [250, 500, 1000].map(Duration::from_millis));
        assert_eq!(waits.last(), Some(&LAST_RETRY));
    }

    #[test]
    fn after_a_calm_time_an_error_is_the_first_again() {
        let mut trouble = Trouble::default();
        let start = Instant::now();
        trouble.judge(start);
        trouble.judge(start);
        let verdict = trouble.judge(start + CALM);
        let first = Verdict {
            tell: true,
            wait: FIRST_RETRY,
        };
        assert_eq!(verdict, first);
    }
}
