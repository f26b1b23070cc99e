//! What of a state makes it another: a digest of what its types show by `Debug`, in which names
//! that are compared only for being equal are numbered in the order in which they are met, and
//! times are counted from now. So a state that comes back later, under new sessions and versions,
//! is the same, and the state space closes.
//!
//! The production types need nothing for this. A type that hid a part of its state from `Debug`
//! would be judged by what it shows; [`vip_ownership::SessionId`] hides the boot, which
//! [`super::state::State`] adds.

use std::{
    collections::HashMap,
    fmt::{self, Debug, Write},
};

use vip_ownership::BootTime;

/// Past times are told apart up to this age: longer than any L here but that of a Lease that was
/// parked or never seen, and while somebody waits for those, the wait itself is counted.
const AGE: u64 = 6_000_000_000;
/// Versions of claims objects begin here, where no other number lies.
pub(super) const VERSIONS: u64 = 1 << 40;

/// What a name or number is, apart from its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Sort {
    Session,
    Revision,
    Request,
    Epoch,
    /// A time so long ago that only its being equal to another matters.
    Old,
}

/// Takes the text of `Debug`, piece by piece as the derived code writes it.
pub(super) struct Digest {
    hash: u64,
    at: u64,
    grid: u64,
    version: u64,
    /// Whose numbers of requests and epochs follow.
    scope: usize,
    names: HashMap<(Sort, usize, u128), u64>,
    last: Last,
    field: Field,
}

/// The piece before.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Last {
    Other,
    /// `BootTime`, and its bracket.
    Time,
    /// `RequestId`, and its bracket.
    Request,
    /// `#`: a session's id follows.
    Hash,
}

/// What the field is whose value follows.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Field {
    Other,
    /// A counter or dice: no part of the state.
    Skipped,
    Epoch,
    /// Nanoseconds of the boot clock, as the maps hold them.
    Nanoseconds,
}

impl Digest {
    /// Times are counted from `at` and rounded up to `grid`, versions from `version`.
    pub(super) fn new(at: u64, grid: u64, version: u64) -> Self {
        Self {
            hash: 0x243f_6a88_85a3_08d3,
            at,
            grid,
            version,
            scope: 0,
            names: HashMap::new(),
            last: Last::Other,
            field: Field::Other,
        }
    }

    pub(super) fn add(&mut self, part: &impl Debug) {
        self.field = Field::Other;
        // Writing to a digest does not fail.
        let _ = write!(self, "{part:?}");
        self.mix(0xff);
    }

    /// Something of one node.
    pub(super) fn add_of(&mut self, node: usize, part: &impl Debug) {
        self.scope = node + 1;
        self.add(part);
        self.scope = 0;
    }

    pub(super) fn finish(&self) -> u64 {
        self.hash
    }

    fn mix(&mut self, value: u64) {
        let wide = u128::from(self.hash ^ value) * 0x9e37_79b9_7f4a_7c15;
        self.hash = (wide as u64) ^ ((wide >> 64) as u64);
        self.hash = self
            .hash
            .rotate_left(23)
            .wrapping_add(0xa076_1d64_78bd_642f);
    }

    fn name(&mut self, sort: Sort, scope: usize, value: u128) {
        let next = self.names.len() as u64;
        let number = *self.names.entry((sort, scope, value)).or_insert(next);
        self.mix(((sort as u64) << 32) | number);
    }

    fn time(&mut self, time: u64) {
        if time == 0 || time == BootTime::NEVER.0 {
            return self.mix(time);
        }
        let ago = self.at.saturating_sub(time);
        if ago > AGE {
            return self.name(Sort::Old, 0, u128::from(time));
        }
        let ticks = |span: u64| span.div_ceil(self.grid);
        match time > self.at {
            true => self.mix((1 << 40) | ticks(time - self.at)),
            false => self.mix((2 << 40) | (ago / self.grid)),
        }
    }

    fn number(&mut self, value: u128) {
        match (self.last, self.field) {
            (Last::Time, _) => self.time(value as u64),
            (Last::Request, _) => self.name(Sort::Request, self.scope, value),
            (_, Field::Skipped) => {}
            (_, Field::Epoch) => self.name(Sort::Epoch, self.scope, value),
            (_, Field::Nanoseconds) => self.time(value as u64),
            _ if value >= u128::from(VERSIONS) => {
                let version = value as u64;
                self.mix(version.wrapping_sub(self.version) ^ (3 << 40));
            }
            _ => self.mix(value as u64),
        }
    }
}

impl Write for Digest {
    fn write_str(&mut self, piece: &str) -> fmt::Result {
        if self.last == Last::Hash {
            let id = u128::from_str_radix(piece, 16).map_err(|_| fmt::Error)?;
            self.name(Sort::Session, 0, id);
            self.last = Last::Other;
            return Ok(());
        }
        let bytes = piece.as_bytes();
        if bytes.first().is_some_and(u8::is_ascii_digit) {
            match piece.parse() {
                Ok(value) => self.number(value),
                Err(_) => bytes.iter().for_each(|byte| self.mix(u64::from(*byte))),
            }
            self.last = Last::Other;
            return Ok(());
        }
        if let Some(revision) = piece.strip_prefix('r')
            && let Ok(revision) = revision.parse()
        {
            self.name(Sort::Revision, 0, revision);
            self.last = Last::Other;
            return Ok(());
        }
        self.last = match (piece, self.last) {
            ("BootTime", _) => Last::Time,
            ("RequestId", _) => Last::Request,
            ("(", last) => last,
            ("#", _) => Last::Hash,
            _ => Last::Other,
        };
        if bytes.first().is_some_and(u8::is_ascii_lowercase) {
            self.field = match piece {
                "seed" | "state" | "losses" | "next_request" | "watched_until" | "renewed"
                | "silent_since" => Field::Skipped,
                "epoch" => Field::Epoch,
                _ if piece.ends_with("_ns") => Field::Nanoseconds,
                _ => Field::Other,
            };
        }
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.mix(u64::from_le_bytes(word));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use vip_ownership::{RequestId, SessionId};

    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn session(id: u32) -> SessionId {
        SessionId {
            node: "a".into(),
            boot: [0; 16],
            id: u128::from(0x8000_0000 + id).to_be_bytes(),
        }
    }

    fn digest(at: u64, part: &impl Debug) -> u64 {
        let mut digest = Digest::new(at, SECOND / 2, VERSIONS);
        digest.add(part);
        digest.finish()
    }

    #[test]
    fn a_state_is_the_same_later_and_under_other_names() {
        let state = |base: u64, id: u32| {
            let times = (BootTime(base + 2 * SECOND), BootTime(base - SECOND));
            let names = (session(id), session(id + 1), session(id));
            (times, names, RequestId(base / SECOND))
        };
        let early = digest(10 * SECOND, &state(10 * SECOND, 1));
        assert_eq!(early, digest(50 * SECOND, &state(50 * SECOND, 7)));
        assert_ne!(early, digest(11 * SECOND, &state(10 * SECOND, 1)));
        let other = (session(1), session(2), session(2));
        assert_ne!(
            digest(0, &other),
            digest(0, &(session(1), session(2), session(1)))
        );
    }

    #[test]
    fn never_and_the_beginning_of_time_are_not_counted_from_now() {
        let part = (BootTime::NEVER, BootTime(0));
        assert_eq!(digest(SECOND, &part), digest(9 * SECOND, &part));
        assert_ne!(
            digest(SECOND, &part),
            digest(SECOND, &(BootTime(0), BootTime(0)))
        );
    }

    #[test]
    fn old_times_differ_only_from_each_other() {
        let old = |first: u64, second: u64| (BootTime(first), BootTime(second));
        let at = 100 * SECOND;
        assert_eq!(digest(at, &old(1, 2)), digest(at, &old(SECOND, 9)));
        assert_ne!(digest(at, &old(1, 2)), digest(at, &old(1, 1)));
    }
}
