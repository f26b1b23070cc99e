//! `/metrics /livez /readyz /healthz /v1/status /v1/explain /v1/events`, and a page at `/`.
//!
//! Nothing is answered from a copy: each request becomes a [`Question`] to the driver, which
//! owns the state, and an answer that does not come in time is an error. So a hung driver fails
//! `/livez`, and the numbers of a scrape are those of its moment. `/healthz` is `/livez` under
//! an older name: a probe that restarts the agent must not follow readiness.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use axum::{
    Json, Router,
    extract::State,
    http::{StatusCode, Uri, header},
    response::{IntoResponse, Response},
    routing::get,
};
use socket2::{Domain, Socket, Type};
use tokio::{
    net::TcpListener,
    sync::{mpsc, oneshot},
    time::timeout,
};

use crate::{
    explain::Explanation,
    history::Events,
    metrics::{CONTENT_TYPE, Metrics, Snapshot},
    status::Status,
};

/// Time that the driver has for an answer; probes of Kubernetes wait 1 s by default.
const PATIENCE: Duration = Duration::from_millis(900);

/// Connections that wait to be taken, as tokio has it.
const BACKLOG: i32 = 1024;

/// Questions that may wait for the driver.
const QUESTIONS: usize = 16;

/// What a request asks the driver. An asker that has gone is no error: drop the answer.
#[derive(Debug)]
pub enum Question {
    /// Does the driver take its turns?
    Alive(oneshot::Sender<()>),
    /// What is missing before the node can serve; nothing when it can.
    Ready(oneshot::Sender<Vec<String>>),
    /// The status document.
    Status(oneshot::Sender<Status>),
    /// Why a VIP is answered or not.
    Explain(IpAddr, oneshot::Sender<Explanation>),
    /// What happened last.
    Events(oneshot::Sender<Events>),
    /// What the metrics show.
    Scrape(oneshot::Sender<Snapshot>),
}

/// The way to the driver.
#[derive(Clone, Debug)]
pub struct Driver {
    questions: mpsc::Sender<Question>,
    metrics: Arc<Metrics>,
}

/// The driver gave no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoAnswer {
    /// Neither did it take earlier questions.
    #[error("the driver takes no questions: {QUESTIONS} are waiting")]
    Full,
    /// It took too long.
    #[error("the driver did not answer within {} ms", PATIENCE.as_millis())]
    Late,
    /// It ended.
    #[error("the driver has ended")]
    Gone,
}

impl Driver {
    /// The way to a driver that reads the returned questions.
    pub fn new(metrics: Arc<Metrics>) -> (Self, mpsc::Receiver<Question>) {
        let (questions, receiver) = mpsc::channel(QUESTIONS);
        (Self { questions, metrics }, receiver)
    }

    async fn ask<T>(
        &self,
        question: impl FnOnce(oneshot::Sender<T>) -> Question,
    ) -> Result<T, NoAnswer> {
        let (reply, answer) = oneshot::channel();
        self.questions
            .try_send(question(reply))
            .map_err(|error| match error {
                mpsc::error::TrySendError::Full(_) => NoAnswer::Full,
                mpsc::error::TrySendError::Closed(_) => NoAnswer::Gone,
            })?;
        match timeout(PATIENCE, answer).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(_)) => Err(NoAnswer::Gone),
            Err(_) => Err(NoAnswer::Late),
        }
    }
}

/// Listens at an address that this host may get later: a node's may be added, or pass the
/// detection of duplicates, after the agent has started.
pub fn listen_early(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM.nonblocking(),
        None,
    )?;
    socket.set_reuse_address(true)?;
    match address.ip() {
        IpAddr::V4(_) => socket.set_freebind_v4(true)?,
        IpAddr::V6(_) => socket.set_freebind_v6(true)?,
    }
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

/// Serves `/metrics` alone: for an address that others reach.
pub async fn serve_metrics(listener: TcpListener, driver: Driver) -> io::Result<()> {
    let routes = Router::new()
        .route("/metrics", get(metrics))
        .with_state(driver);
    axum::serve(listener, routes).await
}

/// Serves until the task is cancelled, which cuts connections off.
pub async fn serve(listener: TcpListener, driver: Driver) -> io::Result<()> {
    let routes = Router::new()
        .route("/metrics", get(metrics))
        .route("/livez", get(alive))
        .route("/healthz", get(alive))
        .route("/readyz", get(ready))
        .route("/", get(page))
        .route("/v1/status", get(status))
        .route("/v1/explain", get(explain))
        .route("/v1/events", get(events))
        .with_state(driver);
    axum::serve(listener, routes).await
}

/// Shows status and events, and reads nothing from elsewhere.
const PAGE: &str = include_str!("page.html");
const POLICY: &str =
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; connect-src 'self'";

async fn page() -> Response {
    let headers = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CONTENT_SECURITY_POLICY, POLICY),
    ];
    (headers, PAGE).into_response()
}

impl IntoResponse for NoAnswer {
    fn into_response(self) -> Response {
        (StatusCode::SERVICE_UNAVAILABLE, format!("{self}\n")).into_response()
    }
}

async fn alive(State(driver): State<Driver>) -> Result<&'static str, NoAnswer> {
    driver.ask(Question::Alive).await.map(|()| "ok\n")
}

async fn ready(State(driver): State<Driver>) -> Result<Response, NoAnswer> {
    let missing = driver.ask(Question::Ready).await?;
    if missing.is_empty() {
        return Ok("ok\n".into_response());
    }
    let reasons = missing.join("\n") + "\n";
    Ok((StatusCode::SERVICE_UNAVAILABLE, reasons).into_response())
}

async fn status(State(driver): State<Driver>) -> Result<Json<Status>, NoAnswer> {
    driver.ask(Question::Status).await.map(Json)
}

/// `vip=` is an address, which needs no percent-encoding: `:` may stand in a query (RFC 3986, 3.4).
async fn explain(State(driver): State<Driver>, uri: Uri) -> Result<Response, NoAnswer> {
    let query = uri.query().unwrap_or_default();
    let mut fields = query.split('&').filter_map(|field| field.split_once('='));
    let vip = fields.find_map(|(name, value)| (name == "vip").then(|| value.parse::<IpAddr>()));
    let Some(Ok(vip)) = vip else {
        let asked = "ask for one address: /v1/explain?vip=192.0.2.100\n";
        return Ok((StatusCode::BAD_REQUEST, asked).into_response());
    };
    let explanation = driver.ask(|reply| Question::Explain(vip, reply)).await?;
    Ok(Json(explanation).into_response())
}

async fn events(State(driver): State<Driver>) -> Result<Json<Events>, NoAnswer> {
    driver.ask(Question::Events).await.map(Json)
}

async fn metrics(State(driver): State<Driver>) -> Result<Response, NoAnswer> {
    let snapshot = driver.ask(Question::Scrape).await?;
    Ok(match driver.metrics.encode(snapshot) {
        Ok(text) => ([(header::CONTENT_TYPE, CONTENT_TYPE)], text).into_response(),
        Err(error) => (
            StatusCode::INTERNAL_SERVER_ERROR,
            format!("cannot write the metrics: {error}\n"),
        )
            .into_response(),
    })
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpStream,
    };

    use super::*;
    use crate::{explain::tests::explained, history::tests::happened, status::tests::example};

    /// A server whose driver answers, or reads no question at all.
    async fn server(missing: Option<Vec<String>>) -> std::net::SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (driver, mut questions) = Driver::new(Arc::new(Metrics::new("0.1.0")));
        tokio::spawn(serve(listener, driver));
        tokio::spawn(async move {
            let Some(missing) = missing else {
                return std::future::pending().await;
            };
            while let Some(question) = questions.recv().await {
                match question {
                    Question::Alive(reply) => reply.send(()).unwrap(),
                    Question::Ready(reply) => reply.send(missing.clone()).unwrap(),
                    Question::Status(reply) => reply.send(example()).unwrap(),
                    Question::Explain(vip, reply) => {
                        let explained = explained(vip);
                        reply.send(explained).unwrap();
                    }
                    Question::Events(reply) => reply.send(happened()).unwrap(),
                    Question::Scrape(reply) => reply.send(Snapshot::default()).unwrap(),
                }
            }
        });
        address
    }

    async fn get(address: std::net::SocketAddr, path: &str) -> (String, String) {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let request = format!("GET {path} HTTP/1.0\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut response = String::new();
        stream.read_to_string(&mut response).await.unwrap();
        let (head, body) = response.split_once("\r\n\r\n").unwrap();
        (head.to_owned(), body.to_owned())
    }

    #[tokio::test]
    async fn a_driver_that_answers_is_alive_ready_and_measured() {
        let address = server(Some(Vec::new())).await;
        for path in ["/livez", "/healthz", "/readyz"] {
            let (head, body) = get(address, path).await;
            assert!(head.starts_with("HTTP/1.0 200"), "{path}: {head}");
            assert_eq!(body, "ok\n");
        }
        let (head, body) = get(address, "/metrics").await;
        assert!(head.contains(CONTENT_TYPE), "{head}");
        assert!(body.ends_with("# EOF\n"));
        let (_, body) = get(address, "/v1/status").await;
        let status: Status = serde_json::from_str(&body).unwrap();
        assert_eq!(status, example());
        let (_, body) = get(address, "/v1/events").await;
        assert_eq!(serde_json::from_str::<Events>(&body).unwrap(), happened());
        for vip in ["192.0.2.100", "2001:db8::100"] {
            let (_, body) = get(address, &format!("/v1/explain?x=1&vip={vip}")).await;
            let explanation: Explanation = serde_json::from_str(&body).unwrap();
            assert_eq!(explanation, explained(vip.parse().unwrap()));
        }
    }

    #[tokio::test]
    async fn metrics_for_others_come_without_the_rest_and_before_the_address_does() {
        let (driver, mut questions) = Driver::new(Arc::new(Metrics::new("0.1.0")));
        tokio::spawn(async move {
            while let Some(Question::Scrape(reply)) = questions.recv().await {
                reply.send(Snapshot::default()).unwrap();
            }
        });
        let listener = listen_early("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(serve_metrics(listener, driver));
        let (head, body) = get(address, "/metrics").await;
        assert!(head.contains(CONTENT_TYPE), "{head}");
        assert!(body.ends_with("# EOF\n"));
        for path in ["/", "/livez", "/readyz", "/v1/status", "/v1/events"] {
            let (head, _) = get(address, path).await;
            assert!(head.starts_with("HTTP/1.0 404"), "{path}: {head}");
        }
        for absent in ["203.0.113.9:0", "[2001:db8::9]:0"] {
            listen_early(absent.parse().unwrap()).unwrap();
        }
        listen_early(address).unwrap_err();
    }

    #[tokio::test]
    async fn the_page_is_whole_and_asks_for_what_there_is() {
        let address = server(Some(Vec::new())).await;
        let (head, page) = get(address, "/").await;
        assert!(
            head.contains("text/html") && head.contains("default-src 'none'"),
            "{head}"
        );
        for foreign in ["src=", "href=", "@import", "url("] {
            assert!(!page.contains(foreign), "{foreign}");
        }
        let asked = page.split("document_at(\"").skip(1);
        let asked: Vec<&str> = asked.filter_map(|rest| rest.split('"').next()).collect();
        assert_eq!(asked, ["/v1/status", "/v1/events"]);
        for path in asked {
            assert!(
                get(address, path).await.0.contains("application/json"),
                "{path}"
            );
        }
    }

    #[test]
    fn what_the_page_calls_moves_are_reasons_of_facts() {
        let (_, list) = PAGE.split_once("const MOVES = [").unwrap();
        let (list, _) = list.split_once(']').unwrap();
        let facts = include_str!("../event.rs");
        let reasons: Vec<&str> = list.split(',').map(str::trim).collect();
        assert!(reasons.len() > 10, "{reasons:?}");
        for reason in reasons {
            assert!(facts.contains(&format!("({reason}, ")), "{reason}");
        }
    }

    #[tokio::test]
    async fn who_asks_why_has_to_name_an_address() {
        let address = server(Some(Vec::new())).await;
        for query in ["", "?vip=", "?vip=web", "?v=192.0.2.1", "?vip=192.0.2.0/24"] {
            let (head, body) = get(address, &format!("/v1/explain{query}")).await;
            assert!(head.starts_with("HTTP/1.0 400"), "{query}: {head}");
            assert!(body.contains("?vip=192.0.2.100"), "{body}");
        }
    }

    #[tokio::test]
    async fn a_node_that_cannot_serve_yet_says_every_reason() {
        let missing = vec![
            "eth0: no carrier".to_owned(),
            "eth1: not attached".to_owned(),
        ];
        let address = server(Some(missing)).await;
        let (head, body) = get(address, "/readyz").await;
        assert!(head.starts_with("HTTP/1.0 503"), "{head}");
        assert_eq!(body, "eth0: no carrier\neth1: not attached\n");
        assert!(get(address, "/livez").await.0.starts_with("HTTP/1.0 200"));
    }

    #[tokio::test]
    async fn a_hung_driver_fails_every_path_and_fills_no_memory() {
        let address = server(None).await;
        let requests = (0..QUESTIONS + 4).map(|_| get(address, "/livez"));
        let answers = futures::future::join_all(requests).await;
        assert!(
            answers
                .iter()
                .all(|(head, _)| head.starts_with("HTTP/1.0 503"))
        );
        let full = answers
            .iter()
            .filter(|(_, body)| body.contains("takes no questions"));
        assert_eq!(full.count(), 4);
        let (head, _) = get(address, "/metrics").await;
        assert!(head.starts_with("HTTP/1.0 503"), "{head}");
    }
}
