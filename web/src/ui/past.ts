// Sessions of a period for a timeline, of whichever server there is.

import { get, pages, type Query } from "../data/api.ts"
import { view } from "../data/node.ts"
import { moment } from "../lib/period.ts"
import { about, isCluster, period, serverNow } from "../state.ts"
import type { Session, SessionRecord, Span, Timeline } from "../types.ts"
import { useAsked } from "./hooks.ts"

const MOST = 2000

/** A session of now as a bar that goes on. */
export function openSpan(session: Session, now: number): Span {
  const { gpu, user, namespace, pod, container, command, pid, start_time } = session
  return { session: session.session, gpu, user, namespace, pod, container, command, pid, start_time, end_time: Math.max(now, start_time), ended: false }
}

/** Those of the past with those of now: what goes on now is known better than what was written of it. */
export function merged(past: readonly Span[], now: readonly Span[]): Span[] {
  const key = (span: Span) => `${span.session} ${span.gpu}`
  const all = new Map(past.map((span) => [key(span), span]))
  for (const span of now) all.set(key(span), span)
  return [...all.values()]
}

export interface Past {
  spans: Span[]
  since: number
  until: number
  notes: { resolution: number | null; missing: "shortest" | "oldest" | null; unkept: boolean; warnings: string[] }
  failure: string | null
  pending: boolean
}

const toSpan = (record: SessionRecord): Span => record

async function ofNode(query: Query, abort: AbortSignal): Promise<{ spans: Span[]; truncated: boolean }> {
  const { items, more } = await pages<SessionRecord>("sessions", query, MOST, abort)
  return { spans: items.map(toSpan), truncated: more }
}

/** Sessions of a node of a device or a user, with those of now where the period reaches to it. */
export function useNodePast(query: Query, isIts: (session: Session) => boolean): Past {
  const { since, until } = period.value
  const kept = about.value?.history ?? false
  const asked = useAsked(!isCluster.value && kept ? "sessions" : null, { ...query, since, until }, ofNode)
  const now = view.value?.timestamp ?? serverNow.peek()
  const end = until === undefined ? now : (moment(until, now) ?? now)
  const running = end >= now ? [...(view.value?.sessions.values() ?? [])].filter(isIts).map((session) => openSpan(session, now)) : []
  const spans = merged(asked.value?.spans ?? [], running)
  const first = spans.reduce((low, span) => Math.min(low, span.start_time), end)
  // Where no past is kept, what there is begins with the first session of now.
  // A ledger gives the newest first: before the oldest that was read nothing is known.
  const cut = asked.value?.truncated ? asked.value.spans.reduce((low, span) => Math.min(low, span.start_time), end) : -Infinity
  const begin = since === undefined || !kept ? Math.min(first, end - 60) : Math.max(cut, moment(since, now) ?? end - 86_400)
  return {
    spans: spans.filter((span) => span.end_time >= begin && span.start_time <= end),
    since: begin, until: end,
    notes: { resolution: null, missing: asked.value?.truncated ? "oldest" : null, unkept: !kept, warnings: [] },
    failure: asked.failure, pending: asked.pending,
  }
}

/** Sessions of a device of a cluster. */
export function useClusterPast(node: string | undefined, gpu: string): Past {
  const query = { node, gpu, ...period.value }
  const asked = useAsked(isCluster.value && node !== undefined ? "cluster/timeline" : null, query, (q, abort) => get<Timeline>("cluster/timeline", q, abort))
  const { value } = asked
  return {
    spans: value?.sessions ?? [], since: value?.since ?? 0, until: value?.until ?? 1,
    notes: { resolution: value?.resolution_seconds ?? null, missing: value?.truncated ? "shortest" : null, unkept: false, warnings: value?.warnings ?? [] },
    failure: asked.failure, pending: asked.pending,
  }
}
