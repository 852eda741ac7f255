-- SPDX-License-Identifier: MIT
--
-- errors_spec: restores that are refused, or that cannot take the target's place.
local e2e = require "harness"

local function backed_up(p)
  p:query "create table if not exists t (id int)"
  p:expect "backup create"
end

local function swap(p, env)
  return p:neap({ "restore", "latest", "--swap", "--reason", "x", "--accept-data-loss",
    "--confirm", p.database, "--json" }, { env = env })
end

local function exists(p)
  backed_up(p)
  return p:neap { "restore", "latest", "--into", p.database, "--json" }
end

local function bound(p)
  backed_up(p)
  p:query "begin; insert into t values (1); prepare transaction 'held'"
  p:query [[create subscription bond connection 'dbname=nowhere' publication x
    with (connect = false, slot_name = none, enabled = false)]]
  local r = swap(p)
  p:query "rollback prepared 'held'"
  p:query "drop subscription bond"
  return r
end

-- A role that may do everything but end a superuser's session.
local function sessions(p)
  p:query(([[create role restorer login createdb; alter database %s owner to restorer;
    grant all on schema public to restorer]]):format(p.database))
  local env = { DATABASE_URL = (p.url:gsub("user=postgres", "user=restorer")) }
  p:expect("backup create", 0, { env = env })
  local idle = p:session "select 1"
  local r = swap(p, env)
  assert(e2e.decode(r.out).error.detail:find(idle.name, 1, true), r.out)
  idle:close()
  return r
end

return {
  ["restore.exists"] = {
    { run = exists, says = "already", hint = "--into", at = false },
  },
  ["restore.bound"] = {
    { run = bound, says = { "holds on", "prepared transaction 'held'", "subscription bond" },
      hint = "--into", at = false },
  },
  ["restore.sessions"] = {
    { run = sessions, says = { "did not end", "In the way" }, hint = "--resume",
      at = false },
  },
}
