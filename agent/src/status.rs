//! The local socket: what programs of this machine may ask the running agent. It answers one question, `status`, with
//! one line of JSON, to whoever may open the socket, and does nothing that anybody asks.
//!
//! A connection that says something else, too much, or nothing for a while is answered with an error and closed; only a
//! few are served at a time.

use firstline_agent_platform::local_socket::{Connection, Listener, Peer, ask};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::{Semaphore, mpsc, oneshot};

/// Where systemd lets the service have a folder that others may look into.
const RUNTIME_FOLDER: &str = "/run/firstline-agent";
/// How long one exchange may take.
const LIMIT: Duration = Duration::from_secs(2);
/// How long after a failure the socket is tried again.
const BIND_AGAIN: Duration = Duration::from_secs(5);
/// Longest question.
const LONGEST: usize = 64;
/// Most connections at a time; further ones wait in the kernel.
const MOST: usize = 4;

/// Where the loop is asked: it sends the answer back.
pub(crate) type Asked = mpsc::Receiver<oneshot::Sender<String>>;

/// Where the socket of the agent with this data folder is: in the service's runtime folder when it has one, so that people
/// without rights may ask as well, else in the data folder.
pub(crate) fn path(data: &Path) -> PathBuf {
    let runtime = Path::new(RUNTIME_FOLDER);
    let is_service = data == firstline_agent_platform::dirs::data() && runtime.is_dir();
    if is_service { runtime } else { data }.join("status.sock")
}

/// Begins to answer. Without a socket the agent works as well, so a failure is only said; on a disk that refuses, it is
/// tried until it works.
pub(crate) fn serve(data: &Path) -> Asked {
    let (questions, asked) = mpsc::channel(MOST);
    let path = path(data);
    tokio::spawn(async move {
        let mut is_said = false;
        let listener = loop {
            match Listener::bind(&path) {
                Ok(listener) => break listener,
                Err(error) if !is_said => {
                    tracing::warn!(socket = %path.display(), error = %error, "nobody can ask this agent for its status");
                    is_said = true;
                }
                Err(_) => {}
            }
            tokio::time::sleep(BIND_AGAIN).await;
        };
        accept(listener, questions).await;
    });
    asked
}

/// What the running agent says of itself; an error of kind not found or connection refused when none runs.
pub(crate) fn of_running(data: &Path) -> io::Result<String> {
    ask(&path(data), "status", LIMIT)
}

async fn accept(listener: Listener, questions: mpsc::Sender<oneshot::Sender<String>>) {
    let free = Arc::new(Semaphore::new(MOST));
    loop {
        let Ok(place) = Arc::clone(&free).acquire_owned().await else { return };
        let (connection, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::debug!(error = %error, "a local connection failed");
                // Such as no free file handles: trying again at once would spin.
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let questions = questions.clone();
        tokio::spawn(async move {
            if tokio::time::timeout(LIMIT, answer(connection, peer, &questions)).await.is_err() {
                tracing::debug!(user = peer.user, "a local connection was too slow and is closed");
            }
            drop(place);
        });
    }
}

async fn answer(
    mut connection: Box<dyn Connection>,
    peer: Peer,
    questions: &mpsc::Sender<oneshot::Sender<String>>,
) {
    let mut said = [0_u8; LONGEST];
    let mut length = 0;
    while !said.get(..length).is_some_and(|said| said.contains(&b'\n')) {
        let Some(room) = said.get_mut(length..).filter(|room| !room.is_empty()) else { break };
        match connection.read(room).await {
            Ok(more @ 1..) => length += more,
            Ok(0) | Err(_) => break,
        }
    }
    let line = match said.get(..length) {
        Some(b"status\n") => {
            let (reply, replied) = oneshot::channel();
            match questions.send(reply).await {
                Ok(()) => replied.await.unwrap_or_else(|_| error("the agent is stopping")),
                Err(_) => error("the agent is stopping"),
            }
        }
        Some(_) | None => {
            tracing::debug!(user = peer.user, trusted = peer.is_trusted, "a local question is not known");
            error("the only question is: status")
        }
    };
    // Whoever asked may be gone.
    let _ = connection.write_all(format!("{line}\n").as_bytes()).await;
    let _ = connection.shutdown().await;
}

fn error(text: &str) -> String {
    serde_json::json!({ "error": text }).to_string()
}
