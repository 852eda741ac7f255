---@meta neap
-- SPDX-License-Identifier: MIT
--
-- The globals of a script and module neap, for editors. Nothing here runs.
error "neap/_meta is for editors and cannot be required"

---@alias neap.Duration string a number with its unit: "500ms", "30s", "2min", "1h30min"
---@alias neap.Size string a number with its unit: "512kB", "64MB", "1GB"
---@alias neap.Up fun(db: neap.pg.Conn)
---@alias neap.Verify fun(db: neap.pg.Conn, expect: neap.Expect): boolean?

--- What every script has without require.
---@class neap
---@field null neap.Null SQL NULL as a parameter
---@field version string the version of neap
neap = {}

--- SQL NULL where a parameter is given; a NULL in a row is nil.
---@class neap.Null: userdata

--- What a failing function of neap raises.
---@class neap.Error: userdata
---@field code string such as "db.query"; `neap help errors` lists them
---@field message string one line, lower case
---@field detail string? sentences
---@field hint string? what to do next
---@field sqlstate string? the server's code
---@field sql string? the statement
---@field position integer? 1-based character in `sql`
---@field file string? the script
---@field line integer? the line in `file`
---@field where string? "file:line"
---@field traceback string? script lines only

--- Calls `f` and says whether it succeeded. A string that `f` raised becomes an
--- error object. A deadline or a signal is never swallowed.
--- Raises: run.deadline, run.interrupted, run.terminated
---@param f function what is called
---@param ... any its arguments
---@return boolean ok true: the results of `f` follow; false: the error follows
---@return any ... the results, or one neap.Error
function neap.try(f, ...) end

--- Writes a line to the log.
---@param text any shown as tostring shows it
---@param level? "error"|"warn"|"info"|"detail"|"debug" default "info"
function neap.log(text, level) end

--- Returns the UTC time of the host as RFC 3339 text with microseconds.
---@return string now
---@nodiscard
function neap.now() end

--- Returns the milliseconds of a duration.
--- Raises: script.argument
---@param text neap.Duration what is read
---@return integer milliseconds
---@nodiscard
function neap.duration(text) end

--- Returns the bytes of a size.
--- Raises: script.argument
---@param text neap.Size what is read
---@return integer bytes
---@nodiscard
function neap.size(text) end

--- One step of a migration without a transaction.
---@class neap.Step
---@field name string unique in the migration
---@field up neap.Up what changes
---@field verify neap.Verify|neap.Unverified whether it is done: settles a step in doubt
---@field down neap.Up|neap.Irreversible the way back

---@class neap.MigrationOpts
---@field summary string what changes, for people
---@field ticket? string such as "CIR-212"; --ticket overrides it
---@field phase? "expand"|"contract" which half of an online change
---@field timeout? neap.Duration the step's deadline; default from the environment
---@field lock_timeout? neap.Duration per attempt; default from the environment
---@field requires? string[] ids that must be applied before
---@field transaction? boolean false: steps, each its own; default true
---@field steps? neap.Step[] with `transaction = false`, and only then
---@field up? neap.Up what changes
---@field verify? neap.Verify|neap.Unverified false or an error means rollback
---@field down? neap.Up|neap.Irreversible the way back

---@class neap.Migration: userdata
---@class neap.Runbook: userdata
---@class neap.Irreversible: userdata
---@class neap.Unverified: userdata

--- Checks the table and makes the migration that the file returns.
--- Raises: script.contract
---@param opts neap.MigrationOpts up, verify and down are required
---@return neap.Migration migration
---@nodiscard
function migration(opts) end

--- Makes the runbook that a file of runbooks/ returns.
--- Raises: script.contract
---@param opts table its steps and gates
---@return neap.Runbook runbook
---@nodiscard
function runbook(opts) end

--- Says, in place of `down`, that there is no way back.
--- Raises: script.contract
---@param why string the reason, shown before anybody asks for it
---@return neap.Irreversible reason
---@nodiscard
function irreversible(why) end

--- Says, in place of `verify`, that the change cannot be checked.
--- Raises: script.contract
---@param why string the reason
---@return neap.Unverified reason
---@nodiscard
function unverified(why) end
