-- SPDX-License-Identifier: MIT
--
-- A runner that is stopped (SIGSTOP) past its lease, at the points of a migration
-- where that may hurt: promise 4. Taken over, it wakes up, commits nothing and says
-- why; left alone, it goes on.
local e2e = require "harness"
local trials = require "trials"

local compute = e2e.sanitized and "for _ = 1, 1e8 do end" or "for _ = 1, 6e8 do end"

local load_time = e2e.sanitized and "for _ = 1, 4e7 do end" or "for _ = 1, 4e8 do end"

local function table_of(head, up)
  return ([[%s return migration { summary = "x", up = function(db)
    %s db:exec "create table x (id int)" end,
  verify = function(_, expect) expect.table "public.x" end,
  down = function(db) db:exec "drop table x" end }]]):format(head, up)
end

local steps = [[
return migration { summary = "x", transaction = false, steps = {
  { name = "index",
    up = function(db) db:exec "create index concurrently x on base (id)" end,
    verify = function(_, expect) expect.index("public.x", { valid = true }) end,
    down = function(db) db:exec "drop index concurrently x" end },
  { name = "table",
    up = function(db) db:exec "create table after_x (id int)" end,
    verify = function(_, expect) expect.table "public.after_x" end,
    down = function(db) db:exec "drop table after_x" end },
} }]]

-- script; is_there: a condition on the sessions `a` of the run that holds at the point;
-- blocker: what keeps it there.
local points = {
  ["in a statement"] = { script = table_of("", 'db:query "select pg_sleep(12)"'),
    is_there = "a.wait_event = 'PgSleep'" },
  ["in a transaction, computing"] = {
    script = table_of("", 'db:value "select 12345"' .. compute),
    is_there = "a.query like '%12345%' and a.state = 'idle in transaction'" },
  ["between two migrations"] = {
    script = table_of(load_time, ""), -- loading a script has 2 s of CPU time
    is_there = "to_regclass('public.t1') is not null and to_regclass('public.x') is null"
      .. " and not exists (select"
      .. " from pg_stat_activity t where t.xact_start is not null and t.application_name"
      .. " like 'neap:%' and t.datname = current_database())" },
  ["in a concurrent index build"] = { script = steps, blocker = "select * from base",
    is_there = "a.query like 'create index concurrently%' and a.wait_event = 'virtualxid'" },
  ["just before the records and COMMIT"] = {
    script = table_of("", ""):gsub("expect.table", "db:value 'select count(*) from base' %0")
      :gsub("%(_, expect", "(db, expect"),
    blocker = "lock table base",
    is_there = "a.query like '%from base%' and a.wait_event_type = 'Lock'" },
  -- The server has the COMMIT: nobody can take over from that transaction.
  ["in the records, with COMMIT behind them"] = { script = table_of("", ""), late = true,
    commits = true, blocker = "lock table neap.history in share mode",
    is_there = "a.query like '%neap.record(%' and a.wait_event_type = 'Lock'" },
}

local pooler -- with room for both sessions of a run; one serves every database

local function pooled_url(p)
  local cluster = e2e.cluster()
  pooler = pooler or e2e.pooler(cluster.dir .. "/pause", cluster.socket, 8)
  return e2e.pooled_url(p.database, pooler)
end

local function project(point, pooled)
  local p = e2e.project()
  p:query "create table base (id int)"
  p:write_table("0001", "t1")
  if point.late then
    p:expect { "up" }
  end
  p:write("migrations/0002_x.lua", point.script)
  p:write("neap.lua", ([[return { environments = {
    short = { url = "%s", lease_ttl = "3s", lock_timeout = "60s" %s } } }]]):format(
    pooled and pooled_url(p) or p.url, pooled and ', pooler = "transaction"' or ""))
  return p
end

-- Starts a run and stops it at the point; nil when it was past it before it stopped.
local function stop_at(p, point)
  local function is_there()
    return p:value("select exists (select from pg_stat_activity a where a.application_name like"
      .. " 'neap:%' and a.datname = current_database() and " .. point.is_there .. ")") == "t"
  end
  local blocker = point.blocker and p:session(point.blocker)
  local run = p:start({ "-e", "short", "up", "--timeout", "100s" }, { timeout = 200 })
  trials.await(30, function()
    return not run:running() or is_there()
  end)
  run:signal "STOP"
  local stopped = run:running() and is_there()
  if blocker then
    blocker:close()
  end
  if not stopped then
    run:stop()
    return nil
  end
  return run
end

-- A project whose run is stopped at the point; a few tries, since the point is short.
local function stopped_project(trial)
  local point, pooled = trial.point, trial.pooled
  for _ = 1, 10 do
    local p = project(point, pooled)
    local run = stop_at(p, point)
    if run then
      return p, run
    end
  end
  error(trial.name .. ": it was past the point each time")
end

local function check_end(p)
  local shown = trials.neap(p, { "-e", "short", "status" })
  assert.equal(0, shown.status, shown.out .. shown.err)
  assert.equal("2 2", p:value "select count(*) || ' ' || count(distinct id) from neap.history")
  assert.equal("t", p:value "select to_regclass('public.x') is not null")
  assert.equal("0", p:value "select count(*) from pg_index where not indisvalid")
  local audit = trials.neap(p, { "-e", "short", "audit", "verify" })
  assert.equal(0, audit.status, audit.out .. audit.err)
end

local function left_alone(trial)
  local p, run = stopped_project(trial)
  trials.sleep(3.5 + math.random())
  run:signal "CONT"
  local r = trials.wait(run, 150)
  assert(r.status == 0, trial.name .. ": exit " .. r.status .. "\n" .. r.out .. r.err)
  check_end(p)
end

-- `expiry`: nothing but time takes it; else an operator breaks the lease.
local function taken_over(trial)
  local p, run = stopped_project(trial)
  trials.sleep(3.1 + math.random())
  if not trial.expiry then
    local broken = trials.neap(p, { "-e", "short", "lease", "break", "--terminate", "--reason",
      "it hangs" })
    assert(broken.status == 0, trial.name .. broken.out .. broken.err)
  end
  local second = trials.neap(p, { "-e", "short", "up", "--timeout", "100s" }, { timeout = 150,
    env = { NEAP_STATE_DIR = p.state .. "2" } })
  assert(second.status == 0, trial.name .. ": the second " .. second.out .. second.err)
  assert.truthy(second.out:find("applied 0002", 1, true), second.out)
  local rows = p:value "select string_agg(run_id, ' ' order by id) from neap.history"
  run:signal "CONT"
  local r = trials.wait(run, 150)
  local text = trial.name .. ": exit " .. r.status .. "\n" .. r.out .. r.err
  assert(r.status == 6, text)
  assert(r.err:find("lease.lost", 1, true), text)
  assert(not r.out:find("applied 0002", 1, true), text)
  assert.equal(rows, p:value "select string_agg(run_id, ' ' order by id) from neap.history")
  check_end(p)
end

describe("a runner that is stopped past its lease", function()
  setup(trials.seed)
  after_each(e2e.clean)

  local function all(name, trial, more)
    local list = {}
    for _ = 1, trials.count(1, 20) do
      for where, point in pairs(points) do
        if trial == left_alone or not point.commits then
          list[#list + 1] = { name = where, point = point }
        end
      end
    end
    for _ = 1, trials.count(1, 20) do
      for _, each in ipairs(more or {}) do
        list[#list + 1] = each
      end
    end
    trials.each(list, 4, trial)
    trials.summary("pause, " .. name, #list, "over the points of a migration")
  end

  it("and that nobody took over from, goes on", function()
    all("left alone", left_alone)
  end)

  it("and taken over from, commits nothing and ends with 6", function()
    all("taken over", taken_over, {
      { name = "pooled, between", point = points["between two migrations"], pooled = true,
        expiry = true },
      { name = "pooled, in a statement", point = points["in a statement"], pooled = true },
    })
  end)

  it("or computes for longer than it, keeps it", function()
    local p = e2e.project()
    p:write("neap.lua", ([[return { environments = {
      short = { url = "%s", lease_ttl = "3s" } } }]]):format(p.url))
    p:write("migrations/0001_x.lua", table_of("", compute:rep(2, " ")))
    local r = p:expect({ "-e", "short", "up", "--timeout", "100s" }, 0, { timeout = 200 })
    assert.is_nil(r.err:find("lease", 1, true), r.err)
  end)
end)
