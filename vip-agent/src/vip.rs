//! Identities: addresses with a prefix of their own family, MAC addresses, interface indices.

use std::{fmt, net::IpAddr, str::FromStr};

use ipnet::IpNet;

/// A VIP as it is bound: an address and a prefix length that its family can hold.
///
/// [`IpNet`] refuses an IPv4 prefix above 32 and an IPv6 prefix above 128 when it is made, so
/// that no code path can hand netlink a mask of the other family.
pub type BoundVip = IpNet;

/// The host prefix of the family of `address`: /32 or /128.
pub fn host_prefix(address: IpAddr) -> BoundVip {
    IpNet::from(address)
}

/// Index of a network interface, never zero.
pub type IfIndex = u32;

/// A MAC address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Mac(pub [u8; 6]);

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

/// The text is not a MAC address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a MAC address: write six pairs of hexadecimal digits, 02:00:00:00:00:01")]
pub struct NotAMac(pub String);

impl FromStr for Mac {
    type Err = NotAMac;

    fn from_str(text: &str) -> Result<Self, NotAMac> {
        let wrong = || NotAMac(text.to_owned());
        let mut bytes = [0; 6];
        let mut parts = text.split(':');
        for byte in &mut bytes {
            let part = parts
                .next()
                .filter(|part| part.len() == 2)
                .ok_or_else(wrong)?;
            *byte = u8::from_str_radix(part, 16).map_err(|_| wrong())?;
        }
        if parts.next().is_some() {
            return Err(wrong());
        }
        Ok(Self(bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_prefix_exceeds_its_family() {
        let v4: IpAddr = "192.0.2.100".parse().unwrap();
        assert!(IpNet::new(v4, 128).is_err());
        assert!(IpNet::new(v4, 33).is_err());
        assert_eq!(host_prefix(v4).prefix_len(), 32);
        assert_eq!(
            host_prefix("2001:db8::1".parse().unwrap()).prefix_len(),
            128
        );
    }

    #[test]
    fn mac_addresses_round_trip() {
        let mac: Mac = "02:00:5e:00:53:ff".parse().unwrap();
        assert_eq!(mac.to_string(), "02:00:5e:00:53:ff");
        for wrong in [
            "",
            "02:00:5e:00:53",
            "02:00:5e:00:53:ff:00",
            "2:0:5e:0:53:ff",
            "zz:00:5e:00:53:ff",
        ] {
            assert!(wrong.parse::<Mac>().is_err(), "{wrong}");
        }
    }
}
