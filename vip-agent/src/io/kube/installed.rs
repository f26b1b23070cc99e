//! Whether what the agent needs in a cluster is installed: before, there is only the control plane.

use std::{fmt::Debug, time::Duration};

use k8s_openapi::api::coordination::v1::Lease;
use kube::{Api, Client, api::ListParams};
use serde::de::DeserializeOwned;
use tokio::time::{sleep, timeout};

use crate::api::{Vip, VipClaims, VipPool};

/// Between two looks: so soon the agent begins when it is installed.
const LOOK_AGAIN: Duration = Duration::from_secs(2);
const PATIENCE: Duration = Duration::from_secs(5);

/// Waits until the agents' objects exist and their account may read them.
pub async fn wait(client: &Client, namespace: &str) {
    let mut told = false;
    loop {
        match timeout(PATIENCE, look(client, namespace)).await {
            Ok(Ok(())) => return tracing::info!("the agent's objects are installed"),
            Ok(Err(error)) if !told => {
                tracing::info!(
                    %error,
                    "the agent's objects are not installed: it serves the control plane alone"
                );
                told = true;
            }
            Ok(Err(_)) | Err(_) => {}
        }
        sleep(LOOK_AGAIN).await;
    }
}

async fn look(client: &Client, namespace: &str) -> kube::Result<()> {
    one::<VipClaims>(Api::namespaced(client.clone(), namespace)).await?;
    one::<Vip>(Api::all(client.clone())).await?;
    one::<VipPool>(Api::all(client.clone())).await?;
    one::<Lease>(Api::namespaced(client.clone(), namespace)).await
}

async fn one<K: Clone + DeserializeOwned + Debug>(api: Api<K>) -> kube::Result<()> {
    api.list(&ListParams::default().limit(1)).await.map(drop)
}
