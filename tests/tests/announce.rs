//! Announcements on a real link: their bytes at the peer, and what a client makes of them.

// The exemption in clippy.toml reaches `#[test]` functions only.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{
    collections::BTreeSet,
    fs,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    num::NonZeroU32,
    os::fd::AsRawFd,
    process::{Child, Command},
    thread,
    time::{Duration, Instant},
};

use nix::{
    errno::Errno,
    net::if_::if_nametoindex,
    sched::{CloneFlags, setns, unshare},
    sys::{
        socket::{
            AddressFamily, LinkAddr, MsgFlags, SockFlag, SockProtocol, SockType, recv, recvfrom,
            setsockopt, socket, sockopt,
        },
        time::{TimeVal, TimeValLike},
    },
};
use vip_agent::{
    announce::{Announcement, Announcer, Key},
    frame::{self, Form, Sender},
    io::packet_socket::{Outcome, PacketSocket},
    vip::Mac,
};

const VIP4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 100);
const VIP6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x100);
const MAC: Mac = Mac([2, 0, 0x5e, 0, 0x53, 1]);
const SENDER: Sender = Sender {
    mac: MAC,
    own_ipv4: Some(Ipv4Addr::new(192, 0, 2, 1)),
    own_ipv6: None,
    router: false,
};

/// The node's namespace with interface `node`, the client's with `client`, a cable between.
/// The namespaces go with the thread and the process that are in them.
struct Lan {
    /// A process in the client's namespace.
    client: Child,
}

impl Lan {
    /// Moves the calling thread into a fresh node, beside a fresh client.
    fn new() -> Self {
        unshare(CloneFlags::CLONE_NEWNET).unwrap();
        let client = Command::new("unshare")
            .args(["--net", "sleep", "60"])
            .spawn()
            .unwrap();
        let lan = Self { client };
        // unshare(1) is in its namespace once it has become sleep(1).
        let pid = lan.client.id();
        while fs::read_to_string(format!("/proc/{pid}/comm")).unwrap() != "sleep\n" {
            thread::sleep(Duration::from_millis(1));
        }
        run(&format!(
            "ip link add node address {MAC} type veth peer name client netns {pid}"
        ));
        run("ip address add 192.0.2.1/24 dev node");
        run("ip link set node up");
        lan.client("ip address add 192.0.2.2/24 dev client");
        lan.client("ip address add 2001:db8::2/64 dev client nodad");
        lan.client("ip link set client up");
        // Before the kernel has seen the carrier, the node's frames vanish in a queue that takes
        // and drops all, and the client has no route for multicast.
        while !lan.client("ip link show client").contains("state UP")
            || !run("ip link show node").contains("state UP")
        {
            thread::sleep(Duration::from_millis(5));
        }
        lan
    }

    fn client(&self, command: &str) -> String {
        run(&format!("nsenter --net={} {command}", self.namespace()))
    }

    fn namespace(&self) -> String {
        format!("/proc/{}/ns/net", self.client.id())
    }

    /// Waits until the client takes the node's MAC address for that of `vip`: on a busy machine
    /// it may receive the frame a moment after it was sent.
    fn learns(&self, vip: &str) {
        let start = Instant::now();
        while !self.neighbour(vip).contains(&MAC.to_string()) {
            let entry = self.neighbour(vip);
            assert!(start.elapsed() < Duration::from_secs(3), "{entry:?}");
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// What the client knows of the MAC address of `vip`.
    fn neighbour(&self, vip: &str) -> String {
        self.client(&format!("ip neighbour show {vip} dev client"))
    }

    /// The first `count` announcements that the client receives while `send` runs and after.
    fn capture(&self, count: usize, send: impl FnOnce()) -> Vec<Vec<u8>> {
        let namespace = fs::File::open(self.namespace()).unwrap();
        let opening = thread::spawn(move || {
            setns(namespace, CloneFlags::CLONE_NEWNET).unwrap();
            let (family, kind) = (AddressFamily::Packet, SockType::Raw);
            socket(family, kind, SockFlag::SOCK_CLOEXEC, SockProtocol::EthAll).unwrap()
        });
        let receiver = opening.join().unwrap();
        setsockopt(&receiver, sockopt::ReceiveTimeout, &TimeVal::seconds(5)).unwrap();
        send();
        let mut frames = Vec::new();
        while frames.len() < count {
            let mut buffer = [0; 2048];
            let read = recv(receiver.as_raw_fd(), &mut buffer, MsgFlags::empty())
                .expect("a further announcement");
            // The node's kernel sends frames of its own too (router solicitations, MLD).
            let arp = buffer[12..14] == [0x08, 0x06];
            let na = buffer[12..14] == [0x86, 0xdd] && buffer[20] == 58 && buffer[54] == 136;
            if buffer[6..12] == MAC.0 && (arp || na) {
                frames.push(buffer[..read].to_vec());
            }
        }
        frames
    }
}

impl Drop for Lan {
    fn drop(&mut self) {
        self.client.kill().unwrap();
        self.client.wait().unwrap();
    }
}

/// The output of a command, which must succeed.
fn run(command: &str) -> String {
    let mut words = command.split_whitespace();
    let program = words.next().unwrap();
    let output = Command::new(program).args(words).output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command}: {errors}");
    String::from_utf8(output.stdout).unwrap()
}

fn send(frames: &[Announcement]) -> Outcome {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async { PacketSocket::open().unwrap().send(frames).await.unwrap() })
}

fn announced(form: Form) -> Announcement {
    let vip: IpAddr = match form {
        Form::Advertisement => VIP6.into(),
        Form::Request | Form::Reply | Form::RequestFromVip | Form::Ask | Form::Probe => VIP4.into(),
    };
    let ifindex = if_nametoindex("node").unwrap();
    let frame = frame::announcement(form, vip, &SENDER).unwrap();
    let key = Key { vip, ifindex };
    Announcement { key, form, frame }
}

#[test]
#[ignore = "needs root"]
fn the_peer_receives_every_form_byte_for_byte_and_in_order() {
    let lan = Lan::new();
    let forms = [
        Form::Request,
        Form::Reply,
        Form::RequestFromVip,
        Form::Advertisement,
    ];
    let frames = forms.map(announced);
    let mut outcome = Outcome::default();
    let seen = lan.capture(frames.len(), || outcome = send(&frames));
    for (frame, seen) in frames.iter().zip(&seen) {
        assert_eq!(frame.frame, *seen, "{:?}", frame.form);
    }
    assert_eq!(outcome.sent, [3, 1]);
    assert_eq!((outcome.fenced, outcome.failed), (0, None));
}

#[test]
#[ignore = "needs root"]
fn a_client_learns_an_ipv4_vip_from_both_gratuitous_forms() {
    let lan = Lan::new();
    lan.client("sysctl -qw net.ipv4.conf.client.arp_accept=1");
    for form in [Form::Request, Form::Reply] {
        lan.client("ip neighbour flush dev client");
        assert_eq!(lan.neighbour("192.0.2.100"), "");
        assert_eq!(send(&[announced(form)]).sent, [1, 0]);
        lan.learns("192.0.2.100");
    }
}

#[test]
#[ignore = "needs root"]
fn a_client_that_ignores_gratuitous_arp_corrects_an_entry_by_the_third_form() {
    let lan = Lan::new();
    lan.client("ip neighbour add 192.0.2.100 lladdr 02:00:00:00:00:99 nud stale dev client");
    // Linux takes no other MAC address for an entry that is younger than its locktime, 1 s.
    thread::sleep(Duration::from_millis(1100));
    assert_eq!(send(&[announced(Form::RequestFromVip)]).sent, [1, 0]);
    lan.learns("192.0.2.100");
}

#[test]
#[ignore = "needs root"]
fn a_client_that_knows_another_mac_takes_the_one_of_the_advertisement() {
    let lan = Lan::new();
    lan.client("ip neighbour add 2001:db8::100 lladdr 02:00:00:00:00:99 nud reachable dev client");
    assert_eq!(send(&[announced(Form::Advertisement)]).sent, [0, 1]);
    lan.learns("2001:db8::100");
    // The judge is strict: another MAC address under the same checksum has no effect.
    let mut forged = announced(Form::Advertisement);
    let mut bytes = forged.frame.to_vec();
    bytes[80] = 0x0a;
    forged.frame = bytes.into();
    let seen = lan.capture(1, || assert_eq!(send(&[forged]).sent, [0, 1]));
    assert_eq!(seen[0][80], 0x0a);
    let entry = lan.neighbour("2001:db8::100");
    assert!(entry.contains(&MAC.to_string()), "{entry:?}");
}

/// What announcements of a fenced VIP meet: they are dropped on their way out, and the sender
/// sees ENOBUFS. A queue without room does the same; that it is met at all shows that frames do
/// not bypass the queueing layer.
#[test]
#[ignore = "needs root"]
fn frames_that_egress_drops_count_as_fenced_and_the_others_leave() {
    let lan = Lan::new();
    run("ip link add shut type veth peer name shut-peer");
    run("ip link set shut up");
    run("ip link set shut-peer up");
    run("tc qdisc add dev shut root pfifo limit 0");
    let mut frames = [Form::Request, Form::Advertisement, Form::Reply].map(announced);
    for i in [0, 2] {
        frames[i].key.ifindex = if_nametoindex("shut").unwrap();
    }
    let mut outcome = Outcome::default();
    let seen = lan.capture(1, || outcome = send(&frames));
    assert_eq!(frames[1].frame, seen[0]);
    assert_eq!(outcome.sent, [0, 1]);
    assert_eq!((outcome.fenced, outcome.failed), (2, None));
}

/// `skb->protocol`, by which the egress program tells ARP from IPv6.
#[test]
#[ignore = "needs root"]
fn frames_leave_with_the_protocol_of_their_family() {
    let _lan = Lan::new();
    let (family, kind) = (AddressFamily::Packet, SockType::Raw);
    let tap = socket(family, kind, SockFlag::SOCK_CLOEXEC, SockProtocol::EthAll).unwrap();
    setsockopt(&tap, sockopt::ReceiveTimeout, &TimeVal::seconds(5)).unwrap();
    for (form, protocol) in [
        (Form::Request, libc::ETH_P_ARP),
        (Form::Advertisement, libc::ETH_P_IPV6),
    ] {
        let frame = announced(form);
        assert_eq!(
            send(std::slice::from_ref(&frame)).sent.iter().sum::<u64>(),
            1
        );
        loop {
            let mut buffer = [0; 2048];
            let (read, from) = recvfrom::<LinkAddr>(tap.as_raw_fd(), &mut buffer).unwrap();
            if buffer[..read] == frame.frame[..] {
                let from = from.unwrap();
                assert_eq!(u16::from_be(from.protocol()), protocol as u16, "{form:?}");
                break;
            }
        }
    }
}

#[test]
#[ignore = "needs root"]
fn a_link_that_is_gone_or_down_fails_its_own_frames_alone() {
    let _lan = Lan::new();
    let mut frames = [Form::Request, Form::Advertisement, Form::Reply].map(announced);
    frames[1].key.ifindex = 9999;
    let outcome = send(&frames);
    assert_eq!(outcome.sent, [2, 0]);
    assert_eq!(outcome.failed, Some((1, Errno::ENXIO)));
    run("ip link set node down");
    let outcome = send(&frames);
    assert_eq!(outcome.sent, [0, 0]);
    assert_eq!(outcome.failed, Some((3, Errno::ENETDOWN)));
}

#[test]
#[ignore = "needs root"]
fn ten_thousand_vips_of_each_family_all_leave_once_before_any_leaves_twice() {
    let _lan = Lan::new();
    let ifindex = if_nametoindex("node").unwrap();
    let mut announcer = Announcer::new(None, 1);
    announcer.set_link(ifindex, Some(SENDER));
    for number in 0..10_000_u16 {
        let v4 = Ipv4Addr::from_bits(0x0a00_0000 | u32::from(number));
        let v6 = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 1, number);
        for vip in [v4.into(), v6.into()] {
            announcer.start(Key { vip, ifindex });
        }
    }
    let start = Instant::now();
    let mut order = Vec::new();
    while order.len() < 20_000 {
        let frames = announcer.poll(Duration::ZERO);
        let outcome = send(&frames);
        assert_eq!(outcome.sent.iter().sum::<u64>(), frames.len() as u64);
        order.extend(frames.into_iter().map(|frame| frame.key));
    }
    println!("20,000 first frames left in {:?}", start.elapsed());
    let firsts: BTreeSet<Key> = order[..20_000].iter().copied().collect();
    assert_eq!(firsts.len(), 20_000);
}

#[test]
#[ignore = "needs root"]
fn no_second_on_the_wire_exceeds_the_rate() {
    let _lan = Lan::new();
    let ifindex = if_nametoindex("node").unwrap();
    let mut announcer = Announcer::new(NonZeroU32::new(200), 1);
    announcer.set_link(ifindex, Some(SENDER));
    for number in 0..=u8::MAX {
        let vip = Ipv4Addr::new(192, 0, 2, number).into();
        announcer.start(Key { vip, ifindex });
    }
    let start = Instant::now();
    let mut sent = 0;
    while start.elapsed() < Duration::from_millis(990) {
        sent += send(&announcer.poll(start.elapsed())).sent[0];
        thread::sleep(Duration::from_millis(2));
    }
    // The lower bound leaves room for a machine that is busy with other tests.
    assert!((10..=200).contains(&sent), "{sent} frames in a second");
}
