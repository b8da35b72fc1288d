//! The server tells its token to its own user and to root on its host ([`model::gate`]).

use model::gate;
use parking_lot::Mutex;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::net::{UnixListener, UnixStream};

/// How long one who asks may take for the answer, which fits into the socket.
const ANSWER_LIMIT: Duration = Duration::from_secs(1);

/// How long nothing is accepted when nothing can be.
const PAUSE: Duration = Duration::from_millis(50);

/// How long until a name that somebody else has is asked for again: he may have gone.
const AGAIN_PAUSE: Duration = Duration::from_secs(1);

/// The socket at which the token is told: a name that anybody on this host could take while nobody has it.
#[derive(Debug)]
pub(crate) struct Teller {
    name: String,
    listener: Option<UnixListener>,
    missed: Missed,
}

/// The name that the server would have, as long as somebody else has it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Missed(Arc<Mutex<Option<String>>>);

impl Missed {
    pub(crate) fn name(&self) -> Option<String> {
        let name = self.0.lock();
        name.clone()
    }

    fn note(&self, name: Option<&str>) {
        let mut noted = self.0.lock();
        *noted = name.map(str::to_owned);
    }
}

impl Teller {
    /// Listens under the name of the address, or says who is in the way of that.
    pub(crate) fn listen(address: SocketAddr) -> Self {
        let name = gate::name(address);
        let listener = bind(&name)
            .inspect_err(|error| {
                tracing::warn!(
                    "the socket `@{name}` cannot be had ({error}; `ss -xlp` names who has it): commands and agents on this host do not find the token by themselves until it is free, and go by --token-file meanwhile"
                );
            })
            .ok();
        let missed = Missed::default();
        missed.note(listener.is_none().then_some(name.as_str()));
        Self {
            name,
            listener,
            missed,
        }
    }

    /// What it lacks, from now on.
    pub(crate) fn missed(&self) -> Missed {
        self.missed.clone()
    }

    /// Tells whoever may know it, for ever: the token, with the pin of the server's authority.
    pub(crate) async fn tell(self, token: String) {
        let line = format!("{token}\n");
        let listener = match self.listener {
            Some(listener) => listener,
            None => wait_for(&self.name).await,
        };
        self.missed.note(None);
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
}

fn bind(name: &str) -> io::Result<UnixListener> {
    UnixListener::bind(format!("\0{name}"))
}

/// Takes the name as soon as it can be had.
async fn wait_for(name: &str) -> UnixListener {
    loop {
        tokio::time::sleep(AGAIN_PAUSE).await;
        if let Ok(listener) = bind(name) {
            tracing::info!(
                "commands and agents on this host find the token by themselves again, at the socket `@{name}`"
            );
            return listener;
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

#[cfg(test)]
mod tests {
    use super::{Teller, bind};
    use model::gate;
    use std::time::Duration;
    use tokio::io::AsyncReadExt;
    use tokio::net::UnixStream;

    /// Who takes the name before the server does keeps it only as long as he lives.
    #[tokio::test]
    async fn a_name_that_somebody_has_taken_is_had_when_he_has_gone() {
        let port = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = port.local_addr().expect("an address");
        let stranger = bind(&gate::name(address)).expect("taken");
        let teller = Teller::listen(address);
        let missed = teller.missed();
        assert_eq!(missed.name(), Some(gate::name(address)));
        let telling = tokio::spawn(teller.tell("the-token".to_owned()));
        drop(stranger);
        let name = format!("\0{}", gate::name(address));
        let connected = async {
            loop {
                match UnixStream::connect(&name).await {
                    Ok(line) => return line,
                    Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
                }
            }
        };
        let connected = tokio::time::timeout(Duration::from_secs(20), connected).await;
        let mut said = String::new();
        let mut line = connected.expect("it listens");
        line.read_to_string(&mut said).await.expect("read");
        assert_eq!(said, "the-token\n");
        assert_eq!(missed.name(), None);
        telling.abort();
    }
}
