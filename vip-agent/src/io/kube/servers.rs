//! Clients that ask one of several API servers: each request goes to the one that is preferred
//! when it begins.

use std::{
    collections::HashMap,
    fmt,
    future::{Future, ready},
    net::{IpAddr, SocketAddr},
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
    time::Instant,
};

use http::{Request, Response, Uri};
use kube::{Client, Config, client::Body};
use tower_service::Service;

use crate::apiserver::Servers;

/// In the certificate of every API server that kubeadm and its like make. Addresses are not:
/// not the loopback's, nor a peer's in the kubeconfig of this node.
const SERVER_NAME: &str = "kubernetes";

/// The servers, for all who ask and all who learn of them.
#[derive(Clone)]
pub struct SharedServers {
    servers: Arc<Mutex<Servers>>,
    began: Instant,
}

impl fmt::Debug for SharedServers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.lock().fmt(f)
    }
}

impl SharedServers {
    /// Shares them.
    pub fn new(servers: Servers) -> Self {
        Self {
            servers: Arc::new(Mutex::new(servers)),
            began: Instant::now(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Servers> {
        self.servers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The one to ask now.
    pub(super) fn preferred(&self) -> SocketAddr {
        self.lock().preferred(self.began.elapsed())
    }

    /// This node's own.
    fn local(&self) -> SocketAddr {
        self.lock().local()
    }

    /// It gave no answer.
    pub(super) fn distrust(&self, server: SocketAddr) {
        self.lock().distrust(server, self.began.elapsed());
    }

    /// Where this node's own may listen.
    pub(super) fn local_places(&self) -> Vec<SocketAddr> {
        self.lock().local_places()
    }

    /// Where this node's own listens, and whether it is asked before the others.
    pub(super) fn set_local(&self, at: SocketAddr, is_first: bool) {
        self.lock().set_local(at, is_first);
    }

    /// Those of other nodes.
    pub fn set_others(&self, others: impl IntoIterator<Item = SocketAddr>) {
        self.lock().set_others(others);
    }

    /// Addresses of this node.
    pub fn set_addresses(&self, addresses: impl IntoIterator<Item = IpAddr>) {
        self.lock().set_addresses(addresses);
    }
}

/// Credentials for one server.
pub(super) fn config_at(config: &Config, server: SocketAddr) -> Config {
    let mut config = config.clone();
    // A socket address is an authority (RFC 3986, 3.2.2).
    if let Ok(url) = Uri::try_from(format!("https://{server}/")) {
        config.cluster_url = url;
    }
    config
        .tls_server_name
        .get_or_insert_with(|| SERVER_NAME.to_owned());
    // The way to another network is none to this node.
    config.proxy_url = None;
    config
}

/// A client whose requests go each to the server of `choice`, over connections of its own.
pub(super) fn client(config: &Config, servers: SharedServers, choice: Choice) -> Client {
    let namespace = config.default_namespace.clone();
    let route = Route {
        config: config.clone(),
        servers,
        choice,
        clients: HashMap::new(),
    };
    Client::new(route, namespace)
}

/// Which server a request goes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Choice {
    /// The preferred one.
    Preferred,
    /// This node's own, whatever is thought of it.
    Local,
}

struct Route {
    config: Config,
    servers: SharedServers,
    choice: Choice,
    clients: HashMap<SocketAddr, Client>,
}

type Answer = Pin<Box<dyn Future<Output = kube::Result<Response<Body>>> + Send>>;

impl Service<Request<Body>> for Route {
    type Response = Response<Body>;
    type Error = kube::Error;
    type Future = Answer;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<kube::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Answer {
        let server = match self.choice {
            Choice::Preferred => self.servers.preferred(),
            Choice::Local => self.servers.local(),
        };
        let client = match self.clients.get(&server) {
            Some(client) => client.clone(),
            None => match Client::try_from(config_at(&self.config, server)) {
                Ok(client) => self.clients.entry(server).or_insert(client).clone(),
                Err(error) => return Box::pin(ready(Err(error))),
            },
        };
        let servers = self.servers.clone();
        Box::pin(async move {
            let answer = client.send(request).await;
            if let Err(error) = &answer {
                tracing::debug!(%server, %error, "an API server gave no answer");
                servers.distrust(server);
            }
            answer
        })
    }
}
