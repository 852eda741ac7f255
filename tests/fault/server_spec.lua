-- SPDX-License-Identifier: MIT
--
-- The server goes away in mid-run: restarted, crashed, its sessions ended, another
-- backend killed (57P02), a standby promoted in its place. Promise 2: what the run
-- says is true, and the next run ends with each migration applied once.
local e2e = require "harness"
local network = require "network"
local server = require "server"
local trials = require "trials"

local NAMES = { ["0001"] = "t1", ["0002"] = "t2", ["0003"] = "s", ["0004"] = "t4" }

local function write_migrations(p)
  for _, id in ipairs { "0001", "0002", "0004" } do
    p:write_sql(id .. "_t.sql", ("create table %s (id int); select pg_sleep(0.1);"
      .. " insert into %s values (1)"):format(NAMES[id], NAMES[id]),
      ("select count(*) = 1 from %s"):format(NAMES[id]), "drop table " .. NAMES[id])
  end
  p:write("migrations/0003_s.lua", [[
return migration { summary = "s", transaction = false, steps = {
  { name = "index",
    up = function(db) db:query "select pg_sleep(0.1)"
      db:exec "create index concurrently s on t2 (id)" end,
    verify = function(_, expect) expect.index("public.s", { valid = true }) end,
    down = function(db) db:exec "drop index concurrently if exists s" end },
  { name = "row",
    up = function(db) db:exec "insert into t2 values (2) on conflict do nothing" end,
    verify = function(db, expect) expect.equal(db:value "select count(*) from t2", 2) end,
    down = function(db) db:exec "delete from t2 where id = 2" end },
} }]])
end

local function is_applied(s, id)
  return s:query "select to_regclass('neap.history') is not null" == "t"
    and s:query(("select exists (select from neap.history where id = '%s')"):format(id)) == "t"
end

local function check_truth(s, r, place)
  for id, name in pairs(NAMES) do
    local applied = is_applied(s, id)
    local there = s:query(("select to_regclass('public.%s') is not null"):format(name)) == "t"
    assert(not r.out:find("applied " .. id, 1, true) or applied, place .. id .. " is lost")
    assert(r.status ~= 0 or applied, place .. id .. " is not applied")
    assert(id == "0003" or applied == there, place .. id .. " is torn")
    assert(not r.out:find("failed  " .. id, 1, true) or not applied, place .. id .. " is applied")
  end
  assert(({ [0] = true, true, [9] = true, [13] = true })[r.status], place)
  assert(not r.err:find("internal.bug", 1, true), place)
end

local function converge(p, s, place)
  local again = trials.neap(p, { "up" })
  assert(again.status == 0, place .. "the next run: " .. again.out .. again.err)
  assert.equal("4 4", s:query "select count(*) || ' ' || count(distinct id) from neap.history")
  assert.equal("1 2 1 0", s:query [[select (select count(*) from t1) || ' ' || (select count(*)
    from t2) || ' ' || (select count(*) from t4) || ' ' || (select count(*) from pg_index
    where not indisvalid)]])
  local audit = trials.neap(p, { "audit", "verify" })
  assert(audit.status == 0, place .. audit.out .. audit.err)
  -- Where nothing was left to do nobody took it: it is free, as its session is gone.
  assert.equal("0", s:query [[select count(*) from neap.lease l join pg_stat_activity a
    on a.pid = l.backend_pid and a.backend_start = l.backend_start where released_at is null]],
    place)
end

local function terminate(order)
  return function(s)
    s:query(([[select pg_terminate_backend(pid) from (select pid, row_number() over
      (order by backend_start) n from pg_stat_activity where application_name like 'neap:%%') x
      where %s]]):format(order))
  end
end

local faults = {
  ["restarted"] = function(s) s:stop "INT" s:start() end,
  ["crashed"] = function(s) s:stop "QUIT" s:start() end,
  ["control session ended"] = terminate "n = 1",
  ["work session ended"] = terminate "n = 2",
  ["both sessions ended"] = terminate "true",
  ["another backend killed"] = function(s)
    os.execute(("kill -SEGV %s"):format(s:query "select pg_backend_pid()" and
      s:query "select pid from pg_stat_activity where backend_type = 'walwriter'"))
    e2e.process.await(30, function()
      return s:query "select 1"
    end)
  end,
}

-- Undoes everything, for the next trial on the same server.
local function reset(p, s)
  assert(s:query [[drop schema if exists neap cascade; drop table if exists t1, t2, t4]])
  os.execute("rm -rf " .. e2e.process.quote(p.state))
end

local function run_trial(p, s, name, wait, seen)
  local run = p:start({ "up" }, { timeout = 100 })
  trials.sleep(wait)
  faults[name](s)
  local r = trials.wait(run, 100)
  local place = ("%s after %.3f s: exit %d\n%s%s"):format(name, wait, r.status, r.out, r.err)
  check_truth(s, r, place)
  converge(p, s, place)
  seen[r.status] = (seen[r.status] or 0) + 1
  reset(p, s)
end

local function new_project()
  local p = e2e.project { database = false }
  write_migrations(p)
  return p
end

describe("a server", function()
  setup(trials.seed)
  after_each(e2e.clean)

  it("that goes away in mid-run", function()
    local list, seen = {}, {}
    for name in pairs(faults) do
      for _ = 1, trials.count(5, 200) do
        list[#list + 1] = name
      end
    end
    trials.each(list, 4, function(name, slot)
      if not slot.project then
        slot.project = new_project()
        slot.server = server.new(slot.project, "server")
        slot.project.env.DATABASE_URL = slot.server:url()
      end
      run_trial(slot.project, slot.server, name, math.random() * 0.8, seen)
    end)
    trials.summary("server", #list, ("exit 0: %d, 1: %d, 9: %d, 13: %d"):format(seen[0] or 0,
      seen[1] or 0, seen[9] or 0, seen[13] or 0))
  end)

  it("that crashes during COMMIT forgets who held the lease: nobody took it", function()
    local p = e2e.project { database = false }
    local s = server.new(p, "server")
    p.env.DATABASE_URL = s:url()
    p:write_table("0001", "t1")
    p:expect { "up" }
    p:write_table("0002", "t2")
    p:write_table("0003", "t3")
    local proxy = network.open(p, "hole", 2, "commit+0", s.dir .. "/.s.PGSQL.5432")
    local through = ("postgresql:///postgres?host=%s,%s&user=postgres"):format(
      (proxy.dir:gsub("/", "%%2F")), (s.dir:gsub("/", "%%2F")))
    local run = p:start({ "up", "--timeout", "100s" }, { env = { DATABASE_URL = through },
      timeout = 120 })
    assert(proxy:says("fired", 30), run:err())
    e2e.process.await(10, function()
      return s:query "select to_regclass('public.t2') is not null" == "t"
    end)
    s:stop "QUIT"
    s:start()
    proxy:stop()
    local r = run:wait(120)
    local text = ("exit %d\n%s%s"):format(r.status, r.out, r.err)
    assert.equal(1, r.status, text) -- 0003 was on its way on the same session
    assert.truthy(r.err:find("(code db.lost)", 1, true), text)
    assert.falsy(r.err:find("deferred constraint", 1, true), text)
    assert.truthy(r.out:find("applied 0002", 1, true), text)
    p:expect { "up" }
    assert.equal("3", s:query "select count(*) from neap.history")
    p:expect { "audit", "verify" }
  end)

  it("whose standby is promoted during COMMIT: the change of timeline is told", function()
    local p = e2e.project { database = false }
    local primary = server.new(p, "primary")
    local standby = primary:standby "standby"
    p.database = "postgres"
    p:write_table("0001", "t1")
    p.env.DATABASE_URL = primary:url()
    p:expect { "up" }
    p:write_table("0002", "t2")
    local proxy = network.open(p, "hole", 2, "commit+0", primary.dir .. "/.s.PGSQL.5432")
    local both = ("postgresql:///postgres?host=%s,%s&user=postgres&target_session_attrs=read-write")
      :format((proxy.dir:gsub("/", "%%2F")), (standby.dir:gsub("/", "%%2F")))
    local run = p:start({ "up", "--timeout", "100s" }, { env = { DATABASE_URL = both },
      timeout = 120 })
    assert(proxy:says("fired", 30), run:err())
    e2e.process.await(10, function() -- the standby has it
      return standby:query "select to_regclass('public.t2') is not null" == "t"
    end)
    primary:stop "QUIT"
    assert(standby:query "select pg_promote(true, 30)")
    proxy:stop()
    local r = run:wait(120)
    local text = ("exit %d\n%s%s"):format(r.status, r.out, r.err)
    assert(r.err:find("target.timeline", 1, true) or r.err:find("timeline 1 to 2", 1, true), text)
    assert.equal(0, r.status, text)
    p.env.DATABASE_URL = standby:url()
    assert.truthy(p:expect({ "up" }).out:find("nothing to do", 1, true))
    local told = 0
    for _, event in ipairs(p:json({ "audit", "show" }).events) do
      told = told + (event.event == "target.failed_over" and 1 or 0)
    end
    assert.equal(1, told)
    p:expect { "audit", "verify" }
  end)
end)
