//! Ways to the API server.

use std::{
    net::{IpAddr, SocketAddr},
    path::Path,
    time::Duration,
};

use kube::{
    Client, Config,
    config::{InClusterError, KubeConfigOptions, Kubeconfig, KubeconfigError},
};

use super::servers::{self, Choice, SharedServers};
use crate::manifest::ACCOUNT;

/// Time to connect: half of what a renewal has by default, so that it can be tried again.
const CONNECT: Duration = Duration::from_millis(500);

/// What a person waits for each answer.
const CALLER: Duration = Duration::from_secs(10);

/// A server that says nothing for so long is gone. Watches live longer than it by bookmarks, and
/// are ended and begun again before it; this ends lists and writes that nobody else times.
const SILENCE: Duration = Duration::from_secs(150);

/// The credentials cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConnectorError {
    /// The file of `kubeconfig`, or of `$KUBECONFIG`.
    #[error("kubeconfig: {0}; name a readable file in `kubeconfig`")]
    Kubeconfig(#[from] KubeconfigError),
    /// Neither a pod's service account nor a file.
    #[error(
        "no credentials for the API server: not in a pod ({in_cluster}), and no kubeconfig \
         ({kubeconfig}); set `kubeconfig`"
    )]
    None {
        /// Why not as a pod.
        in_cluster: InClusterError,
        /// Why not by a file.
        kubeconfig: KubeconfigError,
    },
    /// No client from them.
    #[error("no client for the API server: {0}")]
    Client(#[from] kube::Error),
}

/// Credentials, from which clients are made.
#[derive(Clone, Debug)]
pub struct Connector {
    config: Config,
    /// Asked in place of the one server that the credentials name.
    servers: Option<SharedServers>,
    in_cluster: bool,
}

impl Connector {
    /// Reads credentials: those of `kubeconfig`; without it a pod's, else `$KUBECONFIG`'s. Nobody
    /// is asked yet.
    pub async fn new(kubeconfig: Option<&Path>) -> Result<Self, ConnectorError> {
        Self::read(kubeconfig, None).await
    }

    /// As [`Connector::new`], for a person who waits: with a context of theirs, and patience.
    pub async fn of_caller(
        kubeconfig: Option<&Path>,
        context: Option<&str>,
    ) -> Result<Self, ConnectorError> {
        let mut connector = Self::read(kubeconfig, context).await?;
        connector.config.connect_timeout = Some(CALLER);
        connector.config.read_timeout = Some(CALLER);
        connector.config.default_retry = true;
        Ok(connector)
    }

    async fn read(
        kubeconfig: Option<&Path>,
        context: Option<&str>,
    ) -> Result<Self, ConnectorError> {
        let options = KubeConfigOptions {
            context: context.map(str::to_owned),
            ..KubeConfigOptions::default()
        };
        let (config, in_cluster) = match kubeconfig {
            Some(path) => {
                let file = Kubeconfig::read_from(path)?;
                let config = Config::from_custom_kubeconfig(file, &options).await?;
                (config, false)
            }
            None => match Config::incluster() {
                Ok(config) => (config, true),
                Err(in_cluster) => match Config::from_kubeconfig(&options).await {
                    Ok(config) => (config, false),
                    Err(kubeconfig) => {
                        return Err(ConnectorError::None {
                            in_cluster,
                            kubeconfig,
                        });
                    }
                },
            },
        };
        Ok(Self::of(config, in_cluster))
    }

    fn of(mut config: Config, in_cluster: bool) -> Self {
        config.connect_timeout = Some(CONNECT);
        config.read_timeout = Some(SILENCE);
        // Else a connection's idle time counts.
        config.reset_reader_on_write = true;
        // Whoever asks does so again: the lease machine counts from the sending, and a client that
        // doubles its pauses would be blind for as long as an outage lasted.
        config.default_retry = false;
        Self {
            config,
            servers: None,
            in_cluster,
        }
    }

    /// For servers that ask for none.
    #[cfg(test)]
    pub(super) fn without_credentials(servers: SharedServers) -> Self {
        let config = Config::new(http::Uri::from_static("https://127.0.0.1"));
        Self::of(config, false).through(servers)
    }

    /// The same credentials, acting as the agents' account of `namespace`: nobody else may write
    /// claims. For an administrator's, which a static pod has (ADR 15); a pod's own are the
    /// account's already.
    pub fn as_account(mut self, namespace: &str) -> Self {
        if !self.in_cluster {
            let account = format!("system:serviceaccount:{namespace}:{ACCOUNT}");
            self.config.auth_info.impersonate = Some(account);
        }
        self
    }

    /// The same credentials for whichever of these servers is preferred.
    pub fn through(mut self, servers: SharedServers) -> Self {
        self.servers = Some(servers);
        self
    }

    /// The API server in the credentials; none where it is reached by a name.
    pub fn server(&self) -> Option<SocketAddr> {
        let url = &self.config.cluster_url;
        let host: IpAddr = url.host()?.trim_matches(['[', ']']).parse().ok()?;
        Some(SocketAddr::new(host, url.port_u16().unwrap_or(443)))
    }

    /// A client with connections of its own.
    pub fn connect(&self) -> Result<Client, ConnectorError> {
        match &self.servers {
            Some(servers) => {
                let servers = servers.clone();
                Ok(servers::client(&self.config, servers, Choice::Preferred))
            }
            None => Ok(Client::try_from(self.config.clone())?),
        }
    }

    /// A client for this node's own API server, wherever that is found.
    pub fn connect_locally(&self) -> Result<Client, ConnectorError> {
        match &self.servers {
            Some(servers) => {
                let servers = servers.clone();
                Ok(servers::client(&self.config, servers, Choice::Local))
            }
            None => self.connect(),
        }
    }

    /// Which of several servers the next request goes to.
    pub fn preferred(&self) -> Option<SocketAddr> {
        Some(self.servers.as_ref()?.preferred())
    }

    /// The same after `silent` gave no answer: another server is preferred from now on, if there
    /// is one.
    pub fn reconnect(&self, silent: Option<SocketAddr>) -> Result<Client, ConnectorError> {
        if let (Some(servers), Some(silent)) = (&self.servers, silent) {
            servers.distrust(silent);
        }
        self.connect()
    }

    /// A client for one server.
    pub(super) fn connect_to(&self, server: SocketAddr) -> Result<Client, ConnectorError> {
        Ok(Client::try_from(servers::config_at(&self.config, server))?)
    }
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpListener,
    };

    use super::*;

    #[tokio::test]
    async fn what_a_server_cannot_do_now_is_not_asked_again_behind_the_agents_back() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let asked = tokio::spawn(async move {
            for asked in 1.. {
                let (mut caller, _) = listener.accept().await.unwrap();
                let _ = caller.read(&mut [0; 4096]).await.unwrap();
                // The second answer ends it, whoever asks for it.
                let status = ["503 Service Unavailable", "200 OK"][(asked - 1).min(1)];
                let answer =
                    format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
                caller.write_all(answer.as_bytes()).await.unwrap();
            }
        });
        let connector = Connector::of(Config::new(url.parse().unwrap()), false);
        let client = connector.connect().unwrap();
        let request = http::Request::get("/readyz").body(Vec::new()).unwrap();
        let answer = client.request_text(request).await;
        asked.abort();
        assert!(matches!(answer, Err(kube::Error::Api(status)) if status.code == 503));
    }
}
