//! Hears of commits as they happen, where the way to the database lets notifications through. It only saves time: whoever
//! waits looks again and again, too.

use super::CONNECT_LIMIT;
use super::trouble::PostgresTrouble;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;
use tokio::task::AbortHandle;
use tokio::time::{sleep, timeout};
use tokio_postgres::{AsyncMessage, Config, NoTls};

/// How long until a lost connection is opened again.
const AGAIN_PAUSE: Duration = Duration::from_secs(1);

/// The task that listens; it ends with this.
#[derive(Debug)]
pub(super) struct Listener {
    heard: Arc<Notify>,
    task: AbortHandle,
}

impl Listener {
    pub(super) fn start(config: Config) -> Self {
        let heard = Arc::new(Notify::new());
        let task = tokio::spawn(listen(config, Arc::clone(&heard))).abort_handle();
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

async fn listen(config: Config, heard: Arc<Notify>) {
    loop {
        if let Err(trouble) = session(&config, &heard).await {
            tracing::debug!(
                ?trouble,
                "nothing is heard of other servers' commits for a moment"
            );
        }
        sleep(AGAIN_PAUSE).await;
    }
}

async fn session(config: &Config, heard: &Notify) -> Result<(), PostgresTrouble> {
    let late = |_| PostgresTrouble::Broken("no connection came about in time".to_owned());
    let (client, mut connection) = timeout(CONNECT_LIMIT, config.connect(NoTls))
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
