//! The register of the lease machine: Leases and claims objects of the API server.
//!
//! It has connections of its own, so that no crowd of other requests stands before a renewal, and
//! new ones after a time-out: the old one may lead to a server that is gone or frozen.

use std::{future::Future, net::SocketAddr, time::Duration};

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease as LeaseObject;
use kube::{
    Api, Client,
    api::{ListParams, PostParams},
};
use tokio::{sync::mpsc, time::timeout};

use super::{
    claims,
    connector::{Connector, ConnectorError},
    lease,
};
use crate::{
    api::VipClaims,
    ownership::{Reply, Request, RequestId},
};

/// Answers are waited for so long: the success of a renewal that comes late still counts
/// (rule 2), and no longer than the longest H (rule 9).
const PATIENCE: Duration = Duration::from_secs(50);

/// Sends requests, and their replies to a machine that takes events `E`.
pub struct Register<E> {
    connector: Connector,
    client: Client,
    /// Of several servers, the one that the latest request went to. What is preferred by the time
    /// that it has no answer may be another, which is not to blame.
    asked: Option<SocketAddr>,
    namespace: String,
    replies: mpsc::UnboundedSender<E>,
    told_as: fn(RequestId, Reply) -> E,
}

impl<E: Send + 'static> Register<E> {
    /// A register that keeps its objects in `namespace`, and tells replies as `told_as` says.
    pub fn new(
        connector: Connector,
        namespace: String,
        replies: mpsc::UnboundedSender<E>,
        told_as: fn(RequestId, Reply) -> E,
    ) -> Result<Self, ConnectorError> {
        Ok(Self {
            client: connector.connect()?,
            connector,
            asked: None,
            namespace,
            replies,
            told_as,
        })
    }

    /// Sends a request; its reply comes as an event.
    pub fn ask(&mut self, id: RequestId, request: Request, anew: bool) {
        if anew {
            match self.connector.reconnect(self.asked) {
                Ok(client) => self.client = client,
                Err(error) => tracing::warn!(%error, "no new connection to the API server"),
            }
        }
        self.asked = self.connector.preferred();
        let (client, namespace) = (self.client.clone(), self.namespace.clone());
        let (replies, told_as) = (self.replies.clone(), self.told_as);
        tokio::spawn(async move {
            let answer = timeout(PATIENCE, carry_out(client, &namespace, request)).await;
            // The machine is gone at the process's end alone.
            let _ = replies.send(told_as(id, answer.unwrap_or(Reply::Unknown)));
        });
    }
}

async fn carry_out(client: Client, namespace: &str, request: Request) -> Reply {
    let leases: Api<LeaseObject> = Api::namespaced(client.clone(), namespace);
    let objects: Api<VipClaims> = Api::namespaced(client, namespace);
    let options = PostParams::default();
    let now = Timestamp::now();
    match request {
        Request::ReadLease(node) => {
            let read = leases.get_opt(&lease::name(&node)).await;
            reply(read, |found| {
                Reply::Lease(found.as_ref().and_then(lease::read))
            })
        }
        Request::ListLeases => {
            let (label, value) = lease::LABEL;
            // Without a resourceVersion a list is a quorum read.
            let all = ListParams::default().labels(&format!("{label}={value}"));
            reply(leases.list(&all).await, |list| {
                Reply::Leases(list.items.iter().filter_map(lease::read).collect())
            })
        }
        Request::CreateLease(new) => {
            let object = lease::write(&new, namespace, now);
            written(leases.create(&options, &object), |made| {
                Reply::Lease(lease::read(&made))
            })
            .await
        }
        Request::PutLease(put) => {
            let object = lease::write(&put, namespace, now);
            let name = lease::name(&put.node);
            written(leases.replace(&name, &options, &object), |made| {
                Reply::Lease(lease::read(&made))
            })
            .await
        }
        Request::ReadClaims(index) => {
            let read = objects.get_opt(&claims::name(index)).await;
            reply(read, |found| {
                Reply::Claims(found.as_ref().and_then(claims::read))
            })
        }
        Request::CreateClaims(new) => {
            let object = claims::write(&new, namespace, now);
            written(objects.create(&options, &object), |made| {
                Reply::Claims(claims::read(&made))
            })
            .await
        }
        Request::PutClaims(put) => {
            let object = claims::write(&put, namespace, now);
            let name = claims::name(put.index);
            written(objects.replace(&name, &options, &object), |made| {
                Reply::Claims(claims::read(&made))
            })
            .await
        }
    }
}

fn reply<T>(answer: kube::Result<T>, meaning: impl FnOnce(T) -> Reply) -> Reply {
    match answer {
        Ok(answer) => meaning(answer),
        Err(error) => {
            tracing::debug!(%error, "the API server gave no answer");
            Reply::Unknown
        }
    }
}

/// A write names what it replaces, so 404 (gone), 409 (changed, or there already) and 422 (a uid
/// that is another) say that it did not land. Any other error may have landed.
async fn written<T>(
    answer: impl Future<Output = kube::Result<T>>,
    meaning: impl FnOnce(T) -> Reply,
) -> Reply {
    match answer.await {
        Err(kube::Error::Api(status)) if [404, 409, 422].contains(&status.code) => {
            tracing::debug!(%status, "a write did not land");
            Reply::Conflict
        }
        answer => reply(answer, meaning),
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;
    use crate::{apiserver::Servers, io::kube::servers::SharedServers, ownership::NodeName};

    fn listen() -> (TcpListener, SocketAddr) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        (listener, address)
    }

    #[tokio::test]
    async fn after_a_refusal_the_next_server_is_asked_and_not_the_one_after_it() {
        let (refusing, local) = listen();
        drop(refusing);
        let ((next, next_at), (last, last_at)) = (listen(), listen());
        let mut servers = Servers::new(local.port(), None, [].into());
        servers.set_others([next_at, last_at]);
        let connector = Connector::without_credentials(SharedServers::new(servers));
        let (replies, mut inbox) = mpsc::unbounded_channel();
        let mut register =
            Register::new(connector, "n".into(), replies, |id, reply| (id, reply)).unwrap();
        let read = || Request::ReadLease(NodeName::from("a"));
        register.ask(RequestId(1), read(), false);
        assert_eq!(inbox.recv().await, Some((RequestId(1), Reply::Unknown)));
        register.ask(RequestId(2), read(), true);
        let asked = async {
            while next.accept().is_err() {
                assert!(last.accept().is_err(), "the next one was passed over");
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        timeout(Duration::from_secs(5), asked).await.unwrap();
    }
}
