// How long sessions run and are idle, and their order by it.

import type { Session } from "../types.ts"
import type { Key } from "./compare.ts"

/** For how long a session is known not to have used an engine, by a cluster's word or by its times; null where it is not known. */
export function idleSeconds(session: Session, now: number): number | null {
  if (session.idle_seconds !== undefined) return session.idle_seconds
  if (session.measured_since_time === null) return null
  return Math.max(0, now - Math.max(session.measured_since_time, session.last_active_time ?? 0))
}

/** What a session is sorted by: a duration, or a field. */
export function keyOf(session: Session, field: string, now: number): Key {
  if (field === "running_seconds") return now - session.start_time
  if (field === "idle_seconds") return idleSeconds(session, now)
  return session[field as keyof Session]
}
