//! The real agent on VLANs, a bond and jumbo frames, asked from the other end of the wire.

use std::{
    collections::BTreeMap,
    error::Error,
    fs,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    path::Path,
    thread,
    time::{Duration, Instant},
};

use aya::{
    Ebpf,
    programs::{
        LinkOrder, SchedClassifier, TcAttachType,
        tc::{NlOptions, TcAttachOptions},
    },
};
use nix::net::if_::if_nametoindex;
use tests::{
    netns::{BedError, Peer},
    wire::{Kind, Seen, Wire, arp_request, solicitation},
};
use vip_agent::{
    io::datapath::{Pins, Position},
    vip::Mac,
};
use vip_common::abi::LAYOUT;

use crate::{
    agent::{self, Agent},
    cases::{Judge, Outcome},
    links::JUMBO,
};

const ASKER: Mac = Mac([2, 0, 0, 0, 0, 0x20]);
const ASKER4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);
const ASKER6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 2);
const PINS: &str = "/sys/fs/bpf/xvip";
/// A frame needs milliseconds; an emulated processor on a busy machine may need a second.
const PATIENCE: Duration = Duration::from_secs(5);
/// What was not answered by then was not answered.
const SILENCE: Duration = Duration::from_millis(500);
const ETHERNET_HEADER: usize = 14;

/// A link with two VIPs.
struct Place {
    link: &'static str,
    /// Where to ask.
    other: &'static str,
    number: u8,
    /// What `attach: auto` takes.
    mode: &'static str,
}

const fn place(link: &'static str, other: &'static str, number: u8, mode: &'static str) -> Place {
    Place {
        link,
        other,
        number,
        mode,
    }
}

/// `lan0` strips tags, which XDP would have to see; `bond0` does not.
const PLACES: [Place; 5] = [
    place("lan0", "lan1", 10, "tc"),
    place("lan0.100", "lan1.100", 20, "tc"),
    place("bond0", "port1", 30, "tc"),
    place("bond0.100", "port1.100", 40, "tc"),
    place("jumbo0", "jumbo1", 50, "tc"),
];

impl Place {
    fn vips(&self) -> [IpAddr; 2] {
        [
            Ipv4Addr::new(192, 0, 2, self.number).into(),
            Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 1, self.number.into()).into(),
        ]
    }

    fn mac(&self) -> Result<String, Box<dyn Error>> {
        let path = format!("/sys/class/net/{}/address", self.link);
        Ok(fs::read_to_string(path)?.trim().to_owned())
    }

    fn position(&self) -> Result<Position, Box<dyn Error>> {
        Ok(Pins::new(PINS, LAYOUT).position(if_nametoindex(self.link)?)?)
    }
}

fn config(places: &[Place], attach: &str) -> String {
    let mut text = format!("interfaces: [lan0]\nattach: {attach}\nvips:\n");
    for place in places {
        for vip in place.vips() {
            text += &format!("  - {{address: \"{vip}\", interfaces: [{}]}}\n", place.link);
        }
    }
    text
}

/// Packet sockets at the other ends.
pub(crate) struct Wires(BTreeMap<&'static str, Wire>);

impl Wires {
    /// Opens them, while the thread may still enter the namespace.
    pub(crate) fn open(peer: &Peer) -> Result<Self, BedError> {
        let open = |place: &Place| {
            let wire = Wire::open(peer, place.other, Duration::from_millis(50))?;
            Ok((place.other, wire))
        };
        Ok(Self(PLACES.iter().map(open).collect::<Result<_, _>>()?))
    }

    /// Asks for `vip` at `other`; the MACs of all who answer within the time, or of the first
    /// and those that follow it at once.
    fn ask(
        &self,
        other: &str,
        vip: IpAddr,
        length: usize,
        time: Duration,
    ) -> Result<Vec<String>, Box<dyn Error>> {
        let wire = self.0.get(other).ok_or("no such wire")?;
        while wire.receive()?.is_some() {}
        let mut question = match vip {
            IpAddr::V4(vip) => arp_request(ASKER, ASKER4, vip),
            IpAddr::V6(vip) => solicitation(ASKER, ASKER6, vip),
        };
        question.resize(question.len().max(length), 0);
        wire.send(&question)?;
        let mut until = Instant::now() + time;
        let mut answerers = Vec::new();
        while Instant::now() < until {
            let Some(seen) = wire.receive()?.and_then(|frame| Seen::of(&frame)) else {
                continue;
            };
            let is_ours = [IpAddr::from(ASKER4), ASKER6.into()].contains(&seen.destination);
            if seen.kind == Kind::Answer && seen.about == vip && is_ours {
                answerers.push(seen.from.to_string());
                until = until.min(Instant::now() + Duration::from_millis(100));
            }
        }
        Ok(answerers)
    }

    /// Both VIPs are answered once, by the place's own MAC.
    fn answered(&self, place: &Place, length: usize) -> Outcome {
        for vip in place.vips() {
            let by = self.ask(place.other, vip, length, PATIENCE)?;
            if by != [place.mac()?] {
                return Err(format!("{vip} answered by {by:?}, not {}", place.mac()?).into());
            }
        }
        Ok(())
    }

    fn silent(&self, place: &Place, other: &str) -> Outcome {
        for vip in place.vips() {
            let by = self.ask(other, vip, 0, SILENCE)?;
            if !by.is_empty() {
                return Err(format!("{vip} answered at {other} by {by:?}").into());
            }
        }
        Ok(())
    }
}

/// All cases with a running agent; `foreign` has a classifier that passes everything.
pub(crate) fn run(judge: &mut Judge, wires: &Wires, foreign: &mut Ebpf) {
    let [lan, vlan, bond, vlan_of_bond, jumbo] = &PLACES;
    let Some(agent) = judge.value("the agent starts", Agent::start(&config(&PLACES, "auto")))
    else {
        return;
    };
    judge.case("the agent has three capabilities", has_three(&agent));
    for place in &PLACES {
        let name = format!("{} takes {}", place.link, place.mode);
        judge.case(&name, mode(place, place.mode));
        let name = format!("{}: both VIPs answered by its MAC", place.link);
        judge.case(&name, wires.answered(place, 0));
    }
    let length = ETHERNET_HEADER + JUMBO;
    let name = "jumbo0: questions of 9000 bytes answered by tc";
    judge.case(name, wires.answered(jumbo, length));
    for (place, other) in [
        (vlan, lan.other),
        (lan, vlan.other),
        (vlan_of_bond, bond.other),
        (bond, vlan_of_bond.other),
    ] {
        let name = format!("{}: VIPs silent at {other}", place.link);
        judge.case(&name, wires.silent(place, other));
    }

    judge.case("kill -9", agent.kill());
    let name = "every VIP answered without the agent";
    judge.case(
        name,
        PLACES.iter().try_for_each(|place| wires.answered(place, 0)),
    );
    let Some(agent) = judge.value(
        "the agent starts again",
        Agent::start(&config(&PLACES, "auto")),
    ) else {
        return;
    };
    judge.case("it adopts every program", adopted());
    let name = "a foreign classifier that came first is overtaken";
    judge.case(name, overtaken(lan, foreign));
    judge.case(
        "lan0: both VIPs answered after that",
        wires.answered(lan, 0),
    );
    judge.case("SIGTERM ends it", agent.terminate());
    let name = "every VIP silent afterwards";
    judge.case(
        name,
        PLACES
            .iter()
            .try_for_each(|place| wires.silent(place, place.other)),
    );
    judge.case(
        "no program of ours stays",
        PLACES.iter().try_for_each(nothing_left),
    );

    let Some(agent) = judge.value("the agent starts with attach: native", start_native()) else {
        return;
    };
    judge.case("jumbo0 takes native", mode(jumbo, "native"));
    let name = "jumbo0: both VIPs answered by native XDP";
    judge.case(name, wires.answered(jumbo, 0));
    judge.case("SIGTERM ends this one too", agent.terminate());
}

/// To be run last: where a program shortens a frame by whole pages, veth of 6.12 and newer loses
/// them ("BUG: Bad page state": the frame is not marked as one of the page pool).
pub(crate) fn run_native_jumbo(judge: &mut Judge, wires: &Wires) {
    let [.., jumbo] = &PLACES;
    let name = "jumbo0: questions of 9000 bytes answered by native XDP";
    let answered = start_native().and_then(|agent| {
        wires.answered(jumbo, ETHERNET_HEADER + JUMBO)?;
        agent.terminate()
    });
    judge.case(name, answered);
}

fn start_native() -> Result<Agent, Box<dyn Error>> {
    Agent::start(&config(&PLACES[4..], "native"))
}

/// What `/proc` says of the agent itself.
fn has_three(agent: &Agent) -> Outcome {
    let expected = fs::read_to_string("/proc/self/status")?;
    for set in ["CapPrm:", "CapEff:", "CapBnd:"] {
        let ours = expected.lines().find_map(|line| line.strip_prefix(set));
        let its = agent.status(set)?;
        if ours.map(str::trim) != Some(its.as_str()) {
            return Err(format!("{set} {its}").into());
        }
    }
    Ok(())
}

fn mode(place: &Place, expected: &str) -> Outcome {
    let answer = agent::get("/v1/status")?;
    let (_, body) = answer.split_once("\r\n\r\n").ok_or("no body")?;
    let status: serde_json::Value = serde_json::from_str(body)?;
    let rows = status["interfaces"].as_array().ok_or("no interfaces")?;
    let row = rows.iter().find(|row| row["name"] == place.link);
    match row.map(|row| &row["attach"]) {
        Some(mode) if mode == expected => Ok(()),
        other => Err(format!("{other:?}").into()),
    }
}

fn adopted() -> Outcome {
    let log = agent::log_text();
    let fresh: Vec<_> = log
        .lines()
        .filter(|line| line.contains("\"Attached\""))
        .collect();
    if fresh.is_empty() && log.contains("\"Continued\"") {
        Ok(())
    } else {
        Err(log.into())
    }
}

/// On the qdisc the foreign filter shares our priority, the best place there is.
fn overtaken(place: &Place, foreign: &mut Ebpf) -> Outcome {
    let program = foreign.program_mut("xvip_tc_in").ok_or("no xvip_tc_in")?;
    let program: &mut SchedClassifier = program.try_into()?;
    let (link, ingress) = (place.link, TcAttachType::Ingress);
    let first = TcAttachOptions::TcxOrder(LinkOrder::first());
    let attached = match program.attach_with_options(link, ingress, first) {
        Ok(attached) => attached,
        Err(_) => {
            let options = NlOptions {
                priority: 1,
                ..NlOptions::default()
            };
            program.attach_with_options(link, ingress, TcAttachOptions::Netlink(options))?
        }
    };
    let began = Instant::now();
    let restored = loop {
        let chain = place.position()?.tc_in;
        let is_first = chain.first().is_some_and(|seat| seat.ours);
        if chain.len() > 1 && is_first && agent::log_text().contains("PositionRestored") {
            break Ok(());
        }
        if began.elapsed() > PATIENCE * 4 {
            break Err(format!("{chain:?}: {}", agent::log_text()).into());
        }
        thread::sleep(Duration::from_millis(100));
    };
    program.detach(attached)?;
    restored
}

fn nothing_left(place: &Place) -> Outcome {
    let position = place.position()?;
    let chains = [&position.xdp, &position.tc_in, &position.tc_out];
    if chains.into_iter().flatten().next().is_some() {
        return Err(format!("{}: {position:?}", place.link).into());
    }
    let links = Path::new(PINS).join("links");
    match fs::read_dir(links).map(|entries| entries.count()) {
        Ok(0) | Err(_) => Ok(()),
        Ok(count) => Err(format!("{count} pinned links").into()),
    }
}
