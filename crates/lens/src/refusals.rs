//! How a lens says no: in its own words where it has some.

use http::StatusCode;

use crate::operation::{DeclaredRefusal, LensOperation};
use crate::step::LensStep;
use call::{HttpCall, Refusal, RefusalBody, RefusalKind};
use declaration::Mismatch;
use wire::json::Json;

impl LensStep {
    pub(crate) fn unmatched(&self, call: &HttpCall) -> Refusal {
        let reason = format!(
            "{} {} is no operation that the {} version has an equivalent of",
            call.head.method,
            call.head.uri.path(),
            self.caller().other().name()
        );
        self.refuse(RefusalKind::Unmatched, "(unmatched)".to_owned(), reason)
    }

    pub(crate) fn declared(&self, rule: &str, index: usize) -> Refusal {
        let declared = &self.lens.declared[index];
        self.in_words(RefusalKind::Declared, rule, &declared.reason, declared)
    }

    /// A refusal in words of its own.
    fn in_words(
        &self,
        kind: RefusalKind,
        rule: &str,
        reason: &str,
        declared: &DeclaredRefusal,
    ) -> Refusal {
        let body = declared
            .body
            .as_ref()
            .or(self.lens.refusals.bodies[self.caller() as usize].as_ref());
        let refusal = Refusal::new(kind, rule, reason, declared.status);
        match body {
            Some(body) => {
                let body = fill(body, reason, declared.status);
                refusal.with_body(RefusalBody::own(body, declared.media.clone()))
            }
            None => refusal,
        }
    }

    pub(crate) fn mismatch(
        &self,
        kind: RefusalKind,
        operation: &LensOperation,
        mismatch: Mismatch,
    ) -> Refusal {
        let rule = match mismatch.rule.as_str() {
            "" => operation.name.clone(),
            rule => format!("{}: {rule}", operation.name),
        };
        match mismatch.declared {
            Some(index) => self.declared(&rule, index),
            None => {
                let reason = format!("{rule}: {}", mismatch.what);
                self.refuse(kind, rule, reason)
            }
        }
    }

    fn refuse(&self, kind: RefusalKind, rule: String, reason: String) -> Refusal {
        let forms = &self.lens.refusals;
        let own = forms.malformed_forms[self.caller() as usize].as_ref();
        if let (RefusalKind::Malformed, Some(own)) = (kind, own) {
            return self.in_words(kind, &rule, &reason, own);
        }
        let status = match kind {
            RefusalKind::Unmatched => forms.unmatched,
            RefusalKind::Malformed => forms.malformed,
            RefusalKind::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            RefusalKind::Busy => StatusCode::SERVICE_UNAVAILABLE,
            RefusalKind::Request | RefusalKind::Declared => forms.request,
            RefusalKind::Response => forms.response,
        };
        let body = forms.bodies[self.caller() as usize].as_ref();
        let body = body.map(|body| fill(body, &reason, status));
        let refusal = Refusal::new(kind, rule, reason, status);
        match body {
            Some(body) => refusal.with_body(RefusalBody::Json(body)),
            None => refusal,
        }
    }
}

/// Fills `${reason}` and `${status}` into a refusal's body.
fn fill(body: &Json, reason: &str, status: StatusCode) -> Json {
    match body {
        Json::String(text) if text == "${status}" => Json::Integer(i64::from(status.as_u16())),
        Json::String(text) => Json::String(
            text.replace("${status}", status.as_str())
                .replace("${reason}", reason),
        ),
        Json::Array(items) => Json::Array(items.iter().map(|i| fill(i, reason, status)).collect()),
        Json::Object(members) => Json::Object(
            members
                .iter()
                .map(|(name, value)| (name.clone(), fill(value, reason, status)))
                .collect(),
        ),
        other => other.clone(),
    }
}
