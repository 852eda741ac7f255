-- SPDX-License-Identifier: MIT
--
-- What is shipped: the demo, the installed tree, the hardened binary.
local e2e = require "harness"
local process = require "process"

local quote = process.quote

describe("the house", function()
  after_each(e2e.clean)

  local function run(p, argv, opts)
    local env = {}
    for name, value in pairs(p.env) do
      env[name] = value
    end
    env.NEAP_SCRATCH_DIR = p.temp .. "-scratch"
    return process.run(argv, p.temp .. "/run", { cwd = e2e.root, env = env,
      timeout = opts and opts.timeout })
  end

  it("shows the demo to its end", function()
    local p = e2e.project { database = false }
    local r = run(p, { "sh", "tests/demo.sh", e2e.bin }, { timeout = 120 })
    os.execute("rm -rf " .. quote(p.temp .. "-scratch"))
    assert.equal(0, r.status, r.out .. r.err)
  end)

  it("installs the binary, man page, completions and types", function()
    local p = e2e.project { database = false }
    local prefix = p.temp .. "/prefix"
    local r = run(p, { "cmake", "--install", e2e.build, "--prefix", prefix })
    assert.equal(0, r.status, r.err)
    for _, path in ipairs { "bin/neap", "share/man/man1/neap.1", "share/neap/types/expect.lua",
      "share/bash-completion/completions/neap", "share/zsh/site-functions/_neap",
      "share/fish/vendor_completions.d/neap.fish" } do
      assert.truthy(process.read(prefix .. "/" .. path), path)
    end
    assert.equal(0, run(p, { prefix .. "/bin/neap", "version" }).status)
  end)

  it("is hardened: PIE, full RELRO, no executable stack", function()
    if e2e.sanitized or e2e.covered then
      return -- those builds are never shipped
    end
    local headers = process.capture("readelf -hldW " .. quote(e2e.bin))
    assert.truthy(headers:find "DYN %(Position%-Independent", "PIE")
    assert.truthy(headers:find "GNU_RELRO", "RELRO")
    assert.truthy(headers:find "BIND_NOW" or headers:find "Flags: NOW", "now")
    assert.is_nil(headers:match "GNU_STACK[^\n]*RWE")
    local symbols = process.capture("readelf --dyn-syms -W " .. quote(e2e.bin))
    assert.truthy(symbols:find "__stack_chk_fail", "stack protector")
    assert.truthy(symbols:find "_chk@", "fortify")
  end)
end)
