//! What a packet pays that xvip has nothing to do with.

use std::{
    net::{Ipv4Addr, Ipv6Addr},
    os::fd::AsFd,
};

use super::{
    bed::Bed,
    error::Error,
    frames,
    programs::{time_one, xdp},
    table::{Aim, Table, median},
};

const ROUNDS: usize = 81;
/// Runs of one slice: about 4 ms.
const REPEAT: u32 = 100_000;

pub(super) fn measure(bed: &mut Bed, table: &mut Table) -> Result<(), Error> {
    let packets = [
        (
            "unrelated TCP packet, IPv4",
            frames::tcp_segment(Ipv4Addr::new(192, 0, 2, 7).into()),
        ),
        (
            "unrelated TCP packet, IPv6",
            frames::tcp_segment(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 7).into()),
        ),
    ];
    for (name, frame) in packets {
        let mut rounds = Vec::with_capacity(ROUNDS);
        for _ in 0..ROUNDS {
            // The frame is left as it is, so that it may be judged again and again.
            let ours = xdp(&mut bed.xvip, "xvip_ingress")?.fd()?.as_fd();
            let ours = time_one(ours, &frame, REPEAT)?;
            let empty = xdp(&mut bed.others, "empty")?.fd()?.as_fd();
            rounds.push((ours, time_one(empty, &frame, REPEAT)?));
        }
        let ours = median(rounds.iter().map(|round| round.0));
        let empty = median(rounds.iter().map(|round| round.1));
        let cost = median(rounds.iter().map(|round| round.0 - round.1));
        table.row(
            name.to_owned(),
            format!("+{cost:.1} ns"),
            format!("{ours:.1} ns, empty program {empty:.1} ns"),
            Some(Aim::at_most(6.0, cost)),
        );
    }
    Ok(())
}
