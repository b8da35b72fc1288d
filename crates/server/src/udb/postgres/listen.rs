//! Hears of commits as they happen, where the way to the database lets notifications through. It only saves time: whoever
//! waits looks again and again, too.

use super::CONNECT_LIMIT;
use super::tls::DatabaseTls;
use super::trouble::PostgresTrouble;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;
use tokio::task::AbortHandle;
use tokio::time::{sleep, timeout};
use tokio_postgres::{AsyncMessage, Config};

/// How long until a lost connection is opened again.
const AGAIN_PAUSE: Duration = Duration::from_secs(1);

/// The task that listens; it ends with this.
#[derive(Debug)]
pub(super) struct Listener {
    heard: Arc<Notify>,
    task: AbortHandle,
}

impl Listener {
    pub(super) fn start(config: Config, tls: DatabaseTls) -> Self {
        let heard = Arc::new(Notify::new());
        let task = tokio::spawn(listen(config, tls, Arc::clone(&heard))).abort_handle();
        Self { heard, task }
    }

    /// Resolves when something was heard since the last time.
    pub(super) async fn heard(&self) {
        self.heard.notified().await;
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn listen(config: Config, tls: DatabaseTls, heard: Arc<Notify>) {
    loop {
        if let Err(trouble) = session(&config, &tls, &heard).await {
            tracing::debug!(
                ?trouble,
                "nothing is heard of other servers' commits for a moment"
            );
        }
        sleep(AGAIN_PAUSE).await;
    }
}

async fn session(
    config: &Config,
    tls: &DatabaseTls,
    heard: &Notify,
) -> Result<(), PostgresTrouble> {
    let late = |_| PostgresTrouble::Broken("no connection came about in time".to_owned());
    let (client, mut connection) = timeout(CONNECT_LIMIT, config.connect(tls.clone()))
        .await
        .map_err(late)??;
    let asked = client.batch_execute("LISTEN upstart");
    let listening = async {
        while let Some(message) = std::future::poll_fn(|cx| connection.poll_message(cx)).await {
            if let AsyncMessage::Notification(_) = message? {
                heard.notify_one();
            }
        }
        Ok(())
    };
    tokio::try_join!(asked, listening)?;
    Ok(())
}
