//! Every metric, declared once: name, type, labels, help. [cold]

/// How a family is read.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Kind {
    /// Only grows.
    Counter,
    /// Rises and falls.
    Gauge,
    /// Cumulated buckets.
    Histogram,
}

impl Kind {
    /// The word of the TYPE line.
    pub fn label(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// One metric.
#[derive(Clone, Copy, Debug)]
pub struct Family {
    /// Without the prefix.
    pub name: &'static str,
    /// One sentence.
    pub help: &'static str,
    /// How to read it.
    pub kind: Kind,
    /// Label names, as the documentation lists them; D is the detailed set.
    pub labels: &'static str,
    /// A name of Prometheus' own conventions, which carries no prefix.
    pub standard: bool,
}

macro_rules! families {
    ($($id:ident $kind:ident $name:literal [$labels:literal] $help:literal;)*) => {
        $(
            #[doc = $help]
            pub const $id: Family = Family {
                name: $name,
                help: $help,
                kind: Kind::$kind,
                labels: $labels,
                standard: is_standard($name),
            };
        )*
        /// All families, in the order of their declaration.
        pub const ALL: &[Family] = &[$($id),*];
    };
}

/// Whether a name belongs to Prometheus' own conventions: `process_…`.
const fn is_standard(name: &str) -> bool {
    matches!(
        name.as_bytes(),
        [b'p', b'r', b'o', b'c', b'e', b's', b's', b'_', ..]
    )
}

families! {
    REQUESTS Counter "requests_total" ["provider, model, status, outcome"] "Finished requests.";
    REQUEST_DURATION Histogram "request_duration_seconds" ["provider, model, status"] "Time to the response head.";
    PROXY_REQUESTS Counter "proxy_requests_total" ["D, stream, is_fallback, status, outcome"] "Finished authenticated requests of every endpoint.";
    PROXY_FAILED Counter "proxy_failed_requests_total" ["D, stream, is_fallback, status, outcome"] "Those whose outcome is not success.";
    PROXY_DURATION Histogram "proxy_request_duration_seconds" ["D, stream, status, outcome"] "Time to the response head, every endpoint.";
    LLM_REQUESTS Counter "llm_requests_total" ["D, stream, is_fallback, status, outcome"] "Finished authenticated requests of LLM endpoints.";
    LLM_DURATION Histogram "llm_request_duration_seconds" ["D, stream, status, outcome"] "Time to the response head, LLM endpoints.";
    E2E Histogram "request_e2e_latency_seconds" ["env_id, endpoint, model, provider, status_class, streaming"] "Time until an answer was delivered completely.";
    TTFT Histogram "request_ttft_seconds" ["env_id, endpoint, model, provider, status_class, streaming"] "Time to the first content event of a stream.";
    LLM_TTFT Histogram "llm_time_to_first_token_seconds" ["D"] "Time to the first token of chat and messages streams.";
    IN_FLIGHT Gauge "proxy_in_flight_requests" ["endpoint, inbound_protocol"] "Requests being served.";
    CANCELLED Counter "proxy_client_cancelled_requests_total" ["endpoint, model, provider_key_id, provider_key_name"] "Callers that left before the response head.";
    BODY_LIMIT Counter "proxy_request_body_limit_rejections_total" ["endpoint, inbound_protocol, outcome"] "Requests refused for the length of their body.";
    TOKENS Counter "tokens_consumed_total" ["provider, model"] "Input and output tokens.";
    INPUT_TOKENS Counter "llm_input_tokens_total" ["D"] "Input tokens.";
    OUTPUT_TOKENS Counter "llm_output_tokens_total" ["D"] "Output tokens.";
    TOTAL_TOKENS Counter "llm_total_tokens_total" ["D"] "Total tokens as reported.";
    SPEND Counter "llm_spend_micro_usd_total" ["D"] "Cost in millionths of a US dollar.";
    ESTIMATED Counter "llm_estimated_tokens_total" [""] "Tokens counted by estimate because nobody reported them.";
    DEPLOYMENT_REQUESTS Counter "deployment_requests_total" ["provider, model, upstream_model, provider_key_id"] "Upstream attempts.";
    DEPLOYMENT_SUCCESS Counter "deployment_success_responses_total" ["provider, model, upstream_model, provider_key_id"] "Upstream attempts that succeeded.";
    DEPLOYMENT_FAILURE Counter "deployment_failure_responses_total" ["provider, model, upstream_model, provider_key_id"] "Upstream attempts that failed.";
    DEPLOYMENT_COOLED Counter "deployment_cooled_down_total" ["provider, model, upstream_model, provider_key_id"] "Cooldowns begun.";
    DEPLOYMENT_STATE Gauge "deployment_state" ["provider, model, upstream_model, provider_key_id"] "0: healthy; 1: degraded, four failures in a row; 2: down, eight, or its last background check failed.";
    FALLBACKS_SERVED Counter "routing_successful_fallbacks_total" ["model, fallback_model"] "Requests served on a target other than the first.";
    FALLBACKS_FAILED Counter "routing_failed_fallbacks_total" ["model, fallback_model"] "Requests that failed on a target other than the first.";
    RESCUED Counter "routing_rescued_streams_total" ["model, failed_model"] "Streams served by another target after one had failed within its hold-back window.";
    HEDGES_STARTED Counter "routing_hedges_started_total" ["model"] "Streams for which a second target was asked beside a slow one.";
    HEDGES_WON Counter "routing_hedges_won_total" ["model"] "Those of which the second target was the first to say something.";
    HEDGES_REFUSED Counter "routing_hedges_refused_total" ["model"] "Slow streams for which none was asked, because the group's share of hedges was used up.";
    LIMITED Counter "ratelimit_rejections_total" ["scope, layer, policy_id"] "Requests that a limit refused.";
    AUTH Counter "auth_decisions_total" ["method, result, reason"] "Decisions of authentication.";
    USAGE_EVENTS Counter "usage_events_emitted_total" ["handler, status_code, inbound_protocol, model, provider_key_id, provider_key_name"] "Usage events.";
    CONFIG_LAST_OK Gauge "config_last_reload_successful" [""] "Whether the last load was without complaint.";
    CONFIG_LAST_OK_AT Gauge "config_last_reload_success_timestamp_seconds" [""] "When the last load without complaint was.";
    CONFIG_RELOADS Counter "config_reloads_total" [""] "Loads, failed ones included.";
    CONFIG_FAILURES Counter "config_reload_failures_total" ["reason"] "Failed loads.";
    CONFIG_REJECTED Gauge "config_rejected_resources" ["kind"] "Resources refused in the current configuration.";
    CONFIG_PARTIAL Gauge "config_partially_compatible_resources" ["kind"] "Resources with fields this version does not know.";
    CONFIG_STALE Gauge "config_stale_served_resources" ["kind"] "Resources served in an older version.";
    CONFIG_RESOURCES Gauge "config_resources" ["kind"] "Resources served.";
    CONFIG_HASH Gauge "config_hash_info" ["hash"] "Hash of the configuration served.";
    CONFIG_CONNECTED Gauge "config_source_connected" [""] "Whether the configuration store answers.";
    CONFIG_OBSERVED_REVISION Gauge "config_observed_revision" [""] "Revision of the store last seen.";
    CONFIG_APPLIED_REVISION Gauge "config_applied_revision" [""] "Revision of the store that is served.";
    CONFIG_CONFIRMED_AT Gauge "config_source_confirmed_timestamp_seconds" [""] "When the store last confirmed that nothing else changed.";
    CONFIG_RESYNCS Counter "config_resyncs_total" [""] "Times the whole store was read again.";
    CONFIG_WATCH_LOSSES Counter "config_watch_losses_total" [""] "Times the store was lost.";
    CONFIG_PROPAGATION Histogram "config_propagation_seconds" [""] "Time from the arrival of a change to its use by new requests.";
    CORE_BUSY Gauge "runtime_core_busy_ratio" ["core"] "Share of CPU time a worker used, 0 to 1.";
    CORE_CONNECTIONS Gauge "runtime_core_connections" ["core, side"] "Open connections.";
    CONNECTIONS_OPENED Counter "runtime_core_connections_opened_total" ["core, side"] "Connections opened.";
    UPSTREAM_REUSED Counter "runtime_core_upstream_reused_total" ["core"] "Upstream requests sent on a pooled connection.";
    ADMISSION_REFUSED Counter "admission_refusals_total" ["reason"] "Requests and connections answered 503 for want of room.";
    ADMISSION_UNANSWERED Counter "admission_unanswered_total" [""] "Connections closed without an answer for the same reason.";
    MEMORY_USED Gauge "memory_used_bytes" [""] "Memory in use at the last measurement.";
    MEMORY_MARK Gauge "memory_mark_bytes" [""] "Above it nothing more is taken in.";
    MEMORY_LIMIT Gauge "memory_limit_bytes" [""] "Memory that the process may have.";
    MEMORY_HIGH Gauge "memory_above_mark" [""] "Whether memory is above its mark.";
    MEMORY_CROSSINGS Counter "memory_mark_crossings_total" [""] "Times that memory rose above its mark.";
    BODIES_HELD Gauge "bodies_held_bytes" [""] "Bodies held whole, of requests and answers beyond 16 KiB each.";
    BODIES_MAX Gauge "bodies_max_bytes" [""] "The most of them that may be held.";
    CORE_LAST_TURN Gauge "runtime_core_last_turn_timestamp_seconds" ["core"] "Last turn of a worker's loop.";
    CORE_LONGEST_STALL Gauge "runtime_core_longest_stall_seconds" ["core"] "Longest delay of a turn since the start.";
    CORE_SLOW_TURNS Counter "runtime_core_slow_turns_total" ["core, over"] "Turns later than a limit.";
    CORE_PANICS Counter "runtime_core_panics_total" ["core"] "Panics caught.";
    CORE_EVENTS Counter "runtime_core_stream_events_total" ["core"] "Stream events relayed.";
    CORE_KEEP_ALIVES Counter "runtime_core_keep_alive_comments_total" ["core"] "Comments sent to keep a silent stream open.";
    CORE_DROPPED Counter "runtime_core_dropped_total" ["core, queue"] "Messages dropped because a queue was full.";
    CORE_OVERFLOW Counter "runtime_core_series_overflow_total" ["core"] "Label sets counted as other because of the cap.";
    TLS_HANDSHAKES Counter "tls_handshakes_total" ["listener, version, resumed"] "TLS handshakes done.";
    TLS_FAILURES Counter "tls_handshake_failures_total" ["listener, reason"] "TLS handshakes that failed.";
    TLS_NOT_AFTER Gauge "tls_certificate_not_after_seconds" ["listener, sni"] "When the certificate for a name expires, Unix time.";
    TLS_RELOADS Counter "tls_certificate_reloads_total" ["listener, result"] "Changed certificate files taken or refused.";
    UPSTREAM_UNVERIFIED Gauge "upstream_tls_unverified" ["scope"] "Settings that accept any certificate of upstreams: the deployment's, and provider keys.";
    UPSTREAM_RELOADS Counter "upstream_tls_reloads_total" ["result"] "Changed files of trust in upstreams taken or refused.";
    IO_ENGINE Gauge "runtime_io_engine_info" ["engine"] "The I/O engine of the workers.";
    BUILD Gauge "build_info" ["version, commit"] "What is running.";
    PROCESS_CPU Counter "process_cpu_seconds_total" [""] "User and system CPU time.";
    PROCESS_RSS Gauge "process_resident_memory_bytes" [""] "Resident memory.";
    PROCESS_VIRTUAL Gauge "process_virtual_memory_bytes" [""] "Virtual memory.";
    PROCESS_START Gauge "process_start_time_seconds" [""] "Start of the process.";
    PROCESS_THREADS Gauge "process_threads" [""] "Threads.";
    PROCESS_FDS Gauge "process_open_fds" [""] "Open file descriptors.";
    PROCESS_FDS_MAX Gauge "process_max_fds" [""] "Limit of open file descriptors.";
    TOKENS_BY_CLIENT Counter "llm_tokens_by_client_total" ["client_type, model, token_type"] "Tokens by kind of client.";
    SCRAPES Counter "scrapes_total" [""] "Scrapes answered.";
    SCRAPE_DURATION Histogram "scrape_duration_seconds" [""] "Time to render a scrape.";
    DNS_LOOKUPS Counter "dns_lookups_total" ["result"] "Names looked up.";
    DNS_DURATION Histogram "dns_lookup_duration_seconds" [""] "Time of a lookup.";
    LOG_DROPPED Counter "log_dropped_total" ["log"] "Log writes lost: queue full or write error.";
    MODEL_CHECKS Counter "model_checks_total" ["model, result"] "Background checks of models.";
    MODEL_CHECK_DURATION Histogram "model_check_duration_seconds" [""] "Time of a background check.";
    REDIS_FAILURES Counter "redis_failures_total" ["operation"] "Commands that redis failed or answered too late, and tries to reach it.";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_follow_the_conventions() {
        let mut seen = std::collections::HashSet::new();
        for family in ALL {
            assert!(seen.insert(family.name), "{} twice", family.name);
            assert_eq!(
                family.kind == Kind::Counter,
                family.name.ends_with("_total"),
                "{}",
                family.name
            );
            let word = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_';
            assert!(family.name.bytes().all(word), "{}", family.name);
            assert!(family.help.ends_with('.') && !family.help.contains('\n'));
        }
    }
}
