//! The kernel programs: thin shells around `vip-common`.
#![no_std]
#![no_main]

mod maps;

use aya_ebpf::{
    bindings::{TC_ACT_UNSPEC, xdp_action::XDP_PASS},
    macros::{classifier, xdp},
    programs::{TcContext, XdpContext},
};

#[xdp(frags)]
fn xvip_ingress(_ctx: XdpContext) -> u32 {
    touch();
    XDP_PASS
}

#[classifier]
fn xvip_tc_in(_ctx: TcContext) -> i32 {
    touch();
    TC_ACT_UNSPEC
}

#[classifier]
fn xvip_tc_out(_ctx: TcContext) -> i32 {
    touch();
    TC_ACT_UNSPEC
}

#[inline(always)]
fn touch() {
    let key = vip_common::abi::VipKey { address: [0; 16], ifindex: 1, reserved: 0 };
    if maps::VIPS.get_ptr(&key).is_some() {
        let _ = maps::VIP_STATE.get_ptr(&key);
        let _ = maps::LEASES.get_ptr(1);
        let _ = maps::LINKS.get_ptr(1);
        let _ = maps::LINK_STATE.get_ptr(1);
        let _ = maps::HOST_MACS.get_ptr(vip_common::abi::HostMac { mac: [0; 6], reserved: 0 });
        let _ = maps::SESSION.get_ptr(0);
        if let Some(n) = maps::COUNTERS.get_ptr_mut(0) {
            unsafe { *n += 1 }
        }
        let _ = maps::VIP_COUNTERS.get_ptr(0);
        let _ = maps::TRACE.get_ptr(0);
        if let Some(e) = maps::EVENTS.reserve_bytes(40, 0) {
            e.discard(0);
        }
        if let Some(e) = maps::TRACED.reserve_bytes(64, 0) {
            e.discard(0);
        }
    }
}

#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
