//! Writes to the API server that are no renewal: Vips, statuses, Events.
//!
//! One task, [`run`], takes commands and keeps the latest of each object; `desk.rs` says which goes
//! next. Dropping the task's future drops what waits; what is under way may land.

use std::{future::Future, net::IpAddr, pin::Pin, time::Instant};

use futures::{StreamExt, stream::FuturesUnordered};
use jiff::Timestamp;
use k8s_openapi::api::{coordination::v1::Lease, core::v1::Service, events::v1::Event};
use kube::{
    Api, Client,
    api::{DeleteParams, Patch, PatchParams, PostParams, Preconditions},
};
use tokio::{
    sync::mpsc,
    time::{sleep_until, timeout},
};

use super::{
    desired,
    desk::Desk,
    lease,
    notice::{Form, Notebook},
    write::{PATIENCE, Seen, Write, WriteError, WriteNews},
};
use crate::api::{Vip, VipPool, vip_name};

/// The one field manager of whatever is applied.
const MANAGER: &str = "xvip";

type Carried = (Write, Result<(), WriteError>);
type Flight = Pin<Box<dyn Future<Output = Carried> + Send>>;

/// Carries commands out, until their sender is gone and nothing waits.
pub async fn run(
    client: Client,
    node: String,
    mut commands: mpsc::UnboundedReceiver<Write>,
    news: mpsc::UnboundedSender<WriteNews>,
) {
    let mut desk = Desk::new(node);
    let mut flights: FuturesUnordered<Flight> = FuturesUnordered::new();
    let mut open = true;
    while open || !desk.is_idle() || !flights.is_empty() {
        while let Some(write) = desk.next(Instant::now()) {
            flights.push(begin(&client, &mut desk.notebook, write));
        }
        let wake_at = desk.wake_at();
        let alarm = sleep_until(wake_at.unwrap_or_else(Instant::now).into());
        let told = tokio::select! {
            command = commands.recv(), if open => {
                match command {
                    Some(write) => desk.put(write),
                    None => open = false,
                }
                // All that is there, before the first of a crowd begins.
                while let Ok(write) = commands.try_recv() {
                    desk.put(write);
                }
                desk.take_dropped()
            }
            Some((write, result)) = flights.next() => desk.ended(write, result, Instant::now()),
            () = alarm, if wake_at.is_some() => None,
        };
        if let Some(told) = told
            && news.send(told).is_err()
        {
            return;
        }
    }
}

fn begin(client: &Client, notebook: &mut Notebook, write: Write) -> Flight {
    let client = client.clone();
    let form = match &write {
        Write::Notice(notice) => Some(notebook.form(notice, Timestamp::now())),
        _ => None,
    };
    Box::pin(async move {
        let result = match form {
            Some(form) => timeout(PATIENCE, publish(client, form)).await,
            None => timeout(PATIENCE, carry_out(client, &write)).await,
        };
        (write, result.unwrap_or(Err(WriteError::TimedOut)))
    })
}

async fn carry_out(client: Client, write: &Write) -> Result<(), WriteError> {
    let vips: Api<Vip> = Api::all(client.clone());
    let post = PostParams {
        field_manager: Some(MANAGER.to_owned()),
        ..PostParams::default()
    };
    let apply = PatchParams::apply(MANAGER).force();
    let now = Timestamp::now();
    match write {
        Write::CreateVip(new) => drop(vips.create(&post, &desired::vip(new)).await?),
        Write::ChangeVip(new, seen) => {
            let patch = desired::vip_change(new, &seen.uid, &seen.resource_version)
                .map_err(kube::Error::SerdeError)?;
            let merge = PatchParams {
                field_manager: Some(MANAGER.to_owned()),
                ..PatchParams::default()
            };
            let name = vip_name(new.address);
            vips.patch(&name, &merge, &Patch::Merge(patch)).await?;
        }
        Write::DeleteVip(address, seen) => delete(&vips, *address, seen).await?,
        Write::DeleteLease(key, seen) => {
            let leases: Api<Lease> = Api::namespaced(client, &key.namespace);
            let name = lease::name(&key.node);
            leases.delete(&name, &preconditions(seen)).await?;
        }
        Write::RecreateVip(new, seen) => {
            match delete(&vips, new.address, seen).await {
                Err(WriteError::Refused(status)) if status.code == 404 => {}
                deleted => deleted?,
            }
            vips.create(&post, &desired::vip(new)).await?;
        }
        Write::VipStatus(address, status) => {
            let body = Patch::Apply(desired::vip_status(*address, status));
            let name = vip_name(*address);
            vips.patch_status(&name, &apply, &body).await?;
        }
        Write::Service(key, addresses, conditions) => {
            let services: Api<Service> = Api::namespaced(client, &key.namespace);
            let body = desired::service_status(key, addresses, conditions, now);
            services
                .patch_status(&key.name, &apply, &Patch::Apply(body))
                .await?;
        }
        Write::Pool(name, status) => {
            let pools: Api<VipPool> = Api::all(client);
            let body = desired::pool_status(name, status, now);
            pools
                .patch_status(name, &apply, &Patch::Apply(body))
                .await?;
        }
        // Published by its form.
        Write::Notice(_) => {}
    }
    Ok(())
}

async fn delete(vips: &Api<Vip>, address: IpAddr, seen: &Seen) -> Result<(), WriteError> {
    vips.delete(&vip_name(address), &preconditions(seen))
        .await?;
    Ok(())
}

fn preconditions(seen: &Seen) -> DeleteParams {
    DeleteParams {
        preconditions: Some(Preconditions {
            uid: Some(seen.uid.clone()),
            resource_version: Some(seen.resource_version.clone()),
        }),
        ..DeleteParams::default()
    }
}

async fn publish(client: Client, form: Form) -> Result<(), WriteError> {
    match form {
        Form::New(event) => {
            let namespace = event.metadata.namespace.as_deref().unwrap_or_default();
            let events: Api<Event> = Api::namespaced(client, namespace);
            events.create(&PostParams::default(), &event).await?;
        }
        Form::Patch {
            namespace,
            name,
            patch,
        } => {
            let events: Api<Event> = Api::namespaced(client, &namespace);
            let merge = PatchParams::default();
            events.patch(&name, &merge, &Patch::Merge(patch)).await?;
        }
    }
    Ok(())
}
