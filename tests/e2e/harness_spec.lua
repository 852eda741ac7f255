-- SPDX-License-Identifier: MIT
--
-- The harness itself: what the other specs stand on.
local e2e = require "harness"
local process = require "process"

describe("harness", function()
  after_each(e2e.clean)

  it("runs on Lua 5.4", function()
    assert.equal("Lua 5.4", _VERSION)
  end)

  it("gives every test its own database", function()
    local a, b = e2e.database(), e2e.database()
    e2e.psql(a, "create table only_here ()")
    assert.equal("0", e2e.psql(b, "select count(*) from pg_class where relname = 'only_here'"))
  end)

  it("pools transactions on one server connection", function()
    local p = e2e.project { pooled = true }
    local argv = { e2e.cluster().bin .. "/psql", "-XAtq", "-d", p.url, "-c", "select 1" }
    local opts = { cwd = "/", env = { PATH = os.getenv "PATH" } }
    local r = process.run(argv, p.temp .. "/pooled", opts)
    assert.equal("1\n", r.out, r.err)
  end)

  it("holds locks in a session until it is closed", function()
    local p = e2e.project()
    p:query "create table held ()"
    local session = p:session "lock table held"
    assert.equal("1", p:value "select count(*) from pg_locks where relation = 'held'::regclass")
    session:close()
    assert.equal("0", p:value "select count(*) from pg_locks where relation = 'held'::regclass")
  end)

  it("knows a background process by its own pid, and its status", function()
    local p = e2e.project { database = false }
    local opts = { cwd = "/", env = { PATH = os.getenv "PATH" } }
    local sleeper = process.start({ "sleep", "60" }, p.temp .. "/sleeper", opts)
    assert.is_true(sleeper:running())
    sleeper:signal "INT"
    assert.equal(130, sleeper:wait(5).status)
  end)

  it("limits a run's time", function()
    local p = e2e.project { database = false }
    local opts = { cwd = "/", env = { PATH = os.getenv "PATH" }, timeout = 0.2 }
    assert.equal(124, process.run({ "sleep", "60" }, p.temp .. "/limited", opts).status)
  end)
end)
