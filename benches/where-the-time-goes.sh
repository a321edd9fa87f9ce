#!/usr/bin/env bash
# Where the CPU time of a quorum call goes, by part, as a Markdown table: benches/where-the-time-goes.sh [CALLS IN FLIGHT ..]
#
# Needs perf. Client and servers are in one process, over loopback TCP. Takes 10 s for each number of calls in flight.
set -euo pipefail
cd "$(dirname "$0")/.."

export RUSTFLAGS="-C force-frame-pointers=yes"
cargo build --quiet --profile profiling -p gorums-bench
load=${CARGO_TARGET_DIR:-target}/profiling/gorums-bench
data=$(mktemp)
trap 'rm -f "$data"' EXIT

# The share of each part, from the share of each symbol.
by_part() {
    perf report -i "$data" --no-children -g none --sort dso,symbol --stdio 2>/dev/null | grep -v '^#' | awk '
        function part() {
            if (/\[k\]/) return "the kernel"
            if (/gorums_core::(router|call|node|pool|configuration|stats|payload)/) return "calls: registering, counting, waking (`call`, `router`)"
            if (/gorums_core::(channel|parts|transport)/) return "queues and streams (`channel`, `transport`)"
            if (/gorums_core::server/) return "turns and handlers (`server`)"
            if (/gorums_core::wire|prost::/) return "messages (`wire`, prost)"
            if (/bytes::|libc\.so|alloc::/) return "copying and sharing bytes, allocating (bytes, libc)"
            if (/h2::|http::|tracing/) return "HTTP/2 (h2)"
            if (/tokio::|mio::|futures_util::/) return "the runtime (Tokio)"
            if (/hdrhistogram|gorums_bench::(recorder|measurement|contender)/) return "the load generator"
            return "other"
        }
        NF && $1 ~ /%$/ { share[part()] += $1 }
        END { for (name in share) printf "%.0f\t%s\n", share[name], name }' | sort -t "$(printf '\t')" -k 1,1 -rn
}

for in_flight in "${@:-64}"; do
    perf record --quiet --call-graph fp -F 997 -o "$data" "$load" run --quiet --rounds 1 --duration 10s \
        --in-flight "$in_flight" >/dev/null
    printf '| %s in flight | %% of the CPU time |\n|---|--:|\n' "$in_flight"
    by_part | awk -F '\t' '{ printf "| %s | %s |\n", $2, $1 }'
    echo
done
