//! The cluster, with the credentials of whoever calls.

use std::path::PathBuf;

use kube::Client;

use crate::{
    io::kube::{
        connector::{Connector, ConnectorError},
        survey::{self, Scope},
    },
    manifest::NAMESPACE,
    survey::Survey,
};

/// Which cluster, and as whom.
#[derive(Clone, Debug, clap::Args)]
pub struct Caller {
    /// Credentials for the API server [default: those of the Pod, else $KUBECONFIG]
    #[arg(long, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
    /// Context of the kubeconfig [default: the current one]
    #[arg(long, value_name = "NAME")]
    pub context: Option<String>,
    /// Namespace of the agents
    #[arg(short, long, value_name = "NAME", default_value = NAMESPACE)]
    pub namespace: String,
}

/// The cluster is not seen.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// No credentials.
    #[error(transparent)]
    Connector(#[from] ConnectorError),
    /// The API server refuses, or is not reached.
    #[error("the API server: {0}; is xvip installed, and may you list its objects?")]
    Api(#[from] kube::Error),
}

impl Caller {
    /// A client.
    pub async fn client(&self) -> Result<Client, CallError> {
        let of = (self.kubeconfig.as_deref(), self.context.as_deref());
        Ok(Connector::of_caller(of.0, of.1).await?.connect()?)
    }

    /// The objects of the cluster.
    pub async fn survey(&self, scope: Scope) -> Result<Survey, CallError> {
        let client = self.client().await?;
        Ok(survey::survey(&client, &self.namespace, scope).await?)
    }
}
