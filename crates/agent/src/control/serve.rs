//! The agent's side.

use super::{
    ControlAnswer, ControlRequest, RECORDED_BYTES_MAX, RECORDED_MAX, RECORDED_SECONDS_MAX,
    RecordRequest, socket_path,
};
use crate::relay::{Recorder, Recorders};
use conversation::Conversation;
use model::bundle::Protocol;
use model::ids::Version;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, mpsc};
use tokio::time::{Instant, timeout};

/// How many commands may be connected at once.
const COMMANDS_MAX: usize = 16;
/// The pause after a failed accept.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How long a command may take for its request: it sends it at once.
const REQUEST_LIMIT: Duration = Duration::from_secs(5);
/// The longest request, in bytes: a name and a few headers.
const REQUEST_BYTES_MAX: u64 = 64 * 1024;
/// How long a command may take to read what it is told before it counts as gone.
const WRITE_LIMIT: Duration = Duration::from_secs(10);

/// The node, as far as commands ask for it.
pub(crate) trait RecordableNode: Send + Sync + 'static {
    /// Its data directory.
    fn data(&self) -> &Path;

    /// Whoever records what passes its services.
    fn recorders(&self) -> &Recorders;

    /// The version that it serves at.
    fn version(&self) -> Version;

    /// Its class and what its services speak, at its present version.
    fn services(&self) -> (String, Vec<(String, Protocol)>);

    /// Lets the hooks know that a recording has begun or ended: a recorded service's connections are the agent's.
    fn show_recording(&self);
}

/// Serves the control socket until the agent ends.
pub(crate) async fn serve(node: Arc<impl RecordableNode>) {
    let listener = match listen(&*node) {
        Ok(listener) => listener,
        Err(error) => {
            tracing::warn!(%error, "no control socket: `upstart record` cannot reach this agent");
            return;
        }
    };
    let places = Arc::new(Semaphore::new(COMMANDS_MAX));
    while let Ok(place) = places.clone().acquire_owned().await {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                // A shortage of descriptors must not become a busy loop.
                tracing::debug!(%error, "a command could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let node = node.clone();
        tokio::spawn(async move {
            if let Err(error) = command(&*node, stream).await {
                tracing::debug!(%error, "a command failed");
            }
            drop(place);
        });
    }
}

/// The journal's lock says that no other agent of this directory listens: a socket that is there is a dead one's.
fn listen(node: &impl RecordableNode) -> io::Result<UnixListener> {
    let path = socket_path(node.data());
    match std::fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(&path)?;
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

async fn command(node: &impl RecordableNode, stream: UnixStream) -> io::Result<()> {
    let peer = stream.peer_cred()?.uid();
    let own = rustix::process::geteuid().as_raw();
    if peer != 0 && peer != own {
        return Err(io::ErrorKind::PermissionDenied.into());
    }
    let (read, mut write) = stream.into_split();
    let mut read = BufReader::new(read);
    let mut line = String::new();
    let mut limited = (&mut read).take(REQUEST_BYTES_MAX);
    timeout(REQUEST_LIMIT, limited.read_line(&mut line)).await??;
    match serde_json::from_str(&line)? {
        ControlRequest::Record(request) => record(node, request, read, &mut write).await,
    }
}

async fn say(write: &mut OwnedWriteHalf, answer: &ControlAnswer) -> io::Result<u64> {
    let mut line = serde_json::to_vec(answer)?;
    line.push(b'\n');
    timeout(WRITE_LIMIT, write.write_all(&line)).await??;
    Ok(line.len() as u64)
}

/// Ends a recording, whatever ends the task.
struct Ends<'n, N: RecordableNode> {
    node: &'n N,
    service: &'n str,
}

impl<N: RecordableNode> Drop for Ends<'_, N> {
    fn drop(&mut self) {
        self.node.recorders().end(self.service);
        self.node.show_recording();
    }
}

async fn record(
    node: &impl RecordableNode,
    request: RecordRequest,
    mut read: BufReader<OwnedReadHalf>,
    write: &mut OwnedWriteHalf,
) -> io::Result<()> {
    let class = match recordable(node, &request.service) {
        Ok(class) => class,
        Err(refusal) => return say(write, &refusal).await.map(|_| ()),
    };
    let service = request.service.as_str();
    let begun = (node.recorders()).begin(service, &class, request.secrets);
    let Some((recorder, told)) = begun else {
        let reason = format!("somebody records {class}/{service} already");
        let next = "end that recording first".to_owned();
        return say(write, &ControlAnswer::Refused { reason, next })
            .await
            .map(|_| ());
    };
    let ends = Ends { node, service };
    node.show_recording();
    let version = node.version().0;
    let name = format!("{class}/{service}");
    say(
        write,
        &ControlAnswer::Recording {
            service: name,
            version,
        },
    )
    .await?;
    let deadline = Instant::now() + Duration::from_secs(request.seconds.min(RECORDED_SECONDS_MAX));
    let bounds = RecordingBounds {
        count: request.count.min(RECORDED_MAX),
        deadline,
    };
    let why = follow(told, &mut read, write, &bounds).await?;
    drop(ends);
    say(write, &ended(&recorder, why)).await.map(|_| ())
}

fn ended(recorder: &Recorder, why: &str) -> ControlAnswer {
    ControlAnswer::Ended {
        why: why.to_owned(),
        incomplete: recorder.incomplete.load(Ordering::Relaxed),
        dropped: recorder.dropped.load(Ordering::Relaxed),
    }
}

/// The class, if a service of it can be recorded.
fn recordable(node: &impl RecordableNode, service: &str) -> Result<String, ControlAnswer> {
    let (class, known) = node.services();
    let refused = |reason: String, next: String| Err(ControlAnswer::Refused { reason, next });
    match known.iter().find(|(name, _)| name == service) {
        Some((_, Protocol::Http)) => Ok(class),
        Some(_) => refused(
            format!("{class}/{service} does not speak HTTP"),
            "only services with `protocol = \"http\"` can be recorded".to_owned(),
        ),
        None => {
            let names: Vec<&str> = known.iter().map(|(name, _)| name.as_str()).collect();
            refused(
                format!("the node has no service `{service}`"),
                format!("it has: {}", names.join(", ")),
            )
        }
    }
}

/// When a recording ends by itself.
struct RecordingBounds {
    count: u64,
    deadline: Instant,
}

/// Tells what is recorded until the bounds are reached or the command goes away; says why it ended.
async fn follow(
    mut told: mpsc::Receiver<Conversation>,
    read: &mut BufReader<OwnedReadHalf>,
    write: &mut OwnedWriteHalf,
    bounds: &RecordingBounds,
) -> io::Result<&'static str> {
    let (mut count, mut bytes) = (0, 0);
    let mut anything = [0; 1];
    loop {
        if count >= bounds.count {
            return Ok("as many conversations as were asked for");
        }
        if bytes >= RECORDED_BYTES_MAX {
            return Ok("the recording is as large as it may be");
        }
        let conversation = tokio::select! {
            conversation = told.recv() => conversation,
            () = tokio::time::sleep_until(bounds.deadline) => return Ok("the time is over"),
            // The command says nothing more: this is its end, or that of its half of the connection.
            _ = read.read(&mut anything) => return Ok("the command asked for it"),
        };
        let Some(conversation) = conversation else {
            return Ok("the service is no longer recorded");
        };
        let toml = conversation.to_toml();
        bytes += say(write, &ControlAnswer::Conversation { toml }).await?;
        count += 1;
    }
}
