//! `/metrics /livez /readyz /healthz /v1/status`.
//!
//! Nothing is answered from a copy: each request becomes a [`Question`] to the driver, which
//! owns the state, and an answer that does not come in time is an error. So a hung driver fails
//! `/livez`, and the numbers of a scrape are those of its moment. `/healthz` is `/livez` under
//! an older name: a probe that restarts the agent must not follow readiness.

use std::{io, sync::Arc, time::Duration};

use axum::{
    Json, Router,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use tokio::{
    net::TcpListener,
    sync::{mpsc, oneshot},
    time::timeout,
};

use crate::{
    metrics::{CONTENT_TYPE, Metrics, Snapshot},
    status::Status,
};

/// Time that the driver has for an answer; probes of Kubernetes wait 1 s by default.
const PATIENCE: Duration = Duration::from_millis(900);

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

    async fn ask<T>(&self, question: fn(oneshot::Sender<T>) -> Question) -> Result<T, NoAnswer> {
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

/// Serves until the task is cancelled, which cuts connections off.
pub async fn serve(listener: TcpListener, driver: Driver) -> io::Result<()> {
    let routes = Router::new()
        .route("/metrics", get(metrics))
        .route("/livez", get(alive))
        .route("/healthz", get(alive))
        .route("/readyz", get(ready))
        .route("/v1/status", get(status))
        .with_state(driver);
    axum::serve(listener, routes).await
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
    use crate::status::tests::example;

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
