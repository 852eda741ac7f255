-- SPDX-License-Identifier: MIT
--
-- Transaction control however it is spelled, and innocent statements that look
-- like it.
local CONTROL = "1 db.transaction_control"

-- Each is refused before it is sent.
local refused = {
  "COMMIT", "commit", "CoMmIt", "COMMIT WORK", "COMMIT TRANSACTION", "COMMIT AND CHAIN",
  "COMMIT AND NO CHAIN", "END", "END TRANSACTION", "ROLLBACK", "ROLLBACK AND CHAIN", "ABORT",
  "ABORT WORK", "BEGIN", "BEGIN ISOLATION LEVEL SERIALIZABLE", "START TRANSACTION READ ONLY",
  "SAVEPOINT neap_verify", "RELEASE SAVEPOINT neap_verify", "RELEASE neap_verify",
  "ROLLBACK TO neap_verify", "ROLLBACK TO SAVEPOINT neap_savepoint_0",
  "PREPARE TRANSACTION 'x'", "COMMIT PREPARED 'x'", "ROLLBACK PREPARED 'x'",
  "SET TRANSACTION READ WRITE", "SET TRANSACTION ISOLATION LEVEL SERIALIZABLE",
  "SET LOCAL TRANSACTION READ WRITE", "SET SESSION CHARACTERISTICS AS TRANSACTION READ WRITE",
  "SET transaction_read_only = off", "SET LOCAL transaction_isolation = 'serializable'",
  "SET SESSION transaction_deferrable = on", "SET \"transaction_read_only\" = off",
  "RESET transaction_isolation", "DISCARD ALL", "DISCARD TEMP", "DISCARD PLANS",
  "/**/COMMIT", "/* /* nested */ */ COMMIT", "-- a comment\nCOMMIT", "--\r\nCOMMIT",
  "\t\n\v\f\rCOMMIT", "COMMIT;", ";COMMIT", ";;;COMMIT;;;", "COMMIT/**/WORK", "COMMIT--\n",
  "/*;*/COMMIT", "/*--*/COMMIT", "--/*\nCOMMIT", "COMMIT /* ' */", "BEGIN/**/;",
  "SELECT 1; COMMIT", "SELECT 1;COMMIT;SELECT 2", "SELECT ';'; COMMIT", "SELECT $$;$$; COMMIT",
  "SELECT $a$ $b$;$b$ $a$; COMMIT", "SELECT E'\\'; COMMIT'; COMMIT", "SELECT \"a;\" ; COMMIT",
  "SELECT U&'\\0041'; COMMIT", "SELECT 1 /* ; */ ; COMMIT", "SELECT 1 -- ;\n; COMMIT",
  "SELECT 1;\n\n-- x\n/* y */ ROLLBACK", "BEGIN; CREATE TABLE x(); COMMIT",
  "CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT 1; END; COMMIT",
}

-- The server ends these, or the host finds them out; nothing of them stays.
local ended = {
  { "do-commit", "COMMIT in DO", "db:exec 'do $$ begin commit; end $$'", "1 db.query" },
  { "do-rollback", "ROLLBACK in DO", "db:exec 'do $$ begin rollback; end $$'", "1 db.query" },
  { "do-execute", "COMMIT by EXECUTE in DO",
    "db:exec [[do $$ begin execute 'commit'; end $$]]", "1 db.query" },
  { "call", "a procedure that commits",
    "db:exec 'create procedure p() language plpgsql as $$ begin commit; end $$' db:exec 'call p()'",
    "1 db.query" },
  { "call-atomic", "a procedure of SQL that commits",
    "db:exec 'create procedure p() language sql as $$ commit $$' db:exec 'call p()'",
    { "1 db.query", "1 db.escaped" } },
  { "function", "a function that commits", "db:exec 'create function f() returns int language "
    .. "plpgsql as $$ begin commit; return 1; end $$' db:value 'select f()'", "1 db.query" },
  { "function-sql", "a function of SQL that commits",
    "db:exec 'create function f() returns void language sql as $$ commit $$' "
    .. "db:query 'select f()'", "1 db.query" },
  { "prepared", "COMMIT by PREPARE and EXECUTE", "db:exec 'prepare p as commit'", "1 db.query" },
  { "explain", "EXPLAIN ANALYZE of COMMIT", "db:exec 'explain analyze commit'", "1 db.query" },
  { "do-pcall", "COMMIT in DO, swallowed", "pcall(db.exec, db, 'do $$ begin commit; end $$')",
    "1 db.query" },
  { "do-savepoint", "COMMIT in DO in a savepoint, and on",
    "local ok = db:savepoint(function() db:exec 'do $$ begin commit; end $$' end) assert(not ok)",
    "0" },
  { "cursor", "COMMIT behind DECLARE", "db:rows 'select 1; commit'", CONTROL },
  { "copy", "COMMIT in COPY", "db:copy_out 'copy (select 1) to stdout; commit'", CONTROL },
  { "query", "COMMIT by query", "db:query 'commit'", CONTROL },
  { "row", "COMMIT by row", "db:row 'commit'", CONTROL },
  { "value", "COMMIT by value", "db:value 'commit'", CONTROL },
  { "savepoint-inside", "COMMIT in a savepoint", "db:savepoint(db.exec, 'commit')", CONTROL },
  { "ident", "COMMIT through an identifier",
    "db:exec('drop table ' .. db:ident 'x\"; commit; --')", "1 db.query" },
  { "literal", "COMMIT through a literal", "db:exec('select ' .. db:literal \"'; commit; --\")",
    "0" },
  { "param", "COMMIT through a parameter", "db:exec('select $1::text', \"'; commit; --\")", "0" },
  { "listen", "COMMIT through a channel", "db:notify('x', \"'; commit; --\")", "0" },
  { "unicode-space", "COMMIT behind a no-break space", "db:exec '\\u{a0}COMMIT'",
    { "1 db.query", CONTROL } },
  { "unicode-zero", "COMMIT behind a zero-width space", "db:exec '\\u{200b}COMMIT'",
    { "1 db.query", CONTROL } },
  { "bom", "COMMIT behind a BOM", "db:exec '\\u{feff}COMMIT'", { "1 db.query", CONTROL } },
  { "fullwidth", "COMMIT in full-width letters",
    "db:exec '\u{ff23}\u{ff2f}\u{ff2d}'", "1 db.query" },
  { "meta", "a psql command", "db:exec '\\\\c postgres'", "1 db.argument" },
  { "copy-psql", "COPY ends in \\.", "db:copy_in('copy left_over from stdin', "
    .. "'\\\\.\\n; commit;\\n')", { "0", "1 db.query" }, "any" },
  { "two", "two statements in one", "db:exec 'select 1; select 2'", "1 db.argument" },
  { "none", "no statement at all", "db:exec ' -- nothing '", "1 db.argument" },
  { "vacuum", "VACUUM", "db:exec 'vacuum witness'", "1 db.no_transaction" },
  { "concurrently", "an index built concurrently",
    "db:exec 'create index concurrently i on witness (id)'", "1 db.no_transaction" },
  { "alter-system", "ALTER SYSTEM", "db:exec 'alter system set work_mem = 64'",
    "1 db.no_transaction" },
  { "create-database", "CREATE DATABASE", "db:exec 'create database nope'",
    "1 db.no_transaction" },
  { "program", "COPY TO PROGRAM", "db:exec \"copy (select 1) to program 'true'\"",
    { "1 db.argument", "1 gate.refused", "1 db.query" } },
  { "set-config-isolation", "the isolation level by set_config",
    "db:exec \"select set_config('transaction_isolation', 'serializable', true)\"",
    { "0", "1 db.query" }, "any" },
  { "deferred", "a deferred constraint that fails at COMMIT",
    "db:exec 'create table public.c (id int primary key)' db:exec 'create table public.d (id int "
    .. "references c deferrable initially deferred)' db:exec 'insert into d values (1)'",
    "1 db.query" },
  { "deferred-trigger", "a deferred trigger that fails at COMMIT",
    "db:exec [[create function public.f() returns trigger language plpgsql as "
    .. "$$ begin raise exception 'no'; end $$]] "
    .. "db:exec 'create constraint trigger t after insert on left_over deferrable initially "
    .. "deferred for each row execute function public.f()' "
    .. "db:exec 'insert into left_over values (1)'", "1 db.query" },
  { "terminate-self", "its own session terminated",
    "db:exec 'select pg_terminate_backend(pg_backend_pid())'", "1 db.lost" },
  { "cancel-self", "its own statement cancelled",
    "db:exec 'select pg_cancel_backend(pg_backend_pid()), pg_sleep(5)'", "1 db.query" },
  { "cancel-swallowed", "the same swallowed, and on",
    "pcall(db.query, db, 'select pg_cancel_backend(pg_backend_pid()), pg_sleep(5)') "
    .. "pcall(db.exec, db, 'select 1')", "1 db.query" },
  { "terminate-neap", "every session of neap terminated",
    "db:exec \"select pg_terminate_backend(pid) from pg_stat_activity where application_name "
    .. "like 'neap:%' and pid <> pg_backend_pid() and datname = current_database()\"",
    { "0", "1 db.lost", "6 lease.lost" }, "any" },
}

-- Statements that only look like it; together in one script.
local innocent = [=[
for _, sql in ipairs {
  "select 'COMMIT'", "select 1 as \"COMMIT\"", "select $$COMMIT; ROLLBACK$$",
  "select 1 /* ; COMMIT */", "select 1 -- ; COMMIT", "select E'\\';COMMIT'",
  "create table public.begin (\"end\" int, \"commit\" int)",
  "insert into public.begin values (1, 2)",
  "select \"end\", \"commit\" from public.begin", "comment on table public.begin is 'ROLLBACK;'",
  "do $$ begin perform 1; exception when others then null; end $$",
  "create function public.rollback() returns int language sql begin atomic select 1; end",
  "select public.rollback()", "set local search_path = public", "set constraints all deferred",
  "select 1 as start, 2 as transaction", "prepare x as select 1", "execute x", "deallocate x",
  "declare commit cursor for select 1", "close commit", "select ';'", "select 1;",
  "create procedure public.abort() language plpgsql as $$ begin null; end $$",
  "call public.abort()", "lock table public.begin in share mode",
  "select case when true then 1 end", "notify \"commit\"", "drop table public.begin",
} do
  db:exec(sql)
end]=]

local cases = {
  { id = "tx.innocent", attempt = "thirty innocent statements that look like it", up = innocent,
    expect = "0" },
  { id = "tx.sql-file", attempt = "COMMIT in a SQL file",
    sql = "-- neap: up\ncreate table public.left_over ();\nCOMMIT;\n-- neap: unverified x\n"
      .. "-- neap: irreversible x\n", expect = CONTROL },
  { id = "tx.sql-file-comment", attempt = "COMMIT behind comments in a SQL file",
    sql = "-- neap: up\ncreate table public.left_over (); /* */ -- x\n/* y */ commit ;\n"
      .. "-- neap: unverified x\n-- neap: irreversible x\n", expect = CONTROL },
  { id = "tx.sql-file-innocent", attempt = "a SQL file with COMMIT in a function's body",
    sql = "-- neap: up\ncreate table public.left_over ();\ncreate procedure public.p() language "
      .. "plpgsql as $$\nbegin\n  commit;\nend $$;\n-- neap: unverified x\n"
      .. "-- neap: irreversible x\n",
    expect = "0" },
  { id = "tx.sql-file-directive", attempt = "a directive inside a string of a SQL file",
    sql = "-- neap: up\ncreate table public.left_over (id text default '\n-- neap: down\n');\n"
      .. "-- neap: unverified x\n-- neap: irreversible x\n", expect = "0" },
  { id = "tx.sql-file-meta", attempt = "a psql command in a SQL file",
    sql = "-- neap: up\n\\! true\n-- neap: unverified x\n-- neap: irreversible x\n",
    expect = "1 db.argument" },
}
for i, sql in ipairs(refused) do
  cases[#cases + 1] = { id = ("tx.spelling-%02d"):format(i),
    attempt = (sql:gsub("%c", " ")), expect = CONTROL, brief = true,
    up = ("pcall(db.exec, db, %q)"):format(sql):gsub("\\\n", "\\n") }
end
for _, case in ipairs(ended) do
  cases[#cases + 1] = { id = "tx." .. case[1], attempt = case[2], up = case[3], expect = case[4],
    holds = case[5] }
end
return cases
