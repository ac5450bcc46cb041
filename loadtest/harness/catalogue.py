"""The figures that a scenario may name: what each is called in a table, and in which unit it is shown."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Figure:
    title: str
    unit: str
    # What a value as measured is multiplied with to be in that unit.
    factor: float = 1.0


def _latencies(name, title):
    shares = {"p50": "p50", "p90": "p90", "p99": "p99", "p99.9": "p99.9", "max": "longest"}
    return {f"{name}_{share}_us": Figure(f"{title}, {label}", "us") for share, label in shares.items()}


FIGURES = {
    "cpu_us_per_request": Figure("CPU per request", "us"),
    # Milliseconds for a thousand are microseconds for one.
    "cpu_ms_per_1000_events": Figure("CPU per 1,000 events", "ms"),
    "cpu_share": Figure("CPU", "% of one", 100),
    "client_cpu_share": Figure("CPU of client and mock", "% of one", 100),
    "others_cpu_share": Figure("CPU of everything else on the host", "% of one", 100),
    "requests_per_s": Figure("requests", "/s"),
    "events_per_s": Figure("events", "/s"),
    "requests": Figure("requests that came to their end", ""),
    "errors": Figure("requests that failed", ""),
    "events_lost": Figure("events lost", ""),
    "events_reordered": Figure("events reordered", ""),
    "events_duplicated": Figure("events sent twice", ""),
    "streams_open": Figure("streams open at the end", ""),
    "connections_open": Figure("connections open", ""),
    **_latencies("latency", "time per request"),
    **_latencies("latency_added", "time per request beyond the floor's"),
    **_latencies("ttft", "time to the first event"),
    **_latencies("event_gap", "gap between events"),
    **_latencies("event_added", "added time per event"),
    "syscalls_per_request": Figure("system calls per request", ""),
    "syscalls_per_1000_events": Figure("system calls per 1,000 events", ""),
    "rss_idle_kib": Figure("memory after the start", "MiB", 1 / 1024),
    "rss_peak_kib": Figure("memory at most", "MiB", 1 / 1024),
    "rss_after_kib": Figure("memory after each window", "MiB", 1 / 1024),
    "rss_kib_per_stream": Figure("memory per open stream", "KiB"),
    "rss_kib_per_connection": Figure("memory per idle connection", "KiB"),
    "rss_in_use_kib": Figure("memory in use, before", "MiB", 1 / 1024),
    "rss_settled_kib": Figure("memory afterwards", "MiB", 1 / 1024),
    "rss_settled_to_before": Figure("memory afterwards to before", "x"),
    "rss_settled_to_idle": Figure("memory afterwards to that after the start", "x"),
    "propagation_p99_s": Figure("change visible in the gateway, p99 at most", "ms", 1000),
    "changes_per_s": Figure("changes of the configuration", "/s"),
    "cpu_churn_to_neighbour": Figure("CPU per request with changes, to the same writing next door", "x"),
}

# Counts of what went wrong: not how many in the median, but at worst.
WORST = {"errors", "events_lost", "events_reordered", "events_duplicated", "rss_idle_kib", "rss_settled_to_before",
         "propagation_p99_s"}
# How these stand to nginx's says nothing.
WITHOUT_RATIO = {"errors", "events_lost", "events_reordered", "events_duplicated", "streams_open", "connections_open",
                 "requests", "client_cpu_share", "others_cpu_share", "rss_settled_to_before", "rss_settled_to_idle", "events_per_s",
                 "event_gap_p50_us", "changes_per_s", "propagation_p99_s"}
