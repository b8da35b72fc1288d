//! What agents ask: enrolment, sync, permits; and the list of nodes.

use crate::transport::OutgoingRequest;
use crate::{Client, ClientError};
use model::api::{
    EnrolRequest, Enrolled, MembersRequest, MembersResponse, NodeFact, OnceEnded, Page, PermitFact,
    SyncRequest, SyncResponse, VerdictAnswer, VerdictRequest,
};
use model::ids::{NodeId, PermitId};
use std::time::Duration;

impl Client {
    /// Makes a node known (`POST /v1/nodes`); the same name gets the same number again.
    ///
    /// # Errors
    /// 409 `/problems/enrolment-conflict`: the name belongs to a node of another class. 409 `/problems/no-system`:
    /// nothing is published yet. 422 `/problems/unknown-class`.
    pub async fn enrol(&self, request: &EnrolRequest) -> Result<Enrolled, ClientError> {
        self.tell(OutgoingRequest::post(&["v1", "nodes"]), request)
            .await
    }

    /// Reports and learns (`POST /v1/nodes/{id}/sync`). With `wait`, the answer waits (at most [`crate::WAIT_MAX`]) until
    /// the node's view differs from `seen_view`.
    ///
    /// # Errors
    /// 404 `/problems/unknown-node`, 409 `/problems/no-system`: not known here; 410 `/problems/node-forgotten`; 409
    /// `/problems/tell-everything`: the server has begun anew, and wants the whole report and what is remembered.
    pub async fn sync(
        &self,
        node: NodeId,
        request: &SyncRequest,
        wait: Option<Duration>,
    ) -> Result<SyncResponse, ClientError> {
        let node = node.to_string();
        let path = ["v1", "nodes", &node, "sync"];
        // No key: a report replaces the one before, and the history may have an event twice after a lost answer.
        let call = OutgoingRequest::new(http::Method::POST, &path, false);
        self.tell(
            call.with("wait_ms", wait.map(|wait| wait.as_millis())),
            request,
        )
        .await
    }

    /// Acknowledges a members' list and gets the next (`POST /v1/nodes/{id}/members`). With `wait`, the answer waits (at
    /// most [`crate::WAIT_MAX`]) until the list differs from `seen`, or `acks` from what was answered last.
    ///
    /// # Errors
    /// 404 `/problems/unknown-node`: the node was forgotten.
    pub async fn members(
        &self,
        node: NodeId,
        request: &MembersRequest,
        wait: Option<Duration>,
    ) -> Result<MembersResponse, ClientError> {
        let node = node.to_string();
        let path = ["v1", "nodes", &node, "members"];
        let call = OutgoingRequest::new(http::Method::POST, &path, false);
        self.tell(
            call.with("wait_ms", wait.map(|wait| wait.as_millis())),
            request,
        )
        .await
    }

    /// A page of the nodes by name (`GET /v1/nodes`).
    ///
    /// # Errors
    /// As every request.
    pub async fn nodes(
        &self,
        after: Option<&str>,
        limit: Option<u32>,
    ) -> Result<Page<NodeFact>, ClientError> {
        let call = OutgoingRequest::get(&["v1", "nodes"]);
        self.ask(call.with("after", after).with("limit", limit))
            .await
    }

    /// One node, by name or number (`GET /v1/nodes/{node}`).
    ///
    /// # Errors
    /// 404 `/problems/unknown-node`.
    pub async fn node(&self, node: &str) -> Result<NodeFact, ClientError> {
        self.ask(OutgoingRequest::get(&["v1", "nodes", node])).await
    }

    /// Forgets a node that will never come back, by name or number (`DELETE /v1/nodes/{node}`).
    ///
    /// # Errors
    /// 404 `/problems/unknown-node`.
    pub async fn forget(&self, node: &str) -> Result<(), ClientError> {
        self.command(OutgoingRequest::delete(&["v1", "nodes", node]))
            .await
    }

    /// Tells a blocked node to try again, by name or number (`POST /v1/nodes/{node}/retry`).
    ///
    /// # Errors
    /// 404 `/problems/unknown-node`; 409 `/problems/not-blocked`.
    pub async fn retry(&self, node: &str) -> Result<NodeFact, ClientError> {
        self.ask(OutgoingRequest::post(&["v1", "nodes", node, "retry"]))
            .await
    }

    /// Asks whether a node may go (`POST /v1/nodes/{id}/verdict`). One that may holds a permit from then on, and gets the
    /// same again while it holds it.
    ///
    /// # Errors
    /// 404 `/problems/unknown-node`; 409 `/problems/permit-refused`: it is where it wants to go, as far as the server knows.
    pub async fn verdict(
        &self,
        node: NodeId,
        request: &VerdictRequest,
    ) -> Result<VerdictAnswer, ClientError> {
        let node = node.to_string();
        let path = ["v1", "nodes", &node, "verdict"];
        // No key: an answer that was remembered would be an old one.
        let call = OutgoingRequest::new(http::Method::POST, &path, false);
        self.tell(call, request).await
    }

    /// Says how something ended that a node was told to do once for the whole system (`POST /v1/nodes/{id}/once`).
    ///
    /// # Errors
    /// 404 `/problems/unknown-node`; 409 `/problems/once-refused`: it is not for this node any more.
    pub async fn once_ended(&self, node: NodeId, ended: &OnceEnded) -> Result<(), ClientError> {
        let node = node.to_string();
        let path = ["v1", "nodes", &node, "once"];
        let call = OutgoingRequest::new(http::Method::POST, &path, false);
        self.tell(call, ended).await
    }

    /// Makes a permit last until it is ended (`POST /v1/permits/{id}/confirm`).
    ///
    /// # Errors
    /// 410 `/problems/permit-lost`: it expired, was ended or broken; 409 `/problems/permit-refused`: the system was paused, or
    /// a newer revision published. Stay, and ask anew.
    pub async fn confirm_permit(&self, permit: PermitId) -> Result<PermitFact, ClientError> {
        let permit = permit.to_string();
        let path = ["v1", "permits", &permit, "confirm"];
        let call = OutgoingRequest::post(&path);
        self.ask(call.with("holder", self.holder.as_deref())).await
    }

    /// Ends a permit (`DELETE /v1/permits/{id}`); one that is gone already is no error.
    ///
    /// # Errors
    /// As every request.
    pub async fn end_permit(&self, permit: PermitId) -> Result<(), ClientError> {
        let permit = permit.to_string();
        let path = ["v1", "permits", &permit];
        let call = OutgoingRequest::delete(&path);
        self.command(call.with("holder", self.holder.as_deref()))
            .await
    }

    /// Takes a permit away from its node (`POST /v1/permits/{id}/break`), by an operator.
    ///
    /// # Errors
    /// 410 `/problems/permit-lost`: nobody holds it.
    pub async fn break_permit(&self, permit: PermitId) -> Result<PermitFact, ClientError> {
        let permit = permit.to_string();
        self.ask(OutgoingRequest::post(&["v1", "permits", &permit, "break"]))
            .await
    }
}
