import type { ComponentChildren } from "preact"
import { useMemo } from "preact/hooks"
import { allocations, devices, view } from "../data/node.ts"
import { local } from "../data/rows.ts"
import { messages, type Messages } from "../i18n/index.ts"
import { ordered, type Key } from "../lib/compare.ts"
import { isWanted, onGpu } from "../lib/devices.ts"
import { duration } from "../lib/format.ts"
import { matches } from "../lib/text.ts"
import { change, isCluster, route } from "../state.ts"
import type { Allocation, Device, Node, Part } from "../types.ts"
import { asDuration, DeviceLink, Link, Name, shown, UserLink } from "./common.tsx"
import { Filters } from "./filters.tsx"
import { useAsked, usePages } from "./hooks.ts"
import { Table, type Column } from "./table.tsx"

function columns(m: Messages): Column<Allocation>[] {
  const all: (Column<Allocation> | false)[] = [
    isCluster.value && { id: "node", name: m.node, width: 76, rank: 0, value: (a) => a.node, render: (a) => <Link view="sessions" class="name" params={{ node: a.node ?? "" }}><Name value={a.node} /></Link> },
    { id: "gpu", name: "GPU", width: 62, rank: 0, value: (a) => a.gpu, render: (a) => <DeviceLink node={a.node} gpu={a.gpu} /> },
    { id: "user", name: m.user, width: 70, rank: 0, value: (a) => a.user, render: (a) => <UserLink user={a.user} /> },
    { id: "namespace", name: m.namespace, width: 120, rank: 3, value: (a) => a.namespace, render: (a) => <Name value={a.namespace} /> },
    { id: "pod", name: m.pod, width: 150, rank: 1, value: (a) => a.pod, render: (a) => <Link view="sessions" class="name" params={{ namespace: a.namespace, pod: a.pod }}><Name value={a.pod} /></Link> },
    { id: "container", name: m.container, width: 90, rank: 4, unsorted: isCluster.value, value: (a) => a.container, render: (a) => <Name value={a.container} /> },
    { id: "sessions", name: m.sessions, width: 90, rank: 2, fixed: true, number: true, unsorted: isCluster.value, value: (a) => a.sessions, render: (a) => (a.sessions === 0 ? <span class="badge warn" title={m.noSession}>0</span> : shown(a.sessions, String)) },
    { id: "idle_seconds", name: m.idleFor, width: 104, rank: 0, fixed: true, number: true, value: (a) => a.idle_seconds, render: (a) => <b>{asDuration(a.idle_seconds)}</b> },
  ]
  return all.filter((column) => column !== false)
}

/** However long, or not known since when. */
const ANY = "0s"
const TIMES = [ANY, "10m", "1h", "6h", "1d"]
const SECONDS: Record<string, number> = { "10m": 600, "1h": 3600, "6h": 21_600, "1d": 86_400 }
const USUAL_IDLE = "10m"

const FILTERS = ["search", "node", "gpu", "user", "namespace", "pod"] as const
const asText = (time: string) => duration(messages.value.units, SECONDS[time] ?? 0)

/** Containers that hold devices without using them. */
export function Idle() {
  const m = messages.value
  const wanted = route.value.params.idle_for
  const time = wanted !== undefined && TIMES.includes(wanted) ? wanted : USUAL_IDLE
  const sort = route.value.params.sort ?? "-idle_seconds"
  const aside = (
    <label class="field">
      <span>{m.idleAtLeast}</span>
      <select value={time} onChange={(event) => change({ idle_for: event.currentTarget.value })}>
        {TIMES.map((value) => <option key={value} value={value}>{value === ANY ? m.anyTime : asDuration(SECONDS[value])}</option>)}
      </select>
    </label>
  )
  const narrowed = FILTERS.some((name) => route.value.params[name])
  const none = narrowed ? m.nothingFound : time === ANY ? m.noIdle : m.noIdleFor(asText(time))
  const props = { name: m.idle, columns: columns(m), sort, empty: none, aside, identify: (a: Allocation) => `${a.node ?? ""} ${a.device_uuid} ${a.namespace}/${a.pod} ${a.container}` }
  return <div class="fill"><Filters />{isCluster.value ? <ClusterIdle time={time} {...props} /> : <NodeIdle time={time} {...props} />}</div>
}

interface Props {
  time: string
  name: string
  columns: Column<Allocation>[]
  sort: string
  empty: string
  aside: ComponentChildren
  identify: (allocation: Allocation) => string
}

/** Whether it is known of each of the devices who holds it. */
const holdersKnown = (devices: readonly Device[]) => devices.length > 0 && devices.every((device) => device.allocations !== null)

function ClusterIdle({ time, ...props }: Props) {
  const { search, node, gpu, user, namespace, pod } = route.value.params
  const query = { search: search || undefined, node, gpu, user, namespace, pod, ...(time === ANY ? { idle: "true" } : { idle_for: time }), sort: props.sort }
  const pages = usePages<Allocation>("cluster/allocations", "allocations", query)
  // That there is none can only be said where it is known of each device who holds it.
  const nodes = useAsked<Part & { nodes: Node[] }>(pages.total === 0 ? "cluster/nodes" : null, { node, limit: 1000 })
  const known = nodes.value !== null && nodes.value.nodes.length === nodes.value.total && nodes.value.nodes.every((one) => !one.old && holdersKnown(one.devices))
  const empty = nodes.pending ? messages.value.loading : known ? props.empty : messages.value.holdersUnknown
  return <Table rows={pages} {...props} empty={empty} />
}

function NodeIdle({ time, ...props }: Props) {
  const { search = "", gpu, user, namespace, pod } = route.value.params
  const all = allocations.value
  const { sort } = props
  const known = all !== null && holdersKnown(devices.value)
  const rows = useMemo(() => {
    if (!all) return local<Allocation>(view.value ? [] : null)
    const long = (a: Allocation) => (time === ANY ? a.sessions === 0 : (a.idle_seconds ?? -1) >= (SECONDS[time] ?? 0))
    const found = all.filter((a) =>
      long(a) && onGpu(gpu, a.gpu) && isWanted(user, a.user) && isWanted(namespace, a.namespace) && isWanted(pod, a.pod) &&
      matches(search, [a.gpu, a.user, a.namespace, a.pod, a.container]))
    const key = (a: Allocation): Key => a[sort.replace("-", "") as keyof Allocation]
    return local(ordered(found, sort.startsWith("-"), key, [(a) => a.gpu, (a) => a.namespace, (a) => a.pod, (a) => a.container]))
  }, [all, search, gpu, user, namespace, pod, time, sort, view.value === null])
  return <Table rows={rows} {...props} empty={known ? props.empty : messages.value.holdersUnknown} />
}
