-- SPDX-License-Identifier: MIT
std = "lua54"
max_line_length = false -- lint_sizes counts characters, not bytes
exclude_files = { "build*/**" }
-- What the script contract gives to a migration (host/script).
local contract = { "migration", "runbook", "irreversible", "unverified", "neap", "env" }
files["migrations/**"] = { read_globals = contract }
files["lib/**"] = { read_globals = contract }
files["runbooks/**"] = { read_globals = contract }
files["stdlib/neap/**"] = { read_globals = contract }
files["stdlib/neap/_meta/**"] = { ignore = { "." } }
files["stdlib/selftest/*.lua"] = { read_globals = contract }
files["tests/e2e/**"] = { std = "+busted" }
files["tests/fault/**"] = { std = "+busted" }
files["tests/spec/**"] = { std = "+busted", read_globals = contract }
-- Scripts that the unit tests run in the sandbox.
files["tests/unit/**"] = {
  read_globals = contract,
  globals = { "gate_counts", "peak_kb", "expect", "db", "embedded", "classes" },
  ignore = { "512" }, -- a loop that ends in its first turn, on purpose
}
