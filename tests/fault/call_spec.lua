-- SPDX-License-Identifier: MIT
--
-- Something happens at the n-th statement that neap sends, or at the n-th call it makes
-- on a file (call_fault.c), of a whole `up` and a whole `down`: the connection is lost,
-- the server refuses, a lock is not got, neap is told to stop, the disk is full. Then
-- promises 1 and 2 hold: a transactional migration is whole or not there, success is
-- never said without its effects, and the next run ends with each applied once.
-- Short: a spread over all n. Long, and where lines are counted: every n.
local e2e = require "harness"
local process = e2e.process
local whole = require "whole"

local every = os.getenv "NEAP_FAULT" == "long" or e2e.covered

local shim -- the preloaded library of this busted process

local function library()
  if not shim then
    shim = e2e.cluster().dir .. "/call_fault.so"
    assert(os.execute(('%s -D_GNU_SOURCE -O1 -shared -fPIC -I"$(pg_config --includedir)"'
      .. " -o %s %s"):format(os.getenv "CC" or "cc", process.quote(shim),
      process.quote(e2e.root .. "/tests/fault/support/call_fault.c"))))
  end
  return shim
end

local commands = {
  up = { "up", "--timeout", "30s" },
  down = { "down", "3", "--reason", "test", "--timeout", "30s" },
}

-- The command with something at the n-th call: its result, and the report.
local function run_with_fault(p, command, mode, n, match)
  local report = p.temp .. "/calls"
  os.remove(report)
  local r = p:neap(commands[command], { env = { LD_PRELOAD = library(), CALL_FAULT_MODE = mode,
    CALL_FAULT_AT = tostring(n), CALL_FAULT_MATCH = match, CALL_FAULT_REPORT = report } })
  return r, process.read(report) or ""
end

local function project_for(command)
  local p = whole.project()
  if command == "down" then
    p:expect { "up" }
  end
  return p
end

local wanted = { up = "tt tt tt", down = "ff ff ff" }

-- One trial on a database of its own.
local function trial(command, mode, n, seen, match)
  local p = project_for(command)
  local r, report = run_with_fault(p, command, mode, n, match)
  local place = ("%s, %s at call %d: %sexit %d\n%s%s"):format(command, mode, n, report, r.status,
    r.out, r.err)
  local now = whole.state(p)
  local first, second = now:match "^(%S+) (%S+)"
  seen[r.status] = (seen[r.status] or 0) + 1
  if r.status ~= 0 or r.err:find("trying again", 1, true) then -- a lock is tried again
    seen.felt = true
  end
  assert(r.status < 124 and r.status ~= 70 or r.status == 143, "crashed or hung: " .. place)
  assert.is_nil(r.err:find("internal.bug", 1, true), place)
  assert(first == "tt" or first == "ff", place)
  assert(second == "tt" or second == "ff", place)
  assert(r.status == 0 or r.err ~= "", "no message: " .. place)
  assert(r.status ~= 0 and r.status ~= 16 or now == wanted[command], "not done: " .. place)
  -- "Nothing changed" is said only where nothing did; what went before is another migration's.
  assert(r.status ~= 1 or now:match "(%S+)$" ~= "ft", "halfway: " .. place)
  local again = whole.run_again(p)
  assert.equal(0, again.status, place .. "\nagain: " .. again.out .. again.err)
  whole.check(p, place, command == "down")
  e2e.clean()
  e2e.psql("postgres", ("drop database %s with (force)"):format(p.database))
end

-- How many calls a whole command makes.
local function count(command, mode, match)
  local p = project_for(command)
  local r, report = run_with_fault(p, command, mode, 0, match)
  assert.equal(0, r.status, r.err)
  assert.equal(wanted[command], whole.state(p))
  e2e.clean()
  return assert(tonumber(report:match "count (%d+)"), report)
end

-- A command that only looks: the same answer, or a reason why there is none. What it
-- could not ask is no finding.
local function look_trial(p, args, mode, n, whole_answer)
  local report = p.temp .. "/calls"
  os.remove(report)
  local r = p:neap(args, { env = { LD_PRELOAD = library(), CALL_FAULT_MODE = mode,
    CALL_FAULT_AT = tostring(n), CALL_FAULT_REPORT = report } })
  local text = process.read(report) or ""
  local place = ("%s, %s at call %d: %sexit %d\n%s%s"):format(table.concat(args, " "), mode, n,
    text, r.status, r.out, r.err)
  assert(r.status < 124 and r.status ~= 70, "crashed or hung: " .. place)
  if r.status == 0 then
    assert(not whole_answer or r.out == whole_answer, "half an answer: " .. place)
  else
    assert(r.err ~= "", "no message: " .. place)
    assert.is_nil(r.err:find("audit.broken", 1, true), place)
    assert.is_nil(r.out:find("the chain holds", 1, true), place)
  end
  return r, tonumber(text:match "count (%d+)")
end

local modes = {
  { name = "lose", short = 8 },
  { name = "refuse", short = 8 },
  { name = "lock", short = 4 },
  { name = "stop", short = 5 },
  { name = "unsent", short = 4 },
  { name = "file", short = 8 },
  { name = "short", short = 3 },
}

if not e2e.sanitized then
  describe("at the n-th call", function()
    local seed = tonumber(os.getenv "NEAP_SEED") or os.time()
    math.randomseed(seed)
    after_each(e2e.clean)

    -- What is sent behind a BEGIN that fails is on its way already.
    it("that is a BEGIN nothing is done outside its transaction", function()
      local begin = "begin isolation level read committed"
      for n = 1, count("up", "refuse", begin) do
        local seen = {}
        trial("up", "refuse", n, seen, begin)
        assert.is_nil(seen[0])
      end
    end)

    for _, args in ipairs { { "audit", "verify" }, { "audit", "show" } } do
      it(("of `%s` there is the answer or the reason"):format(table.concat(args, " ")), function()
        local p = whole.project()
        p:expect { "up" }
        for _, mode in ipairs { "lose", "refuse", "unsent", "file" } do
          local healthy, total = look_trial(p, args, mode, 0)
          assert.equal(0, healthy.status, healthy.err)
          local refused = 0
          for n = 1, total do
            local r = look_trial(p, args, mode, n, healthy.out)
            refused = refused + (r.status ~= 0 and 1 or 0)
          end
          assert.truthy(refused > 0, mode)
          print(("%s: %d calls (%s), %d refused"):format(table.concat(args, " "), total, mode,
            refused))
        end
        p:expect { "audit", "verify" }
      end)
    end

    for _, mode in ipairs(modes) do
      for _, command in ipairs { "up", "down" } do
        it(("of `%s` (%s) the run stays honest, and the next one is whole (seed %d)"):format(
          command, mode.name, seed), function()
          local total, seen, words = count(command, mode.name), {}, {}
          local list = whole.spread(total, not every and mode.short)
          for _, n in ipairs(list) do
            trial(command, mode.name, n, seen)
          end
          for status, times in pairs(seen) do
            if status ~= "felt" then
              words[#words + 1] = ("exit %d: %d"):format(status, times)
            end
          end
          table.sort(words)
          print(("%s: %d of %d calls (%s): %s"):format(command, #list, total, mode.name,
            table.concat(words, ", ")))
          assert(seen.felt, "none of them was felt")
        end)
      end
    end
  end)
end
