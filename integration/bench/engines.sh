#!/bin/bash
# engines.sh: how long Podman and Docker take with vzrun, crun and runc below them, into
# README.md. README.md tells what is measured and how to read it.
#   VZRUN=FILE     the vzrun to measure (default: built here)
#   ROUNDS=N       turns of each program in Podman's cases (30)
#   CASES=NAMES    only these (run exec docker)
#   ONLY_PRINT=1   print the results, leave README.md as it is
set -euo pipefail
here=$(dirname "$(realpath "$0")")
repo=$(dirname "$(dirname "$here")")
programs=(vzrun crun runc)

# A line "CASE PROGRAM MICROSECONDS" for what the words take.
timed() {
    local case=$1 program=$2 begin=$EPOCHREALTIME end
    shift 2
    "$@" >/dev/null
    end=$EPOCHREALTIME
    echo "$case $program $((${end/./} - ${begin/./}))"
}

# rounds COUNT TURN PROGRAM...: each round gives every program one turn, in a shuffled order.
rounds() {
    local count=$1 turn=$2 round program
    shift 2
    for ((round = 0; round < count; round++)); do
        for program in $(shuf -e "$@"); do
            "$turn" "$program"
        done
    done
}

run_turn() { timed 'podman run --rm' "$1" podman --runtime "$1" run --rm bb /bin/true; }
run_alone_turn() { timed 'podman run --rm, no network' "$1" podman --runtime "$1" run --rm --network=none bb /bin/true; }
exec_turn() { timed 'podman exec' "$1" podman exec "sleeper-$1" /bin/true; }
ten_docker_runs() {
    local n
    for ((n = 0; n < 10; n++)); do docker run --rm --runtime "under-test-$1" bb /bin/true; done
}
docker_turn() { timed '10 docker run' "$1" ten_docker_runs "$1"; }

# The image: busybox under the names that are needed.
make_image() {
    mkdir -p /tmp/image/bin
    cp /bin/busybox /tmp/image/bin/busybox
    ln -s busybox /tmp/image/bin/true
    ln -s busybox /tmp/image/bin/sleep
    tar -C /tmp/image -cf /tmp/image.tar .
}

measure_podman() {
    # As installation puts it in place.
    mkdir -p /etc/containers/containers.conf.d
    sed "s|@BINDIR@/vzrun|$vzrun|" "$repo/packaging/containers.conf" >/etc/containers/containers.conf.d/vzrun.conf
    podman import -q /tmp/image.tar bb >/dev/null
    local program
    for program in "${programs[@]}"; do
        podman --runtime "$program" run --detach --name "sleeper-$program" bb /bin/sleep 1000 >/dev/null
    done
    [[ " $cases " != *" run "* ]] || { rounds "$1" run_turn "${programs[@]}"; rounds "$1" run_alone_turn "${programs[@]}"; }
    [[ " $cases " != *" exec "* ]] || rounds "$1" exec_turn "${programs[@]}"
    podman rm --all --force --time=0 >/dev/null
}

measure_docker() {
    local runtimes='' program
    # Not crun: it wants the controller io for what Docker asks for by default, and there is none here.
    local programs=(vzrun runc)
    for program in "${programs[@]}"; do
        runtimes+="\"under-test-$program\": {\"path\": \"$(command -v "$program")\"},"
    done
    mkdir -p /etc/docker
    echo "{\"runtimes\": {${runtimes%,}}, \"storage-driver\": \"vfs\"}" >/etc/docker/daemon.json
    dockerd >/tmp/dockerd.log 2>&1 &
    local daemon=$!
    timeout 60 sh -c 'until docker version >/dev/null 2>&1; do sleep 0.1; done' || { cat /tmp/dockerd.log >&2; return 1; }
    docker import /tmp/image.tar bb >/dev/null
    for program in "${programs[@]}"; do docker_turn "$program" >/dev/null; done
    rounds 5 docker_turn "${programs[@]}"
    kill "$daemon"
    wait "$daemon" || :
}

# From the lines of timed(): the table, and which bars hold.
table() {
    awk '
        function median(list, n, sorted, i, j, value) {
            n = split(list, sorted, " ")
            for (i = 2; i <= n; i++) {
                value = sorted[i] + 0
                for (j = i - 1; j >= 1 && sorted[j] + 0 > value; j--) sorted[j + 1] = sorted[j]
                sorted[j + 1] = value
            }
            least = sorted[1] / 1000
            samples = n
            if (n == 0) return 0
            return (sorted[int((n + 1) / 2)] + sorted[int((n + 2) / 2)]) / 2000
        }
        {
            time = $NF; program = $(NF - 1)
            case_name = $0; sub(" " program " " time "$", "", case_name)
            if (!(case_name in seen)) { seen[case_name] = 1; cases[++count] = case_name }
            times[case_name, program] = times[case_name, program] " " time
        }
        END {
            print "| case | program | median ms | min ms | x crun | x runc | samples |"
            print "| --- | --- | ---: | ---: | ---: | ---: | ---: |"
            split("vzrun crun runc", programs, " ")
            for (c = 1; c <= count; c++) {
                name = cases[c]
                for (p = 1; p <= 3; p++) middle[name, p] = median(times[name, programs[p]])
                for (p = 1; p <= 3; p++) {
                    if (median(times[name, programs[p]]) == 0) continue
                    of_crun = middle[name, 2] ? sprintf("%.2f", middle[name, p] / middle[name, 2]) : ""
                    printf "| %s | %s | %.1f | %.1f | %s | %.2f | %d |\n", name, programs[p], middle[name, p], least, \
                        of_crun, middle[name, p] / middle[name, 3], samples
                }
            }
            print "\n| bar | is | at most | |\n| --- | ---: | ---: | --- |"
            for (c = 1; c <= count; c++) {
                name = cases[c]
                other = name ~ /docker/ ? 3 : 2
                ratio = middle[name, 1] / middle[name, other]
                printf "| `%s`: time / %s | %.2f | 1.00 | %s |\n", name, other == 3 ? "runc'\''s" : "crun'\''s", ratio, \
                    ratio <= 1 ? "holds" : "**does not hold**"
            }
        }'
}

if [ "${1:-}" = inside ]; then
    vzrun=$3 cases=$4
    ln -s "$vzrun" /usr/local/bin/vzrun
    make_image
    for program in "${programs[@]}"; do
        echo "- $program: $("$program" --version | paste -sd' ')"
    done
    echo "- $(podman --version), $(docker --version)"
    echo
    echo "Load before: $(cut -d' ' -f1-3 /proc/loadavg)."
    {
        [[ " $cases " != *" run "* && " $cases " != *" exec "* ]] || measure_podman "$2"
        [[ " $cases " != *" docker "* ]] || measure_docker
    } >/tmp/times
    echo "Load after: $(cut -d' ' -f1-3 /proc/loadavg)."
    echo
    table </tmp/times
    exit
fi

vzrun=${VZRUN:-}
[ -n "$vzrun" ] || vzrun=$(cd "$repo" && hack/build vzrun)
# A copy, for the test environment sees the repository but not the rest of the machine.
mkdir -p "$repo/target/bench"
cp "$vzrun" "$repo/target/bench/vzrun"
out=$(mktemp)
trap 'rm -f "$out"' EXIT
{
    echo "$(date -u +%F), $(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -1), $(nproc) cores, Linux $(uname -r)," \
        "commit $(git -C "$repo" rev-parse --short HEAD)$([ -z "$(git -C "$repo" status --porcelain runtime)" ] || echo ' and what was not committed')."
    echo
    "$repo/hack/env" run -- "$here/engines.sh" inside "${ROUNDS:-30}" "$repo/target/bench/vzrun" "${CASES:-run exec docker}"
} | tee "$out"
[ -z "${ONLY_PRINT:-}" ] || exit 0
"$here/put-results" engines "$out"
