//! What operators ask: the system's view, its history, pause, approvals, public versions, retirement.

use crate::transport::OutgoingRequest;
use crate::{Client, ClientError};
use model::api::{
    Approval, ApproveRequest, Event, FleetView, LabelsRequest, LabelsView, Page, PageLink, Pause,
    PauseRequest, PublicRequest, RetireRequest, Retirement, SystemView,
};
use model::ids::Version;
use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::time::Duration;

impl Client {
    /// The system with its nodes counted (`GET /v1/fleet`): as large for many nodes as for few.
    ///
    /// # Errors
    /// As every request.
    pub async fn fleet(&self) -> Result<FleetView, ClientError> {
        self.ask(OutgoingRequest::get(&["v1", "fleet"])).await
    }

    /// The server's clock, to the second, in milliseconds since 1970: the date that an answer bears (of `GET /v1/fleet`). None where it bears
    /// none.
    ///
    /// # Errors
    /// As every request.
    pub async fn date_ms(&self) -> Result<Option<u64>, ClientError> {
        let call = OutgoingRequest::get(&["v1", "fleet"]);
        let answer = self.send(&call, |request| request).await?;
        let date = answer.headers().get(http::header::DATE);
        let date = date.and_then(|date| jiff::fmt::rfc2822::parse(date.to_str().ok()?).ok());
        Ok(date.and_then(|date| u64::try_from(date.timestamp().as_millisecond()).ok()))
    }

    /// The whole system as the server sees it (`GET /v1/system`).
    ///
    /// # Errors
    /// As every request.
    pub async fn system(&self) -> Result<SystemView, ClientError> {
        self.ask(OutgoingRequest::get(&["v1", "system"])).await
    }

    /// A page of the history after a cursor, oldest first (`GET /v1/events`); [`Page::next`] is always the cursor to go
    /// on from. With `wait`, an empty page waits (at most [`crate::WAIT_MAX`]) for the next event.
    ///
    /// # Errors
    /// As every request.
    pub async fn events(
        &self,
        after: Option<&str>,
        limit: Option<u32>,
        wait: Option<Duration>,
    ) -> Result<Page<Event>, ClientError> {
        let call = OutgoingRequest::get(&["v1", "events"])
            .with("after", after)
            .with("limit", limit)
            .with("wait_ms", wait.map(|wait| wait.as_millis()));
        self.ask(call).await
    }

    /// A page of the history before a cursor, newest first (`GET /v1/events?order=desc`); [`Page::next`] is missing in the end.
    ///
    /// # Errors
    /// As every request.
    pub async fn events_before(
        &self,
        before: Option<&str>,
        limit: Option<u32>,
    ) -> Result<Page<Event>, ClientError> {
        let call = OutgoingRequest::get(&["v1", "events"])
            .with("after", before)
            .with("limit", limit)
            .with("order", Some("desc"));
        self.ask(call).await
    }

    /// A one-time link that signs a browser in (`POST /v1/page-links`), and the base address of the server that has made it: no other
    /// knows it.
    ///
    /// # Errors
    /// As every request.
    pub async fn page_link(&self) -> Result<(String, PageLink), ClientError> {
        let link = self
            .ask(OutgoingRequest::post(&["v1", "page-links"]))
            .await?;
        let answered = self.preferred.load(Ordering::Relaxed) % self.servers.len();
        Ok((self.servers[answered].to_string(), link))
    }

    /// Pauses the system: no node begins an upgrade (`POST /v1/pause`).
    ///
    /// # Errors
    /// As every request.
    pub async fn pause(&self, request: &PauseRequest) -> Result<Pause, ClientError> {
        self.tell(OutgoingRequest::post(&["v1", "pause"]), request)
            .await
    }

    /// Ends a pause (`DELETE /v1/pause`); none is no error.
    ///
    /// # Errors
    /// As every request.
    pub async fn resume(&self) -> Result<(), ClientError> {
        self.command(OutgoingRequest::delete(&["v1", "pause"]))
            .await
    }

    /// Gives a person's leave for an upgrade (`POST /v1/approvals`).
    ///
    /// # Errors
    /// 404 `/problems/unknown-version`, 404 `/problems/unknown-node`, 422 `/problems/unknown-class`.
    pub async fn approve(&self, request: &ApproveRequest) -> Result<Approval, ClientError> {
        self.tell(OutgoingRequest::post(&["v1", "approvals"]), request)
            .await
    }

    /// Moves the public version of one service or of all (`PUT /v1/public`); answers all public versions.
    ///
    /// # Errors
    /// 404 `/problems/unknown-service`, 404 `/problems/unknown-version`, 409 `/problems/public-refused`: the version is
    /// withdrawn or retired, or has no such service.
    pub async fn set_public(
        &self,
        request: &PublicRequest,
    ) -> Result<BTreeMap<String, Version>, ClientError> {
        self.tell(OutgoingRequest::put(&["v1", "public"]), request)
            .await
    }

    /// What the system does about its labels, and who does not do it yet (`GET /v1/labels`).
    ///
    /// # Errors
    /// As every request.
    pub async fn labels(&self) -> Result<LabelsView, ClientError> {
        self.ask(OutgoingRequest::get(&["v1", "labels"])).await
    }

    /// Has labels signed, demanded signed, or not signed any more, or replaces the key (`POST /v1/labels`).
    ///
    /// # Errors
    /// 409 `/problems/labels-refused`: some node does not do yet what this builds on; the detail names it.
    pub async fn change_labels(&self, request: &LabelsRequest) -> Result<LabelsView, ClientError> {
        self.tell(OutgoingRequest::post(&["v1", "labels"]), request)
            .await
    }

    /// Retires every version up to one (`POST /v1/retire`). The answer comes when the first phase has begun; the second
    /// ends when every node has acknowledged (watch [`SystemView::retired_through`]).
    ///
    /// # Errors
    /// 409 `/problems/retire-refused`: the detail says what holds these versions.
    pub async fn retire(&self, request: &RetireRequest) -> Result<Retirement, ClientError> {
        self.tell(OutgoingRequest::post(&["v1", "retire"]), request)
            .await
    }
}
