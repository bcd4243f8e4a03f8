-- Run once, on an empty volume: the hub's login, which may make roles but is no superuser, and its database.
\set password `cat /run/secrets/hub_database_password`
CREATE ROLE hub LOGIN CREATEROLE PASSWORD :'password';
CREATE DATABASE referral_hub OWNER hub ENCODING 'UTF8' LOCALE 'C.UTF-8' TEMPLATE template0;
REVOKE CONNECT ON DATABASE referral_hub FROM PUBLIC;
