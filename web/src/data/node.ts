// A node, live: its stream, and what the stream does not tell.

import { batch, computed, signal } from "@preact/signals"
import { freshness, refusal } from "../state.ts"
import type { Allocation, Device } from "../types.ts"
import { get, pages, Refused } from "./api.ts"
import { backOff, EVENTS, Gatherer, tracked, type Track, type View } from "./view.ts"

const ALLOCATIONS_EVERY = 10_000

export const view = signal<View | null>(null)
export const tracks = signal<ReadonlyMap<string, Track>>(new Map())
/** `null` where the kubelet does not answer. */
export const allocations = signal<Allocation[] | null>(null)

/** Devices, with the containers that hold them and have no session there. */
export const devices = computed<Device[]>(() => {
  const held = allocations.value
  return [...(view.value?.devices.values() ?? [])].map((device) => {
    if (device.allocations === null || held === null) return { ...device, held_idle: device.allocations === 0 ? 0 : null }
    const of = held.filter((allocation) => allocation.device_uuid === device.uuid)
    const unsure = of.some((allocation) => allocation.sessions === null)
    return { ...device, held_idle: unsure ? null : of.filter((allocation) => allocation.sessions === 0).length }
  })
})

function sampled(next: View): void {
  const before = view.value
  const interval = before && next.timestamp > before.timestamp ? next.timestamp - before.timestamp : null
  batch(() => {
    tracks.value = tracked(tracks.value, next)
    view.value = next
    refusal.value = null
    const { lateAfter } = freshness.value
    freshness.value = {
      ...freshness.value,
      timestamp: next.timestamp,
      age: 0,
      received: performance.now(),
      link: "live",
      // Three samples that did not come; one at the least each two minutes is no news.
      lateAfter: interval === null ? lateAfter : Math.max(15, Math.min(180, interval * 3)),
    }
  })
}

async function askAllocations(): Promise<void> {
  try {
    const { items } = await pages<Allocation>("allocations", {}, 100_000)
    allocations.value = items
  } catch (error) {
    // The connection is the stream's to judge; a server that refuses this has nothing to say of it.
    if (error instanceof Refused) allocations.value = null
  }
}

async function askReady(): Promise<void> {
  try {
    const response = await fetch("/readyz")
    const notReady = response.status === 503 ? (await response.text()).trim() : null
    if (notReady !== freshness.value.notReady) freshness.value = { ...freshness.value, notReady }
  } catch {
    // As above.
  }
}

function away(): void {
  if (freshness.value.link !== "away") freshness.value = { ...freshness.value, link: "away" }
}

/** Why a stream is refused: it does not say so itself. */
async function judge(): Promise<void> {
  try {
    await get("devices", { limit: 1 })
  } catch (error) {
    refusal.value = error instanceof Refused && view.value === null ? error.message : refusal.value
    away()
  }
}

let failures = 0

function connect(): void {
  const stream = new EventSource("/api/v1/stream")
  const gatherer = new Gatherer()
  for (const name of EVENTS) {
    stream.addEventListener(name, (event: MessageEvent<string>) => {
      const next = gatherer.take(name, JSON.parse(event.data))
      if (!next) return
      failures = 0
      sampled(next)
    })
  }
  stream.addEventListener("error", () => {
    stream.close()
    failures += 1
    // A stream ends after some minutes in any case: the first time it is just opened anew.
    if (failures > 1) void judge()
    setTimeout(connect, failures === 1 ? 200 : backOff(failures - 1, Math.random()))
  })
}

/** Begins to follow the node. */
export function follow(): void {
  connect()
  const ask = () => {
    if (document.visibilityState === "hidden") return
    void askAllocations()
    void askReady()
  }
  ask()
  setInterval(ask, ALLOCATIONS_EVERY)
  document.addEventListener("visibilitychange", ask)
}
