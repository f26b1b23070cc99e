//! VIPs of the API server itself (`ownership.md`, rule 12): what the driver tells their machine,
//! and what it says of them to the cluster.

use std::{collections::BTreeSet, net::IpAddr};

use tokio::sync::mpsc;

use super::{
    Driver,
    kubernetes::{Kubernetes, KubernetesError, Process, now, seed},
    lessee::Duty,
    tenure::Shared,
};
use crate::{
    apiserver::{Census, Servers},
    cluster::Assignment,
    config::VipSpec,
    event::{Fact, NodeFact},
    io::kube::{
        apiserver::{self, News},
        connector::Connector,
        follow,
        servers::SharedServers,
        write::{Seen, Write},
    },
    manifest::CONTROL_PLANE_NAMESPACE,
    ownership::{ControlPlane, Left, PlaneConfig, PlaneEvent},
};

/// The driver's side of the machine.
pub(super) struct Plane {
    pub(super) machine: Shared<ControlPlane>,
    events: mpsc::UnboundedSender<PlaneEvent>,
    /// The VIPs.
    pub(super) addresses: BTreeSet<IpAddr>,
    /// The API servers, this node's own first.
    servers: SharedServers,
    /// The way to them, by the kubeconfig's own name.
    pub(super) connector: Connector,
    /// This node's API server passes `/readyz`.
    passes: Option<bool>,
    /// None: nobody has answered yet.
    census: Option<Census>,
    /// What the machine was told.
    ready: Option<bool>,
}

/// Starts the machine and what it goes by.
pub(super) fn start(
    process: &Process<'_>,
    credentials: &Connector,
    left: Left,
    news: mpsc::UnboundedSender<News>,
) -> Result<Plane, KubernetesError> {
    let Process {
        config, cluster, ..
    } = process;
    let plane = cluster.control_plane.as_ref();
    let addresses: BTreeSet<IpAddr> = plane
        .into_iter()
        .flat_map(|plane| plane.addresses.iter().copied())
        .collect();
    let port = plane.map_or(6443, |plane| plane.port.get());
    let servers = Servers::new(port, credentials.server(), addresses.clone());
    let servers = SharedServers::new(servers);
    let connector = credentials.clone().through(servers.clone());
    let node = crate::ownership::NodeName::from(config.node.as_str());
    let (machine, first) = ControlPlane::start(
        PlaneConfig {
            node: node.clone(),
            boot: process.boot,
            timing: cluster.timing,
            on_api_loss: cluster.on_api_loss,
            addresses: addresses.clone(),
            seed: seed(),
        },
        left,
        now(),
    );
    let machine = Shared::new(machine);
    let (events, inbox) = mpsc::unbounded_channel();
    let tenure = process.tenure(
        machine.clone(),
        connector.clone(),
        CONTROL_PLANE_NAMESPACE,
        (&events, inbox),
    )?;
    tokio::spawn(tenure.run(first));
    // A candidate's own server is ready; a watch of another's would stay there when that is not.
    tokio::spawn(follow::follow_control_plane(
        connector.connect_locally()?,
        events.clone(),
    ));
    tokio::spawn(apiserver::follow_ready(
        credentials.clone(),
        servers.clone(),
        news.clone(),
    ));
    let counter = connector.connect()?;
    tokio::spawn(apiserver::follow_census(counter, node, port, news));
    Ok(Plane {
        machine,
        events,
        addresses,
        servers,
        connector,
        passes: None,
        census: None,
        ready: None,
    })
}

impl Plane {
    pub(super) fn tell(&self, event: PlaneEvent) {
        // The machine ends with the process alone.
        let _ = self.events.send(event);
    }

    /// Whether this node is a candidate, once all that speaks for and against it is known.
    /// `carries`: an interface can carry the VIPs.
    pub(super) fn tell_ready(&mut self, carries: bool) {
        // Whoever is alone does not wait for others: that is to be known before.
        let Some(passes) = self.passes.filter(|_| self.census.is_some()) else {
            return;
        };
        let ready = passes && carries;
        if self.ready.replace(ready) != Some(ready) {
            self.tell(PlaneEvent::Ready(ready));
        }
    }

    /// The VIPs, as they are placed.
    pub(super) fn specs(&self) -> impl Iterator<Item = VipSpec> {
        let addresses = self.addresses.iter();
        addresses.map(|address| VipSpec {
            address: *address,
            interfaces: None,
            prefix: None,
        })
    }

    /// Addresses of this node, where its API server may listen.
    pub(super) fn set_addresses(&self, addresses: impl IntoIterator<Item = IpAddr>) {
        self.servers.set_addresses(addresses);
    }
}

impl Driver {
    /// Takes in what was learned of API servers.
    pub(super) fn hear_of_api_servers(&mut self, news: News) {
        let Some(Kubernetes {
            plane: Some(plane),
            view,
            ..
        }) = &mut self.kubernetes
        else {
            return;
        };
        match news {
            News::Ready(passes) => {
                plane.passes = Some(passes);
                self.tell(Fact::Node(NodeFact::ApiServerReady(passes)));
            }
            News::Census(census) => {
                tracing::info!(?census, "the control plane is counted");
                plane.tell(PlaneEvent::Alone(census.alone));
                plane.servers.set_others(census.servers.iter().copied());
                // Later the cluster names all Nodes.
                let peers = (!view.cluster.is_complete()).then(|| census.peers.clone());
                plane.census = Some(census);
                if let Some(peers) = peers {
                    self.take_peers(peers);
                }
            }
        }
        self.tell_serves();
    }

    /// Whose VIP it is.
    pub(super) fn duty_of(&self, vip: IpAddr) -> Duty {
        let kubernetes = self.kubernetes.as_ref();
        kubernetes.map_or(Duty::Session, |kubernetes| kubernetes.duty(vip))
    }

    /// Says which addresses are the API server's, by a `Vip` for each: whoever holds the Lease
    /// does, once there are `Vip`s.
    pub(super) fn declare(&mut self) {
        let Some(Kubernetes {
            plane: Some(plane),
            view,
            writes,
            ..
        }) = &self.kubernetes
        else {
            return;
        };
        if !view.cluster.is_complete() || plane.machine.lock().session().is_none() {
            return;
        }
        for address in &plane.addresses {
            let wanted = Assignment {
                address: *address,
                pool: None,
                services: BTreeSet::new(),
                control_plane: true,
                share_key: None,
                interfaces: Vec::new(),
                prefix: None,
            };
            let write = match view.cluster.vip(*address) {
                None => Write::CreateVip(wanted),
                // A Service had it before it was the API server's.
                Some(vip) if vip.assignment != wanted => Write::ChangeVip(
                    wanted,
                    Seen {
                        uid: vip.uid.clone(),
                        resource_version: vip.resource_version.clone(),
                    },
                ),
                Some(_) => continue,
            };
            // The writer ends with the process alone.
            let _ = writes.send(write);
        }
        let vips = view.cluster.all_vips();
        let former = vips.filter(|vip| {
            vip.assignment.control_plane && !plane.addresses.contains(&vip.assignment.address)
        });
        for vip in former {
            let seen = Seen {
                uid: vip.uid.clone(),
                resource_version: vip.resource_version.clone(),
            };
            let _ = writes.send(Write::DeleteVip(vip.assignment.address, seen));
        }
    }
}
