// What the whole page knows: where it is, for whom, and how fresh its data is.

import { computed, signal } from "@preact/signals"
import { formatRoute, parseRoute, type Parameters, type Route, type View } from "./lib/route.ts"
import { USUAL } from "./lib/period.ts"
import { elapsed, instant, type Arrival } from "./lib/clock.ts"
import { remember, remembered } from "./lib/memory.ts"
import type { About } from "./types.ts"

export const about = signal<About | null>(null)
/** Why there is nothing to show at all. */
export const refusal = signal<string | null>(null)
export const route = signal<Route>(parseRoute(location.hash))
export const isCluster = computed(() => about.value?.scope === "cluster")

/** How fresh the data is, by the clock of the server. Ages are counted on here, on top of what it said; so clocks may differ. */
export interface Freshness extends Arrival {
  /** Why the server has nothing newer, or says nothing. */
  failure: string | null
  link: "connecting" | "live" | "away" | "refused"
  /** What the server says of itself where it is not ready. */
  notReady: string | null
  /** Seconds after which it is called late. */
  lateAfter: number
}

export const freshness = signal<Freshness>({
  timestamp: null, age: 0, received: instant(), failure: null, link: "connecting", notReady: null, lateAfter: 60,
})
/** Ticks each second, for what shows an age. */
export const ticking = signal(instant())

export const age = computed(() => {
  const { age, received } = freshness.value
  return age + elapsed(received, ticking.value)
})
/** The time of the server, as far as it is known. */
export const serverNow = computed(() => (freshness.value.timestamp ?? Date.now() / 1000) + age.value)

export const stale = computed(() => {
  const { link, failure, notReady, lateAfter, timestamp } = freshness.value
  return timestamp !== null && (link === "away" || link === "refused" || failure !== null || notReady !== null || age.value > lateAfter)
})

export const period = computed(() => ({
  since: route.value.params.since ?? (route.value.params.until === undefined ? USUAL : undefined),
  until: route.value.params.until,
}))

addEventListener("hashchange", () => (route.value = parseRoute(location.hash)))

/** Goes to a view: the way back leads here. */
export function go(view: View, params: Parameters): void {
  location.hash = formatRoute({ view, params })
}

/** Changes parameters of this view, without a step for the way back; `undefined` takes one away. */
export function change(changes: { [P in keyof Parameters]: Parameters[P] | undefined }): void {
  const params: Parameters = { ...route.value.params }
  for (const [name, value] of Object.entries(changes) as [keyof Parameters, string | undefined][]) {
    if (value === undefined) delete params[name]
    else params[name] = value
  }
  const next: Route = { view: route.value.view, params }
  history.replaceState(null, "", formatRoute(next))
  route.value = next
}

export type Theme = "auto" | "light" | "dark"
const kept = remembered("theme")
export const theme = signal<Theme>(kept === "light" || kept === "dark" ? kept : "auto")
const prefersDark = matchMedia("(prefers-color-scheme: dark)")
const systemDark = signal(prefersDark.matches)
prefersDark.addEventListener("change", (event) => (systemDark.value = event.matches))
export const isDark = computed(() => (theme.value === "auto" ? systemDark.value : theme.value === "dark"))

export function paint(next: Theme): void {
  theme.value = next
  remember("theme", next)
}
