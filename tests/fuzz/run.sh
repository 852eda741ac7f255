#!/bin/sh
# SPDX-License-Identifier: MIT
#
# Runs one fuzz target for NEAP_FUZZ_SECONDS (60), from the corpus of the tree.
# What it finds new stays out of the tree; an input that breaks something is
# written to the build directory and named.
#
# usage: run.sh TARGET CORPUS DICTIONARY OUTPUT-DIR
set -eu
target=$1 corpus=$2 dictionary=$3 output=$4
new=$(mktemp -d "${TMPDIR:-/tmp}/neap-fuzz-XXXXXX")
trap 'rm -rf "$new"' EXIT INT TERM
mkdir -p "$output"
set -- -max_total_time="${NEAP_FUZZ_SECONDS:-60}" -max_len=1024 -timeout=20 -rss_limit_mb=3072 \
    -verbosity=0 -print_final_stats=1 -artifact_prefix="$output/"
[ ! -f "$dictionary" ] || set -- "$@" -dict="$dictionary"
"$target" "$@" "$new" "$corpus"
