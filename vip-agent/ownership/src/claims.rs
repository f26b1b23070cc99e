//! `VipClaims`: which session answers for which addresses.

use std::{collections::BTreeMap, net::IpAddr};

use jiff::Timestamp;
use serde_json::{Map, Value};
use vip_common::abi::mapped;

use super::lease::{ResourceVersion, SessionId, Uid};

/// Name of the hash in a claims object.
pub const HASH: &str = "fnv1a-64";

/// How addresses are spread over buckets, and buckets over objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// Number of claims objects.
    pub objects: u32,
    /// Number of buckets in each.
    pub buckets_each: u32,
}

impl Default for Layout {
    fn default() -> Self {
        Self {
            objects: 4,
            buckets_each: 16,
        }
    }
}

impl Layout {
    /// Number of buckets.
    pub fn buckets(self) -> u32 {
        self.objects * self.buckets_each
    }

    /// The bucket of an address: FNV-1a, 64 bit (draft-eastlake-fnv, 2), over its 16 bytes.
    pub fn bucket(self, address: IpAddr) -> u32 {
        let hash = mapped(address)
            .iter()
            .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
                (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
            });
        // Below the number of buckets, which is a u32.
        (hash % u64::from(self.buckets())) as u32
    }

    /// The object that holds a bucket.
    pub fn object(self, bucket: u32) -> u32 {
        bucket / self.buckets_each
    }

    /// The buckets that an object holds.
    pub fn buckets_of(self, object: u32) -> std::ops::Range<u32> {
        object * self.buckets_each..(object + 1) * self.buckets_each
    }
}

/// What a row is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RowKey {
    /// Every address of a bucket that has no row of its own.
    Bucket(u32),
    /// One address.
    Address(IpAddr),
}

/// Who answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// The session; the row's `node` is the session's.
    pub session: SessionId,
    /// Since when, for people to read. None in a row that is being gained: who writes dates it.
    pub since: Option<Timestamp>,
    /// Fields of another version.
    pub unknown: Map<String, Value>,
}

impl Row {
    /// A row that a session gains.
    pub fn of(session: SessionId) -> Self {
        Self {
            session,
            since: None,
            unknown: Map::new(),
        }
    }
}

/// One claims object, as read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claims {
    /// Which of them it is.
    pub index: u32,
    /// Its life; empty in an object to be created.
    pub uid: Uid,
    /// Its state when it was read.
    pub resource_version: ResourceVersion,
    /// Raised by every write, so that each is a change and a late one cannot land.
    pub version: u64,
    /// The hash that it names.
    pub hash: String,
    /// The number of buckets, of all objects, that it names.
    pub buckets: u32,
    /// Its bucket and address rows.
    pub rows: BTreeMap<RowKey, Row>,
    /// Fields of another version.
    pub unknown: Map<String, Value>,
}

impl Claims {
    /// An object to be created, with all its rows free.
    pub fn empty(index: u32, layout: Layout) -> Self {
        Self {
            index,
            uid: "".into(),
            resource_version: "".into(),
            version: 1,
            hash: HASH.to_owned(),
            buckets: layout.buckets(),
            rows: BTreeMap::new(),
            unknown: Map::new(),
        }
    }

    /// Its rows mean what this agent takes them for.
    pub fn is_understood(&self, layout: Layout) -> bool {
        self.hash == HASH && self.buckets == layout.buckets()
    }

    /// The row that decides for an address whose bucket is `bucket` (rule 1).
    pub fn deciding(&self, address: IpAddr, bucket: u32) -> Option<(RowKey, &Row)> {
        [RowKey::Address(address), RowKey::Bucket(bucket)]
            .into_iter()
            .find_map(|key| Some((key, self.rows.get(&key)?)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_fnv1a_over_the_mapped_form() {
        // 64-bit FNV-1a of the sixteen bytes, computed with another implementation.
        let one = Layout {
            objects: 1,
            buckets_each: u32::MAX,
        };
        let expected = |bytes: [u8; 16]| {
            let mut hash: u128 = 0xcbf29ce484222325;
            for byte in bytes {
                hash ^= u128::from(byte);
                hash = hash * 0x100000001b3 % (1 << 64);
            }
            (hash % u128::from(u32::MAX)) as u32
        };
        let mut v4 = [0; 16];
        v4[10..].copy_from_slice(&[255, 255, 192, 0, 2, 100]);
        assert_eq!(one.bucket("192.0.2.100".parse().unwrap()), expected(v4));
        let v6: std::net::Ipv6Addr = "2001:db8::100".parse().unwrap();
        assert_eq!(one.bucket(v6.into()), expected(v6.octets()));
    }

    #[test]
    fn buckets_and_objects_are_pinned_for_all_versions() {
        let layout = Layout::default();
        let bucket = |address: &str| layout.bucket(address.parse().unwrap());
        assert_eq!(
            [
                bucket("192.0.2.100"),
                bucket("192.0.2.101"),
                bucket("2001:db8::100")
            ],
            [21, 34, 30]
        );
        assert_eq!(layout.object(0), 0);
        assert_eq!(layout.object(63), 3);
        assert_eq!(layout.buckets_of(3), 48..64);
    }
}
