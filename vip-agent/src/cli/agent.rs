//! Questions to a running agent.

use std::{io, time::Duration};

use serde::de::DeserializeOwned;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

/// Where the agent of this host listens.
#[derive(Clone, Debug, clap::Args)]
pub struct AgentAddress {
    /// Address of the agent's HTTP server
    #[arg(
        long,
        env = "XVIP_HTTP",
        value_name = "HOST:PORT",
        default_value = "127.0.0.1:9470"
    )]
    pub http: String,
}

/// The agent gives no answer.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
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
    #[error("{address} gives no such document: {source}")]
    Document {
        /// Who.
        address: String,
        /// Where it differs.
        source: serde_json::Error,
    },
}

/// Longer than the server waits for its driver.
const PATIENCE: Duration = Duration::from_secs(5);

impl AgentAddress {
    /// The text at a path.
    pub async fn text(&self, path: &str) -> Result<String, AskError> {
        let address = self.http.clone();
        let response = match timeout(PATIENCE, get(&address, path)).await {
            Ok(Ok(response)) => response,
            Ok(Err(source)) => return Err(AskError::Connection { address, source }),
            Err(_) => return Err(AskError::Late(address)),
        };
        let (head, body) = response.split_once("\r\n\r\n").unwrap_or((&response, ""));
        let line = head.lines().next().unwrap_or_default();
        if line.split(' ').nth(1) == Some("200") {
            return Ok(body.to_owned());
        }
        Err(AskError::Refused {
            address,
            line: line.to_owned(),
            body: body.trim_end().to_owned(),
        })
    }

    /// The document at a path.
    pub async fn document<D: DeserializeOwned>(&self, path: &str) -> Result<D, AskError> {
        let body = self.text(path).await?;
        serde_json::from_str(&body).map_err(|source| AskError::Document {
            address: self.http.clone(),
            source,
        })
    }
}

/// HTTP/1.0 (RFC 1945): the answer comes in one piece and ends with the connection, so that no
/// client crate is needed.
async fn get(address: &str, path: &str) -> io::Result<String> {
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
    use crate::status::{Status, tests::example};

    async fn listening() -> (TcpListener, AgentAddress) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let http = listener.local_addr().unwrap().to_string();
        (listener, AgentAddress { http })
    }

    /// Serves one canned answer.
    async fn answering(answer: String) -> AgentAddress {
        let (listener, agent) = listening().await;
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = [0; 1024];
            let read = stream.read(&mut request).await.unwrap();
            assert!(request[..read].starts_with(b"GET /v1/status HTTP/1.0\r\n"));
            stream.write_all(answer.as_bytes()).await.unwrap();
        });
        agent
    }

    async fn status(agent: AgentAddress) -> Result<Status, AskError> {
        agent.document("/v1/status").await
    }

    #[tokio::test]
    async fn the_document_of_an_agent_is_read() {
        let body = serde_json::to_string(&example()).unwrap();
        let agent = answering(format!("HTTP/1.0 200 OK\r\nx: y\r\n\r\n{body}")).await;
        assert_eq!(status(agent).await.unwrap(), example());
    }

    #[tokio::test]
    async fn an_agent_that_hangs_is_quoted() {
        let answer = "HTTP/1.0 503 Service Unavailable\r\n\r\nthe driver has ended\n".to_owned();
        let error = status(answering(answer).await).await.unwrap_err();
        let error = error.to_string();
        assert!(
            error.contains("503") && error.ends_with("the driver has ended"),
            "{error}"
        );
    }

    #[tokio::test]
    async fn without_an_agent_the_error_names_the_address() {
        let (listener, agent) = listening().await;
        drop(listener);
        let error = status(agent.clone()).await.unwrap_err();
        assert!(matches!(error, AskError::Connection { .. }), "{error}");
        assert!(error.to_string().contains(&agent.http));
    }
}
