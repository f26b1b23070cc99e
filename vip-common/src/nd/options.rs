//! The options of a message (RFC 4861, 4.6), of which one matters: a link-layer address.

use super::{first, second};
use crate::work::MacWords;

/// State of a walk over the options of a message.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Walk {
    /// Byte offset of the next option in the frame.
    pub at: u32,
    /// Byte offset of the end of the message.
    pub end: u32,
    /// The first link-layer address option of the wanted type, else the Ethernet source.
    pub mac: MacWords,
    /// That option's type: 1 in solicitations, 2 in advertisements.
    pub wanted: u8,
    /// What was found of it.
    pub found: Found,
    /// An option of length 0 or beyond the message.
    pub malformed: bool,
}

/// A link-layer address option.
#[repr(u8)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Found {
    /// There is none.
    #[default]
    None,
    /// Of the length that Ethernet has.
    Address,
    /// Of another length.
    Odd,
}

impl Walk {
    /// A walk that has not begun.
    pub const fn new() -> Self {
        Self {
            at: 0,
            end: 0,
            mac: [0; 3],
            wanted: 0,
            found: Found::None,
            malformed: false,
        }
    }

    /// Takes in the option whose first 8 bytes are `option`.
    #[inline(always)]
    pub fn step(&mut self, option: &[u16; 4]) {
        let length = second(option[0]) as u32 * 8;
        self.at += length;
        if length == 0 || self.at > self.end {
            self.malformed = true;
        } else if first(option[0]) == self.wanted && self.found == Found::None {
            self.found = Found::Odd;
            if length == 8 {
                self.found = Found::Address;
                self.mac = [option[1], option[2], option[3]];
            }
        }
    }
}
