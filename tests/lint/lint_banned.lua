-- SPDX-License-Identifier: MIT
--
-- Calls that are never right here, with what to use. In C: code only, comments
-- and strings are passed over. In scripts' Lua: globals that the sandbox lacks.
package.path = "tests/lint/?.lua;" .. package.path
local lint = require "lint"

local calls = {
  strcpy = "neap_strdup or a buffer", strcat = "a buffer", strncpy = "a buffer",
  stpcpy = "a buffer", sprintf = "snprintf or a buffer", vsprintf = "vsnprintf",
  gets = "a bounded read", strtok = "strcspn", atoi = "strtol", atol = "strtol",
  atof = "strtod", system = "neap_child_run", popen = "neap_child_run",
  gmtime = "gmtime_r", localtime = "neap_clock_utc", asctime = "neap_clock_utc",
  ctime = "neap_clock_utc", tmpnam = "mkstemp", mktemp = "mkstemp", tempnam = "mkstemp",
  alloca = "neap_alloc", rand = "randombytes_buf", srand = "randombytes_buf",
  _exit = "neap_exit_now", PQexec = "a query on the loop", PQexecParams = "a query on the loop",
  PQconnectdb = "a connect on the loop",
  -- libuv's pool of threads would take the signals that arm a script's hook
  uv_queue_work = "an operation on the loop", uv_getaddrinfo = "an operation on the loop",
  uv_getnameinfo = "an operation on the loop", uv_random = "randombytes_buf",
  uv_spawn = "neap_spawn",
}

-- Allowed where the reason stands.
local allowed = {
  ["host/base/crash.c"] = { _exit = true },
}

for _, path in ipairs(lint.files "^[hb][oi]%w+/.*%.[ch]$") do
  local findings = {}
  for number, line in ipairs(lint.lines(lint.code_of(lint.read(path)))) do
    for before, name in (" " .. line):gmatch "([^%w_])([%a_][%w_]*)%s*%(" do
      local why = calls[name] or name:find "^uv_fs_" and "path.h"
      if why and before ~= "." and before ~= ">" and not (allowed[path] or {})[name] then
        findings[#findings + 1] = ("%s:%d: %s is banned: use %s"):format(path, number, name,
          why)
      end
    end
  end
  lint.case(findings)
end

-- A cross-check that the scanner sees calls at all.
local probe = lint.code_of 'x = strcpy(a, b); /* sprintf( */ puts("atoi(");'
lint.case((probe:find "strcpy%(" and not probe:find "sprintf" and not probe:find "atoi") and {}
  or { "lint_banned: the scanner is broken: " .. probe })

-- Global writes in our Lua: every one is a typo or a leak.
for _, path in ipairs(lint.files "%.lua$") do
  local findings = {}
  if not path:find "_meta/" then
    local listing, ok = lint.capture("luac5.4 -l -p " .. lint.quote(path) .. " 2>&1")
    if not ok then
      findings[1] = path .. ": " .. listing
    end
    for line, name in listing:gmatch "%[(%d+)%]%s+SETTABUP%s+%d+ %d+ %d+k?%s*; _ENV \"([^\"]+)\"" do
      findings[#findings + 1] = ("%s:%s: writes the global %s"):format(path, line, name)
    end
  end
  lint.case(findings)
end
lint.finish()
