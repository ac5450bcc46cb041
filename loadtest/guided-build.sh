#!/usr/bin/env bash
# Builds the release binary guided by a profile: once with counters, under load, and again for what was counted.
#
#   loadtest/guided-build.sh [PROGRAM]
#
# PROGRAM is where the binary goes (default target/guided/sluice). Needs openssl and an llvm-profdata: that of
# `rustup component add llvm-tools`, or one of LLVM 19 or later. Two builds with their long links and a minute of load.
# The load is that of one worker per engine: requests and streams, relayed and translated, limited and not, over HTTP/1.1
# and, where h2load is there, HTTP/2, in the clear and over TLS on both sides. What it leaves out is compiled for size.
set -euo pipefail
cd "$(dirname "$0")/.."
program=${1:-target/guided/sluice}
host=$(rustc --print host-tuple)
built=${CARGO_TARGET_DIR:-target}/$host/release
kept=$(realpath -m "${CARGO_TARGET_DIR:-target}")/guided
work=$(mktemp -d)
trap 'kill -9 $(jobs -p) 2>/dev/null; wait 2>/dev/null; rm -rf "$work"' EXIT

profdata() { # of the toolchain, else the latest that is installed
  local own newest
  own=$(rustc --print target-libdir)/../bin/llvm-profdata
  newest=$(compgen -c llvm-profdata- | sort -t- -k3 -n | tail -n1)
  for tool in "$own" "$newest" llvm-profdata; do
    if [ -n "$tool" ] && command -v "$tool"; then return; fi
  done
  echo "please install llvm-profdata: rustup component add llvm-tools" >&2
  exit 1
}
profdata=$(profdata)

# Both builds are of the same packages: features are united over them, and names of functions depend on features.
build() { # FLAGS
  RUSTFLAGS="${RUSTFLAGS:-} $1" ${CARGO:-cargo} build --release --locked --target "$host" -p gateway -p loadtest
}

listener() { # NAME PORT STATUS ENGINE [MORE]
  cat >"$work/$1.yaml" <<SLUICE
resources_file: $work/resources.yaml
proxy: { addr: "127.0.0.1:$2", workers: 1, io_engine: $4${5:-} }
upstream: { tls: { ca_file: $work/cert.pem } }
observability: { access_log_output: $work/$1.log, metrics: { prometheus: { addr: "127.0.0.1:$3" } } }
SLUICE
}

# A front in the clear and a rear with TLS for each engine; models of `tls/` go through both.
configure() { # MOCK
  local tls=", tls: { cert_file: $work/cert.pem, key_file: $work/key.pem }"
  listener auto 18380 18390 auto
  listener auto-rear 18381 18391 auto "$tls"
  listener epoll 18382 18392 epoll
  listener epoll-rear 18383 18393 epoll "$tls"
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=localhost \
    -addext basicConstraints=critical,CA:FALSE -addext subjectAltName=IP:127.0.0.1 \
    -keyout "$work/key.pem" -out "$work/cert.pem" 2>/dev/null
  chmod 600 "$work/key.pem"
  local cost="cost: { input_per_1k: 0.001, output_per_1k: 0.002 }" many="rate_limit: { rpm: 1000000000 }"
  cat >"$work/resources.yaml" <<RESOURCES
_format_version: "1"
provider_keys:
  - { display_name: mock, provider: openai, adapter: openai, api_key: sk-mock, api_base: "http://$1/v1" }
  - { display_name: claude, provider: anthropic, api_key: sk-mock, api_base: "http://$1" }
  - { display_name: rear-auto, provider: openai, adapter: openai, api_key: sk-load, api_base: "https://127.0.0.1:18381/v1" }
  - { display_name: rear-epoll, provider: openai, adapter: openai, api_key: sk-load, api_base: "https://127.0.0.1:18383/v1" }
models:
  - { display_name: t1, provider: openai, model_name: gpt, provider_key: mock, $cost, $many }
  - { display_name: t2, provider: openai, model_name: gpt, provider_key: mock, $many }
  - { display_name: t3, provider: openai, model_name: gpt, provider_key: mock, $many }
  - { display_name: team, routing: { strategy: round_robin, targets: [{ model: t1, weight: 3 }, { model: t2 }, { model: t3 }] } }
  - { display_name: "mock/*", provider: openai, model_name: "*", provider_key: mock, $cost }
  - { display_name: "claude/*", provider: anthropic, model_name: "*", provider_key: claude, $cost }
  - { display_name: "tls-auto/*", provider: openai, model_name: "mock/*", provider_key: rear-auto, $cost }
  - { display_name: "tls-epoll/*", provider: openai, model_name: "mock/*", provider_key: rear-epoll, $cost }
api_keys:
  - { display_name: load, key_env: LOAD_KEY, allowed_models: ["mock/*", "claude/*", "tls-auto/*", "tls-epoll/*"] }
  - { display_name: limited, key_env: LIMITED_KEY, allowed_models: [team], team_id: red, rate_limit: { rpm: 1000000000, tpm: 100000000000 } }
rate_limit_policies:
  - { name: team, scope: team, scope_ref: red, window: day, max_requests: 1000000000 }
RESOURCES
}

wait_for() { # PORT…
  local port
  for port in "$@"; do
    for _ in $(seq 200); do (: </dev/tcp/127.0.0.1/"$port") 2>/dev/null && continue 2; sleep 0.05; done
    echo "nothing listens on port $port" >&2; cat "$work"/*.err >&2; exit 1
  done
}

load() { # PORT MODEL ARGS…
  local port=$1 model=$2; shift 2
  local key=sk-load; [ "$model" != team ] || key=sk-limited
  "$work/sluice-loadtest" run --rounds 1 --warmup 0 --settle 0 --json "$work/load.json" \
    --target "sluice=http://127.0.0.1:$port,key=$key,model=$model" "$@" >"$work/load.txt" 2>&1
  grep -E "^errors +0$" "$work/load.txt" >/dev/null || { cat "$work/load.txt" >&2; exit 1; }
}

http2() { # PORT
  command -v h2load >/dev/null || { echo "without h2load (nghttp2-client), HTTP/2 is left out of the profile" >&2; return 0; }
  local stream
  for stream in false true; do
    printf '{"model":"mock/events=50,reply_bytes=1000","stream":%s,"messages":[{"role":"user","content":"%s"}]}' \
      $stream "$(head -c 1000 /dev/zero | tr '\0' w)" >"$work/call.json"
    h2load --requests 5000 --clients 4 --max-concurrent-streams 8 --data "$work/call.json" \
      --header 'authorization: Bearer sk-load' --header 'content-type: application/json' \
      "http://127.0.0.1:$1/v1/chat/completions" >"$work/h2load.txt"
    grep -q "5000 2xx" "$work/h2load.txt" || { cat "$work/h2load.txt" >&2; exit 1; }
  done
}

train() { # PORT ENGINE
  local model
  for model in 'mock/*' 'claude/*' "tls-$2/*" team; do
    load "$1" "$model" --mode unary --connections 32 --duration 3
    load "$1" "$model" --mode stream --streams 100 --events-per-sec 50 --stream-secs 2
  done
  load "$1" 'mock/*' --mode unary --connections 8 --duration 1 --body-bytes 120000 --reply-bytes 20000
  load "$1" 'mock/*' --mode abort --connections 32 --duration 1
  http2 "$1"
}

# Flags are part of what cargo compares: the same path at every call, so that little is built twice.
rm -rf "$kept/counts"
build "-Cprofile-generate=$kept/counts"
cp "$built/sluice" "$built/sluice-loadtest" "$work"
# The profile of the client and the mock is not wanted.
export LLVM_PROFILE_FILE="$work/unused/%p.profraw"
"$work/sluice-loadtest" mock --listen 127.0.0.1:18399 >"$work/mock.txt" 2>"$work/mock.err" &
configure 127.0.0.1:18399
gateways=()
for name in auto auto-rear epoll epoll-rear; do
  LLVM_PROFILE_FILE="$kept/counts/$name.profraw" LOAD_KEY=sk-load LIMITED_KEY=sk-limited \
    "$work/sluice" --config "$work/$name.yaml" >"$work/$name.txt" 2>"$work/$name.err" &
  gateways+=($!)
done
wait_for 18380 18381 18382 18383 18399
train 18380 auto
train 18382 epoll
# The counts are written at the end of a process: the second signal is the end of the drain.
kill "${gateways[@]}"; sleep 1; kill "${gateways[@]}"; wait "${gateways[@]}" || true
"$profdata" merge -o "$work/profile" "$kept"/counts/*.profraw
# Another profile is to be another flag, so its name says what it holds.
profile=$kept/$(sha256sum "$work/profile" | cut -c1-16).profdata
rm -f "$kept"/*.profdata
mv "$work/profile" "$profile"
build "-Cprofile-use=$profile"
install -D -m 0755 "$built/sluice" "$program"
echo "$program"
