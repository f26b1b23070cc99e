//! Breadth first through all states, on several threads, each state once. What is remembered of a
//! state is its digest, and by which move from which other it was reached first.

use std::{
    collections::{HashMap, hash_map::Entry},
    hash::{BuildHasherDefault, Hasher},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant},
};

use super::{Bounds, Move, state::State};

/// The seen states are spread over so many maps, so that threads seldom wait for each other.
const SHARDS: usize = 64;
/// States that a thread takes at once.
const PORTION: usize = 64;

/// A digest is as good as its hash.
#[derive(Default)]
struct Itself(u64);

impl Hasher for Itself {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, _: &[u8]) {}

    fn write_u64(&mut self, digest: u64) {
        self.0 = digest;
    }
}

/// The state before, and the move from it; none: it is one to begin with.
type Origin = Option<(u64, Move)>;
type Shard = Mutex<HashMap<u64, Origin, BuildHasherDefault<Itself>>>;

/// States that were reached.
struct Seen(Vec<Shard>);

impl Seen {
    fn new() -> Self {
        Self((0..SHARDS).map(|_| Shard::default()).collect())
    }

    fn shard(&self, digest: u64) -> &Shard {
        // Not the bits that a map goes by.
        &self.0[(digest >> 24) as usize % SHARDS]
    }

    /// Whether the state is new.
    fn note(&self, digest: u64, origin: Origin) -> bool {
        let mut shard = lock(self.shard(digest));
        match shard.entry(digest) {
            Entry::Occupied(_) => false,
            Entry::Vacant(place) => {
                place.insert(origin);
                true
            }
        }
    }

    fn len(&self) -> usize {
        self.0.iter().map(|shard| lock(shard).len()).sum()
    }

    /// The moves that lead to a state.
    fn path(&self, mut digest: u64) -> Vec<Move> {
        let mut moves = Vec::new();
        while let Some(Some((before, by))) = lock(self.shard(digest)).get(&digest).copied() {
            moves.push(by);
            digest = before;
        }
        moves.reverse();
        moves
    }
}

fn lock<T>(shared: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What came of a run.
#[derive(Clone, Debug)]
pub struct Explored {
    /// States that differ.
    pub states: usize,
    /// Moves between them.
    pub moves: usize,
    /// Moves from the beginning to the farthest state.
    pub depth: usize,
    /// Every state was visited.
    pub complete: bool,
    /// How long it took.
    pub took: Duration,
    /// The first state that breaks what is always to hold, and the moves to it.
    pub broken: Option<(&'static str, Vec<Move>)>,
    /// What is to be seen once and was.
    pub sometimes: Vec<&'static str>,
}

/// What threads share in one run.
struct Run<'a> {
    bounds: &'a Bounds,
    seen: Seen,
    moves: AtomicUsize,
    broken: Mutex<Option<(&'static str, u64)>>,
    sometimes: Mutex<Vec<&'static str>>,
    until: Instant,
}

/// Visits all states, or as many as there is time for; ends at the first that breaks what is
/// always to hold.
pub(super) fn explore(bounds: &Bounds, threads: usize, limit: Duration) -> Explored {
    let started = Instant::now();
    let run = Run {
        bounds,
        seen: Seen::new(),
        moves: AtomicUsize::new(0),
        broken: Mutex::default(),
        sometimes: Mutex::default(),
        until: started + limit,
    };
    let mut frontier = bounds.first();
    for state in &frontier {
        run.seen.note(state.digest(), None);
    }
    let mut depth = 0;
    while !frontier.is_empty() && !run.is_over() {
        frontier = run.level(frontier, threads);
        depth += 1;
    }
    let broken = lock(&run.broken).take();
    Explored {
        states: run.seen.len(),
        moves: run.moves.load(Relaxed),
        depth,
        complete: frontier.is_empty(),
        took: started.elapsed(),
        broken: broken.map(|(what, digest)| (what, run.seen.path(digest))),
        sometimes: std::mem::take(&mut *lock(&run.sometimes)),
    }
}

impl Run<'_> {
    fn is_over(&self) -> bool {
        Instant::now() > self.until || lock(&self.broken).is_some()
    }

    /// All states that are one move behind those of `frontier`, and were not seen before.
    fn level(&self, frontier: Vec<State>, threads: usize) -> Vec<State> {
        let left = Mutex::new(frontier);
        let next = Mutex::new(Vec::new());
        thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(|| {
                    let mut found = Vec::new();
                    loop {
                        let portion = {
                            let mut left = lock(&left);
                            let rest = left.len().saturating_sub(PORTION);
                            left.split_off(rest)
                        };
                        if portion.is_empty() || self.is_over() {
                            break;
                        }
                        for state in portion {
                            self.visit(&state, &mut found);
                        }
                    }
                    lock(&next).append(&mut found);
                });
            }
        });
        let mut next = next.into_inner().unwrap_or_else(PoisonError::into_inner);
        // What there was no time for.
        next.append(&mut lock(&left));
        next
    }

    fn visit(&self, state: &State, found: &mut Vec<State>) {
        let moves = self.bounds.moves(state);
        self.moves.fetch_add(moves.len(), Relaxed);
        for by in moves {
            let Some((next, broken)) = self.bounds.next(state, by) else {
                continue;
            };
            if !self.seen.note(next.digest(), Some((state.digest(), by))) {
                continue;
            }
            if let Some(what) = broken {
                lock(&self.broken).get_or_insert((what, next.digest()));
            }
            for what in self.bounds.happened(&next) {
                let mut sometimes = lock(&self.sometimes);
                if !sometimes.contains(&what) {
                    sometimes.push(what);
                }
            }
            found.push(next);
        }
    }
}
