//! Rule 28: what leaves.

use std::net::{Ipv4Addr, Ipv6Addr};

use vip_common::{
    counter::{Family, Verdict},
    packet::Action,
};

use super::{
    Case, Direction,
    frame::{ALL_NODES, Arp, EVERYONE, Nd, group, group_mac, link_layer},
    outcome::Outcome,
    world::{CLIENT4, CLIENT6, OURS, OWN_LINK_LOCAL, OWN4, OWN6, State, VIP4, VIP6},
};

const STATES: [State; 14] = [
    State::Confirmed,
    State::Static,
    State::Unconfirmed,
    State::YieldOutlived,
    State::YieldVoid,
    State::Yielded,
    State::Passed,
    State::Fenced,
    State::Claiming,
    State::OtherEpoch,
    State::OnNode,
    State::NoGlobal,
    State::NoAddress,
    State::Unknown,
];

fn may_leave(state: State) -> bool {
    state.is_live() || matches!(state, State::Claiming | State::Unknown)
}

fn dropped(family: Family) -> Outcome {
    Outcome {
        action: Action::Drop,
        ..Outcome::untouched()
    }
    .counting(Verdict::EgressDropped, family)
}

fn rewritten(family: Family, frame: Vec<u8>) -> Outcome {
    Outcome {
        frame: Some(frame),
        ..Outcome::untouched()
    }
    .counting(Verdict::EgressRewritten, family)
}

fn leaves(
    name: &'static str,
    why: &'static str,
    frame: Vec<u8>,
    barred: impl Fn(State) -> Outcome,
) -> Case {
    Case::new(name, why, Direction::Out, frame, &STATES, |state| {
        if may_leave(state) {
            Outcome::untouched()
        } else {
            barred(state)
        }
    })
}

/// What a request becomes: SPA is replaced.
fn asks_as(frame: Arp) -> impl Fn(State) -> Outcome {
    move |state| {
        let spa = match state {
            State::NoGlobal | State::NoAddress => Ipv4Addr::UNSPECIFIED,
            _ => OWN4,
        };
        rewritten(
            Family::Ipv4,
            Arp {
                spa,
                ..frame.clone()
            }
            .bytes(),
        )
    }
}

/// What a solicitation becomes: its source and checksum are replaced.
fn solicits_as(frame: Nd) -> impl Fn(State) -> Outcome {
    move |state| {
        let source = match state {
            State::NoAddress => return dropped(Family::Ipv6),
            State::NoGlobal => OWN_LINK_LOCAL,
            _ => OWN6,
        };
        rewritten(
            Family::Ipv6,
            Nd {
                source,
                ..frame.clone()
            }
            .bytes(),
        )
    }
}

/// The cases.
pub fn cases() -> Vec<Case> {
    [arp(), nd(), others()].concat()
}

fn arp() -> Vec<Case> {
    let request = Arp {
        from: OURS,
        sha: OURS,
        spa: VIP4,
        tpa: CLIENT4,
        ..Arp::ask()
    };
    let announcement = Arp {
        tpa: VIP4,
        ..request.clone()
    };
    let tagged = Arp {
        tags: vec![(0x8100, 0xe000)],
        ..request.clone()
    };
    let nested = Arp {
        tags: vec![(0x88a8, 0), (0x8100, 0)],
        ..request.clone()
    };
    let gone = |_| dropped(Family::Ipv4);
    vec![
        leaves(
            "28-arp-reply-leaves",
            "the kernel answers for a bound VIP",
            Arp::our_reply().bytes(),
            gone,
        ),
        leaves(
            "28-arp-reply-leaves-with-a-tag",
            "tags in the frame count",
            Arp {
                tags: vec![(0x8100, 0)],
                ..Arp::our_reply()
            }
            .bytes(),
            gone,
        ),
        leaves(
            "28-gratuitous-request-leaves",
            "an announcement",
            announcement.bytes(),
            gone,
        ),
        leaves(
            "28-gratuitous-reply-leaves",
            "the other form",
            Arp {
                operation: 2,
                tha: OURS,
                to: EVERYONE,
                ..announcement
            }
            .bytes(),
            gone,
        ),
        leaves(
            "28-arp-request-leaves",
            "Linux takes the sender from the packet that waits: the node's own address instead",
            request.bytes(),
            asks_as(request.clone()),
        ),
        leaves(
            "28-arp-request-leaves-with-a-tag",
            "behind a priority tag",
            tagged.bytes(),
            asks_as(tagged.clone()),
        ),
        leaves(
            "28-arp-request-leaves-with-two-tags",
            "behind two",
            nested.bytes(),
            asks_as(nested.clone()),
        ),
    ]
}

fn nd() -> Vec<Case> {
    let solicitation = Nd {
        to: group_mac(group(CLIENT6)),
        from: OURS,
        source: VIP6,
        destination: group(CLIENT6),
        target: Some(CLIENT6),
        options: link_layer(1, OURS),
        ..Nd::ask()
    };
    let extended = Nd {
        extensions: vec![(0, vec![0, 0, 5, 2, 0, 0, 1, 0])],
        ..solicitation.clone()
    };
    let tagged = Nd {
        tags: vec![(0x8100, 0)],
        ..solicitation.clone()
    };
    let without_option = Nd {
        options: vec![],
        ..solicitation.clone()
    };
    let all_routers = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 2);
    let to_routers = Nd {
        to: group_mac(all_routers),
        destination: all_routers,
        kind: (133, 0),
        target: None,
        ..solicitation.clone()
    };
    let gone = |_| dropped(Family::Ipv6);
    vec![
        leaves(
            "28-advertisement-leaves",
            "the kernel answers for a bound VIP",
            Nd::our_answer().bytes(),
            gone,
        ),
        leaves(
            "28-unsolicited-advertisement-leaves",
            "an announcement",
            Nd {
                from: OURS,
                options: link_layer(2, OURS),
                ..Nd::claim()
            }
            .bytes(),
            gone,
        ),
        leaves(
            "28-advertisement-leaves-with-a-link-local-source",
            "the claim is in the target",
            Nd {
                source: OWN_LINK_LOCAL,
                ..Nd::our_answer()
            }
            .bytes(),
            gone,
        ),
        leaves(
            "28-advertisement-leaves-with-a-tag",
            "tags in the frame count",
            Nd {
                tags: vec![(0x8100, 0)],
                ..Nd::our_answer()
            }
            .bytes(),
            gone,
        ),
        leaves(
            "28-solicitation-leaves",
            "the node's own address instead, the checksum too",
            solicitation.bytes(),
            solicits_as(solicitation.clone()),
        ),
        leaves(
            "28-solicitation-leaves-without-option",
            "of 24 bytes",
            without_option.bytes(),
            solicits_as(without_option.clone()),
        ),
        leaves(
            "28-solicitation-leaves-with-a-tag",
            "behind a priority tag",
            tagged.bytes(),
            solicits_as(tagged.clone()),
        ),
        leaves(
            "28-solicitation-leaves-behind-an-extension",
            "found as well",
            extended.bytes(),
            solicits_as(extended.clone()),
        ),
        leaves(
            "28-router-solicitation-leaves",
            "its option would poison routers",
            to_routers.bytes(),
            solicits_as(to_routers.clone()),
        ),
    ]
}

fn others() -> Vec<Case> {
    let passes = |name, why, frame| leaves(name, why, frame, |_| Outcome::untouched());
    let own = Arp {
        from: OURS,
        sha: OURS,
        spa: OWN4,
        tpa: CLIENT4,
        ..Arp::ask()
    };
    vec![
        passes("28-own-request-leaves", "not a VIP's", own.bytes()),
        passes(
            "28-question-for-the-vip-leaves",
            "the host asks who has it now",
            Arp {
                tpa: VIP4,
                ..own.clone()
            }
            .bytes(),
        ),
        passes(
            "28-probe-for-the-vip-leaves",
            "a probe claims nothing",
            Arp {
                tpa: VIP4,
                spa: Ipv4Addr::UNSPECIFIED,
                ..own
            }
            .bytes(),
        ),
        passes(
            "28-duplicate-address-detection-of-the-vip-leaves",
            "a probe claims nothing",
            Nd {
                from: OURS,
                ..Nd::dad()
            }
            .bytes(),
        ),
        passes(
            "28-question-for-the-vip-leaves-as-solicitation",
            "the host asks who has it now",
            Nd {
                from: OURS,
                source: OWN6,
                options: link_layer(1, OURS),
                ..Nd::ask()
            }
            .bytes(),
        ),
        passes(
            "28-echo-request-of-the-vip-leaves",
            "packets other than ARP and ND are not touched",
            Nd {
                from: OURS,
                source: VIP6,
                kind: (128, 0),
                destination: ALL_NODES,
                ..Nd::ask()
            }
            .bytes(),
        ),
    ]
}
