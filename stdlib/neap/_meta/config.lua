---@meta
-- SPDX-License-Identifier: MIT
-- Types for editors: what neap.lua returns, and what only it has.
error "neap/_meta is for editors and cannot be required"

---Reads an environment variable; in neap.lua only.
---@param name string
---@return string|nil value
function env(name) end

---What neap.lua returns.
---@class neap.Config
---@field environments? table<string, neap.Environment>
---@field default? string the environment without `-e`
---@field signing_key? string a key file that signs the audit's heads
---@field state_dir? string where the audit journal lives

---@class neap.Environment
---@field url string "postgresql://…", never with a password in this file
---@field control? string the same, as the role that keeps the books; `url`
---@field protected? boolean undoing and settling ask for the database's name; false
---@field allow_superuser? boolean false
---@field role? string SET LOCAL ROLE in each step
---@field system_identifier? string the cluster that it must be
---@field database? string the database that it must be
---@field pooler? "transaction" a transaction pooler is in the way, and allowed
---@field timeout? neap.Duration "30s"
---@field lock_timeout? neap.Duration "500ms"
---@field lock_budget? neap.Duration "2min"
---@field lease_wait? neap.Duration "30s"
---@field lease_ttl? neap.Duration "30s"
---@field connect_timeout? neap.Duration "10s"
---@field memory? neap.Size "256MB"
