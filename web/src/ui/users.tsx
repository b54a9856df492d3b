import { useMemo } from "preact/hooks"
import { devices, view } from "../data/node.ts"
import { get } from "../data/api.ts"
import { cluster } from "../data/cluster.ts"
import { local } from "../data/rows.ts"
import { messages, type Messages } from "../i18n/index.ts"
import { ordered, type Key } from "../lib/compare.ts"
import { isPart, unsure } from "../lib/devices.ts"
import { matches } from "../lib/text.ts"
import { about, isCluster, period, route } from "../state.ts"
import type { ClusterUser, Device, Session, Usage } from "../types.ts"
import { asCount, asDecimal, asGib, Meter, Note, UserLink, Warnings } from "./common.tsx"
import { useAsked, usePages } from "./hooks.ts"
import { Table, type Column } from "./table.tsx"

type Used = keyof Usage

/** `least`: what there is may be more than is known. */
function columns(m: Messages, past: boolean, least: boolean): Column<ClusterUser>[] {
  const hours = (id: Used, name: string, title: string, rank: number): Column<ClusterUser> => ({
    id, name, title, rank, width: 104, number: true, value: (u) => u.used?.[id], render: (u) => asDecimal(u.used?.[id]),
  })
  const now: (Column<ClusterUser> | false)[] = [
    { id: "user", name: m.user, width: 130, rank: 0, value: (u) => u.user, render: (u) => <UserLink user={u.user} /> },
    { id: "sessions", name: m.sessionsNow, width: 104, rank: 0, number: true, value: (u) => u.sessions, render: (u) => asCount(u.sessions, least) },
    { id: "devices", name: m.devicesNow, width: 104, rank: 2, number: true, value: (u) => u.devices, render: (u) => asCount(u.devices, least) },
    isCluster.value && { id: "nodes", name: m.nodesNow, width: 104, rank: 5, number: true, unsorted: true, value: (u) => u.nodes, render: (u) => asCount(u.nodes, least) },
    { id: "memory_used_bytes", name: m.memoryNow, width: 110, rank: 3, number: true, unsorted: isCluster.value, value: (u) => u.memory_used_bytes, render: (u) => asGib(u.memory_used_bytes, least) },
  ]
  const before: Column<ClusterUser>[] = [
    hours("allocated_hours", m.allocatedHours, m.allocatedHoursTitle, 1),
    hours("idle_allocated_hours", m.idleHours, m.idleHoursTitle, 2),
    hours("session_hours", m.gpuHours, m.gpuHoursTitle, 0),
    hours("sm_hours", m.smHours, m.smHoursTitle, 3),
    { id: "mean_utilization", name: m.meanUse, title: m.meanUseTitle, rank: 1, width: 112, number: true, value: (u) => u.used?.mean_utilization, render: (u) => <Meter ratio={u.used?.mean_utilization} /> },
    hours("memory_gib_hours", m.memoryHours, m.memoryHoursTitle, 5),
    hours("energy_kwh", m.kwh, m.kwhTitle, 4),
  ]
  return [...now.filter((column) => column !== false), ...(past ? before : [])]
}

type UserNow = ClusterUser & { sessions: number; devices: number }

/** Users of the node now: counts by the devices, which know of sessions beyond the list; memory by the list. */
export function usersNow(devices: readonly Device[], sessions: Iterable<Session>): Map<string | null, UserNow> {
  const users = new Map<string | null, UserNow>()
  const count = (user: string | null, sessions: number) => {
    if (sessions === 0) return
    const found = users.get(user) ?? { user, sessions: 0, devices: 0, nodes: null, memory_used_bytes: 0, used: null }
    users.set(user, { ...found, sessions: found.sessions + sessions, devices: found.devices + 1 })
  }
  for (const device of devices) {
    for (const { user, sessions } of device.users ?? []) count(user, sessions)
    count(null, (device.unattributed ?? []).reduce((sum, { sessions }) => sum + sessions, 0))
  }
  const listed = new Map<string | null, number>()
  for (const { user, memory_used_bytes } of sessions) {
    const found = users.get(user)
    if (!found) continue
    listed.set(user, (listed.get(user) ?? 0) + 1)
    const sum = found.memory_used_bytes
    users.set(user, { ...found, memory_used_bytes: sum === null || memory_used_bytes === null ? null : sum + memory_used_bytes })
  }
  for (const [user, found] of users) if (listed.get(user) !== found.sessions) users.set(user, { ...found, memory_used_bytes: null })
  return users
}

interface UserUsages {
  users: ({ user: string | null } & Usage)[]
}

/** What each user of the node used in the period; null where no past is kept. */
export function useNodeUsage(user?: string) {
  const { since, until } = period.value
  const query = { since, until, user }
  return useAsked(!isCluster.value && about.value?.history ? "users" : null, query, (q, abort) => get<UserUsages>("users", q, abort))
}

export function Users() {
  return isCluster.value ? <ClusterUsers /> : <NodeUsers />
}

function ClusterUsers() {
  const m = messages.value
  const { search } = route.value.params
  const sort = route.value.params.sort ?? "-allocated_hours"
  const pages = usePages<ClusterUser>("cluster/users", "users", { ...period.value, search: search || undefined, sort })
  return (
    <div class="fill">
      <Warnings warnings={pages.last?.warnings} />
      <Table name={m.users} columns={columns(m, true, isPart(cluster.value))} rows={pages} sort={sort} identify={(u) => `=${u.user ?? ""}`} empty={search ? m.nothingFound : m.nothing} />
    </div>
  )
}

function NodeUsers() {
  const m = messages.value
  const history = about.value?.history ?? false
  const usage = useNodeUsage()
  const search = route.value.params.search ?? ""
  const sort = route.value.params.sort ?? (history ? "-session_hours" : "-sessions")
  const current = view.value
  const rows = useMemo(() => {
    if (!current) return local<ClusterUser>(null)
    const users: Map<string | null, ClusterUser> = usersNow(devices.value, current.sessions.values())
    // Who is not seen has nothing only where all is seen.
    const none = unsure(current, devices.value) ? null : 0
    for (const { user, ...used } of usage.value?.users ?? []) {
      users.set(user, { ...(users.get(user) ?? { user, sessions: none, devices: none, nodes: null, memory_used_bytes: none }), used })
    }
    const found = [...users.values()].filter(({ user }) => matches(search, [user]))
    return local(ordered(found, sort.startsWith("-"), (u) => keyOf(u, sort.replace("-", "")), [(u) => u.user]))
  }, [current, usage.value, search, sort])
  return (
    <div class="fill">
      {!history && <Note>{m.noPast}</Note>}
      {usage.failure && <Note kind="bad">{usage.failure}</Note>}
      <Table name={m.users} columns={columns(m, history, unsure(current, devices.value))} rows={rows} sort={sort} identify={(u) => `=${u.user ?? ""}`} empty={search ? m.nothingFound : m.nothing} />
    </div>
  )
}

function keyOf(user: ClusterUser, field: string): Key {
  if (field === "user") return user.user
  if (field === "sessions" || field === "devices" || field === "memory_used_bytes") return user[field]
  return user.used?.[field as Used]
}

