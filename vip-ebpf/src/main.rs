//! The kernel programs: thin shells around `vip-common`.
#![no_std]
#![expect(
    internal_features,
    reason = "core::sync::atomic has no compare-and-exchange for BPF"
)]
#![feature(core_intrinsics)]
#![no_main]

mod maps;
mod skb;
mod store;
mod xdp;

use aya_ebpf::{
    bindings::{TC_ACT_SHOT, TC_ACT_UNSPEC, xdp_action},
    helpers::bpf_redirect,
    macros::{classifier, xdp},
    programs::{TcContext, XdpContext},
};
use vip_common::{
    egress::egress,
    extension::{Extension, REFUSED},
    ingress::ingress,
    packet::{Action, Packet},
    work::Work,
};

use crate::{skb::SkbFrame, store::Store, xdp::XdpFrame};

/// Answers and defends from the driver's receive path.
#[xdp(frags)]
fn xvip_ingress(ctx: XdpContext) -> u32 {
    let frame = XdpFrame::new(&ctx);
    if !frame.may_concern_us() {
        return xdp_action::XDP_PASS;
    }
    let Some(work) = work::<INGRESS>() else {
        return xdp_action::XDP_PASS;
    };
    match ingress(frame, Store, work) {
        Action::Pass => xdp_action::XDP_PASS,
        Action::Drop => xdp_action::XDP_DROP,
        Action::Transmit => xdp_action::XDP_TX,
    }
}

/// The same from tc, where XDP cannot be attached.
#[classifier]
fn xvip_tc_in(ctx: TcContext) -> i32 {
    let frame = SkbFrame::new(&ctx);
    if !frame.may_concern_us() {
        return TC_ACT_UNSPEC;
    }
    let Some(work) = work::<INGRESS>() else {
        return TC_ACT_UNSPEC;
    };
    match ingress(frame, Store, work) {
        Action::Pass => TC_ACT_UNSPEC,
        Action::Drop => TC_ACT_SHOT as i32,
        // SAFETY: the helper takes plain numbers.
        Action::Transmit => unsafe { bpf_redirect(frame.ifindex(), 0) as i32 },
    }
}

/// Keeps VIPs that are not live out of what leaves.
#[classifier]
fn xvip_tc_out(ctx: TcContext) -> i32 {
    let frame = SkbFrame::new(&ctx);
    if !frame.may_concern_us() {
        return TC_ACT_UNSPEC;
    }
    let Some(work) = work::<EGRESS>() else {
        return TC_ACT_UNSPEC;
    };
    match egress(frame, Store, work) {
        Action::Drop => TC_ACT_SHOT as i32,
        Action::Pass | Action::Transmit => TC_ACT_UNSPEC,
    }
}

/// Moves the times of a slot for the agent, which runs it by BPF_PROG_TEST_RUN: attached nowhere.
#[classifier]
fn xvip_extend(ctx: TcContext) -> i32 {
    let asked = ctx.load::<Extension>(Extension::OFFSET);
    asked.map_or(REFUSED, |asked| Store.extend(&asked)) as i32
}

/// A line for a rival's claim, off unless the agent logs at debug.
///
/// Linux 6.1 takes a constant text alone, and only while the whole record (this file's name, the
/// crate's, the line, the text) has at most 64 bytes: there it loses the length of a longer one.
fn log_conflict() {
    aya_log_ebpf::debug!((), target: "", "conflict");
}

const INGRESS: usize = 0;
const EGRESS: usize = 1;

#[inline(always)]
fn work<const DIRECTION: usize>() -> Option<&'static mut Work> {
    // SAFETY: the area belongs to this CPU, and to programs of one direction, which run with
    // bottom halves disabled and do not nest: nobody else holds a reference.
    store::work::<DIRECTION>().map(|work| unsafe { &mut *work })
}

#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    // Never linked: nothing in the programs can panic.
    loop {}
}

#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
