-- SPDX-License-Identifier: MIT
--
-- The example project (migrations/ and lib/ of this repository) as a project of
-- its own, with data in it as a shop would have, and pictures of its schema.
local e2e = require "harness"

local quote = e2e.process.quote

local example = { last = "0016", last_reversible = "0015" }

-- What the application would have written, right after the migration of that id.
local data = {
  ["0001"] = [[insert into shop.users (email, display_name, locale) values
    ('ann@example.org', 'Ann', 'da'), ('bob@example.org', 'Bob', 'en')]],
  ["0004"] = [[insert into shop.product_translations select id, 'de', 'Kessel'
    from shop.products where sku = 'kettle']],
  ["0009"] = [[
    insert into shop.orders (user_id, currency)
    select 2 + n % 2, case when n % 3 = 0 then 'DKK' end from generate_series(1, 30) n;
    insert into shop.order_lines select id, 1, 1, 1250 from shop.orders]],
}

--- A project with a copy of the example's files.
function example.project()
  local p = e2e.project()
  assert(os.execute(("cp -R migrations/. %s/ && cp -R lib %s/"):format(
    quote(p:path "migrations"), quote(p.dir))))
  return p
end

--- The ids, in order.
function example.ids()
  local ids = {}
  for id in e2e.process.capture("ls migrations"):gmatch "(%d%d%d%d)_" do
    ids[#ids + 1] = id
  end
  return ids
end

--- Applies up to `id`, with the data that comes between. From: what is applied.
function example.up(p, id, from)
  for _, next_id in ipairs(example.ids()) do
    local is_wanted = next_id > (from or "0000") and next_id <= id
    if is_wanted and (data[next_id] or next_id == id) then
      p:expect("up --to " .. next_id)
      p:query(data[next_id] or "")
    end
  end
end

-- What pg_dump leaves out, or writes the same for two states.
local catalog_sql = [[
  select 'class', c.oid::regclass::text, concat(c.relkind, c.relrowsecurity,
           c.relforcerowsecurity, c.relreplident),
         coalesce(c.relacl, acldefault(case c.relkind when 'S' then 's' else 'r' end::"char",
           c.relowner))::text
    from pg_class c where c.relnamespace = to_regnamespace('shop') and c.relkind <> 'i'
  union all select 'index', i.indexrelid::regclass::text,
         concat(i.indisvalid, i.indisready, i.indislive, i.indisunique),
         pg_get_indexdef(i.indexrelid)
    from pg_index i join pg_class c on c.oid = i.indrelid
   where c.relnamespace = to_regnamespace('shop')
  union all select 'constraint', conrelid::regclass || '.' || conname, convalidated::text,
         pg_get_constraintdef(oid)
    from pg_constraint where connamespace = to_regnamespace('shop')
  union all select 'policy', polrelid::regclass || '.' || polname,
         concat(polcmd, polpermissive, polroles::regrole[]),
         concat(pg_get_expr(polqual, polrelid), ' / ', pg_get_expr(polwithcheck, polrelid))
    from pg_policy
  union all select 'trigger', tgrelid::regclass || '.' || tgname, tgenabled::text,
         pg_get_triggerdef(oid)
    from pg_trigger t where not tgisinternal
     and tgrelid in (select oid from pg_class where relnamespace = to_regnamespace('shop'))
  union all select 'function', oid::regprocedure::text, concat(provolatile, proparallel, prosecdef),
         pg_get_functiondef(oid)
    from pg_proc where pronamespace = to_regnamespace('shop')
  union all select 'type', t.oid::regtype::text,
         (select string_agg(enumlabel, ',' order by enumsortorder) from pg_enum e
           where e.enumtypid = t.oid), coalesce(t.typacl, acldefault('T', t.typowner))::text
    from pg_type t where t.typnamespace = to_regnamespace('shop')
  union all select 'schema', nspname, coalesce(nspacl, acldefault('n', nspowner))::text, ''
    from pg_namespace where nspname = 'shop'
  union all select 'comment', pg_describe_object(classoid, objoid, objsubid), description, ''
    from pg_description where objoid >= 16384
     and pg_describe_object(classoid, objoid, objsubid) not like '%neap%'
  order by 1, 2, 3, 4]]

--- The schema as text: pg_dump (columns in their order, comments, privileges,
--- policies), and the catalog's own view of it.
function example.schema(p)
  local argv = { e2e.cluster().bin .. "/pg_dump", "--schema-only", "-N", "neap", "-d", p.url }
  local r = e2e.process.run(argv, p.temp .. "/dump", { cwd = "/", env = p.env })
  assert(r.status == 0, r.err)
  local dump = r.out:gsub("\n\\%a*restrict [^\n]*", "")
  return dump .. p:query(catalog_sql)
end

-- Every table's rows as XML, in one statement. What 0011 and 0014 filled in stays
-- after their `down`, which could not tell it from what the application wrote.
local rows_sql = [[
  select c.oid::regclass, query_to_xml(format('
    select j || case when j ->> ''currency'' = ''EUR'' then ''{"currency": null}''
                     else ''{}'' end::jsonb
             || case when j ->> ''title'' = j ->> ''name'' then ''{"title": null}''
                     else ''{}'' end::jsonb as row
      from %s t, to_jsonb(t) j order by 1', c.oid::regclass), true, false, '')
    from pg_class c where c.relnamespace = to_regnamespace('shop') and c.relkind = 'r'
   order by 1]]

--- All rows of schema shop, as text.
function example.rows(p)
  return p:query(rows_sql)
end

return example
