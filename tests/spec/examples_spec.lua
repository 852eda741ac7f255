-- SPDX-License-Identifier: MIT
--
-- Whatever the texts show as a script is one: help, README, the example project.
local e2e = require "harness"

local function blocks(path)
  local found = {}
  for block in e2e.process.read(path):gmatch "```lua\n(.-)```" do
    found[#found + 1] = block
  end
  return found
end

describe("examples", function()
  after_each(e2e.clean)

  local texts = { "README.md" }
  for path in e2e.process.capture("ls stdlib/help/*.md"):gmatch "[^\n]+" do
    texts[#texts + 1] = path
  end

  for _, path in ipairs(texts) do
    for number, block in ipairs(blocks(path)) do
      it(("of %s, number %d, keep the contract"):format(path, number), function()
        local p = e2e.project { database = false }
        if block:find "return migration" then
          for _, id in ipairs { "0001", "0002", "0003" } do
            p:write_table(id, "t" .. id) -- what an example may require
          end
          p:write("migrations/0004_example.lua", block)
          p:expect "check"
        elseif block:find "environments =" then
          p:write("neap.lua", block)
          local r = p:neap("doctor", { env = { PRODUCTION_URL = "postgresql:///x" } })
          assert.is_nil(r.err:find "config.invalid", r.err)
        else
          assert(load(block) or load("return " .. block))
        end
      end)
    end
  end

  it("are files that exist, and every file is named", function()
    local named = {}
    for _, path in ipairs(texts) do
      for file in e2e.process.read(path):gmatch "`(%l+/[%w_]+%.%l+)`" do
        if file:find "^migrations/" or file:find "^lib/" then
          named[file] = true
          local is_placeholder = file:find "^migrations/0004_name%.sql$"
          assert(is_placeholder or e2e.process.read(file), path .. " names " .. file)
        end
      end
    end
    for file in e2e.process.capture("ls migrations/* lib/*"):gmatch "[^\n]+" do
      assert(named[file], "no text names " .. file)
    end
  end)

  it("of the example project pass the check", function()
    local r = e2e.project({ database = false }):expect("check", 0, { cwd = e2e.root })
    assert.equal("", r.err)
  end)

  it("of the example project say why, risk and locks, and name a ticket", function()
    for path in e2e.process.capture("ls migrations/*"):gmatch "[^\n]+" do
      local head = e2e.process.read(path):sub(1, 600)
      for _, word in ipairs { "why", "risk", "locks" } do
        assert.truthy(head:find("%-%-%-? " .. word .. ": %S"), path .. ": " .. word)
      end
      local text = e2e.process.read(path)
      assert.truthy(text:find "\n  ticket = \"SHOP%-%d+\""
        or text:find "\n%-%- neap: ticket SHOP%-%d", path .. ": ticket")
    end
  end)
end)
