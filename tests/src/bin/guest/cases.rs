//! What must hold on every kernel, judged with exactly three capabilities.

use std::{error::Error, fs, io, process::ExitCode};

use aya::{
    Btf, Ebpf, EbpfLoader,
    programs::{Program, SchedClassifier, TcAttachType, Xdp, XdpMode, tc},
};
use caps::{CapSet, Capability, CapsHashSet};

use tests::netns::{Peer, system};

use crate::{
    chain, golden, links,
    serving::{self, Wires},
};

pub(crate) type Outcome = Result<(), Box<dyn Error>>;

const CAPABILITIES: [Capability; 3] = [
    Capability::CAP_BPF,
    Capability::CAP_NET_ADMIN,
    Capability::CAP_NET_RAW,
];

/// Counts of cases.
#[derive(Default)]
pub(crate) struct Judge {
    passed: u32,
    failed: u32,
}

impl Judge {
    pub(crate) fn case(&mut self, name: &str, outcome: Outcome) {
        self.value(name, outcome);
    }

    /// A case of many, which says how many.
    pub(crate) fn count(&mut self, name: &str, outcome: Result<usize, Box<dyn Error>>) {
        match outcome {
            Ok(count) => self.case(&format!("{name}: {count}"), Ok(())),
            Err(error) => self.case(name, Err(error)),
        }
    }

    /// A case that gives something to go on with.
    pub(crate) fn value<T>(&mut self, name: &str, outcome: Result<T, Box<dyn Error>>) -> Option<T> {
        match outcome {
            Ok(value) => {
                println!("ok {name}");
                self.passed += 1;
                Some(value)
            }
            Err(error) => {
                println!("not ok {name}: {}", chain(error.as_ref()));
                self.failed += 1;
                None
            }
        }
    }
}

pub(crate) fn judge() -> ExitCode {
    let mut judge = Judge::default();
    all(&mut judge);
    println!("guest: {} passed, {} failed", judge.passed, judge.failed);
    if judge.failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn all(judge: &mut Judge) {
    let Some(peer) = judge.value("the links are made", links::make()) else {
        return;
    };
    let wires = Wires::open(&peer).map_err(Into::into);
    let Some(wires) = judge.value("the other ends are open", wires) else {
        return;
    };
    let Some(_passing) = judge.value("XDP runs at the other end of jumbo0", pass_all(&peer)) else {
        return;
    };
    judge.case("exactly three capabilities are left", confine());
    let Some(mut ebpf) = judge.value("the object loads", load()) else {
        return;
    };
    judge.case("the kernel tells what it verified", tell_verified(&ebpf));
    on_links(judge, &mut ebpf);
    serving::run(judge, &wires, &mut ebpf);
    golden::run(judge, ebpf);
    judge.case("the kernel complains of nothing", untainted());
    serving::run_native_jumbo(judge, &wires);
}

/// Drops all other capabilities and asks the kernel whether they are gone.
fn confine() -> Outcome {
    let kept = CapsHashSet::from(CAPABILITIES);
    for capability in caps::runtime::thread_all_supported().difference(&kept) {
        caps::drop(None, CapSet::Bounding, *capability)?;
    }
    caps::clear(None, CapSet::Ambient)?;
    caps::clear(None, CapSet::Inheritable)?;
    caps::set(None, CapSet::Effective, &kept)?;
    caps::set(None, CapSet::Permitted, &kept)?;

    let mask = CAPABILITIES
        .iter()
        .fold(0, |mask, one| mask | one.bitmask());
    let status = fs::read_to_string("/proc/self/status")?;
    for set in ["CapPrm", "CapEff", "CapBnd"] {
        let expected = format!("{set}:\t{mask:016x}");
        if !status.lines().any(|line| line == expected) {
            return Err(format!("not {expected}").into());
        }
    }
    Ok(())
}

/// Warnings and oopses leave a taint.
fn untainted() -> Outcome {
    let taint = fs::read_to_string("/proc/sys/kernel/tainted")?;
    match taint.trim() {
        "0" => Ok(()),
        taint => Err(format!("/proc/sys/kernel/tainted is {taint}").into()),
    }
}

fn tell_verified(ebpf: &Ebpf) -> Outcome {
    for (name, program) in ebpf.programs() {
        let count = program.info()?.verified_instruction_count();
        println!("verified {name} {}", count.unwrap_or_default());
    }
    Ok(())
}

fn load() -> Result<Ebpf, Box<dyn Error>> {
    let object = fs::read("/xvip.o")?;
    let btf = Btf::from_sys_fs()?;
    let mut ebpf = EbpfLoader::new().btf(Some(&btf)).load(&object)?;
    for (name, program) in ebpf.programs_mut() {
        match program {
            Program::Xdp(xdp) => xdp.load()?,
            Program::SchedClassifier(classifier) => classifier.load()?,
            other => return Err(format!("{name} is of type {:?}", other.prog_type()).into()),
        }
    }
    Ok(ebpf)
}

/// What a veth sends by XDP_TX is lost unless a program runs at its other end. Ours, without any
/// VIP, passes everything, of any length.
fn pass_all(peer: &Peer) -> Result<Ebpf, Box<dyn Error>> {
    let mut ebpf = EbpfLoader::new().load(&fs::read("/xvip.o")?)?;
    let program: &mut Xdp = ebpf
        .program_mut("xvip_ingress")
        .ok_or("no xvip_ingress")?
        .try_into()?;
    program.load()?;
    peer.enter(|| {
        let attached = program.attach("jumbo1", XdpMode::Driver);
        attached.map_err(|error| system("attach")(io::Error::other(error)))
    })?;
    Ok(ebpf)
}

fn on_links(judge: &mut Judge, ebpf: &mut Ebpf) {
    for (name, link) in [
        ("native XDP attaches to veth", "lan0"),
        ("native XDP attaches at an MTU of 9000", "jumbo0"),
        ("native XDP attaches to a bond", "bond0"),
    ] {
        judge.case(name, native(ebpf, link));
    }
    judge.case("tc attaches to a dummy", classifiers(ebpf, "dummy0"));
}

fn native(ebpf: &mut Ebpf, link: &str) -> Outcome {
    let program: &mut Xdp = ebpf
        .program_mut("xvip_ingress")
        .ok_or("no xvip_ingress")?
        .try_into()?;
    let attached = program.attach(link, XdpMode::Driver)?;
    Ok(program.detach(attached)?)
}

/// By tcx from 6.6, by clsact below.
fn classifiers(ebpf: &mut Ebpf, link: &str) -> Outcome {
    tc::qdisc_add_clsact(link)?;
    for (name, direction) in [
        ("xvip_tc_in", TcAttachType::Ingress),
        ("xvip_tc_out", TcAttachType::Egress),
    ] {
        let program: &mut SchedClassifier = ebpf.program_mut(name).ok_or(name)?.try_into()?;
        let attached = program.attach(link, direction)?;
        program.detach(attached)?;
    }
    Ok(())
}
