//! The Services, their endpoints, and the pool of their addresses.

use std::ops::Range;

use k8s_openapi::api::{core::v1::Service, discovery::v1::EndpointSlice};
use kube::{Api, Client, api::PostParams};
use serde_json::json;
use tokio::task::JoinSet;

use super::super::error::Error;
use crate::kubernetes::{Backend, Bed, endpoint_slice, load_balancer};

/// Creations under way at once, as a controller's.
const AT_ONCE: usize = 16;

/// Services of both families in turn, every other one with `externalTrafficPolicy: Local`.
pub(super) struct Services {
    vips: Vec<String>,
    nodes: Vec<String>,
}

impl Services {
    /// Creates the pool of `count` addresses.
    pub(super) fn prepare(bed: &Bed, count: usize) -> Result<Self, Error> {
        let half = count / 2;
        let (ipv4, ipv6) = (
            |n: usize| format!("10.9.{}.{}", n / 250, 1 + n % 250),
            |n: usize| format!("2001:db8::9:{n:x}"),
        );
        let ranges: Vec<String> = (0..half)
            .step_by(250)
            .map(|n| format!("{}-{}", ipv4(n), ipv4(n + 249)))
            .chain([format!("{}-{}", ipv6(1), ipv6(half))])
            .collect();
        bed.put_pool("many", json!({"addresses": ranges}))?;
        Ok(Self {
            vips: (0..half).map(ipv4).chain((1..=half).map(ipv6)).collect(),
            nodes: bed.nodes.iter().map(|node| node.name()).collect(),
        })
    }

    /// All addresses of the pool; each Service gets one.
    pub(super) fn vips(&self) -> &[String] {
        &self.vips
    }

    fn one(&self, number: usize) -> (Service, Option<EndpointSlice>) {
        let family = if number % 4 < 2 { "IPv4" } else { "IPv6" };
        let name = format!("web-{number}");
        let mut service = load_balancer(&name, &[family]);
        if number.is_multiple_of(2) {
            return (service, None);
        }
        if let Some(spec) = &mut service.spec {
            spec.external_traffic_policy = Some("Local".into());
        }
        let address = if family == "IPv4" {
            "10.244.1.5"
        } else {
            "fd00:244::5"
        };
        let backends: Vec<_> = self
            .nodes
            .iter()
            .map(|node| Backend {
                address,
                node,
                serving: true,
                terminating: false,
            })
            .collect();
        let slice = endpoint_slice(&name, family, &backends);
        (service, Some(slice))
    }

    /// Creates those of a range; done when the API server has taken the last of them.
    pub(super) fn create(&self, bed: &Bed, range: Range<usize>) -> Result<(), Error> {
        let mut waiting: Vec<_> = range.rev().map(|number| self.one(number)).collect();
        Ok(bed.control.call(async |client| {
            let mut creating = JoinSet::new();
            while !waiting.is_empty() || !creating.is_empty() {
                while creating.len() < AT_ONCE
                    && let Some(next) = waiting.pop()
                {
                    creating.spawn(create(client.clone(), next));
                }
                if let Some(Ok(created)) = creating.join_next().await {
                    created?;
                }
            }
            Ok(())
        })?)
    }
}

async fn create(
    client: Client,
    (service, slice): (Service, Option<EndpointSlice>),
) -> Result<(), kube::Error> {
    let params = PostParams::default();
    let services: Api<Service> = Api::default_namespaced(client.clone());
    services.create(&params, &service).await?;
    if let Some(slice) = slice {
        let slices: Api<EndpointSlice> = Api::default_namespaced(client);
        slices.create(&params, &slice).await?;
    }
    Ok(())
}
