#!/usr/bin/env bash
# Upgrades Sluice three times in a row under load, and counts what fails.
#
#   loadtest/upgrade.sh [OUTPUT_DIR]
#
# STREAMS live streams and RATE requests per second, over kept connections, from before the first upgrade
# until after the third; every stream must come to its end, event by event. Prints what failed (nothing
# may), and how long each upgrade took. BIN_DIR, STREAMS, RATE, SECS, ENGINE and WORKERS may be set.
set -euo pipefail
cd "$(dirname "$0")/.."
out=${1:-.run/upgrade}
bin=${BIN_DIR:-target/release}
streams=${STREAMS:-1000} rate=${RATE:-2000} secs=${SECS:-40} engine=${ENGINE:-auto} workers=${WORKERS:-2}
mkdir -p "$out"
work=$(mktemp -d)
mock=127.0.0.1:18190 sluice=127.0.0.1:18180 status=127.0.0.1:18198
log=$out/sluice-$engine.log
pids() { grep -a '"serving"' "$log" | sed 's/.*"pid":\([0-9]*\).*/\1/'; }
trap 'kill $(jobs -p) $(pids) 2>/dev/null || true; wait 2>/dev/null; rm -rf "$work"' EXIT

cat >"$work/sluice.yaml" <<SLUICE
resources_file: $work/resources.yaml
proxy: { addr: "$sluice", workers: $workers, io_engine: $engine, pin_cpus: false }
shutdown: { min_drain_secs: 0 }
observability:
  log_format: json
  access_log_output: $work/access.log
  metrics: { prometheus: { addr: "$status" } }
SLUICE
cat >"$work/resources.yaml" <<RESOURCES
_format_version: "1"
provider_keys:
  - { display_name: mock, provider: openai, adapter: openai, api_key: sk-mock, api_base: "http://$mock/v1" }
models:
  - { display_name: "mock/*", provider: openai, model_name: "*", provider_key: mock }
api_keys:
  - { display_name: perf, key_env: PERF_KEY, allowed_models: ["mock/*"] }
RESOURCES

"$bin/sluice-loadtest" mock --listen "$mock" >/dev/null &
PERF_KEY=sk-perf "$bin/sluice" --config "$work/sluice.yaml" >/dev/null 2>"$log" &
for address in "$mock" "$sluice"; do
  for _ in $(seq 200); do (: <"/dev/tcp/${address%:*}/${address#*:}") 2>/dev/null && break; sleep 0.05; done
done
first=$(pids)
load() { # NAME ARGS…
  local name=$1; shift
  "$bin/sluice-loadtest" run --rounds 1 --timeout 60 --settle 0 --json "$out/$name-$engine.json" "$@" \
    --target "sluice=http://$sluice,key=sk-perf,model=mock/*" >"$out/$name-$engine.txt"
}
load streams --mode stream --streams "$streams" --events-per-sec 1 --stream-secs "$secs" --open-rate 200 &
streaming=$!
load requests --mode unary --rate "$rate" --connections 64 --duration "$secs" --warmup 0 &
asking=$!
sleep $((streams / 200 + 3))
echo "load average before: $(cut -d' ' -f1-3 /proc/loadavg)"
for round in 1 2 3; do
  began=$(date +%s%N)
  "$bin/sluice" upgrade --pid "$(pids | tail -1)"
  echo "upgrade $round took $((($(date +%s%N) - began) / 1000000)) ms"
  sleep 4
done
wait $asking $streaming
for _ in $(seq 400); do kill -0 "$first" 2>/dev/null || break; sleep 0.05; done
echo "load average after: $(cut -d' ' -f1-3 /proc/loadavg)"
echo "processes that served: $(pids | tr '\n' ' ')"
echo "access lines that are not completed: $(grep -avc '"end":"completed"' "$work/access.log" || true) of $(wc -l <"$work/access.log")"
for name in streams requests; do echo "== $name"; cat "$out/$name-$engine.txt"; done
