//! What the driver must know of API servers: whether this node's own is ready, and whose others
//! there are.

use std::{collections::HashMap, error::Error, io, net::SocketAddr, time::Duration};

use http::Request;
use k8s_openapi::api::{core::v1::Node, discovery::v1::EndpointSlice};
use kube::{Api, Client, api::ListParams};
use tokio::{
    sync::mpsc,
    time::{sleep, timeout},
};

use super::{connector::Connector, servers::SharedServers};
use crate::{
    apiserver::{Answer, Census, Count, Health},
    ownership::NodeName,
};

/// Between two questions for `/readyz`.
const INTERVAL: Duration = Duration::from_millis(500);
/// And while the answers do not agree.
const DOUBT: Duration = Duration::from_millis(100);
/// A server that says nothing for so long fails. It asks its etcd, which may take some time.
const PATIENCE: Duration = Duration::from_secs(1);
/// Between two counts: Nodes and API servers come and go rarely.
const RECOUNT: Duration = Duration::from_secs(10);
/// After a count that failed.
const COUNT_AGAIN: Duration = Duration::from_millis(500);
const ROLE: &str = "node-role.kubernetes.io/control-plane";

/// What is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum News {
    /// Whether this node's API server passes `/readyz`.
    Ready(bool),
    /// The control plane as it was counted; all others are assumed where it may not be read.
    Census(Census),
}

/// Asks this node's API server for `/readyz` on and on, and tells when it changes.
pub async fn follow_ready(
    connector: Connector,
    servers: SharedServers,
    news: mpsc::UnboundedSender<News>,
) {
    let mut clients = HashMap::new();
    let mut health = Health::default();
    let mut told = None;
    loop {
        let (place, answer) = ask(&connector, &servers, &mut clients).await;
        health.judge(answer);
        if let Some(is_ready) = health.is_ready() {
            servers.set_local(place, health.is_trusted());
            if told.replace(is_ready) != Some(is_ready) && news.send(News::Ready(is_ready)).is_err()
            {
                return;
            }
        }
        sleep(if health.is_in_doubt() {
            DOUBT
        } else {
            INTERVAL
        })
        .await;
    }
}

/// Asks where it was found last, and where nobody listens, at the next place.
async fn ask(
    connector: &Connector,
    servers: &SharedServers,
    clients: &mut HashMap<SocketAddr, Client>,
) -> (SocketAddr, Answer) {
    let places = servers.local_places();
    for place in &places {
        if !clients.contains_key(place) {
            match connector.connect_to(*place) {
                Ok(client) => drop(clients.insert(*place, client)),
                Err(error) => {
                    tracing::warn!(%error, "no client for this node's API server");
                    continue;
                }
            }
        }
        let Some(client) = clients.get(place) else {
            continue;
        };
        let request = Request::get("/readyz").body(Vec::new()).unwrap_or_default();
        let answer = timeout(PATIENCE, client.request_text(request)).await;
        match answer {
            Ok(Ok(_)) => return (*place, Answer::Ready),
            Ok(Err(error)) if is_unreachable(&error) => {}
            Ok(Err(error)) => {
                tracing::debug!(%place, %error, "/readyz fails");
                return (*place, Answer::Failing);
            }
            Err(_) => {
                tracing::debug!(%place, "/readyz gives no answer");
                // The connection may lead nowhere, to a process that is gone.
                clients.remove(place);
                return (*place, Answer::Failing);
            }
        }
    }
    (places[0], Answer::Refused)
}

/// Nobody listens there.
fn is_unreachable(error: &(dyn Error + 'static)) -> bool {
    use io::ErrorKind::{AddrNotAvailable, ConnectionRefused, HostUnreachable, NetworkUnreachable};
    if let Some(error) = error.downcast_ref::<io::Error>() {
        if matches!(
            error.kind(),
            ConnectionRefused | AddrNotAvailable | HostUnreachable | NetworkUnreachable
        ) {
            return true;
        }
        // Its `source` is that of what it wraps.
        if let Some(inner) = error.get_ref() {
            return is_unreachable(inner);
        }
    }
    error.source().is_some_and(is_unreachable)
}

/// Counts the control plane on and on, and tells when the count changes.
pub async fn follow_census(
    client: Client,
    own: NodeName,
    port: u16,
    news: mpsc::UnboundedSender<News>,
) {
    let mut told = None;
    loop {
        let counted = timeout(PATIENCE * 2, count(&client, &own)).await;
        let (census, wait) = match counted {
            Ok(Ok(count)) => (Some(Census::of(&own, port, &count)), RECOUNT),
            // Before `kubeadm init` is through, for one.
            Ok(Err(error)) if may_not_be_read(&error) => {
                if told != Some(Census::unread()) {
                    tracing::warn!(
                        %error,
                        "the control plane may not be read; if `kubeadm init` is not through, use \
                         super-admin.conf: vip-agent manifest static-pod --first-node"
                    );
                }
                (Some(Census::unread()), COUNT_AGAIN * 4)
            }
            Ok(Err(error)) => {
                tracing::debug!(%error, "the control plane is not counted");
                (None, COUNT_AGAIN)
            }
            Err(_) => (None, COUNT_AGAIN),
        };
        // What was known stays so while nobody answers.
        if let Some(census) = census
            && told.replace(census.clone()).as_ref() != Some(&census)
            && news.send(News::Census(census)).is_err()
        {
            return;
        }
        sleep(wait).await;
    }
}

/// The caller may not, or not yet. Any other status is trouble of a server that starts or is
/// crowded, and passes: to count others for it would make the only node wait for them.
fn may_not_be_read(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if [401, 403].contains(&status.code))
}

async fn count(client: &Client, own: &NodeName) -> kube::Result<Count> {
    let nodes: Api<Node> = Api::all(client.clone());
    // From the server's cache: it costs etcd nothing.
    let role = ListParams::default().labels(ROLE).match_any();
    let control_plane = nodes.list(&role).await?.items;
    let has_role = |node: &Node| node.metadata.name.as_deref() == Some(own.as_str());
    let has_others = if control_plane.iter().any(has_role) {
        control_plane.len() > 1
    } else {
        let some = nodes.list_metadata(&ListParams::default().limit(2)).await?;
        let mut names = some.items.into_iter().map(|node| node.metadata.name);
        names.any(|name| name.as_deref() != Some(own.as_str()))
    };
    let slices: Api<EndpointSlice> = Api::namespaced(client.clone(), "default");
    let of_servers = ListParams::default()
        .labels("kubernetes.io/service-name=kubernetes")
        .match_any();
    Ok(Count {
        control_plane,
        has_others,
        slices: slices.list(&of_servers).await?.items,
    })
}

#[cfg(test)]
mod tests {
    use kube::core::Status;

    use super::*;

    #[test]
    fn a_refused_connection_is_seen_behind_what_wraps_it() {
        let refused = || io::Error::from(io::ErrorKind::ConnectionRefused);
        let wrapped = io::Error::other(refused());
        let wrapped = kube::Error::Service(Box::new(wrapped));
        assert!(is_unreachable(&wrapped));
        assert!(is_unreachable(&refused()));
        let broken = io::Error::other(io::Error::from(io::ErrorKind::BrokenPipe));
        assert!(!is_unreachable(&kube::Error::Service(Box::new(broken))));
    }

    #[test]
    fn only_a_refusal_says_that_the_control_plane_may_not_be_read() {
        let status = |code| Status::failure("", "").with_code(code).boxed();
        for (code, refused) in [
            (401, true),
            (403, true),
            (429, false),
            (500, false),
            (503, false),
        ] {
            let error = kube::Error::Api(status(code));
            assert_eq!(may_not_be_read(&error), refused, "{code}");
        }
    }
}
