//! Writes to the API server that are no renewal: Vips, statuses, Events.
//!
//! One task, [`run`], takes commands and keeps the latest of each object. Vips go first: an agent
//! answers for an address once its `Vip` is seen. Statuses and Events wait for that, at a rate of
//! their own, so that a thousand moves delay no answer. Dropping the task's future drops what waits;
//! what is under way may land.

use std::{
    future::Future,
    net::IpAddr,
    pin::Pin,
    time::{Duration, Instant},
};

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
    desired, lease,
    notice::{Form, Notebook, Notice},
    outbox::{Limits, Outbox, Supersede},
};
use crate::{
    api::{Vip, VipPool, VipStatus, vip_name},
    cluster::{Assignment, Condition, PoolStatus, ServiceKey},
    ownership::NodeName,
};

/// The one field manager of whatever is applied.
const MANAGER: &str = "xvip";
const PATIENCE: Duration = Duration::from_secs(10);
/// A failure that stays is told again after so long.
const TELL_AGAIN: Duration = Duration::from_secs(60);

const VIPS: Limits = Limits {
    in_flight: 16,
    burst: 1,
    interval: Duration::ZERO,
    waiting: usize::MAX,
};
const STATUSES: Limits = Limits {
    in_flight: 8,
    burst: 100,
    interval: Duration::from_millis(5),
    waiting: usize::MAX,
};
const NOTICES: Limits = Limits {
    in_flight: 2,
    burst: 50,
    interval: Duration::from_millis(100),
    waiting: 2000,
};

/// The state of a `Vip` that a write replaces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Its life.
    pub uid: String,
    /// Its state.
    pub resource_version: String,
}

/// What is to be written.
#[derive(Clone, Debug, PartialEq)]
pub enum Write {
    /// A `Vip` that must not exist.
    CreateVip(Assignment),
    /// Another spec for a `Vip`.
    ChangeVip(Assignment, Seen),
    /// A `Vip` goes.
    DeleteVip(IpAddr, Seen),
    /// A `Vip` goes, and comes back as another.
    RecreateVip(Assignment, Seen),
    /// Where a `Vip` is; by the node that holds it.
    VipStatus(IpAddr, VipStatus),
    /// Addresses and conditions of a Service; both may be empty.
    Service(ServiceKey, Vec<IpAddr>, Vec<Condition>),
    /// The status of a pool.
    Pool(String, PoolStatus),
    /// The Lease of a Node that is gone goes too.
    DeleteLease(LeaseKey, Seen),
    /// A Kubernetes Event. It may be dropped in a crowd.
    Notice(Notice),
}

/// Names a Lease.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LeaseKey {
    /// Its namespace.
    pub namespace: String,
    /// The node that it is named after.
    pub node: NodeName,
}

/// What a write is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Target {
    /// Existence and spec of a `Vip`.
    Vip(IpAddr),
    /// Status of a `Vip`.
    VipStatus(IpAddr),
    /// Status of a Service.
    Service(ServiceKey),
    /// Status of a pool.
    Pool(String),
    /// A Lease.
    Lease(LeaseKey),
    /// An Event.
    Notice(Notice),
}

/// What became of writes, as far as somebody must know.
#[derive(Debug)]
pub enum WriteNews {
    /// A `Vip` to be created exists: whose it is, the watch shows.
    Taken(IpAddr),
    /// A `Vip` is no longer in the state that a write named: decide anew by what the watch shows.
    Outdated(IpAddr),
    /// The API server refuses a write for good: it is not tried again.
    Refused(Target, WriteError),
    /// A write fails and is tried again. Told for the first of many, then once a minute.
    Failing(Target, WriteError),
    /// So many Events were dropped.
    NoticesDropped(u64),
}

/// Why a write failed.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The API server says no.
    #[error("{} ({})", .0.message, .0.code)]
    Refused(Box<kube::core::Status>),
    /// No answer in time; it may have landed.
    #[error("no answer for {} s", PATIENCE.as_secs())]
    TimedOut,
    /// The connection, or a text that is none of ours.
    #[error(transparent)]
    Failed(kube::Error),
}

impl From<kube::Error> for WriteError {
    fn from(error: kube::Error) -> Self {
        match error {
            kube::Error::Api(status) => Self::Refused(status),
            other => Self::Failed(other),
        }
    }
}

impl Write {
    /// What it is about.
    pub fn target(&self) -> Target {
        match self {
            Self::CreateVip(of) | Self::ChangeVip(of, _) | Self::RecreateVip(of, _) => {
                Target::Vip(of.address)
            }
            Self::DeleteVip(address, _) => Target::Vip(*address),
            Self::VipStatus(address, _) => Target::VipStatus(*address),
            Self::Service(key, ..) => Target::Service(key.clone()),
            Self::Pool(name, _) => Target::Pool(name.clone()),
            Self::DeleteLease(key, _) => Target::Lease(key.clone()),
            Self::Notice(notice) => Target::Notice(notice.clone()),
        }
    }

    fn judge(&self, error: WriteError) -> End {
        let address = match self.target() {
            Target::Vip(address) => Some(address),
            _ => None,
        };
        let code = match &error {
            WriteError::Refused(status) => status.code,
            _ => 0,
        };
        match (self, code, address) {
            (Self::CreateVip(_) | Self::RecreateVip(..), 409, Some(address)) => {
                End::Tell(WriteNews::Taken(address))
            }
            (Self::DeleteVip(..), 404, _) => End::Done,
            (Self::ChangeVip(..), 404 | 409, Some(address))
            | (Self::DeleteVip(..), 409, Some(address)) => End::Tell(WriteNews::Outdated(address)),
            // It is gone, or its node is back.
            (Self::DeleteLease(..), 404 | 409, _) => End::Done,
            // The object of a status is gone.
            (Self::VipStatus(..) | Self::Service(..) | Self::Pool(..), 404, _) => End::Done,
            (Self::Notice(_), 400.., _) => End::Tell(WriteNews::Refused(self.target(), error)),
            (_, 400 | 422, _) => End::Tell(WriteNews::Refused(self.target(), error)),
            _ => End::Again(error),
        }
    }
}

impl Supersede for Write {
    fn after(self, earlier: Self) -> Self {
        match (earlier, self) {
            (Self::DeleteVip(_, seen) | Self::RecreateVip(_, seen), Self::CreateVip(new)) => {
                Self::RecreateVip(new, seen)
            }
            // What was to be created was never there.
            (Self::RecreateVip(_, seen), Self::DeleteVip(address, _)) => {
                Self::DeleteVip(address, seen)
            }
            (_, later) => later,
        }
    }
}

/// How a write ended.
enum End {
    Done,
    Tell(WriteNews),
    Again(WriteError),
}

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

/// All lanes.
struct Desk {
    vips: Outbox<Target, Write>,
    statuses: Outbox<Target, Write>,
    notices: Outbox<Target, Write>,
    notebook: Notebook,
    told: Option<Instant>,
}

impl Desk {
    fn new(node: String) -> Self {
        Self {
            vips: Outbox::new(VIPS),
            statuses: Outbox::new(STATUSES),
            notices: Outbox::new(NOTICES),
            notebook: Notebook::new(node),
            told: None,
        }
    }

    fn lane(&mut self, target: &Target) -> &mut Outbox<Target, Write> {
        match target {
            Target::Vip(_) => &mut self.vips,
            Target::VipStatus(_) | Target::Service(_) | Target::Pool(_) | Target::Lease(_) => {
                &mut self.statuses
            }
            Target::Notice(..) => &mut self.notices,
        }
    }

    fn put(&mut self, write: Write) {
        let target = write.target();
        self.lane(&target).put(target, write);
    }

    /// A lane begins nothing while one before it could.
    fn next(&mut self, now: Instant) -> Option<Write> {
        for lane in [&mut self.vips, &mut self.statuses, &mut self.notices] {
            if let Some((_, write)) = lane.next(now) {
                return Some(write);
            }
            if lane.is_busy() {
                return None;
            }
        }
        None
    }

    /// When [`Self::next`] is to be asked again: lanes behind one that is busy wait for it.
    fn wake_at(&self) -> Option<Instant> {
        let lanes = [&self.vips, &self.statuses, &self.notices];
        let busy = lanes.iter().position(|lane| lane.is_busy());
        let heard = &lanes[..busy.map_or(lanes.len(), |place| place + 1)];
        heard.iter().filter_map(|lane| lane.wake_at()).min()
    }

    fn is_idle(&self) -> bool {
        let lanes = [&self.vips, &self.statuses, &self.notices];
        lanes.into_iter().all(Outbox::is_empty)
    }

    fn take_dropped(&mut self) -> Option<WriteNews> {
        match self.notices.take_dropped() {
            0 => None,
            dropped => Some(WriteNews::NoticesDropped(dropped)),
        }
    }

    fn ended(
        &mut self,
        write: Write,
        result: Result<(), WriteError>,
        now: Instant,
    ) -> Option<WriteNews> {
        let target = write.target();
        if let (Write::Notice(notice), Err(_)) = (&write, &result) {
            self.notebook.forget(notice);
        }
        match result.err().map_or(End::Done, |error| write.judge(error)) {
            End::Done => {
                self.lane(&target).done(target);
                None
            }
            End::Tell(news) => {
                self.lane(&target).done(target);
                Some(news)
            }
            End::Again(error) => {
                self.lane(&target).again(target.clone(), write, now);
                let tell = self.told.is_none_or(|told| now - told >= TELL_AGAIN);
                tell.then(|| {
                    self.told = Some(now);
                    WriteNews::Failing(target, error)
                })
            }
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

#[cfg(test)]
mod tests {
    use kube::core::Status;

    use super::*;
    use crate::io::kube::notice::{About, Reason};

    fn assignment(last: u8) -> Assignment {
        Assignment {
            address: [192, 0, 2, last].into(),
            pool: None,
            services: [ServiceKey::new("web", "a")].into(),
            control_plane: false,
            share_key: None,
            interfaces: Vec::new(),
            prefix: None,
        }
    }

    fn seen(version: &str) -> Seen {
        Seen {
            uid: "u".into(),
            resource_version: version.into(),
        }
    }

    fn refused(code: u16) -> WriteError {
        WriteError::Refused(Status::failure("", "").with_code(code).boxed())
    }

    fn status() -> Write {
        Write::VipStatus([192, 0, 2, 1].into(), VipStatus::default())
    }

    #[test]
    fn a_deletion_that_waits_is_not_lost_when_the_address_is_given_again() {
        let delete = Write::DeleteVip(assignment(1).address, seen("7"));
        let create = Write::CreateVip(assignment(1));
        let recreate = Write::RecreateVip(assignment(1), seen("7"));
        assert_eq!(create.clone().after(delete.clone()), recreate);
        assert_eq!(create.after(recreate.clone()), recreate);
        let second = Write::DeleteVip(assignment(1).address, seen("9"));
        assert_eq!(second.after(recreate), delete);
    }

    #[test]
    fn vips_go_before_statuses_and_these_before_events() {
        let now = Instant::now();
        let mut desk = Desk::new("node-a".into());
        let notice = Notice {
            about: About::Vip {
                address: assignment(1).address,
                uid: "u".into(),
            },
            reason: Reason::Moved,
            note: String::new(),
        };
        desk.put(Write::Notice(notice));
        desk.put(status());
        for last in 1..=20 {
            desk.put(Write::CreateVip(assignment(last)));
        }
        let begun: Vec<_> = std::iter::from_fn(|| desk.next(now)).collect();
        assert_eq!(begun.len(), VIPS.in_flight, "{begun:?}");
        for write in begun {
            desk.ended(write, Ok(()), now);
        }
        let rest: Vec<_> = std::iter::from_fn(|| desk.next(now)).collect();
        assert_eq!(rest.len(), 6);
        assert_eq!(rest[4], status());
        assert!(matches!(rest[5], Write::Notice(_)));
    }

    #[test]
    fn what_waits_behind_a_busy_lane_waits_without_an_alarm() {
        let now = Instant::now();
        let mut desk = Desk::new("node-a".into());
        // An earlier status leaves a schedule, which has passed by now.
        desk.put(status());
        let earlier = desk.next(now).unwrap();
        desk.ended(earlier, Ok(()), now);
        let now = now + Duration::from_secs(1);
        for last in 1..=20 {
            desk.put(Write::CreateVip(assignment(last)));
        }
        desk.put(status());
        while desk.next(now).is_some() {}
        assert_eq!(
            desk.wake_at(),
            None,
            "an alarm would go off at once, again and again"
        );
    }

    #[test]
    fn what_waits_after_a_failure_holds_nobody_up() {
        let now = Instant::now();
        let mut desk = Desk::new("node-a".into());
        desk.put(Write::CreateVip(assignment(1)));
        desk.put(status());
        let create = desk.next(now).unwrap();
        assert_eq!(desk.next(now), Some(status()));
        let news = desk.ended(create, Err(refused(503)), now);
        assert!(matches!(news, Some(WriteNews::Failing(..))), "{news:?}");
        desk.ended(status(), Ok(()), now);
        assert_eq!(desk.next(now), None);
        assert!(!desk.is_idle() && desk.wake_at().is_some());
    }

    #[test]
    fn failures_are_told_once_a_minute() {
        let mut now = Instant::now();
        let mut desk = Desk::new("node-a".into());
        let mut told = 0;
        for _ in 0..13 {
            desk.put(status());
            while let Some(write) = desk.next(now) {
                told += u32::from(desk.ended(write, Err(WriteError::TimedOut), now).is_some());
            }
            now += Duration::from_secs(10);
        }
        assert_eq!(told, 3);
    }

    #[test]
    fn an_answer_of_the_api_server_ends_a_write_or_not() {
        let create = Write::CreateVip(assignment(1));
        let change = Write::ChangeVip(assignment(1), seen("7"));
        let delete = Write::DeleteVip(assignment(1).address, seen("7"));
        let tells = |write: &Write, code| match write.judge(refused(code)) {
            End::Tell(news) => format!("{news:?}"),
            End::Done => "done".to_owned(),
            End::Again(_) => "again".to_owned(),
        };
        assert_eq!(tells(&create, 409), "Taken(192.0.2.1)");
        assert_eq!(tells(&change, 409), "Outdated(192.0.2.1)");
        assert_eq!(tells(&change, 404), "Outdated(192.0.2.1)");
        assert_eq!(tells(&delete, 409), "Outdated(192.0.2.1)");
        assert_eq!(tells(&delete, 404), "done");
        assert_eq!(tells(&status(), 404), "done");
        assert!(tells(&create, 422).starts_with("Refused"));
        for code in [403, 404, 429, 500, 503] {
            assert_eq!(tells(&create, code), "again", "{code}");
        }
    }
}
