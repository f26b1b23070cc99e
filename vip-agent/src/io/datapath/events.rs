//! The ring buffers: conflicts and changes of state, and the decisions that `trace` shows.

use std::{io, marker::PhantomData};

use aya::{
    Pod,
    maps::{Map, MapData, MapError, RingBuf},
};
use tokio::io::unix::AsyncFd;
use vip_common::abi::{Event, Traced};

use super::object::{DatapathError, EVENTS, MapSpec, Pins, TRACED};

/// Records of type `T` of a ring buffer. One reader at a time: two would share the records.
pub struct Records<T> {
    ring: AsyncFd<RingBuf<MapData>>,
    record: PhantomData<T>,
}

impl Records<Event> {
    /// Opens `EVENTS`, within a tokio runtime.
    pub fn events(pins: &Pins) -> Result<Self, DatapathError> {
        Self::open(pins, &EVENTS)
    }
}

impl Records<Traced> {
    /// Opens `TRACED`, within a tokio runtime.
    pub fn traced(pins: &Pins) -> Result<Self, DatapathError> {
        Self::open(pins, &TRACED)
    }
}

impl<T: Pod> Records<T> {
    fn open(pins: &Pins, spec: &'static MapSpec) -> Result<Self, DatapathError> {
        let path = pins.map(spec.name);
        spec.check_pin(&path)?;
        let map = |error: MapError| DatapathError::Map {
            map: spec.name,
            error,
        };
        let data = MapData::from_pin(&path).map_err(map)?;
        let ring = RingBuf::try_from(Map::from_map_data(data).map_err(map)?).map_err(map)?;
        // SAFETY: the descriptor is the map's own, open and the same for as long as `ring` lives.
        let ring = unsafe { AsyncFd::register(ring) }.map_err(|error| DatapathError::Kernel {
            what: "waiting for a ring buffer",
            error: error.into(),
        })?;
        Ok(Self {
            ring,
            record: PhantomData,
        })
    }

    /// The next record. Cancelling it loses none.
    pub async fn next(&mut self) -> io::Result<T> {
        loop {
            let mut ready = self.ring.readable_mut().await?;
            if let Some(record) = take(ready.get_inner_mut()) {
                return Ok(record);
            }
            ready.clear_ready();
        }
    }

    /// A record that is already there.
    pub fn try_next(&mut self) -> Option<T> {
        take(self.ring.get_mut())
    }
}

fn take<T: Pod>(ring: &mut RingBuf<MapData>) -> Option<T> {
    while let Some(bytes) = ring.next() {
        // A record of another size is of programs of another layout: not ours to read.
        if bytes.len() == size_of::<T>() {
            // SAFETY: `T` is plain data, and as many bytes are there.
            return Some(unsafe { bytes.as_ptr().cast::<T>().read_unaligned() });
        }
    }
    None
}
