-- SPDX-License-Identifier: MIT
--
-- Points in time: the restore point of a run.
local e2e = require "harness"

local function has(text, part)
  assert.truthy(text:find(part, 1, true), text)
end

-- The data of the run's event of that name, and its run.
local function event_of(p, name, run)
  local found
  for _, event in ipairs(p:json("audit show" .. (run and " --run " .. run or "")).events) do
    if event.event == name then
      found = event
    end
  end
  return found and found.data, found and found.run
end

describe("a restore point", function()
  after_each(e2e.clean)

  -- An environment of these rules on the project's database, as `user`.
  local function environment(p, rules, user)
    local url = p.url:gsub("user=postgres", "user=" .. (user or "postgres"))
    p:write("neap.lua", ([[
return { default = "shop", environments = { shop = { url = %q, %s } } }]]):format(url, rules))
    p.env.DATABASE_URL = nil
  end

  local gated = "gates = { 'preflight' }, preflight = { disk_state = false, disk_data = false }"

  it("is made before the first migration of a run where there are gates", function()
    local p = e2e.project()
    p:write_table("0001", "a")
    p:write_table("0002", "b")
    environment(p, gated)
    local run = p:json("up").run_id
    local point = event_of(p, "restore_point", run)
    assert.same({ "neap_" .. run, 1 }, { point.name, point.timeline })
    assert.equal("2|t|1", p:value(("select count(*), bool_and(lsn > '%s'), min(timeline)"
      .. " from neap.history"):format(point.lsn)))
    run = p:json("redo").run_id
    local count = 0
    for _, event in ipairs(p:json({ "audit", "show", "--run", run }).events) do
      count = count + (event.event == "restore_point" and 1 or 0)
    end
    assert.equal(1, count)
    p:expect "audit verify"
  end)

  it("is an LSN alone for a role that may make none, and nothing without gates", function()
    local p = e2e.project()
    p:write_table("0001", "a")
    environment(p, "")
    assert.is_nil(event_of(p, "restore_point", p:json("up").run_id))
    p:expect "down"
    p:query "drop schema neap cascade"
    p:query(("create role archive_weak login; grant create on database %s to archive_weak;"
      .. " grant create on schema public to archive_weak"):format(p.database))
    environment(p, gated, "archive_weak")
    local document, r = p:json "up -v"
    local point = event_of(p, "restore_point", document.run_id)
    assert.is_nil(point.name)
    has(point.why, "archive_weak may not execute pg_create_restore_point")
    has(r.err, "no restore point: archive_weak may not")
    assert.equal("t", p:value(("select '%s'::pg_lsn < max(lsn) from neap.history")
      :format(point.lsn)))
    p:query "drop owned by archive_weak; drop role archive_weak"
  end)
end)
