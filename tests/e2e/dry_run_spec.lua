-- SPDX-License-Identifier: MIT
--
-- --dry-run: executes, tells, rolls back. Nothing of it stays: no object, no
-- history, no schema neap.
local e2e = require "harness"

describe("a dry run", function()
  local p

  before_each(function()
    p = e2e.project()
  end)
  after_each(e2e.clean)

  local function relations()
    return p:value [[
      select coalesce(string_agg(n.nspname || '.' || c.relname, ' ' order by 1), '')
      from pg_class c join pg_namespace n on n.oid = c.relnamespace
      where c.relkind = 'r' and n.nspname not in ('pg_catalog', 'information_schema')]]
  end

  it("shows statements and leaves nothing, not even the schema neap", function()
    p:write_sql("0001_a.sql", "create table a (id int);\ninsert  into a\n\tvalues (1), (2)")
    p:write_table("0002", "b")
    local r = p:expect "up --dry-run"
    assert.truthy(r.out:find("up   0001 a\n", 1, true), r.out)
    assert.truthy(r.out:match "%d+%.%d ms +%- rows  create table a %(id int%)\n", r.out)
    assert.truthy(r.out:match "%d+%.%d ms +2 rows  insert into a values %(1%), %(2%)\n", r.out)
    assert.truthy(r.out:find("up   0002 b\n", 1, true), r.out)
    assert.truthy(r.out:match "rolled back: nothing was changed\n$", r.out)
    assert.is_nil(r.out:find("-1 rows", 1, true))
    assert.equal("", relations())
    assert.is_false(p:json("status").installed)
  end)

  it("gives rows, durations, places and locks in JSON", function()
    p:query "create table old (id int primary key)"
    p:write("migrations/0001_a.lua", [[
return migration {
  summary = "a",
  up = function(db)
    db:exec("insert into old select generate_series(1, $1)", 3)
    db:exec "alter table old add column more int"
    db:exec "create table new (id int references old)"
  end,
  verify = function() end, down = function() end,
}]])
    p:write_sql("0002_b.sql", "update old set more = 1")
    local document = p:json "up -n"
    assert.is_true(document.dry_run)
    assert.equal("ok", document.status)
    local first = document.applied[1].executed
    assert.equal("insert into old select generate_series(1, $1)", first[1].sql)
    assert.equal(3, first[1].rows)
    assert.equal("number", type(first[1].duration_ms))
    assert.equal("migrations/0001_a.lua:4", first[1].file .. ":" .. first[1].line)
    assert.is_nil(first[2].rows)
    assert.equal(3, #first)
    assert.same({ { relation = "public.old", mode = "AccessExclusiveLock" } },
      document.applied[1].locks)
    assert.same({}, document.applied[2].locks)
    assert.equal(3, document.applied[2].executed[1].rows)
    assert.equal("0", p:value "select count(*) from old")
  end)

  it("tells of the strongest lock only, and of relations that were there before", function()
    p:query "create table old (id int); create index old_id on old (id)"
    p:write_sql("0001_a.sql", "select * from old;\nlock table old in share mode;\n"
      .. "create table new (id int)")
    local r = p:expect "up --dry-run"
    assert.truthy(r.out:find("lock  ShareLock on public.old\n", 1, true), r.out)
    assert.is_nil(r.out:find("AccessShareLock", 1, true), r.out)
    assert.is_nil(r.out:find("on public.new", 1, true), r.out)
    p:write_sql("0001_a.sql", "drop index old_id")
    r = p:expect "up --dry-run"
    assert.truthy(r.out:find("lock  AccessExclusiveLock on public.old_id\n", 1, true), r.out)
  end)

  it("goes down too, and leaves what was applied", function()
    p:write_table("0001", "a")
    p:write_table("0002", "b")
    p:expect "up"
    local before = relations()
    local document = p:json "down --to 0 --dry-run"
    assert.equal("0002 0001", document.undone[1].id .. " " .. document.undone[2].id)
    assert.equal("drop table b", document.undone[1].executed[1].sql)
    local locks = {}
    for _, lock in ipairs(document.undone[1].locks) do
      locks[lock.relation] = lock.mode
    end
    assert.same({ ["public.b"] = "AccessExclusiveLock", ["public.b_pkey"] = "AccessExclusiveLock" },
      locks)
    assert.equal(before, relations())
    assert.equal("2", p:value "select count(*) from neap.history")
    p:expect "audit verify"
  end)

  it("says what a step without a transaction would do", function()
    p:query "create table t (id int)"
    p:write("migrations/0001_i.lua", [[
return migration {
  summary = "i", transaction = false,
  steps = { { name = "build it",
    up = function(db) db:exec "create index concurrently i on t (id)" end,
    verify = function(_, expect) expect.index("i", { valid = true }) end,
    down = function(db) db:exec "drop index concurrently i" end } },
}]])
    local r = p:expect "up --dry-run"
    assert.truthy(r.out:find("without a transaction: not executed", 1, true), r.out)
    assert.truthy(r.out:find("would run step build it", 1, true), r.out)
    assert.equal("f", p:value "select exists (select from pg_class where relname = 'i')")
    assert.is_nil(p:json("up --dry-run").applied[1].executed)
  end)

  it("names what fails, as the real run would", function()
    p:write_table("0001", "a")
    p:write_sql("0002_b.sql", "create table b (id int);\nselect wrong;\nselect 'not reached'")
    p:write_table("0003", "c")
    local document = p:json("up -n", 1)
    assert.equal("0002", document.failed.id)
    assert.same({ "0003" }, document.remaining)
    assert.equal("migrations/0002_b.sql:6", document.error.file .. ":" .. document.error.line)
    assert.is_true(document.dry_run)
    local r = p:expect("up -n", 1)
    assert.truthy(r.out:match "ms +failed +select wrong\n", r.out)
    assert.is_nil(r.out:find("not reached", 1, true), r.out)
    assert.truthy(r.out:find("failed  0002  b\nrolled back: nothing was changed\n", 1, true), r.out)
    assert.equal("", relations())
  end)

  it("shows what comes after a savepoint that was rolled back", function()
    p:write("migrations/0001_a.lua", [[
return migration {
  summary = "a",
  up = function(db)
    db:savepoint(function() db:exec "select wrong" end)
    db:exec "create table a (id int)"
  end,
  verify = function() end, down = function() end,
}]])
    local r = p:expect "up -n"
    assert.truthy(r.out:match "ms +failed +select wrong\n", r.out)
    assert.truthy(r.out:match "rows +create table a", r.out)
  end)

  it("fails on a verify that does not hold, with exit 8", function()
    p:write_sql("0001_a.sql", "create table a (id int)", "select false")
    assert.equal("verify.failed", p:json("up -n", 8).error.code)
    assert.equal("", relations())
  end)

  it("holds to requires and irreversible", function()
    p:write_table("0001", "a")
    p:write_table("0003", "c")
    p:write("migrations/0002_b.lua", [[
return migration {
  summary = "b", requires = { "0001" },
  up = function(db) db:exec "create table b (id int)" end,
  verify = unverified "test", down = irreversible "no way",
}]])
    assert.equal("history.requires", p:json({ "up", "-n", "--only", "2" }, 4).error.code)
    assert.equal(3, #p:json("up -n").applied)
    p:expect "up 2"
    local r = p:expect("down -n", 10)
    assert.truthy(r.err:find("no way back: no way", 1, true), r.err)
  end)

  it("whose locks may not be looked at fails, and leaves nothing", function()
    local role = "blind_" .. p.database
    p:query(("create role %s; revoke select on pg_catalog.pg_locks from public"):format(role))
    p:write("migrations/0001_a.lua", ([[
return migration {
  summary = "a",
  up = function(db) db:exec "create table a (id int)" db:exec "set role %s" end,
  verify = unverified "a test", down = function() end,
}]]):format(role))
    local r = p:neap "up -n"
    p:query(("drop role %s"):format(role))
    assert.equal(1, r.status, r.out .. r.err)
    assert.truthy(r.err:find("permission denied for view pg_locks", 1, true), r.err)
    assert.truthy(r.out:find("failed  0001", 1, true), r.out)
    assert.equal("", relations())
  end)

  it("waits for no lock longer than an attempt", function()
    p:query "create table old (id int)"
    p:write_sql("0001_a.sql", "alter table old add column x int")
    local session = p:session "lock table old"
    local document, r = p:json("up -n --lock-timeout 200ms", 7)
    assert.equal("lock.timeout", document.error.code)
    assert.truthy((document.error.hint or ""):find("Run it again", 1, true), r.out)
    session:close()
    p:expect "up -n"
  end)

  it("refuses to touch a protected environment", function()
    p:write("neap.lua", ([[
return { environments = { production = { url = %q, protected = true,
  allow_superuser = true } } }]]):format(p.url))
    p:write_table("0001", "a")
    local r = p:expect("-e production up --dry-run", 10)
    assert.truthy(r.err:find("environment production is protected", 1, true), r.err)
    assert.truthy(r.err:find("Rehearse on a copy", 1, true), r.err)
    assert.equal("policy.refused", p:json("-e production up -n", 10).error.code)
    assert.equal("", relations())
  end)
end)
