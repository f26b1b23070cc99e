//! The programs that `cargo xtask bench` measures the data plane with and against. An example,
//! not a binary: the product's object stays the only binary of this crate.
#![no_std]
#![no_main]

use core::ptr;

use aya_ebpf::{
    bindings::xdp_action,
    btf_maps::{Array, PerCpuArray},
    macros::{btf_map, xdp},
    programs::XdpContext,
};
use vip_common::{
    arp, ethernet, nd,
    packet::{ARP_FRAME, NA_FRAME},
};

const ARP_WORDS: usize = ARP_FRAME as usize / 2;
const NA_WORDS: usize = NA_FRAME as usize / 2;

/// The frame that `generate` sends.
#[btf_map]
static TEMPLATE: Array<[u16; NA_WORDS + 1], 1> = Array::new();

/// Answers that arrived.
#[btf_map]
static ANSWERS: PerCpuArray<u64, 1> = PerCpuArray::new();

/// The cheapest program there is.
#[xdp(frags)]
fn empty(_ctx: XdpContext) -> u32 {
    xdp_action::XDP_PASS
}

/// Writes the template over the whole frame, of 86 or 60 bytes, and sends it by the interface
/// that the test run names.
#[xdp]
fn generate(ctx: XdpContext) -> u32 {
    let Some(template) = TEMPLATE.get(0) else {
        return xdp_action::XDP_ABORTED;
    };
    if let Some(frame) = words::<NA_WORDS>(&ctx) {
        copy(frame, template);
    } else if let Some(frame) = words::<ARP_WORDS>(&ctx) {
        copy(frame, template);
    } else {
        return xdp_action::XDP_ABORTED;
    }
    xdp_action::XDP_TX
}

/// The least that can be called an answer: no look at the frame beyond its type, nothing looked
/// up, the neighbour advertisement without a new checksum.
#[xdp(frags)]
fn reflect(ctx: XdpContext) -> u32 {
    let Some(frame) = words::<7>(&ctx) else {
        return xdp_action::XDP_PASS;
    };
    match frame[6] {
        ethernet::ARP => {
            let Some(frame) = words::<21>(&ctx) else {
                return xdp_action::XDP_PASS;
            };
            turn_round(frame);
            frame[10] = arp::REPLY;
            let requester = [frame[11], frame[12], frame[13], frame[14], frame[15]];
            frame[11] = frame[3];
            frame[12] = frame[4];
            frame[13] = frame[5];
            frame[14] = frame[19];
            frame[15] = frame[20];
            frame[16] = requester[0];
            frame[17] = requester[1];
            frame[18] = requester[2];
            frame[19] = requester[3];
            frame[20] = requester[4];
        }
        ethernet::IPV6 => {
            let Some(frame) = words::<NA_WORDS>(&ctx) else {
                return xdp_action::XDP_PASS;
            };
            turn_round(frame);
            let mut at = 0;
            while at < 8 {
                frame[19 + at] = frame[11 + at];
                frame[11 + at] = frame[31 + at];
                at += 1;
            }
            frame[27] = u16::from(nd::ADVERTISEMENT);
            frame[29] = 0x6000u16.to_be();
            frame[39] = 0x0201u16.to_be();
            frame[40] = frame[3];
            frame[41] = frame[4];
            frame[42] = frame[5];
        }
        _ => return xdp_action::XDP_PASS,
    }
    xdp_action::XDP_TX
}

/// Counts the answers, and ends them and all else: nothing reaches the client's stack.
#[xdp]
fn count(ctx: XdpContext) -> u32 {
    let answer = match words::<7>(&ctx) {
        Some(frame) if frame[6] == ethernet::ARP => {
            words::<21>(&ctx).is_some_and(|frame| frame[10] == arp::REPLY)
        }
        Some(frame) if frame[6] == ethernet::IPV6 => words::<NA_WORDS>(&ctx)
            .is_some_and(|frame| frame[27].to_ne_bytes()[0] == nd::ADVERTISEMENT),
        _ => false,
    };
    if answer && let Some(answers) = ANSWERS.get_ptr_mut(0) {
        // SAFETY: the value belongs to this CPU.
        unsafe { *answers += 1 }
    }
    xdp_action::XDP_DROP
}

/// The first words of the frame, if it is as long.
#[inline(always)]
fn words<const W: usize>(ctx: &XdpContext) -> Option<&mut [u16; W]> {
    let (data, end) = (ctx.data(), ctx.data_end());
    if data + W * 2 > end {
        return None;
    }
    // SAFETY: the bound above; frames begin at even addresses, and nobody else holds this one.
    Some(unsafe { &mut *(data as *mut [u16; W]) })
}

#[inline(always)]
fn copy<const W: usize>(frame: &mut [u16; W], template: &[u16; NA_WORDS + 1]) {
    let mut at = 0;
    while at < W {
        // SAFETY: `W` is at most the length of the template. Volatile: the copy stays one by
        // words, which the verifier takes.
        frame[at] = unsafe { ptr::read_volatile(template.as_ptr().add(at)) };
        at += 1;
    }
}

/// The interface's MAC address, as far as the reflector cares.
const OURS: [u16; 3] = [0x0002, 0, 0x0100];

/// Makes the sender the receiver, and us the sender.
#[inline(always)]
fn turn_round(frame: &mut [u16]) {
    let mut at = 0;
    while at < 3 {
        frame[at] = frame[at + 3];
        frame[at + 3] = OURS[at];
        at += 1;
    }
}

#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    // Never linked: nothing in the programs can panic.
    loop {}
}

#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
