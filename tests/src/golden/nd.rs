//! Rules 14 to 26: Neighbour Discovery questions.

use std::net::{IpAddr, Ipv6Addr};

use vip_common::{counter::Family, shape::Shape};

use super::{
    Case,
    frame::{ALL_NODES, EVERYONE, Nd, Sum, group_mac, link_layer, with_last},
    oracle::{OVERRIDE, ROUTER, SOLICITED, advertisement, answer, unsolicited},
    outcome::Outcome,
    world::{CLIENT, CLIENT6, LIVE6, OURS, OWN6, State, VIP6},
};

/// The cases.
pub fn cases() -> Vec<Case> {
    [
        regular(),
        destinations(),
        duplicate_detection(),
        malformed(),
        options(),
        extensions(),
        senders(),
        tags(),
    ]
    .concat()
}

fn ask(name: &'static str, why: &'static str, frame: Nd, live: Outcome) -> Case {
    Case::ask(name, why, IpAddr::V6(VIP6), frame.bytes(), live)
}

fn answered(frame: Vec<u8>) -> Outcome {
    Outcome::answered(Family::Ipv6, frame)
}

fn left(shape: Shape) -> Outcome {
    Outcome::left(Family::Ipv6, shape)
}

const NONCE: [u8; 8] = [14, 1, 1, 2, 3, 4, 5, 6];
const ALL_ROUTERS: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 2);

fn regular() -> Vec<Case> {
    let from_link_local = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 7);
    vec![
        ask(
            "14-multicast-solicitation",
            "the usual question: a solicited advertisement of 86 bytes",
            Nd::ask(),
            answered(answer()),
        )
        .with(
            State::Router,
            answered(advertisement(
                CLIENT,
                CLIENT6,
                VIP6,
                ROUTER | SOLICITED | OVERRIDE,
            )),
        ),
        ask(
            "14-solicitation-from-a-link-local-source",
            "answered to it",
            Nd {
                source: from_link_local,
                ..Nd::ask()
            },
            answered(advertisement(
                CLIENT,
                from_link_local,
                VIP6,
                SOLICITED | OVERRIDE,
            )),
        ),
        ask(
            "14-group-destination-in-unicast-frame",
            "switches turn multicast into unicast",
            Nd {
                to: OURS,
                ..Nd::ask()
            },
            answered(answer()),
        ),
        ask(
            "15-unicast-solicitation",
            "neighbour unreachability detection, without option",
            Nd::refresh(),
            answered(answer()),
        ),
        ask(
            "15-unicast-solicitation-with-option",
            "with it as well",
            Nd {
                options: link_layer(1, CLIENT),
                ..Nd::refresh()
            },
            answered(answer()),
        ),
        ask(
            "06-solicitation-with-trailing-bytes",
            "what follows the packet is not echoed",
            Nd {
                trailer: vec![0xa5; 33],
                ..Nd::ask()
            },
            answered(answer()),
        ),
        ask(
            "23-router-flag-follows-forwarding",
            "R is set where the interface forwards, and nowhere else",
            Nd::refresh(),
            answered(answer()),
        )
        .with(
            State::Router,
            answered(advertisement(
                CLIENT,
                CLIENT6,
                VIP6,
                ROUTER | SOLICITED | OVERRIDE,
            )),
        ),
        Case::untouched(
            "14-solicitation-for-another-address",
            "not ours, not touched, though the group may be",
            Nd {
                target: Some(CLIENT6),
                ..Nd::ask()
            }
            .bytes(),
        ),
    ]
}

fn destinations() -> Vec<Case> {
    let group = || left(Shape::GroupDestination);
    vec![
        ask(
            "14-solicitation-to-all-nodes",
            "irregular: Linux answers",
            Nd {
                to: group_mac(ALL_NODES),
                destination: ALL_NODES,
                ..Nd::ask()
            },
            group(),
        ),
        ask(
            "14-solicitation-to-another-solicited-node-group",
            "irregular",
            Nd {
                to: group_mac(super::frame::group(LIVE6)),
                destination: super::frame::group(LIVE6),
                ..Nd::ask()
            },
            group(),
        ),
        ask(
            "14-solicitation-in-broadcast",
            "irregular",
            Nd {
                to: EVERYONE,
                ..Nd::ask()
            },
            group(),
        ),
        ask(
            "14-unicast-packet-in-multicast-frame",
            "irregular",
            Nd {
                destination: VIP6,
                ..Nd::ask()
            },
            group(),
        ),
        ask(
            "14-unicast-to-another-mac",
            "nobody asks this host while the VIP is live",
            Nd {
                to: [2, 0xdd, 0, 0, 0, 9],
                ..Nd::refresh()
            },
            Outcome::untouched(),
        ),
        ask(
            "15-unicast-solicitation-to-another-own-address",
            "irregular: Linux answers",
            Nd {
                destination: OWN6,
                ..Nd::refresh()
            },
            left(Shape::OtherDestination),
        ),
        ask(
            "16-multicast-solicitation-without-option",
            "irregular: Linux asks back first",
            Nd {
                options: vec![],
                ..Nd::ask()
            },
            left(Shape::NoSourceOption),
        ),
    ]
}

fn duplicate_detection() -> Vec<Case> {
    let answer = || answered(unsolicited(VIP6, 0)).token();
    vec![
        ask(
            "17-duplicate-address-detection",
            "answered to all nodes, S=0 O=1",
            Nd::dad(),
            answer(),
        )
        .with(State::Router, answered(unsolicited(VIP6, ROUTER)).token())
        .with(State::BucketEmpty, left(Shape::Regular)),
        ask(
            "17-duplicate-address-detection-with-nonce",
            "RFC 7527",
            Nd {
                options: NONCE.to_vec(),
                ..Nd::dad()
            },
            answer(),
        ),
        ask(
            "18-duplicate-address-detection-with-option",
            "RFC 4861, 7.1.1",
            Nd {
                options: link_layer(1, CLIENT),
                ..Nd::dad()
            },
            left(Shape::DadOption),
        ),
        ask(
            "18-duplicate-address-detection-to-all-nodes",
            "no solicited-node group",
            Nd {
                to: group_mac(ALL_NODES),
                destination: ALL_NODES,
                ..Nd::dad()
            },
            left(Shape::DadDestination),
        ),
        ask(
            "18-duplicate-address-detection-to-the-vip",
            "no group at all",
            Nd {
                to: OURS,
                destination: VIP6,
                ..Nd::dad()
            },
            left(Shape::DadDestination),
        ),
        ask(
            "18-duplicate-address-detection-to-another-group",
            "another solicited-node group is irregular",
            Nd {
                to: group_mac(super::frame::group(LIVE6)),
                destination: super::frame::group(LIVE6),
                ..Nd::dad()
            },
            left(Shape::GroupDestination),
        ),
    ]
}

fn malformed() -> Vec<Case> {
    let nd = |name, why, nd, shape| ask(name, why, nd, left(shape));
    let loopback = Ipv6Addr::LOCALHOST;
    let zero_sum = Nd {
        source: with_last(CLIENT6, 0),
        ..Nd::ask()
    };
    vec![
        nd(
            "19-hop-limit-254",
            "came through a router",
            Nd {
                hop_limit: 254,
                ..Nd::ask()
            },
            Shape::HopLimit,
        ),
        nd(
            "19-wrong-checksum",
            "damaged",
            Nd {
                sum: Sum::Wrong,
                ..Nd::ask()
            },
            Shape::Checksum,
        ),
        nd(
            "19-zero-checksum",
            "ICMPv6 knows no absent checksum",
            Nd {
                sum: Sum::Zero,
                ..Nd::ask()
            },
            Shape::Checksum,
        ),
        nd(
            "19-zero-checksum-though-right",
            "the sum of this one is zero",
            Nd {
                source: with_last(CLIENT6, zero_sum.word_for_sum_of_zero()),
                ..zero_sum
            },
            Shape::Checksum,
        ),
        nd(
            "19-payload-far-beyond-the-frame",
            "not merely too long",
            Nd {
                payload_length: Some(2_048),
                ..Nd::ask()
            },
            Shape::Length,
        ),
        nd(
            "19-code-not-0",
            "RFC 4861, 7.1.1",
            Nd {
                kind: (135, 1),
                ..Nd::ask()
            },
            Shape::Code,
        ),
        nd(
            "19-shorter-than-24-bytes",
            "by the payload length",
            Nd {
                payload_length: Some(16),
                ..Nd::ask()
            },
            Shape::Length,
        ),
        nd(
            "19-payload-beyond-the-frame",
            "a length that does not fit",
            Nd {
                payload_length: Some(40),
                ..Nd::ask()
            },
            Shape::Length,
        ),
        nd(
            "19-payload-of-no-whole-option",
            "the rest is no option",
            Nd {
                options: [link_layer(1, CLIENT), vec![14]].concat(),
                ..Nd::ask()
            },
            Shape::Length,
        ),
        nd(
            "19-option-of-length-0",
            "RFC 4861, 4.6",
            Nd {
                options: vec![1, 0, 2, 0xcc, 0, 0, 0, 1],
                ..Nd::ask()
            },
            Shape::Option,
        ),
        nd(
            "19-option-beyond-the-packet",
            "cut",
            Nd {
                options: vec![1, 2, 2, 0xcc, 0, 0, 0, 1],
                ..Nd::ask()
            },
            Shape::Option,
        ),
        nd(
            "19-second-option-of-length-0",
            "also behind a good one",
            Nd {
                options: [link_layer(1, CLIENT), vec![14, 0, 0, 0, 0, 0, 0, 0]].concat(),
                ..Nd::ask()
            },
            Shape::Option,
        ),
        Case::untouched(
            "19-multicast-target",
            "never a VIP",
            Nd {
                target: Some(ALL_NODES),
                ..Nd::ask()
            }
            .bytes(),
        ),
        Case::untouched(
            "19-cut-within-the-target",
            "names no VIP",
            Nd::ask().bytes()[..77].to_vec(),
        ),
        nd(
            "19-not-version-6",
            "Linux drops it",
            Nd {
                version: 4,
                ..Nd::ask()
            },
            Shape::Version,
        ),
        nd(
            "25-multicast-source",
            "nobody to answer",
            Nd {
                source: ALL_ROUTERS,
                ..Nd::ask()
            },
            Shape::Source,
        ),
        nd(
            "25-loopback-source",
            "never on a wire",
            Nd {
                source: loopback,
                ..Nd::ask()
            },
            Shape::Source,
        ),
        nd(
            "25-mapped-source",
            "irregular",
            Nd {
                source: Ipv6Addr::new(0, 0, 0, 0, 0, 0xffff, 0xc000, 0x207),
                ..Nd::ask()
            },
            Shape::MappedSource,
        ),
    ]
}

fn options() -> Vec<Case> {
    let own = || link_layer(1, CLIENT);
    let unknown = || [vec![200, 2], vec![7; 14]].concat();
    let filler = |bytes: usize| vec![NONCE; bytes / 8].concat();
    vec![
        ask(
            "20-unknown-option-before",
            "ignored",
            Nd {
                options: [unknown(), own()].concat(),
                ..Nd::ask()
            },
            answered(answer()),
        ),
        ask(
            "20-unknown-option-behind",
            "ignored",
            Nd {
                options: [own(), unknown()].concat(),
                ..Nd::ask()
            },
            answered(answer()),
        ),
        ask(
            "20-first-source-option-counts",
            "as in Linux",
            Nd {
                options: [own(), link_layer(1, [2, 9, 9, 9, 9, 9])].concat(),
                ..Nd::ask()
            },
            answered(answer()),
        ),
        ask(
            "20-second-source-option-does-not-count",
            "the first is not the sender's",
            Nd {
                options: [link_layer(1, [2, 9, 9, 9, 9, 9]), own()].concat(),
                ..Nd::ask()
            },
            left(Shape::SenderMac),
        ),
        ask(
            "20-target-option-is-no-source-option",
            "of another type",
            Nd {
                options: link_layer(2, CLIENT),
                ..Nd::ask()
            },
            left(Shape::NoSourceOption),
        ),
        ask(
            "20-solicitation-of-256-bytes",
            "the longest that is answered",
            Nd {
                options: [filler(224), own()].concat(),
                ..Nd::ask()
            },
            answered(answer()),
        ),
        ask(
            "20-solicitation-of-264-bytes",
            "longer is irregular",
            Nd {
                options: [filler(232), own()].concat(),
                ..Nd::ask()
            },
            left(Shape::TooLong),
        ),
        ask(
            "20-source-option-of-another-length",
            "not an Ethernet address",
            Nd {
                options: [vec![1, 2], vec![2; 14]].concat(),
                ..Nd::ask()
            },
            left(Shape::SenderMac),
        ),
        ask(
            "20-reserved-bits-are-ignored",
            "RFC 4861, 4.3",
            Nd {
                flags: 0xffff_ffff,
                ..Nd::ask()
            },
            answered(answer()),
        ),
    ]
}

fn extensions() -> Vec<Case> {
    let pad = || vec![0, 0, 1, 4, 0, 0, 0, 0];
    let with = |extensions: Vec<(u8, Vec<u8>)>| Nd {
        extensions,
        ..Nd::ask()
    };
    let irregular = || left(Shape::Extensions);
    let authentication = [vec![0, 4], vec![0; 22]].concat();
    vec![
        ask(
            "21-atomic-fragment",
            "RFC 6980",
            with(vec![(44, vec![0; 8])]),
            left(Shape::Fragment),
        ),
        ask(
            "21-first-fragment",
            "RFC 6980",
            with(vec![(44, vec![0, 0, 0, 1, 0, 0, 0, 9])]),
            left(Shape::Fragment),
        ),
        Case::untouched(
            "21-later-fragment",
            "names nothing: egress catches the kernel's answer",
            with(vec![(44, vec![0, 0, 0, 8, 0, 0, 0, 9])]).bytes(),
        ),
        ask(
            "21-fragment-behind-an-extension",
            "found as well",
            with(vec![(0, pad()), (44, vec![0; 8])]),
            left(Shape::Fragment),
        ),
        ask(
            "22-hop-by-hop-options",
            "Linux answers",
            with(vec![(0, pad())]),
            irregular(),
        ),
        ask(
            "22-destination-options",
            "Linux answers",
            with(vec![(60, pad())]),
            irregular(),
        ),
        ask(
            "22-two-extensions",
            "both are parsed",
            with(vec![
                (0, pad()),
                (60, [vec![0, 1], vec![1, 12], vec![0; 12]].concat()),
            ]),
            irregular(),
        ),
        ask(
            "22-authentication-header",
            "its length counts units of 4 bytes",
            with(vec![(51, authentication)]),
            irregular(),
        ),
        Case::untouched(
            "22-three-extensions",
            "deeper than ingress looks: egress catches the kernel's answer",
            with(vec![(0, pad()), (60, pad()), (60, pad())]).bytes(),
        ),
        Case::untouched(
            "22-unknown-next-header",
            "nothing that Linux would look into",
            with(vec![(253, pad())]).bytes(),
        ),
    ]
}

fn senders() -> Vec<Case> {
    let from = |mac: [u8; 6]| Nd {
        from: mac,
        options: link_layer(1, mac),
        ..Nd::ask()
    };
    let irregular = || left(Shape::SenderMac);
    vec![
        ask(
            "24-option-is-not-the-ethernet-source",
            "Linux answers to the option",
            Nd {
                options: link_layer(1, [2, 9, 9, 9, 9, 9]),
                ..Nd::ask()
            },
            irregular(),
        ),
        ask(
            "24-option-is-a-group",
            "no station",
            from([0x33, 0x33, 0, 0, 0, 1]),
            irregular(),
        ),
        ask("24-option-is-zero", "no station", from([0; 6]), irregular()),
        ask(
            "24-option-is-ours",
            "our own frame came back",
            from(OURS),
            irregular(),
        ),
        ask(
            "24-ethernet-source-is-ours",
            "also without option",
            Nd {
                from: OURS,
                ..Nd::refresh()
            },
            irregular(),
        ),
        {
            let answer = Nd {
                destination: with_last(CLIENT6, 0),
                ..Nd::our_answer()
            };
            let requester = with_last(CLIENT6, answer.word_for_sum_of_zero());
            ask(
                "26-answer-with-a-sum-of-zero",
                "sent as ffff: rule 19 would call 0 malformed",
                Nd {
                    source: requester,
                    options: link_layer(1, CLIENT),
                    ..Nd::ask()
                },
                answered(advertisement(CLIENT, requester, VIP6, SOLICITED | OVERRIDE)),
            )
        },
        // The sum of this question and of its answer needs an end-around carry twice.
        ask(
            "26-checksum-with-carries",
            "computed in full",
            Nd {
                source: Ipv6Addr::new(
                    0xfe80, 0xffff, 0xffff, 0xffff, 0xffff, 0xffff, 0xffff, 0xfffe,
                ),
                ..Nd::ask()
            },
            answered(advertisement(
                CLIENT,
                Ipv6Addr::new(
                    0xfe80, 0xffff, 0xffff, 0xffff, 0xffff, 0xffff, 0xffff, 0xfffe,
                ),
                VIP6,
                SOLICITED | OVERRIDE,
            )),
        ),
    ]
}

fn tags() -> Vec<Case> {
    let tagged = |tags: &[(u16, u16)]| Nd {
        tags: tags.to_vec(),
        ..Nd::ask()
    };
    vec![
        ask(
            "08-solicitation-with-priority-tag",
            "answered untagged",
            tagged(&[(0x8100, 0)]),
            answered(answer()),
        ),
        ask(
            "08-solicitation-with-nested-priority-tags",
            "irregular",
            tagged(&[(0x8100, 0), (0x8100, 0)]),
            left(Shape::NestedTags),
        ),
        Case::untouched(
            "08-solicitation-in-another-vlan",
            "left to the VLAN's own device",
            tagged(&[(0x8100, 100)]).bytes(),
        ),
    ]
}
