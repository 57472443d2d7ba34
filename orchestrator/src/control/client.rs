//! The client of a control socket, which commands use.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::header::{CONTENT_TYPE, HOST};
use hyper::{Method, Request as HttpRequest};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::net::UnixStream;

use super::address;
use super::report::Problem;
use super::{Refusal, RefusalKind};

/// How often to check whether an application has started or ended.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Why a request failed.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody listens at the path.
    #[error("no application answers at {}", path.display())]
    NotRunning {
        /// The socket.
        path: PathBuf,
        /// What the operating system says.
        source: io::Error,
    },
    /// No path was given, and no application is running.
    #[error("no application is running")]
    NoneRuns {
        /// Where their sockets would be.
        folder: PathBuf,
    },
    /// No path was given, and several applications are running.
    #[error("several applications are running: {}", listed(paths))]
    SeveralRun {
        /// Their sockets.
        paths: Vec<PathBuf>,
    },
    /// The application refused the request.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The answer cannot be read.
    #[error("cannot read the answer from {}", path.display())]
    Answer {
        /// The socket.
        path: PathBuf,
        /// What is wrong with it.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The application was not ready in time.
    #[error("the application was not ready within {patience:?}")]
    NotReady {
        /// How long the client waited.
        patience: Duration,
    },
}

impl ClientError {
    /// Whether no application answers.
    pub fn is_absent(&self) -> bool {
        matches!(self, Self::NotRunning { .. } | Self::NoneRuns { .. })
    }

    /// Whether the application has ended, or is about to.
    pub fn is_over(&self) -> bool {
        self.is_absent() || matches!(self, Self::Refused(refusal) if refusal.kind == RefusalKind::Ending)
    }

    /// Whether asking again soon may succeed.
    fn is_early(&self) -> bool {
        self.is_absent() || matches!(self, Self::Refused(refusal) if refusal.kind == RefusalKind::Starting)
    }
}

fn listed(paths: &[PathBuf]) -> String {
    paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ")
}

/// A client of one application.
#[derive(Debug, Clone)]
pub struct Client {
    path: PathBuf,
}

impl Client {
    /// A client of the application whose socket is at `path`; without a path, of the only running application.
    ///
    /// # Errors
    /// [`ClientError::NoneRuns`] or [`ClientError::SeveralRun`] without a path.
    pub async fn find(path: Option<&Path>) -> Result<Self, ClientError> {
        if let Some(path) = path {
            return Ok(Self { path: path.to_owned() });
        }
        let mut running = Vec::new();
        for path in address::sockets() {
            // A run that was killed leaves its socket behind: nobody answers there.
            if UnixStream::connect(&path).await.is_ok() {
                running.push(path);
            }
        }
        match running.pop() {
            None => Err(ClientError::NoneRuns { folder: address::folder() }),
            Some(path) if running.is_empty() => Ok(Self { path }),
            Some(path) => {
                running.push(path);
                Err(ClientError::SeveralRun { paths: running })
            }
        }
    }

    /// Asks `question` until the application is ready, for `patience` at most.
    pub async fn when_ready<T>(
        path: Option<&Path>,
        patience: Duration,
        question: impl AsyncFn(&Self) -> Result<T, ClientError>,
    ) -> Result<T, ClientError> {
        let attempts = async {
            loop {
                let answer = match Self::find(path).await {
                    Ok(client) => question(&client).await,
                    Err(error) => Err(error),
                };
                match answer {
                    Err(error) if error.is_early() => tokio::time::sleep(LOOK_EVERY).await,
                    answer => return answer,
                }
            }
        };
        let in_time = tokio::time::timeout(patience, attempts).await;
        in_time.unwrap_or(Err(ClientError::NotReady { patience }))
    }

    /// Waits until the application no longer listens.
    pub async fn until_gone(&self) {
        while UnixStream::connect(&self.path).await.is_ok() {
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Sends a GET request.
    pub async fn get<T: DeserializeOwned>(&self, route: &str) -> Result<T, ClientError> {
        self.ask(Method::GET, route, Bytes::new()).await
    }

    /// Sends a POST request.
    pub async fn post<T: DeserializeOwned>(&self, route: &str, body: &impl Serialize) -> Result<T, ClientError> {
        let body = serde_json::to_vec(body).map_err(|error| self.broken(error))?;
        self.ask(Method::POST, route, body.into()).await
    }

    async fn ask<T: DeserializeOwned>(&self, method: Method, route: &str, body: Bytes) -> Result<T, ClientError> {
        let stream = UnixStream::connect(&self.path).await;
        let stream = stream.map_err(|source| ClientError::NotRunning { path: self.path.clone(), source })?;
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|error| self.broken(error))?;
        let request = HttpRequest::builder()
            .method(method)
            .uri(route)
            .header(HOST, "wallaroo")
            .header(CONTENT_TYPE, "application/json")
            .body(Full::new(body))
            .map_err(|error| self.broken(error))?;
        let exchange = async {
            let response = sender.send_request(request).await?;
            let status = response.status();
            let body = response.into_body().collect().await?.to_bytes();
            Ok::<_, hyper::Error>((status, body))
        };
        let exchange = async {
            tokio::pin!(connection, exchange);
            tokio::select! {
                answer = &mut exchange => answer,
                // The application has closed the connection. Its answer may still be buffered.
                _ = &mut connection => exchange.await,
            }
        };
        let (status, body) = exchange.await.map_err(|error| self.broken(error))?;
        if !status.is_success() {
            let problem: Problem = serde_json::from_slice(&body).map_err(|error| self.broken(error))?;
            return Err(problem.error.into());
        }
        serde_json::from_slice(&body).map_err(|error| self.broken(error))
    }

    fn broken(&self, error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> ClientError {
        ClientError::Answer { path: self.path.clone(), source: error.into() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_application_that_is_ending_is_over_and_one_that_is_starting_is_not() {
        assert!(ClientError::from(Refusal::ending()).is_over());
        assert!(ClientError::NoneRuns { folder: PathBuf::new() }.is_over());
        assert!(!ClientError::from(Refusal::starting()).is_over());
    }
}
