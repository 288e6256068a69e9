-- Whether there may be listeners: each of them shares this lock. Without listeners a release sends no notification, which would be
-- one more request. The lock is tried after the release and kept until its commit: a listener that starts meanwhile waits for the
-- commit, and then wakes its waiters. A concurrent release is taken for a listener, which costs one useless notification.
(select not pg_catalog.pg_try_advisory_xact_lock('{listener_lock}'::int8)) as has_listeners
