//! tc below Linux 6.6: filters of a clsact qdisc.

use std::{collections::BTreeSet, path::Path};

use vip_agent::{
    attachment::{Mode, RestoreLimit},
    io::datapath::{AttachType, Hook, TcApi},
};

use crate::bed::{NOW, bed, differ, foreign_tc_program, foreign_tcx, ours, pin, run};

#[test]
#[ignore = "needs root"]
fn clsact_filters_are_adopted_and_replaced_atomically() {
    bed(|bed| {
        let mut first = bed.open_clsact();
        let attached = first.attach(bed.eth, &[Mode::Tc]).unwrap();
        assert_eq!((attached.tc, attached.adopted), (TcApi::Clsact, false));
        let before = ours(&first, bed.eth, Mode::Tc);
        drop(first);
        let listed = run("tc", "filter show dev eth0 ingress");
        assert!(
            listed.contains("pref 1 bpf") && listed.contains("xvip_tc_in"),
            "{listed}"
        );

        let mut second = bed.open_clsact();
        let there = Hook::of(Mode::Tc).map(|hook| (bed.eth, hook));
        assert_eq!(second.present().unwrap(), BTreeSet::from(there));
        assert!(second.attach(bed.eth, &[Mode::Tc]).unwrap().adopted);
        assert!(
            differ(&before, &ours(&second, bed.eth, Mode::Tc)),
            "new programs run"
        );

        run("tc", "qdisc del dev eth0 clsact");
        let mut limit = RestoreLimit::default();
        let standing = second.ensure_first(bed.eth, &mut limit, NOW).unwrap();
        assert_eq!(standing.gone, [Hook::TcOut, Hook::TcIn]);
        second.attach(bed.eth, &[Mode::Tc]).unwrap();
        assert!(second.detach(bed.eth).unwrap());
        let left = run("tc", "qdisc show dev eth0");
        assert!(
            !left.contains("clsact"),
            "ours goes with its last filter: {left}"
        );
    });
}

#[test]
#[ignore = "needs root"]
fn a_clsact_filter_comes_before_others_of_its_priority_again() {
    bed(|bed| {
        let mut datapath = bed.open_clsact();
        datapath.attach(bed.eth, &[Mode::Tc]).unwrap();
        pin(&foreign_tc_program(), Path::new("/sys/fs/bpf/foreign"));
        let mut limit = RestoreLimit::default();
        // Twice, since each round uses another of our two handles.
        for _ in 0..2 {
            run(
                "tc",
                "filter add dev eth0 ingress prio 1 handle 5 protocol all bpf da object-pinned /sys/fs/bpf/foreign",
            );
            let chain = datapath.position(bed.eth).unwrap().tc_in;
            assert!(!chain[0].ours && chain[1].ours, "{chain:?}");
            let standing = datapath.ensure_first(bed.eth, &mut limit, NOW).unwrap();
            assert_eq!(standing.restored, [Hook::TcIn]);
            let chain = datapath.position(bed.eth).unwrap().tc_in;
            assert!(
                chain[0].ours && !chain[1].ours && chain.len() == 2,
                "{chain:?}"
            );
            run("tc", "filter del dev eth0 ingress prio 1 handle 5 bpf");
        }
        // No filter comes before tcx.
        let _intruder = foreign_tcx(bed.eth, AttachType::BPF_TCX_EGRESS);
        let standing = datapath.ensure_first(bed.eth, &mut limit, NOW).unwrap();
        assert_eq!(standing.behind, [Hook::TcOut]);
    });
}

#[test]
#[ignore = "needs root"]
fn a_foreign_qdisc_and_filter_are_left_and_named() {
    bed(|bed| {
        let mut datapath = bed.open_clsact();
        run("tc", "qdisc add dev eth0 ingress");
        let error = datapath.attach(bed.eth, &[Mode::Tc]).unwrap_err();
        assert!(error.to_string().contains("\"ingress\""), "{error}");
        run("tc", "qdisc del dev eth0 ingress");

        run("tc", "qdisc add dev eth0 clsact");
        run(
            "tc",
            "filter add dev eth0 egress prio 1 protocol all u32 match u32 0 0 classid 1:1",
        );
        let error = datapath.attach(bed.eth, &[Mode::Tc]).unwrap_err();
        assert!(error.to_string().contains("\"u32\""), "{error}");
        run("tc", "filter del dev eth0 egress prio 1");
        datapath.attach(bed.eth, &[Mode::Tc]).unwrap();
        datapath.detach(bed.eth).unwrap();
        let left = run("tc", "qdisc show dev eth0");
        assert!(left.contains("clsact"), "a qdisc of others stays: {left}");
    });
}
