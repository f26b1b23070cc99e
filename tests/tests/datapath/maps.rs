//! The pinned maps as typed tables, slots and events.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    process::{Command, Stdio},
    time::Duration,
};

use vip_agent::{
    attachment::Mode,
    io::datapath::{MAPS, Records, Slots, Tables, boottime_ns},
};
use vip_common::abi::{
    FOREVER, HostMac, LeaseSlot, LinkEntry, SLOT_SESSION, TraceSwitch, VipEntry, VipKey,
};

use crate::bed::{bed, run};

#[test]
#[ignore = "needs root"]
fn tables_hold_what_is_written() {
    bed(|bed| {
        let datapath = bed.open();
        let mut tables = Tables::open(datapath.pins()).unwrap();
        let address = |n| IpAddr::V4(Ipv4Addr::from(0x0a00_0000 + n));
        let entries: Vec<(VipKey, VipEntry)> = (0..40_000_u32)
            .map(|n| {
                let entry = VipEntry {
                    counter: n,
                    ..VipEntry::default()
                };
                (VipKey::new(address(n / 2), (n % 2) * 2), entry)
            })
            .collect();
        let begun = std::time::Instant::now();
        tables.vips.upsert_all(&entries).unwrap();
        println!("{} entries written in {:?}", entries.len(), begun.elapsed());
        let mut all = tables.vips.all().unwrap();
        all.sort_by_key(|(_, entry)| entry.counter);
        assert_eq!(all, entries);
        let (key, entry) = entries[77];
        assert_eq!(tables.vips.get(&key).unwrap(), Some(entry));
        tables.vips.remove(&key).unwrap();
        tables.vips.remove(&key).unwrap();
        assert_eq!(tables.vips.get(&key).unwrap(), None);

        let link = LinkEntry {
            flags: LinkEntry::BIND,
            ..LinkEntry::default()
        };
        tables.links.upsert(2, link).unwrap();
        assert_eq!(tables.links.all().unwrap(), [(2, link)]);
        let mac = HostMac {
            mac: [2; 6],
            reserved: 0,
        };
        tables.host_macs.upsert(mac, 2).unwrap();
        assert_eq!(tables.host_macs.all().unwrap(), [(mac, 2)]);
        let trace = TraceSwitch { until_ns: 5 };
        tables.set_trace(trace).unwrap();
        assert_eq!(tables.trace().unwrap(), trace);
        assert!(
            tables
                .frames()
                .unwrap()
                .iter()
                .all(|(_, _, count)| *count == 0)
        );
        tables.clear_vip_counters(3).unwrap();
        assert_eq!(tables.vip_counters(3).unwrap().answers, 0);
        assert!(tables.vip_counters(u32::MAX).is_err());
    });
}

#[test]
#[ignore = "needs root"]
fn a_full_table_is_an_error_and_keeps_what_it_has() {
    bed(|bed| {
        let datapath = bed.open();
        let mut tables = Tables::open(datapath.pins()).unwrap();
        let capacity = tables.links.capacity();
        let entries = (1..=capacity + 10).map(|n| (n, LinkEntry::default()));
        let entries: Vec<_> = entries.collect();
        let error = tables.links.upsert_all(&entries).unwrap_err();
        assert!(error.to_string().contains("LINKS"), "{error}");
        assert_eq!(tables.links.all().unwrap().len(), capacity as usize);
    });
}

#[test]
#[ignore = "needs root"]
fn the_kernel_moves_a_deadline_that_lies_ahead_and_no_other() {
    bed(|bed| {
        let datapath = bed.open();
        let (slots, extender) = (
            Slots::open(datapath.pins()).unwrap(),
            datapath.extender().unwrap(),
        );
        let now = boottime_ns();
        let ahead = LeaseSlot {
            deadline_boot_ns: now + 60_000_000_000,
            confirmed_boot_ns: now,
            epoch: 9,
        };
        let passed = LeaseSlot {
            deadline_boot_ns: now,
            ..ahead
        };
        let (later, far) = (ahead.deadline_boot_ns + 1, ahead.deadline_boot_ns + 2);
        for (before, after) in [
            (
                ahead,
                LeaseSlot {
                    deadline_boot_ns: far,
                    confirmed_boot_ns: later,
                    ..ahead
                },
            ),
            (passed, passed),
            (LeaseSlot::default(), LeaseSlot::default()),
        ] {
            slots.set(SLOT_SESSION, before);
            let moved = extender.extend(SLOT_SESSION, far, later).unwrap();
            assert_eq!(slots.get(SLOT_SESSION), after);
            assert_eq!(moved, before != after);
        }
        slots.set(SLOT_SESSION, ahead);
        assert!(extender.extend(SLOT_SESSION, now, 0).unwrap());
        assert_eq!(slots.get(SLOT_SESSION), ahead, "nothing moves back");
        let error = extender.extend(u16::MAX, far, later).unwrap_err();
        assert!(error.to_string().contains("xvip_extend"), "{error}");
    });
}

#[test]
#[ignore = "needs root"]
fn slots_are_seen_by_the_kernel_and_outlive_the_agent() {
    bed(|bed| {
        let datapath = bed.open();
        let slots = Slots::open(datapath.pins()).unwrap();
        let now = boottime_ns() + 60_000_000_000;
        let slot = LeaseSlot {
            deadline_boot_ns: now + 4,
            confirmed_boot_ns: now + 2,
            epoch: 9,
        };
        slots.set(SLOT_SESSION, slot);
        assert_eq!(slots.get(SLOT_SESSION), slot);
        let extender = datapath.extender().unwrap();
        assert!(extender.extend(SLOT_SESSION, now + 40, now + 20).unwrap());
        drop((slots, datapath));

        let dumped = bed.dump("LEASES");
        let value = &dumped[usize::from(SLOT_SESSION)]["formatted"]["value"];
        assert_eq!(value["deadline_boot_ns"], now + 40, "{value}");
        assert_eq!(value["confirmed_boot_ns"], now + 20);
        assert_eq!(value["epoch"], 9);
        let slots = Slots::open(&bed.layout()).unwrap();
        slots.fence(SLOT_SESSION);
        let fenced = slots.get(SLOT_SESSION);
        assert_eq!((fenced.deadline_boot_ns, fenced.epoch), (0, 9));
    });
}

#[test]
#[ignore = "needs root"]
fn bpftool_reads_every_pinned_map_by_field() {
    bed(|bed| {
        let datapath = bed.open();
        let mut tables = Tables::open(datapath.pins()).unwrap();
        let key = VipKey::new(IpAddr::V6(Ipv6Addr::LOCALHOST), 2);
        let entry = VipEntry {
            slot: SLOT_SESSION,
            epoch: 3,
            ..VipEntry::default()
        };
        tables.vips.upsert(key, entry).unwrap();
        for spec in MAPS {
            let path = bed.layout().map(spec.name);
            run("bpftool", &format!("-j map show pinned {}", path.display()));
            // Ring buffers have nothing to dump.
            if !["EVENTS", "TRACED"].contains(&spec.name) {
                bed.dump(spec.name);
            }
        }
        let vips = bed.dump("VIPS");
        let vip = &vips[0]["formatted"];
        assert_eq!(vip["key"]["ifindex"], 2, "{vips}");
        assert_eq!(vip["value"]["slot"], SLOT_SESSION);
        assert_eq!(vip["value"]["epoch"], 3);
    });
}

#[test]
#[ignore = "needs root"]
fn the_ring_buffers_open_and_wait() {
    bed(|bed| {
        let datapath = bed.open();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        runtime.unwrap().block_on(async {
            let mut events = Records::events(datapath.pins()).unwrap();
            let mut traced = Records::traced(datapath.pins()).unwrap();
            assert!(events.try_next().is_none());
            assert!(traced.try_next().is_none());
            let wait = tokio::time::timeout(Duration::from_millis(20), events.next());
            assert!(wait.await.is_err(), "nothing has happened");
        });
    });
}

#[test]
#[ignore = "needs root"]
fn a_conflict_arrives_as_an_event_and_the_vip_is_counted() {
    const VIP: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 100);
    const COUNTER: u32 = 5;
    bed(|bed| {
        let mut datapath = bed.open();
        datapath.attach(bed.eth, &[Mode::Tc]).unwrap();
        let live = LeaseSlot {
            deadline_boot_ns: FOREVER,
            confirmed_boot_ns: FOREVER,
            epoch: 3,
        };
        let slots = Slots::open(datapath.pins()).unwrap();
        slots.set(SLOT_SESSION, live);
        let mut tables = Tables::open(datapath.pins()).unwrap();
        let key = VipKey::new(VIP.into(), bed.eth);
        let entry = VipEntry {
            mac: [2, 0, 0, 0, 0, 1],
            slot: SLOT_SESSION,
            epoch: live.epoch,
            counter: COUNTER,
            ..VipEntry::default()
        };
        tables.vips.upsert(key, entry).unwrap();

        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        let event = runtime.unwrap().block_on(async {
            let mut events = Records::events(datapath.pins()).unwrap();
            run("ip", &format!("addr add {VIP}/24 dev peer"));
            let rival = ["-U", "-c", "1", "-i", "peer", "192.0.2.100"];
            let rival = Command::new("arping")
                .args(rival)
                .stdout(Stdio::null())
                .spawn();
            let event = tokio::time::timeout(Duration::from_secs(5), events.next()).await;
            rival.unwrap().wait().unwrap();
            event
        });
        let event = event.expect("an event within the time").unwrap();
        assert_eq!(event.key, key);
        let conflicts = tables.vip_counters(COUNTER).unwrap().conflicts;
        assert!(conflicts > 0);
    });
}
