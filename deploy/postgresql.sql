-- A role that may change the password of alfred_user and nothing of its data.
-- Run it once, as a superuser or as an administrator of a managed server; give
-- rotator a password with \password rotator.

CREATE ROLE rotator LOGIN CREATEROLE NOINHERIT;

-- PostgreSQL 16 and later: both CREATEROLE and ADMIN OPTION are needed, and
-- neither INHERIT nor SET, which would open the role's data.
GRANT alfred_user TO rotator WITH ADMIN TRUE, INHERIT FALSE, SET FALSE;

-- Two login roles (`strategy: alternate`): rotator makes the second one itself and
-- may then change it. Where somebody else makes it, rotator needs the same on it:
--   GRANT alfred_user_alt TO rotator WITH ADMIN TRUE, INHERIT FALSE, SET FALSE;

-- Optional: lets the report name who still has sessions from before a change, and
-- wait for standbys by pg_stat_replication. It shows the statements of others too.
GRANT pg_read_all_stats TO rotator WITH INHERIT TRUE;

-- Emergencies (`mode: emergency`) and `terminate-sessions: stale`: the right to end
-- sessions. It covers those of every role that is no superuser; there is no way to
-- narrow it without giving rotator the role's data.
GRANT pg_signal_backend TO rotator WITH INHERIT TRUE;

-- PostgreSQL 15 and earlier: these instead of the three GRANTs above. CREATEROLE
-- alone may change every role that is no superuser, there is no way to narrow it.
-- The two memberships are for what they are for above; they count for a role with
-- INHERIT alone, so give rotator no other one.
-- ALTER ROLE rotator INHERIT;
-- GRANT pg_read_all_stats TO rotator;
-- GRANT pg_signal_backend TO rotator;
