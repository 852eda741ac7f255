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
---@field backup? string the url of a role that may read everything, for backups; `url`
---@field gates? neap.Gate[] what `neap up` must pass first; all of them where protected, else {}
---@field restore? string the url of a role that may make databases and own all in them; `url`
---@field backup_max_age? neap.Duration of a proved backup that the gate takes again; "1h"
---@field backup_dir? string where backups are; `backups` in the state directory
---@field retention? neap.Retention how long `neap backup prune` keeps backups
---@field archive? neap.Archive who keeps the server's WAL and backups, for points in time
---@field auto_restore? boolean the way back of a failed change may restore a backup; false
---@field pooler? "transaction" a transaction pooler is in the way, and allowed
---@field timeout? neap.Duration "30s"
---@field lock_timeout? neap.Duration "500ms"
---@field lock_budget? neap.Duration "2min"
---@field lease_wait? neap.Duration "30s"
---@field lease_ttl? neap.Duration "30s"
---@field connect_timeout? neap.Duration "10s"
---@field memory? neap.Size "256MB"
---@field preflight? neap.Preflight other thresholds than those of `neap help preflight`

---The tool that keeps the whole server's backups and WAL.
---@class neap.Archive
---@field tool "pgbackrest"|"barman"
---@field stanza? string what pgBackRest calls this server
---@field server? string what Barman calls it
---@field command? string[] how it is run: a program and its arguments; the tool's name
---@field type? "full"|"diff"|"incr" of the backups that neap has pgBackRest make; its own choice
---@field timeout? neap.Duration of one backup; "2h"
---@field verify? boolean the gate of `neap up` has it verify what it made, too; true

---@alias neap.Gate "preflight"|"backup"|"rehearsal"

---How long backups are kept, by their tag; false: for ever.
---@class neap.Retention
---@field pre_migration? neap.Duration|false of the gate of `neap up`; "30d"
---@field daily? neap.Duration|false "7d"
---@field weekly? neap.Duration|false "28d"
---@field monthly? neap.Duration|false "365d"
---@field keep? integer so many proved ones stay, however old; 1

---Thresholds of one check; false: it has no such level.
---@class neap.Limits
---@field warning? number|false
---@field error? number|false

---@class neap.AgeLimits
---@field warning? neap.Duration|false
---@field error? neap.Duration|false

---Other thresholds by check; false: it is not made.
---@class neap.Preflight
---@field standby? neap.Limits|false the target is no standby and takes writes
---@field server_version? neap.Limits|false the server's major version
---@field pin? neap.Limits|false a protected environment pins system_identifier and database
---@field superuser? neap.Limits|false the role is no superuser, whom no rule holds
---@field rights? neap.Limits|false rights that the role lacks to change anything
---@field pooler? neap.Limits|false no transaction pooler is in between
---@field connections? neap.Limits|false connections in use of max_connections
---@field long_transactions? neap.AgeLimits|false age of the oldest transaction
---@field idle_in_transaction? neap.AgeLimits|false
---@field prepared_transactions? neap.Limits|false
---@field hidden_sessions? neap.Limits|false sessions of which the role may not see what they do
---@field locks? neap.Limits|false locks older than a second on relations that pending scripts name
---@field replication_lag? neap.AgeLimits|false
---@field replication_wal? neap.Limits|false WAL that the slowest replica has not applied
---@field invalid_indexes? neap.Limits|false indexes that a concurrent build left invalid
---@field archiving? neap.Limits|false whether the last attempt to archive WAL failed
---@field disk_state? neap.Limits|false free disk at the state directory, in sizes of the database
---@field disk_backup? neap.Limits|false free disk at the directory of backups
---@field disk_data? neap.Limits|false
