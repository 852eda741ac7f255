#!/bin/sh
# SPDX-License-Identifier: MIT
#
# Line coverage of the product's C (host/, bindings/), measured by the unit, spec,
# e2e and fault tests of a coverage build, and held against two floors: 90 % of all
# lines, and every line of the heart: the step machine, transactions, the lease and
# the audit. Lua (stdlib/) is not counted: nothing in Debian counts it. What a
# process did that ended by SIGKILL is not counted either.
#
# A line that cannot be provoked says so in the code with its reason (GCOV_EXCL_LINE
# or GCOV_EXCL_START … STOP); such lines are counted here, so that they stay few.
#
# usage: tests/coverage.sh BUILD_DIR [CTEST_OPTION…]     (none: all labels)
set -eu
cd "$(dirname "$0")/.."
build=${1:?usage: tests/coverage.sh BUILD_DIR}
shift
[ $# -gt 0 ] || set -- -L '^(unit|spec|e2e|fault)$'
floor=90

# The heart, whose floor is 100 %: one pattern of paths a line.
heart='
host/change/steps.c
host/change/unit.c
host/change/attempt.c
host/change/tx.c
host/change/commit.c
host/change/look.c
host/change/recorder.c
host/change/watch.c
host/change/history.*.c
host/change/audit.*.c
bindings/lock/lease.*.c
'
heart=$(echo "$heart" | sed '/^$/d' | paste -sd'|')

failed=0
find "$build" -name '*.gcda' -delete
(cd "$build" && ctest -j "$(nproc)" "$@" --output-on-failure >&2) || failed=1
csv=$build/coverage.csv
gcovr -r . --object-directory "$build" -f host/ -f bindings/ --csv -o "$csv" \
    --html-details "$build/coverage.html" "$build"

awk -F, -v floor="$floor" -v heart="^($heart)\$" '
    NR == 1 { next }
    { lines += $2; reached += $3 }
    $1 ~ heart {
        printf "%6.1f%%  %4d of %4d  %s\n", 100 * $3 / ($2 ? $2 : 1), $3, $2, $1
        heart_lines += $2; heart_reached += $3
    }
    END {
        printf "heart: %d of %d lines\n", heart_reached, heart_lines
        printf "whole: %d of %d lines, %.2f%% (floor %d%%)\n", reached, lines,
            100 * reached / (lines ? lines : 1), floor
        exit !(heart_lines > 0 && heart_reached == heart_lines && 100 * reached >= floor * lines)
    }' "$csv" || failed=1
echo "left out as unprovokable: $(grep -rhoE 'GCOV_EXCL_(LINE|START)' host bindings | wc -l) places"
echo "each line: $build/coverage.html"
[ "$failed" = 0 ] || echo "coverage: under a floor, or a test failed"
exit "$failed"
