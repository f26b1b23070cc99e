//! A frame in XDP.
//!
//! Without CAP_PERFMON the verifier takes packet pointers at constant offsets only: that is the
//! fast path. What lies at a variable offset is copied by helper.

use core::{ffi::c_void, mem::size_of_val, ptr};

use aya_ebpf::{
    bindings::xdp_md,
    helpers::{bpf_csum_diff, bpf_xdp_adjust_tail, bpf_xdp_get_buff_len, bpf_xdp_load_bytes},
    programs::XdpContext,
};
use vip_common::{
    checksum, ethernet, nd,
    packet::{ARP_FRAME, NA_FRAME, Packet, QUESTION_MAX},
    work::Work,
};

use crate::skb::{icmp_length, sum_icmp, walk_options};

/// The context of a program.
#[derive(Clone, Copy)]
pub(crate) struct XdpFrame(*mut xdp_md);

impl XdpFrame {
    #[inline(always)]
    pub(crate) fn new(ctx: &XdpContext) -> Self {
        Self(ctx.ctx)
    }

    #[inline(always)]
    fn bounds(self) -> (usize, usize) {
        // SAFETY: the context is valid while the program runs.
        unsafe { ((*self.0).data as usize, (*self.0).data_end as usize) }
    }

    /// First look: ARP, a VLAN tag, or IPv6 that may be Neighbour Discovery.
    #[inline(always)]
    pub(crate) fn may_concern_us(self) -> bool {
        let (data, end) = self.bounds();
        if data + 14 > end {
            return false;
        }
        // SAFETY: the bound above.
        let ether_type = unsafe { ptr::read((data + 12) as *const u16) };
        if ether_type != ethernet::IPV6 {
            return ether_type == ethernet::ARP || ethernet::is_tag(ether_type);
        }
        if data + 56 > end {
            return false;
        }
        // SAFETY: the bound above.
        let (next, message) = unsafe {
            (
                ptr::read((data + 20) as *const u8),
                ptr::read((data + 54) as *const u8),
            )
        };
        if next == 58 {
            nd::is_nd(message)
        } else {
            nd::may_lead_to_nd(next)
        }
    }

    /// Copies words from a constant offset.
    #[inline(always)]
    fn copy<const AT: usize, const W: usize>(self, to: &mut [u16; W]) -> bool {
        let (data, end) = self.bounds();
        if data + AT + W * 2 > end {
            return false;
        }
        let from = (data + AT) as *const u16;
        let mut at = 0;
        while at < W {
            // SAFETY: the bound above.
            to[at] = unsafe { ptr::read(from.add(at)) };
            at += 1;
        }
        true
    }

    #[inline(always)]
    fn overwrite<const W: usize>(self, work: &Work) -> bool {
        let (data, end) = self.bounds();
        if data + W * 2 > end {
            return false;
        }
        let to = data as *mut u16;
        let mut at = 0;
        while at < W {
            // SAFETY: the bound above.
            unsafe { ptr::write(to.add(at), work.reply[at]) };
            at += 1;
        }
        true
    }
}

impl Packet for XdpFrame {
    #[inline(always)]
    fn ifindex(self) -> u32 {
        // SAFETY: the context is valid while the program runs.
        unsafe { (*self.0).ingress_ifindex }
    }

    #[inline(always)]
    fn length(self) -> u32 {
        // SAFETY: as above.
        unsafe { bpf_xdp_get_buff_len(self.0) as u32 }
    }

    #[inline(always)]
    fn load<const W: usize>(self, at: u32, to: &mut [u16; W]) -> bool {
        let copied = match at {
            0 => self.copy::<0, W>(to),
            14 => self.copy::<14, W>(to),
            54 => self.copy::<54, W>(to),
            _ => false,
        };
        let (to, length) = (to.as_mut_ptr().cast::<c_void>(), size_of_val(to) as u32);
        // SAFETY: the helper writes the whole of `to`, and nothing else.
        copied || unsafe { bpf_xdp_load_bytes(self.0, at, to, length) } == 0
    }

    #[inline(always)]
    fn load_icmp(self, at: u32, _length: u32, work: &mut Work) -> bool {
        let length = icmp_length(work);
        let to = work.icmp.as_mut_ptr().cast::<c_void>();
        // SAFETY: `icmp_length` is at most the 256 bytes of `work.icmp`.
        unsafe { bpf_xdp_load_bytes(self.0, at, to, length) == 0 }
    }

    #[inline(always)]
    fn sum_icmp(self, _length: u32, work: &Work) -> u16 {
        sum_icmp(work)
    }

    #[inline(always)]
    fn walk_options(self, work: &mut Work) {
        walk_options(work, self.0.cast(), |ctx, at, to| {
            // SAFETY: the context is the program's own; the helper writes 8 bytes.
            unsafe { bpf_xdp_load_bytes(ctx.cast(), at, to, 8) == 0 }
        });
    }

    #[inline(always)]
    fn head<const W: usize, R>(self, edit: impl FnOnce(&mut [u16; W]) -> R) -> Option<R> {
        let (data, end) = self.bounds();
        if data + W * 2 > end {
            return None;
        }
        // SAFETY: the bound above; frames begin at even addresses, and nobody else holds this
        // one while the program runs.
        Some(edit(unsafe { &mut *(data as *mut [u16; W]) }))
    }

    #[inline(always)]
    fn sum_solicitation(self) -> Option<u16> {
        let (data, end) = self.bounds();
        if data + NA_FRAME as usize > end {
            return None;
        }
        // SAFETY: the bound above; the addresses and the message are the last 64 bytes.
        let sum = unsafe { bpf_csum_diff(ptr::null_mut(), 0, (data + 22) as *mut u32, 64, 0) };
        Some(checksum::fold(
            sum as u32 as u64 + checksum::icmpv6_rest(32),
        ))
    }

    #[inline(always)]
    fn resize(self, length: u32) -> bool {
        let present = self.length();
        if present > QUESTION_MAX {
            return false;
        }
        let grow = length as i32 - present as i32;
        // SAFETY: the context is valid while the program runs.
        grow == 0 || unsafe { bpf_xdp_adjust_tail(self.0, grow) } == 0
    }

    #[inline(always)]
    fn become_reply(self, length: u32, work: &Work) -> bool {
        if !self.resize(length) {
            return false;
        }
        match length {
            ARP_FRAME => self.overwrite::<{ ARP_FRAME as usize / 2 }>(work),
            NA_FRAME => self.overwrite::<{ NA_FRAME as usize / 2 }>(work),
            _ => false,
        }
    }

    #[inline(always)]
    fn store<const W: usize>(self, _at: u32, _from: &[u16; W]) -> bool {
        false
    }
}
