//! Whose keys are certified: invitations, certificates, revocation.

use crate::transport::OutgoingRequest;
use crate::{Client, ClientError};
use model::api::{Certified, CertifyRequest, IdentitiesView, InviteRequest, Invited, Principal};

impl Client {
    /// Everybody whom the servers know by a key, or have invited (`GET /v1/identities`).
    ///
    /// # Errors
    /// As every request.
    pub async fn identities(&self) -> Result<IdentitiesView, ClientError> {
        self.ask(OutgoingRequest::get(&["v1", "identities"])).await
    }

    /// Makes a one-time token (`POST /v1/invitations`).
    ///
    /// # Errors
    /// 403 `/problems/forbidden`: only an admin invites; 422 `/problems/invalid`.
    pub async fn invite(&self, request: &InviteRequest) -> Result<Invited, ClientError> {
        // No key: the token that an answer was lost with is withdrawn by the next.
        let call = OutgoingRequest::new(http::Method::POST, &["v1", "invitations"], false);
        self.tell(call, request).await
    }

    /// Has the own key certified (`POST /v1/certificates`): with a one-time token, or anew with the certificate before.
    ///
    /// # Errors
    /// 401 `/problems/identity-ended`: the key is revoked; 409 `/problems/identity-cloned`: another has a copy of it.
    pub async fn certify(&self, request: &CertifyRequest) -> Result<Certified, ClientError> {
        let call = OutgoingRequest::new(http::Method::POST, &["v1", "certificates"], false);
        self.tell(call, request).await
    }

    /// Asks for something that everybody may ask for whose key is certified, so that the server sees the certificate.
    ///
    /// # Errors
    /// As every request.
    pub async fn certificate_is_good(&self) -> Result<(), ClientError> {
        self.command(OutgoingRequest::get(&["v1", "openapi.json"]))
            .await
    }

    /// Revokes a key, and withdraws invitations of the same name (`DELETE /v1/identities/{principal}`).
    ///
    /// # Errors
    /// 404 `/problems/unknown-identity`; 403 `/problems/forbidden`.
    pub async fn revoke(&self, principal: &Principal) -> Result<(), ClientError> {
        let principal = principal.to_string();
        let path = ["v1", "identities", &principal];
        self.command(OutgoingRequest::delete(&path)).await
    }
}
