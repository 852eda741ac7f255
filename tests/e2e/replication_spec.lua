-- SPDX-License-Identifier: MIT
--
-- A synchronous standby that does not answer: COMMIT has taken effect, and its
-- answer waits. The result is "applied, not confirmed", never "failed".
local e2e = require "harness"

local slow = [[
return migration {
  summary = "test", timeout = "2s",
  up = function(db)
    db:exec "create table t (id bigint primary key)"
    db:query "select pg_sleep(1)"
  end,
  verify = function(_, expect) expect.table "public.t" end,
  down = function(db) db:exec "drop table t" end,
}
]]

describe("a synchronous standby that is gone", function()
  local p

  after_each(function()
    p:neap { "scratch", "stop" }
    os.execute("rm -rf " .. e2e.process.quote(p.env.NEAP_SCRATCH_DIR))
    e2e.clean()
  end)

  local function psql(url, ...)
    local argv = { e2e.cluster().bin .. "/psql", "-XAtq", "-v", "ON_ERROR_STOP=1", "-d", url }
    for _, sql in ipairs { ... } do
      argv[#argv + 1] = "-c"
      argv[#argv + 1] = sql
    end
    local r = e2e.process.run(argv, p.temp .. "/psql", { cwd = "/", env = { PATH = os.getenv "PATH",
      PGOPTIONS = "-c synchronous_commit=local" } })
    assert.equal(0, r.status, r.err)
    return (r.out:gsub("\n$", ""))
  end

  it("gives exit 16, and the migration is applied once", function()
    p = e2e.project { database = false }
    p.env.NEAP_SCRATCH_DIR = p.temp .. "-scratch"
    p:write("migrations/0001_t.lua", slow)
    p:expect { "scratch", "start" }
    local url = p:expect({ "scratch", "url" }).out:gsub("\n", "")
    psql(url, "alter system set synchronous_commit = on")
    local run = p:start({ "-e", "scratch", "up" }, { timeout = 60 })
    assert(e2e.process.await(20, function()
      return psql(url, "select count(*) from pg_stat_activity where state = 'active'"
        .. " and query like '%pg_sleep%' and pid <> pg_backend_pid()") == "1"
    end), run:err())
    psql(url, "alter system set synchronous_standby_names = 'nobody'", "select pg_reload_conf()")
    local r = run:wait(60)
    psql(url, "alter system reset synchronous_standby_names", "select pg_reload_conf()")
    assert.equal(16, r.status, r.out .. r.err)
    assert.truthy(r.err:find("commit.unreplicated", 1, true), r.err)
    assert.truthy(r.out:find("applied 0001", 1, true), r.out)
    assert.equal("1", psql(url, "select count(*) from neap.history where action = 'apply'"))
    assert.equal("t", psql(url, "select to_regclass('public.t') is not null"))
    local again = p:expect { "-e", "scratch", "up" }
    assert.truthy(again.out:find("nothing to do", 1, true), again.out)
    p:expect { "-e", "scratch", "audit", "verify" }
  end)
end)
