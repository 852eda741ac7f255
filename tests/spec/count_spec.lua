-- SPDX-License-Identifier: MIT
--
-- The counter behind CI's last line: what it must never do is miss a failure.
local e2e = require "harness"
local process = e2e.process

describe("tests/count.lua", function()
  local p
  before_each(function()
    p = e2e.project { database = false }
  end)
  after_each(e2e.clean)

  -- One ctest test as LastTest.log has it.
  local function block(name, output, passed)
    return ("1/9 Testing: %s\n1/9 Test: %s\nCommand: \"x\"\nOutput:\n----\n%s\n<end of output>\n"
      .. "Test time =   0.00 sec\n----\nTest %s.\n\"%s\" end time: Nov 20 23:00 UTC\n\"%s\" time "
      .. "elapsed: 00:00:00\n----\n\n"):format(name, name, output, passed and "Passed" or "Failed",
      name, name)
  end

  local function count(log, ctest_failed, env)
    process.write(p.temp .. "/log", log)
    local r = process.run({ "lua5.4", "tests/count.lua", ctest_failed or "0", p.temp .. "/log" },
      p.temp .. "/count", { cwd = e2e.root, env = env or { PATH = os.getenv "PATH" } })
    return r.out:match "([^\n]*)\n$", r.status
  end

  it("adds cmocka, busted and lints", function()
    local log = block("unit.a", "[  PASSED  ] 3 test(s).", true)
      .. block("e2e.b", "+++\n4 successes / 0 failures / 0 errors / 0 pending : 1.0 seconds", true)
      .. block("lint.c", "5 passed, 0 failed", true) .. block("other", "", true)
    local line, status = count(log)
    assert.equal("13 passed, 0 failed", line)
    assert.equal(0, status)
  end)

  it("counts each failing case", function()
    local log = block("unit.a", "[  PASSED  ] 3 test(s).\n[  FAILED  ] 2 test(s), listed below:",
      false) .. block("e2e.b", "1 success / 1 failure / 1 error / 0 pending : 1.0 seconds", false)
    local line, status = count(log, "1")
    assert.equal("4 passed, 4 failed", line)
    assert.equal(1, status)
  end)

  it("counts a fuzz target as one case, whatever it printed", function()
    local fine = "Done 123456 runs in 61 second(s)\nstat::number_of_executed_units: 123456"
    local found = "fuzz_sql.c:90: count == 1: 2 passed\n==7== ERROR: libFuzzer: deadly signal"
    local log = block("fuzz.fuzz_sql", fine, true) .. block("fuzz.fuzz_url", found, false)
    assert.equal("1 passed, 1 failed", (count(log, "1")))
  end)

  it("counts a crash that names no case", function()
    assert.equal("0 passed, 1 failed", (count(block("unit.a", "Segmentation fault", false))))
    assert.equal("3 passed, 1 failed",
      (count(block("unit.a", "[  PASSED  ] 3 test(s).\nLeakSanitizer: leaked", false))))
  end)

  it("fails when nothing ran, when a log is missing, when ctest alone knows", function()
    assert.equal("0 passed, 1 failed", (count ""))
    assert.equal("1 passed, 1 failed", (count(block("x", "", true), "1")))
    local r = process.run({ "lua5.4", "tests/count.lua", "0", "/nonexistent" }, p.temp .. "/count",
      { cwd = e2e.root, env = { PATH = os.getenv "PATH" } })
    assert.equal(1, r.status)
  end)

  it("forbids pending specs in CI", function()
    local log = block("spec.a", "2 successes / 0 failures / 0 errors / 1 pending : 1.0 seconds",
      true)
    assert.equal("2 passed, 0 failed", (count(log)))
    assert.equal("2 passed, 1 failed", (count(log, "0", { PATH = os.getenv "PATH", CI = "true" })))
  end)
end)
