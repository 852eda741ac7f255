-- SPDX-License-Identifier: MIT
--
-- Counts test cases in ctest's logs (LastTest.log), whatever ran them: cmocka,
-- busted, or a lint that prints "N passed, N failed". A program that failed
-- without saying which case counts as one failure. A pending spec is a failure
-- in CI; a unit test skips only what needs root. Prints one plain last line.
--
-- usage: lua5.4 tests/count.lua CTEST_FAILED LOG…

local function sum(text, pattern)
  local total, seen = 0, false
  for number in text:gmatch(pattern) do
    total, seen = total + tonumber(number), true
  end
  return total, seen
end

-- passed, failed, skipped of one ctest test's output.
local function count_output(text)
  local passed, cmocka = sum(text, "%[  PASSED  %] (%d+) test")
  local failed = sum(text, "%[  FAILED  %] (%d+) test")
  local skipped, pending = sum(text, "%[  SKIPPED %] (%d+) test"), 0
  local known = cmocka
  local busted = "(%d+) success%w* / (%d+) failure%w* / (%d+) errors? / (%d+) pending"
  for s, f, e, p in text:gmatch(busted) do
    passed, failed, pending = passed + s, failed + f + e, pending + p
    known = true
  end
  for p, f in text:gmatch "\n(%d+) passed, (%d+) failed" do
    passed, failed, known = passed + p, failed + f, true
  end
  if os.getenv "CI" == "true" then
    failed = failed + pending
  end
  return math.tointeger(passed), math.tointeger(failed), math.tointeger(skipped + pending), known
end

local function count_log(path, total)
  local file = io.open(path, "r")
  if not file then
    print("no log: " .. path)
    total.failed = total.failed + 1
    return
  end
  local text = "\n" .. file:read "a"
  file:close()
  for name, output in text:gmatch "\n%d+/%d+ Testing: ([^\n]*)\n(.-)\n\"[^\n]*end time:" do
    local passed, failed, skipped, known = count_output(output)
    local ok = output:find "\nTest Passed%.?" ~= nil
    if ok and not known then
      passed = 1
    elseif not ok and failed == 0 then
      failed = 1
    end
    if failed > 0 then
      print("failed: " .. name)
    end
    total.passed = total.passed + passed
    total.failed = total.failed + failed
    total.skipped = total.skipped + skipped
  end
end

local total = { passed = 0, failed = 0, skipped = 0 }
local ctest_failed = arg[1] == "1"
for i = 2, #arg do
  count_log(arg[i], total)
end
if total.skipped > 0 then
  print(("%d skipped"):format(total.skipped))
end
if ctest_failed and total.failed == 0 then
  total.failed = 1
end
if total.passed == 0 and total.failed == 0 then
  print "no test ran"
  total.failed = 1
end
print(("%d passed, %d failed"):format(total.passed, total.failed))
os.exit(total.failed == 0)
