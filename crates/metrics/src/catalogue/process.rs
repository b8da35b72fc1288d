//! What servers and agents tell alike.

super::metrics! {
    /// What servers and agents tell alike, of their own process.
    PROCESS_METRICS:
    BUILD_INFO = Gauge "upstart_build_info" ["version"]
        "Always 1; the label says which version of Upstart runs";
    PROCESS_CPU_SECONDS = Counter "process_cpu_seconds_total" []
        "Processor time of the process, in user and system mode";
    PROCESS_START_TIME = Gauge "process_start_time_seconds" []
        "When the process was started, in seconds since 1970";
    PROCESS_RESIDENT_BYTES = Gauge "process_resident_memory_bytes" []
        "Memory of the process that is in RAM";
    PROCESS_OPEN_FDS = Gauge "process_open_fds" []
        "Open files and connections of the process";
    PROCESS_MAX_FDS = Gauge "process_max_fds" []
        "How many open files and connections the process may have";
}
