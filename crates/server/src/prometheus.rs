//! A Prometheus that is asked for what the schedules of upgrades want measured.

use crate::outside::outside_client;
use identity::outside_tls;
use reqwest::Url;
use reqwest::header::AUTHORIZATION;
use serde::Deserialize;
use std::collections::HashMap;
use std::path::PathBuf;
use std::time::Duration;

/// How long it may take to answer.
const ANSWER_LIMIT: Duration = Duration::from_secs(10);

/// The largest answer: a value of each of a hundred thousand nodes takes a tenth of it.
const ANSWER_BYTES_MAX: usize = 128 << 20;

/// The label of a series that says of which node it is.
const NODE_LABEL: &str = "node";

/// Where a Prometheus is, and how it is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PrometheusPlace {
    /// Its address, `http://…` or `https://…`, with the path under which its interface is.
    pub url: String,
    /// A file with a bearer token that it is shown; read anew for each question.
    pub token: Option<PathBuf>,
    /// The authorities with which it shows who it is over TLS (PEM); the host's where this is none.
    pub certificates: Option<PathBuf>,
}

/// The values of nodes, by their names.
pub(crate) type NodeValues = HashMap<String, f64>;

/// A Prometheus.
pub(crate) struct Prometheus {
    client: reqwest::Client,
    query: Url,
    token: Option<PathBuf>,
}

/// The part of an answer that counts (Prometheus HTTP API, "Instant queries").
#[derive(Deserialize)]
struct QueryAnswer {
    #[serde(default)]
    error: Option<String>,
    #[serde(default)]
    data: Option<QueryData>,
}

#[derive(Deserialize)]
struct QueryData {
    #[serde(rename = "resultType")]
    kind: String,
    result: serde_json::Value,
}

#[derive(Deserialize)]
struct Series {
    metric: HashMap<String, String>,
    value: (f64, String),
}

impl Prometheus {
    /// Asks nobody yet.
    ///
    /// # Errors
    /// The address is none, or the authorities cannot be read.
    pub(crate) fn new(place: &PrometheusPlace) -> Result<Self, String> {
        let base = place.url.trim_end_matches('/');
        let query = Url::parse(&format!("{base}/api/v1/query"))
            .map_err(|error| format!("{}: {error}", place.url))?;
        if !matches!(query.scheme(), "http" | "https") {
            return Err(format!(
                "{}: an address of Prometheus begins with http:// or https://",
                place.url
            ));
        }
        let tls = outside_tls(place.certificates.as_deref()).map_err(|error| error.to_string())?;
        let client = outside_client(tls, ANSWER_LIMIT)?;
        Ok(Self {
            client,
            query,
            token: place.token.clone(),
        })
    }

    /// The value of each node that a query gives now.
    ///
    /// # Errors
    /// It does not answer, refuses the query, or gives something else than one value for each node.
    pub(crate) async fn values(&self, query: &str) -> Result<NodeValues, String> {
        let mut asked = self.client.post(self.query.clone());
        if let Some(file) = &self.token {
            let token = tokio::fs::read_to_string(file).await;
            let token = token.map_err(|error| format!("{}: {error}", file.display()))?;
            asked = asked.header(AUTHORIZATION, format!("Bearer {}", token.trim()));
        }
        let mut form = self.query.clone();
        form.query_pairs_mut().clear().append_pair("query", query);
        let form = form.query().unwrap_or_default().to_owned();
        let asked = asked
            .header("content-type", "application/x-www-form-urlencoded")
            .body(form);
        let mut answer = asked.send().await.map_err(|error| unanswered(&error))?;
        let status = answer.status();
        let mut text = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(|error| unanswered(&error))? {
            if text.len() + chunk.len() > ANSWER_BYTES_MAX {
                return Err("Prometheus gives more than 128 MiB".to_owned());
            }
            text.extend_from_slice(&chunk);
        }
        match serde_json::from_slice::<QueryAnswer>(&text) {
            Ok(QueryAnswer {
                error: Some(error), ..
            }) => Err(format!("Prometheus refuses the query: {error}")),
            Ok(QueryAnswer {
                data: Some(data), ..
            }) if status.is_success() => by_node(data),
            _ if !status.is_success() => Err(format!("Prometheus answers {status}")),
            _ => Err("what answers at the address of Prometheus is something else".to_owned()),
        }
    }
}

/// Why it has not answered, with the innermost cause, which says most.
fn unanswered(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        return "Prometheus does not answer within 10 s".to_owned();
    }
    let mut cause: &dyn std::error::Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    format!("Prometheus does not answer: {cause}")
}

/// One value for each node. What is no number, such as a share of no calls, is left out.
fn by_node(data: QueryData) -> Result<NodeValues, String> {
    if data.kind != "vector" {
        return Err(format!(
            "the query gives a {}, not one value for each node",
            data.kind
        ));
    }
    let series: Vec<Series> = serde_json::from_value(data.result)
        .map_err(|error| format!("what Prometheus gives cannot be read: {error}"))?;
    let mut values = NodeValues::new();
    for mut each in series {
        let node = each.metric.remove(NODE_LABEL).ok_or_else(|| {
            format!(
                "the query gives series without the label `{NODE_LABEL}`, which is to say the node's name: sum by ({NODE_LABEL}), or use label_replace"
            )
        })?;
        let value: f64 = each
            .value
            .1
            .parse()
            .map_err(|_| format!("Prometheus gives `{}`, which is no number", each.value.1))?;
        if !value.is_finite() {
            continue;
        }
        if values.insert(node.clone(), value).is_some() {
            return Err(format!(
                "the query gives several values for the node {node}; sum by ({NODE_LABEL})"
            ));
        }
    }
    Ok(values)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(kind: &str, result: serde_json::Value) -> Result<NodeValues, String> {
        by_node(QueryData {
            kind: kind.to_owned(),
            result,
        })
    }

    #[test]
    fn each_node_has_one_value_and_what_is_no_number_is_left_out() {
        let result = json!([
            {"metric": {"node": "a"}, "value": [1.5, "0.25"]},
            {"metric": {"node": "b"}, "value": [1.5, "NaN"]},
            {"metric": {"node": "c"}, "value": [1.5, "+Inf"]},
        ]);
        let values = read("vector", result).expect("values");
        assert_eq!(values, NodeValues::from([("a".to_owned(), 0.25)]));
    }

    #[test]
    fn what_gives_no_value_for_each_node_says_why() {
        for (kind, result, why) in [
            ("scalar", json!([1.5, "2"]), "gives a scalar"),
            (
                "vector",
                json!([{"metric": {"instance": "a"}, "value": [1, "2"]}]),
                "without the label `node`",
            ),
            (
                "vector",
                json!([{"metric": {"node": "a", "code": "500"}, "value": [1, "2"]},
                    {"metric": {"node": "a", "code": "503"}, "value": [1, "2"]}]),
                "several values for the node a",
            ),
            (
                "vector",
                json!([{"metric": {"node": "a"}}]),
                "cannot be read",
            ),
            (
                "vector",
                json!([{"metric": {"node": "a"}, "value": [1, "two"]}]),
                "no number",
            ),
        ] {
            let refused = read(kind, result).expect_err(why);
            assert!(refused.contains(why), "{refused}");
        }
    }

    #[test]
    fn an_address_is_one() {
        for url in ["prometheus:9090", "ftp://prometheus", "http//x", ""] {
            let place = PrometheusPlace {
                url: url.to_owned(),
                token: None,
                certificates: None,
            };
            assert!(Prometheus::new(&place).is_err(), "{url}");
        }
    }
}
