//! What Prometheus is told: who may ask, and that it is what has happened.

use crate::callers::{Caller, invited, node, started};
use crate::support::{Running, Site, TOKEN, bundle, report};
use ::server::ServerConfig;
use model::api::{PauseRequest, Principal, Role};
use reqwest::StatusCode;

/// The server's metrics, asked for with a token.
pub(crate) async fn metrics_of(server: &Running, token: &str) -> Result<String, StatusCode> {
    metrics_by(&reqwest::Client::new(), server, token).await
}

/// The same by a client that may have asked before.
pub(crate) async fn metrics_by(
    client: &reqwest::Client,
    server: &Running,
    token: &str,
) -> Result<String, StatusCode> {
    let asked = client
        .get(format!("{}/metrics", server.url))
        .bearer_auth(token);
    let answer = asked.send().await.expect("answered");
    match answer.status() {
        StatusCode::OK => Ok(answer.text().await.expect("text")),
        status => Err(status),
    }
}

/// What somebody with a certificate is answered, who asks as Prometheus does.
async fn status_over_tls(server: &Running, caller: &Caller) -> StatusCode {
    let read = |name: &str| std::fs::read(caller.folder.path().join(name)).expect(name);
    let shown = [read("key.pem"), read("certificate.pem")].concat();
    let client = reqwest::Client::builder()
        .identity(reqwest::Identity::from_pem(&shown).expect("an identity"))
        // The name of a server is in no certificate of this test.
        .tls_danger_accept_invalid_certs(true)
        .build()
        .expect("a client");
    let url = server.url.replace("http://", "https://");
    let answer = client.get(format!("{url}/metrics")).send().await;
    answer.expect("answered").status()
}

fn value(text: &str, series: &str) -> f64 {
    let mut lines = text.lines();
    let found = lines.find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    let found = found.unwrap_or_else(|| panic!("{series} in\n{text}"));
    found.parse().expect("a number")
}

#[tokio::test]
async fn what_has_happened_is_told() {
    let (_site, server) = started().await;
    let (a, enrolled) = node(&server, "a").await;
    a.tell(&enrolled, "a", report(1)).await.expect("heard");
    let text = metrics_of(&server, TOKEN).await.expect("answered");
    let told = |series: &str| value(&text, series);
    assert_eq!(
        told("upstart_nodes{class=\"storage\",version=\"1\",phase=\"settled\"}") as u32,
        1
    );
    assert_eq!(
        told("upstart_nodes_unreachable{class=\"storage\"}") as u32,
        0
    );
    assert_eq!(told("upstart_newest_version") as u32, 1);
    assert_eq!(told("upstart_nodes_behind") as u32, 0);
    assert_eq!(told("upstart_paused") as u32, 0);
    assert_eq!(told("upstart_labels_mode{mode=\"off\"}") as u32, 1);
    let enrolments = told("upstart_events_total{kind=\"node.enrolled\",severity=\"info\"}");
    assert_eq!(enrolments as u32, 1);
    let synced = "{route=\"/v1/nodes/{node}/sync\",method=\"POST\"";
    assert!(
        told(&format!(
            "upstart_http_requests_total{synced},status=\"2xx\"}}"
        )) >= 1.0
    );
    assert!(
        told(&format!(
            "upstart_http_request_duration_seconds_count{synced}}}"
        )) >= 1.0
    );
    assert!(told("upstart_database_commits_total{outcome=\"done\"}") >= 3.0);
    assert!(told("upstart_state_orders_total") >= told("upstart_state_batches_total"));
    assert!(told("upstart_artifact_received_bytes_total") > 0.0);
    assert!(told("upstart_http_connections") >= 1.0);
    assert!(told("upstart_metadata_expiry_timestamp_seconds{role=\"root\"}") > 1.7e9);

    let operator = PauseRequest {
        reason: "lunch".to_owned(),
    };
    server.client.pause(&operator).await.expect("paused");
    server
        .client
        .revoke(&Principal::node("a"))
        .await
        .expect("revoked");
    let text = metrics_of(&server, TOKEN).await.expect("answered");
    assert_eq!(value(&text, "upstart_paused") as u32, 1);
    assert_eq!(value(&text, "upstart_nodes_revoked") as u32, 1);
    server.stop().await;
}

#[tokio::test]
async fn viewers_may_ask_and_nodes_and_strangers_may_not() {
    let (_site, server) = started().await;
    assert_eq!(
        metrics_of(&server, "a guess").await,
        Err(StatusCode::UNAUTHORIZED)
    );
    let token = invited(&server, Principal::operator("ann"), Some(Role::Viewer)).await;
    assert_eq!(
        metrics_of(&server, &token).await,
        Err(StatusCode::FORBIDDEN)
    );
    let ann = Caller::new(&server, &token);
    ann.log_in().await.expect("invited");
    let (a, _) = node(&server, "a").await;
    for (caller, expected) in [(&ann, StatusCode::OK), (&a, StatusCode::FORBIDDEN)] {
        assert_eq!(status_over_tls(&server, caller).await, expected);
    }
    server.stop().await;
}

#[tokio::test]
async fn a_second_address_tells_the_same_to_everybody_and_nothing_else() {
    let site = Site::new();
    let config = ServerConfig {
        metrics_listen: Some(([127, 0, 0, 1], 0).into()),
        ..site.config()
    };
    let server = site.run(config).await;
    server
        .publish(&bundle(1, ""), false)
        .await
        .expect("published");
    let address = server.metrics.expect("an address");
    let client = reqwest::Client::new();
    let ask = |path: &str| client.get(format!("http://{address}{path}")).send();
    let told = ask("/metrics").await.expect("answered");
    assert_eq!(told.status(), StatusCode::OK);
    let text = told.text().await.expect("text");
    assert_eq!(value(&text, "upstart_newest_version") as u32, 1);
    let elsewhere = ask("/v1/system").await.expect("answered");
    assert_eq!(elsewhere.status(), StatusCode::NOT_FOUND);
    let posted = client
        .post(format!("http://{address}/metrics"))
        .send()
        .await;
    assert_eq!(
        posted.expect("answered").status(),
        StatusCode::METHOD_NOT_ALLOWED
    );
    server.stop().await;
}
