#!/usr/bin/env bash
# Measures Sluice beside nginx with TLS on both sides, in interleaved rounds on the same core.
#
#   loadtest/compare-tls.sh
#
# Needs nginx, wrk, openssl, taskset and two CPUs: the proxies share CPU 0; client and upstream have CPU 1. The
# upstream is an nginx that answers every request over TLS with the same chat completion; connections are kept
# alive on both sides, so this is the cost of records, not of handshakes. BIN_DIR, ROUNDS, SECS and CONNECTIONS
# may be set. Prints CPU microseconds per request of each round and the ratio of the medians.
set -euo pipefail
cd "$(dirname "$0")/.."
bin=${BIN_DIR:-target/release} rounds=${ROUNDS:-5} secs=${SECS:-3} connections=${CONNECTIONS:-32}
work=$(mktemp -d)
trap 'kill -9 ${sluice_pid:-} 2>/dev/null; kill $(jobs -p) 2>/dev/null; wait 2>/dev/null; rm -rf "$work"' EXIT
nginx=127.0.0.1:18281 sluice=127.0.0.1:18280 upstream=127.0.0.1:18290

openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=localhost \
  -addext basicConstraints=critical,CA:FALSE -addext subjectAltName=IP:127.0.0.1,DNS:localhost -keyout "$work/key.pem" -out "$work/cert.pem" 2>/dev/null
chmod 600 "$work/key.pem"
words=$(head -c 1000 /dev/zero | tr '\0' w)
cat >"$work/common.conf" <<NGINX
  access_log off; client_body_temp_path $work/b; proxy_temp_path $work/p; fastcgi_temp_path $work/f;
  uwsgi_temp_path $work/u; scgi_temp_path $work/s; keepalive_requests 1000000000; tcp_nodelay on;
  ssl_certificate $work/cert.pem; ssl_certificate_key $work/key.pem; ssl_protocols TLSv1.3;
NGINX
cat >"$work/upstream.conf" <<NGINX
daemon off; worker_processes 1; pid $work/upstream.pid; error_log $work/upstream.err;
events { worker_connections 4096; }
http { include $work/common.conf; default_type application/json; server { listen $upstream ssl; location / {
  return 200 '{"id":"chatcmpl-1","object":"chat.completion","created":1,"model":"gpt","choices":[{"index":0,"message":{"role":"assistant","content":"$words"},"finish_reason":"stop"}],"usage":{"prompt_tokens":9,"completion_tokens":9,"total_tokens":18}}';
} } }
NGINX
cat >"$work/nginx.conf" <<NGINX
daemon off; worker_processes 1; pid $work/nginx.pid; error_log $work/nginx.err;
events { worker_connections 4096; }
http { include $work/common.conf; upstream up { server $upstream; keepalive 1024; keepalive_requests 1000000000; }
  server { listen $nginx ssl backlog=4096; location / {
    proxy_pass https://up; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_buffering off;
    proxy_ssl_verify on; proxy_ssl_trusted_certificate $work/cert.pem; proxy_ssl_name localhost; proxy_ssl_protocols TLSv1.3;
} } }
NGINX
cat >"$work/resources.yaml" <<RESOURCES
_format_version: "1"
provider_keys: [{ display_name: up, provider: openai, adapter: openai, api_key: sk-up, api_base: "https://$upstream/v1" }]
models: [{ display_name: gpt, provider: openai, model_name: gpt, provider_key: up, cost: { input_per_1k: 0.001, output_per_1k: 0.002 } }]
api_keys: [{ display_name: perf, key_env: PERF_KEY, allowed_models: [gpt] }]
RESOURCES
cat >"$work/sluice.yaml" <<SLUICE
resources_file: $work/resources.yaml
proxy: { addr: "$sluice", workers: 1, tls: { cert_file: $work/cert.pem, key_file: $work/key.pem } }
upstream: { tls: { ca_file: $work/cert.pem } }
observability: { access_log_output: $work/access.log, metrics: { prometheus: { addr: "127.0.0.1:18298" } } }
SLUICE
cat >"$work/post.lua" <<LUA
wrk.method = "POST"
wrk.headers["authorization"] = "Bearer sk-perf"
wrk.headers["content-type"] = "application/json"
wrk.body = '{"model":"gpt","messages":[{"role":"user","content":"$words"}]}'
function response(status) if status ~= 200 then wrk.thread:stop() end end
LUA
taskset -c 1 nginx -c "$work/upstream.conf" -p "$work" &
taskset -c 0 nginx -c "$work/nginx.conf" -p "$work" &
PERF_KEY=sk-perf taskset -c 0 "$bin/sluice" --config "$work/sluice.yaml" >"$work/out" 2>&1 &
sluice_pid=$!
for port in 18281 18280 18290; do
  for _ in $(seq 100); do (: </dev/tcp/127.0.0.1/$port) 2>/dev/null && break; sleep 0.05; done
done
nginx_pid=$(pgrep -P "$(cat "$work/nginx.pid")")

ticks() { awk '{ print $14 + $15 }' "/proc/$1/stat"; }
round() { # NAME ADDR PID
  taskset -c 1 wrk -t1 -c"$connections" -d1s -s "$work/post.lua" "https://$2/v1/chat/completions" >/dev/null
  local before after requests
  before=$(ticks "$3")
  taskset -c 1 wrk -t1 -c"$connections" -d"${secs}s" -s "$work/post.lua" "https://$2/v1/chat/completions" >"$work/wrk"
  after=$(ticks "$3")
  ! grep -E "Non-2xx|Socket errors" "$work/wrk" || exit 1
  requests=$(awk '/requests in/ { print $1 }' "$work/wrk")
  awk -v t=$((after - before)) -v hz="$(getconf CLK_TCK)" -v n="$requests" -v name="$1" \
    'BEGIN { printf "%s %.2f %d\n", name, t / hz * 1e6 / n, n }' | tee -a "$work/results"
}
for _ in $(seq "$rounds"); do
  round nginx $nginx "$nginx_pid"
  round sluice $sluice "$sluice_pid"
done
median() { awk -v n="$1" '$1 == n { print $2 }' "$work/results" | sort -n | awk '{ v[NR] = $1 } END { print v[int((NR + 1) / 2)] }'; }
awk -v a="$(median nginx)" -v b="$(median sluice)" \
  'BEGIN { printf "cpu_us_per_request: nginx %.2f, sluice %.2f, %.2fx\n", a, b, b / a }'
