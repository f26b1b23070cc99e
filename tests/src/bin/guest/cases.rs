//! What must hold on every kernel, judged with exactly three capabilities.

use std::{
    error::Error,
    fs,
    process::{Command, ExitCode},
};

use aya::{
    Btf, Ebpf, EbpfLoader,
    programs::{Program, SchedClassifier, TcAttachType, Xdp, XdpMode, tc},
};
use caps::{CapSet, Capability, CapsHashSet};

use crate::chain;

type Outcome = Result<(), Box<dyn Error>>;

const CAPABILITIES: [Capability; 3] = [
    Capability::CAP_BPF,
    Capability::CAP_NET_ADMIN,
    Capability::CAP_NET_RAW,
];

/// Counts of cases.
#[derive(Default)]
struct Judge {
    passed: u32,
    failed: u32,
}

impl Judge {
    fn case(&mut self, name: &str, outcome: Outcome) {
        match outcome {
            Ok(()) => {
                println!("ok {name}");
                self.passed += 1;
            }
            Err(error) => {
                println!("not ok {name}: {}", chain(error.as_ref()));
                self.failed += 1;
            }
        }
    }
}

pub(crate) fn judge() -> ExitCode {
    let mut judge = Judge::default();
    judge.case("exactly three capabilities are left", confine());
    judge.case("the agent starts", agent_starts());
    match load() {
        Ok(mut ebpf) => {
            judge.case("the object loads", Ok(()));
            on_links(&mut judge, &mut ebpf);
        }
        Err(error) => judge.case("the object loads", Err(error)),
    }
    println!("guest: {} passed, {} failed", judge.passed, judge.failed);
    if judge.failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
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

fn agent_starts() -> Outcome {
    let status = Command::new("/bin/vip-agent")
        .arg("--help")
        .output()?
        .status;
    if status.success() {
        Ok(())
    } else {
        Err(format!("{status}").into())
    }
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
        let verified = program.info()?.verified_instruction_count();
        println!("verified {name} {}", verified.unwrap_or_default());
    }
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
    for (name, link) in [
        ("tc attaches to a VLAN", "lan0.100"),
        ("tc attaches at an MTU of 9000", "jumbo0"),
        ("tc attaches to a bond", "bond0"),
        ("tc attaches to a dummy", "dummy0"),
    ] {
        judge.case(name, classifiers(ebpf, link));
    }
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
