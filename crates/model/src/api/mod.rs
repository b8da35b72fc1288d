//! What agents, operators and the server say to each other under `/v1`: plain data, JSON on the wire.
//!
//! All times are milliseconds since the Unix epoch by the server's clock; all durations are milliseconds.

mod disagreement;
mod event_kind;
mod event_severity;
mod history;
mod identity;
mod labels;
mod members;
mod moment;
mod node;
mod once;
mod operator;
mod permits;
mod problem;
mod sources;
mod view;
mod wait_code;
mod webhooks;

pub use disagreement::{Disagreement, HeldUpgrade, disagreement, replaced};
pub use event_kind::EventKind;
pub use event_severity::EventSeverity;
pub use history::{Event, NewEvent, Page};
pub use identity::{
    Certified, CertifyRequest, IdentitiesView, IdentityFact, InvitationFact, InviteRequest,
    Invited, Principal, PrincipalKind, Right, Role,
};
pub use labels::{
    ClockOff, LabelMode, LabelOrder, LabelSecret, LabelsAction, LabelsFact, LabelsHeld,
    LabelsRequest, LabelsView,
};
pub use members::{Behind, Listed, Member, MembersRequest, MembersResponse};
pub use moment::{Moment, RememberedSystem};
pub use node::{
    ChildState, EVENTS_PER_SYNC_MAX, Endpoint, EnrolRequest, Enrolled, NodeIdentity, NodeReport,
    NodeStatus, Phase, Progress, REPORT_ENTRIES_MAX, SyncNumber, SyncRequest, SyncResponse,
    TEXT_BYTES_MAX, told,
};
pub use once::{OnceEnded, OnceFact, OnceOrder, OnceState};
pub use operator::{
    ApproveRequest, BeginRepositoryRequest, PageLink, PauseRequest, PublicRequest, PublishRequest,
    RepositoryView, RetireRequest, Retirement, SealedRequest, SignRequest, SignedSystem,
    WithdrawRequest,
};
pub use permits::{AHEAD_MAX, VerdictAnswer, VerdictRequest, WaitCause};
pub use problem::Problem;
pub use sources::{FAILED_MAX, NodeSource, SITE, SourceAnswer, SourceRequest};
pub use view::{
    Approval, DisagreeingNode, FleetStanding, FleetView, NodeFact, NodeView, Pause, PermitFact,
    SystemView, UpgradeSummary,
};
pub use wait_code::WaitCode;
pub use webhooks::{
    MailAddresses, WAITING_MAX, WebhookFilter, WebhookFormat, WebhookRequest, WebhookSecret,
    WebhookStart, WebhookState, WebhookTried, WebhookView, WebhooksView,
};
