-- SPDX-License-Identifier: MIT
--
-- The report of a run: written by each that may change something, shown again, made
-- again from the journal, and of a run that was killed.
local e2e = require "harness"

local process, quote = e2e.process, e2e.process.quote

local function reports(p)
  return process.capture(("ls %s/reports 2>/dev/null || true"):format(quote(p.state)))
end

local function text_of(p)
  return process.read(p:json({ "report" }).dir .. "/report.txt")
end

local function columns(line)
  return utf8.len(line) or #line
end

describe("a report", function()
  after_each(e2e.clean)

  it("is written by a run, private, and shown again", function()
    local p = e2e.project()
    p:write_table("0001", "a")
    p:write_table("0002", "b")
    local r = p:expect { "up", "--reason", "the reason", "--ticket", "T-1" }
    local dir = r.err:match "report: (%S+)/report.txt"
    assert.truthy(dir, r.err)
    assert.is_nil(r.out:find("report", 1, true))
    assert.equal("", process.capture(("find %s -type d ! -perm 700 -o -type f ! -perm 600")
      :format(quote(p.state .. "/reports"))))
    local text = process.read(dir .. "/report.txt")
    for _, words in ipairs { "DONE", "2 migrations applied", "the reason", "T-1", p.database,
      "applied  0001 a", "verified", "neap down --only 0002\n    neap down --only 0001" } do
      assert.truthy(text:find(words, 1, true), words .. "\n" .. text)
    end
    for line in text:gmatch "[^\n]+" do
      assert.truthy(columns(line) <= 80 or line:find("/", 1, true), line)
    end
    assert.equal(text, p:expect({ "report" }).out)
    local run_id = p:value "select run_id from neap.history limit 1"
    assert.equal(text, p:expect({ "report", run_id }).out)
    local document = p:json { "report" }
    assert.equal(dir, document.dir)
    assert.same(e2e.decode(process.read(dir .. "/report.json")), document.report)
    assert.equal("done", document.report.result)
    assert.equal(2, #document.report.units)
    assert.equal(0, document.report.metrics.rollbacks_total)
    assert.truthy(document.report.metrics.migration_duration_seconds > 0)
  end)

  it("is made again from the journal, without the target", function()
    local p = e2e.project()
    p:write_table("0001", "a")
    p:expect "up"
    local before = p:expect({ "report" }).out
    os.execute(("rm -r %s/reports"):format(quote(p.state)))
    local no_target = { env = { DATABASE_URL = "postgresql:///x?host=/nowhere" } }
    assert.equal(before, p:expect({ "report" }, 0, no_target).out)
    local document = p:json({ "report" }, 0, no_target)
    assert.equal(require "dkjson".null, document.dir or require "dkjson".null)
    -- one that is no report is not believed
    os.execute(("mkdir -p %s/reports/%s"):format(quote(p.state), document.report.run_id))
    process.write(("%s/reports/%s/report.json"):format(p.state, document.report.run_id), '{"x"')
    assert.equal(before, p:expect({ "report" }).out)
    process.write(("%s/reports/%s/report.json"):format(p.state, document.report.run_id),
      '{"run_id": "20261121T000000-0000000000"}')
    assert.equal(before, p:expect({ "report" }).out)
    -- nor is a name a path
    for _, name in ipairs { "../journal", "nope", "20261121T000000-0000000000", "" } do
      local r = p:expect({ "report", name }, 2)
      assert.truthy(r.err:find("there is no run", 1, true), r.err)
    end
    local r = p:expect({ "report", "nope" }, 2, no_target)
    assert.truthy(r.err:find("Nor could the target be asked", 1, true), r.err)
  end)

  it("of a long run is made from all of its journal", function()
    local p = e2e.project()
    p:write("migrations/0001_long.lua", [=[
return migration { summary = "Much to record",
  up = function(db)
    for i = 1, 300 do db:exec("select " .. i .. " as " .. ("x"):rep(4000)) end
  end,
  verify = unverified "nothing is made", down = function(db) db:exec "select 1" end }]=])
    p:expect "up"
    local unit = p:json({ "report" }).report.units[1]
    assert.equal(300, unit.statements)
    assert.equal("unverified", unit.verify)
    assert.truthy(text_of(p):find("not verified: nothing is made", 1, true))
  end)

  it("of a journal that cannot be read says so", function()
    local p = e2e.project()
    assert(os.execute(("mkdir -p -m 700 %s/journal/1-1.jsonl"):format(quote(p.state))))
    local r = p:expect({ "report" }, 1)
    assert.truthy(r.err:find("cannot read the audit journal", 1, true), r.err)
    assert.equal(1, p:neap({ "report", "nope" }).status)
  end)

  it("tells whose lease was broken", function()
    local p = e2e.project()
    p:write_sql("0001_long.sql", "select pg_sleep(60)")
    local run = p:start { "up" }
    assert.truthy(process.await(20, function()
      return p:value [[select exists
        (select from pg_stat_activity where query like 'select pg_sleep(60)%')]] == "t"
    end))
    local holder = p:json({ "lease", "show" }).holder.run_id
    p:expect { "lease", "break", "--terminate", "--reason", "it hangs" }
    local report = p:json({ "report" }).report
    assert.equal("lease break", report.command)
    assert.equal(holder, report.broken.holder.run_id)
    run:wait(20)
    local text = p:expect({ "report", report.run_id }).out
    assert.truthy(text:find("broken  the lease of run " .. holder, 1, true), text)
  end)

  it("of a run elsewhere is made from the target's copy of the events", function()
    local p = e2e.project()
    p:write_table("0001", "a")
    p:expect "up"
    local run_id = p:value "select run_id from neap.history"
    local elsewhere = { env = { NEAP_STATE_DIR = p.temp .. "/elsewhere" } }
    local out = p:expect({ "report", run_id }, 0, elsewhere).out
    assert.truthy(out:find("applied  0001 a", 1, true), out)
    local r = p:expect({ "report" }, 2, elsewhere)
    assert.truthy(r.err:find("there is no run of this project", 1, true), r.err)
  end)

  it("tells of a failure, of a retry and of who was in the way", function()
    local p = e2e.project()
    p:query "create table busy (id int)"
    p:write_sql("0001_a.sql", "create table a (id int)")
    p:write_sql("0002_busy.sql", "alter table busy add column x int")
    p:write_sql("0003_c.sql", "create table c (id int)")
    local session = p:session "lock table busy in access share mode"
    local r = p:neap { "up", "--lock-timeout", "400ms", "--lock-budget", "1s" }
    session:close()
    assert.equal(7, r.status, r.err)
    local report = p:json({ "report" }).report
    assert.equal("failed", report.result)
    assert.equal("lock.timeout", report.error.code)
    local unit = report.units[2]
    assert.truthy(#unit.failures >= 2, #unit.failures)
    assert.equal(session.name, unit.failures[1].blockers[1].application)
    assert.truthy(report.metrics.lock_wait_seconds > 0.3, report.metrics.lock_wait_seconds)
    assert.equal(#unit.failures, report.metrics.rollbacks_total)
    local text = text_of(p)
    for _, words in ipairs { "FAILED", "failed  0002 busy", "in the way: pid", "not begun  0003",
      "To do:", "neap down --only 0001" } do
      assert.truthy(text:find(words, 1, true), words .. "\n" .. text)
    end
  end)

  it("tells of a wait that went well", function()
    local p = e2e.project()
    p:query "create table busy (id int)"
    p:write_sql("0001_busy.sql", "alter table busy add column x int")
    p:session("lock table busy in access share mode", 1.5)
    p:expect { "up", "--lock-timeout", "20s" }
    local report = p:json({ "report" }).report
    assert.equal("lock", report.waits[1].what)
    assert.truthy(report.waits[1].ms > 300, report.waits[1].ms)
    assert.truthy(report.waits[1].blockers[1].pid)
    assert.truthy(text_of(p):find("for the locks of others", 1, true))
  end)

  it("of a killed run says that it has no end", function()
    local p = e2e.project()
    p:write_table("0001", "a")
    p:write_sql("0002_long.sql", "select pg_sleep(60)")
    local run = p:start { "up" }
    assert.truthy(process.await(20, function()
      return p:value [[select to_regclass('public.a') is not null and exists
        (select from pg_stat_activity where query like 'select pg_sleep(60)%')]] == "t"
    end))
    run:signal "KILL"
    run:wait(10)
    assert.equal("", reports(p))
    local report = p:json({ "report" }).report
    assert.equal("unfinished", report.result)
    assert.is_nil(report.exit_status)
    local out = p:expect({ "report" }).out
    assert.truthy(out:find("UNFINISHED", 1, true), out)
    assert.truthy(out:find("not begun  0002", 1, true), out)
  end)

  it("tells of steps, of the way halfway, and of history by hand", function()
    local p = e2e.project()
    p:write("migrations/0001_steps.lua", [=[
return migration { summary = "Two steps", transaction = false, steps = {
  { name = "one", up = function(db) db:exec "create table one (id int)" end,
    verify = function(_, expect) expect.table "public.one" end,
    down = function(db) db:exec "drop table one" end },
  { name = "two", up = function(db) db:exec "create table two (id int)" error "broken" end,
    verify = unverified "no need",
    down = function(db) db:exec "drop table if exists two" end },
} }]=])
    p:expect({ "up" }, 9)
    local report = p:json({ "report" }).report
    assert.equal("partial", report.result)
    assert.equal("done", report.units[1].steps[1].state)
    assert.equal("undone", report.units[1].steps[2].state)
    assert.equal(2, report.units[1].steps[2].statements)
    assert.equal("neap down --only 0001", report.undo[1].command)
    assert.truthy(text_of(p):find("STOPPED HALFWAY", 1, true))
    p:expect { "repair", "1", "--mark", "applied", "--reason", "it is there" }
    report = p:json({ "report" }).report
    assert.equal("repair.applied", report.settled[1].action)
    assert.is_true(report.settled[1].recorded)
    assert.is_nil(report.units)
    assert.equal("neap repair 0001 --mark pending --reason TEXT", report.undo[1].command)
    p:expect { "down" }
    assert.equal("neap up --only 0001", p:json({ "report" }).report.undo[1].command)
  end)

  it("of a redo has nothing to undo, of a backup its size, and of a look there is none", function()
    local p = e2e.project()
    p:write_table("0001", "a")
    p:expect "up --dry-run"
    p:expect "status"
    assert.equal("", reports(p))
    p:expect "up"
    p:expect "redo"
    assert.same({}, p:json({ "report" }).report.undo)
    p:expect "verify"
    p:expect "up" -- nothing to do
    assert.equal("redo", p:json({ "report" }).report.command)
    p:expect "backup create"
    local report = p:json({ "report" }).report
    assert.equal("backup create", report.command)
    assert.is_true(report.backups[1].made)
    assert.truthy(report.metrics.backup_bytes > 1000)
    assert.truthy(text_of(p):find("not proved in this run", 1, true))
  end)

  it("of a restore says what it made", function()
    local p = e2e.project()
    p:query "create table t as select 1 as x"
    p:expect "backup create"
    local made = p:json("restore latest").database
    local report = p:json({ "report" }).report
    assert.equal("restore", report.command)
    assert.same({ made, false }, { report.restore.database, report.restore.swapped })
    assert.truthy(text_of(p):find("beside the target", 1, true), text_of(p))
    p:expect({ "restore", "latest", "--into", made }, 2)
    assert.truthy(text_of(p):find("FAILED", 1, true), text_of(p))
    e2e.psql("postgres", ("drop database %q"):format(made))
  end)

  it("names the environment in its commands, and only that project's", function()
    local p = e2e.project()
    p:write("neap.lua", ("return { environments = { shop = { url = %q } } }"):format(p.url))
    p:write_table("0001", "a")
    p:expect "-e shop up"
    local report = p:json({ "-e", "shop", "report" }).report
    assert.equal("neap -e shop down --only 0001", report.undo[1].command)
    local r = p:expect({ "report" }, 2) -- DATABASE_URL had no run
    assert.truthy(r.err:find("on DATABASE_URL", 1, true), r.err)
  end)

  it("that cannot be written is a warning, and the oldest ones go", function()
    local p = e2e.project()
    p:write_table("0001", "a")
    assert(os.execute(("mkdir -p %s && touch %s/reports"):format(quote(p.state), quote(p.state))))
    local r = p:expect "up"
    assert.truthy(r.err:find("the report of this run is not kept", 1, true), r.err)
    assert.truthy(p:expect({ "report" }).out:find("DONE", 1, true))
    os.remove(p.state .. "/reports")
    assert(os.execute(([[cd %s && mkdir -p -m 700 reports/keep && for i in $(seq 100 302); do
      mkdir -m 700 reports/20200101T000$i-0123456789
      touch reports/20200101T000$i-0123456789/report.json.x
      done]]):format(quote(p.state))))
    p:expect "redo"
    assert.equal("200", process.capture(("ls %s/reports | grep -c -- -"):format(quote(p.state))))
    assert.equal("1", process.capture(("ls %s/reports | grep -c keep"):format(quote(p.state))))
  end)

  it("holds no secret and no terminal's commands", function()
    local p = e2e.project()
    p:write_sql("0001_a.sql", "create role report_x password 'hunter2hunter2'; drop role report_x;"
      .. " select 1/0")
    p:expect({ "up", "--reason", "\27[31mred\n\226\128\174 password=topsecret99" }, 1)
    local stored = process.capture(("cat %s/reports/*/report.json"):format(quote(p.state)))
    local all = text_of(p) .. stored .. p:expect({ "report" }).out
    for _, secret in ipairs { "hunter2", "topsecret", "\27" } do
      assert.is_nil(all:find(secret, 1, true), secret)
    end
    assert.is_nil(text_of(p):find("\226\128\174", 1, true))
  end)
end)
