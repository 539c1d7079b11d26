#!/bin/bash
# run.sh: measures vzrun, crun, runc, youki and the floor side by side and writes
# the results into README.md. README.md tells what is measured and how to read it.
#   VZRUN=FILE              the vzrun to measure (default: built here)
#   VZRUN_BENCH_YOUKI=FILE  the youki (default: ~/.cargo/bin/youki, when there)
#   ROUNDS=N CONTAINERS=N   how often the quick cases are done (200), how many containers `list` shows (1000)
#   ONLY_PRINT=1            print the results, leave README.md as it is
set -euo pipefail
here=$(dirname "$(realpath "$0")")
repo=$(dirname "$(dirname "$here")")

if [ "${1:-}" = inside ]; then
    shift
    # In the test environment: /tmp is a tmpfs of this run's own.
    "$here/bundle.sh" /tmp/bench >&2
    # The profile is for a case of its own.
    cp "$repo/integration/profiles/docker.json" /tmp/bench/seccomp.json
    cp "$repo/target/bench/seccomp.bpf" /tmp/bench/
    programs=("floor=$3" "vzrun=$4" "crun=$(command -v crun)" "runc=$(command -v runc)")
    [ -z "${5:-}" ] || programs+=("youki=$5")
    for program in "${programs[@]:1}"; do
        echo "- ${program%%=*}: $("${program#*=}" --version | paste -sd' ')"
    done
    echo
    echo "Load before: $(cut -d' ' -f1-3 /proc/loadavg)."
    echo
    "$7" /tmp/bench/seccomp.bpf /tmp/bench/seccomp.json
    echo
    status=0
    "$6" /tmp/bench "$1" "$2" "${programs[@]}" >/tmp/bench/table || status=$?
    echo "Load after: $(cut -d' ' -f1-3 /proc/loadavg)."
    echo
    cat /tmp/bench/table
    exit "$status"
fi

say() { echo "bench: $*" >&2; }
rounds=${ROUNDS:-200} containers=${CONTAINERS:-1000}

# What the runtime makes of Docker's seccomp profile; one line of JSON is one profile.
(cd "$repo" && cargo build --quiet --release --locked --package vzrun --example seccomp &&
    # With the dynamic linker, for libseccomp.
    cargo build --quiet --release --locked --package integration --bin calls)
profile() { tr '\n' ' ' <"$repo/integration/profiles/docker.json" | "$repo/target/release/examples/seccomp" "$@"; }
compiled=$(profile time 2000)
read -r median least length <<<"$compiled"

mapfile -t built < <(cd "$repo" && hack/build floor measure)
[ "${#built[@]}" = 2 ] || { say "floor and measure were not built"; exit 1; }
vzrun=${VZRUN:-}
if [ -z "$vzrun" ]; then
    vzrun=$(cd "$repo" && hack/build vzrun)
    [ -n "$vzrun" ] || { say "vzrun was not built"; exit 1; }
fi

# Copies, for the test environment sees the repository but not the rest of the machine.
copies=$repo/target/bench
mkdir -p "$copies"
profile "$(uname -m)" | perl -pe 'chomp; $_ = pack "H*", $_' >"$copies/seccomp.bpf"
cp "$vzrun" "$copies/vzrun"
youki=${VZRUN_BENCH_YOUKI:-$HOME/.cargo/bin/youki}
if [ -x "$youki" ]; then
    cp "$youki" "$copies/youki"
    youki=$copies/youki
else
    say "NO YOUKI in this measurement: $youki is not there (cargo install youki, or set VZRUN_BENCH_YOUKI)"
    youki=
fi

out=$(mktemp)
trap 'rm -f "$out"' EXIT
{
    echo "$(date -u +%F), $(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -1), $(nproc) cores, Linux $(uname -r)," \
        "commit $(git -C "$repo" rev-parse --short HEAD)$([ -z "$(git -C "$repo" status --porcelain runtime)" ] || echo ' and what was not committed')."
    [ -n "$youki" ] || printf '\nyouki was not there.\n'
    printf "\nDocker's seccomp profile to a program of %d instructions: median %s us, least %s (bar: 150).\n" "$length" "$median" "$least"
    echo
} >"$out"
status=0
"$repo/hack/env" run -- "$here/run.sh" inside "$rounds" "$containers" \
    "${built[0]}" "$copies/vzrun" "$youki" "${built[1]}" "$repo/target/release/calls" >>"$out" || status=$?
cat "$out"
[ -z "${ONLY_PRINT:-}" ] || exit "$status"

"$here/put-results" results "$out"
exit "$status"
