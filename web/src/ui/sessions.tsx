import { useMemo, useState } from "preact/hooks"
import { devices, view } from "../data/node.ts"
import { local, type Rows } from "../data/rows.ts"
import { pages } from "../data/api.ts"
import { messages, type Messages } from "../i18n/index.ts"
import { isWanted, onGpu } from "../lib/devices.ts"
import { ordered } from "../lib/compare.ts"
import { idleSeconds, keyOf } from "../lib/durations.ts"
import { linkTo, type Parameters } from "../lib/route.ts"
import { matches, visible } from "../lib/text.ts"
import { about, isCluster, route, serverNow } from "../state.ts"
import type { Session, SessionRecord } from "../types.ts"
import { asDuration, asGib, asPercent, DeviceLink, Meter, Moment, Name, Note, UserLink } from "./common.tsx"
import { SessionDialog } from "./details.tsx"
import { Filters } from "./filters.tsx"
import { useAsked, usePages } from "./hooks.ts"
import { Table, type Column, type TableProps } from "./table.tsx"

type AnySession = Pick<Session, "node" | "namespace" | "pod" | "place" | "container">

function Where({ session }: { session: AnySession }) {
  const { namespace, pod, place } = session
  if (pod === null) return <Name value={place} />
  const text = visible(`${namespace ?? "?"}/${pod}`)
  const params: Parameters = { pod, ...(namespace === null ? {} : { namespace }) }
  return (
    <a class="name" href={linkTo(route.value, "sessions", params)} title={text}>
      <span class="muted">{visible(namespace ?? "?")}/</span>{visible(pod)}
    </a>
  )
}

const where = (session: AnySession) => (session.pod === null ? session.place : `${session.namespace ?? "?"}/${session.pod}`)

export function sessionColumns(m: Messages, open: (session: Session) => void, within: "all" | "device" | "user"): Column<Session>[] {
  const now = serverNow.peek()
  const columns: (Column<Session> | false)[] = [
    isCluster.value && within !== "device" && {
      id: "node", name: m.node, width: 76, rank: 0, value: (s) => s.node,
      render: (s) => <a class="name" href={linkTo(route.value, "sessions", { node: s.node ?? "" })}><Name value={s.node} /></a>,
    },
    { id: "gpu", name: "GPU", width: 96, rank: 0, value: (s) => s.gpu, render: (s) => <DeviceLink node={s.node} gpu={s.gpu} note={s.mig_profile} /> },
    within !== "user" && { id: "user", name: m.user, width: 70, rank: 0, value: (s) => s.user, render: (s) => <UserLink user={s.user} /> },
    { id: "pod", name: m.where, title: m.whereTitle, width: 170, rank: 2, value: where, render: (s) => <Where session={s} /> },
    { id: "container", name: m.container, width: 130, rank: 7, value: (s) => s.container, render: (s) => <Name value={s.container} /> },
    {
      id: "command", name: m.command, width: 88, rank: 0, value: (s) => s.command,
      render: (s) => <button type="button" class="link" aria-haspopup="dialog" title={m.details} onClick={() => open(s)}><Name value={s.command} /></button>,
    },
    { id: "pid", name: m.pid, width: 86, rank: 5, fixed: true, number: true, value: (s) => s.pid, render: (s) => s.pid },
    { id: "memory_used_bytes", name: m.memory, width: 92, rank: 1, fixed: true, number: true, value: (s) => s.memory_used_bytes, render: (s) => asGib(s.memory_used_bytes) },
    { id: "sm_utilization_ratio", name: m.sm, title: m.smTitle, width: 104, rank: 1, fixed: true, number: true, value: (s) => s.sm_utilization_ratio, render: (s) => <Meter ratio={s.sm_utilization_ratio} /> },
    { id: "memory_busy_ratio", name: m.memoryBusy, title: m.memoryBusyTitle, width: 112, rank: 6, fixed: true, number: true, value: (s) => s.memory_busy_ratio, render: (s) => asPercent(s.memory_busy_ratio) },
    { id: "start_time", sort: "running_seconds", name: m.running, width: 124, rank: 3, fixed: true, number: true, value: (s) => s.start_time, render: (s) => asDuration(now - s.start_time) },
    // A node says when it was last active, a cluster for how long it has been idle: a file has what was said.
    {
      ...(isCluster.value ? { id: "idle_seconds", value: (s) => s.idle_seconds } : { id: "last_active_time", value: (s) => s.last_active_time }),
      sort: "idle_seconds", name: m.idleFor, width: 106, rank: 4, fixed: true, number: true, render: (s) => asDuration(idleSeconds(s, now)),
    },
  ]
  return columns.filter((column) => column !== false)
}

const namesOf = (session: Session) => [session.gpu, session.mig_profile, session.user, session.namespace, session.pod, session.container, session.command, session.place, session.pid]

/** Sessions of the node that are asked for, in order. */
function useNodeSessions(params: Parameters, sort: string): Rows<Session> {
  const all = view.value?.sessions
  const now = view.value?.timestamp ?? 0
  const { search = "", gpu, user, namespace, pod } = params
  return useMemo(() => {
    if (!all) return local<Session>(null)
    const found = [...all.values()].filter((session) =>
      isWanted(user, session.user) && isWanted(namespace, session.namespace) && isWanted(pod, session.pod) && onGpu(gpu, session.gpu) &&
      matches(search, namesOf(session)))
    const key = (session: Session) => keyOf(session, sort.replace("-", ""), now)
    return local(ordered(found, sort.startsWith("-"), key, [(s) => s.gpu, (s) => s.pid]))
  }, [all, now, search, gpu, user, namespace, pod, sort])
}

/** Sessions of now, by these parameters. */
export function SessionTable({ params, within }: { params: Parameters; within: "all" | "device" | "user" }) {
  const m = messages.value
  const [open, setOpen] = useState<Session | null>(null)
  const sort = route.value.params.sort ?? (isCluster.value && within !== "device" ? "node" : "gpu")
  const props = { columns: sessionColumns(m, setOpen, within), sort, identify: (s: Session) => `${s.node ?? ""}/${s.session}`, name: m.sessions, empty: params.search ? m.nothingFound : m.nothing }
  return (
    <>
      {isCluster.value ? <Remote params={params} {...props} /> : <Local params={params} {...props} />}
      {open && <SessionDialog session={open} close={() => setOpen(null)} />}
    </>
  )
}

type Shared = Omit<TableProps<Session>, "rows">

function Remote({ params, ...props }: { params: Parameters } & Shared) {
  const { search, node, gpu, user, namespace, pod, idle_for } = params
  const pages = usePages<Session>("cluster/sessions", "sessions", { search: search || undefined, node, gpu, user, namespace, pod, idle_for, sort: props.sort })
  return <Table rows={pages} {...props} />
}

function Local({ params, ...props }: { params: Parameters } & Shared) {
  const counted = devices.value.reduce((sum, device) => sum + (device.sessions ?? 0), 0)
  const aside = counted > (view.value?.sessions.size ?? counted) && <span class="muted">{messages.value.limited}</span>
  return <Table rows={useNodeSessions(params, props.sort)} {...props} aside={aside} />
}

export function Sessions() {
  const { since, until } = route.value.params
  const past = !isCluster.value && (since !== undefined || until !== undefined)
  return (
    <div class="fill">
      <Filters />
      {past ? <PastSessions params={route.value.params} /> : <SessionTable params={route.value.params} within="all" />}
    </div>
  )
}

function pastColumns(m: Messages): Column<SessionRecord>[] {
  return [
    { id: "gpu", name: "GPU", width: 92, rank: 0, value: (s) => s.gpu, render: (s) => <DeviceLink gpu={s.gpu} note={s.mig_profile} /> },
    { id: "user", name: m.user, width: 92, rank: 0, value: (s) => s.user, render: (s) => <UserLink user={s.user} /> },
    { id: "pod", name: m.where, title: m.whereTitle, width: 170, rank: 2, value: where, render: (s) => <Where session={s} /> },
    { id: "command", name: m.command, width: 110, rank: 0, value: (s) => s.command, render: (s) => <Name value={s.command} /> },
    { id: "pid", name: m.pid, width: 86, rank: 5, fixed: true, number: true, value: (s) => s.pid, render: (s) => s.pid },
    { id: "start_time", name: m.began, width: 116, rank: 1, fixed: true, number: true, value: (s) => s.start_time, render: (s) => <Moment at={s.start_time} /> },
    { id: "end_time", name: m.ended, width: 116, rank: 2, fixed: true, number: true, value: (s) => (s.ended ? s.end_time : null), render: (s) => (s.ended ? <Moment at={s.end_time} /> : m.stillRunning) },
    { id: "session_seconds", name: m.lasted, width: 106, rank: 3, fixed: true, number: true, value: (s) => s.session_seconds, render: (s) => asDuration(s.session_seconds) },
    { id: "sm_seconds", name: m.smTime, width: 106, rank: 4, fixed: true, number: true, value: (s) => s.sm_seconds, render: (s) => asDuration(s.sm_seconds) },
    { id: "memory_peak_bytes", name: m.memoryPeak, width: 112, rank: 5, fixed: true, number: true, value: (s) => s.memory_peak_bytes, render: (s) => asGib(s.memory_peak_bytes) },
    { id: "ended_how", name: m.endedHow, width: 110, rank: 6, value: (s) => s.ended_how, render: (s) => <Name value={s.ended_how} /> },
  ]
}

const MOST = 20_000

/** Sessions of a period, from the ledger of the node. */
export function PastSessions({ params }: { params: Parameters }) {
  const m = messages.value
  const { search = "", gpu, user, namespace, pod, since, until } = params
  const query = { gpu, user, namespace, pod, since, until }
  const asked = useAsked(about.value?.history ? "sessions" : null, query, (q, abort) => pages<SessionRecord>("sessions", q, MOST, abort))
  const sort = route.value.params.sort ?? "-start_time"
  const rows = useMemo(() => {
    const found = asked.value?.items.filter((s) => matches(search, [s.gpu, s.user, s.namespace, s.pod, s.command, s.place, s.pid]))
    if (!found) return { ...local<SessionRecord>(null), failure: asked.failure }
    const field = sort.replace("-", "") as keyof SessionRecord
    return local(ordered(found, sort.startsWith("-"), (s) => s[field], [(s) => s.gpu, (s) => s.pid]))
  }, [asked.value, asked.failure, search, sort])
  if (!about.value?.history) return <Note>{m.noPast}</Note>
  return <Table name={m.sessions} columns={pastColumns(m)} rows={rows} sort={sort} identify={(s) => s.session} empty={m.nothing} aside={asked.value?.more && <span class="muted">{m.oldestMissing}</span>} />
}
