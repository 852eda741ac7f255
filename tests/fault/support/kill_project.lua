-- SPDX-License-Identifier: MIT
--
-- What is killed: ten migrations of every kind, the tables beside them, and the
-- report that says what a target is like. Each migration leaves marks in
-- trial.mark, which refuses no second one: what ran twice is seen there. A mark
-- also counts the sessions of other runs that are at work at that moment.
local project = {}

-- Owned by nobody: made before the first run. trial.gate, when it is not open, stops
-- migration 0006, and holds a statement up.
project.base = [=[
create schema trial;
create table trial.mark (id text, what text, run text, others int);
create table trial.gate (open boolean not null);
insert into trial.gate values (true);

create function trial.mark(id text, what text) returns void language sql as $$
  insert into trial.mark select id, what, current_setting('application_name'), count(*)
  from pg_stat_activity a
  where a.datname = current_database() and a.application_name like 'neap:%'
    and a.application_name <> current_setting('application_name')
    and (a.backend_xid is not null or a.query ~* 'concurrently|hold' and a.state = 'active')
$$;

-- A long statement: until the gate is open.
create function trial.hold() returns void language plpgsql as $$
begin
  while not (select open from trial.gate) loop
    perform pg_sleep(0.02);
  end loop;
end $$;

-- Waits until the sessions of every run have ended: what is left after 20 s.
create function trial.sessions() returns bigint language plpgsql as $$
declare
  left_over bigint;
begin
  for i in 1 .. 2000 loop
    perform pg_stat_clear_snapshot();
    select count(*) into left_over from pg_stat_activity
      where datname = current_database() and application_name like 'neap:%';
    exit when left_over = 0;
    perform pg_sleep(0.01);
  end loop;
  return left_over;
end $$;

create function trial.rows(name text) returns text language sql as $$
  select md5(query_to_xml(format('select * from public.%I t order by t::text', name),
    true, false, '')::text)
$$;

-- The schema that the migrations made, and their data.
create view trial.made as
  select format('%s %s %s', c.relkind, c.relname, case when c.relkind in ('r', 'v')
    then trial.rows(c.relname) end) as line
  from pg_class c where c.relnamespace = 'public'::regnamespace
  union all
  select format('column %s.%s %s %s %s', c.relname, a.attname, format_type(a.atttypid,
    a.atttypmod), a.attnotnull, pg_get_expr(d.adbin, d.adrelid))
  from pg_class c join pg_attribute a on a.attrelid = c.oid
  left join pg_attrdef d on d.adrelid = c.oid and d.adnum = a.attnum
  where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'v') and a.attnum > 0
    and not a.attisdropped
  union all
  select format('index %s valid %s', pg_get_indexdef(i.indexrelid), i.indisvalid)
  from pg_index i join pg_class c on c.oid = i.indexrelid
  where c.relnamespace = 'public'::regnamespace
  union all
  select format('constraint %s %s %s', conname, pg_get_constraintdef(oid), convalidated)
  from pg_constraint where connamespace = 'public'::regnamespace
  union all
  select format('trigger %s', pg_get_triggerdef(t.oid)) from pg_trigger t
  join pg_class c on c.oid = t.tgrelid
  where c.relnamespace = 'public'::regnamespace and not t.tgisinternal
  union all
  select format('function %s %s', proname, md5(prosrc)) from pg_proc
  where pronamespace = 'public'::regnamespace;
]=]

--- What a target is like after a run that ended; one line per finding. The same
--- text whenever all is well, however many runs it took.
project.report = [=[
select * from (
  select 'sessions left: ' || trial.sessions() as line
  union all
  select 'applied: ' || coalesce(string_agg(id, ' ' order by id), 'nothing') from (
    select distinct on (id) id, action from neap.history order by id, seq desc) last
  where action = 'apply'
  union all
  select format('twice in a row: %s %s at %s', id, action, seq) from (
    select id, seq, action, lag(action, 1, 'undo') over (partition by id order by seq) as before
    from neap.history) h
  where action = before or action not in ('apply', 'undo')
  union all
  select format('marked %s times, recorded %s times: %s %s', coalesce(m.count, 0),
    coalesce(h.count, 0), coalesce(m.id, h.id), coalesce(m.what, h.action))
  from (select id, what, count(*) from trial.mark where what in ('apply', 'undo') group by 1, 2) m
  full join (select id, action, count(*) from neap.history
    where id not in ('0003', '0006', '0008') group by 1, 2) h
  on h.id = m.id and h.action = m.what
  where m.count is distinct from h.count
  union all
  select format('step mark %s %s: %s', id, what, count(*)) from trial.mark
  where what not in ('apply', 'undo') group by id, what
  union all
  select format('at work beside run %s: %s', run, others) from trial.mark where others <> 0
  union all
  select format('step in doubt: %s %s %s', id, name, state) from neap.step where not settled
  union all
  select format('lease held: %s', run_id) from neap.lease l join pg_stat_activity a
  on a.pid = l.backend_pid and a.backend_start = l.backend_start
  where released_at is null -- whose session is gone holds nothing
  union all
  select line from trial.made
) report order by line;
]=]

--- For the evidence: everything neap wrote down.
project.evidence = [=[
select 'history', seq, id, action, run_id, attempt, recorded_at from neap.history order by seq;
select 'step', seq, id, step_index, name, state, run_id, settled, recorded_at
  from neap.step order by seq;
select 'lease', * from neap.lease;
select 'mark', * from trial.mark;
select 'session', pid, application_name, state, xact_start, query from pg_stat_activity
  where datname = current_database();
]=]

--- Ids without a transaction, each with an insert of its own as a step.
project.files = {
  ["lib/tide.lua"] = [=[
local tide = {}

function tide.mark(db, id, what)
  db:exec("select trial.mark($1, $2)", id, what)
end

function tide.is_marked(db, expect, id, what)
  expect.equal(db:value("select count(*) from trial.mark where id = $1 and what = $2", id, what),
    1)
end

function tide.unmark(db, id, what)
  db:exec("delete from trial.mark where id = $1 and what = $2", id, what)
end

function tide.pass(db)
  if not db:value "select open from trial.gate" then
    error "the gate is closed"
  end
end

return tide
]=],
  ["lib/sums.lua"] = [=[
return function(first, last)
  local sums = {}
  for i = first, last do
    sums[#sums + 1] = { i, i * i % 97 }
  end
  return sums
end
]=],
  ["migrations/0001_account.lua"] = [=[
return migration {
  summary = "Accounts",
  up = function(db)
    db:exec "create table account (id int primary key, name text not null)"
    db:exec "insert into account select i, 'account ' || i from generate_series(1, 200) i"
    db:exec "select trial.mark('0001', 'apply')"
  end,
  verify = function(db, expect)
    expect.table "public.account"
    expect.equal(db:value "select count(*) from account", 200)
  end,
  down = function(db)
    db:exec "drop table account"
    db:exec "select trial.mark('0001', 'undo')"
  end,
}
]=],
  ["migrations/0002_rate.sql"] = [=[
-- why: a file of plain SQL
-- risk: none
-- locks: none
-- neap: up
create table rate (code text primary key, rate numeric not null);
insert into rate values ('en', 1), ('da', 0.13), ('fi', 1.07);
select trial.mark('0002', 'apply');
-- neap: verify
select count(*) = 3 from rate;
-- neap: down
drop table rate;
select trial.mark('0002', 'undo');
]=],
  ["migrations/0003_account_name.lua"] = [=[
return migration {
  summary = "Accounts by name",
  transaction = false,
  steps = {
    { name = "index",
      up = function(db) db:exec "create index concurrently account_name on account (name)" end,
      verify = function(_, expect) expect.index("public.account_name", { valid = true }) end,
      down = function(db) db:exec "drop index concurrently account_name" end },
    { name = "note",
      up = function(db) db:exec "select trial.mark('0003', 'note')" end,
      verify = function(db, expect)
        expect.equal(db:value "select count(*) from trial.mark where id = '0003'", 1)
      end,
      down = function(db) db:exec "delete from trial.mark where id = '0003'" end },
  },
}
]=],
  ["migrations/0004_ledger.lua"] = [=[
local tide, sums = require "tide", require "sums"
return migration {
  summary = "A ledger, in many statements",
  up = function(db)
    db:exec [[create table ledger (id int primary key, account int not null
      references account (id) deferrable initially deferred, sum int not null)]]
    for _, row in ipairs(sums(1, 20)) do
      db:exec("insert into ledger values ($1, $1, $2)", row[1], row[2])
    end
    tide.mark(db, "0004", "apply")
  end,
  verify = function(db, expect)
    expect.equal(db:value "select count(*) from ledger", 20)
    expect.no_rows "select id from ledger where sum <> id * id % 97"
  end,
  down = function(db)
    db:exec "drop table ledger"
    tide.mark(db, "0004", "undo")
  end,
}
]=],
  ["migrations/0005_total.sql"] = [=[
-- why: a file of plain SQL with bodies
-- risk: none
-- locks: none
-- neap: up
create view total as select account, sum(sum) as total from ledger group by account;
create function total_of(wanted int) returns bigint language sql as $$
  select total::bigint from total where account = wanted
$$;
select trial.mark('0005', 'apply');
-- neap: verify
select total_of(3) = 9;
-- neap: down
drop function total_of;
drop view total;
select trial.mark('0005', 'undo');
]=],
  ["migrations/0006_archive.lua"] = [=[
local tide = require "tide"
return migration {
  summary = "An archive, in several steps without a transaction",
  transaction = false,
  steps = {
    { name = "table",
      up = function(db) db:exec "create table archive (id int not null, note text)" end,
      verify = function(_, expect) expect.table "public.archive" end,
      down = function(db) db:exec "drop table archive" end },
    { name = "unique",
      up = function(db) db:exec "create unique index concurrently archive_id on archive (id)" end,
      verify = function(_, expect) expect.index("public.archive_id", { valid = true }) end,
      down = function(db) db:exec "drop index concurrently if exists archive_id" end },
    { name = "rows",
      up = function(db)
        db:exec "insert into archive select i, 'old' from generate_series(1, 50) i"
      end,
      verify = function(db, expect)
        expect.equal(db:value "select count(*) from archive", 50)
      end,
      down = function(db) db:exec "delete from archive" end },
    { name = "gate",
      up = function(db)
        tide.pass(db)
        tide.mark(db, "0006", "gate")
      end,
      verify = function(db, expect) tide.is_marked(db, expect, "0006", "gate") end,
      down = function(db)
        tide.pass(db)
        tide.unmark(db, "0006", "gate")
      end },
    { name = "index",
      up = function(db)
        db:exec "create index concurrently ledger_account on ledger (account)"
      end,
      verify = function(_, expect) expect.index("public.ledger_account", { valid = true }) end,
      down = function(db) db:exec "drop index concurrently ledger_account" end },
  },
}
]=],
  ["migrations/0007_status.lua"] = [=[
local tide = require "tide"
return migration {
  summary = "A state for every account",
  up = function(db)
    db:exec "alter table account add column state text not null default 'new'"
    db:exec "update account set state = 'old' where id <= 100"
    db:savepoint(function() db:exec "update account set state = 'odd' where id = 7" end)
    tide.mark(db, "0007", "apply")
  end,
  verify = function(db, expect)
    expect.column("public.account", "state", { type = "text" })
    expect.equal(db:value "select count(*) from account where state = 'old'", 99)
  end,
  down = function(db)
    db:exec "alter table account drop column state"
    tide.mark(db, "0007", "undo")
  end,
}
]=],
  ["migrations/0008_ledger_sum.sql"] = [=[
-- why: a file of plain SQL without a transaction
-- risk: none
-- locks: none
-- neap: transaction false
-- neap: step index
-- neap: up
create index concurrently ledger_sum on ledger (sum);
-- neap: verify
select coalesce((select indisvalid from pg_index
  where indexrelid = to_regclass('public.ledger_sum')), false);
-- neap: down
drop index concurrently ledger_sum;
-- neap: step note
-- neap: up
select trial.mark('0008', 'note');
-- neap: verify
select count(*) = 1 from trial.mark where id = '0008';
-- neap: down
delete from trial.mark where id = '0008';
]=],
  ["migrations/0009_watch.lua"] = [=[
local tide = require "tide"
return migration {
  summary = "A trigger that says who wrote",
  up = function(db)
    db:exec "alter table ledger add column writer text"
    db:exec "alter table ledger add constraint ledger_sum_small check (sum < 97) not valid"
    db:exec [[create function sign_row() returns trigger language plpgsql as
      'begin new.writer := ''us''; return new; end']]
    db:exec [[create trigger sign before insert or update on ledger for each row
      execute function sign_row()]]
    db:exec "update ledger set sum = sum"
    tide.mark(db, "0009", "apply")
  end,
  verify = function(db, expect)
    expect.trigger("public.ledger", "sign")
    expect.equal(db:value "select count(*) from ledger where writer = 'us'", 20)
  end,
  down = function(db)
    db:exec "drop trigger sign on ledger"
    db:exec "drop function sign_row()"
    db:exec "alter table ledger drop constraint ledger_sum_small, drop column writer"
    tide.mark(db, "0009", "undo")
  end,
}
]=],
  ["migrations/0010_interest.lua"] = [=[
local tide = require "tide"
return migration {
  summary = "Data that is changed twice when it runs twice",
  up = function(db)
    db:exec "update rate set rate = rate + 1"
    db:exec "update ledger set account = account + 1"
    tide.mark(db, "0010", "apply")
  end,
  verify = function(db, expect)
    expect.equal(db:value "select rate from rate where code = 'en'", "2")
  end,
  down = function(db)
    db:exec "update rate set rate = rate - 1"
    db:exec "update ledger set account = account - 1"
    tide.mark(db, "0010", "undo")
  end,
}
]=],
}

return project
