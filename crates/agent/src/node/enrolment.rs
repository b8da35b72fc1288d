//! A node is enrolled at its server, or goes on as it was when it last was.

use super::agent_error::AgentError;
use crate::config::Config;
use crate::contact::{Contact, ServerAnswer};
use crate::enrolment;
use crate::error_chain::chain;
use crate::holder_client::HolderClient;
use crate::journal::Journal;
use crate::layout::Layout;
use crate::own_credential::OwnCredential;
use client::{Client, ClientError};
use model::api::{Enrolled, HeldUpgrade};
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// How long an agent that was never enrolled waits before it asks the server again.
const ENROL_PAUSE: Duration = Duration::from_secs(1);

/// What came of it.
pub(super) struct Enrolment {
    pub(super) enrolled: Enrolled,
    /// A server has said so now.
    pub(super) answered: bool,
    /// How many records that the server has heard of are not in the journal, which was claimed so.
    pub(super) behind: Option<u64>,
    /// What lies at the node.
    pub(super) holds: Vec<HeldUpgrade>,
}

/// Whom is asked, and for what.
pub(super) struct Enrolling<'n> {
    pub(super) client: &'n Client,
    pub(super) credential: Option<&'n OwnCredential>,
    pub(super) config: &'n Config,
    pub(super) layout: &'n Layout,
    pub(super) journal: &'n mut Journal,
    /// What lies at the node.
    pub(super) holds: Vec<HeldUpgrade>,
    pub(super) holder: &'n HolderClient,
}

impl Enrolling<'_> {
    /// Enrols a node; `None` when the agent is asked to go before. A node that does not get so far leaves no holder behind.
    ///
    /// # Errors
    /// The server refuses it, or knows of more than its journal.
    pub(super) async fn run(
        &mut self,
        stop: watch::Receiver<bool>,
    ) -> Result<Option<Enrolment>, AgentError> {
        let claimed = self.journal.is_claimed();
        let enrolment = match self.ask(claimed, stop).await {
            Ok(Some((enrolled, answered))) => self.compare(enrolled, answered).map(Some),
            Ok(None) => Ok(None),
            Err(refused) => Err(refused),
        };
        if !matches!(enrolment, Ok(Some(_))) {
            leave_nothing(self.holder).await;
        }
        enrolment
    }

    fn compare(&mut self, enrolled: Enrolled, answered: bool) -> Result<Enrolment, AgentError> {
        let compared = answered.then(|| self.journal.compare(enrolled.records));
        Ok(Enrolment {
            behind: compared.transpose()?.flatten(),
            enrolled,
            answered,
            holds: std::mem::take(&mut self.holds),
        })
    }

    /// Enrols, waiting for the server if it must; `None` when the agent is asked to go before.
    async fn ask(
        &self,
        claimed: bool,
        mut stop: watch::Receiver<bool>,
    ) -> Result<Option<(Enrolled, bool)>, AgentError> {
        let mut contact = Contact::default();
        loop {
            let enrolled = enrolment::enrol(
                self.client,
                self.credential,
                self.config,
                self.layout,
                &self.holds,
                claimed,
            );
            match enrolled.await {
                Ok(enrolled) => return Ok(Some(enrolled)),
                Err(ClientError::Problem(problem))
                    // Under a name that is heard elsewhere a directory that was just claimed waits: the other may have ended.
                    if matches!(problem.status, 400 | 401 | 403 | 422)
                        || problem.status == 409 && !claimed =>
                {
                    return Err(ClientError::Problem(problem).into());
                }
                Err(error @ (ClientError::Token(_) | ClientError::Author(_))) => {
                    return Err(error.into());
                }
                Err(error) => {
                    let said = contact.note(Instant::now(), ServerAnswer::of(&error));
                    if let Some(said) = said {
                        tracing::warn!("not enrolled yet: {said}");
                    }
                }
            }
            tokio::select! {
                () = tokio::time::sleep(ENROL_PAUSE) => {}
                _ = stop.changed() => return Ok(None),
            }
        }
    }
}

/// A node that is refused, or never enrolled, leaves no holder behind, unless software runs under it from before.
async fn leave_nothing(holder: &HolderClient) {
    if holder.state().child.is_none()
        && let Err(error) = holder.exit().await
    {
        tracing::debug!(error = %chain(&error), "the holder stays");
    }
}
