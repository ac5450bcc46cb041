#!/usr/bin/env bash
# Measures Sluice beside nginx as a plain reverse proxy, in interleaved rounds on the same core.
#
#   loadtest/compare-nginx.sh [OUTPUT_DIR]
#
# Needs nginx, taskset and two CPUs: the proxies share CPU 0, mock and client have CPU 1. Sluice has
# everything on that a user has on: authentication, allow-list, metrics, usage, access log to a
# file; `sluice` is on io_uring where the host has it, `epoll` on epoll. nginx has its access log off and buffering off. Prints the tables that docs/performance.md
# holds; BIN_DIR, ROUNDS, SECS and SCENARIOS may be set.
set -euo pipefail
cd "$(dirname "$0")/.."
out=${1:-.run/perf}
bin=${BIN_DIR:-target/release}
rounds=${ROUNDS:-5} secs=${SECS:-5}
scenarios=${SCENARIOS:-"unary-1 unary-32 unary-256 stream-200 stream-1000"}
mkdir -p "$out"
work=$(mktemp -d)
mock=127.0.0.1:18090 nginx=127.0.0.1:18081 sluice=127.0.0.1:18080 epoll=127.0.0.1:18082
trap 'kill $(jobs -p) 2>/dev/null; wait 2>/dev/null; rm -rf "$work"' EXIT

cat >"$work/nginx.conf" <<NGINX
daemon off; worker_processes 1; pid $work/nginx.pid; error_log $work/nginx.err; worker_rlimit_nofile 20000;
events { worker_connections 19500; }
http {
  access_log off; client_body_temp_path $work/b; proxy_temp_path $work/p; fastcgi_temp_path $work/f;
  uwsgi_temp_path $work/u; scgi_temp_path $work/s; keepalive_requests 1000000000; tcp_nodelay on;
  upstream mock { server $mock; keepalive 1024; keepalive_requests 1000000000; }
  server {
    listen $nginx backlog=4096;
    location / {
      proxy_pass http://mock; proxy_http_version 1.1; proxy_set_header Connection "";
      proxy_buffering off;
    }
  }
}
NGINX
config() { # ADDR STATUS ENGINE
  cat <<SLUICE
resources_file: $work/resources.yaml
proxy: { addr: "$1", workers: 1, io_engine: $3 }
observability:
  access_log_output: $work/access-$3.log
  metrics: { prometheus: { addr: "$2" } }
SLUICE
}
config "$sluice" 127.0.0.1:18098 auto >"$work/auto.yaml"
config "$epoll" 127.0.0.1:18099 epoll >"$work/epoll.yaml"
cat >"$work/resources.yaml" <<RESOURCES
_format_version: "1"
provider_keys:
  - { display_name: mock, provider: openai, adapter: openai, api_key: sk-mock, api_base: "http://$mock/v1" }
  - { display_name: claude, provider: anthropic, api_key: sk-mock, api_base: "http://$mock" }
models:
  - { display_name: gpt, provider: openai, model_name: gpt, provider_key: mock, cost: { input_per_1k: 0.001, output_per_1k: 0.002 } }
  - { display_name: t1, provider: openai, model_name: gpt, provider_key: mock, cost: { input_per_1k: 0.001, output_per_1k: 0.002 }, rate_limit: { rpm: 1000000000 } }
  - { display_name: t2, provider: openai, model_name: gpt, provider_key: mock, rate_limit: { rpm: 1000000000 } }
  - { display_name: t3, provider: openai, model_name: gpt, provider_key: mock, rate_limit: { rpm: 1000000000 } }
  - { display_name: t4, provider: openai, model_name: gpt, provider_key: mock, rate_limit: { rpm: 1000000000 } }
  - { display_name: team, routing: { strategy: round_robin, targets: [{ model: t1, weight: 3 }, { model: t2 }, { model: t3 }, { model: t4 }] } }
  - { display_name: "mock/*", provider: openai, model_name: "*", provider_key: mock, cost: { input_per_1k: 0.001, output_per_1k: 0.002 } }
  - { display_name: "claude/*", provider: anthropic, model_name: "*", provider_key: claude, cost: { input_per_1k: 0.001, output_per_1k: 0.002 } }
api_keys:
  - { display_name: perf, key_env: PERF_KEY, allowed_models: ["mock/*", "claude/*", gpt] }
  - { display_name: limited, key_env: LIMITED_KEY, allowed_models: [team], team_id: red, rate_limit: { rpm: 1000000000, tpm: 100000000000 } }
RESOURCES
# Policies concern every caller: only where they are measured.
case $scenarios in *policy-*) cat >>"$work/resources.yaml" <<POLICIES
rate_limit_policies:
  - { name: team, scope: team, scope_ref: red, window: day, max_requests: 1000000000 }
  - { name: fast, conditions: [{ dimension: model_name, operator: "~~", value: "^t" }], group_by: [team, model], limits: { rph: 1000000000, concurrency: 100000 } }
POLICIES
;; esac

taskset -c 0 nginx -c "$work/nginx.conf" -p "$work" &
nginx_pid=$!
PERF_KEY=sk-perf LIMITED_KEY=sk-limited taskset -c 0 "$bin/sluice" --config "$work/auto.yaml" >"$work/out" 2>"$out/sluice.log" &
sluice_pid=$!
PERF_KEY=sk-perf LIMITED_KEY=sk-limited taskset -c 0 "$bin/sluice" --config "$work/epoll.yaml" >"$work/out2" 2>"$out/epoll.log" &
epoll_pid=$!
for port in 18081 18080 18082; do
  for _ in $(seq 100); do (: </dev/tcp/127.0.0.1/$port) 2>/dev/null && break; sleep 0.05; done
done

run() { # NAME ARGS…
  local name=$1; shift
  echo "== $name"
  taskset -c 1 "$bin/sluice-loadtest" run --mock "$mock" --rounds "$rounds" "$@" --json "$out/$name.json" \
    --target "nginx=http://$nginx,pid=$nginx_pid" \
    --target "sluice=http://$sluice,pid=$sluice_pid,key=sk-perf,model=mock/*" \
    --target "epoll=http://$epoll,pid=$epoll_pid,key=sk-perf,model=mock/*"
}
translated() { # NAME ARGS…: chat completions, relayed and translated, by one gateway in turns
  local name=$1; shift
  echo "== $name"
  taskset -c 1 "$bin/sluice-loadtest" run --mock "$mock" --rounds "$rounds" "$@" --json "$out/$name.json" \
    --target "relayed=http://$sluice,pid=$sluice_pid,key=sk-perf,model=mock/*" \
    --target "translated=http://$sluice,pid=$sluice_pid,key=sk-perf,model=claude/*"
}
policy() { # NAME ARGS…: a direct model without limits, and a group of four with three limits and two policies, in turns
  local name=$1; shift
  echo "== $name"
  taskset -c 1 "$bin/sluice-loadtest" run --mock "$mock" --rounds "$rounds" "$@" --json "$out/$name.json" \
    --target "direct=http://$sluice,pid=$sluice_pid,key=sk-perf,model=gpt" \
    --target "policy=http://$sluice,pid=$sluice_pid,key=sk-limited,model=team"
}
for scenario in $scenarios; do
  case $scenario in
    unary-*) run "$scenario" --mode unary --connections "${scenario#unary-}" --duration "$secs" --body-bytes 1000 --reply-bytes 1000 ;;
    stream-200) run "$scenario" --mode stream --streams 200 --events-per-sec 50 --stream-secs "$secs" ;;
    stream-1000) run "$scenario" --mode stream --streams 1000 --events-per-sec 30 --stream-secs "$secs" ;;
    policy-*) policy "$scenario" --mode unary --connections "${scenario#policy-}" --duration "$secs" --body-bytes 1000 --reply-bytes 1000 ;;
    translated-*) translated "$scenario" --mode stream --streams "${scenario#translated-}" --events-per-sec 50 --stream-secs "$secs" ;;
    hold-*) run "$scenario" --mode hold --streams "${scenario#hold-}" --event-every-ms 2000 --secs 30 ;;
    idle-*) run "$scenario" --mode idle --connections "${scenario#idle-}" ;;
    *) echo "unknown scenario $scenario" >&2; exit 2 ;;
  esac
done
