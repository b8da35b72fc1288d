//! The way back: an answer of the other side as the caller's side knows it.

use http::{HeaderValue, Method, StatusCode, header};

use crate::message::{is_encoded, set_body};
use crate::operation::{Alternative, LensOperation, Statuses};
use crate::recipe::rule::Remembered;
use crate::step::LensStep;
use call::{
    Body, BodyError, BodyLimits, Failure, HttpAnswer, Refusal, RefusalBody, RefusalKind,
    RefusalWords,
};
use declaration::Mismatch;
use declaration::expression::ExpressionContext;
use declaration::scope::{Head, Scope};

/// How much of an answer that is refused is told to whoever runs the node.
const WORDS_BYTES_MAX: usize = 300;

/// The way back of one call.
pub(crate) struct Back<'s> {
    pub(crate) step: &'s LensStep,
    pub(crate) operation: &'s LensOperation,
    /// The caller's.
    pub(crate) method: Method,
    pub(crate) remembered: Remembered,
    pub(crate) limits: BodyLimits,
}

impl Back<'_> {
    fn around(&self, status: StatusCode) -> ExpressionContext<'_> {
        ExpressionContext {
            method: self.method.as_str(),
            status: Some(status.as_u16()),
            request: self.remembered.request.as_ref(),
            echoes: &self.remembered.echoes,
            lookup: self.remembered.lookup.as_ref(),
            name: None,
        }
    }

    fn refuse(&self, mismatch: Mismatch) -> Failure {
        self.step
            .mismatch(RefusalKind::Response, self.operation, mismatch)
            .into()
    }

    /// The answer as the caller's side knows it. A refusal says what was refused, in the software's own words.
    pub(crate) async fn answer(&self, mut answer: HttpAnswer) -> Result<HttpAnswer, Failure> {
        let status = answer.head.status;
        match self.translate(&mut answer).await {
            Ok(()) => Ok(answer),
            Err(Failure::Refused(mut refusal)) => {
                refusal.cause = Some(said(status, answer.body).await);
                Err(Failure::Refused(refusal))
            }
            Err(failure) => Err(failure),
        }
    }

    async fn translate(&self, answer: &mut HttpAnswer) -> Result<(), Failure> {
        let Some(alternative) = self.choose(answer).await? else {
            if self.operation.other_statuses_pass {
                return Ok(());
            }
            let what = format!("the lens has no rule for the status {}", answer.head.status);
            return Err(self.refuse(Mismatch::new(what).within("status")));
        };
        if let Some(index) = alternative.refuse {
            return Err(self.step.declared(&self.operation.name, index).into());
        }
        let toward = self.step.caller();
        let needs_body = alternative.changes_body();
        if needs_body {
            self.decode(alternative, answer).await?;
        }
        if self.method == Method::HEAD && needs_body {
            answer.head.headers.remove(header::CONTENT_LENGTH);
        } else if !alternative.recipe.rules().is_empty() || needs_body {
            self.apply(alternative, answer)?;
        }
        if let Statuses::Code(code) = alternative.status[toward as usize] {
            set_status(answer, code);
        }
        Ok(())
    }

    fn apply(&self, alternative: &Alternative, answer: &mut HttpAnswer) -> Result<(), Failure> {
        let decoded = matches!(answer.body, Body::Json(_) | Body::Empty);
        let body = if decoded {
            match std::mem::take(&mut answer.body) {
                Body::Json(json) => Some(json),
                _ => None,
            }
        } else {
            None
        };
        let headers = std::mem::take(&mut answer.head.headers);
        let head = Head {
            headers,
            ..Head::default()
        };
        let mut scope = Scope {
            head: Some(head),
            body,
        };
        let around = self.around(answer.head.status);
        let applied = alternative
            .recipe
            .apply(&mut scope, self.step.caller(), around);
        if let Err(mismatch) = applied {
            answer.body = scope.body.map_or(Body::Empty, Body::Json);
            return Err(self.refuse(mismatch));
        }
        answer.head.headers = scope.head.take().unwrap_or_default().headers;
        if decoded {
            let text = alternative.text[self.step.caller() as usize];
            let set = set_body(&mut answer.head.headers, &mut answer.body, scope.body, text);
            set.map_err(|mismatch| self.refuse(mismatch))?;
        }
        Ok(())
    }

    /// The first alternative for this status whose condition holds.
    async fn choose(&self, answer: &mut HttpAnswer) -> Result<Option<&Alternative>, Failure> {
        let from = self.step.caller().other();
        for alternative in &self.operation.responses {
            if !alternative.matches(self.step.direction, answer.head.status) {
                continue;
            }
            let Some(when) = &alternative.when[from as usize] else {
                return Ok(Some(alternative));
            };
            if when.uses("body") {
                self.decode(alternative, answer).await?;
            }
            let body = match std::mem::take(&mut answer.body) {
                Body::Json(json) => Ok(json),
                other => Err(other),
            };
            let headers = std::mem::take(&mut answer.head.headers);
            let head = Head {
                headers,
                ..Head::default()
            };
            let mut scope = Scope {
                head: Some(head),
                body: None,
            };
            match body {
                Ok(json) => scope.body = Some(json),
                Err(other) => answer.body = other,
            }
            let holds = when.holds(&scope, self.around(answer.head.status));
            answer.head.headers = scope.head.take().unwrap_or_default().headers;
            if let Some(json) = scope.body {
                answer.body = Body::Json(json);
            }
            if holds.map_err(|mismatch| self.refuse(mismatch))? {
                return Ok(Some(alternative));
            }
        }
        Ok(None)
    }

    async fn decode(
        &self,
        alternative: &Alternative,
        answer: &mut HttpAnswer,
    ) -> Result<(), Failure> {
        if self.method == Method::HEAD || matches!(answer.body, Body::Empty | Body::Json(_)) {
            return Ok(());
        }
        let refuse = |what: String| self.refuse(Mismatch::new(what).within("body"));
        if is_encoded(&answer.head.headers) {
            return Err(refuse("the answer is compressed".to_owned()));
        }
        let decoded = if alternative.text[self.step.caller().other() as usize] {
            answer.body.decode_text(self.limits).await
        } else {
            answer.body.decode(self.limits).await.map(|_| ())
        };
        match decoded {
            Ok(()) => Ok(()),
            Err(BodyError::Connection(error)) => Err(Failure::Broken(error)),
            Err(error) => Err(refuse(error.to_string())),
        }
    }

    /// A refusal of an adapter further on, in the words of the caller's version where the rules
    /// can say it; else as a problem with the same status.
    pub(crate) async fn refusal(&self, mut refusal: Refusal) -> Refusal {
        let RefusalWords::Http { status, body, .. } = &mut refusal.words else {
            return refusal;
        };
        let (mut head, ()) = http::Response::new(()).into_parts();
        head.status = *status;
        let sent = match std::mem::replace(body, RefusalBody::Problem) {
            RefusalBody::Problem => return refusal,
            RefusalBody::Text { media, text } => {
                if let Ok(media) = HeaderValue::try_from(media) {
                    head.headers.insert(header::CONTENT_TYPE, media);
                }
                Body::Bytes(text.into())
            }
            RefusalBody::Json(json) => Body::Json(json),
        };
        if let Ok(answer) = self.answer(HttpAnswer { head, body: sent }).await {
            *status = answer.head.status;
            let media = answer.head.headers.get(header::CONTENT_TYPE);
            let media = media.and_then(|media| media.to_str().ok());
            match answer.body {
                Body::Json(json) => *body = RefusalBody::Json(json),
                Body::Bytes(text) => {
                    *body = RefusalBody::Text {
                        media: media.unwrap_or_default().to_owned(),
                        text: String::from_utf8_lossy(&text).into_owned(),
                    };
                }
                Body::Empty | Body::Stream(_) | Body::Watched(_) => {}
            }
        }
        refusal
    }
}

/// An answer in few words: its status, and the beginning of what is there of its body.
async fn said(status: StatusCode, body: Body) -> String {
    let begun = body.beginning(WORDS_BYTES_MAX).await;
    let text: String = String::from_utf8_lossy(&begun)
        .chars()
        .flat_map(|character| {
            if character.is_control() {
                character.escape_default().collect::<Vec<_>>()
            } else {
                vec![character]
            }
        })
        .collect();
    if text.is_empty() {
        status.to_string()
    } else {
        format!("{status}: {text}")
    }
}

fn set_status(answer: &mut HttpAnswer, code: u16) {
    if let Ok(status) = StatusCode::from_u16(code)
        && status != answer.head.status
    {
        answer.head.status = status;
        answer.head.extensions.remove::<hyper::ext::ReasonPhrase>();
    }
}
