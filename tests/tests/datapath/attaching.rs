//! The ladder of modes, links that outlive the agent, and the first place in tcx.

use std::collections::BTreeSet;

use tests::agent::until;
use vip_agent::{
    attachment::{Mode, RestoreLimit},
    io::datapath::{AttachError, AttachType, Hook, Position, TcApi},
};

use crate::bed::{AUTO, NOW, bed, differ, foreign_tcx, foreign_xdp, ours, run};

#[test]
#[ignore = "needs root"]
fn what_a_dead_agent_attached_goes_on_and_the_next_one_takes_it_over() {
    bed(|bed| {
        for (ladder, mode) in [(AUTO, Mode::Native), (&[Mode::Tc], Mode::Tc)] {
            let mut first = bed.open();
            let attached = first.attach(bed.eth, ladder).unwrap();
            assert_eq!((attached.mode, attached.tc), (mode, TcApi::Tcx));
            assert!(!attached.adopted && attached.passed_over.is_empty());
            let before = ours(&first, bed.eth, mode);
            // As kill -9 leaves it: all descriptors closed, nothing undone.
            drop(first);

            let mut second = bed.open();
            assert_eq!(ours(&second, bed.eth, mode), before, "still attached");
            assert!(second.attach(bed.eth, ladder).unwrap().adopted);
            let after = ours(&second, bed.eth, mode);
            assert!(differ(&before, &after), "new programs run");
            assert!(second.detach(bed.eth).unwrap());
            assert!(!second.detach(bed.eth).unwrap());
            assert_eq!(second.position(bed.eth).unwrap(), Position::default());
            assert_eq!(second.present().unwrap(), BTreeSet::new());
        }
    });
}

#[test]
#[ignore = "needs root"]
fn changing_the_mode_leaves_nothing_of_the_former() {
    bed(|bed| {
        let mut datapath = bed.open();
        for mode in [
            Mode::Native,
            Mode::Tc,
            Mode::Generic,
            Mode::Native,
            Mode::Generic,
        ] {
            assert_eq!(datapath.attach(bed.eth, &[mode]).unwrap().mode, mode);
            let wanted = Hook::of(mode).map(|hook| (bed.eth, hook));
            assert_eq!(datapath.present().unwrap(), BTreeSet::from(wanted));
            ours(&datapath, bed.eth, mode);
        }
    });
}

#[test]
#[ignore = "needs root"]
fn a_foreign_xdp_program_stays_and_tc_is_used() {
    bed(|bed| {
        let foreign = foreign_xdp(bed.eth);
        let mut datapath = bed.open();
        let error = datapath.attach(bed.eth, &[Mode::Native]).unwrap_err();
        let reason = &error.tried[..];
        assert!(
            matches!(reason, [(Mode::Native, AttachError::ForeignXdp)]),
            "{error}"
        );
        assert!(error.to_string().contains("another XDP program"), "{error}");
        let left = datapath.present().unwrap();
        assert!(left.is_empty(), "a failure leaves nothing: {left:?}");

        let attached = datapath.attach(bed.eth, AUTO).unwrap();
        assert_eq!(attached.mode, Mode::Tc);
        let passed_over = &attached.passed_over[..];
        assert!(matches!(
            passed_over,
            [(Mode::Native, AttachError::ForeignXdp)]
        ));
        let position = datapath.position(bed.eth).unwrap();
        assert!(
            matches!(&position.xdp[..], [seat] if !seat.ours),
            "{position:?}"
        );
        drop(foreign);
        // A process that another test forks holds its descriptor until it executes.
        let free = || Ok(datapath.position(bed.eth).unwrap().xdp.is_empty());
        until("the foreign program to go", free, String::new).unwrap();
        assert_eq!(datapath.attach(bed.eth, AUTO).unwrap().mode, Mode::Native);
    });
}

#[test]
#[ignore = "needs root"]
fn what_an_interface_cannot_do_is_told_by_name() {
    bed(|bed| {
        let mut datapath = bed.open();
        let error = datapath.attach(bed.bridge, &[Mode::Native]).unwrap_err();
        assert!(
            matches!(error.tried[..], [(_, AttachError::Unsupported)]),
            "{error}"
        );
        assert_eq!(datapath.attach(bed.bridge, AUTO).unwrap().mode, Mode::Tc);
        let error = datapath.attach(9999, AUTO).unwrap_err();
        assert!(
            matches!(error.tried[..], [(_, AttachError::Gone)]),
            "{error}"
        );
    });
}

#[test]
#[ignore = "needs root"]
fn the_first_place_in_tcx_is_taken_back_within_the_limit() {
    bed(|bed| {
        let mut datapath = bed.open();
        let mut limit = RestoreLimit::default();
        datapath.attach(bed.eth, &[Mode::Tc]).unwrap();
        datapath.attach(bed.bridge, &[Mode::Tc]).unwrap();
        let standing = datapath.ensure_first(bed.eth, &mut limit, NOW).unwrap();
        assert!(standing.is_fine(), "{standing:?}");

        let mut intruders = Vec::new();
        for round in 0..RestoreLimit::RESTORES {
            intruders.push(foreign_tcx(bed.eth, AttachType::BPF_TCX_INGRESS));
            let standing = datapath.ensure_first(bed.eth, &mut limit, NOW).unwrap();
            assert_eq!(standing.restored, [Hook::TcIn], "round {round}");
            let chain = datapath.position(bed.eth).unwrap().tc_in;
            assert_eq!(chain.len(), round + 2, "{chain:?}");
            assert!(chain[0].ours && chain[1..].iter().all(|seat| !seat.ours));
        }
        intruders.push(foreign_tcx(bed.eth, AttachType::BPF_TCX_EGRESS));
        let standing = datapath.ensure_first(bed.eth, &mut limit, NOW).unwrap();
        assert_eq!(standing.behind, [Hook::TcOut]);
        let later = RestoreLimit::WINDOW;
        let standing = datapath.ensure_first(bed.eth, &mut limit, later).unwrap();
        assert_eq!(standing.restored, [Hook::TcOut]);
        // Another interface keeps its programs while copies of them are loaded.
        ours(&datapath, bed.bridge, Mode::Tc);
        // The copies are adopted like the first ones.
        drop(datapath);
        assert!(bed.open().attach(bed.eth, &[Mode::Tc]).unwrap().adopted);
    });
}

#[test]
#[ignore = "needs root"]
fn a_link_that_somebody_took_off_is_reported_and_attached_again() {
    bed(|bed| {
        let mut datapath = bed.open();
        datapath.attach(bed.eth, AUTO).unwrap();
        let pin = datapath.pins().link(bed.eth, Hook::Xdp);
        run("bpftool", &format!("link detach pinned {}", pin.display()));
        let mut limit = RestoreLimit::default();
        let standing = datapath.ensure_first(bed.eth, &mut limit, NOW).unwrap();
        assert_eq!(standing.gone, [Hook::Xdp]);
        assert!(!datapath.attach(bed.eth, AUTO).unwrap().adopted);
        ours(&datapath, bed.eth, Mode::Native);
    });
}

#[test]
#[ignore = "needs root"]
fn pins_of_interfaces_that_are_gone_are_swept() {
    bed(|bed| {
        let mut datapath = bed.open();
        datapath.attach(bed.eth, AUTO).unwrap();
        datapath.attach(bed.bridge, AUTO).unwrap();
        run("ip", "link del eth0");
        assert_eq!(datapath.sweep().unwrap().len(), 2);
        let left = Hook::of(Mode::Tc).map(|hook| (bed.bridge, hook));
        assert_eq!(datapath.present().unwrap(), BTreeSet::from(left));
        assert!(!datapath.detach(bed.eth).unwrap());
    });
}
