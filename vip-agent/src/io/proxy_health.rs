//! Asks kube-proxy how it is: its health port answers 200 while it programs Services, and 503
//! once it fell behind, or its Node is about to go (KEP-3836).

use std::{io, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::watch,
    time::{sleep, timeout},
};

use crate::cluster::ProxyHealth;

/// kube-proxy's `healthzBindAddress`, as it is by default.
const ADDRESS: &str = "127.0.0.1:10256";
const QUESTION: &[u8] = b"GET /healthz HTTP/1.0\r\nHost: localhost\r\n\r\n";
const INTERVAL: Duration = Duration::from_secs(2);
const PATIENCE: Duration = Duration::from_secs(1);
/// So many bad answers in a row count: kube-proxy restarts are short.
const PATIENT_ROUNDS: u32 = 3;

/// Tells what kube-proxy says of itself, until nobody listens.
pub async fn follow(health: watch::Sender<ProxyHealth>) {
    let mut bad = 0;
    while !health.is_closed() {
        let answer = timeout(PATIENCE, ask()).await;
        let well = matches!(answer, Ok(Ok(true)));
        let answered = matches!(answer, Ok(Ok(_)));
        bad = if well { 0 } else { bad + 1 };
        health.send_if_modified(|health| {
            let next = match *health {
                _ if well => ProxyHealth::Healthy,
                // Where none ever was, nobody runs it (Cilium does its work).
                ProxyHealth::Unknown if !answered => ProxyHealth::Unknown,
                _ if bad >= PATIENT_ROUNDS => ProxyHealth::Failing,
                same => same,
            };
            std::mem::replace(health, next) != next
        });
        sleep(INTERVAL).await;
    }
}

/// Whether the status is 200.
async fn ask() -> io::Result<bool> {
    let mut stream = TcpStream::connect(ADDRESS).await?;
    stream.write_all(QUESTION).await?;
    // HTTP/1.x, a blank, three digits.
    let mut head = [0; 12];
    stream.read_exact(&mut head).await?;
    Ok(head.ends_with(b" 200"))
}
