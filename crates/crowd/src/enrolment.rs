//! The nodes are enrolled with the server's token, as agents on its own host are: each has a key, and the server certifies it.

use crate::line::{Line, WayThere};
use crate::node::CrowdNode;
use crate::{Crowd, address};
use anyhow::Context;
use http::Method;
use identity::{PinnedToken, UnkeptKey, client_config};
use model::api::{EnrolRequest, Enrolled};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use tokio::task::JoinSet;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::client::Resumption;

/// So many enrol at once: enough that a commit of the server's has several in it.
const AT_ONCE: usize = 64;

/// Somebody with the server's token.
pub(crate) fn token_holder(crowd: &Crowd) -> anyhow::Result<(TlsConnector, WayThere)> {
    let file = &crowd.options.token_file;
    let text =
        std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    let token = PinnedToken::of(text.trim());
    let tls = client_config(token.pin, None)?;
    let way = WayThere {
        server: crowd.options.server,
        from: crowd.options.server.ip(),
        token: Some(token.secret),
    };
    Ok((TlsConnector::from(Arc::new(tls)), way))
}

/// Enrols them all.
pub(crate) async fn enrol_all(crowd: &Arc<Crowd>) -> anyhow::Result<Vec<CrowdNode>> {
    let (tls, way) = token_holder(crowd)?;
    let next = Arc::new(AtomicU32::new(0));
    let mut running = JoinSet::new();
    for _ in 0..AT_ONCE {
        let (crowd, next) = (Arc::clone(crowd), Arc::clone(&next));
        let (tls, way) = (tls.clone(), way.clone());
        running.spawn(async move {
            let mut nodes = Vec::new();
            let mut line = Line::open(&tls, &way, None).await?;
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= crowd.options.nodes {
                    return anyhow::Ok(nodes);
                }
                let node = enrol(&crowd, &mut line, number).await;
                nodes.push(node.with_context(|| format!("node {number} is not enrolled"))?);
            }
        });
    }
    let mut nodes = Vec::new();
    while let Some(enrolled) = running.join_next().await {
        nodes.extend(enrolled??);
    }
    Ok(nodes)
}

async fn enrol(crowd: &Arc<Crowd>, line: &mut Line, number: u32) -> anyhow::Result<CrowdNode> {
    let key = UnkeptKey::make()?;
    let group = format!("g{:04}", number / crowd.options.group_nodes);
    let request = EnrolRequest {
        name: format!("n{number:06}"),
        class: crowd.options.class.clone(),
        attributes: BTreeMap::from([("group".to_owned(), group)]),
        host: format!("host{number:06}"),
        data_directory: "/var/lib/upstart".to_owned(),
        certificate_request: Some(key.request()?),
        ..EnrolRequest::default()
    };
    let enrolled: Enrolled = line.ask(Method::POST, "/v1/nodes", Some(&request)).await?;
    let certified = enrolled
        .certified
        .as_ref()
        .context("it has no certificate")?;
    let credential = key.certified(&certified.certificate)?;
    let mut tls = client_config(Some(credential.pin()), Some(&credential))?;
    // It speaks with one server.
    tls.resumption = Resumption::in_memory_sessions(1);
    let way = WayThere {
        server: crowd.options.server,
        from: address(number),
        token: None,
    };
    let tls = TlsConnector::from(Arc::new(tls));
    Ok(CrowdNode::new(
        Arc::clone(crowd),
        request.name,
        &enrolled,
        (tls, way),
    ))
}
