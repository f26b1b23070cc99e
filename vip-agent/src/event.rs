//! What happened, as facts from which logs, metrics and Kubernetes Events derive.

use std::{fmt, net::IpAddr, time::Duration};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tracing::{debug, error, info, warn};

use crate::{
    ownership::SessionId,
    vip::{BoundVip, Mac},
};

/// Something that happened, and to what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fact {
    /// To a VIP, on an interface.
    Vip {
        /// The VIP.
        vip: IpAddr,
        /// Name of the interface.
        interface: String,
        /// What.
        what: VipFact,
    },
    /// To an interface.
    Interface {
        /// Its name.
        interface: String,
        /// What.
        what: InterfaceFact,
    },
    /// To the node.
    Node(NodeFact),
}

/// What happens to a VIP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum VipFact {
    /// The address was added to the interface.
    Bound(BoundVip),
    /// The address was there before: ours from an earlier run, or of a program named in `adopt`.
    Adopted,
    /// The address was removed from the interface.
    Unbound,
    /// Netlink refused the address.
    BindFailed(String),
    /// The maps hold an entry for it, which is not live yet.
    Programmed,
    /// The kernel answers for it.
    Live {
        /// Epoch of its entry.
        epoch: u64,
    },
    /// The kernel answers no more, for this reason.
    Withdrawn(String),
    /// The burst of announcements began.
    Announcing,
    /// Another MAC address claimed it.
    Conflict {
        /// The rival.
        rival: Mac,
        /// A defending announcement was sent, or ordered.
        defended: bool,
    },
    /// It was unconfirmed when a rival claimed it: fenced until it is confirmed.
    Yielded {
        /// The rival.
        rival: Mac,
    },
    /// Another node holds it, and nobody on the LAN answers for it.
    Unanswered,
    /// Another node holds it, and two hosts on the LAN answer for it.
    AnsweredTwice {
        /// One of them.
        by: Mac,
        /// The other.
        and: Mac,
    },
    /// Somebody removed the address, and it was bound again.
    Restored,
    /// The address is removed again and again: the next repair waits.
    FlapLimited,
}

/// What happens to an interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InterfaceFact {
    /// Programs were attached.
    Attached {
        /// Value of the label `mode`: native, tc or generic.
        mode: &'static str,
    },
    /// Programs that an earlier run attached were taken over.
    Continued {
        /// As in [`InterfaceFact::Attached`].
        mode: &'static str,
    },
    /// Programs could not be attached.
    AttachFailed(String),
    /// Programs were detached.
    Detached,
    /// Another program came to stand before ours.
    PositionLost,
    /// Ours is the first again.
    PositionRestored,
    /// The check after attach passed.
    CheckPassed,
    /// The check after attach gave another answer than it must.
    CheckFailed(String),
    /// It can carry traffic.
    Up,
    /// It cannot carry traffic.
    Down,
    /// It could not for a moment, and can again.
    Bounced,
    /// It has another MAC address.
    MacChanged(Mac),
    /// Neither gateway nor peers nor known neighbours reply to our questions.
    Deaf,
    /// Somebody replies again.
    Hears,
}

/// What happens to the node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NodeFact {
    /// The configuration was read again and took effect.
    Reloaded,
    /// The configuration was read again and has errors: nothing changed.
    ReloadRefused(String),
    /// A round of reconciliation failed in part.
    ReconcileFailed {
        /// Value of the label `reason`: which part.
        part: &'static str,
        /// What was refused.
        error: String,
    },
    /// Netlink lost messages (ENOBUFS); all is read again.
    NetlinkOverrun,
    /// The ring buffer or a queue was full.
    EventsDropped(u64),
    /// Something of ours that no run needs any more was removed.
    Swept(String),
    /// What is held is handed over: the process was asked to end.
    Leaving,
    /// This node has a session, until when it is not told.
    SessionOpened(SessionId),
    /// It has none any more, or another: everything that hung on it is fenced.
    SessionEnded {
        /// The session.
        session: SessionId,
        /// It was given back, and not lost.
        released: bool,
    },
    /// Addresses of a node that fell silent are answered here.
    TookOver {
        /// Since its session was seen to live last.
        after: Duration,
    },
    /// This node has the Lease of the control plane.
    ControlPlaneTaken(SessionId),
    /// It has it no more: the VIPs of the API server are fenced.
    ControlPlaneEnded {
        /// Under which session it had it.
        session: SessionId,
        /// It was given back, and not lost.
        released: bool,
    },
    /// Whether this node's API server passes `/readyz`, which makes it a candidate.
    ApiServerReady(bool),
}

/// How much a fact matters.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// A step on the way.
    Debug,
    /// As it should be.
    Info,
    /// An operator should look.
    Warning,
    /// Something does not work.
    Error,
}

impl Fact {
    /// A fact about a VIP.
    pub fn vip(vip: IpAddr, interface: impl Into<String>, what: VipFact) -> Self {
        Self::Vip {
            vip,
            interface: interface.into(),
            what,
        }
    }

    /// A fact about an interface.
    pub fn interface(interface: impl Into<String>, what: InterfaceFact) -> Self {
        Self::Interface {
            interface: interface.into(),
            what,
        }
    }

    /// The reason in the form of Kubernetes Events: one word in CamelCase.
    pub fn reason(&self) -> &'static str {
        self.class().0
    }

    /// How much it matters.
    pub fn severity(&self) -> Severity {
        self.class().1
    }

    fn class(&self) -> (&'static str, Severity) {
        use Severity::{Debug, Error, Info, Warning};
        match self {
            Self::Vip { what, .. } => match what {
                VipFact::Bound(_) => ("Bound", Info),
                VipFact::Adopted => ("Adopted", Info),
                VipFact::Unbound => ("Unbound", Info),
                VipFact::BindFailed(_) => ("BindFailed", Error),
                VipFact::Programmed => ("Programmed", Debug),
                VipFact::Live { .. } => ("Live", Info),
                VipFact::Withdrawn(_) => ("Withdrawn", Info),
                VipFact::Announcing => ("Announcing", Debug),
                VipFact::Conflict { .. } => ("Conflict", Warning),
                VipFact::Yielded { .. } => ("Yielded", Warning),
                VipFact::Unanswered => ("Unanswered", Warning),
                VipFact::AnsweredTwice { .. } => ("AnsweredTwice", Warning),
                VipFact::Restored => ("AddressRestored", Warning),
                VipFact::FlapLimited => ("FlapLimited", Error),
            },
            Self::Interface { what, .. } => match what {
                InterfaceFact::Attached { .. } => ("Attached", Info),
                InterfaceFact::Continued { .. } => ("Continued", Info),
                InterfaceFact::AttachFailed(_) => ("AttachFailed", Error),
                InterfaceFact::Detached => ("Detached", Info),
                InterfaceFact::PositionLost => ("PositionLost", Error),
                InterfaceFact::PositionRestored => ("PositionRestored", Warning),
                InterfaceFact::CheckPassed => ("CheckPassed", Debug),
                InterfaceFact::CheckFailed(_) => ("CheckFailed", Error),
                InterfaceFact::Up => ("LinkUp", Info),
                InterfaceFact::Down => ("LinkDown", Warning),
                InterfaceFact::Bounced => ("LinkBounced", Warning),
                InterfaceFact::MacChanged(_) => ("MacChanged", Warning),
                InterfaceFact::Deaf => ("Deaf", Error),
                InterfaceFact::Hears => ("Hears", Info),
            },
            Self::Node(what) => match what {
                NodeFact::Reloaded => ("Reloaded", Info),
                NodeFact::ReloadRefused(_) => ("ReloadRefused", Error),
                NodeFact::ReconcileFailed { .. } => ("ReconcileFailed", Error),
                NodeFact::NetlinkOverrun => ("NetlinkOverrun", Warning),
                NodeFact::EventsDropped(_) => ("EventsDropped", Warning),
                NodeFact::Swept(_) => ("Swept", Info),
                NodeFact::Leaving => ("Leaving", Info),
                NodeFact::SessionOpened(_) => ("SessionOpened", Info),
                NodeFact::SessionEnded { released: true, .. } => ("SessionReleased", Info),
                NodeFact::SessionEnded { .. } => ("SessionLost", Error),
                NodeFact::TookOver { .. } => ("TookOver", Info),
                NodeFact::ControlPlaneTaken(_) => ("ControlPlaneTaken", Info),
                NodeFact::ControlPlaneEnded { released: true, .. } => {
                    ("ControlPlaneReleased", Info)
                }
                NodeFact::ControlPlaneEnded { .. } => ("ControlPlaneLost", Error),
                NodeFact::ApiServerReady(true) => ("ApiServerReady", Info),
                NodeFact::ApiServerReady(false) => ("ApiServerFails", Warning),
            },
        }
    }

    /// The VIP that it is about.
    pub fn about_vip(&self) -> Option<IpAddr> {
        match self {
            Self::Vip { vip, .. } => Some(*vip),
            Self::Interface { .. } | Self::Node(_) => None,
        }
    }

    /// The interface that it is about.
    pub fn about_interface(&self) -> Option<&str> {
        match self {
            Self::Vip { interface, .. } | Self::Interface { interface, .. } => Some(interface),
            Self::Node(_) => None,
        }
    }

    /// Writes one log line, with the fields `vip`, `interface` and `reason` where they apply.
    pub fn log(&self) {
        let interface = self.about_interface();
        let vip = self.about_vip().map(tracing::field::display);
        let (reason, severity) = self.class();
        match severity {
            Severity::Debug => debug!(vip, interface, reason, "{self}"),
            Severity::Info => info!(vip, interface, reason, "{self}"),
            Severity::Warning => warn!(vip, interface, reason, "{self}"),
            Severity::Error => error!(vip, interface, reason, "{self}"),
        }
    }
}

/// The message, without VIP and interface, which stand in fields.
impl fmt::Display for Fact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Vip { what, .. } => what.fmt(f),
            Self::Interface { what, .. } => what.fmt(f),
            Self::Node(what) => what.fmt(f),
        }
    }
}

impl fmt::Display for VipFact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bound(net) => write!(f, "bound as {net}"),
            Self::Adopted => f.write_str("the address was bound before, and is taken over"),
            Self::Unbound => f.write_str("the address is no longer bound"),
            Self::BindFailed(error) => write!(f, "cannot bind the address: {error}"),
            Self::Programmed => f.write_str("programmed, and not live yet"),
            Self::Live { epoch } => write!(f, "the kernel answers, epoch {epoch}"),
            Self::Withdrawn(why) => write!(f, "the kernel no longer answers: {why}"),
            Self::Announcing => f.write_str("announcing begins"),
            Self::Conflict {
                rival,
                defended: true,
            } => write!(f, "{rival} claims the VIP too: defended"),
            Self::Conflict {
                rival,
                defended: false,
            } => write!(f, "{rival} claims the VIP too: counted"),
            Self::Yielded { rival } => {
                write!(f, "yielded to {rival}: ownership was not confirmed")
            }
            Self::Unanswered => f.write_str("asked for as clients do: nobody answers"),
            Self::AnsweredTwice { by, and } => {
                write!(f, "asked for as clients do: {by} and {and} answer")
            }
            Self::Restored => f.write_str("somebody removed the address: bound again"),
            Self::FlapLimited => {
                f.write_str("the address is removed again and again: the next repair waits")
            }
        }
    }
}

impl fmt::Display for InterfaceFact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Attached { mode } => write!(f, "programs attached, mode {mode}"),
            Self::Continued { mode } => {
                write!(f, "programs of an earlier run taken over, mode {mode}")
            }
            Self::AttachFailed(error) => write!(f, "cannot attach programs: {error}"),
            Self::Detached => f.write_str("programs detached"),
            Self::PositionLost => f.write_str("another program stands before ours"),
            Self::PositionRestored => f.write_str("our program is the first again"),
            Self::CheckPassed => f.write_str("the check after attach passed"),
            Self::CheckFailed(error) => write!(f, "the check after attach failed: {error}"),
            Self::Up => f.write_str("link up"),
            Self::Down => f.write_str("link down"),
            Self::Bounced => f.write_str("link down and up again: announcing anew"),
            Self::MacChanged(mac) => write!(f, "the MAC address is now {mac}"),
            Self::Deaf => f.write_str("deaf: neither gateway nor peers nor neighbours reply"),
            Self::Hears => f.write_str("the LAN replies again"),
        }
    }
}

impl fmt::Display for NodeFact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Reloaded => f.write_str("configuration reloaded"),
            Self::ReloadRefused(error) => {
                write!(f, "the configuration has errors, nothing changed: {error}")
            }
            Self::ReconcileFailed { part, error } => write!(f, "{part}: {error}"),
            Self::NetlinkOverrun => f.write_str("netlink messages were lost, reading all again"),
            Self::EventsDropped(count) => write!(f, "{count} events were lost"),
            Self::SessionOpened(session) => write!(f, "session {session} opened"),
            Self::SessionEnded {
                session,
                released: true,
            } => write!(f, "session {session} given back"),
            Self::SessionEnded { session, .. } => {
                write!(f, "session {session} lost: everything is fenced")
            }
            Self::TookOver { after } => write!(
                f,
                "addresses of a silent node are answered here, {} ms after its last sign of life",
                after.as_millis()
            ),
            Self::ControlPlaneTaken(session) => {
                write!(f, "the control plane's Lease is held by session {session}")
            }
            Self::ControlPlaneEnded {
                session,
                released: true,
            } => write!(
                f,
                "the control plane's Lease is given back by session {session}"
            ),
            Self::ControlPlaneEnded { session, .. } => {
                write!(
                    f,
                    "the control plane's Lease is lost by session {session}: fenced"
                )
            }
            Self::ApiServerReady(true) => f.write_str("this node's API server is ready"),
            Self::ApiServerReady(false) => {
                f.write_str("this node's API server is not ready: another node has to answer")
            }
            Self::Leaving => f.write_str("asked to end: handing over what is held"),
            Self::Swept(what) => write!(f, "removed {what}, a leftover of an earlier run"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io,
        sync::{Arc, Mutex},
    };

    use super::*;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn logged(fact: &Fact) -> serde_json::Value {
        let lines = Lines::default();
        let writer = lines.clone();
        let subscriber = tracing_subscriber::fmt()
            .json()
            .with_max_level(tracing::Level::TRACE)
            .with_writer(move || writer.clone())
            .finish();
        tracing::subscriber::with_default(subscriber, || fact.log());
        let bytes = lines.0.lock().unwrap().clone();
        serde_json::from_slice(&bytes).unwrap()
    }

    #[test]
    fn a_conflict_is_logged_with_vip_interface_and_reason() {
        let what = VipFact::Conflict {
            rival: Mac([2, 0, 0, 0, 0, 9]),
            defended: true,
        };
        let line = logged(&Fact::vip("192.0.2.1".parse().unwrap(), "eth0", what));
        assert_eq!(line["level"], "WARN");
        assert_eq!(line["fields"]["vip"], "192.0.2.1");
        assert_eq!(line["fields"]["interface"], "eth0");
        assert_eq!(line["fields"]["reason"], "Conflict");
        assert_eq!(
            line["fields"]["message"],
            "02:00:00:00:00:09 claims the VIP too: defended"
        );
    }

    #[test]
    fn a_fact_about_the_node_has_no_field_for_vip_and_interface() {
        let line = logged(&Fact::Node(NodeFact::NetlinkOverrun));
        assert_eq!(line["fields"]["reason"], "NetlinkOverrun");
        assert!(line["fields"].get("vip").is_none());
        assert!(line["fields"].get("interface").is_none());
    }
}
