//! A frame in tc, and what both kinds of frame share.

use core::{ffi::c_void, mem::size_of_val, ptr};

use aya_ebpf::{
    bindings::__sk_buff,
    helpers::{
        bpf_csum_diff, bpf_loop, bpf_skb_change_tail, bpf_skb_load_bytes, bpf_skb_store_bytes,
        bpf_skb_vlan_pop,
    },
    programs::TcContext,
};
use vip_common::{
    checksum, ethernet, nd,
    packet::{OPTIONS_MAX, Packet, QUESTION_MAX},
    work::Work,
};

const VID_MASK: u32 = 0x0fff;

/// The context of a program.
#[derive(Clone, Copy)]
pub(crate) struct SkbFrame(*mut __sk_buff);

impl SkbFrame {
    #[inline(always)]
    pub(crate) fn new(ctx: &TcContext) -> Self {
        Self(ctx.skb.skb)
    }

    /// First look, as in XDP, but drivers may leave no more than the Ethernet header linear. A
    /// frame whose tag, beside its bytes, names a VLAN is judged on the VLAN's own device.
    #[inline(always)]
    pub(crate) fn may_concern_us(self) -> bool {
        // SAFETY: the context is valid while the program runs.
        let (data, end) = unsafe { ((*self.0).data as usize, (*self.0).data_end as usize) };
        if data + 14 > end {
            return true;
        }
        // SAFETY: the bound above.
        let ether_type = unsafe { ptr::read((data + 12) as *const u16) };
        if ether_type != ethernet::IPV6 {
            if ether_type != ethernet::ARP && !ethernet::is_tag(ether_type) {
                return false;
            }
        } else if data + 56 <= end {
            // SAFETY: the bound above.
            let (next, message) = unsafe {
                (
                    ptr::read((data + 20) as *const u8),
                    ptr::read((data + 54) as *const u8),
                )
            };
            if !(if next == 58 {
                nd::is_nd(message)
            } else {
                nd::may_lead_to_nd(next)
            }) {
                return false;
            }
        }
        // SAFETY: the context is valid while the program runs.
        unsafe { (*self.0).vlan_present == 0 || (*self.0).vlan_tci & VID_MASK == 0 }
    }
}

impl Packet for SkbFrame {
    #[inline(always)]
    fn ifindex(self) -> u32 {
        // SAFETY: the context is valid while the program runs.
        unsafe { (*self.0).ifindex }
    }

    #[inline(always)]
    fn length(self) -> u32 {
        // SAFETY: as above.
        unsafe { (*self.0).len }
    }

    #[inline(always)]
    fn tags_beside(self) -> u32 {
        // SAFETY: as above.
        unsafe { ((*self.0).vlan_present != 0) as u32 }
    }

    #[inline(always)]
    fn load<const W: usize>(self, at: u32, to: &mut [u16; W]) -> bool {
        let (to, length) = (to.as_mut_ptr().cast::<c_void>(), size_of_val(to) as u32);
        // SAFETY: the helper writes the whole of `to`, and nothing else.
        unsafe { bpf_skb_load_bytes(self.0.cast(), at, to, length) == 0 }
    }

    #[inline(always)]
    fn load_icmp(self, at: u32, _length: u32, work: &mut Work) -> bool {
        let length = icmp_length(work);
        let to = work.icmp.as_mut_ptr().cast::<c_void>();
        // SAFETY: `icmp_length` is at most the 256 bytes of `work.icmp`.
        unsafe { bpf_skb_load_bytes(self.0.cast(), at, to, length) == 0 }
    }

    #[inline(always)]
    fn sum_icmp(self, _length: u32, work: &Work) -> u16 {
        sum_icmp(work)
    }

    #[inline(always)]
    fn walk_options(self, work: &mut Work) {
        walk_options(work, self.0.cast(), |ctx, at, to| {
            // SAFETY: the context is the program's own; the helper writes 8 bytes.
            unsafe { bpf_skb_load_bytes(ctx.cast_const(), at, to, 8) == 0 }
        });
    }

    #[inline(always)]
    fn become_reply(self, length: u32, work: &Work) -> bool {
        // SAFETY: the context is valid while the program runs; `length` is at most the 86 bytes
        // of `work.reply`.
        unsafe {
            if (*self.0).len > QUESTION_MAX {
                return false;
            }
            if (*self.0).len != length && bpf_skb_change_tail(self.0, length, 0) != 0 {
                return false;
            }
            if (*self.0).vlan_present != 0 && bpf_skb_vlan_pop(self.0) != 0 {
                return false;
            }
            let from = work.reply.as_ptr().cast::<c_void>();
            bpf_skb_store_bytes(self.0, 0, from, length, 0) == 0
        }
    }

    #[inline(always)]
    fn store<const W: usize>(self, at: u32, from: &[u16; W]) -> bool {
        let (from, length) = (from.as_ptr().cast::<c_void>(), size_of_val(from) as u32);
        // SAFETY: the helper reads the whole of `from`, and nothing else.
        unsafe { bpf_skb_store_bytes(self.0, at, from, length, 0) == 0 }
    }
}

/// The length of the ICMPv6 message in a form whose bounds, 8 to 256, the verifier sees: reading
/// it as volatile keeps LLVM from folding the mask away. From the scratch area, not the stack,
/// where Linux 6.1 sees a spilled pointer corrupted.
#[inline(always)]
pub(crate) fn icmp_length(work: &Work) -> u32 {
    // SAFETY: a reference is valid for reads.
    let length = unsafe { ptr::read_volatile(&raw const work.icmp_length) };
    ((length.wrapping_sub(8)) & 0xf8) + 8
}

/// See [`Packet::sum_icmp`].
#[inline(always)]
pub(crate) fn sum_icmp(work: &Work) -> u16 {
    // SAFETY: the 32 bytes of the addresses and the 256 of the message adjoin in `Work`.
    let sum = unsafe {
        let from = work.ip6.as_ptr().add(4).cast_mut().cast();
        bpf_csum_diff(ptr::null_mut(), 0, from, icmp_length(work) + 32, 0)
    };
    checksum::fold(sum as u32 as u64)
}

struct OptionWalk {
    ctx: *mut c_void,
    work: *mut Work,
}

/// See [`Packet::walk_options`]. A plain loop is too complex for the verifiers of today.
#[inline(always)]
pub(crate) fn walk_options<L: Fn(*mut c_void, u32, *mut c_void) -> bool>(
    work: &mut Work,
    ctx: *mut c_void,
    _load: L,
) {
    const { assert!(size_of::<L>() == 0, "the callback is its type") };
    let mut walk = OptionWalk {
        ctx,
        work: ptr::from_mut(work),
    };
    // SAFETY: `walk` outlives the call; the callback has the type that the helper calls.
    unsafe {
        bpf_loop(
            OPTIONS_MAX,
            walk_option::<L> as *mut c_void,
            ptr::from_mut(&mut walk).cast(),
            0,
        );
    }
}

unsafe extern "C" fn walk_option<L: Fn(*mut c_void, u32, *mut c_void) -> bool>(
    _index: u64,
    walk: *mut OptionWalk,
) -> i64 {
    // SAFETY: `bpf_loop` hands us what `walk_options` gave it. `L` has no size, so that any
    // aligned pointer is one to it.
    unsafe {
        let walk = &*walk;
        let work = &mut *walk.work;
        let load = ptr::NonNull::<L>::dangling();
        let to = work.option.as_mut_ptr().cast();
        if !work.walk.goes_on() || !(load.as_ref())(walk.ctx, work.walk.at, to) {
            return 1;
        }
        let option = work.option;
        work.walk.step(&option);
        0
    }
}
