-- A role that may change the password of alfred_user and nothing of its data.
-- Run it once, as a superuser or as an administrator of a managed server; give
-- rotator a password with \password rotator.

CREATE ROLE rotator LOGIN CREATEROLE NOINHERIT;

-- PostgreSQL 16 and later: both CREATEROLE and ADMIN OPTION are needed, and
-- neither INHERIT nor SET, which would open the role's data.
GRANT alfred_user TO rotator WITH ADMIN TRUE, INHERIT FALSE, SET FALSE;

-- PostgreSQL 15 and earlier: CREATEROLE alone may change every role that is no
-- superuser; there is no way to narrow it.
-- GRANT alfred_user TO rotator WITH ADMIN OPTION;
