//! The closed sets of label values. [bridge]

/// One route template with the protocol it speaks.
#[derive(Clone, Copy, Debug)]
pub struct EndpointLabels {
    /// Value of `endpoint`.
    pub endpoint: &'static str,
    /// Value of `inbound_protocol`.
    pub inbound_protocol: &'static str,
    /// Whether the `llm_*` families count it.
    pub llm: bool,
}

const fn row(endpoint: &'static str, inbound_protocol: &'static str, llm: bool) -> EndpointLabels {
    EndpointLabels {
        endpoint,
        inbound_protocol,
        llm,
    }
}

/// The endpoints this gateway serves; the last one stands for every other.
pub const ENDPOINTS: [EndpointLabels; 9] = [
    row("/v1/chat/completions", "openai", true),
    row("/v1/completions", "openai", true),
    row("/v1/embeddings", "openai", true),
    row("/v1/messages", "anthropic", true),
    row("/v1/messages/count_tokens", "anthropic", true),
    row("/v1/responses", "openai", true),
    row("/v1/models", "openai", false),
    row("/passthrough_route", "passthrough", false),
    row("other", "openai", false),
];

/// Position of `endpoint` in [`ENDPOINTS`]; unknown ones share the last.
pub fn endpoint_slot(endpoint: &str) -> usize {
    let last = ENDPOINTS.len() - 1;
    ENDPOINTS
        .iter()
        .position(|known| known.endpoint == endpoint)
        .unwrap_or(last)
}

/// Whether `endpoint` streams answers whose first token is timed (observability.md §3.1).
pub fn times_first_token(endpoint: &str) -> bool {
    matches!(endpoint, "/v1/chat/completions" | "/v1/messages")
}

/// Value of `outcome` for a status.
pub fn outcome(status: u16) -> &'static str {
    match status {
        200..=399 => "success",
        429 => "rate_limited",
        400..=499 => "client_error",
        _ => "upstream_error",
    }
}

/// Value of `status_class` for a status.
pub fn status_class(status: u16) -> &'static str {
    match status / 100 {
        1 => "1xx",
        2 => "2xx",
        3 => "3xx",
        4 => "4xx",
        _ => "5xx",
    }
}

/// One end of the gateway's connections.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Side {
    /// Those who call us.
    Downstream,
    /// Those we call.
    Upstream,
}

impl Side {
    /// Both, in the order of their discriminants.
    pub const ALL: [Self; 2] = [Self::Downstream, Self::Upstream];

    /// Value of `side`.
    pub fn label(self) -> &'static str {
        match self {
            Self::Downstream => "downstream",
            Self::Upstream => "upstream",
        }
    }
}

/// What authentication decided about one request.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum AuthDecision {
    /// A known, enabled key within its time.
    ApiKeyAllowed,
    /// No such key.
    ApiKeyUnknown,
    /// The key is switched off.
    ApiKeyDisabled,
    /// The key's time is over.
    ApiKeyExpired,
    /// No credential was presented.
    MissingCredentials,
    /// The key that an anonymous route runs as may be used.
    AnonymousAllowed,
    /// An anonymous route is not for that address.
    SourceNotAllowed,
    /// The key that an anonymous route runs as is not there.
    PrincipalMissing,
    /// That key is switched off.
    PrincipalDisabled,
    /// That key's time is over.
    PrincipalExpired,
}

impl AuthDecision {
    /// All, in the order of their discriminants.
    pub const ALL: [Self; 10] = [
        Self::ApiKeyAllowed,
        Self::ApiKeyUnknown,
        Self::ApiKeyDisabled,
        Self::ApiKeyExpired,
        Self::MissingCredentials,
        Self::AnonymousAllowed,
        Self::SourceNotAllowed,
        Self::PrincipalMissing,
        Self::PrincipalDisabled,
        Self::PrincipalExpired,
    ];

    /// Values of `method`, `result` and `reason`.
    pub fn labels(self) -> (&'static str, &'static str, &'static str) {
        match self {
            Self::ApiKeyAllowed => ("api_key", "allowed", "none"),
            Self::ApiKeyUnknown => ("api_key", "denied", "unknown_key"),
            Self::ApiKeyDisabled => ("api_key", "denied", "key_disabled"),
            Self::ApiKeyExpired => ("api_key", "denied", "key_expired"),
            Self::MissingCredentials => ("none", "denied", "missing_credentials"),
            Self::AnonymousAllowed => ("anonymous", "allowed", "none"),
            Self::SourceNotAllowed => ("anonymous", "denied", "source_not_allowed"),
            Self::PrincipalMissing => ("anonymous", "denied", "principal_missing"),
            Self::PrincipalDisabled => ("anonymous", "denied", "principal_disabled"),
            Self::PrincipalExpired => ("anonymous", "denied", "principal_expired"),
        }
    }
}

/// What there is no more of when a request or a connection is refused.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Overload {
    /// Connections of the worker.
    Connections,
    /// Requests in flight on the worker.
    Requests,
    /// Memory below its mark.
    Memory,
    /// Room for bodies that are held whole.
    Bodies,
}

impl Overload {
    /// All, in the order of their discriminants.
    pub const ALL: [Self; 4] = [
        Self::Connections,
        Self::Requests,
        Self::Memory,
        Self::Bodies,
    ];

    /// Value of `reason`.
    pub fn label(self) -> &'static str {
        match self {
            Self::Connections => "connections",
            Self::Requests => "requests",
            Self::Memory => "memory",
            Self::Bodies => "bodies",
        }
    }

    /// The setting that bounds it, for the log.
    pub fn setting(self) -> &'static str {
        match self {
            Self::Connections => "proxy.max_connections_per_worker",
            Self::Requests => "proxy.max_requests_per_worker",
            Self::Memory => "proxy.memory.high_percent",
            Self::Bodies => "proxy.memory.bodies_bytes",
        }
    }
}

/// What became of the body of a request refused for its length.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum BodyLimitOutcome {
    /// The rest was read and dropped.
    Completed,
    /// More than the gateway is willing to read and drop.
    CapReached,
    /// The caller sent too slowly.
    Timeout,
    /// Reading failed.
    ClientReadError,
}

impl BodyLimitOutcome {
    /// All, in the order of their discriminants.
    pub const ALL: [Self; 4] = [
        Self::Completed,
        Self::CapReached,
        Self::Timeout,
        Self::ClientReadError,
    ];

    /// Value of `outcome`.
    pub fn label(self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::CapReached => "cap_reached",
            Self::Timeout => "timeout",
            Self::ClientReadError => "client_read_error",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outcomes_follow_the_status() {
        let cases = [
            (200, "success", "2xx"),
            (302, "success", "3xx"),
            (400, "client_error", "4xx"),
            (429, "rate_limited", "4xx"),
            (499, "client_error", "4xx"),
            (500, "upstream_error", "5xx"),
            (504, "upstream_error", "5xx"),
            (0, "upstream_error", "5xx"),
        ];
        for (status, want, class) in cases {
            assert_eq!(outcome(status), want, "{status}");
            assert_eq!(status_class(status), class, "{status}");
        }
    }

    #[test]
    fn tables_are_indexed_by_discriminant() {
        for (at, side) in Side::ALL.into_iter().enumerate() {
            assert_eq!(side as usize, at);
        }
        for (at, decision) in AuthDecision::ALL.into_iter().enumerate() {
            assert_eq!(decision as usize, at);
            let (_, result, reason) = decision.labels();
            assert_eq!(result == "allowed", reason == "none");
        }
        for (at, overload) in Overload::ALL.into_iter().enumerate() {
            assert_eq!(overload as usize, at);
        }
        for (at, outcome) in BodyLimitOutcome::ALL.into_iter().enumerate() {
            assert_eq!(outcome as usize, at);
        }
    }

    #[test]
    fn unknown_endpoints_share_the_last_slot() {
        assert_eq!(
            ENDPOINTS[endpoint_slot("/v1/embeddings")].endpoint,
            "/v1/embeddings"
        );
        assert_eq!(ENDPOINTS[endpoint_slot("/v1/evil")].endpoint, "other");
    }
}
