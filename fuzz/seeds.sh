#!/usr/bin/env bash
# Makes the seed corpora, corpus/envelope and corpus/stream, from the recorded messages. Then, for example:
#   ./seeds.sh && cargo +nightly fuzz run stream -- -max_total_time=60
set -euo pipefail
cd "$(dirname "$0")"
recorded=../gorums-core/tests/vectors/recorded.txt
mkdir -p corpus/envelope corpus/stream

# Writes hexadecimal digits as bytes.
unhex() {
    printf '%b' "$(sed 's/../\\x&/g')"
}

# The one message that is too long to be a seed is written with a `*`.
messages=$(awk '$1 == "prefix" { prefix = $2 } $1 == "bytes" && !/\*/ { print prefix, $2 }' "$recorded")
number=0
while read -r prefix message; do
    number=$((number + 1))
    printf %s "$message" | unhex > "$(printf 'corpus/envelope/recorded-%02d' "$number")"
    # Two cuts, of 3 and 16 bytes.
    printf %s "020310$prefix$message" | unhex > "$(printf 'corpus/stream/recorded-%02d' "$number")"
done <<< "$messages"
# Everything in one stream, in pieces of 100 bytes, and a message with a deadline.
printf %s "0164$(tr -d ' \n' <<< "$messages")" | unhex > corpus/stream/recorded-all
printf '\x08\x01\x12\x03a.b\x22\x15\x0a\x0cgrpc-timeout\x12\x055000m\x2a\x01x' > corpus/envelope/deadline
echo "$((number + 1)) seeds for each target"
