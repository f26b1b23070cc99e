//! Rules 1 to 8: ARP questions.

use std::net::{IpAddr, Ipv4Addr};

use vip_common::{counter::Family, shape::Shape};

use super::{
    Case,
    frame::{Arp, EVERYONE},
    oracle::{arp_reply, reply},
    outcome::Outcome,
    world::{CLIENT, CLIENT4, OURS, VIP4},
};

/// The cases.
pub fn cases() -> Vec<Case> {
    [questions(), formats(), lengths(), senders(), tags()].concat()
}

fn ask(name: &'static str, why: &'static str, frame: Arp, live: Outcome) -> Case {
    Case::ask(name, why, IpAddr::V4(VIP4), frame.bytes(), live)
}

fn answered(frame: Vec<u8>) -> Outcome {
    Outcome::answered(Family::Ipv4, frame)
}

fn left(shape: Shape) -> Outcome {
    Outcome::left(Family::Ipv4, shape)
}

const ELSEWHERE: [u8; 6] = [2, 0xdd, 0, 0, 0, 9];

fn questions() -> Vec<Case> {
    vec![
        ask(
            "01-broadcast-request",
            "the usual question: a unicast reply of 60 bytes",
            Arp::ask(),
            answered(reply()),
        ),
        ask(
            "01-request-to-a-group",
            "another group destination is irregular: Linux answers",
            Arp {
                to: [1, 0, 0x5e, 0, 0, 1],
                ..Arp::ask()
            },
            left(Shape::GroupDestination),
        ),
        ask(
            "02-unicast-refresh",
            "a neighbour refreshes its cache",
            Arp {
                to: OURS,
                ..Arp::ask()
            },
            answered(reply()),
        ),
        ask(
            "02-unicast-to-another-mac",
            "nobody asks this host while the VIP is live; the destination does not matter else",
            Arp {
                to: ELSEWHERE,
                ..Arp::ask()
            },
            Outcome::untouched(),
        ),
        ask(
            "03-probe",
            "a probe (RFC 5227) has sender 0.0.0.0 and gets it back",
            Arp {
                spa: Ipv4Addr::UNSPECIFIED,
                ..Arp::ask()
            },
            answered(arp_reply(CLIENT, CLIENT, Ipv4Addr::UNSPECIFIED, VIP4)),
        ),
        ask(
            "03-target-hardware-of-ones",
            "the target hardware address of a request is ignored",
            Arp {
                tha: [0xff; 6],
                ..Arp::ask()
            },
            answered(reply()),
        ),
        Case::untouched(
            "04-reply-to-the-vip",
            "an answer to the VIP is no question",
            Arp {
                operation: 2,
                to: OURS,
                tha: OURS,
                ..Arp::ask()
            }
            .bytes(),
        ),
        Case::untouched(
            "04-operation-three",
            "other operations are never answered",
            Arp {
                operation: 3,
                ..Arp::ask()
            }
            .bytes(),
        ),
        Case::untouched(
            "04-request-for-another-address",
            "not ours, not touched",
            Arp {
                tpa: Ipv4Addr::new(192, 0, 2, 99),
                ..Arp::ask()
            }
            .bytes(),
        ),
    ]
}

fn formats() -> Vec<Case> {
    let malformed = || left(Shape::ArpFormat);
    vec![
        ask(
            "05-hardware-type-six",
            "Linux also answers IEEE 802",
            Arp {
                types: (6, 0x0800),
                ..Arp::ask()
            },
            left(Shape::Ieee802),
        ),
        ask(
            "05-hardware-type-seven",
            "not Ethernet",
            Arp {
                types: (7, 0x0800),
                ..Arp::ask()
            },
            malformed(),
        ),
        ask(
            "05-protocol-type",
            "not IPv4",
            Arp {
                types: (1, 0x86dd),
                ..Arp::ask()
            },
            malformed(),
        ),
        ask(
            "05-hardware-address-length",
            "not of 6 bytes",
            Arp {
                lengths: (8, 4),
                ..Arp::ask()
            },
            malformed(),
        ),
        ask(
            "05-protocol-address-length",
            "not of 4 bytes",
            Arp {
                lengths: (6, 16),
                ..Arp::ask()
            },
            malformed(),
        ),
        Case::untouched(
            "05-cut-within-the-target",
            "fewer than 28 bytes name no VIP; Linux drops them",
            Arp::ask().bytes()[..41].to_vec(),
        ),
    ]
}

fn lengths() -> Vec<Case> {
    let trailer = |length: usize| Arp {
        trailer: vec![0xa5; length],
        ..Arp::ask()
    };
    vec![
        ask(
            "06-frame-of-60-bytes",
            "trailing bytes are not echoed: the padding of the reply is zero",
            trailer(18),
            answered(reply()),
        ),
        ask(
            "06-frame-of-61-bytes",
            "an odd length shrinks",
            trailer(19),
            answered(reply()),
        ),
        ask(
            "06-frame-of-1514-bytes",
            "a long frame shrinks",
            trailer(1_472),
            answered(reply()),
        ),
        ask(
            "06-tagged-frame-of-64-bytes",
            "with a tag more",
            Arp {
                tags: vec![(0x8100, 0)],
                ..trailer(18)
            },
            answered(reply()),
        ),
    ]
}

fn senders() -> Vec<Case> {
    let shape = || left(Shape::SenderMac);
    vec![
        ask(
            "07-sender-mac-differs",
            "some routers with virtual MACs do this; Linux answers them",
            Arp {
                sha: [0, 0, 0x5e, 0, 1, 1],
                ..Arp::ask()
            },
            shape(),
        ),
        ask(
            "07-sender-mac-is-a-group",
            "an answer to it would go to many",
            Arp {
                sha: [1, 0, 0x5e, 0, 0, 7],
                from: [1, 0, 0x5e, 0, 0, 7],
                ..Arp::ask()
            },
            shape(),
        ),
        ask(
            "07-sender-mac-is-broadcast",
            "an answer to it would go to all",
            Arp {
                sha: EVERYONE,
                from: EVERYONE,
                ..Arp::ask()
            },
            shape(),
        ),
        ask(
            "07-sender-mac-is-zero",
            "nobody's address",
            Arp {
                sha: [0; 6],
                from: [0; 6],
                ..Arp::ask()
            },
            shape(),
        ),
        ask(
            "07-sender-mac-is-ours",
            "our own frame came back",
            Arp {
                sha: OURS,
                from: OURS,
                ..Arp::ask()
            },
            shape(),
        ),
    ]
}

fn tags() -> Vec<Case> {
    let tagged = |tags: &[(u16, u16)]| Arp {
        tags: tags.to_vec(),
        ..Arp::ask()
    };
    vec![
        ask(
            "08-priority-tag",
            "VID 0 is answered untagged, as Linux does",
            tagged(&[(0x8100, 0)]),
            answered(reply()),
        ),
        ask(
            "08-priority-tag-with-priority",
            "priority and drop bits do not matter",
            tagged(&[(0x8100, 0xf000)]),
            answered(reply()),
        ),
        ask(
            "08-service-priority-tag",
            "nor does the kind of tag",
            tagged(&[(0x88a8, 0)]),
            answered(reply()),
        ),
        Case::untouched(
            "08-another-vlan",
            "left: the VLAN's own device is served by tc, where the tag is gone",
            tagged(&[(0x8100, 100)]).bytes(),
        ),
        Case::untouched(
            "08-another-vlan-inside",
            "left, behind a priority tag too",
            tagged(&[(0x8100, 0), (0x8100, 100)]).bytes(),
        ),
        ask(
            "08-nested-priority-tags",
            "irregular: Linux strips and answers",
            tagged(&[(0x8100, 0), (0x8100, 0)]),
            left(Shape::NestedTags),
        ),
        Case::untouched(
            "08-three-priority-tags",
            "deeper than ingress looks: egress catches the kernel's answer",
            tagged(&[(0x8100, 0); 3]).bytes(),
        ),
        Case::untouched(
            "08-cut-within-the-tag",
            "too short for anything",
            tagged(&[(0x8100, 0)]).bytes()[..17].to_vec(),
        ),
        ask(
            "08-nested-tags-of-another-kind",
            "irregular as well",
            tagged(&[(0x88a8, 0), (0x8100, 0xe000)]),
            left(Shape::NestedTags),
        ),
        Case::new(
            "08-priority-tag-probe-of-a-client",
            "the requester is taken from the message behind the tag",
            super::Direction::In,
            Arp {
                spa: CLIENT4,
                tags: vec![(0x8100, 0x2000)],
                ..Arp::ask()
            }
            .bytes(),
            &[super::world::State::Confirmed],
            |_| answered(reply()),
        ),
    ]
}
