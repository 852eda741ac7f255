-- SPDX-License-Identifier: MIT
--
-- The journal's disk fails: no room at each write, EIO at each fsync, a file system
-- that is really full, to the page. Before any effect the run is refused and nothing is changed;
-- after COMMIT it says so (exit 16). With the disk mended the next run converges.
local e2e = require "harness"
local trials = require "trials"

local EVERY = e2e.sanitized and 4 or trials.long and 1 or 2 -- call from a random one on

local FAULTS = { -- what strace makes of the calls on the journal's files
  { calls = "write", error = "ENOSPC", pattern = "%d" },
  { calls = "write", error = "ENOSPC", pattern = "%d+" },
  { calls = "fsync,fdatasync", error = "EIO", pattern = "%d" },
  { calls = "fsync,fdatasync", error = "EIO", pattern = "%d+" },
  { calls = "fallocate", error = "ENOSPC", pattern = "%d" },
}

local function project(kind)
  local p = e2e.project()
  p:query "create table base (id int)"
  p:write_table("0001", "t1")
  if kind ~= "first" then
    p:expect { "up" }
  end
  p:write_table("0002", "t2")
  p:write("migrations/0003_s.lua", [[
return migration { summary = "s", transaction = false, steps = { { name = "one",
  up = function(db) db:exec "create index concurrently s on base (id)" end,
  verify = function(_, expect) expect.index("public.s", { valid = true }) end,
  down = function(db) db:exec "drop index concurrently s" end } } }]])
  return p
end

-- neap under strace; `inject` nil: only counts; `args`: of another command than `up`.
local function traced(p, calls, inject, args)
  local log = p.temp .. "/strace"
  local argv = { "strace", "-qq", "-o", log, "-e", "trace=" .. calls }
  local identity = p:value "select system_identifier from pg_control_system()" .. "-"
    .. p:value "select oid from pg_database where datname = current_database()"
  for _, path in ipairs { p.state .. "/journal", p.state .. "/journal/" .. identity .. ".jsonl" } do
    table.move({ "-P", path }, 1, 2, #argv + 1, argv)
  end
  if inject then
    table.move({ "-e", "inject=" .. calls .. ":" .. inject }, 1, 2, #argv + 1, argv)
  end
  argv[#argv + 1] = e2e.bin
  table.move(args or { "up" }, 1, #(args or { "up" }), #argv + 1, argv)
  local env = { ASAN_OPTIONS = "detect_leaks=0" } -- LeakSanitizer does not work under ptrace
  for name, value in pairs(p.env) do
    env[name] = env[name] or value
  end
  local r = e2e.process.run(argv, p.temp .. "/traced", { cwd = p.dir, env = env, timeout = 120 })
  local _, count = (e2e.process.read(log) or ""):gsub("\n", "\n")
  return r, count
end

local effects = { ["0001"] = "t1", ["0002"] = "t2", ["0003"] = "s" }

-- What is true of the target is what the run said.
local function check_truth(p, r, place)
  local any = false
  for id, name in pairs(effects) do
    local there = p:value(("select to_regclass('public.%s') is not null"):format(name)) == "t"
    local applied = p:value "select to_regclass('neap.history') is not null" == "t"
      and p:value(("select exists (select from neap.history where id = '%s')"):format(id)) == "t"
    local said = r.out:find("applied " .. id, 1, true) ~= nil
    assert(not said or applied, place .. id .. " is not applied")
    assert(applied == there or (id == "0003" and r.status == 9), place .. id .. " is torn")
    any = any or said
  end
  assert(({ [0] = true, true, [9] = true, [16] = true })[r.status], place)
  assert(not r.err:find("internal.bug", 1, true), place)
  return any
end

local function converge(p, place)
  local again = p:neap { "up" }
  assert(again.status == 0, place .. "the next run: " .. again.out .. again.err)
  for _, name in pairs(effects) do
    assert(p:value(("select to_regclass('public.%s') is not null"):format(name)) == "t", place)
  end
  assert.equal("3 3", p:value "select count(*) || ' ' || count(distinct id) from neap.history")
  local audit = p:neap { "audit", "verify" }
  assert(audit.status == 0, place .. audit.out .. audit.err)
  return audit.out
end

local function run_trial(kind, fault, n, seen)
  local p = project(kind)
  local inject = ("error=%s:when=" .. fault.pattern):format(fault.error, n)
  local r = traced(p, fault.calls, inject)
  local place = ("%s, %s %s: exit %d\n%s%s"):format(kind, fault.calls, inject, r.status, r.out,
    r.err)
  check_truth(p, r, place)
  seen[r.status] = (seen[r.status] or 0) + 1
  local report = converge(p, place)
  -- exit 0: every record is there, also of the end
  assert(r.status ~= 0 or not report:find("run.end", 1, true), place .. report)
  e2e.clean()
end

-- In a mount namespace of its own: a small file system for the state, filled until
-- $LEAVE pages are left, a run, room again, a run, verify. The namespace's end
-- unmounts it.
local full = [[
mount -t tmpfs -o size=2m tmpfs "$NEAP_STATE_DIR" || exit 99
if [ "$FIRST" = 0 ]; then "$NEAP" up --only 0001 >"$FILES.0" 2>&1 || exit 98; fi
cat /dev/zero >"$NEAP_STATE_DIR/fill" 2>/dev/null
truncate -s "-$((LEAVE * 4096))" "$NEAP_STATE_DIR/fill"
"$NEAP" up >"$FILES.out" 2>"$FILES.err"
echo $? >"$FILES.rc"
rm "$NEAP_STATE_DIR/fill"
"$NEAP" up >"$FILES.again" 2>&1 && "$NEAP" audit verify >>"$FILES.again" 2>&1
]]

local function fill_trial(leave, first, seen)
  local p = project "first"
  assert(os.execute("mkdir -p " .. e2e.process.quote(p.state)))
  local env = { LEAVE = tostring(leave), FIRST = first and "1" or "0", NEAP = e2e.bin,
    FILES = p.temp .. "/full" }
  for name, value in pairs(p.env) do
    env[name] = value
  end
  local unshare = { "unshare", "-m", "sh", "-c", full }
  local all = e2e.process.run(unshare, p.temp .. "/all", { cwd = p.dir, env = env, timeout = 60 })
  local function read(what)
    return e2e.process.read(env.FILES .. what) or ""
  end
  local r = { status = tonumber(read ".rc"), out = read ".out", err = read ".err" }
  local place = ("%d pages left, %s: exit %s\n%s%s\n%s"):format(leave, first and "first" or "next",
    r.status, r.out, r.err, read ".again" .. all.err)
  assert(all.status == 0, place)
  assert(r.status == 0 or r.status == 1, place)
  assert(r.status == 0 or not r.out:find("applied", 1, true), place)
  assert.equal("3 3", p:value "select count(*) || ' ' || count(distinct id) from neap.history")
  seen[r.status] = (seen[r.status] or 0) + 1
  e2e.clean()
end

describe("the journal's disk", function()
  setup(trials.seed)
  after_each(e2e.clean)

  for _, kind in ipairs { "first", "next" } do
    it("fails at each write and sync of the " .. kind .. " run", function()
      local seen, count = {}, 0
      for _, fault in ipairs(FAULTS) do
        local p = project(kind)
        local r, calls = traced(p, fault.calls)
        assert.equal(0, r.status, r.err)
        assert.truthy(calls > 0, fault.calls)
        for n = math.random(EVERY), calls, EVERY do
          run_trial(kind, fault, n, seen)
          count = count + 1
        end
      end
      trials.summary("disk, " .. kind, count, ("exit 0: %d, 1: %d, 9: %d, 16: %d"):format(
        seen[0] or 0, seen[1] or 0, seen[9] or 0, seen[16] or 0))
      assert.truthy(e2e.sanitized or ((seen[1] or 0) > 0 and (seen[16] or 0) > 0))
    end)
  end

  -- A journal of several blocks, of which one cannot be read: that is the reason told,
  -- and not that a record was changed.
  it("cannot be read", function()
    local p = project "next"
    p:expect { "up" }
    for _, args in ipairs { { "audit", "verify" }, { "audit", "show" } } do
      local healthy, calls = traced(p, "read", nil, args)
      assert.equal(0, healthy.status, healthy.err)
      assert.truthy(calls > 2, calls)
      for n = 1, calls do
        local r = traced(p, "read", ("error=EIO:when=%d"):format(n), args)
        assert.equal(1, r.status, r.out .. r.err)
        assert.truthy(r.err:find("cannot read the audit journal /.*: Input/output error"), r.err)
        assert.truthy(r.err:find("audit.journal", 1, true), r.err)
        assert.is_nil(r.out:find("holds", 1, true), r.out)
      end
    end
    p:expect { "audit", "verify" }
  end)

  -- As root in a namespace; elsewhere a user namespace may do, and where neither is
  -- allowed the injected faults above are what there is.
  it("is full", function()
    local may = e2e.process.run({ "unshare", "-m", "mount", "-t", "tmpfs", "tmpfs", "/mnt" },
      e2e.cluster().dir .. "/may", { cwd = "/", env = { PATH = os.getenv "PATH" } })
    if may.status ~= 0 then
      io.write("disk, full: no mount namespace here: " .. may.err)
      return
    end
    local seen, count = {}, 0
    local pages = { 0, 1, 2, 3, 128, 255, 256, 257, 258, 260, 300 }
    for _, first in ipairs { true, false } do
      for i = 1, #pages, EVERY do
        fill_trial(pages[i], first, seen)
        count = count + 1
      end
    end
    trials.summary("disk, full", count, ("exit 0: %d, 1: %d"):format(seen[0] or 0, seen[1] or 0))
    assert.truthy((seen[0] or 0) > 0 and (seen[1] or 0) > 0)
  end)
end)
