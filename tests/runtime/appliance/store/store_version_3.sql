-- A store that version 3 of the schema (release 0.2.0) made, as `sqlite3 .dump` gives it.
PRAGMA user_version = 3;
BEGIN TRANSACTION;
CREATE TABLE answers (                         -- whether a destination takes a SOP class, as it said itself
    destination TEXT NOT NULL,
    sop_class   TEXT NOT NULL,
    takes       INTEGER NOT NULL,
    asked       REAL NOT NULL,
    PRIMARY KEY (destination, sop_class)
);
CREATE TABLE associations (
    association TEXT NOT NULL,
    study_uid   TEXT NOT NULL,
    PRIMARY KEY (association, study_uid)
);
CREATE TABLE audit (
    number   INTEGER PRIMARY KEY,
    at       REAL NOT NULL,
    actor    TEXT NOT NULL,
    action   TEXT NOT NULL,
    case_id  TEXT,
    job      INTEGER,
    detail   TEXT NOT NULL,                  -- JSON
    previous TEXT NOT NULL,                  -- hash of the entry before
    hash     TEXT NOT NULL
);
INSERT INTO "audit" VALUES(1,1000.0,'receiver','study arrived','OSYRD-YRMKQ',NULL,'{"calling": "MR1"}','0000000000000000000000000000000000000000000000000000000000000000','0375faf468762aa36c6b1ac4fc361ce5417fdb88ad1aed5042b1064a2dff77dd');
INSERT INTO "audit" VALUES(2,1000.0,'receiver','job opened','OSYRD-YRMKQ',1,'{}','0375faf468762aa36c6b1ac4fc361ce5417fdb88ad1aed5042b1064a2dff77dd','3ba02e08191544b07093c6aa68c1fb07b519b906003e4674198424731c6cb425');
INSERT INTO "audit" VALUES(3,1001.0,'receiver','study arrived','NSSAN-LFPXF',NULL,'{"calling": "MR1"}','3ba02e08191544b07093c6aa68c1fb07b519b906003e4674198424731c6cb425','3cd213e5b209ff9bf7669d01084f0d8f0bb7c35704b88a2ae46d6188b986ac7d');
INSERT INTO "audit" VALUES(4,1001.0,'receiver','job opened','NSSAN-LFPXF',2,'{}','3cd213e5b209ff9bf7669d01084f0d8f0bb7c35704b88a2ae46d6188b986ac7d','082f68eb3bc13e717727cc914ae0ff278be64d1365f67820036d67c460f9b818');
INSERT INTO "audit" VALUES(5,1002.0,'receiver','complete','OSYRD-YRMKQ',1,'{"from": "receiving", "to": "queued"}','082f68eb3bc13e717727cc914ae0ff278be64d1365f67820036d67c460f9b818','9c9b1bb97bbe9b0937517dff7a52e80ab7c9ff6aaadb84b9d10ac86605a1cdd9');
INSERT INTO "audit" VALUES(6,1002.0,'receiver','complete','NSSAN-LFPXF',2,'{"from": "receiving", "to": "queued"}','9c9b1bb97bbe9b0937517dff7a52e80ab7c9ff6aaadb84b9d10ac86605a1cdd9','52ccb1a6ccf8fc9faf197dd20ea7989dcb7250cf713a7a974a0045eb909856e3');
INSERT INTO "audit" VALUES(7,1003.0,'worker','claim','OSYRD-YRMKQ',1,'{"attempt": 1, "from": "queued", "to": "running"}','52ccb1a6ccf8fc9faf197dd20ea7989dcb7250cf713a7a974a0045eb909856e3','d750f7629507f58fc3ab507c6cafbec24934cf2494814d6371e0aca06b520f04');
INSERT INTO "audit" VALUES(8,1004.0,'worker','release','OSYRD-YRMKQ',1,'{"from": "running", "status": "ok", "to": "sending"}','d750f7629507f58fc3ab507c6cafbec24934cf2494814d6371e0aca06b520f04','ab4aa937a432a9cb37167cc72bd2eeb29889b21f3380a7a2b2b16685b79a08ec');
INSERT INTO "audit" VALUES(9,1005.0,'sender','object sent','OSYRD-YRMKQ',1,'{"destination": "PACS", "object": "sr", "sop_uid": "7.1"}','ab4aa937a432a9cb37167cc72bd2eeb29889b21f3380a7a2b2b16685b79a08ec','efc27fa5bf51297457c1d1254cd172100995a9dbbf9d776f4088239d09aa419b');
CREATE TABLE instances (
    sop_uid    TEXT PRIMARY KEY,
    study_uid  TEXT NOT NULL REFERENCES studies,
    series_uid TEXT NOT NULL,
    path       TEXT NOT NULL,                -- below the spool
    sha256     TEXT NOT NULL,                -- of the file
    size       INTEGER NOT NULL,
    received   REAL NOT NULL
);
INSERT INTO "instances" VALUES('1.2.1.9.1','1.2.1','1.2.1.1','x0/1','aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa',100,1000.0);
INSERT INTO "instances" VALUES('1.2.2.9.1','1.2.2','1.2.2.1','x1/1','aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa',100,1001.0);
CREATE TABLE jobs (
    job         INTEGER PRIMARY KEY AUTOINCREMENT,
    study_uid   TEXT NOT NULL REFERENCES studies,
    state       TEXT NOT NULL,
    priority    INTEGER NOT NULL DEFAULT 0,
    created     REAL NOT NULL,
    changed     REAL NOT NULL,
    tick        INTEGER NOT NULL,            -- grows with every change of any job: what is new since
    bundle      TEXT,                        -- another one than the configured, or NULL
    series      TEXT NOT NULL DEFAULT '{}',  -- JSON: sequence → series chosen by a person
    attempts    INTEGER NOT NULL DEFAULT 0,
    not_before  REAL NOT NULL DEFAULT 0,
    reason      TEXT,                        -- of the last failure, or what a person gave
    failure     TEXT,                        -- its kind, one word: timeout, crash, …
    worker      TEXT,
    stage       TEXT,
    done        INTEGER NOT NULL DEFAULT 0,
    total       INTEGER NOT NULL DEFAULT 0,
    started     REAL,
    deadline    REAL,                        -- of the stage
    finished    REAL,                        -- when the result was written
    status      TEXT,                        -- ok, indeterminate, no lesion segmented, unsuitable input
    probability REAL,
    low         REAL,
    high        REAL,
    result      TEXT,                        -- folder, below the results
    verdict     TEXT,                        -- accepted or rejected, by a person
    verdict_by  TEXT
, class TEXT, named TEXT, warnings TEXT, inputs TEXT, moment REAL, revision INTEGER);
INSERT INTO "jobs" VALUES(1,'1.2.1','sending',0,1000.0,1005.0,7,NULL,'{}',1,0.0,NULL,NULL,'w1',NULL,0,0,1003.0,NULL,1004.0,'ok',0.7,0.5,0.8,'c/1',NULL,NULL,'PDAC','PDAC','[["lesions-apart", "They lie apart."]]','ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff',1003.5,1);
INSERT INTO "jobs" VALUES(2,'1.2.2','queued',0,1001.0,1002.0,4,NULL,'{}',0,0.0,NULL,NULL,NULL,NULL,0,0,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL);
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL);
INSERT INTO "meta" VALUES('site_key','759fa73002d8722f520abea22cb988d4abded414ddc05db68c3d27e0be4038f4');
INSERT INTO "meta" VALUES('tick','7');
CREATE TABLE outbox (
    item        INTEGER PRIMARY KEY AUTOINCREMENT,
    job         INTEGER NOT NULL REFERENCES jobs,
    destination TEXT NOT NULL,
    kind        TEXT NOT NULL,               -- seg, sr, sc, key
    sop_class   TEXT NOT NULL,
    sop_uid     TEXT NOT NULL,
    path        TEXT NOT NULL,               -- below the results
    state       TEXT NOT NULL,
    attempts    INTEGER NOT NULL DEFAULT 0,
    not_before  REAL NOT NULL DEFAULT 0,
    reason      TEXT,
    transaction_uid TEXT,
    changed     REAL NOT NULL, series_uid TEXT,
    UNIQUE (job, destination, sop_uid)
);
INSERT INTO "outbox" VALUES(1,1,'PACS','sr','1.2.840.10008.5.1.4.1.1.88.34','7.1','c/1/report_sr.dcm','sent',0,0.0,NULL,NULL,1005.0,'7.0');
CREATE TABLE studies (
    study_uid     TEXT PRIMARY KEY,
    case_id       TEXT NOT NULL UNIQUE,      -- pseudonym; the only name that logs and screens use
    calling       TEXT NOT NULL,             -- AE title of the first sender
    patient_id    TEXT NOT NULL,
    patient_name  TEXT NOT NULL,
    arrived       REAL NOT NULL,             -- seconds since 1970, as all times here
    last_received REAL NOT NULL,
    last_active   REAL NOT NULL,             -- the last instance, end of an association, or start of the receiver
    deleted       REAL                       -- when images and results were deleted after retention
);
INSERT INTO "studies" VALUES('1.2.1','OSYRD-YRMKQ','MR1','4711','Doe^Ann',1000.0,1000.0,1001.5,NULL);
INSERT INTO "studies" VALUES('1.2.2','NSSAN-LFPXF','MR1','4711','Doe^Ann',1001.0,1001.0,1001.5,NULL);
CREATE TABLE timings (
    job   INTEGER NOT NULL REFERENCES jobs,
    stage TEXT NOT NULL,
    ms    REAL NOT NULL,
    at    REAL NOT NULL
);
INSERT INTO "timings" VALUES(1,'read',5.0,1004.0);
CREATE INDEX instances_of_study ON instances (study_uid, series_uid);
CREATE INDEX associations_of_study ON associations (study_uid);
CREATE INDEX jobs_of_study ON jobs (study_uid, job);
CREATE INDEX jobs_by_state ON jobs (state, priority DESC, job);
CREATE INDEX jobs_by_tick ON jobs (tick);
CREATE INDEX timings_by_time ON timings (at);
CREATE INDEX outbox_by_state ON outbox (state, not_before);
CREATE INDEX outbox_by_transaction ON outbox (transaction_uid);
CREATE INDEX audit_of_case ON audit (case_id);
CREATE TRIGGER audit_is_not_changed BEFORE UPDATE ON audit
BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END;
CREATE TRIGGER audit_is_not_deleted BEFORE DELETE ON audit
BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END;
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('jobs',2);
INSERT INTO "sqlite_sequence" VALUES('outbox',1);
COMMIT;
