// Periods, as `since` and `until` of the API: a time ago, or a time.

export const PRESETS = ["1h", "6h", "24h", "7d", "30d"] as const
export const USUAL = "24h"

const UNITS: Record<string, number> = { s: 1, m: 60, h: 3600, d: 86_400, w: 604_800 }

/** Unix seconds of `now`, a time ago (`7d`) or a time; undefined if it is none of them. */
export function moment(text: string, now: number): number | undefined {
  if (text === "now") return now
  const ago = /^(\d+)([smhdw])$/.exec(text)
  if (ago) return now - Number(ago[1]) * (UNITS[ago[2] ?? ""] ?? 0)
  if (!/^\d{4}-\d{2}-\d{2}/.test(text)) return undefined
  // A time without a zone is in UTC, as for the server.
  const zoned = /T.*(Z|[+-]\d{2}:?\d{2})$/.test(text) || !text.includes("T") ? text : `${text}Z`
  const at = Date.parse(zoned)
  return Number.isNaN(at) ? undefined : at / 1000
}

/** What a field of a form has, in local time, as a time in UTC. */
export function fromLocal(text: string): string | undefined {
  const at = Date.parse(text)
  return Number.isNaN(at) ? undefined : new Date(at).toISOString().replace(/:\d{2}\.\d{3}Z$/, "Z")
}

/** A moment for a field of a form, in local time. */
export function toLocal(at: number): string {
  const date = new Date(at * 1000)
  const two = (value: number) => String(value).padStart(2, "0")
  return `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())}T${two(date.getHours())}:${two(date.getMinutes())}`
}
