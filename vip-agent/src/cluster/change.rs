//! What a watch says, and whose business it is.

use std::collections::BTreeMap;

/// What a watch says of one kind.
#[derive(Clone, Debug)]
pub enum Change<T> {
    /// These are all that there are.
    Listed(Vec<T>),
    /// One is new, or another than before.
    Applied(T),
    /// One is gone.
    Deleted(T),
}

/// Whose business a change is: most writes to Nodes and Vips, heartbeats and states, are nobody's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Concern {
    /// Nothing follows from it.
    Nobody,
    /// It matters to who gives addresses, at most.
    Allocator,
    /// What is served may be another.
    Everybody,
}

impl Concern {
    /// Any difference is one for `whom`.
    pub(super) fn of<V: PartialEq>(whom: Self) -> impl Fn(Option<&V>, Option<&V>) -> Self {
        move |before, after| if before == after { Self::Nobody } else { whom }
    }
}

/// Takes a change of a map of domain objects; `concern` is asked about each that came, changed or
/// went.
pub(super) fn take<T, K: Ord, V>(
    map: &mut BTreeMap<K, V>,
    listed: &mut bool,
    change: Change<T>,
    read: impl Fn(&T) -> Option<(K, V)>,
    concern: impl Fn(Option<&V>, Option<&V>) -> Concern,
) -> Concern {
    match change {
        Change::Listed(all) => {
            let all: BTreeMap<K, V> = all.iter().filter_map(read).collect();
            if !std::mem::replace(listed, true) {
                *map = all;
                return Concern::Everybody;
            }
            let before = std::mem::replace(map, all);
            let gone = before.iter().filter(|(key, _)| !map.contains_key(key));
            let gone = gone.map(|(_, value)| concern(Some(value), None));
            let there = map
                .iter()
                .map(|(key, value)| concern(before.get(key), Some(value)));
            gone.chain(there).max().unwrap_or(Concern::Nobody)
        }
        Change::Applied(one) => read(&one).map_or(Concern::Nobody, |(key, value)| {
            let concern = concern(map.get(&key), Some(&value));
            map.insert(key, value);
            concern
        }),
        Change::Deleted(one) => read(&one).map_or(Concern::Nobody, |(key, _)| {
            let before = map.remove(&key);
            before.map_or(Concern::Nobody, |before| concern(Some(&before), None))
        }),
    }
}
