//! tc below Linux 6.6: filters of the clsact qdisc, found again by priority, handle and name.

use std::{
    io,
    os::fd::{AsRawFd, BorrowedFd},
};

use netlink_packet_core::{
    NLM_F_ACK, NLM_F_CREATE, NLM_F_DUMP, NLM_F_EXCL, NLM_F_REQUEST, NetlinkBuffer, NetlinkHeader,
    NetlinkMessage, NetlinkPayload,
};
use netlink_packet_route::{
    RouteNetlinkMessage,
    link::{LinkAttribute, LinkMessage, LinkXdp},
    tc::{
        TcAttribute, TcBpfFlags, TcFilterBpf, TcFilterBpfOption, TcHandle, TcHeader, TcMessage,
        TcOption,
    },
};
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};

use super::{links::Hook, object::Kernel};
use crate::vip::IfIndex;

/// The first priority of all.
const PRIORITY: u16 = 1;
/// "xvip" in ASCII, and its successor while our place before others is taken back: a filter
/// cannot move, only a second one can come before it.
const HANDLES: [u32; 2] = [0x7876_6970, 0x7876_6971];
const KIND: &str = "clsact";

/// A filter of the qdisc, in the kernel's order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Filter {
    handle: u32,
    priority: u16,
    /// bpf, flower, u32 and so on; empty when the message could not be read.
    pub(super) kind: String,
    /// Name given to a bpf filter.
    pub(super) name: Option<String>,
    /// Id of its program.
    pub(super) program: u32,
    parent: u32,
}

impl Filter {
    /// The filter is one of ours.
    pub(super) fn is_ours(&self) -> bool {
        self.priority == PRIORITY
            && HANDLES.contains(&self.handle)
            && self
                .name
                .as_deref()
                .is_some_and(|name| Kernel::ALL.iter().any(|program| program.name() == name))
    }
}

fn parent(hook: Hook) -> TcHandle {
    TcHandle {
        major: TcHandle::CLSACT.major,
        minor: match hook {
            Hook::TcOut => TcHandle::MIN_EGRESS,
            Hook::TcIn | Hook::Xdp | Hook::XdpGeneric => TcHandle::MIN_INGRESS,
        },
    }
}

fn message(ifindex: IfIndex, handle: u32, parent: TcHandle, info: u32) -> TcMessage {
    let mut message = TcMessage::default();
    message.header = TcHeader {
        index: ifindex as i32,
        handle: handle.into(),
        parent,
        info,
        ..TcHeader::default()
    };
    message
}

/// `tcm_info` of a filter for all protocols (`TC_H_MAKE(priority << 16, htons(ETH_P_ALL))`).
fn info(priority: u16) -> u32 {
    (u32::from(priority) << 16) | u32::from((libc::ETH_P_ALL as u16).to_be())
}

/// The filters of one direction; none without a qdisc.
pub(super) fn filters(ifindex: IfIndex, hook: Hook) -> io::Result<Vec<Filter>> {
    let parent = parent(hook);
    let ask = RouteNetlinkMessage::GetTrafficFilter(message(ifindex, 0, parent, 0));
    let replies = match request(ask, NLM_F_DUMP) {
        // No qdisc that has filters.
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => return Ok(Vec::new()),
        replies => replies?,
    };
    let mut filters = Vec::new();
    for reply in replies {
        let filter = match reply {
            Reply::Read(RouteNetlinkMessage::NewTrafficFilter(message)) => read(&message),
            // A foreign filter that the decoder does not know still stands in the chain.
            Reply::Unreadable(Some(header)) => Filter {
                handle: u32::from(header.handle),
                priority: (header.info >> 16) as u16,
                kind: String::new(),
                name: None,
                program: 0,
                parent: u32::from(header.parent),
            },
            _ => continue,
        };
        // Each priority is told by a message without a handle first. An ingress qdisc tells its
        // filters for either direction.
        if filter.handle != 0 && filter.parent == u32::from(parent) {
            filters.push(filter);
        }
    }
    Ok(filters)
}

fn read(message: &TcMessage) -> Filter {
    let mut filter = Filter {
        handle: u32::from(message.header.handle),
        priority: (message.header.info >> 16) as u16,
        kind: String::new(),
        name: None,
        program: 0,
        parent: u32::from(message.header.parent),
    };
    for attribute in &message.attributes {
        match attribute {
            TcAttribute::Kind(kind) => filter.kind.clone_from(kind),
            TcAttribute::Options(options) => {
                for option in options {
                    match option {
                        TcOption::Bpf(TcFilterBpfOption::ProgName(name)) => {
                            filter.name = Some(name.clone());
                        }
                        TcOption::Bpf(TcFilterBpfOption::ProgId(id)) => filter.program = *id,
                        _ => {}
                    }
                }
            }
            _ => {}
        }
    }
    filter
}

/// The program did not come to the qdisc.
#[derive(Debug, thiserror::Error)]
pub enum ClsactError {
    /// A filter of another kind or owner has the priority and handle that ours needs.
    #[error(
        "tc priority {PRIORITY} is taken by a filter of kind {kind:?}: move it to a higher number (`tc filter show dev DEVICE`)"
    )]
    PriorityTaken {
        /// Kind of the filter.
        kind: String,
    },
    /// The interface has the older qdisc `ingress` in the place of `clsact`.
    #[error(
        "the interface has a qdisc of kind {kind:?} where clsact belongs: replace it with clsact (`tc qdisc show dev DEVICE`)"
    )]
    OtherQdisc {
        /// Kind of the qdisc.
        kind: String,
    },
    /// rtnetlink refused.
    #[error(transparent)]
    Netlink(#[from] io::Error),
}

/// Attaches a program, or replaces the one of our filter there atomically. Says whether the
/// qdisc had to be created.
pub(super) fn put(
    ifindex: IfIndex,
    hook: Hook,
    program: BorrowedFd<'_>,
) -> Result<bool, ClsactError> {
    let created = ensure_qdisc(ifindex)?;
    let there = filters(ifindex, hook)?;
    let handle = there.iter().find(|filter| filter.is_ours());
    let handle = handle.map_or(HANDLES[0], |filter| filter.handle);
    let taken = there.iter().find(|filter| {
        filter.priority == PRIORITY
            && !filter.is_ours()
            && (filter.kind != TcFilterBpf::KIND || HANDLES.contains(&filter.handle))
    });
    if let Some(foreign) = taken {
        let kind = foreign.kind.clone();
        return Err(ClsactError::PriorityTaken { kind });
    }
    write(ifindex, hook, program, handle)?;
    // Two are left where an agent was killed while it took its place back.
    for second in there
        .iter()
        .filter(|filter| filter.is_ours() && filter.handle != handle)
    {
        remove_filter(ifindex, hook, second.handle)?;
    }
    Ok(created)
}

/// Puts a second filter before all of its priority, then removes the former one.
pub(super) fn move_first(ifindex: IfIndex, hook: Hook, program: BorrowedFd<'_>) -> io::Result<()> {
    let there = filters(ifindex, hook)?;
    let former = there.iter().find(|filter| filter.is_ours());
    let former = former.map_or(HANDLES[1], |filter| filter.handle);
    let next = if former == HANDLES[0] {
        HANDLES[1]
    } else {
        HANDLES[0]
    };
    // One that a killed agent left would be replaced where it stands, which is not the front.
    if there
        .iter()
        .any(|filter| filter.is_ours() && filter.handle == next)
    {
        remove_filter(ifindex, hook, next)?;
    }
    write(ifindex, hook, program, next)?;
    if there
        .iter()
        .any(|filter| filter.is_ours() && filter.handle == former)
    {
        remove_filter(ifindex, hook, former)?;
    }
    Ok(())
}

fn write(ifindex: IfIndex, hook: Hook, program: BorrowedFd<'_>, handle: u32) -> io::Result<()> {
    let mut filter = message(ifindex, handle, parent(hook), info(PRIORITY));
    filter.attributes = vec![
        TcAttribute::Kind(TcFilterBpf::KIND.to_owned()),
        TcAttribute::Options(vec![
            TcOption::Bpf(TcFilterBpfOption::ProgFd(program.as_raw_fd() as u32)),
            TcOption::Bpf(TcFilterBpfOption::ProgName(
                hook.program().name().to_owned(),
            )),
            TcOption::Bpf(TcFilterBpfOption::Flags(TcBpfFlags::DirectAction)),
        ]),
    ];
    // With NLM_F_EXCL, as aya sets it, an existing filter would be an error instead of replaced.
    request(
        RouteNetlinkMessage::NewTrafficFilter(filter),
        NLM_F_ACK | NLM_F_CREATE,
    )?;
    Ok(())
}

/// Where in this network namespace we have filters.
pub(super) fn interfaces() -> io::Result<Vec<(IfIndex, Hook)>> {
    let mut found = Vec::new();
    for interface in nix::net::if_::if_nameindex()?.iter() {
        for hook in [Hook::TcIn, Hook::TcOut] {
            if filters(interface.index(), hook)?
                .iter()
                .any(Filter::is_ours)
            {
                found.push((interface.index(), hook));
            }
        }
    }
    Ok(found)
}

/// Removes our filters of one direction; whether there were any.
pub(super) fn remove(ifindex: IfIndex, hook: Hook) -> io::Result<bool> {
    let mut removed = false;
    for filter in filters(ifindex, hook)?
        .iter()
        .filter(|filter| filter.is_ours())
    {
        remove_filter(ifindex, hook, filter.handle)?;
        removed = true;
    }
    Ok(removed)
}

fn remove_filter(ifindex: IfIndex, hook: Hook, handle: u32) -> io::Result<()> {
    let mut filter = message(ifindex, handle, parent(hook), info(PRIORITY));
    filter.attributes = vec![TcAttribute::Kind(TcFilterBpf::KIND.to_owned())];
    request(RouteNetlinkMessage::DelTrafficFilter(filter), NLM_F_ACK)?;
    Ok(())
}

fn qdisc(ifindex: IfIndex) -> TcMessage {
    let handle = TcHandle {
        minor: 0,
        ..TcHandle::CLSACT
    };
    let mut message = message(ifindex, handle.into(), TcHandle::CLSACT, 0);
    message.attributes = vec![TcAttribute::Kind(KIND.to_owned())];
    message
}

/// Whether the qdisc had to be created.
fn ensure_qdisc(ifindex: IfIndex) -> Result<bool, ClsactError> {
    let create = RouteNetlinkMessage::NewQueueDiscipline(qdisc(ifindex));
    match request(create, NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL) {
        Ok(_) => return Ok(true),
        Err(error) if error.raw_os_error() == Some(libc::EEXIST) => {}
        Err(error) => return Err(error.into()),
    }
    // An `ingress` qdisc has the same handle, and takes an egress filter for one of ingress.
    let ask = RouteNetlinkMessage::GetQueueDiscipline(message(ifindex, 0, TcHandle::UNSPEC, 0));
    let there = request(ask, NLM_F_DUMP)?
        .into_iter()
        .find_map(|reply| match reply {
            Reply::Read(RouteNetlinkMessage::NewQueueDiscipline(there))
                if there.header.index == ifindex as i32
                    && there.header.parent == TcHandle::CLSACT =>
            {
                there
                    .attributes
                    .into_iter()
                    .find_map(|attribute| match attribute {
                        TcAttribute::Kind(kind) => Some(kind),
                        _ => None,
                    })
            }
            _ => None,
        });
    match there {
        Some(kind) if kind != KIND => Err(ClsactError::OtherQdisc { kind }),
        _ => Ok(false),
    }
}

/// Removes the qdisc, unless somebody has filters there; whether it went.
pub(super) fn remove_qdisc_if_empty(ifindex: IfIndex) -> io::Result<bool> {
    for hook in [Hook::TcIn, Hook::TcOut] {
        if !filters(ifindex, hook)?.is_empty() {
            return Ok(false);
        }
    }
    let remove = RouteNetlinkMessage::DelQueueDiscipline(qdisc(ifindex));
    match request(remove, NLM_F_ACK) {
        Ok(_) => Ok(true),
        // It, or the interface, is gone.
        Err(error) => match error.raw_os_error() {
            Some(libc::ENOENT | libc::EINVAL | libc::ENODEV) => Ok(false),
            _ => Err(error),
        },
    }
}

/// Ids of the XDP programs of an interface.
pub(super) fn xdp_programs(ifindex: IfIndex) -> io::Result<Vec<u32>> {
    let mut ask = LinkMessage::default();
    ask.header.index = ifindex;
    let replies = request(RouteNetlinkMessage::GetLink(ask), 0)?;
    let mut programs = Vec::new();
    for reply in replies {
        let Reply::Read(RouteNetlinkMessage::NewLink(link)) = reply else {
            continue;
        };
        for attribute in link.attributes {
            let LinkAttribute::Xdp(xdp) = attribute else {
                continue;
            };
            for part in xdp {
                // A single program is told twice, by its mode and in general.
                if let LinkXdp::ProgId(id)
                | LinkXdp::DrvProgId(id)
                | LinkXdp::SkbProgId(id)
                | LinkXdp::HwProgId(id) = part
                    && !programs.contains(&id)
                {
                    programs.push(id);
                }
            }
        }
    }
    Ok(programs)
}

enum Reply {
    Read(RouteNetlinkMessage),
    /// The decoder gave up; the header, where the message has one of tc's.
    Unreadable(Option<TcHeader>),
}

/// One request, and all that comes back for it.
fn request(payload: RouteNetlinkMessage, flags: u16) -> io::Result<Vec<Reply>> {
    let mut header = NetlinkHeader::default();
    header.flags = NLM_F_REQUEST | flags;
    let mut message = NetlinkMessage::new(header, NetlinkPayload::from(payload));
    message.finalize();
    let mut bytes = vec![0; message.buffer_len()];
    message.serialize(&mut bytes);

    let mut socket = Socket::new(NETLINK_ROUTE)?;
    socket.bind_auto()?;
    socket.connect(&SocketAddr::new(0, 0))?;
    socket.send(&bytes, 0)?;

    let mut replies = Vec::new();
    loop {
        let (datagram, _) = socket.recv_from_full()?;
        let mut rest = &datagram[..];
        while let Ok(one) = NetlinkBuffer::new_checked(&rest) {
            let length = one.length() as usize;
            let kind = one.message_type();
            let parsed = NetlinkMessage::<RouteNetlinkMessage>::deserialize(&rest[..length]);
            match parsed.map(|message| message.payload) {
                Ok(NetlinkPayload::Done(_)) => return Ok(replies),
                Ok(NetlinkPayload::Error(error)) => {
                    return match error.code {
                        None => Ok(replies),
                        Some(_) => Err(error.to_io()),
                    };
                }
                Ok(NetlinkPayload::InnerMessage(inner)) => {
                    replies.push(Reply::Read(inner));
                    // Neither a dump nor acknowledged: one answer is all.
                    if flags & (NLM_F_DUMP | NLM_F_ACK) == 0 {
                        return Ok(replies);
                    }
                }
                Ok(_) => {}
                Err(_) => {
                    let header = (kind == libc::RTM_NEWTFILTER)
                        .then(|| TcHeader::parse(one.payload()).ok())
                        .flatten();
                    replies.push(Reply::Unreadable(header));
                }
            }
            rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        }
    }
}
