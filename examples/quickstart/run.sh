#!/usr/bin/env bash
# Serves examples/quickstart with a scripted LLM upstream beside it, until Ctrl-C.
set -euo pipefail
cd "$(dirname "$0")/../.."
bin=${BIN_DIR:-target/release}
mkdir -p .run

export UPSTREAM_KEY=sk-upstream-demo CALLER_KEY=sk-sluice-demo

"$bin/sluice-loadtest" mock --listen 127.0.0.1:8090 --script events=12,gap_ms=120 >.run/mock.log 2>&1 &
mock=$!
"$bin/sluice" --config examples/quickstart/sluice.yaml &
sluice=$!
stop() { kill "$sluice" "$mock" 2>/dev/null || true; }
trap stop INT TERM EXIT

for _ in $(seq 100); do
  curl -fs -o /dev/null http://127.0.0.1:3000/readyz && break
  kill -0 "$sluice" 2>/dev/null || { echo "sluice did not start" >&2; exit 1; }
  sleep 0.05
done

cat <<'HELP'

Sluice serves http://127.0.0.1:3000/v1 (metrics on http://127.0.0.1:9090/metrics).

Stream an answer:

  curl -N http://127.0.0.1:3000/v1/chat/completions \
    -H 'Authorization: Bearer sk-sluice-demo' -H 'Content-Type: application/json' \
    -d '{"model":"fast-chat","stream":true,"messages":[{"role":"user","content":"Hello"}]}'

The same with the official Python package (pip install openai):

  from openai import OpenAI
  client = OpenAI(base_url="http://127.0.0.1:3000/v1", api_key="sk-sluice-demo")
  for chunk in client.chat.completions.create(model="fast-chat", stream=True, messages=[{"role": "user", "content": "Hello"}]): print(chunk.choices[0].delta.content or "", end="", flush=True)

Ctrl-C stops it.
HELP
wait "$sluice"
