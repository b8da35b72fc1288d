//! Webhooks: who is sent the history.

use crate::transport::OutgoingRequest;
use crate::{Client, ClientError};
use model::api::{WebhookRequest, WebhookTried, WebhooksView};

impl Client {
    /// Every webhook, what it does and how far it has come (`GET /v1/webhooks`).
    ///
    /// # Errors
    /// As every request.
    pub async fn webhooks(&self) -> Result<WebhooksView, ClientError> {
        self.ask(OutgoingRequest::get(&["v1", "webhooks"])).await
    }

    /// Sets a webhook up, or changes it (`PUT /v1/webhooks/{name}`).
    ///
    /// # Errors
    /// 422 `/problems/invalid`: a setting is of no use; the detail says which. 403 `/problems/forbidden`: only an admin may.
    pub async fn set_webhook(
        &self,
        name: &str,
        request: &WebhookRequest,
    ) -> Result<(), ClientError> {
        let path = ["v1", "webhooks", name];
        let call = OutgoingRequest::put(&path);
        self.send(&call, |sent| sent.json(request)).await.map(drop)
    }

    /// Removes a webhook (`DELETE /v1/webhooks/{name}`).
    ///
    /// # Errors
    /// 404 `/problems/unknown-webhook`.
    pub async fn remove_webhook(&self, name: &str) -> Result<(), ClientError> {
        self.command(OutgoingRequest::delete(&["v1", "webhooks", name]))
            .await
    }

    /// Sends a test event, and waits for what the receiver answers (`POST /v1/webhooks/{name}/test`).
    ///
    /// # Errors
    /// 404 `/problems/unknown-webhook`.
    pub async fn test_webhook(&self, name: &str) -> Result<WebhookTried, ClientError> {
        let path = ["v1", "webhooks", name, "test"];
        self.ask(OutgoingRequest::new(http::Method::POST, &path, false))
            .await
    }

    /// Has a receiver tried at once that has failed, or was gone (`POST /v1/webhooks/{name}/retry`).
    ///
    /// # Errors
    /// 404 `/problems/unknown-webhook`.
    pub async fn retry_webhook(&self, name: &str) -> Result<(), ClientError> {
        let path = ["v1", "webhooks", name, "retry"];
        self.command(OutgoingRequest::post(&path)).await
    }
}
