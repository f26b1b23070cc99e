//! Prefix lengths of VIPs: what may be written, and what a VIP gets.
//!
//! A length lives in [`Bits`], which cannot hold more than its family has, so that no policy,
//! however incomplete, hands IPv4 a 128.

use std::{
    fmt,
    net::IpAddr,
    num::{NonZeroU8, ParseIntError},
};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use crate::vip::{BoundVip, host_prefix};

const IPV4: u8 = 32;
const IPV6: u8 = 128;

/// A prefix length from 1 to `MAX`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bits<const MAX: u8>(NonZeroU8);

impl<const MAX: u8> Bits<MAX> {
    /// None for 0 and for more than `MAX`.
    pub fn new(length: u8) -> Option<Self> {
        (length <= MAX)
            .then(|| NonZeroU8::new(length))
            .flatten()
            .map(Self)
    }

    /// The length, 1 to `MAX`.
    pub fn get(self) -> u8 {
        self.0.get()
    }
}

/// What the VIPs of one family get.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Wanted<const MAX: u8> {
    /// Nothing was said: the host prefix.
    #[default]
    Host,
    /// One number was given for both families and is the other one's: the host prefix.
    HostInstead(u8),
    /// This length.
    Given(Bits<MAX>),
    /// That of the interface's subnet.
    Auto,
}

/// The prefix lengths of VIPs, per family.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PrefixPolicy {
    /// Of IPv4 VIPs.
    pub ipv4: Wanted<IPV4>,
    /// Of IPv6 VIPs.
    pub ipv6: Wanted<IPV6>,
}

/// What [`PrefixPolicy::resolve`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resolved {
    /// The VIP as it is to be bound; none while only the missing interface could tell.
    pub net: Option<BoundVip>,
    /// What the user should know about it.
    pub note: Option<Note>,
}

/// Why a VIP got a prefix that its configuration does not show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Note {
    /// One number for both families was the other family's.
    OtherFamily { given: u8, used: BoundVip },
    /// `auto`, and no subnet of the interface holds the VIP.
    NoSubnet { used: BoundVip },
    /// `auto`, and the interface is not there.
    NoInterface { address: IpAddr },
}

/// A prefix that cannot be meant.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PrefixError {
    #[error("an empty part")]
    Empty,
    #[error("`{0}` is no prefix length")]
    NotALength(String),
    #[error("`{0}` would make every address of the family a neighbour")]
    Zero(String),
    #[error("`{part}` is longer than an IPv{version} address, which has {max} bits")]
    TooLong { part: String, version: u8, max: u8 },
    #[error("`{ipv6},{ipv4}` is in the wrong order: IPv4 comes first, IPv6 second")]
    WrongOrder { ipv4: u8, ipv6: u8 },
    #[error("`{0}` is one part too many: IPv4 comes first, IPv6 second, and that is all")]
    TooManyParts(String),
}

impl PrefixError {
    /// What to write instead.
    pub fn fix(&self) -> String {
        match self {
            Self::WrongOrder { ipv4, ipv6 } => format!("write `{ipv4},{ipv6}`"),
            Self::TooLong { version: 4, .. } => {
                "write 1 to 32 for IPv4, as in `32` or `32,128`".into()
            }
            _ => "write 1 to 32 for IPv4, 1 to 128 for IPv6, or `auto`, as in `32,128`".into(),
        }
    }
}

/// One part of a policy, before its family is known.
#[derive(Clone, Copy)]
enum Part {
    Auto,
    Number(u8),
}

impl PrefixPolicy {
    /// Reads `32`, `128`, `32,128`, `auto`, `24,auto`; leading slashes and spaces are accepted.
    pub fn parse(text: &str) -> Result<Self, Vec<PrefixError>> {
        let parts: Vec<&str> = text.split(',').map(str::trim).collect();
        match parts[..] {
            [one] => Self::for_both(one).map_err(|error| vec![error]),
            [first, second] => Self::pair(first, second),
            [_, _, third, ..] => Err(vec![PrefixError::TooManyParts(third.to_owned())]),
            // `split` yields at least one part.
            [] => Err(vec![PrefixError::Empty]),
        }
    }

    fn for_both(text: &str) -> Result<Self, PrefixError> {
        Ok(match Part::parse(text)? {
            Part::Auto => Self {
                ipv4: Wanted::Auto,
                ipv6: Wanted::Auto,
            },
            part @ Part::Number(length) if length <= IPV4 => Self {
                ipv4: part.wanted(text, 4)?,
                ipv6: Wanted::HostInstead(length),
            },
            part @ Part::Number(length) => Self {
                ipv4: Wanted::HostInstead(length),
                ipv6: part.wanted(text, 6)?,
            },
        })
    }

    fn pair(first: &str, second: &str) -> Result<Self, Vec<PrefixError>> {
        if let (Ok(Part::Number(ipv6)), Ok(Part::Number(ipv4))) =
            (Part::parse(first), Part::parse(second))
            && ipv6 > IPV4
            && ipv6 <= IPV6
            && ipv4 <= IPV4
        {
            return Err(vec![PrefixError::WrongOrder { ipv4, ipv6 }]);
        }
        match (Self::ipv4(first), Self::ipv6(second)) {
            (Ok(ipv4), Ok(ipv6)) => Ok(Self { ipv4, ipv6 }),
            (first, second) => Err(first.err().into_iter().chain(second.err()).collect()),
        }
    }

    /// Reads the part of IPv4 alone.
    pub fn ipv4(text: &str) -> Result<Wanted<IPV4>, PrefixError> {
        Part::parse(text)?.wanted(text, 4)
    }

    /// Reads the part of IPv6 alone.
    pub fn ipv6(text: &str) -> Result<Wanted<IPV6>, PrefixError> {
        Part::parse(text)?.wanted(text, 6)
    }

    /// The VIP with its prefix. `connected`: addresses of the interface with their prefixes,
    /// without those that we bound ourselves; none where there is no such interface.
    pub fn resolve(&self, address: IpAddr, connected: Option<&[IpNet]>) -> Resolved {
        let host = host_prefix(address);
        let given = |net| Resolved {
            net: Some(net),
            note: None,
        };
        let noted = |net, note| Resolved {
            net,
            note: Some(note),
        };
        match (self.for_address(address), connected) {
            (Choice::Fixed(net), _) => given(net),
            (Choice::HostInstead(length), _) => noted(
                Some(host),
                Note::OtherFamily {
                    given: length,
                    used: host,
                },
            ),
            (Choice::Auto, None) => noted(None, Note::NoInterface { address }),
            (Choice::Auto, Some(nets)) => match subnet_of(address, nets) {
                Some(net) => given(net),
                None => noted(Some(host), Note::NoSubnet { used: host }),
            },
        }
    }

    /// The prefix that needs no host to be known: none for `auto`.
    pub(super) fn fixed(&self, address: IpAddr) -> Option<BoundVip> {
        match self.for_address(address) {
            Choice::Fixed(net) => Some(net),
            Choice::HostInstead(_) => Some(host_prefix(address)),
            Choice::Auto => None,
        }
    }

    fn for_address(&self, address: IpAddr) -> Choice {
        match address {
            // `Bits` fits its family, so that the host prefix of the error is never taken.
            IpAddr::V4(v4) => self.ipv4.choice(address, |bits| {
                Ipv4Net::new(v4, bits.get()).unwrap_or(v4.into()).into()
            }),
            IpAddr::V6(v6) => self.ipv6.choice(address, |bits| {
                Ipv6Net::new(v6, bits.get()).unwrap_or(v6.into()).into()
            }),
        }
    }
}

enum Choice {
    Fixed(BoundVip),
    HostInstead(u8),
    Auto,
}

impl<const MAX: u8> Wanted<MAX> {
    fn choice(self, address: IpAddr, net: impl Fn(Bits<MAX>) -> BoundVip) -> Choice {
        match self {
            Self::Host => Choice::Fixed(host_prefix(address)),
            Self::HostInstead(length) => Choice::HostInstead(length),
            Self::Given(bits) => Choice::Fixed(net(bits)),
            Self::Auto => Choice::Auto,
        }
    }
}

impl Part {
    fn parse(text: &str) -> Result<Self, PrefixError> {
        let text = text.trim();
        let digits = text.strip_prefix('/').unwrap_or(text);
        if text.is_empty() {
            return Err(PrefixError::Empty);
        }
        if text == "auto" {
            return Ok(Self::Auto);
        }
        // `u8::from_str` takes a plus sign.
        if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(PrefixError::NotALength(text.to_owned()));
        }
        match digits.parse::<u8>() {
            Ok(0) => Err(PrefixError::Zero(text.to_owned())),
            Ok(length) if length <= IPV6 => Ok(Self::Number(length)),
            Ok(_) | Err(ParseIntError { .. }) => Err(PrefixError::TooLong {
                part: text.to_owned(),
                version: 6,
                max: IPV6,
            }),
        }
    }

    fn wanted<const MAX: u8>(self, text: &str, version: u8) -> Result<Wanted<MAX>, PrefixError> {
        match self {
            Self::Auto => Ok(Wanted::Auto),
            Self::Number(length) => {
                Bits::new(length)
                    .map(Wanted::Given)
                    .ok_or_else(|| PrefixError::TooLong {
                        part: text.trim().to_owned(),
                        version,
                        max: MAX,
                    })
            }
        }
    }
}

/// The VIP with the prefix of the longest subnet that holds it. A host prefix is no subnet.
fn subnet_of(address: IpAddr, nets: &[IpNet]) -> Option<BoundVip> {
    nets.iter()
        .filter(|net| net.contains(&address))
        .map(IpNet::prefix_len)
        .filter(|length| *length > 0 && *length < host_prefix(address).prefix_len())
        .max()
        .and_then(|length| IpNet::new(address, length).ok())
}

impl Note {
    /// What stands in the configuration.
    pub fn value(&self) -> String {
        match self {
            Self::OtherFamily { given, .. } => given.to_string(),
            Self::NoSubnet { .. } | Self::NoInterface { .. } => "auto".into(),
        }
    }
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OtherFamily { given, used } => {
                let (version, other) = match used {
                    IpNet::V4(_) => (4, 6),
                    IpNet::V6(_) => (6, 4),
                };
                let length = used.prefix_len();
                write!(
                    f,
                    "{given} is a prefix length of IPv{other}: IPv{version} VIPs get /{length}; \
                     write both as `IPv4,IPv6` to choose another"
                )
            }
            Self::NoSubnet { used } => write!(
                f,
                "no subnet of the interface holds {}: it gets /{}",
                used.addr(),
                used.prefix_len()
            ),
            Self::NoInterface { address } => write!(
                f,
                "the prefix of {address} depends on an interface that is not there"
            ),
        }
    }
}

#[cfg(test)]
#[path = "prefix_tests.rs"]
mod tests;
