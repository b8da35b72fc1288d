//! What agents tell, each of its own node.

super::metrics! {
    /// What an agent tells of its node.
    AGENT_METRICS:
    AGENT_INFO = Gauge "upstart_agent_info" ["node", "class", "system"]
        "Always 1; the labels say which node it is";
    AGENT_VERSION = Gauge "upstart_agent_version" []
        "The version at which the node has settled; 0 before its first start";
    AGENT_STAGED_VERSION = Gauge "upstart_agent_staged_version" []
        "The highest version whose callers the node answers";
    AGENT_TARGET_VERSION = Gauge "upstart_agent_target_version" []
        "The version that the node goes to, or has gone back from; 0 where there is none";
    AGENT_PHASE = Gauge "upstart_agent_phase" ["phase"]
        "1 for what the node does, 0 for the others";
    AGENT_SOFTWARE = Gauge "upstart_agent_software_state" ["state"]
        "1 for the state of the node's software, 0 for the others";
    AGENT_SOFTWARE_STARTS = Counter "upstart_agent_software_starts_total" []
        "How often the agent has started the software";
    AGENT_SOFTWARE_CRASHES = Counter "upstart_agent_software_crashes_total" []
        "How often the software has ended by itself";
    AGENT_CALLS = Counter "upstart_agent_calls_total" ["caller", "software", "kind"]
        "Calls that went through the agent, by the caller's version, the software's, and how: `direct`, or through `past` or `future` adapters";
    AGENT_CALLS_FAILED = Counter "upstart_agent_failed_calls_total" []
        "Calls through adapters that failed as in a crash";
    AGENT_CALLS_REFUSED = Counter "upstart_agent_refused_calls_total" ["reason"]
        "Calls that an adapter has refused, by the kind of reason";
    AGENT_CALLS_HELD = Gauge "upstart_agent_held_calls" []
        "Calls that wait now for an upgrade of the node to let them go on";
    AGENT_CONNECTIONS = Gauge "upstart_agent_connections" ["version"]
        "Open connections in the agent by the version of their label";
    AGENT_RESETS = Counter "upstart_agent_resets_total" ["reason"]
        "Connections that the agent has reset, by why: the list is in the guide `Operating`";
    AGENT_HOOKS = Counter "upstart_agent_hooks_total" ["event"]
        "What the preloaded library has counted in the software, by the counter's name";
    AGENT_UNAVAILABLE = Counter "upstart_agent_unavailable_seconds_total" ["version"]
        "How long calls were held for upgrades to a version";
    AGENT_RELEASE = Counter "upstart_agent_release_seconds_total" ["version"]
        "How much of that the release took, which waits for nothing but the disk and the server";
    AGENT_TRANSFORMS = Counter "upstart_agent_transforms_total" []
        "How often the state was transformed, failures included";
    AGENT_TRANSFORM_SECONDS = Counter "upstart_agent_transform_seconds_total" []
        "How long transforms took, with the copying of the state";
    AGENT_EVENTS = Counter "upstart_agent_events_total" ["kind", "severity"]
        "What the node has told the history, by its name and its severity";
    AGENT_PROGRESS_DONE = Gauge "upstart_agent_progress_done_bytes" []
        "How far the present fetch or copy has come; 0 while there is none";
    AGENT_PROGRESS_TOTAL = Gauge "upstart_agent_progress_total_bytes" []
        "How much the present fetch or copy is; 0 while there is none";
    AGENT_DISK_FREE = Gauge "upstart_agent_disk_free_bytes" []
        "Room on the disk of the node's data directory";
    AGENT_DISK_SIZE = Gauge "upstart_agent_disk_size_bytes" []
        "Size of the disk of the node's data directory";
    AGENT_SERVER_REACHABLE = Gauge "upstart_agent_server_reachable" []
        "1 if a server has answered the agent's last question, else 0";
    AGENT_SERVER_HEARD = Gauge "upstart_agent_server_heard_timestamp_seconds" []
        "When a server has answered last, in seconds since 1970; 0 before the first answer";
    AGENT_DISTRUSTS = Gauge "upstart_agent_distrusts_server" []
        "1 while the node takes nothing new, since it is not signed as the system's publishers sign, else 0";
    AGENT_CERTIFICATE_EXPIRY = Gauge "upstart_agent_certificate_expiry_timestamp_seconds" []
        "When the node's certificate ends, in seconds since 1970; missing where it has none";
}
