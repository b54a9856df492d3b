-- Times are Unix microseconds. What is not known is NULL.

CREATE TABLE session (
  id INTEGER PRIMARY KEY,
  session TEXT NOT NULL,
  opened_us INTEGER NOT NULL,
  gpu TEXT NOT NULL,
  device_uuid TEXT NOT NULL,
  mig_profile TEXT,
  compute_fraction REAL,
  pid INTEGER NOT NULL,
  process_start_us INTEGER,
  command TEXT,
  uid INTEGER,
  user TEXT,
  user_rule TEXT,
  namespace TEXT,
  pod TEXT,
  container TEXT,
  pod_uid TEXT,
  container_id TEXT,
  place TEXT,
  attributed_by TEXT,
  seen TEXT NOT NULL,
  start_us INTEGER NOT NULL,
  end_us INTEGER NOT NULL,
  ended INTEGER NOT NULL,
  ended_how TEXT,
  session_seconds REAL,
  measured_seconds REAL,
  sm_seconds REAL,
  memory_byte_seconds REAL,
  energy_sole_joules REAL,
  energy_sm_share_joules REAL,
  memory_peak_bytes INTEGER,
  memory_mean_bytes REAL AS (memory_byte_seconds / nullif(session_seconds, 0)) VIRTUAL,
  UNIQUE (session, opened_us)
) STRICT;
CREATE INDEX session_end ON session (end_us);

CREATE TABLE session_use (
  id INTEGER NOT NULL,
  from_us INTEGER NOT NULL,
  to_us INTEGER NOT NULL,
  ended INTEGER NOT NULL,
  session_seconds REAL,
  measured_seconds REAL,
  sm_seconds REAL,
  memory_byte_seconds REAL,
  energy_sole_joules REAL,
  energy_sm_share_joules REAL,
  PRIMARY KEY (id, to_us)
) STRICT, WITHOUT ROWID;
CREATE INDEX session_use_to ON session_use (to_us);

CREATE TABLE allocation (
  id INTEGER PRIMARY KEY,
  device_uuid TEXT NOT NULL,
  namespace TEXT NOT NULL,
  pod TEXT NOT NULL,
  container TEXT NOT NULL,
  opened_us INTEGER NOT NULL,
  gpu TEXT NOT NULL,
  compute_fraction REAL,
  pod_uid TEXT,
  user TEXT,
  start_us INTEGER NOT NULL,
  end_us INTEGER NOT NULL,
  ended INTEGER NOT NULL,
  allocated_seconds REAL,
  idle_seconds REAL,
  UNIQUE (device_uuid, namespace, pod, container, opened_us)
) STRICT;
CREATE INDEX allocation_end ON allocation (end_us);

CREATE TABLE allocation_use (
  id INTEGER NOT NULL,
  from_us INTEGER NOT NULL,
  to_us INTEGER NOT NULL,
  ended INTEGER NOT NULL,
  allocated_seconds REAL,
  idle_seconds REAL,
  PRIMARY KEY (id, to_us)
) STRICT, WITHOUT ROWID;
CREATE INDEX allocation_use_to ON allocation_use (to_us);

-- Slices of use that ended before this are merged by hour.
CREATE TABLE upkeep (compacted_us INTEGER NOT NULL) STRICT;
INSERT INTO upkeep VALUES (0);
