// A node, live: its stream, and what the stream does not tell.

import { batch, computed, signal } from "@preact/signals"
import { arrived, elapsed, instant } from "../lib/clock.ts"
import { freshness, refusal } from "../state.ts"
import type { Allocation, Device } from "../types.ts"
import { pages, refused, Refused, within } from "./api.ts"
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

/** The stream was closed for a while: between the samples around it nothing is known. */
let paused = false

function sampled(next: View): void {
  const before = view.value
  const interval = before && next.timestamp > before.timestamp ? next.timestamp - before.timestamp : null
  const { lateAfter } = freshness.value
  batch(() => {
    tracks.value = tracked(tracks.value, next, paused)
    view.value = next
    refusal.value = null
    freshness.value = {
      ...freshness.value,
      ...arrived(freshness.value, next, instant()),
      failure: null,
      link: "live",
      // Three samples that did not come; one at the least each two minutes is no news.
      lateAfter: interval === null || paused ? lateAfter : Math.max(15, Math.min(180, interval * 3)),
    }
  })
  paused = false
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
    const notReady = await within(undefined, async (signal) => {
      const response = await fetch("/readyz", { signal })
      return response.status === 503 ? (await response.text()).trim() : null
    })
    if (notReady !== freshness.value.notReady) freshness.value = { ...freshness.value, notReady }
  } catch {
    // As above.
  }
}

/** Why a stream is refused: it does not say so itself. The head of an answer tells. Returns seconds to wait, if it was said. */
async function judge(): Promise<number | null> {
  const head = new AbortController()
  try {
    await within(head.signal, async (signal) => {
      const response = await fetch("/api/v1/stream", { headers: { accept: "text/event-stream" }, signal })
      if (!response.ok) throw await refused(response)
    })
    return null
  } catch (error) {
    const answered = error instanceof Refused
    batch(() => {
      if (answered && view.value === null) refusal.value = error.message
      freshness.value = { ...freshness.value, link: answered ? "refused" : "away", failure: answered ? error.message : null }
    })
    return answered ? error.after : null
  } finally {
    head.abort()
  }
}

const hidden = () => document.visibilityState === "hidden"

let failures = 0
let stream: EventSource | null = null
let retry: ReturnType<typeof setTimeout> | undefined
/** When the stream last told of a sample, or was opened. */
let heard = instant()

function close(): void {
  clearTimeout(retry)
  stream?.close()
  stream = null
}

function connect(): void {
  close()
  heard = instant()
  const opened = new EventSource("/api/v1/stream")
  stream = opened
  const gatherer = new Gatherer()
  for (const name of EVENTS) {
    opened.addEventListener(name, (event: MessageEvent<string>) => {
      const next = gatherer.take(name, JSON.parse(event.data))
      if (!next || stream !== opened) return
      failures = 0
      heard = instant()
      sampled(next)
    })
  }
  opened.addEventListener("error", () => {
    if (stream === opened) void again()
  })
}

/** Opens the stream anew after its end. It ends after some minutes in any case: the first time it is just opened. */
async function again(): Promise<void> {
  close()
  failures += 1
  const after = failures > 1 ? await judge() : null
  if (hidden() || stream !== null) return
  const delay = failures === 1 ? 200 : backOff(failures - 1, Math.random())
  retry = setTimeout(connect, Math.max(delay, 1000 * (after ?? 0)))
}

/** A stream of which nothing came for long has lost its other end without a word. */
function watch(): void {
  if (stream !== null && elapsed(heard, instant()) > 2 * freshness.value.lateAfter) connect()
}

/** Milliseconds after which a page that nobody sees gives up its stream: a browser has few connections to a server. */
const UNSEEN = 5_000

/** Begins to follow the node. */
export function follow(): void {
  let asking = false
  let leaving: ReturnType<typeof setTimeout> | undefined
  const ask = async () => {
    if (hidden() || asking) return
    asking = true
    await Promise.all([askAllocations(), askReady()])
    asking = false
  }
  const leave = () => {
    close()
    paused = true
  }
  const seen = () => {
    clearTimeout(leaving)
    if (hidden()) {
      leaving = setTimeout(leave, UNSEEN)
      return
    }
    if (paused || stream === null) connect()
    void ask()
  }
  if (hidden()) paused = true
  else connect()
  void ask()
  setInterval(() => void ask(), ALLOCATIONS_EVERY)
  setInterval(watch, 1000)
  document.addEventListener("visibilitychange", seen)
}
