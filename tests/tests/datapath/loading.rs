//! What loading needs, and who may do it.

use std::{fs, os::unix::fs::PermissionsExt};

use caps::{CapSet, Capability};
use vip_agent::io::{
    datapath::{Datapath, DatapathError, MAPS, Tables, prerequisites},
    lock::{AgentLock, LockError},
};
use vip_common::abi::LAYOUT;

use crate::bed::{bed, object, run};

#[test]
#[ignore = "needs root"]
fn three_capabilities_are_enough_and_the_maps_are_pinned_by_name() {
    bed(|bed| {
        assert!(prerequisites().is_empty());
        drop(bed.open());
        for spec in MAPS {
            spec.check_pin(&bed.layout().map(spec.name)).unwrap();
        }
        assert!(bed.pins.join("SESSION").exists());
        for directory in ["", LAYOUT, "links"] {
            let directory = fs::metadata(bed.pins.join(directory)).unwrap();
            assert_eq!(directory.permissions().mode() & 0o777, 0o700);
        }
    });
}

#[test]
#[ignore = "needs root"]
fn each_missing_capability_is_named() {
    for capability in [
        Capability::CAP_BPF,
        Capability::CAP_NET_ADMIN,
        Capability::CAP_NET_RAW,
    ] {
        bed(move |bed| {
            caps::drop(None, CapSet::Effective, capability).unwrap();
            let error = bed.refusal(&object()).to_string();
            assert!(
                error.starts_with(&format!("{capability} is missing")),
                "{error}"
            );
        });
    }
}

#[test]
#[ignore = "needs root"]
fn a_pin_directory_off_bpffs_is_an_error_that_names_the_mount_command() {
    bed(|_| {
        let directory = std::env::temp_dir().join("xvip-no-bpffs");
        let error = Datapath::open(&directory, LAYOUT, &object(), None).err();
        let error = error.unwrap().to_string();
        assert!(error.contains("mount -t bpf bpf"), "{error}");
        assert!(!directory.exists());
    });
}

#[test]
#[ignore = "needs root"]
fn a_program_that_the_verifier_refuses_is_named_with_the_end_of_its_log() {
    bed(|bed| {
        // `r0 = r9`, a register that nothing has set.
        const UNSET_REGISTER: [u8; 8] = [0xbf, 0x90, 0, 0, 0, 0, 0, 0];
        let mut broken = object();
        let at = function(&broken, "xvip_tc_in");
        broken[at..at + 8].copy_from_slice(&UNSET_REGISTER);
        let error = bed.refusal(&broken);
        let DatapathError::Rejected { program, log, .. } = &error else {
            panic!("{error}");
        };
        assert_eq!(*program, "xvip_tc_in");
        assert!(
            log.contains("R9 !read_ok") && log.lines().count() <= 20,
            "{log}"
        );
    });
}

/// Offset of a function in a little-endian ELF64 file, by its symbol.
fn function(elf: &[u8], symbol: &str) -> usize {
    let number = |at: usize, bytes: usize| {
        let bytes = elf[at..at + bytes].iter().rev();
        bytes.fold(0_usize, |number, byte| (number << 8) | usize::from(*byte))
    };
    let section = |index: usize| number(0x28, 8) + index * number(0x3a, 2);
    const SHT_SYMTAB: usize = 2;
    let mut sections = (0..number(0x3c, 2)).map(section);
    let symbols = sections.find(|at| number(at + 4, 4) == SHT_SYMTAB).unwrap();
    let names = number(section(number(symbols + 0x28, 4)) + 0x18, 8);
    let mut entries =
        (0..number(symbols + 0x20, 8) / 24).map(|index| number(symbols + 0x18, 8) + index * 24);
    let entry = entries.find(|at| {
        let name = &elf[names + number(*at, 4)..];
        name.starts_with(symbol.as_bytes()) && name[symbol.len()] == 0
    });
    let entry = entry.unwrap();
    number(section(number(entry + 6, 2)) + 0x18, 8) + number(entry + 8, 8)
}

#[test]
#[ignore = "needs root"]
fn a_pin_of_another_layout_is_refused_before_anything_is_loaded() {
    bed(|bed| {
        drop(bed.open());
        let pin = bed.layout().map("VIPS");
        fs::remove_file(&pin).unwrap();
        let narrow = "type hash key 24 value 32 entries 131072 name VIPS flags 1";
        run("bpftool", &format!("map create {} {narrow}", pin.display()));
        let error = bed.refusal(&object());
        let text = error.to_string();
        assert!(
            text.contains("VIPS has value size 32 where this version needs 40"),
            "{text}"
        );
        assert!(text.contains("vip-agent cleanup"), "{text}");
        assert!(Tables::open(&bed.layout()).is_err());
    });
}

#[test]
#[ignore = "needs root"]
fn a_second_agent_in_the_namespace_is_refused_until_the_first_ends() {
    bed(|_| {
        let first = AgentLock::take().unwrap();
        let error = AgentLock::take().unwrap_err();
        assert!(matches!(error, LockError::Held), "{error}");
        assert!(error.to_string().contains("stop it first"), "{error}");
        drop(first);
        AgentLock::take().unwrap();
    });
}
