//! The server tells its token to its own user and to root on its host ([`model::gate`]).

use model::gate;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::net::{UnixListener, UnixStream};

/// How long one who asks may take for the answer, which fits into the socket.
const ANSWER_LIMIT: Duration = Duration::from_secs(1);

/// How long nothing is accepted when nothing can be.
const PAUSE: Duration = Duration::from_millis(50);

/// Listens under the name of the address.
pub(crate) fn listen(address: SocketAddr) -> io::Result<UnixListener> {
    UnixListener::bind(format!("\0{}", gate::name(address)))
}

/// Tells whoever may know it, for ever.
pub(crate) async fn tell(listener: UnixListener, token: String) {
    let line = format!("{token}\n");
    loop {
        match listener.accept().await {
            Ok((asking, _)) => {
                // Whoever does not read goes without.
                let _ = tokio::time::timeout(ANSWER_LIMIT, answer(asking, &line)).await;
            }
            Err(_) => tokio::time::sleep(PAUSE).await,
        }
    }
}

async fn answer(mut asking: UnixStream, line: &str) -> io::Result<()> {
    let user = asking.peer_cred()?.uid();
    let own = rustix::process::geteuid().as_raw();
    if user == 0 || user == own {
        asking.write_all(line.as_bytes()).await?;
    }
    Ok(())
}
