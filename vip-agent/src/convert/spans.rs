//! Addresses in the form of a `VipPool`: CIDRs without bits behind their prefix, and ranges.

use std::net::IpAddr;

use ipnet::IpNet;

use crate::config::address;

/// The most entries that a `VipPool` takes.
pub(super) const ENTRIES: usize = 64;

/// A CIDR or a range, read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Span {
    Net(IpNet),
    Range(IpAddr, IpAddr),
}

impl Span {
    /// Reads `192.0.2.0/28`, `192.0.2.1-192.0.2.9` or one address; the error is why not.
    pub(super) fn parse(text: &str) -> Result<Self, &'static str> {
        let text = text.trim();
        let span = if let Some((first, last)) = text.split_once('-') {
            let parsed = (first.trim().parse(), last.trim().parse());
            let (Ok(first), Ok(last)) = parsed else {
                return Err("neither a CIDR nor a range of addresses");
            };
            Self::Range(first, last)
        } else if let Ok(net) = text.parse::<IpNet>() {
            Self::Net(net)
        } else {
            let one: IpAddr = text
                .parse()
                .map_err(|_| "neither a CIDR nor a range of addresses")?;
            Self::Net(one.into())
        };
        span.judge().map(|()| span)
    }

    fn judge(self) -> Result<(), &'static str> {
        let (first, last) = self.ends();
        if first.is_ipv4() != last.is_ipv4() {
            return Err("its ends are of two families");
        }
        if last < first {
            return Err("it goes from its higher to its lower address");
        }
        if first.is_unspecified() {
            return Err("it asks for DHCP, which xvip does not do");
        }
        address::reason(first)
            .or(address::reason(last))
            .map_or(Ok(()), Err)
    }

    /// Its first and its last address.
    pub(super) fn ends(self) -> (IpAddr, IpAddr) {
        match self {
            Self::Net(net) => (net.network(), net.broadcast()),
            Self::Range(first, last) => (first, last),
        }
    }

    /// Without the first and the last address of an IPv4 CIDR, where it has more than two.
    pub(super) fn without_ends(self) -> Self {
        match self {
            Self::Net(IpNet::V4(net)) if net.prefix_len() < 31 => {
                let (first, last) = (u32::from(net.network()) + 1, u32::from(net.broadcast()) - 1);
                Self::Range(IpAddr::V4(first.into()), IpAddr::V4(last.into()))
            }
            other => other,
        }
    }

    /// Without IPv4 addresses that end in 0 or 255.
    pub(super) fn without_buggy(self) -> Vec<Self> {
        let (IpAddr::V4(first), IpAddr::V4(last)) = self.ends() else {
            return vec![self];
        };
        let (first, last) = (u32::from(first), u32::from(last));
        let mut spans = Vec::new();
        // One more than a pool takes says that it is too many.
        for third in (first >> 8..=last >> 8).take(ENTRIES + 1) {
            let low = first.max(third << 8 | 1);
            let high = last.min(third << 8 | 254);
            if low <= high {
                spans.push(Self::Range(IpAddr::V4(low.into()), IpAddr::V4(high.into())));
            }
        }
        spans
    }

    /// As a pool takes it.
    pub(super) fn written(self) -> String {
        match self {
            Self::Net(net) => net.trunc().to_string(),
            Self::Range(first, last) if first == last => IpNet::from(first).to_string(),
            Self::Range(first, last) => format!("{first}-{last}"),
        }
    }
}
