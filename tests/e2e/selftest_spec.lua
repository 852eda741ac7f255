-- SPDX-License-Identifier: MIT
--
-- neap selftest limits: the whole corpus holds on this binary; what does not hold
-- is told; nothing of it stays behind.
local e2e = require "harness"

local function says(text, part)
  assert.truthy(text:find(part, 1, true), ("%q is not in: %s"):format(part, text))
end

-- A project with a directory of its own for the self-test's files and servers.
local function place()
  local p = e2e.project { database = false }
  p.env.TMPDIR = p.temp .. "/tmp"
  -- Not below the project: the server's user must be able to pass.
  p.scratch = e2e.process.capture "mktemp -d /tmp/neap-e2e-XXXXXX"
  p.env.NEAP_SCRATCH_DIR = p.scratch
  assert(os.execute(("mkdir %s && chmod 711 %s"):format(p.env.TMPDIR, p.scratch)))
  return p
end

local function check_nothing_stays(p)
  assert.equal("", e2e.process.capture("ls -A " .. p.env.TMPDIR))
  local left = e2e.process.capture("ls -A " .. p.scratch .. "/pg")
  assert.truthy(left == "" or left:find "^template%-%S+$", left)
  os.execute("rm -rf " .. p.scratch)
end

local function corpus(p, text)
  p:write("corpus/own.lua", text)
  return p:path "corpus"
end

describe("selftest limits", function()
  after_each(e2e.clean)

  -- Under the sanitizers a process costs ten times as much: all of what they watch
  -- best (C below Lua, memory, handles), and a few of every other family.
  local ONLY = e2e.sanitized and table.concat({ "handle.", "c-loop.", "memory.", "loop.up",
    "loop.meta-[a-c]", "trick.db-", "trick.verify-", "error.t", "tx.spelling-?0", "tx.sql-file",
    "session.a", "session.set", "schema.r", "wait.sleep-" }, ",")

  it("holds as a whole", function()
    local p = place()
    local words = { "selftest", "limits" }
    if ONLY then
      table.move({ "--only", ONLY }, 1, 2, 3, words)
    end
    local document, r = p:json(words, 0, { timeout = 500 })
    assert.equal(0, document.failed)
    assert.equal(#document.limits, document.held)
    assert.truthy(document.held >= (ONLY and 150 or 500), document.held)
    local seen, families = {}, {}
    for _, row in ipairs(document.limits) do
      assert.is_nil(seen[row.id], row.id)
      seen[row.id] = true
      families[row.id:match "^[^.]+"] = true
      assert.is_true(row.ok, row.id)
      assert.truthy(#row.attempt > 0 and row.expected and row.got and row.seconds >= 0, row.id)
    end
    for _, family in ipairs { "loop", "c-loop", "memory", "trick", "error", "handle", "tx",
      "session", "schema", "wait" } do
      assert.is_true(families[family], family)
    end
    says(r.err, " tried, 0 failed; trying ")
    check_nothing_stays(p)
  end)

  it("tells each way in which a limit can fail to hold", function()
    local p = place()
    local own = corpus(p, [=[
return {
  { id = "own.code", attempt = "x", expect = "1 script.error", brief = true,
    up = "string.rep = nil" },
  { id = "own.commits", attempt = "x", expect = "1 script.error", up = "local _ = db" },
  { id = "own.table", attempt = "x", expect = "0", holds = "nothing", brief = true,
    up = "local _ = db" },
  { id = "own.unarmed", attempt = "x", expect = "1 script.error", brief = true,
    top = "error 'x'", up = "local _ = db" },
  { id = "own.silent", attempt = "x", expect = "1 script.error", says = "nobody said this",
    brief = true, up = "error 'x'" },
  { id = "own.witness", attempt = "x", expect = "0", up = "db:exec 'delete from witness'" },
  { id = "own.setting", attempt = "x", expect = "0",
    up = "db:exec \"update setting set setting = 'no' where name = 'work_mem'\"" },
  { id = "own.audit", attempt = "x", expect = "0", audit = 1, up = "local _ = db" },
  { id = "own.slot", attempt = "x", expect = "9 step.partial", holds = "nothing", file =
    "return migration { summary = 'x', transaction = false, steps = { { name = 'a', "
    .. "up = function(db) db:exec 'create table left_over ()' error 'x' end, "
    .. "verify = unverified 'x', down = irreversible 'x' } } }" },
  { id = "own.holds", attempt = "x", expect = "1 script.error", up = "error 'x'" },
}]=])
    local document, r = p:json({ "selftest", "limits", "--corpus", own }, 1, { timeout = 300 })
    assert.equal("selftest.failed", document.error.code)
    assert.equal(1, document.held)
    assert.equal(9, document.failed)
    local why = {}
    for _, row in ipairs(document.limits) do
      why[row.id] = row.why
      assert.equal(row.id == "own.holds", row.ok, row.id)
    end
    says(why["own.code"], "it ended with 1 script.argument: ")
    says(why["own.commits"], "it ended with 0: ")
    says(why["own.table"], 'history has "0001 0002 0003" instead of "0001"')
    says(why["own.unarmed"], "its hostile line was never reached")
    says(why["own.silent"], 'it did not say "nobody said this"')
    says(why["own.witness"], "what was there before was changed")
    says(why["own.setting"], "a setting was left behind: work_mem")
    says(why["own.audit"], "`neap audit verify` ended with 0")
    says(why["own.slot"], "its table was left behind")
    says(r.err, "own.table: ")
    check_nothing_stays(p)
  end)

  it("prints a table, of the cases that are named", function()
    local p = place()
    local r = p:expect({ "selftest", "limits", "--only", "tx.spelling-01,tx.spelling-0[2]" }, 0,
      { timeout = 300 })
    local rows = 0
    for _ in r.out:gmatch "\ntx%.spelling%-0%d +%a+ +1 db%.transaction_control +1 db" do
      rows = rows + 1
    end
    assert.equal(2, rows, r.out)
    says(r.out, "2 held, 0 failed")
    check_nothing_stays(p)
  end)

  it("refuses a name that is none, and a corpus that is wrong", function()
    local p = place()
    p:expect({ "selftest", "limits", "--only", "nothing-like-it" }, 2)
    p:expect({ "selftest", "limits", "--only", "," }, 2)
    p:expect({ "selftest", "limits", "--corpus", p:path "nowhere" }, 2)
    p:expect({ "selftest", "limits", "--corpus", corpus(p, "return { { id = 'x' } }") }, 2)
    local wrong = "return { { id = 'x', attempt = 'x', expect = '0', upp = '' } }"
    local r = p:expect({ "selftest", "limits", "--corpus", corpus(p, wrong) }, 2)
    says(r.err, "upp")
    os.execute("rm -rf " .. p.scratch)
  end)

  it("ends at Ctrl-C, and takes everything away", function()
    local p = place()
    local started = p:start { "selftest", "limits", "--only", "wait.sleep" }
    assert.truthy(started:says("trying wait.sleep", 60))
    started:signal "INT"
    assert.equal(130, started:wait(60).status)
    check_nothing_stays(p)
  end)
end)
