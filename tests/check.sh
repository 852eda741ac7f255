#!/bin/sh
# SPDX-License-Identifier: MIT
#
# Three analyzers over the C, each of which sees what the others do not; one
# finding of any of them fails. What is silenced stands with its reason: checks in
# .clang-tidy, single places in the code (NOLINT, cppcheck-suppress). Not in CI:
# clang-tidy alone takes three minutes of processor time. The tests are for cppcheck
# only: the other two follow paths behind a failed cmocka assertion, which they
# cannot know to end the case.
#
# usage: tests/check.sh BUILD_DIR     (a built one)
set -eu
cd "$(dirname "$0")/.."
build=${1:?usage: tests/check.sh BUILD_DIR}
log=$(mktemp)
trap 'rm -f "$log"' EXIT
failed=0

# report NAME STATUS: the findings of the last analyzer.
report() {
    if [ "$2" = 0 ]; then
        echo "$1: clean"
    else
        cat "$log"
        echo "$1: findings"
        failed=1
    fi
}

# Warnings are errors in a dev build; a directory of its own keeps the flag apart.
analyzed=$build-check
status=0
{ cmake -G Ninja -B "$analyzed" -DNEAP_PRESET=dev -DCMAKE_C_FLAGS=-fanalyzer \
    -DCMAKE_C_COMPILER=gcc &&
    cmake --build "$analyzed" -j "$(nproc)" --target neap -- -k 0; } >"$log" 2>&1 || status=$?
report "gcc -fanalyzer" "$status"

# Without __NO_CTYPE glibc's tolower is a macro full of branches, which
# function-size counts as the caller's.
status=0
run-clang-tidy -p "$build" -j "$(nproc)" -quiet -extra-arg=-D__NO_CTYPE \
    '/(host|bindings)/.*\.c$' >"$log" 2>/dev/null || status=$?
sed -i '/^clang-tidy/d' "$log"
report clang-tidy "$status"

status=0
cppcheck --project="$build/compile_commands.json" -i "$build" --std=c11 --quiet \
    --enable=warning,performance,portability,style --library=tests/lint/cppcheck.cfg \
    --inline-suppr --error-exitcode=1 -j "$(nproc)" >"$log" 2>&1 || status=$?
report cppcheck "$status"
exit "$failed"
