// Lanes of a timeline: sessions that overlap lie below each other, those of one group together.

import type { Span } from "../types.ts"

export interface Lane<T> {
  spans: T[]
}

export interface Group<T> {
  name: string | null
  lanes: Lane<T>[]
}

/** Groups in the order in which they first begin; in each as few lanes as there are sessions at once. */
export function lanes<T extends Pick<Span, "start_time" | "end_time">>(spans: readonly T[], name: (span: T) => string | null): Group<T>[] {
  const groups = new Map<string | null, Group<T>>()
  for (const span of [...spans].sort((a, b) => a.start_time - b.start_time)) {
    const key = name(span)
    let group = groups.get(key)
    if (!group) groups.set(key, (group = { name: key, lanes: [] }))
    const lane = group.lanes.find(({ spans }) => (spans.at(-1)?.end_time ?? 0) <= span.start_time)
    if (lane) lane.spans.push(span)
    else group.lanes.push({ spans: [span] })
  }
  return [...groups.values()]
}

/** Where a key leads among so many, from one of them; null where nowhere. */
export function stepped(key: string, from: number, count: number): number | null {
  if (from < 0 || count === 0) return null
  if (key === "Home") return 0
  if (key === "End") return count - 1
  if (key === "ArrowRight" || key === "ArrowDown") return Math.min(count - 1, from + 1)
  if (key === "ArrowLeft" || key === "ArrowUp") return Math.max(0, from - 1)
  return null
}
