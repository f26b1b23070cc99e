//! `vip-agent status`: the document of a running agent.

use std::{io, time::Duration};

use jiff::Timestamp;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use super::output::{OutputError, OutputFormat};
use crate::status::Status;

/// What `vip-agent status` takes.
#[derive(Clone, Debug, clap::Args)]
pub struct StatusArgs {
    /// Address of the agent's HTTP server
    #[arg(
        long,
        env = "XVIP_HTTP",
        value_name = "HOST:PORT",
        default_value = "127.0.0.1:9470"
    )]
    pub http: String,
    /// Form of the output
    #[arg(short, long, value_enum, default_value_t)]
    pub output: OutputFormat,
}

/// The status cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum StatusError {
    /// Nobody listens, or the connection broke.
    #[error("no agent answers at {address}: {source}; is it running, with `http: {address}`?")]
    Connection {
        /// Where.
        address: String,
        /// Why.
        source: io::Error,
    },
    /// The agent accepted and did not answer.
    #[error("the agent at {0} does not answer")]
    Late(String),
    /// Something else than the document came.
    #[error("{address} answers {line:?}: {body}")]
    Refused {
        /// Who.
        address: String,
        /// The status line.
        line: String,
        /// What it says.
        body: String,
    },
    /// The document is none.
    #[error("{address} gives no status document: {source}")]
    Document {
        /// Who.
        address: String,
        /// Where it differs.
        source: serde_json::Error,
    },
    /// It cannot be printed.
    #[error(transparent)]
    Output(#[from] OutputError),
}

/// Longer than the server waits for its driver.
const PATIENCE: Duration = Duration::from_secs(5);

/// Asks the agent; the text to print.
pub async fn run(args: &StatusArgs) -> Result<String, StatusError> {
    let status = fetch(&args.http).await?;
    let now = Timestamp::now();
    Ok(args.output.print(&status, |status| status.table(now))?)
}

/// The document of the agent at `address`.
pub async fn fetch(address: &str) -> Result<Status, StatusError> {
    let response = timeout(PATIENCE, get(address, "/v1/status"))
        .await
        .map_err(|_| StatusError::Late(address.to_owned()))?
        .map_err(|source| StatusError::Connection {
            address: address.to_owned(),
            source,
        })?;
    let (head, body) = response.split_once("\r\n\r\n").unwrap_or((&response, ""));
    let line = head.lines().next().unwrap_or_default();
    if line.split(' ').nth(1) != Some("200") {
        return Err(StatusError::Refused {
            address: address.to_owned(),
            line: line.to_owned(),
            body: body.trim_end().to_owned(),
        });
    }
    serde_json::from_str(body).map_err(|source| StatusError::Document {
        address: address.to_owned(),
        source,
    })
}

/// HTTP/1.0 (RFC 1945): the answer comes in one piece and ends with the connection, so that no
/// client crate is needed.
pub(super) async fn get(address: &str, path: &str) -> io::Result<String> {
    let mut stream = TcpStream::connect(address).await?;
    let request = format!("GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut response = String::new();
    stream.read_to_string(&mut response).await?;
    Ok(response)
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;
    use crate::status::tests::example;

    /// Serves one canned answer.
    async fn answering(answer: String) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = [0; 1024];
            let read = stream.read(&mut request).await.unwrap();
            assert!(request[..read].starts_with(b"GET /v1/status HTTP/1.0\r\n"));
            stream.write_all(answer.as_bytes()).await.unwrap();
        });
        address
    }

    #[tokio::test]
    async fn the_document_of_an_agent_is_read() {
        let body = serde_json::to_string(&example()).unwrap();
        let address = answering(format!("HTTP/1.0 200 OK\r\nx: y\r\n\r\n{body}")).await;
        assert_eq!(fetch(&address).await.unwrap(), example());
    }

    #[tokio::test]
    async fn an_agent_that_hangs_is_quoted() {
        let answer = "HTTP/1.0 503 Service Unavailable\r\n\r\nthe driver has ended\n".to_owned();
        let error = fetch(&answering(answer).await)
            .await
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("503") && error.ends_with("the driver has ended"),
            "{error}"
        );
    }

    #[tokio::test]
    async fn without_an_agent_the_error_names_the_address() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        drop(listener);
        let error = fetch(&address).await.unwrap_err();
        assert!(matches!(error, StatusError::Connection { .. }), "{error}");
        assert!(error.to_string().contains(&address));
    }
}
