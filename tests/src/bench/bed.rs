//! The paths: one client namespace, and for each answerer a namespace and a veth pair.

use std::{
    fs::File,
    os::fd::{AsFd, AsRawFd},
    path::Path,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use aya::{
    Ebpf, Pod,
    maps::{Array, HashMap, PerCpuArray},
    programs::XdpMode,
};
use nix::{
    ifaddrs::getifaddrs,
    net::if_::if_nametoindex,
    sched::{CloneFlags, setns, unshare},
};
use vip_common::abi::{FOREVER, LeaseSlot, SLOT_SESSION, VipEntry, VipKey};

use super::{
    error::Error,
    frames::{VIP4, VIP6},
    programs::{load, send, xdp},
    responder,
};

/// Who answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answerer {
    /// `xvip_ingress`.
    Xvip,
    /// An XDP program that does not look at what it answers.
    Reflector,
    /// The kernel, with the VIP bound and no program.
    Kernel,
    /// A process with a packet socket.
    Userspace,
}

impl Answerer {
    pub(super) const ALL: [Self; 4] = [Self::Xvip, Self::Reflector, Self::Kernel, Self::Userspace];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Xvip => "xvip",
            Self::Reflector => "XDP reflector",
            Self::Kernel => "kernel",
            Self::Userspace => "AF_PACKET responder",
        }
    }

    /// Names of the two ends of its path.
    fn ends(self) -> (&'static str, &'static str) {
        match self {
            Self::Xvip => ("cx", "sx"),
            Self::Reflector => ("cr", "sr"),
            Self::Kernel => ("ck", "sk"),
            Self::Userspace => ("cu", "su"),
        }
    }
}

/// Everything that is loaded and set up. Dropping it removes all: the namespaces live by it.
pub(super) struct Bed {
    pub(super) xvip: Ebpf,
    pub(super) others: Ebpf,
    clients: [u32; Answerer::ALL.len()],
    _servers: Vec<File>,
}

impl Bed {
    pub(super) fn new(objects: &Path) -> Result<Self, Error> {
        let mut xvip = load(&objects.join("xvip.o"))?;
        let mut others = load(&objects.join("bench.o"))?;
        let client = namespace()?;
        let mut servers = Vec::new();
        let mut clients = [0; Answerer::ALL.len()];
        for answerer in Answerer::ALL {
            let (near, far) = answerer.ends();
            let server = namespace()?;
            enter(&client)?;
            ip(&["link", "add", near, "type", "veth", "peer", "name", far])?;
            let to = format!("/proc/{}/fd/{}", std::process::id(), server.as_raw_fd());
            ip(&["link", "set", far, "netns", &to])?;
            ip(&["link", "set", near, "up"])?;
            let index = if_nametoindex(near).map_err(Error::errno("client's interface"))?;
            xdp(&mut others, "count")?.attach_to_if_index(index, XdpMode::Driver)?;
            clients[answerer as usize] = index;

            enter(&server)?;
            ip(&["link", "set", far, "up"])?;
            let index = if_nametoindex(far).map_err(Error::errno("server's interface"))?;
            match answerer {
                Answerer::Xvip => {
                    program_vips(&mut xvip, index, mac_of(far)?)?;
                    xdp(&mut xvip, "xvip_ingress")?.attach_to_if_index(index, XdpMode::Driver)?;
                }
                Answerer::Reflector => {
                    xdp(&mut others, "reflect")?.attach_to_if_index(index, XdpMode::Driver)?;
                }
                Answerer::Kernel | Answerer::Userspace => {
                    // Without an XDP program a veth takes live frames only if it has NAPI.
                    run(Command::new("ethtool").args(["-K", far, "gro", "on"]))?;
                }
            }
            if answerer == Answerer::Kernel {
                ip(&["addr", "add", "192.0.2.2/24", "dev", far])?;
                ip(&["addr", "add", "2001:db8::2/64", "dev", far, "nodad"])?;
                ip(&["addr", "add", &format!("{VIP4}/32"), "dev", far])?;
                ip(&["addr", "add", &format!("{VIP6}/128"), "dev", far, "nodad"])?;
            }
            if answerer == Answerer::Userspace {
                responder::start(index, mac_of(far)?)?;
            }
            servers.push(server);
        }
        enter(&client)?;
        park(&mut others)?;
        // Carrier, and the group memberships of the addresses.
        thread::sleep(Duration::from_millis(300));
        Ok(Self {
            xvip,
            others,
            clients,
            _servers: servers,
        })
    }

    /// Makes `frame` what the generator sends.
    pub(super) fn set_template(&mut self, frame: &[u8]) -> Result<(), Error> {
        let map = self.others.map_mut("TEMPLATE");
        let mut template: Array<_, [u8; 88]> =
            Array::try_from(map.ok_or(Error::Missing("TEMPLATE"))?)?;
        let mut bytes = [0; 88];
        bytes[..frame.len()].copy_from_slice(frame);
        Ok(template.set(0, bytes, 0)?)
    }

    /// Answers a second of one slice of `count` frames, and the time that the slice took.
    pub(super) fn slice(
        &mut self,
        answerer: Answerer,
        frame: &[u8],
        count: u32,
    ) -> Result<(f64, Duration), Error> {
        let before = self.settled_answers()?;
        let client = self.clients[answerer as usize];
        let generator = xdp(&mut self.others, "generate")?
            .fd()?
            .as_fd()
            .try_clone_to_owned();
        let generator = generator.map_err(Error::io("generator"))?;
        let start = Instant::now();
        let mut took = send(generator.as_fd(), client, frame, count)?;
        if answerer == Answerer::Userspace {
            // It answers on its own time.
            took = start.elapsed();
        }
        let answered = self.answers()? - before;
        Ok((answered as f64 / took.as_secs_f64(), took))
    }

    /// The answers so far, once no more come of what was sent before.
    fn settled_answers(&self) -> Result<u64, Error> {
        let mut before = self.answers()?;
        loop {
            thread::sleep(Duration::from_micros(500));
            let now = self.answers()?;
            if now == before {
                return Ok(now);
            }
            before = now;
        }
    }

    fn answers(&self) -> Result<u64, Error> {
        let map = self
            .others
            .map("ANSWERS")
            .ok_or(Error::Missing("ANSWERS"))?;
        let answers: PerCpuArray<_, u64> = PerCpuArray::try_from(map)?;
        Ok(answers.get(&0, 0)?.iter().sum())
    }
}

/// Attaches the programs that only test runs use. Else each run would enter them into the
/// kernel's XDP dispatcher and out of it, and wait for RCU twice.
fn park(others: &mut Ebpf) -> Result<(), Error> {
    let (left, right) = ("p0", "p1");
    ip(&["link", "add", left, "type", "veth", "peer", "name", right])?;
    for (interface, program) in [(left, "generate"), (right, "empty")] {
        let index = if_nametoindex(interface).map_err(Error::errno("parking interface"))?;
        xdp(others, program)?.attach_to_if_index(index, XdpMode::Driver)?;
    }
    Ok(())
}

/// A type of the map layout, as aya wants it.
#[repr(transparent)]
#[derive(Clone, Copy)]
struct Plain<T>(T);
// SAFETY: `repr(C)`, sizes asserted, without padding, and every pattern of bits is valid.
unsafe impl Pod for Plain<VipKey> {}
// SAFETY: as above.
unsafe impl Pod for Plain<VipEntry> {}
// SAFETY: as above.
unsafe impl Pod for Plain<LeaseSlot> {}

/// Sets both times of the slot: [`FOREVER`] is static ownership.
pub(super) fn set_deadline(ebpf: &mut Ebpf, deadline_boot_ns: u64) -> Result<(), Error> {
    let map = ebpf.map_mut("LEASES").ok_or(Error::Missing("LEASES"))?;
    let mut leases: Array<_, Plain<LeaseSlot>> = Array::try_from(map)?;
    let live = LeaseSlot {
        deadline_boot_ns,
        confirmed_boot_ns: deadline_boot_ns,
        epoch: 1,
    };
    Ok(leases.set(u32::from(SLOT_SESSION), Plain(live), 0)?)
}

/// The VIPs that are asked for, among 10,000 of each family.
fn program_vips(ebpf: &mut Ebpf, ifindex: u32, mac: [u8; 6]) -> Result<(), Error> {
    set_deadline(ebpf, FOREVER)?;
    let map = ebpf.map_mut("VIPS").ok_or(Error::Missing("VIPS"))?;
    let mut vips: HashMap<_, Plain<VipKey>, Plain<VipEntry>> = HashMap::try_from(map)?;
    let entry = VipEntry {
        mac,
        slot: SLOT_SESSION,
        counter: 1,
        epoch: 1,
        ..VipEntry::default()
    };
    for n in 0..10_000u16 {
        let [a, b] = n.to_be_bytes();
        let others = [
            [10, 0, a, b].into(),
            [0x2001, 0xdb8, 0, 1, 0, 0, 0, n].into(),
        ];
        for vip in others {
            vips.insert(Plain(VipKey::new(vip, ifindex)), Plain(entry), 0)?;
        }
    }
    for vip in [VIP4.into(), VIP6.into()] {
        vips.insert(Plain(VipKey::new(vip, ifindex)), Plain(entry), 0)?;
    }
    Ok(())
}

/// A fresh network namespace, which the thread enters.
fn namespace() -> Result<File, Error> {
    unshare(CloneFlags::CLONE_NEWNET).map_err(Error::errno("a network namespace"))?;
    File::open("/proc/thread-self/ns/net").map_err(Error::io("the network namespace"))
}

fn enter(namespace: &File) -> Result<(), Error> {
    setns(namespace, CloneFlags::CLONE_NEWNET).map_err(Error::errno("entering a namespace"))
}

fn mac_of(interface: &str) -> Result<[u8; 6], Error> {
    getifaddrs()
        .map_err(Error::errno("the interfaces"))?
        .filter(|found| found.interface_name == interface)
        .find_map(|found| found.address?.as_link_addr()?.addr())
        .ok_or(Error::Missing("MAC address"))
}

fn ip(arguments: &[&str]) -> Result<(), Error> {
    run(Command::new("ip").args(arguments))
}

fn run(command: &mut Command) -> Result<(), Error> {
    let status = command.status().map_err(Error::io("starting a command"))?;
    if status.success() {
        return Ok(());
    }
    Err(Error::Command {
        command: format!("{command:?}"),
        status,
    })
}
