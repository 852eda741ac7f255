-- SPDX-License-Identifier: MIT
--
-- The n-th allocation of a whole `up` fails, whoever asks for it (memory_fault.c),
-- and promise 2 holds: no crash, no success without its effects, and the next run
-- ends with each migration applied once. Short: a spread over all n of each library
-- that allocates. Long: every n, and n after which every allocation fails.
local e2e = require "harness"
local process = e2e.process

local long = os.getenv "NEAP_FAULT" == "long"

local shim -- the preloaded library of this busted process

local function library()
  if not shim then
    shim = e2e.cluster().dir .. "/memory_fault.so"
    assert(os.execute(("%s -D_GNU_SOURCE -O1 -shared -fPIC -o %s %s"):format(
      os.getenv "CC" or "cc", process.quote(shim),
      process.quote(e2e.root .. "/tests/fault/support/memory_fault.c"))))
  end
  return shim
end

-- A transactional Lua file, a SQL file, and steps with an index built concurrently.
local function project()
  local p = e2e.project()
  p:write("neap.lua", "return { environments = { default = { url = env 'DATABASE_URL' } } }")
  p:write("lib/names.lua", "return { users = 'users' }")
  p:write("migrations/0001_users.lua", [[
local names = require "names"
return migration {
  summary = "Users",
  up = function(db)
    db:exec("create table " .. db:ident(names.users) .. " (id bigint primary key, name text)")
    for i = 1, 5 do db:exec("insert into users values ($1, $2)", i, "name " .. i) end
    for row in db:rows "select id, name from users" do assert(#row.name > 0) end
  end,
  verify = function(db, expect)
    expect.table "public.users"
    expect.equal(db:value "select count(*) from users", 5)
  end,
  down = function(db) db:exec "drop table users" end,
}]])
  p:write_sql("0002_products.sql", "create table products (id int primary key)",
    "select count(*) = 0 from products", "drop table products")
  p:write("migrations/0003_orders.lua", [[
return migration { summary = "Orders", transaction = false, steps = {
  { name = "table",
    up = function(db) db:exec "create table orders (id int, user_id bigint)" end,
    verify = function(_, expect) expect.table "public.orders" end,
    down = function(db) db:exec "drop table orders" end },
  { name = "index",
    up = function(db) db:exec "create index concurrently orders_user on orders (user_id)" end,
    verify = function(_, expect) expect.index("public.orders_user", { valid = true }) end,
    down = function(db) db:exec "drop index concurrently orders_user" end },
} }]])
  return p
end

-- `up` with the n-th allocation failing, of those that `from` asks for (nil: any):
-- its result, and what the report says.
local function up_failing_at(p, n, from, mode)
  local report = p.temp .. "/memory"
  os.remove(report)
  local r = p:neap({ "up", "--timeout", "60s" }, { env = { LD_PRELOAD = library(),
    MEMORY_FAULT_AT = tostring(n), MEMORY_FAULT_FROM = from, MEMORY_FAULT_MODE = mode,
    MEMORY_FAULT_REPORT = report } })
  return r, process.read(report) or ""
end

-- Of each migration: is it applied (as the history says), is its table there. The
-- inner query is text, because the history may not be there yet.
local state_sql = [[
  with applied(ids) as (select case when to_regclass('neap.history') is not null then
    query_to_xml('select distinct on (id) id, action from neap.history order by id, seq desc',
      true, true, '')::text else '' end)
  select string_agg(left((ids ~ (lpad(o::text, 4, '0') || '</id>\s*<action>apply'))::text, 1)
    || left((to_regclass('public.' || t) is not null)::text, 1), ' ' order by o)
  from applied, unnest(array['users', 'products', 'orders']) with ordinality u(t, o)]]

local function state(p)
  return p:value(state_sql)
end

-- Runs on until nothing is left, as the exit status says; the last result.
local function run_again(p)
  local r = p:neap { "up" }
  if r.status == 9 then
    r = p:neap { "resume" }
    r = r.status == 0 and p:neap { "up" } or r
  end
  return r
end

-- Each applied once, effects there, nobody holds the lease (it is released, or its
-- holder's backend is gone), and the audit verifies.
local function check_whole(p, place)
  assert.equal("tt tt tt", state(p), place)
  assert.equal("1 1 1 5 t", p:value [[
    select (select string_agg(n::text, ' ' order by id) from (select id, count(*) n
        from neap.history where action = 'apply' group by id) h)
      || ' ' || (select count(*) from users) || ' ' || (select left(indisvalid::text, 1)
        from pg_index where indexrelid = 'orders_user'::regclass)]], place)
  assert(process.await(10, function()
    return p:value [[select count(*) from neap.lease l join pg_stat_activity a
      on a.pid = l.backend_pid where l.released_at is null]] == "0"
  end), place)
  local audit = p:neap "audit verify"
  assert.equal(0, audit.status, place .. audit.out .. audit.err)
end

-- One trial on a database of its own.
local function trial(n, from, mode, seen)
  local p = project()
  local r, report = up_failing_at(p, n, from, mode)
  local place = ("allocation %d of %s (%s): %sexit %d\n%s%s"):format(n, from or "any", mode, report,
    r.status, r.out, r.err)
  local first, second = state(p):match "^(%S+) (%S+)"
  seen[r.status] = (seen[r.status] or 0) + 1
  assert(r.status < 124, "crashed or hung: " .. place)
  assert.is_nil(r.err:find("internal.bug", 1, true), place)
  assert(first == "tt" or first == "ff", place)
  assert(second == "tt" or second == "ff", place)
  assert(r.status == 0 or r.err ~= "", "no message: " .. place)
  -- Its own code never crashes; libpg_query 15 does where it finds no memory.
  assert(not r.err:find "neap crashed" or r.err:find "neap crashed %(signal %d+%) in libpg_query",
    place)
  assert(r.status ~= 0 or state(p) == "tt tt tt", "done without its effects: " .. place)
  local again = run_again(p)
  assert.equal(0, again.status, place .. "\nagain: " .. again.out .. again.err)
  check_whole(p, place)
  e2e.clean()
  e2e.psql("postgres", ("drop database %s with (force)"):format(p.database))
end

-- How many allocations of a whole run count.
local function count(from)
  local p = project()
  local r, report = up_failing_at(p, 0, from, "once")
  assert.equal(0, r.status, r.err)
  check_whole(p, report)
  e2e.clean()
  return assert(tonumber(report:match "count (%d+)"), report)
end

-- Who asks for memory, and at how many of its allocations the short run fails. The
-- host's own (neap) and Lua's, which it makes, are one way out; each library is
-- another.
local askers = {
  { from = "neap", short = 40 },
  { from = "libpq.", short = 40 },
  { from = "libc.", short = 25 },
  { from = "libpg_query", short = 15 },
  { from = "libz", short = 3 },
}

-- `size` numbers spread over 1..total, or all of them.
local function spread(total, size)
  local list = {}
  size = math.min(size or total, total)
  for i = 1, size do
    list[i] = 1 + (i - 1) * total // size + math.random(0, total // size - 1)
  end
  return list
end

local function try_all(total, size, from, mode)
  local seen, list = {}, spread(total, size)
  for _, n in ipairs(list) do
    trial(n, from, mode, seen)
  end
  local words = {}
  for status, times in pairs(seen) do
    words[#words + 1] = ("exit %d: %d"):format(status, times)
  end
  table.sort(words)
  print(("%d of %d allocations of %s (%s): %s"):format(#list, total, from or "any", mode,
    table.concat(words, ", ")))
  return seen
end

-- ASan has an allocator of its own, which no library can be put before.
if not e2e.sanitized then
  describe("an allocation that fails", function()
    local seed = tonumber(os.getenv "NEAP_SEED") or os.time()
    math.randomseed(seed)
    after_each(e2e.clean)

    for _, asker in ipairs(askers) do
      it(("of %s: the run ends, and the next one is whole (seed %d)"):format(asker.from, seed),
        function()
          local total = count(asker.from)
          assert(total > 0, "nothing is counted")
          local seen = try_all(total, not long and asker.short, asker.from, "once")
          assert(asker.from == "libz" or next(seen, next(seen)), "none of them was felt")
        end)
    end

    it(("with all that come after it: the same (seed %d)"):format(seed), function()
      local seen = try_all(count(), long and 500 or 6, nil, "rest")
      assert.is_nil(seen[0])
    end)
  end)
end
