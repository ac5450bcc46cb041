"""Charts as SVG, to be put into a page. A chart without figures is none."""

import io

import matplotlib

matplotlib.use("svg")
# Text stays text, and the same figures give the same bytes.
matplotlib.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "sluice", "font.size": 10, "axes.grid": True,
                            "grid.alpha": 0.3, "axes.spines.top": False, "axes.spines.right": False})

from matplotlib import pyplot, ticker  # noqa: E402

COLOURS = {"floor": "#9e9e9e", "nginx": "#2e7d32", "sluice": "#1565c0", "epoll": "#8e24aa", "direct": "#1565c0",
           "policy": "#ef6c00", "relayed": "#1565c0", "translated": "#ef6c00"}
WIDTH, HEIGHT = 6.4, 3.4


class Plain(ticker.LogFormatter):
    """Labels where a logarithmic axis has room for them, written out."""

    def __call__(self, x, pos=None):
        return f"{x:,.0f}" if super().__call__(x, pos) else ""


def all_charts(outcomes, soak):
    """(title, SVG) of each chart that has figures; a scenario that failed has none."""
    outcomes = {name: outcome for name, outcome in outcomes.items() if not outcome.failed}
    made = [
        ("CPU per request by connections", by_load(outcomes, ["unary-1", "unary-32", "unary-256", "unary-1024"],
                                                   "cpu_us_per_request", "connections", "us")),
        ("CPU per event, opening the streams included in the first three",
         bars(outcomes, [(name, "cpu_ms_per_1000_events", name)
                         for name in ("sse-1", "sse-100", "sse-1000", "stream-200", "stream-1000")], "us")),
        ("Time per request at one connection", percentiles(outcomes, "unary-1", "latency")),
        ("Time per request at 32 connections", percentiles(outcomes, "unary-32", "latency")),
        ("Added time per event, 200 streams", percentiles(outcomes, "stream-200", "event_added")),
        ("Time per request at half of what is carried", percentiles(outcomes, "open-50", "latency")),
        ("Time per request at nine tenths of it", percentiles(outcomes, "open-90", "latency")),
        ("Memory per open stream and idle connection",
         bars(outcomes, [("hold-9000", "rss_kib_per_stream", "stream"), ("stream-200", "rss_kib_per_stream",
              "stream, 200 of them"), ("idle", "rss_kib_per_connection", "idle connection")], "KiB")),
        ("System calls", bars(outcomes, [("unary-32", "syscalls_per_request", "per request"),
                                         ("stream-200", "syscalls_per_1000_events", "per event")], "calls",
                              factors={"syscalls_per_1000_events": 0.001})),
        ("Memory over hours of steady load", soak_chart(soak)),
    ]
    return [(title, svg) for title, svg in made if svg]


def targets(outcomes, names):
    found = [target for name in names if name in outcomes for target in outcomes[name].targets]
    return list(dict.fromkeys(found))


def named(outcomes, target):
    """Sluice by the engine that it really had, which is not always the one that was asked for."""
    engines = [outcome.targets[target].engine for outcome in outcomes.values() if target in outcome.targets]
    if target in ("sluice", "epoll"):
        return f"Sluice, {next(filter(None, engines), target)}"
    return "no proxy" if target == "floor" else target


def by_load(outcomes, names, figure, setting, unit):
    """A line per target over scenarios that differ in one setting, median with extremes."""
    axes, drawn, ticks = begin(unit, setting), False, set()
    for target in targets(outcomes, names):
        found = {outcomes[name].settings.get(setting): outcomes[name].summary(target, figure)
                 for name in names if name in outcomes}
        points = sorted((x, it) for x, it in found.items() if x and it)
        if points:
            drawn = True
            ticks |= {x for x, _ in points}
            medians = [it.median for _, it in points]
            spread = [[it.median - it.least for _, it in points], [it.greatest - it.median for _, it in points]]
            axes.errorbar([x for x, _ in points], medians, yerr=spread, marker="o", capsize=3,
                          color=COLOURS.get(target), label=named(outcomes, target))
    if drawn:
        axes.set_xscale("log")
        axes.set_xticks(sorted(ticks), [f"{x:,}" for x in sorted(ticks)])
        axes.xaxis.set_minor_locator(ticker.NullLocator())
        axes.set_ylim(bottom=0)
    return finish(axes, drawn)


def percentiles(outcomes, name, figure):
    """A line per target over percentiles."""
    axes, drawn = begin("us", "percentile"), False
    shares = ["p50", "p90", "p99", "p99.9"]
    for target in targets(outcomes, [name]):
        points = [(share, outcomes[name].summary(target, f"{figure}_{share}_us")) for share in shares]
        points = [(share, it.median) for share, it in points if it]
        if points:
            drawn = True
            axes.plot(*zip(*points), marker="o", color=COLOURS.get(target), label=named(outcomes, target))
    if drawn:
        axes.set_yscale("log")
        for formatted in (axes.yaxis.set_major_formatter, axes.yaxis.set_minor_formatter):
            formatted(Plain(labelOnlyBase=False, minor_thresholds=(2, 0.5)))
    return finish(axes, drawn)


def bars(outcomes, entries, unit, factors=None):
    """Groups of bars, one per (scenario, figure, label)."""
    entries = [each for each in entries if each[0] in outcomes]
    everybody = [each for each in targets(outcomes, [name for name, _, _ in entries]) if each != "floor"]
    axes, drawn = begin(unit, ""), False
    width = 0.8 / max(len(everybody), 1)
    for index, target in enumerate(everybody):
        found = [(place, outcomes[name].summary(target, figure), (factors or {}).get(figure, 1))
                 for place, (name, figure, _) in enumerate(entries)]
        found = [(place, it.median * factor) for place, it, factor in found if it]
        if found:
            drawn = True
            drawn_bars = axes.bar([place + index * width for place, _ in found], [value for _, value in found], width,
                                  color=COLOURS.get(target), label=named(outcomes, target))
            axes.bar_label(drawn_bars, fmt="%.1f", fontsize=7)
    axes.set_xticks([place + 0.4 - width / 2 for place in range(len(entries))], [label for _, _, label in entries])
    return finish(axes, drawn)


def soak_chart(soak):
    samples = (soak or {}).get("samples")
    axes = begin("MiB", "minutes")
    if samples:
        minutes = [it["s"] / 60 for it in samples]
        axes.plot(minutes, [it["rss_kib"] / 1024 for it in samples], color=COLOURS["sluice"], label="resident")
        axes.plot(minutes, [it["anonymous_kib"] / 1024 for it in samples], color="#90caf9", label="of it anonymous")
        axes.axvspan(0, soak["warm_up_s"] / 60, color="#eeeeee", label="warm-up")
        axes.set_ylim(bottom=0)
    return finish(axes, bool(samples))


def begin(unit, setting):
    _, axes = pyplot.subplots(figsize=(WIDTH, HEIGHT), layout="constrained")
    axes.set_ylabel(unit)
    axes.set_xlabel(setting)
    return axes


def finish(axes, drawn):
    """The SVG element alone, without the head of a file."""
    figure, text = axes.figure, io.StringIO()
    if drawn:
        axes.legend(frameon=False, fontsize=8)
        figure.savefig(text, format="svg", metadata={"Date": None})
    pyplot.close(figure)
    return text.getvalue()[text.getvalue().find("<svg"):] if drawn else None
