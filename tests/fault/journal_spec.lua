-- SPDX-License-Identifier: MIT
--
-- Every damage to an audit journal is found by `neap audit verify`: promise 8. The
-- unit test test_audit_verify flips a bit of every byte (each of the eight in turn) and
-- takes away, repeats and swaps every line; here the built binary sees a spread of all
-- bits, cuts and lines (every one in the long form), on a journal of real runs. What a
-- journal alone cannot show is stated at the end.
local e2e = require "harness"
local trials = require "trials"

local p, path, journal, lines

local function make_journal()
  p = e2e.project()
  p:write_table("0001", "t1")
  p:expect { "up" }
  p:write_table("0002", "t2")
  p:expect { "up" }
  p:expect { "down" }
  path = e2e.process.capture("ls " .. e2e.process.quote(p.state) .. "/journal/*.jsonl")
  journal = e2e.process.read(path)
  lines = {}
  for line in journal:gmatch "[^\n]*\n" do
    lines[#lines + 1] = line
  end
  p:expect { "audit", "verify" }
end

-- Whether verify finds the fault in a journal of these bytes.
local function is_found(bytes, args)
  e2e.process.write(path, bytes)
  local r = p:neap { "audit", "verify", table.unpack(args or {}) }
  local found = r.status == 1 and r.err:find("audit.broken", 1, true) ~= nil
  assert(found or r.status == 0, r.status .. r.out .. r.err)
  return found, r
end

local function must_find(bytes, what)
  local found, r = is_found(bytes)
  assert(found, what .. " is not found\n" .. r.out)
end

local function joined(order)
  local parts = {}
  for i, index in ipairs(order) do
    parts[i] = lines[index]
  end
  return table.concat(parts)
end

local function order_of_all()
  local order = {}
  for i = 1, #lines do
    order[i] = i
  end
  return order
end

describe("damage to a journal", function()
  setup(trials.seed)
  before_each(make_journal)
  after_each(e2e.clean)

  it("of one bit is found", function()
    local count = trials.count(200, #journal * 8)
    for _, bit in ipairs(trials.spread(0, #journal * 8 - 1, count)) do
      local at = bit // 8 + 1
      local byte = string.char(journal:byte(at) ~ (1 << bit % 8))
      must_find(journal:sub(1, at - 1) .. byte .. journal:sub(at + 1), "bit " .. bit)
    end
    trials.summary("journal, bits", count, #journal .. " bytes")
  end)

  -- A cut that leaves whole lines is found by the target's copy.
  it("by a cut is found, but for the last line", function()
    local ends, at = {}, 0
    for i = 1, #lines do
      at = at + #lines[i]
      ends[at] = i
    end
    local lengths = trials.spread(1, #journal - 1, trials.count(100, #journal - 1))
    for length in pairs(ends) do
      lengths[#lengths + 1] = length
    end
    for _, length in ipairs(lengths) do
      if (ends[length] or 0) < #lines - 1 then
        must_find(journal:sub(1, length), "a cut after byte " .. length)
      end
    end
    trials.summary("journal, cuts", #lengths, #lines .. " line ends among them")
  end)

  it("by removed, repeated and swapped lines is found, but for the last line", function()
    local count = 0
    for i = 1, #lines do
      local removed, twice, at_end = order_of_all(), order_of_all(), order_of_all()
      table.remove(removed, i)
      table.insert(twice, i, i)
      at_end[#at_end + 1] = i
      if i < #lines then
        must_find(joined(removed), "line " .. i .. " removed")
      end
      must_find(joined(twice), "line " .. i .. " twice")
      must_find(joined(at_end), "line " .. i .. " at the end again")
      count = count + 3
    end
    local pairs_of_lines = {}
    for a = 1, #lines do
      for b = a + 1, #lines do
        pairs_of_lines[#pairs_of_lines + 1] = { a, b }
      end
    end
    local swaps = math.min(#pairs_of_lines, trials.count(60, #pairs_of_lines))
    for _, i in ipairs(trials.spread(1, #pairs_of_lines, swaps)) do
      local order, pair = order_of_all(), pairs_of_lines[i]
      order[pair[1]], order[pair[2]] = pair[2], pair[1]
      must_find(joined(order), ("lines %d and %d swapped"):format(pair[1], pair[2]))
    end
    trials.summary("journal, lines", count + swaps, #lines .. " lines")
  end)
end)

-- A chain cannot show its own tail's absence.
describe("a journal without its tail", function()
  before_each(make_journal)
  after_each(e2e.clean)

  local function cut_target()
    p:query [[alter table neap.event disable trigger user;
      delete from neap.event where run_id = (select run_id from neap.event
        order by position desc limit 1);
      alter table neap.event enable trigger user]]
  end

  local function without_last_run()
    local kept, last = {}, lines[#lines]:match '"run":"([^"]+)"'
    for i, line in ipairs(lines) do
      if line:match '"run":"([^"]+)"' ~= last then
        kept[#kept + 1] = i
      end
    end
    return joined(kept)
  end

  it("is found by the copy in the target", function()
    must_find(without_last_run(), "the last run's removal")
  end)

  it("whose copy has lost it too is found by a head kept elsewhere", function()
    local head = p:json({ "audit", "verify" }).head
    cut_target()
    local found, r = is_found(without_last_run())
    assert.is_false(found, r.out) -- both copies agree: this is what they cannot show
    assert.is_true((is_found(without_last_run(), { "--head", head })))
  end)

  it("or that is gone whole is a note: it may have been kept on another machine", function()
    local found, r = is_found ""
    assert.is_false(found, r.out)
    assert.truthy(r.out:find("the journal that was here is gone", 1, true), r.out)
  end)

  it("of one line, which says that the target has all before it, loses no record", function()
    assert.truthy(lines[#lines]:find("audit.copied", 1, true))
    local found, r = is_found(joined(table.move(order_of_all(), 1, #lines - 1, 1, {})))
    assert.is_false(found, r.out)
  end)
end)
