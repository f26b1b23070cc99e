//! The programs' own lines, and the check after attach.

use std::{fs, time::Duration};

use vip_agent::{
    attachment::{Mode, RestoreLimit},
    io::datapath::{AttachType, CheckError, Datapath, Hook, Level, Tables},
};
use vip_common::abi::LAYOUT;

use crate::bed::{NOW, bed, foreign_tcx, object, run};

#[test]
#[ignore = "needs root"]
fn the_lines_of_the_programs_are_read_and_a_second_copy_loads_beside_the_reader() {
    bed(|bed| {
        let level = Some(Level::Debug);
        let mut datapath = Datapath::open(&bed.pins, LAYOUT, &object(), level).unwrap();
        datapath.attach(bed.eth, &[Mode::Tc]).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        runtime.unwrap().block_on(async {
            let Some(mut log) = datapath.kernel_log() else {
                let map = b"AYA_LOGS";
                let in_object = object().windows(map.len()).any(|bytes| bytes == map);
                assert!(!in_object, "the object writes lines");
                return;
            };
            let run = tokio::time::timeout(Duration::from_millis(20), log.run());
            assert!(run.await.is_err(), "it goes on until it is cancelled");
            let _intruder = foreign_tcx(bed.eth, AttachType::BPF_TCX_INGRESS);
            let mut limit = RestoreLimit::default();
            let standing = datapath.ensure_first(bed.eth, &mut limit, NOW).unwrap();
            assert_eq!(standing.restored, [Hook::TcIn]);
        });
    });
}

#[test]
#[ignore = "needs root"]
fn the_check_gets_its_answers_and_leaves_no_trace() {
    bed(|bed| {
        let datapath = bed.open();
        datapath.check().unwrap();
        let tables = Tables::open(datapath.pins()).unwrap();
        assert_eq!(tables.vips.all().unwrap(), [], "synthetic entries are gone");
        let frames = tables.frames().unwrap();
        assert!(frames.iter().all(|(_, _, count)| *count == 0), "{frames:?}");
    });
}

#[test]
#[ignore = "needs root"]
fn the_check_fails_when_the_programs_read_other_maps_than_the_agent_writes() {
    bed(|bed| {
        let datapath = bed.open();
        let pin = bed.layout().map("VIPS");
        fs::remove_file(&pin).unwrap();
        let same = "type hash key 24 value 40 entries 131072 name VIPS flags 1";
        run("bpftool", &format!("map create {} {same}", pin.display()));
        let error = datapath.check().unwrap_err();
        assert!(matches!(error, CheckError::Unanswered { .. }), "{error}");
    });
}
