-- SPDX-License-Identifier: MIT
--
-- Where the result goes: a stdout that takes nothing, or not all, and standard
-- descriptors that are closed. What was done and what could not be told are two things.
local e2e = require "harness"

-- Arguments of each command that succeeds and prints; `changes`: the target.
local function printing(p)
  return {
    { "status" }, { "history" }, { "check" }, { "doctor" }, { "preflight" },
    { "verify" }, { "audit", "verify" }, { "audit", "show" }, { "audit", "export" },
    { "audit", "export", "--format", "csv" }, { "lease", "show" }, { "help" },
    { "help", "migrations" }, { "audit" }, { "completion", "bash" }, { "completion", "zsh" },
    { "completion", "fish" }, { "completion", "topics" }, { "version" }, { "scratch", "status" },
    { "audit", "keygen", p.temp .. "/key" }, { "init", p.temp .. "/new" }, { "new", "more" },
    { "status", "--json" }, { "audit", "show", "--json" }, { "up", "--help" },
    { "redo", changes = true }, { "redo", "--json", changes = true },
    { "baseline", "2", "--reason", "x", changes = true },
  }
end

describe("the output", function()
  local p

  before_each(function()
    p = e2e.project()
    p:write_table("0001", "a")
    p:expect "up"
  end)

  after_each(e2e.clean)

  local function sh(command)
    return { "sh", "-c", command }
  end

  it("that a full disk does not take is an error of every command", function()
    for _, args in ipairs(printing(p)) do
      local name = table.concat(args, " ")
      local r = p:neap(args, { under = sh 'exec "$0" "$@" >/dev/full' })
      assert.equal(args.changes and 16 or 2, r.status, name .. "\n" .. r.err)
      assert.truthy(r.err:find("No space left on device", 1, true), name .. r.err)
      assert.truthy(r.err:find(args.changes and "done, but the result cannot be written"
        or "cannot write the result to stdout", 1, true), name .. r.err)
    end
  end)

  it("that is cut in the middle is one too, however long it is", function()
    for i = 1, 30 do
      p:expect { "redo", "--reason", "round " .. i }
    end
    local r = p:neap("audit export", { under = sh 'exec "$0" "$@" | head -c 100 >/dev/null' })
    assert.equal(0, r.status, r.err) -- a reader who has enough is none
    local limited = p:neap("audit export", {
      under = sh(('trap "" XFSZ; ulimit -f 16; exec "$0" "$@" >%s/cut'):format(p.temp)) })
    assert.equal(2, limited.status, limited.err)
    assert.truthy(limited.err:find("File too large", 1, true), limited.err)
  end)

  it("has descriptors of its own, whichever of the standard ones are closed", function()
    local seconds = { "0<&-", "1>&-", "2>&-", "0<&- 1>&-", "0<&- 2>&-", "1>&- 2>&-",
      "0<&- 1>&- 2>&-" }
    for _, closed in ipairs(seconds) do
      local lost = closed:find("1>", 1, true) and 2 or 0
      for _, args in ipairs { { "status" }, { "check" }, { "doctor" }, { "audit", "verify" } } do
        local r = p:neap(args, { under = sh('exec "$0" "$@" ' .. closed) })
        assert.equal(lost, r.status, closed .. " " .. args[1] .. "\n" .. r.out .. r.err)
        assert.equal(lost == 0, r.out ~= "", closed)
      end
      local r = p:neap("redo", { under = sh('exec "$0" "$@" ' .. closed) })
      assert.equal(lost == 0 and 0 or 16, r.status, closed .. r.err)
      p:write_sql("0002_bad.sql", "select 1/0", "select true", "select 1")
      assert.equal(1, p:neap("up", { under = sh('exec "$0" "$@" ' .. closed) }).status, closed)
      p:delete "migrations/0002_bad.sql"
    end
    p:expect "audit verify"
  end)
end)
