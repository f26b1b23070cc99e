use super::*;

const BOOT: [u8; 16] = [1; 16];

fn at(milliseconds: u64) -> BootTime {
    BootTime(milliseconds * 1_000_000)
}

fn vip() -> IpAddr {
    "192.0.2.10".parse().unwrap()
}

fn config() -> PlaneConfig {
    PlaneConfig {
        node: "node-a".into(),
        boot: BOOT,
        timing: Timing::default(),
        on_api_loss: OnApiLoss::Hold,
        addresses: [vip()].into(),
        seed: 7 << 64,
    }
}

fn session(node: &str, id: u128) -> SessionId {
    SessionId {
        node: node.into(),
        boot: BOOT,
        id: id.to_be_bytes(),
    }
}

fn lease(holder: Option<SessionId>, resource_version: u64) -> Lease {
    Lease {
        node: ControlPlane::LEASE.into(),
        uid: "lease".into(),
        resource_version: resource_version.to_string().as_str().into(),
        holder,
        revoked: None,
        claims_read: mark(true),
        serves: Serves::default(),
        duration: Duration::from_secs(5),
    }
}

fn released() -> Lease {
    Lease {
        revoked: Some(session("node-b", 3)),
        claims_read: BTreeSet::new(),
        ..lease(None, 5)
    }
}

/// A candidate before a register that answers every read with what `lease` is then, and takes
/// every write.
struct Bed {
    plane: ControlPlane,
    lease: Option<Lease>,
    /// Requests stay without an answer.
    cut: bool,
    now: u64,
    log: Vec<(u64, Action)>,
    writes: Vec<(u64, Lease)>,
}

impl Bed {
    fn new(lease: Option<Lease>, left: Left, alone: bool) -> Self {
        let (plane, actions) = ControlPlane::start(config(), left, at(10_000));
        let mut bed = Self {
            plane,
            lease,
            cut: false,
            now: 10_000,
            log: Vec::new(),
            writes: Vec::new(),
        };
        bed.carry_out(actions);
        bed.tell(PlaneEvent::Alone(alone));
        bed.tell(PlaneEvent::Ready(true));
        bed
    }

    fn tell(&mut self, event: PlaneEvent) {
        let actions = self.plane.step(event, at(self.now));
        self.carry_out(actions);
    }

    fn carry_out(&mut self, actions: Vec<Action>) {
        for action in actions {
            self.log.push((self.now, action.clone()));
            let Action::Ask { id, request, .. } = action else {
                continue;
            };
            if self.cut {
                continue;
            }
            let reply = match request {
                Request::ReadLease(_) => Reply::Lease(self.lease.clone()),
                Request::PutLease(lease) | Request::CreateLease(lease) => {
                    let resource_version = self.now.to_string().as_str().into();
                    self.writes.push((self.now, lease.clone()));
                    self.lease = Some(Lease {
                        resource_version,
                        uid: "lease".into(),
                        ..lease
                    });
                    Reply::Lease(self.lease.clone())
                }
                request => panic!("{request:?}"),
            };
            self.tell(PlaneEvent::Reply(id, reply));
        }
    }

    fn run_until(&mut self, end: u64) {
        loop {
            let wake = self.plane.wake_at().0.div_ceil(1_000_000).max(self.now + 1);
            if wake > end {
                self.now = end;
                return;
            }
            self.now = wake;
            self.tell(PlaneEvent::Tick);
        }
    }

    fn first(&self, found: impl Fn(&Action) -> bool) -> Option<u64> {
        let mut log = self.log.iter();
        log.find(|(_, action)| found(action)).map(|(now, _)| *now)
    }

    fn asked(&self) -> Vec<RequestId> {
        let asked = self.log.iter().filter_map(|(_, action)| match action {
            Action::Ask { id, .. } => Some(*id),
            _ => None,
        });
        asked.collect()
    }

    fn live(&self) -> Option<u64> {
        self.first(|action| matches!(action, Action::Live { .. }))
    }

    fn exit(&self) -> Option<Exit> {
        self.log.iter().find_map(|(_, action)| match action {
            Action::Exit(exit) => Some(*exit),
            _ => None,
        })
    }

    fn silent(&self) -> Option<u64> {
        let silences =
            |action: &Action| matches!(action, Action::Slot { deadline, .. } if *deadline == at(0));
        let mut log = self.log.iter().filter(|(now, _)| *now > 10_000);
        log.find(|(_, action)| silences(action))
            .map(|(now, _)| *now)
    }
}

fn continued() -> Left {
    Left {
        session: Some(session("node-a", 9)),
        epoch: 3,
        deadline: at(13_000),
        confirmed: at(13_000),
        live: [vip()].into(),
    }
}

#[test]
fn a_released_lease_is_taken_at_once_and_its_vips_claimed_before_they_are_live() {
    let mut bed = Bed::new(Some(released()), Left::default(), false);
    bed.run_until(10_100);
    let claims = bed.log.iter();
    let claims = claims.filter(|(_, action)| *action == Action::Claim(vec![vip()]));
    assert_eq!(claims.count(), 3);
    assert_eq!(bed.live(), Some(10_020));
    let taken = &bed.writes[0].1;
    assert_eq!(taken.holder.as_ref(), bed.plane.session().map(|(id, _)| id));
}

#[test]
fn a_lease_that_is_renewed_is_left_alone_and_a_silent_one_revoked_and_claimed_in_one_write() {
    let rival = session("node-b", 3);
    let mut bed = Bed::new(Some(lease(Some(rival.clone()), 5)), Left::default(), false);
    for renewal in 6..20 {
        bed.run_until(10_000 + (renewal - 5) * 1_500);
        bed.lease = Some(lease(Some(rival.clone()), renewal));
    }
    assert_eq!(bed.writes, []);
    let last = bed.now;
    bed.run_until(last + 8_000);
    let (taken_at, taken) = &bed.writes[0];
    // It is seen to change by the read after the write.
    assert!(
        (last + 5_000..=last + 6_875).contains(taken_at),
        "{taken_at}"
    );
    assert_eq!(taken.revoked, Some(rival));
    assert_eq!(bed.live(), Some(taken_at + 20));
}

#[test]
fn a_renewal_that_a_watch_shows_is_read_at_once_so_that_l_is_counted_from_it() {
    let rival = session("node-b", 3);
    let mut bed = Bed::new(Some(lease(Some(rival.clone()), 5)), Left::default(), false);
    let mut last = 0;
    for renewal in 6..20 {
        bed.run_until(10_000 + (renewal - 5) * 1_500);
        bed.lease = Some(lease(Some(rival.clone()), renewal));
        bed.tell(PlaneEvent::Seen(bed.lease.clone()));
        last = bed.now;
    }
    let reads = |action: &Action| {
        let Action::Ask { request, .. } = action else {
            return false;
        };
        matches!(request, Request::ReadLease(_))
    };
    let read = bed.log.iter().filter(|(_, action)| reads(action)).count();
    assert!(read < 20, "one for each renewal, and not {read}");
    bed.run_until(last + 8_000);
    assert_eq!(bed.writes[0].0, last + 5_000);
}

#[test]
fn what_a_watch_shows_while_a_read_is_under_way_is_read_after_it() {
    let renewed = |version| lease(Some(session("node-b", 3)), version);
    // Read before it was given back; and after it was renewed, of which the watch tells late.
    for (read, seen, newest, writes) in [
        (renewed(6), released(), released(), 1),
        (renewed(7), renewed(6), renewed(7), 0),
    ] {
        let mut bed = Bed::new(Some(renewed(6)), Left::default(), false);
        bed.cut = true;
        bed.run_until(12_000);
        bed.cut = false;
        bed.lease = Some(newest);
        bed.tell(PlaneEvent::Seen(Some(seen)));
        let asked = bed.asked();
        bed.tell(PlaneEvent::Reply(
            *asked.last().unwrap(),
            Reply::Lease(Some(read)),
        ));
        assert_eq!(bed.writes.len(), writes);
        assert_eq!(bed.asked().len() - asked.len(), 1 + writes);
    }
}

#[test]
fn what_a_watch_shows_after_a_read_without_an_answer_is_read_at_once() {
    let rival = session("node-b", 3);
    let mut bed = Bed::new(Some(lease(Some(rival), 6)), Left::default(), false);
    bed.cut = true;
    bed.run_until(12_000);
    bed.cut = false;
    bed.lease = Some(released());
    bed.tell(PlaneEvent::Reply(
        *bed.asked().last().unwrap(),
        Reply::Unknown,
    ));
    assert_eq!(bed.writes, []);
    bed.tell(PlaneEvent::Seen(bed.lease.clone()));
    assert_eq!(bed.writes[0].0, bed.now);
}

#[test]
fn a_request_after_an_unanswered_one_takes_a_new_connection_and_no_other_does() {
    let mut bed = Bed::new(Some(released()), Left::default(), false);
    bed.run_until(12_000);
    bed.cut = true;
    bed.run_until(14_500);
    bed.cut = false;
    bed.run_until(20_000);
    let asked = bed.log.iter().filter_map(|(now, action)| match action {
        Action::Ask { anew, .. } => Some((*now, *anew)),
        _ => None,
    });
    let anew: Vec<_> = asked
        .filter(|(_, anew)| *anew)
        .map(|(now, _)| now)
        .collect();
    // Renewed at 13 s; unanswered, and read a second later and two.
    assert_eq!(anew, [14_000, 15_000]);
}

#[test]
fn a_holder_whose_api_server_fails_answers_on_while_nobody_could_take_over() {
    let mut bed = Bed::new(Some(released()), Left::default(), false);
    bed.run_until(11_000);
    bed.cut = true;
    bed.tell(PlaneEvent::Ready(false));
    bed.run_until(30_000);
    assert_eq!(bed.silent(), None);
    // It answers again, and so does the API server of this node.
    bed.cut = false;
    bed.run_until(31_400);
    bed.tell(PlaneEvent::Ready(true));
    bed.run_until(33_000);
    assert_eq!(bed.silent(), None);
    // Nor does it come back where the others do.
    bed.tell(PlaneEvent::Ready(false));
    assert_eq!(bed.silent(), Some(33_000));
    assert_eq!(bed.writes.last().unwrap().1.holder, None);
}

#[test]
fn an_outage_of_h_makes_nobody_silent() {
    let rival = session("node-b", 3);
    let mut bed = Bed::new(Some(lease(Some(rival), 5)), Left::default(), false);
    bed.run_until(11_000);
    bed.cut = true;
    bed.run_until(40_000);
    bed.cut = false;
    bed.run_until(44_000);
    assert_eq!(bed.writes, []);
    bed.run_until(48_000);
    assert!(bed.writes[0].0 >= 45_000, "{:?}", bed.writes[0]);
}

#[test]
fn a_lease_that_a_human_emptied_is_free_only_after_its_l() {
    let mut bed = Bed::new(Some(lease(None, 5)), Left::default(), false);
    bed.run_until(14_999);
    assert_eq!(bed.writes, []);
    bed.run_until(15_100);
    assert_eq!(bed.live(), Some(15_020));
}

#[test]
fn a_lease_that_is_not_there_is_taken_at_once_and_answered_by_when_any_other_is_dead() {
    let mut bed = Bed::new(None, Left::default(), false);
    let (created_at, created) = bed.writes[0].clone();
    assert_eq!((created_at, is_held(&created)), (10_000, false));
    bed.run_until(80_000);
    // Never seen: how long it was is not known.
    assert_eq!(bed.live(), Some(70_020));
    assert!(is_held(bed.lease.as_ref().unwrap()));
    // A process that is back in between knows no more.
    let waiting = Lease {
        holder: Some(session("node-a", 9)),
        ..created
    };
    let left = Left {
        live: BTreeSet::new(),
        ..continued()
    };
    let mut bed = Bed::new(Some(waiting), left, false);
    bed.run_until(69_000);
    assert_eq!(bed.live(), None);
    bed.run_until(71_000);
    assert!(bed.live().is_some());
}

#[test]
fn the_only_node_of_the_control_plane_does_not_wait_for_others() {
    let bed = Bed::new(None, Left::default(), true);
    assert_eq!(bed.writes.len(), 1);
    assert_eq!(bed.writes[0].0, 10_000);
}

#[test]
fn a_node_whose_api_server_is_not_ready_takes_nothing_and_gives_back_what_it_has() {
    let mut bed = Bed::new(Some(released()), Left::default(), false);
    bed.run_until(11_000);
    bed.tell(PlaneEvent::Ready(false));
    let (_, given) = bed.writes.last().unwrap();
    assert_eq!((&given.holder, given.claims_read.len()), (&None, 0));
    assert_eq!(bed.silent(), Some(11_000));
    let writes = bed.writes.len();
    bed.run_until(60_000);
    assert_eq!(bed.writes.len(), writes);
    bed.tell(PlaneEvent::Ready(true));
    bed.run_until(62_000);
    assert_eq!(bed.plane.owner(), bed.plane.session().map(|(id, _)| id));
}

#[test]
fn what_nobody_else_could_take_is_kept_though_the_api_server_fails() {
    let mut bed = Bed::new(None, Left::default(), true);
    bed.run_until(11_000);
    bed.tell(PlaneEvent::Ready(false));
    bed.run_until(20_000);
    assert_eq!(bed.silent(), None);
}

#[test]
fn a_leaving_holder_is_silent_before_it_empties_the_lease() {
    let mut bed = Bed::new(Some(released()), Left::default(), false);
    bed.run_until(11_000);
    let session = bed.plane.session().unwrap().0.clone();
    bed.tell(PlaneEvent::Leave);
    assert_eq!(bed.exit(), Some(Exit::Released));
    let (_, given) = bed.writes.last().unwrap();
    assert_eq!((&given.holder, &given.revoked), (&None, &Some(session)));
    let place = |found: &dyn Fn(&Action) -> bool| bed.log.iter().rposition(|(_, a)| found(a));
    let silent = place(&|a| matches!(a, Action::Slot { deadline, .. } if *deadline == at(0)));
    let unbound = place(&|a| *a == Action::Unbind);
    let emptied = place(&|a| {
        matches!(
            a,
            Action::Ask {
                request: Request::PutLease(_),
                ..
            }
        )
    });
    assert!(silent < emptied, "{:?}", bed.log);
    assert!(unbound.is_some());
}

#[test]
fn the_only_node_of_the_control_plane_parks() {
    let mut bed = Bed::new(None, Left::default(), true);
    bed.run_until(11_000);
    bed.tell(PlaneEvent::Leave);
    assert_eq!(bed.exit(), Some(Exit::Parked));
    assert_eq!(bed.silent(), None);
    assert_eq!(
        bed.writes.last().unwrap().1.duration,
        Timing::PARKED_DURATION
    );
    let parked = Action::Extend {
        deadline: at(61_000),
        confirmed: at(61_000),
    };
    assert!(bed.log.contains(&(11_000, parked)));
}

#[test]
fn without_a_register_a_leaving_holder_is_gone_within_h_as_if_killed() {
    let mut bed = Bed::new(
        Some(lease(Some(session("node-a", 9)), 5)),
        continued(),
        false,
    );
    bed.run_until(11_000);
    bed.cut = true;
    bed.now = 11_001;
    // The release leaves, and no answer comes.
    bed.tell(PlaneEvent::Leave);
    bed.run_until(15_001);
    assert_eq!(bed.exit(), Some(Exit::Released));
    let mut cut = Bed {
        cut: true,
        ..Bed::new(
            Some(lease(Some(session("node-a", 9)), 5)),
            continued(),
            true,
        )
    };
    cut.now = 10_001;
    cut.tell(PlaneEvent::Leave);
    cut.run_until(14_001);
    assert_eq!(cut.exit(), Some(Exit::OutOfTime));
    assert_eq!(cut.silent(), None);
}

#[test]
fn a_restarted_process_continues_its_session_and_nothing_goes_silent() {
    let mut bed = Bed::new(
        Some(lease(Some(session("node-a", 9)), 5)),
        continued(),
        false,
    );
    bed.run_until(20_000);
    assert_eq!(bed.silent(), None);
    assert_eq!(bed.live(), None, "it is live already");
    assert!(
        bed.writes
            .iter()
            .all(|(_, l)| l.holder == Some(session("node-a", 9)))
    );
}

#[test]
fn a_session_that_left_its_lease_is_silent_at_once() {
    for found in [
        None,
        Some(lease(None, 5)),
        Some(lease(Some(session("node-b", 3)), 5)),
    ] {
        let bed = Bed::new(found, continued(), false);
        let silent = Action::Slot {
            deadline: at(0),
            confirmed: at(0),
            epoch: 4,
        };
        assert!(bed.log.contains(&(10_000, silent)), "{:?}", bed.log);
    }
}

#[test]
fn a_deaf_holder_gives_the_lease_to_others_first() {
    let mut bed = Bed::new(Some(released()), Left::default(), false);
    bed.run_until(11_000);
    bed.tell(PlaneEvent::Deaf(true));
    assert_eq!(bed.silent(), Some(11_000));
    bed.run_until(15_900);
    assert_eq!(bed.plane.session(), None);
    // Nobody took it for L, so that a deaf answerer is better than none.
    bed.run_until(18_000);
    assert!(bed.plane.session().is_some());
    bed.run_until(40_000);
    assert!(bed.plane.session().is_some());
}

#[test]
fn a_holder_whose_lease_was_emptied_by_hand_takes_it_anew_unless_another_had_it_meanwhile() {
    for (revoked, is_own) in [(session("node-b", 3), true), (session("node-a", 9), false)] {
        let mut bed = Bed::new(Some(released()), Left::default(), false);
        bed.run_until(11_000);
        bed.lease = Some(Lease {
            revoked: Some(revoked),
            ..lease(None, 77)
        });
        bed.tell(PlaneEvent::Seen(bed.lease.clone()));
        assert_eq!(bed.silent(), Some(11_000));
        bed.run_until(11_100);
        assert_eq!(bed.plane.session().is_some(), is_own);
    }
}
