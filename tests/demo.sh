#!/bin/sh
# SPDX-License-Identifier: MIT
#
# The example project from an empty scratch server to a verified audit, and then with
# the proofs that a protected environment asks for, in a copy of the project with its
# own state. Each command's exit status is checked; those that fail on purpose must fail
# as they should.
#
# usage: tests/demo.sh build/neap
set -eu
cd "$(dirname "$0")/.."
neap=$(realpath "$1")
work=$(mktemp -d /tmp/neap-demo-XXXXXX)
cp -R migrations runbooks lib "$work"
# Nothing of the caller's own targets may reach the demo.
unset DATABASE_URL PGHOST PGPORT PGUSER PGDATABASE PGSERVICE NEAP_ENV NEAP_PROJECT NEAP_JSON \
    NEAP_QUIET NEAP_VERBOSE NEAP_REASON NEAP_TICKET
export NEAP_STATE_DIR="$work/state"
trap '"$neap" -C "$work" scratch stop >/dev/null 2>&1 || true; rm -rf "$work"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

say() { printf '\n\033[1m%s\033[0m\n' "$*"; }
[ -t 1 ] || say() { printf '\n%s\n' "$*"; }

# run STATUS ARGUMENT…: neap on the copy; its output is shown and kept in $work/out.
run() {
    expected=$1
    shift
    say "\$ neap $*"
    status=0
    "$neap" -C "$work" "$@" >"$work/out" 2>&1 || status=$?
    cat "$work/out"
    [ "$status" = "$expected" ] || fail "exit $status, expected $expected"
}
fail() {
    printf 'demo: %s\n' "$*" >&2
    exit 1
}
shows() { grep -q -- "$1" "$work/out" || fail "the output does not show: $1"; }

say "A throwaway PostgreSQL, started by neap"
run 0 scratch start
run 0 -e scratch up --to 0015 --reason "the demo"
run 0 -e scratch status
shows '15 applied, 1 pending'
run 0 -e scratch verify
run 0 -e scratch history

say "Two steps back, and forward again"
run 0 -e scratch down 2 --reason "the demo goes back"
run 3 -e scratch status --exit-code
run 0 -e scratch up --reason "the demo goes on"

say "A change with no way back says so, and stays"
run 10 -e scratch down --reason "the demo asks for too much"
shows 'has no way back'

say "A migration that fails halfway leaves nothing behind"
cat >"$work/migrations/0017_coupons.lua" <<'EOF'
--- why: people like to pay less
--- risk: this one is wrong on purpose
--- locks: none
return migration {
  summary = "Coupons, with a mistake",
  up = function(db)
    db:exec "CREATE TABLE shop.coupons (sku text REFERENCES shop.products (sku))"
    db:exec "INSERT INTO shop.coupons VALUES ('no-such-product')"
  end,
  verify = function(_, expect) expect.table "shop.coupons" end,
  down = function(db) db:exec "DROP TABLE shop.coupons" end,
}
EOF
run 1 -e scratch up --reason "the demo fails"
shows 0017
shows "neap "
run 0 scratch psql -- -XAtc "SELECT to_regclass('shop.coupons') IS NULL AS nothing_is_left"
shows '^t$'
run 3 -e scratch status --exit-code
rm "$work/migrations/0017_coupons.lua"

say "Every event is in a chain that shows removal, change and reordering"
run 0 -e scratch audit verify

say "A protected environment: another database of that server, called production"
run 0 scratch psql -- -qc 'CREATE DATABASE shop'
SHOP_URL=$("$neap" -C "$work" scratch url | sed 's|:///neap?|:///shop?|')
server=$("$neap" -C "$work" scratch psql -- -XAtc \
    'SELECT system_identifier FROM pg_control_system()')
export SHOP_URL
cat >"$work/neap.lua" <<EOF
return {
  environments = {
    production = {
      url = env "SHOP_URL",
      protected = true,        -- asks for its name, and for proof before a change
      database = "shop",       -- is this database and no other
      system_identifier = "$server",
      allow_superuser = true,  -- scratch has no other role
    },
  },
}
EOF
chmod 600 "$work/neap.lua"
cat "$work/neap.lua"
rm "$work/migrations/0016_product_name_dropped.lua" # it has no way back to be shown
run 0 -e production up --to 0012 --reason "the shop opens" --confirm shop

say "What the next ones will do, on a restored copy of what is there now"
run 0 -e production backup create --tag daily
run 0 -e production backup verify
run 0 -e production rehearse
shows 'each down led back'
run 0 -e production preflight

say "The change: proof first, then apply, then a look at what came of it"
run 0 -e production up --to 0015 --reason "the new titles" --ticket SHOP-42 --confirm shop
shows 'passed *rehearsal'
shows 'passed *validate'
run 0 report
shows 'proved before this run'

say "A change that is wrong is stopped on the copy"
cat >"$work/migrations/0016_coupons.lua" <<'EOF'
--- why: people like to pay less
--- risk: this one is wrong on purpose
--- locks: none
return migration {
  summary = "A coupon for every product, or so they say",
  transaction = false,
  steps = {
    {
      name = "coupons",
      up = function(db)
        db:exec "CREATE TABLE shop.coupons (sku text PRIMARY KEY REFERENCES shop.products (sku))"
        db:exec "INSERT INTO shop.coupons SELECT sku FROM shop.products LIMIT 1"
      end,
      verify = function(db, expect)
        expect.equal(db:value "SELECT count(*) FROM shop.coupons",
          db:value "SELECT count(*) FROM shop.products")
      end,
      down = function(db) db:exec "DROP TABLE shop.coupons" end,
    },
  },
}
EOF
run 10 -e production up --reason "coupons" --confirm shop
shows 'failed *rehearsal'

say "Without the rehearsal it is found where it hurts, and undone"
run 8 -e production up --skip-rehearsal --reason "we are in a hurry" --confirm shop
run 0 report
shows 'skipped by --skip-rehearsal'
shows 'the schema is as it was before'
run 3 -e production status --exit-code
run 0 -e production audit verify
run 0 scratch stop
say "That is neap. Next: README.md, \"Your first migration\"."
