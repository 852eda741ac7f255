-- SPDX-License-Identifier: MIT
--
-- SIGKILL at any instant and at any call that reaches outside (promises 1, 2, 4
-- and 6): `up` over ten migrations, `down`, `resume`. kill_trials.lua says what a
-- trial is. 500 trials, 100 under a sanitizer, 10,000 with NEAP_FAULT=long;
-- NEAP_FAULT_TRIALS and NEAP_FAULT_SEED say otherwise; with the same two,
-- NEAP_FAULT_ROUND repeats one round (which a violation names).
local e2e = require "harness"
local kills = require "kill_trials"
local project = require "kill_project"
local trials = require "trials"
local process = e2e.process

local WORKERS = 2
local ROUND = os.getenv "NEAP_FAULT_ROUND"

local function start_worker(dir, seed, count, number)
  local env = {}
  for _, name in ipairs { "PATH", "NEAP_BUILD_DIR", "NEAP_BIN", "NEAP_SANITIZE", "NEAP_PG_BINDIR",
    "ASAN_OPTIONS", "CC" } do
    env[name] = os.getenv(name)
  end
  return process.start({ "lua5.4", "tests/fault/support/kill_worker.lua", process.own_pid(),
    tostring(seed), tostring(count), tostring(number), tostring(WORKERS), ROUND },
    ("%s/worker-%d"):format(dir, number), { cwd = e2e.root, env = env })
end

local function run_trials(seed, count)
  local dir = process.capture "mktemp -d /tmp/neap-e2e-XXXXXX"
  local workers = {}
  for i = 1, WORKERS do
    workers[i] = start_worker(dir, seed, count, i)
  end
  local total, said = { trials = 0, hit = 0, again = 0, violations = 0, ms = 0 }, ""
  for _, worker in ipairs(workers) do
    local r = worker:wait(14000)
    said = said .. r.out .. r.err
    assert(r.status == 0, said)
    for name, value in r.out:match("([^\n]+)\n$"):gmatch "(%l+) (%d+)" do
      total[name] = total[name] + tonumber(value)
    end
  end
  os.execute("rm -rf " .. process.quote(dir))
  return total, said
end

describe("kill -9", function()
  after_each(e2e.clean)

  it("at any instant and any call: each migration ends applied, or undone, once", function()
    local count = tonumber(os.getenv "NEAP_FAULT_TRIALS" or "") or trials.count(500, 10000)
    local total, said = run_trials(trials.seed(), count)
    trials.summary("kill", total.trials, ("%d kills hit a live process, %d re-runs killed too, "
      .. "%d ms a trial and worker"):format(total.hit, total.again,
      total.ms // math.max(total.trials, 1)), total.violations)
    assert(total.violations == 0, said)
    if ROUND then
      return
    end
    assert.equal(count, total.trials)
    assert(total.hit > count * 0.6 and total.again > count * 0.2, "too few were alive")
  end)

  it("has every call of a run in its plan, where there are as many trials", function()
    local rounds, calls, planned, count = kills.rounds(10000), 1200, {}, 0
    for round = 1, rounds do
      local n = kills.is_call(round) and kills.planned_call(round, rounds, calls, 0.7)
      count = count + (n and not planned[n] and 1 or 0)
      planned[n or 0] = true
    end
    assert.equal(calls, count)
  end)
end)

-- The old session works on after its run was killed: nothing tells the server that
-- nobody listens. Its effect comes last.
local function long_statement(transaction)
  local up = [=[function(db)
    db:exec "set client_connection_check_interval = 0"
    db:query "select trial.hold()"
    db:exec "select trial.mark('0001', 'note')"
  end]=]
  local step = [=[function(db)
    db:exec "set client_connection_check_interval = 0"
    db:query "select trial.mark('0001', 'note') from trial.hold()"
  end]=]
  local rest = [=[
    verify = function(db, expect)
      expect.equal(db:value "select count(*) from trial.mark where id = '0001'", 1)
    end,
    down = function(db) db:exec "delete from trial.mark where id = '0001'" end,]=]
  if transaction then
    return ("return migration {\n  summary = 's', up = %s,\n%s\n}\n"):format(up, rest)
  end
  return ("return migration {\n  summary = 's', transaction = false, steps = { {\n"
    .. "    name = 'note', up = %s,\n%s\n  } },\n}\n"):format(step, rest)
end

local function old_session(p)
  return p:value [[select pid from pg_stat_activity where application_name like 'neap:%'
    and datname = current_database() and query like '%trial.hold()%' and state = 'active']]
end

-- A run that is killed in mid-statement, and goes on in the server until the gate opens.
local function orphan(transaction)
  local p = e2e.project()
  p:query(project.base)
  p:query "update trial.gate set open = false"
  p:write("migrations/0001_note.lua", long_statement(transaction))
  local run = p:start { "up" }
  assert(process.await(20, function()
    return old_session(p) ~= ""
  end), run:err())
  run:signal "KILL"
  run:wait(10)
  return p
end

-- A run that must wait for `pid`, and ends well when that has ended.
local function await_turn(p, pid)
  local run = p:start { "up" }
  assert(run:says("pid " .. pid, 20), run:err())
  assert.equal(pid, old_session(p))
  p:query "update trial.gate set open = true"
  local r = run:wait(60)
  assert.equal(0, r.status, r.out .. r.err)
end

local function check_once(p)
  assert.equal("1", p:value "select count(*) from trial.mark where id = '0001'")
  assert.equal("0", p:value "select coalesce(sum(others), 0) from trial.mark")
  assert.equal("1", p:value "select count(*) from neap.history")
  assert.equal("0", p:value "select count(*) from neap.step where not settled")
  assert.equal("0", p:value "select count(*) from neap.lease where released_at is null")
  p:expect { "audit", "verify" }
end

describe("kill -9 in a long statement", function()
  after_each(e2e.clean)

  for kind, transaction in pairs { ["a transaction"] = true, ["a step"] = false } do
    it("of " .. kind .. ": the next run waits for the old session", function()
      local p = orphan(transaction)
      await_turn(p, old_session(p))
      check_once(p)
    end)

    it("of " .. kind .. ": so does the run after one that was killed waiting", function()
      local p = orphan(transaction)
      local second = p:start { "up" }
      assert(second:says("waiting for the lease", 20), second:err())
      second:signal "KILL"
      second:wait(10)
      await_turn(p, old_session(p))
      check_once(p)
    end)

    it("of " .. kind .. ": so does the run after one that gave up waiting", function()
      local p = orphan(transaction)
      p:expect({ "up", "--lease-wait", "500ms" }, 6)
      await_turn(p, old_session(p))
      check_once(p)
    end)
  end

  it("can be ended, also after a run that gave up waiting", function()
    local p = orphan(false)
    p:expect({ "up", "--lease-wait", "500ms" }, 6)
    assert.not_equal("", old_session(p))
    assert.is_true(p:json({ "lease", "show" }).held)
    p:expect { "lease", "break", "--terminate", "--reason", "test" }
    assert.equal("", old_session(p))
    assert.is_false(p:json({ "lease", "show" }).held)
    p:query "update trial.gate set open = true"
    p:expect { "up" }
    check_once(p)
  end)
end)
