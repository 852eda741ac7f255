-- SPDX-License-Identifier: MIT
--
-- The command line itself: words, options, exit status 2, streams. No server.
local e2e = require "harness"

describe("the command line", function()
  local p

  before_each(function()
    p = e2e.project { database = false }
  end)
  after_each(e2e.clean)

  local function commands()
    local words = {}
    local def = e2e.process.read(e2e.root .. "/host/cli/commands.def")
    for name in def:gmatch 'NEAP_COMMAND%(cmd_[%w_]+, "([^"]+)"' do
      words[#words + 1] = name
    end
    return words
  end

  it("lists every command in its help, on stdout", function()
    local r = p:expect "help"
    assert.equal("", r.err)
    for _, name in ipairs(commands()) do
      assert.truthy(r.out:find(name, 1, true), name)
    end
  end)

  it("says which options have no variable: those that say what one invocation does", function()
    local without, with = {}, 0
    local def = e2e.process.read(e2e.root .. "/host/cli/options.def")
    for row in def:gmatch "NEAP_OPTION_%u+(%b())" do
      local name, env = row:match '%(%w[%w_]*, "([%w-]+)"', row:match '"(NEAP_[%u_]+)"'
      without[#without + 1] = not env and "--" .. name or nil
      with = with + (env and 1 or 0)
    end
    assert.truthy(with > 15 and #without > 10)
    assert.truthy(p:expect("help").out:gsub("%s+", " "):find(table.concat(without, ", "), 1, true))
    local r = p:expect("audit export", 2, { env = { NEAP_FORMAT = "xml" } })
    assert.truthy(r.err:find('--format is jsonl or csv, not "xml"', 1, true), r.err)
  end)

  it("helps with every command, by both spellings", function()
    for _, name in ipairs(commands()) do
      local topic = p:expect("help " .. name)
      local option = p:expect(name .. " --help")
      -- The topic may go on with a text of the same name.
      assert.equal(option.out, topic.out:sub(1, #option.out))
      assert.truthy(topic.out:find(name, 1, true), name)
    end
  end)

  it("names the nearest command and exits 2", function()
    local r = p:expect("statsu", 2)
    assert.equal("", r.out)
    assert.truthy(r.err:find("status", 1, true), r.err)
  end)

  it("names the nearest option and exits 2", function()
    local r = p:expect("up --drry-run", 2)
    assert.truthy(r.err:find("--dry-run", 1, true), r.err)
  end)

  it("refuses an option of another command", function()
    local r = p:expect("status --mark applied", 2)
    assert.truthy(r.err:find("--mark", 1, true), r.err)
  end)

  it("refuses an option without its argument, and a flag with one", function()
    p:expect("up --to", 2)
    p:expect("up --dry-run=yes", 2)
  end)

  it("refuses a number without a unit", function()
    local r = p:expect("up --timeout 30", 2)
    assert.truthy(r.err:find("timeout", 1, true), r.err)
  end)

  it("takes options before and after the command", function()
    local before, after = p:expect "--json version", p:expect "version --json"
    local a, b = e2e.decode(before.out), e2e.decode(after.out)
    assert.equal("version", a.command)
    assert.equal(a.command, b.command)
    assert.equal(1, a.schema_version)
    assert.equal(0, a.exit_status)
  end)

  it("prints a failure as one JSON document", function()
    local document, r = p:json("status", 2)
    assert.equal("failed", document.status)
    assert.equal(2, document.exit_status)
    assert.equal("config.target", document.error.code)
    assert.equal("", r.err:match "{.*" or "")
  end)

  it("says both ways to name a target", function()
    local r = p:expect("status", 2)
    assert.truthy(r.err:find("-e ENV", 1, true), r.err)
    assert.truthy(r.err:find("DATABASE_URL", 1, true), r.err)
  end)

  it("uses no colours on a pipe", function()
    assert.is_nil(p:expect("help").out:find "\27")
    assert.is_nil(p:expect("statsu", 2).err:find "\27")
  end)

  it("does not die of a closed pipe", function()
    local command = ("%s help errors | head -n 1 >/dev/null"):format(
      e2e.process.quote(e2e.bin))
    local r = e2e.process.run({ "bash", "-c", "set -o pipefail; " .. command }, p.temp .. "/pipe",
      { cwd = p.dir, env = p.env })
    assert.not_equal(141, r.status)
  end)

  it("makes a project and a migration that pass their own check", function()
    p:expect "init fresh"
    p:expect "-C fresh new users"
    p:expect "-C fresh new --sql products"
    p:expect "-C fresh new --no-transaction index"
    p:expect "-C fresh check"
    local list = e2e.process.capture("ls " .. e2e.process.quote(p:path "fresh/migrations"))
    assert.truthy(list:find "0001_users.lua\n0002_products.sql\n0003_index.lua", list)
  end)
end)
