-- SPDX-License-Identifier: MIT
--
-- The n-th allocation of a whole `up` fails, whoever asks for it (memory_fault.c),
-- and promise 2 holds: no crash, no success without its effects, and the next run
-- ends with each migration applied once. Short: a spread over all n of each library
-- that allocates. Long: every n, and n after which every allocation fails.
local e2e = require "harness"
local process = e2e.process
local whole = require "whole"

local long = os.getenv "NEAP_FAULT" == "long"

local shim -- the preloaded library of this busted process

local function library()
  if not shim then
    shim = e2e.cluster().dir .. "/memory_fault.so"
    assert(os.execute(("%s -D_GNU_SOURCE -O1 -shared -fPIC -o %s %s"):format(
      os.getenv "CC" or "cc", process.quote(shim),
      process.quote(e2e.root .. "/tests/fault/support/memory_fault.c"))))
  end
  return shim
end

-- `up` with the n-th allocation failing, of those that `from` asks for (nil: any):
-- its result, and what the report says.
local function up_failing_at(p, n, from, mode)
  local report = p.temp .. "/memory"
  os.remove(report)
  local r = p:neap({ "up", "--timeout", "60s" }, { env = { LD_PRELOAD = library(),
    MEMORY_FAULT_AT = tostring(n), MEMORY_FAULT_FROM = from, MEMORY_FAULT_MODE = mode,
    MEMORY_FAULT_REPORT = report } })
  return r, process.read(report) or ""
end

-- One trial on a database of its own.
local function trial(n, from, mode, seen)
  local p = whole.project()
  local r, report = up_failing_at(p, n, from, mode)
  local place = ("allocation %d of %s (%s): %sexit %d\n%s%s"):format(n, from or "any", mode, report,
    r.status, r.out, r.err)
  local first, second = whole.state(p):match "^(%S+) (%S+)"
  seen[r.status] = (seen[r.status] or 0) + 1
  assert(r.status < 124, "crashed or hung: " .. place)
  assert.is_nil(r.err:find("internal.bug", 1, true), place)
  assert(first == "tt" or first == "ff", place)
  assert(second == "tt" or second == "ff", place)
  assert(r.status == 0 or r.err ~= "", "no message: " .. place)
  -- Its own code never crashes; libpg_query 15 does where it finds no memory.
  assert(not r.err:find "neap crashed" or r.err:find "neap crashed %(signal %d+%) in libpg_query",
    place)
  assert(r.status ~= 0 or whole.state(p) == "tt tt tt", "done without its effects: " .. place)
  local again = whole.run_again(p)
  assert.equal(0, again.status, place .. "\nagain: " .. again.out .. again.err)
  whole.check(p, place)
  e2e.clean()
  e2e.psql("postgres", ("drop database %s with (force)"):format(p.database))
end

-- How many allocations of a whole run count.
local function count(from)
  local p = whole.project()
  local r, report = up_failing_at(p, 0, from, "once")
  assert.equal(0, r.status, r.err)
  whole.check(p, report)
  e2e.clean()
  return assert(tonumber(report:match "count (%d+)"), report)
end

-- Who asks for memory, and at how many of its allocations the short run fails. The
-- host's own (neap) and Lua's, which it makes, are one way out; each library is
-- another.
local askers = {
  { from = "neap", short = 32 },
  { from = "libpq.", short = 24 },
  { from = "libc.", short = 15 },
  { from = "libpg_query", short = 10 },
  { from = "libz", short = 2 },
}

-- One that is linked in as an archive asks as neap does.
local function is_linked_in(name)
  return name ~= "neap"
    and not process.capture("ldd " .. process.quote(e2e.bin)):find(name, 1, true)
end

local function try_all(total, size, from, mode)
  local seen, list = {}, whole.spread(total, size)
  for _, n in ipairs(list) do
    trial(n, from, mode, seen)
  end
  local words = {}
  for status, times in pairs(seen) do
    words[#words + 1] = ("exit %d: %d"):format(status, times)
  end
  table.sort(words)
  print(("%d of %d allocations of %s (%s): %s"):format(#list, total, from or "any", mode,
    table.concat(words, ", ")))
  return seen, #list
end

-- ASan has an allocator of its own, which no library can be put before.
if not e2e.sanitized then
  describe("an allocation that fails", function()
    local seed = tonumber(os.getenv "NEAP_SEED") or os.time()
    math.randomseed(seed)
    after_each(e2e.clean)

    for _, asker in ipairs(askers) do
      local words = ("of %s: the run ends, and the next one is whole (seed %d)"):format(asker.from,
        seed)
      local function try()
        local total = count(asker.from)
        assert(total > 0, "nothing is counted")
        local seen, count_of_all = try_all(total, not long and asker.short, asker.from, "once")
        assert(asker.from == "libz" or seen[0] ~= count_of_all, "none of them was felt")
      end
      if not is_linked_in(asker.from) then
        it(words, try)
      end
    end

    it(("with all that come after it: the same (seed %d)"):format(seed), function()
      local seen = try_all(count(), long and 500 or 4, nil, "rest")
      assert.is_nil(seen[0])
    end)
  end)
end
