-- SPDX-License-Identifier: MIT
--
-- Locks that give way, the lease, many runners, the pooler: promises 4 and 11.
local e2e = require "harness"

local add_column = [[
return migration {
  summary = "test",
  up = function(db) db:exec "alter table base add column x int" end,
  verify = function(_, expect) expect.column("public.base", "x", "integer") end,
  down = function(db) db:exec "alter table base drop column x" end,
}
]]

local function project(opts)
  local p = e2e.project(opts)
  p:query "create table base (id int)"
  p:write("migrations/0001_column.lua", add_column)
  return p
end

describe("lock timeout", function()
  after_each(e2e.clean)

  it("is retried until the blocker ends, and says who it is", function()
    local p = project()
    local blocker = p:session "lock table base"
    local run = p:start { "up", "--lock-timeout", "400ms" }
    assert(run:says("trying again", 20), run:err())
    blocker:close()
    local r = run:wait(30)
    assert.equal(0, r.status, r.out .. r.err)
    assert.truthy(r.err:find(blocker.name, 1, true), r.err)
    assert.truthy(r.err:find("pg_sleep(60)", 1, true), r.err) -- what it does now
    local failed = 0
    for _, event in ipairs(p:json({ "audit", "show" }).events) do
      if event.event == "step.failed" then
        failed = failed + 1
      end
    end
    assert.truthy(failed >= 1)
  end)

  it("ends with 7 when the budget is spent, with nothing changed", function()
    local p = project()
    local blocker = p:session "lock table base"
    local r = p:neap { "up", "--lock-timeout", "300ms", "--lock-budget", "2s" }
    assert.equal(7, r.status, r.out .. r.err)
    assert.truthy(r.err:find("lock.timeout", 1, true), r.err)
    assert.truthy(r.err:find("attempts", 1, true), r.err)
    assert.truthy(r.err:find(blocker.name, 1, true), r.err)
    blocker:close()
    assert.equal("0", p:value "select count(*) from neap.history")
  end)

  it("lets readers through between attempts", function()
    local p = project()
    local reader = p:session "select count(*) from base"
    local run = p:start { "up", "--lock-timeout", "200ms" }
    assert(run:says("attempt 2", 20), run:err())
    assert.equal("0", p:value "select count(*) from base")
    reader:close()
    assert.equal(0, run:wait(30).status)
  end)
end)

describe("deadlock", function()
  after_each(e2e.clean)

  it("is retried as a whole", function()
    local p = e2e.project()
    p:query "create table a (id int); create table b (id int)"
    p:query(("alter database %s set deadlock_timeout = '100ms'"):format(p.database))
    p:write("migrations/0001_x.lua", [[
return migration {
  summary = "test", lock_timeout = "20s",
  up = function(db)
    db:query "lock table a"
    db:query "select pg_sleep(1)"
    db:query "lock table b"
    db:exec "create table made (id int)"
  end,
  verify = function(_, expect) expect.table "public.made" end,
  down = function(db) db:exec "drop table made" end,
}
]])
    local run = p:start { "up" }
    assert(e2e.process.await(20, function()
      return p:value("select count(*) from pg_locks l join pg_class c on c.oid = l.relation where"
        .. " c.relname = 'a' and l.mode = 'AccessExclusiveLock' and l.granted and l.database ="
        .. " (select oid from pg_database where datname = current_database())") ~= "0"
    end))
    os.execute "true"
    pcall(p.query, p, "begin; lock table b; lock table a; commit")
    local r = run:wait(40)
    assert.equal(0, r.status, r.out .. r.err)
    assert.equal("1", p:value "select count(*) from neap.history")
  end)
end)

describe("the lease", function()
  after_each(e2e.clean)

  it("lets one of eight runners apply each, once", function()
    local p = e2e.project()
    for i = 1, 4 do
      p:write_table(("%04d"):format(i), "t" .. i)
    end
    local runs = {}
    for i = 1, 8 do
      runs[i] = p:start({ "up" }, { env = { NEAP_STATE_DIR = p.state .. i }, timeout = 120 })
    end
    local done = 0
    for i = 1, 8 do
      local r = runs[i]:wait(120)
      assert.equal(0, r.status, r.out .. r.err)
      local _, count = r.out:gsub("applied %d", "")
      done = done + count
    end
    assert.equal("4", p:value "select count(*) from neap.history")
    assert.truthy(done >= 4)
  end)

  it("is held: exit 6 names the holder", function()
    local p = e2e.project()
    p:write("migrations/0001_x.lua", [[
return migration { summary = "x", up = function(db) db:query "select pg_sleep(6)" end,
  verify = unverified "it only waits", down = irreversible "nothing to undo" }]])
    local first = p:start { "up", "--timeout", "60s" }
    assert(e2e.process.await(20, function()
      return p:value("select to_regclass('neap.lease') is not null") == "t"
        and p:json({ "lease", "show" }).held
    end))
    local r = p:neap { "up", "--lease-wait", "1s" }
    assert.equal(6, r.status, r.out .. r.err)
    assert.truthy(r.err:find("lease.held", 1, true), r.err)
    local shown = p:neap { "lease", "show" }
    assert.truthy(shown.out:find("run ", 1, true), shown.out)
    assert.equal(0, first:wait(40).status)
  end)

  -- (tests/fault/pause_spec.lua has the holders that are taken over)
  it("stays with a holder stopped in a transaction past its time, which then goes on", function()
    local p = e2e.project()
    p:write("neap.lua", ([[return { environments = { short = {
      url = "%s", lease_ttl = "3s" } } }]]):format(p.url))
    p:write("migrations/0001_x.lua", [[
return migration { summary = "x", up = function(db) db:query "select pg_sleep(1)"
    db:exec "create table x (id int)" end,
  verify = function(_, expect) expect.table "public.x" end,
  down = function(db) db:exec "drop table x" end }]])
    local first = p:start({ "-e", "short", "up", "--timeout", "60s" }, { timeout = 60 })
    assert(e2e.process.await(20, function()
      return p:value("select count(*) from pg_stat_activity where query like '%pg_sleep(1)%'"
        .. " and datname = current_database() and pid <> pg_backend_pid()") ~= "0"
    end))
    first:signal "STOP"
    local second = p:start({ "-e", "short", "up", "--lease-wait", "40s", "--timeout", "60s" },
      { timeout = 60, env = { NEAP_STATE_DIR = p.state .. "2" } })
    os.execute "sleep 5"
    first:signal "CONT"
    local r1, r2 = first:wait(50), second:wait(50)
    assert.equal(0, r2.status, r2.out .. r2.err)
    assert.equal(0, r1.status, r1.out .. r1.err)
    assert.truthy(r1.out:find("applied 0001", 1, true), r1.out)
    assert.truthy(r2.out:find("nothing to do", 1, true), r2.out)
    assert.equal("1", p:value "select count(*) from neap.history")
  end)

  it("applies the files as they were looked at, whatever is written while it waits", function()
    local p = e2e.project()
    p:write("migrations/0001_x.lua", [[
return migration { summary = "x", up = function(db) db:query "select pg_sleep(2.5)"
    db:exec "create table x (id int)" end,
  verify = function(_, expect) expect.table "public.x" end,
  down = function(db) db:exec "drop table x" end }]])
    local function second_file(name)
      p:write("migrations/0002_y.lua", ([[
return migration { summary = "y", up = function(db) db:exec "create table %s (id int)" end,
  verify = unverified "t", down = irreversible "t" }]]):format(name))
    end
    second_file "looked_at"
    local first = p:start({ "up", "--to", "0001" }, { timeout = 60 })
    assert(e2e.process.await(20, function()
      return p:value("select count(*) from pg_stat_activity where query like '%pg_sleep(2.5)%'"
        .. " and datname = current_database() and pid <> pg_backend_pid()") ~= "0"
    end))
    local second = p:start({ "up" }, { timeout = 60 })
    assert(second:says("waiting for the lease", 20), second:err())
    second_file "written_later"
    local r1, r2 = first:wait(50), second:wait(50)
    assert.equal(0, r1.status, r1.out .. r1.err)
    assert.equal(0, r2.status, r2.out .. r2.err)
    assert.equal("t", p:value "select to_regclass('looked_at') is not null")
    assert.equal("t", p:value "select to_regclass('written_later') is null")
    assert.equal(5, p:neap({ "up" }).status)
  end)

  it("can be broken, with a reason", function()
    local p = project()
    p:expect { "up" }
    assert.equal(2, p:neap({ "lease", "break" }).status)
    local r = p:expect { "lease", "break", "--reason", "test" }
    assert.truthy(r.out:find("nobody holds the lease", 1, true), r.out)
  end)
end)

describe("a transaction pooler", function()
  after_each(e2e.clean)

  it("is found and refused: exit 13 says what to do", function()
    local p = e2e.project { pooled = true }
    p:write_table("0001", "t")
    local r = p:neap { "up" }
    assert.equal(13, r.status, r.out .. r.err)
    assert.truthy(r.err:find("db.pooler", 1, true), r.err)
    assert.equal("f", p:value "select to_regclass('neap.history') is not null")
  end)

  it("carries transactional migrations where the environment allows it", function()
    local p = e2e.project { pooled = true }
    p:write_table("0001", "t")
    p:write("migrations/0002_set.lua", [[
return migration { summary = "x",
  up = function(db) db:exec "set lock_timeout = '7s'" db:exec "set search_path = nowhere" end,
  verify = unverified "it leaves only settings", down = function() end }]])
    p:write("neap.lua", ([[return { environments = { pooled = { url = "%s",
      pooler = "transaction", lease_ttl = "3s" } } }]]):format(p.url))
    local r = p:neap { "-e", "pooled", "up" }
    assert.equal(0, r.status, r.out .. r.err)
    assert.equal("2", p:value "select count(*) from neap.history")
    local psql = { e2e.cluster().bin .. "/psql", "-XAtqd", p.url, "-c", "show lock_timeout", "-c",
      "show search_path" }
    local shown = e2e.process.run(psql, p.temp .. "/shown", { cwd = "/", env = p.env })
    assert.equal('0\n"$user", public\n', shown.out, shown.err)
  end)

  it("keeps sessions that bear a run's name: nobody waits for them", function()
    local p = e2e.project { pooled = true }
    p:write("neap.lua", ([[return { environments = { pooled = { url = "%s",
      pooler = "transaction" } } }]]):format(p.url))
    p:write_table("0001", "t1")
    p:expect { "-e", "pooled", "up" }
    assert.truthy(p:value("select string_agg(application_name, ' ') from pg_stat_activity where"
      .. " datname = current_database()"):find("neap:", 1, true))
    p:query "update neap.meta set environment = null"
    p:write_table("0002", "t2")
    p:expect({ "up", "--lease-wait", "0s" }, 0, { env = { DATABASE_URL = e2e.url(p.database) } })
  end)

  it("refuses steps without a transaction", function()
    local p = e2e.project { pooled = true }
    p:write("migrations/0001_x.lua", [[
return migration { summary = "x", transaction = false, steps = { { name = "one",
  up = function(db) db:exec "create table x (id int)" end,
  verify = function(_, expect) expect.table "public.x" end,
  down = function(db) db:exec "drop table x" end } } }]])
    p:write("neap.lua", ([[return { environments = { pooled = { url = "%s",
      pooler = "transaction", lease_ttl = "3s" } } }]]):format(p.url))
    local r = p:neap { "-e", "pooled", "up" }
    assert.equal(13, r.status, r.out .. r.err)
    assert.equal("f", p:value "select to_regclass('public.x') is not null")
  end)
end)
