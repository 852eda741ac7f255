-- The rows of wide.sql: values that are hard to keep, in every type that PostgreSQL 15 has.
create table shop.every (
  id int primary key, c_bool bool, c_bytea bytea, c_char "char", c_name name, c_int8 int8,
  c_int2 int2, c_int4 int4, c_text text, c_oid oid, c_xid xid, c_xid8 xid8, c_cid cid, c_tid tid,
  c_json json, c_jsonb jsonb, c_xml xml, c_point point, c_lseg lseg, c_path path, c_box box,
  c_polygon polygon, c_line line, c_circle circle, c_float4 float4, c_float8 float8,
  c_money money, c_macaddr macaddr, c_macaddr8 macaddr8, c_inet inet, c_cidr cidr,
  c_bpchar char(5), c_varchar varchar(9), c_date date, c_time time, c_timetz timetz,
  c_timestamp timestamp, c_timestamptz timestamptz, c_interval interval, c_bit bit(5),
  c_varbit varbit, c_numeric numeric, c_uuid uuid, c_lsn pg_lsn, c_tsvector tsvector,
  c_tsquery tsquery, c_snapshot pg_snapshot, c_regclass regclass, c_regproc regprocedure,
  c_regtype regtype, c_regrole regrole, c_jsonpath jsonpath, c_refcursor refcursor,
  c_int4range int4range, c_int8range int8range, c_numrange numrange, c_tsrange tsrange,
  c_tstzrange tstzrange, c_daterange daterange, c_int4multi int4multirange,
  c_nummulti nummultirange, c_datemulti datemultirange, c_int2vector int2vector,
  c_oidvector oidvector, c_aclitem aclitem, c_mood shop.mood, c_moods shop.mood[],
  c_point3 shop.point3, c_points shop.point3[], c_span shop.span, c_spans shop.spans,
  c_email shop.email, c_twin shop.twin, c_ints int[], c_texts text[], c_numerics numeric[],
  c_hstore ext.hstore, c_json_array jsonb[]);
insert into shop.every (id) values (1);
update shop.every set c_email = 'a@b' where id = 1;
insert into shop.every values (2, true, '\x00ff5c27', 'x', 'name', -9223372036854775808, -32768,
  -2147483648, E'tab\tline\nquote '' back\\ \u00e9', 4294967295, '77', '88', '99', '(1,2)',
  '{"a": 1,  "a": 2}', '{"b": [1.10, null]}', '<a b="c">d</a>', '(1.5,-0)', '[(0,0),(1,1)]',
  '((0,0),(1,2))', '(2,2),(1,1)', '((0,0),(1,1),(2,0))', '{1,-1,0}', '<(0,0),1e-300>', 'NaN',
  'Infinity', '-12345.67', '08:00:2b:01:02:03', '08:00:2b:01:02:03:04:05', '::1/64',
  '10.0.0.0/8', 'ab', 'a,"b\c', 'infinity', '24:00:00', '01:02:03.000004+05:30', '-infinity',
  'infinity', '-1 year 2 mons -3 days 04:05:06.000007', B'10101', B'', 'NaN',
  'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', 'FFFFFFFF/0', $$'a b':1A 'c'$$, $$'a' & !'b c':*$$,
  '10:20:10,14', 'shop.person', 'shop.plus(int,int)', 'shop.mood', 'neap_reader_b',
  '$.a[*] ? (@ > 1)', 'cursor', 'empty', '[1,)', '(1.50,2]', '[-infinity,infinity]',
  '[2020-01-01 00:00+02,)', '[2020-01-01,2020-02-01)', '{[1,2),[5,6)}', '{}', '{(,)}', '1 2 3',
  '4 5', 'neap_reader_b=r*/neap_owner_a', 'it''s "good"', '{sad,ok}', '(NaN,-Infinity,1.10)',
  array[row(1, 2, 3)::shop.point3, null], '[1.5,2.5)', '{[1,2)}', 'x@y', '42', '{}',
  '[0:1]={"",NULL}', '{{1.10,NaN},{Infinity,null}}', 'a=>1, b=>NULL',
  array['{"a": "\""}'::jsonb]);
insert into shop.every (id, c_float4, c_float8, c_numeric, c_text, c_bytea, c_ints, c_email) values
  (3, '-0', '-0', '1.10', '', '', '{{1,2},{3,4}}', 'z@z'),
  (4, 1e-45, 0.1::float8 + 0.2::float8, '-Infinity', null, null, null, 'z@z'),
  (5, 3.4028235e38, 5e-324, 1e200 + 1e-200, 'NULL', '\x', '{NULL}', 'z@z');
insert into shop.every (id, c_text, c_bytea, c_email)
  select 6, string_agg(md5(h::text), ''), decode(string_agg(md5(h::text), ''), 'hex'), 'z@z'
  from generate_series(1, 256) h;
insert into shop.person (name, email, kind, code, note, tags, score)
  select 'p' || g, g || '@x', case g % 3 when 0 then 'new' when 1 then 'old' end,
    case g % 4 when 0 then 'a' when 1 then 'b' end,
    (select string_agg(md5(g::text || h), '') from generate_series(1, 256) h),
    array['t' || g, null], g + 0.5
  from generate_series(1, 40) g;
insert into shop.child_of (parent) select id from shop.person limit 3;
insert into shop.quick values (1, 'a'), (2, null);
insert into shop.typed values (1, 'NaN', 2), (2, 'Infinity', null);
insert into shop.nothing default values;
insert into shop.nothing default values;
insert into shop.booking values (1, '[2020-01-01,2020-02-01)'), (1, '[2020-02-01,2020-03-01)');
insert into shop.base values (1, 'b', 2);
insert into shop.heir (a, own, b, later, last) values (2, 22, 'h', 222, 'l'), (3, 33, null, 5, '');
insert into shop.both (a, own, z) values (4, 44, 444);
insert into shop.event select g, '2020-01-01'::date + g * 20, 'e' || g
  from generate_series(1, 60) g;
insert into shop.by_list values ('A', 1), (null, 2);
insert into "neap x""y"."t ""' \ ; %s é" ("select", "a b""c", "%d")
  values (1, 'x', ''), (2, null, 'a,b'), (3, E'(",\n', E'tab\there');
create table shop.twice (a int, b text);
alter table shop.twice replica identity full;
insert into shop.twice values (1, 'one'), (1, 'one'), (2, 'two'), (3, null), (4, '');
select setval('shop.numbers', 17, false);
refresh materialized view shop.summary;
select lo_from_bytea(90001, '\x00ff00'), lo_from_bytea(90002, ''),
  lo_from_bytea(90003, decode(repeat('00', 5000) || 'aa' || repeat('00', 5000), 'hex'));
select lo_put(90001, 9000, '\x01'); -- a hole between
grant select on large object 90001 to neap_reader_b;
comment on large object 90002 is 'empty';
