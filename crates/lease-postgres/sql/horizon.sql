-- What keeps the server from removing old versions of rows, the oldest first; `age` counts transactions.
select greatest(age(backend_xmin), age(backend_xid)) as age, 'session of ' || coalesce(application_name, '') as what,
    pid::text as who, state, now() - xact_start as since
from pg_stat_activity
where backend_xmin is not null or backend_xid is not null
union all
select age(transaction), 'prepared transaction', gid, null, now() - prepared from pg_prepared_xacts
union all
select age(xmin), 'replication slot', slot_name::text, case when active then 'active' else 'inactive' end, null
from pg_replication_slots
where xmin is not null
union all
select age(backend_xmin), 'standby with hot_standby_feedback', coalesce(application_name, pid::text), state, null
from pg_stat_replication
where backend_xmin is not null
order by age desc;
