-- SPDX-License-Identifier: MIT
--
-- Connections that break or fall silent, above all while COMMIT is in flight:
-- promises 2 and 3 through a proxy that breaks where it is told.
local e2e = require "harness"
local network = require "network"

local WORK = 2 -- the second connection of a run: the first one is the control session

local function is_applied(p, id)
  return p:value(([[select coalesce((select action from neap.history where id = '%s'
    order by seq desc limit 1), '') = 'apply']]):format(id)) == "t"
end

local function has_table(p, name)
  return p:value(("select to_regclass('public.%s') is not null"):format(name)) == "t"
end

-- One migration of its own, whose first run is broken at `at` of `connection`.
local function break_once(p, number, connection, at)
  local id, name = ("%04d"):format(number), "t" .. number
  p:write_table(id, name)
  local proxy = network.open(p, "cut", connection, at)
  local r = p:neap({ "up", "--timeout", "20s" }, { env = proxy.env })
  local place = ("connection %d cut at %s: exit %d\n%s%s"):format(connection, at, r.status, r.out,
    r.err)
  assert(proxy:out():find("fired", 1, true), "it was not cut: " .. place)
  local applied = is_applied(p, id)
  assert.equal(applied, has_table(p, name), place)
  assert.equal(applied, r.out:find("applied " .. id, 1, true) ~= nil, place)
  assert.is_nil(r.err:find("internal.bug", 1, true), place)
  assert.is_nil(r.err:find("waiting for the server", 1, true), place) -- its end is heard at once
  local again = p:neap { "up" }
  assert.equal(0, again.status, place .. again.err)
  assert.is_true(has_table(p, name), place)
  assert.equal("1", p:value(("select count(*) from neap.history where id = '%s'"):format(id)),
    place)
  proxy:stop()
  return r, place
end

local steps = [[
return migration { summary = "s", transaction = false, steps = {
  { name = "table",
    up = function(db) db:exec "create table sNUMBER (id int)" end,
    verify = function(_, expect) expect.table "public.sNUMBER" end,
    down = function(db) db:exec "drop table sNUMBER" end },
  { name = "index",
    up = function(db) db:exec "create index concurrently sNUMBER_i on base (id)" end,
    verify = function(_, expect) expect.index("public.sNUMBER_i", { valid = true }) end,
    down = function(db) db:exec "drop index concurrently sNUMBER_i" end },
} }
]]

-- How many bytes the server says on a connection of a run that applies one table.
local function length_of(p, connection)
  p:write_table("9999", "measured")
  local proxy = network.open(p, "none")
  p:expect({ "up" }, 0, { env = proxy.env })
  p:expect { "down" }
  p:delete "migrations/9999_measured.lua"
  return assert(tonumber(proxy:out():match("\n" .. connection .. " (%d+)")), proxy:out())
end

describe("a connection that is lost", function()
  after_each(e2e.clean)

  it("during COMMIT: the history decides, and the exit status tells it", function()
    local p = e2e.project()
    p:write_table("0001", "t1")
    p:expect { "up" }
    local cuts = { "commit+-1", "commit+0", "commit+1", "commit+9", "commit+12", "commit+18",
      "commit+26", "commit+31", "commit+32", "commit+33" }
    local known = { [0] = 0, [1] = 0 }
    for i, at in ipairs(cuts) do
      local r, place = break_once(p, i + 1, WORK, at)
      assert(known[r.status], place)
      known[r.status] = known[r.status] + 1
    end
    -- not sent: it did not take effect; answered in part: it did
    assert.truthy(known[0] >= 8 and known[1] >= 1, known[0] .. " " .. known[1])
    p:expect { "verify" }
    p:expect { "audit", "verify" }
  end)

  -- The pooler's last word is an error, and it answers the first statement that was not
  -- answered yet, though that one and the COMMIT behind it may have been done.
  it("during COMMIT, behind a pooler: its last word is no refusal", function()
    for _, at in ipairs { "commit+0", "commit+20", "commit+60" } do
      local p = e2e.project()
      p:write_table("0001", "t1")
      p:expect { "up" }
      p:write_table("0002", "t2")
      local proxy = network.open(p, "cut", 1, at)
      assert(os.execute(("chmod 0711 %s && chmod 0777 %s/.s.PGSQL.5432"):format(p.temp,
        proxy.dir)))
      p:write("neap.lua", ([[return { environments = { far = { url = "%s",
        pooler = "transaction", lease_ttl = "3s" } } }]]):format(e2e.pooled_url(p.database,
        e2e.pooler(proxy.dir, proxy.dir, 1))))
      local r = p:neap { "-e", "far", "up", "--timeout", "20s" }
      local place = ("cut at %s: exit %d\n%s%s"):format(at, r.status, r.out, r.err)
      assert(proxy:out():find("fired", 1, true), place)
      assert.equal(is_applied(p, "0002") and 0 or 1, r.status, place)
      assert.equal(is_applied(p, "0002"), r.out:find("applied 0002", 1, true) ~= nil, place)
      proxy:stop()
    end
  end)

  for connection, what in ipairs { "control", "work" } do
    it("anywhere on the " .. what .. " session: applied once by the next run", function()
      local p = e2e.project()
      p:write_table("0001", "t1")
      p:expect { "up" }
      local length = length_of(p, connection)
      local count = e2e.sanitized and 8 or 24
      for i = 1, count do
        break_once(p, i + 1, connection, length * i // (count + 1))
      end
      p:expect { "verify" }
      p:expect { "audit", "verify" }
    end)
  end

  it("among steps without a transaction: settled by the next run, never guessed", function()
    local p = e2e.project()
    p:query "create table base (id int)"
    p:write_table("0001", "t1")
    p:expect { "up" }
    local function write(number)
      p:write(("migrations/%04d_s.lua"):format(number), (steps:gsub("NUMBER", number)))
    end
    write(9999)
    local whole = network.open(p, "none")
    p:expect({ "up" }, 0, { env = whole.env })
    p:expect { "down" }
    p:delete "migrations/9999_s.lua"
    local length = assert(tonumber(whole:out():match "\n2 (%d+)"), whole:out())
    local count = e2e.sanitized and 4 or 10
    for number = 2, count + 1 do
      write(number)
      local proxy = network.open(p, "cut", WORK, length * (number - 1) // (count + 1))
      local r = p:neap({ "up" }, { env = proxy.env })
      local place = ("run %d: exit %d\n%s%s"):format(number, r.status, r.out, r.err)
      assert(proxy:out():find("fired", 1, true), place)
      assert.truthy(({ [0] = true, true, [9] = true, [13] = true })[r.status], place)
      assert.is_nil(r.err:find("internal.bug", 1, true), place)
      local again = p:neap { "up" }
      assert.equal(0, again.status, place .. again.out .. again.err)
      assert.is_true(is_applied(p, ("%04d"):format(number)), place)
      assert.equal("t", p:value(("select indisvalid from pg_index where indexrelid = 's%d_i'"
        .. "::regclass"):format(number)), place)
      proxy:stop()
    end
    assert.equal("0", p:value "select count(*) from pg_index where not indisvalid")
    p:expect { "verify" }
    p:expect { "audit", "verify" }
  end)

  it("with the whole network: the outcome is unknown, and 15 says so", function()
    local p = e2e.project()
    p:write_table("0001", "t1")
    p:expect { "up" }
    p:write_table("0002", "t2")
    local proxy = network.open(p, "dead", WORK, "commit+5")
    local run = p:start({ "up" }, { env = proxy.env })
    assert(e2e.process.await(20, function()
      return run:err():find "lost during COMMIT.*lost during COMMIT" -- it asks again
    end), run:err())
    run:signal "INT"
    local r = run:wait(30)
    assert.equal(15, r.status, r.out .. r.err)
    assert.truthy(r.err:find("Asking gave: cannot connect", 1, true), r.err)
    assert.truthy(r.err:find("commit.unknown", 1, true), r.err)
    assert.is_nil(r.out:find("nothing of it stays", 1, true), r.out)
    assert.is_true(is_applied(p, "0002"))
    local again = p:expect { "up" }
    assert.truthy(again.out:find("nothing to do", 1, true), again.out)
    p:expect { "audit", "verify" }
  end)
end)

describe("a server that falls silent", function()
  after_each(e2e.clean)

  it("while connecting ends in the time for connecting", function()
    local p = e2e.project()
    p:write_table("0001", "t1")
    local proxy = network.open(p, "hole", 1, 0)
    p:write("neap.lua", ([[return { environments = { far = { url = "%s",
      connect_timeout = "1s" } } }]]):format(proxy.url))
    local r = p:neap({ "-e", "far", "up" }, { timeout = 30 })
    assert.equal(13, r.status, r.out .. r.err)
    assert.truthy(r.err:find("db.connect", 1, true), r.err)
  end)

  it("before the first step ends by itself, and at once when told to", function()
    local p = e2e.project()
    p:write_table("0001", "t1")
    local runs = {}
    for _, at in ipairs { 600, 1400 } do
      local proxy = network.open(p, "hole", 1, at)
      p:write("neap.lua", ([[return { environments = { far = { url = "%s",
        connect_timeout = "1s" } } }]]):format(proxy.url))
      runs[at] = p:start { "-e", "far", "up" }
      assert(runs[at]:says("waiting for the server", 20), runs[at]:err())
    end
    runs[1400]:signal "INT"
    assert.equal(130, runs[1400]:wait(20).status)
    local r = runs[600]:wait(60)
    assert.equal(13, r.status, r.out .. r.err)
    assert.truthy(r.err:find("did not answer", 1, true), r.err)
  end)

  it("hears the second signal at once, and does not say that it rolled back", function()
    local p = e2e.project()
    p:write_table("0001", "t1")
    local proxy = network.open(p, "hole", WORK, "commit+0")
    local run = p:start({ "up" }, { env = proxy.env })
    assert(proxy:says("fired", 20), run:err())
    run:signal "INT"
    os.execute "sleep 0.3" -- sooner, it is the same wish said twice
    assert.is_true(run:running())
    run:signal "INT"
    local r = run:wait(3)
    assert.equal(15, r.status, r.err)
    assert.truthy(r.err:find("it is not known whether the COMMIT took effect", 1, true), r.err)
    proxy:stop()
    p:expect { "up" }
    assert.equal("1", p:value "select count(*) from neap.history")
  end)

  it("on every session: the first signal ends the run within its 5 s", function()
    local p = e2e.project()
    p:write_sql("0001_wait.sql", "create table t1 (id int); select pg_sleep(120)")
    local proxy = network.open(p, "none")
    local run = p:start({ "up", "--timeout", "100s" }, { env = proxy.env })
    assert(run:says("waiting for the server", 20), run:err())
    proxy:signal "STOP"
    local began = os.time()
    run:signal "INT"
    local r = run:wait(30)
    local took = os.time() - began
    proxy:signal "CONT"
    proxy:stop()
    assert.equal(130, r.status, r.out .. r.err)
    assert.truthy(took <= (e2e.sanitized and 8 or 5), took .. " s\n" .. r.err)
    assert.is_true(e2e.process.await(20, function()
      return p:value "select to_regclass('public.t1') is null" == "t"
    end))
  end)

  it("during a statement ends at the deadline", function()
    local p = e2e.project()
    p:write_table("0001", "t1")
    p:expect { "up" }
    local length = length_of(p, WORK)
    p:write_table("0002", "t2")
    local proxy = network.open(p, "hole", WORK, length // 2)
    local r = p:neap({ "up", "--timeout", "1s" }, { env = proxy.env, timeout = 60 })
    assert.equal(124, r.status, r.out .. r.err)
    assert.truthy(r.err:find("run.deadline", 1, true), r.err)
    proxy:stop()
    p:expect { "up" }
    assert.equal("1", p:value "select count(*) from neap.history where id = '0002'")
  end)

  -- The server waits for the rest of what we sent, and for no limit of its own.
  it("before all of COMMIT came through: the transaction it left is ended, not unknown", function()
    for _, signal in ipairs { false, "INT" } do
      local p = e2e.project()
      p:write_table("0001", "t1")
      p:expect { "up" }
      p:write_table("0002", "t2")
      local proxy = network.open(p, "stall", WORK, "commit+-1")
      local run = p:start({ "up", "--timeout", "1s" }, { env = proxy.env, timeout = 60 })
      assert(proxy:says("fired", 20), run:err())
      if signal then
        run:signal(signal)
      end
      local r = run:wait(60)
      local text = ("exit %d\n%s%s"):format(r.status, r.out, r.err)
      assert.equal(signal and 130 or 1, r.status, text)
      assert.truthy(r.err:find("it did not take effect", 1, true), text)
      p:expect { "up" } -- while the link is still open and silent
      proxy:stop()
      assert.is_true(is_applied(p, "0002"))
    end
  end)

  -- Another run has the lease when this one asks: history answers, and nothing follows.
  it("in the answer to COMMIT, with the lease taken meanwhile: 6, and that one is done", function()
    local p = e2e.project()
    p:write_table("0001", "t1")
    p:write_table("0002", "t2")
    p:expect { "up" }
    local proxy = network.open(p, "stall", WORK, "commit+0")
    p:write("neap.lua", ([[return { environments = {
      far = { url = "%s", lease_ttl = "5min" } } }]]):format(proxy.url))
    local run = p:start("-e far down --to 0 --timeout 1s", { timeout = 60 })
    assert(proxy:says("fired", 20), run:err())
    assert(e2e.process.await(10, function()
      return not has_table(p, "t2")
    end))
    p:query("update neap.lease set token = nextval('neap.lease_token'), run_id = 'other',"
      .. " released_at = clock_timestamp()")
    local r = run:wait(60)
    proxy:stop()
    assert.equal(6, r.status, r.out .. r.err)
    assert.truthy(r.err:find("another run took the lease", 1, true), r.err)
    assert.truthy(r.out:find("undone  0002", 1, true), r.out .. r.err)
    assert.is_nil(r.out:find("undone  0001", 1, true), r.out)
    assert.is_true(is_applied(p, "0001"))
    assert.is_true(has_table(p, "t1"))
    p:expect { "down" }
    assert.is_false(has_table(p, "t1"))
    p:expect { "audit", "verify" }
  end)

  -- It outlasts the patience for the answer, and each cancel. The session is the pooler's:
  -- it is waited for, and not ended.
  it("in a COMMIT through a pooler that takes its time: it is waited for", function()
    local p = e2e.project()
    p:query [[
      create table late (id int);
      create function wait() returns trigger language plpgsql as $$ begin
        while new.id = 2 and clock_timestamp() < now() + interval '19 s' loop
          begin
            perform pg_sleep(1);
          exception when query_canceled then null;
          end;
        end loop;
        set constraints all deferred;
        insert into public.late values (new.id + 1);
        return null;
      end $$;
      create constraint trigger late after insert on late deferrable initially deferred
        for each row when (new.id < 3) execute function wait()]]
    p:write_sql("0001_a.sql", "create table t1 (id int); insert into late values (1)")
    local socket = e2e.pooler(e2e.cluster().dir .. "/slow", e2e.cluster().socket, 4)
    local proxy = network.open(p, "stall", WORK, "commit+0", socket .. "/.s.PGSQL.6432")
    p:write("neap.lua", ([[return { environments = { far = { url = "%s",
      pooler = "transaction" } } }]]):format(proxy.url))
    local r = p:neap { "-e", "far", "up", "--timeout", "1s" }
    assert.truthy(proxy:out():find("fired", 1, true), r.err)
    assert.equal(0, r.status, r.out .. r.err)
    assert.truthy(r.err:find("asking the history", 1, true), r.err)
    assert.truthy(r.out:find("applied 0001", 1, true), r.out)
    assert.is_true(is_applied(p, "0001"))
    assert.is_true(has_table(p, "t1"))
  end)

  -- The question who is in the way is under way, and is not answered any more. Without a
  -- lease (in a dry run) nothing else noticed that before the end.
  for _, command in ipairs { "up", "up --dry-run" } do
    it("on the control session, while a lock is waited for, ends at once: " .. command, function()
      local p = e2e.project()
      p:query "create table base (id int)"
      p:write_sql("0001_a.sql", "alter table base add x int", "select true")
      local blocker = p:session "lock table base"
      local measured = network.open(p, "none")
      p:expect(command .. " --lock-timeout 1s --lock-budget 1s", 7, { env = measured.env })
      local length
      assert(e2e.process.await(10, function()
        length = tonumber(measured:out():match "\n1 (%d+) ")
        return length
      end))
      local proxy = network.open(p, "stall", 1, length - 600)
      local run = p:start(command .. " --lock-timeout 20s", { env = proxy.env })
      assert(proxy:says("fired", 20), run:err())
      run:signal "INT"
      local r = run:wait(15)
      blocker:close()
      proxy:stop()
      assert(r, "it goes on: " .. run:err())
      assert.equal(130, r.status, r.out .. r.err)
      assert.is_nil(r.out:find("applied 0001", 1, true), r.out)
      p:expect "up"
      assert.is_true(is_applied(p, "0001"))
      p:expect "audit verify"
    end)
  end

  it("in the answer to COMMIT past the deadline: what is applied is not called failed", function()
    local p = e2e.project()
    p:write_table("0001", "t1")
    local proxy = network.open(p, "late", WORK, "commit+0")
    local run = p:start({ "up", "--timeout", "1500ms" }, { env = proxy.env })
    assert(proxy:says("fired", 20), run:err())
    assert(run:says("the answer to COMMIT, 2", 20), run:err())
    proxy:signal "USR1"
    local r = run:wait(30)
    assert.equal(0, r.status, r.out .. r.err)
    assert.truthy(r.out:find("applied 0001", 1, true), r.out)
    assert.is_true(is_applied(p, "0001"))
  end)

  it("in the answer to COMMIT, interrupted: says that it is applied", function()
    local p = e2e.project()
    p:write_table("0001", "t1")
    p:write_table("0002", "t2")
    local proxy = network.open(p, "late", WORK, "commit+0")
    local run = p:start({ "up" }, { env = proxy.env })
    assert(proxy:says("fired", 20), run:err())
    run:signal "INT"
    e2e.process.await(10, function()
      return p:value "select to_regclass('public.t1') is not null" == "t"
    end)
    proxy:signal "USR1"
    local r = run:wait(30)
    assert.truthy(r.out:find("applied 0001", 1, true), r.out .. r.err)
    assert.is_nil(r.out:find("applied 0002", 1, true), r.out)
    assert.equal(130, r.status, r.out .. r.err)
    assert.is_true(is_applied(p, "0001"))
    assert.is_false(is_applied(p, "0002"))
    p:expect { "audit", "verify" }
  end)
end)
