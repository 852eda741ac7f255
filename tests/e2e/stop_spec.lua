-- SPDX-License-Identifier: MIT
--
-- Deadlines, signals and kills: promises 1 to 3, from the outside.
local e2e = require "harness"

local function migration(body, verify)
  return ([=[
return migration {
  summary = "test",
  up = function(db)
    db:exec "create table t (id bigint primary key)"
    %s
  end,
  verify = function(db, expect) %s end,
  down = function(db) db:exec "drop table t" end,
}
]=]):format(body, verify or 'expect.table "public.t"')
end

local function has_table(p)
  return p:value "select to_regclass('public.t') is not null" == "t"
end

local function applied(p)
  if p:value "select to_regclass('neap.history') is not null" ~= "t" then
    return "0"
  end
  return p:value "select count(*) from neap.history where action = 'apply'"
end

-- Waits until another session of the database is in pg_sleep.
local function await_sleep(p)
  assert(e2e.process.await(20, function()
    return p:value("select count(*) from pg_stat_activity where datname = current_database()"
      .. " and state = 'active' and query like '%pg_sleep%' and pid <> pg_backend_pid()") ~= "0"
  end), "the script did not come to its wait")
end

local function no_sessions(p)
  return e2e.process.await(10, function()
    return p:value("select count(*) from pg_stat_activity where datname = current_database()"
      .. " and application_name like 'neap:%'") == "0"
  end)
end

describe("deadlines", function()
  after_each(e2e.clean)

  local bodies = {
    ["an endless loop"] = "while true do end",
    ["a loop that catches"] = "while true do pcall(function() while true do end end) end",
    ["a handler that loops"] = "xpcall(function() while true do end end,"
      .. " function() while true do end end)",
    ["a coroutine that loops"] = "coroutine.wrap(function() while true do end end)()",
    ["a comparator that loops"] = "table.sort({ 3, 2, 1 }, function() while true do end end)",
    ["a close that loops"] = "local x <close> = setmetatable({}, { __close = function()"
      .. " while true do end end }) while true do end",
    ["a statement that waits"] = 'db:exec "select pg_sleep(60)"',
    ["statements that are caught"] =
      'while true do pcall(db.exec, db, "select pg_sleep(0.05)") end',
  }
  for name, body in pairs(bodies) do
    it("end " .. name, function()
      local p = e2e.project()
      p:write("migrations/0001_t.lua", migration(body))
      local r = p:neap({ "up", "--timeout", "700ms" }, { timeout = 30 })
      assert.equal(124, r.status, r.out .. r.err)
      assert.truthy(r.err:find("run.deadline", 1, true), r.err)
      assert.truthy(r.err:find("migrations/0001_t.lua:5", 1, true), r.err)
      assert.is_false(has_table(p))
      assert.equal("0", applied(p))
      assert.is_true(no_sessions(p))
    end)
  end

  it("end what no hook reaches, by the watchdog", function()
    local p = e2e.project()
    p:write("migrations/0001_t.lua", migration([[
    local s = ("a"):rep(30000)
    for _ = 1, 1e9 do s:find(".-.-b") end]]))
    local r = p:neap({ "up", "--timeout", "500ms" }, { timeout = 40 })
    assert.truthy(r.status == 124 or r.status == 1, r.out .. r.err)
    assert.is_false(has_table(p))
    assert.is_true(no_sessions(p))
    assert.equal(0, p:neap({ "audit", "verify" }).status)
  end)

  -- A C function calling a C function: no hook runs in it.
  it("end a C loop in a step by the watchdog, which leaves the step in doubt", function()
    local p = e2e.project()
    p:write("migrations/0001_t.lua", [[
return migration { summary = "x", transaction = false, timeout = "1500ms", steps = { { name = "one",
  up = function(db)
    db:exec "create table t (id int)"
    local t = {}
    for i = 1, 8000000 do t[i] = (i * 7919) % 8000009 end
    table.sort(t, math.ult)
  end,
  verify = function(_, expect) expect.table "public.t" end,
  down = function(db) db:exec "drop table t" end } } }]])
    local r = p:neap({ "up" }, { timeout = 60 })
    assert.equal(9, r.status, r.out .. r.err)
    assert.truthy(r.err:find("could not be stopped", 1, true), r.err)
    assert.is_true(no_sessions(p))
    assert.equal(1, p:json({ "status" }).partial)
    local last
    for _, event in ipairs(p:json({ "audit", "show" }).events) do
      last = event.event == "run.killed" and event or last
    end
    assert.truthy(last, "the watchdog's last word")
    p:expect { "audit", "verify" }
  end)

  it("hold for the one step: the next migration is not begun", function()
    local p = e2e.project()
    p:write("migrations/0001_t.lua", migration "while true do end")
    p:write_table("0002", "later")
    local document = p:json({ "up", "--timeout", "500ms" }, 124)
    assert.equal("0001", document.failed.id)
    assert.same({ "0002" }, document.remaining)
  end)
end)

describe("signals", function()
  after_each(e2e.clean)

  for signal, status in pairs { INT = 130, TERM = 143 } do
    it(signal .. " rolls back, records and exits " .. status, function()
      local p = e2e.project()
      p:write("migrations/0001_t.lua", migration 'db:exec "select pg_sleep(60)"')
      local run = p:start { "up" }
      await_sleep(p)
      run:signal(signal)
      local r = run:wait(20)
      assert.equal(status, r.status, r.out .. r.err)
      assert.is_false(has_table(p))
      assert.is_true(no_sessions(p))
      local lease = p:json { "lease", "show" }
      assert.is_false(lease.held)
      p:expect { "audit", "verify" }
      local last = {}
      for _, event in ipairs(p:json({ "audit", "show" }).events) do
        last[event.event] = event
      end
      assert.equal(status, last["run.end"].data.exit_status)
    end)
  end

  it("stop a script that computes", function()
    local p = e2e.project()
    p:write("migrations/0001_t.lua",
      migration 'db:query "select pg_sleep(0.5)" while true do pcall(function() end) end')
    local run = p:start { "up" }
    await_sleep(p)
    e2e.process.await(2, function() end)
    run:signal "INT"
    assert.equal(130, run:wait(20).status)
  end)

  it("are heard while waiting for the lease", function()
    local p = e2e.project()
    p:write("migrations/0001_t.lua", migration 'db:query "select pg_sleep(5)"')
    local first = p:start { "up" }
    await_sleep(p)
    local second = p:start { "up" }
    assert(second:says("lease", 15), second:err())
    second:signal "INT"
    assert.equal(130, second:wait(10).status)
    assert.equal(0, first:wait(30).status)
  end)
end)

describe("a second signal ends with what is true:", function()
  after_each(e2e.clean)

  -- A statement that catches its cancel: only the second signal ends the wait.
  local STUBBORN = [==[db:exec [[do $$ begin loop begin
    perform pg_sleep(60); exception when query_canceled then null; end; end loop; end $$]]]==]

  local function signal_twice(p, args)
    local run = p:start(args)
    await_sleep(p)
    run:signal "INT"
    os.execute "sleep 0.3" -- sooner, it is the same wish said twice
    run:signal "INT"
    local r = run:wait(20)
    e2e.process.await(20, function()
      return p:value("select count(pg_terminate_backend(pid)) from pg_stat_activity where "
        .. "datname = current_database() and query like '%pg_sleep%' and "
        .. "pid <> pg_backend_pid()") == "0"
    end)
    return r
  end

  local function steps(second)
    return ([=[
return migration { summary = "x", transaction = false, steps = {
  { name = "one", up = function(db) db:exec "create table t (id int)" end,
    verify = function(_, expect) expect.table "t" end,
    down = function(db) db:exec "drop table t" end },
  { name = "two", up = function(db) db:exec "select 1" %s end, verify = function() return false end,
    down = function() end },
} }
]=]):format(second)
  end

  it("rolled back, where nothing was committed", function()
    local p = e2e.project()
    p:write("migrations/0001_t.lua", migration(STUBBORN))
    local r = signal_twice(p, { "up" })
    assert.equal(130, r.status, r.err)
    assert.is_false(has_table(p))
  end)

  it("halfway, where a step was under way", function()
    local p = e2e.project()
    p:write("migrations/0001_t.lua", steps(STUBBORN))
    local r = signal_twice(p, { "up" })
    assert.equal(9, r.status, r.err)
    assert.truthy(r.err:find("neap resume", 1, true), r.err)
    p:write("migrations/0001_t.lua", steps "")
    assert.equal("0", applied(p))
    assert.is_true(has_table(p))
  end)

  it("forgets what was halfway and is done", function()
    local p = e2e.project()
    p:write("migrations/0001_t.lua", (steps(""):gsub("return false", "return true")))
    p:write("migrations/0002_u.lua", (migration(STUBBORN):gsub("table t ", "table u ")))
    local r = signal_twice(p, { "up" })
    assert.equal(130, r.status, r.err)
    assert.equal("1", applied(p))
  end)
end)

describe("kill -9", function()
  after_each(e2e.clean)

  it("in mid-statement: the next run applies it once", function()
    local p = e2e.project()
    p:write_table("0001", "first")
    p:write("migrations/0002_t.lua", migration 'db:query "select pg_sleep(1)"')
    local run = p:start { "up" }
    await_sleep(p)
    run:signal "KILL"
    run:wait(10)
    local r = p:expect { "up" }
    assert.truthy(r.out:find "applied 0002", r.out)
    assert.is_true(has_table(p))
    assert.equal("2", applied(p))
    p:expect { "audit", "verify" }
    assert.is_false(p:json({ "lease", "show" }).held)
  end)

  it("at many instants: every migration ends applied once", function()
    local p = e2e.project()
    for i = 1, 6 do
      p:write_table(("%04d"):format(i), "t" .. i)
    end
    for i = 1, e2e.sanitized and 6 or 25 do
      local run = p:start { "up" }
      os.execute(("sleep 0.%03d"):format(10 + i * 3))
      run:signal "KILL"
      run:wait(10)
      if i % 3 == 0 then
        p:expect { "up" }
        p:expect { "down", "6" }
      end
    end
    p:expect { "up" }
    p:expect { "verify" }
    assert.equal("6", p:value "select count(*) from pg_class where relname ~ '^t[1-6]$'")
    assert.equal("6", p:value [[select count(*) from (select distinct on (id) action
      from neap.history order by id, seq desc) x where action = 'apply']])
    assert.equal("0", p:value [[select count(*) from (select id, action, lag(action)
      over (partition by id order by seq) as before from neap.history) x
      where action = before]])
    p:expect { "audit", "verify" }
  end)

  it("of the server's session fails the unit and nothing else", function()
    local p = e2e.project()
    p:write("migrations/0001_t.lua", migration [[pcall(db.exec, db,
      "select pg_terminate_backend(pg_backend_pid())") db:exec "create table u ()"]])
    local r = p:neap { "up" }
    assert.equal(1, r.status, r.out .. r.err)
    assert.truthy(r.err:find("db.lost", 1, true), r.err)
    assert.is_false(has_table(p))
    p:expect { "audit", "verify" }
  end)
end)
