//! Our objects on a real API server: what it refuses, who may write, and what the agent writes.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "clippy sees only functions with #[test] as tests"
)]

use std::{net::IpAddr, time::Duration};

use kube::{Api, Client, api::ListParams};
use tests::kubernetes::{Bed, NAMESPACE, User, load_balancer};
use tokio::{sync::mpsc, time::timeout};
use vip_agent::{
    api::{Vip, VipStatus, vip_name},
    cluster::{Assignment, Change, Condition, PoolStatus, ServiceKey},
    io::kube::{
        notice::{About, Notice, Reason},
        watch::{self, News},
        write::{Seen, Write, WriteNews},
        writer,
    },
};

/// What `kubectl apply --dry-run=server` says about an object.
fn said(bed: &Bed, kind: &str, name: &str, spec: &str) -> String {
    let object = format!(
        "{{apiVersion: xvip.io/v1alpha1, kind: {kind}, metadata: {{name: '{name}'}}, spec: {spec}}}"
    );
    let apply = ["apply", "--dry-run=server", "-f", "-"];
    match bed.control.kubectl(&apply, &object) {
        Ok(said) => said,
        Err(error) => error.to_string(),
    }
}

#[test]
#[ignore = "needs root"]
fn the_api_server_refuses_pools_and_vips_that_mean_nothing() {
    let bed = Bed::new(0).unwrap();
    bed.install().unwrap();
    for (spec, expected) in [
        (
            "{addresses: [192.0.2.0/28, '2001:db8::100-2001:db8::1ff', 192.0.2.9-192.0.2.10]}",
            "created",
        ),
        (
            "{addresses: ['2001:db8::/64'], prefix: '32,128'}",
            "created",
        ),
        (
            "{addresses: ['2001:db8::/64'], prefix: ' /24, auto'}",
            "created",
        ),
        // The order of an IPv6 range is beyond CEL: a condition of the pool.
        ("{addresses: ['2001:db8::9-2001:db8::1']}", "created"),
        ("{}", "Required value"),
        ("{addresses: []}", "at least 1 items"),
        ("{addresses: [192.0.2.1]}", "a CIDR"),
        ("{addresses: ['-']}", "a CIDR"),
        ("{addresses: [192.0.2.0/33]}", "a CIDR"),
        ("{addresses: ['2001:DB8::1-2001:db8::2']}", "a CIDR"),
        ("{addresses: [192.0.2.1/24]}", "behind its prefix"),
        ("{addresses: [192.0.2.9-192.0.2.1]}", "from its lower"),
        ("{addresses: ['192.0.2.9-2001:db8::1']}", "in one family"),
        (
            "{addresses: [192.0.2.0/28, 192.0.2.0/28]}",
            "Duplicate value",
        ),
        (
            "{addresses: [192.0.2.0/28], prefix: '128,32'}",
            "IPv4 comes first",
        ),
        (
            "{addresses: [192.0.2.0/28], prefix: '0'}",
            "IPv4 comes first",
        ),
    ] {
        let said = said(&bed, "VipPool", "p", spec);
        assert!(said.contains(expected), "{spec}: {said}");
    }
    let service = "services: [{namespace: default, name: web}]";
    for (name, spec, expected) in [
        ("192.0.2.1", "{address: 192.0.2.1, S}", "created"),
        ("2001-db8--1", "{address: '2001:db8::1', S}", "created"),
        (
            "fd00--0",
            "{address: 'fd00::', controlPlane: true}",
            "created",
        ),
        ("0--1", "{address: '::1', S}", "created"),
        ("web", "{address: 192.0.2.1, S}", "named after its address"),
        ("192.0.2.1", "{address: 192.0.2.1}", "belongs to"),
        (
            "192.0.2.1",
            "{address: 192.0.2.1, controlPlane: true, S}",
            "belongs to",
        ),
        (
            "2001-db8--01",
            "{address: '2001:db8::01', S}",
            "canonical form",
        ),
        ("192.0.2.1", "{address: 192.0.2.300, S}", "canonical form"),
    ] {
        let said = said(&bed, "Vip", name, &spec.replace('S', service));
        assert!(said.contains(expected), "{name} {spec}: {said}");
    }
}

#[test]
#[ignore = "needs root"]
fn only_the_agents_account_writes_claims() {
    let bed = Bed::new(0).unwrap();
    bed.install().unwrap();
    let object = |index: u32| {
        format!(
            "{{apiVersion: xvip.io/v1alpha1, kind: VipClaims, metadata: {{name: xvip-{index}, \
             namespace: {NAMESPACE}}}, spec: {{hash: fnv1a-64, buckets: 64, version: 1, later: 7}}}}"
        )
    };
    let account = format!("--as=system:serviceaccount:{NAMESPACE}:xvip-agent");
    let create = ["create", "-f", "-"];
    let by =
        |user, arguments: &[&str], index| bed.control.kubectl_as(user, arguments, &object(index));
    // A binding takes effect within a moment of its creation.
    let refused = (0..50).find_map(|_| {
        std::thread::sleep(Duration::from_millis(200));
        let dry = ["create", "--dry-run=server", "-f", "-"];
        by(User::Admin, &dry, 0).err()
    });
    let refused = refused.unwrap().to_string();
    assert!(refused.contains("only the agents write them"), "{refused}");
    by(User::Agent(1), &create, 0).unwrap();
    by(User::Admin, &[&create[..], &[&account]].concat(), 1).unwrap();
    let get = ["get", "vipclaims", "xvip-0", "-n", NAMESPACE, "-o", "json"];
    let kept = bed.control.kubectl(&get, "").unwrap();
    assert!(kept.contains("\"later\": 7"), "{kept}");
}

fn assignment(address: IpAddr) -> Assignment {
    Assignment {
        address,
        pool: None,
        services: [ServiceKey::new("default", "web")].into(),
        control_plane: false,
        share_key: None,
        interfaces: Vec::new(),
        prefix: None,
    }
}

/// The next change of a Vip.
async fn vip(news: &mut mpsc::Receiver<News>) -> Change<Vip> {
    let next = async {
        loop {
            match news.recv().await {
                Some(News::Vips(change)) => return change,
                Some(News::Broken(error)) => panic!("{error}"),
                _ => {}
            }
        }
    };
    timeout(Duration::from_secs(10), next).await.unwrap()
}

async fn applied(news: &mut mpsc::Receiver<News>) -> Vip {
    match vip(news).await {
        Change::Applied(vip) => vip,
        other => panic!("{other:?}"),
    }
}

fn seen(vip: &Vip) -> Seen {
    Seen {
        uid: vip.metadata.uid.clone().unwrap(),
        resource_version: vip.metadata.resource_version.clone().unwrap(),
    }
}

async fn written(client: Client, service_uid: String) -> Result<(), kube::Error> {
    let address: IpAddr = "2001:db8::100".parse().unwrap();
    let (send_news, mut news) = mpsc::channel(64);
    let (writes, commands) = mpsc::unbounded_channel();
    let (send_told, mut told) = mpsc::unbounded_channel();
    tokio::spawn(watch::cluster(client.clone(), send_news));
    let writer = tokio::spawn(writer::run(
        client.clone(),
        "node-1".into(),
        commands,
        send_told,
    ));
    let write = |write| writes.send(write).unwrap();
    assert!(matches!(vip(&mut news).await, Change::Listed(none) if none.is_empty()));

    write(Write::CreateVip(assignment(address)));
    let created = applied(&mut news).await;
    assert_eq!(created.metadata.name, Some(vip_name(address)));
    assert_eq!(created.metadata.managed_fields, None);
    let held = VipStatus {
        node: Some("node-1".into()),
        epoch: Some(3),
        ..VipStatus::default()
    };
    write(Write::VipStatus(address, held.clone()));
    let stated = applied(&mut news).await;
    assert_eq!(stated.status, Some(held));
    // What the status leaves out goes.
    write(Write::VipStatus(address, VipStatus::default()));
    assert_eq!(applied(&mut news).await.status, None);

    // A state that is no longer the Vip's.
    let shared = Assignment {
        share_key: Some("web".into()),
        ..assignment(address)
    };
    write(Write::ChangeVip(shared.clone(), seen(&stated)));
    let said = timeout(Duration::from_secs(10), told.recv()).await.unwrap();
    assert!(matches!(said, Some(WriteNews::Outdated(_))), "{said:?}");
    // The agent may list Vips and not get one.
    let listed = Api::<Vip>::all(client).list(&ListParams::default()).await?;
    let [now] = &listed.items[..] else {
        panic!("{:?}", listed.items)
    };
    write(Write::ChangeVip(shared, seen(now)));
    let changed = applied(&mut news).await;
    assert_eq!(changed.spec.share_key.as_deref(), Some("web"));
    write(Write::CreateVip(assignment(address)));
    let said = timeout(Duration::from_secs(10), told.recv()).await.unwrap();
    assert!(matches!(said, Some(WriteNews::Taken(_))), "{said:?}");

    // Deleted and given again, in one go.
    write(Write::DeleteVip(address, seen(&changed)));
    write(Write::CreateVip(assignment(address)));
    assert!(matches!(vip(&mut news).await, Change::Deleted(_)));
    let again = applied(&mut news).await;
    assert_ne!(again.metadata.uid, changed.metadata.uid);
    assert_eq!(again.spec.share_key, None);

    let key = ServiceKey::new("default", "web");
    let total = u128::from(u64::MAX) + 1;
    let pool = PoolStatus {
        total,
        used: 1,
        free: total - 1,
        conditions: Vec::new(),
    };
    let refused = Condition {
        kind: "xvip.io/Allocated",
        status: false,
        reason: "Refused".into(),
        message: "no".into(),
    };
    write(Write::Pool("p".into(), pool));
    write(Write::Service(key.clone(), vec![address], vec![refused]));
    for note in ["on node-1", "on node-1", "on node-2"] {
        write(Write::Notice(Notice {
            about: About::Service {
                key: key.clone(),
                uid: service_uid.clone(),
            },
            reason: Reason::Announced,
            note: note.into(),
        }));
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    drop(writes);
    // Nothing waits any more, and nobody refused anything.
    timeout(Duration::from_secs(10), writer)
        .await
        .unwrap()
        .unwrap();
    assert!(told.recv().await.is_none());
    Ok(())
}

#[test]
#[ignore = "needs root"]
fn with_the_shipped_roles_vips_statuses_and_events_are_written_and_watched() {
    let bed = Bed::new(0).unwrap();
    bed.install().unwrap();
    let pool = "{apiVersion: xvip.io/v1alpha1, kind: VipPool, metadata: {name: p}, \
                spec: {addresses: ['2001:db8::/64']}}";
    bed.control.apply(pool).unwrap();
    let service = bed
        .create_service(&load_balancer("web", &["IPv6"]))
        .unwrap();
    let uid = service.metadata.uid.unwrap();
    bed.control
        .call_as(User::Agent(1), async |client| written(client, uid).await)
        .unwrap();

    assert_eq!(bed.ingress("web").unwrap(), ["2001:db8::100"]);
    let status = bed.service("web").unwrap().status.unwrap();
    let ingress = status.load_balancer.unwrap().ingress.unwrap();
    assert_eq!(ingress[0].ip_mode.as_deref(), Some("VIP"));
    assert_eq!(status.conditions.unwrap()[0].type_, "xvip.io/Allocated");
    let pool = ["get", "vippool", "p", "-o", "jsonpath={.status.total}"];
    let total = bed.control.kubectl(&pool, "").unwrap();
    assert_eq!(total, "18446744073709551616");
    let events = ["describe", "service", "web"];
    let events = bed.control.kubectl(&events, "").unwrap();
    assert!(
        events.contains("x2 over") && events.contains("on node-2"),
        "{events}"
    );
    let listed = bed
        .control
        .call(async |client| Api::<Vip>::all(client).list(&ListParams::default()).await);
    assert_eq!(listed.unwrap().items.len(), 1);
}
