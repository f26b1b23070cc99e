//! A frame in memory, for tests, fuzzers and `trace`.

use core::cell::Cell;

use crate::{
    packet::{OPTIONS_MAX, Packet, QUESTION_MAX},
    work::Work,
};

/// Longest frame that a [`Frame`] holds.
pub const FRAME_MAX: usize = 9_216;

/// A frame that can be judged in userspace.
#[derive(Debug)]
pub struct Frame<'a> {
    ifindex: u32,
    bytes: &'a [Cell<u8>],
    length: Cell<usize>,
}

impl<'a> Frame<'a> {
    /// A frame of `length` bytes at the start of `buffer`, which has room for answers.
    pub fn new(ifindex: u32, buffer: &'a mut [u8], length: usize) -> Self {
        let bytes = Cell::from_mut(buffer).as_slice_of_cells();
        Self {
            ifindex,
            length: Cell::new(length.min(bytes.len())),
            bytes,
        }
    }

    /// Length of the frame now.
    pub fn len(&self) -> usize {
        self.length.get()
    }

    /// The frame has no bytes.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn window(&self, at: u32, length: usize) -> Option<&[Cell<u8>]> {
        let at = at as usize;
        let end = at.checked_add(length).filter(|end| *end <= self.len())?;
        self.bytes.get(at..end)
    }

    fn read(&self, at: u32, to: &mut [u16]) -> bool {
        let Some(from) = self.window(at, to.len() * 2) else {
            return false;
        };
        for (word, pair) in to.iter_mut().zip(from.chunks_exact(2)) {
            *word = u16::from_ne_bytes([pair[0].get(), pair[1].get()]);
        }
        true
    }

    fn write(&self, at: u32, from: &[u16]) -> bool {
        let Some(to) = self.window(at, from.len() * 2) else {
            return false;
        };
        for (word, pair) in from.iter().zip(to.chunks_exact(2)) {
            for (byte, cell) in word.to_ne_bytes().into_iter().zip(pair) {
                cell.set(byte);
            }
        }
        true
    }
}

impl Packet for &Frame<'_> {
    fn ifindex(self) -> u32 {
        self.ifindex
    }

    fn length(self) -> u32 {
        self.len() as u32
    }

    fn load<const W: usize>(self, at: u32, to: &mut [u16; W]) -> bool {
        self.read(at, to)
    }

    fn load_icmp(self, at: u32, length: u32, work: &mut Work) -> bool {
        match work.icmp.get_mut(..(length / 2) as usize) {
            Some(to) => self.read(at, to),
            None => false,
        }
    }

    fn walk_options(self, work: &mut Work) {
        for _ in 0..OPTIONS_MAX {
            if !work.walk.goes_on() || !self.read(work.walk.at, &mut work.option) {
                return;
            }
            let option = work.option;
            work.walk.step(&option);
        }
    }

    fn become_reply(self, length: u32, work: &Work) -> bool {
        self.resize(length) && self.write(0, &work.reply[..(length / 2) as usize])
    }

    fn head<const W: usize, R>(self, edit: impl FnOnce(&mut [u16; W]) -> R) -> Option<R> {
        let mut words = [0; W];
        if !self.read(0, &mut words) {
            return None;
        }
        let result = edit(&mut words);
        self.write(0, &words);
        Some(result)
    }

    fn resize(self, length: u32) -> bool {
        if self.bytes.len() < length as usize || self.length() > QUESTION_MAX {
            return false;
        }
        self.length.set(length as usize);
        true
    }

    fn store<const W: usize>(self, at: u32, from: &[u16; W]) -> bool {
        self.write(at, from)
    }
}
