-- SPDX-License-Identifier: MIT
--
-- Many runners at once on an empty database, direct and through a transaction
-- pooler, with one journal for all or one for each: promise 4. Each migration is
-- applied once; every runner applied some, found nothing to do, or was told that
-- another one is at work.
local e2e = require "harness"
local trials = require "trials"

local MIGRATIONS = 5

-- All of them from one shell, so that they begin within a few milliseconds.
local start_all = [[
i=1
while [ $i -le "$COUNT" ]; do
  if [ "$JOURNALS" = each ]; then NEAP_STATE_DIR=$STATE-$i; else NEAP_STATE_DIR=$STATE; fi
  export NEAP_STATE_DIR
  { "$NEAP" "$@" >"$FILES.$i.out" 2>"$FILES.$i.err"; echo $? >"$FILES.$i.rc"; } &
  i=$((i + 1))
done
wait
]]

-- Their results: { status, out, err } each.
local function run_all(p, count, journals, args)
  local env = { COUNT = tostring(count), JOURNALS = journals, STATE = p.state, NEAP = e2e.bin,
    FILES = p.temp .. "/runner" }
  for name, value in pairs(p.env) do
    env[name] = value
  end
  local argv = { "sh", "-c", start_all, "sh", table.unpack(args) }
  local all = e2e.process.run(argv, p.temp .. "/all", { cwd = p.dir, env = env, timeout = 280 })
  assert(all.status == 0, all.err)
  local results = {}
  for i = 1, count do
    local function read(what)
      return e2e.process.read(("%s.%d.%s"):format(env.FILES, i, what)) or ""
    end
    results[i] = { status = tonumber(read "rc"), out = read "out", err = read "err" }
  end
  return results
end

local function judge(p, results, seen)
  local applied = 0
  for _, r in ipairs(results) do
    local text = ("exit %s\n%s%s"):format(r.status, r.out, r.err)
    local _, own = r.out:gsub("applied %d", "")
    applied = applied + own
    assert(r.status == 0 or r.status == 6, text)
    assert(r.status == 6 or own > 0 or r.out:find("nothing to do", 1, true), text)
    assert(r.status == 0 or r.err:find("lease.held", 1, true), text)
    seen[r.status] = (seen[r.status] or 0) + 1
  end
  assert.equal(MIGRATIONS, applied)
  assert.equal(("%d %d"):format(MIGRATIONS, MIGRATIONS), p:value [[select count(*) || ' ' ||
    count(distinct id) from neap.history where action = 'apply']])
  for i = 1, MIGRATIONS do
    assert.equal("1", p:value("select count(*) from t" .. i))
  end
end

local poolers = {} -- by size: one serves every database

local function pooler(size)
  local cluster = e2e.cluster()
  poolers[size] = poolers[size] or e2e.pooler(cluster.dir .. "/pool-" .. size, cluster.socket, size)
  return poolers[size]
end

-- One round; opts: count, journals ("one", "each"), pool (sessions of a pooler, or nil).
local function round(opts, seen)
  local p = e2e.project()
  for i = 1, MIGRATIONS do
    p:write_sql(("%04d_t%d.sql"):format(i, i), ("create table t%d (id int); "
      .. "insert into t%d values (1)"):format(i, i), "select true", "drop table t" .. i)
  end
  local args = { "up" }
  if opts.pool then
    p:write("neap.lua", ([[return { environments = { pooled = { url = "%s",
      pooler = "transaction" } } }]]):format(e2e.pooled_url(p.database, pooler(opts.pool))))
    args = { "-e", "pooled", "up" }
  end
  judge(p, run_all(p, opts.count, opts.journals, args), seen)
  if opts.pool then
    p:delete "neap.lua"
  end
  for i = 1, opts.journals == "each" and opts.count or 1 do
    local state = opts.journals == "each" and p.state .. "-" .. i or p.state
    if i <= 8 then
      p:expect({ "audit", "verify" }, 0, { env = { NEAP_STATE_DIR = state } })
    end
  end
  local after = p:expect { "up" }
  assert.truthy(after.out:find("nothing to do", 1, true), after.out)
  e2e.clean()
end

describe("runners that begin at once on an empty database", function()
  setup(trials.seed)
  after_each(e2e.clean)

  local function rounds(name, short, long, opts)
    it(name, function()
      local seen, count = {}, trials.count(short, long)
      if e2e.sanitized then
        opts.count = math.min(opts.count, 16)
      end
      for _ = 1, count do
        round(opts, seen)
      end
      trials.summary("runners, " .. name, count, ("of %d runners each, exit 0: %d, exit 6: %d")
        :format(opts.count, seen[0] or 0, seen[6] or 0))
    end)
  end

  rounds("8, a journal each", 3, 50, { count = 8, journals = "each" })
  rounds("8, one journal", 3, 50, { count = 8, journals = "one" })
  rounds("64, one journal", 1, 100, { count = 64, journals = "one" })
  rounds("64, a journal each", 1, 100, { count = 64, journals = "each" })
  rounds("8 through a pooler of one session", 2, 50, { count = 8, journals = "one", pool = 1 })
  rounds("64 through a pooler of one session", 1, 50, { count = 64, journals = "one", pool = 1 })
  rounds("64 through a pooler of 20 sessions", 1, 50, { count = 64, journals = "one", pool = 20 })
end)
