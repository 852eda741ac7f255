-- SPDX-License-Identifier: MIT
--
-- The schema of a database as lines of text, for PostgreSQL 15 and newer: one statement,
-- one branch for each kind of object, each line with the kind first. What dump and restore
-- keep is said by name, and nothing else is: no oids, no order of creation, no statistics.
--
-- Asked in a session with search_path pg_catalog, so that every other name is qualified.
-- An extension stands for its objects. Schema neap is history, not schema. Values of
-- options that may be secrets are hashed or left out. Takes AccessShare on catalogs.
with
member as materialized (
  select d.classid, d.objid from pg_depend d where d.deptype = 'e'
),
ns as materialized (
  select n.tableoid as classid, n.oid, quote_ident(n.nspname) as name, n.nspowner, n.nspacl
  from pg_namespace n
  where n.nspname not in ('neap', 'information_schema') and n.nspname not like 'pg\_%'
),
rel as materialized (
  select c.tableoid as classid, c.oid, c.relkind, n.name || '.' || quote_ident(c.relname) as name,
    case c.relkind when 'v' then 'view' when 'm' then 'materialized view'
      when 'f' then 'foreign table' when 'S' then 'sequence' when 'c' then 'type'
      else 'table' end as kind,
    c.relowner, c.relacl, c.relam, c.reltablespace, c.relpersistence, c.reloptions, c.reltype,
    c.reltoastrelid, c.relrowsecurity, c.relforcerowsecurity, c.relreplident, c.reloftype,
    c.relispartition, c.relpartbound, c.relispopulated
  from pg_class c join ns n on n.oid = c.relnamespace
  where c.oid >= 16384 and c.relkind in ('r', 'p', 'v', 'm', 'f', 'S', 'c')
    and (case c.relkind when 'c' then 'pg_type'::regclass else c.tableoid end,
         case c.relkind when 'c' then c.reltype else c.oid end)
      not in (select m.classid, m.objid from member m)
),
proc as materialized (
  select p.*, p.oid::regprocedure::text as name, case p.prokind when 'p' then 'procedure'
      when 'a' then 'aggregate' else 'function' end as kind
  from pg_proc p join ns n on n.oid = p.pronamespace
  where p.oid >= 16384 and (p.tableoid, p.oid) not in (select m.classid, m.objid from member m)
),
typ as materialized (
  select t.*, n.name || '.' || quote_ident(t.typname) as name
  from pg_type t join ns n on n.oid = t.typnamespace
  where t.oid >= 16384 and (t.tableoid, t.oid) not in (select m.classid, m.objid from member m)
    and t.typtype in ('b', 'd', 'e', 'r', 'p')
    and not (t.typcategory = 'A' and exists (
      select from pg_type e where e.oid = t.typelem and e.typarray = t.oid))
),
-- Objects with grants of their own, and what they have without.
granted as (
  select r.kind || ' ' || r.name as what, r.relacl as acl,
    acldefault(case r.relkind when 'S' then 's' else 'r' end::"char", r.relowner) as base
  from rel r where r.relacl is not null
  union all
  select concat('column ', r.name, '.', quote_ident(a.attname)), a.attacl,
    acldefault('c', r.relowner)
  from pg_attribute a join rel r on r.oid = a.attrelid
  where a.attacl is not null and not a.attisdropped
  union all
  select 'schema ' || n.name, n.nspacl, acldefault('n', n.nspowner)
  from ns n
  where n.nspacl is not null and (n.classid, n.oid) not in (select m.classid, m.objid from member m)
  union all
  select p.kind || ' ' || p.name, p.proacl, acldefault('f', p.proowner)
  from proc p where p.proacl is not null
  union all
  select case t.typtype when 'd' then 'domain ' else 'type ' end || t.name, t.typacl,
    acldefault('T', t.typowner)
  from typ t where t.typacl is not null
  union all
  select 'type ' || r.name, t.typacl, acldefault('T', t.typowner)
  from rel r join pg_type t on t.oid = r.reltype where r.relkind = 'c' and t.typacl is not null
  union all
  select 'database', d.datacl, acldefault('d', d.datdba)
  from pg_database d where d.datname = current_database() and d.datacl is not null
  union all
  select 'language ' || quote_ident(l.lanname), l.lanacl, coalesce(i.initprivs,
    acldefault('l', l.lanowner))
  from pg_language l left join pg_init_privs i
    on i.objoid = l.oid and i.classoid = l.tableoid and i.objsubid = 0
  where l.lanacl is distinct from i.initprivs
  union all
  select 'foreign-data wrapper ' || quote_ident(f.fdwname), f.fdwacl, acldefault('F', f.fdwowner)
  from pg_foreign_data_wrapper f where f.fdwacl is not null
  union all
  select 'server ' || quote_ident(s.srvname), s.srvacl, acldefault('S', s.srvowner)
  from pg_foreign_server s where s.srvacl is not null
  union all
  -- What belongs to the system or to an extension is told where its grants were changed.
  select 'relation ' || c.oid::regclass, coalesce(c.relacl, b.base), coalesce(i.initprivs, b.base)
  from pg_class c left join pg_init_privs i
      on i.objoid = c.oid and i.classoid = c.tableoid and i.objsubid = 0
    cross join lateral (select acldefault(case c.relkind when 'S' then 's' else 'r' end::"char",
      c.relowner) as base) b
  where c.relacl is distinct from i.initprivs
    and (c.oid < 16384 and c.relnamespace = 'pg_catalog'::regnamespace
      or (c.tableoid, c.oid) in (select m.classid, m.objid from member m))
  union all
  select 'function ' || p.oid::regprocedure, coalesce(p.proacl, b.base),
    coalesce(i.initprivs, b.base)
  from pg_proc p left join pg_init_privs i
      on i.objoid = p.oid and i.classoid = p.tableoid and i.objsubid = 0
    cross join lateral (select acldefault('f', p.proowner) as base) b
  where p.proacl is distinct from i.initprivs
    and (p.oid < 16384 and p.pronamespace = 'pg_catalog'::regnamespace
      or (p.tableoid, p.oid) in (select m.classid, m.objid from member m))
),
-- Names and values that may hold a secret.
option (what, name, value, is_plain) as (
  select concat('database setting', case when s.setrole <> 0
      then ' of ' || quote_ident(pg_get_userbyid(s.setrole)) end),
    split_part(e, '=', 1), substr(e, strpos(e, '=') + 1), strpos(split_part(e, '=', 1), '.') = 0
  from pg_db_role_setting s cross join unnest(s.setconfig) e
  where s.setdatabase = (select d.oid from pg_database d where d.datname = current_database())
  union all
  select concat('setting of ', p.kind, ' ', p.name), split_part(e, '=', 1),
    substr(e, strpos(e, '=') + 1), strpos(split_part(e, '=', 1), '.') = 0
  from proc p cross join unnest(p.proconfig) e
  union all
  select 'option of foreign-data wrapper ' || quote_ident(f.fdwname), o.option_name,
    o.option_value, false
  from pg_foreign_data_wrapper f cross join pg_options_to_table(f.fdwoptions) o
  where (f.tableoid, f.oid) not in (select m.classid, m.objid from member m)
  union all
  select 'option of server ' || quote_ident(s.srvname), o.option_name, o.option_value,
    o.option_name in ('host', 'hostaddr', 'port', 'dbname', 'fetch_size', 'use_remote_estimate',
      'updatable', 'sslmode', 'extensions', 'batch_size', 'async_capable')
  from pg_foreign_server s cross join pg_options_to_table(s.srvoptions) o
  union all
  select 'option of foreign table ' || r.name, o.option_name, o.option_value,
    o.option_name in ('schema_name', 'table_name', 'filename', 'format', 'header', 'delimiter',
      'updatable', 'fetch_size', 'use_remote_estimate')
  from rel r join pg_foreign_table f on f.ftrelid = r.oid
    cross join pg_options_to_table(f.ftoptions) o
  where r.relkind = 'f'
  union all
  select concat('option of column ', r.name, '.', quote_ident(a.attname)), o.option_name,
    o.option_value, o.option_name = 'column_name'
  from rel r join pg_attribute a on a.attrelid = r.oid
    cross join pg_options_to_table(a.attfdwoptions) o
  where r.relkind = 'f'
  union all
  -- Who may see the values differs from session to session.
  select concat('option of user mapping for ', quote_ident(coalesce(u.usename, 'public')),
    ' on server ', quote_ident(u.srvname)), o.option_name, null, false
  from pg_user_mappings u cross join pg_options_to_table(u.umoptions) o
)
select concat_ws(', ', 'encoding of database: ' || pg_encoding_to_char(d.encoding),
  'collation ' || quote_ident(d.datcollate), 'character type ' || quote_ident(d.datctype),
  'provider ' || d.datlocprovider::text,
  'locale ' || coalesce(to_jsonb(d) ->> 'datlocale', to_jsonb(d) ->> 'daticulocale')) as line
from pg_database d where d.datname = current_database()
union all
select concat_ws(', ', 'database properties: owner ' || quote_ident(pg_get_userbyid(d.datdba)),
  case when d.datconnlimit <> -1 then 'connection limit ' || d.datconnlimit end,
  case when d.datistemplate then 'template' end)
from pg_database d where d.datname = current_database()
union all
select concat(o.what, ' ', o.name, case
  when o.is_plain then ': ' || o.value
  when o.value is null or o.name ~* 'pass|secret|token|key|cred|auth|conninfo' then ''
  else ': sha256 ' || left(encode(sha256(convert_to(o.value, 'UTF8')), 'hex'), 16) end)
from option o
union all
select concat('schema ', n.name, ': owner ', quote_ident(pg_get_userbyid(n.nspowner)))
from ns n where (n.classid, n.oid) not in (select m.classid, m.objid from member m)
union all
select concat('extension ', quote_ident(e.extname), ': version ', e.extversion, ', schema ',
  e.extnamespace::regnamespace)
from pg_extension e
union all

-- Relations
select concat_ws(', ', concat(r.kind, ' ', r.name, ': owner ',
    quote_ident(pg_get_userbyid(r.relowner))),
  case r.relpersistence when 'u' then 'unlogged' when 't' then 'temporary' end,
  'access method ' || (select quote_ident(m.amname) from pg_am m where m.oid = r.relam),
  'tablespace ' || (select quote_ident(t.spcname) from pg_tablespace t
    where t.oid = r.reltablespace),
  'of type ' || case when r.reloftype <> 0 then format_type(r.reloftype, null) end,
  'partition by ' || case when r.relkind = 'p' then pg_get_partkeydef(r.oid) end,
  case when r.relispartition then 'partition ' || pg_get_expr(r.relpartbound, r.oid) end,
  case when r.relkind in ('r', 'p', 'f') then
    (select case when r.relispartition then 'of ' else 'inherits ' end
        || string_agg(i.inhparent::regclass::text, ', ' order by i.inhseqno)
        || case when bool_or(i.inhdetachpending) then ', detach pending' else '' end
      from pg_inherits i where i.inhrelid = r.oid) end,
  case when r.relrowsecurity then 'row security' end,
  case when r.relforcerowsecurity then 'row security forced' end,
  'replica identity ' || case r.relreplident when 'n' then case when r.relkind in ('r', 'p', 'm')
    then 'nothing' end when 'f' then 'full' when 'i' then 'index' end,
  'options ' || (select string_agg(o, ', ' order by o) from unnest(r.reloptions) o),
  'toast options ' || (select string_agg(o, ', ' order by o)
    from pg_class t cross join unnest(t.reloptions) o where t.oid = r.reltoastrelid),
  'server ' || case when r.relkind = 'f' then (select quote_ident(s.srvname) from pg_foreign_table f
    join pg_foreign_server s on s.oid = f.ftserver where f.ftrelid = r.oid) end,
  'query ' || case when r.relkind in ('v', 'm') then pg_get_viewdef(r.oid) end)
from rel r where r.relkind <> 'S'
union all
select concat('populated ', r.name) from rel r where r.relkind = 'm' and r.relispopulated
union all
-- A child's own columns alone: where it has its parent's ones is not kept by a dump.
select concat('columns of ', r.kind, ' ', r.name, ': ',
  string_agg(quote_ident(a.attname), ', ' order by a.attnum))
from rel r join pg_attribute a on a.attrelid = r.oid
where r.relkind in ('r', 'p', 'f', 'c') and a.attnum > 0 and not a.attisdropped
  and (a.attinhcount = 0 or r.relispartition)
group by r.kind, r.name
union all
select concat_ws(', ', concat('column ', r.name, '.', quote_ident(a.attname), ': ',
    format_type(a.atttypid, a.atttypmod)),
  'collation ' || case when a.attcollation <> t.typcollation
    then a.attcollation::regcollation::text end,
  case when a.attnotnull then 'not null' end,
  case when not a.atthasdef then null when a.attgenerated <> '' then 'generated ' else 'default '
    end || (select nullif(e, substring(e from '^NULL::[\w ."(),\[\]]+$'))
    from pg_attrdef d cross join pg_get_expr(d.adbin, d.adrelid) e
    where d.adrelid = a.attrelid and d.adnum = a.attnum),
  case a.attgenerated when 's' then 'stored' end,
  case a.attidentity when 'a' then 'identity always' when 'd' then 'identity by default' end,
  case when a.attstorage <> t.typstorage and r.relkind <> 'v' then 'storage '
    || case a.attstorage when 'p' then 'plain' when 'e' then 'external' when 'x' then 'extended'
      else 'main' end end,
  case a.attcompression when 'p' then 'compression pglz' when 'l' then 'compression lz4' end,
  case when a.attstattarget >= 0 then 'statistics ' || a.attstattarget end,
  -- Some servers keep a version of their own there, which no dump holds.
  'options ' || (select string_agg(o, ', ' order by o) from unnest(a.attoptions) o
    where o not like 'pg\_attver=%'),
  case when a.attinhcount > 0 and not r.relispartition then 'inherited' end,
  case when a.attinhcount > 0 and a.attislocal and not r.relispartition then 'local' end)
from rel r join pg_attribute a on a.attrelid = r.oid join pg_type t on t.oid = a.atttypid
where (r.relkind in ('r', 'p', 'f', 'c', 'm') or r.relkind = 'v' and a.atthasdef)
  and a.attnum > 0 and not a.attisdropped
union all
-- A dump makes a partition's own foreign keys from its parent's.
select concat_ws(', ', concat('constraint ', r.name, '.', quote_ident(c.conname), ': ',
    pg_get_constraintdef(c.oid)),
  case when not c.conislocal and not r.relispartition then 'inherited' end)
from rel r join pg_constraint c on c.conrelid = r.oid
where r.relkind in ('r', 'p', 'f') and c.contype <> 't'
  and (c.contype <> 'f' or c.conparentid = 0)
union all
select concat_ws(', ', concat('index ', n.name, '.', quote_ident(c.relname), ' on ', r.name, ': ',
    pg_get_indexdef(i.indexrelid)),
  'tablespace ' || (select quote_ident(t.spcname) from pg_tablespace t
    where t.oid = c.reltablespace),
  case when c.relispartition then (select 'of ' || h.inhparent::regclass
    from pg_inherits h where h.inhrelid = c.oid) end,
  case when not i.indisvalid then 'not valid' end,
  case when not i.indisready then 'not ready' end,
  case when i.indisclustered then 'clustered' end,
  case when i.indisreplident then 'replica identity' end)
from rel r join pg_index i on i.indrelid = r.oid join pg_class c on c.oid = i.indexrelid
  join ns n on n.oid = c.relnamespace
where r.relkind in ('r', 'p', 'm')
union all
select concat('statistics of index ', a.attrelid::regclass, ' column ', a.attnum, ': ',
  a.attstattarget)
from rel r join pg_index i on i.indrelid = r.oid join pg_attribute a on a.attrelid = i.indexrelid
where r.relkind in ('r', 'p', 'm') and a.attstattarget >= 0
union all
select concat_ws(', ', concat('sequence ', r.name, ': owner ',
    quote_ident(pg_get_userbyid(r.relowner))), format_type(s.seqtypid, null),
  case r.relpersistence when 'u' then 'unlogged' end,
  'start ' || s.seqstart, 'increment ' || s.seqincrement, 'minimum ' || s.seqmin,
  'maximum ' || s.seqmax, 'cache ' || s.seqcache, case when s.seqcycle then 'cycle' end,
  (select case d.deptype when 'i' then 'identity of ' else 'owned by ' end
      || d.refobjid::regclass || '.' || quote_ident(a.attname)
    from pg_depend d join pg_attribute a on a.attrelid = d.refobjid and a.attnum = d.refobjsubid
    where d.classid = 'pg_class'::regclass and d.objid = r.oid and d.objsubid = 0
      and d.refclassid = 'pg_class'::regclass and d.deptype in ('a', 'i')))
from rel r join pg_sequence s on s.seqrelid = r.oid where r.relkind = 'S'
union all
select concat_ws(', ', concat('rule ', quote_ident(w.rulename), ' on ', r.name, ': ',
    pg_get_ruledef(w.oid)), 'enabled ' || w.ev_enabled::text)
from rel r join pg_rewrite w on w.ev_class = r.oid where w.rulename <> '_RETURN'
union all
-- The copies that partitions have of a trigger are told where they fire otherwise than it.
select case when g.tgparentid = 0 then concat('trigger ', quote_ident(g.tgname), ' on ', r.name,
    ': ', pg_get_triggerdef(g.oid), case g.tgenabled when 'D' then ', disabled'
    when 'R' then ', on replicas' when 'A' then ', always' end)
  else concat('state of trigger ', quote_ident(g.tgname), ' on ', r.name, ': ', g.tgenabled) end
from rel r join pg_trigger g on g.tgrelid = r.oid
where not g.tgisinternal and (g.tgparentid = 0 or g.tgenabled <> (
  select p.tgenabled from pg_trigger p where p.oid = g.tgparentid))
union all
select concat_ws(', ', concat('policy ', quote_ident(p.polname), ' on ', r.name, ': for ',
    case p.polcmd when 'r' then 'select' when 'a' then 'insert' when 'w' then 'update'
      when 'd' then 'delete' else 'all' end, case when p.polpermissive then ' permissive'
      else ' restrictive' end, ' to ',
    (select string_agg(case when o = 0 then 'public' else quote_ident(pg_get_userbyid(o)) end, ', '
      order by case when o <> 0 then pg_get_userbyid(o) end) from unnest(p.polroles) o)),
  'using ' || pg_get_expr(p.polqual, p.polrelid),
  'with check ' || pg_get_expr(p.polwithcheck, p.polrelid))
from rel r join pg_policy p on p.polrelid = r.oid
union all
select concat_ws(', ', concat('statistics ', n.name, '.', quote_ident(s.stxname), ': owner ',
    quote_ident(pg_get_userbyid(s.stxowner))), pg_get_statisticsobjdef(s.oid),
  case when s.stxstattarget >= 0 then 'target ' || s.stxstattarget end)
from pg_statistic_ext s join ns n on n.oid = s.stxnamespace
where (s.tableoid, s.oid) not in (select m.classid, m.objid from member m)
union all

-- Functions
select concat_ws(', ', concat(p.kind, ' ', p.name, ': (', pg_get_function_arguments(p.oid), ')'),
  'returns ' || case when p.prokind <> 'p' then pg_get_function_result(p.oid) end,
  'owner ' || quote_ident(pg_get_userbyid(p.proowner)),
  'language ' || (select quote_ident(l.lanname) from pg_language l where l.oid = p.prolang),
  case when p.prokind = 'w' then 'window' end,
  case p.provolatile when 'i' then 'immutable' when 's' then 'stable' else 'volatile' end,
  case when p.proisstrict then 'strict' end,
  case when p.prosecdef then 'security definer' end,
  case when p.proleakproof then 'leakproof' end,
  'parallel ' || case p.proparallel when 's' then 'safe' when 'r' then 'restricted' end,
  'cost ' || p.procost, 'rows ' || case when p.proretset then p.prorows end,
  'support ' || nullif(p.prosupport, 0)::regprocedure,
  'transforms ' || (select string_agg(format_type(o, null), ', ' order by k)
    from unnest(p.protrftypes) with ordinality as u (o, k)),
  'library ' || quote_literal(p.probin))
from proc p
union all
select concat('body of ', p.kind, ' ', p.name, ': ', coalesce(pg_get_function_sqlbody(p.oid),
  p.prosrc))
from proc p where p.prokind <> 'a'
union all
select concat_ws(', ', concat('aggregate parts of ', p.name, ': kind ', g.aggkind::text),
  'direct ' || nullif(g.aggnumdirectargs, 0), 'step ' || g.aggtransfn::regprocedure,
  'final ' || nullif(g.aggfinalfn, 0)::regprocedure || ' ' || g.aggfinalmodify::text
    || case when g.aggfinalextra then ' extra' else '' end,
  'combine ' || nullif(g.aggcombinefn, 0)::regprocedure,
  'serial ' || nullif(g.aggserialfn, 0)::regprocedure,
  'deserial ' || nullif(g.aggdeserialfn, 0)::regprocedure,
  'moving ' || nullif(g.aggmtransfn, 0)::regprocedure,
  'moving inverse ' || nullif(g.aggminvtransfn, 0)::regprocedure,
  'moving final ' || nullif(g.aggmfinalfn, 0)::regprocedure || ' ' || g.aggmfinalmodify::text
    || case when g.aggmfinalextra then ' extra' else '' end,
  'sort ' || nullif(g.aggsortop, 0)::regoperator, 'state ' || format_type(g.aggtranstype, null),
  'space ' || nullif(g.aggtransspace, 0),
  'moving state ' || case when g.aggmtranstype <> 0 then format_type(g.aggmtranstype, null) end,
  'moving space ' || nullif(g.aggmtransspace, 0), 'initial ' || quote_literal(g.agginitval),
  'moving initial ' || quote_literal(g.aggminitval))
from proc p join pg_aggregate g on g.aggfnoid = p.oid where p.prokind = 'a'
union all

-- Types
select concat_ws(', ', concat(case t.typtype when 'd' then 'domain ' else 'type ' end, t.name,
    ': owner ', quote_ident(pg_get_userbyid(t.typowner))),
  case when not t.typisdefined then 'shell' end,
  case when t.typtype = 'e' then 'enum ' || coalesce((select string_agg(quote_literal(e.enumlabel),
    ', ' order by e.enumsortorder) from pg_enum e where e.enumtypid = t.oid), '') end,
  case when t.typtype = 'd' then concat_ws(', ', format_type(t.typbasetype, t.typtypmod),
    'collation ' || case when t.typcollation <> b.typcollation
      then t.typcollation::regcollation::text end,
    case when t.typnotnull then 'not null' end,
    'default ' || coalesce(pg_get_expr(t.typdefaultbin, 0), t.typdefault)) end,
  case when t.typtype = 'b' then concat_ws(', ', 'length ' || t.typlen,
    case when t.typbyval then 'by value' end, 'category ' || t.typcategory::text,
    case when t.typispreferred then 'preferred' end, 'delimiter ' || t.typdelim::text,
    'element ' || case when t.typelem <> 0 then format_type(t.typelem, null) end,
    'subscript ' || nullif(t.typsubscript, 0)::regprocedure, 'input ' || t.typinput::regprocedure,
    'output ' || t.typoutput::regprocedure, 'receive ' || nullif(t.typreceive, 0)::regprocedure,
    'send ' || nullif(t.typsend, 0)::regprocedure,
    'modifier input ' || nullif(t.typmodin, 0)::regprocedure,
    'modifier output ' || nullif(t.typmodout, 0)::regprocedure,
    'analyze ' || nullif(t.typanalyze, 0)::regprocedure, 'align ' || t.typalign::text,
    'storage ' || t.typstorage::text, 'default ' || quote_literal(t.typdefault),
    case when t.typcollation <> 0 then 'collatable' end) end,
  (select concat_ws(', ', 'range of ' || format_type(g.rngsubtype, null),
      'multirange ' || g.rngmultitypid::regtype,
      'collation ' || nullif(g.rngcollation, 0)::regcollation,
      'operator class ' || o.opcnamespace::regnamespace || '.' || quote_ident(o.opcname),
      'canonical ' || nullif(g.rngcanonical, 0)::regprocedure,
      'difference ' || nullif(g.rngsubdiff, 0)::regprocedure)
    from pg_range g join pg_opclass o on o.oid = g.rngsubopc
    where t.typtype = 'r' and g.rngtypid = t.oid))
from typ t left join pg_type b on b.oid = t.typbasetype
union all
select concat('constraint of domain ', t.name, ' ', quote_ident(c.conname), ': ',
  pg_get_constraintdef(c.oid))
from typ t join pg_constraint c on c.contypid = t.oid where t.typtype = 'd' and c.contype <> 'n'
union all

-- Operators and what indexes need
select concat_ws(', ', concat('operator ', o.oid::regoperator, ': owner ',
    quote_ident(pg_get_userbyid(o.oprowner))),
  'returns ' || format_type(o.oprresult, null), 'function ' || o.oprcode::regprocedure,
  'commutator ' || nullif(o.oprcom, 0)::regoperator,
  'negator ' || nullif(o.oprnegate, 0)::regoperator,
  'restrict ' || nullif(o.oprrest, 0)::regprocedure, 'join ' || nullif(o.oprjoin, 0)::regprocedure,
  case when o.oprcanmerge then 'merges' end, case when o.oprcanhash then 'hashes' end)
from pg_operator o join ns n on n.oid = o.oprnamespace
where o.oid >= 16384 and (o.tableoid, o.oid) not in (select m.classid, m.objid from member m)
union all
select concat('operator family ', n.name, '.', quote_ident(f.opfname), ' using ', a.amname,
  ': owner ', quote_ident(pg_get_userbyid(f.opfowner)))
from pg_opfamily f join ns n on n.oid = f.opfnamespace join pg_am a on a.oid = f.opfmethod
where f.oid >= 16384 and (f.tableoid, f.oid) not in (select m.classid, m.objid from member m)
union all
select concat_ws(', ', concat('operator class ', n.name, '.', quote_ident(c.opcname), ' using ',
    a.amname, ': owner ', quote_ident(pg_get_userbyid(c.opcowner))),
  concat('for ', format_type(c.opcintype, null)), concat('family ', f.opfnamespace::regnamespace,
    '.', quote_ident(f.opfname)), case when c.opcdefault then 'default' end,
  'storage ' || case when c.opckeytype <> 0 then format_type(c.opckeytype, null) end)
from pg_opclass c join ns n on n.oid = c.opcnamespace join pg_am a on a.oid = c.opcmethod
  join pg_opfamily f on f.oid = c.opcfamily
where c.oid >= 16384 and (c.tableoid, c.oid) not in (select m.classid, m.objid from member m)
union all
select concat('operator of family ', n.name, '.', quote_ident(f.opfname), ' using ', a.amname, ': ',
  o.amopstrategy, ' ', o.amopopr::regoperator, case when o.amopsortfamily <> 0
    then ' for order by ' || (select s.opfnamespace::regnamespace || '.' || quote_ident(s.opfname)
      from pg_opfamily s where s.oid = o.amopsortfamily) end)
from pg_amop o join pg_opfamily f on f.oid = o.amopfamily join ns n on n.oid = f.opfnamespace
  join pg_am a on a.oid = f.opfmethod
where o.oid >= 16384 and (f.tableoid, f.oid) not in (select m.classid, m.objid from member m)
union all
select concat('function of family ', n.name, '.', quote_ident(f.opfname), ' using ', a.amname, ': ',
  p.amprocnum, ' (', format_type(p.amproclefttype, null), ', ',
  format_type(p.amprocrighttype, null), ') ', p.amproc::regprocedure)
from pg_amproc p join pg_opfamily f on f.oid = p.amprocfamily join ns n on n.oid = f.opfnamespace
  join pg_am a on a.oid = f.opfmethod
where p.oid >= 16384 and (f.tableoid, f.oid) not in (select m.classid, m.objid from member m)
union all
select concat('access method ', quote_ident(a.amname), ': ', a.amtype, ', ',
  a.amhandler::regprocedure)
from pg_am a
where a.oid >= 16384 and (a.tableoid, a.oid) not in (select m.classid, m.objid from member m)
union all
select concat('cast ', format_type(c.castsource, null), ' to ', format_type(c.casttarget, null),
  ': ', case c.castmethod when 'f' then c.castfunc::regprocedure::text when 'i' then 'by text'
    else 'binary' end, case c.castcontext when 'i' then ', implicit' when 'a' then ', assignment'
    end)
from pg_cast c
where c.oid >= 16384 and (c.tableoid, c.oid) not in (select m.classid, m.objid from member m)
union all

-- Text, languages
select concat_ws(', ', concat('collation ', n.name, '.', quote_ident(c.collname), ': owner ',
    quote_ident(pg_get_userbyid(c.collowner))), 'provider ' || c.collprovider::text,
  case when not c.collisdeterministic then 'nondeterministic' end,
  'collation ' || c.collcollate, 'character type ' || c.collctype,
  'locale ' || coalesce(to_jsonb(c) ->> 'colllocale', to_jsonb(c) ->> 'colliculocale'))
from pg_collation c join ns n on n.oid = c.collnamespace
where c.oid >= 16384 and (c.tableoid, c.oid) not in (select m.classid, m.objid from member m)
union all
select concat_ws(', ', concat('conversion ', n.name, '.', quote_ident(c.conname), ': owner ',
    quote_ident(pg_get_userbyid(c.conowner))), pg_encoding_to_char(c.conforencoding) || ' to '
    || pg_encoding_to_char(c.contoencoding), c.conproc::regprocedure,
  case when c.condefault then 'default' end)
from pg_conversion c join ns n on n.oid = c.connamespace
where c.oid >= 16384 and (c.tableoid, c.oid) not in (select m.classid, m.objid from member m)
union all
select concat_ws(', ', concat('language ', quote_ident(l.lanname), ': owner ',
    quote_ident(pg_get_userbyid(l.lanowner))), case when l.lanpltrusted then 'trusted' end,
  'handler ' || nullif(l.lanplcallfoid, 0)::regprocedure,
  'inline ' || nullif(l.laninline, 0)::regprocedure,
  'validator ' || nullif(l.lanvalidator, 0)::regprocedure)
from pg_language l
where l.oid >= 16384 and (l.tableoid, l.oid) not in (select m.classid, m.objid from member m)
union all
select concat_ws(', ', concat('transform ', format_type(t.trftype, null), ' language ',
    quote_ident(l.lanname), ': '), 'from ' || nullif(t.trffromsql, 0)::regprocedure,
  'to ' || nullif(t.trftosql, 0)::regprocedure)
from pg_transform t join pg_language l on l.oid = t.trflang
where t.oid >= 16384 and (t.tableoid, t.oid) not in (select m.classid, m.objid from member m)
union all
select concat_ws(', ', concat('text search parser ', n.name, '.', quote_ident(p.prsname),
    ': start ', p.prsstart::regprocedure), 'token ' || p.prstoken::regprocedure, 'end '
    || p.prsend::regprocedure, 'headline ' || nullif(p.prsheadline, 0)::regprocedure,
  'types ' || p.prslextype::regprocedure)
from pg_ts_parser p join ns n on n.oid = p.prsnamespace
where p.oid >= 16384 and (p.tableoid, p.oid) not in (select m.classid, m.objid from member m)
union all
select concat_ws(', ', concat('text search template ', n.name, '.', quote_ident(t.tmplname),
    ': lexize ', t.tmpllexize::regprocedure), 'init ' || nullif(t.tmplinit, 0)::regprocedure)
from pg_ts_template t join ns n on n.oid = t.tmplnamespace
where t.oid >= 16384 and (t.tableoid, t.oid) not in (select m.classid, m.objid from member m)
union all
select concat_ws(', ', concat('text search dictionary ', n.name, '.', quote_ident(d.dictname),
    ': owner ', quote_ident(pg_get_userbyid(d.dictowner))),
  (select 'template ' || t.tmplnamespace::regnamespace || '.' || quote_ident(t.tmplname)
    from pg_ts_template t where t.oid = d.dicttemplate), d.dictinitoption)
from pg_ts_dict d join ns n on n.oid = d.dictnamespace
where d.oid >= 16384 and (d.tableoid, d.oid) not in (select m.classid, m.objid from member m)
union all
select concat_ws(', ', concat('text search configuration ', n.name, '.', quote_ident(c.cfgname),
    ': owner ', quote_ident(pg_get_userbyid(c.cfgowner))),
  (select 'parser ' || p.prsnamespace::regnamespace || '.' || quote_ident(p.prsname)
    from pg_ts_parser p where p.oid = c.cfgparser),
  (select string_agg(a.alias || ' ' || d.words, ', ' order by a.alias)
    from ts_token_type(c.cfgparser) a join (
      select m.maptokentype, string_agg(m.mapdict::regdictionary::text, ' ' order by m.mapseqno)
        as words
      from pg_ts_config_map m where m.mapcfg = c.oid group by m.maptokentype) d
      on d.maptokentype = a.tokid))
from pg_ts_config c join ns n on n.oid = c.cfgnamespace
where c.oid >= 16384 and (c.tableoid, c.oid) not in (select m.classid, m.objid from member m)
union all

-- Of the whole database
select concat_ws(', ', concat('event trigger ', quote_ident(e.evtname), ': ', e.evtevent),
  'owner ' || quote_ident(pg_get_userbyid(e.evtowner)), e.evtfoid::regprocedure::text,
  'tags ' || (select string_agg(t, ', ' order by t) from unnest(e.evttags) t),
  'enabled ' || e.evtenabled::text)
from pg_event_trigger e
where (e.tableoid, e.oid) not in (select m.classid, m.objid from member m)
union all
select concat_ws(', ', concat('foreign-data wrapper ', quote_ident(f.fdwname), ': owner ',
    quote_ident(pg_get_userbyid(f.fdwowner))), 'handler ' || nullif(f.fdwhandler, 0)::regprocedure,
  'validator ' || nullif(f.fdwvalidator, 0)::regprocedure)
from pg_foreign_data_wrapper f
where (f.tableoid, f.oid) not in (select m.classid, m.objid from member m)
union all
select concat_ws(', ', concat('server ', quote_ident(s.srvname), ': owner ',
    quote_ident(pg_get_userbyid(s.srvowner))), (select 'wrapper ' || quote_ident(f.fdwname)
    from pg_foreign_data_wrapper f where f.oid = s.srvfdw), 'type ' || quote_literal(s.srvtype),
  'version ' || quote_literal(s.srvversion))
from pg_foreign_server s
where (s.tableoid, s.oid) not in (select m.classid, m.objid from member m)
union all
select concat('user mapping for ', quote_ident(coalesce(u.usename, 'public')), ' on server ',
  quote_ident(u.srvname))
from pg_user_mappings u
union all
select concat_ws(', ', concat('publication ', quote_ident(p.pubname), ': owner ',
    quote_ident(pg_get_userbyid(p.pubowner))), case when p.puballtables then 'all tables' end,
  case when p.pubinsert then 'insert' end, case when p.pubupdate then 'update' end,
  case when p.pubdelete then 'delete' end, case when p.pubtruncate then 'truncate' end,
  case when p.pubviaroot then 'via root' end)
from pg_publication p
where (p.tableoid, p.oid) not in (select m.classid, m.objid from member m)
union all
select concat_ws(', ', concat('published by ', quote_ident(p.pubname), ': table ', r.name),
  'columns ' || (select string_agg(quote_ident(a.attname), ', ' order by a.attname)
    from pg_attribute a where a.attrelid = r.oid and a.attnum = any (t.prattrs)),
  'where ' || pg_get_expr(t.prqual, t.prrelid))
from pg_publication_rel t join pg_publication p on p.oid = t.prpubid
  join rel r on r.oid = t.prrelid
union all
select concat('published by ', quote_ident(p.pubname), ': schema ', n.name)
from pg_publication_namespace t join pg_publication p on p.oid = t.pnpubid
  join ns n on n.oid = t.pnnspid
union all
-- Where it connects to, and whether it is on, is not part of the schema.
select concat_ws(', ', concat('subscription ', quote_ident(s.subname), ': owner ',
    quote_ident(pg_get_userbyid(s.subowner))), (select 'to ' || string_agg(quote_ident(p), ', '
    order by p) from unnest(s.subpublications) p), 'slot ' || quote_ident(s.subslotname),
  'commit ' || s.subsynccommit, case when s.subbinary then 'binary' end,
  case when s.substream::text not in ('f', 'false') then 'streaming ' || s.substream::text end,
  case when s.subtwophasestate <> 'd' then 'two phase' end,
  case when s.subdisableonerr then 'disable on error' end)
from pg_subscription s
where s.subdbid = (select d.oid from pg_database d where d.datname = current_database())
union all

-- Rights, words
select concat(case g.what when 'database' then 'database ' end,
  case when x.is_more then 'grant' else 'no default grant' end, ' on ', g.what, ' to ',
  case x.grantee when 0 then 'public' else quote_ident(pg_get_userbyid(x.grantee)) end, ' by ',
  quote_ident(pg_get_userbyid(x.grantor)), ': ', string_agg(x.privilege_type
    || case when x.is_grantable then ' with grant option' else '' end, ', '
    order by x.privilege_type))
from granted g cross join lateral (
  select true as is_more, a.* from (select * from aclexplode(g.acl)
    except select * from aclexplode(g.base)) a
  union all
  select false, b.* from (select * from aclexplode(g.base)
    except select * from aclexplode(g.acl)) b) x
group by x.is_more, g.what, x.grantee, x.grantor
union all
select concat(case when x.is_more then 'default grant' else 'no default grant' end, ' of ',
  quote_ident(pg_get_userbyid(d.defaclrole)), case when d.defaclnamespace <> 0
    then ' in schema ' || d.defaclnamespace::regnamespace end, ' on ',
  case d.defaclobjtype when 'r' then 'tables' when 'S' then 'sequences' when 'f' then 'functions'
    when 'T' then 'types' when 'n' then 'schemas' else d.defaclobjtype::text end, ' to ',
  case x.grantee when 0 then 'public' else quote_ident(pg_get_userbyid(x.grantee)) end, ': ',
  string_agg(x.privilege_type || case when x.is_grantable then ' with grant option' else '' end,
    ', ' order by x.privilege_type))
from pg_default_acl d cross join lateral (select case when d.defaclnamespace <> 0
    or d.defaclobjtype not in ('r', 'S', 'f', 'T', 'n') then acldefault('c', 0) else acldefault(
    case d.defaclobjtype when 'S' then 's' else d.defaclobjtype end, d.defaclrole) end as base) b
  cross join lateral (
  select true as is_more, a.* from (select * from aclexplode(d.defaclacl)
    except select * from aclexplode(b.base)) a
  union all
  select false, a.* from (select * from aclexplode(b.base)
    except select * from aclexplode(d.defaclacl)) a) x
where not exists (select from pg_namespace n where n.oid = d.defaclnamespace
  and n.nspname = 'neap')
group by x.is_more, d.defaclrole, d.defaclnamespace, d.defaclobjtype, x.grantee
union all
select concat('comment on ', i.type, ' ', i.identity, ': ', c.description)
from pg_description c cross join pg_identify_object(c.classoid, c.objoid, c.objsubid) i
where (c.objoid >= 16384 or c.classoid = 'pg_namespace'::regclass and c.objoid = 2200)
  and c.classoid <> 'pg_largeobject'::regclass and i.schema is distinct from 'neap'
  and i.identity <> 'neap' and i.identity !~ '^neap\.| on neap\.\w+$'
  and (c.classoid, c.objoid) not in (select m.classid, m.objid from member m)
union all
select concat('database comment: ', c.description)
from pg_shdescription c join pg_database d on d.oid = c.objoid
where c.classoid = 'pg_database'::regclass and d.datname = current_database()
union all
select concat('security label by ', l.provider, ' on ', i.type, ' ', i.identity, ': ', l.label)
from pg_seclabel l cross join pg_identify_object(l.classoid, l.objoid, l.objsubid) i
where l.classoid <> 'pg_largeobject'::regclass and i.schema is distinct from 'neap'
  and i.identity <> 'neap' and i.identity !~ '^neap\.| on neap\.\w+$'
union all
select concat('dependency of ', i.type, ' ', i.identity, ': extension ', quote_ident(e.extname))
from pg_depend d join pg_extension e on e.oid = d.refobjid
  cross join pg_identify_object(d.classid, d.objid, d.objsubid) i
where d.deptype = 'x' and d.refclassid = 'pg_extension'::regclass
