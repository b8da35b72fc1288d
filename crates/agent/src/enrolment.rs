//! A node's enrolment: how it makes itself known, what the server said, and that this is kept for starts without one.

use crate::cached::{load, save};
use crate::config::Config;
use crate::contact::answer_to_start;
use crate::layout::Layout;
use crate::own_credential::{OwnCredential, REFUSED_TOKEN, WAYS};
use crate::server_memory::{ServerMemory, remembered};
use client::{Client, ClientError};
use model::api::{EnrolRequest, Enrolled, HeldUpgrade, NodeView};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// The problem that says that a node of this name runs elsewhere, or has another class.
pub(crate) const CONFLICT: &str = "/problems/enrolment-conflict";

/// Enrols the node, or recalls its enrolment from the cache when no server answers, or one that refuses it: its token may have
/// changed, or its database be another one, and neither is worse than no server at all. Also says whether one took the node.
/// In a directory that was just claimed that does not hold where the server hears the node elsewhere.
///
/// # Errors
/// The node was never enrolled, and the server refuses it or cannot be reached; or it was claimed while it runs elsewhere.
pub(crate) async fn enrol(
    client: &Client,
    credential: Option<&OwnCredential>,
    config: &Config,
    layout: &Layout,
    holds: &[HeldUpgrade],
    claimed: bool,
) -> Result<(Enrolled, bool), ClientError> {
    let known = enrolled(layout, Some(&config.name));
    let request = request(config, layout, known.as_ref(), holds);
    let answer = enrol_certified(client, credential, request);
    match answer_to_start(client, answer, known.is_some()).await {
        Ok(enrolled) => {
            keep(layout, &config.name, &enrolled);
            Ok((enrolled, true))
        }
        Err(error) if claimed && error.kind() == Some(CONFLICT) => Err(error),
        Err(error) => match known {
            Some(enrolled) => {
                tracing::warn!(
                    "the upgrade server refuses this node ({error}): it goes on as its journal says, and asks again"
                );
                Ok((enrolled, false))
            }
            None => Err(error),
        },
    }
}

/// Enrols, and has the node's key certified where it is time for that. Where the server does not believe the certificate any more a
/// token may help, if there is one.
pub(crate) async fn enrol_certified(
    client: &Client,
    credential: Option<&OwnCredential>,
    mut request: EnrolRequest,
) -> Result<Enrolled, ClientError> {
    let Some(credential) = credential else {
        return client.enrol(&request).await;
    };
    request.certificate_request = credential.request_if_due();
    let mut answer = client.enrol(&request).await;
    for _ in 1..WAYS {
        let Err(error) = &answer else { break };
        if !credential.another_way(error.kind()) {
            break;
        }
        request.certificate_request = credential.request_if_due();
        let again = client.enrol(&request).await;
        let is_nearer = match &again {
            // Without a token, or with one that is used up: what was said of the key is nearer to the cause.
            Err(ClientError::NotAsked { .. }) => false,
            Err(error) => error.kind() != Some(REFUSED_TOKEN),
            Ok(_) => true,
        };
        if !is_nearer {
            credential.show_kept();
            break;
        }
        answer = again;
    }
    let mut enrolled = answer?;
    if let Some(certified) = enrolled.certified.take() {
        credential.keep(&certified);
    }
    Ok(enrolled)
}

/// How the node enrols.
pub(crate) fn request(
    config: &Config,
    layout: &Layout,
    known: Option<&Enrolled>,
    holds: &[HeldUpgrade],
) -> EnrolRequest {
    let moment = ServerMemory::load(layout).moment();
    let view = load::<NodeView>(&layout.view());
    let system = known.map_or("", |known| &known.system);
    EnrolRequest {
        node: known.map(|known| known.node),
        remembered: moment.map(|_| Box::new(remembered(system, view.as_ref()))),
        moment,
        holds: holds.to_vec(),
        name: config.name.clone(),
        class: config.class.clone(),
        attributes: config.attributes.clone(),
        host: host_name(),
        data_directory: layout.root().display().to_string(),
        system_id: known.map(|known| known.system_id),
        certificate_request: None,
    }
}

/// What a server has said to the enrolment of a node of this name.
#[derive(Debug, Deserialize, Serialize)]
struct KeptEnrolment {
    #[serde(flatten)]
    enrolled: Enrolled,
    /// None where an agent from before this was kept has written it.
    #[serde(default)]
    name: Option<String>,
}

/// What a server last said to the node's enrolment; under another name the node is another one.
pub(crate) fn enrolled(layout: &Layout, name: Option<&str>) -> Option<Enrolled> {
    let kept: KeptEnrolment = load(&enrolment(layout))?;
    let is_its = match (&kept.name, name) {
        (Some(then), Some(now)) => then == now,
        _ => true,
    };
    is_its.then_some(kept.enrolled)
}

/// Keeps it for starts without a server.
pub(crate) fn keep(layout: &Layout, name: &str, enrolled: &Enrolled) {
    let name = Some(name.to_owned());
    let enrolled = enrolled.clone();
    save(&enrolment(layout), &KeptEnrolment { enrolled, name });
}

fn enrolment(layout: &Layout) -> PathBuf {
    layout.heard().join("enrolled.json")
}

/// The machine's name, for people.
fn host_name() -> String {
    rustix::system::uname()
        .nodename()
        .to_string_lossy()
        .into_owned()
}
