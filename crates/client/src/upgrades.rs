//! Upgrades: publishing, withdrawing, and the manifests as static files.

use crate::transport::{OutgoingRequest, broken};
use crate::{Client, ClientError};
use model::api::{Page, PublishRequest, UpgradeSummary, WithdrawRequest};
use model::ids::{Revision, Version};

impl Client {
    /// Publishes an upgrade, or a revision of one, whose artifacts are uploaded (`POST /v1/upgrades`). The same manifest
    /// again is no error.
    ///
    /// # Errors
    /// 422 `/problems/unsigned`: its publishers have not signed it ([`Client::publish_signed`] does);
    /// 409 `/problems/publish-refused`: the version does not follow the newest; 422 `/problems/bundle-refused`: the bundle
    /// does not hold what it must; 409 `/problems/artifacts-missing`: upload those named in the detail first.
    pub async fn publish(&self, request: &PublishRequest) -> Result<UpgradeSummary, ClientError> {
        self.tell(OutgoingRequest::post(&["v1", "upgrades"]), request)
            .await
    }

    /// Withdraws the newest upgrade while no node has settled at it (`POST /v1/upgrades/{version}/withdraw`).
    ///
    /// # Errors
    /// 409 `/problems/withdraw-refused`: the detail says which node or which later upgrade holds it.
    pub async fn withdraw(
        &self,
        version: Version,
        request: &WithdrawRequest,
    ) -> Result<UpgradeSummary, ClientError> {
        let version = version.to_string();
        let path = ["v1", "upgrades", &version, "withdraw"];
        self.tell(OutgoingRequest::post(&path), request).await
    }

    /// A page of the upgrades by version, oldest first (`GET /v1/upgrades`).
    ///
    /// # Errors
    /// As every request.
    pub async fn upgrades(
        &self,
        after: Option<&str>,
        limit: Option<u32>,
    ) -> Result<Page<UpgradeSummary>, ClientError> {
        let call = OutgoingRequest::get(&["v1", "upgrades"]);
        self.ask(call.with("after", after).with("limit", limit))
            .await
    }

    /// One upgrade (`GET /v1/upgrades/{version}`).
    ///
    /// # Errors
    /// 404 `/problems/unknown-version`.
    pub async fn upgrade(&self, version: Version) -> Result<UpgradeSummary, ClientError> {
        let version = version.to_string();
        self.ask(OutgoingRequest::get(&["v1", "upgrades", &version]))
            .await
    }

    /// The manifest of one revision, byte for byte (`GET /v1/upgrades/{version}/revisions/{revision}/manifest`).
    ///
    /// # Errors
    /// 404 `/problems/unknown-version`.
    pub async fn manifest(
        &self,
        version: Version,
        revision: Revision,
    ) -> Result<String, ClientError> {
        let (version, revision) = (version.to_string(), revision.to_string());
        let path = [
            "v1",
            "upgrades",
            &version,
            "revisions",
            &revision,
            "manifest",
        ];
        let response = self
            .send(&OutgoingRequest::get(&path), |request| request)
            .await?;
        let url = response.url().to_string();
        response.text().await.map_err(|error| broken(&url, &error))
    }
}
