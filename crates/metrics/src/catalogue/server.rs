//! What servers tell. No label is a node's name: there are as many series for many nodes as for few.

super::metrics! {
    /// What an upgrade server tells.
    SERVER_METRICS:
    NODES = Gauge "upstart_nodes" ["class", "version", "phase"]
        "Nodes by class, by the version at which they have settled (0 before the first), and by what they do";
    NODES_UNREACHABLE = Gauge "upstart_nodes_unreachable" ["class"]
        "Nodes that the server has not heard for longer than they may be silent";
    NODES_FAILING = Gauge "upstart_nodes_failing" ["class", "state"]
        "Nodes that are heard and whose software has ended by itself (`crashed`), or does not answer (`silent`)";
    NODES_WAITING = Gauge "upstart_nodes_waiting" ["reason"]
        "Nodes that have staged their next version and wait, by the code of the reason, else `other`; one may have several";
    NODES_BEHIND = Gauge "upstart_nodes_behind" []
        "Nodes that have settled at an older version than the newest, or at none";
    NODES_DISAGREEING = Gauge "upstart_nodes_disagreeing" []
        "Nodes that run what is not published here, or is published here with other contents";
    NODES_REVOKED = Gauge "upstart_nodes_revoked" []
        "Nodes whose key is revoked: they serve on, and hear of nothing";
    NODES_CLOCK_OFF = Gauge "upstart_nodes_clock_off" []
        "Nodes whose clock is more than two minutes from the server's, as far as they tell: signed labels need clocks that agree";
    PERMITS_HELD = Gauge "upstart_permits_held" []
        "Permits to be unavailable that nodes hold now";
    PERMITS_WANTED = Gauge "upstart_permits_wanted" []
        "Nodes that wait in line for a permit";
    FLEET_CALLS = Counter "upstart_fleet_calls_total" ["kind"]
        "What became of calls between versions at all nodes, as they report it: `past` and `future` went through adapters, `refused`, `failed`, and connections that were `reset`";
    NEWEST_VERSION = Gauge "upstart_newest_version" []
        "The newest version that is published and not withdrawn";
    PUBLIC_VERSION = Gauge "upstart_public_version" ["service"]
        "The public version of a service (`class/service`)";
    RETIRING_THROUGH = Gauge "upstart_retiring_through_version" []
        "Versions up to this one are being retired";
    RETIRED_THROUGH = Gauge "upstart_retired_through_version" []
        "Versions up to this one are retired";
    PAUSED = Gauge "upstart_paused" []
        "1 while the system is paused, else 0";
    LABELS_MODE = Gauge "upstart_labels_mode" ["mode"]
        "1 for what the system does about signed labels (`off`, `sign`, `demand`), 0 for the others";
    LABELS_AWAITED = Gauge "upstart_labels_awaited_nodes" []
        "Nodes that have not acknowledged the last step about signed labels";
    EVENTS = Counter "upstart_events_total" ["kind", "severity"]
        "Entries that this server has added to the history, by their name, else `other`, and by their severity";
    HTTP_REQUESTS = Counter "upstart_http_requests_total" ["route", "method", "status"]
        "Requests answered, by route, method, and class of the answer's status";
    HTTP_DURATION = Histogram "upstart_http_request_duration_seconds" ["route", "method"]
        "How long requests took until their answer began; routes on which callers wait for news take as long as they wait";
    CONNECTIONS_OPEN = Gauge "upstart_http_connections" []
        "Open connections of callers";
    STREAMS_OPEN = Gauge "upstart_streams" ["kind"]
        "Open streams of events: of programs (`events`), and of browsers that show the page (`page`)";
    STATE_BATCHES = Counter "upstart_state_batches_total" []
        "Batches of orders that the state writer has decided";
    STATE_ORDERS = Counter "upstart_state_orders_total" []
        "Orders in these batches";
    STATE_BATCH_DURATION = Histogram "upstart_state_batch_duration_seconds" []
        "How long the state writer took for a batch, commits included";
    DATABASE_COMMITS = Counter "upstart_database_commits_total" ["outcome"]
        "Commits to the upgrade database: `done`, `conflict` (another server was faster, and it is decided again), `full` (its disk), `failed`";
    DATABASE_COMMIT_DURATION = Histogram "upstart_database_commit_duration_seconds" []
        "How long commits to the upgrade database took";
    DATABASE_IN_TROUBLE = Gauge "upstart_database_in_trouble" []
        "1 while the upgrade database stores nothing, else 0";
    ARTIFACT_SENT_BYTES = Counter "upstart_artifact_sent_bytes_total" []
        "Bytes of artifacts that were sent";
    ARTIFACT_RECEIVED_BYTES = Counter "upstart_artifact_received_bytes_total" []
        "Bytes of artifacts that were uploaded";
    REPOSITORY_DAMAGED = Gauge "upstart_repository_damaged_files" []
        "Files of published versions that the repository lacks: nodes that need them wait";
    METADATA_EXPIRY = Gauge "upstart_metadata_expiry_timestamp_seconds" ["role"]
        "When a role's signed metadata ends, in seconds since 1970; nodes take nothing new after";
}
