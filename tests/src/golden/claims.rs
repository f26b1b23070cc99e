//! Rule 13: claims of a rival, and the state rule for frames that ask and claim.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use vip_common::{
    abi::EventKind,
    counter::{Family, Verdict},
    packet::Action,
    shape::Shape,
};

use super::{
    Case, Direction, family,
    frame::{ALL_NODES, Arp, Nd, Sum, group, group_mac, link_layer, with_last},
    oracle::{OVERRIDE, ROUTER, SOLICITED, advertisement, announcement, arp_reply, unsolicited},
    outcome::Outcome,
    world::{
        CLIENT4, CLIENT6, FENCED4, FENCED6, LIVE4, LIVE6, OUR_OTHER, OURS, OWN4, OWN6, RIVAL,
        State, VIP4, VIP6,
    },
};

const V4: IpAddr = IpAddr::V4(VIP4);
const V6: IpAddr = IpAddr::V6(VIP6);

const CLAIMED: [State; 13] = [
    State::Confirmed,
    State::Static,
    State::DefendedJustNow,
    State::DefendedBefore,
    State::BucketEmpty,
    State::Unconfirmed,
    State::YieldOutlived,
    State::YieldVoid,
    State::Yielded,
    State::Passed,
    State::Fenced,
    State::OtherEpoch,
    State::OnNode,
];

/// What becomes of a claim in a state: `confirmed` says what a live VIP does about it first.
fn claimed(vip: IpAddr, state: State, confirmed: &Outcome) -> Outcome {
    match state {
        State::DefendedJustNow => Outcome::untouched().conflict(),
        State::Passed => Outcome::untouched().yielding(vip),
        _ if state.is_unconfirmed() => Outcome::untouched()
            .counting(Verdict::Yielded, family(vip))
            .conflict()
            .event(EventKind::Yielded, false, vip, RIVAL)
            .yielding(vip),
        _ if state.is_live() => confirmed.clone(),
        _ => Outcome::untouched(),
    }
}

/// The frame becomes the defence.
fn defended(vip: IpAddr, frame: Vec<u8>) -> Outcome {
    Outcome {
        action: Action::Transmit,
        frame: Some(frame),
        ..Outcome::untouched()
    }
    .counting(Verdict::Defended, family(vip))
    .conflict()
    .event(EventKind::Defended, false, vip, RIVAL)
    .interval(vip)
    .token()
}

/// The agent is to announce.
fn ordered(vip: IpAddr) -> Outcome {
    Outcome::untouched()
        .conflict()
        .event(EventKind::Conflict, true, vip, RIVAL)
        .interval(vip)
}

/// A claim that serves nothing else, and is defended against.
fn gratuitous(name: &'static str, why: &'static str, vip: IpAddr, frame: Vec<u8>) -> Case {
    let defence = match vip {
        IpAddr::V4(vip) => announcement(vip),
        IpAddr::V6(vip) => unsolicited(vip, 0),
    };
    let defended = defended(vip, defence);
    Case::new(
        name,
        why,
        Direction::In,
        frame,
        &CLAIMED,
        |state| match state {
            State::BucketEmpty => Outcome::untouched()
                .conflict()
                .event(EventKind::Conflict, false, vip, RIVAL)
                .interval(vip),
            _ => claimed(vip, state, &defended),
        },
    )
}

/// A claim in a frame with another purpose, which passes on to its target.
fn in_passing(name: &'static str, why: &'static str, vip: IpAddr, frame: Vec<u8>) -> Case {
    let ordered = ordered(vip);
    Case::new(name, why, Direction::In, frame, &CLAIMED, |state| {
        claimed(vip, state, &ordered)
    })
}

/// No claim, though it looks like one.
fn no_claim(name: &'static str, why: &'static str, frame: Vec<u8>) -> Case {
    Case::new(name, why, Direction::In, frame, &CLAIMED, |_| {
        Outcome::untouched()
    })
}

/// The maps hold an IPv4 VIP in mapped form (RFC 4291, 2.5.5.2): no IPv6 frame names it.
fn mapped() -> Vec<Case> {
    let mapped = VIP4.to_ipv6_mapped();
    let to_group = Nd {
        to: group_mac(group(mapped)),
        destination: group(mapped),
        target: Some(mapped),
        ..Nd::ask()
    };
    let claim = Nd {
        target: Some(mapped),
        ..Nd::claim()
    };
    let asking = Nd {
        source: mapped,
        target: Some(CLIENT6),
        ..Nd::ask()
    };
    let untouched = |name, direction, frame: Nd| {
        let why = "an IPv4 VIP is asked for and claimed by ARP alone";
        let frame = frame.bytes();
        Case::new(name, why, direction, frame, &CLAIMED, |_| {
            Outcome::untouched()
        })
    };
    vec![
        untouched("00-solicitation-for-a-mapped-vip", Direction::In, to_group),
        untouched(
            "00-advertisement-of-a-mapped-vip",
            Direction::In,
            claim.clone(),
        ),
        untouched(
            "00-solicitation-from-a-mapped-vip",
            Direction::In,
            asking.clone(),
        ),
        untouched(
            "00-advertisement-of-a-mapped-vip-leaves",
            Direction::Out,
            claim,
        ),
        untouched(
            "00-solicitation-from-a-mapped-vip-leaves",
            Direction::Out,
            asking,
        ),
    ]
}

/// The cases.
pub fn cases() -> Vec<Case> {
    [
        mapped(),
        arp_claims(),
        nd_claims(),
        nd_without_claim(),
        both(),
    ]
    .concat()
}

fn arp_claims() -> Vec<Case> {
    vec![
        gratuitous(
            "13-gratuitous-request",
            "an announcement of the rival is answered by ours",
            V4,
            Arp::claim().bytes(),
        ),
        gratuitous(
            "13-gratuitous-reply",
            "the reply form is one too",
            V4,
            Arp::gratuitous_reply().bytes(),
        ),
        gratuitous(
            "13-gratuitous-with-priority-tag",
            "and is defended against untagged",
            V4,
            Arp {
                tags: vec![(0x8100, 0)],
                ..Arp::claim()
            }
            .bytes(),
        ),
        gratuitous(
            "13-gratuitous-of-ieee-802",
            "hardware type 6 is understood by Linux hosts",
            V4,
            Arp {
                types: (6, 0x0800),
                ..Arp::claim()
            }
            .bytes(),
        ),
        gratuitous(
            "13-gratuitous-from-another-source",
            "the rival is the sender hardware address, whoever sent the frame",
            V4,
            Arp {
                from: OURS,
                ..Arp::claim()
            }
            .bytes(),
        ),
        in_passing(
            "13-request-of-the-vip",
            "a rival's request for another address passes on; the agent announces for it",
            V4,
            Arp {
                tpa: CLIENT4,
                ..Arp::claim()
            }
            .bytes(),
        ),
        in_passing(
            "13-request-of-the-vip-for-this-host",
            "also when it asks for this host's own address",
            V4,
            Arp {
                tpa: OWN4,
                ..Arp::claim()
            }
            .bytes(),
        ),
        in_passing(
            "13-reply-of-the-vip",
            "a rival answers a question of ours",
            V4,
            Arp {
                operation: 2,
                to: OURS,
                tha: OURS,
                tpa: OWN4,
                ..Arp::claim()
            }
            .bytes(),
        ),
        in_passing(
            "04-other-operation-claims",
            "operations that are never answered may be a claim",
            V4,
            Arp {
                operation: 8,
                tpa: CLIENT4,
                ..Arp::claim()
            }
            .bytes(),
        ),
        no_claim(
            "13-claim-of-this-interface",
            "our own announcement came back",
            Arp {
                from: OURS,
                sha: OURS,
                ..Arp::claim()
            }
            .bytes(),
        ),
        no_claim(
            "13-claim-of-another-interface-of-this-host",
            "the MAC of any interface of this host is no rival",
            Arp {
                from: OUR_OTHER,
                sha: OUR_OTHER,
                ..Arp::claim()
            }
            .bytes(),
        ),
        no_claim(
            "13-malformed-claim",
            "a conflict is well formed by rule 5",
            Arp {
                lengths: (6, 16),
                ..Arp::claim()
            }
            .bytes(),
        ),
        no_claim(
            "13-announcement-of-another-address",
            "not ours, not touched",
            Arp {
                spa: CLIENT4,
                tpa: CLIENT4,
                ..Arp::claim()
            }
            .bytes(),
        ),
    ]
}

fn nd_claims() -> Vec<Case> {
    let solicited = Nd {
        to: OURS,
        destination: OWN6,
        flags: 0x6000_0000,
        ..Nd::claim()
    };
    let modest = Nd {
        flags: 0,
        ..Nd::claim()
    };
    let asking = Nd {
        to: group_mac(group(CLIENT6)),
        from: RIVAL,
        source: VIP6,
        destination: group(CLIENT6),
        target: Some(CLIENT6),
        options: link_layer(1, RIVAL),
        ..Nd::ask()
    };
    vec![
        gratuitous(
            "13-unsolicited-advertisement",
            "answered by an unsolicited advertisement of ours",
            V6,
            Nd::claim().bytes(),
        )
        .with(State::Router, defended(V6, unsolicited(VIP6, ROUTER))),
        gratuitous(
            "13-unsolicited-advertisement-without-option",
            "the rival is the Ethernet source then",
            V6,
            Nd {
                options: vec![],
                ..Nd::claim()
            }
            .bytes(),
        ),
        gratuitous(
            "13-unsolicited-advertisement-behind-an-extension",
            "Linux hosts understand it",
            V6,
            Nd {
                extensions: vec![(60, vec![0, 0, 1, 4, 0, 0, 0, 0])],
                ..Nd::claim()
            }
            .bytes(),
        ),
        gratuitous(
            "13-unsolicited-advertisement-from-a-link-local-source",
            "the claim is in the target",
            V6,
            Nd {
                source: Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0xee),
                ..Nd::claim()
            }
            .bytes(),
        ),
        {
            let claim = Nd {
                source: Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0xee, 0),
                ..Nd::claim()
            };
            gratuitous(
                "13-unsolicited-advertisement-with-a-sum-of-zero",
                "0 is the right checksum of this one, and clients take it for that",
                V6,
                Nd {
                    source: with_last(claim.source, claim.word_for_sum_of_zero()),
                    ..claim
                }
                .bytes(),
            )
        },
        in_passing(
            "13-solicited-advertisement",
            "a rival answers a question of ours",
            V6,
            solicited.bytes(),
        ),
        in_passing(
            "13-solicitation-of-the-vip",
            "a rival asks as the VIP",
            V6,
            asking.bytes(),
        ),
        in_passing(
            "13-solicitation-of-the-vip-without-option",
            "the rival is the Ethernet source then",
            V6,
            Nd {
                to: [2, 0xdd, 0, 0, 0, 9],
                destination: CLIENT6,
                options: vec![],
                ..asking
            }
            .bytes(),
        ),
        {
            let defence = defended(V6, unsolicited(VIP6, 0));
            Case::new(
                "13-advertisement-without-override",
                "proxies send it: counted and defended against, never yielded to",
                Direction::In,
                modest.bytes(),
                &[
                    State::Confirmed,
                    State::Unconfirmed,
                    State::YieldVoid,
                    State::Passed,
                    State::Fenced,
                ],
                |state| match state {
                    State::Confirmed => defence.clone(),
                    _ if state.is_live() => Outcome::untouched().conflict(),
                    _ => Outcome::untouched(),
                },
            )
        },
    ]
}

fn nd_without_claim() -> Vec<Case> {
    let nd = |nd: Nd| nd.bytes();
    vec![
        no_claim(
            "13-advertisement-of-this-interface",
            "our own came back",
            nd(Nd {
                from: OURS,
                options: link_layer(2, OURS),
                ..Nd::claim()
            }),
        ),
        no_claim(
            "13-advertisement-of-another-interface-of-this-host",
            "no rival",
            nd(Nd {
                from: RIVAL,
                options: link_layer(2, OUR_OTHER),
                ..Nd::claim()
            }),
        ),
        no_claim(
            "13-advertisement-with-hop-limit-254",
            "routed here from elsewhere",
            nd(Nd {
                hop_limit: 254,
                ..Nd::claim()
            }),
        ),
        no_claim(
            "13-advertisement-with-wrong-checksum",
            "not well formed",
            nd(Nd {
                sum: Sum::Wrong,
                ..Nd::claim()
            }),
        ),
        no_claim(
            "13-advertisement-with-zero-checksum",
            "not well formed",
            nd(Nd {
                sum: Sum::Zero,
                ..Nd::claim()
            }),
        ),
        no_claim(
            "13-advertisement-with-code",
            "not well formed",
            nd(Nd {
                kind: (136, 1),
                ..Nd::claim()
            }),
        ),
        no_claim(
            "13-advertisement-in-a-fragment",
            "RFC 6980",
            nd(Nd {
                extensions: vec![(44, vec![0; 8])],
                ..Nd::claim()
            }),
        ),
        no_claim(
            "13-advertisement-of-another-address",
            "not ours, not touched",
            nd(Nd {
                target: Some(CLIENT6),
                source: CLIENT6,
                ..Nd::claim()
            }),
        ),
        no_claim(
            "13-router-advertisement-from-the-vip",
            "neither question nor claim",
            nd(Nd {
                kind: (134, 0),
                destination: ALL_NODES,
                ..Nd::claim()
            }),
        ),
    ]
}

const BOTH: [State; 9] = [
    State::Confirmed,
    State::DefendedJustNow,
    State::Unconfirmed,
    State::YieldVoid,
    State::Yielded,
    State::Passed,
    State::Fenced,
    State::OtherEpoch,
    State::OnNode,
];

/// The claim's outcome, and on top of it what the question gets.
fn and(claim: Outcome, question: Outcome) -> Outcome {
    let mut counted = [question.counted, claim.counted].concat();
    counted.sort_by_key(|(verdict, family)| (*verdict as u8, *family as u8));
    let mut noted = claim.noted;
    noted.extend(question.noted);
    Outcome {
        counted,
        conflicts: claim.conflicts,
        events: claim.events,
        noted,
        ..question
    }
}

/// A frame of the rival that claims the VIP and asks for something else.
fn also_asks(
    name: &'static str,
    why: &'static str,
    vip: IpAddr,
    frame: Vec<u8>,
    question: Outcome,
) -> Case {
    let ordered = ordered(vip);
    Case::new(name, why, Direction::In, frame, &BOTH, |state| {
        and(claimed(vip, state, &ordered), question.clone())
    })
}

fn solicitation(source: Ipv6Addr, target: Ipv6Addr) -> Vec<u8> {
    Nd {
        to: group_mac(group(target)),
        from: RIVAL,
        source,
        destination: group(target),
        target: Some(target),
        options: link_layer(1, RIVAL),
        ..Nd::ask()
    }
    .bytes()
}

fn request(spa: Ipv4Addr, tpa: Ipv4Addr) -> Vec<u8> {
    Arp {
        spa,
        tpa,
        ..Arp::claim()
    }
    .bytes()
}

fn both() -> Vec<Case> {
    let answer4 = Outcome::answered(Family::Ipv4, arp_reply(RIVAL, RIVAL, VIP4, LIVE4));
    let flags = SOLICITED | OVERRIDE;
    let answer6 = Outcome::answered(Family::Ipv6, advertisement(RIVAL, VIP6, LIVE6, flags));
    let own = advertisement(RIVAL, VIP6, VIP6, flags);
    let own_answer = Outcome::answered(Family::Ipv6, own);
    vec![
        also_asks(
            "00-claims-a-vip-and-asks-for-a-live-one",
            "both apply: the question is answered, and the conflict goes to the agent",
            V4,
            request(VIP4, LIVE4),
            answer4,
        ),
        also_asks(
            "00-claims-a-vip-and-asks-for-a-fenced-one",
            "the question is dropped, the claim is judged all the same",
            V4,
            request(VIP4, FENCED4),
            Outcome::fenced(Family::Ipv4),
        ),
        also_asks(
            "00-solicits-a-live-vip-from-a-vip",
            "both apply",
            V6,
            solicitation(VIP6, LIVE6),
            answer6,
        ),
        also_asks(
            "00-solicits-a-fenced-vip-from-a-vip",
            "the question is dropped, the claim is judged all the same",
            V6,
            solicitation(VIP6, FENCED6),
            Outcome::fenced(Family::Ipv6),
        ),
        Case::new(
            "00-solicits-a-vip-from-itself",
            "what is yielded is not answered any more",
            Direction::In,
            solicitation(VIP6, VIP6),
            &BOTH,
            |state| {
                let claim = claimed(V6, state, &ordered(V6));
                if state.is_live() && !state.is_unconfirmed() {
                    and(claim, own_answer.clone())
                } else {
                    and(claim, Outcome::fenced(Family::Ipv6))
                }
            },
        ),
        Case::new(
            "00-asks-for-a-vip-as-a-fenced-one",
            "a claim of a fenced VIP is its new owner's business",
            Direction::In,
            request(FENCED4, LIVE4),
            &[State::Confirmed],
            |_| Outcome::answered(Family::Ipv4, arp_reply(RIVAL, RIVAL, FENCED4, LIVE4)),
        ),
        Case::new(
            "00-irregular-question-and-claim",
            "each address is judged by itself",
            Direction::In,
            Arp {
                types: (6, 0x0800),
                spa: VIP4,
                tpa: LIVE4,
                ..Arp::claim()
            }
            .bytes(),
            &[State::Confirmed, State::Unconfirmed, State::Fenced],
            |state| {
                let claim = claimed(V4, state, &ordered(V4));
                and(claim, Outcome::left(Family::Ipv4, Shape::Ieee802))
            },
        ),
    ]
}
