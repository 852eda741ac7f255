-- A database with one of everything that PostgreSQL 15 has, and data in it: what the
-- tests of the backup's fingerprint and digests dump, restore and change.
create role neap_owner_a;
create role "o'brien ""x""";
create role neap_reader_b;

alter database wide set work_mem = '8MB';
alter database wide set app.jwt_secret = 'hunter2';
alter database wide set app.plan = 'hunter3';
alter role neap_reader_b in database wide set statement_timeout = '5s';
grant temporary on database wide to neap_reader_b;
comment on database wide is 'wide, and "quoted"';

create schema shop authorization neap_owner_a;
create schema "neap x""y";
comment on schema "neap x""y" is 'a hostile name; -- '' \ ';
create schema neap;
create schema ext;
create extension hstore schema ext;
create extension pgcrypto schema ext;
create extension postgres_fdw;
create extension file_fdw;
create extension btree_gist;
revoke all on function ext.gen_salt(text) from public;
grant execute on function ext.gen_salt(text) to neap_reader_b;
revoke execute on function pg_catalog.pg_sleep(double precision) from public;
grant select on pg_catalog.pg_authid to neap_reader_b;
create table neap.history (id int primary key);
insert into neap.history values (1);
create table neap.lease (id int);
insert into neap.lease values (1);
comment on table neap.history is 'no part of the schema';

-- Types
create type shop.mood as enum ('sad', 'ok', 'it''s "good"');
create type shop.point3 as (x float8, y float8, z numeric(10, 2));
create type shop.pair as (x int);
comment on column shop.point3.x is 'to the east';
create domain shop.email as text collate "C" default 'nobody@example.org' not null
  constraint has_at check (value ~ '@') constraint short check (length(value) < 200);
create domain shop.code as varchar(8) check (value in ('a', 'b', 'c'));
create type shop.span as range (subtype = float8, subtype_diff = float8mi,
  multirange_type_name = shop.spans);
create type shop.shell;
create type shop.twin;
create function shop.twin_in(cstring) returns shop.twin language internal immutable strict
  as 'int4in';
create function shop.twin_out(shop.twin) returns cstring language internal immutable strict
  as 'int4out';
create type shop.twin (input = shop.twin_in, output = shop.twin_out, like = int4, default = '7');

-- Functions
create function shop.plus(a int, b int default 41 + 1) returns int language sql immutable strict
  parallel safe cost 7 as $$ select a + b $$;
create function shop.body(a int) returns int language sql begin atomic select a + 1; end;
create function shop.stamp() returns trigger language plpgsql security definer
  set search_path = pg_catalog set app.secret_key = 'hunter4' as $$
begin
  -- a line; with a semicolon, two  blanks and a \ backslash
  return new;
end $$;
create function shop.many(out n int, out label text) returns setof record language sql stable
  rows 17 as $$ values (1, 'one') $$;
create function shop.twins(int, variadic text[]) returns text language sql as $$ select 'x' $$;
create procedure shop.tidy(inout n int) language plpgsql as $$ begin n := n + 1; end $$;
create aggregate shop.total(int) (sfunc = int4pl, stype = int, initcond = '0', combinefunc = int4pl,
  parallel = safe, msfunc = int4pl, minvfunc = int4mi, mstype = int, minitcond = '0');
create aggregate shop.middle(float8 order by anyelement) (sfunc = ordered_set_transition,
  stype = internal, finalfunc = percentile_disc_final, finalfunc_extra);
alter function shop.plus(int, int) owner to "o'brien ""x""";
grant execute on function shop.plus(int, int) to neap_reader_b with grant option;
revoke execute on procedure shop.tidy(int) from public;
comment on function shop.plus(int, int) is E'adds\nin two lines';
alter function shop.body(int) depends on extension hstore;

-- Operators, casts, what indexes need
create function shop.same_mod(int, int) returns bool language sql immutable as
  $$ select $1 % 10 = $2 % 10 $$;
create operator shop.=== (leftarg = int, rightarg = int, function = shop.same_mod,
  commutator = operator(shop.===), restrict = eqsel, join = eqjoinsel, hashes);
create operator shop.!== (leftarg = int, rightarg = int, function = shop.same_mod);
create operator family shop.loose using btree;
create operator class shop.int_ops for type int using btree family shop.loose as
  operator 1 <, operator 2 <=, operator 3 =, operator 4 >=, operator 5 >,
  function 1 btint4cmp(int, int);
create operator class shop.own_ops for type int using hash as operator 1 =,
  function 1 hashint4(int);
create function shop.to_email(int) returns shop.point3 language sql immutable as
  $$ select row($1, $1, $1)::shop.point3 $$;
create cast (int as shop.point3) with function shop.to_email(int) as assignment;
create cast (shop.point3 as text) with inout;
create collation shop.german (provider = icu, locale = 'de-u-co-phonebk', deterministic = false);
create collation shop.plain from "C";
create conversion shop.latin for 'LATIN1' to 'UTF8' from iso8859_1_to_utf8;
create text search dictionary shop.words (template = pg_catalog.simple, stopwords = english);
create text search configuration shop.search (copy = pg_catalog.english);
alter text search configuration shop.search alter mapping for word with shop.words, english_stem;
create text search template shop.template (lexize = dsimple_lexize, init = dsimple_init);
create text search parser shop.parser (start = prsd_start, gettoken = prsd_nexttoken,
  end = prsd_end, lextypes = prsd_lextype);
create access method shop_heap type table handler heap_tableam_handler;
create function shop.to_twin(internal) returns internal language internal immutable strict
  as 'prsd_start';
create transform for shop.twin language sql (from sql with function shop.to_twin(internal));
create function shop.lang_handler() returns language_handler language c
  as '$libdir/plpgsql', 'plpgsql_call_handler';
create trusted language shop_lang handler shop.lang_handler;

-- Tables
create sequence shop.numbers as smallint start 5 increment 3 minvalue 2 maxvalue 900 cache 4 cycle;
create table shop.person (
  id bigint generated always as identity (start 10 increment 5) primary key,
  gone int,
  name varchar(80) not null default 'unnamed',
  email shop.email,
  mood shop.mood default 'ok',
  code shop.code,
  kind varchar(10) check (kind in ('new', 'old', 'it''s, [so]) "x"')),
  tags text[] default '{}',
  joined timestamptz default '2020-01-02 03:04:05+02',
  upper_name text generated always as (upper(name)) stored,
  note text compression pglz,
  score numeric(8, 3) constraint positive check (score > 0) no inherit,
  unique nulls not distinct (id, kind)
) with (fillfactor = 70, autovacuum_enabled = false, toast.autovacuum_enabled = false);
alter table shop.person drop column gone;
alter table shop.person alter note set storage external, alter name set statistics 77,
  alter score set (n_distinct = 5), owner to neap_owner_a, replica identity full;
alter table shop.person add constraint fresh check (joined > '2019-01-01 00:00+00') not valid;
create index person_name on shop.person (lower(name) text_pattern_ops desc nulls last)
  include (mood) with (fillfactor = 60) where kind in ('new', 'old');
create unique index person_code on shop.person (code, (score * 2));
alter index shop.person_code alter column 2 set statistics 33;
alter table shop.person cluster on person_code;
create statistics shop.person_stats (ndistinct, dependencies) on code, kind from shop.person;
create statistics shop.person_lower on lower(name), upper(name) from shop.person;
alter statistics shop.person_stats set statistics 55;
comment on column shop.person.name is 'as in the passport';
comment on constraint positive on shop.person is 'above nothing';
comment on index shop.person_name is 'for looking up';
grant select, insert on shop.person to neap_reader_b, public;
grant update (name, mood) on shop.person to neap_reader_b with grant option;
grant usage on sequence shop.numbers to neap_reader_b;
grant usage on type shop.mood to neap_reader_b;
revoke usage on domain shop.email from public;
alter table shop.person enable row level security, force row level security;
create policy own on shop.person as restrictive for update to neap_reader_b, neap_owner_a
  using (name = current_user) with check (kind in ('new', 'old'));
create policy seen on shop.person for select using (true);
create trigger stamp before insert or update of name on shop.person for each row
  when (new.name is not null) execute function shop.stamp('a', 'b\c');
create constraint trigger late after insert on shop.person deferrable initially deferred
  for each row execute function shop.stamp();
alter table shop.person disable trigger stamp;
alter table shop.person enable always trigger late;
create rule quiet as on delete to shop.person where old.kind in ('new', 'old') do instead nothing;
alter table shop.person disable rule quiet;

create table shop.child_of (parent bigint constraint to_person references shop.person (id)
  on delete cascade on update set null deferrable initially deferred, extra serial,
  other int default nextval('shop.numbers'));
create unlogged table shop.quick (a int primary key, b text) using shop_heap;
alter table shop.quick replica identity using index quick_pkey;
create table shop.typed of shop.point3 (x not null default 1, primary key (y));
create table shop.nothing ();
create table shop.booking (room int, during tstzrange,
  exclude using gist (room with =, during with &&) where (room > 0));

create table shop.base (a int not null, b text default 'base', constraint a_pos check (a > 0));
create table shop.heir (own int, b text default 'heir') inherits (shop.base);
alter table shop.base add column later int default 3; -- behind `own` here, before it in a copy
alter table shop.heir add column last text;
create table shop.both (z int, b text default 'both') inherits (shop.base, shop.heir);

create table shop.event (id int, at date not null, body text, kind varchar(5) default 'x')
  partition by range (at);
create table shop.event_2020 partition of shop.event (id not null)
  for values from ('2020-01-01') to ('2021-01-01');
create table shop.event_odd (extra int, kind varchar(5), body text, id int, at date not null);
alter table shop.event_odd drop column extra;
alter table shop.event attach partition shop.event_odd
  for values from ('2021-01-01') to ('2022-01-01');
create table shop.event_rest partition of shop.event default partition by hash (id);
create table shop.event_rest_0 partition of shop.event_rest
  for values with (modulus 2, remainder 0);
create table shop.event_rest_1 partition of shop.event_rest
  for values with (modulus 2, remainder 1);
alter table shop.event add primary key (id, at);
create index event_body on shop.event (body);
create index event_only on only shop.event (kind);
alter table shop.event add constraint kinds check (kind in ('x', 'y'));
create trigger stamp after update on shop.event for each row execute function shop.stamp();
alter table shop.event_2020 disable trigger stamp;
create table shop.of_event (id int, at date, constraint to_event foreign key (id, at)
  references shop.event);
create table shop.by_list (a text, b int) partition by list (lower(a));
create table shop.by_list_a partition of shop.by_list for values in ('a', 'b', null);

create view shop.people with (security_barrier, security_invoker) as
  select p.id, p.name || '!' as called, p.kind from shop.person p
  where p.kind in ('new', 'old') and p.joined > '2020-01-01 00:00+00' with local check option;
alter view shop.people alter column kind set default 'new';
create recursive view shop.counting (n) as values (1) union all select n + 1 from counting
  where n < 9;
create rule soft as on delete to shop.people do instead
  update shop.person set kind = 'old' where id = old.id;
create materialized view shop.summary as select kind, count(*) from shop.person group by kind;
create unique index summary_kind on shop.summary (kind);
create materialized view shop.empty_view as select 1 as one with no data;
comment on view shop.people is 'seen by all';

create foreign data wrapper shop_fdw options (debug 'true');
create server shop_far foreign data wrapper postgres_fdw
  options (host 'far.example.org', dbname 'x y', options '-c app.token=hunter5');
create user mapping for neap_reader_b server shop_far options (user 'u', password 'hunter6');
create user mapping for public server shop_far;
create server shop_file type 'file' version '1' foreign data wrapper file_fdw;
create foreign table shop.far (id int options (column_name 'ID') not null, t text)
  server shop_far options (schema_name 'public', table_name 't');
grant usage on foreign server shop_far to neap_reader_b;

create publication everything for all tables with (publish = 'insert, delete');
create publication part for table shop.person (id, name, kind) where (id > 5)
  with (publish_via_partition_root = true);
create publication whole for tables in schema "neap x""y";
create subscription shop_sub connection 'host=nowhere.invalid password=hunter7'
  publication p, q with (connect = false, slot_name = 'shop_slot');
create function shop.on_ddl() returns event_trigger language plpgsql as $$ begin end $$;
create event trigger shop_ddl on ddl_command_end when tag in ('DROP TABLE', 'ALTER TABLE')
  execute function shop.on_ddl();
alter event trigger shop_ddl disable;
alter default privileges for role neap_owner_a in schema shop grant select on tables
  to neap_reader_b;
alter default privileges for role neap_owner_a revoke execute on functions from public;

-- Hostile names
create type "neap x""y"."enum ' \ %s" as enum ('', 'a,b', E'tab\there');
create table "neap x""y"."t ""' \ ; %s é" ("select" int primary key, "a b""c" text default '; --',
  "%d" "neap x""y"."enum ' \ %s", "é" serial);
create index "i ""; --" on "neap x""y"."t ""' \ ; %s é" ("a b""c");
comment on table "neap x""y"."t ""' \ ; %s é" is E'line\nbreak \\ ''';
create function "neap x""y"."f ""("("p "" q" int) returns int language sql as 'select 1';
