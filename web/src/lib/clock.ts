// How long ago something was. The steady clock of a browser stands still while the machine sleeps, the other one may be
// set: what has passed is the larger of the two, for data is rather called too old than too new.

export interface Instant {
  /** `performance.now()`, milliseconds. */
  steady: number
  /** `Date.now()`, milliseconds. */
  wall: number
}

export const instant = (): Instant => ({ steady: performance.now(), wall: Date.now() })

/** Seconds from one to the other. */
export const elapsed = (from: Instant, to: Instant): number => Math.max(0, to.steady - from.steady, to.wall - from.wall) / 1000

/** How old data was when it came. */
export interface Arrival {
  timestamp: number | null
  /** Seconds that it had by then. */
  age: number
  received: Instant
}

/** A sample that came at `at`. Without the time of the server, one that is no newer goes on ageing. */
export function arrived(before: Arrival, sample: { timestamp: number; now?: number | undefined }, at: Instant): Arrival {
  const { timestamp, now } = sample
  if (now !== undefined) return { timestamp, age: Math.max(0, now - timestamp), received: at }
  if (before.timestamp === timestamp) return { timestamp, age: before.age, received: before.received }
  return { timestamp, age: 0, received: at }
}

/** Three looks of the server that did not come, and no less than a minute. */
export const lateAfter = (refresh: number | undefined): number => Math.max(60, 3 * (refresh ?? 0))
