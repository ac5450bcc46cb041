#!/usr/bin/env bash
# Builds `sluice` with its layout and inlining guided by a profile of our own load.
#
#   loadtest/pgo.sh            the binary ends up in target/pgo/release/sluice
#
# Three steps: an instrumented build, a minute of every kind of load against it, the build that uses
# what was counted. Needs an llvm-profdata that reads this compiler's profiles: that of the toolchain
# (`rustup component add llvm-tools`), or one of about the same LLVM; PROFDATA names it.
set -euo pipefail
cd "$(dirname "$0")/.."
target=$(rustc -vV | sed -n 's/^host: //p')
out=$PWD/target/pgo raw=$PWD/target/pgo/raw merged=$PWD/target/pgo/sluice.profdata

profdata=${PROFDATA:-}
for candidate in "$(rustc --print sysroot)/lib/rustlib/$target/bin/llvm-profdata" \
  $(compgen -c llvm-profdata- | sort -t- -k3 -rn -u || true) llvm-profdata; do
  [ -n "$profdata" ] || profdata=$(command -v "$candidate" || true)
done
[ -n "$profdata" ] || { echo "llvm-profdata is missing: rustup component add llvm-tools" >&2; exit 1; }

# Cargo makes RUSTFLAGS a part of every symbol's hash, and counts are found by symbol: so the flags
# come in by a wrapper. With a target named, build scripts and macros can be told apart.
work=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null; wait 2>/dev/null; rm -rf "$work"' EXIT
cat >"$work/rustc" <<'WRAPPER'
#!/bin/sh
rustc=$1
shift
case " $* " in
  *" --target "*) exec "$rustc" "$@" "$PGO_FLAG" ;;
  *) exec "$rustc" "$@" ;;
esac
WRAPPER
chmod +x "$work/rustc"
build() { # DIR FLAG
  PGO_FLAG=$2 RUSTC_WRAPPER=$work/rustc CARGO_TARGET_DIR=$1 cargo build --release --locked --target "$target" -p gateway
}
rm -rf "$raw"
build "$out/counting" "-Cprofile-generate=$raw"
cargo build --release --locked -p loadtest
counting=$out/counting/$target/release/sluice load=target/release/sluice-loadtest

cat >"$work/resources.yaml" <<'RESOURCES'
_format_version: "1"
provider_keys:
  - { display_name: mock, provider: openai, adapter: openai, api_key: sk-mock, api_base: "http://127.0.0.1:18190/v1" }
  - { display_name: claude, provider: anthropic, api_key: sk-mock, api_base: "http://127.0.0.1:18190" }
models:
  - { display_name: "mock/*", provider: openai, model_name: "*", provider_key: mock, cost: { input_per_1k: 0.001, output_per_1k: 0.002 } }
  - { display_name: "claude/*", provider: anthropic, model_name: "*", provider_key: claude }
  - { display_name: t1, provider: openai, model_name: gpt, provider_key: mock, rate_limit: { rpm: 1000000000 } }
  - { display_name: t2, provider: openai, model_name: gpt, provider_key: mock, rate_limit: { rpm: 1000000000 } }
  - { display_name: team, routing: { strategy: round_robin, targets: [{ model: t1 }, { model: t2 }] } }
api_keys:
  - { display_name: train, key_env: TRAIN_KEY, allowed_models: ["mock/*", "claude/*", team], rate_limit: { rpm: 1000000000, tpm: 100000000000 } }
RESOURCES
config() { # ENGINE PORT
  cat <<SLUICE
resources_file: $work/resources.yaml
proxy: { addr: "127.0.0.1:$2", workers: 1, io_engine: $1 }
observability:
  access_log_output: $work/access.log
  metrics: { prometheus: { addr: "127.0.0.1:$(($2 + 20))" } }
SLUICE
}
ulimit -n 8192
port=18180
for engine in auto epoll; do
  config $engine $port >"$work/$engine.yaml"
  TRAIN_KEY=sk-train "$counting" --config "$work/$engine.yaml" >"$work/$engine.out" 2>&1 &
  gateway=$!
  for _ in $(seq 100); do (: </dev/tcp/127.0.0.1/$port) 2>/dev/null && break; sleep 0.1; done
  train() { # MODEL ARGS…
    local model=$1; shift
    "$load" run --mock 127.0.0.1:18190 --rounds 1 --warmup 0 "$@" \
      --target "train=http://127.0.0.1:$port,pid=$gateway,key=sk-train,model=$model" >/dev/null
  }
  train 'mock/*' --mode unary --connections 32 --duration 6 --body-bytes 1000 --reply-bytes 1000
  train team --mode unary --connections 32 --duration 4 --body-bytes 4000 --reply-bytes 2000
  train 'mock/*' --mode stream --streams 200 --events-per-sec 50 --stream-secs 6
  train 'claude/*' --mode stream --streams 50 --events-per-sec 50 --stream-secs 4
  # Counts are written when the process ends.
  kill -TERM $gateway
  wait $gateway || true
  port=$((port + 1))
done
"$profdata" merge -o "$merged" "$raw"/*.profraw
build "$out/guided" "-Cprofile-use=$merged"
mkdir -p "$out/release"
cp "$out/guided/$target/release/sluice" "$out/release/sluice"
echo "$out/release/sluice"
