"""The tables. A newer program raises `VERSION` and adds a step to `MIGRATIONS`; an older one refuses a newer file."""

VERSION = 7

_FIRST = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL);

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

CREATE TABLE instances (
    sop_uid    TEXT PRIMARY KEY,
    study_uid  TEXT NOT NULL REFERENCES studies,
    series_uid TEXT NOT NULL,
    path       TEXT NOT NULL,                -- below the spool
    sha256     TEXT NOT NULL,                -- of the file
    size       INTEGER NOT NULL,
    received   REAL NOT NULL
);
CREATE INDEX instances_of_study ON instances (study_uid, series_uid);

CREATE TABLE associations (
    association TEXT NOT NULL,
    study_uid   TEXT NOT NULL,
    PRIMARY KEY (association, study_uid)
);
CREATE INDEX associations_of_study ON associations (study_uid);

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
CREATE INDEX jobs_of_study ON jobs (study_uid, job);
CREATE INDEX jobs_by_state ON jobs (state, priority DESC, job);
CREATE INDEX jobs_by_tick ON jobs (tick);

CREATE TABLE timings (
    job   INTEGER NOT NULL REFERENCES jobs,
    stage TEXT NOT NULL,
    ms    REAL NOT NULL,
    at    REAL NOT NULL
);
CREATE INDEX timings_by_time ON timings (at);

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
CREATE INDEX outbox_by_state ON outbox (state, not_before);
CREATE INDEX outbox_by_transaction ON outbox (transaction_uid);

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
CREATE INDEX audit_of_case ON audit (case_id);
CREATE TRIGGER audit_is_not_changed BEFORE UPDATE ON audit
BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END;
CREATE TRIGGER audit_is_not_deleted BEFORE DELETE ON audit
BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END;
"""

_SECOND = """
ALTER TABLE jobs ADD COLUMN class TEXT;      -- that the probability is of
ALTER TABLE jobs ADD COLUMN named TEXT;      -- class that the result names; NULL where it names none
ALTER TABLE jobs ADD COLUMN warnings TEXT;   -- JSON: [[code, sentence], …]; NULL where nobody kept them
"""

_THIRD = """
ALTER TABLE jobs ADD COLUMN inputs TEXT;       -- hash of the images, the bundle and how it is used
ALTER TABLE jobs ADD COLUMN moment REAL;       -- when these inputs were first computed: the time in every object
ALTER TABLE jobs ADD COLUMN revision INTEGER;  -- which of the study's results, from 1
ALTER TABLE outbox ADD COLUMN series_uid TEXT;
CREATE TABLE answers (                         -- whether a destination takes a SOP class, as it said itself
    destination TEXT NOT NULL,
    sop_class   TEXT NOT NULL,
    takes       INTEGER NOT NULL,
    asked       REAL NOT NULL,
    PRIMARY KEY (destination, sop_class)
);
"""

_FOURTH = """
CREATE TABLE steps (                           -- procedure steps that scanners tell of (MPPS)
    step_uid  TEXT PRIMARY KEY,
    study_uid TEXT NOT NULL,                   -- of which nothing has to be here yet
    state     TEXT NOT NULL,                   -- IN PROGRESS, DISCONTINUED, COMPLETED
    changed   REAL NOT NULL,
    images    TEXT NOT NULL DEFAULT '[]',      -- JSON: SOP Instance UIDs that it has made, as far as it tells
    used      INTEGER NOT NULL DEFAULT 0       -- it has completed its study
);
CREATE INDEX steps_of_study ON steps (study_uid);

ALTER TABLE jobs ADD COLUMN person TEXT;         -- keyed hash of whom it is; NULL where that is not known or forgotten
ALTER TABLE jobs ADD COLUMN examined TEXT;       -- date of the study, as 2026-03-15
ALTER TABLE jobs ADD COLUMN algorithm TEXT;      -- name and version of the bundle
ALTER TABLE jobs ADD COLUMN bundle_sha256 TEXT;
CREATE INDEX jobs_of_person ON jobs (person, examined);
CREATE TABLE sizes (                             -- of the lesion that was measured; NULL: none was segmented
    job         INTEGER NOT NULL REFERENCES jobs,
    role        TEXT NOT NULL,
    volume_ml   REAL,
    diameter_mm REAL,
    PRIMARY KEY (job, role)
);
"""

_FIFTH = """
ALTER TABLE jobs ADD COLUMN reason_code TEXT;    -- of the reason in result.json, a word that stays
CREATE TABLE measures (                          -- volumes, features and probability of a result, for monitoring
    job   INTEGER NOT NULL REFERENCES jobs,
    name  TEXT NOT NULL,
    value REAL NOT NULL,
    PRIMARY KEY (job, name)
) WITHOUT ROWID;
CREATE INDEX jobs_by_finished ON jobs (finished);
"""

_SIXTH = """
CREATE TABLE fetches (                           -- of complete studies: what they lack is looked for in archives
    job        INTEGER PRIMARY KEY REFERENCES jobs,
    state      TEXT NOT NULL,                    -- waiting, ended
    begun      REAL NOT NULL,
    tries      INTEGER NOT NULL DEFAULT 0,
    not_before REAL NOT NULL DEFAULT 0,
    expected   TEXT NOT NULL DEFAULT '{}',       -- JSON: series that was not here → images that have to come of it
    code       TEXT,                             -- of the remark, where it failed
    reason     TEXT                              -- the remark, without patient data
);
"""

_SEVENTH = """
CREATE TABLE lookups (                           -- of jobs: earlier results were looked for in archives
    job    INTEGER PRIMARY KEY REFERENCES jobs,
    code   TEXT,                                 -- of the remark, where something went wrong
    reason TEXT                                  -- the remark, without patient data
);
CREATE TABLE archived (                          -- results of earlier studies, as reports in archives state them
    case_id       TEXT PRIMARY KEY,              -- of the study there, as of one that is here
    person        TEXT NOT NULL,                 -- as in jobs, as are the next three
    examined      TEXT NOT NULL,
    algorithm     TEXT NOT NULL,
    bundle_sha256 TEXT NOT NULL,
    archive       TEXT NOT NULL,                 -- its name in the configuration
    sizes         TEXT NOT NULL,                 -- JSON: [[role, volume_ml, diameter_mm], …]
    read          REAL NOT NULL
);
CREATE INDEX archived_of_person ON archived (person, examined);
"""

MIGRATIONS = (_FIRST, _SECOND, _THIRD, _FOURTH, _FIFTH, _SIXTH, _SEVENTH)
"""The n-th one makes version n of what was there before."""
