-- SPDX-License-Identifier: MIT
--
-- neap preflight: each check of preflight.def made to say ok, and made to speak. The
-- trouble is real: open transactions, locks, invalid indexes, a replica, a full disk.
local e2e = require "harness"
local standby = require "standby"

local process = e2e.process

local function checks(p, status, opts)
  local document = p:json(p.named and { "-e", "t", "preflight" } or "preflight", status or 0, opts)
  local by_name = {}
  for _, row in ipairs(document.checks) do
    by_name[row.check] = row
  end
  return by_name, document
end

local function level(row, expected)
  assert.equal(expected, row.level, row.check .. ": " .. row.message)
  assert.equal(expected ~= "ok", row.hint ~= nil, row.check)
end

-- An environment t with these lines beside its url.
local function configure(p, lines)
  p.named = true
  p:write("neap.lua", ("return { environments = { t = { url = %q, %s } } }"):format(p.url, lines))
end

describe("neap preflight", function()
  local p

  before_each(function()
    p = e2e.project()
  end)

  after_each(e2e.clean)

  it("finds nothing in the way of an idle target, and changes nothing", function()
    p:write_table("0001", "a")
    configure(p, "allow_superuser = true")
    local rows, document = checks(p)
    for _, row in pairs(rows) do
      if row.check ~= "disk_data" and row.check ~= "long_transactions" then
        level(row, "ok")
      end
    end
    assert.equal(0, document.errors)
    assert.equal("f", p:value "select to_regnamespace('neap') is not null")
    local r = p:expect { "-e", "t", "preflight" }
    assert.truthy(r.out:find("ok      connections: %d+ of %d+ connections are in use\n"), r.out)
  end)

  it("is documented as preflight.def says", function()
    local text = p:expect({ "help", "preflight", "--no-color" }).out
    local count = 0
    for name, about in process.read(e2e.root .. "/host/change/preflight.def"):gmatch
      'NEAP_PREFLIGHT%([%u_]+, "([%l_]+)", [^"]*"([^"]+)"%)' do
      count = count + 1
      assert.truthy(text:find(name, 1, true), name)
      assert.truthy(text:gsub("%s+", " "):find(about:sub(1, 20), 1, true), about)
    end
    local rows = checks(p)
    for _ in pairs(rows) do
      count = count - 1
    end
    assert.equal(0, count)
    -- The thresholds that it prints are the ones that hold.
    local help = process.read(e2e.root .. "/stdlib/help/preflight.md")
    for _, row in pairs(rows) do
      local unit, warning, error = help:match("\n| " .. row.check
        .. " |([^|]*)|([^|]*)|([^|]*)|")
      assert.equal(row.unit, unit:match "^%s*(.-)%s*$", row.check)
      assert.equal(row.warning, tonumber(warning:match "%d+"), row.check)
      assert.equal(row.error, tonumber(error:match "%d+"), row.check)
    end
  end)

  it("sees transactions that are open, idle or prepared, and locks on what is pending", function()
    p:query "create table busy (id int); create table calm (id int)"
    p:write_sql("0001_x.sql", "alter table Busy add column x int", "select true", "select 1")
    configure(p, [[preflight = { long_transactions = { warning = "1s", error = "2s" },
      idle_in_transaction = { warning = "1s" } }]])
    local busy = p:session "lock table busy in access share mode"
    local calm = p:session "lock table calm in access share mode"
    process.await(10, function()
      return p:value([[select min(clock_timestamp() - xact_start) > '2.2s' from pg_stat_activity
        where datname = current_database() and xact_start is not null
        and pid <> pg_backend_pid()]]) == "t"
    end)
    p:query "begin; create table p2 (id int); prepare transaction 'left'"
    local rows, document = checks(p, 10)
    level(rows.long_transactions, "error")
    level(rows.locks, "warning")
    level(rows.prepared_transactions, "warning")
    assert.truthy(rows.locks.message:find("public.busy: AccessShareLock", 1, true))
    assert.falsy(rows.locks.message:find("calm", 1, true))
    assert.truthy(rows.long_transactions.message:find(busy.name, 1, true)
      or rows.long_transactions.message:find(calm.name, 1, true), rows.long_transactions.message)
    assert.truthy(rows.prepared_transactions.message:find("left", 1, true))
    assert.equal("preflight.failed", document.error.code)
    assert.truthy(document.error.message:find("long_transactions", 1, true))
    p:query "rollback prepared 'left'"
    busy:close()
    calm:close()
    rows = checks(p)
    level(rows.locks, "ok")
    level(rows.prepared_transactions, "ok")
  end)

  it("sees an invalid index, a pooler and a target that is not pinned", function()
    p:query "create table t (id int); insert into t values (1), (1)"
    pcall(p.query, p, "create unique index concurrently broken on t (id)")
    configure(p, "protected = true, allow_superuser = true")
    local rows = checks(p)
    level(rows.invalid_indexes, "warning")
    assert.truthy(rows.invalid_indexes.message:find("broken", 1, true))
    level(rows.pin, "warning")
    local r = p:expect { "-e", "t", "preflight" }
    assert.truthy(r.out:find("warning invalid_indexes: broken (warning from 1)\n", 1, true), r.out)
    configure(p, "preflight = { invalid_indexes = false }")
    assert.is_nil(checks(p).invalid_indexes)
    level(checks(p).superuser, "warning")
  end)

  it("does not call ok what the role may not see", function()
    p:query [[do $$ begin if not exists (select from pg_roles where rolname = 'preflight_dim') then
      create role preflight_dim login; end if; end $$]]
    local other = p:session "select 1"
    p.url = p.url:gsub("user=postgres", "user=preflight_dim")
    configure(p, "timeout = '9s'")
    local rows = checks(p, 10)
    level(rows.hidden_sessions, "warning")
    level(rows.rights, "error")
    assert.truthy(rows.rights.message:find("CREATE on the database", 1, true))
    level(rows.superuser, "ok")
    other:close()
  end)

  it("measures the disks, also where the directory is not there yet", function()
    configure(p, 'preflight = { disk_state = { error = 1e15 } }')
    local rows = checks(p, 10, { env = { NEAP_STATE_DIR = p.temp .. "/not/yet" } })
    level(rows.disk_state, "error")
    assert.truthy(rows.disk_state.message:find("MB are free at " .. p.temp .. "/not/yet", 1, true))
    assert.truthy(rows.disk_backup.message:find(p.temp .. "/not/yet/backups", 1, true),
      rows.disk_backup.message)
    assert.truthy(rows.disk_data.value == nil or rows.disk_data.value > 0)
  end)

  it("says on a standby that it is one, and on its primary how far it is behind", function()
    p:write_table("0001", "a")
    p:expect "up"
    local _, url = standby(p)
    local rows = checks(p, 10, { env = { DATABASE_URL = url } })
    level(rows.standby, "error")
    rows = checks(p)
    level(rows.replication_lag, "ok")
    assert.truthy(rows.replication_lag.message:find("streaming", 1, true),
      rows.replication_lag.message)
    local function ask(sql)
      local r = process.run({ e2e.cluster().bin .. "/psql", "-XAtqd", url, "-c", sql },
        p.temp .. "/ask", { cwd = "/", env = { PATH = os.getenv "PATH" } })
      assert.equal(0, r.status, r.err)
    end
    ask "alter system set recovery_min_apply_delay = '1500ms'"
    ask "select pg_reload_conf()"
    configure(p, [[preflight = { replication_lag = { warning = "1s" },
      replication_wal = { warning = 0.0001 } }]])
    local serial = 0
    assert(process.await(30, function()
      serial = serial + 1
      p:query(("create table more%d (id int)"):format(serial))
      return checks(p).replication_lag.level == "warning"
    end))
    ask "select pg_wal_replay_pause()"
    p:query "create table last (id int)"
    rows = checks(p)
    level(rows.replication_wal, "warning")
    assert.truthy(rows.replication_wal.message:find("MB behind", 1, true))
  end)

  it("refuses thresholds that it does not know", function()
    for text, says in pairs {
      ["preflight = { conections = false }"] = "Did you mean connections?",
      ["preflight = { connections = { warn = 3 } }"] = "keys are warning and error",
      ["preflight = { connections = { warning = '3s' } }"] = "must be a number, or false",
      ["preflight = { replication_lag = { error = 3 } }"] = 'such as "30s"',
      ["preflight = { locks = 3 }"] = "must be false or a table with warning and error",
      ["preflight = 3"] = "must be a table",
    } do
      configure(p, text)
      local r = p:expect({ "-e", "t", "preflight" }, 2)
      assert.truthy(r.err:find(says, 1, true), text .. "\n" .. r.err)
      assert.truthy(r.err:find("neap.lua", 1, true), r.err)
    end
  end)
end)
