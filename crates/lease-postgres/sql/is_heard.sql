-- Whether somebody may listen for releases: each listener shares this lock. Where nobody does, a release is not told, which would be a
-- request more for each. Tried after the release, and kept until its commit: whoever begins to listen meanwhile waits for that,
-- and looks afterwards. Another release at the same moment is taken for a listener, which costs a hint for nobody.
(select not pg_catalog.pg_try_advisory_xact_lock('{listeners}'::int8)) as is_heard
