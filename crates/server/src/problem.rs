//! Refusals: their stable kinds, and what they look like on the wire (RFC 9457).

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use model::api::Problem;

/// The media type of a problem.
const PROBLEM_JSON: HeaderValue = HeaderValue::from_static("application/problem+json");

/// After how many seconds a request is worth asking again that cannot be done now.
const RETRY_AFTER: HeaderValue = HeaderValue::from_static("1");

/// A kind of problem; its name never changes its meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kind {
    /// The last part of the type `/problems/NAME`.
    pub name: &'static str,
    /// The HTTP status.
    pub status: u16,
    /// The kind in words.
    pub title: &'static str,
}

macro_rules! kinds {
    ($($constant:ident $name:literal $status:literal $title:literal;)*) => {
        impl Kind {
            $(pub(crate) const $constant: Kind = Kind { name: $name, status: $status, title: $title };)*
        }

        /// Every kind of problem that the server answers; the OpenAPI document lists them.
        pub(crate) const KINDS: &[Kind] = &[$(Kind::$constant),*];
    };
}

kinds! {
    BAD_REQUEST "bad-request" 400 "The request cannot be read";
    UNAUTHORIZED "unauthorized" 401 "The caller is not known";
    CERTIFICATE_EXPIRED "certificate-expired" 401 "The certificate has expired";
    IDENTITY_ENDED "identity-ended" 401 "The key is not known here any more";
    FORBIDDEN "forbidden" 403 "The caller may not ask for that";
    NOT_ENCRYPTED "not-encrypted" 403 "The server is asked over TLS";
    IDENTITY_CLONED "identity-cloned" 409 "Two have the same key";
    UNKNOWN_IDENTITY "unknown-identity" 404 "Nobody of that name is known";
    UNKNOWN_ROUTE "unknown-route" 404 "There is no such route";
    UNKNOWN_NODE "unknown-node" 404 "There is no such node";
    UNKNOWN_VERSION "unknown-version" 404 "There is no such version";
    UNKNOWN_SERVICE "unknown-service" 404 "There is no such service";
    UNKNOWN_WEBHOOK "unknown-webhook" 404 "There is no such webhook";
    UNKNOWN_ARTIFACT "unknown-artifact" 404 "There is no such artifact";
    UNKNOWN_METADATA "unknown-metadata" 404 "The signed repository has no such file";
    METHOD_NOT_ALLOWED "method-not-allowed" 405 "The route has no such method";
    NO_SYSTEM "no-system" 409 "Nothing is published yet";
    ENROLMENT_CONFLICT "enrolment-conflict" 409 "The name belongs to another node";
    NOT_BLOCKED "not-blocked" 409 "The node is not blocked";
    TELL_EVERYTHING "tell-everything" 409 "The server has begun anew and wants to be told everything";
    OUTDATED_REPORT "outdated-report" 409 "A later report of the node has been heard";
    PERMIT_REFUSED "permit-refused" 409 "The node may not upgrade to that version now";
    PUBLISH_REFUSED "publish-refused" 409 "The upgrade does not follow what is published";
    SIGNED_MEANWHILE "signed-meanwhile" 409 "Somebody else has signed meanwhile";
    ARTIFACTS_MISSING "artifacts-missing" 409 "Artifacts of the upgrade are not uploaded";
    WITHDRAW_REFUSED "withdraw-refused" 409 "The upgrade cannot be withdrawn";
    APPROVAL_REFUSED "approval-refused" 409 "The version cannot be approved";
    PUBLIC_REFUSED "public-refused" 409 "The public version cannot be moved there";
    ONCE_REFUSED "once-refused" 409 "It is not for this node any more";
    LABELS_REFUSED "labels-refused" 409 "The labels cannot be signed in that way now";
    RETIRE_REFUSED "retire-refused" 409 "The versions are still in use";
    PERMIT_LOST "permit-lost" 410 "The permit is not held";
    NODE_FORGOTTEN "node-forgotten" 410 "The node was forgotten by an operator";
    HISTORY_SET_BACK "history-set-back" 410 "The cursor is ahead of the history";
    TOO_LARGE "too-large" 413 "The body is too large";
    UNSUPPORTED_TYPE "unsupported-type" 415 "The body is no JSON";
    RANGE_NOT_SATISFIABLE "range-not-satisfiable" 416 "The range lies behind the artifact's end";
    ISSUER_UNAVAILABLE "issuer-unavailable" 503 "The issuer of the token does not tell its keys";
    MISDIRECTED "misdirected" 421 "The request asks for another host";
    INVALID "invalid" 422 "The request has a value that is not valid";
    UNSIGNED "unsigned" 422 "It is not signed as it must be";
    UNKNOWN_CLASS "unknown-class" 422 "The system has no such class for a node";
    BUNDLE_REFUSED "bundle-refused" 422 "The bundle is not a valid upgrade";
    DIGEST_MISMATCH "digest-mismatch" 422 "The content has another digest";
    IDEMPOTENCY_KEY_REUSED "idempotency-key-reused" 422 "The idempotency key belongs to another request";
    DATABASE_UNAVAILABLE "database-unavailable" 503 "The upgrade database cannot be used now";
    REPOSITORY_UNAVAILABLE "repository-unavailable" 503 "The repository's files cannot be used now";
    STORAGE_FULL "storage-full" 507 "The server's disk is full";
}

/// A request refused: the kind, and this case with what to do next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RequestRefusal {
    pub(crate) kind: Kind,
    pub(crate) detail: String,
}

/// Refuses with this kind and detail.
pub(crate) fn refuse(kind: Kind, detail: impl Into<String>) -> RequestRefusal {
    RequestRefusal {
        kind,
        detail: detail.into(),
    }
}

impl RequestRefusal {
    /// As it goes over the wire.
    pub(crate) fn problem(&self) -> Problem {
        Problem {
            kind: format!("/problems/{}", self.kind.name),
            title: self.kind.title.to_owned(),
            status: self.kind.status,
            detail: self.detail.clone(),
        }
    }
}

impl IntoResponse for RequestRefusal {
    fn into_response(self) -> Response {
        let status =
            StatusCode::from_u16(self.kind.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let body = serde_json::to_vec(&self.problem()).unwrap_or_default();
        let mut response = (status, [(header::CONTENT_TYPE, PROBLEM_JSON)], body).into_response();
        if status == StatusCode::SERVICE_UNAVAILABLE {
            response
                .headers_mut()
                .insert(header::RETRY_AFTER, RETRY_AFTER);
        }
        if self.kind == Kind::UNAUTHORIZED {
            let scheme = HeaderValue::from_static("Bearer");
            response
                .headers_mut()
                .insert(header::WWW_AUTHENTICATE, scheme);
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn kinds_are_distinct_errors() {
        let names: BTreeSet<&str> = KINDS.iter().map(|kind| kind.name).collect();
        assert_eq!(names.len(), KINDS.len());
        assert!(KINDS.iter().all(|kind| (400..600).contains(&kind.status)));
    }
}
