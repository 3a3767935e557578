-- A store that version 1 of the schema made, as `sqlite3 .dump` gives it.
PRAGMA user_version = 1;
BEGIN TRANSACTION;
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
INSERT INTO "audit" VALUES(1,1000.0,'receiver','study arrived','QHV7Q-X3NKQ',NULL,'{"calling": "MR1"}','0000000000000000000000000000000000000000000000000000000000000000','d4cc213ca2d4646bf106df912ddc8803897dde8e94ca057a761a703cb8ccb6dd');
INSERT INTO "audit" VALUES(2,1000.0,'receiver','job opened','QHV7Q-X3NKQ',1,'{}','d4cc213ca2d4646bf106df912ddc8803897dde8e94ca057a761a703cb8ccb6dd','679e1ee1cc22862b7be401b9863897fa03c67b8fb32ede262408dc116b0ae298');
INSERT INTO "audit" VALUES(3,1001.0,'receiver','study arrived','AZ2Q4-4MAM6',NULL,'{"calling": "MR1"}','679e1ee1cc22862b7be401b9863897fa03c67b8fb32ede262408dc116b0ae298','379faac762ab9c732e15cbe49d3afe04e8238a8927ed33ca2ea1f00a9373a88e');
INSERT INTO "audit" VALUES(4,1001.0,'receiver','job opened','AZ2Q4-4MAM6',2,'{}','379faac762ab9c732e15cbe49d3afe04e8238a8927ed33ca2ea1f00a9373a88e','d098d6ac1255bbc2ccf56ff5e6993c33df3c88e59eb8a3e16d01f13ee3adfced');
INSERT INTO "audit" VALUES(5,1002.0,'receiver','complete','QHV7Q-X3NKQ',1,'{"from": "receiving", "to": "queued"}','d098d6ac1255bbc2ccf56ff5e6993c33df3c88e59eb8a3e16d01f13ee3adfced','8ff791e6bd43b0352bcf816f92ed66727e68329e35e0fc851a092b3ba57194ad');
INSERT INTO "audit" VALUES(6,1002.0,'receiver','complete','AZ2Q4-4MAM6',2,'{"from": "receiving", "to": "queued"}','8ff791e6bd43b0352bcf816f92ed66727e68329e35e0fc851a092b3ba57194ad','279071c25642fab09749742441c67859596bb5efc40aedb64f0b78749f1d5371');
INSERT INTO "audit" VALUES(7,1003.0,'worker','claim','QHV7Q-X3NKQ',1,'{"attempt": 1, "from": "queued", "to": "running"}','279071c25642fab09749742441c67859596bb5efc40aedb64f0b78749f1d5371','b9efc03d4e66741c943b864ed2873947d372fbea209b9115b06af3e7ec207b36');
INSERT INTO "audit" VALUES(8,1004.0,'worker','release','QHV7Q-X3NKQ',1,'{"from": "running", "status": "ok", "to": "sending"}','b9efc03d4e66741c943b864ed2873947d372fbea209b9115b06af3e7ec207b36','ad65873204132dfa68579f1275775a38db43c4b3e3923eb6fbd9f7e5bf84d4a5');
INSERT INTO "audit" VALUES(9,1005.0,'sender','object sent','QHV7Q-X3NKQ',1,'{"destination": "PACS", "object": "sr", "sop_uid": "7.1"}','ad65873204132dfa68579f1275775a38db43c4b3e3923eb6fbd9f7e5bf84d4a5','aca4d234afa6056af61652cffbfda569d7eefc5c98dafb054ff58f265d2ba131');
CREATE TABLE instances (
    sop_uid    TEXT PRIMARY KEY,
    study_uid  TEXT NOT NULL REFERENCES studies,
    series_uid TEXT NOT NULL,
    path       TEXT NOT NULL,                -- below the spool
    sha256     TEXT NOT NULL,                -- of the file
    size       INTEGER NOT NULL,
    received   REAL NOT NULL
);
INSERT INTO "instances" VALUES('1.2.3.9.0','1.2.3','1.2.3.0','x/00','aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa',100,1000.0);
INSERT INTO "instances" VALUES('1.2.3.9.1','1.2.3','1.2.3.1','x/01','aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa',100,1000.0);
INSERT INTO "instances" VALUES('1.2.4.9.0','1.2.4','1.2.4.0','x/10','aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa',100,1001.0);
INSERT INTO "instances" VALUES('1.2.4.9.1','1.2.4','1.2.4.1','x/11','aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa',100,1001.0);
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
);
INSERT INTO "jobs" VALUES(1,'1.2.3','sending',0,1000.0,1005.0,9,NULL,'{}',1,0.0,NULL,NULL,'w1',NULL,0,0,1003.0,NULL,1004.0,'ok',0.7,0.5,0.8,'c/1',NULL,NULL);
INSERT INTO "jobs" VALUES(2,'1.2.4','queued',0,1001.0,1002.0,6,NULL,'{}',0,0.0,NULL,NULL,NULL,NULL,0,0,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL);
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL);
INSERT INTO "meta" VALUES('site_key','f4af6cdc876b323485faae8278fa77d81c581070a693546e6e5cb2a1f758baa5');
INSERT INTO "meta" VALUES('tick','9');
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
    changed     REAL NOT NULL,
    UNIQUE (job, destination, sop_uid)
);
INSERT INTO "outbox" VALUES(1,1,'PACS','sr','1.2.840.10008.5.1.4.1.1.88.34','7.1','c/1/report_sr.dcm','sent',0,0.0,NULL,NULL,1005.0);
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
INSERT INTO "studies" VALUES('1.2.3','QHV7Q-X3NKQ','MR1','4711','Doe^Ann',1000.0,1000.0,1001.0,NULL);
INSERT INTO "studies" VALUES('1.2.4','AZ2Q4-4MAM6','MR1','4711','Doe^Ann',1001.0,1001.0,1001.0,NULL);
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
