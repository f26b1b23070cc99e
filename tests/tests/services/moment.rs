//! From the creation of a Service to its first answer, and from its end to silence.

use std::{thread::sleep, time::Duration};

use serde_json::json;
use tests::{
    agent::until,
    kubernetes::{SharedBed, load_balancer},
    observer::{Observer, PAUSE},
};

use super::ms;

/// No test of speed, which `cargo xtask bench --kubernetes` measures: what waits for a list, a
/// renewal or a timer instead of an event takes longer than this.
const AT_ONCE: Duration = ms(700);

/// A Service's life, on the observer's clock: when its creation was sent and had been written, and
/// when its deletion was sent.
struct Life<'a> {
    vips: &'a [String; 2],
    created: Duration,
    written: Duration,
    deleted: Duration,
}

fn name(pair: &[String; 2]) -> String {
    format!("web-{}", pair[0].replace('.', "-"))
}

fn print_and_judge(what: &str, mut times: Vec<Duration>) {
    times.sort();
    let (median, worst) = (times[times.len() / 2], times[times.len() - 1]);
    println!(
        "{what}: median {} ms, worst {} ms, of {}",
        median.as_millis(),
        worst.as_millis(),
        times.len()
    );
    assert!(median <= AT_ONCE, "{what}: {times:?}");
}

#[test]
#[ignore = "needs root"]
fn a_service_is_answered_and_announced_soon_after_its_creation_and_by_nobody_once_it_is_deleted() {
    let bed = SharedBed::take().unwrap();
    // The first half names its addresses, the other gets the next of a pool.
    let vips: Vec<[String; 2]> = (0..8)
        .map(|n| [format!("192.0.2.10{n}"), format!("2001:db8::10{n}")])
        .collect();
    let (named, pooled) = vips.split_at(4);
    let all: Vec<&str> = vips.iter().flatten().map(String::as_str).collect();
    let observer = Observer::ask(&bed.client, &all, PAUSE).unwrap();
    let create = |pair: &[String; 2], annotations: serde_json::Value| {
        let mut service = load_balancer(&name(pair), &["IPv4", "IPv6"]);
        service.metadata.annotations = serde_json::from_value(annotations).unwrap();
        let created = bed.create_service_at(&service, || observer.now()).unwrap();
        let answered = || pair.iter().all(|vip| observer.latest(vip).is_some());
        until(
            &format!("{pair:?} to be answered"),
            || Ok(answered()),
            || bed.described(&name(pair)),
        )
        .unwrap();
        sleep(ms(200));
        created
    };
    let delete = |pair: &[String; 2]| {
        assert_eq!(bed.ingress(&name(pair)).unwrap(), *pair);
        let deleted = observer.now();
        bed.delete_service(&name(pair)).unwrap();
        sleep(ms(200));
        deleted
    };
    let mut created = Vec::new();
    for pair in named {
        created.push(create(pair, json!({"xvip.io/addresses": pair.join(",")})));
    }
    let addresses = ["192.0.2.104-192.0.2.107", "2001:db8::104-2001:db8::107"];
    bed.put_pool("front", json!({"addresses": addresses}))
        .unwrap();
    sleep(ms(200));
    for pair in pooled {
        created.push(create(pair, json!({})));
    }
    let lives: Vec<Life<'_>> = vips
        .iter()
        .zip(created)
        .map(|(vips, [created, written])| Life {
            vips,
            created,
            written,
            deleted: delete(vips),
        })
        .collect();
    sleep(ms(500));
    let observed = observer.finish().unwrap();
    observed.one_answerer(None).unwrap();
    let mut times: [Vec<Duration>; 4] = Default::default();
    // The same, since the API server had written the Service.
    let mut since_written: [Vec<Duration>; 3] = Default::default();
    let writing = lives.iter().map(|life| life.written - life.created);
    for (number, life) in lives.iter().enumerate() {
        for vip in life.vips {
            let line = observed.timeline(vip);
            let [reign] = line.reigns()[..] else {
                panic!("{vip}: {:?}", line.reigns())
            };
            assert!(reign.from >= life.created, "{vip}: before it was created");
            let announced = &line.announcements()[0];
            assert_eq!(announced.by, reign.by);
            let answered = usize::from(number >= named.len());
            for (what, at) in [(answered, reign.from), (2, announced.at)] {
                times[what].push(at - life.created);
                since_written[what].push(at.saturating_sub(life.written));
            }
            times[3].push(reign.until.saturating_sub(life.deleted));
        }
    }
    print_and_judge("created to written", writing.collect());
    let [of_named, of_pooled, announced, silent] = times;
    print_and_judge("created to answered, address named", of_named);
    print_and_judge("created to answered, address of a pool", of_pooled);
    print_and_judge("created to announced", announced);
    let [of_named, of_pooled, announced] = since_written;
    print_and_judge("written to answered, address named", of_named);
    print_and_judge("written to answered, address of a pool", of_pooled);
    print_and_judge("written to announced", announced);
    print_and_judge("deleted to silent", silent);
}
