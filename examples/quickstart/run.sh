#!/usr/bin/env bash
# Serves examples/quickstart with a scripted LLM upstream beside it, until Ctrl-C.
set -euo pipefail
cd "$(dirname "$0")/../.."
bin=${BIN_DIR:-target/release}

die() {
  echo "run.sh: $*" >&2
  exit 1
}

answers() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

for program in sluice sluice-loadtest; do
  [[ -x $bin/$program ]] || die "$bin/$program is not there; \`make run\` builds it"
done
# Looked at here, because two gateways of one user share a port without an error.
for port in 3000 8090 9090; do
  ! answers $port || die "port $port on 127.0.0.1 is taken; stop what listens there (ss -ltnp) and try again"
done

mkdir -p .run
export UPSTREAM_KEY=sk-upstream-demo CALLER_KEY=sk-sluice-demo
pids=()
stop() {
  ((${#pids[@]} == 0)) || kill "${pids[@]}" 2>/dev/null || true
  wait
}
trap stop EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

"$bin/sluice-loadtest" mock --listen 127.0.0.1:8090 --script events=12,gap_ms=120 >.run/mock.log 2>&1 &
mock=$!
pids+=("$mock")
"$bin/sluice" --config examples/quickstart/sluice.yaml &
sluice=$!
pids+=("$sluice")

ready=
for _ in $(seq 200); do
  kill -0 "$sluice" 2>/dev/null || die "sluice did not start, see above"
  kill -0 "$mock" 2>/dev/null || die "the scripted upstream did not start: $(cat .run/mock.log)"
  if answers 3000 && answers 8090; then
    ready=yes
    break
  fi
  sleep 0.05
done
[[ $ready ]] || die "not ready after 10 s"

cat <<'HELP'

Sluice serves http://127.0.0.1:3000/v1 in front of a scripted upstream. Stream an answer:

  curl -N http://127.0.0.1:3000/v1/chat/completions \
    -H 'Authorization: Bearer sk-sluice-demo' -H 'Content-Type: application/json' \
    -d '{"model":"fast-chat","stream":true,"messages":[{"role":"user","content":"Hello"}]}'

The same with the official Python package (pip install openai):

  from openai import OpenAI
  client = OpenAI(base_url="http://127.0.0.1:3000/v1", api_key="sk-sluice-demo")
  for chunk in client.chat.completions.create(model="fast-chat", stream=True, messages=[{"role": "user", "content": "Hello"}]): print(chunk.choices[0].delta.content or "", end=" ", flush=True)

Every request leaves a line in .run/access.log. Metrics: http://127.0.0.1:9090/metrics, state of
the configuration: http://127.0.0.1:9090/status/config. Ctrl-C stops everything.

HELP
# Its exit code is that of this script, unless a signal came.
code=0
wait "$sluice" || code=$?
# After an upgrade in place another process serves on, for which the upstream must stay.
while answers 3000; do sleep 1; done
exit "$code"
