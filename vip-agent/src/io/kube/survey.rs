//! Reads what a survey needs, once and with the caller's credentials.

use k8s_openapi::{
    api::{
        coordination::v1::Lease,
        core::v1::{Namespace, Node, Pod, Service},
        discovery::v1::EndpointSlice,
    },
    serde::de::DeserializeOwned,
};
use kube::{Api, Client, Error, Resource, api::ListParams};

use super::{claims, lease};
use crate::{
    api::{Vip, VipClaims, VipPool},
    cluster::Change,
    survey::{Renewed, Survey},
};

/// What is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// What tells who answers: `Vip`s, Leases, claims.
    Holders,
    /// Also what decides who may.
    Candidates,
}

/// Lists the objects; the agents live in `namespace`.
pub async fn survey(client: &Client, namespace: &str, scope: Scope) -> Result<Survey, Error> {
    let ours = ListParams::default().labels(&format!("{}={}", lease::LABEL.0, lease::LABEL.1));
    let leases = Api::<Lease>::namespaced(client.clone(), namespace);
    let leases = leases.list(&ours).await?.items;
    let of_claims = Api::<VipClaims>::namespaced(client.clone(), namespace);
    let of_claims = of_claims.list(&ListParams::default()).await?.items;
    let mut survey = Survey {
        namespace: namespace.to_owned(),
        vips: all::<Vip>(client).await?,
        leases: leases
            .iter()
            .filter_map(|object| {
                let at = object
                    .spec
                    .as_ref()
                    .and_then(|spec| spec.renew_time.clone());
                Some(Renewed {
                    lease: lease::read(object)?,
                    at: at.map(|time| time.0),
                })
            })
            .collect(),
        claims: of_claims
            .iter()
            .filter_map(claims::read)
            .map(|claims| (claims.index, claims))
            .collect(),
        ..Survey::default()
    };
    let cluster = &mut survey.cluster;
    cluster.vips(Change::Listed(survey.vips.clone()));
    if scope == Scope::Candidates {
        cluster.nodes(Change::Listed(all::<Node>(client).await?));
        cluster.services(Change::Listed(all::<Service>(client).await?));
        cluster.endpoint_slices(Change::Listed(all::<EndpointSlice>(client).await?));
        cluster.namespaces(Change::Listed(all::<Namespace>(client).await?));
        cluster.pools(Change::Listed(all::<VipPool>(client).await?));
        let pods = Api::<Pod>::namespaced(client.clone(), namespace);
        let pods = pods.list(&ours).await?.items.into_iter();
        survey.pods = pods
            .filter_map(|pod| Some((pod.spec?.node_name?, pod.metadata.name?)))
            .collect();
    }
    Ok(survey)
}

async fn all<K>(client: &Client) -> Result<Vec<K>, Error>
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + std::fmt::Debug,
{
    let objects = Api::<K>::all(client.clone());
    Ok(objects.list(&ListParams::default()).await?.items)
}
