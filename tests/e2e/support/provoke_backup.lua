-- SPDX-License-Identifier: MIT
--
-- errors_spec: backups that cannot be made, and those that must not be believed.
local e2e = require "harness"

local process = e2e.process
local quote = process.quote

local function create(p, more)
  return p:json("backup create" .. (more or "")).backup
end

-- Backs up what `sql` made; `damage` changes the files; the result of verify.
local function verified(sql, damage, more)
  return function(p)
    p:query(sql)
    local backup = create(p, more)
    if damage then
      damage(backup.path, p)
    end
    return p:neap "backup verify --json"
  end
end

local function shell(command)
  return function(path)
    assert(os.execute((command:gsub("PATH", (quote(path):gsub("%%", "%%%%"))))))
  end
end

local function locked(p)
  p:query "create table t (id int)"
  local blocker = p:session "lock table t in access exclusive mode"
  local r = p:neap "backup create --lock-budget 300ms --json"
  blocker:close()
  assert(e2e.decode(r.out).error.detail:find(blocker.name, 1, true), r.err)
  return r
end

local function changed(p)
  p:query("create table t as select md5(i::text) a, md5(i::text || 'x') b"
    .. " from generate_series(1, 500000) i")
  local run = p:start "backup create --json"
  assert(process.await(20, function()
    return p:value("select count(*) from pg_stat_activity where datname = current_database()"
      .. " and query like 'COPY %'") == "1"
  end), "pg_dump did not begin: " .. run:err())
  p:query "create table meanwhile (id int)"
  return run:wait(60)
end

local function rights(p)
  p:query "create table t (id int); create role backup_nobody login"
  local r = p:neap("backup create --json",
    { env = { DATABASE_URL = (p.url:gsub("user=postgres", "user=backup_nobody")) } })
  p:query "drop role backup_nobody"
  return r
end

local function full_disk(p)
  p:query "create table t as select md5(i::text) a from generate_series(1, 100000) i"
  return p:neap({ "backup", "create", "--to", p.dir .. "/disk", "--json" }, { under = { "unshare",
    "--mount", "sh", "-c", 'mkdir -m 700 "$0" && mount -t tmpfs -o size=256k,mode=700 tmpfs "$0"'
      .. ' && exec "$@"', p.dir .. "/disk" } })
end

local function missing_role(p)
  p:query "create role backup_gone; create table t as select 'backup_gone'::regrole r"
  local backup = create(p)
  p:query "drop role backup_gone"
  local r = p:neap "backup verify --json"
  assert(not backup.verified)
  return r
end

local function rehearsed(up)
  return function(p)
    p:write_sql("0001_x.sql", up)
    return p:neap "rehearse --from live-schema --json"
  end
end

return {
  ["backup.unknown"] = {
    { run = function(p) return p:neap "backup show 2020 --json" end, says = "there is no backup",
      hint = "neap backup list", at = false },
  },
  ["backup.failed"] = {
    { run = verified [[create table other (id int); insert into other values (1);
        create function good(int) returns bool language sql immutable
          as 'select count(*) > 0 from other';
        create table t (id int check (good(id))); insert into t values (1)]],
      says = { "pg_restore failed", "other" }, hint = "neap help backups", at = false },
  },
  ["backup.rights"] = {
    { run = rights, says = "permission denied", hint = "`backup` in the environment", at = false },
  },
  ["backup.locked"] = {
    { run = locked, says = "locked", hint = "that session", at = false },
  },
  ["backup.changed"] = {
    { run = changed, says = "meanwhile", hint = "Run it again", at = false },
  },
  ["backup.disk"] = {
    { run = full_disk, says = "No space left", hint = "--to", at = false },
  },
  ["backup.directory"] = {
    { run = verified("create table t (id int)", shell "chmod 755 PATH"),
      says = "others may open", hint = "chmod go-rwx", at = false },
    { run = verified("create table t (id int)", shell "chmod 644 PATH/dump"),
      says = "others may open", hint = "chmod go-rwx", at = false },
  },
  ["backup.damaged"] = {
    { run = verified("create table t (id int)", shell ": >PATH/dump"),
      says = { "is empty", "0 bytes" }, hint = "neap backup create", at = false },
    { run = verified("create table t (id int)", shell "truncate -s -100 PATH/dump"),
      says = "is cut", hint = "neap backup create", at = false },
    { run = verified("create table t (id int)", shell
        "printf '\\377' | dd of=PATH/dump bs=1 seek=600 conv=notrunc status=none"),
      says = { "were changed", "SHA-256" }, hint = "neap backup create", at = false },
    { run = verified("create table t (id int)", shell
        "sed -i 's/\"kind\": \"full\"/\"kind\": \"fool\"/' PATH/manifest.json"),
      says = "is not the one that was written", hint = "neap backup create", at = false },
  },
  ["backup.version"] = {
    { run = function(p)
        return p:neap("backup create --json", { env = { NEAP_PG_BINDIR = p.dir } })
      end, says = "cannot be run", hint = "NEAP_PG_BINDIR", at = false },
  },
  ["backup.extension"] = {
    { run = verified "update pg_extension set extname = 'nowhere'", says = "nowhere",
      hint = "package", at = false },
  },
  ["backup.role"] = {
    { run = missing_role, says = "backup_gone", hint = "role", at = false },
  },
  ["backup.differs"] = {
    { run = verified [[create function f(int) returns int language sql immutable as 'select 1';
        create table t (id int, g int generated always as (f(id)) stored);
        insert into t values (1);
        create or replace function f(int) returns int language sql immutable as 'select 2']],
      says = { "is not what was backed up", "public.t" }, hint = "neap backup create", at = false },
  },
  ["rehearsal.failed"] = {
    { run = rehearsed("create table t (id int);\nselect * from nowhere"),
      says = { "migration 0001 failed on the copy", "nowhere" }, hint = "neap rehearse",
      at = "migrations/0001_x.sql:6", position = 15 },
  },
  ["rehearsal.down"] = {
    { run = rehearsed "create table t (id int)", says = "+ column public.t.id",
      hint = "neap help rehearsal", at = "migrations/0001_x.sql" },
  },
  ["rehearsal.copy"] = {
    { run = function(p)
        p:write_table("0001", "a")
        create(p)
        p:expect "up"
        p:write_table("0002", "b")
        return p:neap "rehearse --json"
      end, says = "is applied on the target and pending on the copy", hint = "neap backup create",
      at = false },
  },
  ["backup.unproved"] = {
    { run = verified("create table t (id int)", nil, " --kind data"), says = "no schema",
      hint = "neap backup create", at = false },
  },
  ["archive.failed"] = {
    { run = function(p)
        p:write("neap.lua", ([[return { environments = { shop = { url = %q,
          archive = { tool = "pgbackrest", stanza = "shop", command = { "/nowhere/tool" } } } } }]])
          :format(p.url))
        return p:neap "-e shop backup create --json"
      end, says = "cannot start /nowhere/tool", hint = "Install pgbackrest", at = false },
  },
}
