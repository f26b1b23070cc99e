//! Why a Service does not get what it asks for.

use std::{fmt, net::IpAddr};

use super::{
    family::Family,
    service::{Port, ServiceKey},
};
use crate::{config::GlobError, ownership::NodeName, vip::Mac};

/// A value of an annotation or a field that cannot be meant.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ValueError {
    #[error("not an IP address; names are not looked up")]
    NotAnAddress,
    #[error("an address with a prefix length")]
    WithPrefix,
    #[error("0.0.0.0 asks for DHCP, which xvip does not do")]
    Dhcp,
    #[error("no address for a VIP: {0}")]
    Unusable(&'static str),
    #[error("neither true nor false")]
    NotABool,
    #[error("{0}")]
    Interface(GlobError),
}

impl ValueError {
    fn fix(&self) -> &'static str {
        match self {
            Self::NotAnAddress => "write an IPv4 or IPv6 address, or one of each with a comma",
            Self::WithPrefix => "write the address alone; prefixes belong to pools",
            Self::Dhcp => "remove it to get an address of a pool",
            Self::Unusable(_) => "choose a unicast address of the nodes' subnet that nobody uses",
            Self::NotABool => "write \"true\" or \"false\"",
            Self::Interface(_) => "write names or globs of interfaces, with commas: eth0,bond*",
        }
    }
}

/// Why two Services cannot have one address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Clash {
    #[error("both need the same `xvip.io/share-key` to share it")]
    Keys,
    #[error("both have port {0}")]
    Port(Port),
    #[error("with externalTrafficPolicy: Local both need the same selector and namespace")]
    Selectors,
    #[error("they name different interfaces")]
    Interfaces,
    #[error("256 Services share it, and that is the most")]
    Full,
}

/// Why a Service does not get an address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// An annotation or a field that says nothing.
    #[error("{field}: {value:?}: {error}")]
    Invalid {
        field: &'static str,
        value: String,
        error: ValueError,
    },
    /// Two annotations or fields that say different things.
    #[error("{field} says {value:?}, {other} says {other_value:?}")]
    Contradiction {
        field: &'static str,
        value: String,
        other: &'static str,
        other_value: String,
    },
    #[error("{field}: {value:?} has more than one {family} address")]
    TwoOfOneFamily {
        field: &'static str,
        value: String,
        family: Family,
    },
    #[error("{address}: the Service has no {} in its ipFamilies", Family::of(*address))]
    OtherFamily { address: IpAddr },
    #[error("there is no pool {pool}")]
    NoSuchPool { pool: String },
    #[error("pool {pool} is not for this Service: {}", if *namespace { "its namespace is not selected" } else { "its labels are not selected" })]
    NotAdmitted {
        pool: String,
        /// By its namespace, else by its labels.
        namespace: bool,
    },
    #[error("{address} is in no pool")]
    OutsidePools { address: IpAddr },
    #[error("{address} is not in pool {pool}")]
    OutsidePool { address: IpAddr, pool: String },
    #[error("no pool gives {family} addresses to this Service")]
    NoPool { family: Family },
    #[error("no free {family} address in {}", pools.join(", "))]
    Exhausted { family: Family, pools: Vec<String> },
    #[error("ipFamilyPolicy is RequireDualStack: without {missing} none is given")]
    BothOrNone { missing: Family },
    #[error("{address} is an address of Node {node}")]
    NodeAddress { address: IpAddr, node: NodeName },
    #[error("{address} is an address of the API server")]
    ApiServer { address: IpAddr },
    #[error("{address} is {why}")]
    Reserved { address: IpAddr, why: String },
    #[error("{address} belongs to Service {holder}: {clash}")]
    Taken {
        address: IpAddr,
        holder: ServiceKey,
        clash: Clash,
    },
    #[error("{address} is in use: {mac} answers for it")]
    Answered { address: IpAddr, mac: Mac },
}

impl Refusal {
    /// One word for conditions and Events.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Invalid { .. } | Self::TwoOfOneFamily { .. } => "InvalidValue",
            Self::Contradiction { .. } => "Contradiction",
            Self::OtherFamily { .. } => "FamilyMismatch",
            Self::NoSuchPool { .. } => "NoSuchPool",
            Self::NotAdmitted { .. } => "PoolNotAllowed",
            Self::OutsidePools { .. } | Self::OutsidePool { .. } => "OutsidePool",
            Self::NoPool { .. } => "NoPool",
            Self::Exhausted { .. } => "PoolExhausted",
            Self::BothOrNone { .. } => "BothFamiliesRequired",
            Self::NodeAddress { .. } | Self::ApiServer { .. } | Self::Reserved { .. } => {
                "AddressReserved"
            }
            Self::Taken { .. } => "AddressTaken",
            Self::Answered { .. } => "AddressInUse",
        }
    }

    /// What the user can do.
    pub fn fix(&self) -> String {
        match self {
            Self::Invalid { error, .. } => error.fix().into(),
            Self::Contradiction { field, other, .. } => {
                format!("remove {other}, or make it agree with {field}")
            }
            Self::TwoOfOneFamily { .. } => {
                "a Service has one address of each family: name one, or make a second Service"
                    .into()
            }
            Self::OtherFamily { address } => format!(
                "add {} to the Service's ipFamilies (ipFamilyPolicy: PreferDualStack), or ask for \
                 another address",
                Family::of(*address)
            ),
            Self::NoSuchPool { .. } => "create it, or name another pool".into(),
            Self::NotAdmitted { pool, .. } => format!(
                "let VipPool {pool} select the Service's namespace and labels, or use another pool"
            ),
            Self::OutsidePools { address } => {
                format!("add {address} to a VipPool, or ask for an address of one")
            }
            Self::OutsidePool { address, pool } => {
                format!("add {address} to VipPool {pool}, or ask for an address of it")
            }
            Self::NoPool { family } => format!(
                "create a VipPool with {family} addresses for it, or name an address in \
                 xvip.io/addresses"
            ),
            Self::Exhausted { .. } => "add addresses to the pool, or delete Services".into(),
            Self::BothOrNone { .. } => {
                "give it addresses of both families, or write PreferDualStack".into()
            }
            Self::NodeAddress { .. } | Self::ApiServer { .. } | Self::Reserved { .. } => {
                "choose another address".into()
            }
            Self::Taken { .. } => "choose another address, or let both Services share it".into(),
            Self::Answered { .. } => {
                "choose another address, or switch the other host off; it is tried again".into()
            }
        }
    }
}

/// What a user should know about a Service that has its addresses, or gets them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Warning {
    /// It keeps an address that it would not get today.
    Kept { address: IpAddr, why: Refusal },
    /// It asked for an address that it cannot use, and gets another.
    Ignored { address: IpAddr },
    /// Its status has an address that is no VIP of it.
    NotAdopted { address: IpAddr, why: Refusal },
}

impl Warning {
    /// One word for conditions and Events.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Kept { .. } => "KeptAgainstRules",
            Self::Ignored { .. } => "AddressIgnored",
            Self::NotAdopted { .. } => "NotAdopted",
        }
    }
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kept { address, why } => write!(
                f,
                "{address} serves and is kept, but would be refused today: {why}; {}",
                why.fix()
            ),
            Self::Ignored { address } => {
                let why = Refusal::OtherFamily { address: *address };
                write!(f, "{why}; {}", why.fix())
            }
            Self::NotAdopted { address, why } => {
                write!(
                    f,
                    "{address} in the Service's status is not taken over: {why}"
                )
            }
        }
    }
}
