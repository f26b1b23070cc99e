//! Services of type LoadBalancer, by a real API server and on a real LAN. One bed is shared by all
//! tests here; each takes its turn.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "clippy sees only functions with #[test] as tests"
)]

mod addresses;
mod endpoints;
mod families;
mod lives;
mod moment;
mod pools;
mod sharing;

use std::time::Duration;

use k8s_openapi::api::core::v1::Service;
use serde_json::{Value, json};
use tests::{
    kubernetes::{SharedBed, load_balancer},
    observer::{Observer, PAUSE},
};

const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// A Service with annotations.
fn annotated(name: &str, families: &[&str], annotations: Value) -> Service {
    let mut service = load_balancer(name, families);
    service.metadata.annotations = serde_json::from_value(annotations).unwrap();
    service
}

/// A Service that names its addresses.
fn asking(name: &str, families: &[&str], addresses: &str) -> Service {
    annotated(name, families, json!({"xvip.io/addresses": addresses}))
}

/// Another policy than [`load_balancer`] gives to the number of families.
fn with_policy(mut service: Service, policy: &str) -> Service {
    service.spec.as_mut().unwrap().ip_family_policy = Some(policy.into());
    service
}

/// Another port than 80.
fn with_port(mut service: Service, port: i32) -> Service {
    service.spec.as_mut().unwrap().ports.as_mut().unwrap()[0].port = port;
    service
}

/// `externalTrafficPolicy: Local`.
fn local(mut service: Service) -> Service {
    service.spec.as_mut().unwrap().external_traffic_policy = Some("Local".into());
    service
}

fn observe(bed: &SharedBed, vips: &[&str]) -> Observer {
    Observer::ask(&bed.client, vips, PAUSE).unwrap()
}
