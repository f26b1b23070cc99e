//! Binding addresses and observing the host, over rtnetlink.
//!
//! One thread per [`Netlink`] runs both of its sockets on a runtime of its own: the kernel does
//! the work of a request inside `sendmsg`, some milliseconds for an IPv6 address on a link that has
//! ten thousand, and the thread that renews leases must not wait for that. The thread belongs to
//! the network namespace of the caller of [`Netlink::connect`], and ends with the last clone of the
//! handle. Cancelling a future of this module leaves the requests that were sent under way.
//!
//! rtnetlink gives the connections, the request handle and the message builders. Its typed
//! requests are left out: they hide NLM_F_DUMP_INTR, and of its one-message requests a window is
//! kept in flight here.

mod message;
mod observe;

use std::{io, sync::mpsc, thread};

use futures::{
    StreamExt,
    channel::mpsc::UnboundedReceiver,
    future,
    stream::{self, BoxStream},
};
use netlink_packet_core::{
    NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_REQUEST, NetlinkMessage, NetlinkPayload,
};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_sys::{AsyncSocket, SocketAddr};
use nix::sys::socket::{setsockopt, sockopt::RcvBufForce};
use rtnetlink::MulticastGroup;
use tokio::{runtime, sync::watch};

use crate::{
    binding::{AddressChange, Operation},
    host::Host,
    vip::{BoundVip, IfIndex},
};

/// Requests in flight. The kernel answers inside `sendmsg`, so that more would only hold memory.
const WINDOW: usize = 256;

/// Bytes for events that are not read yet: 20,000 addresses leave two events each.
const EVENT_BUFFER: usize = 8 << 20;

/// How often a dump that the kernel says changed under way is made again. What still changes then
/// has left a hint.
const DUMP_ATTEMPTS: usize = 5;

const GROUPS: [MulticastGroup; 6] = [
    MulticastGroup::Link,
    MulticastGroup::Ipv4Ifaddr,
    MulticastGroup::Ipv6Ifaddr,
    MulticastGroup::Ipv4Route,
    MulticastGroup::Ipv6Route,
    // `forwarding` and `disable_ipv6` of a link (`inet6_netconf_notify_devconf`).
    MulticastGroup::Ipv6Netconf,
];

/// Netlink did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum NetlinkError {
    /// No socket, no runtime or no thread.
    #[error("cannot open a netlink socket: {0}")]
    Connect(#[source] io::Error),
    /// The thread is gone, after an error that it logged.
    #[error("the netlink connection is closed")]
    Closed,
    /// The kernel refused a dump.
    #[error("cannot list {what}: {source}")]
    Dump {
        /// Links, addresses or routes.
        what: &'static str,
        /// The kernel's errno.
        source: io::Error,
    },
}

/// An address was not bound, replaced or removed.
#[derive(Debug, thiserror::Error)]
pub enum AddressError {
    /// The kernel refused it.
    #[error("{operation:?} {net} on interface {ifindex}: {source}")]
    Kernel {
        /// What was tried.
        operation: Operation,
        /// The interface.
        ifindex: IfIndex,
        /// The address.
        net: BoundVip,
        /// The kernel's errno.
        source: io::Error,
    },
    /// The connection closed before the kernel's answer was read.
    #[error("the netlink connection is closed")]
    Closed,
}

/// A handle to the host's links and addresses.
#[derive(Clone, Debug)]
pub struct Netlink {
    handle: rtnetlink::Handle,
}

/// Something changed: observe again. Hints that nobody has read yet become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hint {
    /// A link, an address or a default route.
    Changed,
    /// The kernel dropped events (ENOBUFS): nobody knows what changed.
    Overrun,
}

/// The stream of hints.
#[derive(Debug)]
pub struct HostChanges {
    seen: watch::Receiver<Seen>,
    told: Seen,
}

/// Events so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Seen {
    changes: u64,
    overruns: u64,
}

impl HostChanges {
    /// The next hint; none once the connection is closed. Cancel-safe.
    pub async fn next(&mut self) -> Option<Hint> {
        let told = self.told;
        let seen = *self.seen.wait_for(|seen| *seen != told).await.ok()?;
        self.told = seen;
        Some(if seen.overruns == told.overruns {
            Hint::Changed
        } else {
            Hint::Overrun
        })
    }

    /// How often the kernel dropped events.
    pub fn overruns(&self) -> u64 {
        self.seen.borrow().overruns
    }
}

impl Netlink {
    /// Opens the sockets in the network namespace of the calling thread.
    pub fn connect() -> Result<(Self, HostChanges), NetlinkError> {
        Self::connect_with(EVENT_BUFFER)
    }

    /// The same, with room for `event_buffer` bytes of unread events.
    pub fn connect_with(event_buffer: usize) -> Result<(Self, HostChanges), NetlinkError> {
        let (ready, opened) = mpsc::channel();
        let (seen, hints) = watch::channel(Seen::default());
        // A thread is born into the network namespace of the one that starts it.
        thread::Builder::new()
            .name("netlink".into())
            .spawn(move || run(&ready, &seen, event_buffer))
            .map_err(NetlinkError::Connect)?;
        let handle = opened
            .recv()
            .map_err(|_| NetlinkError::Closed)?
            .map_err(NetlinkError::Connect)?;
        let changes = HostChanges {
            seen: hints,
            told: Seen::default(),
        };
        Ok((Self { handle }, changes))
    }

    /// Everything, anew.
    pub async fn observe(&self) -> Result<Host, NetlinkError> {
        let links = self.dump("links", observe::all_links()).await?;
        let addresses = self.dump("addresses", observe::all_addresses()).await?;
        let mut routes = Vec::new();
        for request in observe::main_tables() {
            match self.dump("routes", request).await {
                Ok(more) => routes.extend(more),
                // A namespace in which no route of the family was ever made has no table.
                Err(NetlinkError::Dump { source, .. })
                    if source.raw_os_error() == Some(libc::ENOENT) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(observe::host(links, addresses, routes))
    }

    /// Makes the changes in their order and tells of each, in the same order, what became of it.
    /// To remove what is not there succeeds.
    pub async fn bind(&self, batch: &[AddressChange]) -> Vec<Result<(), AddressError>> {
        stream::iter(batch)
            .map(|change| self.request(change))
            .buffered(WINDOW)
            .collect()
            .await
    }

    /// Sends at once; the future waits for the answer.
    fn request(
        &self,
        change: &AddressChange,
    ) -> impl Future<Output = Result<(), AddressError>> + use<> {
        let change = *change;
        let answers = self.send(message::request(&change));
        async move {
            let mut answers = answers.ok_or(AddressError::Closed)?;
            while let Some(answer) = answers.next().await {
                if let NetlinkPayload::Error(answer) = answer.payload {
                    return message::outcome(&change, &answer);
                }
            }
            Err(AddressError::Closed)
        }
    }

    async fn dump(
        &self,
        what: &'static str,
        request: RouteNetlinkMessage,
    ) -> Result<Vec<RouteNetlinkMessage>, NetlinkError> {
        let mut request = NetlinkMessage::from(request);
        request.header.flags = NLM_F_REQUEST | NLM_F_DUMP;
        let mut found = Vec::new();
        for _ in 0..DUMP_ATTEMPTS {
            found.clear();
            let (mut interrupted, mut done) = (false, false);
            let mut answers = self.send(request.clone()).ok_or(NetlinkError::Closed)?;
            while let Some(answer) = answers.next().await {
                interrupted |= answer.header.flags & NLM_F_DUMP_INTR != 0;
                let code = match answer.payload {
                    NetlinkPayload::InnerMessage(message) => {
                        found.push(message);
                        continue;
                    }
                    NetlinkPayload::Done(end) => {
                        done = true;
                        end.code
                    }
                    NetlinkPayload::Error(error) => error.raw_code(),
                    _ => continue,
                };
                if code != 0 {
                    let source = io::Error::from_raw_os_error(-code);
                    return Err(NetlinkError::Dump { what, source });
                }
            }
            if !done {
                return Err(NetlinkError::Closed);
            }
            if !interrupted {
                break;
            }
        }
        Ok(found)
    }

    fn send(
        &self,
        message: NetlinkMessage<RouteNetlinkMessage>,
    ) -> Option<BoxStream<'static, NetlinkMessage<RouteNetlinkMessage>>> {
        let answers = self.handle.clone().request(message).ok()?;
        Some(answers.boxed())
    }
}

type Events = UnboundedReceiver<(NetlinkMessage<RouteNetlinkMessage>, SocketAddr)>;

/// The thread: opens the sockets, says so, and serves them until the last handle is dropped.
fn run(
    ready: &mpsc::Sender<io::Result<rtnetlink::Handle>>,
    seen: &watch::Sender<Seen>,
    event_buffer: usize,
) {
    let served = runtime::Builder::new_current_thread()
        .enable_io()
        .build()
        .and_then(|runtime| runtime.block_on(serve(ready, seen, event_buffer)));
    if let Err(error) = served {
        // Nobody listens any more once the handle was given away.
        let _ = ready.send(Err(error));
    }
}

async fn serve(
    ready: &mpsc::Sender<io::Result<rtnetlink::Handle>>,
    seen: &watch::Sender<Seen>,
    event_buffer: usize,
) -> io::Result<()> {
    // Strict: dumps are filtered by the kernel, so that 20,000 local routes stay there.
    let (mut requests, handle, unsolicited) = rtnetlink::new_connection_with_strict_check()?;
    // Acknowledgements say "bound", and the end of a dump says "complete": both are wanted.
    requests.set_forward_ack(true);
    requests.set_forward_done(true);
    drop(unsolicited);
    let (mut events, _, messages) = rtnetlink::new_multicast_connection(&GROUPS)?;
    let socket: &netlink_sys::Socket = events.socket_mut().socket_ref();
    // Without CAP_NET_ADMIN the default must do: an overrun is a resync, not a loss.
    if let Err(error) = setsockopt(socket, RcvBufForce, &event_buffer) {
        tracing::debug!(%error, "netlink event buffer stays at its default");
    }
    if ready.send(Ok(handle)).is_err() {
        return Ok(());
    }
    tokio::select! {
        () = requests => {}
        () = events => tracing::error!("netlink events ended"),
        () = count(messages, seen) => {}
    }
    Ok(())
}

/// Turns events into hints, so that a flood of them costs no memory.
async fn count(mut messages: Events, seen: &watch::Sender<Seen>) {
    while let Some((message, _)) = messages.next().await {
        match message.payload {
            NetlinkPayload::Overrun(_) => seen.send_modify(|seen| seen.overruns += 1),
            NetlinkPayload::InnerMessage(event) if observe::matters(&event) => {
                seen.send_modify(|seen| seen.changes += 1);
            }
            _ => {}
        }
    }
    future::pending::<()>().await;
}
