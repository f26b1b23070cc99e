//! Another layout of the maps, and the end of everything.

use std::{fs, path::PathBuf};

use vip_agent::{
    attachment::Mode,
    io::datapath::{AttachType, MAPS, Slots, Tables, cleanup},
};
use vip_common::abi::{FOREVER, LeaseSlot, SLOT_SESSION, SessionRecord};

use crate::bed::{AUTO, bed, differ, foreign_tc_program, foreign_tcx, foreign_xdp, ours, pin, run};

#[test]
#[ignore = "needs root"]
fn a_new_layout_takes_the_links_over_and_the_old_one_is_retired_and_back_again() {
    bed(|bed| {
        let mut old = bed.open_layout("v1");
        old.attach(bed.eth, AUTO).unwrap();
        let mut before = ours(&old, bed.eth, Mode::Native);
        let session = SessionRecord {
            epoch: 7,
            ..SessionRecord::default()
        };
        Tables::open(old.pins())
            .unwrap()
            .set_session(session)
            .unwrap();
        drop(old);
        for (layout, former) in [("v2", "v1"), ("v1", "v2")] {
            let mut new = bed.open_layout(layout);
            let others = new.pins().other_layouts().unwrap();
            assert_eq!(others.len(), 1);
            // Both are renewed while the links move.
            Slots::open(&others[0]).unwrap().set(
                SLOT_SESSION,
                LeaseSlot {
                    deadline_boot_ns: FOREVER,
                    confirmed_boot_ns: FOREVER,
                    epoch: 0,
                },
            );
            assert!(new.attach(bed.eth, AUTO).unwrap().adopted);
            let after = ours(&new, bed.eth, Mode::Native);
            assert!(differ(&before, &after));
            before = after;
            assert_eq!(new.retire_other_layouts().unwrap(), [former]);
            assert!(!bed.pins.join(former).exists());
            assert_eq!(
                Tables::open(new.pins()).unwrap().session().unwrap(),
                session
            );
        }
    });
}

#[test]
#[ignore = "needs root"]
fn cleanup_removes_what_is_ours_and_leaves_what_is_not() {
    bed(|bed| {
        let _xdp = foreign_xdp(bed.peer);
        let mut datapath = bed.open();
        datapath.attach(bed.eth, AUTO).unwrap();
        let _tcx = foreign_tcx(bed.eth, AttachType::BPF_TCX_EGRESS);
        datapath.use_clsact();
        datapath.attach(bed.bridge, &[Mode::Tc]).unwrap();
        let theirs = bed.pins.join("theirs");
        pin(&foreign_tc_program(), &theirs);
        run(
            "tc",
            &format!(
                "filter add dev br0 egress prio 9 protocol all bpf da object-pinned {}",
                theirs.display()
            ),
        );
        drop(datapath);

        let removed = cleanup(&bed.pins).unwrap();
        assert_eq!(removed.len(), 2 + 2 + MAPS.len(), "{removed:?}");
        let left = fs::read_dir(&bed.pins).unwrap();
        let left: Vec<PathBuf> = left.map(|entry| entry.unwrap().path()).collect();
        assert_eq!(left, [theirs.as_path()]);
        assert_eq!(run("tc", "filter show dev br0 ingress"), "");
        let egress = run("tc", "filter show dev br0 egress");
        assert!(
            egress.contains("pref 9") && !egress.contains("xvip"),
            "{egress}"
        );

        fs::remove_file(theirs).unwrap();
        assert_eq!(cleanup(&bed.pins).unwrap(), []);
        assert!(!bed.pins.exists());
        let datapath = bed.open();
        let seats = |ifindex| datapath.position(ifindex).unwrap();
        assert_eq!(seats(bed.peer).xdp.len(), 1, "the foreign XDP program runs");
        assert_eq!(
            seats(bed.eth).tc_out.len(),
            1,
            "the foreign tcx program runs"
        );
        assert_eq!(seats(bed.eth).xdp, []);
    });
}
