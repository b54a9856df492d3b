// Documents of the API, as crates/api has them. What is unknown is null; times are Unix seconds.

export interface About {
  schema_version: number
  version: string
  scope: "node" | "cluster"
  node: string | null
  history: boolean
}

export interface Source {
  source: string
  up: boolean
  duration_seconds: number
  errors: string[]
}

export interface Session {
  /** Only of a cluster. */
  node?: string
  /** Only of a cluster: for how long it is known not to have used an engine. */
  idle_seconds?: number | null
  session: string
  gpu: string
  device_uuid: string
  mig_profile: string | null
  pid: number
  command: string | null
  start_time: number
  uid: number | null
  user: string | null
  user_rule: string | null
  namespace: string | null
  pod: string | null
  container: string | null
  pod_uid: string | null
  container_id: string | null
  place: string | null
  attributed_by: string | null
  memory_used_bytes: number | null
  sm_utilization_ratio: number | null
  memory_busy_ratio: number | null
  encoder_utilization_ratio: number | null
  decoder_utilization_ratio: number | null
  sm_seconds: number | null
  memory_byte_seconds: number | null
  last_active_time: number | null
  measured_since_time: number | null
  allocated: boolean | null
}

export interface Device {
  gpu: string
  uuid: string
  parent_uuid: string | null
  model: string | null
  mig_profile: string | null
  pci_bus_id: string | null
  compute_fraction: number | null
  memory_total_bytes: number | null
  memory_used_bytes: number | null
  utilization_ratio: number | null
  energy_joules: number | null
  sessions: number | null
  users: { user: string; sessions: number }[] | null
  unattributed: { reason: string; sessions: number }[] | null
  allocations: number | null
  /** Containers that hold it and have no session on it. Of a node it comes from the allocations. */
  held_idle?: number | null
}

export interface Allocation {
  /** Only of a cluster. */
  node?: string
  gpu: string
  device_uuid: string
  namespace: string
  pod: string
  container: string
  user: string | null
  sessions: number | null
  idle_seconds: number | null
}

export interface Usage {
  sessions: number
  session_hours: number | null
  sm_hours: number | null
  mean_utilization: number | null
  memory_gib_hours: number | null
  energy_kwh: number | null
  allocated_hours: number | null
  idle_allocated_hours: number | null
}

/** A session of the past, from the ledger. */
export interface SessionRecord {
  session: string
  gpu: string
  mig_profile: string | null
  pid: number
  command: string | null
  start_time: number
  end_time: number
  ended: boolean
  ended_how: string | null
  user: string | null
  namespace: string | null
  pod: string | null
  container: string | null
  place: string | null
  sm_seconds: number | null
  session_seconds: number | null
  memory_peak_bytes: number | null
}

export interface Node {
  node: string
  timestamp: number | null
  old: boolean
  driver_version: string | null
  sources_down: string[]
  devices: Device[]
}

export interface Part {
  now: number
  timestamp: number
  failure: string | null
  /** Seconds between the looks of the server. */
  refresh_seconds?: number
  /** What Prometheus said to the question about the past. */
  warnings?: string[]
  total: number
  offset: number
}

export interface Cluster {
  now: number
  timestamp: number
  failure: string | null
  warnings: string[]
  /** Seconds between the looks of the server. */
  refresh_seconds?: number
  nodes: number
  nodes_old: number
  nodes_incomplete: number
  /** Nodes of which it is not known what they have: totals are of the others. */
  nodes_unknown?: number
  devices: number
  /** Devices of which it is not known who is on them. */
  devices_unknown?: number
  devices_in_use: number
  devices_held_idle: number
  sessions: number
  users: number
  namespaces: string[]
}

export interface ClusterUser {
  user: string | null
  sessions: number | null
  devices: number | null
  nodes: number | null
  memory_used_bytes: number | null
  used: Usage | null
}

/** A session on a timeline; lists of the past and of now are brought to it. */
export interface Span {
  session: string
  gpu: string
  user: string | null
  namespace: string | null
  pod: string | null
  container: string | null
  command: string | null
  pid: number | null
  start_time: number
  end_time: number
  ended: boolean
}

export interface Timeline {
  since: number
  until: number
  resolution_seconds: number
  truncated: boolean
  warnings?: string[]
  sessions: Span[]
}

export interface Figures {
  since: number
  until: number
  warnings?: string[]
  times: number[]
  series: { figure: string; values: (number | null)[] }[]
}

export interface Problem {
  title: string
  status: number
  detail: string
}
