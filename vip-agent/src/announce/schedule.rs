//! The steps of a burst, and what follows it.

use std::{net::IpAddr, ops::RangeInclusive, time::Duration};

use crate::frame::Form;

/// A frame of the burst: when it is due after the first one was sent, and its shape.
#[derive(Clone, Copy, Debug)]
pub(super) struct Step {
    pub(super) after: Duration,
    pub(super) form: Form,
}

const fn step(seconds: u64, form: Form) -> Step {
    Step {
        after: Duration::from_secs(seconds),
        form,
    }
}

/// At once, then after 1, 2, 4, 8 s; the third form once, 1 s after the first.
const ARP: [Step; 11] = [
    step(0, Form::Request),
    step(0, Form::Reply),
    step(1, Form::Request),
    step(1, Form::Reply),
    step(1, Form::RequestFromVip),
    step(2, Form::Request),
    step(2, Form::Reply),
    step(4, Form::Request),
    step(4, Form::Reply),
    step(8, Form::Request),
    step(8, Form::Reply),
];

const ND: [Step; 5] = [
    step(0, Form::Advertisement),
    step(1, Form::Advertisement),
    step(2, Form::Advertisement),
    step(4, Form::Advertisement),
    step(8, Form::Advertisement),
];

/// The burst of the family of `vip`.
pub(super) fn burst(vip: IpAddr) -> &'static [Step] {
    match vip {
        IpAddr::V4(_) => &ARP,
        IpAddr::V6(_) => &ND,
    }
}

/// The shape of a single frame: a refresh or a defence.
pub(super) fn single(vip: IpAddr) -> Form {
    match vip {
        IpAddr::V4(_) => Form::Request,
        IpAddr::V6(_) => Form::Advertisement,
    }
}

/// Pause between the frames of a VIP after its burst. Neighbour caches keep entries for 1200 s;
/// what the range leaves of them is for the wait at a low rate.
pub(super) const REFRESH: RangeInclusive<Duration> =
    Duration::from_secs(600)..=Duration::from_secs(1080);

/// Longest silence of an interface with VIPs: below 60 s, since switches may forget a MAC
/// address that soon.
pub(super) const KEEP_SWITCH: RangeInclusive<Duration> =
    Duration::from_secs(40)..=Duration::from_secs(55);
