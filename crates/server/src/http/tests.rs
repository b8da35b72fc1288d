//! The OpenAPI document describes what is routed, and nothing else.

use super::{openapi, routes};
use crate::problem::KINDS;
use std::collections::BTreeSet;
use utoipa::OpenApi;

fn described() -> serde_json::Value {
    serde_json::to_value(openapi::Document::openapi()).expect("a document")
}

#[test]
fn every_route_is_in_the_document_and_every_path_of_it_is_routed() {
    let document = described();
    let mut documented = BTreeSet::new();
    for (path, methods) in document["paths"].as_object().expect("paths") {
        for method in methods.as_object().expect("methods").keys() {
            documented.insert(format!("{} {path}", method.to_uppercase()));
        }
    }
    let routed: BTreeSet<String> = routes::table()
        .iter()
        .map(|route| format!("{} {}", route.method, route.path))
        .collect();
    assert_eq!(documented, routed);
}

#[test]
fn every_operation_has_a_name_a_summary_and_describes_its_path_parameters() {
    let document = described();
    for (path, methods) in document["paths"].as_object().expect("paths") {
        for (method, operation) in methods.as_object().expect("methods") {
            let place = format!("{method} {path}");
            assert!(operation["summary"].is_string(), "{place} has no summary");
            let named: BTreeSet<&str> = operation["parameters"]
                .as_array()
                .into_iter()
                .flatten()
                .filter(|parameter| parameter["in"] == "path")
                .filter_map(|parameter| parameter["name"].as_str())
                .collect();
            let wanted: BTreeSet<&str> = path
                .split('/')
                .filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'))
                .collect();
            assert_eq!(named, wanted, "{place}");
        }
    }
}

#[test]
fn references_lead_somewhere_and_every_problem_is_listed() {
    let document = described();
    let text = document.to_string();
    let schemas = document["components"]["schemas"]
        .as_object()
        .expect("schemas");
    for reference in text.split("#/components/schemas/").skip(1) {
        let name = reference.split('"').next().expect("a name");
        assert!(schemas.contains_key(name), "no schema {name}");
    }
    let about = document["info"]["description"]
        .as_str()
        .expect("a description");
    for kind in KINDS {
        assert!(
            about.contains(&format!("/problems/{}`", kind.name)),
            "{}",
            kind.name
        );
    }
}
