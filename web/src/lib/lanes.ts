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
