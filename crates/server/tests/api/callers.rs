//! Somebody with a key of their own, and how they come in.

use crate::support::{Running, Site, bundle};
use client::{Client, ClientError};
use identity::CredentialFolder;
use model::api::{
    CertifyRequest, EnrolRequest, Enrolled, InviteRequest, NodeIdentity, NodeReport, Principal,
    Role, SyncRequest,
};

/// An hour in milliseconds.
pub(crate) const HOUR_MS: u64 = 3_600_000;

/// Somebody with a key of their own.
pub(crate) struct Caller {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) client: Client,
}

impl Caller {
    /// With this token, and no certificate yet.
    pub(crate) fn new(server: &Running, token: &str) -> Self {
        Self {
            folder: tempfile::tempdir().expect("a folder"),
            client: over_tls(server, Some(token.to_owned())),
        }
    }

    pub(crate) fn own(&self) -> CredentialFolder {
        CredentialFolder::open(self.folder.path()).expect("a key")
    }

    pub(crate) fn request(&self) -> CertifyRequest {
        CertifyRequest {
            certificate_request: self.own().request().expect("signed"),
        }
    }

    /// Shows from now on what was certified.
    pub(crate) fn keep(&self, certificate: &str) {
        let credential = self.own().keep(certificate).expect("of this key");
        self.client.show(Some(credential));
    }

    /// An operator logs in.
    pub(crate) async fn log_in(&self) -> Result<(), ClientError> {
        let certified = self.client.certify(&self.request()).await?;
        self.keep(&certified.certificate);
        self.client.certificate_is_good().await
    }

    /// A node enrols, and shows its certificate from then on.
    pub(crate) async fn enrol(&self, name: &str) -> Result<Enrolled, ClientError> {
        let request = EnrolRequest {
            certificate_request: Some(self.request().certificate_request),
            ..enrolling(name)
        };
        let enrolled = self.client.enrol(&request).await?;
        let certified = enrolled.certified.as_ref().expect("a certificate");
        self.keep(&certified.certificate);
        self.client.certificate_is_good().await?;
        Ok(enrolled)
    }

    pub(crate) async fn tell(
        &self,
        whose: &Enrolled,
        name: &str,
        report: NodeReport,
    ) -> Result<(), ClientError> {
        let request = SyncRequest {
            identity: Some(NodeIdentity {
                system_id: whose.system_id,
                name: name.to_owned(),
            }),
            report: Some(report),
            ..SyncRequest::default()
        };
        self.client.sync(whose.node, &request, None).await.map(drop)
    }
}

pub(crate) fn enrolling(name: &str) -> EnrolRequest {
    EnrolRequest {
        name: name.to_owned(),
        class: "storage".to_owned(),
        host: "host".to_owned(),
        data_directory: format!("/data/{name}"),
        ..EnrolRequest::default()
    }
}

pub(crate) fn over_tls(server: &Running, token: Option<String>) -> Client {
    let url = server.url.replace("http://", "https://");
    Client::new(&[url], token).expect("an address")
}

pub(crate) async fn invited(server: &Running, principal: Principal, role: Option<Role>) -> String {
    let request = InviteRequest {
        principal,
        role,
        networks: Vec::new(),
        valid_ms: HOUR_MS,
    };
    let invited = server.client.invite(&request).await.expect("invited");
    invited.token
}

/// An operator who has logged in.
pub(crate) async fn operator(server: &Running, name: &str, role: Role) -> Caller {
    let token = invited(server, Principal::operator(name), Some(role)).await;
    let caller = Caller::new(server, &token);
    caller.log_in().await.expect("logged in");
    caller
}

/// A node that was invited and has enrolled.
pub(crate) async fn node(server: &Running, name: &str) -> (Caller, Enrolled) {
    let token = invited(server, Principal::node(name), None).await;
    let caller = Caller::new(server, &token);
    let enrolled = caller.enrol(name).await.expect("enrolled");
    (caller, enrolled)
}

/// A server with a system, and its folder.
pub(crate) async fn started() -> (Site, Running) {
    let site = Site::new();
    let server = site.start().await;
    let published = server.publish(&bundle(1, ""), false).await;
    published.expect("published");
    (site, server)
}
