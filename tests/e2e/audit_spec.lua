-- SPDX-License-Identifier: MIT
--
-- The record of everything: both copies, what is done to them, what may not be
-- in them. Promises 8 and 9.
local e2e = require "harness"
local standby = require "standby"

local quote = e2e.process.quote

local function journal(p)
  return e2e.process.capture("ls " .. quote(p.state) .. "/journal/*.jsonl")
end

local function lines_of(text)
  local lines = {}
  for line in text:gmatch "[^\n]*\n" do
    lines[#lines + 1] = line
  end
  return lines
end

local function ran()
  local p = e2e.project()
  p:write_table("0001", "a")
  p:write_table("0002", "b")
  p:expect { "up", "--reason", "the reason", "--ticket", "T-1" }
  return p
end

-- Static SQL is in the script that history keeps; what is put together is nowhere else.
describe("a statement that a script puts together", function()
  after_each(e2e.clean)

  it("is in the chain as it was sent, secrets aside", function()
    local p = e2e.project()
    p:write("migrations/0001_a.lua", [=[
return migration { summary = "a",
  up = function(db)
    db:exec "create table a (id int)"
    for i = 1, 3 do db:exec("delete from a where id = " .. i * 7) end
    db:exec("create user put_together password '" .. ("hunter"):rep(2) .. "'")
    db:exec "drop user put_together"
  end,
  verify = function(_, expect) expect.table "public.a" end,
  down = function(db) db:exec "drop table a" end }]=])
    p:expect "up"
    local texts = {}
    for _, event in ipairs(p:json({ "audit", "show" }).events) do
      for _, entry in ipairs(event.data.statements or {}) do
        texts[#texts + 1] = entry.statement
      end
    end
    assert.same({ "delete from a where id = 7", "delete from a where id = 14",
      "delete from a where id = 21", "create user put_together password '***'" }, texts)
    p:expect "audit verify"
  end)
end)

-- A mistake of whoever asks is no fault of the chain.
describe("asking for what is not there", function()
  after_each(e2e.clean)

  it("is a mistake in the arguments: a head that is none, a run that was none", function()
    local p = e2e.project()
    p:write_table("0001", "a")
    p:expect "up"
    for _, head in ipairs { "zz", "", ("a"):rep(63), ("g"):rep(64) } do
      local error = p:json({ "audit", "verify", "--head", head }, 2).error
      assert.equal("usage.arguments", error.code)
      assert.truthy(error.message:find("64 hexadecimal digits", 1, true), error.message)
    end
    local head = p:json({ "audit", "verify" }).head
    p:expect { "audit", "verify", "--head", head:upper() }
    local other = p:json({ "audit", "verify", "--head", ("0"):rep(64) }, 1)
    assert.equal("audit.broken", other.error.code)
    for _, command in ipairs { "show", "export" } do
      local r = p:expect({ "audit", command, "--run", "nope" }, 2)
      assert.truthy(r.err:find("there is no run nope", 1, true), r.err)
    end
    local out = p:expect({ "history", "--run", "nope" }).out
    assert.truthy(out:find("history has nothing of run nope", 1, true), out)
  end)
end)

describe("the audit", function()
  after_each(e2e.clean)

  it("has who, why and what, in both copies", function()
    local p = ran()
    local seen = {}
    for _, event in ipairs(p:json({ "audit", "show" }).events) do
      seen[event.event] = event.data
    end
    assert.equal("the reason", seen["run.begin"].reason)
    assert.equal("T-1", seen["run.begin"].ticket)
    assert.equal(p.database, seen["run.begin"].database)
    assert.truthy(seen["run.begin"].actor)
    assert.truthy(seen["step.statements"].statements[1].fingerprint)
    assert.truthy(seen["step.committed"])
    assert.equal(0, seen["run.end"].exit_status)
    -- journal.begin and audit.copied are the journal's own
    assert.equal(tostring(#lines_of(e2e.process.read(journal(p))) - 2),
      p:value "select count(*) from neap.event")
    p:expect { "audit", "verify" }
  end)

  it("finds a line that was changed, removed or swapped in the journal", function()
    local p = ran()
    local path = journal(p)
    local text = e2e.process.read(path)
    local lines = lines_of(text)
    local middle = #lines // 2
    local function check(changed, what)
      e2e.process.write(path, table.concat(changed))
      local r = p:neap { "audit", "verify" }
      assert.equal(1, r.status, what .. r.out .. r.err)
      assert.truthy(r.err:find("audit.broken", 1, true), r.err)
      e2e.process.write(path, text)
    end
    local copy = { table.unpack(lines) }
    copy[middle] = copy[middle]:gsub('"v":1', '"v":2')
    check(copy, "changed")
    copy = { table.unpack(lines) }
    table.remove(copy, middle)
    check(copy, "removed")
    copy = { table.unpack(lines) }
    copy[middle], copy[middle + 1] = copy[middle + 1], copy[middle]
    check(copy, "swapped")
    check({ table.unpack(lines, 1, #lines - 2) }, "cut") -- audit.copied, and run.end before it
    p:expect { "audit", "verify" }
  end)

  it("finds what was done to the target's copy", function()
    local p = ran()
    p:query "alter table neap.event disable trigger all"
    p:query [[update neap.event set body = replace(body, 'T-1', 'T-2') where body like '%T-1%']]
    assert.equal(1, p:neap({ "audit", "verify" }).status)
    p:query [[update neap.event set body = replace(body, 'T-2', 'T-1') where body like '%T-2%']]
    p:expect { "audit", "verify" }
    p:query "delete from neap.event where seq = 3"
    assert.equal(1, p:neap({ "audit", "verify" }).status)
  end)

  it("finds what is gone from the history", function()
    local p = ran()
    local attempt = p:value "select attempt from neap.history where id = '0002'"
    p:query [[alter table neap.history disable trigger all;
      delete from neap.history where id = '0002';
      alter table neap.history enable trigger all]]
    local findings = p:json({ "audit", "verify" }, 1).findings
    assert.equal(1, #findings)
    assert.equal("history", findings[1].where)
    assert.equal(("the row of this commit (attempt %s) is gone from neap.history"):format(attempt),
      findings[1].message)
  end)

  it("without its table in the target is no chain that holds", function()
    local p = ran()
    p:query "alter table neap.event rename to elsewhere"
    local r = p:expect({ "audit", "verify" }, 1)
    assert.truthy(r.err:find('relation "neap.event" does not exist', 1, true), r.err)
    assert.is_nil(r.out:find("holds", 1, true))
    p:query "alter table neap.elsewhere rename to event"
    p:expect { "audit", "verify" }
  end)

  it("is append-only in the target", function()
    local p = ran()
    assert.is_false(pcall(p.query, p, "delete from neap.event"))
    assert.is_false(pcall(p.query, p, "update neap.history set actor = 'x'"))
    assert.is_false(pcall(p.query, p, "truncate neap.history"))
  end)

  it("knows a head kept elsewhere", function()
    local p = ran()
    local head = p:json({ "audit", "verify" }).head
    p:expect { "down" }
    p:expect { "audit", "verify", "--head", head }
    assert.equal(1, p:neap({ "audit", "verify", "--head", ("0"):rep(64) }).status)
  end)

  it("signs heads with a key", function()
    local p = e2e.project()
    p:write_table("0001", "a")
    p:expect { "audit", "keygen", p.temp .. "/key" }
    p:write("neap.lua", ([[return { signing_key = "%s/key", environments = { t = { url = "%s" } },
      default = "t" }]]):format(p.temp, p.url))
    p:expect { "-e", "t", "up" }
    p:expect { "-e", "t", "audit", "verify", "--public-key", p.temp .. "/key.pub" }
    p:expect { "audit", "keygen", p.temp .. "/other" }
    assert.equal(1, p:neap({ "-e", "t", "audit", "verify", "--public-key",
      p.temp .. "/other.pub" }).status)
  end)

  it("that cannot be written stops everything before it is sent", function()
    local p = e2e.project()
    p:write_table("0001", "a")
    e2e.process.write(p.state, "a file where the directory should be")
    local r = p:neap { "up" }
    assert.truthy(r.status ~= 0, r.out)
    assert.equal("f", p:value "select to_regclass('neap.history') is not null")
    assert.equal("f", p:value "select to_regclass('public.a') is not null")
  end)

  it("says that a journal which is gone was not compared, and --head finds it", function()
    local p = ran()
    local head = p:json({ "audit", "verify" }).head
    assert(os.remove(journal(p)))
    local r = p:expect { "audit", "verify" }
    assert.truthy(r.out:find("1 run is in the target, of which this journal has nothing", 1, true),
      r.out)
    p:query "alter table neap.event disable trigger all; delete from neap.event where seq > 5"
    r = p:expect({ "audit", "verify", "--head", head }, 1)
    assert.truthy(r.out:find("records up to it were removed", 1, true), r.out)
  end)

  it("takes a torn last line for what it is, and goes on after it", function()
    local p = ran()
    local text = e2e.process.read(journal(p))
    e2e.process.write(journal(p), text .. '0123abc {"half')
    local r = p:expect({ "audit", "verify" }, 1)
    assert.truthy(r.out:find("is not a record", 1, true), r.out)
    p:expect { "redo" }
    p:expect { "audit", "verify" }
    local recovered = 0
    for _, event in ipairs(p:json({ "audit", "show" }).events) do
      recovered = recovered + (event.event == "audit.recovered" and 1 or 0)
    end
    assert.equal(1, recovered)
  end)

  it("of nothing says so", function()
    local p = e2e.project()
    p:write_table("0001", "a")
    assert.truthy(p:expect({ "audit", "verify" }).out:find("nothing is recorded yet", 1, true))
    assert.same({}, p:json({ "audit", "show" }).events)
  end)

  it("exports as JSON lines and CSV", function()
    local p = ran()
    local jsonl = p:expect { "audit", "export" }
    assert.truthy(e2e.decode(lines_of(jsonl.out)[1]).hash)
    local csv = p:expect { "audit", "export", "--format", "csv" }
    assert.equal("time,run,event,seq,data,hash\n", lines_of(csv.out)[1])
    assert.equal(2, p:neap({ "audit", "export", "--format", "xml" }).status)
  end)
end)

describe("a physical copy", function()
  after_each(e2e.clean)

  -- Its identity is the original's, so both write one journal here.
  it("is told apart once both have had a run, and what is removed from it still shows", function()
    local p = ran()
    local server, url = standby(p)
    local function on_copy(sql)
      local r = e2e.process.run({ e2e.cluster().bin .. "/psql", "-XAtqd", url, "-c", sql },
        p.temp .. "/psql", { cwd = "/", env = { PATH = os.getenv "PATH" } })
      assert.equal(0, r.status, r.err)
      return (r.out:gsub("\n$", ""))
    end
    local copy = { env = { DATABASE_URL = url } }
    assert.equal("t", on_copy "select pg_promote()")
    p:write_table("0003", "c")
    p:expect("up", 0)
    p:expect("audit verify", 1, copy) -- as if records had been removed: nothing says otherwise
    p:expect("up", 0, copy)
    p:expect("down", 0)
    p:expect("down", 0, copy)
    for _, opts in ipairs { {}, copy } do
      local r = p:expect("audit verify", 0, opts)
      assert.truthy(r.out:find("on another copy of this database", 1, true), r.out)
      assert.truthy(r.out:find("the chain holds", 1, true), r.out)
    end
    on_copy("begin; set local session_replication_role = replica; delete from neap.event where"
      .. " run_id = (select max(run_id) from neap.event); commit")
    p:expect("audit verify", 1, copy)
    p:expect("audit verify", 0)
    server:signal "INT"
    server:wait(20)
  end)
end)

describe("secrets", function()
  after_each(e2e.clean)

  it("appear nowhere", function()
    local canary = "nEaP-CaNaRy-7f3"
    local p = e2e.project()
    p.env.DATABASE_URL = p.url:gsub("user=postgres", "user=postgres&password=" .. canary)
    p:write("migrations/0001_role.lua", ([[
return migration { summary = "x",
  up = function(db)
    db:exec "create role e2e_canary_%s password '%s'"
    error("it was %s")
  end,
  verify = unverified "a test", down = irreversible "a test" }
]]):format(p.database, canary, canary))
    local out = ""
    for _, args in ipairs { { "up" }, { "up", "--json" }, { "up", "--log-json", "-v" },
      { "doctor" }, { "doctor", "--json" }, { "status" }, { "audit", "show" },
      { "up", "--dry-run" } } do
      local r = p:neap(args)
      out = out .. r.out .. r.err
    end
    assert.is_nil(out:find(canary, 1, true), out)
    assert.is_nil(e2e.process.read(journal(p)):find(canary, 1, true))
    assert.equal("0", p:value(("select count(*) from neap.event where body like '%%%s%%'")
      :format(canary)))
  end)
end)
