-- SPDX-License-Identifier: MIT
--
-- neap backup prune: what goes by its tag and its age, and everything that speaks for a
-- backup. One backup is made and proved; its copies have other ids, times and tags.
local e2e = require "harness"

local process = e2e.process
local quote = process.quote

local function has(text, part)
  assert.truthy(text:find(part, 1, true), ("%q is not in:\n%s"):format(part, text))
end

local function project(lines)
  local p = e2e.project()
  p:write("neap.lua", ([[return { environments = { prod = { url = %q, %s } } }]]):format(p.url,
    lines or ""))
  p.env.DATABASE_URL, p.env.NEAP_ENV = nil, "prod"
  p.store = p.state .. "/backups"
  return p
end

local function days_ago(days)
  return process.capture(("date -u -d '%d seconds ago' +%%Y-%%m-%%dT%%H:%%M:%%S.000000Z"):format(
    days * 86400)):sub(1, 27)
end

local function sha256(path)
  return process.capture("sha256sum " .. quote(path)):match "^%x+"
end

-- Changes fields of the manifest, and keeps what was proved of it.
local function rewrite(path, fields)
  local before = sha256(path .. "/manifest.json")
  local text = process.read(path .. "/manifest.json")
  for name, value in pairs(fields) do
    local count
    text, count = text:gsub('("' .. name .. '": )[^\n]-(,?\n)', function(key, rest)
      return key .. (value and ('"%s"'):format(value) or "null") .. rest
    end, 1)
    assert.equal(1, count, name)
  end
  process.write(path .. "/manifest.json", text)
  local verified = process.read(path .. "/verified.json")
  if verified then
    process.write(path .. "/verified.json", (verified:gsub(before, (sha256(path
      .. "/manifest.json")))))
  end
end

local serial = 0

-- A copy of `backup` that ended so many days ago; `proved` false: nobody verified it.
local function copy(p, backup, days, tag, opts)
  opts = opts or {}
  serial = serial + 1
  local at = days_ago(days)
  local id = ("%s-aaaaa%05d"):format(at:sub(1, 19):gsub("[-:]", ""), serial)
  local path = p.store .. "/" .. id
  assert(os.execute(("cp -rp %s %s"):format(quote(backup.path), quote(path))))
  rewrite(path, { id = id, finished_at = at, tag = tag or false,
    environment = opts.environment })
  if opts.proved == false then
    os.remove(path .. "/verified.json")
  end
  return id
end

-- Nothing but the copies speaks for them: one that is proved and made just now.
local function proved(p, more)
  local backup = p:json("backup create --tag monthly" .. (more or "")).backup
  p:expect "backup verify"
  return backup
end

local function ids(list)
  local set = {}
  for _, entry in ipairs(list) do
    set[entry.id] = entry.why or entry.stays or true
  end
  return set
end

local function removals(p)
  local count = 0
  for _ in p:expect("audit export").out:gmatch '"backup%.remove"' do
    count = count + 1
  end
  return count
end

describe("neap backup prune", function()
  after_each(e2e.clean)

  it("removes by tag and age, says why the others stay, and records each first", function()
    local p = project()
    local backup = proved(p)
    local goes, stays = {}, { [backup.id] = "young" }
    for tag, days in pairs { daily = 7, weekly = 28, pre_migration = 30, monthly = 365 } do
      goes[copy(p, backup, days + 0.01, tag)] = true
      stays[copy(p, backup, days - 0.01, tag)] = "young"
    end
    stays[copy(p, backup, 900)] = "untagged"
    stays[copy(p, backup, 900, "release")] = "untagged"
    stays[copy(p, backup, -1, "daily")] = "future"
    local other = copy(p, backup, 900, "daily", { environment = "dev" })
    local broken = copy(p, backup, 900, "daily")
    process.write(p.store .. "/" .. broken .. "/manifest.json", "{")
    stays[broken] = "unreadable"
    assert(os.execute("mkdir -p " .. quote(p.store .. "/x.gone/dump")))

    local listed = ids(p:json("backup list").backups)
    for id in pairs(goes) do
      assert.equal("over", listed[id])
    end
    assert.equal("environment", listed[other])
    assert.is_nil(listed["x.gone"])
    local document = p:json("backup prune --dry-run")
    assert.same(goes, (function()
      local set = ids(document.removed)
      for id in pairs(set) do set[id] = true end
      return set
    end)())
    assert.same(stays, ids(document.kept))
    assert.equal(0, removals(p))
    local r = p:expect "backup prune --dry-run"
    has(r.out, "4 of 13 would go; nothing was done")

    r = p:expect { "backup", "prune", "--reason", "by night" }
    has(r.out, "4 of 13 removed")
    assert.equal(4, removals(p))
    assert.equal("", process.capture("ls -d " .. quote(p.store) .. "/*.gone 2>/dev/null || :"))
    local left = ids(p:json("backup list").backups)
    for id in pairs(goes) do
      assert.is_nil(left[id])
    end
    for id in pairs(stays) do
      assert.truthy(left[id])
    end
    assert.truthy(left[other])
    document = p:json "backup prune"
    assert.same({}, document.removed)
    p:expect "audit verify"
  end)

  it("never removes the last that were proved", function()
    local p = project "retention = { daily = '1d', keep = 2 }"
    local backup = proved(p, " --tag daily")
    local third = copy(p, backup, 3, "daily")
    local second = copy(p, backup, 2.5, "daily")
    copy(p, backup, 2, "daily", { proved = false })
    rewrite(backup.path, { finished_at = days_ago(2), tag = "daily" })
    local document = p:json "backup prune"
    assert.same({ [backup.id] = "proved", [second] = "proved" }, ids(document.kept))
    assert.equal(2, #document.removed)
    assert.truthy(ids(document.removed)[third])
    p:write("neap.lua", (p:read("neap.lua"):gsub("daily = '1d'", "daily = false")))
    assert.equal("for_ever", p:json("backup prune").kept[1].why)
  end)

  it("keeps the way back of the last change, and of a run that was killed", function()
    local p = project "gates = { 'backup' }, backup_max_age = '1ms'"
    local function up()
      return p:json("up").gates[1].backup
    end
    local function old(id)
      rewrite(p.store .. "/" .. id, { finished_at = days_ago(40) })
    end
    p:write_table("0001", "a")
    local first = up()
    p:write_table("0002", "b")
    local second = up()
    p:write_sql("0003_slow.sql", "select pg_sleep(50)", "select true", "select 1")
    local run = p:start "up --timeout 60s"
    assert(process.await(20, function()
      return p:value "select count(*) from pg_stat_activity where wait_event = 'PgSleep'" == "1"
    end), run:err())
    run:signal "KILL"
    run:wait()
    local killed = p:json("backup list").backups[1].id
    proved(p)
    old(first) old(second) old(killed)
    local kept = ids(p:json("backup prune --dry-run").kept)
    assert.same({ nil, "way_back", "way_back" }, { kept[first], kept[second], kept[killed] })
    p:write_sql("0003_slow.sql", "select 1", "select true", "select 1")
    local third = up()
    proved(p)
    old(third)
    local document = p:json "backup prune"
    kept = ids(document.kept)
    assert.same({ nil, nil, nil, "way_back" },
      { kept[first], kept[second], kept[killed], kept[third] })
    assert.equal(3, #document.removed)
  end)

  it("leaves what is in use, and lets two run at once, also when one is killed", function()
    local p = project()
    local backup = proved(p)
    local used = copy(p, backup, 8, "daily")
    local hold = ("exec 9<%s; flock -s 9; exec sleep 60"):format(quote(p.store .. "/" .. used))
    local holder = process.start({ "bash", "-c", hold }, p.temp .. "/holder",
      { cwd = "/", env = { PATH = os.getenv "PATH" } })
    p.processes[#p.processes + 1] = holder
    assert(process.await(10, function()
      return p:json("backup prune").kept[2].why == "in_use"
    end))
    holder:stop()
    local count = 24
    for _ = 1, count do
      copy(p, backup, 8, "daily")
    end
    local killed = p:start "backup prune"
    process.await(0.05, function() return removals(p) > 0 end)
    killed:signal "KILL"
    killed:wait()
    for _, entry in ipairs(p:json("backup list").backups) do
      assert.is_nil(entry.problem)
    end
    local one, two = p:start "backup prune --json", p:start "backup prune --json"
    assert.equal(0, one:wait().status)
    assert.equal(0, two:wait().status)
    assert.same({ [backup.id] = "young" }, ids(p:json("backup prune").kept))
    assert.equal(1, #p:json("backup list").backups)
    assert.equal("", process.capture("ls -d " .. quote(p.store) .. "/*.gone 2>/dev/null || :"))
    assert.is_true(removals(p) >= count + 1)
    p:expect "audit verify"
  end)

  it("removes nothing that it cannot record, and needs an environment", function()
    local p = project()
    local backup = proved(p)
    local id = copy(p, backup, 8, "daily")
    assert(os.execute(("mv %s/journal %s/away && touch %s/journal"):format(quote(p.state),
      quote(p.state), quote(p.state))))
    assert.is_true(p:neap("backup prune").status ~= 0)
    assert.truthy(ids(p:json("backup list").backups)[id])
    p.env.NEAP_ENV = nil
    assert.equal("config.target", p:json("backup prune", 2).error.code)
  end)

  it("is told of a tag that it would never remove", function()
    local p = project()
    local r = p:expect "backup create --tag dayly"
    has(r.err, "did you mean daily?")
    r = p:expect({ "backup", "create", "--tag", "a b" }, 2)
    has(r.err, "--tag is a word")
  end)
end)
